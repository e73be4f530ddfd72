"""What one recording is: sources of several machines or boots, copies, parts that overlap, joined traces."""

import struct
from pathlib import Path

import pytest
import raw_etl as raw

import regtrace as rt
from tracer.errors import UsageError
from tracer.etl.providers import KERNEL_REGISTRY
from tracer.sources.machines import BOOT_TOLERANCE_NS, Machine, check_one_machine, differences

SECOND = 1_000_000_000
FAULTS = Path(__file__).parents[2] / "shared/faults"
HEADER_BUFFER = 4


def open_key(stamp: int, address: int, path: str) -> bytes:
    texts = b"\0\0" + path.encode("utf-16-le") + b"\0\0"
    return raw.event(2, stamp, struct.pack("<QQII", 0, address, 0, 0) + texts, guid=KERNEL_REGISTRY)


def set_value(stamp: int, address: int, name: str, data: int = 1) -> bytes:
    texts = b"\0\0" + name.encode("utf-16-le") + b"\0\0"
    payload = struct.pack("<QIII", address, 0, 4, 4) + texts + struct.pack("<HI", 4, data)
    return raw.event(5, stamp, payload + struct.pack("<IIH", 0, 0, 0), guid=KERNEL_REGISTRY)


def trace(*buffers: bytes, **header: int) -> bytes:
    """Return a trace whose header buffer has its own type, as Windows writes it."""
    content = bytearray(raw.etl(*buffers, header=raw.logfile_record(**header)))
    struct.pack_into("<H", content, 0x36, HEADER_BUFFER)
    return bytes(content)


def numbered(first: int, last: int) -> list[bytes]:
    """Return buffers of one session, each with a write of its own."""
    made = []
    for number in range(first, last):
        stamp = raw.FIRST_STAMP + 1000 * number
        records = [set_value(stamp, 0x7000, f"v{number}", number)]
        if number == 0:
            records.insert(0, open_key(stamp - 1, 0x7000, "\\REGISTRY\\MACHINE\\SOFTWARE\\A"))
        made.append(raw.buffer(*records, flushed=stamp + 5, sequence=number + 1))
    return made


def ingest(folder: Path, *contents: bytes) -> "rt.Manifest":
    paths = [folder / f"{number}.etl" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return rt.ingest(paths, folder / "c.regtrace", force=True)


def written(folder: Path) -> list[str]:
    with rt.open(folder / "c.regtrace") as capture:
        rows = capture.sql(
            "SELECT value_name FROM events WHERE operation = 'SetValueKey' "
            "AND key = '\\REGISTRY\\MACHINE\\SOFTWARE\\A' ORDER BY sequence"
        )
    return rows["value_name"].tolist()


def counted(folder: Path, name: str) -> int:
    with rt.open(folder / "c.regtrace") as capture:
        rows = capture.sql(f"SELECT sum(\"count\") AS total FROM diagnostics WHERE name = '{name}'")
    return 0 if rows["total"].isna()[0] else int(rows["total"][0])


# --- machines and boots -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"cpus": 8}, "processors"),
        ({"frequency": 3_579_545}, "performance counters"),
        ({"build": 22631}, "Windows builds"),
        ({"boot": raw.START_FILETIME + 100 * 10_000_000}, "two boots"),
    ],
)
def test_traces_of_two_machines_or_boots_are_refused(tmp_path, changed, word):
    with pytest.raises(UsageError, match=word) as refusal:
        ingest(tmp_path, trace(*numbered(0, 2)), trace(*numbered(2, 4), **changed))
    assert "0.etl" in str(refusal.value)
    assert "1.etl" in str(refusal.value)
    assert not (tmp_path / "c.regtrace").exists()


def test_parts_of_one_boot_are_one_recording_though_boot_time_drifts_and_widths_differ(tmp_path):
    """A 32-bit program's session has the 32-bit header on 64-bit Windows; boot time moves with the clock."""
    drifted = trace(*numbered(2, 4), boot=raw.START_FILETIME - 999 + 9 * 10_000_000)
    ingest(tmp_path, trace(*numbered(0, 2)), drifted, trace(wide=False))
    assert written(tmp_path) == ["v0", "v1", "v2", "v3"]


def test_what_a_header_does_not_say_differs_from_nothing():
    silent, full = Machine("a"), Machine("b", "PC", 19045, 4, 10_000_000, 64, 5 * SECOND, 99 * SECOND)
    assert not differences(silent, full)
    assert not differences(full, Machine("c", "pc", boot_ns=5 * SECOND + BOOT_TOLERANCE_NS))
    assert differences(full, Machine("c", boot_ns=5 * SECOND + BOOT_TOLERANCE_NS + 1))
    assert differences(full, Machine("c", computer="other"))


def test_a_boot_after_the_end_of_the_other_source_is_another_boot():
    early = Machine("a", boot_ns=100 * SECOND, end_ns=110 * SECOND)
    assert differences(early, Machine("b", boot_ns=130 * SECOND))
    assert not differences(early, Machine("b", boot_ns=108 * SECOND))


def test_machines_are_compared_all_with_all():
    """The one in the middle is silent about what tells the outer ones apart."""
    with pytest.raises(UsageError, match="a and c"):
        check_one_machine([Machine("a", build=1), Machine("b"), Machine("c", build=2)])


@pytest.mark.skipif(not FAULTS.exists(), reason="the fault inputs are not here")
def test_the_two_machines_of_the_fault_are_refused(tmp_path):
    with pytest.raises(UsageError, match="two machines"):
        rt.ingest([FAULTS / "machine-a.etl", FAULTS / "machine-b.etl"], tmp_path / "x.regtrace")


# --- copies, overlaps, joined files -----------------------------------------------------------------------


def test_one_file_twice_and_a_copy_are_read_once(tmp_path):
    manifest = ingest(tmp_path, trace(*numbered(0, 4)), trace(*numbered(0, 4)))
    assert written(tmp_path) == ["v0", "v1", "v2", "v3"]
    assert [source["name"] for source in manifest.sources] == ["0.etl"]
    assert manifest.settings["copies"] == {"0.etl": ["1.etl"]}
    assert counted(tmp_path, "copied_source") == 1
    assert any("read once" in note for note in manifest.settings["notes"])
    again = rt.ingest([tmp_path / "0.etl"] * 2, tmp_path / "twice.regtrace")
    assert again.totals["events"] == manifest.totals["events"]


def test_parts_of_one_recording_that_overlap_are_counted_once(tmp_path):
    manifest = ingest(tmp_path, trace(*numbered(0, 5)), trace(*numbered(3, 8)))
    assert written(tmp_path) == [f"v{number}" for number in range(8)]
    assert counted(tmp_path, "repeated_buffers") == 2
    assert any("overlap" in note for note in manifest.settings["notes"])


@pytest.mark.parametrize("whole_first", [True, False])
def test_a_cut_copy_adds_nothing(tmp_path, whole_first):
    whole = trace(*numbered(0, 5))
    cut = whole[: len(whole) - 1024 + 300]  # the last buffer's records are whole, what follows them is gone
    ingest(tmp_path, *((whole, cut) if whole_first else (cut, whole)))
    assert written(tmp_path) == [f"v{number}" for number in range(5)]


def test_a_joined_file_is_its_traces_each_with_its_clock(tmp_path):
    later = raw.START_FILETIME + 50 * 10_000_000  # the second session began 50 s later, its counter anew
    second = trace(raw.buffer(set_value(raw.FIRST_STAMP + 7, 0x7000, "later"), sequence=9), start=later)
    manifest = ingest(tmp_path, trace(*numbered(0, 3)) + second)
    assert written(tmp_path) == ["v0", "v1", "v2", "later"]
    with rt.open(tmp_path / "c.regtrace") as capture:
        rows = capture.sql("SELECT time_ns, source_id FROM events WHERE value_name = 'later'")
    assert rows.values.tolist() == [[raw.START_NS + 50 * SECOND + 700, 1]]
    assert [source["facts"].get("offset") for source in manifest.sources] == [None, 4096]
    assert counted(tmp_path, "joined_trace") == 1


def test_a_file_joined_with_itself_is_counted_once(tmp_path):
    ingest(tmp_path, trace(*numbered(0, 3)) * 2)
    assert written(tmp_path) == ["v0", "v1", "v2"]


def test_a_file_joined_from_two_machines_is_refused(tmp_path):
    with pytest.raises(UsageError, match="the trace at offset 3072"):
        ingest(tmp_path, trace(*numbered(0, 2)) + trace(*numbered(2, 4), cpus=64))


# --- sessions that ran at the same time -------------------------------------------------------------------


def test_sessions_that_overlap_are_ordered_by_the_counter_they_share(tmp_path):
    """The second header says 50 us less of the same counter; by that its write would come before the key's opening."""
    at = raw.FIRST_STAMP
    opening = open_key(at + 1000, 0x7000, "\\REGISTRY\\MACHINE\\SOFTWARE\\A")
    first = raw.buffer(opening, set_value(at + 9000, 0x7000, "last"))
    late = {"stamp": at + 900, "start": raw.START_FILETIME + 900 - 500}
    second = raw.buffer(set_value(at + 1100, 0x7000, "between"))
    ingest(tmp_path, trace(first), trace(second, **late))
    assert written(tmp_path) == ["between", "last"]
    with rt.open(tmp_path / "c.regtrace") as capture:
        rows = capture.sql("SELECT time_ns FROM events WHERE value_name = 'between'")
    assert rows["time_ns"].tolist() == [raw.START_NS + 110_000]


def test_a_session_after_the_other_keeps_what_its_own_header_says(tmp_path):
    at = raw.FIRST_STAMP
    late = {"stamp": at + 20_000, "start": raw.START_FILETIME + 20_000 - 500}
    second = raw.buffer(set_value(at + 20_100, 0x7000, "after"))
    ingest(tmp_path, trace(*numbered(0, 3)), trace(second, **late))
    with rt.open(tmp_path / "c.regtrace") as capture:
        rows = capture.sql("SELECT time_ns FROM events WHERE value_name = 'after'")
    assert rows["time_ns"].tolist() == [raw.START_NS + (20_100 - 500) * 100]
