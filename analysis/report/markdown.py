"""A report as Markdown (GitHub's): names and data stand in code spans, where nothing acts."""

from collections.abc import Iterator

from analysis.regfile.markdown import code_span
from analysis.report.content import Content
from analysis.report.grids import Cell, Grid

__all__ = ["markdown_text"]

_MOST_ROWS = 200  # of a table


def markdown_text(report: Content) -> str:
    """Return the document."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Content) -> Iterator[str]:
    yield f"# {_plain(report.title)}"
    yield ""
    for subject, text in report.facts:
        yield f"* {subject}: {code_span(text)}"
    if report.doubts:
        yield from ("", "What to bear in mind:", "", *(f"* {_plain(sentence)}" for sentence in report.doubts))
    for section in report.sections:
        yield from ("", f"## {_plain(section.title)}")
        for sentence in section.sentences:
            yield from ("", _plain(sentence))
        for grid in section.grids:
            yield from _table(grid.cut(_MOST_ROWS), level=3)
        if section.file is not None:
            yield from ("", f"The page of this report holds the file {code_span(section.file[0])}.")
    if report.cards:
        yield from ("", "## Key by key")
    for card in report.cards:
        yield from ("", f"### {code_span(card.key)}", "", _plain(card.sentence))
        yield from _table(card.history, level=0)


def _table(grid: Grid, *, level: int) -> Iterator[str]:
    if grid.title and level:
        yield from ("", f"{'#' * level} {_plain(grid.title)}")
    yield ""
    if not grid.rows:
        yield grid.empty
        return
    yield f"| {' | '.join(grid.titles)} |"
    yield "|" + "|".join(" ---: " if kind == "number" else " --- " for kind in grid.kinds) + "|"
    for row in grid.rows:
        cells = (_cell(cell, kind) for cell, kind in zip(row, grid.kinds, strict=True))
        yield f"| {' | '.join(cells)} |"
    if grid.cut_sentence:
        yield from ("", _plain(grid.cut_sentence))


def _cell(cell: Cell, kind: str) -> str:
    if cell is None:
        return ""
    if isinstance(cell, int):
        return f"{cell:,}"
    if kind == "tree":
        depth, _, text = cell.partition("|")
        return "· " * int(depth) + code_span(text)
    return cell if kind == "time" else code_span(cell)


def _plain(text: str) -> str:
    """Return a sentence of ours, in which a name may stand, with what Markdown or HTML would act on escaped."""
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|~" else letter for letter in shown)
