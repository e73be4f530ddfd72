"""Pairs of runs with a planted cause: a program reads many values, of which one decides, among values that differ for other reasons.

What is between the cause and the place where the runs part differs only in ways that leave evidence: times, what the program
writes itself, what Windows notes. Anything may differ before it.
"""

import struct
from dataclasses import dataclass
from random import Random
from typing import Any

from hand_capture import MISSING, event

__all__ = ["Pair", "planted_pair"]

PRODUCT = r"HKLM\SOFTWARE\Vendor\App"
POLICY = r"HKLM\SOFTWARE\Policies\Vendor\App"
SIDS = ("S-1-5-21-1-2-3-1001", "S-1-5-21-7-8-9-1004")  # of the run that works, and of the one that fails
MRU = r"Software\Microsoft\Windows\CurrentVersion\Explorer\RunMRU"
Event = dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """The events of both runs, and what was planted."""

    works: list[Event]
    fails: list[Event]
    key: str  # of the failing run
    value: str
    data: tuple[Event | None, Event | None]  # of the cause in each run; None: there is no such value
    differing: int  # values that the program reads differently before the runs part


def text(word: str) -> Event:
    data = f"{word}\0".encode("utf-16-le")
    return {"data": data, "data_type": 1, "data_size": len(data)}


def dword(number: int) -> Event:
    return {"data": struct.pack("<I", number), "data_type": 4, "data_size": 4}


def binary(data: bytes) -> Event:
    return {"data": data, "data_type": 3, "data_size": len(data)}


def filetime(random: Random) -> Event:
    return binary(struct.pack("<Q", 133_000_000_000_000_000 + random.randrange(10**15)))


@dataclass(frozen=True)
class _Read:
    key: str
    name: str
    data: tuple[Event | None, Event | None]
    own: bool = False  # whether the program writes it at its end


def planted_pair(seed: int) -> Pair:
    """Return a pair; equal seeds, equal pairs."""
    random = Random(seed)
    key = random.choice((PRODUCT, POLICY, r"HKCU\Software\Vendor\App"))
    cause = _Read(key, "Decides", _cause(random))
    before = [_equal(random, place) for place in range(random.randrange(15, 60))]
    before += [
        _noise(random, place, evident=random.random() < 0.6) for place in range(random.randrange(3, 9))
    ]
    random.shuffle(before)
    after = [_equal(random, 100 + place) for place in range(random.randrange(8))]
    after += [_noise(random, 100 + place, evident=True) for place in range(random.randrange(4))]
    random.shuffle(after)
    reads = [*before, cause, *after]
    sides = []
    for side in range(2):
        # Everything else differs from run to run: what other programs do, and when.
        own = Random(f"{seed} {side}")
        sides.append(_run(reads, side, cause, own))
    noise = [one for one in reads if one.data[0] != one.data[1]]
    return Pair(
        sides[0], sides[1], key.replace("HKCU", f"HKU\\{SIDS[1]}", 1), cause.name, cause.data, len(noise)
    )


def _cause(random: Random) -> tuple[Event | None, Event | None]:
    kind = random.randrange(5)
    if kind == 0:
        return None, dword(1)
    if kind == 1:
        return text(r"C:\Program Files\Vendor\Engine"), None
    if kind == 2:
        return dword(0), dword(1)
    if kind == 3:
        return text("https://a.example"), text("https://b.example")
    return binary(bytes(range(16))), binary(bytes(range(1, 17)))


def _equal(random: Random, place: int) -> _Read:
    data = random.choice((dword(place), text(f"setting {place}"), None))
    return _Read(random.choice((PRODUCT, r"HKCU\Software\Vendor\App")), f"Setting{place}", (data, data))


def _noise(random: Random, place: int, *, evident: bool) -> _Read:
    if not evident:
        return _Read(PRODUCT, f"Machine{place}", (text(f"host-{place}-a"), text(f"host-{place}-b")))
    kind = random.randrange(4)
    if kind == 0:
        return _Read(PRODUCT, f"LastCheck{place}", (filetime(random), filetime(random)))
    if kind == 1:
        return _Read(PRODUCT, f"Installed{place}", (text("20240518"), text("2024-06-11 10:00")))
    if kind == 2:
        return _Read(rf"HKCU\{MRU}", f"{chr(97 + place % 26)}{place}", (text("cmd\\1"), text("calc\\1")))
    return _Read(
        r"HKCU\Software\Vendor\App",
        f"Window{place}",
        (binary(b"\1\0\2\0\3"), binary(b"\4\0\5\0\6")),
        own=True,
    )


def _run(reads: list[_Read], side: int, cause: _Read, random: Random) -> list[Event]:
    def owned(key: str) -> str:
        return key.replace("HKCU", f"HKU\\{SIDS[side]}", 1)

    def read(one: _Read) -> list[Event]:
        data = one.data[side]
        found = {"status": MISSING} if data is None else data
        return [event("OpenKey", owned(one.key), process="app.exe"),
                event("QueryValueKey", owned(one.key), one.name, **found, process="app.exe")]  # fmt: skip

    own = [made for one in reads for made in read(one)]
    names = ("Formats", "Templates") if side == 0 else ("Errors", "Reports")
    own += [event("OpenKey", rf"{PRODUCT}\{name}", process="app.exe") for name in names]
    own += [
        event("SetValueKey", owned(one.key), one.name, **data, process="app.exe")
        for one in reads
        if one.own and (data := one.data[side]) is not None
    ]
    mixed = []
    for made in own:
        while random.random() < 0.3:
            number = random.randrange(9)
            mixed.append(
                event(random.choice(("QueryValueKey", "SetValueKey")), rf"HKLM\SOFTWARE\Other{number}", "x",
                      **dword(random.randrange(99)), process=f"other{number % 3}.exe")
            )  # fmt: skip
        mixed.append(made)
    assert cause in reads
    return mixed
