"""Arrow arrays made without pandas are those that pyarrow makes."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.columns.arrays import from_bytes, from_numbers, from_rows, from_texts, to_numbers
from tracer.columns.sorting import find_distinct
from tracer.schema import TABLES
from tracer.simulate import SimulationOptions, simulate

TEXTS = st.lists(
    st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=9)), max_size=9
)


@given(TEXTS)
def test_texts(texts):
    made = from_texts(texts)
    made.validate(full=True)
    assert made.equals(pa.array(texts, pa.string()))


@given(st.lists(st.binary(max_size=9), max_size=9))
def test_bytes(pieces):
    made = from_bytes(pieces)
    made.validate(full=True)
    assert made.equals(pa.array(pieces, pa.binary()))


@given(
    st.sampled_from([np.int8, np.uint8, np.int16, np.uint32, np.int64]),
    st.lists(st.tuples(st.integers(0, 99), st.booleans())),
)
def test_numbers(kind, rows):
    values = np.array([value for value, _ in rows], kind)
    known = np.array([is_known for _, is_known in rows], bool)
    assert from_numbers(values).equals(pa.array(values))
    assert from_numbers(values, known).equals(pa.array(values, mask=~known))
    assert to_numbers(from_numbers(values, known)[1:]).tolist() == values[1:].tolist()


@pytest.mark.parametrize("name", TABLES)
@given(data=st.data())
def test_rows_of_every_table(name, data):
    schema = TABLES[name].arrow()
    numbers, texts = st.integers(0, 99), st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
    of = {
        "string": texts,
        "binary": st.binary(max_size=3),
        "list<item: int64>": st.lists(numbers, max_size=2),
        "bool": st.booleans(),
    }
    columns = {field.name: st.one_of(st.none(), of.get(str(field.type), numbers)) for field in schema}
    rows = data.draw(st.lists(st.fixed_dictionaries({}, optional=columns), max_size=4))
    assert from_rows(rows, schema).equals(pa.Table.from_pylist(rows, schema=schema))


@given(st.lists(st.integers(-5, 5)))
def test_distinct_numbers_are_those_of_numpy(numbers):
    column = np.array(numbers, np.int64)
    expected = np.unique(column, return_index=True, return_inverse=True)
    assert [part.tolist() for part in find_distinct(column)] == [part.tolist() for part in expected]


def test_an_ingest_loads_no_library_that_it_does_not_need(tmp_path):
    path = simulate(tmp_path / "a.etl", SimulationOptions(events=500, option_word=7, extended=0.1)).path
    code = (
        "import sys; from pathlib import Path; from tracer.ingest.pipeline import ingest; "
        f"ingest([Path({str(path)!r})], Path({str(tmp_path / 'a.regtrace')!r})); "
        "print(*sys.modules.keys() & {'pandas', 'numba', 'duckdb', 'ibis', 'pyarrow.dataset', 'numpy.ma'})"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.split() == []
