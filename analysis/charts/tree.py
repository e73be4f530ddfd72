"""The icicle of a subtree; `analysis.charts.figures.tree` is its public name."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import altair as alt

from analysis.charts.parts import WIDTH, described, shorten
from analysis.charts.picture import Picture
from analysis.engine.connection import engine_errors
from analysis.engine.fetch import fetch
from analysis.expressions.links import link_target
from analysis.filters import Filters
from tracer.errors import UsageError
from tracer.registry.text import fold_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analysis.capture import Capture

__all__ = ["Node", "icicle", "plant"]

_HEIGHT = 620
_LEAST = 0.006  # of the whole: a thinner one is drawn with its like as one
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


def icicle(capture: "Capture", filters: Filters, *, levels: int) -> Picture:
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
    rectangles = _cut(root, levels, above[-1] if above else "(all)")
    notes = ["height: operations on the key and below it; colour: the share of them that failed"]
    if any(rectangle["deeper"] for rectangle in rectangles):
        notes.append(f"keys below level {levels} are counted in the last one drawn")
    notes += caveats_between(capture.context).sentences
    drawn = _draw(rectangles, levels=1 + max(int(rectangle["level"]) for rectangle in rectangles))
    words = alt.TitleParams(
        text=f"Operations of {described(filters)}, below {shorten(title, 90)}: {root.events:,}",
        subtitle=notes,
        anchor="start",
        subtitleColor="#555555",
    )
    chart = drawn.properties(title=words, width=WIDTH, height=_HEIGHT).configure_view(stroke=None)
    return Picture(chart, rows=root.events, notes=notes)


def _cut(root: Node, levels: int, name: str) -> list[dict[str, Any]]:
    """Return the rectangles: level, from and to (shares of the whole), name, and their nodes."""
    rectangles: list[dict[str, Any]] = []
    waiting: list[tuple[Node, str, str, int, int]] = [(root, name, name, 0, 0)]
    while waiting:
        node, shown, path, level, start = waiting.pop()
        deeper = bool(node.children) and level + 1 >= levels
        rectangles.append(_rectangle(node, shown, path, level, start, root.events) | {"deeper": deeper})
        if level + 1 >= levels:
            continue
        children = sorted(node.children.values(), key=lambda child: (-child.events, child.name))
        wide = [child for child in children if child.events >= _LEAST * root.events]
        place = start
        for child in wide:
            waiting.append((child, child.name, f"{path}\\{child.name}", level + 1, place))
            place += child.events
        narrow = children[len(wide) :]
        if narrow:
            together = Node("")
            together.events = sum(child.events for child in narrow)
            together.failures = sum(child.failures for child in narrow)
            shown = f"… {len(narrow):,} more" if wide else f"{len(narrow):,} keys"
            rectangle = _rectangle(together, shown, f"{path}\\…", level + 1, place, root.events)
            rectangles.append(rectangle | {"deeper": False})
    return rectangles


def _rectangle(node: Node, shown: str, path: str, level: int, start: int, whole: int) -> dict[str, Any]:
    share = node.events / whole
    return {
        "level": level,
        "next": level + 1,
        "from": start / whole,
        "to": start / whole + share,
        "middle": start / whole + share / 2,
        "name": shown if share >= _NAMED else "",
        "key": shorten(path, 120),
        "events": node.events,
        "own": node.own,
        "failed": node.failures / node.events,
    }


def _draw(rectangles: list[dict[str, Any]], *, levels: int) -> alt.LayerChart:
    letters = max(4, int(WIDTH / levels / 6.4) - 1)
    for rectangle in rectangles:
        name = rectangle["name"]
        rectangle["name"] = name if len(name) <= letters else name[: letters - 1] + "…"
    base = alt.Chart(alt.InlineData(values=rectangles))
    x = alt.X("level:Q", axis=None, scale=alt.Scale(domain=[0, levels], nice=False))
    down = alt.Scale(domain=[0, 1], reverse=True, nice=False)
    color = alt.Color(
        "failed:Q",
        title="share failed",
        scale=alt.Scale(domain=[0, 1], range=["#DCE9F5", "#F3C27A", "#D55E00"], interpolate="rgb"),
        legend=alt.Legend(format="%"),
    )
    boxes = base.mark_rect(stroke="white", strokeWidth=1).encode(
        x=x,
        x2="next:Q",
        y=alt.Y("from:Q", axis=None, scale=down),
        y2="to:Q",
        color=color,
        tooltip=["key:N", "events:Q", "own:Q", alt.Tooltip("failed:Q", format=".1%")],
    )
    names = base.mark_text(align="left", dx=5, fontSize=11, baseline="middle").encode(
        x=x, y=alt.Y("middle:Q", axis=None, scale=down), text="name:N"
    )
    layered: alt.LayerChart = alt.LayerChart(layer=[boxes, names])
    return layered
