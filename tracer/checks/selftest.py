"""The self-test: traces known operations on a scratch key, and looks for them in the result.

It answers, on this machine and today, what no document can: whether the provider reports each operation, whether
keys get their names, and whether the option word brings values and previous values. The rows are found by the
same pipeline that makes captures.
"""

import os
import secrets
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tracer.checks.selftest_workload import RegistryWork, Step, Work
from tracer.etl.providers import KERNEL_REGISTRY
from tracer.session.options import (
    ALL_OPTIONS,
    LogMode,
    Provider,
    SessionCounters,
    SessionOptions,
)
from tracer.session.owners import own_session_name

__all__ = [
    "Line",
    "Recorded",
    "Report",
    "record_work",
    "run_selftest",
]

_VERB = "selftest"
_CAPTURED = 2048  # bytes of a value that the provider copies at most
_COUNTED = ("done", "seen", "named", "data_done", "data", "previous_done", "previous")
_SETTLE_SECONDS = 0.5  # enabling a provider is asynchronous


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded during the work.

    Attributes:
        rows: events of this process in order, with operation, key (a native path), value_name, data,
            previous_data, name_source.
        counters: the session's last counters.
        complete: whether the capture knows of no loss.
        seeded: objects that the handle table named.
    """

    rows: list[dict[str, Any]]
    counters: SessionCounters | None
    complete: bool
    seeded: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """Counts for one operation: how often it was done, and how much of it was recorded.

    Attributes:
        operation: as the provider names it.
        done, seen, named: times it was done, times a row was found, times that row had the key's name.
        data_done, data: values written, and rows with exactly their bytes (the provider cuts at 2,048).
        previous_done, previous: the same of the bytes that were there before.
    """

    operation: str
    done: int
    seen: int
    named: int
    data_done: int
    data: int
    previous_done: int
    previous: int


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a self-test.

    Attributes:
        lines: one for each operation.
        events_lost: what the session lost; None if it could not be asked.
        complete: whether nothing was lost as far as the capture knows.
        seeded: objects named by the handle table; None if it was not read.
        names_in_records: whether records carried names themselves (option 0x1).
        option_data, option_previous: whether values arrived (0x2), and previous values (0x4); None if
            no row was there to show it.
    """

    lines: list[Line]
    events_lost: int | None
    complete: bool
    seeded: int | None
    names_in_records: bool | None
    option_data: bool | None
    option_previous: bool | None
    findings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


Recorder = Callable[[Callable[[], None]], Recorded]


def run_selftest(work: Work | None = None, recorder: Recorder | None = None) -> Report:
    """Trace known operations, and return the result.

    Args:
        work: the operations; None is `RegistryWork`.
        recorder: traces while it calls its argument; None is `record_work`.

    Raises:
        PlatformError: this is not Windows, or the rights are missing.
        SessionError: tracing failed.
    """
    work = RegistryWork() if work is None else work
    key = f"Software\\regtrace-selftest-{secrets.token_hex(6)}"
    steps: list[Step] = []
    try:
        recorded = (recorder or record_work)(lambda: steps.extend(work.do(key)))
    finally:
        work.clean(key)
    return _judge(steps, recorded)


def record_work(work: Callable[[], None]) -> Recorded:
    """Trace this machine while `work` runs, make a capture of it, and return the rows of this process.

    Raises:
        PlatformError: this is not Windows, or the rights are missing.
        SessionError: tracing failed.
    """
    from tracer.errors import PlatformError, SessionError
    from tracer.ingest.pipeline import ingest
    from tracer.ingest.recording_facts import LiveFacts
    from tracer.session.session import Session, require_windows
    from tracer.windows.handle_table import HandleTable, read_handle_table

    require_windows("the self-test")
    table: HandleTable | None = None
    with tempfile.TemporaryDirectory(prefix="regtrace-selftest-") as name:
        folder = Path(name)
        trace, target = folder / "selftest.etl", folder / "selftest.regtrace"
        options = SessionOptions(
            name=own_session_name(_VERB),
            mode=LogMode.SEQUENTIAL,
            log_file=trace,
            buffer_kib=64,
            smallest_count=16,
        )
        with Session(options) as session:
            session.enable(Provider(KERNEL_REGISTRY, option_word=ALL_OPTIONS))
            threading.Event().wait(_SETTLE_SECONDS)
            try:
                table = read_handle_table()
            except PlatformError:
                table = None  # said by what stays unnamed
            work()
            counters = session.stop()
        if not trace.exists():
            raise SessionError("Windows started the session of the self-test and wrote no trace; try again")
        seed = None if table is None else (table.addresses, table.paths)
        manifest = ingest(
            [trace], target, live=LiveFacts(seed=seed, seed_ns=None if table is None else table.time_ns)
        )
        return Recorded(
            rows=_rows_of(target, os.getpid()),
            counters=counters,
            complete=manifest.complete and not counters.lost,
            seeded=None if table is None else len(table.addresses),
        )


def _rows_of(target: Path, pid: int) -> list[dict[str, Any]]:
    """Return the events of a process in order, with the paths of their keys."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from tracer.store.manifest import Manifest
    from tracer.store.reader import table_files

    files = table_files(target, Manifest.load(target))
    if not files["events"]:
        return []
    ids = [row["process_id"] for row in pq.read_table(files["processes"][0]).to_pylist() if row["pid"] == pid]
    paths = {row["key_id"]: row["path"] for row in pq.read_table(files["keys"][0]).to_pylist()}
    names = [
        "sequence", "process_id", "operation", "key_id", "value_name", "requested_name", "data",
        "previous_data", "name_source",
    ]  # fmt: skip
    events = pa.concat_tables([pq.read_table(file, columns=names) for file in files["events"]])
    ours = events.filter(pc.is_in(events["process_id"], pa.array(ids, pa.int32()))).sort_by("sequence")
    return [{**row, "key": paths.get(row["key_id"])} for row in ours.to_pylist()]


def _judge(steps: Iterable[Step], recorded: Recorded) -> Report:
    """Find the row of each step and count what it says."""
    free = list(recorded.rows)
    counts: Counter[tuple[str, str]] = Counter()
    brought: list[tuple[Step, dict[str, Any]]] = []
    steps = list(steps)
    # Where a row was lost, its neighbour must not be taken for it: exact rows go first.
    exact = [_take(free, step, exact=True) for step in steps]
    for step, sure in zip(steps, exact, strict=True):
        row = _take(free, step, exact=False) if sure is None else sure
        for what, is_so in _facts(step, row):
            counts[step.operation, what] += is_so
        if row is not None:
            brought.append((step, row))
    lines = [
        Line(operation, **{what: counts[operation, what] for what in _COUNTED})
        for operation in dict.fromkeys(operation for operation, _ in counts)
    ]
    # Creates and opens often carry the whole path that the caller asked for: no word of the provider's own.
    nameable = [row for step, row in brought if step.operation not in ("CreateKey", "OpenKey")]
    written = [row for step, row in brought if step.data is not None]
    overwritten = [row for step, row in brought if step.previous is not None]
    report = Report(
        lines=lines,
        events_lost=None if recorded.counters is None else recorded.counters.events_lost,
        complete=recorded.complete,
        seeded=recorded.seeded,
        names_in_records=any(row.get("name_source") == "event" for row in nameable) if nameable else None,
        option_data=any(row.get("data") is not None for row in written) if written else None,
        option_previous=any(row.get("previous_data") is not None for row in overwritten)
        if overwritten
        else None,
    )
    report.findings.extend(_findings(report))
    return report


def _facts(step: Step, row: dict[str, Any] | None) -> Iterator[tuple[str, bool]]:
    """Yield each fact of a step, and whether its row says it."""
    row = {} if row is None else row
    yield "done", True
    yield "seen", bool(row)
    yield "named", _is_key(row.get("key"), step.key)
    yield "data_done", step.data is not None
    yield "data", step.data is not None and row.get("data") == _cut(step.data)
    yield "previous_done", step.previous is not None
    yield "previous", step.previous is not None and row.get("previous_data") == _cut(step.previous)


def _take(free: list[dict[str, Any]], step: Step, *, exact: bool) -> dict[str, Any] | None:
    """Take the first row that can belong to the step, preferably one with a key name.

    Args:
        free: the rows that belong to no step yet.
        step: what was done.
        exact: only a row with the step's key and data will do.
    """
    candidates = [
        row for row in free if row["operation"] == step.operation and row.get("value_name") == step.value_name
    ]
    with_key = [row for row in candidates if _is_key(row.get("key"), step.key)]
    if exact:
        rows = [row for row in with_key if row.get("data") == _cut(step.data)]
    else:
        rows = with_key or [row for row in candidates if _is_unnamed(row.get("key"))]
    if not rows:
        return None
    free[:] = [row for row in free if row is not rows[0]]
    return rows[0]


def _cut(data: bytes | None) -> bytes | None:
    return None if data is None else data[:_CAPTURED]


def _is_key(path: str | None, key: str) -> bool:
    """Whether a native path is that of a key below HKCU."""
    return (
        path is not None
        and path.lower().startswith("\\registry\\user\\")
        and path.lower().endswith("\\" + key.lower())
    )


def _is_unnamed(path: str | None) -> bool:
    return path is None or path.startswith("<object ")


def _findings(report: Report) -> list[str]:
    """Return one sentence for each difference from what was expected."""
    sentences = []
    for line in report.lines:
        lacks = {
            "did not arrive": (line.done - line.seen, line.done),
            "came without the key's name": (line.seen - line.named, line.seen),
        }
        if line.seen == line.done and report.option_data:
            lacks["came with other data than was written"] = (line.data_done - line.data, line.data_done)
        if line.seen == line.done and report.option_previous:
            lacks["came with other previous data"] = (line.previous_done - line.previous, line.previous_done)
        sentences += [
            f"{line.operation}: {few} of {all_} {what}" for what, (few, all_) in lacks.items() if few
        ]
    if report.option_data is False:
        sentences.append("the option word brought no value data (0x2)")
    if report.option_previous is False:
        sentences.append("the option word brought no previous data (0x4)")
    if not report.complete:
        sentences.append(f"events were lost ({report.events_lost or 'how many is not known'})")
    return sentences
