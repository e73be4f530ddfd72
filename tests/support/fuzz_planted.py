"""Importers with faults on purpose: whoever looks for faults has to find these (`python tests/fuzz --importers fuzz_planted`)."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from fuzz.kinds import Kind
from fuzz.structures import PLAIN

from tracer.errors import SourceError

__all__ = ["KINDS"]

_SOUND = bytes(range(64))


def _raise() -> None:
    raise ZeroDivisionError("planted")


def _hang() -> None:  # in C, with Python's lock held
    re.match(r"(a|a)*$", "a" * 60 + "b")


def _hoard() -> None:
    hoard = bytearray(b"x") * (300 << 20)
    assert hoard


def _say_much() -> None:
    raise SourceError("two\nlines")


def _refuse() -> None:
    raise SourceError("one line")


def _kind(fault: Callable[[], None]) -> Kind:
    def read(folder: Path) -> int:
        if (folder / "a").read_bytes() != _SOUND:
            fault()
        return 1

    return Kind(1, lambda: [{"a": _SOUND}], {"a": PLAIN}, read)


KINDS = {
    "raises": _kind(_raise),
    "crashes": _kind(os.abort),
    "hangs": _kind(_hang),
    "hoards": _kind(_hoard),
    "says much": _kind(_say_much),
    "is right": _kind(_refuse),
}
