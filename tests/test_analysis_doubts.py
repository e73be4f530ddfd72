"""Doubts about an answer, against the losses that a simulated trace really had."""

import pytest

import regtrace as rt
from analysis.questions.caveats import Caveats, caveats_between


@pytest.fixture(scope="module")
def lossy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lossy")
    rt.simulate(
        folder / "a.etl",
        rt.SimulationOptions(events=12_000, lost_events=0.02, lost_buffers=0.1, buffer_size=8192, cpus=2),
    )
    rt.ingest(folder / "a.etl", folder / "a.regtrace")
    with rt.open(folder / "a.regtrace") as capture:
        yield capture


def plain(capture, start=None, end=None):
    rows = capture.tables["losses"].to_pyarrow().to_pylist()
    return [
        row
        for row in rows
        if (start is None or row["to_ns"] is None or row["to_ns"] >= start)
        and (end is None or row["from_ns"] is None or row["from_ns"] <= end)
    ]


def test_losses_are_those_that_touch_the_time(lossy):
    first = min(part["first_ns"] for part in lossy.manifest.parts)
    last = max(part["last_ns"] for part in lossy.manifest.parts)
    times = [None, first, (first + last) // 2, first + (last - first) // 5, last]
    counts = set()
    for start in times:
        for end in times:
            expected = plain(lossy, start, end)
            found = caveats_between(lossy.context, start, end)
            assert found.losses == sum(row["kind"] != "blind" for row in expected)
            known = [row["count"] for row in expected if row["kind"] == "events" and row["count"] is not None]
            assert found.lost_events == (sum(known) if known else None)
            counts.add(found.losses)
    assert len(counts) > 2


def test_rows_without_a_whole_name_are_counted(lossy):
    named = lossy.sql("SELECT name_source, count(*) AS n FROM events WHERE key IS NOT NULL GROUP BY 1")
    counts = dict(zip(named["name_source"], named["n"], strict=True))
    found = caveats_between(lossy.context)
    assert found.partly_named == counts.get("partial", 0) > 0
    assert found.unnamed == counts.get("none", 0) > 0


def test_no_doubt_says_nothing():
    assert not Caveats(0, None, blind=False, partly_named=0, unnamed=0)
    assert Caveats(0, None, blind=False, partly_named=0, unnamed=0).sentences == []


def test_each_doubt_is_one_sentence():
    said = Caveats(1, 5, blind=True, partly_named=2, unnamed=0).sentences
    assert len(said) == 3
    assert "5 events" in said[0]
