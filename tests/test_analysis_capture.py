"""Questions to a capture, answered as plain Python answers them from the same rows."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from plain_counts import is_noise, is_write
from small_capture import BIG, CONTROL_SET, EPOCH_NS, HOSTILE, KEY_PATHS, SID, joined_rows, write_capture

from analysis.capture import Capture
from analysis.engine.columns import SHOWN_COLUMNS
from analysis.engine.fetch import collect
from analysis.filters import Filters
from analysis.open import open_capture
from tracer.errors import CaptureError, RegtraceError, UsageError
from tracer.registry.decoders import data_meaning
from tracer.registry.ntstatus import is_failure, status_name
from tracer.registry.operations import find_operations
from tracer.registry.paths import compile_pattern
from tracer.registry.text import fold_name
from tracer.registry.values import decode_value, type_name

ROWS = joined_rows()
Row = dict[str, Any]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    directory = write_capture(tmp_path_factory.mktemp("captures") / "small.regtrace")
    with open_capture(directory, memory_limit="512MB", threads=2) as opened:
        yield opened


def plain(value: object) -> object:
    return None if value is None or value is pd.NA or value is pd.NaT or value != value else value


def rows_of(frame: pd.DataFrame) -> list[Row]:
    return [{str(name): plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


def sequences(frame: pd.DataFrame) -> list[int]:
    return [int(number) for number in frame["sequence"]]


def expected(fits: Callable[[Row], bool]) -> list[int]:
    return [row["sequence"] for row in ROWS if fits(row)]


def ids_of(*paths: str) -> set[int]:
    """Return every key_id grouped with one of the native paths."""
    groups = [number if same is None else same for number, (_, same, _) in enumerate(KEY_PATHS)]
    wanted = {groups[number] for number, (path, _, _) in enumerate(KEY_PATHS) if path in paths}
    return {number for number, group in enumerate(groups) if group in wanted}


def test_without_filters_every_row_comes_in_order_with_its_names(capture: Capture) -> None:
    frame = capture.timeline()
    assert list(frame.columns[:5]) == ["time", "process", "pid", "operation", "display_key"]
    assert sorted(frame.columns) == sorted(capture.event_columns)
    assert sorted(name for name in frame.columns if name != "key_user") == sorted(SHOWN_COLUMNS)
    found = rows_of(frame)
    assert len(found) == len(ROWS)
    for row, wanted in zip(found, ROWS, strict=True):
        assert row.pop("time") == pd.Timestamp(wanted["time"])
        assert row.pop("status_name") == (None if wanted["status"] is None else status_name(wanted["status"]))
        assert (row.pop("noise") is not None) == is_noise(wanted)
        assert row.pop("key_user") == (SID if SID in (wanted["display_key"] or "") else None)
        for side, data in (("data", wanted["data"]), ("previous", wanted["previous_data"])):
            content = wanted[f"{side}_type"], data, wanted[f"{side}_size"]
            assert row.pop(f"{side}_type_name") == (None if content[0] is None else type_name(content[0]))
            assert row.pop(f"{side}_text") == (
                None if content[1:] == (None, None) else decode_value(*content)
            )
            assert row.pop(f"{side}_meaning") == data_meaning(
                wanted["display_key"], wanted["value_name"], content[0], data
            )
        assert row == {name: wanted[name] for name in row}


def test_integers_beyond_a_floats_reach_stay_exact_beside_nulls(capture: Capture) -> None:
    frame = capture.timeline(columns=["handle_id", "record_offset", "status", "tid"])
    assert not any("float" in str(kind) for kind in frame.dtypes)
    assert frame["handle_id"].isna().any()
    assert [int(number) for number in frame["handle_id"].dropna()] == [BIG + n for n in range(1, 120, 2)]
    assert str(capture.timeline(columns=["time"])["time"].dtype) == "datetime64[us, UTC]"


def test_a_key_is_found_with_all_rows_grouped_with_it(capture: Capture) -> None:
    run = ids_of("\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor\\Run")
    assert len(run) == 2
    wanted = expected(lambda row: row["key_id"] in run)
    for text in (
        "HKLM\\SOFTWARE\\vendor\\RUN",
        "\\registry\\machine\\Software\\Vendor\\Run\\",
        "HKLM:\\*\\Vendor\\R?n",
    ):
        assert sequences(capture.timeline(text)) == wanted


def test_rows_of_an_object_that_was_named_later_belong_to_the_key(capture: Capture) -> None:
    vendor = ids_of("\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor")
    wanted = expected(lambda row: row["key_id"] in vendor)
    frame = capture.timeline("HKLM\\SOFTWARE\\Vendor")
    assert sequences(frame) == wanted
    assert set(frame["key"]) == {"\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor", "<object 0xFFFF800099999999>"}


@pytest.mark.parametrize("control_set", ["CurrentControlSet", "ControlSet001"])
def test_the_current_control_set_is_one_key_under_both_names(capture: Capture, control_set: str) -> None:
    services = ids_of("\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet001\\Services")
    found = sequences(capture.timeline(f"HKLM\\SYSTEM\\{control_set}\\Services"))
    assert found == expected(lambda row: row["key_id"] in services)
    assert sequences(capture.timeline(f"HKLM\\SYSTEM\\{control_set}", subtree=True)) == found


def test_a_subtree_does_not_take_a_neighbour_whose_name_begins_alike(capture: Capture) -> None:
    below = ids_of("\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor", "\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor\\Run")
    found = sequences(capture.timeline("HKLM\\SOFTWARE\\Vendor", subtree=True))
    assert found == expected(lambda row: row["key_id"] in below)


def test_several_keys_are_one_timeline(capture: Capture) -> None:
    both = ids_of("\\REGISTRY\\MACHINE", "\\REGISTRY\\MACHINE\\SOFTWARE")
    assert sequences(capture.timeline(["HKLM", "HKLM\\SOFTWARE"])) == expected(
        lambda row: row["key_id"] in both
    )
    assert capture.timeline([]).empty


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_key_names_are_found(capture: Capture, name: str) -> None:
    path = f"\\REGISTRY\\MACHINE\\SOFTWARE\\Hostile\\{name}"
    frame = capture.timeline(re.sub(r"([*?\[])", r"[\1]", path))
    assert set(frame["key"]) == {path}
    assert sequences(frame) == expected(lambda row: row["key"] == path)


def test_many_keys_and_few_keys_take_the_same_rows(capture: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    few = sequences(capture.timeline("HKLM", subtree=True, operation="write"))
    monkeypatch.setattr("analysis.questions.context._FEW_KEYS", 1000)
    listed = sequences(capture.timeline("HKLM", subtree=True, operation="write"))
    monkeypatch.setattr("analysis.questions.context._FEW_KEYS", 0)
    joined = sequences(capture.timeline("HKLM", subtree=True, operation="write"))
    pattern = compile_pattern("HKLM", subtree=True, control_set=CONTROL_SET)
    wanted = expected(
        lambda row: (
            row["same_as"] is not None and pattern.matches(KEY_PATHS[row["same_as"]][0]) and is_write(row)
        )
    )
    assert few == listed == joined == wanted


def test_hkcu_is_the_users(capture: Capture) -> None:
    found = sequences(capture.timeline("HKCU\\Software\\Run", user=SID))
    assert found == expected(lambda row: row["key"] == f"\\REGISTRY\\USER\\{SID}\\Software\\Run")


def test_an_unknown_key_gives_an_empty_frame_of_the_same_types(capture: Capture) -> None:
    frame = capture.timeline("HKLM\\Nothing\\Here")
    assert frame.empty
    assert list(frame.dtypes) == list(capture.timeline().dtypes)


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ("path", lambda name: name is not None and fold_name(name) == "PATH"),
        ("", lambda name: name == ""),
        ("*", lambda name: name is not None),
        ("P?th", lambda name: name is not None and fold_name(name) == "PATH"),
        ("Device\\volume[*]", lambda name: name == "Device\\Volume*"),
        ("Device*", lambda name: name == "Device\\Volume*"),
        ("nul\0inside", lambda name: name == HOSTILE[0]),
        (HOSTILE[4].replace("[", "[[]"), lambda name: name == HOSTILE[4]),
        ("'; DROP TABLE keys; --", lambda name: False),
    ],
)
def test_values_are_found_by_name_and_pattern_in_any_case(
    capture: Capture, value: str, fits: Callable[[str | None], bool]
) -> None:
    assert sequences(capture.timeline(value=value)) == expected(lambda row: fits(row["value_name"]))


@pytest.mark.parametrize(
    ("process", "fits"),
    [
        ("SETUP.exe", lambda row: row["process"] == "setup.exe"),
        ("setup*", lambda row: (row["process"] or "").lower().startswith("setup")),
        ("1234", lambda row: row["pid"] == 1234),
        (1234, lambda row: row["pid"] == 1234),
        ("4294967295", lambda row: row["pid"] == 4294967295),
        ("99999999999999999999", lambda row: False),
        ("*\\temp\\setup.exe", lambda row: row["process"] == "setup.exe"),
        ("<b>evil</b>.exe", lambda row: row["process"] == "<b>evil</b>.exe"),
    ],
)
def test_processes_are_found_by_image_and_by_id(
    capture: Capture, process: str | int, fits: Callable[[Row], bool]
) -> None:
    assert sequences(capture.timeline(process=process)) == expected(fits)


def test_a_pid_narrows_what_a_name_found(capture: Capture) -> None:
    assert sequences(capture.timeline(process="setup*", pid=[1234, 7])) == expected(
        lambda r: r["process"] == "setup.exe"
    )
    assert sequences(capture.timeline(pid=4)) == expected(lambda row: row["pid"] == 4)


@pytest.mark.parametrize(
    "words", ["set,delete", ["SetValueKey", "deletevalue"], " SET , RegNtPostDeleteValueKey "]
)
def test_operations_have_several_spellings(capture: Capture, words: str | list[str]) -> None:
    wanted = expected(lambda row: row["operation"] in ("SetValueKey", "DeleteValueKey", "DeleteKey"))
    assert sequences(capture.timeline(operation=words)) == wanted


@pytest.mark.parametrize(
    ("status", "fits"),
    [
        ("success", lambda code: code is not None and code < 0x80000000),
        ("error", lambda code: code is not None and is_failure(code)),
        ("NAME NOT FOUND", lambda code: code == 0xC0000034),
        ("STATUS_ACCESS_DENIED,0xC0001234", lambda code: code in (0xC0000022, 0xC0001234)),
        (
            ["success", 0xC0000034],
            lambda code: code is not None and (code < 0x80000000 or code == 0xC0000034),
        ),
        (0x104, lambda code: code == 0x104),
        ("-2147483643", lambda code: code == 0x80000005),
    ],
)
def test_statuses_have_several_spellings(
    capture: Capture, status: Any, fits: Callable[[int | None], bool]
) -> None:
    assert sequences(capture.timeline(status=status)) == expected(lambda row: fits(row["status"]))


def test_times_are_absolute_or_relative_and_ends_are_inclusive(capture: Capture) -> None:
    one = ROWS[10]
    shown = pd.Timestamp(one["time"])
    for start, end in [(shown, shown + pd.Timedelta("1us")), (shown.isoformat(), shown.isoformat())]:
        assert sequences(capture.timeline(start=start, end=end)) == [10]
    last = ROWS[-1]["time_ns"]
    found = sequences(capture.timeline(start="+90s", end="-5.5s"))
    assert found == expected(lambda row: EPOCH_NS + 90 * 10**9 <= row["time_ns"] <= last - 5_500_000_000)
    assert found[0] == 90


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": "sett"},
        {"status": "errror"},
        {"status": ""},
        {"start": "yesterday"},
        {"start": "2024-13-01"},
        {"end": pd.NaT},
        {"columns": ["sequence", "colour"]},
        {"columns": []},
        {"limit": -1},
        {"limit": 2**63},
        {"where": ""},
        {"key": ""},
    ],
)
def test_a_filter_that_means_nothing_is_a_usage_error(capture: Capture, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        capture.timeline(**wrong)


@pytest.mark.parametrize(
    "far", [{"start": "+99999999d"}, {"end": "0001-01-01"}, {"pid": 2**70}, {"pid": -1}, {"process": 2**40}]
)
def test_numbers_no_row_can_have_find_no_row(capture: Capture, far: dict[str, Any]) -> None:
    assert capture.timeline(**far).empty


def test_filters_together_narrow(capture: Capture) -> None:
    frame = capture.timeline(
        "HKLM", subtree=True, operation="read", status="error", process="setup.exe", where="tid > 3", limit=3
    )
    wanted = expected(
        lambda row: (
            str(row["display_key"]).startswith("HKLM")
            and row["operation"] in find_operations("read")
            and row["status"] == 0xC0000034
            and row["process"] == "setup.exe"
            and (row["tid"] or 0) > 3
        )
    )
    assert wanted
    assert sequences(frame) == wanted[:3]


def test_a_condition_sees_the_joined_columns(capture: Capture) -> None:
    found = capture.timeline(where="process ILIKE 'setup%' AND data_size IS NOT NULL -- and that is all")
    assert sequences(found) == expected(
        lambda row: (row["process"] or "").lower().startswith("setup") and row["data_size"] is not None
    )


@pytest.mark.parametrize(
    "condition",
    [
        "colour = 1",
        "status >",
        "status = 'x",
        "1=1; DROP TABLE keys",
        "1=1) UNION SELECT (1",
        "status = 'abc'",
        "a\ud800",
    ],
)
def test_a_wrong_condition_says_where_it_is_wrong_and_does_no_harm(capture: Capture, condition: str) -> None:
    with pytest.raises(UsageError, match=r"condition|query"):
        capture.timeline(where=condition)
    assert len(capture.timeline()) == len(ROWS)


def test_the_caret_points_at_the_users_own_text(capture: Capture) -> None:
    with pytest.raises(UsageError) as caught:
        capture.timeline(where="status = colour(1)")
    lines = str(caught.value).splitlines()
    assert lines[-2] == "status = colour(1)"
    assert lines[-1].index("^") == lines[-2].index("colour")


def test_sql_sees_the_tables_and_the_joined_view(capture: Capture) -> None:
    frame = capture.sql("SELECT process, count(*) AS n, sum(data_size) AS size FROM events GROUP BY process")
    counts = dict.fromkeys({row["process"] for row in ROWS}, 0)
    for row in ROWS:
        counts[row["process"]] += 1
    assert {plain(row["process"]): row["n"] for row in rows_of(frame)} == counts
    assert "float" not in str(frame.dtypes["size"])
    stored = capture.sql(
        "SELECT e.key_id FROM stored_events e JOIN keys k USING (key_id) WHERE k.name = 'Vendor'"
    )
    assert len(stored) == len(expected(lambda row: row["key_id"] == 2))
    assert list(capture.sql("SELECT stack FROM extended ORDER BY sequence")["stack"][0]) == [-1, BIG]


@pytest.mark.parametrize(
    "query",
    [
        "SELEC 1",
        "SELECT colour FROM events",
        "SELECT 1; SELECT 2",
        "",
        "DROP VIEW events",
        "SELECT CAST('x' AS INT)",
    ],
)
def test_a_query_that_is_wrong_or_does_more_than_read_is_refused(capture: Capture, query: str) -> None:
    with pytest.raises(UsageError):
        capture.sql(query)


def test_a_query_cannot_write_into_the_capture(capture: Capture) -> None:
    with pytest.raises(UsageError, match="SELECT"):
        capture.sql(f"COPY keys TO '{capture.path}/keys.parquet'")


def test_the_programs_own_variables_are_no_tables(capture: Capture) -> None:
    frame = pd.DataFrame({"a": [1]})
    with pytest.raises(UsageError, match="frame"):
        capture.sql("SELECT * FROM frame")
    assert len(frame) == 1


def test_a_stream_has_the_same_rows_as_the_frame(capture: Capture) -> None:
    filters = Filters(key="HKLM", subtree=True)
    reader = capture.timeline_reader(filters, columns=["sequence", "key"], batch_rows=2048)
    assert len(capture.timeline(limit=1)) == 1  # another question in between does not disturb the stream
    assert reader.read_all().column("sequence").to_pylist() == sequences(
        capture.timeline("HKLM", subtree=True)
    )


def test_lazy_tables_can_be_composed(capture: Capture) -> None:
    events = capture.events
    frame = collect(events.filter(events["operation"] == "SetValueKey").order_by("sequence"))
    assert sequences(frame) == expected(lambda row: row["operation"] == "SetValueKey")
    assert set(capture.tables) == {
        "stored_events",
        "keys",
        "handles",
        "processes",
        "extended",
        "losses",
        "diagnostics",
        "counters",
        "usage",
        "baseline_keys",
        "baseline_values",
    }
    assert len(collect(capture.tables["keys"])) == len(KEY_PATHS)


def test_close_spellings_are_suggested(capture: Capture) -> None:
    assert capture.suggest_keys("HKLM\\SOFTWARE\\Vendr\\Run")[0] == "HKLM\\SOFTWARE\\Vendor\\Run"
    assert "HKLM\\SOFTWARE\\Vendor" in capture.suggest_keys("\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor\\Missing")
    assert "HKLM\\SOFTWARE\\Vendor" in capture.suggest_keys("SOFTWARE\\Vendor")
    assert len(capture.suggest_keys("HKLM\\SOFTWARE\\Vendo", n=2)) == 2
    assert capture.suggest_keys("HKLM\\SOFTWARE\\Vendo", n=0) == []
    for odd in ["", "'", "\ud800", "a\0b", *HOSTILE]:
        assert isinstance(capture.suggest_keys(odd), list)


def test_what_is_known_about_a_capture_is_json(capture: Capture) -> None:
    info = capture.info()
    assert info["control_set"] == CONTROL_SET
    assert info["losses"][0]["count"] == BIG
    assert info["diagnostics"][0]["name"] == "events_lost"


def test_a_capture_shows_itself_safely(capture: Capture) -> None:
    assert "incomplete" in repr(capture)
    assert "simulated" in repr(capture)
    assert "\x1b" not in repr(capture)
    shown = capture._repr_html_()
    assert "<b>" not in shown
    assert "\x1b" not in shown
    assert "&lt;b&gt;boot" in shown


def test_a_folder_name_with_glob_characters_is_one_folder(tmp_path: Path) -> None:
    write_capture(tmp_path / "a1.regtrace", events=24)
    odd = write_capture(tmp_path / "flags=7" / "a[1]*'?.regtrace", events=12)
    with open_capture(odd) as capture:
        assert list(capture.timeline()["flags"]) == [0] * 12  # and what looks like a partition is none


def test_a_capture_without_events_answers_with_nothing(tmp_path: Path) -> None:
    with open_capture(write_capture(tmp_path / "empty.regtrace", events=0)) as capture:
        frame = capture.timeline(start="+1s")
        assert frame.empty
        assert str(frame.dtypes["time"]) == "datetime64[us, UTC]"
        assert str(frame.dtypes["status"]) == "uint32[pyarrow]"
        assert capture.keys().empty


def test_a_closed_capture_says_so_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill = tmp_path / "spill"
    spill.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spill))
    capture = open_capture(write_capture(tmp_path / "small.regtrace", events=12))
    assert len(list(spill.iterdir())) == 1
    capture.close()
    capture.close()
    assert list(spill.iterdir()) == []
    assert "closed" in repr(capture)
    with pytest.raises(CaptureError, match="closed"):
        capture.timeline()


def test_a_part_that_vanishes_after_opening_is_a_capture_error(tmp_path: Path) -> None:
    directory = write_capture(tmp_path / "small.regtrace")
    with open_capture(directory) as capture:
        shutil.rmtree(directory / "events")
        with pytest.raises(CaptureError, match="cannot be read"):
            capture.timeline()


@pytest.mark.parametrize("wrong", [{"memory_limit": "lots"}, {"threads": -3}])
def test_a_setting_the_engine_refuses_is_a_usage_error(tmp_path: Path, wrong: dict[str, Any]) -> None:
    directory = write_capture(tmp_path / "small.regtrace", events=1)
    with pytest.raises(UsageError, match="refuses"):
        open_capture(directory, **wrong)


def test_a_damaged_capture_is_refused_at_the_door(tmp_path: Path) -> None:
    directory = write_capture(tmp_path / "small.regtrace")
    (directory / "events" / "part-00001.parquet").unlink()
    with pytest.raises(CaptureError, match="missing"):
        open_capture(directory)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["events/part-00001.parquet", "keys.parquet"])
def test_damage_inside_a_file_is_told_in_a_sentence(tmp_path: Path, file: str) -> None:
    directory = write_capture(tmp_path / "small.regtrace")
    sound, random, refused = (directory / file).read_bytes(), Random(file), 0
    for _ in range(40):
        damaged, size = bytearray(sound), random.choice((1, 4, 64))
        start = random.randrange(4, len(sound) - 8 - size)
        damaged[start : start + size] = random.randbytes(size)
        (directory / file).write_bytes(damaged)
        try:
            with open_capture(directory, check_rows=False) as capture:
                capture.timeline()
                capture.sql("SELECT * FROM stored_events, keys")
        except RegtraceError:
            refused += 1
    assert refused > 10


def test_an_answer_as_long_as_its_limit_says_that_there_may_be_more(capture: Capture):
    whole = capture.who(limit=None)
    assert "cut" not in whole.attrs
    assert "cut" not in capture.who(limit=len(whole) + 1).attrs
    assert capture.who(limit=1).attrs["cut"] == "the first 1 rows (limit=1); there may be more"
    assert capture.queries.who(limit=1).total() == len(whole) > 1
    assert capture.timeline(limit=2).attrs["cut"] == "the first 2 rows (limit=2); there may be more"
    net = capture.changes()
    assert "cut" not in net.attrs
    assert capture.changes(limit=1).attrs["cut"] == f"the first 1 of {len(net)} rows (limit=1)"
