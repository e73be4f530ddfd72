"""The page of candidates: where two runs part, what the failing one had read differently, and how to try it."""

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from analysis.questions.bisect import LIMITS, Bisection
from cli.output.console import with_style
from cli.output.phrases import plural
from cli.output.safe import visible
from cli.output.table import cell_width, cut_end, cut_middle
from tracer.registry.quoting import quote_name
from tracer.registry.values import show_value

__all__ = ["bisect_lines"]

_WHOLE = 10_000  # columns of a page that nobody fits to a terminal
_BYTES = 40
_READ = 100  # columns of sentences at most
_FEW = 10  # candidates on a terminal
_Row = Mapping[str, Any]


def bisect_lines(
    rows: pa.Table,
    width: int | None = None,
    *,
    found: Bisection,
    names: Sequence[str],
    color: bool = False,
    spell: Sequence[Callable[[str], str]] = (str, str),
) -> Iterator[str]:
    """Yield the lines of a page.

    Args:
        rows: the candidates to show.
        width: the columns of the terminal; None shortens nothing.
        found: what was found.
        names: what the run that works and the one that fails are called.
        color: whether titles are bold.
        spell: how keys of each run are shown.
    """
    page = _Page(width or _WHOLE, color, spell)
    yield page.cut(f"works  {names[0]}: {plural(found.divergence.steps[0], 'operation')}")
    yield page.cut(f"fails  {names[1]}: {plural(found.divergence.steps[1], 'operation')}")
    yield ""
    yield from page.parting(found)
    yield ""
    yield page.title(
        "What the failing run read differently before, the most likely cause first"
        if rows.num_rows
        else "Nothing that the failing run read differently before is known"
    )
    listed = rows.to_pylist()
    for row in listed[: _FEW if width is not None else None]:
        yield from page.candidate(row)
    if width is not None and len(listed) > _FEW:
        yield f"  and {len(listed) - _FEW:,} more: --limit N, or -o FILE for all"
    if listed:
        yield ""
        yield page.title("To try it, where it fails")
        for number, step in enumerate(_steps(listed), 1):
            yield from page.wrapped(f"{number}. {step}", "   ")
    yield ""
    yield from page.wrapped(f"Note: a candidate is no proof; {LIMITS}.", "", "dim")


def _steps(rows: Sequence[_Row]) -> Iterator[str]:
    yield (
        "Write candidate 1 as a file, and what takes it back: add --reg try.reg --undo undo.reg to this command. Read both."
    )
    yield "Import try.reg (reg import try.reg), and run the program again."
    if len(rows) > 1:
        yield "Where it still fails, import undo.reg and go on with --take 2, and so on."
        last = len(rows)
        yield (
            f"Where no single one helps, try all (--take 1-{last}), then halves (--take 1-{(last + 1) // 2}): the half with which it "
            "works holds the cause. Several values may be needed together."
        )
    else:
        yield "Where it still fails, import undo.reg: the cause is elsewhere."


class _Page:
    def __init__(self, width: int, color: bool, spell: Sequence[Callable[[str], str]]) -> None:
        self.width, self._color, self._spell = width, color, spell

    def title(self, text: str) -> str:
        return self._styled(cut_end(visible(text), self.width), "bold")

    def cut(self, text: str) -> str:
        return cut_end(visible(text), self.width)

    def wrapped(self, text: str, indent: str, style: str = "") -> Iterator[str]:
        """Yield a sentence in lines, all but the first with an indent."""
        lines = textwrap.wrap(visible(text), min(self.width, _READ), subsequent_indent=indent)
        for line in lines:
            yield self._styled(line, style) if style else line

    def parting(self, found: Bisection) -> Iterator[str]:
        """Yield where the runs part."""
        many = plural(found.divergence.matched, "equal operation")
        if not found.divergence.parted:
            yield self.title(f"They do not part: {many}")
            return
        yield self.title(f"They part after {many}")
        row = found.divergence.rows.slice(0, 1).to_pylist()[0]
        for letter, name, spelled in zip("ab", ("works", "fails"), self._spell, strict=True):
            operation = row[f"{letter}_operation"]
            if operation is None:
                yield f"  {name}  nothing more"
                continue
            lead = f"  {name}  {operation} "
            key = row[f"{letter}_key"]
            yield lead + self._value(
                None if key is None else spelled(key), row[f"{letter}_value_name"], self.width - len(lead)
            )
            status = row[f"{letter}_status_name"]
            process = f"{row[f'{letter}_process'] or '?'} ({row[f'{letter}_pid']})"
            yield self.cut(f"         {process}: {status or 'result unknown'}")

    def candidate(self, row: _Row) -> Iterator[str]:
        """Yield the lines of a candidate."""
        lead = f"{row['rank']:>3}  "
        inside = " " * len(lead)
        side = 1 if row["b_key"] is not None else 0
        key = row[f"{'ab'[side]}_key"]
        spelled = None if key is None else self._spell[side](key)
        yield lead + self._styled(self._value(spelled, row["value_name"], self.width - len(lead)), "bold")
        if row["kind"] == "value":
            for letter, name in (("a", "works"), ("b", "fails")):
                yield self.cut(f"{inside}{name}  {_content(row, letter)}")
        else:
            states = {"a": "works", "b": "fails"}
            said = ", ".join(f"{name}: {row[f'{letter}_state']}" for letter, name in states.items())
            yield self.cut(f"{inside}{row['kind']}: {row['differs']} differs ({said})")
        back = row["steps_back"]
        where = f"{plural(back, 'equal operation')} before they part" if back else "right before they part"
        times = f", {plural(row['times'], 'such read')}" if row["times"] > 1 else ""
        behind = "" if row["behind"] is None else f", behind candidate {row['behind']}"
        writer = "" if row["writer"] is None else f", written by {row['writer']} ({row['writer_pid']})"
        yield self.cut(f"{inside}weight {row['weight']}, {where}{times}{behind}{writer}")
        for line in textwrap.wrap(visible(row["reasons"]), max(self.width - len(lead), 20)):
            yield inside + self._styled(cut_end(line, self.width - len(lead)), "dim")
        if row["reg"] is not None:
            yield self.cut(f"{inside}not in a .reg file: {row['reg']}")

    def _value(self, key: str | None, value_name: str | None, room: int) -> str:
        name = (
            ""
            if value_name is None
            else visible(f" : {quote_name(value_name) if value_name else '(default)'}")
        )
        shown = visible(quote_name(key)) if key else "(no key)"
        return cut_end(cut_middle(shown, max(room - cell_width(name), 12)) + name, room)

    def _styled(self, text: str, style: str) -> str:
        return with_style(text, style) if self._color else text


def _content(row: _Row, letter: str) -> str:
    state = row[f"{letter}_state"]
    if state == "absent":
        return "(no such value)"
    if state == "unknown" or (row[f"{letter}_data"] is None and row[f"{letter}_size"] is None):
        return "? (the data was not captured)"
    return show_value(row[f"{letter}_type"], row[f"{letter}_data"], row[f"{letter}_size"], limit=_BYTES)
