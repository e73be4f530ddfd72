"""A capture of many events, made in minutes: copies of a simulated one, one after the other, with keys of their own.

Each copy follows the one before it in time and sequence, with other processes and handles. Keys near the roots are
shared by all copies; below the third component each copy has its own, so that keys grow with events.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tracer.ingest.pipeline import ingest
from tracer.schema import TABLES
from tracer.simulate import SimulationOptions, simulate
from tracer.store.manifest import Manifest
from tracer.store.reader import event_files, table_files
from tracer.store.writer import ROW_GROUP, CaptureWriter

_GAP_NS = 1_000_000_000  # between two copies
_MICROSECOND_NS = 1_000
_OWN = r"^((?:HK[^\\]*|\\REGISTRY\\[^\\]+)(?:\\[^\\]+){2})"  # what gets the number of its copy


def large_capture(folder: Path, events: int, base_events: int = 5_000_000) -> Path:
    """Return a capture of about `events` events in `folder`; it is made where it is not there yet."""
    target = folder / f"large-{events}.regtrace"
    if target.exists():
        return target
    base_events = min(base_events, events)
    base = folder / f"base-{base_events}.regtrace"
    if not base.exists():
        trace = folder / "base.etl"
        simulate(trace, SimulationOptions(events=base_events), truth=False)
        ingest([trace], base)
        trace.unlink()
    copies = max(1, round(events / base_events))
    manifest = Manifest.load(base)
    files = table_files(base, manifest)
    tables = {name: pq.read_table(files[name][0]) for name in ("keys", "handles", "processes")}
    lasted_ns = max(part["last_ns"] for part in manifest.parts) - min(
        part["first_ns"] for part in manifest.parts
    )
    size = {
        "sequence": max(part["last_sequence"] for part in manifest.parts) + 1,
        "key_id": pc.max(tables["keys"]["key_id"]).as_py() + 1,
        "handle_id": pc.max(tables["handles"]["handle_id"]).as_py() + 1,
        "process_id": tables["processes"].num_rows,
        # Whole microseconds, so that `time` stays `time_ns` without its last three digits.
        "ns": (lasted_ns // _MICROSECOND_NS + 1) * _MICROSECOND_NS + _GAP_NS,
    }
    with CaptureWriter(target) as writer:
        for copy in range(copies):
            shift = {kind: copy * number for kind, number in size.items()}
            for file in event_files(base, manifest):
                part = pq.read_table(file)
                writer.write_part(
                    lambda part=part, shift=shift: _row_groups(_events(part, shift)), part.num_rows
                )
            writer.append("handles", [_shifted(tables["handles"], shift)])
            writer.append("processes", [_shifted(tables["processes"], shift | {"key_id": 0})])
            writer.append("keys", [_keys(tables["keys"], shift, copy)])
        counts = {name: copies * table.num_rows for name, table in tables.items()}
        totals = manifest.totals | {"events": copies * size["sequence"]} | counts
        writer.publish(replace(manifest, totals=totals, parts=[], tables={}))
    return target


def _row_groups(part: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, part.num_rows, ROW_GROUP):
        yield part.slice(start, ROW_GROUP)


def _events(part: pa.Table, shift: dict[str, int]) -> pa.Table:
    part = _shifted(part, shift)
    place = part.schema.get_field_index("time")
    moved = pc.add(part["time"].cast(pa.int64()), shift["ns"] // _MICROSECOND_NS)
    return part.set_column(place, "time", moved.cast(part.schema.field("time").type))


def _shifted(table: pa.Table, shift: dict[str, int]) -> pa.Table:
    """Return the table with its ids and its nanoseconds moved."""
    parent = "key_id" if "same_as" in table.schema.names else "process_id"
    for place, field in enumerate(table.schema):
        kind = field.name
        kind = parent if kind == "parent_id" else "key_id" if kind == "same_as" else kind
        kind = next((one for one in shift if kind == one or kind.endswith(f"_{one}")), None)
        if kind is None or field.name in ("duration_ns", "source_id"):
            continue
        moved = pc.add(table.column(place), pa.scalar(shift[kind], field.type))
        table = table.set_column(place, field, moved)
    return table


def _keys(keys: pa.Table, shift: dict[str, int], copy: int) -> pa.Table:
    """Return the keys of a copy; those near the roots are the first copy's."""
    if not copy:
        return keys
    moved = _shifted(keys, shift)
    shared = pa.array([True] * keys.num_rows)
    for name in ("path", "display_path", "folded_path", "name"):
        own = pc.replace_substring_regex(
            keys["display_path" if name == "name" else name], _OWN, rf"\1~{copy}"
        )
        if name == "path":
            shared = pc.equal(own, keys["path"])
        if name == "name":
            own = pc.replace_substring_regex(own, r"^.*\\", "")
            own = pc.if_else(pc.equal(keys["display_path"], keys["name"]), keys["name"], own)
        moved = moved.set_column(moved.schema.get_field_index(name), name, own)
    same = pc.if_else(shared, keys["same_as"], moved["same_as"])
    moved = moved.set_column(moved.schema.get_field_index("same_as"), "same_as", same)
    return moved.cast(TABLES["keys"].arrow())
