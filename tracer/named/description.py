"""What a log holds, without a capture: operations, times, processes and sources, and what was met while reading."""

from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tracer.diagnostics import Diagnostics
from tracer.named.context import NamedContext, NamedOptions
from tracer.named.ingest import READERS
from tracer.sources.inputs import SourceFile

__all__ = ["describe_log"]


def describe_log(file: SourceFile) -> dict[str, Any]:
    """Return the facts of a log as JSON values.

    Keys: `kind`, `size` (bytes), `operations` and `rows_by_source` (name to count), `paths` (distinct ones, of keys and of
    values), `processes`, `computers`, `first_ns`, `last_ns` (UTC; None without rows), `losses`, `diagnostics`.

    Raises:
        SourceError: it is not readable at all.
    """
    diagnostics = Diagnostics()
    context = NamedContext(NamedOptions())
    operations: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    paths: set[str] = set()
    first: int | None = None
    last: int | None = None
    size = file.path.stat().st_size
    for rows in READERS[file.kind](file, size, context, diagnostics):
        if not rows.num_rows:
            continue
        operations.update(_counted(rows["operation"]))
        sources.update(_counted(rows["source"]))
        paths.update(path for path in pc.unique(rows["path"]).to_pylist() if path is not None)
        span = pc.min_max(rows["time_ns"]).as_py()
        first = span["min"] if first is None else min(first, span["min"])
        last = span["max"] if last is None else max(last, span["max"])
    if not operations:
        diagnostics.count("log_no_registry_events")
    return {
        "kind": file.kind,
        "size": size,
        "operations": dict(operations.most_common()),
        "rows_by_source": dict(sources.most_common()),
        "paths": len(paths),
        "processes": len(context.actors),
        "computers": context.hosts.names,
        "first_ns": first,
        "last_ns": last,
        "losses": [{**loss, "source_id": 0} for loss in context.losses],
        "diagnostics": diagnostics.rows(0),
    }


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    return {one["values"]: one["counts"] for one in column.value_counts().to_pylist()}
