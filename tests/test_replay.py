"""Callbacks over stored captures: what they are called with is what happened, whatever the capture was made of."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pml_writer as pml
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plain_returned import listed_name
from small_capture import joined_rows, write_capture

import analysis.replay
import regtrace as rt
from analysis.capture import Capture
from tracer.callbacks.notifications import CLASSES, LoadKey, Notification, RenameKey, UnLoadKey
from tracer.registry.operations import BY_NAME
from tracer.registry.text import fold_name
from tracer.store.manifest import MANIFEST_NAME

OF_KEYS = (
    "name",
    "class_name",
    "last_write_time",
    "subkeys",
    "values",
    "result_length",
    "buffer_length",
    "handle_tags",
)
OPTIONS: dict[str, dict[str, object]] = {
    "filled": {"option_word": 7},
    "bare": {"option_word": 0},
    "classic": {"classic": True},
    "narrow": {"pointer_size": 4, "option_word": 7},
    "hostile": {"option_word": 7, "nul_names": 0.05, "surrogate_names": 0.05, "hostile_names": 0.1},
}


@pytest.fixture(scope="module", params=OPTIONS)
def made(request, tmp_path_factory) -> tuple[str, list[dict], Path]:
    """A simulated trace: its truth by time, and its capture."""
    folder = tmp_path_factory.mktemp(request.param)
    summary = rt.simulate(
        folder / "a.etl", rt.SimulationOptions(**{"events": 4000, "seed": 5, **OPTIONS[request.param]})
    )
    rt.ingest(summary.path, folder / "a.regtrace")
    truth = [line for line in pq.read_table(summary.truth).to_pylist() if not line["lost"]]
    return request.param, sorted(truth, key=lambda line: line["ticks"]), folder / "a.regtrace"


def literal(path: str) -> str:
    return path.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")


def busiest(truth: list[dict]) -> str:
    paths = [
        fold_name(line["path"]) for line in truth if line["knowable"] and line["operation"] == "SetValueKey"
    ]
    return max(sorted(set(paths)), key=paths.count)


# --- the truth ---------------------------------------------------------------------------------------------


def test_a_callback_on_one_key_fires_for_exactly_the_operations_of_the_truth(made):
    name, truth, capture = made
    key = busiest(truth)
    got: list[Notification] = []
    callbacks = rt.Registrations()
    callbacks.register(got.append, key=literal(key))
    yielded = list(rt.replay(capture, callbacks))
    expected = [line for line in truth if fold_name(line["path"]) == key and line["knowable"]]
    assert len(expected) > 10, name
    assert [(n.time_ns, n.operation, n.tid, n.pid) for n in got] == [
        (line["time_ns"], line["operation"], line["tid"], line["pid"]) for line in expected
    ]
    assert yielded == got
    for n, line in zip(got, expected, strict=True):
        if n.operation != "CloseKey":
            assert n.status == line["status"]
        if n.flags == 0:  # no name with more than one reading
            if hasattr(n, "value_name"):
                row = {"information_class": getattr(n, "information_class", None)}
                assert n.value_name == listed_name(line, row)
            assert getattr(n, "requested_name", line["requested_name"]) == line["requested_name"]
        assert type(n) is CLASSES[n.operation]
        assert n.notify == BY_NAME[n.operation].notify_class


def test_data_is_what_the_truth_says_was_written(made):
    name, truth, capture = made
    written = {line["time_ns"]: line for line in truth if line["operation"] == "SetValueKey"}
    got = []
    callbacks = rt.Registrations()
    callbacks.register(got.append, notify=rt.Notify.PostSetValueKey)
    assert len(list(rt.replay(capture, callbacks))) == len(got) == len(written) > 50
    captured = name in ("filled", "narrow", "hostile")
    for n in got:
        line = written[n.time_ns]
        was_read = captured and line["status"] < 0x8000_0000
        assert n.data == ((line["data"][:2048] or None) if was_read else None)
        assert n.data_size == (None if name == "classic" else len(line["data"]))
        assert n.previous_data == ((line["previous_data"] or b"")[:2048] or None if captured else None)


def test_addresses_are_those_of_the_objects_in_the_records(made):
    _, truth, capture = made
    stored = list(rt.replay(capture))
    assert len(stored) == len(truth)
    checked = 0
    for n, line in zip(stored, truth, strict=True):
        if n.operation in ("SetValueKey", "CloseKey", "QueryKey") or (
            n.operation == "OpenKey" and n.status == 0
        ):
            assert n.address == line["key_object"] or line["key_object"] == 0
            checked += n.address is not None
    assert checked > 1000


# --- against a plain reading of the small capture -------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return write_capture(tmp_path_factory.mktemp("small") / "small.regtrace", events=240, part_rows=17)


@pytest.fixture(scope="module")
def small_capture(small) -> Iterator[Capture]:
    with rt.open(small) as capture:
        yield capture


def as_rows(found: list[Notification]) -> list[dict]:
    return [dataclasses.asdict(n) for n in found]


def test_every_row_of_every_part_comes_in_order_with_its_names(small):
    stored = list(rt.replay(small))
    expected = joined_rows(240)
    assert [n.sequence for n in stored] == list(range(240))
    for n, line in zip(as_rows(stored), expected, strict=True):
        n["notify_class"] = n.pop("notify")
        for name in ("desired_access", "granted_access", "length", "address", *OF_KEYS):
            assert n.pop(name, None) is None
        assert n == {name: line[name] for name in n}


def test_an_open_capture_will_do_and_stays_open(small):
    with rt.open(small) as capture:
        assert list(rt.replay(capture)) == list(rt.replay(str(small)))
        assert len(capture.timeline(limit=1)) == 1


@pytest.mark.parametrize(
    "key",
    [
        "HKLM\\SOFTWARE\\**",
        "HKLM\\SOFTWARE\\Vendor\\Run",
        "HKLM\\SYSTEM\\CurrentControlSet\\Services",
        "HKLM\\SYSTEM\\ControlSet001\\Services",
        ["**\\Run", "HKU\\**"],
        "HKLM\\SOFTWARE\\Hostile\\*",
        "HKLM\\SOFTWARE\\Hostile\\100%_[[]a]*[?]{x}",
        "<object 0xFFFF800012345678>\\*",
        "HKLM\\NOTHING",
    ],
)
def test_a_key_filter_finds_what_the_timeline_of_that_key_finds(small, small_capture, key):
    expected = small_capture.timeline(key, columns=["sequence", "key"])
    # Its last key is an unnamed object that keeps that path; real captures give it the one that was found later.
    expected = expected[~expected["key"].str.startswith("<object 0xFFFF800099999999>")]
    found = list(rt.replay(small, key=key))
    assert [n.sequence for n in found] == list(expected["sequence"])


@pytest.mark.parametrize(
    ("start", "until"),
    [
        ("+30s", None),
        (None, "+30s"),
        ("+10s", "+200s"),
        ("-5s", "2030-01-01"),
        ("+9h", None),
        (None, "2024-05-01T10:00:00.0000001Z"),
        ("2024-05-01T10:00:00.0000001Z", "2024-05-01T10:00:01.0000002Z"),
    ],
)
def test_times_are_those_of_the_timeline(small, small_capture, start, until):
    expected = list(small_capture.timeline(start=start, end=until)["sequence"])
    assert [n.sequence for n in rt.replay(small, start=start, end=until)] == expected


def test_parts_outside_the_times_are_not_read(small, monkeypatch):
    read = []
    real = analysis.replay.pq.ParquetFile
    monkeypatch.setattr(
        analysis.replay.pq, "ParquetFile", lambda path: read.append(Path(path).name) or real(path)
    )
    assert list(rt.replay(small, start="+100s", end="+101s"))
    assert [name for name in read if name.startswith("part")] == ["part-00005.parquet"]


def test_callbacks_and_the_loop_see_the_same_notification_in_turn(small):
    order = []
    callbacks = rt.Registrations()
    callbacks.register(lambda n: order.append(("called", n)), notify=rt.Notify.PostSetValueKey)
    for n in rt.replay(small, callbacks, key="HKLM\\**"):
        order.append(("yielded", n))
    assert len(order) > 20
    for (first, called), (second, yielded) in zip(order[::2], order[1::2], strict=True):
        assert (first, second) == ("called", "yielded")
        assert called is yielded


def test_without_callbacks_nothing_is_wanted_and_nothing_is_yielded(small):
    assert list(rt.replay(small, rt.Registrations())) == []


def test_a_failing_callback_does_not_stop_a_replay(small):
    def failing(_):
        raise ValueError("broken")

    callbacks = rt.Registrations()
    cookie = callbacks.register(failing)
    with pytest.warns(RuntimeWarning) as said:
        assert len(list(rt.replay(small, callbacks))) == 240
    assert (callbacks.failures, callbacks[cookie].failures) == (240, 240)
    first, last = (str(warning.message) for warning in said)
    assert "failing raised an exception, and is called on" in first
    assert "in 240 of 240 calls" in last


def test_a_replay_that_is_left_says_what_failed_until_then(small):
    def failing(_):
        raise ValueError("broken")

    callbacks = rt.Registrations()
    callbacks.register(failing)
    notifications = rt.replay(small, callbacks)
    with pytest.warns(RuntimeWarning, match="called on"):
        [next(notifications) for _ in range(3)]
    with pytest.warns(RuntimeWarning, match="in 3 of 3 calls"):
        notifications.close()


def test_many_lives_of_handles_are_looked_up_part_by_part_to_the_same_end(made, monkeypatch):
    _, _, capture = made
    at_once = list(rt.replay(capture))
    monkeypatch.setattr(analysis.replay, "_FEW_HANDLES", 0)
    assert list(rt.replay(capture)) == at_once


def test_ids_that_do_not_count_from_0_are_looked_up(small, tmp_path):
    other = tmp_path / "other.regtrace"
    shutil.copytree(small, other)
    for name in ("keys", "processes"):
        table = pq.read_table(other / f"{name}.parquet")
        pq.write_table(table.take(pa.array(range(len(table) - 1, -1, -1))), other / f"{name}.parquet")
    assert list(rt.replay(other)) == list(rt.replay(small))


def test_what_a_row_says_of_its_name_goes_before_what_is_said_of_its_key(small, tmp_path):
    other = tmp_path / "other.regtrace"
    shutil.copytree(small, other)
    keys = pq.read_table(other / "keys.parquet")
    later = pa.array(["later"] * len(keys))
    place = keys.schema.get_field_index("name_source")
    pq.write_table(keys.set_column(place, "name_source", later), other / "keys.parquet")
    with rt.open(other) as capture:
        expected = capture.timeline(columns=["name_source"])["name_source"]
    assert {"event", "later"} <= set(expected.dropna())
    found = [n.name_source for n in rt.replay(other)]
    assert found == [None if source is None or source != source else source for source in expected]


def test_parts_that_overlap_still_come_in_order(small, tmp_path):
    other = tmp_path / "other.regtrace"
    shutil.copytree(small, other)
    manifest = json.loads((other / MANIFEST_NAME).read_text())
    first, second = (other / part["file"] for part in manifest["parts"][:2])
    both = pa.concat_tables([pq.read_table(first), pq.read_table(second)])
    odd = pa.compute.equal(pa.compute.bit_wise_and(both.column("sequence"), 1), 1)
    for path, rows in ((first, both.filter(odd)), (second, both.filter(pa.compute.invert(odd)))):
        pq.write_table(rows, path)
        part = manifest["parts"][0 if path == first else 1]
        part |= {"rows": len(rows)}
        part |= {
            f"{end}_sequence": getattr(pa.compute, how)(rows["sequence"]).as_py()
            for end, how in (("first", "min"), ("last", "max"))
        }
    (other / MANIFEST_NAME).write_text(json.dumps(manifest))
    assert list(rt.replay(other)) == list(rt.replay(small))


# --- Procmon -----------------------------------------------------------------------------------------------


def test_a_procmon_log_replays_with_what_only_procmon_tells(tmp_path):
    new, hive = pml.text("New<name"), pml.text("C:\\hive.dat")
    events = [
        pml.opened("HKLM\\SOFTWARE\\Vendor", operation=pml.CREATE, access=0xF003F),
        pml.value_set("HKLM\\SOFTWARE\\Vendor\\Path", b"a\0\0\0", kind=1, time=10),
        pml.queried("HKLM\\SOFTWARE\\Vendor\\Path", b"a\0\0\0", time=20),
        pml.Event(pml.RENAME, "HKLM\\SOFTWARE\\Vendor", new[0].to_bytes(2, "little"), tail=new[1], time=30),
        pml.Event(pml.LOAD, "HKLM\\Loaded", hive[0].to_bytes(2, "little"), tail=hive[1], time=40),
        pml.Event(pml.UNLOAD, "HKLM\\Loaded", time=50, result=0xC0000022),
        pml.Event(pml.CLOSE, "HKLM\\SOFTWARE\\Vendor", time=60),
    ]
    (tmp_path / "log.pml").write_bytes(pml.write_log(events).raw)
    rt.ingest(tmp_path / "log.pml", tmp_path / "log.regtrace")
    got: list[Notification] = []
    callbacks = rt.Registrations()
    callbacks.register(got.append, notify=[rt.Notify.PostRenameKey, rt.Notify.PostLoadKey, "PostUnLoadKey"])
    stored = list(rt.replay(tmp_path / "log.regtrace"))
    assert len(list(rt.replay(tmp_path / "log.regtrace", callbacks))) == 3
    renamed, loaded, unloaded = got
    assert isinstance(renamed, RenameKey)
    assert (renamed.key, renamed.requested_name) == ("\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor", "New<name")
    assert isinstance(loaded, LoadKey)
    assert (loaded.display_key, loaded.source_file) == ("HKLM\\Loaded", "C:\\hive.dat")
    assert isinstance(unloaded, UnLoadKey)
    assert unloaded.status == 0xC0000022
    created, written, read = stored[:3]
    assert (created.desired_access, created.granted_access, created.disposition) == (0xF003F, 0xF003F, 1)
    assert (written.value_name, written.data, written.data_type) == ("Path", b"a\0\0\0", 1)
    assert (read.value_name, read.length) == ("Path", 144)
    assert stored[-1].notify == rt.Notify.PreKeyHandleClose
    assert stored[-1].status == 0  # Procmon, unlike ETW, tells how a close went
    assert {n.source for n in stored} == {"procmon"}
    assert {(n.address, n.process, n.pid) for n in stored} == {(None, "tool.exe", 1234)}


# --- memory, damage ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_memory_holds_one_part_however_many_there_are(tmp_path):
    """Of 40 parts that hold 1 MiB of data each, no more than a few are in memory at any time."""
    capture = write_capture(tmp_path / "a.regtrace", events=4000, part_rows=100)
    for part in json.loads((capture / MANIFEST_NAME).read_text())["parts"]:
        rows = pq.read_table(capture / part["file"])
        data = pa.array([bytes([number % 256]) * 10_485 for number in range(len(rows))], pa.binary())
        rows = rows.set_column(rows.schema.get_field_index("data"), "data", data)
        pq.write_table(rows, capture / part["file"], compression="none", use_dictionary=False)
    before, most, count = pa.total_allocated_bytes(), 0, 0
    for n in rt.replay(capture):
        most = max(most, pa.total_allocated_bytes() - before)
        count += 1
        assert getattr(n, "data", b"") is not None
    assert count == 4000
    assert 1 << 20 < most < 8 << 20


def test_what_is_wrong_with_a_capture_is_told_at_once(tmp_path, small):
    with pytest.raises(rt.CaptureError):
        rt.replay(tmp_path / "absent.regtrace")
    for wrong in ({"key": "C:\\x"}, {"start": "yesterday"}, {"end": "+1y"}):
        with pytest.raises(rt.UsageError):
            rt.replay(small, **wrong)


@pytest.mark.parametrize(
    "file", ["events/part-00003.parquet", "keys.parquet", "handles.parquet", "processes.parquet"]
)
@pytest.mark.parametrize("how", ["columns", "bytes"])
def test_a_damaged_file_is_one_sentence(small, tmp_path, file, how):
    other = tmp_path / "other.regtrace"
    shutil.copytree(small, other)
    if how == "columns":
        rows = pq.read_table(other / file)
        pq.write_table(pa.table({"x": pa.nulls(len(rows), pa.int8())}), other / file)
    else:
        content = bytearray((other / file).read_bytes())
        content[4 : len(content) - 1500] = bytes(len(content) - 1504) if len(content) > 1504 else b""
        (other / file).write_bytes(content[:4] + bytes(max(0, len(content) - 1504)) + content[-1500:])
    try:
        found = list(rt.replay(other))
    except rt.CaptureError as error:
        assert "ingest again" in str(error)  # noqa: PT017  (an empty table has no bytes to damage)
    else:
        assert how == "bytes"
        assert len(found) == 240


def test_a_capture_without_events_replays_to_nothing(tmp_path):
    summary = rt.simulate(tmp_path / "a.etl", rt.SimulationOptions(events=1))
    rt.ingest(summary.path, tmp_path / "a.regtrace")
    manifest = json.loads((tmp_path / "a.regtrace" / MANIFEST_NAME).read_text())
    manifest["parts"] = []
    (tmp_path / "a.regtrace" / MANIFEST_NAME).write_text(json.dumps(manifest))
    assert list(rt.replay(tmp_path / "a.regtrace", start="+1s")) == []
