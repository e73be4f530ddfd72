"""`regtrace browse`: its model against the questions it stands for, and the view with textual's pilot."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from hand_capture import event, write_events
from small_capture import write_capture
from typer.testing import CliRunner

from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from cli.app import app as regtrace
from cli.browse.changes import Stops
from cli.browse.model import Model, told_time
from cli.browse.slider import slider
from tracer.errors import RegtraceError
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
    found, waiting = [], model.keys.tops[::-1]
    while waiting:
        found.append(waiting.pop())
        waiting += model.keys.children(found[-1])[::-1]
    return found


def stops_below(model: Model, key: int) -> list[int]:
    return model.changes.below(key).times.tolist()


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
    assert keys == model.keys.order
    for key in keys:
        above = model.keys.ancestors(key)
        parts = [model.keys.label(one) for one in (*above, key)]
        assert "\\".join(parts) == model.keys.path(key)
        assert not above or key in model.keys.children(above[-1])
        assert model.keys.has_children(key) == bool(model.keys.children(key))


def test_stops_are_the_times_of_changes(capture: Capture, model: Model):
    told = changes(capture)
    assert model.stops.times.tolist() == sorted({time for _, time in told})
    assert len(model.stops) > 50
    for key in every_key(model)[::5]:
        expected = sorted({time for of, time in told if key in (of, *model.keys.ancestors(of))})
        assert stops_below(model, key) == expected, model.keys.path(key)


def test_stops_lead_forward_and_back(model: Model):
    times = model.stops.times.tolist()
    assert model.stops.after(times[3]) == times[4]
    assert model.stops.before(times[3]) == times[2]
    assert model.stops.after(times[3] - 1) == times[3] == model.stops.before(times[3] + 1)
    assert model.stops.after(times[-1]) is None is model.stops.before(times[0])
    assert model.stops.until(times[3]) == 4


def test_contents_are_those_of_state_at_that_time(capture: Capture, model: Model):
    """The time is exact to the nanosecond: right before a change its row is not yet there."""
    key = max(every_key(model), key=lambda one: len(stops_below(model, one)) * (not model.keys.children(one)))
    path = model.keys.path(key)
    times = stops_below(model, key)
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
    expected = [key for key in keys if key in fits or text in model.keys.label(key).lower()]
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


def lines_of(lines) -> list[str]:
    """Return what a list shows, its head included."""
    return [lines.render_line(y).text for y in range(lines.size.height)]


def settled(app, time: int | None = None) -> bool:
    """The values in the table are those of the key and the time, and the tree hears the keyboard."""
    return (
        app.key is not None
        and app.shown == (app.key, app.at_ns)
        and app.stops is not None
        and app.focused is app.key_tree
        and time in (None, app.at_ns)
    )


@pytest.mark.slow
def test_the_view_walks_through_keys_and_time(capture: Capture, model: Model):
    pytest.importorskip("textual")
    from textual.widgets import Input

    from cli.browse.app import Browser
    from cli.browse.cells import order_of_values, value_lines
    from cli.browse.tables import Values, Writes

    keys = model.keys

    def expected(key: int, time: int) -> list[object]:
        rows = model.state(key, time)
        lines = value_lines(rows)
        return [lines[row] for row in order_of_values(rows)]

    async def walk() -> None:
        app = Browser(lambda: model, name="a.regtrace")
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: settled(app))
            values = app.query_one(Values)

            def table() -> list[object]:
                return [values.line(line) for line in range(values.count)]

            assert (app.key, app.at_ns) == (keys.tops[0], model.last_ns)
            await pilot.press("right", "right")
            await until(pilot, lambda: app.key == keys.children(keys.tops[0])[0] and settled(app))
            await pilot.press("left", "left")
            await until(pilot, lambda: app.key == keys.tops[0] and app.key_tree.count == len(keys.tops))

            wanted = model.find("installpath", app.key)
            await pilot.press("slash")
            await until(pilot, lambda: isinstance(app.focused, Input))
            await pilot.press(*"InstallPath", "enter")
            await until(pilot, lambda: app.key == wanted and settled(app))
            while model.history(wanted).num_rows < 2:
                wanted = model.find("installpath", wanted)
                await pilot.press("n")
                await until(pilot, lambda key=wanted: app.key == key and settled(app))
            path = keys.shown_path(wanted)
            assert text_of(app, "#key").strip() == (path if len(path) <= 80 else "…" + path[-79:])
            assert table() == expected(wanted, model.last_ns)

            stops = stops_below(model, wanted)
            await pilot.press("comma")
            back = [time for time in stops if time < model.last_ns]
            await until(pilot, lambda: settled(app, back[-1]))
            assert table() == expected(wanted, app.at_ns)
            await pilot.press("s")
            await until(pilot, lambda: settled(app, model.first_ns))
            first = next(time for time in stops if time > model.first_ns)
            await pilot.press("full_stop")
            await until(pilot, lambda: settled(app, first))
            assert table() == expected(wanted, first)
            await pilot.press("right_curly_bracket")
            await until(pilot, lambda: settled(app, model.stops.after(first)))

            await pilot.press("tab", "end")
            await until(pilot, lambda: values.cursor == values.count - 1)
            last = values.line(values.cursor)
            detail = text_of(app, "#detail")
            assert last.name[:70] in detail
            assert last.who in detail
            assert last.known in detail

            await pilot.press("h")
            writes = model.history(wanted)
            await until(
                pilot, lambda: isinstance(app.focused, Writes) and app.focused.count == writes.num_rows
            )
            await pilot.press("home", "enter")
            await until(pilot, lambda: len(app.screen_stack) == 1 and app.at_ns == model.times_of(writes)[0])

            await pilot.press("question_mark")
            await until(pilot, lambda: len(app.screen_stack) == 2)
            await pilot.press("escape")
            await until(pilot, lambda: len(app.screen_stack) == 1)
            await pilot.press("q")

    asyncio.run(walk())


def test_a_mouse_chooses_and_opens_and_moves_through_time(model: Model):
    pytest.importorskip("textual")
    from cli.browse.app import Browser

    async def click() -> None:
        app = Browser(lambda: model)
        async with app.run_test(size=(100, 30)) as pilot:
            await until(pilot, lambda: settled(app))
            tree = app.key_tree
            await pilot.click("#tree", offset=(4, 0))  # the chosen line: it opens
            await until(pilot, lambda: tree.count > len(model.keys.tops))
            await pilot.click("#tree", offset=(4, 2))
            await until(pilot, lambda: app.key == tree.lines[2] and settled(app))
            await pilot.click("#bar", offset=(0, 0))
            await until(pilot, lambda: settled(app, model.first_ns))

    asyncio.run(click())


def test_answers_asked_for_together_are_those_asked_for_one_by_one(capture: Capture):
    """What is prepared for keys near by is what a question about each alone returns."""
    several, single = Model(capture), Model(capture)
    keys = several.keys.order[3:40:2]
    at = (several.first_ns + several.last_ns) // 2
    several.prepare(keys, at)
    kept = [several.kept(key, at) for key in keys]
    assert all(rows is not None for rows in kept)
    assert any(rows.num_rows for rows in kept)
    for key, rows in list(zip(keys, kept, strict=True))[::3]:
        assert rows.equals(single.state(key, at)), several.keys.path(key)


def test_the_asker_answers_the_newest_wish_first_and_then_prepares(model: Model):
    from cli.browse.asker import Asker

    asked: list[object] = []

    class Slow:
        def state(self, key: int, at_ns: int) -> None:
            asked.append(key)
            if key == 1:
                asker.want(2, 0)  # while the first is asked for, the user goes on to 2, and on to 3
                asker.want(3, 0, [(range(20), 5)])
            if key == 4:
                raise RegtraceError("no more disk")

        def prepare(self, keys: list[int], at_ns: int) -> None:
            asked.append((list(keys), at_ns))
            if len(keys) == 4:
                asker.want(4, 0)

    told: list[object] = []

    def tell(key: int, at_ns: int, failure: str | None) -> None:
        told.append((key, failure))
        if key == 4:
            asker.end()

    asker = Asker(Slow(), tell)  # type: ignore[arg-type]
    asker.want(1, 0)
    asker.run()
    assert asked == [1, 3, (list(range(16)), 5), (list(range(16, 20)), 5), 4]
    assert told == [(1, None), (3, None), (4, "no more disk")]


def test_what_cannot_be_opened_is_told_when_the_view_has_ended(model: Model):
    pytest.importorskip("textual")
    from cli.browse.app import Browser

    def load() -> Model:
        raise RegtraceError("it is torn")

    async def look() -> Browser:
        app = Browser(load)
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: not app.is_running)
        return app

    assert str(asyncio.run(look()).failure) == "it is torn"


def test_a_long_list_makes_only_the_lines_that_are_seen():
    pytest.importorskip("textual")
    from textual.app import App

    from cli.browse.lines import Lines

    class Many(Lines):
        made: ClassVar[set[int]] = set()

        def parts(self, index: int, width: int) -> list[tuple[str, None]]:
            self.made.add(index)
            return [(f"{index}".ljust(width), None)]

    class One(App[None]):
        def compose(self):
            yield Many()

    async def look() -> None:
        app = One()
        async with app.run_test(size=(40, 10)) as pilot:
            lines = app.query_one(Many)
            lines.reset(1_000_000)
            lines.focus()
            await pilot.press("end")
            assert lines_of(lines)[-1].startswith("999999")
            await pilot.press("pageup", "up", "home", "down")
            assert lines_of(lines)[1].startswith("1 ")
            assert len(lines.made) < 60
            await pilot.resize_terminal(40, 4)
            await pilot.press("end")
            assert lines_of(lines)[-1].startswith("999999")

    asyncio.run(look())


def test_text_is_cut_to_columns_whatever_its_letters():
    from rich.cells import cell_len

    from cli.browse.lines import fitted

    for text in ("", "abc", "abcdefghijkl", "设置设置设置设置", "a设b置c设d置", "é" * 30):
        for width in range(1, 14):
            for end in (False, True):
                cut = fitted(text, width, end=end)
                assert cell_len(cut) == width
                assert cell_len(text) > width or cut.rstrip() == text
    assert fitted("abcdef", 4) == "abc…"
    assert fitted("abcdef", 4, end=True) == "…def"


def test_hostile_names_are_shown_and_not_obeyed(tmp_path: Path):
    """Neither markup nor escapes: every name of the tree is what the rule for terminals makes of it."""
    pytest.importorskip("textual")
    from cli.browse.app import Browser
    from cli.output.safe import is_visible, visible

    write_capture(tmp_path / "x.regtrace")
    with open_capture(tmp_path / "x.regtrace") as opened:
        model = Model(opened)

        async def look() -> None:
            app = Browser(lambda: model)
            async with app.run_test(size=(80, 24)) as pilot:
                await until(pilot, lambda: settled(app))
                path, tree, values = model.keys.path, app.key_tree, app.query_one("#values")
                hostile = [key for key in every_key(model) if "Hostile" in path(key) or "<" in path(key)]
                assert len(hostile) > 10
                for key in hostile[-8:]:
                    app.reveal(key)
                    await until(pilot, lambda key=key: app.key == key and app.shown == (key, app.at_ns))
                    shown = visible(model.keys.shown_path(key))
                    assert text_of(app, "#key").strip() == (shown if len(shown) <= 80 else "…" + shown[-79:])
                    assert all(is_visible(line) for line in (*lines_of(tree), *lines_of(values)))
                    assert all(is_visible(text) for text in text_of(app, "#detail").split("\n"))
                for key in hostile:
                    if key in tree.lines:
                        label = visible(model.keys.shown_label(key))
                        assert (
                            "".join(part for part, _ in tree.parts(tree.lines.index(key), 300))
                            .strip()
                            .endswith(label.strip())
                        )
                assert sum(key in tree.lines for key in hostile) > 10
                assert "\x1b" not in app.export_screenshot()

        asyncio.run(look())


def test_users_keys_are_called_as_other_tables_call_them(tmp_path: Path):
    from test_users import ANN, BOB, EVENTS

    above = ("HKU", *(f"HKU\\{name}" for name in (ANN, BOB, "S-1-5-18", rf"{ANN}\Software")))
    write_events(tmp_path / "two.regtrace", [*EVENTS, *(event("OpenKey", key) for key in above)])
    with open_capture(tmp_path / "two.regtrace") as opened:
        model = Model(opened)
        roots = [key for key in every_key(model) if model.keys.path(key).count("\\") < 2]
        assert f"HKU\\{ANN}" in map(model.keys.shown_path, roots)
        model.read_users()
        shown = {model.keys.path(key): model.keys.shown_label(key) for key in roots}
        assert shown[f"HKU\\{ANN}"] == "HKCU (ann)"
        assert shown[f"HKU\\{BOB}"] == "HKCU (Bob)"
        assert shown["HKU\\S-1-5-18"] == "S-1-5-18"
        ann = next(key for key in roots if model.keys.path(key) == f"HKU\\{ANN}")
        (below,) = model.keys.children(ann)
        assert model.keys.shown_path(below) == r"HKCU (ann)\Software"
        assert model.keys.shown_label(below) == "Software"


def test_a_capture_without_keys_says_so(tmp_path: Path):
    pytest.importorskip("textual")
    from cli.browse.app import Browser

    write_events(tmp_path / "e.regtrace", [])

    async def look(model: Model) -> None:
        app = Browser(lambda: model, name="e.regtrace")
        async with app.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: "holds no keys" in text_of(app, "#status"))
            await pilot.press(
                "h", "full_stop", "plus", "down", "enter", "left", "right", "tab", "end", "enter"
            )
            assert text_of(app, "#time").strip().startswith("no time")

    with open_capture(tmp_path / "e.regtrace") as opened:
        asyncio.run(look(Model(opened)))
