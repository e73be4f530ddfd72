"""Lengths of time, shares and rates as short text for tables: three digits where there are fractions."""

from collections.abc import Sequence

import pyarrow as pa

__all__ = ["duration_cells", "duration_text", "rate_cells", "share_cells"]

_UNITS = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us"))
_MINUTE_NS, _HOUR_NS = 60 * 1_000_000_000, 3600 * 1_000_000_000


def duration_text(nanoseconds: int) -> str:
    """Return a length of time as people read it.

    >>> duration_text(1_234_567), duration_text(850), duration_text(90_000_000_000)
    ('1.23 ms', '850 ns', '1m30s')
    """
    if abs(nanoseconds) >= _HOUR_NS:
        return f"{nanoseconds // _HOUR_NS}h{nanoseconds % _HOUR_NS // _MINUTE_NS:02}m"
    if abs(nanoseconds) >= _MINUTE_NS:
        return f"{nanoseconds // _MINUTE_NS}m{nanoseconds % _MINUTE_NS // 1_000_000_000:02}s"
    for size, unit in _UNITS:
        if abs(nanoseconds) >= size:
            return f"{_three_digits(nanoseconds / size)} {unit}"
    return f"{nanoseconds} ns"


def duration_cells(rows: pa.Table, name: str) -> list[str]:
    """Return a column of nanoseconds as text; "" for NULL."""
    return ["" if value is None else duration_text(value) for value in rows.column(name).to_pylist()]


def rate_cells(rows: pa.Table, name: str) -> list[str]:
    """Return a column of rates as text; "" for NULL."""
    return ["" if value is None else _three_digits(value) for value in rows.column(name).to_pylist()]


def share_cells(rows: pa.Table, name: str) -> list[str]:
    """Return a column of shares (0 to 1) as text; "" for NULL."""
    return [_share_text(value) for value in _values(rows, name)]


def _values(rows: pa.Table, name: str) -> Sequence[float | None]:
    values: Sequence[float | None] = rows.column(name).to_pylist()
    return values


def _share_text(share: float | None) -> str:
    """Return a share as text; 100 % and 0 % only where exact.

    >>> _share_text(0.74132), _share_text(0.99999), _share_text(0.00001), _share_text(1.0)
    ('74.1 %', '99.9 %', '<0.1 %', '100 %')
    """
    if share is None:
        return ""
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    tenths = int(share * 1000)
    return f"{tenths // 10}.{tenths % 10} %" if tenths else "<0.1 %"


def _three_digits(number: float) -> str:
    """Return a number with at least three digits, and no fourth digit after the point.

    >>> [_three_digits(number) for number in (0.5, 9.994, 12.34, 123.4, 12345.6)]
    ['0.50', '9.99', '12.3', '123', '12346']
    """
    size = abs(number)
    digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{number:.{digits}f}"
