"""What is made of many rows at once, against the same made of a few rows at a time."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.answers import contents
from tracer.registry import value_columns
from tracer.registry.decoders import data_meaning
from tracer.registry.ntstatus import NAME_NOT_FOUND
from tracer.registry.values import decode_value, type_name

KEYS = (
    r"HKCU\SOFTWARE\Microsoft\Windows\CurrentVersion\Explorer\UserAssist\{F4E57C4B}\Count",
    r"HKLM\SYSTEM\ControlSet001\Services\BAM\State\UserSettings\S-1-5-21-1",
    r"HKCU\Software\Microsoft\Windows\CurrentVersion\explorer\RecentDocs",
    r"HKCU\Software\Microsoft\Windows\CurrentVersion\Explorer\RunMRU",
    r"HKCU\Software\Microsoft\Internet Explorer\TypedURLsTime",
    r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion",
    r"HKLM\SOFTWARE\Explorer",
)
NAMES = ("MRUListEx", "mrulist", "a", "17", "InstallDate", "ShutdownTime", "GUID", "Sid", "\u017fid", "x", "")
FILETIME = bytes.fromhex("36AF1AFBE857D601")
DATA = (
    FILETIME,
    FILETIME * 9,
    b"a\0\0\0",
    b"b\0a\0",
    b"\1\0\0\0\xff\xff\xff\xff",
    bytes(range(16)),
    b"",
    b"\1" * 600,
)
kinds = st.none() | st.sampled_from([0, 1, 2, 3, 4, 7, 11, 99])
sizes = st.none() | st.integers(0, 20)
data = st.none() | st.sampled_from(DATA) | st.binary(max_size=6)


def column(rows: list[tuple], place: int, kind: pa.DataType) -> pa.Array:
    return pa.array([row[place] for row in rows], kind)


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(st.none() | st.sampled_from(KEYS), st.none() | st.sampled_from(NAMES), kinds, data, sizes)
    )
)
def test_types_texts_and_meanings_of_many_rows_are_those_of_each_row(rows: list[tuple]) -> None:
    types = (pa.string(), pa.string(), pa.uint32(), pa.binary(), pa.uint32())
    keys, names, kind, content, size = (column(rows, place, one) for place, one in enumerate(types))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(value_columns, "FEW_ROWS", -1)
        found = {
            "type": value_columns.type_names(kind),
            "text": value_columns.value_texts(kind, content, size),
            "meaning": value_columns.value_meanings(keys, names, kind, content),
        }
    expected = {
        "type": [None if row[2] is None else type_name(row[2]) for row in rows],
        "text": [None if row[3] is row[4] is None else decode_value(*row[2:]) for row in rows],
        "meaning": [data_meaning(*row[:4]) for row in rows],
    }
    assert {name: one.to_pylist() for name, one in found.items()} == expected
    assert {one.type for one in found.values()} == {pa.string()}


words = st.none() | st.sampled_from(["write", "read", "absent", "deleted", "unknown"])
booleans = st.none() | st.booleans()


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["SetValueKey", "DeleteValueKey", "QueryValueKey"]),
            st.none() | st.sampled_from([0, NAME_NOT_FOUND, 0xC0000022]),
            booleans, words, st.none() | st.integers(0, 99), booleans,
            kinds, sizes, data, kinds, sizes, data, kinds, sizes, data,
        )
    )
)  # fmt: skip
def test_contents_of_many_rows_are_compared_as_those_of_each_row(rows: list[tuple]) -> None:
    content = ("type", pa.uint32()), ("size", pa.uint32()), ("data", pa.binary())
    columns = [
        ("operation", pa.string()), ("status", pa.uint32()), ("done", pa.bool_()), ("own_from", pa.string()),
        ("own_sequence", pa.int64()), ("lost", pa.bool_()),
        *((f"data_{name}" if name != "data" else name, kind) for name, kind in content),
        *((f"previous_{name}", kind) for name, kind in content),
        *((f"own_{name}", kind) for name, kind in content),
    ]  # fmt: skip
    made = {name: column(rows, place, kind) for place, (name, kind) in enumerate(columns)}
    at_once, one_by_one = contents._compared_columns(made), contents._compared_rows(made)
    assert {name: one.to_pylist() for name, one in at_once.items()} == {
        name: one.to_pylist() for name, one in one_by_one.items()
    }
    assert [one.type for one in at_once.values()] == [one.type for one in one_by_one.values()]


@given(st.lists(st.tuples(words, kinds, sizes, data)))
def test_a_state_of_many_rows_has_the_contents_of_each_row(rows: list[tuple]) -> None:
    types = (pa.string(), pa.uint32(), pa.uint32(), pa.binary())
    names = ("last_known", "own_type", "own_size", "own_data")
    made = {
        name: column(rows, place, kind) for place, (name, kind) in enumerate(zip(names, types, strict=True))
    }
    few = contents._of_state(made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "FEW_ROWS", -1)
        patch.setattr(value_columns, "FEW_ROWS", -1)
        at_once = contents._of_state(made)
    assert {name: one.to_pylist() for name, one in at_once.items()} == {
        name: one.to_pylist() for name, one in few.items()
    }
