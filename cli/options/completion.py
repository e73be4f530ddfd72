r"""Completion of values in a shell: operations, statuses, zones, and keys and processes of the capture on the line.

What a capture calls its keys and processes is hostile text, and a shell runs what stands on its line. So only names of
letters, digits and a few signs that no shell acts on inside single quotes are offered, and those with more than letters,
digits, dots and dashes are quoted. Other names have to be typed, with a shell's own quoting.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = [
    "complete_category",
    "complete_key",
    "complete_level",
    "complete_operation",
    "complete_process",
    "complete_status",
    "complete_zone",
]

_MOST = 200
_HARMLESS = re.compile(
    r"[\w \\.{}()+#@,=/-]*"
)  # no quotes, $, `, ;, !, *, newline: nothing that a shell expands
_EMPTY = re.compile("[\u115f\u1160\u3164\uffa0]")  # letters that show as nothing
_PLAIN = re.compile(r"[\w./,+-]+", re.ASCII)


class _Word(str):
    """A word to offer. Typer would drop those that do not begin, letter by letter, with what is typed: quotes, case."""

    __slots__ = ()

    def startswith(self, *_: Any) -> bool:  # noqa: ANN401
        return True


def complete_key(ctx: Any, incomplete: str) -> list[str]:  # noqa: ANN401
    """Return the keys of the capture that begin with what is typed, one level further."""
    from analysis.engine.capture_names import key_paths
    from tracer.registry.text import fold_name

    capture = _capture(ctx)
    if capture is None:
        return []
    return _offered(key_paths(capture, fold_name(_typed(incomplete)[0]), _MOST))


def complete_process(ctx: Any, incomplete: str) -> list[str]:  # noqa: ANN401
    """Return the images of the capture's processes that begin with what is typed."""
    from analysis.engine.capture_names import images

    capture = _capture(ctx)
    start = _typed(incomplete)[0].lower()
    found = [] if capture is None else images(capture)
    return _offered(image for image in found if image.lower().startswith(start))


def complete_category(ctx: Any, incomplete: str) -> list[str]:  # noqa: ANN401, ARG001
    """Return the categories of autostarts that begin with what is typed; after a comma, those for one more."""
    from analysis.rules.autostarts import categories

    return _words(categories(), incomplete)


def complete_operation(ctx: Any, incomplete: str) -> list[str]:  # noqa: ANN401, ARG001
    """Return the words for operations that begin with what is typed; after a comma, those for one more."""
    from tracer.registry.terms import operation_words

    return _words(operation_words(), incomplete)


def complete_status(ctx: Any, incomplete: str) -> list[str]:  # noqa: ANN401, ARG001
    """Return the words for statuses that begin with what is typed; after a comma, those for one more."""
    from tracer.registry.terms import all_status_words

    return _words(all_status_words(), incomplete)


def complete_level(ctx: Any, incomplete: str) -> list[str]:  # noqa: ANN401, ARG001
    """Return the levels of rules that begin with what is typed."""
    from analysis.rules.sigma_levels import LEVELS

    return _words(LEVELS, incomplete)


def complete_zone(ctx: Any, incomplete: str) -> list[str]:  # noqa: ANN401, ARG001
    """Return the time zones that begin with what is typed."""
    import zoneinfo

    return _words(sorted(zoneinfo.available_timezones()), incomplete)


def _is_harmless(name: str) -> bool:
    return bool(name.isprintable() and name and _HARMLESS.fullmatch(name) and not _EMPTY.search(name))


def _capture(ctx: Any) -> Path | None:  # noqa: ANN401
    """Return the capture on the line; behind an option that still lacks its value nothing tells which word it is."""
    named = ctx.params.get("capture")
    places = [Path(word) for word in ([named] if named is not None else ctx.args)]
    return next((place for place in places if place.is_dir()), None)


def _words(words: Iterable[str], incomplete: str) -> list[str]:
    before, comma, last = _typed(incomplete)[0].rpartition(",")
    # A colon ends a word in Bash.
    return [
        _Word(before + comma + word)
        for word in words
        if word.lower().startswith(last.lower()) and ":" not in word
    ]


def _shell() -> str:
    return os.environ.get("_REGTRACE_COMPLETE", "").removeprefix("complete_")


def _typed(incomplete: str) -> tuple[str, str]:
    r"""Return the word that is being typed, without its quoting, and the quote that it begins with or "".

    What was split as a shell does has lost the backslashes that somebody typed without quotes, so the line is read
    again, as it stands.
    """
    shell, raw = _shell(), incomplete
    if shell == "bash":
        words = os.environ.get("COMP_WORDS", "").split("\n")
        place = int(os.environ.get("COMP_CWORD", "-1"))
        raw = words[place] if 0 <= place < len(words) else ""
    elif shell in ("zsh", "fish"):
        raw = _last_word(os.environ.get("_TYPER_COMPLETE_ARGS", ""))
    if raw[:1] in ("'", '"'):
        return raw[1:].removesuffix(raw[0]), raw[0]
    return raw.replace("\\\\", "\\").replace("\\ ", " "), ""


def _last_word(line: str) -> str:
    """Return the last word of a line as it stands, with the quote that it begins with."""
    start, quote = 0, ""
    for place, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter.isspace() and line[place - 1 : place] != "\\":
            start = place + 1
    return line[start:]


def _offered(names: Iterable[str]) -> list[str]:
    """Return the names that can stand on a shell's line, as this shell takes them."""
    harmless = [name for name in names if _is_harmless(name)]
    shell, quote = _shell(), _typed("")[1]
    if shell == "bash":
        if quote == '"':  # a backslash at the end would act on the quote
            harmless = [name for name in harmless if not name.endswith("\\")]
        return [_Word(name if quote or _PLAIN.fullmatch(name) else f"'{name}'") for name in harmless]
    if (
        shell == "zsh"
    ):  # its script reads the words between double quotes, and its _describe takes a backslash for an escape
        return [_Word(name.replace("\\", "\\" * 4)) for name in harmless]
    if shell in ("powershell", "pwsh"):
        return [_Word(name if _PLAIN.fullmatch(name) else f"'{name}'") for name in harmless]
    return list(map(_Word, harmless))
