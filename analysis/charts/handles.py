"""The picture of the lives of key objects; `analysis.charts.figures.handles` is its public name."""

from typing import TYPE_CHECKING

import ibis

from analysis.charts.extra import alt
from analysis.charts.operations import not_empty, rows_of, some
from analysis.charts.page import Page, table_of
from analysis.charts.parts import (
    WIDTH,
    Lanes,
    Span,
    chosen_bar,
    compose,
    described,
    duration_text,
    process_name,
    short_key,
    shorten,
)
from analysis.charts.picture import Picture
from analysis.filters import Filters
from tracer.errors import UsageError

if TYPE_CHECKING:
    from analysis.charts.source import Source

__all__ = ["draw_handles"]

_ENDS = {"close": "#4C9BD6", "reuse": "#CC79A7", "open": "#D55E00"}
_ENDED = {"close": "closed", "reuse": "close not seen", "open": "still open"}


def draw_handles(capture: "Source", filters: Filters, *, limit: int) -> Picture:
    """Draw the lives of key objects; see `analysis.charts.figures.handles`."""
    not_empty(capture)
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
    total = rows_of(lives.aggregate(lives=lives.count()))[0]["lives"]
    lives = lives.order_by(ibis.desc("life_ns"), "handle_id").limit(limit)
    rows = some(rows_of(lives), "life of a key object")
    notes = [f"only the {limit:,} longest of {total:,} lives are drawn"] if total > len(rows) else []
    called = {
        row["handle_id"]: f"{shorten(process_name(row['image'], row['pid']), 30)}  "
        f"{short_key(row['display_path'], 44)}"
        for row in rows
    }
    rows.sort(key=lambda row: (row["start_ns"], row["handle_id"]))
    lanes = Lanes.of([row["handle_id"] for row in rows], called, most=max(limit, 1))
    names = list(lanes.names.values())
    places = {name: place for place, name in enumerate(names)}
    bars = [
        {
            "from": span.clipped(row["start_ns"]),
            "to": max(span.clipped(row["end_ns"]), span.clipped(row["start_ns"]) + span.length / WIDTH),
            "lane": lanes[row["handle_id"]],
            "group": _ENDED.get(row["ended"], row["ended"]),
            "key": shorten(row["display_path"] or "", 120),
            "lived": duration_text(row["life_ns"]),
            "began": row["began"],
        }
        for row in rows
    ]
    ends = {
        _ENDED[name]: color
        for name, color in _ENDS.items()
        if any(bar["group"] == _ENDED[name] for bar in bars)
    }
    y = lanes.y(None).axis(labelLimit=480, domain=False, ticks=False, labelFontSize=10)
    colors = alt.Scale(domain=list(ends), range=list(ends.values()))
    base = alt.Chart()
    drawn = [
        base.mark_bar(height=9, clip=True)
        .encode(
            x=span.x("from"),
            x2="to:Q",
            y=y,
            color=alt.Color("group:N", title="end", scale=colors),
            tooltip=["lane:N", "key:N", "lived:N", "began:N", alt.Tooltip("group:N", title="end")],
        )
        .properties(data=alt.NamedData(name="bars")),
        chosen_bar(span, y, height=13),
    ]
    title = f"Lives of key objects of {described(filters)}"
    height = max(60, 15 * len(rows))
    chart, notes = compose(
        capture,
        span,
        drawn,
        title=title,
        height=height,
        notes=notes,
        data={"bars": bars, "chosen": []},
        params={"ink": "#222222"},
    )
    table = [
        {
            "from": span.microseconds(max(row["start_ns"], span.start_ns)),
            "to": span.microseconds(min(row["end_ns"], span.end_ns)),
            "lane": places[lanes[row["handle_id"]]],
            "group": bar["group"],
            "lived": bar["lived"],
            "process": process_name(row["image"], row["pid"]),
            "key": shorten(row["display_path"] or "", 300),
            "began": row["began"] or "",
            "end": bar["group"] or "",
        }
        for row, bar in zip(rows, bars, strict=True)
    ]
    page = Page(
        "handles",
        title=title,
        notes=notes,
        span=span,
        lanes=names,
        groups=ends,
        rows=table_of(table, ["time", "lived", "process", "key", "began", "end"]),
        results=False,
    )
    return Picture(chart, rows=len(rows), notes=notes, page=page)
