"""The self-test: what was done and came out is counted; what did not come out is found, and the key is removed."""

import json
import os
import struct
import sys
from dataclasses import replace

import pytest
from etw_double import etw_service  # noqa: F401
from raw_etl import FIRST_STAMP, buffer, etl, event
from typer.testing import CliRunner

from cli.app import app
from tracer.checks import selftest
from tracer.checks.selftest import Recorded, record_work, run_selftest
from tracer.checks.selftest_workload import RegistryWork, Step
from tracer.errors import PlatformError, SessionError
from tracer.etl.providers import KERNEL_REGISTRY
from tracer.session.options import ALL_OPTIONS, SessionCounters
from tracer.windows.machine_registry import WindowsRegistry

USER = "\\REGISTRY\\USER\\S-1-5-21-1-2-3-1001\\"
COUNTERS = SessionCounters(0, 0, 0, 0, 1, 2, 2)
windows = pytest.mark.skipif(sys.platform != "win32", reason="writes to a registry")


def steps_on(key: str) -> list[Step]:
    first, second, long = b"a\0\0\0", b"b\0c\0\0\0", bytes(range(256)) * 16
    return [
        Step("CreateKey", key),
        Step("SetValueKey", key, "text", first),
        Step("SetValueKey", key, "text", second, first),
        Step("SetValueKey", key, "blob", long),
        Step("SetValueKey", key, "", second),
        Step("QueryValueKey", key, "text"),
        Step("DeleteValueKey", key, "text"),
        Step("CloseKey", key),
        Step("OpenKey", key),
        Step("CloseKey", key),
        Step("DeleteKey", key),
    ]


class FakeWork:
    """Says what it did without doing it."""

    def __init__(self) -> None:
        self.key: str | None = None
        self.cleaned: list[str] = []

    def do(self, key):
        self.key = key
        return steps_on(key)

    def clean(self, key):
        self.cleaned.append(key)


def row_of(step: Step, **changes: object) -> dict[str, object]:
    row = {
        "operation": step.operation,
        "key": USER + step.key,
        "value_name": step.value_name,
        "data": None if step.data is None else step.data[:2048],
        "previous_data": step.previous,
        "name_source": "event",
    }
    return row | changes


def recorder_of(change=lambda rows: rows, complete: bool = True):
    """Return a recorder that sees every step, and then what `change` makes of the rows."""

    def recorder(work):
        work()
        rows = [row_of(step) for step in steps_on(recorder.work.key)]
        return Recorded(change(rows), COUNTERS, complete, seeded=9)

    recorder.work = FakeWork()
    return recorder


def report_of(change=lambda rows: rows, complete: bool = True):
    recorder = recorder_of(change, complete)
    return run_selftest(recorder.work, recorder)


def lines_by_name(report):
    return {line.operation: line for line in report.lines}


def test_everything_that_was_done_came_out():
    report = report_of()
    assert report.findings == []
    lines = lines_by_name(report)
    assert list(lines) == [
        "CreateKey", "SetValueKey", "QueryValueKey", "DeleteValueKey", "CloseKey", "OpenKey", "DeleteKey"
    ]  # fmt: skip
    written = lines["SetValueKey"]
    assert (written.done, written.seen, written.named) == (4, 4, 4)
    assert (written.data_done, written.data, written.previous_done, written.previous) == (4, 4, 1, 1)
    assert (lines["CloseKey"].done, lines["CloseKey"].seen) == (2, 2)
    assert (report.option_data, report.option_previous, report.names_in_records) == (True, True, True)
    assert (report.events_lost, report.seeded) == (0, 9)


def test_each_run_has_a_key_of_its_own_below_software():
    first, second = FakeWork(), FakeWork()
    for work in (first, second):
        run_selftest(work, lambda do: (do(), Recorded([], None, True))[1])
    assert first.key != second.key
    assert first.key.startswith("Software\\regtrace-selftest-")


@pytest.mark.parametrize("operation", ["CreateKey", "SetValueKey", "CloseKey", "DeleteKey"])
def test_an_operation_that_did_not_arrive_is_found(operation):
    def without_first(rows):
        gone = next(row for row in rows if row["operation"] == operation)
        return [row for row in rows if row is not gone]

    report = report_of(without_first)
    line = lines_by_name(report)[operation]
    assert line.seen == line.done - 1
    assert report.findings == [f"{operation}: 1 of {line.done} did not arrive"]


def test_a_lost_write_does_not_make_its_neighbour_look_wrong():
    report = report_of(lambda rows: [row for row in rows if row["data"] != b"a\0\0\0"])
    assert lines_by_name(report)["SetValueKey"].data == 3
    assert len(report.findings) == 1


def test_a_row_without_its_keys_name_is_seen_and_said_to_be_unnamed():
    report = report_of(
        lambda rows: [row | {"key": "<object 0xFFFF800000001000>"} if row["operation"] == "OpenKey" else row
                      for row in rows]
    )  # fmt: skip
    line = lines_by_name(report)["OpenKey"]
    assert (line.seen, line.named) == (1, 0)
    assert report.findings == ["OpenKey: 1 of 1 came without the key's name"]


def test_a_row_of_another_key_is_not_taken_for_ours():
    report = report_of(
        lambda rows: [row | {"key": USER + "Software\\other"} if row["operation"] == "DeleteKey" else row
                      for row in rows]
    )  # fmt: skip
    assert report.findings == ["DeleteKey: 1 of 1 did not arrive"]


def test_missing_data_is_one_finding_about_the_option_word():
    report = report_of(lambda rows: [row | {"data": None, "previous_data": None} for row in rows])
    assert (report.option_data, report.option_previous) == (False, False)
    assert [finding.split("(")[1] for finding in report.findings] == ["0x2)", "0x4)"]


def test_wrong_data_is_found():
    report = report_of(
        lambda rows: [row | {"data": b"?"} if row["value_name"] == "blob" else row for row in rows]
    )
    assert report.findings == ["SetValueKey: 1 of 4 came with other data than was written"]


def test_losses_are_found():
    report = report_of(complete=False)
    assert len(report.findings) == 1
    assert "lost" in report.findings[0]


def test_nothing_at_all_says_so_and_claims_nothing_about_options():
    report = report_of(lambda rows: [])
    assert (report.option_data, report.option_previous, report.names_in_records) == (None, None, None)
    assert len(report.findings) == len(report.lines)


@pytest.mark.parametrize("problem", [SessionError("no session"), KeyboardInterrupt(), PlatformError("x")])
def test_the_key_is_removed_whatever_happens(problem):
    work = FakeWork()

    def recorder(do):
        do()
        raise problem

    with pytest.raises(type(problem)):
        run_selftest(work, recorder)
    assert work.cleaned == [work.key]


# ---------------------------------------------------------------------- through the pipeline


def payload_of(step: Step, object_: int, *, data: bool = True) -> tuple[int, bytes]:
    """Return event id and payload of a step, by the manifest."""

    def name(text: str) -> bytes:
        return text.encode("utf-16-le") + b"\0\0"

    def captured(value: bytes | None) -> bytes:
        kept = (value or b"")[:2048] if data else b""
        return struct.pack("<H", len(kept)) + kept

    whole = step.data or b""
    previous = step.previous or b""
    head, key = struct.pack("<QI", object_, 0), name("")
    path = name(USER + step.key)
    return {
        "CreateKey": lambda: (1, struct.pack("<QQII", 0x5000, object_, 0, 1) + key + path),
        "OpenKey": lambda: (2, struct.pack("<QQII", 0x5000, object_, 0, 0) + key + path),
        "DeleteKey": lambda: (3, head + key),
        "SetValueKey": lambda: (
            5,
            head + struct.pack("<II", 3, len(whole)) + key + name(step.value_name or "") + captured(step.data)
            + struct.pack("<II", 3 if previous else 0, len(previous)) + captured(step.previous),
        ),
        "DeleteValueKey": lambda: (6, head + key + name(step.value_name or "")),
        "QueryValueKey": lambda: (7, head + struct.pack("<II", 2, 0) + key + name(step.value_name or "") + captured(None)),
        "CloseKey": lambda: (13, head + key),
    }[step.operation]()  # fmt: skip


class TracedWork(FakeWork):
    """Does its steps as far as the tracing service can tell: their records are played."""

    def __init__(self, service, folder, *, data: bool = True) -> None:
        super().__init__()
        self.service, self.file, self.data = service, folder / "played.etl", data
        self.enabled: list[int] = []

    def do(self, key):
        self.key = key
        # The key is deleted through a handle of its own, as winreg does: open, delete, close.
        steps = [*steps_on(key)[:-1], Step("OpenKey", key), Step("DeleteKey", key), Step("CloseKey", key)]
        records, object_ = [], 0xFFFF_8000_0000_1000
        for number, step in enumerate(steps):
            id_, payload = payload_of(step, object_, data=self.data)
            record = event(id_, FIRST_STAMP + 1000 * (1 + number), payload, guid=KERNEL_REGISTRY, version=0)
            records.append(record[:12] + struct.pack("<I", os.getpid()) + record[16:])
            if step.operation == "CloseKey":
                object_ += 0x100
        size = 16384
        self.file.write_bytes(etl(buffer(*records, size=size), header_size=size))
        offered = self.service.play(self.file)
        assert set(offered.values()) == {len(steps)}
        return steps


def test_the_pipeline_finds_every_step_by_name_with_its_data(etw_service, tmp_path):  # noqa: F811
    work = TracedWork(etw_service, tmp_path)
    report = run_selftest(work, record_work)
    assert report.findings == []
    assert lines_by_name(report)["SetValueKey"].data == 4
    assert report.option_previous
    assert report.events_lost == 0
    assert report.names_in_records is False
    assert etw_service.sessions == {}
    assert set(etw_service.option_words.values()) == {ALL_OPTIONS}


def test_a_second_self_test_does_not_end_the_first(etw_service, tmp_path):  # noqa: F811
    class Meanwhile(TracedWork):
        def do(self, key):
            with pytest.raises(ZeroDivisionError):
                record_work(lambda: 1 / 0)
            assert len(self.service.sessions) == 1
            return super().do(key)

    assert run_selftest(Meanwhile(etw_service, tmp_path), record_work).events_lost == 0
    assert etw_service.sessions == {}


def test_a_provider_that_hands_out_no_data_is_found_out(etw_service, tmp_path):  # noqa: F811
    report = run_selftest(TracedWork(etw_service, tmp_path, data=False), record_work)
    assert (report.option_data, report.option_previous) == (False, False)
    assert len(report.findings) == 2


def test_a_session_that_loses_events_is_found_out(etw_service, tmp_path):  # noqa: F811
    class Losing(TracedWork):
        def do(self, key):
            steps = super().do(key)
            self.service.lose(events=5)
            return steps

    report = run_selftest(Losing(etw_service, tmp_path), record_work)
    assert not report.complete
    assert report.events_lost == 5
    assert report.findings == ["events were lost (5)"]


def test_no_session_is_left_when_the_work_fails(etw_service, tmp_path):  # noqa: F811
    class Failing(FakeWork):
        def do(self, key):
            raise OSError(5, "the registry is full")

    work = Failing()
    with pytest.raises(OSError, match="full"):
        run_selftest(work, record_work)
    assert etw_service.sessions == {}
    assert len(work.cleaned) == 1


# ---------------------------------------------------------------------- the verb


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(selftest, "_SETTLE_SECONDS", 0)


def invoke(monkeypatch, report, *arguments: str):
    monkeypatch.setattr(selftest, "run_selftest", lambda: report)
    return CliRunner().invoke(app, ["selftest", *arguments], prog_name="regtrace")


def test_the_command_shows_each_operation_and_returns_0(monkeypatch):
    shown = invoke(monkeypatch, report_of())
    assert shown.exit_code == 0
    assert "SetValueKey               4/4      4/4      4/4       1/1" in shown.stdout
    assert "events lost: 0; keys named by the handle table: 9" in shown.stdout
    assert shown.stderr == ""


def test_the_command_warns_and_returns_3_for_findings(monkeypatch):
    shown = invoke(monkeypatch, replace(report_of(), findings=["odd things happened"], events_lost=None))
    assert shown.exit_code == 3
    assert "odd things happened" in shown.stderr
    assert "events lost: unknown" in shown.stdout


def test_json_carries_the_whole_report(monkeypatch):
    report = report_of()
    assert json.loads(invoke(monkeypatch, report, "--json").stdout) == json.loads(
        json.dumps(report.as_dict())
    )


@pytest.mark.skipif(sys.platform == "win32", reason="this is Windows")
def test_other_systems_say_that_windows_is_needed():
    shown = CliRunner().invoke(app, ["selftest"], prog_name="regtrace")
    assert shown.exit_code == 5
    assert "needs Windows" in shown.stderr
    assert shown.stderr.count("\n") == 1


@windows
def test_the_real_work_is_done_and_leaves_nothing():
    work = RegistryWork()
    key = "Software\\regtrace-selftest-under-test"
    steps = work.do(key)
    registry = WindowsRegistry()
    assert registry.read(f"HKCU\\{key}") is None
    assert {step.operation for step in steps} >= {"CreateKey", "SetValueKey", "DeleteKey"}
    registry.write(f"HKCU\\{key}\\below", "name", "REG_SZ", "left over")
    work.clean(key)
    assert registry.read(f"HKCU\\{key}") is None
    work.clean(key)
