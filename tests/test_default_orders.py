"""Which rows come first: what docs/questions.md says of each verb, checked on answers that have ties and differences."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_capture import write_capture

import regtrace as rt

Row = dict[str, Any]
# By verb: the columns that decide which rows come first, and how.
FIRST: dict[str, tuple[list[str], Callable[[Row], Any]]] = {
    "timeline": (["sequence"], lambda row: row["sequence"]),
    "history": (["sequence"], lambda row: row["sequence"]),
    "changes": (["first_sequence"], lambda row: row["first_sequence"]),
    "state": (
        ["display_key", "value_name"],
        lambda row: (row["display_key"], row["value_name"] is not None, (row["value_name"] or "").upper()),
    ),
    # Those that changed something.
    "who": (["last_change_sequence"], lambda row: row["last_change_sequence"] is None),
    "errors": (["harmless", "failures"], lambda row: (bool(row["harmless"]), -row["failures"])),
    "redundant": (["redundant"], lambda row: -row["redundant"]),
    "hot": (["events"], lambda row: -row["events"]),
    "keys": (["events"], lambda row: -row["events"]),
    "handles": (
        ["first_sequence"],
        lambda row: -1 if row["first_sequence"] is None else row["first_sequence"],
    ),
}


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory):
    path: Path = tmp_path_factory.mktemp("orders")
    rt.simulate(path / "a.etl", rt.SimulationOptions(events=3000), truth=False)
    rt.ingest(path / "a.etl", path / "a.regtrace")
    with rt.open(path / "a.regtrace") as busy, rt.open(write_capture(path / "b.regtrace")) as small:
        yield busy, small


@pytest.mark.parametrize("verb", FIRST)
def test_the_rows_of_a_verb_come_in_the_order_that_the_docs_tell(capture, verb: str) -> None:
    several = 0
    for one in capture:
        columns, first = FIRST[verb]
        places = [first(row) for row in getattr(one.queries, verb)().to_arrow().select(columns).to_pylist()]
        assert places == sorted(places)
        several += len(set(places)) > 1
    assert several


def test_the_docs_name_every_verb_that_has_an_order() -> None:
    page = (Path(__file__).parents[1] / "docs" / "questions.md").read_text("utf-8")
    table = page.partition("## Which rows come first")[2].partition("\n## ")[0]
    for verb in (*FIRST, "tree", "slow", "diff", "diff --first"):
        assert f"`{verb}`" in table
