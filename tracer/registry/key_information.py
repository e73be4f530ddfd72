"""Parsers of KEY_*_INFORMATION structures: one table of layouts for every source.

A captured buffer of a read is a structure around the value, not the value. `data`, `data_type` and `data_size` of an
event are always the value's own; what else a structure says goes into the column `detail`, under the names that its
fields have in wdm.h. Facts: KEY_VALUE_*_INFORMATION, KEY_*_INFORMATION and KEY_SET_*_INFORMATION of wdm.h.

Values are taken apart by column, for they are most; facts of keys are few distinct structures, each read once.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring as _string
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from tracer.registry.text import decode_name, decode_names

__all__ = ["KEY", "SET", "VALUE", "ValueParts", "describe_all", "described", "take_values_apart"]

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

VALUE, KEY, SET = (
    "KeyValueInformation",
    "KeyInformation",
    "KeySetInformation",
)  # as the calls' parameters are called


# of a value, or no facts by themselves; a title index is one where it is not 0
_PLACES = frozenset(
    {"Type", "DataOffset", "DataLength", "ClassOffset", "ClassLength", "NameLength", "TitleIndex"}
)


def _picker(places: list[int]) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    """Return a function that picks the numbers at these places out of a tuple."""
    if len(places) < 2:
        return lambda numbers: numbers[places[0] : places[0] + 1] if places else ()
    return itemgetter(*places)


class _Layout:
    """One structure: the numbers of its fixed part, and the name that may follow it."""

    def __init__(self, text: str) -> None:
        """Read 'u64 Name, u32 Name'."""
        parts = [part.split() for part in text.split(", ")]
        self.names = [name for _, name in parts]
        self.reader = struct.Struct("<" + "".join({"u32": "I", "u64": "Q"}[kind] for kind, _ in parts))
        self.fixed = self.reader.size
        sizes = [{"u32": 4, "u64": 8}[kind] for kind, _ in parts]
        facts = [place for place, name in enumerate(self.names) if name not in _PLACES]
        self.facts = _picker(facts)
        self.said = ", ".join(f'"{self.names[place]}": %d' for place in facts)
        self.title, self.class_at, self.name_size = map(
            self._place, ("TitleIndex", "ClassOffset", "NameLength")
        )
        self.places = {name: sum(sizes[:number]) for number, name in enumerate(self.names)}

    def _place(self, name: str) -> int:
        return self.names.index(name) if name in self.names else -1


_VALUE_BASIC = _Layout("u32 TitleIndex, u32 Type, u32 NameLength")
_VALUE_FULL = _Layout("u32 TitleIndex, u32 Type, u32 DataOffset, u32 DataLength, u32 NameLength")
_VALUE_PARTIAL = _Layout("u32 TitleIndex, u32 Type, u32 DataLength")
_VALUE_PARTIAL_64 = _Layout("u32 Type, u32 DataLength")
_LAYOUTS: Mapping[str, Mapping[int, _Layout]] = {
    # KEY_VALUE_INFORMATION_CLASS; the layout of 5 (Layer) is not published
    VALUE: {0: _VALUE_BASIC, 1: _VALUE_FULL, 2: _VALUE_PARTIAL, 3: _VALUE_FULL, 4: _VALUE_PARTIAL_64},
    # KEY_INFORMATION_CLASS
    KEY: {
        0: _Layout("u64 LastWriteTime, u32 TitleIndex, u32 NameLength"),
        1: _Layout("u64 LastWriteTime, u32 TitleIndex, u32 ClassOffset, u32 ClassLength, u32 NameLength"),
        2: _Layout(
            "u64 LastWriteTime, u32 TitleIndex, u32 ClassOffset, u32 ClassLength, u32 SubKeys, u32 MaxNameLen, "
            "u32 MaxClassLen, u32 Values, u32 MaxValueNameLen, u32 MaxValueDataLen"
        ),
        3: _Layout("u32 NameLength"),
        4: _Layout(  # followed by no name, whatever its length
            "u64 LastWriteTime, u32 TitleIndex, u32 SubKeys, u32 MaxNameLen, u32 Values, u32 MaxValueNameLen, "
            "u32 MaxValueDataLen"
        ),
        5: _Layout("u32 Wow64Flags, u32 KeyFlags, u32 ControlFlags"),
        7: _Layout("u32 HandleTags"),
    },
    # KEY_SET_INFORMATION_CLASS
    SET: {
        0: _Layout("u64 LastWriteTime"),
        1: _Layout("u32 UserFlags"),
        2: _Layout("u32 ControlFlags"),
        5: _Layout("u32 HandleTags"),
    },
}


@dataclass(frozen=True, slots=True)
class ValueParts:
    """Offsets of the parts of n KEY_VALUE_*_INFORMATION; a row that does not fit its layout has none.

    Attributes:
        fits: whether the structure's fixed part is there and makes sense.
        type: registry value type, where it fits.
        size: the value's own full size in bytes; -1 if the structure does not say.
        data_start, data_size: the value's captured bytes; 0 bytes where there are none.
        name_start, name_size: the value's name, UTF-16; -1 bytes where the structure has none or not all of it.
        title: TitleIndex; 0 where the structure has none.
    """

    fits: Bools
    type: NDArray[np.uint32]
    size: Int64s
    data_start: Int64s
    data_size: Int64s
    name_start: Int64s
    name_size: Int64s
    title: Int64s


def take_values_apart(
    raw: NDArray[np.uint8], start: Int64s, length: Int64s, information_class: NDArray[np.uint32]
) -> ValueParts:
    """Return the offsets of the parts of structures.

    Args:
        raw: the bytes in which they are.
        start: where each begins.
        length: bytes of each that were captured; what follows them is never read.
        information_class: KEY_VALUE_INFORMATION_CLASS of each.
    """
    count = len(start)
    raw = raw if len(raw) >= 4 else np.zeros(4, np.uint8)
    words = np.ndarray((len(raw) - 3,), "<u4", raw, strides=(1,))  # the four bytes at any place
    parts = ValueParts(
        fits=np.zeros(count, bool),
        type=np.zeros(count, np.uint32),
        size=np.full(count, -1),
        data_start=start.copy(),
        data_size=np.zeros(count, np.int64),
        name_start=start.copy(),
        name_size=np.full(count, -1),
        title=np.zeros(count, np.int64),
    )
    for class_, layout in _LAYOUTS[VALUE].items():
        rows = np.flatnonzero((information_class == class_) & (length >= layout.fixed))
        if len(rows):
            _take_apart(parts, rows, layout, words, start.take(rows), length.take(rows))
    return parts


def _take_apart(
    parts: ValueParts,
    rows: Int64s,
    layout: _Layout,
    words: NDArray[np.uint32],
    start: Int64s,
    length: Int64s,
) -> None:
    """Fill in the rows of one layout, which are all long enough for its fixed part."""
    number = {name: words[start + place].astype(np.int64) for name, place in layout.places.items()}
    offset: Int64s | int = layout.fixed
    size = number.get("DataLength")
    if "DataOffset" in number:
        # Without data there is no place for it either: the kernel writes an offset of 0xFFFFFFFF.
        sound = (number["DataLength"] == 0) | (number["DataOffset"] >= layout.fixed + number["NameLength"])
        if not sound.all():
            rows, start, length = rows[sound], start[sound], length[sound]
            number = {name: column[sound] for name, column in number.items()}
        offset, size = number["DataOffset"], number["DataLength"]
    parts.fits[rows] = True
    parts.type[rows] = number["Type"]
    if "TitleIndex" in number:
        parts.title[rows] = number["TitleIndex"]
    if size is not None:
        begin = np.minimum(offset, length)
        parts.size[rows] = size
        parts.data_start[rows] = start + begin
        parts.data_size[rows] = np.minimum(size, length - begin)
    if "NameLength" in number:
        whole = layout.fixed + number["NameLength"] <= length
        parts.name_start[rows] = start + layout.fixed
        parts.name_size[rows] = np.where(whole, number["NameLength"], -1)


def described(structure: str, information_class: int, data: bytes, whole: int | None = None) -> str:
    r"""Return the fields of a structure, except a value's type, size and data, as JSON; "" if none.

    Names are escaped. What does not fit its layout, or has none, stands as hex digits under the structure's own name.

    Args:
        structure: VALUE, KEY or SET.
        information_class: of the enumeration that belongs to it.
        data: its captured bytes.
        whole: bytes that all of it takes, as ResultLength; None if the source does not say.

    >>> described(KEY, 3, b"\4\0\0\0A\0b\0")
    '{"Name": "Ab"}'
    """
    layout = _LAYOUTS[structure].get(information_class)
    if layout is None or len(data) < layout.fixed:
        parts = [f'"{structure}": "{data.hex()}"'] if data else []
    else:
        parts = _facts(layout, data)
    if whole is not None and len(data) < whole:
        parts.insert(0, f'"ResultLength": {whole}')
    return "{" + ", ".join(parts) + "}" if parts else ""


def describe_all(structure: str, information_class: int, datas: list[bytes]) -> list[str]:
    """Return `described` of each of many structures of one class, of which all bytes were captured."""
    layout = _LAYOUTS[structure].get(information_class)
    if layout is None or min(map(len, datas), default=0) < layout.fixed:
        return [described(structure, information_class, data) for data in datas]
    fixed, size, title, class_at = layout.fixed, layout.name_size, layout.title, layout.class_at
    numbers = list(layout.reader.iter_unpack(b"".join([data[:fixed] for data in datas])))
    said = [layout.said % facts for facts in map(layout.facts, numbers)]
    if size >= 0:
        lead = ", " if layout.said else ""
        names = decode_names(
            [data[fixed : fixed + row[size]] for data, row in zip(datas, numbers, strict=True)]
        )
        said = [f'{facts}{lead}"Name": {_string(name)}' for facts, name in zip(said, names, strict=True)]
    texts = [f"{{{each}}}" if each else "" for each in said]
    if title >= 0:  # few have a title or a class
        for place, row in enumerate(numbers):
            if row[title] or (class_at >= 0 and row[class_at + 1]):
                texts[place] = described(structure, information_class, datas[place])
    return texts


def _facts(layout: _Layout, data: bytes) -> list[str]:
    numbers = layout.reader.unpack_from(data)
    parts = [layout.said % layout.facts(numbers)] if layout.said else []
    if layout.title >= 0 and numbers[layout.title]:
        parts.append(f'"TitleIndex": {numbers[layout.title]}')
    if layout.class_at >= 0 and numbers[layout.class_at + 1]:
        start, size = numbers[layout.class_at : layout.class_at + 2]
        parts.append(f'"Class": {_string(decode_name(data[start : start + size]))}')
    if layout.name_size >= 0:  # as much of it as was captured
        name = data[layout.fixed : layout.fixed + numbers[layout.name_size]]
        parts.append(f'"Name": {_string(decode_name(name))}')
    return parts
