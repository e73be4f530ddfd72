"""Untrusted text for terminals and spreadsheets: which letters a terminal shows, and which cells a spreadsheet would run."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SPREADSHEET_TRIGGERS", "guarded_cells", "is_visible", "spreadsheet_safe", "visible"]

# Letters and marks that a terminal shows as nothing: what Unicode's DerivedCoreProperties calls
# Default_Ignorable_Code_Point and str.isprintable calls printable, and the empty braille pattern.
_EMPTY = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
SPREADSHEET_TRIGGERS = "=+-@＝＋－＠\t\r\n'"
_MOST_MARKS = 4  # that stand on one letter; more are no writing system's, and cover the lines above
_TRIGGERED = f"^[{SPREADSHEET_TRIGGERS}]".replace("-", r"\-")


def is_visible(text: str) -> bool:
    r"""Return whether a terminal shows every letter of `text` and obeys none.

    >>> is_visible("Straße"), is_visible("a\tb"), is_visible("Run\u3164")
    (True, False, False)
    """
    return text.isprintable() and (text.isascii() or not (_EMPTY.search(text) or any(_covers(text))))


def visible(text: str) -> str:
    r"""Return `text` with what a terminal would obey or hide shown as ``\u{HEX}``; a ``\u{`` of its own is shown as ``\u{5C}u{``.

    Of combining marks on one letter the first four are shown as they are.

    >>> visible("a\x1b[2Jb"), visible("x\u202eexe.txt")
    ('a\\u{1B}[2Jb', 'x\\u{202E}exe.txt')
    """
    if "\\u{" in text:
        text = text.replace("\\u{", "\\u{5C}u{")
    if is_visible(text):
        return text
    return "".join(
        f"\\u{{{ord(letter):X}}}" if covers or not is_visible(letter) else letter
        for letter, covers in zip(text, _covers(text), strict=True)
    )


def _covers(text: str) -> Iterator[bool]:
    """Yield for each letter whether it is one mark too many on a letter."""
    from unicodedata import category

    marks = 0
    for letter in text:
        marks = marks + 1 if category(letter) in ("Mn", "Me") else 0
        yield marks > _MOST_MARKS


def spreadsheet_safe(text: str) -> str:
    """Return `text` as a cell that no spreadsheet takes for a formula.

    >>> spreadsheet_safe("=cmd|' /C calc'!A0")
    "'=cmd|' /C calc'!A0"
    """
    return "'" + text if text.startswith(tuple(SPREADSHEET_TRIGGERS)) else text


def guarded_cells(texts: "pa.Array") -> "pa.Array":
    """Return a column of text as cells that no spreadsheet takes for formulas; NULL stays NULL."""
    import pyarrow.compute as pc

    risky = pc.match_substring_regex(texts, _TRIGGERED)
    if not pc.any(risky).as_py():
        return texts
    return pc.if_else(risky, pc.binary_join_element_wise("'", texts, ""), texts)
