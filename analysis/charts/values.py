"""The picture of values over time; `analysis.charts.figures.values` is its public name."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import altair as alt
import ibis

from analysis.charts.parts import (
    MOST_LANES,
    Lanes,
    Span,
    compose,
    described,
    moment_text,
    process_name,
    short_key,
    shorten,
)
from analysis.charts.picture import Picture
from analysis.engine.connection import engine_errors
from analysis.engine.fetch import fetch
from analysis.expressions.events_view import is_failure as is_failed
from analysis.filters import Filters
from tracer.errors import UsageError
from tracer.registry.text import fold_name
from tracer.registry.values import ValueType, show_value

if TYPE_CHECKING:
    from ibis.expr.types import Table

    from analysis.capture import Capture

__all__ = ["draw_values", "stretches"]

_COLUMNS = [
    "time_ns", "process_id", "process", "pid", "operation", "status", "display_key", "value_name",
    "data_type", "data_size", "data", "previous_type", "previous_size", "previous_data",
]  # fmt: skip
_NUMBERS = {
    ValueType.DWORD: ("little", 4),
    ValueType.DWORD_BIG_ENDIAN: ("big", 4),
    ValueType.QWORD: ("little", 8),
}
_LETTER = 6.2  # pixels of one letter inside a bar, about


def draw_values(capture: "Capture", filters: Filters, *, limit: int) -> Picture:
    """Draw values over time; see `analysis.charts.figures.values`."""
    if not capture.manifest.parts:
        raise UsageError(f"{capture.path.name} holds no events, so there is nothing to draw")
    narrowed = capture.rows(filters, joined=True)
    narrowed = narrowed.filter(narrowed["operation"].isin(["SetValueKey", "DeleteValueKey"]))
    failures = is_failed(narrowed["status"]).fill_null(False)
    narrowed = narrowed.mutate(failed=failures)
    with engine_errors():
        counted = narrowed.aggregate(
            rows=narrowed.count(),
            failed=narrowed["failed"].sum(),
            first=narrowed["time_ns"].min(),
            last=narrowed["time_ns"].max(),
        )
        [whole] = fetch(counted).to_pylist()
    failed = whole["failed"] or 0
    count = whole["rows"] - failed
    if not count:
        raise UsageError(
            "no value was written or deleted there, so there is nothing to draw; "
            "choose more keys or a longer time"
        )
    narrowed = narrowed.filter(~narrowed["failed"])
    notes = []
    if count > limit:
        narrowed = _last_of_each_stretch(narrowed, whole["first"], whole["last"], limit)
        notes.append(
            f"of {count:,} writes and deletes the last one of each value in each of {limit:,} stretches of time is drawn"
        )
    with engine_errors():
        done = fetch(narrowed.order_by("sequence").select(*_COLUMNS)).to_pylist()
    if failed:
        notes.append(
            f"{failed:,} {'write or delete' if failed == 1 else 'writes and deletes'} that failed: not drawn"
        )
    times = [row["time_ns"] for row in done]
    span = Span.of(capture, filters, min(times), max(times))
    lives = stretches(done)
    count = len({life["lane"] for life in lives})
    if count > MOST_LANES:
        notes.append(f"only the {MOST_LANES - 1} values that changed most of {count:,} are drawn")
    numbers = [life["number"] for life in lives if not life["gone"]]
    if count == 1 and all(number is not None for number in numbers):
        layers, height = _steps(lives, span), 260
    else:
        layers, height = _bars(lives, span)
    name = short_key(done[0]["display_key"], 70)
    if count == 1:
        name += f" → {shorten(done[0]['value_name'] or '(default)', 40)}"
    elif len({fold_name(row["display_key"] or "") for row in done}) > 1:
        name = f"{count:,} values of {described(filters)}"
    elif count == 1:
        name += _others(filters)
    else:
        name += f", {count:,} values{_others(filters)}"
    chart, notes = compose(
        capture, span, layers, title=f"What was held by {name}", height=height, notes=notes
    )
    return Picture(chart, rows=len(done), notes=notes)


def stretches(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the content of values from each write to the next write or delete of the same value.

    Where the first write or delete says what was there before, that stretch comes too; its `from_ns` is None.

    Args:
        rows: successful SetValueKey and DeleteValueKey rows of a timeline, in order.

    Returns:
        Dictionaries with lane (the value's identity), called (a name), from_ns and to_ns (None: unbounded),
        text, number (None where it is no whole number), gone (deleted), and process.
    """
    spans: list[dict[str, Any]] = []
    latest: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        lane = (fold_name(row["display_key"] or ""), fold_name(row["value_name"] or ""))
        called = f"{short_key(row['display_key'], 40)} → {shorten(row['value_name'] or '(default)', 24)}"
        shared = {"lane": lane, "called": called, "process": process_name(row["process"], row["pid"])}
        before = latest.get(lane)
        if before is not None:
            before["to_ns"] = row["time_ns"]
        elif row["previous_data"] is not None or row["previous_size"] == 0:
            old = _content(row["previous_type"], row["previous_data"], row["previous_size"])
            spans.append(
                shared
                | old
                | {"process": "(before)", "from_ns": None, "to_ns": row["time_ns"], "gone": False}
            )
        if row["operation"] == "SetValueKey":
            new = _content(row["data_type"], row["data"], row["data_size"]) | {"gone": False}
        else:
            new = {"text": "(deleted)", "number": None, "gone": True}
        latest[lane] = shared | new | {"from_ns": row["time_ns"], "to_ns": None}
        spans.append(latest[lane])
    return spans


def _others(filters: Filters) -> str:
    """Return the filters other than key and value, for a title."""
    title = described(replace(filters, key=None, value=None, subtree=False))
    return title.removeprefix("everything")


def _last_of_each_stretch(rows: "Table", first_ns: int, last_ns: int, stretches: int) -> "Table":
    """Return the last row of each value in each equal stretch of time: the content at its end is exact."""
    width = max(-(-(last_ns - first_ns + 1) // max(stretches, 1)), 1)
    stretch = (rows["time_ns"] - ibis.literal(first_ns, "int64")) // ibis.literal(width, "int64")
    keyed = rows.mutate(stretch=stretch.cast("int64"), folded=rows["value_name"].upper())
    last = keyed.group_by("key_id", "folded", "stretch").aggregate(sequence=keyed["sequence"].max())
    return rows.semi_join(last, "sequence")


def _content(kind: int | None, data: bytes | None, size: int | None) -> dict[str, Any]:
    number = None
    if kind in _NUMBERS and data is not None:
        order, width = _NUMBERS[ValueType(kind)]
        if len(data) == width:
            number = int.from_bytes(data, "big" if order == "big" else "little")
    return {"text": show_value(kind, data, size, limit=16), "number": number}


def _ends(life: dict[str, Any], span: Span) -> tuple[float, float]:
    first, last = span.bounds
    start = first if life["from_ns"] is None else span.clipped(life["from_ns"])
    return start, last if life["to_ns"] is None else span.clipped(life["to_ns"])


def _steps(lives: list[dict[str, Any]], span: Span) -> list[alt.Chart]:
    """Return one line of steps, broken where the value was deleted, and a dot for each write."""
    line, dots = [], []
    for number, life in enumerate(lives):
        if life["gone"]:
            continue
        start, end = _ends(life, span)
        # A step ends where the next one begins: one more mark at its end, in a line of its own after a delete.
        part = sum(other["gone"] for other in lives[:number])
        line += [{"at": at, "number": life["number"], "part": part} for at in (start, end)]
        if life["from_ns"] is not None:
            tooltip = {"time": moment_text(life["from_ns"]), "process": life["process"], "data": life["text"]}
            dots.append({"at": start, "number": life["number"], **tooltip})
    y = alt.Y("number:Q", title="value", scale=alt.Scale(zero=False))
    drawn = [
        alt.Chart(alt.InlineData(values=line))
        .mark_line(interpolate="step-after", strokeWidth=2, color="#0072B2")
        .encode(x=span.x(), y=y, detail="part:N"),
        alt.Chart(alt.InlineData(values=dots))
        .mark_point(filled=True, size=60)
        .encode(
            x=span.x(),
            y=y,
            color=alt.Color("process:N", title="written by"),
            tooltip=["time:N", "process:N", "data:N"],
        ),
    ]
    gone = [
        {"at": span.clipped(life["from_ns"]), "process": life["process"]} for life in lives if life["gone"]
    ]
    if gone:
        rule = alt.Chart(alt.InlineData(values=gone)).mark_rule(
            strokeDash=[4, 3], color="#CC79A7", strokeWidth=2
        )
        drawn.append(rule.encode(x=span.x(), tooltip=["process:N"]))
    return drawn


def _bars(lives: list[dict[str, Any]], span: Span) -> tuple[list[alt.Chart], int]:
    """Return a bar for each content, with its text cut to the bar, and the height of all bars."""
    lanes = Lanes.of([life["lane"] for life in lives], {life["lane"]: life["called"] for life in lives})
    bars = []
    for life in lives:
        if life["lane"] not in lanes.names:
            continue
        start, end = _ends(life, span)
        fits = int((end - start) / span.length * 900 / _LETTER) - 1
        text = life["text"] or '""'
        bars.append(
            {
                "from": start,
                "to": end,
                "lane": lanes[life["lane"]],
                "shown": "" if fits < 2 else text if len(text) <= fits else text[: fits - 1] + "…",
                "data": text[:200],
                "process": "(deleted)" if life["gone"] else life["process"],
                "time": "before" if life["from_ns"] is None else moment_text(life["from_ns"]),
            }
        )
    writers = list(dict.fromkeys(str(bar["process"]) for bar in bars))
    colors = ["#56B4E9", "#009E73", "#F0E442", "#E69F00", "#CC79A7", "#D55E00", "#0072B2", "#999999"]
    special = {"(before)": "#DDDDDD", "(deleted)": "#FFFFFF"}
    hues = iter(colors * (len(writers) // len(colors) + 1))
    scale = alt.Scale(domain=writers, range=[special.get(name) or next(hues) for name in writers])
    base = alt.Chart(alt.InlineData(values=bars))
    drawn = [
        base.mark_bar(height=20, stroke="#555555", strokeWidth=0.7, opacity=0.75).encode(
            x=span.x("from"),
            x2="to:Q",
            y=lanes.y(None, with_rest=False),
            color=alt.Color("process:N", title="written by", scale=scale),
            tooltip=["time:N", "process:N", "lane:N", "data:N"],
        ),
        base.mark_text(align="left", dx=4, fontSize=10, clip=True).encode(
            x=span.x("from"), y=lanes.y(None, with_rest=False), text="shown:N"
        ),
    ]
    return drawn, 26 * max(2, len(lanes.names))
