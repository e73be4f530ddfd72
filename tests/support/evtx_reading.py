"""Event logs read in tests: what a reader made of a file, and what the library itself makes of it."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from evtx_writer import Log, Record, sysmon_like, write_log

from tracer.diagnostics import Diagnostics
from tracer.evtx.losses import EvtxLoss
from tracer.evtx.reader import EvtxReader

EPOCH = 116_444_736_000_000_000  # 1970 as FILETIME
_ORACLE = """
import json, sys
from evtx import PyEvtxParser
json.dump([record["data"] for record in PyEvtxParser(sys.argv[1], 1).records_json()], sys.stdout)
"""


def written_ns(record: Record) -> int:
    return (record.written - EPOCH) * 100


@dataclass
class Result:
    """What a reader made of a file."""

    batches: list[pa.RecordBatch]
    counts: dict[str, int]
    first_offsets: dict[str, int | None]
    losses: list[EvtxLoss]
    facts: dict[str, Any]

    def column(self, name: str) -> list[Any]:
        return [value for batch in self.batches for value in batch[name].to_pylist()]

    @property
    def ids(self) -> list[int]:
        return self.column("record_id")


def read(path: Path, **options: Any) -> Result:
    diagnostics = Diagnostics()
    reader = EvtxReader(path, path.name, diagnostics, **options)
    batches = list(reader.batches())
    rows = list(diagnostics)
    return Result(
        batches,
        {name: count for name, count, _ in rows},
        {name: offset for name, _, offset in rows},
        reader.losses,
        reader.facts,
    )


def saved(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "log.evtx"
    path.write_bytes(content)
    return path


def library_json(path: Path) -> list[str]:
    """Return what the library itself makes of a sound file, in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-P", "-c", _ORACLE, str(path)], capture_output=True, check=True, timeout=60
    )
    return json.loads(ran.stdout)


def small_log(chunks: int, per_chunk: int = 3, *, template: bool = True) -> Log:
    records = [sysmon_like(number) for number in range(1, chunks * per_chunk + 1)]
    return write_log(records, template=template, per_chunk=per_chunk)


def ids_of(log: Log, *but: int) -> list[int]:
    """Return the identifiers of all records but those of some chunks."""
    return [
        record.record_id for index, chunk in enumerate(log.records) if index not in but for _, record in chunk
    ]
