"""Sources that change while they are read: what was there at the beginning is read and hashed, and the change is said."""

import hashlib
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pml_writer import opened, write_log

from tracer.ingest.pipeline import ingest
from tracer.simulate import SimulationOptions, simulate
from tracer.sources.description import sha256_of_first


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "a.etl"
    simulate(path, SimulationOptions(events=3000, seed=5), truth=False)
    return path


def counters(capture: Path) -> dict[str, int]:
    rows = pq.read_table(capture / "diagnostics.parquet").to_pylist()
    return {row["name"]: row["count"] for row in rows}


def append(path: Path, more: bytes) -> None:
    with path.open("ab") as file:
        file.write(more)


def rewrite(path: Path, more: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"\0" * 8)
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


@pytest.mark.parametrize("change", [append, rewrite])
def test_size_and_hash_are_of_what_was_there_when_reading_began(tmp_path, whole, change):
    source = tmp_path / "a.etl"
    raw = whole.read_bytes()
    source.write_bytes(raw)
    sound = ingest([whole], tmp_path / "sound.regtrace")
    done: list[object] = []

    def meddle(progress: object) -> None:
        if not done:
            change(source, raw[-65536:])
        done.append(progress)

    manifest = ingest([source], tmp_path / "c.regtrace", progress=meddle)
    assert done
    (entry,) = manifest.sources
    assert entry["size"] == len(raw)
    if change is append:  # the same bytes, so the same digest and the same events
        assert entry["sha256"] == hashlib.sha256(raw).hexdigest()
        assert manifest.totals["events"] == sound.totals["events"]
    assert counters(tmp_path / "c.regtrace")["source_changed"] == 1
    assert any("changed while it was read" in note for note in manifest.settings["notes"])
    assert not manifest.complete
    assert "source_changed" not in counters(tmp_path / "sound.regtrace")


def test_a_trace_that_is_cut_while_it_is_read_is_counted(tmp_path, whole, monkeypatch):
    monkeypatch.setattr("tracer.etl.reader.EtlReader.__init__.__kwdefaults__", {"chunk_bytes": 1 << 16})
    source = tmp_path / "a.etl"
    source.write_bytes(whole.read_bytes())
    manifest = ingest(
        [source],
        tmp_path / "c.regtrace",
        progress=lambda progress: os.truncate(source, len(whole.read_bytes()) // 4),
    )
    found = counters(tmp_path / "c.regtrace")
    assert found["source_changed"] == 1
    assert manifest.sources[0]["size"] == whole.stat().st_size
    assert not manifest.complete


def test_a_log_that_grows_is_hashed_as_it_was(tmp_path):
    raw = write_log([opened(r"HKLM\SOFTWARE\A"), opened(r"HKLM\SOFTWARE\B")]).raw
    source = tmp_path / "a.pml"
    source.write_bytes(raw)
    manifest = ingest([source], tmp_path / "c.regtrace", progress=lambda progress: append(source, b"more"))
    (entry,) = manifest.sources
    assert (entry["size"], entry["sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert counters(tmp_path / "c.regtrace")["source_changed"] == 1
    assert not manifest.complete


def test_hashing_leaves_the_place_of_the_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * 10_000)
    with path.open("rb") as file:
        file.seek(77)
        for size in (0, 1, 1 << 20, (1 << 20) + 1, 2_560_000, 9_999_999):
            assert sha256_of_first(file, size) == hashlib.sha256(path.read_bytes()[:size]).hexdigest()
        assert file.tell() == 77
