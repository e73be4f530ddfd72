"""Times as text with all nine digits, as facts of a trace show them."""

from datetime import UTC, datetime

__all__ = ["time_text"]


def time_text(time_ns: int | None) -> str | None:
    """Return UTC nanoseconds as ISO 8601 with all nine digits; None where unknown or beyond the calendar.

    >>> time_text(1_500_000_000)
    '1970-01-01T00:00:01.500000000Z'
    """
    if time_ns is None:
        return None
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"
