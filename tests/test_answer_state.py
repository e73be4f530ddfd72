"""What was known at a time, compared with a loop that follows events one by one, and with the simulated registry."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from batches import check_in_batches
from hypothesis import strategies as st
from plain_evidence import content_of, follow, is_doubtful, is_lost, text_of, unproved_times
from plain_rows import simulated
from small_capture import write_capture
from workloads import PATHS, losses, path_of, together, with_renames, write_workload

import regtrace as rt
from analysis.answers.contents import STATE_COLUMNS
from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from tracer.errors import UsageError
from tracer.registry.text import fold_name
from tracer.registry.value_columns import names_with_texts
from tracer.simulate import registry, run

Row = dict[str, Any]
TRACES: dict[str, dict[str, Any]] = {
    "lossy": {"seed": 13, "lost_buffers": 0.2, "buffer_size": 8192},
    "classic hostile": {"seed": 14, "classic": True, "nul_names": 0.1, "hostile_names": 0.2, "reuse": 1.0},
}
PARTS = ("type", "size", "data")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    path = simulated(tmp_path_factory.mktemp("captures"), seed=15, events=1500)
    with open_capture(path, memory_limit="512MB", threads=2) as opened:
        yield opened


@pytest.fixture(scope="module", params=["small", "plain", *TRACES])
def capture(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    folder = tmp_path_factory.mktemp("captures")
    if request.param == "plain":
        yield request.getfixturevalue("plain")
        return
    if request.param == "small":
        path = write_capture(folder / "small.regtrace", events=240)
    else:
        path = simulated(folder, **TRACES[request.param], events=1500)
    with open_capture(path, memory_limit="512MB", threads=2) as opened:
        yield opened


def plain_state(capture: Capture, at_ns: int | None = None) -> dict[tuple[int, str | None], Row]:
    """Return what `state` must say, by key and value."""
    follower = follow(capture, at_ns)
    whole = follow(capture)
    lost = capture.info()["losses"], unproved_times(capture, at_ns)
    found = {}
    for group in follower.keys.keys() & whole.listed:
        word, sure, at = follower.keys[group].shown()
        if word is not None and at is not None:
            found[group, None] = _plain_row(word, sure, at, None, None, lost, at_ns)
        for value, known in follower.values(group):
            word, at = known.word()
            if word is None or at is None:
                continue
            sure = known.sure_word()
            found[group, value] = _plain_row(word, sure, at, value, whole.names[group, value], lost, at_ns)
    return found


def _plain_row(word, sure, at, value, name, lost, at_ns) -> Row:
    losses, unproved = lost
    since = is_lost(losses, at["time_ns"], at_ns) or is_doubtful(unproved, word, value, at["time_ns"], None)
    content = content_of(at) if value is not None and sure in ("write", "read") else (None, None, None)
    return {
        "value_name": name,
        "known": "unknown" if since else word,
        "last_known": sure,
        "lost_since": since,
        "content": content,
        "text": text_of(content),
        "sequence": at["sequence"],
        "operation": at["operation"],
        "process": at["process"],
        "pid": at["pid"],
    }


def asked(
    capture: Capture, at: str | None = None, under: str | None = None, **filters: Any
) -> dict[tuple[int, str | None], Row]:
    frame = capture.state(at=at, under=under, **filters)
    assert tuple(name for name in frame.columns if name != "key_user") == names_with_texts(STATE_COLUMNS)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    for row in rows:
        row["content"] = tuple(row[part] for part in PARTS)
    found = {(row["key_id"], row["value_name"] and fold_name(row["value_name"])): row for row in rows}
    assert len(found) == len(rows)
    return found


def compare(found: dict[tuple[int, str | None], Row], wanted: dict[tuple[int, str | None], Row]) -> None:
    assert found.keys() == wanted.keys()
    for place, row in wanted.items():
        assert {name: found[place][name] for name in row} == row, place


@pytest.mark.slow
def test_the_state_at_the_end_is_what_the_loop_ends_with(capture: Capture) -> None:
    wanted = plain_state(capture)
    assert len(wanted) > 50
    compare(asked(capture), wanted)


@pytest.mark.slow
def test_the_state_at_a_time_is_what_events_up_to_it_say(capture: Capture) -> None:
    first_ns, last_ns = capture.span() or (0, 0)
    after_ns = (last_ns - first_ns) * 2 // 5
    compare(asked(capture, f"+{after_ns}ns"), plain_state(capture, first_ns + after_ns))


@pytest.mark.slow
def test_any_events_amount_to_what_the_loop_makes_of_them(tmp_path_factory: pytest.TempPathFactory) -> None:
    def check(examples: Sequence[tuple[list[Row], list[Row], int]]) -> None:
        _, lost, after = examples[0]
        rows = together([rows for rows, _, _ in examples])
        path = write_workload(
            tmp_path_factory.mktemp("any") / "a.regtrace", rows, lost, workloads=len(examples)
        )
        with open_capture(path, memory_limit="512MB", threads=1) as capture:
            first_ns, _ = capture.span() or (0, 0)
            whole = asked(capture, f"+{after}ns")
            compare(whole, plain_state(capture, first_ns + after))
            # What happened above a key, to its hive, say, is evidence of it although it is not asked about.
            last = (len(examples) - 1) * len(PATHS)
            for keys in ((2, 3), (4, 7, 8)):
                below = {place: row for place, row in whole.items() if place[0] - last in keys}
                assert asked(capture, f"+{after}ns", path_of(last + keys[0])) == below

    any_events = st.tuples(with_renames(30, 120), st.lists(losses(), max_size=3), st.integers(0, 9000))
    check_in_batches(any_events, check, (1, 3, 5, 5), shrink=False)


# --- the registry that was simulated ------------------------------------------------------------------------


def find_key(root: registry.Key, path: str) -> registry.Key | None:
    key: registry.Key | None = root
    for name in path.split("\\")[2:]:
        key = key.find(name) if key else None
    return key


@pytest.mark.slow
def test_what_is_known_is_what_the_simulated_registry_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shorter run with the same seed is the beginning of the longer one, so its registry is that of a time."""
    kept: list[registry.Registry] = []

    class Kept(registry.Registry):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            kept.append(self)

    monkeypatch.setattr(run, "Registry", Kept)
    # A key has two paths where it is reached through a link, and none where its open was not seen.
    shared = {"seed": 21, "keys": 150, "links": 0.0, "preopened": 0, "gap_us": 2000.0}
    with open_capture(simulated(tmp_path, **shared, events=5000), memory_limit="512MB") as capture:
        rt.simulate(tmp_path / "short.etl", rt.SimulationOptions(**shared, events=2500))
        end_ns = int(capture.timeline(limit=2500)["time_ns"].iloc[-1])
        frame = capture.state(at=f"+{end_ns - (capture.span() or (0, 0))[0]}ns")
    held = dict.fromkeys(("exists", "absent", "deleted", "write", "read"), 0)
    for row in frame.to_dict("records"):
        key, name = find_key(kept[-1].root, row["key"]), row["value_name"]
        if row["known"] == "unknown":  # a name with zeros behind it may end elsewhere
            continue
        held[row["known"]] += 1
        if not isinstance(name, str):
            assert (key is not None) == (row["known"] == "exists")
            continue
        values = key.values if key else []
        value = next((one for one in values if fold_name(one.name) == fold_name(name)), None)
        assert (value is not None) == (row["known"] in ("write", "read"))
        if value is not None and isinstance(row["data"], bytes):
            assert (row["type"], row["size"]) == (value.type, len(value.data))
            assert value.data.startswith(row["data"])
            assert len(row["data"]) >= min(len(value.data), 1900)
    assert all(held.values()), held


# --- what is asked, and how it fails --------------------------------------------------------------------------


@pytest.mark.slow
def test_questions_about_some_keys_and_values_have_the_same_answer_about_them(plain: Capture) -> None:
    whole = asked(plain)
    below = asked(plain, None, "HKLM")
    assert 0 < len(below) < len(whole)
    assert below == {
        place: row for place, row in whole.items() if row["display_key"].upper().startswith("HKLM")
    }
    name = next(name for _, name in whole if name)
    one = asked(plain, value=name.lower())
    assert one == {place: row for place, row in whole.items() if place[1] == name}
    defaults = {place: row for place, row in whole.items() if place[1] == ""}
    assert asked(plain, value="(default)") == defaults


@pytest.mark.slow
def test_other_filters_choose_by_the_event_that_tells(plain: Capture) -> None:
    whole = asked(plain)
    process = next(row["process"] for row in whole.values() if row["process"])
    wanted = {place: row for place, row in whole.items() if row["process"] == process}
    assert asked(plain, process=process) == wanted
    reads = {place: row for place, row in whole.items() if row["operation"] == "QueryValueKey"}
    assert asked(plain, where="operation = 'QueryValueKey'") == reads


@pytest.mark.slow
def test_a_time_before_everything_knows_nothing(plain: Capture) -> None:
    assert len(plain.state(at="2001-01-01T00:00:00Z")) == 0
    assert len(plain.state(at="2100-01-01T00:00:00Z")) == len(plain.state())


def test_two_answers_to_one_question_are_refused(plain: Capture) -> None:
    with pytest.raises(UsageError, match="one of them"):
        plain.state(under="HKLM", key="HKU")
    with pytest.raises(UsageError, match="not a time"):
        plain.state(at="noon")


@pytest.mark.slow
def test_integers_stay_integers_and_the_doubts_come_along(plain: Capture) -> None:
    frame = plain.state()
    kinds = {name: str(frame.dtypes[name]) for name in ("type", "sequence", "pid", "lost_since")}
    assert kinds == {
        "type": "uint32[pyarrow]", "sequence": "int64[pyarrow]", "pid": "uint32[pyarrow]",
        "lost_since": "bool[pyarrow]",
    }  # fmt: skip
    assert frame.attrs["doubts"] == plain.doubts(Filters()).sentences


# --- what happens above a key ---------------------------------------------------------------------------------


def after_events_above(folder: Path, *above: Row) -> Capture:
    """Return a capture in which a value is written, then something happens above its key, then it is written again."""
    write = {"operation": "SetValueKey", "key_id": 2, "status": 0, "value_name": "V", "data_type": 4}
    write |= {"data": b"\1\0\0\0", "data_size": 4}
    rows = [write, *above, write | {"gap": 10}]
    defaults = {"notify_class": 16, "gap": 1, "flags": 0, "process_id": 0}
    return open_capture(write_workload(folder / "a.regtrace", [defaults | row for row in rows], []))


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["LoadKey", "RestoreKey"])
def test_another_hive_above_a_key_makes_its_values_unknown(operation: str, tmp_path: Path) -> None:
    with after_events_above(tmp_path, {"operation": operation, "key_id": 1, "status": 0}) as capture:
        key, value = capture.state(at="+5ns", key="HKLM\\SOFTWARE\\A\\x").to_dict("records")
        assert (key["known"], key["last_known"], key["sequence"]) == ("unknown", "exists", 0)
        assert (value["known"], value["last_known"], value["text"]) == ("unknown", "write", "1")
        history = capture.history("HKLM\\SOFTWARE\\A\\x")
        assert history["old_from"].isna().tolist() == [True, True]


@pytest.mark.slow
def test_a_key_that_failed_to_load_changes_nothing(tmp_path: Path) -> None:
    failed = {"operation": "LoadKey", "key_id": 1, "status": 0xC0000022}
    with after_events_above(tmp_path, failed) as capture:
        assert capture.state(at="+5ns", under="HKLM\\SOFTWARE\\A\\x")["known"].tolist() == ["exists", "write"]
        assert capture.history("HKLM\\SOFTWARE\\A\\x")["old_from"].tolist()[1] == "write"


@pytest.mark.slow
def test_a_rename_of_which_nobody_knows_whether_it_was_done_leaves_both_names_unknown(tmp_path: Path) -> None:
    other = {"operation": "OpenKey", "key_id": 4, "status": 0}
    rename = {"operation": "RenameKey", "key_id": 1, "status": None, "requested_name": "ab"}
    with after_events_above(tmp_path, other, rename) as capture:
        assert capture.state(at="+5ns", under="HKLM\\SOFTWARE\\A\\x")["known"].tolist() == [
            "unknown",
            "unknown",
        ]
        assert capture.state(at="+5ns", key="HKLM\\SOFTWARE\\AB")["known"].tolist() == ["unknown"]
        history = capture.history("HKLM\\SOFTWARE\\A\\x")
        assert history["operation"].tolist() == ["SetValueKey", "SetValueKey"]
        assert history["old_from"].isna().all()
