"""The verb `rules`: its page at 80 columns, every format, what it returns, and texts of strangers."""

import csv
import io
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_capture import event, write_events
from sigma_files import as_rule, write_rule
from test_cli_verbs import as_on_a_terminal, invoke, plain

import regtrace as rt
from analysis.questions.rules import RULES
from cli.exits import Exit
from cli.tables.rules import rules_lines
from tracer.registry.text import encode_name

RUN = r"HKLM\SOFTWARE\Vendor\Run"
EVIL = "=cmd\x1b[2J\u202eexe"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    data = encode_name(EVIL) + b"\0\0"
    written = {"data_type": 1, "data": data, "data_size": len(data)}
    write_events(
        folder / "c.regtrace",
        [event("SetValueKey", RUN, EVIL, process="a\x1b.exe", **written)]
        + [
            event("SetValueKey", f"{RUN}\\{'long' * 30}", f"v{number}", data_type=1, data_size=8)
            for number in range(8)
        ],
    )
    rules = folder / "rules"
    write_rule(rules, as_rule("mild", {"TargetObject|contains": r"\Run\long"}, level="low"))
    write_rule(
        rules,
        as_rule(
            f"severe {EVIL}",
            {"Details|contains": "=CMD"},
            level="critical",
            author=EVIL,
            tags=["attack.t1547"],
        ),
    )
    write_rule(rules, as_rule("none", {"TargetObject|contains": "nowhere"}, level="high"))
    write_rule(rules, as_rule("other", {"Image": "x"}, "process_creation"))
    (rules / f"bro{EVIL[1:4]}ken.yml").write_text(f"title: '\u202e{'x' * 200}'\n")
    return folder


def asked(folder: Path, *more: str) -> tuple[object, ...]:
    return ("rules", folder / "c.regtrace", "--rules", folder / "rules", *more)


def test_the_page_fits_80_columns_and_shows_no_letter_that_a_terminal_obeys(folder: Path):
    text = plain(as_on_a_terminal("--no-pager", *asked(folder, "--unknown")))
    lines = text[text.index("2 of 3") : text.index("\nnext: ")].splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line.isprintable() for line in lines)
    assert text.index("CRITICAL  severe") < text.index("LOW  mild")
    assert "2 of 3 rules about the registry match (9 events); 1 does not" in text
    assert "1 rule about other logs not tried; 1 cannot be read" in text
    assert "and 3 more events" in text
    assert "T1547" in text
    assert "data that were written: 1 rule, 8 events" in text
    assert "regtrace selftest" in text.replace("\n    ", " ")
    assert "process_creation (windows) 1" in text
    assert f"regtrace history {folder / 'c.regtrace'} '#0'" in text


def test_the_rows_are_the_same_in_every_format(folder: Path, tmp_path: Path):
    shown = invoke(*asked(folder, "-f", "jsonl"))
    assert shown.exit_code == Exit.FINDINGS
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert set(rows[0]) == {*RULES, "key_user"}
    assert [row["title"] for row in rows if row["section"] == "hit"] == [f"severe {EVIL}"] + ["mild"] * 8
    cells = list(csv.DictReader(io.StringIO(invoke(*asked(folder, "-f", "csv")).stdout)))
    assert [row["section"] for row in cells] == [row["section"] for row in rows]
    assert cells[0]["details"] == f"'{EVIL}"
    file = tmp_path / "rows.parquet"
    assert invoke(*asked(folder, "-o", str(file))).exit_code == Exit.FINDINGS
    assert pq.read_table(file)["section"].to_pylist() == [row["section"] for row in rows]


def test_a_hit_names_who_started_the_process_and_who_opened_the_handle(folder: Path):
    with rt.open(folder / "c.regtrace") as capture:
        rows = capture.queries.rules(folder / "rules", level="critical").to_arrow()
    more = {"parent": "sh.exe", "parent_pid": 7, "user": "PC\\me", "opened_by": "other.exe", "opened_by_pid": 9, "before": "10", "before_type": "REG_DWORD", "before_from": "event", "details": "DWORD (0x0000000b)"}  # fmt: skip
    told = [row | more if row["section"] == "hit" else row for row in rows.to_pylist()]
    lines = list(rules_lines(pa.Table.from_pylist(told, schema=rows.schema)))
    assert any(line.endswith("a\\u{1B}.exe (100), started by sh.exe (7), PC\\me") for line in lines)
    assert "    10 (0xA) -> 11 (0xB)" in lines
    assert "    through a handle that other.exe (9) opened" in lines


def test_what_it_returns_and_how_it_fails(folder: Path, monkeypatch: pytest.MonkeyPatch):
    quiet = invoke(*asked(folder, "--rule", "none"))
    assert quiet.exit_code == Exit.OK
    assert "0 of 1 rule about the registry match; 1 does not" in quiet.stdout
    assert "2 rules left out by --level or --rule" in quiet.stdout
    for arguments, said in (
        (("rules", folder / "c.regtrace"), "--rules is missing"),
        (asked(folder, "--level", "worst"), "unknown level"),
        (("rules", folder / "c.regtrace", "--rules", "absent.yml"), "no Sigma rules at absent.yml"),
    ):
        failed = invoke(*arguments)
        assert (failed.exit_code, said in failed.stderr) == (Exit.USAGE, True)
        assert "Traceback" not in failed.output
    monkeypatch.setitem(sys.modules, "sigma.collection", None)
    failed = invoke(*asked(folder))
    assert failed.exit_code == Exit.ERROR
    assert "pip install 'regtrace[sigma]'" in failed.stderr
