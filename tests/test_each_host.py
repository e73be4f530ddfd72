"""A capture for each computer out of one reading: what each would be had the log been read for it alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from evtx_writer import sysmon_like, write_log
from log_samples import log_content
from security_records import audit
from sysmon_records import as_lines, as_xml, event, event_data

from tracer.errors import UsageError
from tracer.ingest.hosts import open_hosts
from tracer.ingest.pipeline import ingest
from tracer.named.context import NamedOptions

KEY = r"HKLM\SOFTWARE\Vendor"
NATIVE = r"\REGISTRY\MACHINE\SOFTWARE\Vendor"
# PC1 and pc1.example are one computer; the rows of one moment keep the order of the log.
HOSTS = ("pc1.example", "PC1", "pc2.example", "pc1.example")


def _lines() -> bytes:
    records: list[dict[str, Any]] = [
        {**event("SetValue", f"{KEY}\\{number}", Details="text"), "Hostname": HOSTS[number % len(HOSTS)]}
        for number in range(40)
    ]
    audits = [{**audit(number, NATIVE), "Hostname": host} for host in HOSTS for number in (4656, 4657, 4658)]
    return (as_lines([*records, {"EventID": 1}, *audits]) + '{"EventID": 13, "cut\n').encode()


def _xml() -> bytes:
    texts = [as_xml(13, event_data("SetValue", f"{KEY}\\{number}", Details="text")) for number in range(9)]
    return "".join(
        text.replace("pc1.example", HOSTS[number % len(HOSTS)]) for number, text in enumerate(texts)
    ).encode()


def _defender() -> bytes:
    titles = (
        "Timestamp,DeviceName,ActionType,RegistryKey,RegistryValueName,RegistryValueData,RegistryValueType"
    )
    rows = [
        f"2024-05-06T07:08:09Z,{HOSTS[number % len(HOSTS)]},RegistryValueSet,HKEY_LOCAL_MACHINE\\SOFTWARE\\V,v{number},x,String"
        for number in range(9)
    ]
    return "\r\n".join([titles, *rows, "2024-05-06T07:08:09Z,pc1.example,Other,,,,"]).encode()


def _evtx() -> bytes:
    content = bytearray(write_log([sysmon_like(number) for number in range(1, 10)], per_chunk=3).content())
    content[4096 + 65536 + 512 : 4096 + 2 * 65536] = bytes(65536 - 512)  # a chunk that is lost
    return bytes(content)


LOGS: dict[str, Callable[[], bytes]] = {
    "log.jsonl": _lines, "log.xml": _xml, "log.csv": _defender, "log.evtx": _evtx,
}  # fmt: skip


def told(capture: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return every table, and the manifest without its time."""
    tables = {
        str(file.relative_to(capture)): pq.read_table(file).to_pylist()
        for file in sorted(capture.rglob("*.parquet"))
    }
    manifest = json.loads((capture / "capture.json").read_text())
    return tables, {name: manifest[name] for name in ("totals", "settings", "sources", "complete")}


@pytest.mark.parametrize("name", LOGS)
def test_each_capture_is_that_of_a_log_read_for_its_computer_alone(tmp_path: Path, name: str) -> None:
    log = tmp_path / name
    log.write_bytes(LOGS[name]())
    # The records of the .evtx writer name no computer; the user's name does.
    asked = NamedOptions(fields={"Computer": ("Event.EventData.User",)} if name == "log.evtx" else {})
    with open_hosts([log], asked, folder=tmp_path) as logs:
        assert log in logs.options.kept
        for host, word in logs.names:
            ingest(logs.sources, tmp_path / f"{word}.each", named=replace(logs.options, host=host))
    assert len(logs.names) == (1 if name == "log.evtx" else 2)
    for host, word in logs.names:
        ingest([log], tmp_path / f"{word}.alone", named=replace(asked, host=host))
        assert told(tmp_path / f"{word}.each") == told(tmp_path / f"{word}.alone")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".regtrace")]


def test_a_log_without_computers_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(as_lines([{"EventID": 1, "SourceName": "Microsoft-Windows-Sysmon"}]))
    with (
        pytest.raises(UsageError, match="no record names a computer"),
        open_hosts([tmp_path / "log.jsonl"], NamedOptions(), folder=tmp_path),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


@pytest.mark.parametrize("kind", ["json", "etw"])
def test_a_short_name_that_fits_two_computers_gets_a_capture_of_its_own(tmp_path: Path, kind: str) -> None:
    hosts = ("PC.one.example", "PC", "PC.two.example", "PC", "pc.one.example", "PC.one.example")
    log = tmp_path / "log.jsonl"
    if kind == "json":
        records = [
            {**event("SetValue", f"{KEY}\\{number}", Details="text"), "Hostname": host}
            for number, host in enumerate(hosts)
        ]
        log.write_text(as_lines(records))
    else:
        log.write_bytes(log_content("etw win_event"))
        records = json.loads(log.read_text())
        for number, record in enumerate(records):
            record["MachineName"] = hosts[number % len(hosts)]
        log.write_text(json.dumps(records))
    counts = {}
    with open_hosts([log], NamedOptions(), folder=tmp_path) as logs:
        for host, word in logs.names:
            made = ingest(logs.sources, tmp_path / word, named=replace(logs.options, host=host))
            counts[host.lower()] = made.totals["records"]
    whole = len(records) // len(hosts) if kind == "etw" else 1
    assert counts.keys() == {"pc.one.example", "pc", "pc.two.example"}
    assert counts["pc.one.example"] > counts["pc"] > counts["pc.two.example"] >= whole
    with pytest.raises(
        UsageError, match=r"'PC\.one\.example' fits several names of computers: .*--each-host"
    ):
        ingest([log], tmp_path / "alone", named=NamedOptions(host="PC.one.example"))
