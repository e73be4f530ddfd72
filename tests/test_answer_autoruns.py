"""Autoruns: planted entries and no others, what they were before, what they start, and who only looked at them."""

from pathlib import Path
from typing import Any

import hive_writer
import pyarrow.parquet as pq
import pytest
from hand_capture import MISSING, event, write_events
from hive_writer import Key
from small_capture import HOSTILE
from sysmon_records import as_lines
from sysmon_records import event as sysmon
from test_autostart_table import fits
from test_task_actions import actions, program

import regtrace as rt
from analysis.rules.autostarts import autostart_table, autostarts
from analysis.rules.touches import NOVELTIES, TOUCHES
from tracer.errors import UsageError
from tracer.registry.text import fold_name
from tracer.registry.values import ValueType
from tracer.scenarios import read_story, simulate_scenario, story_path
from tracer.simulate import SimulationOptions, simulate

SID = "S-1-5-21-1-2-3-1001"
RUN = rf"HKU\{SID}\Software\Microsoft\Windows\CurrentVersion\Run"
WINLOGON = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon"
SERVICE = r"HKLM\SYSTEM\CurrentControlSet\Services\CtSync"
HELPER = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Explorer\Browser Helper Objects\{00000000-0000-0000-0000-00000000000A}"
CLASS = "{00000000-0000-0000-0000-00000000000A}"
DENIED = 0xC0000022
WRITTEN = 133_000_000_000_000_000  # of hives, before the events


def sz(text: str, kind: int = ValueType.SZ) -> dict[str, Any]:
    data = (text + "\0").encode("utf-16-le")
    return {"data_type": int(kind), "data_size": len(data), "data": data}


def dword(number: int) -> dict[str, Any]:
    return {"data_type": 4, "data_size": 4, "data": number.to_bytes(4, "little")}


def before(text: str) -> dict[str, Any]:
    return {
        f"previous_{name.removeprefix('data_') if name != 'data' else name}": part
        for name, part in sz(text).items()
    }


def asked(folder: Path, events: list[dict[str, Any]], **words: Any) -> list[dict[str, Any]]:
    """Return the answer about a capture of these events."""
    number = sum(1 for _ in folder.iterdir())
    with rt.open(write_events(folder / f"x{number}.regtrace", events)) as capture:
        return capture.queries.autoruns(**words).to_arrow().to_pylist()


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("planted")
    simulate_scenario(folder / "p.etl", "persistence", SimulationOptions(events=3000, seed=3))
    rt.ingest(folder / "p.etl", folder / "p.regtrace")
    return folder / "p.regtrace", read_story(story_path(folder / "p.etl"))


def test_every_planted_autostart_is_there_and_nothing_else(planted):
    """What else is found belongs to a key that the story planted: other values of its service and its task."""
    path, story = planted
    with rt.open(path) as capture:
        answer = capture.autoruns()
    found = {
        (fold_name(key), value)
        for key, value in zip(answer["display_key"], answer["value_name"], strict=True)
    }
    plants = {(_shown(one["key"]), one["value"]) for one in story["plants"]}
    assert len(plants) > 12
    assert plants <= found
    assert {key for key, _ in found} == {key for key, _ in plants}
    kinds = dict(
        zip(
            zip(map(fold_name, answer["display_key"]), answer["value_name"], strict=True),
            answer["kind"],
            strict=True,
        )
    )
    assert {one["what"] for one in story["plants"]} == set(kinds.values())
    for one in story["plants"]:
        assert kinds[_shown(one["key"]), one["value"]] == one["what"], one
    cast = {one["pid"] for one in story["processes"] if one["in_story"]} | {
        one["pid"] for one in story["processes"] if one["image"] in ("services.exe", "svchost.exe")
    }
    assert set(answer["pid"]) <= cast


def _shown(key: str) -> str:
    return fold_name(key).replace("CURRENTCONTROLSET", "CONTROLSET001")


def test_who_looked_at_run_keys_is_a_row_for_each_key(planted):
    path, _ = planted
    with rt.open(path) as capture:
        answer = capture.autoruns(reads=True, category="logon")
        plain = capture.timeline(
            f"HKU\\*\\{RUN.partition(chr(92))[2].partition(chr(92))[2]}", process="powershell.exe"
        )
    reads = answer[answer["touch"] == "read"]
    mine = reads[reads["display_key"].str.startswith("HKU") & (reads["autostart"] == "run")]
    assert list(mine["process"]) == ["powershell.exe"]
    looks = plain["operation"].isin(
        ["OpenKey", "QueryKey", "EnumerateKey", "EnumerateValueKey", "QueryValueKey"]
    )
    assert mine["count"].iloc[0] == looks.sum()
    assert mine["value_name"].isna().all()


@pytest.mark.slow
def test_writes_are_those_that_a_loop_over_rows_finds(tmp_path):
    """Each write of a random trace against each row of the table, by regular expressions."""
    simulate(tmp_path / "t.etl", SimulationOptions(events=15_000, seed=5))
    rt.ingest(tmp_path / "t.etl", tmp_path / "t.regtrace")
    keys = {
        row["key_id"]: row["display_path"]
        for row in pq.read_table(tmp_path / "t.regtrace" / "keys.parquet").to_pylist()
    }
    names = ["sequence", "operation", "key_id", "value_name"]
    rows = [
        row
        for part in (tmp_path / "t.regtrace" / "events").iterdir()
        for row in pq.read_table(part, columns=names).to_pylist()
    ]
    known: dict[tuple[str, str], bool] = {}
    expected = set()
    for row in rows:
        if row["operation"] in ("SetValueKey", "DeleteValueKey") and row["value_name"] is not None:
            place = (keys[row["key_id"]], row["value_name"])
            if place not in known:
                known[place] = any(fits(one, *place) for one in autostarts())
            expected |= {row["sequence"]} if known[place] else set()
    with rt.open(tmp_path / "t.regtrace") as capture:
        answer = capture.autoruns(operation="set,deletevalue")
    assert expected
    assert set(answer["sequence"]) == expected


def test_an_entry_is_new_changed_the_same_or_nobody_knows(tmp_path):
    found = asked(tmp_path, [
        event("QueryValueKey", RUN, "a", status=MISSING),
        event("SetValueKey", RUN, "a", **sz("a.exe")),
        event("SetValueKey", RUN, "a", **sz("a.exe")),
        event("SetValueKey", RUN, "a", **sz("b.exe")),
        event("SetValueKey", RUN, "b", **sz("c.exe")),
        event("SetValueKey", RUN, "c", **sz("new.exe"), **before("old.exe")),
        event("QueryValueKey", RUN, "d", data_type=1, data_size=12),
        event("SetValueKey", RUN, "d", **sz("d.exe")),
        event("DeleteValueKey", RUN, "a"),
    ])  # fmt: skip
    assert [(row["value_name"], row["novelty"], row["old_text"]) for row in found] == [
        ("a", "new", None), ("a", "same", "a.exe"), ("a", "changed", "a.exe"), ("b", None, None), ("c", "changed", "old.exe"),
        ("d", "existed", "[12 bytes, not captured]"), ("a", None, "b.exe"),
    ]  # fmt: skip
    assert {row["autostart"] for row in found} == {"run"}
    assert {row["novelty"] for row in found} <= {*NOVELTIES, None}


def test_only_what_is_new_leaves_out_deletes_attempts_and_what_was_so_before(tmp_path):
    events = [
        event("QueryValueKey", RUN, "a", status=MISSING),
        event("SetValueKey", RUN, "a", **sz("a.exe")),
        event("SetValueKey", RUN, "a", **sz("a.exe")),
        event("SetValueKey", RUN, "b", **sz("b.exe")),
        event("SetValueKey", RUN, "c", status=DENIED, **sz("c.exe")),
        event("DeleteValueKey", RUN, "a"),
    ]
    assert [(row["value_name"], row["novelty"]) for row in asked(tmp_path, events, new=True)] == [
        ("a", "new"),
        ("b", None),
    ]
    with pytest.raises(UsageError, match="`new` or `reads`"):
        asked(tmp_path, events, new=True, reads=True)


def test_an_attempt_that_failed_is_shown_as_one(tmp_path):
    found = asked(tmp_path, [
        event("SetValueKey", SERVICE, "ImagePath", status=DENIED, **sz("a.exe")),
        event("CreateKey", RUN, status=DENIED),
        event("CreateKey", RUN + "\\x", status=MISSING),
    ])  # fmt: skip
    assert [(row["touch"], row["operation"], row["done"], row["status_name"]) for row in found] == [
        ("attempt", "CreateKey", False, "ACCESS_DENIED"), ("attempt", "SetValueKey", False, "ACCESS_DENIED")
    ]  # fmt: skip


def test_data_that_nobody_recorded_stays_unknown(tmp_path):
    (row,) = asked(tmp_path, [event("SetValueKey", RUN, "a")])
    assert [
        row[name]
        for name in ("new_text", "program", "folder", "user_writable", "novelty", "payload", "remote")
    ] == [None] * 7
    (row,) = asked(tmp_path, [event("SetValueKey", RUN, None)])  # not even the name
    assert (row["autostart"], row["value_name"]) == ("run", None)
    assert asked(tmp_path, [event("SetValueKey", WINLOGON, None)]) == []


def test_a_command_is_taken_apart_and_of_a_list_what_is_added(tmp_path):
    old, new = (
        "C:\\Windows\\system32\\userinit.exe,",
        "C:\\Windows\\system32\\userinit.exe,C:\\Users\\a\\x.exe /q,",
    )
    found = asked(tmp_path, [
        event("SetValueKey", RUN, "a", **sz(r'rundll32.exe "C:\Users\a\b c.dll",Start')),
        event("SetValueKey", WINLOGON, "Userinit", **sz(new), **before(old)),
        event("SetValueKey", SERVICE, "ImagePath", **sz(r"\\host\share\a.exe -k", ValueType.EXPAND_SZ)),
        event("SetValueKey", SERVICE, "Start", **dword(2)),
    ])  # fmt: skip
    by_value = {row["value_name"]: row for row in found}
    assert (by_value["a"]["host_program"], by_value["a"]["payload"], by_value["a"]["payload_folder"]) == (
        "library",
        r"C:\Users\a\b c.dll",
        "user",
    )
    assert (
        by_value["Userinit"]["program"],
        by_value["Userinit"]["arguments"],
        by_value["Userinit"]["user_writable"],
    ) == (r"C:\Users\a\x.exe", "/q", True)
    assert (by_value["ImagePath"]["remote"], by_value["ImagePath"]["folder"]) == ("unc", "remote")
    assert by_value["Start"]["program"] is None


def test_a_task_says_what_it_starts(tmp_path):
    task = rf"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache\Tasks\{CLASS}"
    data = actions(program("powershell.exe", r"-File C:\Users\a\x.ps1"))
    (row,) = asked(
        tmp_path, [event("SetValueKey", task, "Actions", data_type=3, data_size=len(data), data=data)]
    )
    assert (row["autostart"], row["program"], row["payload"], row["payload_folder"], row["user_writable"]) == (
        "task-actions", "powershell.exe", r"C:\Users\a\x.ps1", "user", True
    )  # fmt: skip
    (row,) = asked(tmp_path, [event("SetValueKey", task, "Actions", data_type=3, data_size=len(data))])
    assert row["program"] is None


def test_a_clsid_leads_to_its_server_the_users_before_the_machines(tmp_path):
    server = rf"CLSID\{CLASS}\InprocServer32"
    events = [
        event("CreateKey", HELPER, disposition=1),
        event("QueryValueKey", rf"HKLM\SOFTWARE\Classes\{server}", "", **sz(r"C:\Program Files\a.dll")),
    ]
    (row,) = asked(tmp_path, events)
    assert (row["autostart"], row["clsid"], row["server"], row["folder"], row["novelty"]) == (
        "shell-browser-helper", CLASS, r"C:\Program Files\a.dll", "programs", "new"
    )  # fmt: skip
    users = event("SetValueKey", rf"HKU\{SID}_Classes\{server}", "", **sz(r"C:\Users\a\b.dll"))
    rows = {row["autostart"]: row for row in asked(tmp_path, [*events, users])}
    assert rows["shell-browser-helper"]["server"] == r"C:\Users\a\b.dll"
    assert rows["com-inproc-user"]["program"] == r"C:\Users\a\b.dll"
    assert asked(tmp_path, events[:1])[0]["server"] is None


def test_a_key_that_is_opened_by_a_create_is_not_made(tmp_path):
    found = asked(tmp_path, [
        event("CreateKey", HELPER, disposition=2),
        event("CreateKey", HELPER),  # the source does not say
        event("CreateKey", RUN, disposition=1),  # the key alone starts nothing
    ])  # fmt: skip
    assert [(row["operation"], row["novelty"], row["value_name"]) for row in found] == [
        ("CreateKey", None, None)
    ]


def test_a_key_that_is_deleted_or_renamed_takes_its_entries_along(tmp_path):
    found = asked(tmp_path, [
        event("SetValueKey", SERVICE, "ImagePath", **sz("a.exe")),
        event("DeleteKey", SERVICE),
        event("DeleteKey", SERVICE + "2"),
        event("DeleteKey", SERVICE + r"\Security"),
    ])  # fmt: skip
    assert [(row["operation"], row["value_name"], row["old_text"]) for row in found] == [
        ("SetValueKey", "ImagePath", None), ("DeleteKey", "ImagePath", "a.exe"), ("DeleteKey", None, None)
    ]  # fmt: skip
    other = r"HKLM\SYSTEM\CurrentControlSet\Other"
    found = asked(tmp_path, [
        event("SetValueKey", other, "x", **sz("a.exe")),
        event("RenameKey", r"HKLM\SYSTEM\CurrentControlSet\Control\Print\Monitors", requested_name="Elsewhere"),
        event("RenameKey", r"HKLM\SYSTEM\CurrentControlSet\Services\x", requested_name="y"),
    ], new=True)  # fmt: skip
    assert [row["display_key"].rpartition("\\")[2] for row in found] == ["y"]


def test_each_spelling_of_a_control_set_and_the_twin_for_32_bit_programs_are_found(tmp_path):
    twin = r"HKLM\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\RunOnce"
    found = asked(tmp_path, [
        event("SetValueKey", SERVICE.replace("CurrentControlSet", "ControlSet001"), "ImagePath", **sz("a.exe")),
        event("SetValueKey", SERVICE, "imagepath", **sz("b.exe")),
        event("SetValueKey", twin, "a", **sz("c.exe")),
    ])  # fmt: skip
    assert [(row["autostart"], row["novelty"]) for row in found] == [
        ("run-once", None), ("service-image", None), ("service-image", "changed")
    ]  # fmt: skip


def test_reads_are_counted_by_entry_and_process_and_filters_choose(tmp_path):
    events = [
        event("OpenKey", RUN, process="a.exe"),
        event("QueryValueKey", RUN, "x", process="a.exe", status=MISSING),
        event("EnumerateValueKey", RUN, None, process="b.exe"),
        event("QueryValueKey", WINLOGON, "Shell", process="a.exe"),
        event("OpenKey", WINLOGON, process="a.exe"),  # looks at no entry
        event("QueryValueKey", WINLOGON, "Other", process="a.exe"),
        event("SetValueKey", RUN, "x", process="a.exe", **sz("x.exe")),
    ]
    found = asked(tmp_path, events, reads=True)
    assert [(row["touch"], row["autostart"], row["value_name"], row["process"], row["count"]) for row in found] == [
        ("write", "run", "x", "a.exe", 1), ("read", "run", None, "a.exe", 2), ("read", "run", None, "b.exe", 1),
        ("read", "winlogon-shell", "Shell", "a.exe", 1),
    ]  # fmt: skip
    assert [row["process"] for row in asked(tmp_path, events, reads=True, process="b.exe")] == ["b.exe"]
    assert {row["category"] for row in asked(tmp_path, events, reads=True, category="winlogon")} == {
        "winlogon"
    }
    assert len(asked(tmp_path, events, reads=True, limit=2)) == 2
    assert asked(tmp_path, events, key=WINLOGON) == []
    assert [row["touch"] for row in asked(tmp_path, events, under=RUN)] == ["write"]


def test_reads_that_found_nothing_say_so(tmp_path):
    found = asked(tmp_path, [
        event("QueryValueKey", WINLOGON, "Shell", process="a.exe", status=MISSING),
        event("QueryValueKey", WINLOGON, "Shell", process="b.exe", status=DENIED),
        event("QueryValueKey", WINLOGON, "Shell", process="c.exe", status=MISSING),
        event("QueryValueKey", WINLOGON, "Shell", process="c.exe", status=0x80000005),  # a buffer too short
        event("QueryValueKey", WINLOGON, "Shell", process="d.exe", status=None),
    ], reads=True)  # fmt: skip
    assert [(row["process"], row["done"], row["status_name"], row["count"]) for row in found] == [
        ("a.exe", False, "OBJECT_NAME_NOT_FOUND", 1), ("b.exe", False, None, 1), ("c.exe", True, None, 2), ("d.exe", None, None, 1)
    ]  # fmt: skip


def test_a_baseline_tells_what_was_there_before(tmp_path):
    run = "Microsoft\\Windows\\CurrentVersion\\Run"
    root = Key("S", written=WRITTEN)
    root.below(run).values.append(("there", 1, "a.exe\0".encode("utf-16-le")))
    (tmp_path / "SOFTWARE").write_bytes(hive_writer.hive(root))
    lines = [
        sysmon("SetValue", rf"HKLM\SOFTWARE\{run}\{name}", Details=data)
        for name, data in (("there", "b.exe"), ("other", "c.exe"))
    ]
    (tmp_path / "log.jsonl").write_text(as_lines(lines))
    rt.ingest(
        tmp_path / "log.jsonl", tmp_path / "x.regtrace", baseline=[f"{tmp_path / 'SOFTWARE'}=HKLM\\SOFTWARE"]
    )
    with rt.open(tmp_path / "x.regtrace") as capture:
        answer = capture.autoruns()
    found = zip(
        answer["value_name"],
        answer["novelty"],
        answer["old_text"].fillna(""),
        answer["old_from"],
        strict=True,
    )
    assert list(found) == [("there", "changed", "a.exe", "baseline"), ("other", "new", "", "absent")]


def test_hostile_names_and_data_change_nothing(tmp_path):
    events = [event("SetValueKey", RUN, name, **sz(name + ".exe")) for name in HOSTILE]
    events += [event("SetValueKey", RUN, "odd", data_type=1, data_size=3, data=b"\x00\xd8\x01")]
    events += [event("SetValueKey", WINLOGON, "Userinit", data_type=7, data_size=4, data=b",\0;\0")]
    assert len(asked(tmp_path, events)) == len(HOSTILE) + 2


def test_thousands_of_touches_without_a_clsid_are_told(tmp_path):
    found = asked(
        tmp_path, [event("SetValueKey", RUN, f"v{number}", **sz("a.exe")) for number in range(5_001)]
    )
    assert len(found) == 5_001
    assert {row["program"] for row in found} == {"a.exe"}


def test_sysmon_says_not_whether_a_key_was_made(tmp_path):
    key = r"HKLM\System\CurrentControlSet\Control\MiniNt"
    lines = [
        sysmon("CreateKey", key),
        sysmon(
            "SetValue",
            r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run\Updater",
            Details=r"C:\ProgramData\u.exe",
        ),
    ]
    (tmp_path / "log.jsonl").write_text(as_lines(lines))
    rt.ingest(tmp_path / "log.jsonl", tmp_path / "x.regtrace")
    with rt.open(tmp_path / "x.regtrace") as capture:
        answer = capture.autoruns()
        assert list(answer["autostart"]) == ["run", "event-log-off"]
        assert answer["novelty"].isna().all()
        assert next(iter(answer["folder"])) == "shared"
        assert capture.autoruns(reads=True, process="nobody.exe").attrs["empty"]


def test_an_answer_about_many_captures_is_that_of_each_put_together(tmp_path, monkeypatch):
    alone = []
    for name in ("a", "b"):
        events = [
            event("QueryValueKey", RUN, name, status=MISSING),
            event("SetValueKey", RUN, name, **sz("a.exe")),
            event("SetValueKey", HELPER, "", **sz(name)),
            event(
                "QueryValueKey",
                rf"HKLM\SOFTWARE\Classes\CLSID\{CLASS}\InprocServer32",
                "",
                **sz(f"{name}.dll"),
            ),
        ]
        alone += asked(tmp_path, events, reads=True)
    paths = sorted(tmp_path.glob("*.regtrace"))
    with rt.open(paths) as captures:
        answer = captures.queries.autoruns(reads=True).to_arrow().to_pylist()
        # Two groups, as of captures with more rows than are asked at once: nothing of them stays behind.
        monkeypatch.setattr("analysis.dataset.contexts._EVENTS_TOGETHER", 1)
        tables = "SELECT table_name FROM duckdb_tables() UNION ALL SELECT view_name FROM duckdb_views()"
        engine = captures._context.engine.con
        before = engine.execute(tables).fetchall()
        assert captures.queries.autoruns(reads=True).to_arrow().to_pylist() == answer
        assert engine.execute(tables).fetchall() == before
    ids = {"sequence", "last_sequence", "key_id", "process_id", "host", "capture"}
    both = [{name: part for name, part in row.items() if name not in ids} for row in answer]
    expected = [{name: part for name, part in row.items() if name not in ids} for row in alone]
    assert sorted(map(repr, both)) == sorted(map(repr, expected))
    assert {row["capture"] for row in answer} == {path.stem for path in paths}
    assert len(answer) == 8
    with rt.open(paths[0]) as capture, pytest.raises(UsageError, match="no lazy form"):
        capture.lazy.autoruns()


def test_the_columns_are_those_that_are_stated(tmp_path):
    with rt.open(write_events(tmp_path / "x.regtrace", [])) as capture:
        rows = capture.queries.autoruns().to_arrow()
    assert set(TOUCHES) <= set(rows.schema.names)
    assert rows.num_rows == 0
    assert len(autostart_table().rows) == len(autostarts())
