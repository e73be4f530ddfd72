"""Event logs: every record of a sound chunk is there, whatever the other chunks hold."""

import json
import struct
import time
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from evtx_reading import EPOCH, ids_of, library_json, read, saved, small_log, written_ns
from evtx_writer import (
    BLOCK,
    CHUNK,
    Log,
    Record,
    header,
    sysmon_like,
    with_checksums,
    write_log,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import mutate

from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError
from tracer.evtx.reader import BATCH_SCHEMA, EvtxReader

ROOT = Path(__file__).resolve().parents[1]
# Sound logs


@pytest.mark.slow
@pytest.mark.parametrize("template", [False, True])
def test_every_record_is_there_with_its_place_its_identifier_and_its_time(tmp_path, template):
    log = write_log([sysmon_like(number) for number in range(1, 400)], template=template)
    result = read(path := saved(tmp_path, log.content(next_record=400)))
    records = log.all_records()
    assert [json.loads(text) for text in result.column("json")] == [
        record.json(template=template) for record in records
    ]
    assert result.ids == [record.record_id for record in records]
    assert result.column("written_ns") == [written_ns(record) for record in records]
    assert result.column("offset") == [
        BLOCK + CHUNK * index + at for index, chunk in enumerate(log.records) for at, _ in chunk
    ]
    content = path.read_bytes()
    assert {content[at : at + 4] for at in result.column("offset")} == {b"\x2a\x2a\0\0"}
    assert not result.counts
    assert not result.losses
    assert result.facts == {
        "format_version": "3.1",
        "header_chunks": len(log.chunks),
        "first_chunk": 0,
        "last_chunk": len(log.chunks) - 1,
        "next_record_id": 400,
        "is_dirty": False,
        "is_full": False,
        "chunks": len(log.chunks),
        "records": 399,
        "first_written_ns": written_ns(records[0]),
        "last_written_ns": written_ns(records[-1]),
    }


@pytest.mark.parametrize("template", [False, True])
def test_the_text_is_that_of_the_library(tmp_path, template):
    path = saved(tmp_path, small_log(5, 9, template=template).content())
    assert read(path).column("json") == library_json(path)


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


@pytest.mark.slow
@settings(max_examples=15)  # each starts a process
@given(st.lists(names, min_size=1, max_size=40), st.booleans())
def test_any_text_comes_back(tmp_path_factory, texts, template):
    log = write_log([sysmon_like(index, text) for index, text in enumerate(texts)], template=template)
    values = read(saved(tmp_path_factory.mktemp("texts"), log.content())).column("json")
    assert [json.loads(value)["Event"]["EventData"]["Details"] for value in values] == texts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "left"), [("be\0hind", "be"), ("\ud800pair", "pair"), ("pair\udc00", "pair")]
)
def test_the_library_cuts_a_text_at_a_nul_and_drops_half_a_pair(tmp_path, text, left):
    """What the docstring of the reader says of it; a library that does better makes this fail, and the docstring go."""
    result = read(saved(tmp_path, write_log([sysmon_like(1, text)], template=True).content()))
    assert json.loads(result.column("json")[0])["Event"]["EventData"]["Details"] == left


def test_batches_are_large_and_of_one_schema(tmp_path):
    log = small_log(160, 100)
    result = read(saved(tmp_path, log.content()))
    assert [len(batch) for batch in result.batches][:-1] == [8800]  # whole groups of chunks
    assert {batch.schema for batch in result.batches} == {BATCH_SCHEMA}
    assert result.ids == ids_of(log)


def test_only_the_size_that_is_given_is_read(tmp_path):
    log = small_log(3)
    path = saved(tmp_path, log.content())
    path.write_bytes(path.read_bytes() + log.chunks[0])
    result = read(path, size=BLOCK + 3 * CHUNK)
    assert result.ids == ids_of(log)
    assert not result.counts


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sysmon/sigma-regression"])
def test_genuine_logs_are_read_as_the_library_reads_them(corpus, name):
    paths = sorted((corpus / name).glob("*.evtx"))
    assert paths
    for path in paths:
        result = read(path)
        assert result.column("json") == library_json(path), path.name
        assert not result.counts, path.name
        assert result.facts["format_version"] == "3.2"


# Damage


def test_a_record_that_cannot_be_decoded_costs_itself_alone(tmp_path):
    log = small_log(3, 5)
    at, record = log.records[1][2]
    chunk = bytearray(log.chunks[1])
    chunk[at + 24] = 0xEE
    log.chunks[1] = bytes(chunk)
    result = read(saved(tmp_path, log.content()))
    assert result.ids == [one for one in ids_of(log) if one != record.record_id]
    assert result.counts == {"evtx_chunk_damaged": 1, "evtx_record_damaged": 1}
    (loss,) = result.losses
    size = log.records[1][3][0] - at
    assert (loss.offset, loss.size_bytes, loss.records) == (BLOCK + CHUNK + at, size, 1)
    assert loss.from_ns == written_ns(log.records[1][1][1])
    assert loss.to_ns == written_ns(log.records[1][3][1])


@pytest.mark.parametrize(("field", "value"), [(0, 0), (4, 0), (4, 27), (4, 0xFFFFFFFF), (4, 4000)])
@pytest.mark.parametrize("template", [False, True])
def test_a_record_whose_header_makes_no_sense_costs_itself_alone(tmp_path, field, value, template):
    log = small_log(2, 6, template=template)
    chunk = bytearray(log.chunks[0])
    for index in (2, 3):
        struct.pack_into("<I", chunk, log.records[0][index][0] + field, value)
    log.chunks[0] = bytes(chunk)
    result = read(saved(tmp_path, log.content()))
    wrong = [log.records[0][index][1].record_id for index in (2, 3)]
    if template:
        assert result.ids == [one for one in ids_of(log) if one not in wrong]
    else:  # where the names of later records stand in it
        assert set(result.ids) >= set(ids_of(log, 0))
        assert not set(result.ids) & set(wrong)
    assert result.counts["evtx_record_damaged"] >= 1
    assert result.losses[0].offset == BLOCK + log.records[0][2][0]
    assert result.losses[0].records is None


def test_the_last_record_of_a_chunk_may_be_the_damaged_one(tmp_path):
    log = small_log(2, 4)
    at, record = log.records[0][-1]
    chunk = bytearray(log.chunks[0])
    chunk[at] = 0
    log.chunks[0] = bytes(chunk)
    result = read(saved(tmp_path, log.content()))
    assert result.ids == [one for one in ids_of(log) if one != record.record_id]
    (loss,) = result.losses
    end = struct.unpack_from("<I", chunk, 0x30)[0]
    assert (loss.offset, loss.size_bytes, loss.records) == (BLOCK + at, end - at, None)
    assert loss.to_ns == written_ns(log.records[1][0][1])


@pytest.mark.parametrize("at", [0, 0x30, 0x34, 0x7C, 0x80])
def test_a_chunk_whose_header_is_wrong_is_read_and_counted(tmp_path, at):
    log = small_log(3)
    chunk = bytearray(log.chunks[1])
    struct.pack_into("<I", chunk, at, 0xFFFFFFFF)
    log.chunks[1] = bytes(chunk)
    result = read(saved(tmp_path, log.content()))
    assert result.ids == ids_of(log)
    assert result.counts == {"evtx_chunk_damaged": 1}
    assert result.first_offsets == {"evtx_chunk_damaged": BLOCK + CHUNK}
    assert not result.losses


def test_a_chunk_of_noise_is_lost_and_counted(tmp_path):
    log = small_log(3)
    log.chunks[1] = Random(1).randbytes(CHUNK)
    result = read(saved(tmp_path, log.content()))
    assert result.ids == ids_of(log, 1)
    assert result.counts == {"evtx_chunk_damaged": 1, "evtx_record_damaged": 1}
    (loss,) = result.losses
    assert (loss.offset, loss.records) == (BLOCK + CHUNK + 512, None)
    assert loss.from_ns == written_ns(log.records[0][-1][1])
    assert loss.to_ns == written_ns(log.records[2][0][1])


def test_a_chunk_header_that_is_older_than_its_records_hides_none(tmp_path):
    log = small_log(2, 8)
    chunk = bytearray(log.chunks[1])
    struct.pack_into("<I", chunk, 0x30, log.records[1][3][0])  # says that free space begins before the fourth
    log.chunks[1] = bytes(chunk)
    result = read(saved(tmp_path, log.content(flags=1)))
    assert result.ids == ids_of(log)
    assert result.counts == {"evtx_dirty": 1, "evtx_chunk_damaged": 1, "evtx_records_beyond_header": 5}


def test_what_an_earlier_use_left_behind_the_records_is_not_read(tmp_path):
    log, old = small_log(1, 2), write_log([sysmon_like(number) for number in range(101, 110)], template=True)
    end = struct.unpack_from("<I", log.chunks[0], 0x30)[0]
    assert end in [at for at, _ in old.records[0]]
    log.chunks[0] = log.chunks[0][:end] + old.chunks[0][end:]
    result = read(saved(tmp_path, log.content()))
    assert result.ids == [1, 2]
    assert not result.counts


def test_chunks_that_the_header_does_not_count_are_read(tmp_path):
    log = small_log(5)
    content = header(2, flags=1) + b"".join(log.chunks)
    result = read(saved(tmp_path, content))
    assert result.ids == ids_of(log)
    assert result.counts == {"evtx_dirty": 1, "evtx_chunks_beyond_header": 3}


def test_space_that_was_never_used_is_no_damage(tmp_path):
    log = small_log(2)
    result = read(saved(tmp_path, log.content() + bytes(3 * CHUNK + 100)))
    assert result.ids == ids_of(log)
    assert result.counts == {"zero_tail": 4}
    assert not result.losses


@pytest.mark.parametrize("keep", [0, 100, 512, 700, 3000, CHUNK - 1])
def test_a_cut_log_is_read_to_its_end(tmp_path, keep):
    log = small_log(3)
    result = read(saved(tmp_path, log.content()[: BLOCK + CHUNK + keep]))
    end = struct.unpack_from("<I", log.chunks[1], 0x30)[0]
    starts = [at for at, _ in log.records[1]] + [end]
    whole = sum(after <= keep for after in starts[1:])
    assert result.ids == ids_of(log)[: 3 + whole]
    assert result.counts["evtx_cut"] == 1
    assert result.first_offsets["evtx_cut"] == BLOCK + CHUNK + keep
    assert result.losses[-1].offset == BLOCK + CHUNK + keep
    assert result.losses[-1].size_bytes == 2 * CHUNK - keep
    assert result.losses[-1].to_ns is None
    assert result.losses[-1].from_ns == written_ns(log.all_records()[2 + whole])


def test_a_circle_of_chunks_has_no_time_around_a_loss_where_it_closes(tmp_path):
    log = small_log(4)
    log.chunks = [log.chunks[2], log.chunks[3], Random(1).randbytes(CHUNK), log.chunks[0]]
    (loss,) = read(saved(tmp_path, log.content())).losses
    assert (loss.from_ns, loss.to_ns) == (None, None)


@pytest.mark.parametrize(
    ("at", "value"), [(0x20, 0), (0x24, 0xFFFFFFFF), (0x28, 0), (0x2A, 0xFFFF), (0x7C, 0)]
)
def test_a_header_with_absurd_values_is_counted_and_not_believed(tmp_path, at, value):
    log = small_log(3)
    content = bytearray(log.content())
    struct.pack_into("<H" if value <= 0xFFFF else "<I", content, at, value)
    result = read(saved(tmp_path, bytes(content)))
    assert result.ids == ids_of(log)
    assert result.counts == {"evtx_odd_header": 1}
    assert not result.losses


def test_numbers_beyond_int64_are_unknown(tmp_path):
    times = [0, 1, EPOCH - 1, EPOCH, 2**63 - 1, 2**64 - 1]
    records = [Record(2**63 - 3 + index, {"a": "b"}, filetime=time) for index, time in enumerate(times)]
    result = read(saved(tmp_path, write_log(records, template=True).content()))
    assert result.ids == [2**63 - 3, 2**63 - 2, 2**63 - 1, None, None, None]
    assert result.column("written_ns") == [None, None, None, 0, None, None]
    assert not result.counts


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a Windows event log: it does not start with ElfFile at offset 0"),
        (b"MZ" + bytes(9000), "is not a Windows event log"),
        (struct.pack("<I4sI", 0x30, b"LfLe", 1) + bytes(9000), "(.evt), which is not read; convert it"),
        (header(1)[:100], "is cut inside its header, at offset 0x64 of 0x1000"),
    ],
)
def test_what_is_no_log_is_one_sentence(tmp_path, content, words):
    with pytest.raises(SourceError) as caught:
        read(saved(tmp_path, content))
    assert words in str(caught.value)
    assert "log.evtx" in str(caught.value)


def test_a_log_that_cannot_be_read_is_one_sentence(tmp_path):
    with pytest.raises(SourceError) as caught:
        read(tmp_path / "none.evtx")
    assert "none.evtx cannot be read" in str(caught.value)


def test_a_log_without_records_is_empty(tmp_path):
    for content in (header(0), header(0) + bytes(CHUNK)):
        result = read(saved(tmp_path, content))
        assert not result.batches
        assert not result.losses


# Mutations


def mutated(chunk: bytes, random: Random) -> bytes:
    """Return a chunk with one changed byte, mostly where records are."""
    end = struct.unpack_from("<I", chunk, 0x30)[0]
    at = random.randrange(512) if random.random() < 0.2 else random.randrange(512, end)
    new = random.choice((0, 0xFF, chunk[at] ^ 1 << random.randrange(8), random.randrange(256)))
    return chunk[:at] + bytes([new]) + chunk[at + 1 :]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_changed_bytes_cost_no_record_of_another_chunk(tmp_path, seed):
    """Every second chunk of 1,000 has one changed byte."""
    random = Random(seed)
    sound = small_log(20, 6, template=bool(seed % 2))
    path = saved(tmp_path, sound.content())
    expected = iter(library_json(path))
    texts = [[next(expected) for _ in chunk] for chunk in sound.records]
    log = Log(sound.chunks * 50, sound.records * 50)
    log.chunks = [mutated(chunk, random) if index % 2 else chunk for index, chunk in enumerate(log.chunks)]
    begin = time.process_time()
    result = read(saved(tmp_path, log.content()))
    assert time.process_time() - begin < 60
    got: list[list[str]] = [[] for _ in log.chunks]
    for at, text in zip(result.column("offset"), result.column("json"), strict=True):
        got[(at - BLOCK) // CHUNK].append(text)
    assert got[::2] == (texts * 50)[::2]
    for chunk in got[1::2]:
        assert len(chunk) <= 6
    changed = sum(chunk != sound.chunks[index % 20] for index, chunk in enumerate(log.chunks))
    missing = sum(map(len, log.records)) - len(result.ids)
    assert result.counts["evtx_chunk_damaged"] <= changed
    assert (missing > 0) == bool(result.losses)
    lost = [loss.records for loss in result.losses]
    if None not in lost:
        assert sum(lost) == missing


def test_the_name_of_an_element_is_handed_on_as_the_library_writes_it(tmp_path):
    """What the docstring of `batches` says: such a text may be no JSON, and whoever reads it has to count that."""
    log = small_log(2, 1)
    chunk = bytearray(log.chunks[0])
    chunk[log.names[0]["EventData"] + 8] = ord('"')
    log.chunks[0] = with_checksums(bytes(chunk))
    result = read(saved(tmp_path, log.content()))
    texts = result.column("json")
    assert '""ventData":' in texts[0]
    assert json.loads(texts[1]) == log.all_records()[1].json()
    assert not result.counts


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_file_is_read_to_its_end(tmp_path, seed):
    log = small_log(6, 8, template=bool(seed % 2))
    content = mutate(log.content(), Random(seed))
    diagnostics = Diagnostics()
    try:
        reader = EvtxReader(saved(tmp_path, content), "log", diagnostics)
    except SourceError:
        assert content[:8] != b"ElfFile\0" or len(content) < BLOCK
        return
    batches = list(reader.batches())
    for batch in batches:
        batch.validate(full=True)
    rows = {
        at: text
        for batch in batches
        for at, text in zip(*map(pa.Array.to_pylist, batch.select(["offset", "json"])), strict=True)
    }
    for index, chunk in enumerate(log.chunks):
        at = BLOCK + index * CHUNK
        if content[at : at + CHUNK] == chunk:
            assert [json.loads(rows[at + place]) for place, _ in log.records[index]] == [
                record.json(template=bool(seed % 2)) for _, record in log.records[index]
            ]
