"""Importers: what reads each kind of input, sound inputs to start from, and what must hold of anything that is read."""

import tempfile
import zipfile
import zlib
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import evtx_writer
import hive_writer
import mutations
import pml_writer
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz.kinds import Kind, Parts
from fuzz.structures import ETL, ETL_COMPRESSED, EVTX, HIVE, HIVE_LOG, JSON, PLAIN, PML, TEXT, Structure
from log_samples import KINDS as LOGS
from log_samples import log_content
from memory_writer import MemoryWriter
from small_capture import write_capture

from tracer.diagnostics import Diagnostics
from tracer.errors import RegtraceError, UsageError
from tracer.ingest.kernels import NUMPY, Kernels, load_compiled
from tracer.sources.inputs import SourceFile

__all__ = ["KINDS"]


# .etl: both forms of the loops


@cache
def _forms() -> list[Kernels]:
    try:
        return [NUMPY, load_compiled()]
    except ImportError:
        return [NUMPY]


@cache
def _traces() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        return mutations.base_files(Path(folder))


def _etl(folder: Path) -> int:
    from tracer.ingest.etl import EtlIngest

    files = [SourceFile(path, path.name, path.name, "etl") for path in sorted(folder.iterdir())]
    outcomes: list[Any] = []
    for kernels in _forms():
        writer: Any = MemoryWriter(folder / "none")
        try:
            manifest = EtlIngest(files, [], writer, None, None, None, kernels, None, None).run()
            outcomes.append((manifest.totals, manifest.complete, writer.tables))
        except RegtraceError as error:
            outcomes.append(error)
    for outcome in outcomes[1:]:
        if isinstance(outcome, RegtraceError):
            assert str(outcome) == str(outcomes[0]), "the forms of the loops refuse it differently"
        else:
            assert outcome == outcomes[0], "the forms of the loops make different rows"
    if isinstance(outcomes[0], RegtraceError):
        raise outcomes[0]
    return int(outcomes[0][0]["events"])


def _etl_kind(*names: str, weight: float, structure: Structure = ETL) -> Kind:
    return Kind(weight, lambda: [{"a.etl": _traces()[name]} for name in names], {"a.etl": structure}, _etl)


# Procmon


def _pml_logs() -> list[Parts]:
    w = pml_writer
    path = "HKLM\\SOFTWARE\\Vendor\\Straße"
    events = [
        w.opened(path),
        w.opened("HKCU\\Software\\ä", operation=w.CREATE),
        w.opened("HKLM\\x", result=0xC0000034),
        w.queried(path + "\\v", b"t\0e\0\0\0"),
        w.queried(path + "\\v", b"\1\0\0\0", kind=4),
        w.answered(path, "\\REGISTRY\\MACHINE\\SOFTWARE"),
        w.value_set(path + "\\v", bytes(40), copied=16),
        w.value_set(path + "\\w", b"a\0b\0", kind=7),
        w.created_process(8, 99, 1234, "C:\\x.exe", "x /y"),
        w.Event(w.RENAME, path, b"\0\0", b"n\0"),
        w.Event(w.CLOSE, path),
        w.Event(w.ENUM_KEY, path, b"\0\0" + bytes(12), extra=bytes(40)),
        w.Event(w.DELETE_VALUE, path + "\\v", process=8),
    ]
    return [
        {"a.pml": w.write_log(events, [w.Process(), w.Process(8, 99)], bits=bits).raw} for bits in (64, 32)
    ]


def _pml(folder: Path) -> int:
    from tracer.pml.ingest import ingest_pml

    files = [SourceFile(path, path.name, path.name, "pml") for path in sorted(folder.iterdir())]
    writer: Any = MemoryWriter(folder / "none")
    return int(ingest_pml(files, writer, control_set=None, progress=None, left_out=[]).totals["events"])


# Event logs


def _event_logs() -> list[Parts]:
    return [
        {
            "a.evtx": evtx_writer.write_log(
                [evtx_writer.sysmon_like(number, "ä" * number) for number in range(1, 6)], template=template
            ).content()
        }
        for template in (False, True)
    ]


class _LastingChild:
    """A child that decodes for many readers: to start one costs more than fifty inputs."""

    _one: Any = None

    def __init__(self, deadline_s: float, program: object = ()) -> None:
        from tracer.evtx.process import Child

        self._is_new = _LastingChild._one is None
        self._is_lost = False
        if self._is_new:
            _LastingChild._one = Child(deadline_s)

    def greet(self) -> None:
        if self._is_new:
            _LastingChild._one.greet()

    def answer(self, path: str, begin: int, end: int) -> Any:
        answer = _LastingChild._one.answer(path, begin, end)
        self._is_lost = answer is None
        return answer

    def kill(self) -> None:
        """Only what did not answer is ended."""

    def close(self) -> None:
        if self._is_lost:
            _LastingChild._one.close()
            _LastingChild._one = None


def _evtx(folder: Path) -> int:
    from tracer.evtx import pool
    from tracer.evtx.reader import BATCH_SCHEMA, EvtxReader

    vars(pool)["Child"] = _LastingChild
    reader = EvtxReader(folder / "a.evtx", "a.evtx", Diagnostics(), deadline_s=0.3, children=1)
    rows = 0
    for batch in reader.batches():
        batch.validate(full=True)
        assert batch.schema == BATCH_SCHEMA
        rows += batch.num_rows
    return rows


# Logs as text


def _log(name: str, folder: Path) -> int:
    from tracer.sources.kinds import RAW_ETW

    file = SourceFile(folder / "a.log", "a.log", "a.log", LOGS[name])
    return _raw(file, folder) if file.kind in RAW_ETW else _named(file)


def _named(file: SourceFile) -> int:
    from tracer.named.context import NamedContext, NamedOptions
    from tracer.named.ingest import READERS
    from tracer.named.rows import SCHEMA

    context, rows = NamedContext(NamedOptions()), 0
    try:
        for batch in READERS[file.kind](file, file.path.stat().st_size, context, Diagnostics()):
            batch.validate(full=True)
            assert batch.schema == SCHEMA
            rows += batch.num_rows
    finally:
        context.actors.table().validate(full=True)
    return rows


def _raw(file: SourceFile, folder: Path) -> int:
    from tracer.decode.columns import decode_operations
    from tracer.decode.strings import NameTable
    from tracer.named.context import NamedOptions
    from tracer.raw.reader import RawReader

    rows, names = 0, NameTable()
    with closing(RawReader([file], folder, NamedOptions(), lambda *_: None)) as reader:
        for records in reader:
            operations = decode_operations(records, reader.providers, names, reader.diagnostics)
            assert len(operations.rows) <= len(records)
            rows += len(records)
    return rows


def _log_kind(name: str) -> Kind:
    weight, parts = (0.4, 10) if name.startswith("etw") else (0.6 if "json" in LOGS[name] else 2, 4)
    return Kind(
        weight,
        # An input costs by its records and their layouts, and is damaged in few places: so each has a few.
        lambda: [{"a.log": log_content(name, part, parts)} for part in range(parts)],
        {"a.log": TEXT},
        lambda folder: _log(name, folder),
    )


# Hives and their logs


def _hives() -> list[Parts]:
    root = hive_writer.Key("R", class_name="class")
    root.below("Select").values.append(("Current", 4, b"\1\0\0\0"))
    root.below("Setup")
    for number in range(8):
        key = root.below(f"Part {number % 3}\\Key {number}")
        key.values += [("", 1, b"a\0b\0"), (f"Välue {number}", 4, b"1234")]
        key.values.append(("Long", 3, bytes(20 if number else 20_000)))
    first = hive_writer.hive(root, most=5, sequences=(8, 7))
    root.below("New").values.append(("x", 1, b"abcdefgh"))
    second = hive_writer.hive(root, most=5, sequences=(8, 7))
    return [{"SYSTEM": first, "SYSTEM.LOG1": hive_writer.log_of(first, second, 7, steps=3)}]


def _hive(folder: Path) -> int:
    from tracer.baseline.capture_tables import open_baseline

    baseline = open_baseline([folder / "SYSTEM"])
    size = rows = 0
    for batch in baseline.hives[0].hive.values():
        size += sum(len(data or b"") for data in batch.data)
        rows += len(batch.data)
    assert size <= sum(path.stat().st_size for path in folder.iterdir()), "more data than the files hold"
    assert all(baseline.paths())
    return rows


# Tables of names


def _seed_table() -> pa.Table:
    paths = [f"\\REGISTRY\\MACHINE\\SOFTWARE\\{number}" for number in range(20)]
    return pa.table({"address": [2**40 + 16 * number for number in range(20)], "path": paths})


def _seed_parquets() -> list[Parts]:
    out = []
    for options in (
        {"compression": "none"},
        {"use_dictionary": False},
        {"version": "1.0", "compression": "gzip"},
    ):
        sink = pa.BufferOutputStream()
        pq.write_table(_seed_table(), sink, **options)
        out.append({"a.parquet": sink.getvalue().to_pybytes()})
    return out


def _seed_texts() -> list[Parts]:
    rows = _seed_table().to_pylist()
    lines = ["address,path", *(f"0x{row['address']:x},{row['path']}" for row in rows)]
    return [{"a.csv": "\r\n".join(lines).encode()}]


def _seed(folder: Path) -> int:
    from tracer.ingest.seed import read_seed

    addresses, paths = read_seed(next(folder.iterdir()))
    assert len(addresses) == len(paths)
    assert all(0 <= address < 1 << 64 for address in addresses)
    return len(addresses)


# Captures


@cache
def _capture_files() -> Parts:
    with tempfile.TemporaryDirectory() as folder:
        capture = write_capture(Path(folder) / "c", events=24, part_rows=12)
        return {
            str(path.relative_to(capture)): path.read_bytes()
            for path in sorted(capture.rglob("*"))
            if path.is_file()
        }


def _manifest(folder: Path) -> int:
    from tracer.store.manifest import Manifest

    manifest = Manifest.load(folder, check_rows=False)
    assert set(manifest.row_sources) >= set()
    return len(manifest.parts)


def _manifest_parts() -> list[Parts]:
    return [_capture_files()]


def _capture(folder: Path) -> int:
    from analysis.open import open_capture

    try:
        with open_capture(folder, threads=1) as capture:
            rows = len(capture.timeline(limit=20))
            capture.sql("SELECT count(*), max(display_key), sum(data_size) FROM events")
    except UsageError as error:  # nobody asked for anything wrong
        raise AssertionError(f"a damaged file is called a mistake of the user: {error}") from error
    return rows


# Packed files


def _packed() -> list[Parts]:
    etl, xml = _traces()["plain"][:8192], log_content("xml")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.etl", etl)
            archive.writestr("b/c.xml", xml)
        packer = zlib.compressobj(wbits=31)
        return [{"a": path.read_bytes()}, {"a": packer.compress(etl) + packer.flush()}]


def _unpack(folder: Path) -> int:
    from tracer.sources.inputs import open_sources

    with open_sources([folder / "a"], folder=folder) as found:
        return len(found.without_copies())


KINDS: dict[str, Kind] = {
    "etl": _etl_kind("plain", "extended", "hostile", "cycles", weight=3.3),
    "etl headers": _etl_kind("headers", weight=1.2),
    "etl 32-bit": _etl_kind("narrow", weight=1.5),
    "etl classic": _etl_kind("classic", "classic_narrow", weight=2.4),
    "etl compressed": _etl_kind("compressed", weight=0.9),
    "etl compressed after": _etl_kind("plain", "classic", weight=0.9, structure=ETL_COMPRESSED),
    "pml": Kind(14, _pml_logs, {"a.pml": PML}, _pml),
    "evtx": Kind(14, _event_logs, {"a.evtx": EVTX}, _evtx),
    "hive": Kind(6, _hives, {"SYSTEM": HIVE, "SYSTEM.LOG1": HIVE_LOG}, _hive),
    "seed parquet": Kind(11, _seed_parquets, {"a.parquet": PLAIN}, _seed),
    "seed csv": Kind(8, _seed_texts, {"a.csv": TEXT}, _seed),
    "capture.json": Kind(15, _manifest_parts, {"capture.json": JSON}, _manifest),
    "capture": Kind(
        0.8,
        _manifest_parts,
        {name: JSON if name.endswith("json") else PLAIN for name in _capture_files()},
        _capture,
    ),
    "packed": Kind(6, _packed, {"a": PLAIN}, _unpack),
    **{name: _log_kind(name) for name in LOGS},
}
