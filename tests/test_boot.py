"""The boot trace: a table of registry writes, shown as a .reg file, written, read back, collected."""

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import regtrace as rt
from cli.app import app
from tracer.errors import CaptureError, NotElevated, UsageError
from tracer.etl.providers import KERNEL_PROCESS, KERNEL_REGISTRY
from tracer.recording import autologger
from tracer.recording.autologger import (
    BOOT_KEY,
    BOOT_SESSION,
    BootOptions,
    boot_log,
    boot_status,
    boot_writes,
    disable_boot,
    enable_boot,
    reg_file,
    removal_file,
    stop_boot,
)
from tracer.session.options import KEYWORDS, NAMING_KEYWORDS, SessionCounters, SessionStatus
from tracer.windows.machine_registry import WindowsRegistry

ROOT = Path(__file__).resolve().parents[1]
LONG_KEY = "HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\WMI\\Autologger\\regtrace-boot"
COUNTERS = SessionCounters(0, 7, 0, 0, 10, 4, 4)
windows = pytest.mark.skipif(sys.platform != "win32", reason="writes to a registry")
elsewhere = pytest.mark.skipif(sys.platform == "win32", reason="this is Windows")


class FakeRegistry:
    """Keys and values in a dictionary; writing can fail after so many values."""

    def __init__(self, fail_after: int | None = None) -> None:
        self.keys: dict[str, dict[str, object]] = {}
        self.fail_after = fail_after
        self.written: list[tuple[str, str]] = []

    def write(self, path, name, kind, data):
        if self.fail_after is not None and len(self.written) >= self.fail_after:
            raise NotElevated(f"{path} cannot be written without elevated rights")
        self.written.append((path, name))
        self.keys.setdefault(path, {})[name] = data

    def read(self, path):
        return self.keys.get(path)

    def subkeys(self, path):
        return [key[len(path) + 1 :] for key in self.keys if key.startswith(path + "\\")]

    def remove(self, path):
        found = [key for key in self.keys if key == path or key.startswith(path + "\\")]
        for key in found:
            del self.keys[key]
        return bool(found)


def invoke(*arguments: object):
    return CliRunner().invoke(app, ["boot", *map(str, arguments)], prog_name="regtrace")


def running(log_file: str | None = None, name: str = BOOT_SESSION) -> SessionStatus:
    return SessionStatus(name, log_file, 1, 256, COUNTERS)


def parsed(lines: list[str]) -> dict[str, dict[str, str]]:
    """Read a .reg file with a parser that is not ours."""
    assert lines[0] == "Windows Registry Editor Version 5.00"
    assert lines[1] == ""
    parser = configparser.RawConfigParser(delimiters=("=",), strict=True)
    parser.optionxform = str
    parser.read_string("\n".join(lines[1:]))
    return {name: dict(parser[name]) for name in parser.sections()}


def test_the_writes_name_both_providers_and_start_comes_last():
    writes = boot_writes(BootOptions())
    assert (writes[-1].key, writes[-1].name, writes[-1].data) == (BOOT_KEY, "Start", 1)
    assert {write.key for write in writes} == {
        BOOT_KEY, f"{BOOT_KEY}\\{{{KERNEL_REGISTRY}}}", f"{BOOT_KEY}\\{{{KERNEL_PROCESS}}}"
    }  # fmt: skip
    session = {write.name: (write.kind, write.data) for write in writes if write.key == BOOT_KEY}
    assert set(session) == {
        "Start", "Guid", "BufferSize", "ClockType", "MinimumBuffers", "MaximumBuffers", "FlushTimer",
        "LogFileMode", "MaxFileSize", "FileName", "FileMax",
    }  # fmt: skip
    assert session["ClockType"] == ("REG_DWORD", 1)
    assert session["LogFileMode"] == ("REG_DWORD", 1)
    assert session["Guid"][1].startswith("{")
    provider = {write.name: (write.kind, write.data) for write in writes if KERNEL_REGISTRY in write.key}
    assert provider == {
        "Enabled": ("REG_DWORD", 1),
        "EnableLevel": ("REG_DWORD", 0xFF),
        "MatchAnyKeyword": ("REG_QWORD", sum(KEYWORDS.values())),
        "EnableProperty": ("REG_DWORD", 0),
    }


def test_a_ring_is_circular_and_has_a_size():
    session = {write.name: write.data for write in boot_writes(BootOptions(ring=True, largest_mib=64))}
    assert (session["LogFileMode"], session["MaxFileSize"]) == (2, 64)


def test_chosen_operations_keep_those_that_names_need():
    writes = boot_writes(BootOptions(operations=("SetValueKey",)))
    mask = next(w.data for w in writes if w.name == "MatchAnyKeyword" and KERNEL_REGISTRY in w.key)
    assert mask == NAMING_KEYWORDS | KEYWORDS["SetValueKey"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (BootOptions(boots=0), "boots"),
        (BootOptions(boots=17), "boots"),
        (BootOptions(largest_mib=0), "size"),
        (BootOptions(log_file="boot.etl"), "absolute"),
        (BootOptions(operations=("RenameKey",)), "RenameKey"),
    ],
)
def test_what_windows_would_not_take_is_refused_in_one_sentence(options, word):
    with pytest.raises(UsageError, match=word) as caught:
        boot_writes(options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path", ["C:\\traces\\boot.etl", "%ProgramData%\\boot.etl", "\\\\server\\share\\boot.etl"]
)
def test_absolute_windows_paths_are_taken_on_any_system(path):
    assert path in [write.data for write in boot_writes(BootOptions(log_file=path))]


def test_the_reg_file_says_what_the_writes_say():
    found = parsed(reg_file(boot_writes(BootOptions(log_file='C:\\a "b"\\boot.etl'))))
    assert next(iter(found)) == f"-{LONG_KEY}"
    session = found[LONG_KEY]
    assert session['"Start"'] == "dword:00000001"
    assert session['"MaxFileSize"'] == "dword:00000400"
    assert session['"FileName"'] == r'"C:\\a \"b\"\\boot.etl"'
    provider = found[f"{LONG_KEY}\\{{{KERNEL_REGISTRY}}}"]
    assert provider['"MatchAnyKeyword"'] == "hex(b):f7,ff,00,00,00,00,00,00"


def test_dry_run_prints_exactly_the_reg_file_on_any_system():
    shown = invoke("enable", "--dry-run", "--operation", "set", "--max-size", "512MB", "--ring")
    assert shown.exit_code == 0
    options = BootOptions(operations=("SetValueKey",), largest_mib=512, ring=True)
    assert shown.stdout.splitlines() == reg_file(boot_writes(options))
    assert "not asked for" in shown.stderr
    assert shown.stdout.isascii()


def test_dry_run_of_disable_removes_the_key():
    assert invoke("disable", "--dry-run").stdout.splitlines() == removal_file()
    assert removal_file()[-1] == f"[-{LONG_KEY}]"


@elsewhere
@pytest.mark.parametrize("action", ["enable", "disable", "status", "collect"])
def test_other_systems_say_that_windows_is_needed(action):
    shown = invoke(action)
    assert shown.exit_code == 5
    assert "needs Windows" in shown.stderr
    assert shown.stderr.count("\n") == 1


@pytest.mark.parametrize("action", ["collect", "status"])
def test_dry_run_is_refused_where_it_means_nothing(action):
    assert invoke(action, "--dry-run").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("--max-size", "big"), "size"), (("--operation", "fly"), "fly"), (("--operation", "rename"), "Rename")],
)
def test_a_wrong_wish_is_one_sentence(arguments, word):
    shown = invoke("enable", "--dry-run", *arguments)
    assert shown.exit_code == 2
    assert word in shown.stderr
    assert "Traceback" not in shown.output


def test_enable_writes_all_of_it_and_disable_leaves_nothing():
    registry = FakeRegistry()
    registry.write(f"{BOOT_KEY}\\{{00000000-0000-0000-0000-000000000000}}", "Enabled", "REG_DWORD", 1)
    enable_boot(BootOptions(), registry)
    assert {(w.key, w.name): w.data for w in boot_writes(BootOptions())} == {
        (key, name): data for key, values in registry.keys.items() for name, data in values.items()
    }
    assert boot_status(registry, []).enabled
    assert disable_boot(registry)
    assert registry.keys == {}
    assert not disable_boot(registry)


@pytest.mark.parametrize("count", range(19))
def test_a_refused_write_leaves_nothing_half_configured(count):
    registry = FakeRegistry(fail_after=count)
    with pytest.raises(NotElevated):
        enable_boot(BootOptions(), registry)
    assert registry.keys == {}


def test_status_tells_configured_running_failed_and_which_files_there_are(tmp_path):
    log = tmp_path / "boot.etl"
    registry = FakeRegistry()
    assert boot_status(registry, []) == autologger.BootStatus(False, None, None, None, ())
    enable_boot(BootOptions(log_file=str(log) if sys.platform == "win32" else "%BOOT_LOG%"), registry)
    registry.keys[BOOT_KEY]["Status"] = 161
    for age, name in enumerate(["boot.etl.003", "boot.etl", "BOOT.ETL.001", "boot.etl.bak", "boot2.etl"]):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, ns=(0, (100 - age) * 10**9))
    registry.keys[BOOT_KEY]["FileName"] = str(log)
    status = boot_status(registry, [running(name="other"), running(name="REGTRACE-boot")])
    assert (status.enabled, status.last_error) == (True, 161)
    assert status.running is not None
    assert [file.name for file in status.log_files] == ["boot.etl.003", "boot.etl", "BOOT.ETL.001"]


def test_a_switched_off_configuration_is_not_enabled():
    registry = FakeRegistry()
    enable_boot(BootOptions(), registry)
    registry.keys[BOOT_KEY]["Start"] = 0
    assert not boot_status(registry, []).enabled


def test_the_file_of_the_running_session_is_collected_else_the_newest(tmp_path):
    registry = FakeRegistry()
    with pytest.raises(CaptureError, match="boot enable"):
        boot_log(boot_status(registry, []))
    enable_boot(BootOptions(), registry)
    registry.keys[BOOT_KEY]["FileName"] = str(tmp_path / "boot.etl")
    (tmp_path / "boot.etl").touch()
    assert boot_log(boot_status(registry, [])) == tmp_path / "boot.etl"
    kernel_spelling = "\\??\\" + str(tmp_path / "now.etl")
    assert boot_log(boot_status(registry, [running(kernel_spelling)])) == tmp_path / "now.etl"


def test_a_running_session_is_stopped_by_its_own_name():
    stopped = []
    status = boot_status(FakeRegistry(), [running(name="Regtrace-Boot")])
    assert stop_boot(status, lambda name: stopped.append(name) or COUNTERS) is COUNTERS
    assert stopped == ["Regtrace-Boot"]
    assert stop_boot(boot_status(FakeRegistry(), []), stopped.append) is None


@pytest.fixture
def booted(monkeypatch, tmp_path):
    """A machine that was booted with the boot trace on."""
    log = tmp_path / "regtrace-boot.etl"
    rt.simulate(log, rt.SimulationOptions(events=2000, seed=3))
    registry, sessions = FakeRegistry(), [running(str(log))]
    enable_boot(BootOptions(), registry)
    registry.keys[BOOT_KEY]["FileName"] = str(log)

    def stop(name):
        sessions[:] = [session for session in sessions if session.name != name]
        return COUNTERS

    monkeypatch.setattr("tracer.windows.machine_registry.real_registry", lambda what: registry)
    monkeypatch.setattr("tracer.session.session.find_session", lambda name: next(iter(sessions), None))
    monkeypatch.setattr("tracer.session.session.stop_session", stop)
    return registry, sessions


def test_collect_stops_the_session_makes_the_capture_and_tells_how_to_end_it(booted, tmp_path):
    registry, sessions = booted
    target = tmp_path / "boot.regtrace"
    shown = invoke("collect", "-o", target)
    assert shown.exit_code == 0, shown.output
    assert sessions == []
    assert "lost 7 events" in shown.stderr
    assert "regtrace boot disable" in shown.stderr
    assert boot_status(registry, []).enabled
    with rt.open(target) as capture:
        assert capture.sql("SELECT count(*) AS n FROM events")["n"][0] > 1000
    assert (tmp_path / "regtrace-boot.etl").exists()


def test_collect_can_disable_in_the_same_go(booted, tmp_path):
    registry, _ = booted
    shown = invoke("collect", "-o", tmp_path / "boot.regtrace", "--disable")
    assert shown.exit_code == 0, shown.output
    assert registry.keys == {}
    assert "boot disable" not in shown.stderr


def test_collect_touches_nothing_where_the_capture_exists(booted, tmp_path):
    registry, sessions = booted
    (tmp_path / "boot.regtrace").mkdir()
    shown = invoke("collect", "-o", tmp_path / "boot.regtrace")
    assert shown.exit_code == 1
    assert "--force" in shown.stderr
    assert len(sessions) == 1
    assert boot_status(registry, []).enabled


def test_collect_without_a_trace_says_how_to_make_one(booted, tmp_path):
    _, sessions = booted
    sessions.clear()
    (tmp_path / "regtrace-boot.etl").unlink()
    shown = invoke("collect", "-o", tmp_path / "boot.regtrace")
    assert shown.exit_code == 1
    assert "regtrace boot enable" in shown.stderr


def test_status_is_readable_before_while_and_after(booted):
    registry, sessions = booted
    shown = invoke("status")
    assert shown.exit_code == 0
    assert "will be traced" in shown.stdout
    assert "7 events lost" in shown.stdout
    sessions.clear()
    disable_boot(registry)
    assert "not configured" in invoke("status").stdout


def test_enable_and_disable_say_what_they_did(booted):
    registry, _ = booted
    disable_boot(registry)
    shown = invoke("enable")
    assert shown.exit_code == 0
    assert "next boot" in shown.stderr
    assert "not asked for" in shown.stderr
    assert boot_status(registry, []).enabled
    assert "no boot is traced" in invoke("disable").stderr
    assert "was not configured" in invoke("disable").stderr


@windows
def test_the_real_registry_holds_what_was_written_and_nothing_afterwards():
    registry = WindowsRegistry()
    assert registry.read(BOOT_KEY) is None, "a boot trace is configured on this machine; nothing is touched"
    try:
        enable_boot(BootOptions(), registry)
        for write in boot_writes(BootOptions()):
            assert registry.read(write.key)[write.name] == write.data
        assert sorted(registry.subkeys(BOOT_KEY)) == sorted(
            f"{{{g}}}" for g in (KERNEL_REGISTRY, KERNEL_PROCESS)
        )
    finally:
        assert disable_boot(registry)
    assert registry.read(BOOT_KEY) is None
    assert registry.subkeys(BOOT_KEY) == []


@windows
def test_the_reg_file_imports_to_the_same_values(tmp_path):
    registry = WindowsRegistry()
    assert registry.read(BOOT_KEY) is None, "a boot trace is configured on this machine; nothing is touched"
    file = tmp_path / "boot.reg"
    file.write_text("\r\n".join(reg_file(boot_writes(BootOptions()))) + "\r\n", encoding="ascii", newline="")
    try:
        subprocess.run(["reg", "import", str(file)], check=True, timeout=60)
        for write in boot_writes(BootOptions()):
            assert registry.read(write.key)[write.name] == write.data
    finally:
        disable_boot(registry)
