"""Times as people see them on their computer, in any country's form, as UTC nanoseconds; also numbers and durations.

Procmon writes the time of day as the settings of the computer say, with seven digits of a second in it: ``1:18:10.7752429
AM``, ``13:18:10,7752429``. The date stands in a column that is off by default. Neither says the time zone.
"""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.columns.shapes import shapes
from tracer.diagnostics import Diagnostics

__all__ = ["LocalClock", "durations", "numbers", "times_of_day", "to_utc"]

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
_BUCKET_NS = 900 * SECOND_NS  # zones change their offset on a quarter of an hour
_EPOCH = date(1970, 1, 1)
_YEARS = range(1970, 2262)  # of which 64 bits hold the nanoseconds


def _pattern(text: str) -> re.Pattern[bytes]:
    return re.compile(text.encode())


# Patterns of shapes (`tracer.columns.shapes`): 0 is any digit. Spaces: also the no-break, the narrow and the marks of direction.
_SPACE = "(?: |\u00a0|\u202f|\u200e|\u200f)*"
_CLOCK = _pattern(
    f"(?P<before>[^0]*?){_SPACE}(?P<hour>00?)(?P<mark>[:.])(?P<minute>00)(?P=mark)(?P<second>00)"
    f"(?:[.,](?P<part>0{{1,9}}))?{_SPACE}(?P<after>[^0]*?)"
)
_GROUPED = "0{1,3}(?:(?:[.,' ]|\u2019|\u00a0|\u202f)0{2,3})+"
_NUMBER = _pattern(f"0{{1,18}}|{_GROUPED}")
_DURATION = _pattern(f"(?P<whole>0{{1,9}}|{_GROUPED})[.,](?P<part>0{{7}})")
# The halves of the day in Windows' languages, folded. All but English UNCONFIRMED in Procmon.
_MORNING = frozenset(
    ("am", "a.m.", "a. m.", "上午", "午前", "오전", "πμ", "π.μ.", "ص", "sa", "öö", "de.", "dop.", "fm", "पूर्वाह्न", "f.h.", "vm.")
)  # fmt: skip
_AFTERNOON = frozenset(
    ("pm", "p.m.", "p. m.", "下午", "午後", "오후", "μμ", "μ.μ.", "م", "ch", "ös", "du.", "odp.", "em", "अपराह्न", "e.h.", "nm.")
)  # fmt: skip
_DATE = re.compile(
    r"[\u200e\u200f]*(\d{1,4})(/|-|\. ?)(\d{1,2})\2(\d{1,2}|\d{4})\.?(?!\d)[\s\u200e\u200f]*(.*)", re.DOTALL
)


def times_of_day(texts: pa.StringArray) -> tuple[Int64s, Bools]:
    """Return nanoseconds since midnight, and which texts are a time of day."""
    values, known = np.zeros(len(texts), np.int64), np.zeros(len(texts), bool)
    for shape in shapes(texts):
        match = _CLOCK.fullmatch(shape.text)
        if match is None:
            continue
        half = " ".join((match["before"] + match["after"]).decode("utf-8", "replace").casefold().split())
        if half and half not in _MORNING and half not in _AFTERNOON:
            continue
        hour, minute, second = (shape.number(*match.span(name)) for name in ("hour", "minute", "second"))
        fits = (minute < 60) & (second < 60) & ((hour >= 1) & (hour <= 12) if half else hour < 24)
        if half:
            hour = hour % 12 + (12 if half in _AFTERNOON else 0)
        value = (hour * 3600 + minute * 60 + second) * SECOND_NS
        if match["part"]:
            value += shape.number(*match.span("part")) * 10 ** (9 - len(match["part"]))
        values[shape.rows], known[shape.rows] = value, fits
    return values, known


def durations(texts: pa.StringArray) -> tuple[Int64s, Bools]:
    """Return nanoseconds, and which texts are seconds with seven digits behind a point or comma."""
    values, known = np.zeros(len(texts), np.int64), np.zeros(len(texts), bool)
    for shape in shapes(texts):
        match = _DURATION.fullmatch(shape.text)
        if match is not None and match["whole"].count(b"0") <= 9:
            whole, part = shape.number(*match.span("whole")), shape.number(*match.span("part"))
            values[shape.rows], known[shape.rows] = whole * SECOND_NS + part * 100, True
    return values, known


def numbers(texts: pa.StringArray) -> tuple[Int64s, Bools]:
    """Return whole numbers, and which texts are one; thousands may stand apart in any country's way."""
    values, known = np.zeros(len(texts), np.int64), np.zeros(len(texts), bool)
    for shape in shapes(texts):
        if _NUMBER.fullmatch(shape.text) and shape.text.count(b"0") <= 18:
            values[shape.rows], known[shape.rows] = shape.number(0, len(shape.text)), True
    return values, known


def to_utc(local_ns: Int64s, zone: tzinfo) -> Int64s:
    """Return UTC nanoseconds of local ones; of an hour that comes twice a year, the first is taken."""
    buckets, place = np.unique(local_ns // _BUCKET_NS, return_inverse=True)
    offsets = np.zeros(len(buckets), np.int64)
    for number, bucket in enumerate(buckets.tolist()):
        local = datetime(1970, 1, 1) + timedelta(seconds=bucket * (_BUCKET_NS // SECOND_NS))  # noqa: DTZ001
        offset = zone.utcoffset(local)
        offsets[number] = 0 if offset is None else int(offset.total_seconds()) * SECOND_NS
    return local_ns - offsets[place.ravel()] if len(buckets) else local_ns


class LocalClock:
    """Makes UTC of the local times of one log, in its order: midnights are counted where it has no dates."""

    def __init__(
        self, day: date | None, zone: tzinfo | None, modified_ns: int, diagnostics: Diagnostics
    ) -> None:
        """Begin a log.

        Args:
            day: the local day on which it begins; None: the latest that its last change allows.
            zone: of its times; None: they are taken as UTC (`log_no_zone`).
            modified_ns: when the file last changed, UTC.
            diagnostics: counts what is not known.
        """
        self._asked, self._modified_ns, self._diagnostics = day, modified_ns, diagnostics
        self._zone = UTC if zone is None else zone
        self._no_zone = zone is None
        self._day: int | None = None  # since 1970, of the last row
        self._last = 0  # time of day of the last row
        self._month_first: bool | None = None

    def times(self, of_day: pa.StringArray | None, dates: pa.DictionaryArray | None) -> tuple[Int64s, Bools]:
        """Return UTC nanoseconds of the next rows, and which rows have a time.

        Args:
            of_day: times of the day; None where the log has none.
            dates: texts that begin with the date, with the time behind it; None where the log has none.
        """
        if dates is None:
            if of_day is None:
                raise ValueError("neither times nor dates")
            values, known = times_of_day(of_day)
            local = values + self._days(values[known], known) * DAY_NS
        else:
            texts: list[str] = [text or "" for text in dates.dictionary.to_pylist()]
            days, rests = self._dates(texts)
            places = dates.indices.fill_null(len(texts)).to_numpy().astype(np.int64)
            day = np.array([*(-1 if one is None else one for one in days), -1], np.int64)[places]
            if of_day is None:
                of_texts, is_time = times_of_day(pa.array([*rests, ""], pa.string()))
                values, known = of_texts[places], is_time[places]
            else:
                values, known = times_of_day(of_day)
            known = known & (day >= 0)
            local = values + day * DAY_NS
        if self._no_zone and known.any():
            self._diagnostics.count("log_no_zone", 1 - self._diagnostics["log_no_zone"])
        return to_utc(np.where(known, local, 0), self._zone), known

    def _days(self, values: Int64s, known: Bools) -> Int64s:
        """Return the day of each row: a step back by more than half a day is midnight, one forward is a late row."""
        days = np.zeros(len(known), np.int64)
        if len(values):
            if self._day is None:
                self._day, self._last = self._first_day(int(values[0])), int(values[0])
            steps = np.diff(values, prepend=self._last)
            moved = self._day + np.cumsum((steps < -DAY_NS // 2).astype(np.int64) - (steps > DAY_NS // 2))
            days[known] = moved
            self._day, self._last = int(moved[-1]), int(values[-1])
        return days

    def _first_day(self, first: int) -> int:
        if self._asked is not None:
            return (self._asked - _EPOCH).days
        self._diagnostics.count("log_day_of_file")
        modified = datetime.fromtimestamp(self._modified_ns / SECOND_NS, self._zone)
        since = modified.hour * 3600 + modified.minute * 60 + modified.second + 1
        # Saved earlier in the day than it began: it began on the day before.
        return (modified.date() - _EPOCH).days - (first > since * SECOND_NS)

    def _dates(self, texts: Sequence[str]) -> tuple[list[int | None], list[str]]:
        """Return days since 1970, and what follows the date; None for no date."""
        parts = [_DATE.fullmatch(text.strip()) for text in texts]
        if self._month_first is None:
            self._month_first = self._find_order([part for part in parts if part is not None])
        days = [None if part is None else _day(part, month_first=bool(self._month_first)) for part in parts]
        return days, ["" if part is None else part[5] for part in parts]

    def _find_order(self, parts: Sequence[re.Match[str]]) -> bool | None:
        """Return whether the month comes before the day; None where there is no date to see it."""
        open_ = [part for part in parts if len(part[1]) < 3]
        if not open_:
            return None if not parts else False
        if any(int(part[1]) > 12 for part in open_) or open_[0][2] != "/":
            return False  # with points and hyphens the day comes first everywhere
        if any(int(part[3]) > 12 for part in open_):
            return True
        if all(part[1].lstrip("0") == part[3].lstrip("0") for part in open_):
            return None
        if self._asked is not None:
            wanted = (self._asked - _EPOCH).days
            for month_first in (True, False):
                if any(_day(part, month_first=month_first) == wanted for part in open_):
                    return month_first
        self._diagnostics.count("log_unclear_date")
        return re.search(r"\b[AP]M\b", open_[0][5]) is not None  # as the United States write it


def _day(part: re.Match[str], *, month_first: bool) -> int | None:
    one, two, three = int(part[1]), int(part[3]), int(part[4])
    if len(part[1]) == 4:
        year, month, day = one, two, three
    else:
        year = three + 2000 if len(part[4]) == 2 else three  # one digit is no year
        month, day = (one, two) if month_first else (two, one)
    if year not in _YEARS:
        return None
    try:
        return (date(year, month, day) - _EPOCH).days
    except ValueError:
        return None
