"""Rows on their way out: a batch of a timeline whose texts are made once for each distinct value."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracer.registry.value_columns import distinct_rows

__all__ = ["Processes", "Rows", "mapped", "text_bytes"]


class Processes:
    """The processes of a capture by their id.

    Attributes:
        facts: of each process the columns of `processes`, and its parent's image and path as `parent_image`, `parent_path`.
    """

    def __init__(self, table: pa.Table) -> None:
        """Keep the table `processes`."""
        rows = table.sort_by("process_id").to_pylist()
        by_id = {row["process_id"]: row for row in rows}
        for row in rows:
            parent = by_id.get(row["parent_id"], {})
            row["parent_image"], row["parent_path"] = parent.get("image"), parent.get("image_path")
        self.facts: list[Mapping[str, Any]] = rows
        self._ids = np.fromiter(by_id, np.int64, len(by_id))
        self._made: dict[Callable[[Mapping[str, Any]], str | None], pa.Array] = {}

    def places(self, ids: pa.Array) -> pa.Array:
        """Return the place in `facts` of each id; NULL for NULL and where there is no such process."""
        numbers = ids.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        places = np.searchsorted(self._ids, numbers)
        found = (places < len(self._ids)) & (numbers >= 0)
        found[found] = self._ids[places[found]] == numbers[found]
        return pa.array(places.astype(np.int32), mask=~found)

    def texts(self, make: Callable[[Mapping[str, Any]], str | None]) -> pa.Array:
        """Return the text that `make` makes of each process; it is asked once."""
        if make not in self._made:
            self._made[make] = pa.array([make(facts) for facts in self.facts], pa.string())
        return self._made[make]


class Rows:
    """A batch of a timeline, in order.

    Attributes:
        batch: the rows, with the columns of a timeline that exports need, and `host` and `capture`.
    """

    def __init__(self, batch: pa.RecordBatch, processes: Processes) -> None:
        """Take a batch of a timeline."""
        self.batch = batch
        self._processes = processes
        self._coded: dict[str, pa.DictionaryArray] = {}
        self._distinct: dict[tuple[str, ...], tuple[list[list[Any]], pa.Array]] = {}
        self._objects: dict[tuple[tuple[str, ...], Callable[..., Any]], list[Any]] = {}
        self._places: pa.Array | None = None

    def with_columns(self, columns: Mapping[str, pa.Array]) -> "Rows":
        """Return the rows with more columns."""
        arrays = [*self.batch.columns, *columns.values()]
        names = [*self.batch.schema.names, *columns]
        return Rows(pa.RecordBatch.from_arrays(arrays, names=names), self._processes)

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def __getitem__(self, name: str) -> pa.Array:
        return self.batch.column(name)

    def coded(self, name: str) -> pa.DictionaryArray:
        """Return a column as distinct values and which of them each row has."""
        if name not in self._coded:
            column = self.batch.column(name)
            self._coded[name] = (
                column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()
            )
        return self._coded[name]

    def told(
        self,
        names: str | tuple[str, ...],
        make: Callable[..., str | bytes | None],
        *,
        of: Callable[..., Any] | None = None,
        kind: pa.DataType | None = None,
    ) -> pa.DictionaryArray:
        """Return what a function makes of each row of a column, or of several; it is asked once for all alike.

        Args:
            names: a column: the function gets a value that is not NULL; or several: it gets a value of each, None for NULL.
            make: returns a text, or None.
            of: makes one object of the values of several columns, which `make` gets in their place; it is made once for all
                functions of these columns. Where it is None, there is no text.
            kind: what `make` returns; None is text.
        """
        kind = kind or pa.string()
        if isinstance(names, str):
            coded = self.coded(names)
            made = [None if value is None else make(value) for value in coded.dictionary.to_pylist()]
            return pa.DictionaryArray.from_arrays(coded.indices, pa.array(made, kind))
        values, places = self._rows_of(names)
        if of is None:
            made = [make(*row) for row in zip(*values, strict=True)]
        else:
            if (names, of) not in self._objects:
                self._objects[names, of] = [of(*row) for row in zip(*values, strict=True)]
            made = [None if one is None else make(one) for one in self._objects[names, of]]
        return pa.DictionaryArray.from_arrays(places, pa.array(made, kind))

    def of_process(self, make: Callable[[Mapping[str, Any]], str | None]) -> pa.DictionaryArray:
        """Return what a function makes of the process of each row (`Processes.facts`); NULL where it is not known."""
        if self._places is None:
            self._places = self._processes.places(self["process_id"])
        return pa.DictionaryArray.from_arrays(self._places, self._processes.texts(make))

    def numbers(self, name: str) -> pa.Array:
        """Return a column of numbers as text."""
        return self[name].cast(pa.string())

    def iso_times(self, ending: str = "Z") -> pa.Array:
        """Return the times as ISO 8601 with microseconds, UTC, with `Z` or another word for that zone."""
        naive = self["time"].cast(pa.timestamp("us")).cast(pa.string())
        return pc.binary_join_element_wise(
            pc.replace_substring(naive, " ", "T", max_replacements=1), ending, ""
        )

    def _rows_of(self, names: tuple[str, ...]) -> tuple[list[list[Any]], pa.Array]:
        if names not in self._distinct:
            values, places = distinct_rows([self[name] for name in names])
            self._distinct[names] = ([column.to_pylist() for column in values], places.cast(pa.int32()))
        return self._distinct[names]


def mapped(texts: pa.DictionaryArray, make: Callable[[str], str | None]) -> pa.DictionaryArray:
    """Return what a function makes of each text of a dictionary-coded column; NULL stays NULL."""
    made = [None if text is None else make(text) for text in texts.dictionary.to_pylist()]
    return pa.DictionaryArray.from_arrays(texts.indices, pa.array(made, pa.string()))


def text_bytes(lines: pa.Array) -> memoryview:
    """Return the bytes of a column of text without NULLs, one after the other; nothing is copied."""
    if not len(lines):
        return memoryview(b"")
    _, offsets, data = lines.buffers()
    if data is None:
        return memoryview(b"")
    width = np.int64 if pa.types.is_large_string(lines.type) else np.int32
    ends = np.frombuffer(offsets, width)
    return memoryview(data)[int(ends[lines.offset]) : int(ends[lines.offset + len(lines)])]
