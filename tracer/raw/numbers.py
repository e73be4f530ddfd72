r"""Numbers as text, as tools write them: `0x1F`, `31`, `11,996`, `-5`; and times of payloads.

SilkETW writes thousands with the separators of its culture, tracerpt pads with spaces.
"""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.etl.logfile import FILETIME_EPOCH
from tracer.named.times import parse_times

__all__ = ["parse_filetimes", "parse_numbers"]

Numbers = NDArray[np.uint64]
Known = NDArray[np.bool_]

_HEX = np.full(256, 255, np.uint8)
_HEX[list(b"0123456789")] = range(10)
_HEX[list(b"abcdef")] = _HEX[list(b"ABCDEF")] = range(10, 16)
_DIGITS = 16
_PLACES = (np.arange(_DIGITS - 1, -1, -1) * 4).astype(np.uint64)
_GROUPED = re.compile("-?[0-9]{1,3}(?:[,.'’\u00a0\u202f ][0-9]{3})+")
_SEPARATORS = re.compile("[,.'’\u00a0\u202f ]")
_SPAN = 1 << 64


def parse_numbers(texts: pa.Array | pa.ChunkedArray, bits: int = 64) -> tuple[Numbers, Known]:
    """Return numbers of `bits` bits, and which texts are such numbers; a negative one is its two's complement."""
    array = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    encoded = array.dictionary_encode()
    values, known = _parse(encoded.dictionary, bits)
    places = pc.fill_null(encoded.indices, len(values)).to_numpy(zero_copy_only=False)
    return np.append(values, np.uint64(0))[places], np.append(known, False)[places]


def _parse(texts: pa.Array, bits: int) -> tuple[Numbers, Known]:
    """Parse distinct texts: plain ones all at once, the others one by one."""
    values = np.zeros(len(texts), np.uint64)
    known = np.zeros(len(texts), bool)
    plain = _where(texts, "^[0-9]{1,18}$")
    if len(plain):
        values[plain] = pc.cast(texts.take(pa.array(plain)), pa.int64()).to_numpy().astype(np.uint64)
        known[plain] = True
    hexadecimal = _where(texts, "^0[xX][0-9a-fA-F]{1,16}$")
    if len(hexadecimal):
        digits = pc.utf8_lpad(pc.utf8_slice_codeunits(texts.take(pa.array(hexadecimal)), 2), _DIGITS, "0")
        start = int(np.frombuffer(digits.buffers()[1], np.int32, 1, digits.offset * 4)[0])
        letters = np.frombuffer(digits.buffers()[2], np.uint8, len(digits) * _DIGITS, start)
        nibbles = _HEX[letters].reshape(-1, _DIGITS).astype(np.uint64)
        values[hexadecimal] = np.bitwise_or.reduce(nibbles << _PLACES, axis=1)
        known[hexadecimal] = True
    for row in np.flatnonzero(~known).tolist():
        number = _one(texts[row].as_py())
        if number is not None and -(1 << (bits - 1)) <= number < _SPAN:
            values[row], known[row] = number % (1 << bits) if number < 0 else number, True
    if bits < 64:
        known &= values < np.uint64(1 << bits)
    return values, known


def _where(texts: pa.Array, form: str) -> NDArray[np.int64]:
    fits: NDArray[np.int64] = np.flatnonzero(
        pc.match_substring_regex(texts, form).to_numpy(zero_copy_only=False)
    )
    return fits


def _one(text: str) -> int | None:
    text = text.strip()
    if _GROUPED.fullmatch(text):
        text = _SEPARATORS.sub("", text)
    try:
        return (
            int(text, 16 if text[:2].lower() == "0x" else 10) if text.isascii() and "_" not in text else None
        )
    except ValueError:
        return None


def parse_filetimes(texts: pa.Array | pa.ChunkedArray) -> tuple[Numbers, Known]:
    """Return times as FILETIMEs (100 ns since 1601), and which texts are such: a number as it is, or a date."""
    values, known = parse_numbers(texts)
    if not known.all():
        dates, are_dates = parse_times(texts)
        ticks = dates // 100 + FILETIME_EPOCH
        are_dates &= ~known & (ticks >= 0)
        values = np.where(are_dates, ticks.astype(np.uint64), values)
        known = known | are_dates
    return values, known
