"""The chunks of one log, decoded by several children and returned in the order of the file.

Each child has a thread that takes groups of chunks, tells the child which, and waits for the answer: the child reads the
file. If a child ends before it answered, a new one is asked for each chunk of the group by itself, and a chunk that ends
that one, too, is lost. How far the threads run ahead is limited, so that memory stays bounded while one chunk makes all
wait.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracer.evtx.chunk import CHUNK_SIZE, is_chunk_sound, is_unused, read_chunk
from tracer.evtx.process import CHILD, Child
from tracer.evtx.protocol import Answer, Chunk, Decoded

__all__ = ["ChunkPool", "Group"]

_GROUP = 8  # chunks that a child is told of at once: some milliseconds of work
_AHEAD = 4 * _GROUP  # chunks that may be decoded and not yet asked for
_PATIENCE = 16  # chunks of one file that may be lost before the deadline becomes a tenth
_MOST_LOST = 1000  # chunks of one file that may be lost before the rest is
_SILENCE = 20  # a child that is silent for so many deadlines, counted in ticks of a second, is killed


@dataclass(frozen=True, slots=True)
class Group:
    """Some chunks of the file, one after the other, and what became of them.

    Attributes:
        number: of the first, from 0.
        offset: of the first in the file.
        answer: what they hold.
        is_lost: no child survived the one chunk, or none was left to ask.
    """

    number: int
    offset: int
    answer: Answer
    is_lost: bool = False


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
        self._path, self._begin, self._end = path.absolute(), begin, end
        self._deadline_s, self._program = deadline_s, program
        self._count = -(-max(end - begin, 0) // CHUNK_SIZE)
        self._changed = threading.Condition()
        self._results: dict[int, Group] = {}  # by the number of the first chunk
        self._taken = self._wanted = self._lost = 0
        self._failure: BaseException | None = None
        self._is_closed = False
        self._workers = [_Worker(self) for _ in range(min(children, -(-self._count // _GROUP)))]

    def __iter__(self) -> Iterator[Group]:
        """Yield all chunks in the order of the file.

        Raises:
            SourceError: no child can be started, or none has the library.
            OSError: the file cannot be read.
        """
        for worker in self._workers:
            worker.start()
        index = 0
        while index < self._count:
            group = self._result(index)
            yield group
            index += len(group.answer.chunks)

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

    def _result(self, index: int) -> Group:
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

    def stretch(self, numbers: range) -> tuple[int, int]:
        """Return where the first of these chunks begins in the file, and where the last one ends."""
        begin = self._begin + numbers.start * CHUNK_SIZE
        return begin, min(begin + len(numbers) * CHUNK_SIZE, self._end)

    def put(self, numbers: range, answer: Answer) -> None:
        """Say what some chunks hold."""
        self._put(Group(numbers.start, self.stretch(numbers)[0], answer))

    def put_lost(self, number: int) -> None:
        """Say that a chunk has no answer."""
        begin, end = self.stretch(range(number, number + 1))
        with self.path.open("rb") as file:
            content, available = read_chunk(file, begin, end)
        unused = is_unused(content)
        chunk = Chunk(available, is_unused=unused, is_sound=unused or is_chunk_sound(content))
        self._put(Group(number, begin, Answer([chunk], Decoded()), is_lost=True))

    def _put(self, group: Group) -> None:
        with self._changed:
            self._results[group.number] = group
            self._changed.notify_all()

    def fail(self, failure: BaseException) -> None:
        """End the iteration with `failure`."""
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    def lose(self) -> None:
        """Count a chunk that its child did not survive."""
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
            while numbers := self._pool.take():
                self._decode(numbers)
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

    def _decode(self, numbers: range) -> None:
        if self._is_answered(numbers):
            return
        for number in numbers:
            one = range(number, number + 1)
            if len(numbers) == 1 or not self._is_answered(one):
                self._pool.lose()
                self._pool.put_lost(number)

    def _is_answered(self, numbers: range) -> bool:
        """Have chunks decoded; False if no child survived that."""
        if (child := self._ready_child()) is None:
            return False
        answer = child.answer(str(self._pool.path), *self._pool.stretch(numbers))
        self._silent = 0
        if answer is None:
            self._close()
            return False
        self._pool.put(numbers, answer)
        return True

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
