"""Plain LZ77 XPRESS compression (MS-XCA 2.3), as far as compressed buffers need it.

The compressor is greedy and remembers one earlier place for each four bytes. It is here to make test
input, not to be small or fast; reading is somebody else's job (tracer.etl).
"""

__all__ = ["compress"]

_WINDOW = 8192  # a match offset has 13 bits
_SHORTEST = 4  # the format allows 3; matches are found by their first four bytes
_LONGEST = 0x7FFF  # longer matches are legal, but libfwnt refuses those near 64 KiB


def compress(data: bytes) -> bytes:
    """Return `data` as one plain LZ77 XPRESS stream."""
    out = bytearray(4)
    flags, count, flags_at = 0, 0, 0
    nibble_at = -1  # place of a length byte whose high half is still free
    positions: dict[bytes, int] = {}
    place, end = 0, len(data)
    while place < end:
        key = data[place : place + _SHORTEST]
        match = positions.get(key, -1)
        positions[key] = place
        if match >= 0 and place - match <= _WINDOW and len(key) == _SHORTEST:
            length = _match_length(data, match, place)
            more = length - 3
            short = ((place - match - 1) << 3) | min(more, 7)
            out += short.to_bytes(2, "little")
            if more >= 7:
                nibble_at = _put_length(out, more - 7, nibble_at)
            place += length
            flags = flags << 1 | 1
        else:
            out.append(data[place])
            place += 1
            flags <<= 1
        count += 1
        if count == 32:
            out[flags_at : flags_at + 4] = flags.to_bytes(4, "little")
            flags, count, flags_at = 0, 0, len(out)
            out += b"\0\0\0\0"
    # Unused flag bits are ones: a decoder that looks for another item finds a match at the end of input.
    flags = flags << (32 - count) | ((1 << (32 - count)) - 1)
    out[flags_at : flags_at + 4] = flags.to_bytes(4, "little")
    return bytes(out)


def _match_length(data: bytes, match: int, place: int) -> int:
    length, end = _SHORTEST, min(len(data) - place, _LONGEST)
    while length < end:  # doubling steps first: whole records repeat
        step = min(32, end - length)
        if data[match + length : match + length + step] != data[place + length : place + length + step]:
            break
        length += step
    while length < end and data[match + length] == data[place + length]:
        length += 1
    return length


def _put_length(out: bytearray, more: int, nibble_at: int) -> int:
    """Write the part of a match's length above 10; return the offset of a half-used length byte, or -1."""
    if nibble_at < 0:
        nibble_at = len(out)
        out.append(min(more, 15))
        free = nibble_at
    else:
        out[nibble_at] |= min(more, 15) << 4
        free = -1
    if more >= 15:
        if more - 15 < 255:
            out.append(more - 15)
        else:
            out += b"\xff" + (more + 7).to_bytes(2, "little")
    return free
