"""docs/questions.md: what it says of all questions in common, asked of each verb and method."""

import inspect
from pathlib import Path

import pytest
import typer
from small_capture import write_capture

from analysis.capture import Capture
from analysis.open import open_capture
from cli.app import app
from cli.options.durations import parse_duration

QUESTIONS = (
    "timeline",
    "history",
    "state",
    "changes",
    "who",
    "keys",
    "hot",
    "tree",
    "coverage",
    "errors",
    "redundant",
    "slow",
    "handles",
)
ANYTHING = {"history": ("**",)}


def options(verb: str) -> dict[str, object]:
    """Return the names of a verb's parameters with their defaults."""
    group = typer.main.get_command(app)
    with group.make_context("regtrace", [], resilient_parsing=True) as context:
        found = group.get_command(context, verb)  # type: ignore[attr-defined]
        return {parameter.name: parameter.default for parameter in found.params}


@pytest.mark.parametrize("verb", [*QUESTIONS, "diff"])
def test_every_verb_has_the_filters_that_the_page_names(verb: str) -> None:
    has = set(options(verb))
    wanted = {"process", "where", "start", "end"}
    if verb == "state":
        wanted = wanted - {"start", "end"} | {"at"}
    if verb == "diff":
        wanted = wanted - {"start", "end"} | {"a_start", "a_end", "b_start", "b_end"}
    assert has >= (set() if verb == "keys" else wanted)
    assert has & {"under", "subtree"}
    assert "key" in has or verb == "keys"


@pytest.mark.parametrize("verb", QUESTIONS)
def test_a_verb_and_its_method_ask_the_same_where_nothing_is_said(verb: str) -> None:
    asked = inspect.signature(getattr(Capture, verb)).parameters
    compared = 0
    for name, default in options(verb).items():
        if name in asked and asked[name].default is not inspect.Parameter.empty:
            assert default == asked[name].default, name
            compared += 1
        elif f"{name}_s" in asked:
            assert parse_duration(default) == asked[f"{name}_s"].default, name
            compared += 1
    assert compared > 1


@pytest.mark.slow
def test_every_answer_says_its_doubts_and_has_ids(tmp_path: Path) -> None:
    with open_capture(write_capture(tmp_path / "lossy.regtrace")) as capture:
        for verb in ("timeline", "state", "keys", "who"):  # the others' own tests look at their doubts
            answer = getattr(capture, verb)(*ANYTHING.get(verb, ()))
            assert any("1 loss" in doubt for doubt in answer.attrs["doubts"]), verb
            assert {"key_id", "process_id", "handle_id", "sequence"} & set(answer.columns), verb
        assert "doubts" not in capture.sql("SELECT 1").attrs
