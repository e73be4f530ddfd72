"""The list of what to look at first: three lines a finding, the heaviest first, and a line on all other net changes."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.output.answer_columns import short_ids, with_hosts
from cli.output.columns import host_cells, text_cells
from cli.output.console import with_style
from cli.output.phrases import plural
from cli.output.safe import visible
from cli.output.table import TextColumn, cut_end, lay_out, path_line
from cli.tables.timeline import process_cells, time_cells, value_cells

__all__ = ["triage_lines"]

_HEAVY = 60  # from here on a weight is red
_INDENT = " " * 7
_FEW_PROGRAMS = 3


def triage_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of an answer of `analysis.questions.triage`.

    On a terminal a finding is three lines, and net changes of which nothing else is known are one line together.

    Args:
        rows: the rows.
        width: of the terminal; None where there is none: a row a line.
        zone: the zone that times are shown in.
        color: whether the terminal shows colors.
    """
    if width is None:
        yield from lay_out(with_hosts(rows, _flat(rows, zone)), color=color)
        return
    found_by = text_cells(rows, "found_by")
    plain = [place for place, name in enumerate(found_by) if name == "changes"]
    listed = [place for place, name in enumerate(found_by) if name != "changes"]
    _, times = time_cells(rows, zone, width)
    hosts = host_cells(rows) or [""] * rows.num_rows
    keys, ids = text_cells(rows, "display_key"), short_ids(rows)
    weights, reasons = text_cells(rows, "weight"), text_cells(rows, "reasons")
    techniques, processes = text_cells(rows, "techniques"), process_cells(rows)
    contents = _contents(rows)
    for place in listed:
        weight = f"{weights[place]:>5}"
        heavy = int(weights[place].replace(",", "") or 0) >= _HEAVY
        head = with_style(weight, "red" if heavy else "yellow") if color else weight
        yield f"{head}  {path_line(keys[place] or '(no key)', width - len(_INDENT), number=ids[place], color=color)}"
        yield _INDENT + cut_end(visible(contents[place]), width - len(_INDENT), "…")
        who = "  ".join(filter(None, (hosts[place], processes[place], times[place], techniques[place])))
        yield _INDENT + cut_end(visible(who), width - len(_INDENT), "…")
        for line in _wrapped(visible(reasons[place]), width - len(_INDENT)):
            yield _INDENT + (with_style(line, "dim") if color else line)
    if plain:
        counts = Counter(processes[place] or "an unknown process" for place in plain)
        some = [f"{visible(name)} {count:,}" for name, count in counts.most_common(_FEW_PROGRAMS)]
        more = f", {len(counts) - len(some):,} more" if len(counts) > len(some) else ""
        yield f"{plural(len(plain), 'other net change')} ({', '.join(some)}{more}): `regtrace changes` lists them"


def _flat(rows: pa.Table, zone: tzinfo) -> list[TextColumn]:
    title, times = time_cells(rows, zone, None)
    return [
        TextColumn("weight", text_cells(rows, "weight"), right=True),
        TextColumn(title, times),
        TextColumn("process", process_cells(rows)),
        TextColumn("key", text_cells(rows, "display_key")),
        TextColumn("value", value_cells(rows)),
        TextColumn("before", text_cells(rows, "before")),
        TextColumn("after", text_cells(rows, "after")),
        TextColumn("techniques", text_cells(rows, "techniques")),
        TextColumn("reasons", text_cells(rows, "reasons")),
    ]


def _contents(rows: pa.Table) -> list[str]:
    """Return of each row the value with its data before and after."""
    cells = []
    for value, name, done, before, after in zip(
        rows.column("value_name").to_pylist(), value_cells(rows),
        *(rows.column(column).to_pylist() for column in ("done", "before", "after")), strict=True,
    ):  # fmt: skip
        if value is None:
            cells.append("the key itself" if done is not False else "the key itself: an attempt that failed")
            continue
        held = f"{_shown(before)} -> {_shown(after)}"
        cells.append(f"{name}: {held}" + (" (an attempt that failed)" if done is False else ""))
    return cells


def _shown(text: str | None) -> str:
    return "?" if text is None else text or '""'


def _wrapped(text: str, width: int) -> list[str]:
    """Return a list of reasons in lines that end between two of them where there is room."""
    lines: list[str] = []
    for reason in text.split("; "):
        if lines and len(lines[-1]) + len(reason) + 2 <= width:
            lines[-1] += f"; {reason}"
        else:
            lines.append(reason)
    return [cut_end(line, width, "…") for line in lines]
