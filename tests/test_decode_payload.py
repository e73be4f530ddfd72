"""The sequential payload decoder: the oracle of the column-wise one, so it is tested against an encoder."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracer.decode.layouts import LAYOUTS, Layout, find_layout
from tracer.decode.payload import CAPTURE_LIMIT, COUNT_NAMES, decode_payload, split_layout
from tracer.etl.providers import CLASSIC_PROCESS, CLASSIC_REGISTRY, KERNEL_PROCESS, KERNEL_REGISTRY
from tracer.registry.text import encode_name, escape_name

SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i64": 8, "filetime": 8}
ALL = sorted(LAYOUTS.values(), key=lambda layout: (layout.provider, layout.id, layout.version))


def layout(provider: str, id_: int, version: int = 0) -> Layout:
    return LAYOUTS[provider, id_, version]


def wide(text: str) -> bytes:
    """Bytes of a name with its final NUL."""
    return text.encode("utf-16-le", "surrogatepass") + b"\0\0"


def u16(value: int) -> bytes:
    return value.to_bytes(2, "little")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def sid_bytes(text: str) -> bytes:
    _, _, authority, *rest = text.split("-")
    return (
        bytes([1, len(rest)]) + int(authority).to_bytes(6, "big") + b"".join(u32(int(part)) for part in rest)
    )


def encode(what: Layout, fields: dict, pointer_size: int) -> bytes:
    """Write a payload from its layout: the inverse, as plain as can be."""
    parts = []
    for field in what.fields:
        value = fields[field.name]
        if field.kind in ("ptr", "psize"):
            parts.append(value.to_bytes(pointer_size, "little"))
        elif field.kind in SIZES:
            parts.append(value.to_bytes(SIZES[field.kind], "little", signed=field.kind == "i64"))
        elif field.kind == "wz":
            parts.append(encode_name(value) + b"\0\0")
        elif field.kind == "az":
            parts.append(value.encode("ascii") + b"\0")
        elif field.kind == "captured":
            parts.append(u16(len(value)) + value)
        elif field.kind == "sid":
            parts.append(sid_bytes(value))
        elif field.kind == "ksid":
            parts.append(bytes(4) if value is None else b"\x77" * (2 * pointer_size) + sid_bytes(value))
        else:
            raise AssertionError(field.kind)
    return b"".join(parts)


names = st.text(
    st.characters(codec="utf-16-le", exclude_categories=["Cs"], exclude_characters="\0<"), max_size=12
)
sids = st.builds(
    lambda parts: "-".join(["S-1-5", *map(str, parts)]),
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5),
)


@st.composite
def payloads(draw, what: Layout | None = None, pointer_size: int | None = None):
    """A layout, a width, the fields of a record without embedded NULs, and its bytes."""
    what = what or draw(st.sampled_from(ALL))
    size = pointer_size or draw(st.sampled_from((4, 8)))
    fields: dict = {}
    for field in what.fields:
        if field.kind in ("ptr", "psize"):
            fields[field.name] = draw(st.integers(0, 2 ** (8 * (4 if field.kind == "psize" else size)) - 1))
        elif field.kind == "i64":
            fields[field.name] = draw(st.integers(-(2**63), 2**63 - 1))
        elif field.kind in SIZES:
            fields[field.name] = draw(st.integers(0, 2 ** (8 * SIZES[field.kind]) - 1))
        elif field.kind == "wz":
            fields[field.name] = draw(names)
        elif field.kind == "az":
            fields[field.name] = draw(
                st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=14)
            )
        elif field.kind == "captured":
            # No zero bytes, so that no other reading of the record exists.
            data = bytes(byte or 1 for byte in draw(st.binary(max_size=20)))
            fields[COUNT_NAMES[field.name]] = len(data)
            fields[field.name] = data
            fields["DataSize" if field.name == "CapturedData" else "PreviousDataSize"] = len(data)
        elif field.kind == "sid":
            fields[field.name] = draw(sids)
        else:
            fields[field.name] = draw(st.none() | sids)
    return what, size, fields, encode(what, fields, size)


@pytest.mark.slow
@settings(deadline=None)
@given(payloads())
def test_what_was_encoded_is_decoded_in_both_widths(case):
    what, size, fields, raw = case
    found = decode_payload(what, raw, size)
    if not found.ambiguous:  # small counts and types may offer a second reading: that is what the flag says
        assert found.fields == fields
    assert found.used == len(raw)
    assert not found.short
    assert not found.odd


@pytest.mark.parametrize("what", ALL, ids=lambda what: f"{what.provider[:4]}-{what.id}-{what.version}")
@pytest.mark.parametrize("size", [4, 8])
def test_every_layout_is_decoded_field_by_field(what, size):
    fields = {}
    for number, field in enumerate(what.fields, 0x41414141):
        if field.kind == "captured":
            fields[COUNT_NAMES[field.name]] = 3
            fields["DataSize" if field.name == "CapturedData" else "PreviousDataSize"] = 3
            fields[field.name] = b"\x11\x22\x33"
        elif field.kind in ("wz", "az"):
            fields[field.name] = f"name{number}"
        elif field.kind in ("sid", "ksid"):
            fields[field.name] = f"S-1-5-21-{number}"
        else:
            fields[field.name] = number % 256 if field.kind == "u8" else number
    found = decode_payload(what, encode(what, fields, size), size)
    assert found.fields == fields
    assert (found.ambiguous, found.short, found.odd) == (False, False, False)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(ALL),
    st.sampled_from((4, 8)),
    st.binary(max_size=120)
    | st.lists(st.sampled_from([b"\0\0", b"a\0", b"\4\0"]), max_size=60).map(b"".join),
    st.booleans(),
    st.booleans(),
    st.none() | names,
)
def test_no_bytes_make_it_raise_and_it_never_reads_past_the_end(what, size, raw, prefix, nothing, known):
    found = decode_payload(what, raw, size, prefix=prefix, nothing_captured=nothing, known_path=known)
    assert 0 <= found.used <= len(raw)
    assert set(found.fields) >= {field.name for field in what.fields}
    for value in found.fields.values():
        assert value is None or isinstance(value, int | str | bytes)
        if isinstance(value, str):
            value.encode("utf-8")  # escaped text: no lone surrogate
            assert "\0" not in value


@settings(deadline=None, max_examples=60)
@given(payloads())
def test_a_payload_cut_at_any_length_is_read_as_far_as_it_goes(case):
    what, size, fields, raw = case
    head, _, _ = split_layout(what)
    fixed = sum(size if field.kind in ("ptr", "psize") else SIZES[field.kind] for field in head)
    for length in range(len(raw)):
        found = decode_payload(what, raw[:length], size)
        left_out = what.provider == KERNEL_REGISTRY and what.operation == "HiveWork" and length == 0
        assert found.short == (length < fixed and not left_out)
        assert found.used <= length
        for field in head:
            assert found.fields[field.name] in (fields[field.name], None)
        if length >= fixed:
            assert all(found.fields[field.name] == fields[field.name] for field in head)


def test_the_test_vector_of_the_embedded_nul_rule():
    raw = bytes.fromhex(
        "e099d2f00e9affff 00000000 01000000 04000000 0000 6100 0000 6200 0000 0000 00000000 00000000 0000"
    )
    found = decode_payload(layout(KERNEL_REGISTRY, 5), raw, 8)
    assert found.fields["KeyName"] == ""
    assert found.fields["ValueName"] == "a<U+0000>b"
    assert found.fields["CapturedDataSize"] == 0
    assert found.fields["PreviousData"] == b""
    assert found.fields["KeyObject"] == 0xFFFF9A0EF0D299E0
    assert (found.ambiguous, found.odd, found.used) == (False, False, len(raw))


def set_value(value_name: str, data: bytes, *, key: str = "", size: int | None = None, previous: bytes = b""):
    return (
        bytes(8) + u32(0) + u32(4) + u32(len(data) if size is None else size) + wide(key) + wide(value_name)
        + u16(len(data)) + data + u32(4) + u32(len(previous)) + u16(len(previous)) + previous
    )  # fmt: skip


def query_value(value_name: str, data: bytes, *, key: str = "", size: int | None = None):
    return (
        bytes(8) + u32(0) + u32(2) + u32(len(data) if size is None else size) + wide(key) + wide(value_name)
        + u16(len(data)) + data
    )  # fmt: skip


def test_an_embedded_nul_before_captured_data_is_found_by_the_tail():
    found = decode_payload(layout(KERNEL_REGISTRY, 5), set_value("a\0b\0\0c", b"\x11" * 5), 8)
    assert found.fields["ValueName"] == "a<U+0000>b<U+0000><U+0000>c"
    assert found.fields["CapturedData"] == b"\x11" * 5
    assert not found.ambiguous


@pytest.mark.parametrize("data", [bytes(4), bytes(8), b"a\0\0\0b\0\0\0\0\0", bytes(CAPTURE_LIMIT)])
@pytest.mark.parametrize("previous", [b"", bytes(4), b"\4\0\0\0"])
def test_zeros_that_were_captured_whole_are_no_doubt(data, previous):
    """Read as a part of the name they would leave a size without a byte captured (the provider copies at most 2,048)."""
    found = decode_payload(layout(KERNEL_REGISTRY, 5), set_value("x", data, previous=previous), 8)
    assert (found.fields["ValueName"], found.fields["CapturedData"]) == ("x", data)
    assert found.fields["PreviousData"] == previous
    assert not found.ambiguous


def test_a_second_reading_that_fits_every_size_is_a_doubt():
    data = b"\1" * 6 + b"\0\0\x0c\0" + b"\1\1"
    previous = b"\1" * 4 + u32(10) + u16(10) + b"\1" * 10
    found = decode_payload(layout(KERNEL_REGISTRY, 5), set_value("x", data, previous=previous), 8)
    assert (found.fields["CapturedData"], found.fields["PreviousData"]) == (data, previous)
    assert found.ambiguous


def test_a_dword_of_zero_is_read_first_and_in_doubt_only_where_nothing_is_captured():
    raw = query_value("x", bytes(4))
    found = decode_payload(layout(KERNEL_REGISTRY, 7), raw, 8)
    assert (found.fields["ValueName"], found.fields["CapturedData"]) == ("x", bytes(4))
    assert not found.ambiguous
    last = decode_payload(layout(KERNEL_REGISTRY, 7), raw, 8, nothing_captured=True)
    assert (last.fields["ValueName"], last.fields["CapturedData"]) == ("x<U+0000>\x04", b"")
    assert last.ambiguous


def test_captured_counts_that_fit_the_size_are_preferred():
    # After "x" a count of 4 fits the length, but the full size says 4000: 2048 bytes would be there.
    raw = query_value("x", bytes(4), size=4000)
    found = decode_payload(layout(KERNEL_REGISTRY, 7), raw, 8)
    assert found.fields["ValueName"] == "x<U+0000>\x04"
    assert found.fields["CapturedData"] == b""
    assert not found.ambiguous


def test_a_count_nobody_would_write_is_taken_where_it_is_the_only_one_that_fits():
    found = decode_payload(layout(KERNEL_REGISTRY, 7), query_value("x", b"\x11\x22", size=4000), 8)
    assert (found.fields["ValueName"], found.fields["CapturedData"]) == ("x", b"\x11\x22")
    assert not found.ambiguous


def test_data_is_captured_up_to_the_limit():
    data = b"\x11" * CAPTURE_LIMIT
    found = decode_payload(layout(KERNEL_REGISTRY, 5), set_value("v", data, size=100_000, previous=data), 8)
    assert (found.fields["DataSize"], found.fields["CapturedDataSize"]) == (100_000, CAPTURE_LIMIT)
    assert found.fields["PreviousData"] == data
    assert not found.ambiguous


def test_a_name_at_the_end_runs_to_the_final_nul():
    found = decode_payload(layout(KERNEL_REGISTRY, 6), bytes(12) + wide("") + wide("a\0\0b"), 8)
    assert (found.fields["KeyName"], found.fields["ValueName"]) == ("", "a<U+0000><U+0000>b")
    assert not found.ambiguous
    found = decode_payload(layout(KERNEL_REGISTRY, 13), bytes(8) + wide("\\REGISTRY\\A\0b"), 4)
    assert found.fields["KeyName"] == "\\REGISTRY\\A<U+0000>b"
    assert not found.ambiguous


def test_an_empty_base_name_and_a_relative_name_with_nuls():
    raw = bytes(16) + u32(0) + u32(1) + wide("") + wide("Sub\0Key")
    found = decode_payload(layout(KERNEL_REGISTRY, 1), raw, 8)
    assert (found.fields["BaseName"], found.fields["RelativeName"]) == ("", "Sub<U+0000>Key")
    assert not found.ambiguous


def test_a_filled_key_name_with_nuls_is_parted_by_the_known_path():
    raw = bytes(12) + wide("\\REGISTRY\\MACHINE\\a\0b") + wide("v")
    what = layout(KERNEL_REGISTRY, 6)
    plain = decode_payload(what, raw, 8)
    assert (plain.fields["KeyName"], plain.fields["ValueName"]) == ("\\REGISTRY\\MACHINE\\a", "b<U+0000>v")
    assert plain.ambiguous
    known = decode_payload(what, raw, 8, known_path="\\Registry\\Machine\\A<U+0000>B")
    assert known.fields["KeyName"] == "\\REGISTRY\\MACHINE\\a<U+0000>b"
    assert known.fields["ValueName"] == "v"
    assert not known.ambiguous
    other = decode_payload(what, raw, 8, known_path="\\REGISTRY\\USER\\other")
    assert other == plain


def test_a_known_path_settles_the_parting_whatever_the_value_name_holds():
    raw = bytes(12) + wide("\\R") + wide("a\0b")
    what = layout(KERNEL_REGISTRY, 6)
    assert decode_payload(what, raw, 8).ambiguous
    known = decode_payload(what, raw, 8, known_path="\\R")
    assert (known.fields["KeyName"], known.fields["ValueName"]) == ("\\R", "a<U+0000>b")
    assert not known.ambiguous


def test_two_names_need_two_nuls():
    found = decode_payload(layout(KERNEL_REGISTRY, 6), bytes(12) + wide(""), 8)
    assert (found.fields["KeyName"], found.fields["ValueName"], found.odd) == ("", None, True)


def test_a_full_capture_of_a_longer_value_is_whole():
    raw = query_value("x", bytes(CAPTURE_LIMIT), size=100_000)
    found = decode_payload(layout(KERNEL_REGISTRY, 7), raw, 8)
    assert (found.fields["ValueName"], found.fields["CapturedDataSize"]) == ("x", CAPTURE_LIMIT)
    assert not found.ambiguous


def test_a_filled_key_name_without_nuls_is_not_ambiguous():
    found = decode_payload(
        layout(KERNEL_REGISTRY, 5), set_value("v", b"\x11\x22\x33\x44", key="\\REGISTRY\\K"), 8
    )
    assert (found.fields["KeyName"], found.fields["ValueName"]) == ("\\REGISTRY\\K", "v")
    assert not found.ambiguous


def test_the_known_path_settles_a_single_name_before_captured_data():
    # KeyName "\R" and eight zero bytes of data can also be read as a longer name and no data.
    raw = bytes(12) + u32(0) + u32(8) + wide("\\R") + u16(8) + bytes(8)
    what = layout(KERNEL_REGISTRY, 4)
    plain = decode_payload(what, raw, 8)
    assert (plain.fields["KeyName"], plain.fields["CapturedData"]) == ("\\R", bytes(8))
    assert plain == decode_payload(what, raw, 8, known_path="\\r")
    longer = escape_name("\\R\0\x08\0\0")
    known = decode_payload(what, raw, 8, known_path=longer)
    assert (known.fields["KeyName"], known.fields["CapturedData"]) == (longer, b"")
    assert not known.ambiguous


def test_an_empty_key_name_before_zeros_is_not_ambiguous():
    raw = bytes(12) + u32(0) + u32(8) + wide("") + u16(8) + bytes(8)
    found = decode_payload(layout(KERNEL_REGISTRY, 4), raw, 8)
    assert (found.fields["KeyName"], found.fields["CapturedData"]) == ("", bytes(8))
    assert not found.ambiguous


def test_a_value_name_with_a_backslash_stays_whole():
    name = "\\Device\\HarddiskVolume3\\a.exe"
    found = decode_payload(layout(KERNEL_REGISTRY, 5), set_value(name, b"\x11"), 8)
    assert found.fields["ValueName"] == name


def test_lone_surrogates_survive():
    raw = bytes(12) + wide("\ud800x")
    assert decode_payload(layout(KERNEL_REGISTRY, 13), raw, 8).fields["KeyName"] == "<U+D800>x"


def test_a_tail_that_fits_nowhere_is_odd_and_keeps_what_fits():
    raw = set_value("v", b"\x11" * 8)[:-3]
    found = decode_payload(layout(KERNEL_REGISTRY, 5), raw, 8)
    assert found.odd
    assert (found.fields["ValueName"], found.fields["CapturedData"]) == ("v", b"\x11" * 8)
    assert found.fields["PreviousDataSize"] is None


def test_a_name_without_its_nul_is_odd_and_kept():
    found = decode_payload(layout(KERNEL_REGISTRY, 13), bytes(12) + wide("abc")[:-2], 8)
    assert found.odd
    assert found.fields["KeyName"] == "abc"
    # A zero byte at the wrong parity is no NUL either.
    assert decode_payload(layout(KERNEL_REGISTRY, 13), bytes(12) + b"a\0\0", 8).odd


def test_a_newer_version_is_read_as_a_prefix_without_complaint():
    raw = bytes(12) + wide("name") + b"further fields"
    what = layout(KERNEL_REGISTRY, 13)
    assert decode_payload(what, raw, 8).odd
    found = decode_payload(what, raw, 8, prefix=True)
    assert (found.fields["KeyName"], found.odd, found.used) == ("name", False, 22)


def test_a_hive_event_without_its_status_is_not_short():
    found = decode_payload(layout(KERNEL_REGISTRY, 21), b"", 8)
    assert (found.fields, found.short, found.odd) == ({"StatusCode": None}, False, False)
    assert decode_payload(layout(KERNEL_REGISTRY, 21), b"\0\0", 8).short


@pytest.mark.parametrize("size", [4, 8])
def test_classic_records_of_all_versions(size):
    status = (0xC0000034).to_bytes(4, "little") + b"\xff" * (size - 4)
    handle = (0x8123ABCD).to_bytes(size, "little")
    elapsed = (-5).to_bytes(8, "little", signed=True)
    found = [
        decode_payload(layout(CLASSIC_REGISTRY, 11, 0), status + handle + elapsed + wide("a\0b"), size),
        decode_payload(
            layout(CLASSIC_REGISTRY, 11, 1), status + handle + elapsed + u32(7) + wide("a\0b"), size
        ),
        decode_payload(
            layout(CLASSIC_REGISTRY, 11, 2), elapsed + status[:4] + u32(7) + handle + wide("a\0b"), size
        ),
    ]
    for each in found:
        assert each.fields["Status"] == 0xC0000034
        assert each.fields["KeyHandle"] == 0x8123ABCD
        assert each.fields["KeyName"] == "a<U+0000>b"
        assert not each.odd
    assert found[1].fields["Index"] == found[2].fields["Index"] == 7


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("token", [b"\x11", b"\0"])
def test_a_kernel_sid_behind_its_token_is_read_even_where_the_token_is_zero(size, token):
    raw = (
        bytes(size)
        + u32(1) * 4
        + bytes(size)
        + token * (2 * size)
        + sid_bytes("S-1-5-18")
        + b"a.exe\0"
        + wide("a b")
    )
    found = decode_payload(layout(CLASSIC_PROCESS, 1, 3), raw, size)
    assert found.fields["UserSID"] == "S-1-5-18"
    assert (found.fields["ImageFileName"], found.fields["CommandLine"]) == ("a.exe", "a b")
    assert not found.odd


@pytest.mark.parametrize("size", [4, 8])
def test_a_kernel_sid_of_a_zero_dword_is_no_sid(size):
    raw = bytes(size) + u32(1) * 4 + bytes(size) + bytes(4) + b"a.exe\0" + wide("a b")
    found = decode_payload(layout(CLASSIC_PROCESS, 1, 3), raw, size)
    assert found.fields["UserSID"] is None
    assert (found.fields["ImageFileName"], found.fields["CommandLine"], found.odd) == ("a.exe", "a b", False)


@settings(deadline=None)
@example(b"\1\x10" + bytes(80))
@example(b"\2\1" + bytes(80))
@given(st.binary(max_size=90))
def test_an_impossible_sid_stops_the_reading_there(raw):
    head = bytes(4 + 8 + 8 + 4 + 8 + 16)
    found = decode_payload(layout(KERNEL_PROCESS, 1, 3), head + raw, 8)
    sound = len(raw) >= 8 and raw[0] == 1 and raw[1] <= 15 and len(raw) >= 8 + 4 * raw[1]
    assert (found.fields["MandatoryLabel"] is not None) == sound
    assert sound or (found.odd and found.fields["ImageName"] is None)


def test_the_version_of_a_process_record_decides_its_layout():
    assert find_layout(KERNEL_PROCESS, 15, 0)[0].fields[-1].name == "PackageRelativeAppId"
    assert find_layout(KERNEL_PROCESS, 1, 4)[0].fields[-1].name == "SecurityMitigations"
    assert find_layout(CLASSIC_PROCESS, 39, 5)[0].fields[-1].name == "ExitTime"
    assert find_layout(KERNEL_PROCESS, 1, 9) == (find_layout(KERNEL_PROCESS, 1, 4)[0], False)
