"""Trees of processes: which life started which, and which belong to a tree that is asked for."""

import re
from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

from tracer.registry.terms import process_regex

__all__ = ["ProcessTree", "parent_by_time"]

_KERNEL_PIDS = (0, 4)  # the idle process and System, which nobody started


class _Life(Protocol):
    """What is asked of a life (`tracer.rows.processes.Life`)."""

    process_id: int
    pid: int
    parent_pid: int | None
    parent_id: int | None
    start_ns: int | None
    end_ns: int | None
    image: str | None
    image_path: str | None
    in_tree: bool


_AnyLife = TypeVar("_AnyLife", bound=_Life)


def parent_by_time(child: _AnyLife, candidates: Sequence[_AnyLife]) -> _AnyLife | None:
    """Return the life of the parent's pid that was running when the child started, where times say so."""
    if child.start_ns is None or child.parent_pid is None:
        return None
    running = [
        life
        for life in candidates
        if life is not child
        and life.start_ns is not None
        and life.start_ns <= child.start_ns
        and (life.end_ns is None or life.end_ns >= child.start_ns)
    ]
    return running[-1] if running else None


class ProcessTree:
    """The processes that a word names and all that they started, and so on down, as far as records tell.

    Args:
        word: image name (a pattern with ``*`` and ``?``, any case), path of an image (with a backslash), or pid.
    """

    def __init__(self, word: str) -> None:
        self._regex = re.compile(process_regex(word, whole=False))
        self._by_path = "\\" in word
        self._pid = int(word) if word.isascii() and word.isdigit() and len(word) <= 10 else None

    def mark(self, lives: Sequence[_AnyLife], process_ids: Iterable[int]) -> set[int]:
        """Mark the lives among `process_ids` that belong to the tree; a mark stays, whatever is forgotten later.

        Args:
            lives: every life, by process_id.
            process_ids: which of them are asked about.

        Returns:
            those of which it is not known: what started them, or started that, is unknown or had ended before.
        """
        by_pid: dict[int, list[_AnyLife]] = {}
        for life in lives:
            by_pid.setdefault(life.pid, []).append(life)
        unknown = set()
        for process_id in process_ids:
            line = [lives[process_id]]  # from a life to its ancestors
            while not (line[-1].in_tree or self._names(line[-1])):
                parent = self._parent(line[-1], lives, by_pid)
                if parent is None or any(parent is life for life in line):
                    break
                line.append(parent)
            if line[-1].in_tree or self._names(line[-1]):
                for life in line:
                    life.in_tree = True
            elif line[-1].pid not in _KERNEL_PIDS:
                unknown.add(process_id)
        return unknown

    def _names(self, life: _Life) -> bool:
        image = life.image_path if self._by_path else life.image
        return life.pid == self._pid or bool(image and self._regex.fullmatch(image))

    def _parent(
        self, life: _AnyLife, lives: Sequence[_AnyLife], by_pid: dict[int, list[_AnyLife]]
    ) -> _AnyLife | None:
        if life.parent_id is not None:
            return lives[life.parent_id]
        if life.parent_pid is None:
            return None
        candidates = by_pid.get(life.parent_pid, [])
        if life.parent_pid in _KERNEL_PIDS:  # always the same process, of which nobody tells when it started
            return candidates[-1] if candidates else None
        return parent_by_time(life, candidates)
