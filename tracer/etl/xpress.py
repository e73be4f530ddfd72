"""XPRESS (plain LZ77) of compressed .etl buffers: whole buffers by libfwnt, first bytes by hand."""

from functools import cache
from typing import Any

__all__ = ["inflate", "inflate_start"]


_BY_HAND = 1 << 20  # larger buffers would take seconds


@cache
def _libfwnt() -> Any:  # noqa: ANN401 - a C module without types
    import pyfwnt

    return pyfwnt


def inflate(data: bytes, size: int) -> bytes | None:
    """Return `data` inflated to exactly `size` bytes; None where it does not inflate to that."""
    try:
        out = bytes(_libfwnt().lzxpress_decompress(data, size))
    except (OSError, ValueError, MemoryError):
        out = b""
    if len(out) != size and size <= _BY_HAND:
        out = inflate_start(data, size)  # libfwnt refuses matches longer than 32 KiB, which are sound
    return out if len(out) == size else None


def inflate_start(data: bytes, size: int) -> bytes:
    """Return the first `size` bytes (fewer where the data ends or is damaged).

    Buffers are put in order by their first record before any of them is inflated whole; MS-XCA 2.4
    describes the format: a dword of flags, then for each bit a literal byte or a match.
    """
    out = bytearray()
    at, flags, left, half = 0, 0, 0, None
    end = len(data)
    while len(out) < size and at < end:
        if not left:
            flags = int.from_bytes(data[at : at + 4], "little")
            at, left = at + 4, 32
            continue
        left -= 1
        if not flags >> left & 1:
            out.append(data[at])
            at += 1
            continue
        token = int.from_bytes(data[at : at + 2], "little")
        at += 2
        distance, length = (token >> 3) + 1, token & 7
        if length == 7:
            if half is None:
                half = at
                at += 1
                length = (data[half] & 15) if half < end else 0
            else:
                length, half = data[half] >> 4, None
            if length == 15:
                length = data[at] if at < end else 0
                at += 1
                if length == 255:
                    length = int.from_bytes(data[at : at + 2], "little")
                    at += 2
                    if not length:
                        length = int.from_bytes(data[at : at + 4], "little")
                        at += 4
                    length -= 22
                length += 15
            length += 7
        length = min(length + 3, size - len(out))
        if distance > len(out):
            break
        for _ in range(length):
            out.append(out[-distance])
    return bytes(out)
