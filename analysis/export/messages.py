"""One sentence for each row, for formats that show a line of text: operation, key, value, data, result, process."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.export.json_text import decoded
from analysis.export.people import named_process
from analysis.export.rows import Rows

__all__ = ["CUT_MARK", "MOST_BYTES", "cut_rows", "cut_text", "messages"]

# No message is longer than the 32,766 bytes of a keyword: key, value name, and data twice.
MOST_BYTES = {"display_key": 16_000, "value_name": 4_000, "data_text": 4_000, "previous_text": 4_000}
CUT_MARK = " [cut]"
_Spell = Callable[[str], str]


def cut_text(text: str, most: int) -> str:
    """Return a text of at most `most` bytes in UTF-8; one that was cut ends with CUT_MARK.

    >>> cut_text("Straße", 20), cut_text("ß" * 10, 15)
    ('Straße', 'ßßßß [cut]')
    """
    if len(text) * 4 <= most:
        return text
    raw = text.encode()
    if len(raw) <= most:
        return text
    return raw[: most - len(CUT_MARK)].decode(errors="ignore") + CUT_MARK


def cut_rows(rows: Rows) -> int:
    """Return how many messages of the rows hold a text that was cut."""
    found = [
        pc.greater(pc.binary_length(rows[name]), most).fill_null(False) for name, most in MOST_BYTES.items()
    ]
    several = found[0]
    for one in found[1:]:
        several = pc.or_(several, one)
    return int(pc.sum(several).as_py() or 0)


def messages(rows: Rows, spell: _Spell = str) -> pa.Array:
    """Return the sentence of each row.

    Args:
        rows: the rows.
        spell: how each text is written in the format, such as with JSON's escapes.
    """

    def part(name: str, lead: str, also: _Spell = str) -> pa.Array:
        most = MOST_BYTES.get(name, 1_000)
        return decoded(rows.told(name, lambda text: spell(lead + also(cut_text(text, most)))))

    parts = [
        part("operation", ""),
        part("display_key", " "),
        part("value_name", "", lambda name: f", value {name}" if name else ", the default value"),
        part("data_text", " = "),
        part("previous_text", ", was "),
        part("status_name", "; "),
        decoded(rows.of_process(_who(spell))),
    ]
    return pc.binary_join_element_wise(*parts, "", null_handling="skip")


@cache
def _who(spell: _Spell) -> Callable[[Mapping[str, Any]], str]:
    """Return what names a process at the end of a message: one function for each way to write, for its texts are remembered."""
    return lambda process: spell("; " + cut_text(named_process(process), 1_000))
