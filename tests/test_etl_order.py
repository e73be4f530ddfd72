"""The order of records: whatever the layout of the files and the size of a chunk, one global stable sort.

The expectation is worked out from what was put into the files, never from another reading of ours.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import raw_etl as raw
from hypothesis import given
from hypothesis import strategies as st

from tracer.simulate.xpress import compress

Placed = tuple[int, int, int, int, int]  # time, source, offset, id, cpu


@dataclass(frozen=True)
class Made:
    """One buffer to be written: its processor, the distances between its records, and how it is stored."""

    cpu: int
    first: int
    gaps: list[int]
    compressed: bool
    spare: int
    size: int

    @property
    def stamps(self) -> list[int]:
        stamps = [raw.FIRST_STAMP + self.first]
        for gap in self.gaps:
            stamps.append(stamps[-1] + gap)
        return stamps


# Few distinct times, so that ties across buffers, processors and files are the rule.
buffers = st.builds(
    Made,
    cpu=st.integers(0, 3),
    first=st.integers(0, 12),
    gaps=st.lists(st.sampled_from([0, 0, 0, 1, 2, 9]), max_size=6),
    compressed=st.booleans(),
    spare=st.sampled_from([0, 8, 64, 500]),
    size=st.integers(0, 40),
)
layouts = st.lists(st.lists(buffers, max_size=7), min_size=1, max_size=3)
chunks = st.sampled_from([1, 200, 700, 1 << 24])


def write(folder: Path, layout: list[list[Made]]) -> tuple[list[Path], list[Placed]]:
    """Write the files; return them and every record in the order in which it must come."""
    paths, expected, number = [], [], 0
    for source, content in enumerate(layout):
        made, place = [], 1024
        for buffer in content:
            records, inside = [], place + 72
            for stamp in buffer.stamps:
                number += 1
                time = raw.START_NS + (stamp - raw.FIRST_STAMP) * 100
                expected.append((time, source, inside, number, buffer.cpu))
                records.append(raw.pad(raw.event(number, stamp, bytes(buffer.size))))
                inside += len(records[-1])
            # A compressed buffer would stand there filled; another one has the size it has.
            stored = compress(b"".join(records)) if buffer.compressed else None
            size = inside - place if buffer.compressed else inside - place + buffer.spare
            made.append(raw.buffer(*records, size=size, cpu=buffer.cpu, stored=stored))
            place += size
        paths.append(folder / f"{source}.etl")
        paths[-1].write_bytes(raw.etl(*made))
    return paths, sorted(expected)


def placed(reading: raw.Reading) -> list[Placed]:
    return [(row.time_ns, row.source, row.offset, row.id, row.cpu) for row in reading.rows if row.id >= 0]


@pytest.mark.slow
@given(layout=layouts, chunk_bytes=chunks)
def test_the_output_is_one_stable_sort_by_time_source_and_position(layout, chunk_bytes):
    with TemporaryDirectory() as folder:
        paths, expected = write(Path(folder), layout)
        reading = raw.read(*paths, chunk_bytes=chunk_bytes)
    assert placed(reading) == expected
    assert all("late_record" not in counts and "bad_compression" not in counts for counts in reading.counts)


@pytest.mark.slow
@given(layout=layouts)
def test_a_chunk_of_one_buffer_gives_the_rows_of_one_chunk_of_everything(layout):
    with TemporaryDirectory() as folder:
        paths, _ = write(Path(folder), layout)
        small, large = raw.read(*paths, chunk_bytes=1), raw.read(*paths, chunk_bytes=1 << 30)
    assert small.rows == large.rows
    assert len(large.batches) == 1


def test_buffers_of_one_processor_written_out_of_order_come_in_order(tmp_path):
    order = [5, 2, 4, 0, 1, 3]
    made = [
        raw.buffer(*(raw.event(10 * n + k, raw.FIRST_STAMP + 10 * n + k) for k in range(3))) for n in order
    ]
    for chunk_bytes in (1, 1 << 20):
        rows = raw.read_bytes(tmp_path, raw.etl(*made), chunk_bytes=chunk_bytes).rows[1:]
        assert [row.id for row in rows] == [10 * n + k for n in range(6) for k in range(3)]


def test_a_long_buffer_is_carried_over_many_chunks(tmp_path):
    """One processor filled its buffer slowly while the other filled many."""
    slow = raw.buffer(*(raw.event(2 * n, raw.FIRST_STAMP + 20 * n) for n in range(50)), size=8192, cpu=1)
    fast = [
        raw.buffer(
            *(raw.event(2 * (10 * b + n) + 1, raw.FIRST_STAMP + 20 * (10 * b + n) + 1) for n in range(10))
        )
        for b in range(5)
    ]
    reading = raw.read_bytes(tmp_path, raw.etl(slow, *fast), chunk_bytes=1)
    assert [row.id for row in reading.rows[1:]] == list(range(100))
    assert len(reading.batches) > 3
    assert max(reading.batches) < 30


def test_equal_times_are_ordered_by_source_then_position(tmp_path):
    same = raw.FIRST_STAMP + 5
    first = raw.etl(*(raw.buffer(raw.event(n, same), cpu=3 - n) for n in (0, 1, 2)))
    second = raw.etl(*(raw.buffer(raw.event(n, same), cpu=n) for n in (3, 4)))
    for chunk_bytes in (1, 1 << 20):
        rows = raw.read_bytes(tmp_path, first, second, chunk_bytes=chunk_bytes).rows[2:]
        assert [row.id for row in rows] == [0, 1, 2, 3, 4]


@pytest.mark.slow
@given(layout=layouts, chunk_bytes=chunks, shift=st.integers(1, 40))
def test_a_record_older_than_its_buffer_is_kept_once_and_counted(layout, chunk_bytes, shift):
    """A damaged or odd file may hold times that go backwards: nothing is lost, each batch is in order."""
    back = raw.buffer(
        raw.event(60_000, raw.FIRST_STAMP + 20), raw.event(60_001, raw.FIRST_STAMP + 20 - shift), cpu=1
    )
    with TemporaryDirectory() as folder:
        paths, expected = write(Path(folder), layout)
        with paths[0].open("ab") as file:
            file.write(back)
        reading = raw.read(*paths, chunk_bytes=chunk_bytes)
    rows = [row for row in reading.rows if row.id >= 0]
    assert sorted(row.id for row in rows) == sorted([row[3] for row in expected] + [60_000, 60_001])
    assert reading.counts[0]["time_backwards"] == 1
    others = [one for one in placed(reading) if one[3] < 60_000]
    assert others == expected
    if "late_record" not in reading.counts[0]:
        assert [row.time_ns for row in rows] == sorted(row.time_ns for row in rows)


@pytest.mark.parametrize("chunk_bytes", [1, 1 << 20])
def test_times_before_the_header_record_and_far_apart_are_sorted_too(tmp_path, chunk_bytes):
    """A span of times that leaves no room to pack the row number beside the time."""
    stamps = [2**61, -(2**55), 0, 2**55, 17]
    made = [raw.buffer(raw.event(n, stamp)) for n, stamp in enumerate(stamps)]
    header = raw.logfile_record(frequency=1_000_000_000)
    reading = raw.read_bytes(tmp_path, raw.etl(*made, header=header), chunk_bytes=chunk_bytes)
    assert [row.id for row in reading.rows if row.id >= 0] == [1, 2, 4, 3, 0]
