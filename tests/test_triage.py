"""Triage: each row's weight is the sum of its stated reasons, and its parts are what the questions answer."""

import re
import struct

import pytest
import weights_table
from hand_capture import event, write_events
from typer.testing import CliRunner

import regtrace as rt
from analysis.open import open_capture
from analysis.rules.weights import LEVEL_WEIGHTS, WEIGHTS
from cli.app import app
from tracer.scenarios import read_story, simulate_scenario, story_path
from tracer.simulate import SimulationOptions

RULE = """title: {title}
id: 11111111-1111-4111-8111-11111111111{number}
logsource: {{category: registry_set, product: windows}}
detection:
    selection: {{TargetObject|contains: '{text}'}}
    condition: selection
level: {level}
"""


def text(word):
    data = f"{word}\0".encode("utf-16-le")
    return {"data": data, "data_type": 1, "data_size": len(data)}


RUN = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run"
POLICY = r"HKLM\SOFTWARE\Policies\Vendor"
EVENTS = [
    event("QueryValueKey", RUN, "u", status=0xC0000034),
    event("SetValueKey", RUN, "u", **text(r"C:\Users\bob\AppData\Roaming\u.exe"), process="setup.exe"),
    event("SetValueKey", POLICY, "Mode", **text("on"), process="gpsvc.exe"),
    event("SetValueKey", POLICY, "Mode", **text("off"), process="setup.exe"),
    event("SetValueKey", r"HKLM\SOFTWARE\Plain", "x", **text("1"), process="setup.exe"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("triage")
    write_events(folder / "hand.regtrace", EVENTS)
    (folder / "rules").mkdir()
    for number, (title, word, level) in enumerate(
        (("Run key", "Run", "high"), ("Any value", "CurrentVersion", "low"))
    ):
        rule = RULE.format(title=title, number=number, text=word, level=level)
        (folder / "rules" / f"{number}.yml").write_text(rule)
    data = "on\0".encode("utf-16-le")
    parts = [f"{word}\0".encode("utf-16-le") for word in (r"Software\Policies\Vendor", "Mode")]
    numbers = struct.pack("<I", 1) + ";".encode("utf-16-le") + struct.pack("<I", len(data))
    body = ";".encode("utf-16-le").join([*parts, numbers, data])
    pol = b"PReg\1\0\0\0" + "[".encode("utf-16-le") + body + "]".encode("utf-16-le")
    (folder / "Machine").mkdir()
    (folder / "Machine" / "Registry.pol").write_bytes(pol)
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    pytest.importorskip("sigma", reason="rules need the extra sigma")
    with open_capture(folder / "hand.regtrace") as capture:
        frame = capture.triage(rules=folder / "rules", policy=folder / "Machine")
    return frame.to_dict("records")


def test_each_weight_is_the_sum_of_the_reasons_beside_it(rows):
    weights = {weight for weight, _ in WEIGHTS.values()} | set(LEVEL_WEIGHTS.values())
    for row in rows:
        parts = [int(number) for number in re.findall(r"\((\d+)\)(?=;|\Z)", row["reasons"])]
        assert row["weight"] == sum(parts)
        assert set(parts) <= weights
    assert [row["weight"] for row in rows] == sorted((row["weight"] for row in rows), reverse=True)


def test_a_value_that_several_lists_know_is_one_row_with_all_reasons(rows):
    [run] = [row for row in rows if row["display_key"] == RUN]
    assert run["found_by"] == "rules, autoruns, changes"
    assert run["weight"] == LEVEL_WEIGHTS["high"] + sum(
        WEIGHTS[name][0] for name in ("autostart", "new", "user folder")
    )
    assert run["rules"] == "Run key; Any value"  # of both only the heavier counts
    assert (run["before"], run["after"]) == ("(none)", r"C:\Users\bob\AppData\Roaming\u.exe")


def test_who_overwrote_a_policy_stands_there_with_its_setting_and_reason(rows):
    [row] = [row for row in rows if row["found_by"].startswith("policy")]
    assert (row["process"], row["after"]) == ("setup.exe", "off")
    assert row["weight"] == WEIGHTS["against policy"][0] + WEIGHTS["overwrote policy"][0]
    assert "against policy, which says on (25)" in row["reasons"]


def test_other_net_changes_come_last(rows):
    assert [(row["display_key"], row["weight"]) for row in rows][-1] == (r"HKLM\SOFTWARE\Plain", 1)


@pytest.mark.slow
def test_what_only_one_of_many_hosts_has_is_rare(tmp_path):
    for number, host in enumerate("abc"):
        user = rf"HKU\S-1-5-21-1-2-3-100{number}\Software\Microsoft\Windows\CurrentVersion\Run"
        more = (
            [event("SetValueKey", user, "odd", **text("C:\\odd.exe"), process="odd.exe")]
            if host == "c"
            else []
        )
        common = event("SetValueKey", user, "sync", **text("C:\\sync.exe"), process="sync.exe")
        write_events(tmp_path / f"{host}.regtrace", [common, *more])
    with open_capture({host: tmp_path / f"{host}.regtrace" for host in "abc"}) as captures:
        found = captures.triage()
    told = {
        (row["host"], row["value_name"]): (row["hosts"], "rare: on 1 of 3 hosts (15)" in row["reasons"])
        for row in found.to_dict("records")
    }
    assert told == {("c", "odd"): (1, True), **{(host, "sync"): (3, False) for host in "abc"}}


def test_the_story_of_persistence_heads_the_list(tmp_path):
    simulate_scenario(tmp_path / "story.etl", "persistence", SimulationOptions(events=400))
    rt.ingest(tmp_path / "story.etl", tmp_path / "story.regtrace")
    story = read_story(story_path(tmp_path / "story.etl"))
    with open_capture(tmp_path / "story.regtrace") as capture:
        found = capture.triage()
    heavy = found[found["weight"] > 1]
    writers = set(heavy["pid"].tolist())
    in_story = {process["pid"] for process in story["processes"]}
    assert writers <= in_story
    assert len(heavy) > 10


def invoke(*words):
    return CliRunner().invoke(app, ["triage", *map(str, words)], prog_name="regtrace")


def test_the_verb_returns_3_for_findings_and_0_for_plain_changes(folder, tmp_path):
    found = invoke(folder / "hand.regtrace", "--policy", folder / "Machine", "-f", "csv")
    assert found.exit_code == 3
    assert (
        found.stdout.count("\n") == 4
    )  # a heading, the run key, the policy, the plain change, of gpsvc nothing is net
    plain = invoke(folder / "hand.regtrace", "--key", r"HKLM\SOFTWARE\Plain")
    assert plain.exit_code == 0
    wrong = invoke(folder / "hand.regtrace", "--policy", tmp_path)
    assert wrong.exit_code == 2
    assert "holds no registry.pol and no .admx file" in wrong.stderr


def test_the_page_has_the_weights_that_count():
    assert weights_table.PAGE.read_text(encoding="utf-8") == weights_table.page()
    assert "| hijack | 40 |" in weights_table.page()
