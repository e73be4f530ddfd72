"""The picture of operations by process; `analysis.charts.figures.timeline` is its public name."""

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from analysis.charts.extra import alt
from analysis.charts.operations import MOST_ROWS, Operations
from analysis.charts.page import Page, command, table_of
from analysis.charts.parts import (
    GROUPS,
    Lanes,
    Span,
    compose,
    described,
    group_color,
    moment_text,
    noise_notes,
    process_name,
    shorten,
)
from analysis.charts.picture import Picture
from analysis.filters import Filters

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analysis.charts.source import Source

__all__ = ["cells_of", "draw_timeline", "operation_table"]

_CROSS = "M-1,-.6L-.6,-1L0,-.4L.6,-1L1,-.6L.4,0L1,.6L.6,1L0,.4L-.6,1L-1,.6L-.4,0Z"
_MOST_MARKS = 2_000  # of an image: more cannot be told apart
_STEPS = 180  # of an image that shows counts
_BARS = (
    "a bar stands for operations that are too many for marks: as high as the logarithm of their number, with a strip below "
    "where some failed"
)
_COLUMNS = ("time", "process", "operation", "result", "key", "value")


def draw_timeline(capture: "Source", filters: Filters, *, limit: int | None) -> Picture:
    """Draw the operations of each process; see `analysis.charts.figures.timeline`."""
    most = _MOST_MARKS if limit is None else limit
    operations = Operations.of(capture, filters, most=max(most, MOST_ROWS))
    span = Span.of(capture, filters, operations.first_ns, operations.last_ns)
    lanes = Lanes.of(
        operations.processes,
        {process: process_name(*called) for process, called in operations.called.items()},
    )
    names = [*lanes.names.values(), *([lanes.rest] if lanes.rest else [])]
    places = {name: place for place, name in enumerate(names)}
    lane_of = {process: places[lanes[process]] for process in operations.processes}
    notes: list[str] = []
    marks: list[dict[str, Any]] = []
    bins: list[dict[str, Any]] = []
    if operations.total <= most:
        marks = [
            {
                "at": span.at(row["time_ns"]),
                "y": _height_of(lane_of[row["process_id"]], row["group"]),
                "lane": names[lane_of[row["process_id"]]],
                "group": row["group"],
                "result": "failed" if row["failed"] else "done",
                "time": moment_text(row["time_ns"]),
                "operation": row["operation"],
                "status": row["status_name"] or "",
                "key": shorten(row["key"], 120),
                "value": shorten(_value_text(row["value_name"]), 60),
            }
            for row in operations.rows
        ]
    else:
        bins, largest = _bins(operations, span, lane_of)
        notes.append(
            f"{operations.total:,} operations are counted, in {_STEPS} steps of time: a bar is as high as the logarithm "
            f"of their number, the highest is {largest:,}; with a strip below where some failed"
        )
    if operations.users:
        notes.append(operations.users)
    count = len(names)
    y = alt.Y(
        "y:Q",
        title=None,
        scale=alt.Scale(domain=[0, count], reverse=True, nice=False, zero=False),
        axis=alt.Axis(
            values=[place + 0.5 for place in range(count)],
            labelExpr="lanes[floor(datum.value)]",
            labelLimit=300,
            grid=False,
            domain=False,
            ticks=False,
        ),
    )
    shapes = alt.Scale(domain=["done", "failed"], range=["circle", _CROSS])
    present = [*(row["group"] for row in operations.rows), *(cell.group for cell in operations.cells)]
    color = group_color(present)
    of_marks, of_bins = (color, color.legend(None)) if marks else (color.legend(None), color)
    shape = alt.Shape("result:N", title="result", scale=shapes)
    base = alt.Chart()
    layers = [
        base.mark_rule(color="#888888", opacity=0.25)
        .encode(y=y)
        .properties(data=alt.NamedData(name="lines")),
        base.mark_rect(clip=True)
        .encode(
            x=span.x("from"), x2="to:Q", y=y, y2="low:Q", color=of_bins,
            tooltip=["lane:N", "group:N", "events:Q", "failures:Q"],
        )
        .properties(data=alt.NamedData(name="bins")),
        base.mark_rect(clip=True, color=alt.expr("ink"))
        .encode(x=span.x("from"), x2="to:Q", y=y, y2="low:Q", opacity=alt.Opacity("share:Q", scale=None), tooltip=["lane:N", "events:Q", "failures:Q"])
        .properties(data=alt.NamedData(name="failures")),
        base.mark_point(filled=True, size=45, opacity=0.8, clip=True)
        .encode(
            x=span.x(),
            y=y,
            color=of_marks,
            shape=shape if marks else shape.legend(None),
            tooltip=["time:N", "lane:N", "operation:N", "status:N", "key:N", "value:N"],
        )
        .properties(data=alt.NamedData(name="marks")),
        base.mark_point(size=190, stroke=alt.expr("ink"), strokeWidth=2, filled=False, clip=True)
        .encode(x=span.x(), y=y)
        .properties(data=alt.NamedData(name="chosen")),
    ]  # fmt: skip
    title = f"Timeline of {described(filters)}"
    notes += noise_notes(capture, filters)
    chart, notes = compose(
        capture,
        span,
        layers,
        title=title,
        height=max(60, 30 * count),
        notes=notes,
        data={
            "lines": [{"y": place} for place in range(count + 1)],
            "marks": marks,
            "chosen": [],
            "bins": bins,
            "failures": [dark for dark in _dark(bins) if dark["share"]],
        },
        params={"lanes": names, "ink": "#222222"},
    )
    page = Page(
        "timeline",
        title=title,
        notes=[*notes[bool(bins) :], *([_BARS] if operations.total > _MOST_MARKS else [])],
        span=span,
        lanes=names,
        groups={group: color for group, color in GROUPS.items() if group in set(present)},
        rows=operation_table(operations.rows, lane_of, span),
        cells=cells_of(operations, lane_of),
        start_us=(operations.first_ns - span.zero_ns) / 1000,
        step_us=operations.width_ns / 1000,
        command=command(capture, filters),
    )
    return Picture(chart, rows=operations.total, notes=notes, page=page)


def operation_table(
    rows: "Iterable[dict[str, Any]]", lane_of: dict[int | None, int], span: Span
) -> dict[str, Any]:
    """Return the rows of operations as columns for a page."""
    cells = [
        {
            "from": span.microseconds(row["time_ns"]),
            "lane": lane_of.get(row["process_id"], 0),
            "group": row["group"],
            "failed": row["failed"],
            "process": process_name(row["process"], row["pid"]),
            "operation": row["operation"],
            "result": row["status_name"] or "",
            "key": shorten(row["key"], 300),
            "value": shorten(_value_text(row["value_name"]), 120),
        }
        for row in rows
    ]
    return table_of(cells, _COLUMNS)


def cells_of(operations: Operations, lane_of: dict[int | None, int]) -> list[list[int]]:
    """Return what is only counted for a page: place, lane, number of the group in `GROUPS`, failed, events."""
    numbers = {group: number for number, group in enumerate(GROUPS)}
    sums: Counter[tuple[int, int, int, int]] = Counter()
    for cell in operations.cells:
        lane = lane_of.get(cell.process_id, 0)
        sums[cell.place, lane, numbers[cell.group], int(cell.failed)] += cell.events
    return [[*where, events] for where, events in sorted(sums.items())]


def _value_text(name: str | None) -> str:
    """Return the name of a value as it is shown; "" where there is none."""
    return "" if name is None else name or "(default)"


def _height_of(lane: int, group: str) -> float:
    """Return where a mark lies in its lane: groups a little apart, so that they do not hide each other."""
    return round(lane + 0.5 + 0.08 * (list(GROUPS).index(group) - 3), 3)


def _bins(
    operations: Operations, span: Span, lane_of: dict[int | None, int]
) -> tuple[list[dict[str, Any]], int]:
    """Return a bar for each lane, step of time and group, stacked; and the most operations of one step."""
    first, last = operations.first_ns, operations.last_ns
    step = max(-(-(last - first + 1) // _STEPS), 1)
    counts: dict[tuple[int, int], dict[str, list[int]]] = {}

    def add(time_ns: int, process: int | None, group: str, failed: bool, events: int) -> None:
        groups = counts.setdefault((lane_of[process], min((time_ns - first) // step, _STEPS - 1)), {})
        both = groups.setdefault(group, [0, 0])
        both[0] += events
        both[1] += events * failed

    for row in operations.rows:
        add(row["time_ns"], row["process_id"], row["group"], row["failed"], 1)
    for cell in operations.cells:
        middle = first + cell.place * operations.width_ns + operations.width_ns // 2
        add(middle, cell.process_id, cell.group, cell.failed, cell.events)
    largest = max((sum(both[0] for both in groups.values()) for groups in counts.values()), default=1)
    bars = []
    for (lane, place), groups in sorted(counts.items()):
        events = sum(both[0] for both in groups.values())
        high = 0.75 * math.log1p(events) / math.log1p(largest)
        low = lane + 0.88
        for group in GROUPS:
            if group not in groups:
                continue
            number, failures = groups[group]
            top = low - high * number / events
            bars.append(
                {
                    "from": span.clipped(first + place * step),
                    "to": span.clipped(first + (place + 1) * step),
                    "low": low,
                    "y": top,
                    "lane": lane,
                    "group": group,
                    "events": number,
                    "failures": failures,
                }
            )
            low = top
    return bars, largest


def _dark(bins: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the strip below each bar that is as dark as the share of its operations that failed."""
    sums: dict[tuple[int, float], dict[str, Any]] = {}
    for each in bins:
        where = (each["lane"], each["from"])
        strip = sums.setdefault(
            where,
            {
                "from": each["from"], "to": each["to"], "y": each["lane"] + 0.9, "low": each["lane"] + 0.97,
                "lane": each["lane"], "events": 0, "failures": 0,
            },
        )  # fmt: skip
        strip["events"] += each["events"]
        strip["failures"] += each["failures"]
    for strip in sums.values():
        share = strip["failures"] / strip["events"]
        strip["share"] = 0.25 + 0.75 * share if share else 0.0
    return list(sums.values())
