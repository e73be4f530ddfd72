r"""Names and data are written by strangers: what a terminal and a spreadsheet must not see of them.

Terminal: every character that Unicode does not call printable (control characters, escapes, newlines,
bidi overrides, invisible formatting, odd spaces) is shown as ``\u{HEX}``; where a name itself holds
``\u{``, its backslash is shown as ``\u{5C}``. So what is shown is unambiguous, and harmless.

Spreadsheet (CSV): a text cell that starts with ``= + - @``, their full-width forms, a tab, CR, LF or an
apostrophe gets one apostrophe in front. A reader that drops one leading apostrophe has the exact text.
"""

__all__ = ["SPREADSHEET_TRIGGERS", "from_spreadsheet", "spreadsheet_safe", "visible"]

SPREADSHEET_TRIGGERS = "=+-@＝＋－＠\t\r\n'"


def visible(text: str) -> str:
    r"""Return `text` as a terminal may show it.

    >>> visible("a\x1b[2Jb"), visible("x\u202eexe.txt")
    ('a\\u{1B}[2Jb', 'x\\u{202E}exe.txt')
    """
    if "\\u{" in text:
        text = text.replace("\\u{", "\\u{5C}u{")
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else f"\\u{{{ord(letter):X}}}" for letter in text)


def spreadsheet_safe(text: str) -> str:
    """Return `text` as a cell that no spreadsheet takes for a formula.

    >>> spreadsheet_safe("=cmd|' /C calc'!A0")
    "'=cmd|' /C calc'!A0"
    """
    return "'" + text if text.startswith(tuple(SPREADSHEET_TRIGGERS)) else text


def from_spreadsheet(cell: str) -> str:
    """Return the text that `spreadsheet_safe` wrote as `cell`."""
    return cell.removeprefix("'")
