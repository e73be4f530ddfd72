"""Calls of the engine that Ctrl-C ends within a second: they run on another thread, the main one handles signals.

Python hears a signal only between two of its own steps, and the engine looks for one between some of its tasks only; a
query can be in one task, or in one batch of a stream, for minutes.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

import duckdb
import pyarrow as pa

from tracer.errors import TimeLimit

__all__ = ["batches_of", "beside", "interruptible", "is_busy", "time_limit"]

_Answer = TypeVar("_Answer")
_STEP_SECONDS = 0.05  # Windows lets a thread hear signals only when it does not wait
_GRACE_SECONDS = 0.6  # for the engine to stop; then it is left behind
_unfinished: set[threading.Thread] = set()


class _Interrupted(Protocol):
    """A connection, or what stands for several."""

    def interrupt(self) -> None:
        """Ask the engine to stop what runs."""


class _Limit(threading.local):
    """The time limit of a thread: when it ends (`time.monotonic`), and its seconds; None where there is none."""

    end: float | None = None
    seconds: float = 0


_limit = _Limit()


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt the calls of the engine that this thread makes in here once so many seconds have passed in all.

    What Python itself does between two calls is not interrupted.

    Raises:
        TimeLimit: the time is over.
    """
    _limit.end, _limit.seconds = time.monotonic() + seconds, seconds
    try:
        yield
    finally:
        _limit.end = None


def _check_limit() -> None:
    if _limit.end is not None and time.monotonic() >= _limit.end:
        raise TimeLimit(
            f"the question takes longer than {_limit.seconds:g} s; narrow it (a key, a process, a time), or raise the limit"
        )


def interruptible(connection: _Interrupted, call: Callable[[], _Answer]) -> _Answer:
    """Run `call` on another thread and return its result; a signal in the main thread interrupts it.

    The engine is asked to stop until it does. Where that takes longer than a moment the exception goes on without it: the query
    ends in the background, and `is_busy` says so.

    Args:
        connection: the connection of the call's query, with no other user.
        call: what to run; it must not need the main thread.

    Raises:
        KeyboardInterrupt: as any signal handler raised it.
        TimeLimit: the thread has a limit (`time_limit`), and it is over.
        BaseException: what the call raises.
    """
    if _limit.end is None and threading.current_thread() is not threading.main_thread():
        return call()
    _check_limit()
    run = _Run(call)
    try:
        run.start()
        while not run.has_ended(_STEP_SECONDS):
            _check_limit()
    except BaseException:
        run.stop(connection)
        raise
    return run.answer()


def beside(connections: Sequence[duckdb.DuckDBPyConnection], call: Callable[[int], object]) -> None:
    """Run `call` with the number of each connection, each on a thread of its own; a signal in the main thread interrupts all.

    Raises:
        BaseException: what the first call that fails raises, once all have ended; and as of `interruptible`.
    """
    if len(connections) == 1:
        interruptible(connections[0], lambda: call(0))
        return

    def all_of_them() -> None:
        runs = [_Run(partial(call, number)) for number in range(len(connections))]
        for run in runs:
            run.start()
        for run in runs:
            while not run.has_ended(_STEP_SECONDS):
                pass
        for run in runs:
            run.answer()

    interruptible(_Together(connections), all_of_them)


def batches_of(
    connection: duckdb.DuckDBPyConnection, reader: pa.RecordBatchReader
) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a stream; each can be interrupted."""

    def next_batch() -> pa.RecordBatch | None:
        try:
            return reader.read_next_batch()
        except StopIteration:
            return None

    while (batch := interruptible(connection, next_batch)) is not None:
        yield batch


def is_busy() -> bool:
    """Tell whether an interrupted query still runs."""
    _unfinished.difference_update([run for run in _unfinished if not run.is_alive()])
    return bool(_unfinished)


class _Together:
    """Several connections that are interrupted at once."""

    def __init__(self, connections: Sequence[duckdb.DuckDBPyConnection]) -> None:
        self._connections = connections

    def interrupt(self) -> None:
        for connection in self._connections:
            connection.interrupt()


class _Run:
    """One call on its own thread."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._value: Any = None
        self._error: BaseException | None = None
        self._running = threading.Lock()
        self._running.acquire()
        # A daemon: a query that does not stop must not keep the interpreter.
        self._thread = threading.Thread(target=self._run, name="regtrace-query", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def has_ended(self, seconds: float) -> bool:
        if not self._running.acquire(timeout=seconds):
            return False
        self._running.release()
        return True

    def answer(self) -> Any:  # noqa: ANN401
        if self._error is not None:
            error, self._error = self._error, None  # so that the traceback holds no circle
            raise error
        return self._value

    def stop(self, connection: _Interrupted) -> None:
        """Interrupt the engine until it stops, for a short time at most."""
        if self._thread.ident is None:
            return
        _unfinished.add(self._thread)

        def ask() -> None:
            while not self.has_ended(_STEP_SECONDS):
                connection.interrupt()

        threading.Thread(target=ask, name="regtrace-interrupt", daemon=True).start()
        self._thread.join(_GRACE_SECONDS)

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:  # noqa: BLE001  (it is raised where the answer is wanted)
            self._error = error
        finally:
            del self._call
            self._running.release()
