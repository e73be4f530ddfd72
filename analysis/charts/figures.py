"""Charts of a capture for notebooks: when something happened, by which process, to which keys.

They are drawn by Altair with vl-convert (extra `plots`): the one library found that makes interactive pages
which need no network, PNG and SVG, all without a browser and within pip. Plotly makes PNG and SVG through
a browser only; Matplotlib makes no interactive page.

Each function takes an open capture and filters and returns an `analysis.charts.picture.Picture`.
"""

from typing import TYPE_CHECKING, Any

import ibis

from analysis.charts.parts import (
    GROUPS,
    WIDTH,
    Lanes,
    Span,
    compose,
    described,
    group_color,
    group_of,
    moment_text,
    process_name,
    short_key,
    shorten,
)
from analysis.charts.picture import Picture, alt  # where Altair is missing, it says what to install
from analysis.charts.tree import icicle
from analysis.charts.values import draw_values
from analysis.engine.connection import engine_errors
from analysis.engine.fetch import fetch
from analysis.expressions.events_view import is_failure
from analysis.filters import Filters
from tracer.errors import UsageError
from tracer.registry.ntstatus import is_failure as is_failed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ibis.expr.types import Table

    from analysis.capture import Capture

__all__ = ["PICTURES", "activity", "handles", "timeline", "tree", "values"]

_CROSS = "M-1,-.6L-.6,-1L0,-.4L.6,-1L1,-.6L.4,0L1,.6L.6,1L0,.4L-.6,1L-1,.6L-.4,0Z"
_MOST_BINS = 150
_ENDS = {"close": "#0072B2", "reuse": "#E69F00", "open": "#D55E00"}
_ENDED = {"close": "closed", "reuse": "close not seen", "open": "still open"}


def timeline(capture: "Capture", filters: Filters | None = None, *, limit: int | None = None) -> Picture:
    """Draw each operation as a mark, a row for each process; failures are crosses.

    Args:
        capture: an open capture.
        filters: what to draw; give at least a key.
        limit: how many operations at most; None for 5,000. Of more, each so many-th is drawn, so that the whole time is shown.

    Raises:
        UsageError: nothing fits, or a filter cannot be understood.
    """
    filters, limit = filters or Filters(), 5000 if limit is None else limit
    names = [
        "time_ns",
        "process_id",
        "process",
        "pid",
        "operation",
        "status",
        "status_name",
        "display_key",
        "value_name",
        "disposition",
        "information_class",
    ]
    rows, notes = _spread(capture, filters, names, limit)
    times = [row["time_ns"] for row in rows]
    span = Span.of(capture, filters, min(times), max(times))
    called = {row["process_id"]: process_name(row["process"], row["pid"]) for row in rows}
    lanes = Lanes.of([row["process_id"] for row in rows], called)
    marks = [
        {
            "at": span.at(row["time_ns"]),
            "lane": lanes[row["process_id"]],
            "group": row["group"],
            "result": "failed" if _failed(row["status"]) else "done",
            "time": moment_text(row["time_ns"]),
            "operation": row["operation"],
            "status": row["status_name"] or "",
            "key": shorten(row["display_key"] or "", 120),
            "value": shorten(_value(row["value_name"]), 60),
        }
        for row in rows
    ]
    shapes = alt.Scale(domain=["done", "failed"], range=["circle", _CROSS])
    drawn = (
        alt.Chart(alt.InlineData(values=marks))
        .mark_point(filled=True, size=55, opacity=0.8)
        .encode(
            x=span.x(),
            y=lanes.y("process"),
            color=group_color(mark["group"] for mark in marks),
            shape=alt.Shape("result:N", title="result", scale=shapes),
            tooltip=["time:N", "lane:N", "operation:N", "status:N", "key:N", "value:N"],
        )
    )
    title = f"Timeline of {described(filters)}"
    chart, notes = compose(capture, span, [drawn], title=title, height=lanes.height, notes=notes)
    return Picture(chart, rows=len(rows), notes=notes)


def activity(capture: "Capture", filters: Filters | None = None, *, limit: int | None = None) -> Picture:
    """Draw operations per second over time, stacked by group, and failures per second as a line.

    Args:
        capture: an open capture.
        filters: which operations count; None for all.
        limit: how many steps the time is cut into at most; None for 150.

    Raises:
        UsageError: nothing fits, or a filter cannot be understood.
    """
    filters = filters or Filters()
    _not_empty(capture)
    span = Span.of(capture, filters, None, None)
    width = _round_up((span.end_ns - span.start_ns) / max(1, min(limit or _MOST_BINS, 10_000)))
    events = capture.rows(filters, joined=False)
    place = (events["time_ns"] - ibis.literal(span.start_ns, "int64")) // ibis.literal(width, "int64")
    counted = (
        events.mutate(place=place.cast("int64"), group=group_of(events), failed=is_failure(events["status"]))
        .group_by("place", "group", "failed")
        .aggregate(events=lambda rows: rows.count())
    )
    rows = _some(_rows(counted))
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
    drawn = (
        alt.Chart(alt.InlineData(values=bars))
        .mark_rect()
        .encode(
            x=span.x("from"),
            x2="to:Q",
            y=alt.Y("low:Q", title="operations per second", scale=alt.Scale(domainMin=0)),
            y2="high:Q",
            color=group_color(bar["group"] for bar in bars),
            tooltip=["group:N", "events:Q", "rate:Q"],
        )
    )
    failed = (
        alt.Chart(alt.InlineData(values=line))
        .mark_line(interpolate="step-after", strokeWidth=1.5)
        .encode(
            x=span.x(),
            y=alt.Y("rate:Q", title="operations per second"),
            color=alt.Color("what:N", title="result", scale=alt.Scale(domain=["failed"], range=["#000000"])),
        )
    )
    title = f"Activity of {described(filters)}, in steps of {_duration(width)}"
    chart, notes = compose(
        capture, span, [drawn, failed], title=title, height=320, notes=[], shades_above=True
    )
    return Picture(chart, rows=total, notes=notes)


def handles(capture: "Capture", filters: Filters | None = None, *, limit: int | None = None) -> Picture:
    """Draw the life of each key object that a fitting operation used, longest lives first, as a bar.

    Args:
        capture: an open capture.
        filters: operations whose objects are drawn; None for all.
        limit: how many lives; None for 50.

    Raises:
        UsageError: nothing fits, or a filter cannot be understood.
    """
    filters, limit = filters or Filters(), 50 if limit is None else limit
    _not_empty(capture)
    if not capture.manifest.tables["handles"]["rows"]:
        raise UsageError(
            f"{capture.path.name} holds no lives of key objects (Procmon's logs have none), so there is nothing to draw"
        )
    tables, span = capture.tables, Span.of(capture, filters, None, None)
    used = capture.rows(filters, joined=False).select("handle_id").distinct()
    lives = tables["handles"].semi_join(used, "handle_id")
    keys = tables["keys"].select("key_id", "display_path")
    people = tables["processes"].select("process_id", "image", "pid")
    lives = lives.left_join(keys, "key_id").left_join(people, "process_id")
    start = ibis.coalesce(lives["opened_ns"], ibis.literal(span.start_ns, "int64"))
    end = ibis.coalesce(lives["closed_ns"], ibis.literal(span.end_ns, "int64"))
    lives = lives.mutate(start_ns=start, end_ns=end, life_ns=end - start)
    total = _rows(lives.aggregate(lives=lives.count()))[0]["lives"]
    lives = lives.order_by(ibis.desc("life_ns"), "handle_id").limit(limit)
    rows = _some(_rows(lives), "life of a key object")
    notes = [f"only the {limit:,} longest of {total:,} lives are drawn"] if total > len(rows) else []
    called = {
        row["handle_id"]: f"{shorten(process_name(row['image'], row['pid']), 30)}  "
        f"{short_key(row['display_path'], 44)}"
        for row in rows
    }
    rows.sort(key=lambda row: (row["start_ns"], row["handle_id"]))
    lanes = Lanes.of([row["handle_id"] for row in rows], called, most=max(limit, 1))
    bars = [
        {
            "from": span.clipped(row["start_ns"]),
            "to": max(span.clipped(row["end_ns"]), span.clipped(row["start_ns"]) + span.length / WIDTH),
            "lane": lanes[row["handle_id"]],
            "end": _ENDED.get(row["ended"], row["ended"]),
            "key": shorten(row["display_path"] or "", 120),
            "lived": _duration(row["life_ns"]),
            "began": row["began"],
        }
        for row in rows
    ]
    ends = {
        _ENDED[name]: color for name, color in _ENDS.items() if any(b["end"] == _ENDED[name] for b in bars)
    }
    colors = alt.Scale(domain=list(ends), range=list(ends.values()))
    drawn = (
        alt.Chart(alt.InlineData(values=bars))
        .mark_bar(height=9)
        .encode(
            x=span.x("from"),
            x2="to:Q",
            y=lanes.y(None).axis(labelLimit=480, domain=False, ticks=False, labelFontSize=10),
            color=alt.Color("end:N", title="end", scale=colors),
            tooltip=["lane:N", "key:N", "lived:N", "began:N", "end:N"],
        )
    )
    title = f"Lives of key objects of {described(filters)}"
    height = max(60, 15 * len(rows))
    chart, notes = compose(capture, span, [drawn], title=title, height=height, notes=notes)
    return Picture(chart, rows=len(rows), notes=notes)


def values(capture: "Capture", filters: Filters | None = None, *, limit: int | None = None) -> Picture:
    """Draw values over time: steps for one numeric value, else a bar for each content.

    Args:
        capture: an open capture.
        filters: a key, or a value of it, or several.
        limit: how many writes and deletes at most; None for 2,000. Of more, the last one of each value in each of so many
            equal stretches of time is drawn.

    Raises:
        UsageError: nothing fits, or a filter cannot be understood.
    """
    return draw_values(capture, filters or Filters(), limit=2000 if limit is None else limit)


def tree(capture: "Capture", filters: Filters | None = None, *, limit: int | None = None) -> Picture:
    """Draw a subtree as an icicle: the height of a key is the number of operations on it and below it.

    Args:
        capture: an open capture.
        filters: which operations count; a key there means it and the keys below it.
        limit: how many levels; None for 6.

    Raises:
        UsageError: nothing fits, or a filter cannot be understood.
    """
    return icicle(capture, filters or Filters(), levels=6 if limit is None else limit)


PICTURES: "dict[str, Callable[..., Picture]]" = {
    "timeline": timeline,
    "activity": activity,
    "handles": handles,
    "values": values,
    "tree": tree,
}


def _rows(table: "Table") -> list[dict[str, Any]]:
    with engine_errors():
        rows: list[dict[str, Any]] = fetch(table).to_pylist()
    return rows


def _some(rows: list[dict[str, Any]], what: str = "operation") -> list[dict[str, Any]]:
    if not rows:
        raise UsageError(f"no {what} fits, so there is nothing to draw; choose more keys or a longer time")
    return rows


def _spread(
    capture: "Capture", filters: Filters, names: list[str], most: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return all rows, or every k-th from first to last, and a sentence that says so."""
    _not_empty(capture)
    fitting = capture.rows(filters, joined=False).select("sequence")
    count = _rows(fitting.aggregate(rows=fitting.count()))[0]["rows"]
    step = -(-count // most) if count <= most else -(-count // max(most - 1, 1))
    asked = capture.where(filters).lazy.timeline(columns=["sequence", *names])
    asked = asked.mutate(group=group_of(asked))
    if step <= 1:
        return _some(_rows(asked)), []
    place = ibis.row_number().over(order_by="sequence")
    some = fitting.mutate(place=place)
    is_chosen = some["place"] % step == 0
    if most > 1:
        is_chosen |= some["place"] == count - 1
    some = some.filter(is_chosen).select("sequence")
    rows = _some(_rows(asked.semi_join(some, "sequence").order_by("sequence")))
    return rows, [
        f"{len(rows):,} of {count:,} operations are drawn: one in {step:,}, from the first to the last"
    ]


def _not_empty(capture: "Capture") -> None:
    if not capture.manifest.parts:
        raise UsageError(f"{capture.path.name} holds no events, so there is nothing to draw")


def _failed(status: int | None) -> bool:
    return status is not None and is_failed(status)


def _value(name: str | None) -> str:
    return "" if name is None else name or "(default)"


def _round_up(nanoseconds: float) -> int:
    """Return 1, 2 or 5 times a power of ten that is not less."""
    power = 1000
    while True:
        for digit in (1, 2, 5):
            if digit * power >= nanoseconds:
                return digit * power
        power *= 10


def _duration(nanoseconds: int) -> str:
    for unit_ns, unit in ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")):
        if nanoseconds >= unit_ns:
            return (
                f"{nanoseconds / unit_ns:g} {unit}"
                if nanoseconds % unit_ns == 0
                else f"{nanoseconds / unit_ns:.3g} {unit}"
            )
    return f"{nanoseconds} ns"
