"""The picture of values over time; `analysis.charts.figures.values` is its public name."""

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ibis

from analysis.charts.extra import alt
from analysis.charts.page import Page, table_of
from analysis.charts.parts import (
    MOST_LANES,
    WIDTH,
    Lanes,
    Span,
    chosen_bar,
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

    from analysis.charts.source import Source

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
_HUES = (
    "#56B4E9",
    "#35B58A",
    "#F0E442",
    "#E69F00",
    "#DB93BD",
    "#F09A5A",
    "#8FB8F0",
    "#B5B5B5",
)  # black text is legible on all
_MOST_TEXT = 300
_LETTER = 6.2  # pixels of one letter inside a bar, about


def draw_values(capture: "Source", filters: Filters, *, limit: int) -> Picture:
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
        drawing = _steps(lives, span)
    else:
        drawing = _bars(lives, span)
    name = short_key(done[0]["display_key"], 70)
    if count == 1:
        name += f" → {shorten(done[0]['value_name'] or '(default)', 40)}"
    elif len({fold_name(row["display_key"] or "") for row in done}) > 1:
        name = f"{count:,} values of {described(filters)}"
    elif count == 1:
        name += _others(filters)
    else:
        name += f", {count:,} values{_others(filters)}"
    title = f"What was held by {name}"
    chart, notes = compose(
        capture,
        span,
        drawing.layers,
        title=title,
        height=drawing.height,
        notes=notes,
        data=drawing.data,
        params={"ink": "#222222"},
    )
    page = Page(
        drawing.kind,
        title=title,
        notes=notes,
        span=span,
        lanes=drawing.lanes,
        groups=drawing.groups,
        rows=table_of(drawing.rows, ["time", "process", "name", "data"]),
        results=False,
    )
    return Picture(chart, rows=len(done), notes=notes, page=page)


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


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What is drawn of values: layers and their data, and the same for a page."""

    kind: str
    layers: list[alt.Chart]
    height: int
    data: dict[str, list[dict[str, Any]]]
    rows: list[dict[str, Any]]
    groups: dict[str, str]
    lanes: list[str]


def _row(life: dict[str, Any], lane: int, span: Span, group: str) -> dict[str, Any]:
    """Return a content as a row of a page."""
    first = span.start_ns if life["from_ns"] is None else life["from_ns"]
    last = span.end_ns if life["to_ns"] is None else life["to_ns"]
    return {
        "from": span.microseconds(first),
        "to": span.microseconds(last),
        "lane": lane,
        "before": life["from_ns"] is None,
        "gone": life["gone"],
        "number": life["number"] if life["number"] is not None else 0,
        "group": group,
        "process": life["process"],
        "name": life["called"],
        "data": life["text"][:_MOST_TEXT],
    }


def _colors(writers: list[str]) -> dict[str, str]:
    """Return a colour for each writer."""
    special = {"(before)": "#DDDDDD", "(deleted)": "#FFFFFF"}
    hues = itertools.cycle(_HUES)
    return {name: special.get(name) or next(hues) for name in dict.fromkeys(writers)}


def _steps(lives: list[dict[str, Any]], span: Span) -> _Drawing:
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
            shown = {"time": moment_text(life["from_ns"]), "process": life["process"], "data": life["text"]}
            dots.append({"at": start, "number": life["number"], "group": life["process"], **shown})
    gone = [
        {"at": span.clipped(life["from_ns"]), "process": life["process"]} for life in lives if life["gone"]
    ]
    numbers = [each["number"] for each in line] or [0]
    edge = (max(numbers) - min(numbers)) / 20 or 1
    tall = alt.Scale(domain=[min(numbers) - edge, max(numbers) + edge], zero=False)
    y = alt.Y("number:Q", title="value", scale=tall)
    groups = _colors([life["process"] for life in lives])
    scale = alt.Scale(domain=list(groups), range=list(groups.values()))
    layers = [
        alt.Chart(alt.NamedData(name="line"))
        .mark_line(interpolate="step-after", strokeWidth=2, color="#4C9BD6", clip=True)
        .encode(x=span.x(), y=y, detail="part:N"),
        alt.Chart(alt.NamedData(name="dots"))
        .mark_point(filled=True, size=60, opacity=1, clip=True)
        .encode(
            x=span.x(),
            y=y,
            color=alt.Color("group:N", title="written by", scale=scale),
            tooltip=["time:N", "process:N", "data:N"],
        ),
        alt.Chart(alt.NamedData(name="gone"))
        .mark_rule(strokeDash=[4, 3], color="#CC79A7", strokeWidth=2, clip=True)
        .encode(x=span.x(), tooltip=["time:N", "process:N"]),
        alt.Chart(alt.NamedData(name="chosen"))
        .mark_point(size=190, filled=False, stroke=alt.expr("ink"), strokeWidth=2, clip=True)
        .encode(x=span.x(), y=y),
    ]
    rows = [_row(life, 0, span, life["process"]) for life in lives]
    data: dict[str, list[dict[str, Any]]] = {"line": line, "dots": dots, "gone": gone, "chosen": []}
    return _Drawing("steps", layers, 260, data, rows, groups, [])


def _bars(lives: list[dict[str, Any]], span: Span) -> _Drawing:
    """Return a bar for each content, with its text cut to the bar."""
    lanes = Lanes.of([life["lane"] for life in lives], {life["lane"]: life["called"] for life in lives})
    names = list(lanes.names.values())
    places = {name: place for place, name in enumerate(names)}
    bars, rows = [], []
    for life in lives:
        if life["lane"] not in lanes.names:
            continue
        start, end = _ends(life, span)
        fits = int((end - start) / span.length * WIDTH / _LETTER) - 1
        text = life["text"] or '""'
        writer = "(deleted)" if life["gone"] else life["process"]
        bars.append(
            {
                "from": start,
                "to": end,
                "lane": lanes[life["lane"]],
                "text_at": start,
                "shown": "" if fits < 2 else text if len(text) <= fits else text[: fits - 1] + "…",
                "data": text[:200],
                "group": writer,
                "process": life["process"],
                "time": "before" if life["from_ns"] is None else moment_text(life["from_ns"]),
            }
        )
        rows.append(_row(life, places[lanes[life["lane"]]], span, writer))
    groups = _colors([bar["group"] for bar in bars])
    scale = alt.Scale(domain=list(groups), range=list(groups.values()))
    y = lanes.y(None, with_rest=False)
    base = alt.Chart(alt.NamedData(name="bars"))
    layers = [
        base.mark_bar(height=20, stroke="#555555", strokeWidth=0.7, clip=True).encode(
            x=span.x("from"),
            x2="to:Q",
            y=y,
            color=alt.Color("group:N", title="written by", scale=scale),
            tooltip=["time:N", "process:N", "lane:N", "data:N"],
        ),
        base.mark_text(align="left", dx=4, fontSize=10, clip=True, color="#111111").encode(
            x=span.x("text_at"), y=y, text="shown:N"
        ),
        chosen_bar(span, y, height=23),
    ]
    height = 26 * max(2, len(names))
    return _Drawing("values", layers, height, {"bars": bars, "chosen": []}, rows, groups, names)
