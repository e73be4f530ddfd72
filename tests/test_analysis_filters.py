"""What users write, and what it means."""

import re
from datetime import UTC, datetime, timedelta, timezone

import duckdb
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.filters import Filters, name_regex
from analysis.times import parse_time
from tracer.errors import UsageError
from tracer.registry.terms import operation_names
from tracer.registry.text import fold_name

FIRST, LAST = 10**18 + 1, 10**18 + 90 * 10**9
TEN = int(datetime(2024, 5, 1, 10, tzinfo=UTC).timestamp()) * 10**9


def naive(pattern: list[str], name: str) -> bool:
    if not pattern:
        return not name
    head, rest = pattern[0], pattern[1:]
    if head == "*":
        return naive(rest, name) or (bool(name) and naive(pattern, name[1:]))
    if not name:
        return False
    literal = head[1] if len(head) == 3 else head
    return (head == "?" or fold_name(literal) == fold_name(name[0])) and naive(rest, name[1:])


_letters = st.characters(exclude_categories=["Cs"], exclude_characters="\0[")
_pieces = st.one_of(
    st.sampled_from(
        ["*", "?", "[*]", "[?]", "[[]", "a", "ß", "é", "İ", "ı", "K", "k", "\\", "\n", "]", "^", "-"]
    ),
    _letters,
)
_names = st.text(
    st.one_of(
        st.sampled_from("aAßéÉİıKk*?[]\\\n^-"),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    max_size=6,
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(_pieces, max_size=6), _names)
def test_a_name_pattern_matches_what_a_naive_matcher_matches(pieces: list[str], name: str) -> None:
    expected = naive(pieces, name)
    text = "".join(pieces)
    assert bool(re.fullmatch(name_regex(text, whole=False), name)) == expected
    row = duckdb.execute("SELECT regexp_matches($1, $2)", [name, name_regex(text)]).fetchone()
    assert row == (expected,)


@settings(deadline=None)
@given(st.characters(exclude_categories=["Cs"], exclude_characters="\0*?["))
def test_a_letter_finds_both_of_its_cases_and_no_other(letter: str) -> None:
    regex = name_regex(letter, whole=False)
    for other in {letter, letter.upper(), letter.lower(), letter.swapcase(), "k", "\u212a"}:
        if len(other) == 1:
            assert bool(re.fullmatch(regex, other)) == (fold_name(other) == fold_name(letter))


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2024-05-01T10:00:00Z", TEN),
        ("2024-05-01 10:00", TEN),
        ("2024-05-01", TEN - 10 * 3600 * 10**9),
        ("2024-05-01T12:00:00+02:00", TEN),
        ("2024-05-01T10:00:00.123456789z", TEN + 123456789),
        ("2024-05-01T10:00:00,5", TEN + 500_000_000),
        ("+0s", FIRST),
        ("+1.5s", FIRST + 1_500_000_000),
        ("+ 1s", None),
        ("-5m", LAST - 300 * 10**9),
        ("+100ns", FIRST + 100),
        ("+2d", FIRST + 2 * 86400 * 10**9),
        ("5m", None),
        ("2024-05-01T25:00:00", None),
        ("2024-02-30", None),
        ("2024-05-01T10:00.5", None),
        ("now", None),
        ("", None),
    ],
)
def test_times_are_read_to_the_nanosecond(text: str, nanoseconds: int | None) -> None:
    if nanoseconds is None:
        with pytest.raises(UsageError, match="is not a time"):
            parse_time(text, first_ns=FIRST, last_ns=LAST)
    else:
        assert parse_time(text, first_ns=FIRST, last_ns=LAST) == nanoseconds


def test_an_end_covers_the_whole_of_its_last_digit() -> None:
    assert parse_time("2024-05-01T10:00:00.000001Z", first_ns=0, last_ns=0, end=True) == TEN + 1999
    assert parse_time("2024-05-01T10:00:00Z", first_ns=0, last_ns=0, end=True) == TEN


def test_a_time_without_a_zone_is_in_the_stated_zone() -> None:
    east = timezone(timedelta(hours=2))
    assert parse_time("2024-05-01T12:00:00", first_ns=0, last_ns=0, zone=east) == TEN
    assert parse_time(datetime(2024, 5, 1, 12), first_ns=0, last_ns=0, zone=east) == TEN


def test_a_timestamps_nanoseconds_are_kept() -> None:
    stamp = pd.Timestamp("2024-05-01T10:00:00.123456789Z")
    assert parse_time(stamp, first_ns=None, last_ns=None) == TEN + 123456789


@settings(deadline=None)
@given(st.datetimes(timezones=st.just(UTC)))
def test_every_instant_is_read_exactly(moment: datetime) -> None:
    whole = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert parse_time(moment, first_ns=None, last_ns=None) == whole * 1000
    assert parse_time(moment.isoformat(), first_ns=None, last_ns=None) == whole * 1000


def test_operation_words_are_read_in_order_and_once() -> None:
    assert operation_names("set,write,set")[0] == "SetValueKey"
    assert len(set(operation_names("write,delete"))) == len(operation_names("write,delete"))
    with pytest.raises(UsageError, match="'sett'"):
        operation_names(["set", "sett"])


def test_filters_say_what_was_asked() -> None:
    assert str(Filters(key="HKLM", subtree=True)) == "key='HKLM', subtree=True"
    assert str(Filters(value="", pid=0)) == "value='', pid=0"


@pytest.mark.parametrize(
    ("given", "meant"),
    [("(default)", ""), ("(Default)", ""), ("", ""), ("(default)x", "(default)x"), (None, None)],
)
def test_the_default_value_can_be_named_as_editors_show_it(given, meant):
    assert Filters(value=given).value == meant
