"""In a notebook: pictures as Altair charts, and the bar of an ingest."""

import json
import sys
from types import SimpleNamespace

import pytest
from small_capture import write_capture

import regtrace as rt
from analysis.filters import Filters
from tracer.ingest.notebook import notebook_progress
from tracer.progress import Progress


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    pytest.importorskip("altair", reason="pictures need the extra plots")
    with rt.open(write_capture(tmp_path_factory.mktemp("notebook") / "small.regtrace")) as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["timeline", "activity", "values", "tree"])
def test_a_capture_draws_the_pictures_as_charts_with_harmless_texts(capture, kind):
    import altair as alt

    chart = getattr(capture.plot, kind)()
    assert isinstance(chart, alt.LayerChart)
    spec = chart.to_dict()  # checks it against the schema
    assert json.dumps(spec, ensure_ascii=False).isprintable()
    assert any("select" in param for param in spec["params"]) == (kind != "tree")
    datasets = getattr(rt.plot, kind)(capture).spec()["datasets"]
    assert {name: len(rows) for name, rows in spec["datasets"].items()} == {
        name: len(rows) for name, rows in datasets.items()
    }


def test_filters_are_those_of_questions_and_those_of_where(capture):
    pid = int(capture.timeline(operation="read")["pid"].dropna().iloc[0])
    narrowed = capture.where(pid=pid)
    wanted = narrowed.timeline(operation="read")
    assert 0 < len(wanted) < len(capture.timeline(operation="read"))
    for chart in (narrowed.plot.timeline(operation="read"), capture.plot.timeline(pid=pid, operation="read")):
        assert len(chart.to_dict()["datasets"]["marks"]) == len(wanted)
    assert rt.plot.activity(narrowed, Filters(operation="read")).rows == len(wanted)
    assert narrowed.timeline_reader(Filters(operation="read")).read_all().num_rows == len(wanted)


@pytest.fixture
def shown(monkeypatch):
    """Return what a pretended notebook shows: one list for each output, with its updates."""
    outputs = []

    def display(bundle, *, raw, display_id):
        assert raw
        assert display_id
        outputs.append([bundle])
        return SimpleNamespace(update=lambda more, *, raw: outputs[-1].append(more))

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr("tracer.ingest.notebook._EVERY_S", 0)
    return outputs


def test_a_notebook_shows_one_bar_that_is_redrawn(shown):
    bar = notebook_progress()
    for done in (0, 5_000_000, 20_000_000):
        bar(Progress(done, 20_000_000, done // 100))
    [bundles] = shown
    assert [bundle["text/plain"].partition(":")[0] for bundle in bundles] == ["0 %", "25 %", "100 %"]
    assert "20.0 of 20.0 MB, 200,000 events" in bundles[-1]["text/plain"]
    assert all('<progress value="' in bundle["text/html"] for bundle in bundles)


def test_a_sentence_in_a_bar_is_only_text(shown):
    notebook_progress()(Progress(0, 10, 0, "<b>loops are compiled</b>"))
    assert "<b>" not in shown[0][0]["text/html"]
    assert "loops are compiled" in shown[0][0]["text/html"]


def test_what_is_done_at_once_needs_no_bar(shown):
    notebook_progress()(Progress(10, 10, 1))
    assert shown == []


def test_an_ingest_in_a_notebook_shows_its_end(shown, tmp_path):
    rt.simulate(tmp_path / "a.etl", rt.SimulationOptions(events=60_000), truth=False)
    rt.ingest(tmp_path / "a.etl", tmp_path / "a.regtrace")
    assert shown[-1][-1]["text/plain"].startswith("100 %")


@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_elsewhere_there_is_no_bar(monkeypatch, shell):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert notebook_progress() is None
    monkeypatch.delitem(sys.modules, "IPython")
    assert notebook_progress() is None
