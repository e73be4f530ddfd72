"""The page docs/cli.md, generated from the help of every verb: `python -m cli.manual > docs/cli.md`."""

from collections.abc import Iterator
from typing import Any

import typer

from cli.app import VERBS, app
from cli.exits import MEANINGS

__all__ = ["manual"]

_WIDTH = 100

_INTRODUCTION = """\
# The command line

This page is made from the help texts: `python -m cli.manual > docs/cli.md`.

Data goes to standard output, words (progress, warnings, hints) to standard error. Progress and hints are
shown only where standard error is a terminal, and never with `--quiet`. Warnings about lost events are
always shown."""

_RULES = """\
## How rows are written

`-f` gives the format, else the ending of the file: `.txt` table, `.csv`, `.jsonl` or `.ndjson`, `.parquet`
or `.pq`. A file appears under its name when it is whole; an existing one is replaced only with `--force`.

**Times** are UTC in ISO-8601 (`2026-11-22T10:00:00.123456Z`). `--tz ZONE` shows them in another zone, with
its offset (`2026-11-22T11:00:00.123456+01:00`). `time_ns` is always UTC nanoseconds since 1970. `--tz`
changes nothing in Parquet, which holds instants. `--from` and `--to` are UTC unless they carry an offset.

**Patterns**, in names of keys, values and processes: `*` stands for any letters of one component, `?` for one,
`**` as a component of a key for any components or none. `[*]`, `[?]` and `[[]` stand for the letter itself: the key
named `*` below Classes is `HKLM\\SOFTWARE\\Classes\\[*]`. A sentence says where
a key's own name is written as the pattern is.

**Tables** are for reading. On a terminal they are shortened to fit: what all rows share (the date, the key
they lie below) moves above the table, columns without content are left out, doubts about a row become
letters that are explained below the table, and below 100 columns times end with milliseconds; `--wide`
prevents all that, and into a pipe or a file nothing is shortened. A table never shows more than 200 letters, or 32 bytes in hex (`diff`: 64),
of a value's data; that of `sql` shows all. Beyond 50,000 rows the headings are repeated. A key too long for its place
loses whole components of its middle, never its last one, and GUIDs and SIDs lose letters first: `HKU\\…\\{CEBFF5CD…}\\Count`.

**Long tables** go through a pager where a person sits at a terminal: `PAGER`, else `less -FRX`. With `--no-pager`, with
`PAGER=cat`, and where there is no pager, the first 20 rows are shown with the number of all (`20 of 1,649 events`);
`--limit N` shows the first N. A pipe and a file get the whole table, without colour.

**Waiting** for more than half a second shows a line on standard error that moves and tells the seconds, and of long
exports the rows so far; `ingest` shows how much is read and the time that is left. Nothing of it goes where no person
looks (a pipe, a file), nor anything with `--quiet`.

Strangers write names and data, so every character that Unicode does
not call printable (control characters, terminal escapes, newlines, bidi overrides, odd spaces) or that shows as nothing is shown as `\\u{HEX}`, and so are marks after the fourth on one letter; where a name itself holds `\\u{`, its backslash is shown as `\\u{5C}`. CSV
is shown so too when it goes to a terminal. In tables a name or string that could be read as one of our own
words, such as `(default)` or `1 (0x1)`, stands in double quotes ([escaping.md](escaping.md)). Colour is used on a terminal only, and not where `NO_COLOR` is
set.

**CSV** follows RFC 4180, in UTF-8, lines ending with LF. Text is quoted; a NULL is an empty cell, empty
text is `""`. A text cell that starts with `=`, `+`, `-`, `@` (or their full-width forms), a tab, CR, LF or
an apostrophe gets one apostrophe in front, so that no spreadsheet runs it: *a reader that drops one
leading apostrophe from text has the exact text.* Readers that can tell `""` from an empty cell
(`pyarrow.csv` with `quoted_strings_can_be_null=False`, DuckDB with `allow_quoted_nulls = false`) keep NULL
apart from empty text too.

**JSONL** has one object a line; NULL is `null`. A line that would hold such a character is written
in ASCII with JSON's `\\uXXXX`. In `dump`, payload fields that a record does not have are left out.

Data stands as text beside the type by name ([questions.md](questions.md#data-as-text)); CSV has its bytes with
`--raw` only. In CSV and JSONL bytes are lower-case hex, kernel addresses are text such as `"0xffffc00512345678"`
(spreadsheets and JavaScript would round them), and all other integers stay integers.

**Parquet** keeps every type exactly, zstd-compressed.

In all four, a NUL or a lone surrogate inside a name is written `<U+0000>`, `<U+D800>` (see `tracer.registry.text`)."""


def manual() -> str:
    """Return the page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from (_INTRODUCTION, "", "## Exit codes", "", "| code | meaning |", "| --- | --- |")
    for code, meaning in MEANINGS.items():
        yield f"| {code.value} | {meaning} |"
    yield from ("", _RULES, "", "## regtrace", "", *_block(_help()))
    for name in VERBS:
        yield from ("", f"## regtrace {name}", "", *_block(_help(name)))


def _block(text: str) -> Iterator[str]:
    yield "```text"
    yield from (line.rstrip() for line in text.strip().splitlines())
    yield "```"


def _help(verb: str | None = None) -> str:
    group = typer.main.get_command(app)
    settings: dict[str, Any] = {
        "resilient_parsing": True, "terminal_width": _WIDTH, "max_content_width": _WIDTH
    }  # fmt: skip
    context = group.make_context("regtrace", [], **settings)
    if verb is None:
        return group.get_help(context)
    command = group.get_command(context, verb)  # type: ignore[attr-defined]
    return str(command.get_help(command.make_context(verb, [], parent=context, **settings)))


if __name__ == "__main__":
    print(manual(), end="")
