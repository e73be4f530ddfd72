"""The questions a capture answers beyond timelines and summaries of keys, one method each."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from analysis.filters import Codes, Words
from analysis.opened import OpenCapture

__all__ = ["FilterWords", "Questions"]


class FilterWords(TypedDict, total=False):
    """The filters of `analysis.filters.Filters` as keyword arguments; every one that is left out asks nothing."""

    key: Words
    subtree: bool
    value: str | None
    process: str | int | None
    pid: int | Sequence[int] | None
    operation: Words
    status: Codes
    start: str | datetime | None
    end: str | datetime | None
    where: str | None
    user_sid: str | None


class Questions(OpenCapture):
    """What a capture can be asked; each answer is a DataFrame with its doubts in `attrs["doubts"]`."""
