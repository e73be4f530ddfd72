"""The picture of operations per second; `analysis.charts.figures.activity` is its public name."""

from typing import TYPE_CHECKING, Any

import ibis

from analysis.charts.extra import alt
from analysis.charts.operations import Operations, not_empty, rows_of, some
from analysis.charts.page import Page, command
from analysis.charts.parts import (
    GROUPS,
    Span,
    compose,
    described,
    duration_text,
    group_color,
    group_of,
    noise_notes,
    round_up,
)
from analysis.charts.picture import Picture
from analysis.charts.timeline import cells_of, operation_table
from analysis.expressions.events_view import is_failure
from analysis.filters import Filters

if TYPE_CHECKING:
    from analysis.charts.source import Source

__all__ = ["draw_activity"]

_MOST_STEPS = 150


def draw_activity(capture: "Source", filters: Filters, *, limit: int | None) -> Picture:
    """Draw operations per second; see `analysis.charts.figures.activity`."""
    not_empty(capture)
    span = Span.of(capture, filters, None, None)
    width = round_up((span.end_ns - span.start_ns) / max(1, min(limit or _MOST_STEPS, 10_000)))
    events = capture.rows(filters, joined=False)
    place = (events["time_ns"] - ibis.literal(span.start_ns, "int64")) // ibis.literal(width, "int64")
    counted = (
        events.mutate(place=place.cast("int64"), group=group_of(events), failed=is_failure(events["status"]))
        .group_by("place", "group", "failed")
        .aggregate(events=lambda rows: rows.count())
    )
    rows = some(rows_of(counted))
    total = sum(row["events"] for row in rows)
    sums: dict[tuple[int, str], int] = {}
    failures: dict[int, int] = {}
    for row in rows:
        where = (row["place"], row["group"])
        sums[where] = sums.get(where, 0) + row["events"]
        failures[row["place"]] = failures.get(row["place"], 0) + row["events"] * row["failed"]
    seconds = width / 1_000_000_000
    bars: list[dict[str, Any]] = []
    heights: dict[int, float] = {}
    order = list(GROUPS)
    for (place, group), events in sorted(
        sums.items(), key=lambda item: (item[0][0], -order.index(item[0][1]))
    ):
        low = heights.get(place, 0.0)
        heights[place] = low + events / seconds
        bars.append(
            {
                "from": span.clipped(span.start_ns + place * width),
                "to": span.clipped(span.start_ns + (place + 1) * width),
                "low": low,
                "high": heights[place],
                "group": group,
                "events": events,
                "rate": events / seconds,
            }
        )
    # A step of the line is drawn at its beginning and its end; where nothing happened, nothing failed.
    last = (span.end_ns - span.start_ns) // width
    line = [
        {
            "at": span.clipped(span.start_ns + place * width),
            "rate": failures.get(place, 0) / seconds,
            "what": "failed",
        }
        for place in [*range(last + 1), last]
    ]
    line[-1]["at"] = span.bounds[1]
    present = [bar["group"] for bar in bars]
    base = alt.Chart()
    y_title = "operations per second"
    tall = alt.Scale(domain=[0, 1.04 * max(heights.values())])
    drawn = [
        base.mark_rect(clip=True)
        .encode(
            x=span.x("from"),
            x2="to:Q",
            y=alt.Y("low:Q", title=y_title, scale=tall),
            y2="high:Q",
            color=group_color(present),
            tooltip=["group:N", "events:Q", alt.Tooltip("rate:Q", title="per second", format=",.1f")],
        )
        .properties(data=alt.NamedData(name="bars")),
        base.mark_line(interpolate="step-after", strokeWidth=1.5, clip=True, color=alt.expr("ink"))
        .encode(x=span.x(), y=alt.Y("rate:Q", title=y_title, scale=tall))
        .properties(data=alt.NamedData(name="line")),
        alt.Chart(alt.NamedData(name="chosen"))
        .mark_rule(color=alt.expr("ink"), strokeDash=[3, 3], clip=True)
        .encode(x=span.x()),
    ]
    title = f"Activity of {described(filters)}"
    lanes_of: dict[int | None, int] = {}
    operations = Operations.of(capture, filters)
    chart, notes = compose(
        capture,
        span,
        drawn,
        title=f"{title}, in steps of {duration_text(width)}",
        height=320,
        notes=[
            *(["the line: those that failed"] if any(failures.values()) else []),
            *noise_notes(capture, filters),
        ],
        data={"bars": bars, "line": line, "chosen": []},
        params={"ink": "#222222"},
        shades_above=True,
    )
    page = Page(
        "activity",
        title=title,
        notes=[*notes, *([operations.users] if operations.users else [])],
        span=span,
        groups={group: color for group, color in GROUPS.items() if group in set(present)},
        rows=operation_table(operations.rows, lanes_of, span),
        cells=cells_of(operations, lanes_of),
        start_us=(operations.first_ns - span.zero_ns) / 1000,
        step_us=operations.width_ns / 1000,
        command=command(capture, filters),
    )
    return Picture(chart, rows=total, notes=notes, page=page)
