"""Data of the manifest provider's reads and writes as columns of events: the value's own type, size and data.

Captured bytes of a write are the value's data; of a read they are the structure that came back
(`tracer.registry.key_information`), which is taken apart here.
"""

from dataclasses import dataclass
from json.encoder import encode_basestring as json_string

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.columns.arrays import from_numbers, from_texts, to_numbers
from tracer.decode.batch import NONE, Blobs, Field, Numbers, Operations
from tracer.decode.plans import OPERATION_NUMBERS, PLANS, PlanTables
from tracer.decode.strings import NameTable, gapped
from tracer.registry.key_information import KEY, SET, VALUE, describe_all, described, take_values_apart
from tracer.registry.ntstatus import NOT_SUCCESS, TOO_SHORT
from tracer.schema import FLAGS

__all__ = ["SIZE_KNOWN", "TYPE_KNOWN", "Contents", "StructureTexts", "read_contents"]

TYPE_KNOWN, SIZE_KNOWN = 1, 2
# KEY_VALUE_INFORMATION_CLASS whose structure is the data behind so many bytes: its length tells the value's
_AROUND = {2: 12, 4: 8}
_WITH_NAME = (0, 1, 3)
_MOST_KNOWN = 1 << 15  # distinct structures of one class that are remembered
_FIRST_STRUCTURES = 1 << 10
_OTHERS = 16  # information classes from here on have no layout

# What a record of a plan brings, as bits: a value that is written; the next value of a list; many values; a change
# of a key's own settings; a structure around a value; a structure about a key.
_WRITES, _LISTS, _MANY, _SETS, _OF_VALUES, _OF_KEYS = (np.uint8(1 << bit) for bit in range(6))


def _roles() -> NDArray[np.uint8]:
    roles = np.zeros(len(PLANS), np.uint8)
    of = {"SetValueKey": _WRITES, "QueryMultipleValueKey": _MANY, "SetInformationKey": _SETS}
    of |= {"QueryValueKey": _OF_VALUES, "EnumerateValueKey": _OF_VALUES | _LISTS}
    of |= {"QueryKey": _OF_KEYS, "EnumerateKey": _OF_KEYS}
    for operation, role in of.items():
        roles[~PlanTables.classic & (PlanTables.operation == OPERATION_NUMBERS[operation])] = role
    return roles


_ROLES = _roles()


@dataclass(frozen=True, slots=True)
class Contents:
    """Columns of n rows.

    Attributes:
        type, size: data_type and data_size, where known.
        known: sum of TYPE_KNOWN and SIZE_KNOWN.
        last_name: the row's last name; of an enumeration of values the name of the value that came back, or NONE.
        flags: what to add to the row's flags.
        data: the value's captured bytes; None where no row has any.
        detail: texts of the column `detail`; None where no row has any.
    """

    type: NDArray[np.uint32]
    size: NDArray[np.uint32]
    known: NDArray[np.uint8]
    last_name: Numbers
    flags: NDArray[np.uint32]
    data: Blobs | None
    detail: Blobs | None


class StructureTexts:
    """The texts of distinct structures, remembered as far as they are few."""

    def __init__(self, names: NameTable) -> None:
        """`names` is a table of the form that goes with the form of decoding."""
        self._form = type(names)
        self._tables: dict[tuple[str, int], NameTable] = {}

    def find(
        self,
        structure: str,
        class_: int,
        raw: NDArray[np.uint8],
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
    ) -> tuple[NDArray[np.intp], list[str]]:
        """Return the place of each structure's text in a list of the distinct ones, and that list.

        ByteSpans rise and do not overlap, and no structure is empty. A text may be empty.
        """
        table = self._tables.get((structure, class_))
        if table is None or len(table.texts) > _MOST_KNOWN:
            table = self._tables[structure, class_] = self._form(
                lambda datas: describe_all(structure, class_, datas), room=_FIRST_STRUCTURES
            )
        numbers = table.encode_spans(raw, starts, ends)
        place, distinct = _distinct(numbers)
        return place, [table.texts[number] for number in distinct]


def _distinct(numbers: Numbers) -> tuple[NDArray[np.intp], list[int]]:
    """Return each number's place among the distinct ones, rising, and these; numbers are small, and there is one."""
    distinct = np.flatnonzero(np.bincount(numbers))
    place = np.empty(int(distinct[-1]) + 1, np.intp)
    place[distinct] = np.arange(len(distinct))
    return place.take(numbers), distinct.tolist()


def read_contents(operations: Operations, names: NameTable, structures: StructureTexts) -> Contents:
    """Return what the rows of a batch wrote or read."""
    return _Contents(operations, names, structures).make()


class _Contents:
    def __init__(self, operations: Operations, names: NameTable, structures: StructureTexts) -> None:
        self.operations, self.names, self.structures = operations, names, structures
        self.role = _ROLES.take(operations.plan)
        count = len(operations)
        zeros = np.zeros(count, np.uint32)
        self.full: Field = operations.fields.get("DataSize", zeros)
        self.class_: Field = operations.fields.get("InfoClass", zeros)
        self.type = operations.fields.get("Type", zeros).astype(np.uint32, copy=False)
        self.size = self.full.astype(np.uint32, copy=False)
        self.known = (self.role & _WRITES) * np.uint8(TYPE_KNOWN + SIZE_KNOWN)
        self.last_name, self.flags = operations.last_name, zeros
        self.texts: list[str] = []
        self.text_of = np.full(count, NONE, np.int32)

    def make(self) -> Contents:
        """Return the columns."""
        data = self.operations.data
        carries = np.flatnonzero(self.role)
        lists = self.role & _LISTS != 0
        if lists.any():
            self.last_name = np.where(lists, np.int32(NONE), self.last_name)
        if len(carries):
            self.type, self.size, self.flags = self.type.copy(), self.size.copy(), self.flags.copy()
            role = self.role.take(carries)
            if data is None:
                self._say_lengths(carries)
            else:
                captured = data.place.take(carries) != NONE
                self._say_lengths(carries[~captured | (role & _MANY != 0)])
                role[~captured] = 0
                data = self._take_apart(data, carries[role & _OF_VALUES != 0])
                data = self._describe_keys(data, carries[role & (_OF_KEYS | _SETS) != 0])
        return Contents(
            self.type, self.size, self.known, self.last_name, self.flags, data,
            Blobs(from_texts(self.texts), self.text_of) if self.texts else None,
        )  # fmt: skip

    def _say_lengths(self, rows: NDArray[np.int64]) -> None:
        """Give rows of which nothing was captured what the length of the structure says."""
        rows = rows[self.role.take(rows) & _WRITES == 0]
        status = self.operations.fields["Status"].take(rows).astype(np.uint32, copy=False)
        rows = rows[(status < NOT_SUCCESS) | np.isin(status, TOO_SHORT)]
        class_, full = self.class_.take(rows), self.full.take(rows).astype(np.int64)
        of_value = self.role.take(rows) & _OF_VALUES != 0
        says = np.zeros(len(rows), bool)
        for number, around in _AROUND.items():
            mine = of_value & (class_ == number)
            says |= mine
            sized = mine & (full >= around)
            self.size[rows[sized]] = full[sized] - around
            self.known[rows[sized]] |= SIZE_KNOWN
        self._say(rows[~says], "ResultLength")

    def _say(self, rows: NDArray[np.int64], name: str) -> None:
        """Put the length of each row's structure into its detail."""
        role = self.role.take(rows)
        named = np.where(role & _MANY, 1, np.where(role & _SETS, 2, 0))
        lengths = self.full.take(rows).astype(np.int64)
        encoded = from_numbers(lengths * 4 + named).dictionary_encode()
        words = (name, "BufferLength", "Length")
        texts = [f'{{"{words[each & 3]}": {each >> 2}}}' for each in encoded.dictionary.to_pylist()]
        self._add(rows, to_numbers(encoded.indices), texts)

    def _add(self, rows: NDArray[np.int64], place: NDArray, texts: list[str]) -> None:  # type: ignore[type-arg]
        """Give each row one of the texts; an empty one is none."""
        if len(rows):
            there = np.array([text != "" for text in texts])
            self.text_of[rows] = np.where(there.take(place), place + len(self.texts), NONE)
            self.texts += texts

    def _take_apart(self, data: Blobs, rows: NDArray[np.int64]) -> Blobs:
        """Let `data` be the data of the values that `rows` read."""
        if not len(rows):
            return data
        raw, ends = _buffers(data.values)
        rows, place = _rising(rows, data.place)
        start, stop = ends.take(place), ends.take(place + 1)
        class_ = self.class_.take(rows).astype(np.uint32)
        parts = take_values_apart(raw, start, stop - start, class_)
        sized = parts.size >= 0
        self.type[rows], self.size[rows] = parts.type, parts.size
        self.known[rows] = parts.fits * np.uint8(TYPE_KNOWN) + sized * np.uint8(SIZE_KNOWN)
        self.flags[rows[sized & (parts.data_size < parts.size)]] |= np.uint32(FLAGS["data_truncated"])
        named = parts.name_size >= 0
        self._name(rows[named], raw, parts.name_start[named], parts.name_size[named])
        odd = ~parts.fits | (parts.title != 0) | (~named & np.isin(class_, _WITH_NAME))
        self._describe(rows[odd], VALUE, data)
        starts, stops = ends[:-1].copy(), ends[1:].copy()
        starts[place], stops[place] = parts.data_start, parts.data_start + parts.data_size
        kept = data.place.copy()
        kept[rows[parts.data_size == 0]] = NONE
        return Blobs(gapped(raw, starts, stops), np.where(kept == NONE, np.int32(NONE), 2 * kept))

    def _name(
        self,
        rows: NDArray[np.int64],
        raw: NDArray[np.uint8],
        start: NDArray[np.int64],
        size: NDArray[np.int64],
    ) -> None:
        """Give enumerations the name of the value that came back; other reads have it in their detail."""
        if not len(rows):
            return
        numbers = self.names.encode_spans(raw, start, start + size)
        lists = self.role.take(rows) & _LISTS != 0
        self.last_name[rows[lists]] = numbers[lists]
        if self.names.has_nul:
            hidden = lists & np.isin(numbers, list(self.names.has_nul))
            self.flags[rows[hidden]] |= np.uint32(FLAGS["name_has_nul"])
        others = np.flatnonzero(~lists)
        if len(others):
            place, distinct = _distinct(numbers.take(others))
            texts = [self.names.texts[number] for number in distinct]
            self._add(rows.take(others), place, [f'{{"Name": {json_string(text)}}}' for text in texts])

    def _describe_keys(self, data: Blobs, rows: NDArray[np.int64]) -> Blobs:
        """Put what `rows` read of keys into their detail."""
        if not len(rows):
            return data
        sets = self.role.take(rows) & _SETS != 0
        self._describe(rows[~sets], KEY, data)
        self._describe(rows[sets], SET, data)
        place = data.place.copy()
        place[rows] = NONE
        return Blobs(data.values, place)

    def _describe(self, rows: NDArray[np.int64], structure: str, data: Blobs) -> None:
        """Put what structures say into the detail of their rows; equal ones are read once."""
        if not len(rows):
            return
        rows, place = _rising(rows, data.place)
        class_, full = self.class_.take(rows), self.full.take(rows).astype(np.int64)
        raw, ends = _buffers(data.values)
        starts, stops = ends.take(place), ends.take(place + 1)
        cut = full > stops - starts
        for number in np.flatnonzero(np.bincount(np.minimum(class_, _OTHERS))).tolist():
            some = np.flatnonzero((class_ == number if number < _OTHERS else class_ >= number) & ~cut)
            if len(some):
                begin, end = starts.take(some), stops.take(some)
                self._add(rows.take(some), *self.structures.find(structure, number, raw, begin, end))
        for one in np.flatnonzero(cut).tolist():  # longer than the provider copies: few
            datas, number = data.values.take(from_numbers(place[one : one + 1])).to_pylist(), int(class_[one])
            text = described(structure, number, datas[0], int(full[one]))
            self._add(rows[one : one + 1], np.zeros(1, np.int64), [text])


def _buffers(values: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the bytes of a binary array, and where each of its elements begins and the last one ends."""
    _, offsets, held = values.buffers()
    ends = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    return np.frombuffer(held or b"", np.uint8), ends.astype(np.int64)


def _rising(rows: NDArray[np.int64], places: Numbers) -> tuple[NDArray[np.int64], Numbers]:
    """Return rows in the order of their places, and these: those read one by one stand behind the others."""
    place = places.take(rows)
    if len(place) and (place[1:] < place[:-1]).any():
        order = np.argsort(place)
        return rows[order], place[order]
    return rows, place
