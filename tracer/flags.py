"""What rows say of their own certainty, and losses of what is missing: the words that questions decide by.

They stand apart from the columns in `tracer.schema`, which change more often.
"""

__all__ = ["FLAGS", "LOST_KINDS"]

FLAGS = {
    "name_ambiguous": 1,  # embedded NULs allow more than one reading
    "data_truncated": 2,  # fewer bytes were captured than the value, or what was read of a key, holds
    "previous_truncated": 4,
    "name_has_nul": 8,  # a name holds a NUL: hidden from Win32 programs
    "across_loss": 16,  # events were lost between the row and the evidence that names it
    "after_close": 32,  # the object's close was recorded before this row
    "layout_prefix": 64,  # an unknown newer version of a known event, read as far as the known layout goes
    "path_split": 128,  # Procmon writes key and value as one path: where the key ends was inferred
}

LOST_KINDS = ("events", "buffers", "damage")  # kinds of losses that mean that events are missing
