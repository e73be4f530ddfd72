"""Live rows for JSON lines: the columns of a timeline, as far as they are known live."""

import pyarrow as pa

from tracer.registry.ntstatus import status_name
from tracer.registry.value_columns import with_texts

__all__ = ["line_rows"]

# As in the view `events`; what only a capture knows (numbers of keys, handles and processes) is not there.
_COLUMNS = (
    "sequence", "time", "time_ns", "operation", "notify_class", "phase", "status", "status_name", "key",
    "display_key", "value_name", "process", "pid", "tid", "user", "command_line", "requested_name",
    "disposition", "information_class", "index", "entry_count", "data_type", "data_size", "data",
    "previous_type", "previous_size", "previous_data", "name_source", "address", "event_id", "flags", "detail",
)  # fmt: skip


def line_rows(rows: pa.Table) -> pa.Table:
    """Return rows of `tracer.live.pipeline.LivePipeline` with the columns that JSON lines have."""
    rows = rows.rename_columns(["tid" if name == "thread_id" else name for name in rows.schema.names])
    encoded = rows.column("status").combine_chunks().dictionary_encode()
    names = pa.array([status_name(code) for code in encoded.dictionary.to_pylist()], pa.string())
    rows = rows.append_column("status_name", names.take(encoded.indices))
    return with_texts(rows.select(list(_COLUMNS)))
