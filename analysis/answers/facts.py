"""The facts of evidence, and the operations and columns of events that are evidence, without any import of Ibis."""

__all__ = [
    "ABSENT_KEY", "ABSENT_VALUE", "CHANGES", "EVENT_COLUMNS", "EXISTING_KEY", "FACTS", "HEARSAY", "KEY_CHANGES", "KEY_FACTS",
    "KEY_GONE", "NEEDED", "OF_KEYS", "OF_SUBTREES", "OF_VALUES", "OWN_CHANGES", "OWN_STATES", "UNPROVED", "VALUE_FACTS",
]  # fmt: skip

# operations that may change a whole subtree
OF_SUBTREES = (
    "RenameKey", "LoadKey", "UnloadKey", "RestoreKey", "ReplaceKey", "HiveWork", "CreateOrDelete",
)  # fmt: skip

EVENT_COLUMNS = (
    "sequence", "time", "time_ns", "process_id", "handle_id", "operation", "status", "value_name",
    "requested_name", "information_class", "data_type", "data_size", "data", "previous_type",
    "previous_size", "previous_data", "flags",
)  # fmt: skip
NEEDED = ("key_id", "disposition", "detail", *EVENT_COLUMNS)  # columns of events

# What events say (`analysis.answers.evidence` tells what each means): of values, of keys.
OF_VALUES = ("write", "delete", "read", "seen", "miss", "failed", "unclear")
OF_KEYS = (
    "key_created", "key_opened", "key_used", "key_missing", "key_deleted", "key_renamed", "key_unknown",
)  # fmt: skip
# What an event proves whose name is not proved -> what it says; the first that fits.
UNPROVED = {
    "doubtful": ("write", "delete", "unclear"),
    "key_doubtful": ("key_created", "key_deleted", "key_renamed", "key_unknown"),
    "key_hearsay": ("key_opened", "key_used", "key_missing"),
    "failed": ("failed",),
    "hearsay": ("read", "seen", "miss"),
}
FACTS = (*OF_VALUES, *OF_KEYS, *(fact for fact in UNPROVED if fact not in OF_VALUES))

# facts of values
CHANGES = ("write", "delete")  # done
ABSENT_VALUE = ("delete", "miss")
HEARSAY = ("doubtful", "hearsay")  # what was last said, where nothing is known
# facts of keys; each takes the key's values with it, or proves that there are none
ABSENT_KEY = ("key_created", "key_missing", "key_deleted", "key_renamed")
# what proves that a key is there
EXISTING_KEY = (
    "key_created", "key_opened", "key_used", "key_arrived", "write", "delete", "read", "seen", "miss",
)  # fmt: skip
KEY_GONE = ("key_missing", "key_deleted", "key_renamed")

# column with the sequence of the newest of some facts -> the facts
VALUE_FACTS = {
    "write": ("write",),
    "read": ("read",),
    "seen": ("seen",),
    "missed": ("miss",),
    "deleted": ("delete",),
    "unclear": ("unclear", "doubtful"),
}
KEY_FACTS = {  # of the value's key
    "key_absent": tuple(fact for fact in ABSENT_KEY if fact not in ("key_deleted", "key_renamed")),
    "key_deleted": ("key_deleted", "key_renamed"),
    "key_unknown": ("key_unknown", "key_doubtful"),
}

# what net changes are made of: changes of a value and of a key, and what tells the state of a value
OWN_CHANGES = (*CHANGES, *VALUE_FACTS["unclear"])
KEY_CHANGES = (
    "key_created", "key_deleted", "key_renamed", "key_arrived", "key_brought", *KEY_FACTS["key_unknown"],
)  # fmt: skip
OWN_STATES = ("write", "read", "seen", "delete", "miss", *VALUE_FACTS["unclear"])
