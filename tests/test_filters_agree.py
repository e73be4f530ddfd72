"""One filter means the same to a timeline, to live rows and to callbacks: three readings of the same random words."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import regtrace as rt
from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from tracer.callbacks.registrations import Registrations
from tracer.callbacks.selection import Selection
from tracer.ingest.pipeline import ingest
from tracer.live.row_filter import RowFilter
from tracer.registry.operations import GROUPS, OPERATIONS
from tracer.simulate import SimulationOptions, simulate

_TEXTS = ("process", "image_path", "key", "value_name", "operation")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory):
    """A capture, and all of its rows as live rows come."""
    folder = tmp_path_factory.mktemp("filters")
    simulate(folder / "a.etl", SimulationOptions(events=1200, option_word=7, hostile_names=0.1), truth=False)
    ingest([folder / "a.etl"], folder / "a.regtrace")
    with open_capture(folder / "a.regtrace") as capture:
        rows = capture.timeline_reader(Filters()).read_all()
        processes = pq.read_table(folder / "a.regtrace" / "processes.parquet").sort_by("process_id")
        rows = rows.append_column(
            "image_path", processes.column("image_path").take(rows.column("process_id"))
        )
        for name in _TEXTS:
            column = rows.column(name).cast(pa.string()).combine_chunks()
            rows = rows.set_column(rows.schema.get_field_index(name), name, column.dictionary_encode())
        yield folder / "a.regtrace", capture, rows


def words_of(rows: pa.Table, column: str) -> list[str]:
    return sorted({text for text in rows.column(column).to_pylist() if text is not None})


@st.composite
def as_pattern(draw, name: str) -> str:
    """A pattern that the name may match: with wildcards, in another case, in quotes, or a little wrong."""
    form = draw(st.sampled_from(["plain", "case", "quoted", "star", "question", "head", "tail"]))
    place = draw(st.integers(0, max(len(name) - 1, 0)))
    literal = name.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
    return {
        "plain": literal,
        "case": literal.swapcase(),
        "quoted": f'"{name}"' if '"' not in name else literal,
        "star": "*",
        "question": "?" * len(name),
        "head": f"{name[:place]}*".replace("[", "[[]"),
        "tail": f"*{name[place:]}".replace("[", "[[]"),
    }[form]


def as_key(key: str, pattern: str) -> str:
    """The key with its last component, or one in its middle, replaced by a pattern."""
    return f"{key.rpartition(chr(92))[0]}\\{pattern}"


@st.composite
def filters(draw, rows: pa.Table) -> dict[str, object]:
    words: dict[str, object] = {}
    if draw(st.booleans()):
        keys = [key for key in words_of(rows, "display_key") if key.startswith(("HKLM\\", "HKU\\"))]
        key = draw(st.sampled_from(keys))
        last = key.rpartition("\\")[2].replace('"', "?")
        pattern = draw(as_pattern(last).filter(lambda text: text and "\\" not in text and '"' not in text))
        words["key"] = draw(st.sampled_from([as_key(key, pattern), f"HKLM\\**\\{pattern}", [key, "HKU\\*"]]))
        words["subtree"] = draw(st.booleans())
    if draw(st.booleans()):
        column = draw(st.sampled_from(["process", "image_path", "pid"]))
        if column == "pid":
            words["process"] = str(
                draw(st.sampled_from(sorted(set(rows.column("pid").to_pylist()) - {None})))
            )
        else:
            words["process"] = draw(as_pattern(draw(st.sampled_from(words_of(rows, column)))))
    if draw(st.booleans()):
        names = [*(o.short for o in OPERATIONS), *(group.word or group.name for group in GROUPS.values())]
        words["operation"] = ",".join(draw(st.lists(st.sampled_from(names), min_size=1, max_size=3)))
    if draw(st.booleans()):
        words["status"] = draw(st.sampled_from(["error", "success", "success,0xC0000034", "BUFFER_OVERFLOW"]))
    if draw(st.booleans()):
        words["value"] = draw(as_pattern(draw(st.sampled_from(words_of(rows, "value_name")))))
    return words


@pytest.mark.slow
@settings(max_examples=60)
@given(data=st.data())
def test_a_timeline_live_rows_and_callbacks_agree_on_the_rows(
    recorded: tuple[Path, Capture, pa.Table], data: st.DataObject
) -> None:
    _, capture, rows = recorded
    words = data.draw(filters(rows))
    control_set = capture.manifest.control_set
    timeline = sorted(capture.timeline_reader(Filters(**words)).read_all().column("sequence").to_pylist())
    live = RowFilter(**words).apply(rows, control_set=control_set)
    assert sorted(live.column("sequence").to_pylist()) == timeline
    if not words.keys() & {"operation", "status", "value"}:
        mask = Selection(**words).match(rows, control_set=control_set)
        assert sorted(rows.filter(pa.array(mask)).column("sequence").to_pylist()) == timeline


def test_a_replay_calls_callbacks_for_an_image_path(recorded: tuple[Path, Capture, pa.Table]) -> None:
    path, capture, rows = recorded
    image_path = words_of(rows, "image_path")[0]
    sequences: list[int] = []
    registrations = Registrations()
    registrations.register(lambda each: sequences.append(each.sequence), process=image_path)
    assert len(list(rt.replay(path, registrations))) == len(sequences)
    timeline = capture.timeline_reader(Filters(process=image_path)).read_all()
    assert sequences == sorted(timeline.column("sequence").to_pylist())
    assert sequences


@pytest.mark.parametrize(("old", "new"), [("keys", "key"), ("until", "end")])
def test_an_old_name_of_an_argument_works_and_warns(
    recorded: tuple[Path, Capture, pa.Table], old: str, new: str
) -> None:
    path, _, _ = recorded
    word = {"keys": "HKLM\\**", "until": "+0.001s"}[old]
    with pytest.warns(DeprecationWarning, match=f"'{old}' is now called '{new}'"):
        renamed = [each.sequence for each in rt.replay(path, **{old: word})]
    assert renamed == [each.sequence for each in rt.replay(path, **{new: word})]
    with pytest.raises(TypeError, match="give only"):
        rt.replay(path, **{old: word, new: word})


def test_old_names_of_a_monitors_arguments_work_and_warn() -> None:
    with pytest.warns(DeprecationWarning, match="'processes' is now called 'process'"):
        monitor = rt.Monitor(processes="a.exe", source=[])
    with pytest.warns(DeprecationWarning, match="'keys' is now called 'key'"):
        cookie = monitor.register(print, keys="HKLM\\**")
    assert monitor[cookie].selection.keys == ("HKLM\\**",)
