"""Values and statuses as people read them."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracer.registry.ntstatus import STATUSES, find_status, is_failure, status_name
from tracer.registry.text import encode_name
from tracer.registry.values import ValueType, decode_value, show_value, type_name


def wide(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


@pytest.mark.parametrize(
    ("kind", "data", "size", "shown"),
    [
        (1, wide("a\0"), 4, "a"),
        (1, wide("a"), 2, "a [unterminated]"),
        (1, b"", 0, ""),
        (1, wide("a\0b\0"), None, "a<U+0000>b"),
        (1, wide("\ud800\0"), None, "<U+D800>"),
        (1, wide("<U+0000>\0"), None, "<U+003C>U+0000>"),
        (2, wide("%x%\0"), None, "%x%"),
        (1, b"a\0b", 3, "a [odd last byte 0x62] [unterminated]"),
        (1, wide("abc"), 40, "abc [truncated: 6 of 40 bytes]"),
        (7, wide("a\0b\0\0"), None, "a, b"),
        (7, wide('"a\0b\0'), None, '"""a", b [unterminated]'),
        (7, wide("\0"), None, ""),
        (7, wide("\0\0"), None, ""),
        (7, wide("a\0\0b\0\0"), None, 'a, "", b'),
        (4, b"\1\0\0\0", 4, "1"),
        (4, b"\1\0\0", 3, "01 00 00 [3 bytes where REG_DWORD has 4]"),
        (4, b"\1\0", 4, "01 00 [truncated: 2 of 4 bytes]"),
        (5, b"\0\0\0\1", None, "1"),
        (11, b"\xff" * 8, None, "18446744073709551615"),
        (3, b"\0\xff", None, "00 FF"),
        (0, b"", None, ""),
        (0x12345, b"a", None, "61"),
        (None, b"a", None, "61"),
        (1, None, 12, "[12 bytes, not captured]"),
        (1, None, None, ""),
    ],
)
def test_a_value_is_shown_with_what_is_odd_about_it(
    kind: int | None, data: bytes | None, size: int | None, shown: str
) -> None:
    assert decode_value(kind, data, size) == shown


def test_long_bytes_are_cut_and_say_so() -> None:
    assert decode_value(3, bytes(100), limit=2) == "00 00 [2 of 100 bytes shown]"


@settings(deadline=None)
@given(
    st.one_of(st.none(), st.integers(0, 15), st.integers(0, 2**32 - 1)),
    st.one_of(st.none(), st.binary(max_size=40)),
    st.one_of(st.none(), st.integers(0, 2**32 - 1)),
)
def test_no_value_whatsoever_fails_to_be_shown(
    kind: int | None, data: bytes | None, size: int | None
) -> None:
    decode_value(kind, data, size).encode("utf-8")


def encoded(kind: int, text: str) -> bytes:
    """Return the data whose text this is, where nothing is odd about it."""
    if kind in (1, 2, 6):
        return encode_name(text) + b"\0\0"
    if kind == 7:
        items = re.findall(r'(?:^|, )("(?:[^"]|"")*"|.+?)(?=, |$)', text, re.DOTALL)
        texts = [item[1:-1].replace('""', '"') if item.startswith('"') else item for item in items]
        return b"".join(encode_name(item) + b"\0\0" for item in texts) + b"\0\0"
    if kind in (4, 5, 11):
        return int(text).to_bytes(8 if kind == 11 else 4, "big" if kind == 5 else "little")
    return bytes.fromhex(text)


_letters = st.characters(exclude_characters="\0")


@settings(deadline=None)
@given(
    st.one_of(
        st.tuples(st.sampled_from([1, 2, 6]), st.text(_letters).map(lambda text: wide(text + "\0"))),
        st.tuples(
            st.just(7),
            st.lists(st.text(st.one_of(_letters, st.sampled_from('", \n')), min_size=1)).map(
                lambda texts: wide("".join(text + "\0" for text in texts) + "\0")
            ),
        ),
        st.tuples(st.sampled_from([4, 5]), st.binary(min_size=4, max_size=4)),
        st.tuples(st.just(11), st.binary(min_size=8, max_size=8)),
        st.tuples(st.sampled_from([0, 3, 8, 99]), st.binary(max_size=64)),
    )
)
def test_the_text_of_a_well_formed_value_is_that_of_no_other_of_its_type(value: tuple[int, bytes]) -> None:
    kind, data = value
    assert encoded(kind, decode_value(kind, data, len(data))) == data


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]).filter(lambda c: c != "<")))
def test_whole_text_is_shown_as_it_is(text: str) -> None:
    assert decode_value(1, wide(text + "\0")) == text
    assert show_value(1, wide(text + "\0")) in (text, '"' + text.replace('"', '""') + '"')


@settings(deadline=None)
@given(
    st.one_of(st.none(), st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 11, 99])),
    st.one_of(st.none(), st.binary(max_size=12), st.text("a1 []()0x;", max_size=6).map(wide)),
    st.one_of(st.none(), st.integers(0, 12)),
)
@example(4, b"\1\0\0\0", 4)
@example(1, wide("x [empty]"), 20)
@example(7, wide("a\0\0"), 6)
def test_no_text_passes_for_another_value(kind: int | None, data: bytes | None, size: int | None) -> None:
    shown = show_value(kind, data, size)
    is_plain_text = kind in (1, 2, 6) and data == wide(shown + "\0") and (size is None or size <= len(data))
    assert is_plain_text or shown == "" or show_value(1, wide(shown + "\0")) != shown


def test_types_have_their_names_and_other_numbers_their_hex() -> None:
    assert [type_name(kind) for kind in (0, 7, 11, 12)] == ["REG_NONE", "REG_MULTI_SZ", "REG_QWORD", "0xC"]
    assert max(ValueType) == 11


@pytest.mark.parametrize("code", STATUSES)
def test_a_status_is_found_under_its_name_and_its_number(code: int) -> None:
    name = status_name(code)
    spellings = [
        name,
        f"status_{name}",
        name.replace("_", " ").lower(),
        hex(code),
        str(code),
        name.removeprefix("OBJECT_"),
    ]
    assert [find_status(word) for word in spellings] == [code] * len(spellings)


@pytest.mark.parametrize("word", ["", "nonsense", "0x", "0x1FFFFFFFF", "-99999999999", "0xZZ", "NOT"])
def test_a_word_that_is_no_status_finds_none(word: str) -> None:
    assert find_status(word) is None


def test_probes_and_ends_of_lists_are_no_failures() -> None:
    assert [code for code in STATUSES if is_failure(code) and code < 0xC0000000] == [0x8000002A]
    assert not is_failure(find_status("BUFFER_TOO_SMALL") or 0)
    assert is_failure(0xC0001234)
    assert status_name(0xC0001234) == "0xC0001234"
    assert status_name(0) == "SUCCESS"
