"""The icicle of a subtree; `analysis.charts.figures.tree` is its public name."""

import textwrap
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from analysis.charts.extra import alt
from analysis.charts.page import Page
from analysis.charts.parts import WIDTH, described, noise_notes, shorten
from analysis.charts.picture import Picture
from analysis.engine.connection import engine_errors
from analysis.engine.fetch import fetch
from analysis.expressions.links import link_target
from analysis.filters import Filters
from tracer.errors import UsageError
from tracer.registry.text import fold_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analysis.charts.source import Source

__all__ = ["Node", "icicle", "plant"]

_HEIGHT = 620
_LEAST = 0.006  # of the whole: a thinner one is drawn with its like as one
_FINEST = 0.000_05  # in a page, where one can look closer
_MOST_NODES = 6_000  # in a page
_ALL = "(all keys)"
_DEEPEST = 40  # levels in a page
_NAMED = 0.018  # of the height that a name needs


@dataclass(slots=True)
class Node:
    """A key of the tree, sums of itself and all below it included.

    Attributes:
        name: its last component.
        events: operations on it and below.
        failures: those of them that failed.
        own: operations on it alone.
        children: by folded name.
    """

    name: str
    events: int = 0
    failures: int = 0
    own: int = 0
    children: "dict[str, Node]" = field(default_factory=dict)


def plant(rows: "Iterable[tuple[str, int, int]]") -> Node:
    """Return the tree of paths with their operations and failures; its root has the name ""."""
    root = Node("")
    for path, events, failures in rows:
        node = root
        node.events += events
        node.failures += failures
        for name in path.lstrip("\\").split("\\"):
            node = node.children.setdefault(fold_name(name), Node(name))
            node.events += events
            node.failures += failures
        node.own += events
    return root


def icicle(capture: "Source", filters: Filters, *, levels: int) -> Picture:
    """Draw a subtree; see `analysis.charts.figures.tree`."""
    from analysis.questions.caveats import caveats_between

    if not 1 <= levels <= 30:
        raise UsageError(f"a tree of {levels} levels cannot be drawn; use 1 to 30 levels")
    summary = capture.where(replace(filters, subtree=filters.key is not None)).lazy.keys()
    summary = summary.mutate(display_key=link_target(summary["display_key"], as_shown=True))
    with engine_errors():
        rows = fetch(summary.select("display_key", "events", "failures")).to_pylist()
    if not rows:
        raise UsageError("no operation fits, so there is nothing to draw; choose more keys or a longer time")
    root = plant((row["display_key"], row["events"], row["failures"]) for row in rows)
    above: list[str] = []
    while not root.own and len(root.children) == 1:  # what all have in common is the title
        [root] = root.children.values()
        above.append(root.name)
    title = "\\".join(above) or "all keys"
    top = above[-1] if above else _ALL
    rectangles = _cut(root, levels, top, least=_LEAST)
    notes = ["height: operations on the key and below it; colour: the share of them that failed"]
    if any(rectangle["deeper"] for rectangle in rectangles):
        notes.append(f"keys below level {levels} are counted in the last one drawn")
    notes += noise_notes(capture, filters)
    notes += caveats_between(capture.context).sentences
    drawn = _draw(rectangles, levels=1 + max(int(rectangle["level"]) for rectangle in rectangles))
    heading = f"Operations of {described(filters)}, below {shorten(title, 90)}: {root.events:,}"
    words = alt.TitleParams(
        text=textwrap.wrap(heading, 110),
        subtitle=[line for note in notes for line in textwrap.wrap(note, 150)],
        anchor="start",
        subtitleColor="#555555",
    )
    drawn = drawn.add_params(alt.param(name="ground", value="#FFFFFF"))
    chart = drawn.properties(title=words, width=WIDTH, height=_HEIGHT).configure_view(stroke=None)
    page = Page(
        "tree", title=heading, notes=_of_page(notes), rows=_nodes(root, levels, "\\".join(above) or top)
    )
    return Picture(chart, rows=root.events, notes=notes, page=page)


def _of_page(notes: list[str]) -> list[str]:
    """Return the notes without the one about levels, which a page has all of."""
    return [note for note in notes if not note.startswith("keys below level")]


def _nodes(root: Node, levels: int, name: str) -> dict[str, Any]:
    """Return the keys of a page: all levels, and as fine as there is room for."""
    least = _FINEST
    while len(nodes := _cut(root, _DEEPEST, name, least=least)) > _MOST_NODES:
        least *= 2
    for node in nodes:
        node["name"] = node.pop("shown")
        for place in ("from", "to", "failed"):
            node[place] = round(node[place], 9)
        for unused in ("next", "middle", "deeper"):
            del node[unused]
    return {"count": 0, "columns": [], "numbers": {}, "texts": {}, "nodes": nodes, "levels": levels}


def _cut(root: Node, levels: int, name: str, *, least: float) -> list[dict[str, Any]]:
    """Return the rectangles: level, from and to (shares of the whole), name, and the numbers of theirs and their parent."""
    rectangles: list[dict[str, Any]] = []
    path = "" if name == _ALL else name
    waiting: list[tuple[Node, str, str, int, int, int]] = [(root, name.rpartition("\\")[2], path, 0, 0, -1)]
    while waiting:
        node, shown, path, level, start, parent = waiting.pop()
        at = len(rectangles)
        deeper = bool(node.children) and level + 1 >= levels
        rectangle = _rectangle(node, shown, path, level, start, root.events)
        rectangles.append(rectangle | {"deeper": deeper, "at": at, "parent": parent})
        if level + 1 >= levels:
            continue
        children = sorted(node.children.values(), key=lambda child: (-child.events, child.name))
        wide = [child for child in children if child.events >= least * root.events]
        place = start
        for child in wide:
            waiting.append((child, child.name, _below(path, child.name), level + 1, place, at))
            place += child.events
        narrow = children[len(wide) :]
        if narrow:
            together = Node("")
            together.events = sum(child.events for child in narrow)
            together.failures = sum(child.failures for child in narrow)
            shown = f"… {len(narrow):,} more" if wide else f"{len(narrow):,} keys"
            rectangle = _rectangle(together, shown, _below(path, "…"), level + 1, place, root.events)
            rectangles.append(rectangle | {"deeper": False, "at": len(rectangles), "parent": at})
    return rectangles


def fitted(name: str, letters: int) -> str:
    """Return a name cut to so many letters: its beginning, of a SID its end, which tells users apart."""
    if len(name) <= letters:
        return name
    return shorten(name, letters) if name.startswith("S-1-") else name[: letters - 1] + "…"


def _below(path: str, name: str) -> str:
    return f"{path}\\{name}" if path else name


def _rectangle(node: Node, shown: str, path: str, level: int, start: int, whole: int) -> dict[str, Any]:
    share = node.events / whole
    return {
        "level": level,
        "next": level + 1,
        "from": start / whole,
        "to": start / whole + share,
        "middle": start / whole + share / 2,
        "name": shown if share >= _NAMED else "",
        "shown": shown,
        "key": shorten(path or _ALL, 120),
        "events": node.events,
        "own": node.own,
        "lit": 1,
        "edge": 0.7,
        "failed": node.failures / node.events,
    }


def _draw(rectangles: list[dict[str, Any]], *, levels: int) -> alt.LayerChart:
    letters = max(4, int(WIDTH / levels / 7.2) - 1)
    for rectangle in rectangles:
        name = rectangle["name"]
        rectangle["name"] = fitted(name, letters)
    base = alt.Chart(alt.NamedData(name="boxes"))
    x = alt.X("level:Q", axis=None, scale=alt.Scale(domain=[0, levels], nice=False))
    down = alt.Scale(domain=[0, 1], reverse=True, nice=False)
    color = alt.Color(
        "failed:Q",
        title="share failed",
        scale=alt.Scale(domain=[0, 1], range=["#DCE9F5", "#F3C27A", "#D55E00"], interpolate="rgb"),
        legend=alt.Legend(format="%"),
    )
    boxes = base.mark_rect(stroke=alt.expr("ground"), clip=True).encode(
        x=x,
        x2="next:Q",
        y=alt.Y("from:Q", axis=None, scale=down),
        y2="to:Q",
        color=color,
        opacity=alt.Opacity("lit:Q", scale=None),
        strokeWidth=alt.StrokeWidth("edge:Q", scale=None),
        tooltip=[
            "key:N",
            alt.Tooltip("events:Q", title="operations", format=","),
            alt.Tooltip("own:Q", title="on it alone", format=","),
            alt.Tooltip("failed:Q", format=".1%"),
        ],
    )
    names = base.mark_text(
        align="left", dx=5, fontSize=11, baseline="middle", clip=True, color="#111111"
    ).encode(x=x, y=alt.Y("middle:Q", axis=None, scale=down), text="name:N")
    layered: alt.LayerChart = alt.LayerChart(layer=[boxes, names])
    layered.datasets = {"boxes": rectangles}
    return layered
