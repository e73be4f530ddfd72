"""Repeated reads of large captures are summed up by loops over ranges of keys: row by row what the engine's windows say."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_reads import plain_redundant
from plain_rows import plain_answer, simulated
from workloads import events, losses, with_renames, write_workload

from analysis.answers import sorted_reads
from analysis.answers.reads import LEAST_INTERVALS
from analysis.answers.sorted_columns import packed
from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from analysis.questions import key_ranges, redundant

Row = dict[str, Any]
SIMULATED: dict[str, Any] = {"seed": 8, "events": 4000, "keys": 30, "processes": 2, "lost_buffers": 0.1,
                             "buffer_size": 8192, "nul_names": 0.2}  # fmt: skip


@contextmanager
def in_ranges(rows: int) -> Iterator[None]:
    """Ask for each key by ranges of so many rows, however small the capture."""
    with (
        patch.object(key_ranges, "_MANY_ROWS", 0),
        patch.object(key_ranges, "_usual_rows", lambda _: rows),
    ):
        yield


def compare(capture: Capture, rows: int, **words: Any) -> pa.Table:
    """Compare both forms; return the answer."""
    filters = Filters(**{name: words.pop(name) for name in ("key", "subtree", "process") if name in words})
    asked = (capture.context, filters.without_noise())
    with patch.object(redundant, "is_long", lambda *_: False):
        wanted = redundant.query(*asked, **words).to_arrow()
    with in_ranges(rows):
        found = redundant.query(*asked, **words).to_arrow()
    assert found.schema == wanted.schema
    for name in wanted.schema.names:
        assert found.column(name).to_pylist() == wanted.column(name).to_pylist(), name
    return wanted


@pytest.mark.slow
@settings(max_examples=6)
@given(
    st.lists(events(), min_size=20, max_size=80) | with_renames(20, 60),
    st.lists(losses(), max_size=2),
    st.integers(1, 60),
    st.data(),
)
def test_any_workload_comes_to_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], lost: list[Row], size: int, data: Any
) -> None:
    for row in rows:
        if data.draw(st.integers(0, 3)):  # few questions, so that they are asked again
            row |= {"key_id": data.draw(st.sampled_from((1, 2, 2, 6))), "process_id": 0}
        if row["operation"] == "QueryValueKey":
            row |= {
                "value_name": data.draw(st.sampled_from(("v", "V", "straße", None))),
                "information_class": 2,
            }
        row |= {
            "index": data.draw(st.sampled_from((None, 0, 0, 1))),
            "duration_ns": data.draw(st.sampled_from((None, 5, 2**40))),
            "flags": data.draw(st.sampled_from((0, 0, 0, 1, 2))),
        }
    path = write_workload(tmp_path_factory.mktemp("any") / "any.regtrace", rows, lost)
    with open_capture(path, memory_limit="512MB", threads=1) as capture:
        compare(capture, size, min_count=data.draw(st.integers(0, 2)))


@pytest.mark.slow
def test_simulated_traces_come_to_what_a_loop_over_rows_says(tmp_path: Path) -> None:
    with open_capture(simulated(tmp_path, **SIMULATED), memory_limit="512MB", threads=2) as capture:
        assert compare(capture, 300).num_rows > 20
        assert compare(capture, 1000, min_count=0, key=("HKLM",), subtree=True, process="*s*").num_rows > 20
        wanted = plain_redundant(capture, min_count=0)
        with in_ranges(700):
            found = plain_answer(capture.lazy.redundant(min_count=0))
        assert [{name: row[name] for name in wanted[0]} for row in found] == wanted


@pytest.mark.slow
def test_a_procmon_log_comes_to_the_same(procmon_capture: Path) -> None:
    with open_capture(procmon_capture) as capture:
        assert compare(capture, 5000).num_rows > 1000
        assert compare(capture, 5000, polling=True).num_rows


def test_a_key_is_never_split_and_none_is_left_out(tmp_path: Path) -> None:
    with open_capture(simulated(tmp_path, **SIMULATED)) as capture:
        ranges = key_ranges.key_ranges(capture.context, 100)
        assert len(ranges) > 5
        listed = [capture.context.engine.fetch(one.keys).to_pylist() for one in ranges]
        groups = [{row["group_id"] for row in some} for some in listed]
        assert sum(map(len, groups)) == len(set().union(*groups))
        members = sorted(row["grouped_id"] for some in listed for row in some)
        assert members == sorted(
            set(capture.sql("SELECT key_id FROM events WHERE key_id IS NOT NULL")["key_id"])
        )
        for some, one in zip(listed, ranges, strict=True):
            assert (one.first, one.last) == (
                min(row["grouped_id"] for row in some),
                max(row["grouped_id"] for row in some),
            )


@given(
    st.lists(st.lists(st.integers(0, 2**62), min_size=LEAST_INTERVALS, max_size=12), min_size=1, max_size=5)
)
def test_middles_are_exact_whether_numbers_fit_beside_their_group_or_not(groups: list[list[int]]) -> None:
    sizes = np.array([len(one) for one in groups])
    starts = np.cumsum(sizes) - sizes
    group = np.repeat(np.arange(len(groups)), sizes)
    found = sorted_reads._twice_the_middle(group, np.array(list(chain(*groups))) // 4, starts, sizes)
    for one, twice in zip(groups, found.tolist(), strict=True):
        ordered = sorted(number // 4 for number in one)
        assert twice == ordered[(len(one) - 1) // 2] + ordered[len(one) // 2]
        assert sum(number * 2 < twice for number in ordered) <= len(one) / 2


@given(st.lists(st.tuples(*[st.integers(0, 2**30)] * 4), min_size=1, max_size=20))
def test_many_numbers_become_one_in_the_same_order(rows: list[tuple[int, ...]]) -> None:
    numbers = packed(*np.array(rows).T).tolist()
    assert sorted(range(len(rows)), key=lambda row: (numbers[row], row)) == sorted(
        range(len(rows)), key=lambda row: (rows[row], row)
    )
    assert len(set(numbers)) == len(set(rows))
