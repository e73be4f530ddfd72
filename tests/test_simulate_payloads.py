"""Payloads encoded from the layouts are the bytes the formats ask for."""

import struct

import pytest
from foreign_readers import KERNEL_REGISTRY, ForeignRecord, dissect_registry_fields

from tracer.decode.layouts import LAYOUTS
from tracer.etl.providers import KERNEL_PROCESS
from tracer.simulate.payloads import captured, compile_layout, encode_payload, wide


def foreign(id_: int, payload: bytes, pointer_size: int) -> dict[str, object]:
    kind = 0x13 if pointer_size == 8 else 0x12
    record = ForeignRecord(kind, KERNEL_REGISTRY, id_, 0, 0, 0, 0, 0, payload, 0, 0)
    return dissect_registry_fields(record)


def test_the_quoted_payload_with_an_embedded_nul_comes_out_byte_for_byte() -> None:
    values = {"KeyObject": 0xFFFF9A0EF0D299E0, "Type": 1, "DataSize": 4, "ValueName": "a<U+0000>b"}
    quoted = (
        "e099d2f00e9affff 00000000 01000000 04000000 0000 6100 0000 6200 0000 0000 00000000 00000000 0000"
    )
    assert encode_payload(LAYOUTS[(KERNEL_REGISTRY, 5, 0)], values) == bytes.fromhex(quoted)


@pytest.mark.parametrize("pointer_size", [4, 8])
@pytest.mark.parametrize("key", [key for key in LAYOUTS if key[0] == KERNEL_REGISTRY])
def test_dissect_reads_every_registry_layout_as_it_was_encoded(
    key: tuple[str, int, int], pointer_size: int
) -> None:
    layout = LAYOUTS[key]
    values: dict[str, object] = {}
    for place, field in enumerate(layout.fields):
        made = {
            "wz": f"Name {place} Größe",
            "captured": b"\0\1data",
            "u32": 0x80000000 + place,
            "ptr": 0xFFFF0000 + place,
        }
        values[field.name] = made[field.kind]
    fields = foreign(layout.id, encode_payload(layout, values, pointer_size=pointer_size), pointer_size)
    for name, value in values.items():
        assert fields is not None
        assert fields[name] == value


@pytest.mark.parametrize("key", LAYOUTS)
def test_every_layout_takes_empty_values_in_both_widths(key: tuple[str, int, int]) -> None:
    layout = LAYOUTS[key]
    pointers = sum(field.kind in ("ptr", "psize") for field in layout.fields)
    wide_, narrow = (encode_payload(layout, {}, pointer_size=size) for size in (8, 4))
    assert len(wide_) - len(narrow) == 4 * pointers


def test_the_compiled_form_and_the_form_by_name_agree() -> None:
    fast = compile_layout(KERNEL_REGISTRY, 7, 0, 4)(
        0x8A200AA0, 0, 2, 16, wide(""), wide("Start"), captured(b"\2\0")
    )
    layout = LAYOUTS[(KERNEL_REGISTRY, 7, 0)]
    values = {
        "KeyObject": 0x8A200AA0,
        "InfoClass": 2,
        "DataSize": 16,
        "ValueName": "Start",
        "CapturedData": b"\2\0",
    }
    assert fast == encode_payload(layout, values, pointer_size=4)


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(LookupError, match="version 9"):
        compile_layout(KERNEL_PROCESS, 1, 9, 8)


def test_a_kernel_sid_stands_behind_two_pointers() -> None:
    layout = next(
        layout for layout in LAYOUTS.values() if any(field.kind == "ksid" for field in layout.fields)
    )
    without = encode_payload(layout, {}, pointer_size=8)
    with_sid = encode_payload(layout, {"UserSID": "S-1-5-18"}, pointer_size=8)
    assert len(with_sid) - len(without) == 16 + 12 - 4
    assert struct.pack("<BB6sI", 1, 1, b"\0\0\0\0\0\5", 18) in with_sid
