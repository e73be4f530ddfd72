"""Trace files beside a capture: what a recording may replace, and when."""

import threading
from pathlib import Path

import pytest
from capture_kit import Machine, make_trace, once_recording, use_machine
from etw_double import EtwService, etw_service
from typer.testing import CliRunner

from cli.app import app
from tracer.diagnostics import Diagnostics
from tracer.errors import NotElevated, TargetError
from tracer.etl.buffers import open_traces
from tracer.recording.capture import CaptureOptions, record
from tracer.recording.trace_files import set_aside
from tracer.store.manifest import Manifest

__all__ = ["etw_service"]

BEFORE = ("live.etl", "live.processes.etl")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    machine = Machine()
    use_machine(monkeypatch, tmp_path, machine)
    monkeypatch.chdir(tmp_path)
    return machine


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "sim.etl", events=500)


@pytest.fixture
def before(tmp_path: Path) -> dict[str, bytes]:
    """Traces of an earlier recording."""
    for name in BEFORE:
        make_trace(tmp_path / "made.etl", events=20)
        (tmp_path / "made.etl").rename(tmp_path / name)
    (tmp_path / "made.truth.parquet").unlink()
    return contents(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def make_capture(service: EtwService, machine: Machine, trace: Path, target: Path, **options) -> Manifest:
    stop = threading.Event()
    return record(
        CaptureOptions(**options), target, stop=stop,
        progress=once_recording(lambda: service.play(trace), stop), service=machine.service(),
    )  # fmt: skip


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("kind", ["text", "foreign trace", "link"])
def test_what_regtrace_did_not_make_is_not_replaced_even_by_force(
    etw_service, machine, trace, tmp_path, kind
):
    path = tmp_path / "live.etl"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        path.symlink_to(trace)
    else:
        name = "Circular Kernel Context Logger"
        path.write_bytes(b"precious" if kind == "text" else renamed(trace.read_bytes(), name))
    if kind == "foreign trace":
        [opened] = open_traces(path, Diagnostics())
        opened.file.close()
        assert opened.header.logger_name == name[: len(opened.header.logger_name)]
    was = path.read_bytes()
    with pytest.raises(TargetError, match="was not made by regtrace"):
        make_capture(etw_service, machine, trace, tmp_path / "live.regtrace", force=True)
    assert path.read_bytes() == was
    assert path.is_symlink() == (kind == "link")
    assert etw_service.sessions == {}


def renamed(trace: bytes, name: str) -> bytes:
    """The trace with another session's name in its header, of the same length."""
    ours = "regtrace simulated trace"
    other = name[: len(ours)].ljust(len(ours))
    return trace.replace(ours.encode("utf-16-le"), other.encode("utf-16-le"), 1)


def test_a_trace_of_ours_is_replaced_when_the_new_one_is_whole(etw_service, machine, trace, tmp_path, before):
    seen: list[set[str]] = []
    stop = threading.Event()

    def act() -> None:
        etw_service.play(trace)
        seen.append({path.name for path in tmp_path.iterdir() if path.is_file()})

    record(
        CaptureOptions(force=True, keep_etl=True), tmp_path / "live.regtrace", stop=stop,
        progress=once_recording(act, stop), service=machine.service(),
    )  # fmt: skip
    assert {f"{name}.replaced" for name in BEFORE} <= seen[0]
    after = contents(tmp_path)
    assert {*after} == {*BEFORE, "live.seed.parquet"}
    assert all(after[name] != before[name] for name in BEFORE)


def test_a_recording_that_does_not_start_replaces_nothing(etw_service, machine, trace, tmp_path, before):
    etw_service.elevated = False
    with pytest.raises(NotElevated):
        make_capture(etw_service, machine, trace, tmp_path / "live.regtrace", force=True)
    assert contents(tmp_path) == before


def test_a_recording_that_is_cancelled_replaces_nothing(etw_service, machine, trace, tmp_path, before):
    assert run("start", "-o", "live.regtrace", "--force").exit_code == 0
    etw_service.play(trace)
    assert run("cancel").exit_code == 0
    assert contents(tmp_path) == before


def test_a_recording_that_another_command_ends_replaces_its_traces(
    etw_service, machine, trace, tmp_path, before
):
    assert run("start", "-o", "live.regtrace", "--force").exit_code == 0
    etw_service.play(trace)
    result = run("stop", "--keep-etl")
    assert result.exit_code == 0, result.stderr
    assert {*contents(tmp_path)} == {*BEFORE, "live.seed.parquet"}
    assert contents(tmp_path)["live.etl"] != before["live.etl"]


def test_a_trace_that_becomes_no_capture_leaves_both_and_names_them(
    etw_service, machine, trace, tmp_path, before, monkeypatch
):
    def refuse(*_, **__):
        raise TargetError("the disk refuses")

    monkeypatch.setattr("tracer.recording.capture.ingest", refuse)
    with pytest.raises(TargetError, match=r"live\.etl.*makes a capture.*live\.etl\.replaced"):
        make_capture(etw_service, machine, trace, tmp_path / "live.regtrace", force=True)
    after = contents(tmp_path)
    assert after["live.etl.replaced"] == before["live.etl"]
    assert after["live.etl"] != before["live.etl"]
    with pytest.raises(TargetError, match=r"live\.etl\.replaced exists"):
        make_capture(etw_service, machine, trace, tmp_path / "live.regtrace", force=True)
    assert contents(tmp_path) == after


def test_cancelling_a_ring_in_memory_leaves_what_a_snapshot_kept(etw_service, machine, trace, tmp_path):
    assert run("start", "--ring", "1MB", "-o", "ring.regtrace").exit_code == 0
    etw_service.play(trace)
    assert run("snapshot", "-o", "ring.regtrace", "--keep-etl").exit_code == 0
    kept = contents(tmp_path)
    assert "ring.etl" in kept
    assert run("cancel").exit_code == 0
    assert contents(tmp_path) == kept


def test_files_keep_their_names_where_one_of_them_cannot_be_set_aside(tmp_path, before, monkeypatch):
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name == "live.processes.etl":
            raise PermissionError(13, "used by another process")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(TargetError, match="cannot be replaced: used by another process"):
        set_aside([tmp_path / name for name in BEFORE], force=True)
    assert contents(tmp_path) == before
