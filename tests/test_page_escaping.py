"""docs/escaping.md: each example in its tables is made and compared, and what is shown can be asked for in every question."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hand_capture import event, write_events

from analysis.capture import Capture
from analysis.open import open_capture
from cli.output.csv_format import write_csv
from cli.tables.timeline import data_cells, value_cells
from tracer.registry.text import escape_name

NUL = "HKLM\\SOFTWARE\\Run<U+0000>"
PAGE = (Path(__file__).parents[1] / "docs/escaping.md").read_text(encoding="utf-8")


def rows_below(heading: str) -> list[tuple[str, str]]:
    """Return the rows of the first table below a heading, as text."""
    table = PAGE[PAGE.index(heading) :]
    rows = re.findall(
        r"^\| (.+?) \| (.+?) \|$", table[: table.index("\n\n", table.index("| --- |"))], re.MULTILINE
    )
    return rows[2:]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_names_are_stored_as_the_page_shows() -> None:
    names = {"`Run`, then a NUL": "Run\0", "the eight letters `<U+0000>`": "<U+0000>"}
    rows = rows_below("## Stored")
    assert len(rows) == 4
    for said, stored in rows:
        assert code(stored) == [escape_name(names.get(said) or code(said)[0])], said


def test_csv_cells_are_those_of_the_page() -> None:
    rows = rows_below("## In CSV")
    stream = io.BytesIO()
    write_csv(pa.table({"n": [code(name)[0] for name, _ in rows]}).to_reader(), stream)
    assert len(rows) == 3
    assert stream.getvalue().decode().splitlines()[1:] == [code(cell)[0] for _, cell in rows]


def test_tables_show_the_words_of_the_page() -> None:
    names = pa.table({"value_name": ["", "(default)"]})
    (words, letters, data, text, empty) = (
        code(shown) + code(what) for shown, what in rows_below("## In tables")
    )
    assert value_cells(names) == [words[0], letters[0]]
    kinds = [(3, b"\x10"), (1, "10\0".encode("utf-16-le")), (1, b"\0\0"), (3, b"")]
    made = [
        event("SetValueKey", "HKLM\\A", "v", data_type=kind, data=data or None, data_size=len(data))
        for kind, data in kinds
    ]
    columns = {
        name: [row.get(name) for row in made]
        for name in ("operation", "status", "data_type", "data", "data_size")
    }
    assert data_cells(pa.table(columns)) == [data[0], text[0], *empty]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    keys = ("HKLM\\SOFTWARE\\*\\shell", "HKLM\\SOFTWARE\\x\\shell", NUL)
    told = [
        event(operation, key, value, process=image, data=b"1", data_size=1, data_type=3)
        for key in keys
        for value in ("", "(default)", "*")
        for image in ("*.exe", "z.exe")
        for operation in ("SetValueKey", "QueryValueKey", "QueryValueKey")
    ]
    path = write_events(tmp_path_factory.mktemp("escaping") / "a.regtrace", told)
    with open_capture(path) as opened:
        yield opened


QUOTED: list[tuple[dict[str, str], dict[str, str]]] = [  # (as it is shown, as a pattern says the same)
    ({"key": '"HKLM\\SOFTWARE\\*\\shell"'}, {"key": "HKLM\\SOFTWARE\\[*]\\shell"}),
    (
        {"key": "**", "value": '"*"', "process": '"*.exe"'},
        {"key": "**", "value": "[*]", "process": "[*].exe"},
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["timeline", "history", "hot"])
def test_every_question_takes_names_as_they_are_shown(capture: Capture, verb: str) -> None:
    ask = getattr(capture, verb)
    for quoted, plain in QUOTED:
        answer = ask(**quoted)
        assert len(answer) > 0
        assert answer.equals(ask(**plain))
    assert set(ask(key=NUL).get("display_key", [NUL])) == {NUL}
