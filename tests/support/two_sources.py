"""One simulated history as two sources see it: the .etl file, and Sysmon's records made of the truth beside it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
from sysmon_records import as_lines, event

from tracer.registry.paths import display_path
from tracer.simulate import SimulationOptions, simulate

__all__ = ["TwoSources", "simulate_two", "sysmon_time"]

_KINDS = {
    "CreateKey": "CreateKey", "DeleteKey": "DeleteKey", "SetValueKey": "SetValue", "DeleteValueKey": "DeleteValue",
}  # fmt: skip


@dataclass(frozen=True)
class TwoSources:
    """Where the two files are, and what truth there is of them.

    Attributes:
        etl: the trace.
        log: Sysmon's records, as JSON lines.
        truth: rows of the truth.
        reported: those of them that Sysmon reports, in their order.
    """

    etl: Path
    log: Path
    truth: list[dict[str, Any]]
    reported: list[dict[str, Any]]


def sysmon_time(time_ns: int) -> str:
    """Return a time as Sysmon writes it: whole milliseconds."""
    when = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=time_ns // 1_000_000)
    return when.strftime("%Y-%m-%d %H:%M:%S.") + f"{when.microsecond // 1000:03}"


def simulate_two(
    folder: Path,
    *,
    offset_ns: int = 0,
    jitter_ns: int = 0,
    images: dict[int, str] | None = None,
    **options: Any,
) -> TwoSources:
    """Simulate a history without lost or unnamed records, and write both files.

    Args:
        folder: where.
        offset_ns: how much later Sysmon's clock is.
        jitter_ns: how much later than its operation Sysmon may report it.
        images: image of each process id; others are `tool.exe`.
        options: of the simulation.
    """
    choice = Random(7)
    summary = simulate(folder / "host.etl", SimulationOptions(preopened=0, **options))
    assert summary.truth is not None
    truth = pq.read_table(summary.truth).to_pylist()
    reported = [row for row in truth if row["operation"] in _KINDS and row["status"] == 0]
    records = []
    for row in reported:
        target = display_path(row["path"])
        if row["value_name"] is not None:
            target += "\\" + (row["value_name"] or "(Default)")
        more: dict[str, Any] = {"Details": _details(row["data"])} if row["operation"] == "SetValueKey" else {}
        time_ns = row["time_ns"] + offset_ns + choice.randint(0, jitter_ns)
        image = (images or {}).get(row["pid"], "tool.exe")
        records.append(
            event(
                _KINDS[row["operation"]],
                target,
                UtcTime=sysmon_time(time_ns),
                ProcessId=str(row["pid"]),
                ProcessGuid=f"{{11111111-2222-3333-4444-{row['pid']:012}}}",
                Image=rf"C:\Windows\System32\{image}",
                **more,
            )
        )
    log = folder / "Sysmon.jsonl"
    log.write_text(as_lines(records), encoding="utf-8")
    return TwoSources(summary.path, log, truth, reported)


def _details(data: bytes | None) -> str:
    """Return data as Sysmon shows it, as far as the truth says what type it is: only text looks like text."""
    text = (data or b"").decode("utf-16-le", "replace")
    if len(text) > 1 and text[:-1].isprintable() and text.isascii() and text[-1] == "\0":
        return text[:-1]
    return "Binary Data"
