"""Noise: what Windows does by itself is marked, left out by the same questions, and its number is said."""

from pathlib import Path

import pandas as pd
import pytest
from hand_capture import event, write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_counts import is_noise
from plain_rows import plain_rows
from test_cli_verbs import as_on_a_terminal, plain

from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from analysis.questions.noise import count_noise
from tracer.registry.operations import NOISE, OPERATIONS

KEY = r"HKLM\SOFTWARE\V"
ROW = st.fixed_dictionaries(
    {
        "operation": st.sampled_from(
            [one.name for one in OPERATIONS] + ["OpenKey", "QueryKey", "SetInformationKey"] * 6
        ),
        "key": st.sampled_from([KEY, rf"{KEY}\w"]),
        "status": st.sampled_from([None, 0, 0, 0x104, 0xC0000034]),
        "disposition": st.sampled_from([None, 0, 1, 2]),
        "information_class": st.sampled_from([None, 0, 2, 3, 5, 7]),
        "process": st.sampled_from(["a.exe", "b.exe"]),
    }
)
FILTERS = st.sampled_from(
    [
        Filters(),
        Filters(key=KEY),
        Filters(key=KEY, subtree=True),
        Filters(process="a.exe"),
        Filters(status="success"),
    ]
)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=40), filters=FILTERS)
def test_questions_of_load_leave_out_what_a_loop_calls_noise(
    rows: list[dict[str, object]], filters: Filters, tmp_path_factory: pytest.TempPathFactory
) -> None:
    events = [event("OpenKey", KEY), *(event(**row) for row in rows)]
    with open_capture(
        write_events(tmp_path_factory.mktemp("noise") / "c.regtrace", events), threads=1
    ) as capture:
        fitting = plain_rows(capture, filters)
        noise = sum(map(is_noise, fitting))
        assert count_noise(capture.context, filters) == noise
        narrowed = capture.where(filters)
        for answer in (narrowed.who(), narrowed.hot(), narrowed.keys(), narrowed.hot(by="operation")):
            assert answer["events"].sum() == len(fitting) - noise
        assert narrowed.tree(depth=0)["events"].sum() == len(fitting) - noise
        marked = narrowed.timeline()["noise"]
        assert len(marked) == len(fitting)  # what happened is shown whole
        assert len(narrowed.timeline(noise=False)) == len(fitting) - noise
        assert int(marked.notna().sum()) == noise
        assert set(marked.dropna()) <= set(NOISE)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory):
    rows = [
        event("OpenKey", KEY),
        event("OpenKey", KEY, status=0x104),
        event("QueryKey", KEY, information_class=7),
        event("QueryKey", KEY, information_class=3),
        event("QueryKey", KEY, information_class=2),
        event("SetInformationKey", KEY, information_class=5),
    ]
    with open_capture(write_events(tmp_path_factory.mktemp("noise") / "a.regtrace", rows)) as opened:
        yield opened


def test_the_reason_stands_beside_each_row(capture: Capture) -> None:
    reasons = capture.timeline()["noise"]
    assert [None if pd.isna(one) else one for one in reasons] == [
        None, "link", "handle tags", "key name", None, "handle tags",
    ]  # fmt: skip


def test_all_counts_it_and_asking_for_operations_too(capture: Capture) -> None:
    assert capture.hot()["events"][0] == 2
    assert capture.hot(noise=True)["events"][0] == 6
    assert capture.hot(operation="QueryKey")["events"][0] == 3
    assert capture.where(noise=True).hot()["events"][0] == 6


@pytest.mark.parametrize("verb", ["hot", "who", "keys", "tree", "redundant"])
def test_the_command_line_says_how_much_is_left_out(capture: Capture, verb: str) -> None:
    said = " ".join(plain(as_on_a_terminal(verb, capture.path)).split())
    assert "4 operations that Windows does by itself left out; --all counts them too" in said
    assert "left out" not in plain(as_on_a_terminal(verb, capture.path, "--all"))


def test_the_page_has_every_reason() -> None:
    page = (Path(__file__).parents[1] / "docs" / "questions.md").read_text(encoding="utf-8")
    for reason, (_, meaning) in NOISE.items():
        assert f"| `{reason}` |" in page
        assert meaning in page


@pytest.mark.parametrize("kind", ["timeline", "activity", "tree"])
def test_pictures_leave_it_out_and_say_so(capture: Capture, kind: str) -> None:
    pytest.importorskip("altair", reason="pictures need the extra plots")
    from analysis.charts.figures import PICTURES

    picture = PICTURES[kind](capture, Filters())
    assert picture.rows == 2
    assert any("4 operations that Windows does by itself are left out" in note for note in picture.notes)
    every = PICTURES[kind](capture, Filters(noise=True))
    assert every.rows == 6
    assert not any("by itself" in note for note in every.notes)
