"""Short ids such as #12 in place of a key: they mean the key asked for by its path, in every question."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
from hand_capture import event, write_events
from hypothesis import given
from hypothesis import strategies as st
from small_capture import write_capture
from typer.testing import CliRunner

import regtrace as rt
from analysis.capture import Capture
from analysis.questions.key_conditions import key_number, literal
from cli.app import app
from cli.output.table import TextColumn, lay_out
from cli.tables.changes import change_lines
from cli.tables.diff import diff_lines
from cli.tables.hot import hot_lines

QUESTIONS = (
    "timeline",
    "history",
    "state",
    "changes",
    "who",
    "keys",
    "hot",
    "tree",
    "errors",
    "redundant",
    "handles",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("ids") / "small.regtrace")


@pytest.fixture(scope="module")
def capture(folder: Path):
    with rt.open(folder) as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize("subtree", [False, True])
def test_an_id_is_the_key_asked_for_by_its_path(capture: Capture, subtree: bool) -> None:
    keys = capture.tables["keys"].to_pyarrow().to_pylist()
    assert len(keys) > 10
    for key in keys:
        if key["path"].startswith("<object"):
            continue
        by_id = capture.timeline(f"#{key['key_id']}", subtree=subtree)
        by_path = capture.timeline(literal(key["display_path"]), subtree=subtree)
        assert by_id.equals(by_path), key


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_takes_an_id(capture: Capture, question: str) -> None:
    path = r"HKLM\SOFTWARE\Vendor\Run"
    number = int(capture.timeline(path)["key_id"].iloc[0])
    ask = getattr(capture, question)
    assert ask(f"#{number}").equals(ask(path))
    assert ask([f"#{number}", "#0"]).equals(ask([path, literal(capture.context.path_of(0))]))


def test_keys_that_are_one_have_one_answer(tmp_path: Path) -> None:
    sid = "S-1-5-21-1-2-3-1001"
    events = [event("OpenKey", rf"HKU\{sid}\Software\Classes\.txt"), event("OpenKey", rf"HKU\{sid}_Classes\.txt"),
              event("OpenKey", "<object 0x1>"), event("OpenKey", "<object 0x2>")]  # fmt: skip
    with rt.open(write_events(tmp_path / "a.regtrace", events)) as one:
        assert one.timeline("#0").equals(one.timeline("#1"))
        assert len(one.timeline("#0")) == 2
        assert one.timeline("#3")["key"].tolist() == ["<object 0x2>"]


@pytest.mark.slow
def test_in_a_dataset_an_id_is_of_one_capture(tmp_path: Path) -> None:
    events = [event("OpenKey", r"HKLM\SOFTWARE\A"), event("OpenKey", r"HKLM\SOFTWARE\A\B")]
    paths = [write_events(tmp_path / f"{name}.regtrace", events) for name in "ab"]
    with rt.open(paths) as dataset:
        rows = dataset.timeline(r"HKLM\SOFTWARE\A", subtree=True)
        assert len(rows) == 4
        for key_id, count in zip(rows["key_id"], (2, 1, 2, 1), strict=True):
            below = dataset.timeline(f"#{key_id}", subtree=True)
            assert len(below) == count
            assert below["capture"].nunique() == 1
            assert len(dataset.timeline(f"#{key_id}")) == 1


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#0", 0),
        ("#12", 12),
        ("#012", None),
        ("#", None),
        ("#-1", None),
        ("# 1", None),
        ("#1x", None),
        ("#\u0661", None),
        ("#" + "9" * 30, None),
    ],
)
def test_what_an_id_is(text: str, number: int | None) -> None:
    assert key_number(text) == number


def test_an_id_that_is_not_there_is_told(folder: Path, capture: Capture) -> None:
    with pytest.warns(rt.RegtraceWarning, match="no key in small.regtrace has the id #99999"):
        assert capture.timeline("#99999").empty
    shown = CliRunner().invoke(app, ["history", str(folder), "#99999"])
    assert shown.exit_code == 2
    assert "has the id #99999" in shown.stderr


def test_a_replay_takes_an_id_and_live_rows_do_not(folder: Path, capture: Capture) -> None:
    path = r"HKLM\SOFTWARE\Vendor\Run"
    number = int(capture.timeline(path)["key_id"].iloc[0])
    assert list(rt.replay(folder, key=f"#{number}")) == list(rt.replay(folder, key=path))
    with pytest.raises(rt.UsageError, match="#12"):
        rt.Registrations().register(print, key="#12")


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 120])
def test_a_key_that_a_table_shortens_can_be_asked_for(capture: Capture, width: int) -> None:
    rows = capture.queries.hot().to_arrow()
    keys = dict(zip(rows.column("key_id").to_pylist(), rows.column("display_key").to_pylist(), strict=True))
    shown = re.findall(r"…\S* #(\d+)$", "\n".join(hot_lines(rows, width)), re.MULTILINE)
    assert shown
    for number in shown:
        assert capture.timeline(f"#{number}").equals(capture.timeline(literal(keys[int(number)])))


@given(st.lists(st.text("abcdefgh\\", min_size=1, max_size=60), min_size=1, max_size=8), st.integers(20, 60))
def test_an_id_stands_behind_just_the_cells_that_are_shortened(cells: list[str], width: int) -> None:
    ids = [f"#{place}" for place in range(len(cells))]
    lines = list(lay_out([TextColumn("", cells, shrink="middle", ids=ids)], width=width))
    for cell, number, line in zip(cells, ids, lines, strict=True):
        assert len(line) <= width
        assert (line == cell.rstrip(" ")) == (len(cell) <= width)
        assert line.endswith(f" {number}") == (len(cell) > width)


WHOLE = r"HKLM\A"  # short enough to be shown whole
LONG = "\\".join(["HKLM", "SOFTWARE", *(f"Component number {number}" for number in range(9))])


def shown_ids(rows: pa.Table, lines: list[str], name: str = "key_id") -> set[str]:
    """Return the ids in lines, each of which must be one of the rows'."""
    ids = {f"#{number}" for number in rows.column(name).to_pylist() if number is not None}
    found = set(re.findall(r"#\d+", "\n".join(lines)))
    assert found <= ids
    return found


def test_changes_and_differences_show_the_ids_of_shortened_keys(tmp_path: Path) -> None:
    def capture_of(name: str, *writes: tuple[str, bytes]) -> Path:
        events = [event("SetValueKey", key, "v", data_type=3, data_size=1, data=data) for key, data in writes]
        return write_events(tmp_path / name, [event("OpenKey", WHOLE), *events])

    a = capture_of("a.regtrace", (LONG, b"1"), (rf"{LONG}\x", b"1"), (WHOLE, b"1"))
    b = capture_of("b.regtrace", (rf"{LONG}\only b", b"1"), (LONG, b"2"), (WHOLE, b"2"))
    with rt.open(a) as ours, rt.open(b) as theirs:
        rows = ours.queries.changes().to_arrow()
        by_key = dict(zip(rows["display_key"].to_pylist(), rows["key_id"].to_pylist(), strict=True))
        for by_process in (False, True):
            lines = list(change_lines(rows, 80, by_process=by_process))
            assert f"#{by_key[LONG]}" in shown_ids(rows, lines)
            assert f"#{by_key[WHOLE]}" not in shown_ids(rows, lines)
        assert not shown_ids(rows, list(change_lines(rows, 400)))
        rows = ours.queries.diff(theirs).to_arrow()
        lines = list(diff_lines(rows, 80))
        titles = {line for line in lines if "Component" in line}
        assert any(re.search(r" #\d+ in b$", line) for line in titles)
        assert any(line.endswith(f" #{by_key[LONG]}") for line in titles)
        assert not any("#" in line for line in diff_lines(rows, 400))
