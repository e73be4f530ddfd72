"""Log, blame and checkout of a real Sysmon log: ten values checked by hand, and every value against a loop over the log."""

import gzip
import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

import regtrace as rt
from tracer.registry.text import fold_name

LOG = "logs/otrf-sysmon-registry.jsonl.gz"
WINDOWS = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion"
NOTIFICATIONS = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Notifications\Data"
WOSC = rf"{WINDOWS}\Wosc\Client\Persistent\ClientState\WOSC"
REASON = r"HKLM\SOFTWARE\Microsoft\Windows\Windows Error Reporting\TermReason\2944"
CONTENT = r"HKU\*\Software\Microsoft\Windows\CurrentVersion\ContentDeliveryManager\Subscriptions\314559"
# key, value -> how often it was changed, and by how many processes; image and pid of the last; its data as a .reg file has
# it (None: the log does not tell type and bytes; False: it was deleted)
BY_HAND = {
    (r"HKLM\System\CurrentControlSet\Services\W32Time\Config", "LastKnownGoodTime"): (30, 2, "svchost.exe", 3252, None),
    (NOTIFICATIONS, "418A073AA3BC3475"): (18, 11, "RuntimeBroker.exe", 8308, None),
    (NOTIFICATIONS, "418A073AA3BC1C75"): (5, 2, "RuntimeBroker.exe", 8308, None),
    (rf"{WINDOWS}\VFUProvider", "StartTime"): (9, 2, "svchost.exe", 3232, "hex(b):82,3e,70,39,df,5f,d6,01"),
    (WOSC, "ETag"): (2, 1, "taskhostw.exe", 4368, None),
    (WOSC, "RefreshInterval"): (2, 1, "taskhostw.exe", 4368, "dword:000007b8"),
    (rf"{WINDOWS}\BITS", "PerfMMFileName"): (1, 1, "svchost.exe", 3960, False),
    (REASON, "Terminator"): (1, 1, "svchost.exe", 872, None),
    (REASON, "Reason"): (1, 1, "svchost.exe", 872, "dword:00000004"),
    (CONTENT, "UpdateDrivenByExpiration"): (2, 1, "backgroundTaskHost.exe", 5488, "dword:00000001"),
}  # fmt: skip


@pytest.fixture(scope="module")
def lines(corpus: Path) -> list[dict[str, Any]]:
    """The records of the computer that the log begins with."""
    with gzip.open(corpus / LOG) as stream:
        first = next(stream)
        host = f'"Hostname":{json.dumps(json.loads(first)["Hostname"])}'.encode()
        return [json.loads(line) for line in (first, *stream) if host in line]


@pytest.fixture(scope="module")
def capture(lines, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sysmon")
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rt.ingest(folder / "log.jsonl", folder / "log.regtrace")
    with rt.open(folder / "log.regtrace") as opened:
        yield opened


def changes_of(lines: list[dict[str, Any]], key: str, value: str) -> list[dict[str, Any]]:
    path = re.compile(re.escape(rf"{key}\{value}").replace(r"\*", r"[^\\]+"), re.IGNORECASE)
    return [
        line for line in lines if path.fullmatch(line["TargetObject"]) and line["EventType"] != "CreateKey"
    ]


@pytest.mark.slow
def test_ten_values_were_changed_by_whom_a_reader_of_the_log_finds(capture, lines) -> None:
    processes = capture.log(by="process")
    for (key, value), (times, people, image, pid, data) in BY_HAND.items():
        told = changes_of(lines, key, value)
        assert (len(told), len({line["ProcessGuid"] for line in told})) == (times, people), value
        last = told[-1]
        assert (last["Image"].rpartition("\\")[2], int(last["ProcessId"])) == (image, pid)
        (row,) = capture.blame(key, value, deleted=True).itertuples()
        assert (row.writer, row.writer_pid, row.evidence) == (image, pid, "write")
        assert f"{row.write_time:%Y-%m-%d %H:%M:%S.%f}"[:-3] == last["UtcTime"]
        assert (row.last_known == "deleted") == (data is False)
        log = capture.log(key, value=value, by="process")
        assert log["changes"].sum() == times
        assert len(set(log["process_id"])) == people
        assert log["process_id"][0] == processes.set_index("change_set")["process_id"][row.change_set]


def test_a_checkout_has_what_the_log_tells_whole_and_lists_the_rest(capture) -> None:
    for (key, value), (*_, data) in BY_HAND.items():
        made = capture.checkout(key)
        unknown = {row["value_name"]: row["reason"] for row in made.unknown.to_pylist()}
        found = re.search(rf'^"{value}"=(.*?)\r$', made.text(), re.MULTILINE)
        assert (found and found[1]) == (data or None), value
        assert (value in unknown) == (data is None), value
    reasons = {
        row["value_name"]: row["reason"]
        for row in capture.checkout([WOSC, NOTIFICATIONS]).unknown.to_pylist()
    }
    assert reasons["ETag"] == "its type was not recorded"
    assert reasons["QueryStringHash"] == "it is there, and its data was not captured"
    assert reasons["418A073AA3BC3475"] == "it may have changed since it was last known"


def test_the_log_counts_what_each_process_changed_and_says_what_is_unclear(capture, lines) -> None:
    log = capture.log(by="process")
    kinds = {"values_set": "SetValue", "values_deleted": "DeleteValue", "keys_deleted": "DeleteKey"}
    for column, kind in kinds.items():
        theirs = Counter(line["ProcessId"] for line in lines if line["EventType"] == kind)
        ours = Counter()
        for row in log.itertuples():
            ours[str(row.pid)] += getattr(row, column)
        assert +ours == theirs, column
    creates = sum(line["EventType"] == "CreateKey" for line in lines)
    assert any(f"{creates:,} operations may have been changes" in doubt for doubt in log.attrs["doubts"])


def test_blame_names_the_last_writer_of_every_value_in_the_log(capture, lines) -> None:
    last = {}
    for line in lines:
        if line["EventType"] in ("SetValue", "DeleteValue"):
            last[fold_name(line["TargetObject"])] = line
    native = dict(capture.sql("SELECT key_id, display_path FROM keys").itertuples(index=False))
    found = defaultdict(list)
    for row in capture.blame(deleted=True).dropna(subset="value_name").itertuples():
        found[fold_name(f"{native[row.key_id]}\\{row.value_name or '(Default)'}")].append(row)
    compared = gone = 0
    for path, line in last.items():
        for row in found.get(path, ()):
            # Of a value in a key that was deleted later, that is the last change.
            if f"{row.write_time:%Y-%m-%d %H:%M:%S.%f}"[:-3] > line["UtcTime"]:
                assert row.last_known == "deleted"
                gone += 1
                continue
            assert fold_name(row.writer) == fold_name(line["Image"].rpartition("\\")[2])
            assert (row.writer_pid, row.evidence) == (int(line["ProcessId"]), "write")
            compared += 1
    assert compared + gone == len(last)
    assert compared > 300
