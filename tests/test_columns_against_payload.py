"""The column-wise decoder against the sequential one, on records made to be hard: every layout, both widths,
names with NULs, data full of zeros, sizes that lie, cuts, and versions from the future."""

import random

import pytest
import raw_etl as raw

from tracer.decode.batch import NONE
from tracer.decode.columns import decode_operations
from tracer.decode.layouts import LAYOUTS, find_layout
from tracer.decode.payload import decode_payload, split_layout
from tracer.decode.strings import NameTable
from tracer.diagnostics import Diagnostics
from tracer.etl.providers import CLASSIC_REGISTRY, KERNEL_REGISTRY
from tracer.etl.reader import EtlReader
from tracer.ingest.kernels import NUMPY, load_compiled
from tracer.schema import FLAGS
from tracer.simulate.container import Clock, EtlWriter

REGISTRY = [layout for key, layout in LAYOUTS.items() if key[0] in (KERNEL_REGISTRY, CLASSIC_REGISTRY)]
MANIFEST = [layout for layout in REGISTRY if layout.provider == KERNEL_REGISTRY and layout.id <= 15]
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i64": 8}
NAMES = [
    "",
    "",
    "a",
    "Run",
    "a\0b",
    "\0",
    "\0\0x",
    "\\R",
    "\\R\0S",
    "\\REGISTRY\\MACHINE\\a",
    "x\ud800",
    "x\0\4",
    "<U+0000>",
]
DATA = [
    b"",
    b"",
    b"\0\0",
    bytes(4),
    b"\4\0\0\0",
    b"\1\0\0\0\0\0",
    b"\0" * 9,
    b"a\0b\0\0\0",
    b"abc",
    bytes(2048),
    b"\7" * 2050,
    b"\1" * 6 + b"\0\0\x0c\0\1\1",  # with the next one as previous data a second reading fits every size
    b"\1" * 4 + b"\x0a\0\0\0\x0a\0" + b"\1" * 10,
]


def make_payload(dice: random.Random, layout, size: int) -> bytes:
    """A payload of the layout, right or nearly right."""
    captured = {name: dice.choice(DATA) for name in ("CapturedData", "PreviousData")}
    parts = []
    for field in layout.fields:
        if field.kind in ("ptr", "psize"):
            parts.append(dice.randbytes(size))
        elif field.name in ("DataSize", "PreviousDataSize"):
            data = captured["CapturedData" if field.name == "DataSize" else "PreviousData"]
            full = dice.choice([len(data)] * 6 + [0, 4, 2048, 5000])
            parts.append(full.to_bytes(4, "little"))
        elif field.kind in SIZES:
            parts.append(dice.choice([dice.randbytes(SIZES[field.kind]), bytes(SIZES[field.kind])]))
        elif field.kind == "wz":
            parts.append(dice.choice(NAMES).encode("utf-16-le", "surrogatepass") + b"\0\0")
        else:
            data = captured[field.name]
            parts.append(len(data).to_bytes(2, "little") + data)
    raw = b"".join(parts)
    fate = dice.random()
    if fate < 0.08:
        raw = raw[: dice.randrange(len(raw) + 1)]
    elif fate < 0.12:
        raw += dice.randbytes(dice.randrange(1, 9))
    elif fate < 0.16 and raw:
        at = dice.randrange(len(raw))
        raw = raw[:at] + dice.randbytes(1) + raw[at + 1 :]
    elif fate < 0.20:
        raw = b"".join(
            dice.choice([b"\0\0", b"\0\0", b"a\0", b"\4\0", b"\0"]) for _ in range(dice.randrange(40))
        )
    return raw


def make_trace(path, seed: int, count: int) -> None:
    dice, clock = random.Random(seed), Clock()
    writer = EtlWriter(path, cpus=2, buffer_size=1 << 16, clock=clock)
    for number in range(count):
        layout = dice.choice(MANIFEST if dice.random() < 0.7 else REGISTRY)
        size = dice.choice((4, 8))
        version = layout.version + 5 if dice.random() < 0.1 else layout.version
        facts = {
            "ticks": clock.start_ticks + number,
            "payload": make_payload(dice, layout, size),
            "pointer_size": size,
        }
        if layout.provider == KERNEL_REGISTRY:
            writer.add_record(
                "event", cpu=number % 2, provider=KERNEL_REGISTRY, id_=layout.id, version=version, **facts
            )
        else:
            writer.add_record(
                "system", cpu=number % 2, provider=9, opcode=layout.id, version=version, **facts
            )
    writer.finish(path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_columns_equal_the_sequential_decoder(tmp_path, seed):
    path = tmp_path / "hard.etl"
    make_trace(path, seed, 2500)
    found, names = Diagnostics(), NameTable()
    ambiguous = odd = compared = 0
    with EtlReader([path], [Diagnostics()]) as reader:
        for records in reader:
            columns = decode_operations(records, reader.providers, names, [found])
            place_of = {int(row): place for place, row in enumerate(columns.rows)}
            for row in range(len(records)):
                provider = reader.providers[records.provider[row]]
                if provider not in (KERNEL_REGISTRY, CLASSIC_REGISTRY):
                    continue
                event = int(records.id[row] if records.id[row] >= 0 else records.opcode[row])
                layout, exact = find_layout(provider, event, int(records.version[row]))
                assert layout is not None
                raw = records.raw[records.payload[row] : records.end[row]].tobytes()
                expected = decode_payload(layout, raw, int(records.pointer_size[row]), prefix=not exact)
                where = f"{layout.name} v{records.version[row]} ptr{records.pointer_size[row]} {raw.hex(' ')}"
                if columns.payloads.get(place_of.get(row, -1)) is not None:
                    assert columns.payloads[place_of[row]] == expected, where
                    compared += 1
                    continue
                assert expected.short == (row not in place_of), where
                if row in place_of:
                    compare(columns, place_of[row], names, layout, expected, where)
                    assert bool(columns.flags[place_of[row]] & FLAGS["layout_prefix"]) != exact
                    compared += 1
                ambiguous += expected.ambiguous
                odd += expected.odd
    assert compared > 2000
    assert ambiguous > 100
    assert odd > 50


def written(data: bytes, previous: bytes) -> bytes:
    """The payload of a write to the value Mode."""
    head = bytes(12) + (4).to_bytes(4, "little") + len(data).to_bytes(4, "little") + b"\0\0"
    old = (
        (4).to_bytes(4, "little") + len(previous).to_bytes(4, "little") + len(previous).to_bytes(2, "little")
    )
    return (
        head + "Mode".encode("utf-16-le") + b"\0\0" + len(data).to_bytes(2, "little") + data + old + previous
    )


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_zeros_that_were_captured_whole_are_no_doubt(tmp_path, compiled):
    """Writes of DWORD 0 and MULTI_SZ: nobody could read their names in another way; of the last one somebody could."""
    path = tmp_path / "zeros.etl"
    plain = [bytes(4), bytes(8), b"a\0\0\0b\0\0\0\0\0", b"\0\0", bytes(2048)]
    payloads = [written(data, previous) for data in plain for previous in (b"", bytes(4), data)]
    payloads.append(written(*DATA[-2:]))
    records = [
        raw.event(5, raw.FIRST_STAMP + number, payload, guid=KERNEL_REGISTRY, version=0)
        for number, payload in enumerate(payloads)
    ]
    path.write_bytes(raw.etl(raw.buffer(*records, size=32768)))
    if compiled:
        pytest.importorskip("numba", reason="Numba (extra fast) is not installed")
    kernels = load_compiled() if compiled else NUMPY
    names = kernels.name_table()
    flags = []
    with EtlReader([path], [Diagnostics()], kernels=kernels.read) as reader:
        for some in reader:
            read = decode_operations(some, reader.providers, names, [Diagnostics()], kernels.chunk)
            flags += read.flags.tolist()
    assert [flag & FLAGS["name_ambiguous"] for flag in flags] == [0] * (len(payloads) - 1) + [1]


def compare(columns, place: int, names: NameTable, layout, expected, where: str) -> None:
    head, texts, _ = split_layout(layout)
    for field in head:
        if field.name in columns.fields:  # columns hold signed fields as their bit patterns
            assert int(columns.fields[field.name][place]) == expected.fields[field.name] % (1 << 64), where
    numbers = [int(columns.first_name[place]), int(columns.last_name[place])][2 - len(texts) :]
    mine = [None if number == NONE else names.texts[number] for number in numbers]
    assert mine == [expected.fields[field.name] for field in texts], where
    assert bool(columns.flags[place] & FLAGS["name_ambiguous"]) == expected.ambiguous, where
    for column, name in ((columns.data, "CapturedData"), (columns.previous, "PreviousData")):
        data = None if column is None else column.to_pylist()[place]
        assert data == (expected.fields.get(name) or None), f"{name}: {where}"
    for name in ("PreviousDataType", "PreviousDataSize"):
        if name in expected.fields and name in columns.fields:
            assert int(columns.fields[name][place]) == (expected.fields[name] or 0), f"{name}: {where}"


def test_the_only_captured_value_of_a_chunk_outlives_the_chunk(tmp_path):
    path = tmp_path / "one.etl"
    tail = b"\0\0" + b"\0\0" + (4).to_bytes(2, "little") + b"\1\2\3\4" + bytes(10)
    payload = bytes(8) + bytes(4) + (4).to_bytes(4, "little") * 2 + tail
    path.write_bytes(
        raw.etl(raw.buffer(raw.event(5, raw.FIRST_STAMP + 1, payload, guid=KERNEL_REGISTRY, version=0)))
    )
    with EtlReader([path], [Diagnostics()], reuse=True) as reader:
        for records in reader:
            operations = decode_operations(records, reader.providers, NameTable(), [Diagnostics()])
            records.raw[:] = 0xEE
            assert operations.data.to_pylist() == [b"\1\2\3\4"]
