"""A long timeline is read a range after the other: the same rows in the same order as when all are sorted at once."""

import itertools

import pytest
from small_capture import write_capture

import analysis.questions.ranges
from analysis.capture import Capture
from analysis.engine import open_engine
from analysis.filters import Filters
from analysis.open import open_capture
from analysis.questions import handles
from analysis.questions.ranges import ranges
from tracer.ingest.pipeline import ingest
from tracer.simulate import SimulationOptions, simulate


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Capture:
    folder = tmp_path_factory.mktemp("ranges")
    simulate(folder / "a.etl", SimulationOptions(events=1500), truth=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tracer.ingest.etl.PART_ROWS", 400)
        ingest([folder / "a.etl"], folder / "a.regtrace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.engine.open_engine._FEW_EVENTS", 0)  # few events are no stream
        opened = open_capture(folder / "a.regtrace")
    with opened:
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"operation": "read"},
        {"key": "HKLM", "subtree": True},
        {"where": "sequence % 3 = 0"},
        {"start": "+5ms"},
    ],
)
@pytest.mark.parametrize("columns", [None, ["time_ns", "display_key"]])
def test_ranges_give_the_rows_of_one_sort(capture, monkeypatch, asked, columns):
    filters = Filters(**asked)
    whole = capture.timeline_reader(filters, columns=columns).read_all()
    monkeypatch.setattr(analysis.questions.ranges, "_MANY_ROWS", 1)
    monkeypatch.setattr(analysis.questions.ranges, "_RANGE_ROWS", 110)
    found = ranges(capture.context, filters)
    assert len(found) > 10
    assert [first for first, _ in found[1:]] == [last + 1 for _, last in found[:-1]]
    assert whole.num_rows
    assert capture.timeline_reader(filters, columns=columns).read_all().equals(whole)
    assert capture.where(filters).queries.timeline(columns=columns).reader().read_all().equals(whole)
    first = capture.timeline_reader(filters, columns=columns, limit=5).read_all()
    assert first.equals(whole.slice(0, 5))


def test_the_stream_of_a_query_sorts_a_range_at_a_time(capture, monkeypatch):
    monkeypatch.setattr(analysis.questions.ranges, "_MANY_ROWS", 1)
    monkeypatch.setattr(analysis.questions.ranges, "_RANGE_ROWS", 110)
    asked = []
    original = open_engine.stream

    def remember(engine, sql, batch_rows):
        asked.append(sql)
        return original(engine, sql, batch_rows)

    monkeypatch.setattr(open_engine, "stream", remember)
    rows = capture.queries.timeline().reader().read_all()
    assert len(asked) > 10
    assert rows.num_rows == 1500


def test_short_timelines_and_parts_that_overlap_are_sorted_at_once(tmp_path, monkeypatch):
    with open_capture(write_capture(tmp_path / "small.regtrace")) as small:
        assert ranges(small.context, Filters()) == []
        monkeypatch.setattr(analysis.questions.ranges, "_MANY_ROWS", 1)
        spans = sorted((part["first_sequence"], part["last_sequence"]) for part in small.manifest.parts)
        overlap = any(last >= first for (_, last), (first, _) in itertools.pairwise(spans))
        assert (ranges(small.context, Filters()) == []) == overlap


@pytest.mark.slow
@pytest.mark.parametrize("question", ["errors", "keys", "history", "state"])
def test_the_stream_of_an_answer_of_a_large_capture_has_its_rows(capture, question):
    query = getattr(capture.queries, question)("HKLM", subtree=True)
    rows = query.to_arrow()
    assert rows.num_rows
    assert query.reader(50).read_all().to_pylist() == rows.to_pylist()


@pytest.mark.slow
@pytest.mark.parametrize("asked", [{}, {"operation": "read"}, {"key": "HKLM", "subtree": True}])
@pytest.mark.parametrize("problems", [False, True])
def test_ranges_of_lives_give_the_lives_of_one_sort(capture, monkeypatch, asked, problems):
    query = capture.where(**asked).queries.handles(problems=problems)
    whole = query.to_arrow()
    monkeypatch.setattr(handles, "_RANGE_LIVES", 30)
    assert len(handles._ranges(capture.context)) > 5
    assert whole.num_rows > 60
    assert query.reader().read_all().equals(whole)
    cut = capture.where(**asked).queries.handles(problems=problems, limit=7)
    assert cut.reader().read_all().equals(whole.slice(0, 7))


def test_a_verb_writes_an_answer_as_a_stream(capture, monkeypatch, tmp_path):
    from test_cli_verbs import invoke

    from analysis.questions.query import Query

    monkeypatch.delattr(Query, "to_arrow")
    path = tmp_path / "lives.csv"
    assert invoke("handles", str(capture.path), "-o", str(path)).exit_code == 0
    assert path.read_text().count("\n") > 60
