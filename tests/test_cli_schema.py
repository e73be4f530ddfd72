"""`regtrace schema` and `regtrace list` print what tracer/ defines, and the page made from it is current."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analysis.engine.columns import SHOWN_COLUMNS
from cli.app import app
from cli.commands.list import JOINED_COLUMNS
from cli.options.zones import find_zone
from tracer.errors import UsageError
from tracer.registry.ntstatus import STATUSES, find_status
from tracer.registry.operations import OPERATIONS, find_operations
from tracer.schema import SEED, TABLES

ROOT = Path(__file__).resolve().parents[1]


def invoke(*arguments: str):
    return CliRunner().invoke(app, list(arguments), prog_name="regtrace")


def test_the_page_about_the_tables_is_current():
    page = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")
    assert page == invoke("schema", "--format", "markdown").stdout, (
        "run: python -m cli.app schema --format markdown -o docs/schema.md --force"
    )


def test_json_holds_every_table_and_column():
    shown = json.loads(invoke("schema", "-f", "json").stdout)
    assert {t["name"]: [c["name"] for c in t["columns"]] for t in shown["tables"]} == {
        name: table.names for name, table in {**TABLES, "seed": SEED}.items()
    }


def test_the_table_holds_every_column_with_its_meaning():
    lines = invoke("schema", "events").stdout.splitlines()
    for column, line in zip(TABLES["events"].columns, lines[1:], strict=True):
        assert line.split(maxsplit=2) == [column.name, column.kind, column.meaning]


def test_an_unknown_table_is_a_usage_error_that_names_a_close_one():
    shown = invoke("schema", "evnts")
    assert shown.exit_code == 2
    assert "did you mean events?" in shown.stderr


def test_the_schema_can_be_written_to_a_file_once(tmp_path):
    target = tmp_path / "schema.md"
    assert invoke("schema", "-f", "markdown", "-o", str(target)).exit_code == 0
    assert target.read_text(encoding="utf-8").startswith("# The tables")
    assert invoke("schema", "-f", "markdown", "-o", str(target)).exit_code == 1
    assert invoke("schema", "-f", "markdown", "-o", str(target), "--force").exit_code == 0


def test_every_listed_operation_word_is_understood():
    _, *rows = invoke("list", "operations").stdout.splitlines()
    words = [row.split()[0] for row in rows]
    assert set(words) >= {operation.short for operation in OPERATIONS} | {"read", "write", "delete", "enum"}
    assert all(find_operations(word) for word in words)


def test_every_listed_status_is_understood():
    _, *rows = invoke("list", "statuses").stdout.splitlines()
    listed = [row.split() for row in rows]
    assert {int(code, 16): name for code, name in listed} == STATUSES
    assert all(find_status(name) == int(code, 16) for code, name in listed)


def test_list_columns_names_the_columns_of_the_view():
    _, *rows = invoke("list", "columns").stdout.splitlines()
    assert [row.split()[0] for row in rows] == list(SHOWN_COLUMNS)
    assert set(SHOWN_COLUMNS) <= {*TABLES["events"].names, *JOINED_COLUMNS}


@pytest.mark.parametrize(
    ("name", "words"),
    [("Berlin", "Europe/Berlin"), ("Europe/Berln", "Europe/Berlin"), ("new york", "America/New_York"),
     ("xyzzy", "names look like"), ("../../etc/passwd", "names look like"), ("", "names look like")],
)  # fmt: skip
def test_an_unknown_zone_names_a_close_one(name, words):
    with pytest.raises(UsageError, match=words):
        find_zone(name)


def test_zones_are_found_in_any_case():
    assert str(find_zone("europe/berlin")) == "Europe/Berlin"
    assert find_zone("utc") is find_zone(None)
