"""Nothing is lost in silence: whatever the service hands over is shown, left out by a filter, or counted by its cause.

The service is played record by record on one thread, with a clock of its own; nothing waits and nothing sleeps.
"""

import ctypes
import signal
import threading
from contextlib import nullcontext, suppress

import pytest
from fake_session import Script, install
from hypothesis import example, given, settings
from hypothesis import strategies as st
from live_raw import event_record
from typer.testing import CliRunner

from cli.app import app
from cli.exits import Exit
from tracer.errors import SessionError
from tracer.etl.logfile import FILETIME_EPOCH
from tracer.etl.providers import KERNEL_PROCESS, KERNEL_REGISTRY
from tracer.live import monitor as monitor_module
from tracer.live import watch
from tracer.live.monitor import Monitor
from tracer.live.pipeline import LivePipeline
from tracer.live.records import RawRecord
from tracer.live.row_filter import RowFilter
from tracer.live.watch import Watch
from tracer.session.consumer import Consumer
from tracer.session.raw_queue import RawQueue

_SET = (0x1000).to_bytes(8, "little") + bytes(4) + (4).to_bytes(4, "little") * 2


def a_set(key: str) -> bytes:
    names = f"\\REGISTRY\\MACHINE\\SOFTWARE\\{key}\0value\0"
    return _SET + names.encode("utf-16-le") + (4).to_bytes(2, "little") + bytes(14)


WANTED = "HKLM\\SOFTWARE\\Wanted"
# What a record is: provider, id, version, data; and its end where a filter asks for WANTED.
KINDS = {
    "shown": (KERNEL_REGISTRY, 5, 0, a_set("Wanted")),
    "filtered": (KERNEL_REGISTRY, 5, 0, a_set("Other")),
    "other": (KERNEL_PROCESS, 2, 0, bytes(64)),
    "undecoded": (KERNEL_REGISTRY, 5, 0, b"\x01"),
}
NEWER = (KERNEL_REGISTRY, 5, 200, a_set("Wanted"))  # a newer version of a known event is shown
UNKNOWN = (KERNEL_REGISTRY, 999, 0, a_set("Wanted"))
FOREIGN = ("11111111-2222-3333-4444-555555555555", 5, 0, a_set("Wanted"))


def record(kind: tuple[str, int, int, bytes], number: int) -> RawRecord:
    provider, event, version, data = kind
    return event_record(
        provider=provider, id=event, version=version, data=data, pid=77, filetime=FILETIME_EPOCH + number * 10_000
    )  # fmt: skip


class Service:
    """What stands behind ProcessTrace: it hands records to a RawQueue, some with each `take`; a Consumer's face."""

    def __init__(self, records: list[RawRecord], *, each: int, room: int, seconds: float = 0.1) -> None:
        self.script = Script(tick=seconds)
        self.queue = RawQueue(room)
        self.accepted: list[int] = []
        self.handed = self.refused = 0
        self.is_cut, self.is_closed, self.trouble, self.breaks_at = False, False, None, -1
        self._coming, self._each, self._kept = records, each, []

    def __call__(self, name: str, *, most_bytes: int = 0) -> "Service":
        return self

    def hand_over(self, count: int) -> None:
        for _ in range(min(count, len(self._coming) - self.handed)):
            head, data, _ = self._coming[self.handed]
            memory = ctypes.create_string_buffer(head, 112), ctypes.create_string_buffer(data, len(data) or 1)
            ctypes.memmove(
                ctypes.addressof(memory[0]) + 96, ctypes.addressof(memory[1]).to_bytes(8, "little"), 8
            )
            before = len(self.queue._queue)
            self.queue.on_record(ctypes.addressof(memory[0]))
            if len(self.queue._queue) > before:
                self.accepted.append(self.handed)
            elif not self.is_closed:
                self.refused += 1
            self.handed += 1

    def take(self, timeout: float) -> list[RawRecord] | None:
        self.script.now += self.script.tick
        if self.handed == self.breaks_at:
            raise OSError("the reader fails")
        self.hand_over(self._each)
        if not self.script.running and self.handed == len(self._coming):
            self.queue.end()
        return self.queue.take(0)

    def start(self) -> None:
        pass

    def close(self) -> None:
        self.is_closed = True
        self.queue.close()

    def wait(self, timeout: float) -> None:
        self.hand_over(3 * self._each)  # what comes before the service has heard of the end

    def stop(self, patience: float = 10) -> None:
        self.is_cut = self.is_cut or self.handed < len(self._coming)

    dropped = property(lambda self: self.queue.dropped)
    failures = property(lambda self: self.queue.failures)
    received = property(lambda self: self.queue.received)


def small_pieces(patch: pytest.MonkeyPatch, service: Service, piece: int) -> None:
    install(patch, service.script)
    patch.setattr("tracer.session.consumer.Consumer", service)
    patch.setattr(watch, "_LEAST_PIECE", piece)
    patch.setattr(watch, "PIECE", piece)
    patch.setattr(watch, "_LAST_PIECE", piece)


@settings(max_examples=60)
@given(
    kinds=st.lists(st.sampled_from(list(KINDS)), max_size=90),
    each=st.integers(1, 40),
    room=st.sampled_from([2_000, 15_000, 1 << 20]),
    piece=st.integers(1, 30),
    seconds=st.sampled_from([0.01, 0.3, 2.0]),
    turns=st.integers(0, 12),
    last_turns=st.none() | st.integers(0, 3),
    breaks_at=st.integers(-1, 60),
    apart_ms=st.sampled_from([1, 100]),
)
def test_what_the_service_hands_over_is_shown_filtered_or_counted(
    kinds, each, room, piece, seconds, turns, last_turns, breaks_at, apart_ms
):
    records = [record(KINDS[kind], number * apart_ms) for number, kind in enumerate(kinds)]
    service = Service(records, each=each, room=room, seconds=seconds)
    service.breaks_at = breaks_at
    seen = 0
    with pytest.MonkeyPatch.context() as patch:
        small_pieces(patch, service, piece)
        running = Watch(RowFilter(key=[WANTED]), clock=lambda: service.script.now)
        with suppress(OSError), running:
            for turn, rows in enumerate(running.batches()):  # left in the middle of whatever is under way
                seen += rows.num_rows
                if turn >= turns:
                    break
            asked = service.script.now
            for turn, rows in enumerate(running.finish()):
                seen += rows.num_rows
                if last_turns is not None and turn >= last_turns:
                    break
            assert service.script.now - asked <= watch._PATIENCE + 2 * seconds
    standing = running.status()
    assert standing.received == service.handed
    assert standing.shown == seen
    read = service.accepted[: standing.received - standing.dropped - standing.unread]
    ends = [kinds[number] for number in read]
    for name in KINDS:
        assert getattr(standing, name) == ends.count(name)
    assert standing.dropped == service.refused
    counted = standing.shown + standing.filtered + standing.other + standing.undecoded
    assert counted + standing.dropped + standing.unread == service.handed
    assert standing.unread >= 0
    assert standing.waiting == 0
    missing = standing.dropped + standing.unread + standing.undecoded or service.handed < len(records)
    assert standing.is_lossy == bool(missing)


# --- the verb ----------------------------------------------------------------------------------------------


@pytest.fixture
def service(monkeypatch):
    """A service with 1,000 operations, 100 with each look, of which pieces of 10 are read in half a second."""
    made = Service(
        [record(KINDS["shown"], number) for number in range(1000)], each=100, room=1 << 20, seconds=0.0
    )
    small_pieces(monkeypatch, made, 10)
    slow_pipeline(monkeypatch, made, 0.5)
    return made


def slow_pipeline(patch: pytest.MonkeyPatch, service: Service, seconds: float) -> None:
    real = LivePipeline.push

    def push(self, raw):
        service.script.now += seconds
        return real(self, raw)

    patch.setattr(LivePipeline, "push", push)


def run(*arguments: str):
    return CliRunner().invoke(app, ["watch", "-f", "jsonl", *arguments])


def unread_in(result) -> int:
    [line] = [line for line in result.stderr.splitlines() if "could not be shown before the end" in line]
    return int(line.split(" records that came")[0].split()[-1].replace(",", ""))


def test_an_end_is_obeyed_at_once_and_what_is_left_out_is_in_the_exit_code(service):
    result = run("--duration", "2s", "--fail-on-loss")
    assert result.exit_code == Exit.LOSS
    assert service.script.now <= 2 + watch._PATIENCE + 3 * 0.5
    shown = len(result.stdout.splitlines())
    assert 0 < shown < 100
    assert f"{shown:,} shown" in result.stderr
    assert shown + unread_in(result) == service.handed
    assert "it is not known how many more records the session held" in result.stderr


def test_pieces_become_as_small_as_showing_them_is_slow(monkeypatch):
    made = Service([record(KINDS["shown"], number) for number in range(60_000)], each=60_000, room=1 << 30)
    install(monkeypatch, made.script)
    monkeypatch.setattr("tracer.session.consumer.Consumer", made)
    with Watch(RowFilter(), clock=lambda: made.script.now) as running:
        for number, rows in enumerate(running.batches()):
            made.script.now += (
                0.5 if number == 0 else rows.num_rows / 10_000
            )  # a reader of 10,000 rows a second
            if number == 5:
                break
        asked = made.script.now
        for rows in running.finish():
            made.script.now += rows.num_rows / 10_000
    assert made.script.now - asked < 2
    standing = running.status()
    assert standing.unread > 10_000
    assert standing.shown + standing.unread == 60_000


def test_without_the_option_the_loss_is_said_all_the_same(service):
    result = run("--duration", "2s")
    assert result.exit_code == Exit.OK
    assert unread_in(result) > 0


def test_a_second_ctrl_c_while_the_rest_is_shown_is_obeyed_and_the_rest_is_counted(service, monkeypatch):
    real, turns = LivePipeline.push, []

    def push(self, raw):
        turns.append(service.script.running)
        if turns.count(True) == 3 or not service.script.running:
            signal.raise_signal(signal.SIGINT)  # once while it watches, once while it drains
        return real(self, raw)

    monkeypatch.setattr(LivePipeline, "push", push)
    result = run()
    assert result.exit_code == Exit.INTERRUPTED
    assert turns.count(False) == 1
    assert len(result.stdout.splitlines()) + unread_in(result) == service.handed
    assert not service.script.running
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_a_closed_pipe_did_not_take_was_not_shown(service, monkeypatch):
    class Pipe:
        lines = 0

        def write(self, data):
            if self.lines > 25:
                raise BrokenPipeError(32, "Broken pipe")
            self.lines += data.count(b"\n")

        def flush(self):
            pass

    pipe = Pipe()
    monkeypatch.setattr("cli.output.files.binary_stdout", lambda: pipe)
    monkeypatch.setattr("cli.app._silence_stdout", lambda: None)
    result = run()
    assert result.exit_code == Exit.CLOSED_PIPE
    assert f"{pipe.lines} shown" in result.stderr
    assert pipe.lines + unread_in(result) == service.handed


def test_a_stream_that_breaks_is_no_stop_of_somebody_else(service):
    service.trouble = SessionError("cannot read on in the real-time stream: Windows error 1117")
    service.take = lambda timeout: None
    result = run()
    assert result.exit_code == Exit.ERROR
    assert "1117" in result.stderr
    assert "another program" not in result.stderr


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [(None, None, None), (0, None, None), (4201, None, None), (1117, None, "1117"), (None, OSError("bad"), "bad")],
)  # fmt: skip
def test_a_consumer_says_what_broke_its_stream_and_a_stopped_session_broke_nothing(status, error, words):
    consumer = Consumer("regtrace-test")
    consumer.status, consumer._error = status, error
    assert (consumer.trouble is None) == (words is None)
    assert words is None or words in str(consumer.trouble)


def test_counters_that_cannot_be_read_are_no_counters_of_zero(service, monkeypatch):
    service.script.fails["stop"] = SessionError("the system is out of memory")
    result = run("--duration", "1s", "--fail-on-loss")
    assert result.exit_code == Exit.LOSS
    assert "it is not known what the session lost: the system is out of memory" in result.stderr


# --- a Python user -----------------------------------------------------------------------------------------


def test_a_generator_that_is_abandoned_and_taken_up_again_loses_nothing(service):
    with Watch(RowFilter(), clock=lambda: service.script.now) as running:
        seen = 0
        for _ in range(40):
            seen += next(running.batches()).num_rows
        standing = running.status()
        assert standing.shown == seen
        assert standing.waiting == service.handed - seen > 0
        assert standing.unread == 0
        assert not standing.is_lossy
    assert running.status().unread == service.handed - seen
    assert running.status().is_lossy


def test_a_record_that_breaks_the_reader_is_counted_and_all_behind_it(service, monkeypatch):
    class Broken(Exception):
        pass

    def fail(*_):
        raise Broken

    with suppress(Broken), Watch(RowFilter(), clock=lambda: service.script.now) as running:
        for turn, _ in enumerate(running.batches()):
            if turn == 5:
                monkeypatch.setattr("tracer.live.pipeline.decode_operations", fail)
    standing = running.status()
    assert standing.shown + standing.unread == standing.received == service.handed
    assert standing.unread > 0


@pytest.mark.parametrize(
    ("kind", "end"), [(NEWER, "shown"), (UNKNOWN, "undecoded"), (FOREIGN, "other"), (KINDS["other"], "other")]
)
def test_what_becomes_of_odd_records(monkeypatch, kind, end):
    made = Service([record(kind, number) for number in range(7)], each=7, room=1 << 20)
    small_pieces(monkeypatch, made, 3)
    with Watch(RowFilter(), clock=lambda: made.script.now) as running:
        next(running.batches())
        assert sum(rows.num_rows for rows in running.finish()) == (7 if end == "shown" else 0)
    standing = running.status()
    assert getattr(standing, end) == standing.received == 7
    assert standing.is_lossy == (end == "undecoded")


# --- the monitor -------------------------------------------------------------------------------------------


class Counting:
    """A source that counts, or does not; its batches are there from the beginning."""

    def __init__(self, batches: list[list[RawRecord]], *, counts: bool) -> None:
        self.dropped, self.failures = 0, 0
        self._batches = [*batches]
        if counts:
            self.received = sum(map(len, batches))

    def take(self, timeout: float) -> list[RawRecord] | None:
        return self._batches.pop(0) if self._batches else None

    def stop(self) -> None:
        pass


@settings(max_examples=25, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=60),
    size=st.integers(1, 20),
    piece=st.integers(1, 15),
    hangs_at=st.none() | st.integers(0, 20),
    way=st.sampled_from(["list", "counting", "uncounted"]),
    apart_ms=st.sampled_from([1, 100]),
    own_filter=st.booleans(),
)
@example(kinds=["shown", "shown"], size=1, piece=1, hangs_at=1, way="list", apart_ms=1, own_filter=False)
def test_what_reached_a_monitor_was_called_or_counted(
    kinds, size, piece, hangs_at, way, apart_ms, own_filter
):
    raw = [record(KINDS[kind], number * apart_ms) for number, kind in enumerate(kinds)]
    batches = [raw[start : start + size] for start in range(0, len(raw), size)]
    source = batches if way == "list" else Counting(batches, counts=way == "counting")
    wanted = [number for number, kind in enumerate(kinds) if kind == "shown"]
    hangs = hangs_at is not None and hangs_at < len(wanted)
    reached, release, calls = threading.Event(), threading.Event(), []

    def callback(notification):
        calls.append(notification.sequence)
        if len(calls) - 1 == hangs_at:
            reached.set()
            release.wait(30)

    def assert_that_it_adds_up():
        counted = monitor.delivered + monitor.filtered + monitor.other + monitor.undecoded
        assert counted + monitor.dropped + monitor.unread == monitor.received == len(kinds)
        assert monitor.unread >= 0
        assert monitor.waiting == 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tracer.live.feed.LiveFeed.take.__defaults__", (piece,))
        patch.setattr(monitor_module, "_PATIENCE", 0.0 if hangs else 30.0)
        patch.setattr(monitor_module, "_LAST_TURN", 0.0 if hangs else 30.0)
        monitor = Monitor(WANTED if own_filter else None, source=source)
        monitor.register(callback, key=WANTED)
        is_lossy = hangs or "undecoded" in kinds
        with pytest.warns(RuntimeWarning) if is_lossy else nullcontext(), monitor:
            if hangs:
                assert reached.wait(30)
        assert_that_it_adds_up()  # while the callback hangs
        release.set()
        for thread in threading.enumerate():
            if thread.name == "regtrace-monitor":
                thread.join(30)
        assert_that_it_adds_up()
    assert monitor.delivered == len(calls)
    if hangs and hangs_at == len(wanted) - 1:  # its event was late, and was called after all
        is_lossy = "undecoded" in kinds or monitor.unread > 0
    assert monitor.lost == is_lossy
    if not hangs:
        assert [monitor.delivered, monitor.unread] == [len(wanted), 0]
        assert [getattr(monitor, name) for name in list(KINDS)[1:]] == [
            kinds.count(name) for name in list(KINDS)[1:]
        ]
        return
    place = wanted[hangs_at]  # the callback that hung was the last to be called
    assert len(calls) == hangs_at + 1
    behind = kinds[place + 1 :]
    assert behind.count("shown") <= monitor.unread <= len(behind)
    if not own_filter:
        assert monitor.filtered == kinds[:place].count("filtered")


def test_leaving_a_monitor_that_is_behind_says_how_much_it_missed(monkeypatch):
    monkeypatch.setattr(monitor_module, "_PATIENCE", 0.0)
    monkeypatch.setattr(monitor_module, "_LAST_TURN", 0.0)
    batches = [[record(KINDS["shown"], 100 * turn + n) for n in range(100)] for turn in range(10)]
    began, release = threading.Event(), threading.Event()
    monitor = Monitor(source=batches)
    monitor.register(lambda n: (began.set(), release.wait(30)))
    with pytest.warns(RuntimeWarning, match=r"the monitor missed 1,000 records not delivered"), monitor:
        assert began.wait(30)
    assert monitor.lost
    assert monitor.unread == 1000
    assert any("1,000 records not delivered" in note for note in monitor.notes)
    release.set()


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_callback_that_ends_the_program_does_not_end_the_monitor_in_silence(error):
    def leave(_):
        raise error

    monitor = Monitor(source=[[record(KINDS["shown"], number) for number in range(9)]])
    monitor.register(leave)
    caught = pytest.warns(RuntimeWarning, match="9 records not delivered")
    with pytest.raises(Exception, match=type(error).__name__), caught, monitor:
        monitor.wait(30)
