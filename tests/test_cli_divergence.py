"""The verb `diff --first`: its page at several widths, every format, what it returns, and how it fails."""

import csv
import io
import json
from pathlib import Path

import pytest
from hand_capture import MISSING, event, write_events
from test_cli_verbs import as_on_a_terminal, invoke

from analysis.answers.divergence import DIVERGENCE
from analysis.open import open_capture
from cli.exits import Exit
from cli.tables.divergence import divergence_lines
from tracer.registry.value_columns import names_with_texts

V = "HKLM\\SOFTWARE\\Vendor"
FORMULA = "=1+1\x1b[2J"


def read(key: str, value: str, data: bytes | None) -> dict[str, object]:
    found = {"status": MISSING} if data is None else {"data": data, "data_size": len(data), "data_type": 3}
    return event("QueryValueKey", key, value, information_class=2, **found)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("cli")
    start = [event("OpenKey", V), read(V, "same", b"1")]
    a = [*start, read(V, FORMULA, b"\1"), read(f"{V}\\" + "long" * 40, "policy", None), event("DeleteKey", V)]
    b = [
        *start,
        read(V, FORMULA, b"\2"),
        read(f"{V}\\" + "long" * 40, "policy", b"\1"),
        event("DeleteKey", V),
    ]
    return write_events(folder / "a.regtrace", a), write_events(folder / "b.regtrace", b)


@pytest.mark.slow
def test_the_answer_is_the_same_in_every_format(pair: tuple[Path, Path]) -> None:
    shown = invoke("diff", *pair, "--first", "-f", "jsonl")
    assert shown.exit_code == Exit.FINDINGS
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert tuple(rows[0]) == names_with_texts(DIVERGENCE)
    assert [(row["what"], row["place"]) for row in rows] == [
        ("divergence", 0), ("read", -1), ("before", -1), ("before", -2), ("before", -3), ("after", 1)
    ]  # fmt: skip
    cells = list(csv.DictReader(io.StringIO(invoke("diff", *pair, "--first", "-f", "csv").stdout)))
    assert [row["what"] for row in cells] == [row["what"] for row in rows]
    assert cells[1]["a_value_name"] == "'" + FORMULA
    few = invoke("diff", *pair, "--first", "--context", "0", "--limit", "1", "-f", "jsonl")
    assert (few.exit_code, [json.loads(line)["what"] for line in few.stdout.splitlines()]) == (
        3,
        ["divergence"],
    )


@pytest.mark.slow
def test_the_page_names_the_place_and_what_was_read(pair: tuple[Path, Path]) -> None:
    lines = invoke("diff", *pair, "--first").stdout.splitlines()
    assert lines[0].startswith("a  a.regtrace: a.exe (100), 5 operations, here event 3 at 2024-05-01T")
    assert lines[3] == "They part after 3 operations that match: the same operation ends otherwise"
    assert [line.split() for line in lines[5:7]] == [
        ["a", "QueryValueKey", "policy", "NAME_NOT_FOUND"], ["b", "QueryValueKey", "policy", "SUCCESS", "01"]
    ]  # fmt: skip
    assert lines[8] == "Before that they read other data, the nearest first"
    assert lines[11].split() == ["-1", "=1+1\\u{1B}[2J", "01", "02"]
    assert lines[-3:] == ["Then, on both sides", V, "+1  DeleteKey"]
    assert "\x1b" not in "".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("width", [40, 80, 120, 160])
def test_the_page_fits_a_terminal(pair: tuple[Path, Path], width: int) -> None:
    with open_capture(pair[0]) as a, open_capture(pair[1]) as b:
        found = a.queries.first_divergence(b).compare()
        lines = [*divergence_lines(found.rows, width, found=found, names=["a" * 90, "b"])]
    assert max(map(len, lines)) <= width
    assert any(line.endswith("longlong") for line in lines)  # a key that is too long keeps its end


@pytest.mark.slow
def test_runs_that_do_not_part_return_0_and_say_what_was_read(pair: tuple[Path, Path]) -> None:
    shown = invoke("diff", *pair, "--first", "--key", V)
    assert shown.exit_code == Exit.OK
    assert "They do not part: 4 operations match" in shown.stdout
    assert "They read other data, the nearest first" in shown.stdout
    assert "nothing parts" not in shown.stderr
    assert "01" in as_on_a_terminal("diff", *pair, "--first", "--key", V)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--a-process", "a.exe"], "need --first"),
        (["--first", "--only", "values"], "compare the registry"),
        (
            ["--first", "--a-process", "no.exe", "--b-process", "a.exe"],
            "no process in a.regtrace is called no.exe",
        ),
        (["--first", "--key", f"{V}\\nothing"], "nothing in a.regtrace touches a key"),
    ],
)
def test_mistakes_are_one_sentence(pair: tuple[Path, Path], words: list[str], sentence: str) -> None:
    shown = invoke("diff", *pair, *words)
    assert shown.exit_code == Exit.USAGE
    assert sentence in shown.stderr
    assert "Traceback" not in shown.stderr
