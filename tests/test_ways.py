"""The ways of ARCHITECTURE.md: a key and a source's path enter the rooms that the page says, and no other."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

import pytest
from typer.testing import CliRunner

import regtrace as rt
from analysis.filters import Filters
from cli.app import app
from tracer.sources.inputs import SourceFile

ROOT = Path(__file__).resolve().parents[1]
PAGE = " ".join((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split())


def rooms_named(begin: str, end: str) -> set[str]:
    """Return the rooms that the page names between two of its phrases; of modules, the rooms they are in."""
    part = PAGE.partition(begin)[2].partition(end)[0]
    return set(re.findall(r"`((?:tracer|analysis|cli)/\w+)/", part))


def texts(value: object) -> Iterator[str]:
    """Yield the texts of an argument that may carry a key or a path."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, os.PathLike):
        yield str(value)
    elif isinstance(value, Filters | SourceFile):
        yield repr(value)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts(one)


def rooms_entered(word: str, last: CodeType, arguments: list[str]) -> set[str]:
    """Run a verb; return the rooms in which a function was handed `word`, until the function `last` begins."""
    entered: set[str] = set()
    begun: list[bool] = []

    def look(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        begun.extend([True] * (event == "call" and code is last))
        if event != "call" or begun or not code.co_filename.startswith(str(ROOT)):
            return
        parts = Path(code.co_filename).relative_to(ROOT).parts
        if len(parts) < 3 or parts[0] not in ("tracer", "analysis", "cli"):
            return
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if any(word in text for name in names for text in texts(frame.f_locals.get(name))):
            entered.add(f"{parts[0]}/{parts[1]}")

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        result = CliRunner().invoke(app, arguments)
    finally:
        sys.setprofile(before)
    assert result.exit_code == 0, result.output
    assert begun, "the way has another end"
    return entered


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ways")


@pytest.mark.slow
def test_the_key_of_a_history_enters_the_rooms_that_the_page_says(folder):
    from analysis.questions.query import Query

    rt.simulate(folder / "keys.etl", rt.SimulationOptions(events=3000))
    rt.ingest(folder / "keys.etl", capture := folder / "keys.regtrace")
    key = r"HKLM\SOFTWARE"  # its SQL is kept: Ibis is slow under a profiler
    entered = rooms_entered(key, Query.reader.__code__, ["history", str(capture), key])
    # the engine is handed the SQL in which the key stands as a pattern
    assert entered | {"analysis/engine"} == rooms_named("KEY` enters", ". 1. ")


@pytest.mark.slow
def test_the_path_of_an_ingest_enters_the_rooms_that_the_page_says(folder):
    from tracer.etl.reader import EtlReader

    rt.simulate(folder / "way_of_a_path.etl", rt.SimulationOptions(events=300))
    arguments = ["ingest", str(folder / "way_of_a_path.etl"), "-o", str(folder / "a.regtrace")]
    entered = rooms_entered("way_of_a_path", EtlReader.__iter__.__code__, arguments)
    on_the_way = rooms_named("boot.etl` enters", ". 1. ")
    beside = rooms_named("Beside the way,", "Then `tracer/ingest/")
    assert on_the_way <= entered <= on_the_way | beside
