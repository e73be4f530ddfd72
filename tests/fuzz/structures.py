"""Structures: where the numbers and the pieces of each format stand, so that damage hits what readers rely on.

They are read leniently from files that may be damaged already. Offsets are those of the published descriptions that the
writers in tests/support name; nothing here is used to read a file.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from evtx_writer import BLOCK, CHUNK, with_checksums

from tracer.baseline.image import checksum
from tracer.baseline.logs import marvin32
from tracer.etl.headers import HEADERS, HOOK
from tracer.simulate.xpress import compress

__all__ = [
    "ETL",
    "ETL_COMPRESSED",
    "EVTX",
    "HIVE",
    "HIVE_LOG",
    "JSON",
    "PLAIN",
    "PML",
    "TEXT",
    "Structure",
    "some_tokens",
]

Place = tuple[int, int]  # offset and size


@dataclass(frozen=True, slots=True)
class Structure:
    """What is known of a format.

    Attributes:
        fields: numbers of 1, 2, 4 or 8 bytes.
        blocks: pieces that may be doubled, moved, taken out, or come from another file: buffers, records, lines.
        repair: makes checksums right again, or compresses; None where there is nothing of the kind.
        is_text: numbers and words are written as text, of any length: places move with every change.
        is_json: one JSON document, whose values may be exchanged so that it stays one.
    """

    fields: Callable[[bytes], list[Place]]
    blocks: Callable[[bytes], list[Place]]
    repair: Callable[[bytes], bytes] | None = None
    is_text: bool = False
    is_json: bool = False


def _u32(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 4], "little")


# .etl

_BUFFER_FIELDS = (
    (0, 4), (4, 4), (8, 4), (12, 4), (16, 8), (24, 8), (32, 8), (40, 1), (41, 1), (42, 2), (44, 4), (48, 4), (52, 2), (54, 2),
)  # fmt: skip
_RECORD_FIELDS = (
    (0, 2), (2, 1), (3, 1), (4, 2), (6, 2), (8, 4), (12, 4), (16, 8), (24, 8), (32, 8), (40, 2), (42, 1), (44, 1), (45, 1),
    (46, 2), (48, 8),
)  # fmt: skip


def _buffers(content: bytes) -> Iterator[Place]:
    at = 0
    while at + 72 <= len(content):
        size = _u32(content, at)
        if not 72 <= size <= 1 << 24:
            return
        yield at, min(size, len(content) - at)
        at += size


def _records(content: bytes, start: int, size: int) -> Iterator[Place]:
    at, end = start + 72, start + min(_u32(content, start + 48), size)
    while at + 8 <= end:
        kind = content[at + 2]
        length = int.from_bytes(content[at + 4 : at + 6] if kind in HOOK else content[at : at + 2], "little")
        if kind not in HEADERS or length < 8:
            return
        yield at, length
        at += -(-length // 8) * 8


def _etl_fields(content: bytes) -> list[Place]:
    places = []
    for start, size in _buffers(content):
        places += [(start + at, width) for at, width in _BUFFER_FIELDS]
        if content[start + 52] & 0x40:
            places += [(at, 4) for at in range(start + 72, start + size, 16)]
            continue
        for at, length in _records(content, start, size):
            payload = HEADERS[content[at + 2]].payload
            places += [(at + inside, width) for inside, width in _RECORD_FIELDS if inside < payload]
            places += [(at + inside, 2) for inside in range(payload, length, 2)]
            places += [(at + inside, 4) for inside in range(payload, length, 4)]
            places += [(at + inside, 8) for inside in range(payload, length, 8)]
    return places


def _etl_blocks(content: bytes) -> list[Place]:
    buffers = list(_buffers(content))
    return buffers + [record for place in buffers for record in _records(content, *place)]


def _compress_buffers(content: bytes) -> bytes:
    """Return the file with the records of all buffers but the first compressed."""
    out = bytearray()
    end = 0
    for number, (at, size) in enumerate(_buffers(content)):
        end = at + size
        head, filled = bytearray(content[at : at + 72]), min(_u32(content, at + 48), size)
        if not number or filled <= 72:
            out += content[at:end]
            continue
        stored = compress(content[at + 72 : at + filled])
        struct.pack_into("<I", head, 0, 72 + len(stored))
        head[52] |= 0x40
        out += head + stored
    return bytes(out + content[end:])


# PML

_PML_EVENT = (
    (0, 4),
    (4, 4),
    (8, 4),
    (12, 2),
    (14, 2),
    (16, 4),
    (20, 8),
    (28, 8),
    (36, 4),
    (40, 2),
    (44, 4),
    (48, 4),
)


def _pml_events(content: bytes) -> list[int]:
    count, table = _u32(content, 0x234), _u32(content, 0x248)
    return [_u32(content, table + 5 * number) for number in range(min(count, 1000))]


def _pml_fields(content: bytes) -> list[Place]:
    places = [(at, 4) for at in (*range(0, 0x10, 4), *range(0x234, 0x290, 4), *range(0x380, 0x3A8, 4))]
    places += [(at, 8) for at in range(0x240, 0x268, 8)]
    for event in _pml_events(content):
        places += [(event + at, width) for at, width in _PML_EVENT]
        depth, size = content[event + 40 : event + 41], _u32(content, event + 44)
        detail = event + 52 + 8 * (depth[0] if depth else 0)
        places += [(at, 2) for at in range(detail, detail + min(size, 64), 2)]
        places += [(detail + size + at, width) for at, width in ((0, 2), (2, 4), (6, 4), (10, 4))]
    tables = _u32(content, 0x248)
    return places + [(at, 4) for at in range(tables, len(content), 4)]


def _pml_blocks(content: bytes) -> list[Place]:
    events = _pml_events(content)
    return [
        (at, end - at)
        for at, end in zip(events, [*events[1:], _u32(content, 0x248)], strict=False)
        if end > at
    ]


# Event logs


def _evtx_records(content: bytes) -> list[Place]:
    places = []
    for chunk in range(BLOCK, len(content), CHUNK):
        at = chunk + 512
        while content[at : at + 4] == b"\x2a\x2a\0\0":
            size = _u32(content, at + 4)
            if not 28 <= size <= CHUNK:
                break
            places.append((at, size))
            at += size
    return places


def _evtx_fields(content: bytes) -> list[Place]:
    places = [(at, 8) for at in (8, 16, 24)] + [(at, 2) for at in range(32, 48, 2)] + [(120, 4)]
    for chunk in range(BLOCK, len(content), CHUNK):
        places += [(chunk + at, 8) for at in (8, 16, 24, 32)]
        places += [(chunk + at, 4) for at in range(40, 52, 4)]
        places += [(chunk + at, 4) for at in range(128, 512, 4) if _u32(content, chunk + at)]
    for at, size in _evtx_records(content):
        places += [(at, 4), (at + 4, 4), (at + 8, 8), (at + 16, 8), (at + size - 4, 4)]
        places += [(place, width) for place in range(at + 24, at + size - 4) for width in (1, 2, 4)]
    return places


def _evtx_repair(content: bytes) -> bytes:
    head = bytearray(content[:BLOCK])
    if len(head) == BLOCK:
        struct.pack_into("<I", head, 124, zlib.crc32(head[:120]))
    chunks = [content[at : at + CHUNK] for at in range(BLOCK, len(content), CHUNK)]
    return bytes(head) + b"".join(with_checksums(one) if len(one) == CHUNK else one for one in chunks)


# Hives and their logs


def _cells(content: bytes) -> Iterator[Place]:
    at = 4096
    while at + 32 <= len(content):
        end = at + max(_u32(content, at + 8), 4096)
        at += 32
        while at + 4 <= min(end, len(content)):
            size = abs(int.from_bytes(content[at : at + 4], "little", signed=True))
            if size < 8:
                break
            yield at, size
            at += size
        at = end


def _hive_fields(content: bytes) -> list[Place]:
    places = [(at, 4) for at in (*range(4, 48, 4), 508)] + [(4096 + at, 4) for at in (4, 8)]
    for at, size in _cells(content):
        places += [(place, 4) for place in range(at, at + min(size, 84), 4)]
        places += [(place, 2) for place in range(at + 4, at + min(size, 84), 2)]
    return places


def _hive_repair(content: bytes) -> bytes:
    return _with_base_block(content) if len(content) >= 512 else content


def _with_base_block(content: bytes) -> bytes:
    block = content[:512]
    return block[:508] + struct.pack("<I", checksum(block.ljust(4096, b"\0"))) + content[512:]


def _log_entries(content: bytes) -> list[Place]:
    places, at = [], 512
    while content[at : at + 4] == b"HvLE":
        size = _u32(content, at + 4)
        if size < 512 or at + size > len(content):
            break
        places.append((at, size))
        at += size
    return places


def _log_fields(content: bytes) -> list[Place]:
    places = [(at, 4) for at in range(4, 48, 4)]
    for at, size in _log_entries(content):
        places += [(at + place, 4) for place in range(4, 40, 4)]
        places += [(place, 4) for place in range(at + 40, at + min(size, 400), 4)]
    return places


def _log_repair(content: bytes) -> bytes:
    """Make the hashes of all entries right, so that what they hold is looked at."""
    out = bytearray(content)
    for at, size in _log_entries(content):
        struct.pack_into("<Q", out, at + 24, marvin32(bytes(out[at + 40 : at + size])))
        struct.pack_into("<Q", out, at + 32, marvin32(bytes(out[at : at + 32])))
    return _hive_repair(bytes(out))


# Text, and what is known to nobody

_TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|[-+]?\d[\d.,:TZ-]*|<[^<>\n]{0,80}>|[\w$.\\-]+|[^\s\w]')
_LINE = re.compile(rb"[^\n]*\n|[^\n]+$")


def _tokens(content: bytes) -> list[Place]:
    return [(match.start(), len(match[0])) for match in _TOKEN.finditer(content)]


def some_tokens(content: bytes | bytearray, random: Random) -> list[Place]:
    """Return tokens at some places of a text: to find all of them takes longer than to read a log."""
    found = (_TOKEN.search(content, random.randrange(len(content) + 1)) for _ in range(8))
    return [(match.start(), len(match[0])) for match in found if match]


def _lines(content: bytes) -> list[Place]:
    return [(match.start(), len(match[0])) for match in _LINE.finditer(content)]


def _bytes(content: bytes) -> list[Place]:
    return [(at, width) for at in range(len(content)) for width in (1, 4)]


def _pieces(content: bytes) -> list[Place]:
    return [(at, 64) for at in range(0, len(content), 64)]


ETL = Structure(_etl_fields, _etl_blocks)
ETL_COMPRESSED = Structure(_etl_fields, _etl_blocks, _compress_buffers)
EVTX = Structure(_evtx_fields, _evtx_records, _evtx_repair)
HIVE = Structure(_hive_fields, lambda content: list(_cells(content)), _hive_repair)
HIVE_LOG = Structure(_log_fields, _log_entries, _log_repair)
PML = Structure(_pml_fields, _pml_blocks)
PLAIN = Structure(_bytes, _pieces)
TEXT = Structure(_tokens, _lines, is_text=True)
JSON = Structure(_tokens, _lines, is_text=True, is_json=True)
