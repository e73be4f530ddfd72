"""Nothing outside a capture is read, whatever words a user gives: every way that the engine knows, through every door."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_capture import write_capture
from typer.testing import CliRunner

from analysis.capture import Capture
from analysis.open import open_capture
from cli.app import app
from tracer.errors import UsageError

SECRET = "hunter2"
# What may stand after FROM; DIR holds secret.csv, secret.parquet, secret.json and secret.db.
REACHES = [
    "'DIR/secret.csv'",
    '"DIR/secret.csv"',
    '"DIR/secret".csv',  # a schema and a table, joined with a dot by the engine
    '"DIR/secret"."csv"',
    '"DIR/sec*".csv',
    '"DIR/secret".parquet',
    '"DIR/secret".json',
    'memory."DIR/secret".csv',
    '"DIR/secret".parquet.main',
    'main."DIR/secret.csv"',
    'memory.main."DIR/secret.parquet"',
    '"file:DIR/secret".csv',
    '"file://DIR/secret.csv"',
    '"https://example.invalid/secret".csv',
    "'s3://example/secret.parquet'",
    '(WITH "DIR/secret.csv" AS (SELECT 1) SELECT 1), "DIR/secret.csv"',  # a name that the query gave, elsewhere
    '(WITH t AS (FROM "DIR/secret".csv) FROM t)',
    '(SUMMARIZE "DIR/secret".csv)',
    '(DESCRIBE "DIR/secret".csv)',
    "(SHOW DATABASES)",
    "(SHOW VARIABLES)",
    "read_csv('DIR/secret.csv')",
    "main.read_csv_auto('DIR/secret.csv')",
    "system.main.read_text('DIR/secret.csv')",
    "read_blob('DIR/secret.csv')",
    "read_json('DIR/secret.json')",
    "read_json_objects('DIR/secret.json')",
    "read_ndjson('DIR/secret.json')",
    "parquet_scan('DIR/secret.parquet')",
    "read_parquet(['DIR/secret.parquet'])",
    "parquet_schema('DIR/secret.parquet')",
    "parquet_kv_metadata('DIR/secret.parquet')",
    "glob('DIR/*')",
    "sniff_csv('DIR/secret.csv')",
    "query('FROM read_csv(''DIR/secret.csv'')')",
    "query_table('DIR/secret.csv')",
    "query_table(['events', 'DIR/secret.csv'])",
    "histogram_values('DIR/secret.csv', password)",
    "json_execute_serialized_sql(json_serialize_sql('FROM read_text(''DIR/secret.csv'')'))",
    "which_secret('s3://example/x', 's3')",
    "duckdb_secrets()",
    "duckdb_settings()",
    "duckdb_databases",
    "duckdb_logs",
    "duckdb_views()",
    "sqlite_master",
    "pg_catalog.pg_settings",
    "information_schema.views",
    "pragma_database_list",
    "duckdb_extensions()",
    "duckdb_temporary_files()",
    "python_variable",  # a table of the calling program
    "pandas_scan(1)",
    "(SELECT current_setting('home_directory') AS s)",
    "(SELECT getenv('HOME') AS s)",
    "(SELECT json_serialize_plan('FROM read_csv(''DIR/secret.csv'')') AS s)",
    "(SELECT write_log('x') AS s)",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("elsewhere")
    (path / "secret.csv").write_text(f"password\n{SECRET}\n")
    (path / "secret.json").write_text(f'{{"password": "{SECRET}"}}\n')
    pq.write_table(pa.table({"password": [SECRET]}), path / "secret.parquet")
    return path


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    fleet = tmp_path_factory.mktemp("fleet")
    return [write_capture(fleet / f"{name}.regtrace", events=60) for name in "ab"]


@pytest.fixture(scope="module")
def doors(captures: list[Path]) -> Iterator[dict[str, Capture]]:
    with (
        open_capture(captures[0], memory_limit="256MB", threads=1) as one,
        open_capture(captures[0].parent, memory_limit="256MB", threads=1) as several,
    ):
        yield {"one": one, "several": several}


@pytest.mark.slow
@pytest.mark.parametrize("which", ["one", "several"])
def test_no_way_of_the_engine_leads_out_of_a_capture(
    doors: dict[str, Capture], folder: Path, which: str
) -> None:
    python_variable = pa.table({"password": [SECRET]})
    capture = doors[which]
    before = sorted(folder.iterdir())
    for reach in REACHES:
        named = reach.replace("DIR", folder.as_posix())
        condition = f"EXISTS (SELECT * FROM {named})"
        for ask in (
            lambda named=named: capture.sql(f"SELECT * FROM {named}"),
            lambda named=named: capture.sql_reader(f"SELECT * FROM {named}").read_all(),
            lambda condition=condition: capture.timeline(where=condition, limit=1),
            lambda condition=condition: capture.hot(where=condition),
        ):
            with pytest.raises(UsageError) as caught:
                ask()
            said = str(caught.value)
            assert SECRET not in said, reach
            assert "damaged" not in said, reach
            assert reach.startswith("python") or "getenv" in reach or "cannot be used" in said, (reach, said)
    assert sorted(folder.iterdir()) == before
    assert python_variable.num_rows == 1


def test_the_lock_itself_holds_before_the_first_question(captures: list[Path], folder: Path) -> None:
    """What refuses by name is asked nothing here: the engine must refuse by itself."""
    with open_capture(captures[0], threads=1) as capture:
        engine = capture.backend.con
        for statement in (
            f"FROM '{folder}/secret.csv'",
            f'FROM "{folder}/secret".csv',
            f"FROM read_text('{folder}/secret.csv')",
            f"FROM glob('{folder}/*')",
            f"COPY (SELECT 1) TO '{folder}/out.csv'",
            f"CREATE TABLE copied AS FROM read_csv('{folder}/secret.csv')",
            f"EXPORT DATABASE '{folder}/out'",
            f"ATTACH '{folder}/out.db'",
            "FROM 'https://example.invalid/x.csv'",
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET enable_external_access = true",
            f"SET allowed_directories = ['{folder}']",
            "SET python_enable_replacements = true",
            "SET autoload_known_extensions = true",
            "RESET lock_configuration",
        ):
            with pytest.raises(
                Exception, match=r"(?i)disabled|locked|cannot|not allowed|read.only|does not exist"
            ):
                engine.cursor().execute(statement).fetchall()
        python_variable = pa.table({"password": [SECRET]})
        with pytest.raises(Exception, match="python_variable"):
            engine.execute("FROM python_variable")
        assert python_variable.num_rows == 1
    assert not [path for path in folder.iterdir() if not path.name.startswith("secret")]


@pytest.mark.slow
def test_a_comparison_of_two_engines_reads_neither_more(captures: list[Path], folder: Path) -> None:
    with open_capture(captures[0], threads=1) as ours, open_capture(captures[1], threads=1) as theirs:
        with pytest.raises(UsageError, match=r"secret\.csv' is no table of the capture"):
            ours.diff(theirs, where=f'EXISTS (FROM "{folder}/secret".csv)')
        assert ours.diff(theirs).empty


@pytest.mark.parametrize("reach", ['"DIR/secret".csv', "read_text('DIR/secret.csv')", "duckdb_settings()"])
def test_the_command_line_says_what_is_refused(captures: list[Path], folder: Path, reach: str) -> None:
    reach = reach.replace("DIR", folder.as_posix())
    for arguments in (
        ["sql", str(captures[0]), f"SELECT * FROM {reach}"],
        ["sql", str(captures[0].parent), f"SELECT * FROM {reach}"],
        ["timeline", str(captures[0]), "--where", f"EXISTS (FROM {reach})"],
        ["diff", *map(str, captures), "--where", f"EXISTS (FROM {reach})"],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2, result.output
        assert "not in the capture" in result.stderr or "no table of the capture" in result.stderr
        assert SECRET not in result.output


def test_names_of_the_capture_are_tables_however_they_are_spelled(doors: dict[str, Capture]) -> None:
    for name in ("events", "MAIN.Events", "memory.main.keys", "memory.keys", '"stored_events"'):
        assert len(doors["one"].sql(f"SELECT 1 FROM {name} LIMIT 1")) == 1
    for query in (
        "FROM information_schema.tables",
        "FROM duckdb_columns() LIMIT 1",
        "SHOW ALL TABLES",
        "SHOW keys",
    ):
        assert len(doors["one"].sql(query))
    with_own = "WITH keys AS (SELECT 1 AS a), b AS (SELECT * FROM keys) SELECT a FROM b"
    assert doors["one"].sql(with_own)["a"].tolist() == [1]
