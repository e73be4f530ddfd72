"""What a recording is made around: what is checked is what is run, before any session starts."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from capture_kit import Machine, use_machine
from etw_double import etw_service
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracer.errors import UsageError
from tracer.recording import child_process
from tracer.recording.capture import CaptureOptions, record
from tracer.recording.child_process import Program, launch_of

__all__ = ["etw_service"]

COMSPEC = {"COMSPEC": r"C:\Windows\System32\cmd.exe"}


def file(folder: Path, name: str, data: bytes = b"MZ\0\0") -> str:
    path = folder / name
    path.write_bytes(data)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("name", ["setup.exe", "SETUP.EXE", "more.com"])
def test_a_program_is_started_as_the_file_that_was_looked_up(tmp_path, name):
    path = file(tmp_path, name)
    launch = launch_of(("setup", "/S"), path, COMSPEC)
    assert (launch.executable, launch.arguments) == (path, ("setup", "/S"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("setup.msi", "msiexec /i "),
        ("run.ps1", "powershell -File "),
        ("run.vbs", "wscript "),
        ("readme.txt", "the program that opens it"),
        ("README", "the program that opens it"),
    ],
)
def test_a_file_that_another_program_opens_is_refused_with_that_program(tmp_path, name, words):
    path = file(tmp_path, name)
    with pytest.raises(UsageError) as caught:
        launch_of((name,), path, COMSPEC)
    assert words in str(caught.value)
    assert path in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"PK\3\4"])
def test_an_exe_that_is_none_is_refused(tmp_path, data):
    with pytest.raises(UsageError, match="no program that Windows can run"):
        launch_of(("x.exe",), file(tmp_path, "x.exe", data), COMSPEC)


def test_an_alias_that_cannot_be_read_may_be_run(tmp_path):
    path = str(tmp_path / "python.exe")  # a reparse point of the store: opening it fails
    assert launch_of(("python",), path, COMSPEC).executable == path


@pytest.mark.parametrize("ending", [".cmd", ".BAT"])
def test_a_batch_file_is_run_by_cmd_with_every_word_in_quotes(ending):
    path = rf"C:\Program Files\nodejs\npm{ending}"
    launch = launch_of(("npm", "install", "a b", "x&calc", "C:\\dir\\", ""), path, COMSPEC)
    assert launch.executable == COMSPEC["COMSPEC"]
    assert launch.arguments == (
        rf'"C:\Windows\System32\cmd.exe" /d /v:off /s /c ""{path}" "install" "a b" "x&calc" "C:\dir\\" """'
    )


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-16"), max_size=8), max_size=4))
@example(['"&calc"'])
@example(["%PATH%"])
def test_no_word_leaves_its_quotes(words):
    # Between two double quotes cmd.exe changes nothing but per cent signs; with /s the outermost pair is dropped.
    try:
        line = launch_of(("x.cmd", *words), r"C:\x.cmd", COMSPEC).arguments
    except UsageError:
        assert any(sign in word for word in words for sign in '%"\r\n\0')
        return
    rest = line.partition(' /c "')[2][:-1]
    assert "%" not in rest
    parts = rest.split('"')
    assert set(parts[0::2]) <= {"", " "}  # outside of quotes
    inside = [part.rstrip("\\") for part in parts[1::2]]
    assert inside == [part.rstrip("\\") for part in [r"C:\x.cmd", *words]]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    system = Machine()
    use_machine(monkeypatch, tmp_path, system)
    monkeypatch.chdir(tmp_path)
    return system


def refused(machine: Machine, target: Path, *command: str) -> str:
    with pytest.raises(UsageError) as caught:
        record(CaptureOptions(command=command), target, stop=threading.Event(), service=machine.service())
    return str(caught.value)


def test_a_program_that_cannot_be_started_leaves_nothing_that_blocks_the_next_try(
    etw_service, machine, tmp_path, monkeypatch
):
    def refuse(*_, **__):
        raise OSError(193, "not a valid application")

    target = tmp_path / "live.regtrace"
    with monkeypatch.context() as patch:
        patch.setattr(child_process.subprocess, "Popen", refuse)
        for _ in range(2):
            assert "cannot be run" in refused(machine, target, sys.executable)
            assert etw_service.sessions == {}
            assert [path.name for path in tmp_path.iterdir()] == ["state"]
            assert list((tmp_path / "state").glob("*/*")) == []
    manifest = record(
        CaptureOptions(command=(sys.executable, "-c", "")), target, stop=threading.Event(),
        service=machine.service(),
    )  # fmt: skip
    assert manifest.settings["recording"]["program"]["exit_code"] == 0


@pytest.mark.skipif(os.name == "nt", reason="a Windows path decides there")
def test_what_windows_could_not_run_is_refused_before_a_session_starts(
    etw_service, machine, tmp_path, monkeypatch
):
    monkeypatch.setattr(child_process, "is_windows", lambda: True)
    file(tmp_path, "setup.msi")
    assert "msiexec" in refused(machine, tmp_path / "live.regtrace", str(tmp_path / "setup.msi"))
    file(tmp_path, "npm.cmd")
    monkeypatch.setenv("PATHEXT", ".exe;.cmd")
    for name in ("npm.cmd", "npm"):
        assert "batch file" in refused(machine, tmp_path / "live.regtrace", str(tmp_path / name), "100%")
    assert not [call for call in etw_service.calls if call[0] == "StartTraceW"]


@pytest.mark.skipif(os.name == "nt", reason="there is no relative path to another drive")
def test_the_file_that_was_found_is_run_wherever_the_folder_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = Program((os.path.relpath(sys.executable), "-c", "import sys; sys.exit(3)"))
    started.check()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    record_of = started.start()
    while not started.has_ended():
        threading.Event().wait(0.01)
    assert started.exit_code == 3
    assert record_of.command_line == subprocess.list2cmdline(started.command)


@pytest.mark.skipif(os.name != "nt", reason="runs cmd.exe")
def test_cmd_hands_a_batch_file_its_words_as_they_were(tmp_path):
    batch = tmp_path / "say it.cmd"
    out = tmp_path / "out.txt"
    batch.write_text(f'@echo off\r\n>"{out}" echo %1 %2 %~3\r\nexit /b 7\r\n')
    started = Program((str(tmp_path / "say it"), "a b", "x&y", "z"))
    started.check()
    started.start()
    while not started.has_ended():
        threading.Event().wait(0.01)
    assert started.exit_code == 7
    assert out.read_text().split() == ['"a', 'b"', '"x&y"', "z"]
