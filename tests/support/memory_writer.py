"""A writer of captures that writes nothing: it checks every value that it gets, and keeps the tables."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from tracer.schema import TABLES
from tracer.store.manifest import Manifest

__all__ = ["MemoryWriter"]


class MemoryWriter:
    """Stands in for `tracer.store.writer.CaptureWriter`."""

    def __init__(self, target: Path, *, force: bool = False, sources: object = ()) -> None:
        self.target = target
        self.tables: dict[str, list[pa.Table]] = {name: [] for name in TABLES}

    def write_part(self, row_groups: Callable[[], Iterable[pa.Table]], rows: int) -> None:
        """Take a part of the events."""
        before = self._rows("events")
        self.append("events", row_groups())
        assert self._rows("events") - before == rows

    def append(self, name: str, tables: Iterable[pa.Table]) -> None:
        """Take rows of a table."""
        for table in tables:
            table.validate(full=True)
            assert table.schema.names == TABLES[name].names
            self.tables[name].append(table)

    def append_rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Take rows of a table."""
        self.append(name, [pa.Table.from_pylist(rows, schema=TABLES[name].arrow())])

    def publish(self, manifest: Manifest) -> Manifest:
        """Check what the manifest says of the rows."""
        assert self._rows("events") == manifest.totals["events"]
        return manifest

    def _rows(self, name: str) -> int:
        return sum(map(len, self.tables[name]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""
