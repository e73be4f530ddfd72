"""Times of several captures that follow each other, so that what was lost on one host is not lost on another.

Some questions tell by the time whether something may have been missed between two events. Where such a question is asked of
many captures at once, each gets a stretch of time of its own: its times are moved by one number, and kept between its first
event and its last one.
"""

from collections.abc import Sequence
from typing import NamedTuple

from analysis.dataset.members import Member

__all__ = ["Stretch", "stretches"]

_LAST = 2**63 - 1


class Stretch(NamedTuple):
    """The time of a capture, UTC nanoseconds.

    Attributes:
        first: shortly before its first event.
        last: shortly after its last event.
        shift: what its times are moved by, a multiple of the width of `stretches`.
    """

    first: int
    last: int
    shift: int


def stretches(members: Sequence[Member], width: int) -> list[Stretch] | None:
    """Return the stretch of each capture, in order; None where they are too long together.

    Args:
        members: the captures.
        width: no two of them share a multiple of so many nanoseconds and the time up to the next.
    """
    found = []
    begins = 1  # the multiple of the width with which the next one begins
    for member in members:
        parts = member.manifest.parts
        first = min((part["first_ns"] for part in parts), default=1) - 1
        last = max((part["last_ns"] for part in parts), default=first) + 1
        shift = (begins - first // width) * width
        found.append(Stretch(first, last, shift))
        begins = (last + shift) // width + 1
    return None if begins * width > _LAST else found
