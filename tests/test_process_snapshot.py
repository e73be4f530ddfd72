"""The snapshot of running processes: what psutil tells, as records that lives of processes are made of."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tracer.rows.processes import ProcessRecord, ProcessTable
from tracer.windows import process_snapshot
from tracer.windows.process_snapshot import SNAPSHOT, snapshot_processes


@pytest.fixture
def child():
    code = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, "a b", ""], stdin=subprocess.PIPE) as process:
        yield process
        process.stdin.close()
        process.wait(60)


def found(pid: int) -> ProcessRecord:
    return next(record for record in snapshot_processes() if record.pid == pid)


def test_a_running_process_is_told_with_parent_image_command_line_and_start(child):
    record = found(child.pid)
    assert (record.kind, record.provider) == ("rundown", SNAPSHOT)
    if sys.platform != "win32":  # under Wine psutil is told no images, and launchers stand between
        assert record.parent_pid == os.getpid()
        assert Path(record.image).samefile(sys.executable)
    assert record.command_line.endswith('"a b" ""')
    assert 0 <= record.time_ns - record.start_ns < 600 * 10**9
    assert abs(time.time_ns() - record.time_ns) < 60 * 10**9
    assert record.exit_code is None
    assert record.end_ns is None


def test_pids_are_each_there_once_and_in_order():
    pids = [record.pid for record in snapshot_processes()]
    assert pids == sorted(set(pids))
    assert os.getpid() in pids


def test_what_is_refused_is_none_and_what_is_not_stays(monkeypatch, child):
    def refuses(self):
        raise psutil.AccessDenied(self.pid)

    for name in ("exe", "cmdline", "ppid"):
        monkeypatch.setattr(psutil.Process, name, refuses)
    record = found(child.pid)
    assert (record.command_line, record.parent_pid) == (None, None)
    assert record.start_ns is not None
    if sys.platform != "win32":
        assert record.image == psutil.Process(child.pid).name()
    monkeypatch.setattr(psutil.Process, "name", refuses)
    assert found(child.pid).image is None


def test_a_process_that_ended_while_it_was_looked_at_is_left_out(monkeypatch, child):
    def gone(self):
        raise psutil.NoSuchProcess(self.pid)

    for name in ("exe", "cmdline", "ppid", "name", "create_time"):
        monkeypatch.setattr(psutil.Process, name, gone)
    monkeypatch.setattr(psutil, "pid_exists", lambda pid: pid != child.pid)
    assert child.pid not in [record.pid for record in snapshot_processes()]


def test_the_kernels_own_processes_get_no_invented_start(monkeypatch):
    monkeypatch.setattr(process_snapshot, "_IS_WINDOWS", True)
    monkeypatch.setattr(process_snapshot, "_user_sid", lambda pid: None)
    monkeypatch.setattr(process_snapshot, "_session_id", lambda pid: None)
    monkeypatch.setattr(process_snapshot, "_KERNEL_PIDS", (os.getpid(),))
    assert found(os.getpid()).start_ns is None


def test_a_snapshot_names_the_lives_of_a_capture():
    records = snapshot_processes()
    table = ProcessTable()
    ids = table.assign(np.array([os.getpid()], np.int64), [(0, record) for record in records])
    life = table.arrow().to_pylist()[int(ids[0])]
    assert life["pid"] == os.getpid()
    assert life["source"] == "rundown"
    assert life["command_line"] is not None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has SIDs")
def test_other_systems_have_no_sids_and_none_is_made_up():
    assert {record.user for record in snapshot_processes()} == {None}
    assert {record.session_id for record in snapshot_processes()} == {None}


@pytest.mark.skipif(sys.platform != "win32", reason="asks Windows")
def test_users_are_sids(child):
    record = found(child.pid)
    assert re.fullmatch(r"S-1(-\d+)+", record.user)
    assert record.session_id is None or record.session_id >= 0
