"""Kinds of inputs: what reads one, what is sound, and what is known of its files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz.structures import Structure

__all__ = ["Kind", "Parts"]

Parts = dict[str, bytes]  # the files of an input, by name


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of input.

    Attributes:
        weight: how often it is chosen, against the others; what costs more is chosen less.
        sound: makes the inputs to start from.
        structures: what is known of each file.
        read: reads the input from a folder and returns the number of rows; RegtraceError where it is refused.
    """

    weight: float
    sound: Callable[[], list[Parts]]
    structures: dict[str, Structure]
    read: Callable[[Path], int]
