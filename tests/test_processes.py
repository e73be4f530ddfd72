"""Process lives: the vectorised table against a plain twin, and the rules one by one."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracer.decode.layouts import LAYOUTS
from tracer.decode.payload import decode_payload
from tracer.etl.providers import CLASSIC_PROCESS, KERNEL_PROCESS
from tracer.rows.processes import ProcessRecord, ProcessTable, read_process
from tracer.schema import PROCESSES

SECOND = 1_000_000_000


def record(kind: str, pid: int, *, at: int = 0, provider: str = CLASSIC_PROCESS, **facts) -> ProcessRecord:
    times = {"start": {"start_ns": at}, "stop": {"end_ns": at}}.get(kind, {})
    return ProcessRecord(kind, provider, at, pid, **{**times, **facts})


def assign(table: ProcessTable, pids: list[int], *records: tuple[int, ProcessRecord]) -> list[int]:
    return table.assign(np.array(pids, np.int64), list(records)).tolist()


def rows(table: ProcessTable) -> list[dict]:
    return table.arrow().to_pylist()


class Twin:
    """The same, a row at a time, for records of one provider that state nothing but a parent."""

    def __init__(self):
        self.lives = []  # [pid, source, parent_pid, ended, stopped]
        self.current = {}

    def begin(self, pid, source):
        self.lives.append([pid, source, None, False, False])
        self.current[pid] = len(self.lives) - 1

    def row(self, pid):
        if pid < 0:
            return -1
        if pid not in self.current:
            self.begin(pid, "none")
        return self.current[pid]

    def record(self, kind, pid, parent):
        life = self.lives[self.current[pid]] if pid in self.current else None
        other = life is not None and life[2] is not None and parent is not None and life[2] != parent
        if life is None or kind == "start" or other or (kind == "stop" and life[4]):
            self.begin(pid, {"start": "start", "rundown": "rundown"}.get(kind, "later"))
            life = self.lives[-1]
        elif life[1] == "none":
            life[1] = "later"
        life[2] = parent if life[2] is None else life[2]
        life[3] = life[3] or kind != "rundown"
        life[3] = life[3] and kind != "start"
        life[4] = life[4] or kind == "stop"


pids = st.sampled_from([-1, 0, 4, 8, 12, 2**22 - 1, 2**22, 2**32 - 2])
steps = st.lists(
    pids.map(lambda pid: ("row", pid, None))
    | st.tuples(
        st.sampled_from(["start", "stop", "rundown"]),
        pids.filter(lambda pid: pid >= 0),
        st.sampled_from([None, 4, 8]),
    ),
    max_size=60,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=400)
@given(steps, st.lists(st.integers(0, 60), max_size=5))
def test_the_table_equals_the_plain_twin_however_the_batches_are_cut(story, cuts):
    twin, table, expected, found = Twin(), ProcessTable(), [], []
    edges = sorted({0, len(story), *(cut for cut in cuts if cut < len(story))})
    for kind, pid, parent in story:
        if kind == "row":
            expected.append(twin.row(pid))
        else:
            twin.record(kind, pid, parent)
    for first, last in pairwise(edges):
        batch, records = [], []
        for kind, pid, parent in story[first:last]:
            if kind == "row":
                batch.append(pid)
            else:
                records.append((len(batch), ProcessRecord(kind, CLASSIC_PROCESS, 0, pid, parent_pid=parent)))
        found += assign(table, batch, *records)
    assert found == expected
    told = rows(table)
    assert [(row["process_id"], row["pid"], row["source"], row["parent_pid"]) for row in told] == [
        (number, pid, source, parent) for number, (pid, source, parent, _, _) in enumerate(twin.lives)
    ]


def test_a_pid_nobody_recorded_has_a_life_of_which_only_the_pid_is_known():
    table = ProcessTable()
    assert assign(table, [0, 4, 4, -1, 0]) == [0, 1, 1, -1, 0]
    for row, pid in zip(rows(table), (0, 4), strict=True):
        assert row.pop("pid") == pid
        assert row.pop("source") == "none"
        assert set(row) | {"pid", "source"} == set(PROCESSES.names)
        assert [value for name, value in row.items() if name != "process_id" and value is not None] == []


def test_a_row_without_a_thread_names_no_process():
    table = ProcessTable()
    assert assign(table, [0xFFFFFFFF, 4, -1, 0xFFFFFFFF]) == [-1, 0, -1, -1]
    assert [row["pid"] for row in rows(table)] == [4]


def test_a_reused_pid_starts_a_new_life_and_rows_after_the_stop_belong_to_the_ended_one():
    table = ProcessTable()
    found = assign(
        table,
        [8] * 6,
        (1, record("start", 8, at=1, image="a.exe")),
        (3, record("stop", 8, at=2, exit_code=3)),
        (5, record("start", 8, at=3, image="b.exe")),
    )
    assert found == [0, 1, 1, 1, 1, 2]
    unknown, first, second = rows(table)
    assert (unknown["source"], unknown["image"]) == ("none", None)
    assert (first["image"], first["start_ns"], first["end_ns"], first["exit_code"]) == ("a.exe", 1, 2, 3)
    assert (second["image"], second["end_ns"], second["exit_code"]) == ("b.exe", None, None)


def test_a_record_at_the_end_names_the_rows_before_it():
    table = ProcessTable()
    assert assign(table, [8, 8]) == [0, 0]
    assert assign(table, [8], (1, record("rundown", 8, image="a.exe", user="S-1-5-18"))) == [0]
    (row,) = rows(table)
    assert (row["source"], row["image"], row["user"], row["start_ns"]) == ("later", "a.exe", "S-1-5-18", None)


def test_a_rundown_before_the_first_row_says_rundown():
    table = ProcessTable()
    assert assign(table, [8], (0, record("rundown", 8, image="a.exe"))) == [0]
    assert rows(table)[0]["source"] == "rundown"


def test_both_providers_telling_of_one_process_make_one_life():
    table = ProcessTable()
    path = "\\Device\\HarddiskVolume2\\Windows\\SearchProtocolHost.exe"
    kernel = {"provider": KERNEL_PROCESS, "parent_pid": 4}
    found = assign(
        table,
        [8, 8, 8],
        (0, record("start", 8, at=10 * SECOND, image=path, **kernel)),
        (
            0,
            record(
                "start",
                8,
                at=10 * SECOND + 5,
                parent_pid=4,
                image="SearchProtocolHost.exe",
                command_line="x y",
            ),
        ),
        (2, record("stop", 8, at=12 * SECOND, image="SearchProtocol", provider=KERNEL_PROCESS, exit_code=0)),
        (2, record("stop", 8, at=12 * SECOND + 5, parent_pid=4, image="SearchProtocolHost.exe")),
    )
    assert found == [0, 0, 0]
    (row,) = rows(table)
    assert (row["image"], row["image_path"], row["command_line"]) == ("SearchProtocolHost.exe", path, "x y")
    assert (row["start_ns"], row["end_ns"], row["exit_code"]) == (10 * SECOND, 12 * SECOND, 0)


def test_a_cut_name_of_a_stop_record_gives_way_to_the_whole_one():
    table = ProcessTable()
    assign(
        table,
        [8],
        (1, record("stop", 8, image="SearchProtocol", provider=KERNEL_PROCESS)),
        (1, record("stop", 8, image="SearchProtocolHost.exe")),
    )
    assert [row["image"] for row in rows(table)] == ["SearchProtocolHost.exe"]


@pytest.mark.parametrize(
    "facts",
    [{"parent_pid": 40}, {"image": "other.exe"}, {"start_ns": 90 * SECOND}],
    ids=["parent", "image", "start"],
)
def test_a_record_that_contradicts_the_life_begins_another(facts):
    table = ProcessTable()
    known = record("start", 8, at=SECOND, parent_pid=4, image="a.exe")
    later = replace(record("rundown", 8, at=99 * SECOND, parent_pid=4, image="A.EXE"), **facts)
    assert assign(table, [8, 8], (0, known), (1, later)) == [0, 1]
    agreeing = record("rundown", 8, at=99 * SECOND, parent_pid=4, image="C:\\x\\A.EXE", start_ns=SECOND)
    assert assign(table := ProcessTable(), [8, 8], (0, known), (1, agreeing)) == [0, 0]
    assert rows(table)[0]["image_path"] == "C:\\x\\A.EXE"


def test_the_parent_is_the_life_that_ran_when_the_child_started():
    table = ProcessTable()
    assign(
        table,
        [],
        (0, record("start", 4, at=1)),
        (0, record("stop", 4, at=2)),
        (0, record("start", 8, at=3, parent_pid=4)),  # 4 had ended: nobody known
        (0, record("start", 4, at=5)),
        (0, record("start", 12, at=6, parent_pid=4)),
        (0, record("start", 16, at=7, parent_pid=16)),  # its own parent: nonsense
    )
    assert [row["parent_id"] for row in rows(table)] == [None, None, None, 2, None]


def test_the_parent_of_a_process_met_running_is_found_where_both_state_their_start():
    table = ProcessTable()
    stated = {"provider": KERNEL_PROCESS}
    assign(
        table,
        [],
        (0, record("rundown", 8, at=99, parent_pid=4, start_ns=20, **stated)),
        (0, record("rundown", 4, at=99, start_ns=10, **stated)),
        (0, record("rundown", 12, at=99, parent_pid=16, start_ns=20, **stated)),
        (0, record("rundown", 16, at=99, start_ns=30, **stated)),  # younger than its "child": another process
        (0, record("rundown", 20, at=99, parent_pid=4)),  # no start stated: the pid alone proves nothing
    )
    assert [row["parent_id"] for row in rows(table)] == [1, None, None, None, None]
    assert [row["parent_pid"] for row in rows(table)] == [4, None, 16, None, 4]


def test_a_process_that_started_after_the_end_of_a_life_is_another():
    table = ProcessTable()
    ended = record("stop", 8, at=5)
    running = record("rundown", 8, at=99, start_ns=6, provider=KERNEL_PROCESS)
    assert assign(table, [8, 8], (1, ended), (1, running)) == [0, 1]


def test_a_defunct_process_ended_when_it_says():
    table = ProcessTable()
    assert assign(table, [8], (1, record("defunct", 8, at=9, end_ns=3, exit_code=0, image="a.exe"))) == [0]
    (row,) = rows(table)
    assert (row["end_ns"], row["source"], row["image"]) == (3, "later", "a.exe")


def test_records_of_both_providers_are_read_from_their_payloads():
    def wide(text):
        return text.encode("utf-16-le") + b"\0\0"

    def number(value, size=4):
        return value.to_bytes(size, "little")

    filetime = 116_444_736_000_000_000 + 10_000_000  # one second past 1970
    raw = number(8) + number(filetime, 8) + number(4) + number(0xFFFFFFFF) + wide("\\Device\\x\\a.exe")
    layout = LAYOUTS[KERNEL_PROCESS, 1, 0]
    found = read_process(layout, decode_payload(layout, raw, 8), 2 * SECOND)
    assert found == ProcessRecord(
        "start", KERNEL_PROCESS, 2 * SECOND, 8, 4, image="\\Device\\x\\a.exe", start_ns=SECOND
    )
    sid = b"\1\1\0\0\0\0\0\5" + number(18)
    raw = bytes(8) + number(8) + number(4) + number(1) + number(7) + bytes(12) + bytes(16) + sid + b"a.exe\0"
    raw += wide("") + wide("") + wide("")
    layout = LAYOUTS[CLASSIC_PROCESS, 2, 4]
    found = read_process(layout, decode_payload(layout, raw, 8), 2 * SECOND)
    assert (found.kind, found.user, found.image, found.command_line) == ("stop", "S-1-5-18", "a.exe", None)
    assert (found.exit_code, found.end_ns, found.start_ns, found.session_id) == (7, 2 * SECOND, None, 1)
    layout = LAYOUTS[CLASSIC_PROCESS, 3, 4]
    assert read_process(layout, decode_payload(layout, raw, 8), 0).exit_code is None  # 259, "still running"
    assert read_process(layout, decode_payload(layout, raw[:20], 8), 0) is None
    layout = LAYOUTS[CLASSIC_PROCESS, 11, 2]
    assert read_process(layout, decode_payload(layout, number(8), 8), 0) is None


@settings(deadline=None)
@given(
    st.sampled_from([key for key in LAYOUTS if "rocess" in LAYOUTS[key].name or key[0] == CLASSIC_PROCESS]),
    st.binary(max_size=200),
)
def test_no_payload_breaks_the_table(key, raw):
    layout = LAYOUTS[key]
    found = read_process(layout, decode_payload(layout, raw, 8), 5)
    table = ProcessTable()
    assert assign(table, [4], *([(0, found)] if found else [])) in ([0], [1])
    assert table.arrow().num_rows == len(table)
