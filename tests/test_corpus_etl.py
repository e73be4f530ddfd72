"""Real traces: every record as dissect.etl sees it, and the processes that are known to be in them.

The work-arounds for dissect.etl's faults are in foreign_readers. One more is here: its times go through
floating point, so its raw time stamps are converted by the plain integer formula instead.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dissect.etl.etl import ETL
from foreign_readers import ForeignRecord, dissect_records

from tracer.decode.layouts import find_layout
from tracer.decode.payload import decode_payload
from tracer.diagnostics import Diagnostics
from tracer.etl.headers import HEADERS
from tracer.etl.providers import CLASSIC_PROCESS, KERNEL_PROCESS
from tracer.etl.reader import EtlReader
from tracer.inspect.dump import dump
from tracer.inspect.info import describe_etl
from tracer.rows.processes import ProcessTable, read_process

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "corpus" / "etl"
FILES = sorted(path.name for path in FOLDER.glob("*.etl")) or ["none"]
FILETIME_OF_1970 = 116_444_736_000_000_000


def clock_of(path: Path) -> Callable[[int], int]:
    """Return the plain formula from raw time stamps to UTC nanoseconds, for the performance counter."""
    with path.open("rb") as file:
        head = ETL(file).logfile_header
        assert head.header.ReservedFlags == 1
        first, frequency, start = head.system_header.time_delta, head.perf_freq, head.start_time
    return lambda ticks: (start - FILETIME_OF_1970) * 100 + (ticks - first) * 1_000_000_000 // frequency


def is_compressed(path: Path) -> bool:
    """Whether buffers are compressed, by the log file mode."""
    with path.open("rb") as file:
        return bool(ETL(file).logfile_header.header.LogFileMode & 0x04000000)


def our_records(path: Path, found: Diagnostics) -> tuple[list[ForeignRecord], list[int]]:
    """Return our records in the foreign form, in time order, `ticks` left out; and their times."""
    rows, times = [], []
    with EtlReader([path], [found]) as reader:
        for records in reader:
            raw = records.raw.tobytes()
            names = reader.providers
            for row in records.order.tolist():
                known = {
                    name: int(value) if (value := getattr(records, name)[row]) >= 0 else None
                    for name in ("id", "pid", "tid")
                }
                rows.append(
                    ForeignRecord(
                        header_type=int(records.kind[row]),
                        provider=names[records.provider[row]],
                        version=int(records.version[row]),
                        opcode=int(records.opcode[row]),
                        ticks=None,
                        payload=raw[records.payload[row] : records.end[row]],
                        cpu=int(records.cpu[row]),
                        offset=int(records.offset[row]),
                        **known,
                    )
                )
                times.append(int(records.time_ns[row]))
    return rows, times


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_record_of_a_real_trace_is_as_dissect_etl_reads_it(corpus, name):
    path = corpus / "etl" / name
    found = Diagnostics()
    ours, times = our_records(path, found)
    theirs = list(dissect_records(path))
    for facts in (("header_type",), ("provider",), ("provider", "id", "opcode", "version")):
        mine, other = (
            Counter(tuple(getattr(row, f) for f in facts) for row in rows) for rows in (ours, theirs)
        )
        assert mine == other
    to_ns = clock_of(path)
    expected = sorted((to_ns(row.ticks), place) for place, row in enumerate(theirs))
    assert times == [time for time, _ in expected]
    assert len({row.offset for row in ours}) == len(ours)
    # In a compressed file offsets count as if it were not, or those of neighbouring buffers would overlap.
    plain = {} if is_compressed(path) else {row.offset: row.offset for row in ours}
    assert [row._replace(offset=plain.get(row.offset, 0)) for row in ours] == [
        theirs[place]._replace(ticks=None, offset=plain.get(theirs[place].offset, 0)) for _, place in expected
    ]
    # Nothing is undecodable; one file's own header says that events were lost.
    assert all(row.header_type in HEADERS for row in ours)
    assert {counter for counter, _, _ in found} <= {"header_events_lost"}


@pytest.mark.parametrize("name", FILES)
def test_info_and_dump_of_a_real_trace_agree_with_its_records(corpus, name):
    path = corpus / "etl" / name
    facts = describe_etl(path)
    kinds, providers, times = Counter(), Counter(), []
    for table in dump([path]):
        kinds.update(table.column("header_type").to_pylist())
        providers.update(table.column("provider").to_pylist())
        times += table.column("time_ns").to_pylist()
    assert facts["header_types"] == kinds
    assert {row["provider"]: row["records"] for row in facts["providers"]} == providers
    assert times == sorted(times)
    assert (facts["records"], facts["first_ns"], facts["last_ns"]) == (len(times), times[0], times[-1])


def processes_of(path: Path) -> tuple[list[dict], list[str | None]]:
    """Return the table `processes` of a trace and the image of the process of every row, in time order."""
    table, whose = ProcessTable(), []
    with EtlReader([path], [Diagnostics()]) as reader:
        for records in reader:
            raw, names, told = records.raw.tobytes(), reader.providers, []
            for place, row in enumerate(records.order.tolist()):
                provider = names[records.provider[row]]
                if provider not in (KERNEL_PROCESS, CLASSIC_PROCESS):
                    continue
                event = int(records.id[row] if records.id[row] >= 0 else records.opcode[row])
                layout, exact = find_layout(provider, event, int(records.version[row]))
                if layout is None:
                    continue
                payload = raw[records.payload[row] : records.end[row]]
                read = decode_payload(layout, payload, int(records.pointer_size[row]), prefix=not exact)
                assert (exact, read.odd, read.short) == (True, False, False), (provider, event)
                record = read_process(layout, read, int(records.time_ns[row]))
                if record is not None:
                    told.append((place, record))
            whose.append(table.assign(records.pid[records.order], told))
    lives = table.arrow().to_pylist()
    return lives, [lives[row]["image"] if row >= 0 else None for row in np.concatenate(whose)]


def by_pid(lives: list[dict]) -> dict[int, dict]:
    assert len({life["pid"] for life in lives}) == len(lives)  # no pid was reused in these short traces
    return {life["pid"]: life for life in lives}


def test_windows_7_kernel_process_events_name_their_processes(corpus):
    lives, whose = processes_of(corpus / "etl" / "tx-Process.etl")
    started = [life for life in lives if life["source"] == "start"]
    assert [life["image"] for life in started].count("devenv.exe") >= 1
    for life in started:
        assert life["image_path"].startswith("\\Device\\HarddiskVolume")
        assert life["image_path"].endswith("\\" + life["image"])
        assert life["start_ns"] is not None
        assert life["parent_pid"]
    ended = [life for life in lives if life["end_ns"] is not None]
    assert len(ended) == 4
    assert all(life["start_ns"] < life["end_ns"] for life in ended)
    assert "SearchProtocolHost.exe" in {life["image"] for life in started}
    assert any(image == "devenv.exe" for image in whose)


def test_classic_process_events_of_64_bit_windows_10_name_every_row(corpus):
    lives, whose = processes_of(corpus / "etl" / "pv-diaghub-kernel.etl")
    assert {"conhost.exe", "devenv.exe"} <= set(whose)
    found = by_pid(lives)
    assert (found[0]["image"], found[4]["image"]) == ("Idle", "System")
    assert (found[4]["session_id"], found[4]["command_line"]) == (None, None)
    consoles = [life for life in lives if life["image"] == "conhost.exe" and life["source"] == "start"]
    assert consoles
    assert all("conhost.exe 0x" in life["command_line"] for life in consoles)
    assert all(life["user"].startswith("S-1-5-21-") for life in consoles)
    assert sum(life["source"] == "start" for life in lives) == 18
    assert sum(life["end_ns"] is not None and life["source"] == "start" for life in lives) <= 3
    assert all(life["image"] is not None for life in lives)
    for life in lives:
        if life["parent_id"] is not None:
            assert lives[life["parent_id"]]["pid"] == life["parent_pid"]


def test_both_providers_in_one_trace_make_one_life_of_a_process(corpus):
    lives, _ = processes_of(corpus / "etl" / "pv-net452-x86.etl")
    (test,) = [life for life in lives if life["image"] == "Test.x86.exe"]
    assert test["image_path"].endswith("\\Test.x86.exe")
    assert test["command_line"] == "Test.x86.exe"
    assert (test["source"], test["exit_code"], test["session_id"]) == ("start", 0, 1)
    assert 5.2e9 < test["end_ns"] - test["start_ns"] < 5.4e9
    assert by_pid(lives)[lives[test["parent_id"]]["pid"]]["image"] == "cmd.exe"


def test_classic_process_events_of_a_32_bit_log_have_their_sids(corpus):
    lives, _ = processes_of(corpus / "etl" / "sb-process_data_32_v3.etl")
    found = {life["image"]: life for life in lives}
    assert (found["Idle"]["pid"], found["Idle"]["user"]) == (0, "S-1-5-18")
    notepad = found["notepad.exe"]
    assert notepad["user"].startswith("S-1-5-21-")
    assert notepad["command_line"] == '"C:\\Windows\\system32\\notepad.exe" '
    assert (notepad["source"], notepad["exit_code"]) == ("start", 0)


def test_processes_that_end_at_shutdown_are_all_named(corpus):
    lives, _ = processes_of(corpus / "etl" / "ab-ShutdownPerfDiagLogger.etl")
    assert sum(life["end_ns"] is not None for life in lives) >= 60
    tray = next(life for life in lives if life["image"] == "SecurityHealthSystray.exe")
    assert (tray["exit_code"], tray["source"]) == (0x40010004, "later")
    assert tray["command_line"].endswith('SecurityHealthSystray.exe" ')
    packaged = [life for life in lives if life["image"] == "RuntimeBroker.exe"]
    assert packaged
    assert all(
        "RuntimeBroker.exe -Embedding" in life["command_line"] for life in packaged if life["command_line"]
    )
