"""Event logs that are traps, and the processes that step into them: nothing hangs, and nobody stays behind."""

import contextlib
import io
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import evtx_children as children
import psutil
import pytest
from evtx_reading import ids_of, read, saved, small_log, written_ns
from evtx_writer import (
    BLOCK,
    CHUNK,
    Record,
    with_checksums,
    write_log,
)

from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError
from tracer.evtx import pool, process
from tracer.evtx.process import Child
from tracer.evtx.protocol import JSON_LIMIT, Decoded, ProtocolError, read_answer
from tracer.evtx.reader import EvtxReader
from tracer.evtx.window import NO_WINDOW

ROOT = Path(__file__).resolve().parents[1]
# Chunks that make the library hang, crash or take too much


@pytest.mark.parametrize("template", [False, True])
def test_names_in_a_circle_do_not_hang(tmp_path, template):
    log = small_log(2, template=template)
    chunk = bytearray(log.chunks[0])
    places = list(log.names[0].values())
    for at, following in zip(places, places[1:] + places[:1], strict=True):
        struct.pack_into("<I", chunk, at, following)
    log.chunks[0] = with_checksums(bytes(chunk))
    result = read(saved(tmp_path, log.content()))
    assert result.ids == ids_of(log)
    assert not result.counts


def test_the_one_byte_on_which_the_library_hangs_costs_no_record(corpus):
    result = read(corpus / "logs" / "evtx-hang-one-byte.evtx")
    assert len(result.ids) == 1
    assert result.counts == {"evtx_chunk_damaged": 1}
    assert json.loads(result.column("json")[0])["Event"]["System"]["EventID"] == 13


@pytest.mark.slow
@pytest.mark.parametrize("what", [children.HANG, children.CRASH, children.HOARD, children.LIE])
@pytest.mark.skipif(os.name == "nt", reason="timers and limits are those of POSIX")
def test_a_chunk_that_its_child_does_not_survive_costs_that_chunk_alone(tmp_path, what):
    log = small_log(20)
    lost = (3, 4, 17)
    for index in lost:
        log.chunks[index] = children.mark(log.chunks[index], what)
    result = read(saved(tmp_path, log.content()), program=children.PROGRAM, deadline_s=0.2)
    assert result.ids == ids_of(log, *lost)
    assert result.counts == {"evtx_chunk_hangs": 3}
    assert result.first_offsets == {"evtx_chunk_hangs": BLOCK + 3 * CHUNK}
    assert [(loss.offset, loss.size_bytes, loss.records) for loss in result.losses] == [
        (BLOCK + 3 * CHUNK, 2 * CHUNK, None),
        (BLOCK + 17 * CHUNK, CHUNK, None),
    ]
    around = [(3, 5), (17, 18)]
    assert [(loss.from_ns, loss.to_ns) for loss in result.losses] == [
        (written_ns(log.records[before - 1][-1][1]), written_ns(log.records[after][0][1]))
        for before, after in around
    ]
    assert result.facts["chunks"] == 20


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="on Windows the limit is time on the clock")
def test_a_busy_machine_is_no_hang(tmp_path):
    log = small_log(2)
    log.chunks[0] = children.mark(log.chunks[0], children.SLEEP)
    result = read(saved(tmp_path, log.content()), program=children.PROGRAM, deadline_s=0.2)
    assert result.ids == ids_of(log)


@pytest.mark.slow
def test_a_child_that_is_silent_for_too_long_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "_SILENCE", 2)
    log = small_log(3)
    log.chunks[1] = children.mark(log.chunks[1], children.STOP)
    result = read(saved(tmp_path, log.content()), program=children.PROGRAM)
    assert result.ids == ids_of(log, 1)
    assert result.counts == {"evtx_chunk_hangs": 1}


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="timers are those of POSIX")
def test_a_log_of_nothing_but_traps_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "_PATIENCE", 2)
    monkeypatch.setattr(pool, "_MOST_LOST", 5)
    log = small_log(60, 1)
    log.chunks = [children.mark(chunk, children.HANG) for chunk in log.chunks]
    result = read(saved(tmp_path, log.content()), program=children.PROGRAM, deadline_s=0.3)
    assert not result.ids
    assert result.counts == {"evtx_chunk_hangs": 60}
    (loss,) = result.losses
    assert (loss.offset, loss.size_bytes, loss.from_ns, loss.to_ns) == (BLOCK, 60 * CHUNK, None, None)


def test_a_chunk_of_too_much_text_is_broken_off(tmp_path):
    # A long name in the template, which takes six times its length in JSON, and many records that are its instances.
    records = [Record(number, {"\x01" * 12_000: "x"}) for number in range(1, 400)]
    log = write_log(records, template=True)
    result = read(saved(tmp_path, log.content()))
    assert len(log.chunks) == 1
    assert result.counts["evtx_chunk_broken_off"] == 1
    assert result.ids == list(range(1, len(result.ids) + 1))
    sizes = [len(text) for text in result.column("json")]
    assert JSON_LIMIT - 2 * sizes[0] < sum(sizes) <= JSON_LIMIT
    (loss,) = result.losses
    assert loss.records == len(records) - len(sizes)
    assert loss.from_ns == written_ns(records[len(sizes) - 1])


# Processes


def our_children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.02)
                continue
        return True
    return False


def test_a_reader_that_is_left_ends_its_children(tmp_path):
    before, threads = our_children(), threading.active_count()
    log = small_log(200, 100)
    batches = EvtxReader(saved(tmp_path, log.content()), "log", Diagnostics()).batches()
    assert len(next(batches))
    assert our_children() - before
    batches.close()  # type: ignore[attr-defined]
    assert our_children() == before
    assert threading.active_count() == threads


_WATCHED = """
import sys, time
from pathlib import Path
import evtx_children
from tracer.diagnostics import Diagnostics
from tracer.evtx.reader import EvtxReader
from tracer.evtx.window import NO_WINDOW
print("ready", flush=True)
reader = EvtxReader(Path(sys.argv[1]), "log", Diagnostics(), program=evtx_children.PROGRAM, children=1)
for batch in reader.batches():
    print(len(batch), flush=True)
    time.sleep(float(sys.argv[2]))
"""


@contextlib.contextmanager
def watched_parent(path: Path, pause_s: float) -> Iterator[tuple[psutil.Popen, int]]:
    """Start a process that reads a log and rests after each batch; yield it and its child."""
    place = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    started = psutil.Popen(
        [sys.executable, "-P", "-c", _WATCHED, str(path), str(pause_s)],
        env={**os.environ, "PYTHONPATH": place},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert started.stdout.readline().strip() == b"ready"
        while not (pids := [child.pid for child in started.children()]):
            assert started.poll() is None, started.stderr.read()
            time.sleep(0.02)
        yield started, pids[0]
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate()


def trap(tmp_path: Path, what: int) -> Path:
    """Return a log on whose first chunk the child stays."""
    log = small_log(2)
    log.chunks[0] = children.mark(log.chunks[0], what)
    return saved(tmp_path, log.content())


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a console, not to a process")
def test_ctrl_c_ends_the_child(tmp_path):
    with watched_parent(trap(tmp_path, children.STOP), 0) as (parent, child):
        time.sleep(1.0)  # both wait by now; Ctrl-C before that is Python's own matter
        os.kill(child, signal.SIGINT)  # Ctrl-C goes to the child as well, and it leaves it to its parent
        parent.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in parent.communicate(timeout=30)[1]
        assert gone(child)


def test_a_killed_parent_leaves_no_child_that_waits_for_work(tmp_path):
    path = saved(tmp_path, small_log(200, 100).content())
    with watched_parent(path, 3600) as (parent, child):
        assert int(parent.stdout.readline()) > 0
        parent.kill()
        assert gone(child)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="timers are those of POSIX")
def test_a_killed_parent_leaves_no_child_that_hangs(tmp_path):
    with watched_parent(trap(tmp_path, children.HANG), 0) as (parent, child):
        parent.kill()
        assert gone(child)


def test_files_of_the_current_folder_are_no_modules(tmp_path):
    (tmp_path / "evtx.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    (tmp_path / "struct.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    path = saved(tmp_path, small_log(1).content())
    program = _WATCHED.replace("import evtx_children", "").replace(", program=evtx_children.PROGRAM", "")
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program, str(path), "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["ready", "3"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (
            "from tracer.evtx.protocol import write_greeting; import sys; write_greeting(sys.stdout.buffer, 'no wheel')",
            "the library evtx, which decodes event logs, cannot be loaded (no wheel); install it",
        ),
        ("raise SystemExit(3)", "ended at its start; run it by hand to see why"),
    ],
)
def test_a_child_that_cannot_begin_is_a_sentence_and_no_damage(tmp_path, program, words):
    before = our_children()
    path = saved(tmp_path, small_log(2).content())
    diagnostics = Diagnostics()
    with pytest.raises(SourceError) as caught:
        list(EvtxReader(path, "log", diagnostics, program=("-c", program)).batches())
    assert words in str(caught.value)
    assert not list(diagnostics)
    assert our_children() == before


@pytest.mark.parametrize("field", range(5))
def test_an_answer_with_an_absurd_size_is_not_read(field):
    counts = [0, 0, 0, 0, 0]
    counts[field] = JSON_LIMIT + 1
    answer = struct.pack("<II", 1, 0) + struct.pack("<BIIIII", 0, *counts)
    with pytest.raises(ProtocolError):
        read_answer(io.BytesIO(answer + bytes(64)), 1, None)


_IN_WINDOW = 8


@pytest.mark.parametrize(
    ("chunks", "state", "json"),
    [
        pytest.param(2, 0, 0, id="another number of chunks"),
        pytest.param(1, _IN_WINDOW, 4097, id="beyond the window"),
        pytest.param(1, 0, 64, id="JSON of no record"),
    ],
)
def test_an_answer_that_makes_no_sense_is_not_read(chunks, state, json):
    answer = struct.pack("<II", chunks, 0) + struct.pack("<BIIIII", state, 0, 0, 0, 0, json) * chunks
    with mmap.mmap(-1, 4096) as memory, pytest.raises(ProtocolError):
        read_answer(io.BytesIO(answer + bytes(64)), 1, memory)


class _NoWindow:
    memory, argument, inherited = None, NO_WINDOW, ()

    def close(self) -> None:
        """Nothing is there."""


def answer_of(path: Path) -> tuple[list[int], list[bytes]]:
    """Return how many records each chunk has, and the columns of all."""
    child = Child(2.0)
    try:
        child.greet()
        answer = child.answer(str(path), BLOCK, path.stat().st_size)
    finally:
        child.close()
    assert answer is not None
    columns = [getattr(answer.records, name) for name in Decoded.__slots__]
    return [chunk.records for chunk in answer.chunks], columns


def test_answers_are_the_same_without_a_window(tmp_path, monkeypatch):
    path = saved(tmp_path, small_log(8, 60).content())
    through_window = answer_of(path)
    assert through_window[0] == [60] * 8
    monkeypatch.setattr(process, "Window", _NoWindow)
    assert answer_of(path) == through_window


def test_a_file_that_goes_away_is_a_sentence(tmp_path):
    log = small_log(400, 3)
    path = saved(tmp_path, log.content())
    batches = EvtxReader(path, "log", Diagnostics()).batches()
    path.unlink()
    with pytest.raises(SourceError, match="log cannot be read any more: No such file or directory"):
        next(batches)


def test_a_file_that_becomes_shorter_ends_there(tmp_path):
    log = small_log(400, 100)
    path = saved(tmp_path, log.content())
    diagnostics = Diagnostics()
    reader = EvtxReader(path, "log", diagnostics)
    batches = reader.batches()
    count = len(next(batches))
    with path.open("r+b") as file:
        file.truncate(BLOCK + 300 * CHUNK + 1000)
    count += sum(map(len, batches))
    assert count == reader.facts["records"]
    assert 29_900 <= count <= 30_000
    assert {name: times for name, times, _ in diagnostics}["zero_tail"] == 99
