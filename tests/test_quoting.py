"""Names and texts of strangers cannot pass for words of ours, and what is shown can be asked for."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hand_capture import event, write_events
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli.app import app
from cli.output.table import TextColumn, lay_out
from cli.tables.timeline import below_common, process_cells, value_cells
from tracer.callbacks.selection import Selection
from tracer.live.row_filter import RowFilter
from tracer.registry.paths import compile_pattern
from tracer.registry.quoting import as_pattern, quote_name, quote_text
from tracer.registry.terms import name_regex

KEY = r"HKLM\SOFTWARE\Vendor"
NAMES = st.text(st.sampled_from('ab"(). ?*[]…\\'), min_size=1, max_size=8)


@given(NAMES, NAMES)
@example("(default)", '"(default)"')
def test_two_names_are_never_shown_alike(one: str, other: str) -> None:
    assert (quote_name(one) == quote_name(other)) == (one == other)
    assert (quote_text(one) == quote_text(other)) == (one == other)


def test_a_name_like_a_word_of_ours_is_shown_in_quotes() -> None:
    rows = pa.table({"value_name": ["", "(default)", '"(default)"', None, "Run", "Run "]})
    assert value_cells(rows) == ["(default)", '"(default)"', '"""(default)"""', "", "Run", '"Run "']
    rows = pa.table({"process": [None, "?", "a.exe (4)", "a.exe", "(4)"], "pid": [None, None, None, 4, None]})
    assert process_cells(rows) == ["?", '"?"', '"a.exe (4)"', "a.exe (4)", '"(4)"']


def test_the_key_that_others_lie_below_is_not_taken_for_a_key_of_that_name() -> None:
    assert below_common([r"HKLM\A", r"HKLM\A\.", r"HKLM\A\B "]) == (r"HKLM\A", [".", '"."', '"B "'])


def test_a_mark_of_what_was_left_out_is_never_part_of_a_name() -> None:
    cells = ["Open…", "Open the file"]
    assert list(lay_out([TextColumn("v", cells, shrink="end", least=6)], width=14)) == [
        "v",
        "Open\\u{2026}",
        "Open the file",
    ]
    assert list(lay_out([TextColumn("v", ["ab…"], most=2)])) == ["v", "a…"]


@given(NAMES)
@example('"(default)"')
@example("*")
def test_a_name_in_quotes_is_asked_for_letter_by_letter(name: str) -> None:
    import re

    quoted = '"' + name.replace('"', '""') + '"'
    regex = re.compile(name_regex(quoted, whole=False))
    assert regex.fullmatch(name)
    assert not regex.fullmatch(name + "a")
    image = name.replace("\\", "")
    if image:
        wanted = Selection(process='"' + image.replace('"', '""') + '"')
        assert wanted.match(pa.table({"process": [image, image + "x"], "pid": [1, 2]})).tolist() == [
            True,
            False,
        ]


def test_a_key_in_quotes_is_meant_letter_by_letter() -> None:
    pattern = compile_pattern(r'"HKLM\SOFTWARE\Classes\*\shell "')
    assert pattern.matches(r"HKLM\SOFTWARE\Classes\*\shell ")
    assert not pattern.matches(r"HKLM\SOFTWARE\Classes\*\shell")
    assert not pattern.matches(r"HKLM\SOFTWARE\Classes\.txt\shell ")
    assert as_pattern('"') == '"'


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    told = [
        event("SetValueKey", KEY, name, data=b"1\0\0\0", data_size=4, data_type=1, process=image)
        for name in ("", "(default)", "Run")
        for image in ("1234", "a.exe")
    ]
    return write_events(tmp_path_factory.mktemp("quoting") / "names.regtrace", told)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--value", "(default)"], [""] * 2),
        (["--value", '"(default)"'], ["(default)"] * 2),
        (["--value", '"(default)"', "--process", '"1234"'], ["(default)"]),
    ],
)
def test_what_is_shown_can_be_asked_for(capture: Path, options: list[str], names: list[str]) -> None:
    shown = CliRunner().invoke(app, ["timeline", str(capture), "--key", KEY, "-f", "jsonl", *options])
    assert [json.loads(line)["value_name"] for line in shown.stdout.splitlines()] == names


def test_a_watch_takes_the_same_words_for_the_default_value() -> None:
    rows = pa.table({"value_name": pa.array(["", "(default)", "Run"]).dictionary_encode()})
    assert RowFilter(value="(Default)").apply(rows).column("value_name").to_pylist() == [""]
    assert RowFilter(value='"(default)"').apply(rows).column("value_name").to_pylist() == ["(default)"]
