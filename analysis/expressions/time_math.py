"""Exact arithmetic with nanoseconds since 1970 for every engine: floats are not precise enough."""

import ibis
from ibis.expr.types import IntegerValue, TimestampValue

__all__ = ["SECOND_NS", "moment", "rest"]

SECOND_NS = 1_000_000_000
_MICROSECOND_NS = 1_000


def rest(number: IntegerValue, divisor: int) -> IntegerValue:
    """Return the remainder of a division rounded down; engines divide as floats."""
    by = ibis.literal(divisor, "int64")
    left: IntegerValue = (number % by + by) % by
    return left


def moment(nanoseconds: IntegerValue) -> TimestampValue:
    """Return nanoseconds since 1970 as a time in UTC, rounded down to microseconds; NULL stays NULL."""
    part = rest(nanoseconds, SECOND_NS)
    seconds = ((nanoseconds - part).cast("float64") / float(SECOND_NS)).round().cast("int64")
    micros = (part.cast("float64") / float(_MICROSECOND_NS)).floor().cast("int64")
    time: TimestampValue = seconds.cast("timestamp('UTC', 6)") + micros.as_interval("us")
    return time
