r"""Escapes for terminals and spreadsheets: names and data are untrusted.

Terminal: every character that Unicode does not call printable (control characters, escapes, newlines,
bidi overrides, invisible formatting, odd spaces) or that shows as nothing (fillers, variation selectors) is
shown as ``\u{HEX}``; where a name itself holds ``\u{``, its backslash is shown as ``\u{5C}``. So what is shown
is unambiguous, and harmless.

Spreadsheet (CSV): a text cell that starts with ``= + - @``, their full-width forms, a tab, CR, LF or an
apostrophe gets one apostrophe in front (`tracer.registry.safe_text`). A reader that drops one leading apostrophe has the
exact text.
"""

from tracer.registry.safe_text import SPREADSHEET_TRIGGERS, is_visible, spreadsheet_safe, visible

__all__ = ["SPREADSHEET_TRIGGERS", "from_spreadsheet", "is_visible", "spreadsheet_safe", "visible"]


def from_spreadsheet(cell: str) -> str:
    """Return the text that `spreadsheet_safe` wrote as `cell`."""
    return cell.removeprefix("'")
