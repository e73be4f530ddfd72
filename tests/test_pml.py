"""Procmon logs: rows equal Procmon's own CSV, names are split as documented, damage is counted."""

import json
import random
import struct
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pml_writer import (
    CLOSE,
    CREATE,
    DELETE_VALUE,
    ENUM_KEY,
    ENUM_VALUE,
    FILETIME_2020,
    FLUSH,
    HEADER_SIZE,
    LOAD,
    QUERY,
    QUERY_KEY,
    RENAME,
    SET_INFO,
    Event,
    Log,
    Process,
    answered,
    created_process,
    opened,
    queried,
    text,
    value_set,
    write_log,
)
from procmon_oracle import (
    SpellingTree,
    csv_rows,
    csv_time_ns,
    node_path,
    rows_as_procmon_shows_them,
    shown_value,
)
from procmon_parser import ProcmonLogsReader

from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError
from tracer.pml import PmlFile
from tracer.registry.text import fold_name
from tracer.resolve.tree import KeyTree
from tracer.schema import EVENTS, FLAGS, PROCESSES

SID = "S-1-5-21-1-2-3-1001"
LOG = "pp-LogfileTests64bitUTC.pml"
REAL_ROWS_WITH_DATA = 3967  # of LOG, in Procmon's own CSV
FOLDER = "HKLM\\SOFTWARE\\Vendor\\Tool"


class Imported:
    """What a log became."""

    def __init__(self, path: Path, tree: KeyTree | SpellingTree | None = None) -> None:
        self.diagnostics = Diagnostics()
        self.file = PmlFile(path, self.diagnostics)
        self.tree = tree or KeyTree()
        self.processes = self.file.processes(0, 50)
        self.batches = list(
            self.file.batches(self.tree, source_id=3, first_process_id=50, first_sequence=1000)
        )
        self.rows = [row for batch in self.batches for row in batch.to_pylist()]

    def counts(self) -> dict[str, int]:
        return {name: count for name, count, _ in self.diagnostics}

    def path(self, row: dict) -> str:
        return node_path(self.tree, row["key_id"])


@pytest.fixture
def load(tmp_path: Path):
    def _load(log: Log | bytes | list[Event], **more: object) -> Imported:
        log = write_log(log, **more) if isinstance(log, list) else log
        path = tmp_path / "log.pml"
        path.write_bytes(log.raw if isinstance(log, Log) else log)
        return Imported(path)

    return _load


def events_of_every_kind() -> list[Event]:
    basic_value = struct.pack("<III", 0, 1, 8) + "Name".encode("utf-16-le")
    basic_key = struct.pack("<QII", FILETIME_2020, 0, 6) + "Sub".encode("utf-16-le")
    renamed, new_name = text("Renamed")
    loaded, hive = text("C:\\hive.dat")
    events = [
        opened(FOLDER),
        opened(FOLDER + "\\Missing", result=0xC0000034),
        opened(FOLDER + "\\New", operation=CREATE),
        answered("HKCU\\Software", f"\\REGISTRY\\USER\\{SID}\\Software"),
        queried(FOLDER + "\\Colour", "blue\0".encode("utf-16-le")),
        queried(FOLDER + "\\Ünicode", b"1234", kind=4),
        value_set(FOLDER + "\\Size", struct.pack("<I", 3), kind=4),
        Event(ENUM_VALUE, FOLDER, struct.pack("<HIII", 0, 220, 2, 0), extra=basic_value),
        Event(ENUM_KEY, FOLDER, struct.pack("<HIII", 0, 288, 1, 0), extra=basic_key + bytes(2)),
        Event(ENUM_KEY, FOLDER, struct.pack("<HIII", 0, 288, 2, 0), result=0x8000001A),
        Event(SET_INFO, FOLDER, struct.pack("<HIIHH", 0, 5, 4, 4, 0), tail=b"\1\0\0\0"),
        Event(DELETE_VALUE, FOLDER + "\\Size"),
        Event(FLUSH, FOLDER),
        Event(LOAD, "HKLM\\Loaded", struct.pack("<H", loaded), tail=hive),
        Event(RENAME, FOLDER + "\\New", struct.pack("<H", renamed), tail=new_name),
        Event(3, event_class=1, detail=bytes(8)),
        created_process(9, 99, 1234, "C:\\bin\\child.exe", "child /y"),
        Event(2, event_class=1, process=9, detail=struct.pack("<I", 5) + bytes(48)),
        Event(CLOSE, FOLDER),
    ]
    return [replace(event, time=10 * i) for i, event in enumerate(events)]


# ---- Procmon's own CSV is the oracle -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_log(corpus: Path) -> Path:
    return corpus / "pml" / LOG


@pytest.mark.slow
def test_every_registry_operation_equals_procmons_own_csv(real_log: Path):
    imported = Imported(real_log, SpellingTree())
    ours = rows_as_procmon_shows_them(
        imported.batches, imported.processes, imported.tree, imported.file.facts["hkcu_sid"]
    )
    theirs = csv_rows(real_log.with_suffix(".csv.gz"))
    assert len(imported.rows) == len(theirs) == 46030
    with_data = 0
    for row, expected in zip(ours, theirs, strict=True):
        with_data += shown_value(row["Detail"]) is not None
        # A key's trailing backslash is no part of its name.
        path = expected["Path"].rstrip("\\")
        assert row == {
            **{name: expected.get(name) for name in row},
            "Path": path,
            "time_ns": csv_time_ns(expected),
        }
    assert with_data == sum(shown_value(row["Detail"]) is not None for row in theirs) == REAL_ROWS_WITH_DATA


@pytest.mark.slow
def test_paths_equal_procmons_in_the_registrys_own_comparison(real_log: Path):
    imported = Imported(real_log)
    ours = rows_as_procmon_shows_them(
        imported.batches, imported.processes, imported.tree, imported.file.facts["hkcu_sid"]
    )
    theirs = csv_rows(real_log.with_suffix(".csv.gz"))
    different = [
        (row["Path"], expected["Path"])
        for row, expected in zip(ours, theirs, strict=True)
        if fold_name(row["Path"]).rstrip("\\") != fold_name(expected["Path"]).rstrip("\\")
    ]
    assert different == []
    assert imported.counts() == {"pml_other_events": 7184, "pml_ambiguous_value": 1490}


def test_values_with_backslashes_in_a_real_log_are_split_where_their_key_ends(real_log: Path):
    imported = Imported(real_log)
    found = {
        (imported.path(row).rpartition("\\")[2], row["value_name"])
        for row in imported.rows
        if row["value_name"] and "\\" in row["value_name"]
    }
    assert ("MuiCache", "C:\\Windows\\system32\\NOTEPAD.EXE.FriendlyAppName") in found
    assert ("52C64B7E", "@C:\\Windows\\system32\\notepad.exe,-469") in found
    assert ("drivers.desc", "C:\\Windows\\System32\\l3codeca.acm") in found
    assert ("ApplicationAssociationToasts", "Applications\\NOTEPAD.EXE_.txt") in found
    assert any(name.startswith("\\Device\\HarddiskVolume4\\") for _, name in found)
    assert {key for key, _ in found} <= {
        "MuiCache", "52C64B7E", "drivers.desc", "ApplicationAssociationToasts", "Count",
        "{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}", "JumplistData",
        "S-1-5-21-3706294487-1660119111-780260463-1001",
    }  # fmt: skip


def test_a_real_log_without_registry_operations_gives_no_rows(corpus: Path):
    imported = Imported(corpus / "pml" / "pp-LogFileUTC64Process.pml")
    assert imported.rows == []
    assert imported.counts() == {"pml_other_events": 3400}
    assert imported.processes.num_rows == 74


@pytest.fixture(scope="module")
def real_table(real_log: Path) -> pa.Table:
    return pa.Table.from_batches(Imported(real_log).batches)


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.0002, 0.01, 0.5, 0.974, 0.98, 0.986, 0.99])
def test_a_real_log_cut_short_keeps_its_whole_events(
    real_log: Path, real_table: pa.Table, tmp_path: Path, part: float
):
    raw = real_log.read_bytes()
    count, offsets_at = struct.unpack_from("<I", raw, 0x234)[0], struct.unpack_from("<Q", raw, 0x248)[0]
    offsets = [struct.unpack_from("<I", raw, offsets_at + 5 * i)[0] for i in range(count)]
    size = int(len(raw) * part)
    path = tmp_path / "cut.pml"
    path.write_bytes(raw[:size])
    cut = Imported(path)
    whole = {start for start, end in zip(offsets, [*offsets[1:], offsets_at], strict=True) if end <= size}
    expected = sum(offset in whole for offset in real_table["record_offset"].to_pylist())
    # Where processes are lost, so are their names; and a later event may have named a key.
    same = [name for name in EVENTS.names if name not in ("process_id", "key_id", "value_name", "flags")]
    assert pa.Table.from_batches(cut.batches).select(same) == real_table.slice(0, expected).select(same)
    lost = cut.counts().get("pml_cut", 0) + cut.counts().get("pml_bad_table", 0)
    assert lost >= max(count - len(whole), 1)


# ---- a synthetic log ---------------------------------------------------------------------------------------


def test_the_synthetic_log_is_read_alike_by_procmon_parser(tmp_path: Path):
    path = tmp_path / "log.pml"
    path.write_bytes(write_log([event for event in events_of_every_kind() if event.event_class == 2]).raw)
    imported = Imported(path, SpellingTree())
    ours = list(rows_as_procmon_shows_them(imported.batches, imported.processes, imported.tree, SID))
    with path.open("rb") as file:
        theirs = [event for event in ProcmonLogsReader(file) if event.event_class.name == "Registry"]
    assert [row["Operation"] for row in ours] == [event.operation.name for event in theirs]
    assert [row["Path"] for row in ours] == [event.path for event in theirs]
    assert [row["time_ns"] for row in ours] == [(e.date_filetime - 116444736000000000) * 100 for e in theirs]
    assert {row["PID"] for row in ours} == {"1234"}
    alike = ("RegOpenKey", "RegCreateKey", "RegQueryKey", "RegQueryValue", "RegSetValue", "RegEnumKey")
    for row, event in zip(ours, theirs, strict=True):
        if event.operation.name in alike:
            assert row["Detail"] == event.get_compatible_csv_info()["Detail"]


@pytest.mark.parametrize("bits", [32, 64])
def test_batches_have_exactly_the_columns_of_events(load, bits: int):
    imported = load(events_of_every_kind(), bits=bits)
    assert [batch.schema for batch in imported.batches] == [EVENTS.arrow()]
    assert imported.processes.schema == PROCESSES.arrow()
    assert [row["sequence"] for row in imported.rows] == list(range(1000, 1016))
    assert {row["source"] for row in imported.rows} == {"procmon"}
    assert {row["source_id"] for row in imported.rows} == {3}
    assert {row["process_id"] for row in imported.rows} == {50}
    never = ("cpu", "handle_id", "event_id", "entry_count", "previous_type", "previous_size", "previous_data")
    assert {row[name] for row in imported.rows for name in never} == {None}
    assert imported.counts() == {"pml_other_events": 3}


def test_what_an_operation_carries_is_in_its_columns(load):
    imported = load(events_of_every_kind())
    rows = imported.rows
    of = {row["operation"]: row for row in reversed(rows)}
    assert json.loads(rows[0]["detail"]) == {"DesiredAccess": 0x20019, "GrantedAccess": 0x20019}
    assert (rows[1]["status"], json.loads(rows[1]["detail"])) == (0xC0000034, {"DesiredAccess": 0x20019})
    assert (of["CreateKey"]["disposition"], rows[0]["disposition"]) == (1, None)
    assert of["QueryKey"]["information_class"] == 3
    query = of["QueryValueKey"]
    assert (query["value_name"], query["data_type"], query["data_size"], query["information_class"]) == (
        "Colour",
        1,
        10,
        2,
    )
    assert query["data"] == "blue\0".encode("utf-16-le")  # without the padding behind it
    assert rows[5]["value_name"] == "Ünicode"
    written = of["SetValueKey"]
    assert (written["data_type"], written["data_size"], written["data"]) == (4, 4, b"\3\0\0\0")
    assert (of["EnumerateValueKey"]["index"], of["EnumerateValueKey"]["value_name"]) == (2, "Name")
    assert (rows[8]["index"], rows[8]["data_size"], rows[8]["value_name"]) == (1, None, None)
    assert json.loads(rows[8]["detail"]) == {"Length": 288, "LastWriteTime": FILETIME_2020, "Name": "Sub"}
    assert (rows[9]["index"], rows[9]["data"], rows[9]["data_size"]) == (2, None, None)
    info = of["SetInformationKey"]
    assert (info["information_class"], info["data"], info["data_size"], info["data_type"]) == (
        5,
        None,
        None,
        None,
    )
    assert json.loads(info["detail"]) == {"Length": 4, "HandleTags": 1}
    assert json.loads(of["LoadKey"]["detail"]) == {"FileName": "C:\\hive.dat"}
    assert of["RenameKey"]["requested_name"] == "Renamed"
    assert (of["CloseKey"]["phase"], of["CloseKey"]["notify_class"], of["CloseKey"]["duration_ns"]) == (
        "pre",
        14,
        500,
    )
    assert imported.path(rows[0]) == "\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor\\Tool"


def test_a_write_of_which_only_the_beginning_was_captured_is_flagged(load):
    (row,) = load([value_set(FOLDER + "\\Blob", bytes(range(72)), copied=16)]).rows
    assert (row["data"], row["data_size"]) == (bytes(range(16)), 72)
    assert row["flags"] & FLAGS["data_truncated"]


def test_rows_come_in_the_order_of_time_and_ties_in_file_order(load):
    times = [30, 10, 20, 10, 30]
    imported = load([Event(FLUSH, f"HKLM\\K{i}", time=time) for i, time in enumerate(times)])
    assert [imported.path(row)[-1] for row in imported.rows] == list("13204")
    assert [row["sequence"] for row in imported.rows] == [1000, 1001, 1002, 1003, 1004]


def test_an_operation_without_a_result_has_neither_status_nor_duration(load):
    (row,) = load([Event(FLUSH, result=0x103)]).rows
    assert (row["status"], row["duration_ns"]) == (None, None)


def test_many_batches_equal_one(load, monkeypatch: pytest.MonkeyPatch):
    whole = load(events_of_every_kind()).rows
    monkeypatch.setattr("tracer.pml.rows.CHUNK", 3)
    monkeypatch.setattr("tracer.pml.index.CHUNK", 2)
    pieces = load(events_of_every_kind())
    assert pieces.rows == whole
    assert len(pieces.batches) == 6


# ---- keys and values ---------------------------------------------------------------------------------------


def split(load, *events: Event) -> tuple[str, str, bool]:
    imported = load(list(events))
    row = imported.rows[-1]
    assert bool(imported.counts().get("pml_ambiguous_value")) >= bool(row["flags"] & FLAGS["path_split"])
    return (
        imported.path(row).rpartition("\\")[2],
        row["value_name"],
        bool(row["flags"] & FLAGS["path_split"]),
    )


def test_a_value_below_a_key_that_the_file_names_is_sure(load):
    assert split(load, opened(FOLDER), queried(FOLDER + "\\A", b"")) == ("Tool", "A", False)


def test_a_key_named_only_after_the_value_is_still_known(load):
    imported = load([queried(FOLDER + "\\A", b"", time=1), Event(CLOSE, FOLDER.upper(), time=2)])
    assert imported.rows[0]["flags"] == 0


def test_a_failed_open_does_not_show_a_key(load):
    missing = opened(FOLDER, result=0xC0000034)
    assert split(load, missing, queried(FOLDER + "\\A", b"")) == ("Tool", "A", True)


def test_a_value_whose_key_nothing_names_is_split_at_its_last_backslash_and_flagged(load):
    assert split(load, queried(FOLDER + "\\A", b"")) == ("Tool", "A", True)


def test_a_value_name_begins_at_a_drive(load):
    name = "@C:\\Windows\\a.exe,-1"
    assert split(load, queried(f"{FOLDER}\\{name}", b"")) == ("Tool", name, True)


def test_a_value_name_may_begin_below_the_key_the_thread_used_last(load):
    value = queried(FOLDER + "\\Apps\\a.exe", b"")
    assert split(load, opened(FOLDER), value) == ("Tool", "Apps\\a.exe", True)
    assert split(load, opened(FOLDER, thread=12), value) == ("Apps", "a.exe", True)
    assert split(load, opened(FOLDER), Event(CLOSE, FOLDER), value) == ("Apps", "a.exe", True)
    assert split(load, opened("HKLM\\SOFTWARE"), value) == ("Apps", "a.exe", True)


def test_two_backslashes_end_the_key(load):
    value = queried(FOLDER + "\\\\Device\\Disk\\a.exe", b"")
    assert split(load, opened(FOLDER), value) == ("Tool", "\\Device\\Disk\\a.exe", False)


def test_the_name_a_record_carries_is_taken(load):
    name = "Apps\\a.exe".encode("utf-16-le")
    full = struct.pack("<IIIII", 0, 4, 20 + len(name), 4, len(name)) + name + b"\1\0\0\0"
    value = Event(QUERY, FOLDER + "\\Apps\\a.exe", struct.pack("<HII", 0, 99, 1), extra=full)
    assert split(load, value) == ("Tool", "Apps\\a.exe", False)


def test_the_default_value_has_an_empty_name(load):
    assert split(load, opened(FOLDER), queried(FOLDER + "\\(Default)", b"")) == ("Tool", "", False)


def test_candidates_that_were_not_taken_are_no_keys(load):
    imported = load([queried(FOLDER + "\\C:\\a\\b", b"")])
    assert "C:" not in imported.tree.names


def test_names_that_are_not_text_are_escaped_and_nuls_flagged(load):
    imported = load([opened(FOLDER + "\\a\0b"), queried(FOLDER + "\\\ud800x", b"")])
    assert imported.path(imported.rows[0]).endswith("a<U+0000>b")
    assert imported.rows[0]["flags"] == FLAGS["name_has_nul"]
    assert imported.rows[1]["value_name"] == "<U+D800>x"


def test_hkcu_is_the_user_whom_the_answers_name(load):
    answers = [
        answered("HKCU\\Software", f"\\REGISTRY\\USER\\{SID}\\Software", time=2),
        answered("HKCU\\Software\\Classes", f"\\REGISTRY\\USER\\{SID}_Classes", time=3),
    ]
    imported = load([opened("HKCU\\Software\\Classes\\.txt"), opened("HKCU\\Console"), *answers])
    assert imported.file.facts["hkcu_sid"] == SID
    assert [imported.path(row) for row in imported.rows[:2]] == [
        f"\\REGISTRY\\USER\\{SID}_Classes\\.txt",
        f"\\REGISTRY\\USER\\{SID}\\Console",
    ]


@pytest.mark.parametrize("others", [[], [SID, "S-1-5-18"]], ids=["no answer", "answers that disagree"])
def test_hkcu_stays_as_it_is_where_nobody_says_whose_it_is(load, others: list[str]):
    answers = [answered("HKCU\\X", f"\\REGISTRY\\USER\\{sid}\\X", time=9) for sid in others]
    imported = load([opened("HKCU\\Console"), *answers])
    assert imported.path(imported.rows[0]) == "HKCU\\Console"
    assert imported.rows[0]["name_source"] == "event"
    assert imported.counts()["pml_user_unknown"] >= 1
    assert imported.file.facts["hkcu_sid"] is None


@pytest.mark.parametrize(
    ("shown", "native"),
    [
        ("HKLM", "\\REGISTRY\\MACHINE"),
        ("HKU\\.DEFAULT\\X", "\\REGISTRY\\USER\\.DEFAULT\\X"),
        ("HKCR\\.txt", "\\REGISTRY\\MACHINE\\SOFTWARE\\Classes\\.txt"),
        ("\\REGISTRY\\A\\{1-2}\\X", "\\REGISTRY\\A\\{1-2}\\X"),
        ("<INVALID>\\X", "<INVALID>\\X"),
    ],
)
def test_roots_become_native(load, shown: str, native: str):
    imported = load([opened(shown)])
    assert imported.path(imported.rows[0]) == native


def test_an_empty_path_is_no_key(load):
    (row,) = load([opened("")]).rows
    assert row["key_id"] is None


# ---- processes ---------------------------------------------------------------------------------------------


def test_processes_have_parents_and_what_the_table_says(load):
    parent = Process(1, pid=4, parent_pid=0, start=FILETIME_2020 - 90_000_000)
    reused = Process(2, pid=4, parent_pid=0, start=FILETIME_2020 + 90_000_000)
    imported = load([opened(FOLDER)], processes=[Process(), reused, parent])
    rows = imported.processes.to_pylist()
    assert rows[0] == {
        "process_id": 50, "pid": 1234, "parent_pid": 4, "parent_id": 52, "start_ns": 1577836799000000000,
        "end_ns": None, "image": "tool.exe", "image_path": "C:\\bin\\tool.exe",
        "dos_path": None, "dos_path_source": None,  # the ingest finds them
        "command_line": '"C:\\bin\\tool.exe" /x', "user": "HOST\\ann", "session_id": 1, "exit_code": None,
        "source": "procmon",
    }  # fmt: skip
    assert rows[2]["parent_id"] is None


def test_a_process_that_the_table_lacks_is_known_from_its_creation_and_end(load):
    events = [
        created_process(9, 99, 1234, "C:\\bin\\child.exe", "child /y", time=1),
        opened(FOLDER, process=9, time=2),
        Event(2, event_class=1, process=9, detail=struct.pack("<I", 5) + bytes(48), time=3),
        opened(FOLDER, process=77, time=4),
    ]
    imported = load(events)
    _, child, unknown = imported.processes.to_pylist()
    assert (child["pid"], child["image"], child["command_line"]) == (99, "child.exe", "child /y")
    assert (child["parent_id"], child["exit_code"], child["session_id"]) == (50, 5, 3)
    assert child["end_ns"] == 1577836800000000300
    assert (unknown["pid"], unknown["source"]) == (None, "none")
    assert [row["process_id"] for row in imported.rows] == [51, 52]
    assert imported.counts()["pml_unknown_process"] == 1


# ---- damage ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is empty"),
        (b"hello, world", "does not start with PML_ at offset 0"),
        (b"PML_\x09\0\0\0", "cut inside its header, at offset 0x8 of 0x3A8"),
        (b"PML_\x07\0\0\0".ljust(2000, b"\0"), "version 7"),
        (b"PML_\x09\0\0\0".ljust(5000, b"\0"), "should hold 0 events, but none can be read"),
        (
            write_log([Event(FLUSH)]).raw[: HEADER_SIZE + 20],
            "should hold 1 events, but none can be read from offset 0x3A8",
        ),
        (
            write_log([Event(FLUSH)]).raw[:HEADER_SIZE] + bytes(5000),
            "should hold 1 events, but none can be read",
        ),
    ],
    ids=[
        "empty",
        "text",
        "cut header",
        "version",
        "zeros",
        "cut in the first event",
        "zeros after the header",
    ],
)
def test_what_is_no_log_at_all_is_refused_in_one_sentence(load, raw: bytes, said: str):
    with pytest.raises(SourceError, match=r"log\.pml") as caught:
        load(raw)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused_in_one_sentence(tmp_path: Path):
    with pytest.raises(SourceError, match=r"no\.pml cannot be read: No such file"):
        PmlFile(tmp_path / "no.pml", Diagnostics())


def test_a_log_that_was_never_closed_keeps_its_events(load):
    log = write_log(events_of_every_kind())
    raw = bytearray(log.raw[: log.offsets_at])
    struct.pack_into("<I", raw, 0x234, 0)
    raw[0x240:0x268] = bytes(0x28)
    imported = load(bytes(raw))
    assert len(imported.rows) == 16
    assert imported.counts()["pml_cut"] == 1
    assert {row["pid"] for row in imported.processes.to_pylist()} == {99, None}


@pytest.mark.slow
def test_a_log_cut_at_any_byte_keeps_exactly_its_whole_events(tmp_path: Path):
    events = events_of_every_kind()[::3]
    log = write_log(events)
    ends = [*log.offsets[1:], log.offsets_at]
    path = tmp_path / "cut.pml"
    for size in range(HEADER_SIZE, len(log.raw)):
        path.write_bytes(log.raw[:size])
        whole = [event for event, end in zip(events, ends, strict=True) if end <= size]
        if not whole:
            with pytest.raises(SourceError):
                PmlFile(path, Diagnostics())
            continue
        imported = Imported(path)
        assert len(imported.rows) == sum(event.event_class == 2 for event in whole)
        if size < log.processes_at:
            assert (
                imported.counts()["pml_cut"] == max(len(events) - len(whole), 1)
                if len(whole) < len(events)
                else 1
            )
        if size < log.strings_at:
            assert imported.counts()["pml_bad_table"] >= 1


@pytest.mark.parametrize("claimed", [0, 3, 0xFFFFFFFF])
def test_a_header_that_miscounts_the_events_hides_none(load, claimed: int):
    log = write_log(events_of_every_kind())
    raw = bytearray(log.raw)
    struct.pack_into("<I", raw, 0x234, claimed)
    imported = load(bytes(raw))
    assert len(imported.rows) == 16
    assert imported.counts()["pml_bad_table"] == 1


def test_a_log_of_no_events_gives_no_rows_and_no_complaint(load):
    imported = load([])
    assert (imported.rows, imported.counts()) == ([], {})


def test_bad_events_are_left_out_and_counted_with_their_place(load):
    good = opened(FOLDER)
    log = write_log([good, good, good, replace(good, operation=40), good])
    raw = bytearray(log.raw)
    struct.pack_into("<Q", raw, log.offsets[1] + 28, 3)  # a time in 1601
    struct.pack_into("<I", raw, log.offsets_at + 5 * 2, 0x7FFFFFFF)  # an event behind the end
    imported = load(bytes(raw))
    assert [row["record_offset"] for row in imported.rows] == [log.offsets[0], log.offsets[4]]
    assert imported.counts() == {"pml_bad_event": 2, "pml_unknown_operation": 1}


def test_a_row_whose_detail_is_damaged_is_kept_without_it(load):
    log = write_log([opened(FOLDER), opened(FOLDER), value_set(FOLDER + "\\A", b"12345678")])
    raw = bytearray(log.raw)
    struct.pack_into("<I", raw, log.offsets[0] + 44, 4)  # a detail too short for its path
    struct.pack_into("<I", raw, log.offsets[1] + 48, 0x7FFFFFFF)  # an extra detail behind the end
    imported = load(bytes(raw))
    assert [row["operation"] for row in imported.rows] == ["OpenKey", "OpenKey", "SetValueKey"]
    assert imported.rows[0]["key_id"] is None
    assert json.loads(imported.rows[1]["detail"]) == {"DesiredAccess": 0x20019}
    assert imported.counts()["pml_bad_detail"] == 2


def test_many_offsets_of_one_event_do_not_multiply_it(load):
    event = value_set(FOLDER + "\\A", bytes(60_000))
    log = write_log([event] * 30)
    raw = bytearray(log.raw)
    for i in range(1, 30):
        struct.pack_into("<I", raw, log.offsets_at + 5 * i, log.offsets[0])
    small = bytearray(raw[: log.offsets[1]] + raw[log.offsets_at :])
    gap = log.offsets_at - log.offsets[1]
    for at in range(0x248, 0x268, 8):
        struct.pack_into("<Q", small, at, struct.unpack_from("<Q", small, at)[0] - gap)
    imported = load(bytes(small))
    assert sum(len(row["data"]) for row in imported.rows) <= 4 * len(small)
    assert imported.counts()["pml_bad_event"] == 30 - len(imported.rows)


def mutate(raw: bytes, seed: int) -> bytes:
    """Return `raw` with a few bytes, words or stretches changed, or cut, but still called a Procmon log."""
    chance = random.Random(seed)
    out = bytearray(raw)
    for _ in range(chance.randint(1, 12)):
        start = (
            chance.randrange(8, HEADER_SIZE)
            if chance.random() < 0.2
            else chance.randrange(HEADER_SIZE, len(out))
        )
        kind = chance.random()
        if kind < 0.3:
            out[start] = chance.randrange(256)
        elif kind < 0.6 and start + 8 <= len(out):
            value = chance.choice(
                [0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 63, (1 << 64) - 1, chance.randrange(len(out))]
            )
            size = chance.choice([2, 4, 8])
            out[start : start + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        elif kind < 0.7:
            size = chance.randrange(1, 200)
            out[start : start + size] = chance.randbytes(len(out[start : start + size]))
        elif kind < 0.8:
            del out[start : start + chance.randrange(1, 20)]
        elif kind < 0.9:
            out[start:start] = chance.randbytes(chance.randrange(1, 20))
        elif kind < 0.95 and len(out) > HEADER_SIZE + 100:
            del out[chance.randrange(HEADER_SIZE + 1, len(out)) :]
        if len(out) <= HEADER_SIZE + 50:
            break
    return bytes(out)


def import_hostile(path: Path, raw: bytes) -> None:
    """Import damaged bytes: either a sentence, or rows that are what the schema says."""
    path.write_bytes(raw)
    imported, sentence = None, ""
    try:
        imported = Imported(path)
    except SourceError as error:
        sentence = str(error)
    if imported is None:
        assert str(path) in sentence
        return
    assert all(batch.schema == EVENTS.arrow() for batch in imported.batches)
    for batch in imported.batches:
        batch.validate(full=True)
    table = pa.Table.from_batches(imported.batches, EVENTS.arrow())
    ids = set(imported.processes["process_id"].to_pylist())
    assert set(table["process_id"].to_pylist()) <= ids
    times = table["time_ns"].to_pylist()
    assert times == sorted(times)
    held = sum(len(data or b"") for data in table["data"].to_pylist())
    assert held <= 4 * len(raw)


@pytest.mark.slow
def test_mutated_logs_never_fail_otherwise_than_in_a_sentence(tmp_path: Path):
    raws = [write_log(events_of_every_kind(), bits=bits).raw for bits in (32, 64)]
    for seed in range(400):
        import_hostile(tmp_path / "mutated.pml", mutate(raws[seed % 2], seed))


def test_garbage_that_calls_itself_a_log_never_fails_otherwise_than_in_a_sentence(tmp_path: Path):
    for seed in range(60):
        chance = random.Random(seed)
        body = chance.randbytes(chance.randrange(6000))
        import_hostile(tmp_path / "garbage.pml", b"PML_\x09\0\0\0\1\0\0\0" + body)


def test_a_query_that_was_not_answered_says_how_much_was_asked_for(load):
    row = load([Event(QUERY_KEY, FOLDER, struct.pack("<HII", 0, 384, 3), result=0x80000005)]).rows[0]
    assert (row["data"], row["data_size"], json.loads(row["detail"])) == (None, None, {"Length": 384})


def test_a_key_that_a_rename_made_is_known_where_its_values_are_named(load):
    info, name = text("Vendor2")
    rename = Event(RENAME, "HKLM\\SOFTWARE\\Vendor", struct.pack("<H", info), tail=name)
    failed = replace(rename, path="HKLM\\SOFTWARE\\Other", result=0xC0000022)
    made = load([
        rename,
        failed,
        value_set("HKLM\\SOFTWARE\\Vendor2\\Version", b"2", time=5),
        value_set("HKLM\\SOFTWARE\\Vendor3\\Version", b"2", time=6),
    ])  # fmt: skip
    assert (made.rows[0]["requested_name"], made.path(made.rows[0])) == (
        "Vendor2",
        "\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor",
    )
    assert [row["value_name"] for row in made.rows[2:]] == ["Version", "Version"]
    assert [row["flags"] & FLAGS["path_split"] for row in made.rows[2:]] == [0, FLAGS["path_split"]]


# ---- files that change while they are read ------------------------------------------------------------------


def many_writes(count: int) -> bytes:
    return write_log([value_set(f"{FOLDER}\\V{i % 50}", bytes(400), time=i) for i in range(count)]).raw


@pytest.mark.parametrize("left", [0, HEADER_SIZE, 0.3, 0.9])
def test_a_log_that_is_cut_while_it_is_read_is_a_sentence(tmp_path: Path, monkeypatch, left: float):
    """With a memory map the process ended at the first page beyond the file's new end (SIGBUS)."""
    monkeypatch.setattr("tracer.pml.rows.CHUNK", 50)
    monkeypatch.setattr("tracer.pml.contents._MOST", 30_000)
    raw = many_writes(3000)
    path = tmp_path / "log.pml"
    path.write_bytes(raw)
    file = PmlFile(path, Diagnostics())
    batches = file.batches(KeyTree(), source_id=0, first_process_id=0, first_sequence=0)
    next(batches)
    with path.open("r+b") as changed:
        changed.truncate(int(left * len(raw)) if left < 1 else left)
    with pytest.raises(SourceError, match=r"log\.pml was cut while it was read: it had [0-9,]+ bytes"):
        list(batches)


def test_a_log_that_grows_while_it_is_read_is_read_as_it_was(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("tracer.pml.rows.CHUNK", 50)
    raw = many_writes(300)
    path = tmp_path / "log.pml"
    path.write_bytes(raw)
    file = PmlFile(path, Diagnostics())
    with path.open("ab") as changed:
        changed.write(raw)
    assert (
        sum(b.num_rows for b in file.batches(KeyTree(), source_id=0, first_process_id=0, first_sequence=0))
        == 300
    )


@pytest.mark.parametrize("most", [1, 5_000])
def test_how_much_is_held_at_a_time_changes_nothing(tmp_path: Path, monkeypatch, most: int):
    path = tmp_path / "log.pml"
    path.write_bytes(write_log(events_of_every_kind()).raw)
    whole = Imported(path)
    monkeypatch.setattr("tracer.pml.contents._MOST", most)
    monkeypatch.setattr("tracer.pml.contents._STEP", 64)
    assert (Imported(path).rows, whole.counts()) == (whole.rows, Imported(path).counts())
