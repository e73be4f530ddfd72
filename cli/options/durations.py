"""Lengths of time as people type them: 90s, 5m, 1h30m."""

import re

from tracer.errors import UsageError

__all__ = ["parse_duration"]

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d)", re.ASCII)
_LONGEST = 366 * 86_400


def parse_duration(text: str) -> float:
    """Return the length `text` in seconds; a bare number is seconds.

    Raises:
        UsageError: it is no length of time, not above 0, or longer than a year.

    >>> parse_duration("90s"), parse_duration("1h30m"), parse_duration("0.5")
    (90.0, 5400.0, 0.5)
    """
    plain = re.sub(r"\s+", "", text.lower())
    if re.fullmatch(r"\d+(\.\d+)?", plain, re.ASCII):
        plain += "s"
    parts = _PART.findall(plain)
    if not parts or "".join(number + unit for number, unit in parts) != plain:
        raise UsageError(f"{text!r} is no length of time; write 30s, 5m or 1h30m")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not 0 < seconds <= _LONGEST:
        raise UsageError(f"{text!r} is out of range; write a length between 0 and a year, such as 30s")
    return seconds
