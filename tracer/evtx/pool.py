"""The chunks of one log, decoded by several children and returned in the order of the file.

Each child has a thread that takes groups of chunks, sends them and collects the answers. A child that ends before it
answered is lost with its current chunk; a new one goes on with the rest of the group. How far the threads run ahead is
limited, so that memory stays bounded while one chunk makes all wait.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from tracer.evtx.chunk import CHUNK_SIZE, is_chunk_sound
from tracer.evtx.process import CHILD, Child
from tracer.evtx.protocol import Answer

__all__ = ["Chunk", "ChunkPool"]

_GROUP = 8  # chunks that a child is sent at once: half a MiB, some milliseconds of work
_AHEAD = 4 * _GROUP  # chunks that may be decoded and not yet asked for
_PATIENCE = 16  # children that may be lost to one file before the deadline becomes a tenth
_MOST_LOST = 1000  # children that may be lost to one file at all
_SILENCE = 20  # a child that is silent for so many deadlines, counted in ticks of a second, is killed


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of the file and what became of it.

    Attributes:
        offset: in the file.
        available: how many of its bytes the file holds.
        is_unused: it holds nothing but zeros.
        is_sound: it begins as a chunk does and passes its checksums.
        answer: its records; None if it is unused, or a child was lost to it.
    """

    offset: int
    available: int
    is_unused: bool
    is_sound: bool
    answer: Answer | None


class ChunkPool:
    """Children and threads of one file; iterate once, then close."""

    def __init__(
        self,
        path: Path,
        begin: int,
        end: int,
        *,
        children: int,
        deadline_s: float,
        program: Sequence[str] = CHILD,
    ) -> None:
        """Note what is to be read; iteration starts the children.

        Args:
            path: the log.
            begin: offset of the first chunk.
            end: offset at which reading ends.
            children: how many processes decode.
            deadline_s: processor time that a child has for a chunk.
            program: what the interpreter of a child runs.
        """
        self._path, self._begin, self._end = path, begin, end
        self._deadline_s, self._program = deadline_s, program
        self._count = -(-max(end - begin, 0) // CHUNK_SIZE)
        self._changed = threading.Condition()
        self._results: dict[int, Chunk] = {}
        self._taken = self._wanted = self._lost = 0
        self._failure: BaseException | None = None
        self._is_closed = False
        self._workers = [_Worker(self) for _ in range(min(children, -(-self._count // _GROUP)))]

    def __iter__(self) -> Iterator[Chunk]:
        """Yield every chunk in the order of the file.

        Raises:
            SourceError: no child can be started, or none has the library.
            OSError: the file cannot be read.
        """
        for worker in self._workers:
            worker.start()
        for index in range(self._count):
            yield self._result(index)

    def close(self) -> None:
        """End the children and wait for the threads."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            if worker.ident is not None:
                worker.join()

    def _result(self, index: int) -> Chunk:
        with self._changed:
            self._wanted = index
            self._changed.notify_all()
            while index not in self._results:
                if self._failure is not None:
                    raise self._failure
                if not self._changed.wait(1.0):
                    for worker in self._workers:
                        worker.tick(_SILENCE * max(self._deadline_s, 1.0))
            return self._results.pop(index)

    # What follows is for the threads.

    def take(self) -> range:
        """Return the numbers of the next chunks; empty if there are none."""
        with self._changed:
            while not self._is_closed and self._wanted + _AHEAD <= self._taken < self._count:
                self._changed.wait()
            first = self._taken
            self._taken = first if self._is_closed else min(first + _GROUP, self._count)
            return range(first, self._taken)

    def read(self, index: int, file: BinaryIO) -> tuple[Chunk, bytes]:
        """Return a chunk without an answer, and its bytes, filled up with zeros."""
        offset = self._begin + index * CHUNK_SIZE
        file.seek(offset)
        content = file.read(min(CHUNK_SIZE, self._end - offset))
        available = len(content)
        content = content.ljust(CHUNK_SIZE, b"\0")
        is_unused = content == _ZEROS
        return Chunk(offset, available, is_unused, is_unused or is_chunk_sound(content), None), content

    def put(self, index: int, chunk: Chunk) -> None:
        """Say what became of a chunk."""
        with self._changed:
            self._results[index] = chunk
            self._changed.notify_all()

    def fail(self, failure: BaseException) -> None:
        """End the iteration with `failure`."""
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    def lose(self) -> None:
        """Count a child that was lost to its chunk."""
        with self._changed:
            self._lost += 1

    def new_child(self) -> Child | None:
        """Start a child; None if too many were lost, or none is needed any more."""
        with self._changed:
            if self._is_closed or self._lost >= _MOST_LOST:
                return None
            deadline_s = self._deadline_s / (10 if self._lost >= _PATIENCE else 1)
        return Child(deadline_s, self._program)

    @property
    def path(self) -> Path:
        """The log."""
        return self._path


_ZEROS = bytes(CHUNK_SIZE)


class _Worker(threading.Thread):
    """The thread of one child at a time."""

    def __init__(self, pool: ChunkPool) -> None:
        super().__init__(name="event log", daemon=True)
        self._pool = pool
        self._child: Child | None = None
        self._is_ended = False
        self._silent = 0

    def run(self) -> None:
        try:
            with self._pool.path.open("rb") as file:
                while numbers := self._pool.take():
                    self._decode([(number, *self._pool.read(number, file)) for number in numbers])
        except BaseException as failure:  # noqa: BLE001 - the thread that asks for chunks raises it
            self._pool.fail(failure)
        finally:
            self._close()

    def kill(self) -> None:
        """End the child, and have none started any more; from another thread."""
        self._is_ended = True
        if (child := self._child) is not None:
            child.kill()

    def tick(self, limit: float) -> None:
        """Note that nothing came for a second; end the child after `limit` of them."""
        self._silent += 1
        if self._silent > limit and (child := self._child) is not None:
            child.kill()

    def _decode(self, group: list[tuple[int, Chunk, bytes]]) -> None:
        for number, chunk, _ in group:
            if chunk.is_unused:
                self._pool.put(number, chunk)
        group = [one for one in group if not one[1].is_unused]
        while group:
            child = self._ready_child()
            if child is None:
                for number, chunk, _ in group:
                    self._pool.put(number, chunk)
                return
            done = 0
            for answer in child.answers([(chunk.available, content) for _, chunk, content in group]):
                self._silent = 0
                number, chunk, _ = group[done]
                self._pool.put(number, replace(chunk, answer=answer))
                done += 1
            if done < len(group):
                self._close()
                self._pool.lose()
                self._pool.put(*group[done][:2])
            group = group[done + 1 :]

    def _ready_child(self) -> Child | None:
        if self._child is None:
            self._silent = 0
            self._child = self._pool.new_child()
            if self._child is not None:
                if self._is_ended:
                    self._child.kill()
                self._child.greet()
        return self._child

    def _close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None
