"""docs/glossary.md has every word of evidence that the code can return, under the column that returns it."""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analysis.answers import contents, net_changes, state, value_verdict
from analysis.answers.handles import LATE_NS, VERDICTS
from analysis.expressions.time_math import SECOND_NS
from analysis.questions.baseline import BASELINE
from analysis.regfile import files
from tracer.schema import FLAGS, NAME_SOURCES

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "glossary.md").read_text(encoding="utf-8")


def words_under(column: str) -> list[str]:
    """Return the words that the table below the heading of a column explains."""
    part = next(one for one in PAGE.split("\n## ") if f"`{column}`" in one.partition("\n")[0])
    return re.findall(r"^\| `([^`]+)` \|", part.partition("\n| ---")[2], re.MULTILINE)


def texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from (*texts(node.body), *texts(node.orelse))


def results(function: Callable[..., object]) -> set[str]:
    """Return the texts that a function returns, or that a choice within it (`cases`, `ifelse`) results in."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Return) and node.value is not None:
            found.update(texts(node.value))
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "cases":
            chosen = [one.elts[1] for one in node.args if isinstance(one, ast.Tuple)]
            chosen += [one.value for one in node.keywords if one.arg == "else_"]
        else:
            chosen = {"ifelse": node.args[1:], "_where": node.args[1:], "literal": node.args[:1]}.get(
                name, []
            )
        found.update(text for one in chosen for text in texts(one))
    return found


KNOWN = results(value_verdict.known_value) | results(state._keys)
LAST_KNOWN = results(state._meaning)
CHANGES = {*net_changes._WORDS.values(), *net_changes._KEY_WORDS.values(), *results(net_changes._word)}
OLD_FROM = (results(contents._old_from) | results(value_verdict.known_value)) - {
    "deleted",
    "unknown",
    "int64",
}

WORDS = {
    "name_source": set(NAME_SOURCES),
    "flags": set(FLAGS),
    "old_from": OLD_FROM | {BASELINE},
    "conflict": results(contents._conflict),
    "known": (KNOWN - {"int64"}) | {BASELINE},
    "last_known": LAST_KNOWN | {"unknown", BASELINE},
    "change": CHANGES,
    "before_from": set(files._SOURCES),
    "after_from": set(files._SOURCES),
    "verdict": set(VERDICTS),
}


@pytest.mark.parametrize("column", WORDS)
def test_the_glossary_has_just_the_words_that_the_column_can_hold(column):
    assert len(WORDS[column]) > 2
    assert set(words_under(column)) == WORDS[column]


def test_the_bits_of_the_glossary_are_those_of_the_schema():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, re.MULTILINE)
    assert {name: int(bit) for name, bit in rows} == FLAGS


def test_the_glossary_says_when_a_close_is_late():
    assert f"(`late_s`, {LATE_NS // SECOND_NS} seconds)" in PAGE
