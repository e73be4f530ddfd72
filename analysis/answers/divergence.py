"""The first divergence of two runs: where their operations part, and what each had read before that."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.answers.other_reads import Contents, contents_of, other_reads
from analysis.answers.step_numbers import Side
from analysis.answers.thread_pairs import Images, ThreadPair, aligned_threads, pair_processes
from tracer.registry.ntstatus import status_name
from tracer.registry.text import plural
from tracer.registry.value_columns import value_texts

__all__ = ["DIVERGENCE", "Divergence", "diverge"]

_OF_SIDE = (
    "operation", "key", "value_name", "status", "status_name", "information_class", "index", "type", "size", "data",
    "text", "detail", "disposition", "process", "pid", "thread_id", "time", "sequence", "key_id", "process_id",
)  # fmt: skip
DIVERGENCE = ("what", "place", "differs", "times", *(f"{letter}_{name}" for name in _OF_SIDE for letter in "ab"))  # fmt: skip
_MOST_IMAGES = 3  # of one side that a sentence lists

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the answer: what it is, and which row of each side it shows."""

    what: str
    place: int
    rows: tuple[int | None, int | None]
    differs: str | None = None
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where two runs part.

    Attributes:
        rows: the columns DIVERGENCE; without a row of `divergence` where they do not part.
        matched: steps of the pair of threads that match before it; of all pairs where nothing parts.
        steps: how many steps each side has.
        repeats: how many steps of each side only repeat what was looked at before.
        moves: how many stretches of steps were done by another thread of the other side.
        paired: how many pairs of processes there are.
        alone: the images of the processes of each side that have no partner.
        unknown: reads before it of which nobody can tell whether they returned the same.
    """

    rows: pa.Table
    matched: int
    steps: tuple[int, int]
    repeats: tuple[int, int]
    moves: int
    paired: int
    alone: tuple[tuple[str, ...], tuple[str, ...]]
    unknown: int

    @property
    def parted(self) -> bool:
        """Whether the runs part."""
        return self.rows.num_rows > 0 and self.rows.column("what")[0].as_py() == "divergence"

    @property
    def notes(self) -> list[str]:
        """What the alignment passed over, as sentences."""
        said = []
        for letter, count in zip("ab", self.repeats, strict=True):
            if count:
                said.append(
                    f"{letter} repeats {plural(count, 'operation')} that only look again at what was just looked at: no divergence"
                )
        if self.moves:
            said.append(
                f"{plural(self.moves, 'run')} of operations were done by another thread of the other side"
            )
        for letter, names in zip("ab", self.alone, strict=True):
            if names:
                more = ", ..." if len(names) > _MOST_IMAGES else ""
                said.append(
                    f"only {letter} has {plural(len(names), 'process')} called {', '.join(names[:_MOST_IMAGES])}{more}: not aligned"
                )
        if self.unknown:
            said.append(
                f"of {plural(self.unknown, 'read')} the data was not captured on both sides: whether they are equal is not known"
            )
        return said


def diverge(
    sides: tuple[Side, Side],
    images: tuple[Images, Images],
    keys: tuple[Mapping[int, str], Mapping[int, str]],
    contents: tuple[Contents, Contents],
    *,
    by_image: bool = True,
    folds: Collection[str] = (),
    context: int = 5,
) -> Divergence:
    """Return the first divergence of two sides, by the rules of docs/questions.md.

    Columns of its rows, NULL where they do not apply or are not known:

    * what: divergence; read (a read before it that returned other data on both sides, the nearest first); before
      (the operations before it, which match, the nearest first); after (what each side did next, side by side);
    * place: 0 for the divergence; of a read, how many matching steps of the two processes back, from -1; of what is
      before, how many of the two threads; after it, 1, 2, ...;
    * differs: in what the two steps of the divergence differ: operation, key, value, request (information class or
      index), result (status), end (one side does nothing more), thread (one side has no such thread); of a read data,
      type, size, name (of what an enumeration returned), facts (about a key), disposition (whether a create made it), or
      missing (one side found no such value: only where steps are numbered without results);
    * times: how many reads of the same were as different, of a read;
    * a_, b_: operation, key (display path), value_name, status, status_name, information_class, index, type, size
      (bytes), data (bytes as captured), text (as people read it), detail, disposition, process, pid, thread_id, time,
      sequence, key_id, process_id of each side.

    Args:
        sides: both sides.
        images: image and pid of the processes of each side, by process_id.
        keys: display paths of the keys of each side, by key_id.
        contents: return what the operations of a side wrote and returned, up to a sequence.
        by_image: whether processes pair by their image, else the first of a is the first of b, and so on.
        folds: as for `analysis.answers.normalize.meaning`.
        context: how many operations before and after it are rows.
    """
    pairs, alone = pair_processes(sides, images, by_image=by_image)
    threads = [thread for group, pair in enumerate(pairs) for thread in aligned_threads(sides, pair, group)]
    parted = [thread for thread in threads if thread.aligned.parting is not None]
    first = min(parted, key=lambda thread: _rank(sides, thread), default=None)
    ends = _ends(sides, first)
    beside = [thread for thread in threads if first is None or thread.group == first.group]
    matches = _matches(beside, ends)
    spans = [] if first is None else _around(sides, first, context)
    last = [
        max([end - 1, *(row for span in spans if (row := span.rows[side]) is not None)])
        for side, end in enumerate(ends)
    ]
    held = [contents_of(side, of_side, end) for side, of_side, end in zip(sides, contents, last, strict=True)]
    reads, unknown = other_reads(sides, held, matches, folds)
    rows = [span for span in spans if span.what == "divergence"]
    rows += [_Row("read", place, (a, b), word, times) for place, a, b, word, times in reads]
    rows += [span for span in spans if span.what != "divergence"]
    shown = [
        _of_side(side, held[place], images[place], keys[place], [row.rows[place] for row in rows])
        for place, side in enumerate(sides)
    ]
    counted = [first] if first is not None else threads
    return Divergence(
        _table(rows, shown),
        sum(length for thread in counted for _, _, length in thread.aligned.runs),
        (sides[0].rows.num_rows, sides[1].rows.num_rows),
        (
            sum(more for thread in beside for _, _, more, _ in thread.aligned.repeats),
            sum(more for thread in beside for _, _, _, more in thread.aligned.repeats),
        ),
        sum(len(thread.aligned.moves) for thread in beside),
        len(pairs),
        alone,
        unknown,
    )


def _rank(sides: tuple[Side, Side], thread: ThreadPair) -> tuple[int, int, list[int]]:
    """Return how late a divergence is: by its places among the steps of both sides."""
    a, b = thread.parting or (None, None)
    places = [_after(rows) if at is None else at for at, rows in ((a, thread.a), (b, thread.b))]
    if not len(thread.a) or not len(thread.b):
        places = [max(places)] * 2
    steps = [int(side.numbers[at]) for side, at in zip(sides, (a, b), strict=True) if at is not None]
    return sum(places), min(places), sorted(steps)


def _after(rows: Ints) -> int:
    return int(rows[-1]) + 1 if len(rows) else 0


def _ends(sides: tuple[Side, Side], first: ThreadPair | None) -> tuple[int, int]:
    """Return the rows of each side before which its steps count; all of them where nothing parts."""
    if first is None or first.parting is None:
        return sides[0].rows.num_rows, sides[1].rows.num_rows
    a, b = first.parting
    alone = not len(first.a) or not len(first.b)
    whole = [side.rows.num_rows for side in sides]
    ends = [
        at if at is not None else size if alone else _after(rows)
        for at, rows, size in ((a, first.a, whole[0]), (b, first.b, whole[1]))
    ]
    return ends[0], ends[1]


def _matches(threads: Sequence[ThreadPair], ends: tuple[int, int]) -> tuple[Ints, Ints]:
    """Return the rows of both sides that match and are before the ends, in order."""
    a, b = (
        np.concatenate([np.zeros(0, np.int64), *parts])
        for parts in (
            [thread.a[i : i + n] for thread in threads for i, _, n in thread.aligned.runs],
            [thread.b[j : j + n] for thread in threads for _, j, n in thread.aligned.runs],
        )
    )
    before = (a < ends[0]) & (b < ends[1])
    a, b = a[before], b[before]
    order = np.lexsort((np.minimum(a, b), a + b))
    return a[order], b[order]


def _around(sides: tuple[Side, Side], thread: ThreadPair, context: int) -> list[_Row]:
    """Return the divergence, what is before it and what is after it."""
    assert thread.aligned.parting is not None
    i, j = thread.aligned.parting
    rows = [_Row("divergence", 0, _at(thread, i, j), _apart(sides, thread))]
    runs = thread.aligned.runs[-context:] if context else []
    before = [(a + k, b + k) for a, b, n in runs for k in range(max(n - context, 0), n)]
    rows += [_Row("before", -place, _at(thread, *one)) for place, one in enumerate(before[::-1][:context], 1)]
    after = [_Row("after", place, _at(thread, i + place, j + place)) for place in range(1, context + 1)]
    return rows + [row for row in after if row.rows != (None, None)]


def _at(thread: ThreadPair, i: int, j: int) -> tuple[int | None, int | None]:
    return (
        int(thread.a[i]) if i < len(thread.a) else None,
        int(thread.b[j]) if j < len(thread.b) else None,
    )


def _of_side(
    side: Side,
    held: pa.Table,
    images: Images,
    keys: Mapping[int, str],
    rows: Sequence[int | None],
) -> dict[str, pa.Array]:
    places = pa.array(rows, pa.int64())
    steps, contents = side.rows.take(places), held.take(places)
    found = {name: steps.column(name).combine_chunks() for name in
             ("operation", "status", "information_class", "index", "thread_id", "time", "sequence", "key_id", "process_id")}  # fmt: skip
    kind, size, data = (contents.column(name).combine_chunks() for name in ("data_type", "data_size", "data"))
    ids = found["process_id"].to_pylist()
    return found | {
        "key": pa.array([keys.get(one) for one in found["key_id"].to_pylist()], pa.string()),
        "value_name": steps.column("value_name").combine_chunks(),
        "status_name": pa.array(
            [None if one is None else status_name(one) for one in found["status"].to_pylist()], pa.string()
        ),
        "type": kind,
        "size": size,
        "data": data,
        "text": value_texts(kind, data, size),
        "detail": contents.column("detail").combine_chunks(),
        "disposition": contents.column("disposition").combine_chunks(),
        "process": pa.array([images.get(one, (None, None))[0] for one in ids], pa.string()),
        "pid": pa.array([images.get(one, (None, None))[1] for one in ids], pa.uint32()),
    }


def _table(rows: Sequence[_Row], shown: Sequence[dict[str, pa.Array]]) -> pa.Table:
    columns: dict[str, pa.Array] = {
        "what": pa.array([row.what for row in rows], pa.string()),
        "place": pa.array([row.place for row in rows], pa.int64()),
        "differs": pa.array([row.differs for row in rows], pa.string()),
        "times": pa.array([row.times for row in rows], pa.int64()),
    }
    for name in _OF_SIDE:
        columns |= {f"{letter}_{name}": side[name] for letter, side in zip("ab", shown, strict=True)}
    return pa.table(columns)


def _apart(sides: tuple[Side, Side], first: ThreadPair) -> str:
    """Return in what the two steps of a divergence differ."""
    a, b = first.parting or (None, None)
    if a is None or b is None:
        return "end" if len(first.a) and len(first.b) else "thread"
    ours, theirs = (side.rows.slice(at, 1).to_pylist()[0] for side, at in zip(sides, (a, b), strict=True))
    if ours["operation"] != theirs["operation"]:
        return "operation"
    names = [side.called[side.names[at]].split("\0") for side, at in zip(sides, (a, b), strict=True)]
    # Equal numbers: only the identifiers in the names are others.
    if names[0][0] != names[1][0] or sides[0].numbers[a] == sides[1].numbers[b]:
        return "key"
    if names[0] != names[1]:
        return "value"
    return "result" if ours["status"] != theirs["status"] else "request"
