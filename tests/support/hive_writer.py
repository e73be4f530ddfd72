"""A writer of small hives and of their logs, for tests: the format as its open descriptions say it."""

import struct
from dataclasses import dataclass, field

from tracer.baseline.image import checksum
from tracer.baseline.logs import marvin32
from tracer.registry.text import encode_name

_PAGE = 4096
_SEGMENT = 16_344
_NONE = 0xFFFF_FFFF


@dataclass
class Key:
    """A key to write: names are escaped; values are (name, type, data)."""

    name: str
    keys: list["Key"] = field(default_factory=list)
    values: list[tuple[str, int, bytes]] = field(default_factory=list)
    written: int = 133_000_000_000_000_000  # FILETIME
    class_name: str = ""

    def below(self, path: str) -> "Key":
        """Return the key at a path below this one, made if new."""
        key = self
        for name in path.split("\\"):
            found = next((one for one in key.keys if one.name.upper() == name.upper()), None)
            if found is None:
                found = Key(name, written=self.written)
                key.keys.append(found)
            key = found
        return key


class _Bins:
    def __init__(self) -> None:
        self.data = bytearray(32)

    def cell(self, content: bytes) -> int:
        at = len(self.data)
        size = -(-(4 + len(content)) // 8) * 8
        self.data += struct.pack("<i", -size) + content.ljust(size - 4, b"\0")
        return at

    def finish(self) -> bytes:
        size = -(-(len(self.data) + 8) // _PAGE) * _PAGE
        self.data += struct.pack("<i", size - len(self.data)).ljust(size - len(self.data), b"\0")
        self.data[:32] = struct.pack("<4sII", b"hbin", 0, size).ljust(32, b"\0")
        return bytes(self.data)


def base_block(
    size: int,
    root: int,
    *,
    name: str = "",
    sequences: tuple[int, int] = (1, 1),
    written: int = 0,
    kind: int = 0,
) -> bytes:
    """Return a base block with its checksum."""
    block = bytearray(_PAGE)
    struct.pack_into("<4sIIQIIIIIII", block, 0, b"regf", *sequences, written, 1, 5, kind, 1, root, size, 1)
    raw = encode_name(name[-31:])  # Windows keeps the end of a path
    block[48 : 48 + len(raw)] = raw
    struct.pack_into("<I", block, 508, checksum(bytes(block)))
    return bytes(block)


def hive(root: Key, *, list_kind: bytes = b"lh", most: int = 500, **stated: object) -> bytes:
    """Return a hive; lists of children have `most` entries at most, more are listed in an `ri`."""
    bins = _Bins()
    at = _write(bins, root, None, list_kind, most, is_root=True)
    body = bins.finish()
    return base_block(len(body), at, **stated) + body  # type: ignore[arg-type]


def _name(text: str, *, least: bool = False) -> tuple[bytes, bool]:
    raw = encode_name(text)
    letters = raw.decode("utf-16-le", "surrogatepass")
    if all(ord(letter) < 256 for letter in letters) and not least:
        return letters.encode("latin-1"), True
    return raw, False


def _write(
    bins: _Bins, key: Key, parent: int | None, kind: bytes, most: int, *, is_root: bool = False
) -> int:
    raw, is_latin = _name(key.name)
    class_raw = encode_name(key.class_name)
    head = struct.pack("<2sHQIIIIIIIIIIIIIIIHH", b"nk", 0, key.written, *[0] * 15, len(raw), len(class_raw))
    at = bins.cell(head + raw)
    children = [_write(bins, one, at, kind, most) for one in key.keys]
    values = [_write_value(bins, *one) for one in key.values]
    lists = [
        bins.cell(
            struct.pack("<2sH", kind, len(some))
            + b"".join(struct.pack("<I", one) + (b"" if kind == b"li" else bytes(4)) for one in some)
        )
        for some in (children[start : start + most] for start in range(0, len(children), most))
    ]
    if len(lists) > 1:
        lists = [bins.cell(struct.pack("<2sH", b"ri", len(lists)) + struct.pack(f"<{len(lists)}I", *lists))]
    value_list = bins.cell(struct.pack(f"<{len(values)}I", *values)) if values else _NONE
    class_at = bins.cell(class_raw) if class_raw else _NONE
    fields = struct.pack(
        "<2sHQIIIIIIIII",
        b"nk",
        (0x20 if is_latin else 0) | (0xC if is_root else 0),
        key.written,
        0,
        _NONE if parent is None else parent,
        len(children),
        0,
        lists[0] if lists else _NONE,
        _NONE,
        len(values),
        value_list,
        _NONE,
    )
    bins.data[at + 4 : at + 4 + len(fields)] = fields
    struct.pack_into("<I", bins.data, at + 52, class_at)
    return at


def _write_value(bins: _Bins, name: str, kind: int, data: bytes) -> int:
    raw, is_latin = _name(name)
    size, place = len(data), 0
    if size <= 4:
        size, place = size | 0x8000_0000, int.from_bytes(data.ljust(4, b"\0"), "little")
    elif size > _SEGMENT:
        parts = [bins.cell(data[start : start + _SEGMENT]) for start in range(0, size, _SEGMENT)]
        listed = bins.cell(struct.pack(f"<{len(parts)}I", *parts))
        place = bins.cell(struct.pack("<2sHI", b"db", len(parts), listed))
    else:
        place = bins.cell(data)
    return bins.cell(struct.pack("<2sHIIIHH", b"vk", len(raw), size, place, kind, int(is_latin), 0) + raw)


def log_of(before: bytes, after: bytes, sequence: int, *, steps: int = 1) -> bytes:
    """Return a log whose entries turn the bins of one hive into those of another."""
    old, new = before[_PAGE:], after[_PAGE:]
    pages = [at for at in range(0, len(new), 512) if old[at : at + 512] != new[at : at + 512]]
    data = base_block(len(new), 0, sequences=(sequence, sequence), kind=6)[:512]
    for step in range(steps):
        some = pages[step::steps]
        body = b"".join(struct.pack("<II", at, 512) for at in some)
        body += b"".join(new[at : at + 512] for at in some)
        size = -(-(40 + len(body)) // 512) * 512
        body = body.ljust(size - 40, b"\0")
        head = struct.pack(
            "<4sIIIIIQ", b"HvLE", size, 0, sequence + step, len(new), len(some), marvin32(body)
        )
        data += head + struct.pack("<Q", marvin32(head)) + body
    return data
