"""XPRESS: whole buffers, first bytes, and what the library alone cannot do."""

from hypothesis import given
from hypothesis import strategies as st

from tracer.etl.xpress import inflate, inflate_start
from tracer.simulate.xpress import compress

# Flags: one literal, then one match; 'a'; distance 1, length in the longest form: 64,997 + 3.
LONG_MATCH = (1 << 30).to_bytes(4, "little") + b"a" + b"\x07\x00\x0f\xff" + (64_997).to_bytes(2, "little")


def test_a_match_of_64000_bytes_is_inflated_though_the_library_refuses_it():
    assert inflate(LONG_MATCH, 65_001) == b"a" * 65_001


def test_a_buffer_that_holds_less_than_its_stated_size_is_refused():
    assert inflate(LONG_MATCH, 65_002) is None


@given(st.binary(max_size=3000), st.integers(0, 200))
def test_the_first_bytes_by_hand_equal_those_of_the_whole(data, size):
    packed = compress(data)
    assert inflate_start(packed, min(size, len(data))) == data[:size]
    if data:
        assert inflate(packed, len(data)) == data


@given(st.binary(max_size=400), st.integers(1, 5000))
def test_random_bytes_never_raise(data, size):
    out = inflate(data, size)
    assert out is None or len(out) == size
