"""Changes: what is done to a sound input, field by field and piece by piece. Sixteen bytes of chance give one input again."""

import json
from random import Random
from typing import Any

from fuzz.structures import Place, Structure, some_tokens

__all__ = ["changed"]

_WORDS = (
    b"0", b"-1", b"1", b"255", b"65536", b"2147483648", b"4294967295", b"18446744073709551616", b"9" * 400, b"1e999",
    b"NaN", b"null", b"true", b'""', b"{}", b"[]", b"[" * 2000, b'{"a":' * 500, b'"\\ud800"', b'"\\u0000"', b"\0",
    b"\xff\xfe", b"\xed\xa0\x80", b"0x", b"0xffffffffffffffff", b"'", b'"', b"\\", b"<", b"</Event>", b"<!DOCTYPE a [",
    b"<![CDATA[", b"&#0;", b"&a;", b"]]>", b"\r", b"\n", b",", b"\t", b"HKLM\\", b"\\REGISTRY\\", b"../../x",
    b"1601-01-01T00:00:00Z", b"9999-12-31T23:59:59.9999999Z", b"0001-01-01", "\u202eä".encode(), b"x" * 40_000,
)  # fmt: skip

_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1 << 31, 1 << 63, 1 << 64, 10**400, 1.5, 1e308, float("inf"), "", "x", "\ud800", "\0", "../../etc",
    "/etc/passwd", "C:\\x", "x" * 5000, [], {}, [None], {"": None}, [[[[]]]],
)  # fmt: skip


def changed(content: bytes, other: bytes, structure: Structure, places: list[Place], random: Random) -> bytes:
    """Return an input changed in one to six places.

    Args:
        content: a sound input, or one that was kept.
        other: another of the same kind, from which pieces may come.
        structure: of this kind.
        places: the fields of `content`.
        random: decides everything.
    """
    if structure.is_json and random.random() < 0.7:
        return _tree(content, random)
    out = bytearray(content)
    numbers = _tokens if structure.is_text else _numbers
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        chance = random.random()
        if places and chance < 0.62:
            numbers(out, places, random)
        elif chance < 0.82:
            _blocks(out, other, structure, random)
        elif chance < 0.87:
            del out[random.randrange(len(out) + 1) :]
        else:
            _anywhere(out, random)
        if structure.is_text:
            places = some_tokens(out, random)
    result = bytes(out)
    if structure.repair is not None and random.random() < 0.75:
        result = structure.repair(result)
    return result


def _tree(content: bytes, random: Random) -> bytes:
    """Return the document with some values exchanged, taken out, or doubled."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):  # it was kept as damaged
        return content
    for _ in range(random.choice((1, 1, 2, 4))):
        holders = _holders(document)
        holder = random.choice(holders)
        keys: list[Any] = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            continue
        key = random.choice(keys)
        chance = random.random()
        if chance < 0.6:
            holder[key] = random.choice(_VALUES)
        elif chance < 0.75:
            del holder[key]
        elif chance < 0.9:
            holder[key] = json.loads(json.dumps(random.choice(holders)))
        elif isinstance(holder, list):
            holder.append(holder[key])
        else:
            holder["more"] = holder[key]
    try:
        return json.dumps(document, indent=1).encode()
    except (ValueError, RecursionError):  # it holds itself
        return content


def _holders(document: Any) -> list[Any]:
    """Return every object and list of a document, itself included."""
    found = [document] if isinstance(document, dict | list) else []
    for one in found:
        found += [
            value
            for value in (one.values() if isinstance(one, dict) else one)
            if isinstance(value, dict | list)
        ]
    return found or [{}]


def _numbers(out: bytearray, places: list[Place], random: Random) -> None:
    at, width = random.choice(places)
    if at < 0 or at + width > len(out):
        return
    top, value = 1 << 8 * width, int.from_bytes(out[at : at + width], "little")
    from_at = random.choice(places)[0]
    value = random.choice(
        (
            0, 1, top - 1, top - 2, top // 2, top // 2 - 1, value + 1, value - 1, value + 8, value - 8, value * 2, value // 2,
            value ^ 1 << random.randrange(8 * width), len(out), len(out) - at, at, random.randrange(top),
            1 << random.randrange(8 * width), int.from_bytes(out[from_at : from_at + width], "little"),
        )
    )  # fmt: skip
    out[at : at + width] = (value % top).to_bytes(width, "little")


def _tokens(out: bytearray, places: list[Place], random: Random) -> None:
    at, size = random.choice(places)
    chance = random.random()
    if chance < 0.5:
        word = random.choice(_WORDS)
        if out[at : at + 1] == b'"' and random.random() < 0.5:  # stays a string
            word = b'"' + word.replace(b'"', b"") + b'"'
    elif chance < 0.75:
        from_at, from_size = random.choice(places)
        word = bytes(out[from_at : from_at + from_size])
    elif chance < 0.9:
        word = b""
    else:
        word = bytes(out[at : at + size]) * random.choice((2, 3, 300))
    out[at : at + size] = word


def _blocks(out: bytearray, other: bytes, structure: Structure, random: Random) -> None:
    mine, theirs = structure.blocks(bytes(out)), structure.blocks(other)
    if not mine or not theirs:
        return
    at, size = random.choice(mine)
    chance = random.random()
    if chance < 0.25:
        out[at:at] = out[at : at + size]
    elif chance < 0.45:
        del out[at : at + size]
    elif chance < 0.75:
        from_at, from_size = random.choice(theirs)
        piece = other[from_at : from_at + from_size]
        out[at : at + (size if random.random() < 0.5 else len(piece))] = piece
    elif chance < 0.9:  # begins as one and ends as the other
        from_at, _ = random.choice(theirs)
        out[at:] = other[from_at:]
    else:
        there, there_size = random.choice(mine)
        first, second = bytes(out[at : at + size]), bytes(out[there : there + there_size])
        if at + size <= there:
            out[there : there + there_size], out[at : at + size] = first, second


def _anywhere(out: bytearray, random: Random) -> None:
    if not out:
        return
    at, size = random.randrange(len(out)), random.choice((1, 1, 2, 4, 8, 72, 512))
    chance = random.random()
    if chance < 0.4:
        out[at] ^= 1 << random.randrange(8)
    elif chance < 0.6:
        out[at : at + size] = random.randbytes(len(out[at : at + size]))
    elif chance < 0.75:
        out[at : at + size] = bytes(len(out[at : at + size]))
    elif chance < 0.88:
        del out[at : at + size]
    else:
        out[at:at] = out[at : at + size] * random.choice((1, 1, 1, 20))
