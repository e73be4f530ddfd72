"""Names are folded inside the engine as the registry folds them."""

import duckdb
import ibis
import pyarrow as pa
import pytest

from analysis.expressions.folding import folded
from tracer.registry.text import fold_name


@pytest.mark.slow
def test_every_letter_is_folded_as_by_fold_name() -> None:
    names = [chr(point) for point in range(1, 0x11000) if not 0xD800 <= point < 0xE000]
    names += ["Straße", "a\U00010428z", "", "abc\ndéf", "<U+0000>x", None]
    table = ibis.table({"name": "string"}, name="given")
    sql = ibis.to_sql(table.select("name", upper=folded(table["name"])), dialect="duckdb")
    with duckdb.connect() as connection:
        connection.register("given", pa.table({"name": names}))
        rows = connection.sql(sql).fetchall()
    assert dict(rows) == {name: None if name is None else fold_name(name) for name in names}
