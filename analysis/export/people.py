"""Processes and users as formats name them."""

import re
from collections.abc import Mapping
from typing import Any

from tracer.registry.text import fold_name

__all__ = ["is_sid", "named_process", "start_ns", "user_parts"]

_SID = re.compile(r"S-1-\d+(-\d+)*", re.ASCII)


def is_sid(user: str) -> bool:
    """Tell whether a user is named by SID."""
    return _SID.fullmatch(fold_name(user)) is not None


def user_parts(user: str | None) -> tuple[str | None, str | None, str | None]:
    r"""Return SID, domain and name of a user as recorded; None for what the source did not say.

    >>> user_parts("S-1-5-18"), user_parts("PC\\ann"), user_parts("ann")
    (('S-1-5-18', None, None), (None, 'PC', 'ann'), (None, None, 'ann'))
    """
    if not user:
        return None, None, None
    if is_sid(user):
        return user, None, None
    domain, separator, name = user.rpartition("\\")
    return None, domain if separator and domain else None, name or user


def named_process(process: Mapping[str, Any]) -> str:
    """Return image and pid of a process, a question mark for what is not known."""
    return f"{process['image'] or '?'} ({process['pid'] if process['pid'] is not None else '?'})"


def start_ns(process: Mapping[str, Any]) -> int | None:
    """Return when a process began, UTC nanoseconds; None if unknown."""
    found: int | None = process["start_ns"]
    return found
