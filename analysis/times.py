"""Times as users write them: absolute, or relative to the capture's first or last event."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from tracer.errors import UsageError

__all__ = ["dated", "nanoseconds", "parse_time"]

_LONGEST_S = 366 * 86_400

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_RELATIVE = re.compile(r"([+-])(\d{1,30})(?:\.(\d+))?\s*(ns|us|µs|ms|s|min|m|h|d)")
_CLOCK = re.compile(
    r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:\s*(AM|PM))?", re.IGNORECASE | re.ASCII
)
_MOST_DAYS = 400  # in longer captures no time of day is looked for
_ABSOLUTE = re.compile(
    r"(\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?)(?:[.,](\d{1,9}))?(Z|z|[+-]\d{2}:?\d{2})?"
)


def parse_time(
    value: str | datetime,
    *,
    first_ns: int | None,
    last_ns: int | None,
    end: bool = False,
    zone: tzinfo = UTC,
) -> int:
    """Return a time as UTC nanoseconds since 1970.

    Args:
        value: an aware datetime or pandas Timestamp, or text: ISO 8601 (``2024-05-01T10:00:00.5Z``), or
            ``+90s`` after the first event, or ``-5m`` before the last one (ns, us, ms, s, m, h, d), or a time of the
            capture's day as Procmon shows it (``01:18:15.7752429``, ``1:18:15 AM``).
        first_ns: time of the capture's first event; None in an empty capture.
        last_ns: time of its last event; None in an empty capture.
        end: the time ends a range; text with a fraction of a second then covers the whole of its last
            digit, so that a time copied from a table includes its own row.
        zone: zone of a time that names none.

    Raises:
        UsageError: the text is no time.
    """
    if not isinstance(value, str):
        return _from_datetime(value, zone)
    text = value.strip()
    relative = _RELATIVE.fullmatch(text)
    if relative:
        sign, whole, fraction, unit = relative.groups()
        span = int(whole) * _UNITS[unit] + int((fraction or "0").ljust(18, "0")[:18]) * _UNITS[unit] // 10**18
        return (first_ns or 0) + span if sign == "+" else (last_ns or 0) - span
    clock = _CLOCK.fullmatch(text)
    if clock:
        return _of_day(text, clock, first_ns, last_ns, end=end, zone=zone)
    absolute = _ABSOLUTE.fullmatch(text)
    if not absolute:
        raise _no_time(value)
    stamp, fraction, offset = absolute.groups()
    if fraction and stamp.count(":") != 2:
        raise _no_time(value)
    try:
        moment = datetime.fromisoformat(stamp + (offset or "").upper())
    except ValueError:
        raise _no_time(value) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return _seconds(moment) * 1_000_000_000 + _fraction_ns(fraction, end=end)


def dated(
    value: str | datetime | None,
    *,
    first_ns: int | None,
    last_ns: int | None,
    zone: tzinfo,
    end: bool = False,
) -> str | datetime | None:
    """Return a time of the capture's day in a zone as a whole time, and what is no time of day as it is.

    The other arguments are those of `parse_time`.

    Raises:
        UsageError: it may be of several days.
    """
    if not isinstance(value, str) or not _CLOCK.fullmatch(value.strip()):
        return value
    ns = parse_time(value, first_ns=first_ns, last_ns=last_ns, zone=zone, end=end)
    moment = datetime.fromtimestamp(ns // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns % 1_000_000_000:09d}Z"


def _of_day(
    text: str, clock: re.Match[str], first_ns: int | None, last_ns: int | None, *, end: bool, zone: tzinfo
) -> int:
    """Return a time of day as UTC nanoseconds: on the day of the capture, as its zone has it."""
    if first_ns is None or last_ns is None:
        raise UsageError(
            f"{text!r} is a time of the capture's day, and the capture holds no events: write the date"
        )
    hours, minutes, seconds, fraction, half = clock.groups()
    hour = int(hours)
    if half:
        if not 1 <= hour <= 12:
            raise _no_time(text)
        hour = hour % 12 + (12 if half.upper() == "PM" else 0)
    days = [datetime.fromtimestamp(ns // 1_000_000_000, zone).date() for ns in (first_ns, last_ns)]
    if (days[1] - days[0]).days > _MOST_DAYS:
        raise _several_days(text, days)
    times = []
    for past in range((days[1] - days[0]).days + 1):
        day = days[0] + timedelta(days=past)
        try:
            moment = datetime.combine(day, time(hour, int(minutes), int(seconds or 0)), zone)
        except ValueError:
            raise _no_time(text) from None
        times.append(_seconds(moment) * 1_000_000_000 + _fraction_ns(fraction, end=end))
    inside = [ns for ns in times if first_ns <= ns <= last_ns]
    if len(inside) > 1 or (not inside and len(times) > 1):
        raise _several_days(text, days)
    return (inside or times)[0]


def _fraction_ns(digits: str | None, *, end: bool) -> int:
    """Return a fraction of a second in nanoseconds; `end`: the whole of its last digit."""
    if not digits:
        return 0
    step = 10 ** (9 - len(digits))
    return int(digits) * step + (step - 1 if end else 0)


def _several_days(text: str, days: Sequence[date]) -> UsageError:
    return UsageError(
        f"{text!r} may be of several days, for the capture lasts from {days[0]} to {days[1]}: write the date too, "
        f"{days[0]}T{text.split()[0]}"
    )


def _from_datetime(value: datetime, zone: tzinfo) -> int:
    """Return a datetime, or a pandas Timestamp with its nanoseconds, as UTC nanoseconds."""
    if not isinstance(value, datetime) or value != value:  # NaT is not equal to itself
        raise _no_time(value)
    if value.tzinfo is None:
        value = value.replace(tzinfo=zone)
    return _seconds(value) * 1_000_000_000 + value.microsecond * 1_000 + int(getattr(value, "nanosecond", 0))


def _seconds(moment: datetime) -> int:
    """Return whole seconds since 1970, by integers: a float would round."""
    span = moment.astimezone(UTC).replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)
    return span.days * 86_400 + span.seconds


def _no_time(value: object) -> UsageError:
    return UsageError(
        f"{value!r:.80} is not a time: write 2024-05-01T10:00:00Z, 10:00:00 (of the capture's day), "
        "+90s (after the first event) or -5m (before the last)"
    )


def nanoseconds(seconds: float) -> int:
    """Return a length of time in nanoseconds.

    Raises:
        UsageError: it is not above 0, or longer than a year.
    """
    if not 0 < seconds <= _LONGEST_S:
        raise UsageError(f"invalid length of time {seconds} s; use a number above 0, and a year at most")
    return max(1, round(seconds * 1_000_000_000))
