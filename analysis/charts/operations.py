"""The operations that a picture holds: each one where there is room, else counts of short stretches of time."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ibis

from analysis.charts.parts import group_of
from analysis.engine.connection import engine_errors
from analysis.engine.fetch import fetch
from analysis.expressions.events_view import is_failure
from analysis.filters import Filters
from tracer.errors import UsageError
from tracer.registry.user_keys import sid_of

if TYPE_CHECKING:
    from ibis.expr.types import Table

    from analysis.charts.source import Source

__all__ = ["MOST_ROWS", "Cell", "Operations", "not_empty", "rows_of", "some"]

MOST_ROWS = 40_000  # of a page
_MOST_BYTES = 1_600_000  # of its rows: the page is 1 MB larger
_MOST_CELLS = 40_000
_PLACES = 1024
_COLUMNS = [
    "time_ns", "process_id", "process", "pid", "operation", "status", "status_name", "display_key", "value_name",
    "disposition", "information_class",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """Operations that are only counted: those of one process, group and result in one stretch of time.

    Attributes:
        place: number of the stretch, from the first one.
        process_id: whose they are; None where they are not told apart by process.
        group: of `analysis.charts.parts.GROUPS`.
        failed: whether they failed.
        events: how many they are.
    """

    place: int
    process_id: int | None
    group: str
    failed: bool
    events: int


@dataclass(frozen=True, slots=True)
class Operations:
    """The operations that fit the filters of a picture: rows and cells together are all of them.

    Attributes:
        rows: those with a row of their own, in order; columns of a timeline, and group, failed, and key, as tables spell it.
        cells: the others, counted.
        processes: operations of each process, rows and cells.
        called: image and pid of each process, by its id.
        first_ns: the first one, UTC nanoseconds; the first stretch begins here.
        last_ns: the last one.
        width_ns: length of a stretch.
        users: the sentence that says whose keys HKCU is, where a row's key begins so; "" elsewhere.
    """

    rows: list[dict[str, Any]]
    cells: list[Cell]
    processes: "Counter[int | None]"
    called: dict[int | None, tuple[str | None, int | None]]
    first_ns: int
    last_ns: int
    width_ns: int
    users: str = ""

    @property
    def total(self) -> int:
        """The number of operations."""
        return sum(self.processes.values())

    @property
    def counted(self) -> int:
        """How many of them have no row of their own."""
        return sum(cell.events for cell in self.cells)

    @classmethod
    def of(cls, capture: "Source", filters: Filters, *, most: int = MOST_ROWS) -> "Operations":
        """Return the operations that fit, in a size that a page bears; see `_of`."""
        while True:
            operations = cls._of(capture, filters, most=most)
            size = _size(operations.rows)
            if size <= _MOST_BYTES:
                return replace(operations, users=_spelled(capture, filters, operations.rows))
            most = min(len(operations.rows) - 1, most) * _MOST_BYTES // size

    @classmethod
    def _of(cls, capture: "Source", filters: Filters, *, most: int) -> "Operations":
        """Return the operations that fit.

        Where they are more than `most`, the time is cut into stretches. Those of a process that did little in a
        stretch keep their rows, as many as there is room for; the others are counted.

        Raises:
            UsageError: nothing fits, or a filter cannot be understood.
        """
        not_empty(capture)
        stored = capture.rows(filters, joined=False)
        [whole] = rows_of(
            stored.aggregate(
                events=stored.count(), first=stored["time_ns"].min(), last=stored["time_ns"].max()
            )
        )
        if not whole["events"]:
            some([])
        first, last = whole["first"], whole["last"]
        width = max(-(-(last - first + 1) // _PLACES), 1)
        asked = capture.where(filters).lazy.timeline(columns=["sequence", *_COLUMNS])
        asked = asked.mutate(group=group_of(asked), failed=is_failure(asked["status"]).fill_null(False))
        if whole["events"] <= most:
            rows = rows_of(asked)
            return cls(rows, [], *_processes(capture, rows, []), first, last, width)
        while True:
            placed = _placed(stored, first, width)
            cells = [
                Cell(row["place"], row["process_id"], row["group"], row["failed"], row["events"])
                for row in rows_of(
                    placed.group_by("place", "process_id", "group", "failed").aggregate(
                        events=lambda each: each.count()
                    )
                )
            ]
            sizes: Counter[tuple[int, int | None]] = Counter()
            for cell in cells:
                sizes[cell.place, cell.process_id] += cell.events
            room, largest = most, 0
            for size, times in sorted(Counter(sizes.values()).items()):
                room -= size * times
                if room < 0:
                    break
                largest = size
            closed = [cell for cell in cells if sizes[cell.place, cell.process_id] > largest]
            if len(closed) <= _MOST_CELLS:
                break
            width *= 2
        near = placed.mutate(near=ibis._.count().over(group_by=["place", "process_id"]))
        chosen = near.filter(near["near"] <= largest).select("sequence")
        rows = rows_of(asked.semi_join(chosen, "sequence").order_by("sequence")) if largest else []
        closed.sort(key=lambda cell: (cell.place, str(cell.process_id), cell.group, cell.failed))
        return cls(rows, closed, *_processes(capture, rows, closed), first, last, width)


def _spelled(capture: "Source", filters: Filters, rows: list[dict[str, Any]]) -> str:
    """Give each row its key as tables spell it, and return the sentence that says whose keys HKCU is."""
    if not any(sid_of(row["display_key"] or "") for row in rows):
        for row in rows:
            row["key"] = row["display_key"] or ""
        return ""
    users = capture.context.users
    spell = users.spelling(filters)
    for row in rows:
        row["key"] = spell(row["display_key"] or "")
    if not any(row["key"].partition("\\")[0] == "HKCU" for row in rows):
        return ""
    return users.sentence(replace(filters, key="HKCU")) or ""


def _size(rows: list[dict[str, Any]]) -> int:
    """Return about how many bytes a page needs for rows: each different text stands there once."""
    texts = {row[name] for row in rows for name in ("display_key", "value_name", "process")}
    return 36 * len(rows) + sum(len(text) + 3 for text in texts if text)


def rows_of(table: "Table") -> list[dict[str, Any]]:
    """Return the rows of a question as dictionaries."""
    with engine_errors():
        rows: list[dict[str, Any]] = fetch(table).to_pylist()
    return rows


def some(rows: list[dict[str, Any]], what: str = "operation") -> list[dict[str, Any]]:
    """Return the rows.

    Raises:
        UsageError: there are none.
    """
    if not rows:
        raise UsageError(f"no {what} fits, so there is nothing to draw; choose more keys or a longer time")
    return rows


def not_empty(capture: "Source") -> None:
    """Check that there is something to draw.

    Raises:
        UsageError: the capture has no events.
    """
    if not capture.manifest.parts:
        raise UsageError(f"{capture.path.name} holds no events, so there is nothing to draw")


def _placed(stored: "Table", first_ns: int, width_ns: int) -> "Table":
    place = (stored["time_ns"] - ibis.literal(first_ns, "int64")) // ibis.literal(width_ns, "int64")
    return stored.mutate(
        place=place.cast("int64"),
        group=group_of(stored),
        failed=is_failure(stored["status"]).fill_null(False),
    )


def _processes(
    capture: "Source", rows: list[dict[str, Any]], cells: list[Cell]
) -> "tuple[Counter[int | None], dict[int | None, tuple[str | None, int | None]]]":
    """Return the operations of each process, and its image and pid."""
    counted: Counter[int | None] = Counter(row["process_id"] for row in rows)
    called = {row["process_id"]: (row["process"], row["pid"]) for row in rows}
    for cell in cells:
        counted[cell.process_id] += cell.events
    missing = {cell.process_id for cell in cells} - set(called)
    if missing:
        people = capture.tables["processes"].select("process_id", "image", "pid")
        called |= {
            row["process_id"]: (row["image"], row["pid"])
            for row in rows_of(people)
            if row["process_id"] in missing
        }
        called |= {process: (None, None) for process in missing if process not in called}
    return counted, called
