"""Data comes out of an engine with the numbers it went in with."""

import ibis
import pandas as pd
import pyarrow as pa
import pytest
from small_capture import BIG

from analysis.engine.fetch import collect, fetch, to_frame


def test_nullable_integers_beyond_2_to_the_53_are_exact() -> None:
    table = pa.table(
        {"big": pa.array([BIG, None, -BIG]), "wide": pa.array([2**64 - 1, None, 0], pa.uint64())}
    )
    frame = to_frame(table)
    assert [None if pd.isna(number) else int(number) for number in frame["big"]] == [BIG, None, -BIG]
    assert int(frame["wide"][0]) == 2**64 - 1
    assert float(BIG) != BIG  # what a float would have made of it


def test_types_say_what_the_data_is() -> None:
    micro = pa.timestamp("us", tz="UTC")
    table = pa.table(
        {
            "time": pa.array([1, None], micro),
            "text": pa.array(["a", None]),
            "data": pa.array([b"\0", None]),
            "yes": pa.array([True, None]),
            "small": pa.array([1, None], pa.int8()),
            "share": pa.array([0.5, None]),
        }
    )
    frame = to_frame(table)
    assert str(frame.dtypes["time"]) == "datetime64[us, UTC]"
    assert isinstance(frame.dtypes["text"], type(pd.Series(["a"]).dtype))
    assert frame["data"][0] == b"\0"
    assert frame["data"][1] is None
    assert str(frame.dtypes["yes"]) == "bool[pyarrow]"
    assert str(frame.dtypes["small"]) == "int8[pyarrow]"
    assert frame["text"].isna()[1]


def test_whole_decimals_become_integers_only_where_they_fit() -> None:
    whole = pa.decimal128(38, 0)
    frame = to_frame(pa.table({"fits": pa.array([BIG, None], whole), "huge": pa.array([10**30, 1], whole)}))
    assert str(frame.dtypes["fits"]) == "int64[pyarrow]"
    assert int(frame["fits"][0]) == BIG
    assert int(frame["huge"][0]) == 10**30


def test_columns_of_one_name_both_survive() -> None:
    frame = to_frame(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]))
    assert frame.values.tolist() == [[1, 2]]


@pytest.fixture
def backend() -> ibis.BaseBackend:
    connection = ibis.duckdb.connect()
    connection.con.execute(f"CREATE TABLE rows AS SELECT * FROM (VALUES ({BIG}), (NULL), (1)) t(number)")
    yield connection
    connection.disconnect()


def test_a_lazy_question_is_fetched_through_arrow(backend: ibis.BaseBackend) -> None:
    table = backend.sql("SELECT number FROM rows ORDER BY number DESC NULLS LAST", schema={"number": "int64"})
    assert fetch(table).column("number").to_pylist() == [BIG, 1, None]
    assert [plain for plain in collect(table)["number"] if not pd.isna(plain)] == [BIG, 1]
