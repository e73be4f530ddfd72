"""Captures of a few keys and values with events in any order: what nobody would think of to write by hand."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from tracer.registry.operations import BY_NAME
from tracer.registry.paths import display_path
from tracer.registry.text import fold_name
from tracer.schema import OPTIONAL, TABLES
from tracer.store.manifest import Manifest

__all__ = ["PATHS", "START_NS", "events", "losses", "path_of", "together", "with_renames", "write_workload"]

START_NS = 1_714_557_600_000_000_000
_ROOT = "\\REGISTRY\\MACHINE\\SOFTWARE"
# (path, same_as or None)
PATHS = (
    (f"{_ROOT}", None),
    (f"{_ROOT}\\A", None),
    (f"{_ROOT}\\A\\x", None),
    (f"{_ROOT}\\A\\x\\y", None),
    (f"{_ROOT}\\AB", None),
    (f"{_ROOT}\\b", None),
    (f"{_ROOT}\\a", 1),
    (f"{_ROOT}\\AB\\x", None),
    (f"{_ROOT}\\AB\\x\\y", None),
    (f"{_ROOT}\\b\\x", None),
    (f"{_ROOT}\\b\\z", None),
    ("<object 0xFFFF800012345678>", None),
)
_NAMES = ("", "V", "v", "straße", "STRAßE", "nul<U+0000>", "=1+1")
_PIECES = (b"", b"\1\0\0\0", b"a\0\0\0", b"abc")
_STATUSES = st.sampled_from(
    (0, 0, 0, 0, None, 0x103, 0x104, 0x80000005, 0x8000001A, 0xC0000022, 0xC0000023, 0xC0000034, 0xC000003A,
     0xC000017C)
)  # fmt: skip
_KINDS = st.sampled_from((None, 1, 4, 0x7FF))
_DATA = st.sampled_from((None, *_PIECES))
_OPERATIONS = ("SetValueKey", "SetValueKey", "QueryValueKey", "QueryValueKey", "DeleteValueKey", "DeleteKey",
               "OpenKey", "CreateKey", "EnumerateValueKey", "QueryKey", "EnumerateKey", "RenameKey", "LoadKey",
               "UnloadKey", "RestoreKey", "HiveWork", "CloseKey", "FlushKey", "CreateOrDelete")  # fmt: skip


@st.composite
def _read(draw: st.DrawFn) -> dict[str, Any]:
    """Return what a read tells of a value: all of it, its beginning, its size or type alone, or nothing."""
    data = draw(st.sampled_from(_PIECES))
    known = draw(st.sampled_from(("all", "all", "beginning", "size", "type", "nothing")))
    kind = draw(st.integers(0, 2**32 - 1)) if known in ("all", "beginning", "type") else None
    captured = {"all": data, "beginning": data[:-1]}.get(known) or None
    return {
        "information_class": draw(st.sampled_from((None, 0, 1, 2, 3, 4, 5))),
        "data_type": kind,
        "data_size": len(data) if known in ("all", "beginning", "size") else None,
        "data": captured,
    }


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Return one event; only its order, time and number are missing."""
    operation = draw(st.sampled_from(_OPERATIONS))
    row: dict[str, Any] = {
        "operation": operation,
        "notify_class": BY_NAME[operation].notify_class,
        "key_id": draw(st.sampled_from((*range(len(PATHS)), 1, 2, 2, 2, None))),
        "status": draw(_STATUSES),
        "process_id": draw(st.sampled_from((0, 1, None))),
        "gap": draw(st.sampled_from((0, 1, 1_000))),
        "flags": draw(st.sampled_from((*(0,) * 20, 1, 16))),
    }
    if operation in ("SetValueKey", "DeleteValueKey", "QueryValueKey", "EnumerateValueKey"):
        row["value_name"] = draw(st.sampled_from((*_NAMES, "V", "v", None)))
    if operation == "SetValueKey":
        data = draw(_DATA)
        row |= {"data_type": draw(_KINDS), "data": data, "data_size": None if data is None else len(data)}
        if draw(st.booleans()):
            data = draw(_DATA)
            size = None if data is None else len(data)
            row |= {"previous_type": draw(_KINDS), "previous_data": data, "previous_size": size}
    elif operation in ("QueryValueKey", "EnumerateValueKey"):
        row |= draw(_read())
    elif operation == "QueryKey":
        row["information_class"] = draw(st.sampled_from((0, 3, 7, None)))
    elif operation == "CreateKey":
        row["disposition"] = draw(st.sampled_from((1, 2, None)))
    elif operation == "RenameKey":
        row["requested_name"] = draw(st.sampled_from(("AB", "b", "a", "x", None)))
    elif operation == "HiveWork":
        name = draw(st.sampled_from(("UnloadHiveStart", "FlushHiveStart", "RestoreHiveStop", "LoadHiveStop")))
        more = draw(st.sampled_from(('"HiveMountPoint": "x"', '"StatusCode": 0', '"StatusCode": 3221225506')))
        row["detail"] = draw(st.sampled_from((None, f'{{"event": "{name}", {more}}}')))
    return row


@st.composite
def with_renames(draw: st.DrawFn, least: int, most: int) -> list[dict[str, Any]]:
    """Return events among which keys are renamed to and fro, most of them with what is below, and as far as is known."""
    rows = draw(st.lists(events(), min_size=least, max_size=most))
    shared = {"notify_class": BY_NAME["RenameKey"].notify_class, "operation": "RenameKey"}
    for place, key, name in draw(
        st.lists(
            st.tuples(
                st.integers(0, len(rows)), st.sampled_from((1, 4, 5, 1, 4, 5, 6, 2, 7)),
                st.sampled_from(("A", "ab", "B", "x", "z")),
            ),
            min_size=1, max_size=8,
        )
    ):  # fmt: skip
        flags, status = draw(st.sampled_from(((0, 0), (0, 0), (0, 0), (0, 0xC0000022), (1, 0))))
        row = shared | {"key_id": key, "requested_name": name, "status": status, "flags": flags}
        rows.insert(place, row | {"process_id": draw(st.sampled_from((0, 1))), "gap": 1})
    return rows


@st.composite
def losses(draw: st.DrawFn) -> dict[str, Any]:
    """Return one loss, its bounds up to a few events after the start."""
    start, end = sorted(draw(st.tuples(*[st.integers(0, 12_000)] * 2)))
    unknown = draw(st.sampled_from(("", "", "from", "to", "from to")))
    return {
        "source_id": 0,
        "kind": draw(st.sampled_from(("events", "buffers", "damage", "blind"))),
        "from_ns": None if "from" in unknown else START_NS + start,
        "to_ns": None if "to" in unknown else START_NS + end,
    }


def together(workloads: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the events of several workloads as they follow each other in time, each with keys of its own.

    The key `number` of the workload `place` is `place * len(PATHS) + number`.
    """
    timed = []
    for place, rows in enumerate(workloads):
        at = 0
        for row in rows:
            at += row["gap"]
            number = row["key_id"]
            moved = row | {"key_id": None if number is None else place * len(PATHS) + number}
            timed.append((at, moved))
    timed.sort(key=lambda one: one[0])  # stable: rows of one workload keep their order
    before = [0, *(at for at, _ in timed)]
    return [row | {"gap": at - last} for (at, row), last in zip(timed, before, strict=False)]


def path_of(number: int) -> str:
    """Return the native path of a key; those of the workloads after the first are below another root each."""
    place, number = divmod(number, len(PATHS))
    path, _ = PATHS[number]
    if not place:
        return path
    if path.startswith("<"):
        return f"{path[:-2]}{place}>"
    return f"{_ROOT}~{place}{path.removeprefix(_ROOT)}"


def write_workload(
    directory: Path, rows: list[dict[str, Any]], lost: list[dict[str, Any]], *, workloads: int = 1
) -> Path:
    """Write a capture of these events, in this order, into `directory`, which is made, and return it.

    Args:
        directory: the capture.
        rows: its events.
        lost: its losses.
        workloads: how many the rows are of, with `together`.
    """
    directory.mkdir(parents=True)
    time_ns, timed = START_NS, []
    for number, row in enumerate(rows):
        time_ns += row["gap"]
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
        timed.append(row | {"sequence": number, "time_ns": time_ns, "time": moment, "source_id": 0})
    paths = [path_of(number) for number in range(workloads * len(PATHS))]
    same = [PATHS[number % len(PATHS)][1] for number in range(len(paths))]
    keys = [
        {
            "key_id": number, "path": path, "display_path": display_path(path), "name": path.rpartition("\\")[2],
            "folded_path": fold_name(display_path(path)),
            "same_as": number if other is None else number - number % len(PATHS) + other,
            "parent_id": next((n for n, top in enumerate(paths) if top == path.rpartition("\\")[0]), None),
            "name_source": "none" if path.startswith("<") else None,
        }
        for number, (path, other) in enumerate(zip(paths, same, strict=True))
    ]  # fmt: skip
    nameless = {number for number, path in enumerate(paths) if path.startswith("<")}
    people = [{"process_id": n, "pid": 4 * n + 4, "image": ("a.exe", None)[n]} for n in (0, 1)]
    contents = {"events": timed, "keys": keys, "processes": people, "losses": lost}
    tables = {}
    for name, table in TABLES.items():
        if name in OPTIONAL:
            continue
        filled = [{column: row.get(column) for column in table.names} for row in contents.get(name, [])]
        pq.write_table(pa.Table.from_pylist(filled, schema=table.arrow()), directory / f"{name}.parquet")
        tables[name] = {"file": f"{name}.parquet", "rows": len(filled), "columns": len(TABLES[name].names)}
    part = tables.pop("events") | {
        "first_sequence": 0, "last_sequence": len(rows) - 1,
        "first_ns": timed[0]["time_ns"], "last_ns": timed[-1]["time_ns"],
    }  # fmt: skip
    Manifest(
        complete=not lost and not any(row["flags"] for row in rows),
        windows_build=None,
        clock=None,
        control_set=None,
        sources=[],
        settings={},
        parts=[part],
        tables=tables,
        totals={"events": len(rows), "names": {"none": sum(row["key_id"] in nameless for row in rows)}},
    ).save(directory)
    return directory
