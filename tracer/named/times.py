"""Times in logs as UTC nanoseconds."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["parse_times"]

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9})\d*)? ?(Z|[+-]\d\d(?::?\d\d)?)?"
)
_EPOCH = np.datetime64("1970-01-01", "s")


def parse_times(texts: pa.ChunkedArray | pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return times in UTC nanoseconds since 1970, and which texts are times.

    A text without a zone is UTC. Taken are ISO 8601 with a space or a T, up to nine digits of fraction, a comma for the
    point, and PowerShell's /Date(milliseconds)/. Anything else, and what a 64-bit number of nanoseconds cannot hold, is no time.
    """
    encoded = texts.dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    distinct = encoded.dictionary
    values, known = _parse(distinct)
    places = pc.fill_null(encoded.indices, len(values)).to_numpy(zero_copy_only=False)
    return np.append(values, 0)[places], np.append(known, False)[places]


def _parse(texts: pa.StringArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Parse distinct texts: all of the commonest form at once, the others one by one."""
    values = np.zeros(len(texts), np.int64)
    known = np.zeros(len(texts), bool)
    plain = pc.match_substring_regex(texts, r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?Z?$")
    rows = np.flatnonzero(plain.to_numpy(zero_copy_only=False))
    if len(rows):
        some = pc.utf8_rtrim(pc.replace_substring(texts.take(pa.array(rows)), " ", "T"), "Z")
        try:
            stamps = some.cast(pa.timestamp("ns"))
        except pa.ArrowInvalid:  # a day such as the 31st of February among them, or a far year
            rows = rows[:0]
        else:
            values[rows] = stamps.cast(pa.int64()).to_numpy(zero_copy_only=False)
            known[rows] = True
    for row in np.flatnonzero(~known).tolist():
        value = _one(texts[row].as_py())
        if value is not None:
            values[row], known[row] = value, True
    return values, known


def _one(text: str) -> int | None:
    found = _ISO.fullmatch(text.strip())
    if found is None:
        date = re.fullmatch(r"\\?/Date\((-?\d{1,15})(?:[+-]\d{4})?\)\\?/", text.strip())
        value = int(date[1]) * 1_000_000 if date else None
        return value if value is not None and abs(value) < 1 << 63 else None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        days = np.datetime64(f"{year}-{month}-{day}", "D").astype("datetime64[s]") - _EPOCH
    except ValueError:
        return None
    if int(hour) > 23 or int(minute) > 59 or int(second) > 59:
        return None
    seconds = int(days.astype(np.int64)) + int(hour) * 3600 + int(minute) * 60 + int(second)
    if zone and zone != "Z":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        seconds -= (1 if zone[0] == "+" else -1) * (int(digits[:2]) * 3600 + int(digits[2:]) * 60)
    value = seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))
    return value if abs(value) < 1 << 63 else None
