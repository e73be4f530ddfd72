"""The verb `autoruns`: its table at 80 columns, every format, what it returns, its words, and texts of strangers."""

import csv
import io
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hand_capture import event, write_events
from test_answer_autoruns import DENIED, RUN, SERVICE, WINLOGON, before, dword, sz
from test_cli_verbs import as_on_a_terminal, invoke, plain

from analysis.rules.autostarts import autostarts, categories
from analysis.rules.touches import NOVELTIES
from cli.exits import Exit
from cli.options.completion import complete_category
from cli.tables.autoruns import autoruns_lines

EVIL = "=cmd\x1b[2J\u202eexe"
PAGE = Path(__file__).parents[1] / "docs" / "autoruns.md"


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shell = r"C:\Windows\explorer.exe,C:\Users\alice\AppData\Roaming\Contoso\a program with a long name.exe"
    return write_events(
        tmp_path_factory.mktemp("cli") / "c.regtrace",
        [
            event("SetValueKey", RUN, "Updater", process="powershell.exe", **sz(rf'"C:\Users\alice\{"long" * 30}.exe" /q')),
            event("SetValueKey", RUN, EVIL, process="a\x1b.exe", **sz(EVIL)),
            event("SetValueKey", WINLOGON, "Shell", **sz(shell), **before("explorer.exe")),
            event("SetValueKey", SERVICE, "Start", **dword(2)),
            event("SetValueKey", SERVICE, "ImagePath", status=DENIED, **sz("a.exe")),
            event("SetValueKey", r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa", "Notification Packages"),
            event("DeleteValueKey", RUN, "Updater"),
            event("OpenKey", RUN, process="reader.exe"),
        ],
    )  # fmt: skip


def on_a_terminal(*words: object, columns: int = 80) -> list[str]:
    """Return the lines of a table, without what a terminal showed while the answer was waited for."""
    text = plain(as_on_a_terminal("--no-pager", *words, columns=columns)).replace("\r", "")
    return re.sub(r"[^\n]*\x1b\[K", "", text).splitlines()


def test_the_table_fits_80_columns_grouped_by_category(capture: Path):
    lines = on_a_terminal("autoruns", capture, "--reads")
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 80
    assert all(line.isprintable() for line in lines)
    places = [lines.index(name) for name in ("logon", "winlogon", "services", "credential")]
    assert places == sorted(places)
    for said in (
        "T1547.001", "T1543.003", "?: nothing tells what was there before", "was explorer.exe", "changed", "in a user's folder",
        "failed, ACCESS_DENIED", "(data not recorded)", "(deleted)", "(read 1 time)",
    ):  # fmt: skip
        assert said in text, said
    assert "\u202e" not in text


@pytest.mark.parametrize("width", [40, 60, 100, 121, 200])
def test_every_width_shows_each_touch(capture: Path, width: int):
    lines = [line for line in on_a_terminal("autoruns", capture, columns=width) if "regtrace" not in line]
    assert any("powershell" in line for line in lines) or width <= 60
    assert max(map(len, lines)) <= max(width, 60)  # words of a category and a technique are not cut
    times = sum(bool(re.match(r" *[0-9:.]+Z? ", line)) for line in lines)
    assert times >= 7


def test_the_rows_are_the_same_in_every_format(capture: Path, tmp_path: Path):
    shown = invoke("autoruns", capture, "-f", "jsonl")
    assert shown.exit_code == Exit.FINDINGS
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert len(rows) == 7
    assert [row["novelty"] for row in rows if row["autostart"] == "winlogon-shell"] == ["changed"]
    cells = list(csv.DictReader(io.StringIO(invoke("autoruns", capture, "-f", "csv").stdout)))
    assert [row["autostart"] for row in cells] == [row["autostart"] for row in rows]
    assert f"'{EVIL}" in {row["new_text"] for row in cells}
    file = tmp_path / "rows.parquet"
    assert invoke("autoruns", capture, "-o", file).exit_code == Exit.FINDINGS
    assert pq.read_table(file)["sequence"].to_pylist() == [row["sequence"] for row in rows]
    piped = invoke("autoruns", capture).stdout.splitlines()
    assert len(piped) == len(rows) + 1
    assert {len(line.split("\t")) for line in piped} == {len(piped[0].split("\t"))}


def test_what_it_returns_and_how_it_fails(capture: Path):
    assert invoke("autoruns", capture, "--category", "boot").exit_code == Exit.OK
    assert invoke("autoruns", capture, "--new", "--category", "logon,Services").exit_code == Exit.FINDINGS
    for words, said in (
        (("--category", "servces"), "did you mean services?"),
        (("--category", "zzzzzz"), "see regtrace list autostarts"),
        (("--new", "--reads"), "`new` or `reads`"),
        (("--key", r"HKLM\SOFTWARE\Nowhere"), "Nowhere"),
    ):
        failed = invoke("autoruns", capture, *words)
        assert (failed.exit_code, said in failed.stderr) == (Exit.USAGE, True), failed.output
        assert "Traceback" not in failed.output


def test_the_list_names_every_place(capture: Path):
    lines = invoke("list", "autostarts").stdout.splitlines()
    assert len(lines) == len(autostarts()) + 1
    assert sum(line.startswith(("services\t", "services ")) for line in lines) == sum(
        row.category == "services" for row in autostarts()
    )


def test_a_shell_is_offered_categories():
    assert complete_category(None, "ser") == ["services"]
    assert complete_category(None, "logon,wi") == ["logon,winlogon"]


def test_no_rows_make_no_lines(capture: Path, tmp_path: Path):
    import regtrace as rt

    with rt.open(write_events(tmp_path / "x.regtrace", [])) as empty:
        rows = empty.queries.autoruns().to_arrow()
    assert len(list(autoruns_lines(rows, 80))) <= 1


def test_the_page_counts_the_rows_of_each_category():
    """docs/autoruns.md: its table is that of the program."""
    counts = {name: sum(row.category == name for row in autostarts()) for name in categories()}
    told = {
        name: int(number)
        for name, number in re.findall(
            r"^\| `([a-z-]+)` \| ([0-9]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert told == counts
    assert f"{len(autostarts())} places" in PAGE.read_text(encoding="utf-8")


def test_the_glossary_has_every_word_of_novelty():
    glossary = (PAGE.parent / "glossary.md").read_text(encoding="utf-8")
    section = glossary.partition("`novelty` of `autoruns`")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z]+)` \|", section.partition("| --- |")[2], re.MULTILINE) == list(NOVELTIES)
