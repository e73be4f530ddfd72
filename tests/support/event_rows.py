"""Event rows made by hand, as a live pipeline or a capture hands them to callbacks."""

from typing import Any

import pyarrow as pa

from tracer.registry.operations import BY_NAME
from tracer.schema import EVENTS

__all__ = ["event_table", "row"]

_SCHEMA = pa.schema(
    [
        *(field for field in EVENTS.arrow() if field.name not in ("key_id", "process_id", "handle_id")),
        pa.field("key", pa.string()),
        pa.field("display_key", pa.string()),
        pa.field("process", pa.string()),
        pa.field("pid", pa.uint32()),
        pa.field("address", pa.int64()),
    ]
)


def row(operation: str = "SetValueKey", key: str | None = None, **more: Any) -> dict[str, Any]:
    """Return one row; what is not given is NULL."""
    return {
        "operation": operation,
        "notify_class": BY_NAME[operation].notify_class,
        "phase": BY_NAME[operation].phase,
        "key": key,
        "flags": 0,
        **more,
    }


def event_table(*rows: dict[str, Any]) -> pa.Table:
    """Return rows as a table, numbered and timed in their order."""
    numbered = [{"sequence": number, "time_ns": 1000 * number, **each} for number, each in enumerate(rows)]
    return pa.Table.from_pylist(numbered, schema=_SCHEMA)
