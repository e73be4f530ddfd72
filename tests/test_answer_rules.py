"""Sigma rules on captures: yes, no, or cannot tell, and why; on events written by hand."""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_capture import MISSING, event, write_events
from sigma_files import as_rule, write_rule
from sysmon_records import as_lines
from sysmon_records import event as record

import regtrace as rt
from analysis.rules.sigma_fields import image_of
from tracer.errors import RegtraceError, UsageError
from tracer.registry.image_paths import with_dos_paths
from tracer.registry.text import encode_name
from tracer.schema import TABLES

RUN = r"\REGISTRY\MACHINE\SOFTWARE\Vendor\Run"
CUT = 2  # data_truncated


def text(content: str) -> dict[str, Any]:
    data = encode_name(content) + b"\0\0"
    return {"data_type": 1, "data": data, "data_size": len(data)}


def number(value: int) -> dict[str, Any]:
    return {"data_type": 4, "data": value.to_bytes(4, "little"), "data_size": 4}


EVENTS = [
    event("SetValueKey", RUN, "Tool", **text(r"C:\Evil\É.exe")),  # 0
    event("SetValueKey", RUN, "Tool", data_type=1, data_size=40),  # 1: no data
    event("SetValueKey", RUN, "Count", **number(16)),  # 2
    event("SetValueKey", RUN, "", **text("")),  # 3
    event("SetValueKey", RUN, "Blob", data_type=3, data_size=9),  # 4: a type that Sysmon shows no data of
    event("SetValueKey", RUN, "Long", data_type=1, data=encode_name("C:\\Evil"), data_size=90, flags=CUT),  # 5
    event("SetValueKey", RUN, "Bad", status=0xC0000022, **text(r"C:\Evil\x.exe")),  # 6: refused
    event("CreateKey", RUN + r"\New", disposition=1),  # 7
    event("CreateKey", RUN + r"\Old", disposition=2),  # 8: was there
    event("CreateKey", RUN + r"\Perhaps", disposition=None),  # 9
    event("DeleteKey", RUN + r"\Gone"),  # 10
    event("DeleteValueKey", RUN, "Count"),  # 11
    event("RenameKey", RUN + r"\From", requested_name="To"),  # 12
    event("CreateOrDelete", RUN + r"\Either"),  # 13
    event("SetValueKey", r"<object 0xFFFF8A0012345678>\Run", "Part", **text("x")),  # 14: only the end of the key is known
    event("SetValueKey", RUN, "Spare", data_type=99, data_size=3),  # 15: another type that Sysmon shows no data of
    event("SetValueKey", r"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services\A", "ImagePath", **text("x")),  # 16
    event("SetValueKey", r"\REGISTRY\MACHINE\SYSTEM\ControlSet002\Services\A", "ImagePath", **text("x")),  # 17
    event("SetValueKey", r"\REGISTRY\MACHINE\SOFTWARE\Classes\exefile", "", **text("10.1.2.3")),  # 18
    event("SetValueKey", RUN, "Who", process="cmd.exe", **text("x")),  # 19
    event("SetValueKey", RUN, "Who", process=None, **text("x")),  # 20
    event("SetValueKey", RUN, "Unsure", status=None, **text("x")),  # 21
    event("QueryValueKey", RUN, "Tool"),  # 22
    event("SetValueKey", RUN, "Nul", **text("a\0b")),  # 23
]  # fmt: skip
_SET = {number for number, one in enumerate(EVENTS) if one["operation"] == "SetValueKey" and number != 6}
_CREATED = "registry_add"

# rule -> detection, category, events that match, events that cannot be told and why
CASES: dict[str, tuple[dict[str, Any], str | None, set[int], dict[int, str]]] = {
    "data end so": (
        {"TargetObject|endswith": r"\run\TOOL", "Details|endswith": "é.EXE"}, "registry_set", {0}, {1: "data that were written"},
    ),
    "not such data": (
        {"s": {"TargetObject|endswith": r"\Tool"}, "f": {"Details|contains": "evil"}, "condition": "s and not f"},
        "registry_set", set(), {1: "data that were written"},
    ),
    "numbers": ({"Details": "DWORD (0x00000010)"}, "registry_set", {2}, {1: "data that were written"}),
    "greater": ({"Details|gte": 16}, "registry_set", {2}, {1: "data that were written", 5: "rest of the data"}),
    "empty": ({"Details": "(Empty)", "TargetObject|endswith": r"\(Default)"}, "registry_set", {3}, {}),
    "binary": ({"Details": "Binary Data", "TargetObject|endswith": "Blob"}, "registry_set", {4}, {}),
    "beginning": ({"Details|startswith": "C:\\evil", "TargetObject|endswith": "Long"}, "registry_set", {5}, {}),
    "rest": ({"Details|endswith": "x.exe", "TargetObject|endswith": "Long"}, "registry_set", set(), {5: "rest of the data"}),
    "other beginning": ({"Details|startswith": "D:", "TargetObject|endswith": "Long"}, "registry_set", set(), {}),
    "nul": ({"Details": "a", "TargetObject|endswith": "Nul"}, "registry_set", set(), {23: "text after a NUL"}),
    "made": ({"TargetObject|contains": r"\Run"}, _CREATED, {7}, {9: "whether the key was made", 13: "EventType"}),
    "deleted": ({"TargetObject|contains": r"\Run"}, "registry_delete", {10, 11}, {13: "EventType"}),
    "deleted value": (
        {"EventType": "deletevalue", "TargetObject|contains": "Run"}, "registry_delete", {11}, {13: "EventType"},
    ),
    "renamed": ({"NewName": r"HKLM\SOFTWARE\Vendor\Run\To"}, "registry_event", {12}, {}),
    "renamed by category": ({"TargetObject|endswith": r"\From"}, "registry_rename", {12}, {}),
    "no new name": ({"NewName": None, "TargetObject|endswith": [r"\From", r"\New"]}, "registry_event", {7}, {}),
    "no details": ({"Details|exists": False, "TargetObject|endswith": [r"\New", r"\Tool"]}, "registry_event", {7}, {1: "data that were written"}),
    "by id": ({"EventID": 12, "TargetObject|contains": [r"\New", r"\Gone", r"\Either", r"\From"]}, None, {7, 10, 13}, {}),
    "end of a key": ({"TargetObject|endswith": r"\Run\Part"}, "registry_set", {14}, {}),
    "longer end of a key": ({"TargetObject|endswith": r"\Vendor\Run\Part"}, "registry_set", set(), {14: "name of the key"}),
    "other end of a key": ({"TargetObject|endswith": r"\Vendor\Other\Part"}, "registry_set", set(), {}),
    "current": (
        {"TargetObject|contains": r"\CurrentControlSet\Services\A"}, "registry_set", {16}, {14: "name of the key"},
    ),
    "numbered": ({"TargetObject|endswith": r"\ControlSet002\Services\A\ImagePath"}, "registry_set", {17}, {}),
    "classes": ({"TargetObject": r"HKCR\exefile\(Default)", "Details|cidr": "10.0.0.0/8"}, "registry_set", {18}, {}),
    "expression": ({"TargetObject|endswith": "(Default)", "Details|re": r"^10\.[0-9.]+$"}, "registry_set", {18}, {}),
    "case of data": ({"Details|cased": r"C:\evil\É.exe", "TargetObject|endswith": "Tool"}, "registry_set", set(), {1: "data that were written"}),
    "case of a name": ({"TargetObject|cased|endswith": r"\TOOL"}, "registry_set", set(), {0: "spelling of the name", 1: ""}),
    "program": ({"Image|endswith": r"\CMD.exe"}, "registry_set", {19}, {20: "process"}),
    "program elsewhere": (
        {"Image": r"C:\Windows\System32\cmd.exe", "TargetObject|endswith": "Who"}, "registry_set", set(),
        {19: "path of the program", 20: "process"},
    ),
    "another program": ({"Image|endswith": r"\other.exe", "TargetObject|endswith": "Who"}, "registry_set", set(), {20: "process"}),
    "not the program": (
        {"s": {"TargetObject|endswith": "Who"}, "f": {"Image|startswith": "C:\\Windows\\"}, "condition": "s and not 1 of f*"},
        "registry_set", set(), {19: "path of the program", 20: "process"},
    ),
    "user": ({"User|contains": "SYSTEM", "TargetObject|endswith": "Tool"}, "registry_set", set(), {0: "user", 1: "user"}),
    "unsure": ({"TargetObject|endswith": "Unsure"}, "registry_set", set(), {21: "success"}),
    "name of a value": ({"TargetObject|startswith": r"HKLM\SOFTWARE\Vendor\Run"}, "registry_set", _SET - {14, 16, 17, 18, 21}, {14: "", 21: ""}),
    "dash": ({"Details|windash|contains": r"C:\Evil\É.exe"}, "registry_set", {0}, {1: "", 5: ""}),
    "all of": ({"Details|contains|all": ["evil", ".exe"], "TargetObject|endswith": "Tool"}, "registry_set", {0}, {1: ""}),
    "wildcards": ({"Details": "?:\\\\Evil*.exe", "TargetObject|endswith": "Tool"}, "registry_set", {0}, {1: ""}),
    "same": ({"Details|fieldref|endswith": "TargetObject", "TargetObject|endswith": "Tool"}, "registry_set", set(), {1: ""}),
    "no such field": ({"ParentImage|endswith": "x", "TargetObject|endswith": "Blob"}, "registry_set", set(), {4: "unsupported: the field ParentImage"}),
    "keywords": ({"k": ["evil"], "condition": "k"}, "registry_add", set(), {7: "unsupported: a search for keywords in the whole record", 9: "", 13: ""}),
    "placeholder": ({"Details|expand": "%x%", "TargetObject|endswith": "Blob"}, "registry_set", set(), {4: "unsupported: a placeholder (expand)"}),
    "expression with a look": (
        {"Details|re": "a(?!b)", "TargetObject|endswith": "Blob"}, "registry_set", set(),
        {4: "unsupported: a regular expression that looks around, refers back or is too large"},
    ),
    "unsupported, but decided": ({"ParentImage": "x", "TargetObject|endswith": "Nothing"}, "registry_delete", set(), {}),
    "refused": ({"TargetObject|endswith": "Bad"}, "registry_set", set(), {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rules")
    for title, (detection, category, _, _) in CASES.items():
        rule = as_rule(title, detection, category)
        if category is None:
            rule["logsource"]["service"] = "sysmon"
        write_rule(folder / "rules", rule)
    write_events(folder / "hand.regtrace", EVENTS)
    return folder


@pytest.fixture(scope="module")
def answer(folder: Path) -> pd.DataFrame:
    with rt.open(folder / "hand.regtrace") as capture:
        return capture.rules(folder / "rules", unknown=True)


@pytest.mark.parametrize("title", CASES)
def test_each_rule_says_yes_no_or_cannot_tell(title: str, answer: pd.DataFrame):
    _, _, hits, gaps = CASES[title]
    rows = answer[answer["title"] == title]
    assert set(rows[rows["section"] == "hit"]["sequence"]) == hits
    events = rows[rows["section"] == "event"].set_index("sequence")["gap"]
    for sequence, gap in gaps.items():
        assert gap in events[sequence] if gap else events[sequence]
    if all(gaps.values()):
        assert set(events.index) == set(gaps)
    words = answer[(answer["section"] == "unknown") & (answer["title"] == title)]
    assert bool(len(words)) == bool(len(events))
    assert words["advice"].notna().all()


def test_a_name_that_is_unknown_decides_as_far_as_the_rest_goes(tmp_path: Path):
    path = write_events(
        tmp_path / "c.regtrace",
        [
            event("SetValueKey", None, "Lost", **text("x")),
            event("SetValueKey", RUN, None, **text("x")),
            event("DeleteKey", None),
        ],
    )
    tests = {
        "end": ({"TargetObject|endswith": r"\Lost"}, {0: "", 1: "name of the value"}),
        "other end": ({"TargetObject|endswith": [r"\Run\Secret", r"\Keys\Other"]}, {1: "name of the value"}),
        "key": ({"TargetObject|contains": r"\vendor\run"}, {0: "name of the key", 1: ""}),
        "whole": ({"TargetObject": r"HKLM\SOFTWARE\Vendor\Runs\x"}, {}),
    }
    for title, (detection, _) in tests.items():
        write_rule(tmp_path / "r", as_rule(title, detection))
    write_rule(tmp_path / "r", as_rule("deleted", {"TargetObject|endswith": "x"}, "registry_delete"))
    with rt.open(path) as capture:
        rows = capture.rules(tmp_path / "r", unknown=True)
    said: dict[str, dict[int, str]] = {title: {} for title in (*tests, "deleted")}
    for row in rows[rows["section"].isin(["hit", "event"])].itertuples():
        said[row.title][row.sequence] = row.gap if row.section == "event" else ""
    assert said == {title: gaps for title, (_, gaps) in tests.items()} | {"deleted": {2: "name of the key"}}


def test_counts_and_gaps_are_sums_of_the_rows(answer: pd.DataFrame):
    counts = answer[answer["section"] == "count"].set_index("gap")
    matched = answer[answer["section"] == "hit"]
    events = answer[answer["section"] == "event"]
    assert counts.at["tried", "rules"] == len(CASES)
    assert counts.at["matched", "rules"] == matched["title"].nunique()
    assert counts.at["matched", "events"] == len(matched)
    assert counts.at["cannot tell", "rules"] == len(set(events["title"]) - set(matched["title"]))
    assert counts.loc[["matched", "no match", "cannot tell"], "rules"].sum() == len(CASES)
    for row in answer[answer["section"] == "gap"].itertuples():
        own = events[[row.gap in gap.split("; ") for gap in events["gap"]]]
        assert (row.rules, row.events) == (own["title"].nunique(), own["sequence"].nunique())


def test_attempts_count_where_they_are_asked_for(folder: Path):
    with rt.open(folder / "hand.regtrace") as capture:
        rows = capture.rules(folder / "rules", rule="refused", attempts=True)
    hit = rows[rows["section"] == "hit"].iloc[0]
    assert (hit["sequence"], hit["done"], hit["status_name"], hit["details"]) == (
        6,
        False,
        "ACCESS_DENIED",
        r"C:\Evil\x.exe",
    )


def test_filters_and_the_limit_choose_events(folder: Path):
    with rt.open(folder / "hand.regtrace") as capture:
        asked = capture.rules(folder / "rules", process="cmd.exe")
        assert set(asked[asked["section"] == "hit"]["sequence"]) == {19}
        few = capture.rules(folder / "rules", rule="name of a value", limit=2)
        assert list(few[few["section"] == "hit"]["sequence"]) == [0, 1]
        assert few[few["gap"] == "matched"]["events"].item() > 2
        with pytest.raises(UsageError):
            capture.rules(folder / "rules", start="never")
        with pytest.raises(UsageError, match="no lazy form"):
            capture.lazy.rules(folder / "rules")
        nothing = capture.rules(folder / "rules", key=r"HKLM\SOFTWARE\Vendor\Run\Gone", operation="set")
        assert set(nothing["section"]) == {"count"}


def test_more_events_than_rows_can_hold_are_refused_unless_they_are_limited(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("analysis.questions.rules._MOST_EVENTS", 3)
    with rt.open(folder / "hand.regtrace") as capture:
        with pytest.raises(UsageError, match="match more than 3 events"):
            capture.rules(folder / "rules", rule="name of a value")
        assert "hit" in set(capture.rules(folder / "rules", rule="name of a value", limit=5)["section"])


def test_a_hit_tells_the_data_before_the_parent_and_who_opened_the_handle(tmp_path: Path):
    before = {"previous_type": 4, "previous_size": 4, "previous_data": b"\x07\0\0\0"}
    path = write_events(
        tmp_path / "c.regtrace",
        [
            event("SetValueKey", RUN, "A", process="child.exe", handle_id=0, **number(1)),
            event("SetValueKey", RUN, "A", process="child.exe", handle_id=0, **number(2)),
            event("SetValueKey", RUN, "B", process="other.exe", **number(2), **before),
        ],
    )
    processes = pq.read_table(path / "processes.parquet").to_pylist()
    processes[0] |= {"parent_id": 1, "parent_pid": processes[1]["pid"], "command_line": "child.exe /x"}
    pq.write_table(
        pa.Table.from_pylist(processes, schema=TABLES["processes"].arrow()), path / "processes.parquet"
    )
    life = dict.fromkeys(TABLES["handles"].names) | {"handle_id": 0, "process_id": 1, "opened_sequence": 0, "first_sequence": 0, "last_sequence": 1, "began": "open", "ended": "open"}  # fmt: skip
    pq.write_table(pa.Table.from_pylist([life], schema=TABLES["handles"].arrow()), path / "handles.parquet")
    manifest = json.loads((path / "capture.json").read_text())
    manifest["tables"]["handles"]["rows"] = 1
    (path / "capture.json").write_text(json.dumps(manifest))
    rules = write_rule(tmp_path / "r", as_rule("x", {"Details|startswith": "DWORD"})).parent
    with rt.open(path) as capture:
        rows = capture.rules(rules)
    hits = rows[rows["section"] == "hit"].set_index("sequence")
    assert list(hits["before"].fillna("?")) == ["?", "1", "7"]
    assert list(hits["before_type"].fillna("?")) == ["?", "REG_DWORD", "REG_DWORD"]
    assert list(hits["before_from"].fillna("?")) == ["?", "write", "event"]
    assert (hits.at[1, "parent"], hits.at[1, "command_line"], hits.at[1, "opened_by"]) == (
        "other.exe",
        "child.exe /x",
        "other.exe",
    )
    assert hits.at[1, "details"] == "DWORD (0x00000002)"
    assert pd.isna(hits.at[2, "parent"])


def test_volumes_have_the_letter_that_a_command_line_proves(tmp_path: Path):
    path = write_events(
        tmp_path / "c.regtrace",
        [event("SetValueKey", RUN, "A", process=name, **number(1)) for name in ("a", "b", "c")],
    )
    processes = pq.read_table(path / "processes.parquet").to_pylist()
    volume = r"\Device\HarddiskVolume"
    processes[0] |= {"image_path": volume + r"3\Tools\a.exe", "command_line": r'"C:\tools\A.exe" /x'}
    processes[1] |= {"image_path": volume + r"3\Tools\b.exe", "command_line": "b.exe"}
    processes[2] |= {"image_path": volume + r"4\Tools\c.exe"}
    table = with_dos_paths(
        pa.Table.from_pylist(processes, schema=TABLES["processes"].arrow())
    )  # as an ingest does
    pq.write_table(table, path / "processes.parquet")
    for title, image in (("b", r"C:\Tools\b.exe"), ("c", r"C:\Tools\c.exe"), ("d", r"C:\Other\c.exe")):
        write_rule(tmp_path / "r", as_rule(title, {"Image": image}))
    write_rule(tmp_path / "r", as_rule("any", {"Image|contains": r":\tools\c"}))
    with rt.open(path) as capture:
        rows = capture.rules(tmp_path / "r", unknown=True)
    said = {
        (row.title, row.section): row.gap for row in rows[rows["section"].isin(["hit", "event"])].itertuples()
    }
    assert set(said) == {("b", "hit"), ("c", "event"), ("any", "hit")}
    assert said["c", "event"] == "drive letter of the program"


@pytest.mark.parametrize(
    ("recorded", "text", "how"),
    [
        (r"C:\a\b.exe", r"C:\a\b.exe", "whole"),
        (r"\??\C:\a\b.exe", r"C:\a\b.exe", "whole"),
        (r"\\server\share\b.exe", r"\\server\share\b.exe", "whole"),
        ("System", "System", "whole"),
        (r"\SystemRoot\System32\b.exe", r"\System32\b.exe", "end"),
        (r"\Device\Mup\server\share\b.exe", r"\b.exe", "end"),
        (None, r"\b.exe", "end"),
    ],
)
def test_an_image_is_known_as_far_as_its_path_is(recorded: str | None, text: str, how: str):
    known = image_of("b.exe", recorded, 8)
    assert (known.texts, known.how) == ((text,), how)
    assert image_of(None, None, 4).texts == ("System",)
    assert image_of(None, None, 8).how == "nothing"


def test_hosts_are_a_column_and_each_has_its_own_control_set(tmp_path: Path):
    key = r"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services\A"
    for name, control_set in (("one", 1), ("two", 2), ("three", None)):
        write_events(
            tmp_path / f"{name}.regtrace",
            [event("SetValueKey", key, "x", **number(1))],
            control_set=control_set,
        )
    rules = write_rule(
        tmp_path / "r", as_rule("x", {"TargetObject|contains": r"\CurrentControlSet\Services"})
    ).parent
    with rt.open([tmp_path / f"{name}.regtrace" for name in ("one", "two", "three")]) as captures:
        rows = captures.rules(rules, unknown=True)
    assert list(rows[rows["section"] == "hit"]["capture"]) == ["one"]
    assert list(rows[rows["section"] == "event"]["capture"]) == ["three"]
    assert rows[rows["section"] == "gap"]["gap"].tolist() == ["control set in force"]


def test_a_write_whose_record_lost_its_data_is_no_binary_data(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    log.write_text(
        as_lines(
            [
                record("SetValue", r"HKLM\SOFTWARE\a", Details="Binary Data", User=r"NT AUTHORITY\SYSTEM"),
                record("SetValue", r"HKLM\SOFTWARE\b", UtcTime="2024-05-06 07:08:10.000"),
                record("CreateKey", r"HKLM\SOFTWARE\c", UtcTime="2024-05-06 07:08:11.000"),
            ]
        )
    )
    rt.ingest(log, tmp_path / "c.regtrace")
    write_rule(
        tmp_path / "r",
        as_rule(
            "binary",
            {"Details": "Binary Data", "User|contains": "AUTHORI", "Image": r"c:\windows\system32\TOOL.EXE"},
        ),
    )
    write_rule(tmp_path / "r", as_rule("made", {"TargetObject": r"HKLM\Software\C"}, "registry_add"))
    with rt.open(tmp_path / "c.regtrace") as capture:
        rows = capture.rules(tmp_path / "r", unknown=True)
        assert capture.timeline().at[1, "detail"] == '{"Details":null}'
    said = [
        (row.title, row.section, row.sequence)
        for row in rows[rows["section"].isin(["hit", "event"])].itertuples()
    ]
    assert said == [("binary", "hit", 0), ("made", "hit", 2), ("binary", "event", 1)]


def test_an_empty_capture_and_missing_pysigma_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_events(tmp_path / "c.regtrace", [event("QueryValueKey", RUN, "x", status=MISSING)])
    rules = write_rule(tmp_path / "r", as_rule("x", {"Details": "x"})).parent
    with rt.open(path) as capture:
        rows = capture.rules(rules)
        assert rows[rows["gap"] == "no match"]["rules"].item() == 1
        monkeypatch.setitem(sys.modules, "sigma.collection", None)
        with pytest.raises(RegtraceError, match="pip install"):
            capture.rules(rules)
