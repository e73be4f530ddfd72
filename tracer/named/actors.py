"""Processes that named sources speak of: one number for each, by what identifies it in its source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.columns.arrays import from_rows
from tracer.schema import PROCESSES

__all__ = ["Actor", "Actors"]

_SEPARATOR = "\x1f"


@dataclass(slots=True)
class Actor:
    r"""One process; None means unknown.

    Attributes:
        source: where the knowledge is from: sysmon, security, ...
        pid: Windows process id.
        parent_pid: that of the process which started it.
        image_path: path of the image, as recorded.
        name: its file name, where the source gives it apart from the path.
        command_line: as recorded.
        user: account (DOMAIN\\name) or SID.
        session_id: terminal session.
        start_ns: start, UTC nanoseconds.
    """

    source: str
    pid: int | None = None
    parent_pid: int | None = None
    image_path: str | None = None
    name: str | None = None
    command_line: str | None = None
    user: str | None = None
    session_id: int | None = None
    start_ns: int | None = None

    @property
    def image(self) -> str | None:
        """The file name of the image."""
        path = self.image_path
        return path.rpartition("\\")[2] or self.name if path else self.name


class Actors:
    """The processes of all named sources of a capture; the number of each is its `process_id`."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._actors: list[Actor] = []
        self._disputed: set[tuple[int, str]] = set()

    def __len__(self) -> int:
        return len(self._actors)

    def number(
        self,
        source: str,
        identity: Mapping[str, pa.Array],
        facts: Mapping[str, pa.Array],
        agreed: Mapping[str, pa.Array] | None = None,
    ) -> pa.Array:
        """Return the number of each row's process (int32; NULL where every column of its identity is NULL).

        Args:
            source: name of the source, part of the identity.
            identity: text columns; rows that agree in all of them are of one process.
            facts: further columns for `Actor`, by its names, also pid and so on where they are in `identity`; of a process
                that several rows describe, the first that is not NULL counts.
            agreed: text columns likewise, of facts that are known only where all rows of the process agree.
        """
        columns = [pc.fill_null(column, "\x00") for column in identity.values()]
        joined = pc.binary_join_element_wise(*columns, _SEPARATOR)
        encoded = joined.dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        places = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        nobody = _SEPARATOR.join("\x00" * len(columns))
        keys: list[str] = encoded.dictionary.to_pylist()
        numbers = np.full(len(keys), -1, np.int32)
        for place, key in enumerate(keys):
            if key == nobody:
                continue
            name = f"{source}{_SEPARATOR}{key}"
            number = self._numbers.get(name)
            if number is None:
                number = self._numbers[name] = len(self._actors)
                self._actors.append(Actor(source))
            numbers[place] = number
        self._learn(places, numbers, facts)
        for fact, column in (agreed or {}).items():
            self._agree(places, numbers, fact, column)
        rows: NDArray[np.int32] = numbers[places] if len(keys) else np.zeros(len(places), np.int32)
        return pa.array(rows, mask=rows < 0)

    def _learn(
        self, places: NDArray[np.int64], numbers: NDArray[np.int32], facts: Mapping[str, pa.Array]
    ) -> None:
        """Keep each process's first fact of each kind."""
        for name, column in facts.items():
            valid = column.is_valid()
            array = valid.combine_chunks() if isinstance(valid, pa.ChunkedArray) else valid
            known = np.flatnonzero(array.to_numpy(zero_copy_only=False))
            at, first = np.unique(places[known], return_index=True)
            values = column.take(pa.array(known[first])).to_pylist()
            for place, value in zip(at.tolist(), values, strict=True):
                number = int(numbers[place])
                if number >= 0 and getattr(self._actors[number], name) is None:
                    setattr(self._actors[number], name, value)

    def _agree(
        self, places: NDArray[np.int64], numbers: NDArray[np.int32], name: str, column: pa.Array
    ) -> None:
        """Keep a fact of each process as long as no two of its rows differ."""
        encoded = column.dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        texts: list[str] = encoded.dictionary.to_pylist()
        said = pc.fill_null(encoded.indices, len(texts)).to_numpy(zero_copy_only=False).astype(np.int64)
        for pair in np.unique(places * (len(texts) + 1) + said).tolist():
            place, text = divmod(pair, len(texts) + 1)
            number = int(numbers[place])
            if number < 0 or text == len(texts) or (number, name) in self._disputed:
                continue
            before = getattr(self._actors[number], name)
            if before is not None and before != texts[text]:
                self._disputed.add((number, name))
            setattr(self._actors[number], name, None if (number, name) in self._disputed else texts[text])

    def table(self) -> pa.Table:
        """Return rows of the table `processes`."""
        rows: Sequence[dict[str, Any]] = [
            dict.fromkeys(PROCESSES.names)
            | {
                "process_id": number,
                "pid": actor.pid,
                "parent_pid": actor.parent_pid,
                "start_ns": actor.start_ns,
                "image": actor.image,
                "image_path": actor.image_path,
                "command_line": actor.command_line,
                "user": actor.user,
                "session_id": actor.session_id,
                "source": actor.source,
            }
            for number, actor in enumerate(self._actors)
        ]
        return from_rows(rows, PROCESSES.arrow())
