r"""Escapes for terminals and spreadsheets: names and data are untrusted.

Terminal: every character that Unicode does not call printable (control characters, escapes, newlines,
bidi overrides, invisible formatting, odd spaces) or that shows as nothing (fillers, variation selectors) is
shown as ``\u{HEX}``; where a name itself holds ``\u{``, its backslash is shown as ``\u{5C}``. So what is shown
is unambiguous, and harmless.

Spreadsheet (CSV): a text cell that starts with ``= + - @``, their full-width forms, a tab, CR, LF or an
apostrophe gets one apostrophe in front. A reader that drops one leading apostrophe has the exact text.
"""

import re

__all__ = ["SPREADSHEET_TRIGGERS", "from_spreadsheet", "is_visible", "spreadsheet_safe", "visible"]

# Letters and marks that a terminal shows as nothing: what Unicode's DerivedCoreProperties calls
# Default_Ignorable_Code_Point and str.isprintable calls printable, and the empty braille pattern.
_EMPTY = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
SPREADSHEET_TRIGGERS = "=+-@＝＋－＠\t\r\n'"


def is_visible(text: str) -> bool:
    r"""Return whether a terminal shows every letter of `text` and obeys none.

    >>> is_visible("Straße"), is_visible("a\tb"), is_visible("Run\u3164")
    (True, False, False)
    """
    return text.isprintable() and (text.isascii() or not _EMPTY.search(text))


def visible(text: str) -> str:
    r"""Return `text` as a terminal may show it.

    >>> visible("a\x1b[2Jb"), visible("x\u202eexe.txt")
    ('a\\u{1B}[2Jb', 'x\\u{202E}exe.txt')
    """
    if "\\u{" in text:
        text = text.replace("\\u{", "\\u{5C}u{")
    if is_visible(text):
        return text
    return "".join(letter if is_visible(letter) else f"\\u{{{ord(letter):X}}}" for letter in text)


def spreadsheet_safe(text: str) -> str:
    """Return `text` as a cell that no spreadsheet takes for a formula.

    >>> spreadsheet_safe("=cmd|' /C calc'!A0")
    "'=cmd|' /C calc'!A0"
    """
    return "'" + text if text.startswith(tuple(SPREADSHEET_TRIGGERS)) else text


def from_spreadsheet(cell: str) -> str:
    """Return the text that `spreadsheet_safe` wrote as `cell`."""
    return cell.removeprefix("'")
