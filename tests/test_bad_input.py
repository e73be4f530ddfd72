"""Bad .etl input: one clear sentence, or everything readable kept and the damage counted; never anything else."""

import resource
import time
from itertools import combinations
from pathlib import Path
from random import Random

import pytest
import raw_etl as raw
from memory_writer import MemoryWriter
from mutations import KINDS, base_files, mutate

import tracer.ingest.pipeline
from tracer.diagnostics import COUNTERS, Diagnostics
from tracer.errors import RegtraceError, SourceError
from tracer.etl.reader import EtlReader
from tracer.ingest.pipeline import ingest
from tracer.simulate import Clock, EtlWriter
from tracer.sources.machines import Machine, differences, etl_machine
from tracer.store.manifest import Manifest

MUTATIONS = 3_600  # over all kinds of files; of twice as many none found more
SLOWEST = 10.0  # seconds a damaged file of a few KiB may take before it counts as a hang


@pytest.fixture
def unwritten(monkeypatch) -> None:
    """Let ingests write nothing."""
    monkeypatch.setattr(tracer.ingest.pipeline, "CaptureWriter", MemoryWriter)


def check_sentence(error: RegtraceError) -> None:
    """Fail unless a user is told in one line."""
    text = str(error)
    assert text
    assert "\n" not in text


def put(path: Path, content: bytes) -> None:
    """Write a file anew; a file system may write a file that is cut and filled again to the disk at once."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def refusal(path: Path) -> str:
    """Return the sentence with which an ingest of `path` is refused."""
    target = path.with_suffix(".regtrace")
    with pytest.raises(SourceError) as caught:
        ingest([path], target)
    assert not target.exists()
    assert list(path.parent.glob("*.partial")) == []
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"x", "not an .etl file"),
        (b"time,key,value\n" * 100, "this is text"),
        (bytes(100_000), "begins with zeros only"),
        (b"\xff" * 100_000, "not an .etl file"),
        (Random(1).randbytes(100_000), "not an .etl file"),
        (b"MZ" + bytes(4000), "a Windows program"),
        (b"ElfFile\0" + bytes(4000), "is cut inside its header"),
        (b"regf" + bytes(4000), "a registry hive"),
        (b"PAR1" + bytes(4000), "a Parquet file"),
        (raw.buffer(raw.event(1, 5)), "no log file header"),
        (raw.buffer(raw.logfile_record()[:0x90], size=256), "log file header"),
    ],
    ids=[
        "empty",
        "byte",
        "text",
        "zeros",
        "ones",
        "noise",
        "exe",
        "evtx",
        "hive",
        "parquet",
        "headless",
        "short",
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_sentence(tmp_path, content, says):
    path = tmp_path / "wrong.etl"
    path.write_bytes(content)
    sentence = refusal(path)
    assert says in sentence
    assert str(path) in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("make", "says"),
    [(Path.mkdir, "no file in this folder is a trace"), (lambda path: None, "cannot be opened")],
    ids=["folder", "absent"],
)
def test_a_path_that_is_no_file_is_refused_in_one_sentence(tmp_path, make, says):
    path = tmp_path / "no.etl"
    make(path)
    assert says in refusal(path)


def test_random_bytes_are_never_more_than_refused(tmp_path, unwritten):
    random = Random(7)
    for size in range(0, 4000, 7):
        path = tmp_path / "noise.etl"
        put(path, random.randbytes(size))
        with pytest.raises(SourceError):
            ingest([path], tmp_path / "t")


# --- a file cut at every byte -----------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["plain", "compressed"])
def three_buffers(request, tmp_path_factory) -> tuple[bytes, list[int]]:
    """A file of a header and three small buffers, and where each buffer begins."""
    compressed = request.param == "compressed"
    path = tmp_path_factory.mktemp("cut") / "a.etl"
    writer = EtlWriter(path, buffer_size=1024, compressed=compressed, cpus=1)
    for number in range(24):
        writer.add_record("event", ticks=Clock().start_ticks + number, provider=raw.GUID, id_=number,
                          payload=bytes(range(number, number + 16)))  # fmt: skip
        if number % 8 == 7:
            writer.flush(0)
    writer.finish()
    content = path.read_bytes()
    starts, at = [], 0
    while at < len(content):
        starts.append(at)
        at += int.from_bytes(content[at : at + 4], "little")
    assert len(starts) == 4
    return content, [*starts, len(content)]


@pytest.mark.slow
def test_a_file_cut_at_any_byte_gives_all_whole_buffers_and_says_that_it_was_cut(tmp_path, three_buffers):
    content, starts = three_buffers
    path = tmp_path / "cut.etl"
    path.write_bytes(content)
    whole = raw.read(path).rows
    assert [row.id for row in whole[1:]] == list(range(24))
    header = 72 + int.from_bytes(content[72 + 4 : 72 + 6], "little")
    refused = 0
    for length in range(len(content)):
        put(path, content[:length])
        try:
            reading = raw.read(path)
        except SourceError as error:
            assert length < header, length
            check_sentence(error)
            refused += 1
            continue
        buffers = sum(start <= length for start in starts[2:])  # data buffers that are whole
        assert len(reading.rows) >= 8 * buffers + (length >= header), length
        assert reading.rows == whole[: len(reading.rows)], length
        assert any(COUNTERS[name].severity == "loss" for name in reading.counts[0]), length
        assert reading.losses, length
        assert ("cut_buffer" in reading.counts[0]) == (length not in starts), length
    assert 72 + 32 + 0x118 <= refused <= header  # without the names in the header its facts are there


# --- random damage ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> dict[str, bytes]:
    return base_files(tmp_path_factory.mktemp("sound"))


def machines_of(path: Path) -> list[Machine] | None:
    """Return the machines the file tells of; None where it is not taken for an .etl, which one sentence says."""
    try:
        with EtlReader([path], [Diagnostics()]) as reader:
            machines = [etl_machine(trace.name, trace.header) for trace in reader.sources]
    except SourceError as error:
        check_sentence(error)
        return None
    return machines


def ingest_or_refuse(paths: list[Path], target: Path) -> Manifest | None:
    """Ingest; None where it was refused as it should be. Any other exception goes through."""
    began = time.monotonic()
    try:
        manifest = ingest(paths, target)
    except RegtraceError as error:
        check_sentence(error)
        return None
    finally:
        assert time.monotonic() - began < SLOWEST
    return manifest


def test_the_undamaged_files_are_read_without_a_complaint(tmp_path, sound, unwritten):
    fine = {"plain", "narrow", "compressed", "extended", "classic", "classic_narrow", "hostile", "headers"}
    assert set(sound) == {*KINDS, "headers"}
    for name, content in sound.items():
        path = tmp_path / "a.etl"
        path.write_bytes(content)
        manifest = ingest([path], tmp_path / "t")
        assert manifest.complete == (name in fine), name
        assert manifest.totals["events"] > 30 or name == "headers"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, "headers"])
def test_no_damage_does_more_than_lose_records(tmp_path, sound, unwritten, kind):
    """Most files are ingested twelve at a time, which merges them and saves the cost of so many ingests."""
    random = Random(f"damage {kind}")
    paths = [tmp_path / f"{number}.etl" for number in range(12)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = read = 0
    while made < MUTATIONS // (len(KINDS) + 1):
        chosen = paths if random.random() < 0.4 else paths[:1]
        for path in chosen:
            put(path, mutate(sound[kind], random))
        made += len(chosen)
        fit, met = chosen, []
        if len(chosen) > 1:  # files that damage made into those of other machines are rightly not merged
            fit = []
            for path in chosen:
                machines = machines_of(path)
                if machines and not any(differences(*two) for two in combinations(met + machines, 2)):
                    fit.append(path)
                    met += machines
        read += len(fit) if fit and ingest_or_refuse(fit, tmp_path / "t") else 0
    assert read > made // 2  # most damage leaves something to read
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300 << 10  # KiB


@pytest.mark.slow
def test_damaged_files_make_captures_that_open(tmp_path, sound):
    random = Random("captures")
    path, target = tmp_path / "damaged.etl", tmp_path / "damaged.regtrace"
    opened = 0
    for number in range(120):
        put(path, mutate(sound[random.choice(list(sound))], random))
        try:
            made = ingest([path], target, force=True)
        except SourceError:
            continue
        loaded = Manifest.load(target)
        assert loaded.as_dict() == made.as_dict(), number
        opened += 1
    assert opened > 40


def test_diagnostics_refuse_a_name_that_nobody_explained():
    with pytest.raises(KeyError):
        Diagnostics().count("no_such_counter")
