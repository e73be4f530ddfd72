"""The verb `diff`: what it prints in every format, what it returns, and how it fails."""

import csv
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_capture import event, write_events
from small_capture import write_capture
from test_cli_verbs import as_on_a_terminal, invoke, plain

from analysis.answers.differences import DIFFERENCES
from analysis.answers.words import KINDS
from analysis.open import open_capture
from cli.exits import Exit
from cli.tables.diff import diff_lines
from tracer.registry.value_columns import names_with_texts

V = "HKLM\\SOFTWARE\\Vendor"
SID, OTHER_SID = "S-1-5-21-1-2-3-1001", "S-1-5-21-7-8-9-1005"
FORMULA = "=1+1\x1b[2J"


def wrote(key: str, value: str, text: str) -> dict[str, object]:
    data = text.encode("utf-16-le") + b"\0\0"
    return event("SetValueKey", key, value, data=data, data_size=len(data), data_type=1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("cli")
    a = [
        wrote(V, FORMULA, "old\x1b[31m"),
        wrote(f"HKU\\{SID}\\V", "v", "x"),
        event("CreateKey", f"{V}\\k", disposition=1),
    ]
    b = [wrote(V, FORMULA, "new"), wrote(f"HKU\\{OTHER_SID}\\V", "v", "x"), wrote(f"{V}\\b", "", "")]
    return write_events(folder / "a.regtrace", a), write_events(folder / "b.regtrace", b)


@pytest.mark.slow
def test_differences_are_the_same_in_every_format(pair: tuple[Path, Path], tmp_path: Path) -> None:
    shown = invoke("diff", *pair, "-f", "jsonl")
    assert shown.exit_code == Exit.FINDINGS
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert tuple(rows[0]) == names_with_texts(DIFFERENCES)
    assert [(row["what"], row["side"], row["a_text"], row["b_text"]) for row in rows] == [
        ("value", "differs", "old\x1b[31m", "new"),
        ("value", "only_b", None, ""),
        ("key", "only_a", None, None),
        ("value", "only_a", "x", None),
        ("value", "only_b", None, "x"),
    ]
    cells = list(csv.DictReader(io.StringIO(invoke("diff", *pair, "-f", "csv").stdout)))
    assert [row["side"] for row in cells] == [row["side"] for row in rows]
    assert cells[0]["value_name"] == "'" + FORMULA
    assert invoke("diff", *pair, "-o", tmp_path / "d.parquet").exit_code == Exit.FINDINGS
    stored = pq.read_table(tmp_path / "d.parquet")
    assert stored.column("b_sequence").to_pylist() == [row["b_sequence"] for row in rows]
    lines = invoke("diff", *pair).stdout.splitlines()
    assert len(lines) == len(rows) + 1
    assert lines[1].split() == ["differs", "value", V, "=1+1\\u{1B}[2J", "old\\u{1B}[31m", "new"]
    assert lines[2].split() == ["only", "b", "value", f"{V}\\b", "(default)", '""']


@pytest.mark.slow
def test_folding_and_kinds_leave_less(pair: tuple[Path, Path]) -> None:
    folded = invoke("diff", *pair, "--fold", "sid", "--only", "values", "--limit", "1")
    assert folded.exit_code == Exit.FINDINGS
    assert len(folded.stdout.splitlines()) == 2
    users = invoke("diff", *pair, "--fold", "sid", "--under", "HKU\\*")
    assert (users.exit_code, len(users.stdout.splitlines())) == (Exit.OK, 1)


def test_a_person_reads_how_many_there_are(pair: tuple[Path, Path]) -> None:
    shown = as_on_a_terminal("diff", *pair)
    assert "5 differences: 1 key, 4 values" in shown
    assert "--fold sid,controlset" in shown


@pytest.mark.slow
def test_alike_is_zero_and_intervals_are_sides(pair: tuple[Path, Path]) -> None:
    assert (
        invoke("diff", pair[0], pair[0], "--counts", "--only", "values,keys,operations,processes").exit_code
        == 0
    )
    halves = invoke("diff", pair[0], "--a-to", "+0us", "--b-from", "+1us", "-f", "jsonl")
    assert [json.loads(line)["side"] for line in halves.stdout.splitlines()] == ["only_a", "only_b", "only_b"]


@pytest.mark.slow
def test_the_table_fits_a_terminal(pair: tuple[Path, Path]) -> None:
    with open_capture(pair[0]) as a, open_capture(pair[1]) as b:
        rows = a.queries.diff(b, only=KINDS).to_arrow()
    for width in (60, 80, 120, 200):
        lines = list(diff_lines(rows, width))
        assert len(lines) > rows.num_rows
        assert not any("\x1b" in line for line in lines)
        assert all(len(line) <= width for line in lines if line.isascii())


def test_on_a_narrow_terminal_long_contents_have_a_line_each_and_short_ones_a_column() -> None:
    def row(side: str, a: str | None, b: str | None, value: str) -> dict[str, object]:
        sides = {}
        for name, text in (("a", a), ("b", b)):
            data = None if text is None else text.encode("utf-16-le") + b"\0\0"
            sides |= {
                f"{name}_known": None if text is None else "write",
                f"{name}_text": text,
                f"{name}_type": 1,
            }
            sides |= {f"{name}_data": data, f"{name}_size": None if data is None else len(data)}
            sides |= {f"{name}_key": V, f"{name}_key_id": 7, f"{name}_count": None, f"{name}_meaning": None}
        return {
            "side": side,
            "what": "value",
            "value_name": value,
            "operation": None,
            "process": None,
            **sides,
        }

    long = "C:\\Program Files\\Vendor\\bin\\tool.exe"
    rows = pa.Table.from_pylist([row("differs", long, "short", "v"), row("only_b", None, "few", "w")])
    lines = list(diff_lines(rows, 80))
    assert lines[3:5] == [f"      a  {long}", "      b  short"]
    assert lines[5].split() == ["only", "b", "value", "w", "few"]
    assert len(lines) == 6
    wide = list(diff_lines(rows, 120))
    assert any(long in line and "short" in line for line in wide)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to compare"),
        (["OTHER", "--fold", "user"], "cannot be folded"),
        (["OTHER", "--only", "colours"], "unknown kind"),
        (["OTHER", "--a-from", "yesterday"], "not a time"),
        (["OTHER", "--key", "HKLM\\SOFTWARE\\Vendr"], "did you mean HKLM"),
        (["/nowhere.regtrace"], "nowhere"),
    ],
)
def test_it_fails_kindly(pair: tuple[Path, Path], arguments: list[str], words: str) -> None:
    shown = invoke("diff", pair[0], *(pair[1] if word == "OTHER" else word for word in arguments))
    assert shown.exit_code in (Exit.ERROR, Exit.USAGE)
    assert words in shown.stderr
    assert len(shown.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_key_of_one_side_and_an_empty_side_are_no_mistakes(pair: tuple[Path, Path], tmp_path: Path) -> None:
    assert invoke("diff", *pair, "--key", f"{V}\\b").exit_code == Exit.FINDINGS
    empty = write_events(tmp_path / "none.regtrace", [])
    assert invoke("diff", pair[0], empty).exit_code == Exit.FINDINGS


@pytest.mark.slow
def test_losses_are_told_of_each_side(pair: tuple[Path, Path], tmp_path: Path) -> None:
    lossy = write_capture(tmp_path / "lossy.regtrace", events=0)
    assert "b: 1 loss touches" in plain(as_on_a_terminal("diff", pair[0], lossy))
    assert invoke("diff", lossy, lossy, "--fail-on-loss").exit_code == Exit.LOSS
