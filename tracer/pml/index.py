"""The first pass over a Procmon log: which events are registry operations, and which paths they name.

It keeps a few numbers for each registry operation and every distinct path once; the second pass
(`tracer.pml.rows`) reads the rest. Two things have to be known before the first row is written: which
paths are keys (to tell a value's name from its key's), and whose hive HKCU is.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.diagnostics import Diagnostics
from tracer.pml.details import second_text
from tracer.pml.events import (
    PROCESS,
    REGISTRY,
    Details,
    locate_events,
    read_details,
    read_heads,
    sound_events,
)
from tracer.pml.header import Bytes, Header
from tracer.pml.operations import OPERATIONS, VALUE_OPERATIONS
from tracer.pml.processes import Process, read_births, read_exit_codes
from tracer.registry.text import escape_name

__all__ = ["CHUNK", "EventIndex", "index_events"]

CHUNK = 1 << 16  # events read at a time
_OPEN_KEY, _CREATE_KEY, _QUERY_KEY, _RENAME_KEY = 0, 1, 3, 14
_NAME_INFORMATION = 3
_LAST_CLASS = 6
_REPARSE = 0x104  # the path led elsewhere, but it is there
_PROCESS_DEFINED, _PROCESS_CREATE, _PROCESS_EXIT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class EventIndex:
    """What the first pass found.

    Attributes:
        offsets: of the registry operations, in the order of their time (ties in file order).
        paths: number of each operation's path in `texts`; -1 if the path cannot be read.
        texts: the distinct paths as Procmon shows them, escaped.
        is_key: for each text, whether some operation showed it to be a key.
        answers: (path number, native name) where RegQueryKey returned the native name of a key below HKCU.
        processes: the distinct process indexes of the registry operations, ascending.
        births: what the events that define or create a process say, by process index.
        exits: exit code and time of the processes whose end is an event, by process index.
        events: number of events of any kind that could be read.
    """

    offsets: NDArray[np.int64]
    paths: NDArray[np.int32]
    texts: list[str]
    is_key: NDArray[np.bool_]
    answers: set[tuple[int, str]]
    processes: NDArray[np.uint32]
    births: dict[int, Process]
    exits: dict[int, tuple[int, int | None]]
    events: int


def index_events(raw: Bytes, header: Header, diagnostics: Diagnostics) -> EventIndex:
    """Find the registry operations of the file whose bytes are `raw`, and count what cannot be read."""
    pass_ = _FirstPass(raw, header, diagnostics)
    located = locate_events(raw, header, diagnostics)
    for start in range(0, len(located), CHUNK):
        raw.load(located[start : start + CHUNK])
        pass_.read(located[start : start + CHUNK])
    return pass_.index()


class _FirstPass:
    def __init__(self, raw: Bytes, header: Header, diagnostics: Diagnostics) -> None:
        self._raw = raw
        self._header = header
        self._diagnostics = diagnostics
        # Sound events do not overlap. Some slack is left because a damaged one may claim too much.
        self._budget = 4 * len(raw)
        self._numbers: tuple[dict[bytes, int], dict[bytes, int]] = ({}, {})  # one byte a character, UTF-16
        self._texts: list[str] = []
        self._keys: set[int] = set()
        self._events = 0
        self._answers: set[tuple[int, str]] = set()
        self._offsets: list[NDArray[np.int64]] = []
        self._dates: list[NDArray[np.uint64]] = []
        self._paths: list[NDArray[np.int32]] = []
        self._processes: list[NDArray[np.uint32]] = []
        self._births: dict[int, Process] = {}
        self._exits: dict[int, tuple[int, int | None]] = {}

    def read(self, offsets: NDArray[np.int64]) -> None:
        """Index the events at `offsets`."""
        head = read_heads(self._raw, offsets)
        operation = head["operation"]
        process = head["class"] == PROCESS
        born = process & ((operation == _PROCESS_DEFINED) | (operation == _PROCESS_CREATE))
        ended = process & (operation == _PROCESS_EXIT)
        births = read_births(self._raw, offsets[born].tolist(), self._header.pointer_size)
        self._births = births | self._births  # the first word counts
        self._exits |= read_exit_codes(self._raw, offsets[ended].tolist(), self._header.pointer_size)
        registry = head["class"] == REGISTRY
        other = (head["class"] > 0) & (head["class"] <= _LAST_CLASS) & ~registry
        self._diagnostics.count("pml_other_events", int(other.sum()))
        self._count("pml_bad_event", ~(registry | other), offsets)
        self._events += int(other.sum())
        known_operation = registry & (operation < len(OPERATIONS))
        self._count("pml_unknown_operation", registry & ~known_operation, offsets)
        sound = known_operation & sound_events(head)
        self._count("pml_bad_event", known_operation & ~sound, offsets)

        offsets, head = offsets[sound], head[sound]
        details = read_details(self._raw, offsets, head, self._header.pointer_size)
        claims = (
            head["detail_size"].astype(np.int64) + np.maximum(details.extra_size, 0) + head.dtype.itemsize
        )
        fits = np.cumsum(claims) <= self._budget
        if not fits.all():
            self._count("pml_bad_event", ~fits, offsets)
            offsets, head, claims = offsets[fits], head[fits], claims[fits]
            details = read_details(self._raw, offsets, head, self._header.pointer_size)
        self._budget -= int(claims.sum())
        self._count("pml_bad_detail", details.bad_extra | (details.path_size < 0), offsets)
        paths = self._number_paths(details)
        self._events += len(offsets)
        self._offsets.append(offsets)
        self._dates.append(head["date"].copy())  # not a view, which would keep all of head
        self._paths.append(paths)
        self._processes.append(np.unique(head["process"]))
        self._note_keys(details, paths)
        self._note_new_names(details, paths)
        self._note_answers(details, paths)

    def index(self) -> EventIndex:
        """Return the index, in time order."""
        offsets, dates = _join(self._offsets, np.int64), _join(self._dates, np.uint64)
        paths = _join(self._paths, np.int32)
        if len(dates) and (dates[1:] < dates[:-1]).any():
            order = np.argsort(dates, kind="stable")
            offsets, paths = offsets[order], paths[order]
        is_key = np.zeros(len(self._texts), np.bool_)
        is_key[list(self._keys)] = True
        return EventIndex(
            offsets=offsets,
            paths=paths,
            texts=self._texts,
            is_key=is_key,
            answers=self._answers,
            processes=np.unique(_join(self._processes, np.uint32)),
            births=self._births,
            exits=self._exits,
            events=self._events,
        )

    def _count(self, name: str, which: NDArray[np.bool_], offsets: NDArray[np.int64]) -> None:
        if which.any():
            self._diagnostics.count(name, int(which.sum()), offset=int(offsets[np.argmax(which)]))

    def _number_paths(self, details: Details) -> NDArray[np.int32]:
        """Return the number of each event's path; new paths get new numbers."""
        narrow, wide = self._numbers
        numbers = np.full(len(details.path_at), -1, np.int32)
        rows = np.flatnonzero(details.path_size >= 0)
        starts = details.path_at[rows]
        texts = self._raw.pieces(starts, starts + details.path_size[rows])
        path_numbers: list[int] = []
        for text, is_wide in zip(texts, details.wide[rows].tolist(), strict=True):
            numbers_by_text = wide if is_wide else narrow
            number = numbers_by_text.get(text)
            if number is None:
                number = numbers_by_text[text] = len(self._texts)
                encoding = "utf-16-le" if is_wide else "latin-1"
                if not (is_wide or text.isascii()):
                    self._diagnostics.count("pml_bad_detail", offset=int(starts[len(path_numbers)]))
                self._texts.append(escape_name(text.decode(encoding, "surrogatepass")))
            path_numbers.append(number)
        numbers[rows] = path_numbers
        return numbers

    def _note_keys(self, details: Details, paths: NDArray[np.int32]) -> None:
        """Remember the paths that are keys: every operation on a key proves it, but not a failed open."""
        operation, result = details.head["operation"], details.head["result"]
        names_key = ~np.isin(operation, list(VALUE_OPERATIONS)) & (paths >= 0)
        opens = (operation == _OPEN_KEY) | (operation == _CREATE_KEY)
        names_key &= ~opens | (result == 0) | (result == _REPARSE)
        self._keys.update(np.unique(paths[names_key]).tolist())

    def _note_new_names(self, details: Details, paths: NDArray[np.int32]) -> None:
        """Remember the keys that renames made: what follows below one is the name of a value or a key."""
        head = details.head
        done = (head["operation"] == _RENAME_KEY) & (head["result"] == 0) & (paths >= 0)
        for row in np.flatnonzero(done).tolist():
            name = second_text(self._raw, details, row)
            parent, backslash, _ = self._texts[paths[row]].rpartition("\\")
            if name and backslash:
                self._keys.add(len(self._texts))
                self._texts.append(f"{parent}\\{name}")

    def _note_answers(self, details: Details, paths: NDArray[np.int32]) -> None:
        """Remember the native names that RegQueryKey returned for keys below HKCU."""
        answers = (details.head["operation"] == _QUERY_KEY) & (details.fixed[:, 2] == _NAME_INFORMATION)
        answers &= (details.extra_size >= 4) & (details.path_size >= 4) & ~details.wide
        answers[answers] = self._raw.gather(details.path_at[answers], 4).view("<u4").ravel() == _HKCU
        for i in np.flatnonzero(answers):
            start = int(details.extra_at[i]) + 4
            size = min(int(details.lead[i, 0]), int(details.extra_size[i]) - 4) & ~1
            name = self._raw[start : start + size]
            self._answers.add((int(paths[i]), name.decode("utf-16-le", "surrogatepass")))


_HKCU = int.from_bytes(b"HKCU", "little")


def _join(pieces: list[NDArray[Any]], kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(pieces) if pieces else np.empty(0, kind)
