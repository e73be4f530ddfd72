"""The page of a picture: one file to explore, which asks for nothing; `page.js` beside this file is its program.

`analysis.charts.safe_page` makes it safe to open.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from analysis.card import printable
from analysis.charts.parts import GROUPS, Span, moment_text
from analysis.charts.safe_page import coded, safe_page
from analysis.filters import Filters

if TYPE_CHECKING:
    from analysis.charts.source import Source

__all__ = ["Page", "command", "page_html", "table_of"]

_MOST_TEXT = 300


@dataclass(frozen=True, slots=True)
class Page:
    """What a page shows beside the chart.

    Attributes:
        kind: timeline, activity, handles, values, steps or tree: how the program draws.
        title: the heading.
        notes: sentences below it.
        span: the time that is shown; None for a tree, which has none.
        lanes: names of the rows of the picture, from the top.
        groups: colours by group, for the legend.
        rows: rows as `table_of` returns them.
        cells: what is only counted: place, lane, number of the group in `parts.GROUPS`, failed, events.
        start_us: where the first place begins, microseconds after the zero of the span.
        step_us: length of a place, microseconds.
        command: the command line that lists the rows; "" where there is none.
        results: whether rows and cells say that they failed.
    """

    kind: str
    title: str
    notes: Sequence[str]
    rows: dict[str, Any]
    span: Span | None = None
    lanes: Sequence[str] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    cells: Sequence[Sequence[int]] = ()
    start_us: float = 0
    step_us: float = 1
    command: str = ""
    results: bool = True

    def content(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Return all that the program needs, as JSON values.

        Args:
            spec: the chart as Vega-Lite.
        """
        span = self.span
        about = {}
        if span is not None:
            about = {
                "zero": str(span.zero_ns),
                "zero_text": moment_text(span.zero_ns),
                "unit_us": span.unit_ns / 1000,
                "unit": span.unit,
                "bounds": list(span.bounds),
            }
        return {
            "kind": self.kind,
            "lanes": list(self.lanes),
            "groups": list(self.groups.items()),
            "cell_groups": list(GROUPS),
            "rows": self.rows,
            "cells": list(self.cells),
            "start_us": self.start_us,
            "step_us": self.step_us,
            "command": self.command,
            "results": self.results,
            "span": about or None,
            "spec": _explorable(spec, span, self.kind),
        }


def table_of(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> dict[str, Any]:
    """Return rows as columns; each different text stands once.

    Args:
        rows: dictionaries. `columns` are texts; the others, such as from, to (microseconds) and lane, are numbers,
            and group is a text.
        columns: what a table of them shows, in order; `time` is made of `from`.
    """
    listed = list(rows)
    texts = [name for name in columns if name != "time"]
    numbers = [name for name in (listed[0] if listed else ()) if name not in texts and name != "group"]
    return {
        "count": len(listed),
        "columns": list(columns),
        "numbers": {name: [_number(row[name]) for row in listed] for name in numbers},
        "texts": {name: coded(row[name] for row in listed) for name in texts},
        "group": coded(row["group"] for row in listed) if listed and "group" in listed[0] else None,
    }


def command(capture: "Source", filters: Filters) -> str:
    """Return the command line that lists the operations of a picture, without times."""
    words = ["regtrace", "timeline", capture.path.name]
    for key in filters.keys:
        words += ["--key", key]
    if filters.subtree:
        words.append("--subtree")
    where = filters.where
    if filters.noise is False:  # the verb lists noise too
        where = "noise IS NULL" if where is None else f"({where}) AND noise IS NULL"
    options = {
        "--value": filters.value,
        "--process": filters.process if filters.pid is None else filters.pid,
        "--tree": filters.process_tree,
        "--operation": filters.operation,
        "--status": filters.status,
        "--where": where,
        "--user": filters.user,
    }
    for option, asked in options.items():
        if asked is not None:
            several = asked if isinstance(asked, Sequence) and not isinstance(asked, str) else [asked]
            words += [option, ",".join(map(str, several))]
    return " ".join(shlex.quote(printable(word)) for word in words)


def page_html(spec: dict[str, Any], page: Page | None, library: str) -> str:
    """Return the page.

    Args:
        spec: the chart as Vega-Lite.
        page: what is beside it; None for the chart alone.
        library: the program that draws charts: Vega, Vega-Lite and Vega-Embed.
    """
    shown = {"kind": "plain", "spec": spec} if page is None else page.content(spec)
    return safe_page(
        _file("page.html"),
        shown,
        title="regtrace" if page is None else page.title,
        style=_file("page.css"),
        programs={"LIBRARY": library, "PROGRAM": _file("page.js")},
        notes=() if page is None else page.notes,
    )


def _explorable(spec: dict[str, Any], span: Span | None, kind: str) -> dict[str, Any]:
    """Return the chart for a page: no title, as wide as the window, with a time axis that the program moves."""
    wanted = {
        name: part for name, part in spec.items() if name not in ("title", "config", "width", "datasets")
    }
    still = {name: data for name, data in spec.get("datasets", {}).items() if name in ("lines", "shades")}
    params = [*wanted.get("params", ())]
    axes = {"x": "across", "y": "down"} if span is None else {"x": "shown"}
    if kind == "activity":
        axes["y"] = "tall"
    for channel, name in axes.items():
        domains = (layer["encoding"].get(channel, {}) for layer in spec["layer"])
        params.append(
            {"name": name, "value": next(said["scale"]["domain"] for said in domains if "scale" in said)}
        )
    layers = []
    for layer in spec["layer"]:
        encoding = dict(layer["encoding"])
        for channel, said in encoding.items():
            if not isinstance(said, dict):
                continue
            if channel in axes and "scale" in said:
                said = said | {"scale": said["scale"] | {"domainRaw": {"expr": axes[channel]}}}
            if channel in ("color", "shape") and span is not None:
                said = said | {"legend": None}
            encoding[channel] = said
        layers.append(layer | {"encoding": encoding})
    return wanted | {
        "layer": layers,
        "params": params,
        "datasets": still,
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding", "resize": True},
    }


def _number(number: Any) -> float | int:  # noqa: ANN401  (a number or a boolean)
    return int(number) if isinstance(number, bool) else number


@cache
def _file(name: str) -> str:
    return resources.files("analysis.charts").joinpath(name).read_text(encoding="utf-8")
