"""`regtrace changes`: every format, both .reg files, and how it fails."""

import csv
import io
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plain_rows import simulated
from reg_reader import read_reg
from small_capture import write_capture
from test_cli_verbs import as_on_a_terminal, invoke, plain

from analysis.answers.net_changes import NET_CHANGES
from analysis.open import open_capture
from analysis.regfile.syntax import encode_file
from cli.output.safe import from_spreadsheet, visible
from cli.tables.changes import change_lines
from cli.tables.history import content_cell
from cli.tables.key_tree import key_tree
from tracer.registry.value_columns import names_with_texts, with_texts


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("cli"), seed=31, keys=60, hostile_names=0.2, nul_names=0.1)


@pytest.fixture(scope="module")
def rows(capture: Path) -> pa.Table:
    with open_capture(capture) as opened:
        found = opened.queries.changes().net_changes().rows
    assert found.num_rows > 50
    return found


@pytest.fixture(scope="module")
def answer(rows: pa.Table) -> list[dict[str, Any]]:
    return rows.to_pylist()


@pytest.mark.slow
def test_every_format_carries_the_answer(capture: Path, answer: list[dict[str, Any]], tmp_path: Path) -> None:
    assert invoke("changes", capture, "-o", tmp_path / "changes.parquet").exit_code == 0
    table = pq.read_table(tmp_path / "changes.parquet")
    assert tuple(name for name in table.schema.names if name != "key_user") == names_with_texts(
        NET_CHANGES.names
    )
    names = [row["display_key"] for row in answer]
    assert table.column("display_key").to_pylist() == names
    lines = invoke("changes", capture, "-f", "jsonl").stdout.splitlines()
    assert [json.loads(line)["display_key"] for line in lines] == names
    text = invoke("changes", capture, "-f", "csv").stdout_bytes.decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [from_spreadsheet(row["display_key"]) for row in rows] == names
    assert [row["change"] for row in rows] == [row["change"] for row in answer]


@pytest.mark.slow
def test_a_table_in_a_pipe_has_a_line_for_each_row_and_nothing_that_acts(
    capture: Path, answer: list[dict[str, Any]]
) -> None:
    shown = invoke("changes", capture).stdout
    assert len(shown.splitlines()) == len(answer) + 1
    assert [
        c
        for c in shown
        if c not in "\t\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    ] == []


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_a_table_on_a_terminal_fits_it_and_is_a_tree_of_keys(rows: pa.Table, columns: int) -> None:
    shown = list(change_lines(with_texts(rows), columns))
    for line in shown:
        assert sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line) <= columns
    order, headings = key_tree(rows.column("display_key").to_pylist())
    notes = sum(line[1:3] == ": " for line in shown)
    contents = sum(re.match(r" +[-+] ", line) is not None for line in shown)
    assert bool(contents) == (columns < 100)
    assert len(shown) == 1 + len(order) + sum(map(len, headings.values())) + contents + notes
    assert sum(line.startswith("  ") and "key " in line for line in shown) >= rows["value_name"].null_count


def test_on_a_narrow_terminal_what_was_and_what_is_stand_below_the_value(rows: pa.Table) -> None:
    """Each value's own lines are those of the wide table's two columns, and nothing stands for what is not known."""
    rows = with_texts(rows)
    order, _ = key_tree(rows.column("display_key").to_pylist())
    of = {name: rows.column(name).to_pylist() for name in rows.schema.names}
    expected = []
    for row in order:
        for sign, side in (("-", "before"), ("+", "after")):
            content = content_cell(
                *(of[f"{side}_{name}"][row] for name in ("type", "data", "size", "meaning")), limit=24
            )
            if content and of["value_name"][row] is not None and of[f"{side}_from"][row] != "absent":
                expected.append(f"{sign} {visible(content)}")
    shown = [line.strip() for line in change_lines(rows, 99) if re.match(r" +[-+] ", line)]
    assert len(shown) == len(expected) > 20
    assert {line[0] for line in shown} == {"-", "+"}
    for line, whole in zip(shown, expected, strict=True):
        assert line == whole.strip() or (line.endswith("…") and whole.startswith(line[:-1])), whole


@pytest.mark.slow
def test_the_files_are_written_and_what_they_lack_is_said(capture: Path, tmp_path: Path) -> None:
    apply, undo = tmp_path / "apply.reg", tmp_path / "undo.reg"
    shown = invoke("changes", capture, "--reg", apply, "--undo", undo)
    assert shown.exit_code == 0
    assert "set" in shown.stdout
    with open_capture(capture) as opened:
        files = opened.reg_files()
    assert apply.read_bytes() == encode_file(files.apply)
    assert undo.read_bytes() == encode_file(files.undo)
    assert len(read_reg(undo.read_bytes())) > 20
    count = len(files.not_undoable)
    assert f"{count} changes cannot be undone, or not exactly; listed at the end of {undo}" in shown.stderr
    assert "never seen" in shown.stderr
    assert "Net changes in" in files.undo


@pytest.mark.slow
def test_a_person_sees_keys_as_headings(capture: Path) -> None:
    shown = plain(as_on_a_terminal("changes", capture, "-q", "--limit", "3", columns=100)).splitlines()
    assert "before" in shown[0]
    assert re.match(r"\"?HK|\\\\REG|<object", shown[1])
    assert shown[2].startswith("  ")


@pytest.mark.slow
def test_few_changes_that_a_file_lacks_are_named(tmp_path: Path) -> None:
    small = write_capture(tmp_path / "small.regtrace", events=40)
    shown = invoke("changes", small, "-u", "HKLM", "--undo", tmp_path / "undo.reg")
    with open_capture(small) as opened:
        rows = opened.reg_files(under="HKLM").not_undoable
    assert 0 < len(rows) <= 10
    assert all(f"  {key}" in shown.stderr for key in rows["display_key"].head(1))
    assert all(reason in shown.stderr for reason in rows["reason"])


@pytest.mark.slow
def test_files_replace_nothing_unasked_and_each_has_its_own_place(capture: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.reg"
    target.write_text("mine")
    for words in (["--reg"], ["--undo"]):
        shown = invoke("changes", capture, *words, target)
        assert shown.exit_code != 0
        assert "--force" in shown.stderr
        assert shown.stdout == ""
    assert target.read_text() == "mine"
    assert invoke("changes", capture, "--undo", target, "--force", "-q").exit_code == 0
    assert read_reg(target.read_bytes())
    assert "same file" in invoke("changes", capture, "--undo", target, "--reg", target, "--force").stderr
    assert "give a file name" in invoke("changes", capture, "--undo", "-").stderr
    assert "not a folder" in invoke("changes", capture, "--reg", tmp_path / "no" / "x.reg").stderr


@pytest.mark.slow
def test_filters_narrow(capture: Path, answer: list[dict[str, Any]]) -> None:
    def count(*words: str) -> int:
        return len(invoke("changes", capture, "-f", "jsonl", *words).stdout.splitlines())

    assert 0 < count("--under", "HKLM", "--process", "s*") < len(answer)
    assert 0 < count("--from", "+2s", "--to", "-2s") < len(answer)
    assert 0 < count("--value", "S*", "--operation", "set", "--where", "sequence % 2 = 0") < len(answer)
    assert count("--limit", "3") == 3


@pytest.mark.slow
def test_it_fails_kindly(capture: Path, tmp_path: Path) -> None:
    empty = write_capture(tmp_path / "empty.regtrace", events=0)
    shown = invoke("changes", empty, "--undo", tmp_path / "empty.reg")
    assert shown.exit_code == 0
    assert read_reg((tmp_path / "empty.reg").read_bytes()) == []
    shown = invoke("changes", capture, "--key", r"HKLM\SOFTWARE\NoSuchKey")
    assert shown.exit_code != 0
    assert "NoSuchKey" in shown.stderr
    shown = invoke("changes", capture, "--from", "2031-01-01T00:00:00Z")
    assert shown.exit_code == 0
    assert "outside the capture" in shown.stderr
    for words in (["--key", "HKLM", "--under", "HKLM"], ["--where", "nonsense ("], ["--from", "yesterday"]):
        shown = invoke("changes", capture, *words)
        assert shown.exit_code == 2
        assert "Traceback" not in shown.stderr
