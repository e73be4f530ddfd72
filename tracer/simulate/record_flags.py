"""Record flags: bits set by the sinks that say what a record proves about names and lifetimes."""

__all__ = [
    "CLOSES",
    "EVIDENCE_ONLY",
    "NAMES_BASE",
    "NAMES_LIFE",
    "OPENS",
    "OWN_NAME",
    "UNDER_BASE",
]

OWN_NAME = 1  # it carries the whole name of its key
NAMES_LIFE = 2  # it names the object it is about (or opened)
NAMES_BASE = 4  # it names the object it opened from
UNDER_BASE = 8  # its key's name is relative to the object it opened from
OPENS = 16  # the object's life begins here
CLOSES = 32  # and ends here
EVIDENCE_ONLY = 64  # not an operation (classic control block records): no row of the truth
