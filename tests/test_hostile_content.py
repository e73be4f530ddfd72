"""One list of hostile names and data, `hostile_content.TEXTS`, through every output: each is inert, and loses no letter.

What each output promises stands in docs/escaping.md. A verb of the program that is neither in `VERBS` nor in `ELSEWHERE`
fails the first test, so a new verb cannot be forgotten.
"""

import csv
import json
import os
import re
import unicodedata
import xml.etree.ElementTree as ET
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import hive_writer
import pyarrow.parquet as pq
import pytest
import sysmon_records as sysmon
import terminal
from browser import Browser, find_browser
from hive_writer import Key
from hostile_content import MARK, TEXTS, write_log
from ps1_reader import read_ps1
from reg_reader import read_reg
from sigma_files import as_rule, write_rule
from test_cli_verbs import invoke

import regtrace as rt
from analysis.report.report import make_report
from analysis.server.service import Service
from cli.app import VERBS as PROGRAM
from tracer.registry.text import escape_name, unescape_name
from tracer.simulate import SimulationOptions, simulate

POSIX = pytest.mark.skipif(os.name == "nt", reason="needs a pseudo terminal")
SUBTREE = "HKLM\\SOFTWARE\\Hostile"
RUN = "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Run"
STORED = {escape_name(text[:200]) for text in TEXTS.values()}
# Procmon writes key and value as one path: where a name has a backslash, it does not show where the key ends.
NAMES = {name for name in STORED if "\\" not in name}

# Each verb that shows names, and how it is asked; C is the capture, D another one of the same log,
# E the log, H the capture with a hive that holds the texts too, SET one of its change sets.
VERBS: dict[str, tuple[tuple[str, ...], ...]] = {
    "info": (("C",), ("E",)),
    "timeline": (("C",),),
    "history": (("C", SUBTREE, "--subtree"),),
    "why": (("C", RUN, "'zq"),),
    "state": (("C",), ("H",)),
    "changes": (("C",), ("C", "--by", "process")),
    "who": (("C",), ("C", SUBTREE, "--subtree", "--each")),
    "triage": (("C",),),
    "autoruns": (("C",), ("C", "--reads")),
    "coverage": (("C",),),
    "log": (("C",), ("C", "-p", "--graph")),
    "baseline": (("H",),),
    "blame": (("C", "HKLM\\SOFTWARE"),),
    "show": (("C", "SET"),),
    "diff": (("C", "D"), ("C", "D", "--first")),
    "bisect": (("C", "D"),),
    "rules": (("C", "--rules", "RULES"), ("C", "--rules", "RULES", "--unknown")),
    "keys": (("C",),),
    "hot": (("C",), ("C", "--by", "process")),
    "tree": (("C", "--depth", "9"),),
    "errors": (("C", "--harmless"),),
    "redundant": (("C",),),
    "slow": (("C",),),
    "handles": (("C",), ("C", "--by", "key")),
    "sql": (("C", "SELECT display_key, value_name, data_text, process FROM events ORDER BY sequence"),),
}  # fmt: skip
ELSEWHERE = {
    "dump": "writes files only: the test of rows below",
    "checkout": "writes files only: the test of files below",
    "plot": "writes files only: the test of pages below",
    "report": "writes files only: the test of pages below",
    "export": "writes files only: the test of exports below",
    "mcp": "answers a program: the test of the server below",
    "browse": "tests/test_browse.py",
    "ingest": "shows names of files and hosts only: the tests of file names below",
    "watch": "tests/test_monitor.py and tests/test_watch.py",
    **dict.fromkeys(
        (
            "capture",
            "start",
            "status",
            "snapshot",
            "stop",
            "cancel",
            "sessions",
            "boot",
            "doctor",
            "selftest",
        ),
        "names of sessions and files on Windows: tests/test_capture_verbs.py",
    ),
    **dict.fromkeys(("demo", "simulate", "schema", "list"), "shows nothing of a stranger's"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Path | str]:
    folder = tmp_path_factory.mktemp("hostile")
    log = write_log(folder / "e.pml")
    rt.ingest(log, folder / "c.regtrace")
    rt.ingest(log, folder / "d.regtrace")
    write_rule(folder, as_rule("zq\x1b[31m rule", {"TargetObject|contains": "\\Run\\"}))
    simulate(
        folder / "e.etl", SimulationOptions(events=300, seed=2, hostile_names=0.5, nul_names=0.2), truth=False
    )
    hive = Key("ROOT", written=132_000_000_000_000_000)
    for text in TEXTS.values():
        name = escape_name(text[:200].replace("\\", "/"))
        data = (text + "\0").encode("utf-16-le", "surrogatepass")
        hive.below(f"Hostile\\{name}").values.append((name, 1, data))
    (folder / "SOFTWARE").write_bytes(hive_writer.hive(hive, name="SOFTWARE"))
    rt.ingest(log, folder / "h.regtrace", baseline=[f"{folder}/SOFTWARE=HKLM\\SOFTWARE"])
    with rt.open(folder / "c.regtrace") as capture:
        change_set = capture.log(limit=1)["change_set"].iloc[0]
    return {
        "SET": change_set,
        "H": folder / "h.regtrace",
        "ETL": folder / "e.etl",
        "C": folder / "c.regtrace",
        "D": folder / "d.regtrace",
        "E": log,
        "RULES": folder,
        "FOLDER": folder,
    }


def words(made, verb: str, arguments: tuple[str, ...]) -> list[object]:
    """Return the command line of a verb."""
    return [verb] + [made.get(word, word) for word in arguments]


def test_every_verb_has_its_place_in_this_file() -> None:
    names = set(PROGRAM)
    assert names == VERBS.keys() | ELSEWHERE.keys()
    assert not VERBS.keys() & ELSEWHERE.keys()


# --- the terminal -----------------------------------------------------------------------------------------


def acting(sent: str) -> list[str]:
    """Return what could act on a terminal; our own colours and line ends are none of it."""
    rest = re.sub(r"\r([^\r\n]*)\x1b\[K", r"\1", sent)  # progress is written over
    rest = re.sub(r"\x1b\[(?:0|1|2|3[1-6])m", "", rest).replace("\r\n", "")
    return [
        f"{letter!r} in {rest[max(at - 20, 0) : at + 20]!r}"
        for at, letter in enumerate(rest)
        if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        or (letter.isspace() and letter != " ")
        # Marks that cover other lines.
        or sum(unicodedata.category(mark) in ("Mn", "Me") for mark in rest[at : at + 5]) == 5
    ]


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("verb", VERBS)
def test_a_terminal_obeys_nothing(made, verb: str) -> None:
    for place, arguments in enumerate(VERBS[verb]):
        screen = terminal.call(*words(made, verb, arguments), columns=(120, 80)[place])
        assert screen.code in (0, 3), screen.sent
        assert acting(screen.sent) == []
        if verb not in ("coverage", "diff", "bisect", "handles"):  # that have no names to show
            assert MARK in screen.sent


@pytest.mark.slow
@POSIX
def test_a_message_about_a_strangers_word_obeys_nothing(made) -> None:
    capture = made["C"]
    for place, text in enumerate(TEXTS.values()):
        stored = escape_name(text[:200])
        forms: list[tuple[object, ...]] = [
            ("timeline", capture, "--key", f"HKLM\\{stored}\\none"),
            ("timeline", capture, "--value", f"{stored}none"),
            ("timeline", capture, "--process", f"{stored}none"),
            ("timeline", capture, "--where", stored),
            ("timeline", capture, "--from", stored),
            ("timeline", capture, f"--operation={stored}"),
            ("timeline", f"{stored}.regtrace"),
            ("timeline", capture, f"--{stored}"),
            ("sql", capture, f'SELECT "{stored}" FROM events'),
        ]
        for arguments in forms[place % 9 :: 9]:  # each form meets a ninth of the texts
            screen = terminal.call(*arguments)
            assert screen.code in (0, 1, 2), screen.sent
            assert acting(screen.sent) == [], arguments


# --- rows in files ----------------------------------------------------------------------------------------


def texts_of(path: Path) -> list[dict[str, str | None]]:
    """Return the columns of text of a Parquet file, row by row."""
    table = pq.read_table(path)
    return table.select([field.name for field in table.schema if str(field.type) == "string"]).to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("info", "slow")] + ["dump"])
def test_rows_are_the_same_texts_in_each_format(made, tmp_path: Path, verb: str) -> None:
    arguments = VERBS[verb][0] if verb in VERBS else ("ETL",)
    for file in ("a.parquet", "a.csv", "a.jsonl"):
        result = invoke(*words(made, verb, arguments), "-o", tmp_path / file)
        assert result.exit_code in (0, 3), result.output
    truth = texts_of(tmp_path / "a.parquet")
    columns = list(truth[0]) if truth else []
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    for row in cells:
        assert not any(
            cell.startswith(tuple("=+-@\t\r\n＝＋－＠")) for cell in row.values() if not is_number(cell)
        )
    assert [{name: row[name].removeprefix("'") for name in columns} for row in cells] == [
        {name: row[name] or "" for name in columns} for row in truth
    ]
    lines = (tmp_path / "a.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert all(line.decode().isprintable() for line in lines)
    assert [{name: json.loads(line).get(name) for name in columns} for line in lines] == truth


def is_number(cell: str) -> bool:
    return re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell) is not None


def test_a_timeline_and_a_history_hold_every_name_and_data(made) -> None:
    with rt.open(made["C"]) as capture:
        rows = capture.timeline(operation="set")
        assert set(rows["value_name"]) >= NAMES
        assert {unescape_name(name) for name in rows["process"]} == {text[:200] for text in TEXTS.values()}
        whole = {escape_name(text) for text in TEXTS.values()}
        assert set(rows["data_text"]) == whole
        assert set(capture.history(SUBTREE, subtree=True)["new_text"]) == whole


# --- files that hold a registry --------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["reg", "ps1"])
def test_a_file_of_changes_says_only_what_happened(made, tmp_path: Path, ending: str) -> None:
    read = read_reg if ending == "reg" else read_ps1
    target, undo, checked = (tmp_path / f"{name}.{ending}" for name in ("do", "undo", "checkout"))
    assert invoke("changes", made["C"], "--reg", target, "--undo", undo).exit_code == 0
    assert invoke("checkout", made["C"], "--under", "HKLM\\SOFTWARE", "-o", checked).exit_code == 0
    for file in (target, undo, checked):
        keys = {entry[1] for entry in read(file.read_bytes())}
        assert all(
            key.startswith(
                ("HKEY_LOCAL_MACHINE\\SOFTWARE\\Hostile", "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft")
            )
            for key in keys
        ), keys


def test_a_checkout_makes_only_names_that_every_system_takes(made, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    result = invoke("checkout", made["C"], "--under", "HKLM\\SOFTWARE", "-o", folder)
    assert result.exit_code == 0, result.output
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    for path in folder.rglob("*"):
        assert not path.is_symlink()
        assert is_safe_name(path.name), path


def is_safe_name(name: str) -> bool:
    """Return whether a name is one that every system takes, and only a name."""
    return (
        re.search(r'[\x00-\x1f<>:"/|?*\\]|[. ]$', name) is None
        and name.isprintable()
        and len(name.encode()) <= 255
        and not re.fullmatch(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name)
        and not name.startswith(("-", "~"))
    )


# --- pages and pictures ----------------------------------------------------------------------------------

# name -> the verb that makes the page; a page is one file that asks for nothing.
PAGES = {
    "report": ("report",),
    "why": ("why", "C", RUN, "'zq", "--graph"),
    "timeline": ("plot", "timeline", "C"),
    "values": ("plot", "values", "C"),
    "tree": ("plot", "tree", "C", "--key", "HKLM\\SOFTWARE"),
    "activity": ("plot", "activity", "C"),
}
PROGRAM_FOR_PAGES = find_browser()


def make_page(made, name: str, target: Path) -> str:
    """Make a page, and return what stands in it."""
    if name == "report":  # with fewer moments than the verb shows, which takes its time
        with rt.open(made["C"]) as capture:
            make_report(capture, most_stops=3, most_keys=3).save(target)
        return target.read_text(encoding="utf-8")
    verb, *arguments = PAGES[name]
    output = [] if "--graph" in arguments else ["-o"]
    result = invoke(*words(made, verb, tuple(arguments)), *output, target)
    assert result.exit_code in (0, 3), result.output
    return target.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page_of(made):
    """Return the function that makes a page of HTML once, and returns where it is."""

    @cache
    def page_of(name: str) -> Path:
        target = made["FOLDER"] / f"{name}.html"
        make_page(made, name, target)
        return target

    return page_of


class Tags(HTMLParser):
    """Counts the elements of a page, and keeps what could act."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts, self.acting = 0, []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.acting += [
            f"<{tag} {name}={text}>"
            for name, text in attributes
            if name.startswith("on")
            or (
                name in ("src", "href", "xlink:href", "action")
                and not (text or "").startswith(("#", "data:"))
            )
            or tag in ("iframe", "object", "embed", "form", "base", "link")
        ]


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_element_of_a_strangers(page_of, name: str) -> None:
    pytest.importorskip("altair", reason="the extra plots is not installed")
    page = page_of(name).read_text(encoding="utf-8")
    tags = Tags(page)
    assert tags.acting == []
    assert tags.scripts == len(re.findall(r"<script\b", page))  # none stands in a text
    assert MARK in page
    assert not any(
        unicodedata.category(letter) in ("Cc", "Cf", "Cs") and letter not in "\n\t" for letter in page
    )


@pytest.mark.slow
@pytest.mark.skipif(PROGRAM_FOR_PAGES is None, reason="needs a Chromium (Debian: chromium-headless-shell)")
def test_a_browser_runs_and_asks_for_nothing_of_a_strangers(page_of, tmp_path: Path) -> None:
    pytest.importorskip("altair", reason="the extra plots is not installed")
    assert PROGRAM_FOR_PAGES is not None
    with Browser(PROGRAM_FOR_PAGES, tmp_path / "profile") as browser:
        for name in PAGES.keys() - {"why"}:  # that has no script
            target = page_of(name)
            browser.open(target)
            assert browser.complaints == []
            assert browser.requests == [target.as_uri()]
            assert browser.evaluate("document.title") != "owned"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["why", "timeline", "values"])
def test_a_drawing_is_xml_without_scripts(made, tmp_path: Path, name: str) -> None:
    pytest.importorskip("vl_convert", reason="the extra plots is not installed")
    drawing = make_page(made, name, tmp_path / "a.svg")
    for element in ET.fromstring(drawing).iter():
        assert element.tag.rpartition("}")[2] not in ("script", "foreignObject", "image", "use")
        assert not any(attribute.rpartition("}")[2].startswith("on") for attribute in element.attrib)
        assert not any(attribute.endswith("href") for attribute in element.attrib)


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "option"), [("report", "-o"), ("changes", "--markdown")])
def test_a_markdown_file_has_no_link_or_element_of_a_strangers(
    made, tmp_path: Path, verb: str, option: str
) -> None:
    markdown = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")
    target = tmp_path / "a.md"
    if verb == "report":
        make_page(made, verb, target)
    else:
        assert invoke(verb, made["C"], option, target).exit_code == 0
    text = target.read_text(encoding="utf-8")
    assert MARK in text
    page = markdown.MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    tags = Tags(page)
    assert [one for one in tags.acting if "javascript" in one or "example.invalid" in one] == []
    assert tags.scripts == 0
    assert "<img" not in page
    assert "heading</h1>" not in page


def test_a_card_in_a_notebook_has_no_element_of_a_strangers(made) -> None:
    with rt.open(made["C"]) as capture:
        page = capture._repr_html_()
        tags = Tags(page)
        assert (tags.acting, tags.scripts) == ([], 0)
        frames = [capture.timeline(limit=300), capture.state(), capture.triage()]
        assert all(Tags(frame._repr_html_()).scripts == 0 for frame in frames)


# --- exports, and the server for language models ---------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "ending"),
    [("timesketch", "csv"), ("timesketch", "jsonl"), ("ecs", "jsonl"), ("ocsf", "jsonl"), ("splunk", "jsonl"),
     ("l2tcsv", "csv"), ("perfetto", "pftrace")],
)  # fmt: skip
def test_an_export_has_one_record_a_line(made, tmp_path: Path, form: str, ending: str) -> None:
    if form == "perfetto":
        pytest.importorskip("perfetto", reason="the extra perfetto is not installed")
    target = tmp_path / f"a.{ending}"
    assert invoke("export", made["C"], "--to", form, "-o", target).exit_code == 0
    if ending == "jsonl":
        lines = target.read_bytes().splitlines()
        assert all(isinstance(json.loads(line), dict) for line in lines)
        assert all(line.decode().isprintable() for line in lines)
        text = target.read_text(encoding="utf-8")
    elif ending == "csv":
        with target.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert {len(row) for row in rows} == {len(rows[0])}
        assert not any(cell.startswith(tuple("=+@\t\r\n＝＋－＠")) for row in rows for cell in row)
        text = str(rows)
    else:
        text = target.read_bytes().decode("utf-8", "replace")
    assert text.count(MARK) > len(TEXTS)


@pytest.mark.slow
def test_a_language_model_is_shown_data_as_data(made) -> None:
    pytest.importorskip("mcp", reason="the extra mcp is not installed")
    with Service([made["C"]]) as service:
        for tool, arguments in {
            "timeline": {}, "state": {}, "who": {}, "log": {}, "history": {"key": SUBTREE, "subtree": True},
            "why": {"key": RUN, "value": "'zq"}, "sql": {"query": "SELECT display_key, value_name FROM events"},
        }.items():  # fmt: skip
            if tool not in {one.name for one in service.tools}:
                continue
            answer = service.ask(tool, arguments)
            assert not answer.is_error, answer.content
            outside = {name: part for name, part in answer.content.items() if name != "untrusted"}
            assert MARK not in json.dumps(outside, ensure_ascii=False).replace("'zq", "")
            text = json.dumps(answer.content, ensure_ascii=False)
            assert MARK in text
            assert text.isprintable()


# --- names of files ---------------------------------------------------------------------------------------


@pytest.mark.slow
@POSIX
def test_a_file_with_a_strangers_name_is_only_a_file(made, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = made["E"].read_bytes()
    (tmp_path / "in").mkdir()
    for place, text in enumerate(TEXTS.values()):
        if "\0" in text or "/" in text or (not text.isprintable() and place % 2) or len(text) > 100:
            continue
        name = os.fsdecode((text + ".pml").encode("utf-8", "surrogatepass"))
        (tmp_path / "in" / name).write_bytes(content)
        target = tmp_path / f"{place}.regtrace"
        ingested = terminal.call("ingest", tmp_path / "in" / name, "-o", target)
        assert ingested.code == 0, ingested.sent
        assert acting(ingested.sent) == []
        shown = terminal.call("info", target)
        assert shown.code == 0
        assert acting(shown.sent) == []
        if place % 8 == 0:
            assert acting(terminal.call("ingest", tmp_path / "in" / name).sent) == []
    assert not (tmp_path / "owned").exists()


@pytest.mark.slow
def test_a_computer_with_a_strangers_name_gets_a_plain_folder(tmp_path: Path) -> None:
    texts = [text for text in TEXTS.values() if len(text) < 100 and not re.search("[\ud800-\udfff]", text)]
    computers = {*texts[::5], TEXTS["device name"], TEXTS["option"], TEXTS["parent folders, slashes"]}
    records = []
    for place, computer in enumerate(computers):
        record = sysmon.event("SetValue", f"HKLM\\SOFTWARE\\v{place}", "evtx_dump", Details="x")
        record["Event"]["System"]["Computer"] = computer
        records.append(json.dumps(record))
    (tmp_path / "a.jsonl").write_text("\n".join(records) + "\n", encoding="utf-8")
    (tmp_path / "out").mkdir()
    result = invoke("ingest", tmp_path / "a.jsonl", "--each-host", "-o", tmp_path / "out" / "fleet")
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"fleet"}
    folders = list((tmp_path / "out" / "fleet").iterdir())
    assert len(folders) == len(computers)
    assert all(is_safe_name(folder.name) for folder in folders), folders
    with rt.open(tmp_path / "out" / "fleet") as fleet:
        assert len(fleet.timeline()) == len(computers)
