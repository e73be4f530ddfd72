"""Cards of a report: what happened to one key, write by write, and who did it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analysis.filters import Filters
from analysis.report.grids import Column, Grid, content_text, made_grid, process_text, value_text
from analysis.report.source import Asking

__all__ = ["Card", "key_cards"]

_MOST_ROWS = 60  # of one card


@dataclass(frozen=True, slots=True)
class Card:
    """What a report says of one key.

    Attributes:
        key: its display path.
        sentence: who changed it, and how often.
        history: each write and delete of its values.
    """

    key: str
    sentence: str
    history: Grid


def key_cards(asking: Asking, keys: Mapping[str, str]) -> list[Card]:
    """Return a card for each key that has a history, in the order of the keys.

    Args:
        asking: a capture that is not narrowed.
        keys: how filters find each key, by its display path.
    """
    if not keys:
        return []
    filters = Filters(key=tuple(dict.fromkeys(keys.values())))
    rows = asking.rows(asking.capture.where(filters).queries.history()).to_pylist()
    by_key: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_key.setdefault(row["display_key"], []).append(row)
    return [_card(key, by_key[key]) for key in keys if key in by_key]


def _card(key: str, rows: Sequence[Mapping[str, Any]]) -> Card:
    columns = [
        Column("host", "text", lambda row: row.get("host")),
        Column("time", "time", "time"),
        Column("process", "text", process_text),
        Column("operation", "text", "operation"),
        Column("value", "code", value_text),
        Column("before", "code", _before),
        Column("after", "code", _after),
        Column("how the old data is known", "text", "old_from"),
        Column("note", "text", _note),
    ]
    done = [row for row in rows if row["done"] is not False]
    writers = list(dict.fromkeys(filter(None, map(process_text, done))))
    failed = len(rows) - len(done)
    sentence = f"{_count(len(done), 'change')} by {', '.join(writers[:3]) or 'an unknown process'}"
    if len(writers) > 3:
        sentence += f" and {len(writers) - 3} more"
    if failed:
        sentence += f"; {_count(failed, 'attempt')} failed"
    grid = made_grid("history", rows, columns, more="regtrace history").cut(_MOST_ROWS)
    return Card(key, f"{sentence}.", grid)


def _before(row: Mapping[str, Any]) -> str:
    if row["old_from"] == "absent":
        return "(none)"
    return "?" if row["old_from"] is None else content_text(row, "old_")


def _after(row: Mapping[str, Any]) -> str | None:
    if row["done"] is False:
        return f"failed: {row['status_name'] or row['status']}"
    return content_text(row, "new_") if row["operation"] == "SetValueKey" else "(none)"


def _note(row: Mapping[str, Any]) -> str | None:
    notes = []
    if row["across_loss"]:
        notes.append("events may have been lost in between")
    if row["conflict"]:
        notes.append(f"contradicts what was seen before ({row['conflict']})")
    return "; ".join(notes) or None


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
