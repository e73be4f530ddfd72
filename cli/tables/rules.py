"""The page of `regtrace rules`: hits grouped by rule, what cannot be told, what to record next time, and counts."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from cli.output.columns import host_cells, text_cells
from cli.output.console import with_style
from cli.output.phrases import plural
from cli.output.safe import visible
from cli.output.table import TextColumn, cut_end, cut_middle, lay_out
from cli.tables.timeline import process_cells, value_cells
from tracer.registry.quoting import quote_text

__all__ = ["rules_lines"]

_NUMBER = re.compile(r"(?:DWORD \(0x([0-9a-f]{8})\)|QWORD \(0x([0-9a-f]{8})-0x([0-9a-f]{8})\))")
_NUMBERS = ("REG_DWORD", "REG_QWORD")
_FEW = 5  # events of a rule on a terminal
_FEW_RULES = 15  # rules that cannot be told, or read, on a terminal
_NO_LEVEL = "no level"
_STYLES = {"critical": "red", "high": "red", "medium": "yellow"}


def rules_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of the page.

    Args:
        rows: the rows of `analysis.questions.rules.RulesQuery`.
        width: the columns of the terminal; None shortens nothing.
        zone: the zone times are shown in.
        color: whether titles are bold.
    """
    page = _Page(rows, width, zone, color)
    yield from page.summary()
    for title, section in (
        ("", page.hits),
        ("Events of which cannot be told whether a rule matches", page.events),
        ("What to record next time", page.gaps),
        ("Rules that cannot be told", page.unknown),
        ("Rules about other logs", page.sources),
        ("Rules that cannot be read", page.broken),
    ):
        lines = [*section()]
        if lines:
            yield ""
            if title:
                yield page.title(title)
            yield from lines


class _Page:
    """The sections of a page, for one width."""

    def __init__(self, rows: pa.Table, width: int | None, zone: tzinfo, color: bool) -> None:
        self._sections = rows["section"].to_pylist()
        self._rows, self._width, self._zone, self._color = rows, width, zone, color

    def title(self, line: str, style: str = "bold") -> str:
        """Return a heading."""
        shown = self._fitted(line)
        return with_style(shown, style) if self._color and style else shown

    def summary(self) -> Iterator[str]:
        """Yield the sentence about all rules."""
        counts = {row["gap"]: row["rules"] for row in self._of("count").to_pylist()}
        events = next(row["events"] for row in self._of("count").to_pylist() if row["gap"] == "matched")
        parts = [
            f"{counts['matched']:,} of {plural(counts['tried'], 'rule')} about the registry {'matches' if counts['matched'] == 1 else 'match'}"
        ]
        if events:
            parts[0] += f" ({plural(events, 'event')})"
        parts.append(f"{counts['no match']:,} {'does' if counts['no match'] == 1 else 'do'} not")
        if counts["cannot tell"]:
            parts.append(f"{counts['cannot tell']:,} cannot be told")
        yield from self._wrapped("; ".join(parts))
        others = [
            f"{plural(counts['left out'], 'rule')} left out by --level or --rule"
            if counts["left out"]
            else "",
            f"{plural(counts['other log sources'], 'rule')} about other logs not tried"
            if counts["other log sources"]
            else "",
            f"{counts['broken']:,} cannot be read" if counts["broken"] else "",
        ]
        if any(others):
            yield from self._wrapped("; ".join(filter(None, others)))

    def hits(self) -> Iterator[str]:
        """Yield the hits of each rule."""
        yield from self._cards("hit")

    def events(self) -> Iterator[str]:
        """Yield the events that cannot be told, of each rule."""
        yield from self._cards("event")

    def gaps(self) -> Iterator[str]:
        """Yield what is not known, of how much, and what to record."""
        for row in self._of("gap").to_pylist():
            yield from self._wrapped(
                f"{row['gap']}: {plural(row['rules'], 'rule')}, {plural(row['events'], 'event')}", "  "
            )
            yield from self._wrapped(f"{row['advice']}", "    ")

    def unknown(self) -> Iterator[str]:
        """Yield the rules that cannot be told, the most severe first."""
        by_rule: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for row in self._of("unknown").to_pylist():
            by_rule.setdefault((row["level"], row["title"], row["path"]), []).append(row)
        shown = list(by_rule.items())[: None if self._width is None else _FEW_RULES]
        if not shown:
            return
        columns = [
            TextColumn("level", [level or "" for (level, _, _), _ in shown]),
            TextColumn("rule", [title for (_, title, _), _ in shown], shrink="end", least=24),
            TextColumn(
                "events", [f"{max(row['events'] for row in rows):,}" for _, rows in shown], right=True
            ),
            TextColumn(
                "not known",
                ["; ".join(row["gap"] for row in rows) for _, rows in shown],
                shrink="end",
                least=16,
            ),
        ]
        yield from lay_out(columns, width=self._width, color=self._color)
        if len(shown) < len(by_rule):
            yield f"and {plural(len(by_rule) - len(shown), 'more rule')}; -f csv lists them, --unknown their events"

    def sources(self) -> Iterator[str]:
        """Yield the log sources of other rules."""
        rows = self._of("source").to_pylist()
        if rows:
            yield from self._wrapped(", ".join(f"{row['gap']} {row['rules']:,}" for row in rows), "  ")

    def broken(self) -> Iterator[str]:
        """Yield what cannot be read, one line each."""
        rows = self._of("broken").to_pylist()
        shown = rows if self._width is None else rows[:_FEW_RULES]
        for row in shown:
            path = row["path"] if self._width is None else PurePath(row["path"]).name
            yield self._fitted(f"  {path}: {row['gap']}")
        if len(shown) < len(rows):
            yield f"  and {len(rows) - len(shown):,} more; -f csv lists all"

    def _cards(self, section: str) -> Iterator[str]:
        rows = self._of(section)
        facts = rows.to_pylist()
        if not facts:
            return
        times = [text[:23] + text[26:] for text in text_cells(rows, "time", zone=self._zone)]
        hosts, processes, values = host_cells(rows), process_cells(rows), value_cells(rows)
        by_rule: dict[tuple[Any, ...], list[int]] = {}
        for place, row in enumerate(facts):
            by_rule.setdefault((row["level"], row["title"], row["path"]), []).append(place)
        for number, places in enumerate(by_rule.values()):
            if number:
                yield ""
            yield from self._heading(facts[places[0]])
            shown = places if self._width is None else places[:_FEW]
            for place in shown:
                yield from self._event(
                    facts[place], times[place], processes[place], values[place], hosts[place] if hosts else ""
                )
            if len(shown) < len(places):
                yield f"  and {plural(len(places) - len(shown), 'more event')}; -f csv lists all"

    def _heading(self, row: dict[str, Any]) -> Iterator[str]:
        level = row["level"] or _NO_LEVEL
        yield self.title(f"{level.upper()}  {row['title']}", _STYLES.get(level, "bold"))
        about = [row["techniques"], row["rule_id"], f"by {row['author']}" if row["author"] else None]
        line = "  ".join(filter(None, about))
        if line:
            yield self.title(f"  {line}", "dim")

    def _event(self, row: dict[str, Any], time: str, process: str, value: str, host: str) -> Iterator[str]:
        who = process
        if row["parent"] or row["parent_pid"] is not None:
            pid = "" if row["parent_pid"] is None else f" ({row['parent_pid']})"
            who += f", started by {row['parent'] or '?'}{pid}"
        who += f", {row['user']}" if row["user"] else ""
        done = "" if row["done"] is not False else f"  failed: {row['status_name']}"
        yield self._fitted("  " + "  ".join(filter(None, (time, host, who))) + done)
        yield self._placed(row["display_key"] or "(no name)", value)
        yield self._fitted(f"    {_done(row)}")
        if row["opened_by"] and (row["opened_by"], row["opened_by_pid"]) != (row["process"], row["pid"]):
            yield self._fitted(
                f"    through a handle that {row['opened_by']} ({row['opened_by_pid']}) opened"
            )
        if row["gap"]:
            yield self._fitted(f"    not known: {row['gap']}")

    def _placed(self, key: str, value: str) -> str:
        """Return key and value; of a key that is too long its middle goes, and the value stays."""
        behind = f"  {visible(value)}" if value else ""
        if self._width is None:
            return f"    {visible(key)}{behind}"
        behind = cut_end(behind, self._width // 2)
        return f"    {cut_middle(visible(key), self._width - 4 - len(behind))}{behind}"

    def _of(self, section: str) -> pa.Table:
        return self._rows.filter(pa.array([one == section for one in self._sections], pa.bool_()))

    def _fitted(self, line: str) -> str:
        shown = visible(line)
        return shown if self._width is None else cut_end(shown, self._width)

    def _wrapped(self, line: str, indent: str = "") -> Sequence[str]:
        shown = visible(line)
        if self._width is None:
            return [indent + shown]
        return textwrap.wrap(shown, self._width, initial_indent=indent, subsequent_indent=indent)


def _done(row: dict[str, Any]) -> str:
    """Return what was done: the data before and after, or the operation."""
    if row["operation"] == "SetValueKey":
        before, data = _before(row), "? (not recorded)" if row["details"] is None else row["details"]
        if before and (found := _NUMBER.fullmatch(data)):  # as the data before are written
            number = int(found[1] or found[2] + found[3], 16)
            data = f"{number} (0x{number:X})"
        return f"{before} -> {data}" if before else f"set to {data}"
    words = {
        "CreateKey": "key created",
        "DeleteKey": "key deleted",
        "DeleteValueKey": "value deleted",
        "RenameKey": "key renamed",
        "CreateOrDelete": "created or deleted",
    }
    before = _before(row)
    return words.get(row["operation"], row["operation"]) + (f"; it was {before}" if before else "")


def _before(row: dict[str, Any]) -> str:
    """Return the data before; "" where nobody knows them."""
    text = row["before"]
    if row["before_from"] == "absent":
        return "absent"
    if text is None:
        return ""
    is_number = row["before_type"] in _NUMBERS and text.isdigit()
    return f"{text} (0x{int(text):X})" if is_number else quote_text(text)
