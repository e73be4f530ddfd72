"""The compiled loops against their NumPy forms: the same answers, on sound and on damaged files."""

import json
import shutil
from pathlib import Path
from random import Random
from typing import Self

import numpy as np
import pytest
import raw_etl
from hypothesis import given
from hypothesis import strategies as st
from memory_writer import MemoryWriter
from mutations import KINDS, base_files, mutate

import tracer.ingest.pipeline
from tracer.columns.sorting import stable_argsort
from tracer.decode.batch import ByteSpans
from tracer.decode.columns import decode_operations
from tracer.decode.strings import NameTable
from tracer.diagnostics import Diagnostics
from tracer.errors import RegtraceError
from tracer.etl.providers import KERNEL_REGISTRY
from tracer.etl.reader import EtlReader
from tracer.ingest.kernels import NUMPY, Kernels, load_compiled
from tracer.resolve.int_map import IntMap
from tracer.resolve.tree import KeyTree
from tracer.simulate import SimulationOptions, simulate

pytest.importorskip("numba", reason="Numba (extra fast) is not installed")

from tracer.compiled.int_map import CompiledIntMap
from tracer.compiled.names import CompiledNameTable
from tracer.compiled.scan import stable_argsort as compiled_order
from tracer.compiled.tree import CompiledKeyTree

NUMBA = load_compiled()
FORMS = {"NumPy": NUMPY, "Numba": NUMBA}
HARD: dict[str, dict[str, object]] = {
    "default": {},
    "everything": {
        "option_word": 7, "fill_share": 0.5, "nul_names": 0.2, "surrogate_names": 0.2, "hostile_names": 0.2,
        "extended": 0.3, "newer_version": 0.1, "foreign": 0.2, "late_close": 0.1, "lost_close": 0.1,
    },
    "narrow": {"pointer_size": 4, "option_word": 7, "nul_names": 0.3},
    "classic": {"classic": True, "rundown_begin": True, "preopened": 200},
    "compressed": {"compressed": True, "buffer_size": 8192},
    "losses": {"lost_buffers": 0.1, "buffer_size": 8192, "disorder": 8, "cut": True, "unfinalised": True},
    "circular": {"circular_mib": 1, "buffer_size": 16384},
}  # fmt: skip
MUTATIONS = 60  # a kind of file


def files_of(capture: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(capture)): path.read_bytes()
        for path in sorted(capture.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", HARD)
def test_the_capture_is_the_same_byte_for_byte(tmp_path, name):
    path = simulate(tmp_path / "a.etl", SimulationOptions(events=12_000, seed=5, **HARD[name])).path
    for form, kernels in FORMS.items():
        tracer.ingest.pipeline.ingest([path], tmp_path / f"{form}.regtrace", kernels=kernels)
    plain, fast = files_of(tmp_path / "NumPy.regtrace"), files_of(tmp_path / "Numba.regtrace")
    assert json.loads(plain["capture.json"])["totals"]["events"] > 3000
    assert plain == fast


@pytest.mark.slow
def test_many_chunks_and_forgotten_addresses_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tracer.resolve.resolver._ROOMY", 200)
    monkeypatch.setitem(EtlReader.__init__.__kwdefaults__, "chunk_bytes", 100_000)
    path = simulate(
        tmp_path / "a.etl", SimulationOptions(events=20_000, disorder=8, gap_us=500.0, buffer_size=8192)
    ).path
    for form, kernels in FORMS.items():
        tracer.ingest.pipeline.ingest([path], tmp_path / f"{form}.regtrace", kernels=kernels)
    assert files_of(tmp_path / "NumPy.regtrace") == files_of(tmp_path / "Numba.regtrace")


class RememberedWriter(MemoryWriter):
    """Can be found after the ingest."""

    def __enter__(self) -> Self:
        LAST.append(self)
        return self


LAST: list[RememberedWriter] = []


def outcome(path: Path, kernels: Kernels) -> object:
    """Return all that an ingest makes of a file, or the sentence with which it refuses it."""
    LAST.clear()
    try:
        manifest = tracer.ingest.pipeline.ingest([path], path.with_suffix(".regtrace"), kernels=kernels)
    except RegtraceError as error:
        return str(error)
    return LAST[-1].tables, manifest.totals, manifest.complete


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["headers", *KINDS])
def test_damaged_files_are_read_alike(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(tracer.ingest.pipeline, "CaptureWriter", RememberedWriter)
    sound = base_files(tmp_path)[kind]
    random = Random(kind)
    refused = 0
    for _ in range(MUTATIONS):
        path = tmp_path / "damaged.etl"
        path.write_bytes(mutate(sound, random))
        plain = outcome(path, NUMPY)
        assert plain == outcome(path, NUMBA)
        refused += isinstance(plain, str)
    assert refused < MUTATIONS / 2


def test_times_that_are_further_apart_than_a_signed_number_can_tell_are_ordered_alike(tmp_path):
    stamps = [2**50, -(2**60), 2**50 - 1, 2**50 + 1]
    header = raw_etl.logfile_record()
    made = raw_etl.buffer(*(raw_etl.event(number, stamp) for number, stamp in enumerate(stamps)))
    path = tmp_path / "a.etl"
    path.write_bytes(raw_etl.etl(made, header=header))
    for kernels in FORMS.values():
        with EtlReader([path], [Diagnostics()], kernels=kernels.read) as reader:
            (records,) = reader
        ids = records.id[records.order]
        assert ids[ids >= 0].tolist() == [1, 2, 0, 3]
        assert int(records.time_ns.max()) - int(records.time_ns.min()) > 2**63


def test_losses_come_in_one_order(tmp_path, monkeypatch):
    monkeypatch.setattr(tracer.ingest.pipeline, "CaptureWriter", RememberedWriter)
    unread = [
        raw_etl.event(1, raw_etl.FIRST_STAMP + late, b"xy", guid=KERNEL_REGISTRY) for late in (50, 10, 30)
    ]
    path = tmp_path / "a.etl"
    path.write_bytes(raw_etl.etl(raw_etl.buffer(*unread)))
    for kernels in FORMS.values():
        tables, _, _ = outcome(path, kernels)
        losses = [
            row for table in tables["losses"] for row in table.to_pylist() if "payload" in row["evidence"]
        ]
        assert len(losses) == 3
        assert losses == sorted(losses, key=lambda loss: loss["from_ns"])


def decoded(path: Path, kernels: Kernels) -> list[tuple[object, ...]]:
    """Return every decoded row of a file, in time order, with names as text."""
    names = kernels.name_table()
    rows: list[tuple[object, ...]] = []
    found = [Diagnostics()]
    with EtlReader([path], found, kernels=kernels.read) as reader:
        for records in reader:
            operations = decode_operations(records, reader.providers, names, found, kernels.chunk)
            columns = [operations.plan, operations.flags, *operations.fields.values()]
            texts = [*names.texts, None]
            order = records.offset[operations.rows].argsort()
            for row in order.tolist():
                rows.append(
                    (
                        int(records.offset[operations.rows[row]]),
                        *(int(column[row]) for column in columns[:2]),
                        {name: int(column[row]) for name, column in operations.fields.items() if column[row]},
                        texts[operations.first_name[row]],
                        texts[operations.last_name[row]],
                        *(
                            None
                            if blobs is None or blobs.place[row] < 0
                            else blobs.values[blobs.place[row]].as_py()
                            for blobs in (operations.data, operations.previous)
                        ),
                    )
                )
    return sorted(rows)


@pytest.mark.slow
def test_decoded_columns_are_the_same_on_hostile_names(tmp_path):
    options = SimulationOptions(
        events=8000, option_word=7, fill_share=0.6, nul_names=0.4, surrogate_names=0.3, extended=0.3
    )
    path = simulate(tmp_path / "a.etl", options).path
    assert decoded(path, NUMPY) == decoded(path, NUMBA)


def test_a_buffer_of_the_smallest_records_fits(tmp_path):
    import raw_etl as raw

    path = tmp_path / "small.etl"
    records = [raw.perfinfo(7, 1, raw.FIRST_STAMP + number, b"") for number in range(2000)]
    path.write_bytes(raw.etl(raw.buffer(*records, size=65536)))
    counts = []
    for kernels in FORMS.values():
        with EtlReader([path], [Diagnostics()], kernels=kernels.read) as reader:
            counts.append(sum(len(records) for records in reader))
    assert counts == [2001, 2001]


@pytest.mark.parametrize("version", [0x8000, 0xFFFE, 0xFFFF])
def test_a_classic_record_of_an_impossible_version_is_read_as_a_newer_one(tmp_path, version):
    import raw_etl as raw

    from tracer.etl.providers import CLASSIC_REGISTRY

    record = bytearray(raw.full(11, raw.FIRST_STAMP + 9, bytes(24) + b"\\\0A\0\0\0", guid=CLASSIC_REGISTRY))
    record[6:8] = version.to_bytes(2, "little")
    path = tmp_path / "newer.etl"
    path.write_bytes(raw.etl(raw.buffer(bytes(record))))
    plain, fast = (decoded(path, kernels) for kernels in FORMS.values())
    assert len(plain) == 1
    assert plain == fast


@given(st.lists(st.one_of(st.integers(0, 40), st.integers(0, (1 << 62) - 1))))
def test_sorting_is_stable_and_the_same(numbers):
    column = np.array(numbers, np.int64)
    assert compiled_order(column).tolist() == stable_argsort(column).tolist()


@pytest.mark.slow
@given(st.lists(st.lists(st.one_of(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 9)), max_size=40)))
def test_maps_of_numbers_are_the_same(batches):
    plain, fast = IntMap(), CompiledIntMap()
    for batch in batches:
        keys = np.array(batch, np.int64)
        assert plain.get(keys).tolist() == fast.get(keys).tolist()
        assert plain.number(keys).tolist() == fast.number(keys).tolist()
    assert plain.keys().tolist() == fast.keys().tolist()
    assert len(plain) == len(fast)
    everything = plain.keys()
    for each in (plain, fast):
        each.put(everything, everything & 7)
    assert plain.get(everything).tolist() == fast.get(everything).tolist()


def test_a_map_grows_without_forgetting():
    numbers = CompiledIntMap()
    keys = np.arange(100_000) * 4096
    for start in range(0, len(keys), 9999):
        numbers.number(keys[start : start + 9999])
    assert numbers.get(keys).tolist() == list(range(len(keys)))
    numbers.clear()
    assert not len(numbers)
    assert numbers.get(keys[:3]).tolist() == [-1, -1, -1]


PARTS = st.sampled_from(["", "A", "a", "B", "REGISTRY", "Registry", "ß", "SS", "x" * 200, "\\"])


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(st.lists(PARTS, min_size=1, max_size=6), st.integers(-1, 5), st.integers(0, 99)),
        max_size=30,
    ),
    st.data(),
)
def test_trees_of_keys_are_the_same(names, data):
    plain, fast = KeyTree(), CompiledKeyTree()
    texts = ["\\".join(parts) for parts, _, _ in names]
    cut = data.draw(st.integers(0, len(names)))
    for chosen in (range(cut), range(cut, len(names))):
        found = []
        for tree in (plain, fast):
            parents = np.array([min(names[number][1], len(tree) - 1) for number in chosen], np.int64)
            mentions = np.array([names[number][2] for number in chosen], np.int64)
            found.append(tree.follow_names(parents, np.array(chosen, np.int64), mentions, texts).tolist())
            tree.unnamed(64)
            tree.child(0, "child", 7)
        assert found[0] == found[1]
    assert_same_trees(plain, fast)


def assert_same_trees(plain: KeyTree, fast: KeyTree) -> None:
    for name in ("parents", "names", "objects", "unrooted", "too_long", "bare"):
        assert getattr(plain, name) == getattr(fast, name), name
    for node, name in enumerate(plain.names):
        assert plain.find(plain.parents[node], name) == fast.find(plain.parents[node], name)


def test_paths_beyond_the_registrys_limits_are_one_key_in_both_trees():
    texts = ["\\" + "\\".join("a" * 40 for _ in range(3000)), "\\" + "\\".join("b" * 9 for _ in range(2000))]
    trees = [KeyTree(), CompiledKeyTree()]
    for tree in trees:
        for _ in range(2):
            tree.follow_names(np.full(2, -1), np.arange(2), np.arange(2), texts)
    assert len(trees[0]) > 1000
    assert trees[0].too_long
    assert_same_trees(*trees)


@pytest.mark.slow
def test_a_tree_outgrows_its_first_size():
    texts = [f"\\REGISTRY\\{number % 7}\\key {number}" for number in range(60_000)]
    trees = [KeyTree(), CompiledKeyTree()]
    for tree in trees:
        tree.follow_names(np.full(len(texts), -1), np.arange(len(texts)), np.arange(len(texts)), texts)
        tree.unnamed(8)
    assert len(trees[0]) == 60_000 + 1 + 7 + 1
    assert trees[0].parents == trees[1].parents
    assert trees[0].names == trees[1].names


@pytest.mark.slow
def test_names_of_any_bytes_get_one_number_each():
    random = Random(3)
    pool = [random.randbytes(2 * random.choice((0, 1, 3, 4, 5, 8, 9, 60))) for _ in range(3000)]
    pool += [b"\0\0", b"\0\0\0\0", b"A\0\0\0", b"A\0"]
    fast = CompiledNameTable()
    for _ in range(30):
        chosen = random.choices(pool, k=3000)
        raw = np.frombuffer(b"".join(chosen) + bytes(8), np.uint8)
        size = np.array([len(name) for name in chosen])
        numbers = np.full(len(chosen), -1, np.int32)
        fast.encode_into(numbers, raw, ByteSpans(np.arange(len(chosen)), np.cumsum(size) - size, size))
        plain = NameTable()
        assert [fast.texts[number] for number in numbers.tolist()] == [
            plain.texts[plain.number(name)] for name in chosen
        ]
        assert len({(number, name) for number, name in zip(numbers.tolist(), chosen, strict=True)}) == len(
            set(chosen)
        )
    odd = [fast.number(b"abc"), fast.number(b"ab"), fast.number(b"abc\0"), fast.number(b"abc")]
    assert odd[0] == odd[3]
    assert len(set(odd)) == 3


@pytest.mark.slow
def test_names_outgrow_every_first_size():
    fast = CompiledNameTable()
    texts = [f"a rather long name of a key, number {number}, " * 3 for number in range(40_000)]
    numbers = [fast.number_of_text(text) for text in texts]
    assert numbers == list(range(1, 40_001))
    assert [fast.number_of_text(text) for text in texts[::997]] == numbers[::997]
    assert fast.texts[1:] == texts


@pytest.mark.slow
def test_nothing_of_numba_is_loaded_for_a_small_trace(tmp_path):
    import subprocess
    import sys

    path = simulate(tmp_path / "a.etl", SimulationOptions(events=500)).path
    code = (
        "import sys; from pathlib import Path; from tracer.ingest.pipeline import ingest; "
        f"ingest([Path({str(path)!r})], Path({str(tmp_path / 'a.regtrace')!r})); sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    shutil.rmtree(tmp_path / "a.regtrace")
