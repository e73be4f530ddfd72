"""SQL over a capture: what it may do, what its answers are made of, and what is said about mistakes."""

import datetime as dt
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_capture import joined_rows, write_capture

import regtrace as rt
from analysis.capture import Capture
from analysis.engine.user_sql import open_to_users
from analysis.open import open_capture
from analysis.questions.sql import reader
from tracer.errors import CaptureError, UsageError


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory):
    path = write_capture(tmp_path_factory.mktemp("sql") / "a[1]*'s.regtrace")
    with open_capture(path, memory_limit="512MB", threads=2) as opened:
        yield opened


def rows_of(capture: Capture, query: str, **how: bool) -> list[dict[str, object]]:
    return capture.sql_reader(query, **how).read_all().to_pylist()


def test_a_stream_is_what_a_loop_counts(capture: Capture) -> None:
    counts: dict[str, list[int]] = {}
    for row in joined_rows():
        counts.setdefault(row["operation"], []).append(row["data_size"] or 0)
    found = rows_of(
        capture, "SELECT operation, count(*) AS n, coalesce(sum(data_size), 0) AS size FROM events GROUP BY 1"
    )
    assert {row["operation"]: (row["n"], row["size"]) for row in found} == {
        name: (len(sizes), sum(sizes)) for name, sizes in counts.items()
    }
    assert {type(row["size"]) for row in found} == {int}


def test_the_order_asked_for_is_kept_and_batches_are_small(capture: Capture) -> None:
    reader = capture.sql_reader(
        "SELECT range AS n FROM range(200000) ORDER BY range DESC", batch_rows=2048, limit=100_000
    )
    batches = list(reader)
    assert max(batch.num_rows for batch in batches) <= 2048
    assert [n for batch in batches for n in batch.column(0).to_pylist()] == list(range(199_999, 99_999, -1))


TYPES = {  # SQL -> what it is where there are no types, and in Parquet
    "1::HUGEINT": (1, 1),
    "340::UHUGEINT": (340, 340),
    "18446744073709551615::UBIGINT": (2**64 - 1, 2**64 - 1),
    "1.50::DECIMAL(5, 2)": ("1.50", None),
    "INTERVAL 1 DAY": ("1 day", "1 day"),
    "TIME '10:00:01'": ("10:00:01", dt.time(10, 0, 1)),
    "DATE '2020-02-03'": ("2020-02-03", dt.date(2020, 2, 3)),
    "TIMESTAMP '2020-02-03 04:05:06'": ("2020-02-03 04:05:06", dt.datetime(2020, 2, 3, 4, 5, 6)),
    "'infinity'::TIMESTAMP": ("infinity", None),
    "DATE '290000-01-01'": ("290000-01-01", None),
    "'a'::ENUM('a', 'b')": ("a", "a"),
    "NULL": (None, None),
    "[1, NULL, 3]": ([1, None, 3], [1, None, 3]),
    "[[1], []]": ("[[1],[]]", [[1], []]),
    "[1, 2]::INTEGER[2]": ("[1,2]", [1, 2]),
    "{'a': 1, 'b': ['x']}": ('{"a":1,"b":["x"]}', {"a": 1, "b": ["x"]}),
    "{'a': INTERVAL 1 DAY}": ('{"a":"1 day"}', '{"a":"1 day"}'),
    "MAP {'a': 1}": ('{"a":1}', [("a", 1)]),
    "union_value(a := 1)": (None, None),
    "'101'::BIT": ("101", "101"),
    "'\\xAA\\x00'::BLOB": (b"\xaa\0", b"\xaa\0"),
    "'{\"a\": 1}'::JSON": ('{"a": 1}', '{"a": 1}'),
    "true": (True, True),
    "1.5::FLOAT": (1.5, 1.5),
}


@pytest.mark.parametrize("sql", TYPES)
def test_every_type_can_be_written(capture: Capture, sql: str, tmp_path: Path) -> None:
    plain, stored = TYPES[sql]
    found = capture.sql_reader(f"SELECT {sql} AS v", plain=True).read_all()
    value = found.column(0)[0].as_py()
    assert plain is None or value == plain
    kind = found.schema.field(0).type
    assert not (pa.types.is_nested(kind) and not pa.types.is_list(kind))
    typed = capture.sql_reader(f"SELECT {sql} AS v").read_all()
    pq.write_table(typed, tmp_path / "v.parquet")
    back = pq.read_table(tmp_path / "v.parquet").column(0)
    assert stored is None or back[0].as_py() == stored


def test_numbers_that_json_does_not_have_are_null_where_asked(capture: Capture) -> None:
    query = "SELECT 'nan'::DOUBLE AS a, '-inf'::FLOAT AS b, 1.5::DOUBLE AS c"
    assert rows_of(capture, query, plain=True, finite=True) == [{"a": None, "b": None, "c": 1.5}]
    assert rows_of(capture, query)[0]["b"] == float("-inf")


def test_columns_of_one_name_are_told_apart(capture: Capture) -> None:
    found = capture.sql_reader('SELECT 1 AS a, 2 AS a, 3 AS A, 4 AS "a\nb", 5 AS a_1').read_all()
    assert found.schema.names == ["a", "a_1", "A_2", "a\nb", "a_1_1"]
    assert [column[0].as_py() for column in found.columns] == [1, 2, 3, 4, 5]


READING = [
    "DESCRIBE events",
    "SUMMARIZE SELECT pid FROM events",
    "SHOW TABLES",
    "EXPLAIN SELECT 1",
    "explain analyze select count(*) from keys",
    "EXPLAIN (ANALYZE, FORMAT json) SELECT count(*) FROM keys",
    "FROM keys LIMIT 1;",
    "VALUES (1), (2)",
    "TABLE keys",
    "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 3) FROM r",
    "WITH a AS MATERIALIZED (SELECT 1 AS x) SELECT * FROM a UNION ALL SELECT 2",
    "PIVOT events ON operation IN ('OpenKey', 'CloseKey') USING count(*) GROUP BY pid",
    "SELECT unnest(stack) FROM extended",
    "SELECT e.sequence FROM events e SEMI JOIN main.keys k USING (key_id) -- and that is all",
    "SELECT * FROM duckdb_columns() WHERE NOT internal",
]


@pytest.mark.parametrize("query", READING)
def test_whatever_only_reads_is_answered(capture: Capture, query: str) -> None:
    assert capture.sql_reader(query, plain=True).read_all().num_rows


WRITING = [
    "DROP VIEW events",
    "CREATE TABLE t AS SELECT 1",
    "CREATE TEMP TABLE t AS SELECT 1",
    "INSERT INTO keys VALUES (1)",
    "WITH x AS (INSERT INTO keys VALUES (1) RETURNING *) SELECT * FROM x",
    "WITH x AS (UPDATE keys SET depth = 1 RETURNING *) SELECT * FROM x",
    "WITH x AS (DELETE FROM keys RETURNING *) SELECT * FROM x",
    "WITH x AS (DELETE FROM regtrace.keys_0 RETURNING *) SELECT * FROM x",
    "EXPLAIN ANALYZE DROP VIEW keys",
    "EXPLAIN DROP VIEW keys",
    "/**/EXPLAIN/**/ANALYZE/**/CREATE TABLE t AS SELECT 1",
    "EXPLAIN (ANALYZE) COPY keys TO '{folder}/out.csv'",
    "EXPLAIN (ANALYZE) EXPLAIN ANALYZE DROP VIEW keys",
    "COPY keys TO '{folder}/out.csv'",
    "COPY (SELECT 1) TO '{folder}/out.parquet'",
    "EXPORT DATABASE '{folder}/out'",
    "ATTACH '{folder}/out.db' AS other",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET memory_limit = '100GB'",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "BEGIN",
    "CHECKPOINT",
    "USE main",
    "SELECT 1; DROP VIEW keys",
    "PIVOT events ON operation USING count(*)",
    "SELECT * FROM read_csv('{folder}/secret.csv')",
    "SELECT (SELECT count(*) FROM READ_CSV('{folder}/secret.csv'))",
    "SELECT * FROM keys WHERE key_id IN (SELECT 1 FROM read_text('{folder}/secret.csv'))",
    "SELECT * FROM events, LATERAL (SELECT * FROM glob('{folder}/*'))",
    "SELECT * FROM '{folder}/secret.csv'",
    "FROM '{folder}/secret.parquet'",
    'FROM "{folder}/secret.csv"',
    "DESCRIBE '{folder}/secret.csv'",
    "SUMMARIZE '{folder}/secret.csv'",
    "DESCRIBE (FROM read_csv('{folder}/secret.csv'))",
    "SELECT * FROM 'https://example.invalid/x.csv'",
    "SELECT * FROM read_parquet('s3://example/x.parquet')",
    "SELECT * FROM query('DROP VIEW keys')",
    "SELECT * FROM query_table('{folder}/secret.csv')",
    "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{folder}/secret.csv'')'))",
    "SELECT * FROM sniff_csv('{folder}/secret.csv')",
    "SELECT * FROM parquet_metadata('{folder}/secret.parquet')",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM pandas_scan(140000000000000)",
    "SELECT * FROM enable_logging()",
    "SELECT * FROM enable_profiling(save_location := '{folder}/out.json')",
    "SELECT * FROM checkpoint()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT getenv('HOME')",
]


@pytest.fixture(scope="module")
def table_in_memory(capture: Capture) -> None:
    """Let a question make a table in memory, the only one that can be written."""
    capture.timeline("HKLM", subtree=True, limit=1)


@pytest.mark.usefixtures("table_in_memory")
@pytest.mark.parametrize("query", WRITING)
def test_whatever_writes_or_reads_elsewhere_is_refused(capture: Capture, query: str, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("password\nhunter2\n")
    pq.write_table(pa.table({"password": ["hunter2"]}), tmp_path / "secret.parquet")
    before = sorted(tmp_path.iterdir())
    for ask in (capture.sql_reader, capture.sql):
        with pytest.raises(UsageError) as caught:
            ask(query.replace("{folder}", str(tmp_path)))
        assert "hunter2" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before
    assert rows_of(capture, "SELECT count(*) AS n FROM events") == [{"n": len(joined_rows())}]


@pytest.mark.slow
def test_the_engine_itself_reaches_no_other_file(capture: Capture, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("password\nhunter2\n")
    capture.sql_reader("SELECT 1").read_all()
    for query in (
        f"SELECT * FROM read_csv('{tmp_path}/secret.csv')",
        f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
        f"ATTACH '{tmp_path}/out.db' AS other",
        "SET enable_external_access = true",
        "RESET lock_configuration",
    ):
        with pytest.raises(Exception, match=r"disabled|locked|Cannot"):
            capture.backend.con.cursor().execute(query)
    # and what questions need still works: rows, helpers, and what does not fit in memory
    assert len(capture.timeline("HKLM", subtree=True, where="pid IS NOT NULL"))
    big = "SELECT count(*) AS n FROM (SELECT range, md5(range::VARCHAR) AS m FROM range(3000000) ORDER BY m, range DESC)"
    assert rows_of(capture, big) == [{"n": 3_000_000}]


def test_a_condition_reads_no_file_either(capture: Capture, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("password\nhunter2\n")
    for condition in (
        f"sequence IN (SELECT count(*) FROM read_csv('{tmp_path}/secret.csv'))",
        f"EXISTS (FROM '{tmp_path}/secret.csv')",
    ):
        with pytest.raises(UsageError, match="cannot be used"):
            capture.timeline(where=condition)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELEC 1", r'syntax error at or near "?SELEC"? \(line 1, column 1\)'),
        ("SELECT 1,\n  2 FRO keys", r"line 2, column \d"),
        ("SELECT colour FROM events", r"no column colour; .*regtrace schema"),
        ("SELECT * FROM keyz", r"keyz does not exist.*the tables are events, stored_events, keys, handles"),
        ("SELECT 'abc", r"line 1, column 8"),
        ("", "it is empty"),
        ("SELECT frobnicate(1)", "frobnicate"),
        ("SELECT " + "1 + " * 200 + " fro keys mit", r"line 1, at"),
        ("SELECT " + "(" * 3000 + "1" + ")" * 3000, "query"),
        ("SELECT error('a\x1b[31m')", "cannot be run"),
        ("SELECT CAST(operation AS INTEGER) FROM events", "Could not convert"),
        ("SELECT 170141183460469231731687303715884105727::HUGEINT AS n", "out of range"),
        # Its message quotes the text, and may cut it inside a letter.
        ("SELECT json_extract('{\"a\": \"' || repeat('é', 3000), '$.a')", "Malformed JSON"),
        ("SELECT json_extract('{\"a\": \"x' || repeat('é', 3000), '$.a')", "Malformed JSON"),
        ("\ud800", "query"),
        ("SELECT 1 \0 FROM keys", "query"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(capture: Capture, query: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        capture.sql_reader(query).read_all()
    assert "\n" not in str(caught.value)


def test_a_mistake_in_the_middle_of_a_stream_is_told_too(capture: Capture) -> None:
    query = "SELECT CASE WHEN range = 190000 THEN error('row ' || range) ELSE range END FROM range(200000)"
    with pytest.raises(UsageError, match="row 190000"):
        for _ in capture.sql_reader(query, batch_rows=2048):
            pass


def test_a_capture_that_is_closed_says_so(tmp_path: Path) -> None:
    capture = open_capture(write_capture(tmp_path / "c.regtrace", events=3))
    capture.close()
    with pytest.raises(CaptureError, match="closed"):
        capture.sql_reader("SELECT 1")


def test_a_capture_at_a_roundabout_path_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_capture(tmp_path / "in" / "c.regtrace", events=3)
    (tmp_path / "link").symlink_to(tmp_path / "in")
    monkeypatch.chdir(tmp_path / "in")
    for path in (tmp_path / "in/../in/c.regtrace", tmp_path / "link/c.regtrace", Path("../in/c.regtrace")):
        with rt.open(path) as capture:
            assert rows_of(capture, "SELECT count(*) AS n FROM stored_events") == [{"n": 3}]


def test_json_text_is_json(capture: Capture) -> None:
    query = "SELECT to_json({'n': [NULL, {'deep': MAP {1: 'x'}}]}) AS a, {'n': [{'d': [1.5, NULL]}]} AS b"
    row = rows_of(capture, query, plain=True)[0]
    assert json.loads(str(row["a"])) == {"n": [None, {"deep": {"1": "x"}}]}
    assert json.loads(str(row["b"])) == {"n": [{"d": [1.5, None]}]}


# Ways to read a text of a value, by its name or without it; and, last, queries that read none.
READS_TEXTS = [
    "SELECT data_text FROM events",
    'SELECT max("DATA_TEXT") FROM events',
    "SELECT e.data_text FROM events e ORDER BY sequence",
    "SELECT * FROM events",
    "FROM events",
    "TABLE events",
    "SELECT events FROM events",
    "SELECT e FROM events e",
    "SELECT main.events FROM main.events",
    "SELECT count(e) FROM events AS e",
    "SELECT to_json(s) FROM (SELECT * FROM events) s",
    "WITH t AS (FROM events) SELECT t FROM t",
    "SELECT COLUMNS('.*text.*') FROM events",
    "SELECT count(*) FROM events a NATURAL JOIN events b",
    "SELECT sequence FROM events JOIN (SELECT sequence, data_text AS t FROM events) USING (sequence)",
    "SELECT sequence FROM events a JOIN events b USING (sequence, data_text)",
    "SELECT sequence FROM events WHERE data_text LIKE '%a%'",
    "SELECT value_text(1, data, data_size) FROM events",
    "SELECT count(*) FILTER (value_meaning(key, value_name, data_type, data) IS NULL) FROM events",
    "SELECT unnest(events) FROM events",
    "SELECT list_transform([1], lambda x: x) AS l FROM events",
    "SELECT sequence FROM events UNION ALL BY NAME SELECT sequence, data_text FROM events",
    "DESCRIBE events",
    "SUMMARIZE events",
    "SHOW TABLES",
    "SELECT column_name FROM duckdb_columns() WHERE table_name = 'events'",
    "SELECT column_name FROM duckdb_columns WHERE table_name = 'events'",
    "SELECT column_name FROM information_schema.columns WHERE table_name = 'events'",
    "SELECT name FROM pragma_table_info('events')",
    "PIVOT events ON operation IN ('SetValueKey') USING count(*)",
    "VALUES (1)",
]
READS_NONE = [
    "SELECT count(*) FROM events",
    "SELECT operation, count(*) AS n FROM events GROUP BY ALL ORDER BY n DESC LIMIT 3",
    "SELECT DISTINCT e.key, CASE WHEN pid > 4 THEN 'a' END::VARCHAR FROM main.events e WHERE status = 0 AND key IS NOT NULL ORDER BY 1",
    "SELECT sequence, row_number() OVER (PARTITION BY key ORDER BY sequence) AS n FROM events ORDER BY 1",
    "WITH t AS (SELECT key_id, max(sequence) AS last FROM events GROUP BY 1) SELECT last FROM t JOIN keys USING (key_id) ORDER BY 1",
    "SELECT sequence FROM events WHERE key_id IN (SELECT key_id FROM keys WHERE key_id BETWEEN 1 AND 9) ORDER BY 1",
    "SELECT max(sequence) FROM events UNION ALL SELECT max(key_id) FROM keys",
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory):
    path = write_capture(tmp_path_factory.mktemp("prepared") / "x.regtrace")
    with open_capture(path, threads=1) as opened:  # with one thread rows keep their order
        open_to_users(opened._context.engine)
        yield opened


@pytest.mark.parametrize("query", READS_TEXTS)
def test_an_answer_is_the_same_whether_texts_of_values_were_prepared(prepared: Capture, query: str) -> None:
    with open_capture(prepared.path, threads=1) as fresh:
        assert fresh.sql(query).to_csv() == prepared.sql(query).to_csv()
        assert fresh._context.engine.user_view == "texts"


def test_queries_that_read_no_text_of_a_value_have_none_prepared(prepared: Capture) -> None:
    with open_capture(prepared.path, threads=1) as fresh:
        for query in READS_NONE:
            assert fresh.sql(query).to_csv() == prepared.sql(query).to_csv(), query
            assert fresh._context.engine.user_view == "plain", query


def test_a_stream_goes_on_while_texts_of_values_are_prepared(prepared: Capture) -> None:
    query = "SELECT sequence FROM events ORDER BY 1"
    with open_capture(prepared.path) as fresh:
        rows = reader(fresh._context, query, batch_rows=1)
        first = rows.read_next_batch()
        fresh.sql("SELECT data_text FROM events")
        assert first.num_rows + rows.read_all().num_rows == len(prepared.sql(query))
