"""The operations and columns of events that are evidence, without any import of Ibis."""

__all__ = ["EVENT_COLUMNS", "NEEDED", "OF_SUBTREES"]

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
