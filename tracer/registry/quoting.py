r"""Quotes around names and texts that look like words of this program, in output and in questions.

Where rows are shown to people, some words are ours: ``(default)``, ``(none)``, ``?``, ``[3 bytes where ...]``,
numbers as ``1 (0x1)``, bytes as ``61 62``. A name or a text that could be read as one of these, that begins
with a quote, or that has a space at its edge, is shown in double quotes, with its own quotes doubled. Everything
else is shown as it is. So no name and no text can pass for a word of ours. A question takes a name in such
quotes literally.
"""

import re

__all__ = ["as_pattern", "quote_name", "quote_text"]

_WORDS = "absent|created|deleted|existing key|exists|new key|removed|renamed|unknown"
_NAME_LIKE_OURS = re.compile(r"""["\ ].*|.*\ |\(.*\)|\?|\.|""", re.DOTALL | re.VERBOSE)
_TEXT_LIKE_OURS = re.compile(
    rf"""["\ ].*|.*\ |\(.*\)|\?|                     # quotes, spaces at the edge, (none), ?
    |.*\]                                          # a note, or a REG_MULTI_SZ
    |\d+\ \(0x[0-9A-F]+\)|[0-9a-f]{{2}}(?:\ [0-9a-f]{{2}})*  # a number, bytes
    |.*(?:;\ |,\ was\ ).*                          # what stands between the parts of a cell
    |(?:{_WORDS})
    |(?:set|delete|delete\ key|rename\ key):\ .*""",
    re.DOTALL | re.VERBOSE,
)
_WILDCARD = re.compile(r"[*?\[]")


def quote_name(name: str) -> str:
    r"""Return the name of a key, a value or an image for display: in quotes if it looks like our words.

    >>> quote_name("Version"), quote_name("(default)")
    ('Version', '"(default)"')
    """
    return _quote(name) if _NAME_LIKE_OURS.fullmatch(name) else name


def quote_text(text: str) -> str:
    """Return the text of a value for display: in quotes if it looks like our words.

    >>> quote_text("notepad.exe"), quote_text("10"), quote_text("")
    ('notepad.exe', '"10"', '""')
    """
    return _quote(text) if _TEXT_LIKE_OURS.fullmatch(text) else text


def as_pattern(word: str) -> str:
    """Return a user's word as a pattern; text in double quotes is taken literally.

    >>> as_pattern("Run*"), as_pattern('"Run*"'), as_pattern('"(default)"')
    ('Run*', 'Run[*]', '(default)')
    """
    if len(word) < 2 or not (word[0] == word[-1] == '"'):
        return word
    return _WILDCARD.sub(r"[\g<0>]", word[1:-1].replace('""', '"'))


def _quote(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
