"""Answers of the command line load few libraries, and what is done without these comes to the same."""

import json
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import duckdb
import pyarrow as pa
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from small_capture import write_capture
from typer.testing import CliRunner

from analysis.engine.relation import as_stated
from cli.options.plain_words import take_plain_words

ROOT = Path(__file__).resolve().parents[1]
KEY = r"HKLM\SOFTWARE"
HEAVY = ("concurrent.futures", "logging", "pandas", "pyarrow.compute", "pydantic")
ASKINGS = {
    "errors": [],
    "handles": [],
    "history": [KEY, "--subtree"],
    "hot": [],
    "info": [],
    "keys": [],
    "redundant": [],
    "sql": ["SELECT operation, count(*) AS n, sum(data_size) AS bytes, min(time) AS first FROM events GROUP BY ALL ORDER BY ALL"],
    "state": [],
    "timeline": ["--limit", "20"],
    "tree": [],
    "who": [],
}  # fmt: skip
# Runs command lines one after the other, and says after each what has been loaded since it began.
PROGRAM = """
import json, sys
from cli.app import main
for words in json.loads(sys.stdin.read()):
    try:
        main(words)
    except SystemExit as end:
        code = end.code
    heavy = sorted({heavy} & set(sys.modules))
    print("LOADED", words[0], code, *heavy, file=sys.stderr, flush=True)
"""


def loaded_by(askings: list[list[str]]) -> list[list[str]]:
    code = PROGRAM.replace("{heavy}", repr(set(HEAVY)))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, input=json.dumps(askings).encode(), capture_output=True, timeout=120
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.decode().splitlines()
    return [line.split()[1:] for line in lines if line.startswith("LOADED")]


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    path = tmp_path_factory.mktemp("light") / "a.regtrace"
    write_capture(path)
    return path


@pytest.mark.slow
def test_tables_load_no_heavy_library(capture):
    loaded = loaded_by([[verb, str(capture), *more] for verb, more in ASKINGS.items()])
    assert loaded == [[verb, "0"] for verb in ASKINGS]


class Order(StrEnum):
    FIRST = "first"
    SECOND = "second"


def command(*, plain: bool) -> typer.Typer:
    class Command(typer.core.TyperCommand):
        def get_params(self, ctx):
            parameters = super().get_params(ctx)
            return take_plain_words(parameters) if plain else parameters

    made = typer.Typer(add_completion=False, rich_markup_mode=None)

    @made.command(cls=Command)
    def words(
        path: Path,
        text: Annotated[str | None, typer.Argument()] = None,
        number: Annotated[int | None, typer.Option(min=1, max=900)] = None,
        free: Annotated[int, typer.Option()] = 7,
        order: Annotated[Order | None, typer.Option()] = None,
        names: Annotated[list[str] | None, typer.Option()] = None,
        paths: Annotated[list[Path] | None, typer.Option()] = None,
        flag: Annotated[bool, typer.Option("--flag")] = False,
        share: Annotated[float, typer.Option()] = 0.5,
    ) -> None:
        print(repr((path, text, number, free, order, names, paths, flag, share)))

    return made


PLAIN, CHECKED = command(plain=True), command(plain=False)
WORDS = st.sampled_from(["0", "1", "900", "901", "-3", "+4", "1_0", "٣", "1.5", "first", "First", "third", "", " 5", "/", "no/such", "x" * 19, "9" * 19])  # fmt: skip


@given(
    st.lists(WORDS, max_size=2),
    st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from(["--number", "--free", "--order", "--names", "--paths", "--share"]), WORDS
            ),
            st.just(("--flag",)),
        ),
        max_size=4,
    ),
)
def test_plain_words_are_taken_as_typer_takes_them(arguments, options):
    line = [word for option in options for word in option] + ["--", *arguments]
    plain, checked = CliRunner().invoke(PLAIN, line), CliRunner().invoke(CHECKED, line)
    assert (plain.exit_code, plain.output) == (checked.exit_code, checked.output)


NUMBERS = st.one_of(st.none(), st.integers(0, 2**63 + 1), st.integers(-(2**100), 2**100), st.integers(-3, 3))


@pytest.mark.slow
@given(st.lists(NUMBERS, max_size=70), st.integers(0, 5))
def test_counts_of_128_bits_become_those_that_arrow_makes(numbers, start):
    # The engine's own array, where NULL stands on anything.
    listed = ", ".join(f"({place}, {'NULL' if n is None else n}::HUGEINT)" for place, n in enumerate(numbers))
    query = f"SELECT n FROM (VALUES {listed or '(0, NULL::HUGEINT)'}) t(place, n) ORDER BY place"
    rows = duckdb.connect().sql(query).to_arrow_table().slice(start)
    try:
        expected = rows.column("n").cast(pa.int64())
    except pa.ArrowInvalid:  # a number that does not fit: the column stays as it is
        expected = rows.column("n")
    assert as_stated(rows, pa.schema([("n", pa.int64())])).column("n").equals(expected)
