"""The page of a report; `report.js` beside this file is its program, `analysis.charts.safe_page` makes it safe to open.

A page holds at most so many bytes of rows. Where there are more, the longest tables are cut, and say so.
"""

import json
from dataclasses import replace
from functools import cache
from importlib import resources
from typing import Any

from analysis.charts.safe_page import coded, safe_page
from analysis.report.content import Content
from analysis.report.grids import Grid

__all__ = ["MOST_BYTES", "page_html"]

MOST_BYTES = 1_800_000  # with the program that draws pictures (0.9 MB) a page stays below 3 MB


def page_html(report: Content, *, most_bytes: int = MOST_BYTES) -> str:
    """Return the page.

    Args:
        report: the report.
        most_bytes: how many bytes of content a page holds, about: longer tables are cut until it fits.
    """
    return safe_page(
        _file("report.html"),
        _content(_fitting(report, most_bytes)),
        title=report.title,
        style=_file("report.css"),
        programs={"LIBRARY": report.library or "// no pictures", "PROGRAM": _file("report.js")},
    )


def _fitting(report: Content, most_bytes: int) -> Content:
    """Return the report with its longest table cut to half, again and again, until it fits."""
    while True:
        sizes = [
            (_size(_of_grid(grid)), place, number)
            for place, section in enumerate(report.sections)
            for number, grid in enumerate(section.grids)
        ]
        cards = _size([_of_grid(card.history) for card in report.cards])
        moments = _size(_of_moments(report))
        if sum(size for size, *_ in sizes) + cards + moments <= most_bytes:
            return report
        size, place, number = max(sizes)
        if size < max(cards, moments):
            if cards >= moments:
                report = replace(report, cards=report.cards[: len(report.cards) // 2])
            else:
                report = replace(report, moments=None)
            continue
        section = report.sections[place]
        grids = list(section.grids)
        grids[number] = grids[number].cut(len(grids[number].rows) // 2)
        sections = list(report.sections)
        sections[place] = replace(section, grids=tuple(grids))
        report = replace(report, sections=sections)


def _content(report: Content) -> dict[str, Any]:
    return {
        "facts": report.facts,
        "doubts": report.doubts,
        "sections": [
            {
                "name": section.name,
                "title": section.title,
                "sentences": section.sentences,
                "grids": [_of_grid(grid) for grid in section.grids],
                "file": section.file,
            }
            for section in report.sections
        ],
        "cards": [
            {"key": card.key, "sentence": card.sentence, "history": _of_grid(card.history)}
            for card in report.cards
        ],
        "moments": _of_moments(report),
        "pictures": list(report.pictures.items()),
    }


def _of_grid(grid: Grid) -> dict[str, Any]:
    columns = list(zip(*grid.rows, strict=True)) if grid.rows else [()] * len(grid.titles)
    return {
        "name": grid.name,
        "title": grid.title,
        "titles": grid.titles,
        "kinds": grid.kinds,
        "count": len(grid.rows),
        "columns": [
            list(column) if kind == "number" else coded(column)
            for column, kind in zip(columns, grid.kinds, strict=True)
        ],
        "cut": grid.cut_sentence,
        "empty": grid.empty,
    }


def _of_moments(report: Content) -> dict[str, Any] | None:
    moments = report.moments
    if moments is None:
        return None
    columns = list(zip(*moments.lines, strict=True)) if moments.lines else [()] * 6
    return {
        "times": moments.times,
        "lines": [coded(column) for column in columns],
        "states": moments.states,
        "changes": moments.changes,
    }


def _size(content: Any) -> int:  # noqa: ANN401
    return len(json.dumps(content))


@cache
def _file(name: str) -> str:
    return resources.files("analysis.report").joinpath(name).read_text(encoding="utf-8")
