"""Damaged files: small sound ones of every kind, and seeded ways to damage them."""

import struct
from collections.abc import Callable
from pathlib import Path
from random import Random

import raw_etl as raw

from tracer.simulate import SimulationOptions, simulate

_INTERESTING = (0, 1, 7, 8, 71, 72, 73, 79, 0x7F, 0x80, 0xFF, 0x100, 1024, 4096, 0x7FFF, 0x8000, 0xFFFF)
_WIDE = (
    0,
    1,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 24,
    (1 << 24) + 1,
    1 << 62,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
)
_SMALL = {
    "events": 40,
    "buffer_size": 8192,
    "cpus": 2,
    "processes": 2,
    "threads": 1,
    "keys": 40,
    "preopened": 3,
}
KINDS: dict[str, dict[str, object]] = {
    "plain": {"option_word": 7, "fill_share": 0.5},
    "narrow": {"pointer_size": 4, "option_word": 7},
    "compressed": {"compressed": True, "option_word": 7},
    "extended": {"extended": 0.8, "foreign": 0.3, "newer_version": 0.2},
    "classic": {"classic": True, "rundown_begin": True},
    "classic_narrow": {"classic": True, "pointer_size": 4},
    "hostile": {"nul_names": 0.4, "surrogate_names": 0.3, "hostile_names": 0.3, "option_word": 7},
    "cycles": {"clock": 3, "unfinalised": True, "lost_events": 0.1},
}


def all_headers() -> bytes:
    """Return a small file with a record of every header type."""
    stamp = raw.FIRST_STAMP
    chain = raw.item(2, struct.pack("<BB6sI", 1, 1, b"\0\0\0\0\0\5", 18), more=True) + raw.item(
        6, bytes(24), more=False
    )
    records = [
        make(group, 10 + group, stamp + group, bytes(40), wide=wide)
        for wide in (False, True)
        for group in (0, 3, 9, 15)
        for make in (raw.system, raw.compact, raw.perfinfo)
    ]
    records += [
        raw.event(1, stamp + 20, b"payload", items=chain),
        raw.error(stamp + 21),
        raw.instance(3, stamp + 22),
    ]
    records += [raw.message(options, stamp + 30 + options, b"arguments") for options in range(0, 64, 3)]
    records += [raw.system(9, 22, stamp + 99, bytes(24) + "\\REGISTRY\\A".encode("utf-16-le") + b"\0\0")]
    half = len(records) // 2
    return raw.etl(raw.buffer(*records[:half], size=4096), raw.buffer(*records[half:], size=2048, cpu=1))


def base_files(folder: Path) -> dict[str, bytes]:
    """Write and return a small sound file of each kind."""
    files = {"headers": all_headers()}
    for name, options in KINDS.items():
        path = folder / f"{name}.etl"
        simulate(path, SimulationOptions(**{**_SMALL, **options}), truth=False)  # type: ignore[arg-type]
        files[name] = path.read_bytes()
    return files


def mutate(content: bytes, random: Random) -> bytes:
    """Return `content` damaged in one to six places."""
    damaged = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        if damaged:
            random.choice(_WAYS)(damaged, random)
    return bytes(damaged)


def _place(damaged: bytearray, random: Random) -> int:
    """Choose a place: anywhere, in a buffer's header, or where records are dense."""
    kind = random.random()
    if kind < 0.3:
        at = random.randrange(0, len(damaged), 1024) + random.randrange(72)
    elif kind < 0.6:
        at = 72 + random.randrange(0x300) + random.choice((0, 8192, 8192, 1024))
    else:
        at = random.randrange(len(damaged))
    return min(at, len(damaged) - 1)


def _flip(damaged: bytearray, random: Random) -> None:
    damaged[_place(damaged, random)] ^= 1 << random.randrange(8)


def _put(damaged: bytearray, random: Random) -> None:
    damaged[_place(damaged, random)] = random.choice((0, 0xFF, random.randrange(256)))


def _number(damaged: bytearray, random: Random) -> None:
    size, choices = random.choice(((2, _INTERESTING), (4, _INTERESTING + _WIDE), (8, _WIDE)))
    at = _place(damaged, random) & ~(size - 1)
    value = random.choice(choices) & (1 << 8 * size) - 1
    damaged[at : at + size] = value.to_bytes(size, "little")


def _cut(damaged: bytearray, random: Random) -> None:
    del damaged[_place(damaged, random) :]


def _remove(damaged: bytearray, random: Random) -> None:
    at = _place(damaged, random)
    del damaged[at : at + random.choice((1, 2, 8, 72, 1024, 8192))]


def _repeat(damaged: bytearray, random: Random) -> None:
    at = _place(damaged, random)
    damaged[at:at] = damaged[at : at + random.choice((1, 8, 80, 1024, 8192))]


def _move(damaged: bytearray, random: Random) -> None:
    here, there, size = _place(damaged, random), _place(damaged, random), random.choice((8, 64, 512))
    damaged[there : there + size] = damaged[here : here + size]


def _noise(damaged: bytearray, random: Random) -> None:
    at, size = _place(damaged, random), random.choice((4, 32, 300))
    damaged[at : at + size] = random.randbytes(len(damaged[at : at + size]))


def _zero(damaged: bytearray, random: Random) -> None:
    at, size = _place(damaged, random), random.choice((8, 72, 2048))
    damaged[at : at + size] = bytes(len(damaged[at : at + size]))


_WAYS: tuple[Callable[[bytearray, Random], None], ...] = (
    _flip, _flip, _put, _put, _number, _number, _number, _cut, _remove, _repeat, _move, _noise, _zero,
)  # fmt: skip
