"""`regtrace browse`: its model against the questions it stands for, and the view with textual's pilot."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from small_capture import write_capture
from typer.testing import CliRunner

from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from cli.app import app as regtrace
from cli.browse.model import Model, Stops, told_time
from cli.browse.slider import slider
from tracer.ingest.pipeline import ingest
from tracer.registry.ntstatus import NOT_SUCCESS
from tracer.simulate import SimulationOptions, simulate


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("browse")
    simulate(folder / "a.etl", SimulationOptions(events=3000, keys=150, seed=7))
    ingest([folder / "a.etl"], folder / "a.regtrace")
    with open_capture(folder / "a.regtrace") as opened:
        yield opened


@pytest.fixture(scope="module")
def model(capture: Capture) -> Model:
    return Model(capture)


def every_key(model: Model) -> list[int]:
    found, waiting = [], model.tops[::-1]
    while waiting:
        found.append(waiting.pop())
        waiting += model.children(found[-1])[::-1]
    return found


def changes(capture: Capture) -> list[tuple[int, int]]:
    """Key and time of each change, from the timeline."""
    rows = capture.timeline_reader(
        Filters(operation="write"), columns=["key_id", "time_ns", "status"]
    ).read_all()
    same = {row["key_id"]: row["same_as"] for row in capture.sql_reader("FROM keys").read_all().to_pylist()}
    return [
        (same[row["key_id"]], row["time_ns"])
        for row in rows.to_pylist()
        if row["key_id"] is not None and (row["status"] is None or row["status"] < NOT_SUCCESS)
    ]


def test_the_tree_holds_each_key_once_below_its_own_path(capture: Capture, model: Model):
    keys = every_key(model)
    own = (
        capture.sql_reader("SELECT key_id FROM keys WHERE same_as = key_id").read_all()["key_id"].to_pylist()
    )
    assert sorted(keys) == sorted(own)
    for key in keys:
        above = model.ancestors(key)
        parts = [model.label(one) for one in (*above, key)]
        assert "\\".join(parts) == model.path(key)
        assert not above or key in model.children(above[-1])


def test_stops_are_the_times_of_changes(capture: Capture, model: Model):
    told = changes(capture)
    assert model.stops.times.tolist() == sorted({time for _, time in told})
    assert len(model.stops) > 50
    for key in every_key(model)[::5]:
        expected = sorted({time for of, time in told if key in (of, *model.ancestors(of))})
        assert model.stops_below(key).times.tolist() == expected, model.path(key)


def test_stops_lead_forward_and_back(model: Model):
    times = model.stops.times.tolist()
    assert model.stops.after(times[3]) == times[4]
    assert model.stops.before(times[3]) == times[2]
    assert model.stops.after(times[3] - 1) == times[3] == model.stops.before(times[3] + 1)
    assert model.stops.after(times[-1]) is None is model.stops.before(times[0])
    assert model.stops.until(times[3]) == 4


def test_contents_are_those_of_state_at_that_time(capture: Capture, model: Model):
    """The time is exact to the nanosecond: right before a change its row is not yet there."""
    key = max(every_key(model), key=lambda one: len(model.stops_below(one)) * (not model.children(one)))
    path = model.path(key)
    times = model.stops_below(key).times.tolist()
    assert len(times) > 2
    for time in (times[0] - 1, times[0], times[len(times) // 2], times[-1]):
        shown = model.state(key, time)
        assert shown.equals(capture.queries.state(key=path, at=told_time(time)).to_arrow())
        events = model.times_of(shown)
        assert all(event <= time for event in events)
        assert time not in times or time in events
    assert model.history(key).equals(capture.queries.history(key=path).to_arrow())


def test_search_finds_names_of_keys_and_values_and_goes_round(capture: Capture, model: Model):
    keys = every_key(model)
    rows = capture.sql_reader("SELECT DISTINCT key_id, value_name FROM stored_events").read_all().to_pylist()
    same = {row["key_id"]: row["same_as"] for row in capture.sql_reader("FROM keys").read_all().to_pylist()}
    text = "inst"
    fits = {same[row["key_id"]] for row in rows if text in (row["value_name"] or "").lower()}
    expected = [key for key in keys if key in fits or text in model.label(key).lower()]
    assert len(expected) > 2
    found = [model.find(text.upper())]
    while len(found) < len(expected):
        found.append(model.find(text, found[-1]))
    assert found == expected
    assert model.find(text, expected[-1]) == expected[0]
    assert model.find(text, expected[0], back=True) == expected[-1]
    assert model.find("no such name \ud800") is None


def test_the_bar_marks_the_time_changes_and_losses():
    import numpy as np

    stops = Stops(np.array([0, 50, 52, 99], np.int64))
    assert slider(10, 50, first_ns=0, last_ns=100, stops=stops) == "+----|---+"
    assert slider(10, 0, first_ns=0, last_ns=100, stops=stops, losses=[(70, 85)]) == "|----+-xx+"
    assert slider(4, 5, first_ns=5, last_ns=5, stops=stops) == "|--+"


def test_told_time_is_exact_in_any_zone():
    from zoneinfo import ZoneInfo

    assert told_time(1_714_557_600_000_000_100) == "2024-05-01 10:00:00.000000100+00:00"
    assert told_time(-1, ZoneInfo("Asia/Tokyo")) == "1970-01-01 08:59:59.999999999+09:00"


def test_without_a_terminal_one_sentence_says_what_to_do(capture: Capture):
    shown = CliRunner().invoke(regtrace, ["browse", str(capture.path)])
    assert shown.exit_code != 0
    assert "browse needs a terminal" in " ".join(shown.stderr.split())


def test_without_textual_one_sentence_says_what_to_install(capture: Capture, monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.startswith(("textual", "cli.browse."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "textual", None)
    shown = CliRunner().invoke(regtrace, ["browse", str(capture.path)])
    assert shown.exit_code != 0
    assert "pip install 'regtrace[tui]'" in " ".join(shown.stderr.split())


async def until(pilot, holds: Callable[[], bool]) -> None:
    """Let the view work until something holds; fail after very many turns."""
    for _ in range(3000):
        if holds():
            return
        await pilot.pause(0.01)
    raise AssertionError("it never came")


def text_of(app, name: str) -> str:
    return str(app.screen.query_one(name).render())


def table_of(app) -> list[list[str]]:
    from textual.widgets import DataTable

    table = app.screen.query_one(DataTable)
    return [[cell.plain for cell in table.get_row_at(row)] for row in range(table.row_count)]


def test_the_view_walks_through_keys_and_time(capture: Capture, model: Model):
    pytest.importorskip("textual")
    from textual.widgets import DataTable, Input, Tree

    from cli.browse.app import Browser
    from cli.browse.cells import value_rows

    def expected(key: int, time: int) -> list[list[str]]:
        return [[cell.plain for cell in row] for row in value_rows(model.state(key, time))]

    async def walk() -> None:
        app = Browser(model)

        def settled(time: int | None = None) -> bool:
            """The values in the table are those of the key and the time, and the tree hears the keyboard."""
            return (
                app.key is not None
                and app.shown == (app.key, app.at_ns)
                and isinstance(app.focused, Tree)
                and time in (None, app.at_ns)
            )

        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, settled)
            assert (app.key, app.at_ns) == (model.tops[0], model.last_ns)

            await pilot.press("enter")
            await until(pilot, lambda: model.children(model.tops[0])[0] in app.lines)
            await pilot.press("down")
            await until(pilot, lambda: app.key == model.children(model.tops[0])[0] and settled())

            wanted = model.find("installpath", app.key)
            await pilot.press("slash")
            await until(pilot, lambda: isinstance(app.focused, Input))
            await pilot.press(*"InstallPath", "enter")
            await until(pilot, lambda: app.key == wanted and settled())
            while model.history(wanted).num_rows < 2:
                wanted = model.find("installpath", wanted)
                await pilot.press("n")
                await until(pilot, lambda key=wanted: app.key == key and settled())
            assert text_of(app, "#key") == model.path(wanted)[-80:]
            assert table_of(app) == expected(wanted, model.last_ns)

            stops = model.stops_below(wanted).times.tolist()
            await pilot.press("comma")
            back = [time for time in stops if time < model.last_ns]
            await until(pilot, lambda: settled(back[-1]))
            assert table_of(app) == expected(wanted, app.at_ns)
            await pilot.press("s")
            await until(pilot, lambda: settled(model.first_ns))
            first = next(time for time in stops if time > model.first_ns)
            await pilot.press("full_stop")
            await until(pilot, lambda: settled(first))
            assert table_of(app) == expected(wanted, first)
            await pilot.press("right_curly_bracket")
            await until(pilot, lambda: settled(model.stops.after(first)))

            await pilot.press("h")
            writes = model.history(wanted)
            await until(
                pilot,
                lambda: (
                    len(app.screen_stack) == 2
                    and app.screen.is_mounted
                    and isinstance(app.focused, DataTable)
                    and app.focused.row_count == writes.num_rows
                ),
            )
            await pilot.press("enter")
            await until(pilot, lambda: len(app.screen_stack) == 1 and settled(model.times_of(writes)[0]))

            await pilot.press("question_mark")
            await until(pilot, lambda: len(app.screen_stack) == 2)
            await pilot.press("escape")
            await until(pilot, lambda: len(app.screen_stack) == 1)
            await pilot.press("q")

    asyncio.run(walk())


def test_hostile_names_are_shown_and_not_obeyed(tmp_path: Path):
    """Neither markup nor escapes: every name of the tree is what the rule for terminals makes of it."""
    pytest.importorskip("textual")
    from cli.browse.app import Browser
    from cli.output.safe import is_visible, visible

    write_capture(tmp_path / "x.regtrace")
    with open_capture(tmp_path / "x.regtrace") as opened:
        model = Model(opened)

        async def look() -> None:
            app = Browser(model)
            async with app.run_test(size=(80, 24)) as pilot:
                hostile = [
                    key for key in every_key(model) if "Hostile" in model.path(key) or "<" in model.path(key)
                ]
                assert len(hostile) > 10
                for key in hostile[-8:]:
                    app.reveal(key)
                    await until(pilot, lambda key=key: app.key == key and app.shown == (key, app.at_ns))
                    assert text_of(app, "#key") == visible(model.path(key))[-80:]
                    assert all(is_visible(cell) for row in table_of(app) for cell in row)
                for key in hostile:
                    label = app.lines[key].label if key in app.lines else None
                    assert label is None or label.plain == visible(model.label(key))
                assert sum(key in app.lines for key in hostile) > 10
                assert "\x1b" not in app.export_screenshot()

        asyncio.run(look())
