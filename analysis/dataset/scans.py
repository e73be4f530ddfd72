"""Queries that read a table of several captures: one scan of all files that are read alike, with labels and shifted ids.

A thousand scans put together take longer to plan than to run. So what depends on the capture is looked up by the number of
the file. A scan has the columns and types of its first file, and files are of strangers: the first is a form that we wrote,
without rows, so that no capture says how another is read.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np

from analysis.dataset.clocks import Stretch
from analysis.dataset.members import Member
from analysis.engine.columns import IDS, KINDS, LABELS
from analysis.engine.connection import rows_of, scan, way_of_reading, without_rows
from analysis.engine.relation import identifier, quoted
from tracer.errors import CaptureError
from tracer.schema import TABLES
from tracer.store.reader import files_of, rows_in

__all__ = ["near", "scan_of", "with_first_ids", "write_forms"]

_NUMBER = "file_index"  # the engine's own column: the place of a row's file in the list of its scan
_LARGEST = 2**63 - 1  # id
_TIMES = {"events": {"time_ns": "at"}, "losses": {"from_ns": "from", "to_ns": "to"}}  # what a clock moves
_Files = tuple[Member, list[Path], Stretch | None]
_FEW = 16  # ids that are asked for by name; of more, the first and the last bound what is read


def write_forms(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write a file without rows for each table."""
    for name, table in TABLES.items():
        target = quoted(str(_form_of(folder, name)))
        connection.execute(f"COPY ({without_rows(table)}) TO {target} (FORMAT parquet)")


def with_first_ids(
    members: Sequence[Member], connection: duckdb.DuckDBPyConnection, forms: Path
) -> list[Member]:
    """Return the members with ids that follow each other.

    Args:
        members: captures, in order.
        connection: an engine, which looks for the largest ids.
        forms: where `write_forms` wrote.

    Raises:
        CaptureError: the ids of a capture are so large that no more fit.
    """
    shifted = []
    first = dict.fromkeys(KINDS, 0)
    for member, largest in zip(members, largest_ids(members, connection, forms), strict=True):
        shifted.append(replace(member, first=dict(first)))
        for kind, number in largest.items():
            first[kind] += 0 if number is None else number + 1
            if first[kind] > _LARGEST:
                raise CaptureError(f"{member.path} has a {kind} that is too large to join other captures")
    return shifted


def largest_ids(
    members: Sequence[Member], connection: duckdb.DuckDBPyConnection, forms: Path
) -> list[dict[str, int | None]]:
    """Return the largest id of each kind in each capture; None where there is none."""
    largest: list[dict[str, int | None]] = [
        {
            "sequence": max((part["last_sequence"] for part in member.manifest.parts), default=None),
            "source_id": len(member.manifest.sources) - 1,
        }
        for member in members
    ]
    for kind, name in (("key_id", "keys"), ("process_id", "processes"), ("handle_id", "handles")):
        for own, number in zip(largest, _largest_in(members, connection, forms, name, kind), strict=True):
            own[kind] = number
    # Where no lives are known, rows may yet tell them apart.
    places = [place for place, own in enumerate(largest) if own["handle_id"] is None]
    some = [members[place] for place in places]
    for place, number in zip(
        places, _largest_in(some, connection, forms, "events", "handle_id"), strict=True
    ):
        largest[place]["handle_id"] = number
    return largest


def _largest_in(
    members: Sequence[Member], connection: duckdb.DuckDBPyConnection, forms: Path, name: str, column: str
) -> list[int | None]:
    """Return the largest number in a column of a table of each capture, by one search."""
    files = [
        (place, file)
        for place, member in enumerate(members)
        for file in files_of(member.path.absolute(), member.manifest, name)
    ]
    largest: list[int | None] = [None] * len(members)
    if not files:
        return largest
    source = rows_of([_form_of(forms, name), *(file for _, file in files)])
    found = connection.execute(f"SELECT {_NUMBER}, max({column}) FROM {source} GROUP BY ALL").fetchall()
    for number, most in found:
        place = files[number - 1][0]
        known = largest[place]
        largest[place] = most if known is None or (most is not None and most > known) else known
    return largest


def scan_of(
    members: Sequence[Member],
    name: str,
    forms: Path,
    condition: str = "true",
    clock: Sequence[Stretch] | None = None,
) -> str:
    """Return the query that reads a table of some captures, with their labels and with shifted ids.

    Args:
        members: the captures.
        name: the table.
        forms: where `write_forms` wrote.
        condition: which rows; the ids in it (`own.key_id`) are those of the files.
        clock: the stretch of time of each capture, in which its times are to be; None: times as they are.
    """
    alike: dict[Hashable, list[_Files]] = {}
    for place, member in enumerate(members):
        if files := files_of(member.path.absolute(), member.manifest, name):
            way = way_of_reading(TABLES[name], member.manifest)
            alike.setdefault(way, []).append((member, files, None if clock is None else clock[place]))
    if not alike:
        return _of_one((members[0], [], None), name, condition)
    return " UNION ALL ".join(
        _of_one(some[0], name, condition) if len(some) == 1 else _of_many(some, name, forms, condition)
        for some in alike.values()
    )


def near(key_ids: np.ndarray) -> str:
    """Return the condition for keys that are in a list, or between its members; they are in order, each once."""
    if len(key_ids) == 1:
        return f"own.key_id = {key_ids[0]}"
    between = f"own.key_id BETWEEN {key_ids[0]} AND {key_ids[-1]}"
    if len(key_ids) > _FEW:
        return between
    return f"{between} AND own.key_id IN ({', '.join(map(str, key_ids))})"


def _of_one(one: _Files, name: str, condition: str) -> str:
    member, files, stretch = one
    labels = [quoted(getattr(member, label)) for label in LABELS]
    shifts = {kind: str(first) for kind, first in member.first.items()}
    times = None if stretch is None else [str(number) for number in stretch]
    source = scan(TABLES[name], files, member.manifest)
    return _labelled(name, labels, shifts, times, source, condition)


def _of_many(some: Sequence[_Files], name: str, forms: Path, condition: str) -> str:
    files = [_form_of(forms, name), *(file for _, own, _ in some for file in own)]
    members = [member for member, own, _ in some for _ in own]
    clock = [stretch for _, own, stretch in some for _ in own if stretch is not None]

    def looked_up(values: Iterable[object]) -> str:
        return f"[NULL, {', '.join(map(str, values))}][own.{_NUMBER}::BIGINT + 1]"

    labels = [looked_up(quoted(getattr(member, label)) for member in members) for label in LABELS]
    shifts = {
        kind: f"{looked_up(member.first[kind] for member in members)}::BIGINT"
        for kind in set(IDS[name].values())
    }
    times = [f"{looked_up(numbers)}::BIGINT" for numbers in zip(*clock, strict=True)] or None
    # The form has no rows: an engine that guessed from it would hold all rows in memory, to look up a few in them.
    rows = sum(rows_in(member.manifest, name) for member, _, _ in some)
    source = scan(TABLES[name], files, members[0].manifest, more=(_NUMBER,), rows=rows)
    return _labelled(name, labels, shifts, times, source, condition)


def _labelled(
    name: str,
    labels: Sequence[str],
    shifts: Mapping[str, str],
    times: Sequence[str] | None,
    source: str,
    condition: str,
) -> str:
    columns = [f"{value} AS {label}" for value, label in zip(labels, LABELS, strict=True)]
    for column in TABLES[name].names:
        kind, own, shown = IDS[name].get(column), f"own.{identifier(column)}", identifier(column)
        if kind is not None:
            own = f"{own}::BIGINT + {shifts[kind]} AS {shown}"
        elif times is not None and column in _TIMES.get(name, {}):
            first, last, shift = times
            # An unknown bound is as far as it can be; a time that is not known stays so.
            bound = {"from": f"coalesce({own}, {first})", "to": f"coalesce({own}, {last})"}
            asked = bound.get(_TIMES[name][column], own)
            moved = f"greatest(least({asked}, {last}), {first}) + {shift}"
            own = f"CASE WHEN {asked} IS NOT NULL THEN {moved} END AS {shown}"
        columns.append(own)
    return f"SELECT {', '.join(columns)} FROM ({source}) AS own WHERE {condition}"


def _form_of(folder: Path, name: str) -> Path:
    return folder / f"{name}.parquet"
