"""Net changes, compared with a plain loop over the same rows; and what each kind of change is, one by one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pandas as pd
import pyarrow as pa
import pytest
from batches import check_in_batches
from hand_capture import write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from phrase_cache import said_once
from plain_changes import Renamed, plain_changes
from plain_evidence import is_below, is_doubtful, is_followed, is_lost, new_path, unproved_times
from plain_rows import folded_key, group_of, plain_rows, simulated
from small_capture import HOSTILE, write_capture
from workloads import PATHS, path_of, together, with_renames, write_workload

from analysis.answers.changes import touched_values_and_keys
from analysis.answers.net_changes import NET_CHANGES, NetChanges, net_changes
from analysis.capture import Capture
from analysis.engine.columns import columns_of_one
from analysis.engine.ibis_tables import bind, ibis_schema
from analysis.engine.relation import Columns
from analysis.filters import Filters
from analysis.open import open_capture
from analysis.questions.changes import reg_files
from tracer.errors import UsageError
from tracer.registry.text import fold_name
from tracer.registry.value_columns import names_with_texts
from tracer.schema import EVENTS, KEYS, PROCESSES

SIMULATED: dict[str, dict[str, Any]] = {
    "whole": {"seed": 11, "events": 6000, "keys": 120},
    "damaged": {"seed": 12, "events": 6000, "keys": 80, "lost_buffers": 0.15, "buffer_size": 8192, "reuse": 1.0,
                "hostile_names": 0.1, "nul_names": 0.1, "surrogate_names": 0.05},
    "without the data before": {"seed": 13, "events": 6000, "keys": 60, "option_word": 2, "lost_events": 0.05},
}  # fmt: skip
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("small", {"start": "+30s", "end": "-20s"}),
    ("whole", {"start": "+3s", "end": "-2s"}),
    ("whole", {"value": "*e*"}),
    ("damaged", {"process": "s*", "start": "+1s"}),
    ("without the data before", {}),
    ("without the data before", {"key": r"HKLM\S*", "subtree": True, "where": "sequence % 3 = 0"}),
]
_CELLS = ("change", "before_from", "after_from", "complete", "writes", "processes", "also_by_others", "process_id",
          "first_sequence", "last_sequence")  # fmt: skip


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Capture]]:
    folder = tmp_path_factory.mktemp("changes")
    paths = {"small": write_capture(folder / "small.regtrace", events=360)}
    paths |= {name: simulated(folder, **options) for name, options in SIMULATED.items()}
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(open_capture(path, memory_limit="512MB", threads=2))
            for name, path in paths.items()
        }


def told(rows: pa.Table) -> dict[tuple[int, str | None], dict[str, Any]]:
    """Return the rows of an answer by key and folded value, as the reference has them."""
    found = {}
    for row in rows.to_pylist():
        name = row["value_name"]
        cells = {name: row[name] for name in _CELLS}
        for side in ("before", "after"):
            cells[side] = tuple(row[f"{side}_{part}"] for part in ("type", "size", "data"))
        if name is not None:
            cells["value_name"] = name
        key = row["key_id"], None if name is None else fold_name(name)
        assert key not in found
        found[key] = cells
    return found


def reference(capture: Capture, filters: Filters) -> dict[tuple[int, str | None], dict[str, Any]]:
    start_ns, _ = capture.context.interval(filters)
    of_keys = Filters(key=filters.key, subtree=filters.subtree, end=filters.end)
    asked = {row["sequence"] for row in plain_rows(capture, replace(filters, value=None))}
    paths = folded_key(capture)
    groups = set(group_of(capture).values())
    until = capture.context.interval(filters)[1]
    lost, unproved = capture.info()["losses"], unproved_times(capture, until)

    def doubt(absent: bool, value: str | None, after_ns: int, before_ns: int | None) -> bool:
        known = "absent" if absent else "write"
        before_ns = until if before_ns is None else before_ns
        return is_lost(lost, after_ns, before_ns) or is_doubtful(unproved, known, value, after_ns, before_ns)

    heads = {key: path for key, path in paths.items() if key in groups}

    def at_or_below(path: str) -> list[int]:
        return [key for key, other in heads.items() if is_below(other, path)]

    def renamed(row: Row) -> Renamed | None:
        old = heads[row["group"]]
        if not is_followed(row):
            return None
        new, left = new_path(old, row), at_or_below(old)
        if new == old:
            return [], []
        source = {heads[key]: key for key in left}
        return left, [
            (key, source.get(old + heads[key][len(new) :]), heads[key] == new) for key in at_or_below(new)
        ]

    def entered(row: Row) -> list[int]:
        if row["operation"] != "RenameKey" or row["requested_name"] is None:
            return []
        old = heads[row["group"]]
        new = new_path(old, row)
        return at_or_below(new) if new != old else []

    return plain_changes(
        plain_rows(capture, of_keys),
        in_time=lambda row: start_ns is None or row["time_ns"] >= start_ns,
        asked=lambda row: row["sequence"] in asked,
        below=lambda top: [key for key in groups if paths[key].startswith(paths[top] + "\\")],
        doubt=doubt,
        renamed=renamed,
        entered=entered,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "words"), ASKED, ids=str)
def test_net_changes_equal_a_plain_loop(
    captures: dict[str, Capture], name: str, words: dict[str, Any]
) -> None:
    capture, filters = captures[name], Filters(**words)
    found = capture.where(filters).queries.changes().net_changes()
    expected = reference(capture, filters)
    if filters.value is not None:
        spelled = {key: row["value_name"] for key, row in expected.items() if key[1] is not None}
        expected = {key: expected[key] for key, name in spelled.items() if "e" in name.lower()}
    assert told(found.rows) == expected
    sequences = found.rows.column("first_sequence").to_pylist()
    assert sequences == sorted(sequences)


@pytest.mark.slow
def test_a_frame_has_exact_types_notes_and_doubts(captures: dict[str, Capture]) -> None:
    capture = captures["damaged"]
    frame = capture.changes(start="+2s")
    assert tuple(name for name in frame.columns if name != "key_user") == names_with_texts(NET_CHANGES.names)
    assert str(frame["after_size"].dtype) == "uint32[pyarrow]"
    assert str(frame["last_time"].dtype) == "datetime64[us, UTC]"
    assert frame.attrs["doubts"] == capture.doubts(Filters(start="+2s")).sentences
    assert all("no net change" in sentence for sentence in frame.attrs["notes"])
    # So that the comparisons above compare something. After a loss the end is not known any more.
    assert set(frame["change"]) == {"unclear"}
    frame = captures["whole"].changes(start="+2s")
    assert set(frame["change"]) >= {"added", "changed", "removed", "set", "created", "deleted"}
    assert set(frame["before_from"].dropna()) >= {"event", "read", "absent"}
    assert set(frame["after_from"].dropna()) == {"write", "read", "absent"}


@pytest.mark.slow
def test_a_key_and_what_is_below_it_is_asked_for_by_one_word(captures: dict[str, Capture]) -> None:
    below = captures["small"].changes(under="HKLM")
    assert below["display_key"].str.match(r"HKLM(\\|$)").all()
    assert below["display_key"].nunique() > 2
    with pytest.raises(UsageError, match="give one of them"):
        captures["small"].changes(under="HKLM", key="HKU")


# Events made by hand, in an engine that is asked again and again with one query.

Row = dict[str, Any]
_QUERIES: dict[tuple[int | None, int | None], tuple[Any, str]] = {}
_FOLDERS: list[Path | None] = []


@pytest.fixture(scope="module", autouse=True)
def folder_of_phrases(phrases: Path | None) -> None:
    _FOLDERS.append(phrases)


def row(operation: str, status: int | None = 0, value: str | None = None, **more: Any) -> Row:
    return {
        "operation": operation,
        "status": status,
        "value_name": value,
        "key_id": 0,
        "process_id": 0,
        **more,
    }


def write(data: bytes, value: str = "v", previous: bytes | None = None, **more: Any) -> Row:
    if previous is not None:
        more |= {"previous_type": 3, "previous_size": len(previous), "previous_data": previous}
    return row("SetValueKey", 0, value, data_type=3, data_size=len(data), data=data, **more)


def read(data: bytes, value: str = "v", **more: Any) -> Row:
    told = {"information_class": 2, "data_type": 3, "data_size": len(data), "data": data or None}
    return row("QueryValueKey", 0, value, **(told | more))


def miss(value: str = "v", **more: Any) -> Row:
    return row("QueryValueKey", 0xC0000034, value, **more)


def seen(value: str = "v", **more: Any) -> Row:
    return row("QueryValueKey", 0x80000005, value, **more)


def delete(value: str = "v", **more: Any) -> Row:
    return row("DeleteValueKey", 0, value, **more)


def create(disposition: int = 1, **more: Any) -> Row:
    return row("CreateKey", 0, disposition=disposition, **more)


def answer(rows: list[Row], start: int | None = None, process: int | None = None) -> pa.Table:
    """Return the net changes of rows since the row `start`, asked for those of a process."""
    if (start, process) not in _QUERIES:
        backend = next(iter(_QUERIES.values()))[0] if _QUERIES else _backend()

        def say() -> tuple[str, Columns]:
            events, keys, processes = (
                bind(backend, name, ibis_schema(columns_of_one()[name]), None)
                for name in ("stored_events", "keys", "processes")
            )
            asked = None if process is None else events.filter(events["process_id"] == process)
            if asked is not None and start is not None:
                asked = asked.filter(asked["time_ns"] >= start)
            table = touched_values_and_keys(events, keys, processes, start_ns=start, asked=asked)
            return str(ibis.to_sql(table, dialect="duckdb")), ()

        function = f"{touched_values_and_keys.__module__}:{touched_values_and_keys.__name__}"
        sql, _ = said_once(_FOLDERS[-1], function, f"tables of a test, {start=} {process=}", say)
        # DuckDB 1 plans a prepared query for the rows that there were then.
        if int(duckdb.__version__.split(".")[0]) >= 2:
            name = f"changes_{len(_QUERIES)}"  # prepared, for planning it takes longer than running it
            backend.con.execute(f"PREPARE {name} AS {sql}")
            sql = f"EXECUTE {name}"
        _QUERIES[start, process] = backend, sql
    backend, sql = _QUERIES[start, process]
    numbered = [{"flags": 0, **each, "sequence": n, "time_ns": n} for n, each in enumerate(rows)]
    backend.con.register("new", pa.Table.from_pylist(numbered, EVENTS.arrow()))
    backend.con.execute("DELETE FROM stored_events")
    backend.con.execute("INSERT INTO stored_events SELECT * FROM new")
    found = net_changes(backend.con.sql(sql).to_arrow_table())
    assert found.rows.schema == NET_CHANGES
    return found.rows


KEYS_OF_THEIR_OWN = 60  # times three: a key, another one, and another spelling of the first


def _backend() -> Any:
    backend = ibis.duckdb.connect()
    keys = [
        {"key_id": n, "same_as": n - n % 3 if n % 3 == 2 else n}
        | dict.fromkeys(("path", "display_path", "folded_path"), f"\\K{n}")
        for n in range(3 * KEYS_OF_THEIR_OWN)
    ]
    for name, table, rows in (
        ("stored_events", EVENTS, []),
        ("keys", KEYS, keys),
        ("processes", PROCESSES, []),
    ):
        backend.con.register("new", pa.Table.from_pylist(rows, table.arrow()))
        backend.con.execute(f"CREATE TABLE {name} AS SELECT * FROM new")
    return backend


CASES: dict[str, tuple[list[Row], list[Any]]] = {
    "a miss proves that it was not there": ([miss(), write(b"a")], [("v", "added", None, b"a")]),
    "nobody saw it before": ([write(b"a")], [("v", "set", None, b"a")]),
    "the event tells": ([write(b"b", previous=b"a")], [("v", "changed", b"a", b"b")]),
    "a read tells": ([read(b"a"), write(b"b")], [("v", "changed", b"a", b"b")]),
    "the event is nearer than a read": ([read(b"x"), write(b"b", previous=b"a")], [("v", "changed", b"a", b"b")]),
    "put back": ([write(b"b", previous=b"a"), write(b"a")], []),
    "set to what it was": ([read(b"a"), write(b"a")], []),
    "made and gone": ([miss(), write(b"a"), delete()], []),
    "removed": ([read(b"a"), delete()], [("v", "removed", b"a", None)]),
    "removed, never seen": ([delete()], [("v", "removed", None, None)]),
    "names in another case are one": ([read(b"a", "V"), write(b"b", "v")], [("V", "changed", b"a", b"b")]),
    "spellings of a key are one": ([read(b"a"), write(b"b", key_id=2)], [("v", "changed", b"a", b"b")]),
    "another key is another": ([read(b"a", key_id=1), write(b"b")], [("v", "set", None, b"b")]),
    "an unseen write is seen by a later read": ([miss(), write(b"a"), read(b"b")], [("v", "added", None, b"b")]),
    "an unseen delete by a later miss": ([read(b"x"), write(b"a"), miss()], [("v", "removed", b"x", None)]),
    "what was gone does not come back with a proof that something is there": (
        [read(b"a"), miss(), seen(), write(b"b")], [("v", "changed", None, b"b")],
    ),
    "nor afterwards": ([miss(), write(b"a"), miss(), seen()], [("v", "added", None, None)]),
    "a failed write is none": ([read(b"a"), row("SetValueKey", 0xC0000022, "v", data_type=3, data=b"b")], []),
    "nobody knows whether it was written": (
        [read(b"a"), row("SetValueKey", None, "v")], [("v", "unclear", b"a", None)],
    ),
    "a new key": ([create(), write(b"a")], [(None, "created", None, None), ("v", "added", None, b"a")]),
    "a key that was there": ([create(2), write(b"a")], [("v", "set", None, b"a")]),
    "a deleted key takes what is known": (
        [read(b"a"), row("DeleteKey")], [(None, "deleted", None, None), ("v", "removed", b"a", None)],
    ),
    "a deleted key made again is empty": (
        [read(b"a"), read(b"b", "w"), row("DeleteKey"), create(), write(b"c")],
        [(None, "recreated", None, None), ("v", "changed", b"a", b"c"), ("w", "removed", b"b", None)],
    ),
    "what a key held that was deleted is not known": (
        [row("DeleteKey"), create(), write(b"c")], [(None, "recreated", None, None), ("v", "set", None, b"c")],
    ),
    "a key made and deleted": ([create(), write(b"a"), row("DeleteKey")], []),
    "a create proves an unseen delete": (
        [read(b"a"), create()], [(None, "recreated", None, None), ("v", "removed", b"a", None)],
    ),
    "a write after a delete proves an unseen create": (
        [row("DeleteKey"), write(b"a")], [(None, "recreated", None, None), ("v", "set", None, b"a")],
    ),
}  # fmt: skip


COMPLETE: dict[str, tuple[list[Row], bool]] = {
    "a miss and a write": ([miss(), write(b"a")], True),
    "a read and a write": ([read(b"a"), write(b"b")], True),
    "a write alone": ([write(b"b")], False),
    "a write that was cut": ([miss(), write(b"b") | {"data_size": 9}], False),
    "the data before was cut": ([write(b"b", previous=b"a") | {"previous_size": 9}], False),
    "a read and a delete": ([read(b"a"), delete()], True),
    "a key made": ([create()], True),
    "a key deleted": ([row("DeleteKey")], False),
}


@pytest.fixture(scope="module")
def by_case() -> dict[str, list[Row]]:
    """The answer about each case: all are asked at once, and no case shares a key with another."""
    cases = CASES | COMPLETE
    assert len(cases) == len(CASES) + len(COMPLETE) <= KEYS_OF_THEIR_OWN
    rows = [
        each | {"key_id": each["key_id"] + 3 * number}
        for number, (case, _) in enumerate(cases.values())
        for each in case
    ]
    answers: dict[str, list[Row]] = {name: [] for name in cases}
    for one in answer(rows).to_pylist():
        answers[list(cases)[one["key_id"] // 3]].append(one)
    return answers


@pytest.mark.parametrize("name", CASES)
def test_what_became_of_it(by_case: dict[str, list[Row]], name: str) -> None:
    cells = ("value_name", "change", "before_data", "after_data")
    assert [tuple(one[cell] for cell in cells) for one in by_case[name]] == CASES[name][1]


@pytest.mark.slow
def test_the_state_before_is_that_at_the_beginning() -> None:
    rows = [write(b"a"), write(b"b"), write(b"c")]
    (one,) = answer(rows, start=2).to_pylist()
    assert (one["before_data"], one["before_from"], one["after_data"], one["writes"]) == (
        b"b",
        "write",
        b"c",
        1,
    )
    assert answer(rows[:2], start=2).num_rows == 0


@pytest.mark.slow
def test_others_who_wrote_later_are_said() -> None:
    ours, theirs = {"process_id": 1}, {"process_id": 2}
    (one,) = answer(
        [write(b"a", **theirs), write(b"b", **ours), write(b"c", **theirs)], process=1
    ).to_pylist()
    assert (one["before_data"], one["after_data"]) == (b"a", b"c")
    assert (one["also_by_others"], one["writes"], one["processes"], one["process_id"]) == (True, 1, 2, 1)
    (one,) = answer([write(b"a", **theirs), write(b"b", **ours)], process=1).to_pylist()
    assert not one["also_by_others"]
    assert answer([write(b"a", **theirs)], process=1).num_rows == 0


@pytest.mark.parametrize("name", COMPLETE)
def test_complete_says_whether_both_sides_are_known_to_the_last_byte(
    by_case: dict[str, list[Row]], name: str
) -> None:
    assert [one["complete"] for one in by_case[name]] == [COMPLETE[name][1]]


def test_a_key_made_in_the_capture_is_known_wholly_when_it_goes() -> None:
    rows = [row("EnumerateKey", key_id=1), create(), row("DeleteKey")]
    assert answer(rows, start=2).column("complete").to_pylist() == [True]


def test_a_read_that_was_cut_does_not_hide_what_was_written() -> None:
    cut = read(b"abcdef")
    cut["data"] = cut["data"][:-2]
    (one,) = answer([write(b"abcdef"), cut]).to_pylist()
    assert (one["after_from"], one["after_data"]) == ("write", b"abcdef")
    other = read(b"xbcdef")
    other["data"] = other["data"][:-2]
    (one,) = answer([write(b"abcdef"), other]).to_pylist()
    assert (one["after_from"], one["after_data"], one["complete"]) == ("read", b"xbcd", False)


names = st.sampled_from(["v", "V", "", HOSTILE[0]])
bytes_ = st.sampled_from([b"", b"a", b"b", b"abc"])
makers: list[Callable[..., Any]] = [
    lambda draw, name: write(draw(bytes_), name),
    lambda draw, name: write(draw(bytes_), name, previous=draw(bytes_)),
    lambda draw, name: write(draw(bytes_), name) | {"data_size": 4},
    lambda draw, name: write(b"", name) | {"data": None, "data_size": draw(st.sampled_from([0, 5, None]))},
    lambda draw, name: read(draw(bytes_), name),
    lambda draw, name: read(b"abc", name) | {"data": draw(st.sampled_from([None, b"\0" * 9, b"ab"]))},
    lambda draw, name: seen(name),
    lambda draw, name: miss(name),
    lambda draw, name: delete(name),
    lambda draw, name: row("DeleteValueKey", 0xC0000034, name),
    lambda draw, name: row(draw(st.sampled_from(["SetValueKey", "DeleteValueKey"])), draw(st.sampled_from([None, 0x103, 0xC0000022])), name),
    lambda draw, name: create(draw(st.sampled_from([1, 1, 2, None]))),
    lambda draw, name: row("DeleteKey", draw(st.sampled_from([0, 0, 0xC0000121, None]))),
    lambda draw, name: row("OpenKey", draw(st.sampled_from([0, 0xC0000034, 0xC0000022]))),
    lambda draw, name: row("EnumerateKey"),
]  # fmt: skip


@st.composite
def workloads(draw: Any) -> list[Row]:
    rows = []
    for _ in range(draw(st.integers(0, 25))):
        maker = draw(st.sampled_from(makers))
        made = maker(draw, draw(names))
        rows.append(
            made
            | {
                "key_id": draw(st.sampled_from([0, 0, 1, 2])),
                "process_id": draw(st.sampled_from([0, 1, None])),
            }
        )
    return rows


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(workloads(), st.sampled_from([(None, None), (2, None), (None, 1)]))
def test_any_workload_equals_a_plain_loop(rows: list[Row], window: tuple[int | None, int | None]) -> None:
    start, process = window
    found = told(answer(rows, start, process))
    columns = dict.fromkeys(EVENTS.names)
    plain = [
        columns | each | {"sequence": n, "group": {0: 0, 1: 1, 2: 0}[each["key_id"]],
                          "folded_value": None if each["value_name"] is None else fold_name(each["value_name"])}
        for n, each in enumerate(rows)
    ]  # fmt: skip
    expected = plain_changes(
        plain,
        in_time=lambda one: one["sequence"] >= (start or 0),
        asked=lambda one: one["sequence"] >= (start or 0) and process in (None, one["process_id"]),
    )
    assert found == expected


@pytest.mark.slow
def test_a_key_is_renamed_with_the_one_above_it_whatever_is_asked_for(tmp_path: Path) -> None:
    above, key = "HKLM\\SOFTWARE\\A", "HKLM\\SOFTWARE\\A\\B"
    write = {"operation": "SetValueKey", "key": key, "status": 0, "value_name": "x", "data_type": 4,
             "data_size": 4, "data": b"\1\0\0\0"}  # fmt: skip
    rename = {"operation": "RenameKey", "key": above, "status": 0, "requested_name": "C", "process": "b.exe"}
    events = [write, write, rename]
    with open_capture(write_events(tmp_path / "a.regtrace", events)) as capture:
        asked: list[dict[str, Any]] = [{}, {"under": "HKLM\\SOFTWARE"}, {"under": key}, {"key": key}]
        for words in asked:
            frame = capture.changes(**words)
            own = frame[frame["display_key"] == key]
            assert own["change"].tolist() == ["removed", "renamed"]
            assert own["value_name"].tolist()[0] == "x"
        # That only the key above was renamed by b.exe is its change of the key below too.
        for words in ({"process": "b.exe"}, {"process": "b.exe", "key": key}):
            frame = capture.changes(**words)
            assert "renamed" in frame[frame["display_key"] == key]["change"].tolist()
        # Before the rename the value is there.
        before = capture.changes(key=key, end="+0.0000005s")
        assert before["change"].tolist() == ["set"]


@pytest.mark.slow
def test_what_changed_of_a_key_is_what_changed_of_it_in_all(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A rename or an unloaded hive above the key is a change of it, though it is no event of the key."""
    rename = {"operation": "RenameKey", "key_id": 1, "status": 0, "requested_name": "Z", "value_name": None}
    groups = {number: number if same is None else same for number, (_, same) in enumerate(PATHS)}

    def check(examples: Sequence[tuple[list[Row], str | None]]) -> None:
        _, process = examples[0]
        rows = together([[*rows, rows[0] | rename | {"process_id": 0}] for rows, _ in examples])
        path = write_workload(
            tmp_path_factory.mktemp("any") / "a.regtrace", rows, [], workloads=len(examples)
        )
        with open_capture(path) as capture:
            whole = capture.changes(process=process)
            reached: dict[str, Any] = {"end": "+1us", "process": process}
            net = capture.where(Filters(**reached)).queries.changes().net_changes()
            assert told(net.rows) == reference(capture, Filters(**reached))
            # the first has keys above it, the second is another spelling; to the third keys come
            last = (len(examples) - 1) * len(PATHS)
            for number in (2, 6, 8):
                expected = whole[whole["key_id"] == last + groups[number]].reset_index(drop=True)
                found = capture.changes(key=path_of(last + number), process=process)
                pd.testing.assert_frame_equal(found, expected, check_dtype=False)

    check_in_batches(
        st.tuples(with_renames(10, 40), st.sampled_from([None, "a.exe"])), check, (1, 7), shrink=False
    )


def test_a_rename_after_the_time_changes_nothing_before_it(tmp_path: Path) -> None:
    """Keys came to the new name later; a rename of a name that is not sure does not change them before."""
    rename = {"operation": "RenameKey", "key_id": 1, "requested_name": "B", "gap": 1, "flags": 1}
    rows = [
        rename | {"operation": "CreateOrDelete", "key_id": 2, "status": 0xC000003A, "requested_name": None},
        rename,
        rename
        | {"operation": "QueryValueKey", "key_id": 9, "status": 0x80000005, "value_name": "v", "gap": 0},
        rename | {"operation": "DeleteValueKey", "key_id": 4, "value_name": "v", "gap": 1000},
        rename,
    ]
    rows = [{"status": 0, "process_id": 0, "flags": 0, "notify_class": 19} | one for one in rows]
    rows[-1] |= {"flags": 0}
    asked = Filters(end="+1us", process="a.exe")
    with open_capture(write_workload(tmp_path / "a.regtrace", rows, []), threads=1) as capture:
        net = capture.where(asked).queries.changes().net_changes()
        assert told(net.rows) == reference(capture, asked)


@pytest.mark.slow
def test_no_change_and_no_event_give_no_rows(tmp_path: Path) -> None:
    assert answer([]).num_rows == 0
    with open_capture(write_capture(tmp_path / "empty.regtrace", events=0)) as empty:
        frame = empty.changes(start="2024-01-01T00:00:00Z")
        assert len(frame) == 0
        assert tuple(name for name in frame.columns if name != "key_user") == names_with_texts(
            NET_CHANGES.names
        )


def test_several_captures_have_no_reg_file(captures: dict[str, Capture]) -> None:
    some = [captures[name].path for name in ("small", "damaged")]
    with (
        open_capture(some, memory_limit="512MB", threads=2) as dataset,
        pytest.raises(UsageError, match="one registry"),
    ):
        reg_files(dataset.context, NetChanges(NET_CHANGES.empty_table(), 0, 0), Filters())
