"""Differences between captures and between intervals, compared with plain loops and written down by hand."""

import re
import time
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pytest
from batches import check_in_batches
from hand_capture import MISSING, event, write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_diff import plain_diff, plain_meaning
from plain_rows import simulated
from small_capture import write_capture
from workloads import together, with_renames, write_workload

from analysis.answers.differences import DIFFERENCES
from analysis.answers.normalize import FOLDS, meaning, parse_folds
from analysis.answers.words import KINDS, USUAL_KINDS, parse_kinds
from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from analysis.questions.diff import DiffQuery
from tracer.errors import CaptureError, UsageError
from tracer.registry.value_columns import names_with_texts

SID, OTHER_SID = "S-1-5-21-1-2-3-1001", "S-1-5-21-7-8-9-1005"
THIRD_SID = "S-1-5-21-4-4-4-1001"
THIRD_GUID, FOURTH_GUID = "{33333333-90AB-CDEF-1234-567890ABCDEF}", "{44444444-90AB-CDEF-1234-567890ABCDEF}"
GUID, OTHER_GUID = "{00000000-0000-0000-0000-00000000000A}", "{12345678-90AB-CDEF-1234-567890ABCDEF}"
V = "HKLM\\SOFTWARE\\V"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("diff")
    odd: dict[str, Any] = {"hostile_names": 0.1, "nul_names": 0.1, "lost_buffers": 0.1, "classic": True}
    paths = {
        "one": simulated(folder, seed=1, events=2500, keys=80),
        "two": simulated(folder, seed=2, events=2500, keys=80),
        "odd": simulated(folder, seed=3, events=2500, keys=80, buffer_size=8192, **odd),
        "small": write_capture(folder / "small.regtrace"),
    }
    captures = {name: open_capture(path, memory_limit="512MB", threads=2) for name, path in paths.items()}
    yield captures
    for capture in captures.values():
        capture.close()


def differing(sides: Any, *, fold: str | None = None, only: Any = None, counts: bool = False) -> pa.Table:
    """Compare two captures, each with filters of its own."""
    a, b = ((capture.context, filters) for capture, filters in sides)
    return DiffQuery((a, b), parse_folds(fold), parse_kinds(only), counts).to_arrow()


def check(sides: Any, **how: Any) -> list[dict[str, Any]]:
    """Compare the answer with the loop's, and return it."""
    kinds, folds = how.get("only") or USUAL_KINDS, parse_folds(how.get("fold"))
    found = differing(sides, **how)
    assert tuple(found.schema.names) == names_with_texts(DIFFERENCES)
    rows = found.to_pylist()
    wanted = plain_diff(sides, kinds=kinds, folds=folds, counts=how.get("counts", False))
    assert [(row["what"], row["side"], row["key"], row["value_name"]) for row in rows] == [
        (row["what"], row["side"], row["key"], row["value_name"]) for row in wanted
    ]
    for ours, theirs in zip(rows, wanted, strict=True):
        assert {name: ours[name] for name in theirs} == theirs
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(
    ("a", "b", "how"),
    [
        ("one", "two", {"fold": "all", "only": KINDS}),
        ("two", "odd", {"fold": "sid,guid", "counts": True, "only": ("operations", "processes")}),
    ],
)
def test_two_captures_differ_where_the_loops_say(runs: Any, a: str, b: str, how: dict[str, Any]) -> None:
    assert check([(runs[a], Filters()), (runs[b], Filters())], **how)


@pytest.mark.slow
def test_two_intervals_differ_where_the_loops_say(runs: Any) -> None:
    assert check([(runs["odd"], Filters(end="+2s")), (runs["odd"], Filters(start="+2s"))], only=KINDS)


@pytest.mark.slow
def test_a_capture_equals_itself(runs: Any) -> None:
    with open_capture(runs["odd"].path) as same:
        assert check([(runs["odd"], Filters()), (same, Filters())], only=KINDS, counts=True) == []


@pytest.fixture
def sides(tmp_path: Path):
    opened: list[Capture] = []

    def write(*sides: list[dict[str, Any]]) -> list[tuple[Capture, Filters]]:
        for events in sides:
            path = write_events(tmp_path / f"{len(opened)}.regtrace", events, control_set=None)
            opened.append(open_capture(path, threads=1))
        return [(capture, Filters()) for capture in opened[-2:]]

    yield write
    for capture in opened:
        capture.close()


def wrote(key: str, value: str, data: bytes | None, **more: Any) -> dict[str, Any]:
    size = more.pop("size", None if data is None else len(data))
    return event("SetValueKey", key, value, data=data, data_size=size, data_type=3, **more)


def read(key: str, value: str, data: bytes, **more: Any) -> dict[str, Any]:
    return event(
        "QueryValueKey", key, value, information_class=2, data_type=3, data=data, data_size=len(data), **more
    )


def told(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["what"], row["side"], row["value_name"], row["a_data"], row["b_data"]) for row in rows]


@pytest.mark.slow
def test_values_are_written_read_and_deleted(sides: Any) -> None:
    a = [
        wrote(V, "same", b"1"), wrote(V, "changed", b"1"), wrote(V, "added", b"1"),
        wrote(V, "read there", b"1"), wrote(V, "gone there", b"1"), wrote(V, "empty", b""),
        read(V, "only read", b"1"), read(V, "read differs", b"1"), wrote(V, "written and deleted", b"1"),
        event("DeleteValueKey", V, "written and deleted"),
    ]  # fmt: skip
    b = [
        wrote(V, "SAME", b"1"), wrote(V, "changed", b"2"),
        read(V, "read there", b"1"), event("QueryValueKey", V, "gone there", status=MISSING),
        wrote(V, "empty", None, size=0), read(V, "read differs", b"2"), wrote(V, "new", b"3", process="b.exe"),
    ]  # fmt: skip
    assert told(check(sides(a, b))) == [
        ("process", "only_b", None, None, None),
        ("value", "only_a", "added", b"1", None),
        ("value", "differs", "changed", b"1", b"2"),
        ("value", "differs", "gone there", b"1", None),
        ("value", "only_b", "new", None, b"3"),
        ("value", "differs", "read differs", b"1", b"2"),
        ("value", "only_a", "written and deleted", None, None),
    ]


@pytest.mark.slow
def test_data_that_was_cut_is_compared_as_far_as_it_goes(sides: Any) -> None:
    a = [
        wrote(V, "cut", b"12", size=9), wrote(V, "cut differently", b"12", size=9),
        wrote(V, "size", b"12", size=9), wrote(V, "unknown", None, size=9), wrote(V, "unknown in b", b"1"),
    ]  # fmt: skip
    b = [
        wrote(V, "cut", b"123", size=9), wrote(V, "cut differently", b"1x", size=9),
        wrote(V, "size", b"12", size=8), wrote(V, "unknown", b"1", size=9),
        event("QueryValueKey", V, "unknown in b", status=0x80000005),
    ]  # fmt: skip
    assert told(check(sides(a, b))) == [
        ("value", "differs", "cut differently", b"12", b"1x"),
        ("value", "differs", "size", b"12", b"12"),
        ("value", "only_a", "unknown in b", b"1", None),
    ]


@pytest.mark.slow
def test_keys_are_made_and_deleted_on_one_side(sides: Any) -> None:
    a = [
        event("CreateKey", f"{V}\\made", disposition=1), read(f"{V}\\deleted", "v", b"1"),
        event("DeleteKey", f"{V}\\deleted"), event("OpenKey", f"{V}\\there"), event("OpenKey", f"{V}\\seen"),
        event("CreateKey", f"{V}\\both", disposition=1), event("CreateKey", "<object 0xFFFF>", disposition=1),
    ]  # fmt: skip
    b = [event("OpenKey", f"{V}\\there", status=MISSING), event("OpenKey", f"{V}\\both")]
    rows = check(sides(a, b))
    assert [(row["what"], row["side"], row["a_key"], row["a_known"], row["b_known"]) for row in rows] == [
        ("key", "only_a", f"{V}\\deleted", "deleted", None),
        ("value", "only_a", f"{V}\\deleted", "deleted", None),
        ("key", "only_a", f"{V}\\made", "exists", None),
        ("key", "differs", f"{V}\\there", "exists", "absent"),
    ]


@pytest.mark.slow
def test_names_are_folded_on_request(sides: Any) -> None:
    def events(sid: str, guid: str, control_set: str, view: str) -> list[dict[str, Any]]:
        return [
            wrote(f"HKU\\{sid}_Classes\\x", f"of {sid}", b"1"),
            wrote(f"{V}\\{guid}", guid.lower(), b"1"),
            wrote(f"HKLM\\SYSTEM\\{control_set}\\x", "a", b"1"),
            wrote(f"HKLM\\SOFTWARE{view}\\y", "a", b"1"),
        ]

    a = events(SID, GUID, "ControlSet001", "\\WOW6432Node")
    b = events(OTHER_SID, OTHER_GUID, "CurrentControlSet", "")
    assert len(check(sides(a, b))) == 8
    assert check(sides(a, b), fold="all") == []


NAMES = st.lists(
    st.sampled_from(
        [SID, f"{OTHER_SID}_CLASSES", "S-1-12-1-5", "S-1-5-18", "S-1-5-21", "S-1-5-21-", "XS-1-5-21-1Y", GUID, f"A{OTHER_GUID}B",
         GUID[:-1], "{" + GUID + "}", "HKLM", "SYSTEM", "CONTROLSET001", "CONTROLSET0012", "CURRENTCONTROLSET", "WOW6432NODE",
         "", "A\n", "-1" * 500, "{" * 500, "<SID>", "$1\\1", "Ü\u2028"]
    ),
    max_size=7,
).map("\\".join)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=20), st.sets(st.sampled_from(FOLDS)))
def test_names_mean_what_a_plain_function_says(names: list[str], folds: set[str]) -> None:
    told = ibis.memtable(pa.table({"name": [name.upper() for name in names]}))
    found = ibis.duckdb.connect().to_pyarrow(told.select(meant=meaning(told["name"], folds)))
    assert found.column(0).to_pylist() == [plain_meaning(name.upper(), folds) for name in names]


def test_a_hostile_name_takes_no_longer_than_it_is_long() -> None:
    hostile = [
        "S-1-5-21" + "-1" * 200_000 + "x",
        "{" + "0" * 300_000,
        "\\WOW6432NODE" * 50_000,
        "S-1-5-21-" * 50_000,
    ]
    told = ibis.memtable(pa.table({"name": hostile}))
    began = time.monotonic()
    ibis.duckdb.connect().to_pyarrow(told.select(meant=meaning(told["name"], FOLDS)))
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_several_keys_of_one_meaning_stay_apart_and_say_so(sides: Any) -> None:
    a = [wrote(f"HKU\\{SID}\\x", "v", b"1"), wrote(f"HKU\\{OTHER_SID}\\x", "v", b"2")]
    b = [wrote(f"HKU\\{SID}\\x", "v", b"2"), wrote(f"HKU\\{THIRD_SID}\\x", "v", b"3")]
    for fold in (None, "sid", "all"):
        rows = check(sides(a, b), fold=fold)
        assert [(row["side"], row["apart"], row["a_data"], row["b_data"]) for row in rows] == [
            ("differs", False, b"1", b"2"),
            ("only_b", bool(fold), None, b"3"),
            ("only_a", bool(fold), b"2", None),
        ]
        assert rows[2]["a_key"] == f"HKU\\{OTHER_SID}\\x"


@pytest.mark.slow
def test_two_times_differ_where_the_loops_say_whatever_was_renamed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def check_times(examples: Sequence[tuple[list[dict[str, Any]], int]]) -> None:
        rows, after = together([rows for rows, _ in examples]), examples[0][1]
        path = write_workload(
            tmp_path_factory.mktemp("workload") / "a.regtrace", rows, [], workloads=len(examples)
        )
        with open_capture(path, memory_limit="512MB", threads=1) as capture:
            check(
                [(capture, Filters(end=f"+{after}ns")), (capture, Filters(start=f"+{after}ns"))],
                only=("keys", "values"),
            )

    check_in_batches(st.tuples(with_renames(10, 40), st.integers(0, 4000)), check_times, (1, 7), shrink=False)


@pytest.mark.slow
def test_what_stays_apart_and_holds_the_same_is_left_out_one_for_one(sides: Any) -> None:
    a = [wrote(f"{V}\\{guid}", "v", b"1") for guid in (GUID, OTHER_GUID)]
    b = [wrote(f"{V}\\{guid}", "v", data) for guid, data in ((THIRD_GUID, b"1"), (FOURTH_GUID, b"2"))]
    rows = check(sides(a, b), fold="guid")
    assert [(row["side"], row["apart"]) for row in rows] == [("only_a", True), ("only_b", True)]
    assert (rows[0]["a_data"], rows[1]["b_data"]) == (b"1", b"2")


@pytest.mark.slow
def test_guids_below_a_user_pair_once_the_user_does(sides: Any) -> None:
    """One user on each side; the GUIDs below him are the same, and stay themselves."""

    def events(sid: str) -> list[dict[str, Any]]:
        return [wrote(f"HKU\\{sid}\\{guid}", "v", guid.encode()) for guid in (GUID, OTHER_GUID)]

    assert check(sides(events(SID), events(OTHER_SID)), fold="sid,guid") == []
    assert len(check(sides(events(SID), events(OTHER_SID)), fold="guid")) == 4


@pytest.mark.slow
def test_values_named_by_guids_pair_by_the_same_rule(sides: Any) -> None:
    one = [wrote(V, GUID, b"1"), wrote(V, f"run {SID}", b"1")]
    other = [wrote(V, OTHER_GUID, b"2"), wrote(V, f"run {OTHER_SID}", b"1")]
    rows = check(sides(one, other), fold="all")
    assert [(row["side"], row["value_name"], row["apart"]) for row in rows] == [("differs", GUID, False)]
    rows = check(sides([*one, wrote(V, THIRD_GUID, b"3")], other), fold="all")
    assert sorted((row["side"], row["apart"]) for row in rows) == [
        ("only_a", True),
        ("only_a", True),
        ("only_b", True),
    ]


@pytest.mark.slow
def test_identifiers_in_texts_are_folded_too(sides: Any) -> None:
    def text(words: str, kind: int = 1) -> dict[str, Any]:
        data = words.encode("utf-16-le")
        return event("SetValueKey", V, f"as {kind}", data=data, data_size=len(data), data_type=kind)

    a = [text(f"C:\\x\\{SID}\\{GUID.lower()}\0", kind) for kind in (1, 2, 7, 3)]
    b = [text(f"C:\\x\\{OTHER_SID}9\\{OTHER_GUID}\0", kind) for kind in (1, 2, 7, 3)]
    assert [row["value_name"] for row in check(sides(a, b), fold="all")] == ["as 3"]
    assert len(check(sides(a, b), fold="sid")) == len(check(sides(a, b))) == 4
    cut = [a[0] | {"data": a[0]["data"][:20]}]
    assert len(check(sides(cut, b[:1]), fold="all")) == 1


@pytest.mark.slow
def test_in_one_capture_a_name_means_one_thing(sides: Any) -> None:
    events = [
        wrote(f"{V}\\{GUID}", "v", b"1", at_us=0),
        wrote(f"{V}\\{OTHER_GUID}", "v", b"2", at_us=9_000_000),
    ]
    (capture, _), _ = sides(events, [])
    halves = [(capture, Filters(end="+1s")), (capture, Filters(start="+2s"))]
    rows = check(halves, fold="all")
    assert [(row["side"], row["apart"]) for row in rows] == [("only_a", True), ("only_b", True)]


@pytest.mark.slow
def test_a_real_log_split_in_two_pairs_no_two_keys(procmon_capture: Path) -> None:
    with open_capture(procmon_capture, threads=2) as log:
        first_ns, last_ns = log.span() or (0, 0)
        middle = f"+{(last_ns - first_ns) / 2e9}s"
        halves = [(log, Filters(end=middle)), (log, Filters(start=middle))]
        for fold in (None, "all"):
            rows = differing(halves, only="values,keys", fold=fold).to_pylist()
            pairs = [(row["a_key"], row["b_key"]) for row in rows if row["side"] == "differs"]
            assert pairs
            assert [a.upper() for a, _ in pairs] == [b.upper() for _, b in pairs]


REPLACED = {
    r"S-1-5-21-[0-9-]*[0-9]": lambda found: f"S-1-5-21-99{found[0][8:]}7",
    r"(?i)\{([0-9a-f]{8})((?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\}": lambda found: (
        f"{{{found[1][::-1]}{found[2]}}}"
    ),
}


def elsewhere(text: str) -> str:
    """Return a text as it would be on another machine, which has other SIDs and other GUIDs."""
    for pattern, change in REPLACED.items():
        text = re.sub(pattern, change, text)
    return text


def moved(told: dict[str, Any]) -> dict[str, Any]:
    """Return an event as another machine has it: other identifiers, process ids, threads and times."""
    row = told | {"key": elsewhere(told["key"]), "thread": 7}
    if told["value_name"] is not None:
        row["value_name"] = elsewhere(told["value_name"])
    if told.get("data_type") == 1 and told.get("data"):
        row["data"] = elsewhere(told["data"].decode("utf-16-le")).encode("utf-16-le")
        row["data_size"] = len(row["data"])
    return row


def apart(examples: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the events of several examples one by one in turn, those of each below keys of its own."""
    return [
        one | {"key": f"{one['key']}\\#{place}" if place else one["key"]}
        for turn in zip_longest(*examples)
        for place, one in enumerate(turn)
        if one is not None
    ]


IDENTIFIED = st.builds(
    lambda key, value, text, operation, process, made: event(
        operation, key, value if operation in VALUED else None, process=process, disposition=made,
        **({"data": text.encode("utf-16-le"), "data_size": 2 * len(text), "data_type": 1} if operation in DATED else {}),
    ),
    st.sampled_from([
        V, f"HKU\\{SID}\\V", f"HKU\\{SID}_Classes\\V", f"HKU\\{OTHER_SID}\\V", f"{V}\\{GUID}", f"{V}\\{OTHER_GUID}",
        f"{V}\\{THIRD_GUID}\\{GUID}", f"HKU\\{SID}\\{GUID}", f"HKU\\{OTHER_SID}\\{GUID}", "<object 0xFFFF>",
        "HKLM\\SYSTEM\\ControlSet001\\V", "HKLM\\SYSTEM\\ControlSet002\\V", "HKLM\\SOFTWARE\\WOW6432Node\\V",
    ]),
    st.sampled_from(["", "a", GUID, OTHER_GUID, f"of {SID}"]),
    st.sampled_from(["", "x", SID, f"{GUID} {SID}"]),
    st.sampled_from(["SetValueKey", "SetValueKey", "QueryValueKey", "DeleteValueKey", "OpenKey", "CreateKey", "DeleteKey"]),
    st.sampled_from(["a.exe", "b.exe"]),
    st.sampled_from([None, 1, 2]),
)  # fmt: skip
VALUED, DATED = ("SetValueKey", "QueryValueKey", "DeleteValueKey"), ("SetValueKey", "QueryValueKey")


@pytest.mark.slow
def test_a_capture_equals_itself_on_another_machine(tmp_path_factory: pytest.TempPathFactory) -> None:
    def check_moved(examples: Sequence[list[dict[str, Any]]]) -> None:
        told = apart(examples)
        folder = tmp_path_factory.mktemp("moved")
        with (
            open_capture(write_events(folder / "a.regtrace", told, control_set=None), threads=1) as a,
            open_capture(
                write_events(folder / "b.regtrace", [moved(one) for one in told], control_set=None), threads=1
            ) as b,
        ):
            for fold in ("sid,guid", "all"):
                assert check([(a, Filters()), (b, Filters())], only=KINDS, fold=fold, counts=True) == []
            if len(examples) == 1:
                return
            for fold in (None, *FOLDS, "all"):
                found = differing([(a, Filters()), (a, Filters())], only=KINDS, fold=fold, counts=True)
                assert found.num_rows == 0

    check_in_batches(st.lists(IDENTIFIED, max_size=60), check_moved, (1, 6))


@pytest.mark.slow
def test_counts_differ_only_where_asked(sides: Any) -> None:
    a, b = [event("OpenKey", V)] * 2, [event("OpenKey", V)] * 3
    kinds = ("operations", "processes")
    assert check(sides(a, b), only=kinds) == []
    rows = check(sides(a, b), only=kinds, counts=True)
    assert [(row["what"], row["a_count"], row["b_count"]) for row in rows] == [
        ("process", 2, 3),
        ("operation", 2, 3),
    ]


KEYS = st.sampled_from(
    [V, f"{V}\\below", f"HKU\\{SID}\\V", f"HKU\\{OTHER_SID}\\V", "HKLM\\SOFTWARE\\WOW6432Node\\V"]
)
EVENTS = st.one_of(
    st.builds(wrote, KEYS, st.sampled_from(["", "a", "A"]), st.sampled_from([None, b"", b"1", b"12"]),
              size=st.sampled_from([None, 0, 1, 2, 9]), status=st.sampled_from([0, 0, MISSING, None])),
    st.builds(read, KEYS, st.sampled_from(["", "a"]), st.sampled_from([b"", b"1", b"12"])),
    st.builds(event, st.sampled_from(["OpenKey", "CreateKey", "DeleteKey", "DeleteValueKey", "QueryValueKey", "CloseKey"]),
              KEYS, st.sampled_from([None, "a"]), status=st.sampled_from([0, MISSING, 0xC0000022, None]),
              disposition=st.sampled_from([None, 1, 2]), process=st.sampled_from(["a.exe", "b.exe", None])),
)  # fmt: skip


@pytest.mark.slow
def test_any_two_sides_give_what_the_loops_give(tmp_path_factory: pytest.TempPathFactory) -> None:
    def check_sides(examples: Sequence[tuple[Any, Any, str | None, bool]]) -> None:
        folder = tmp_path_factory.mktemp("any")
        a, b, fold, counts = (
            *(apart(side) for side in list(zip(*examples, strict=True))[:2]),
            *examples[0][2:],
        )
        with (
            open_capture(write_events(folder / "a.regtrace", a), threads=1) as one,
            open_capture(write_events(folder / "b.regtrace", b), threads=1) as other,
        ):
            check([(one, Filters()), (other, Filters())], only=KINDS, fold=fold, counts=counts)

    sides = st.lists(EVENTS, max_size=60)
    any_two = st.tuples(sides, sides, st.sampled_from([None, "sid", "all"]), st.booleans())
    check_in_batches(any_two, check_sides, (1, 3, 6))


@pytest.mark.slow
def test_the_method_says_the_doubts_of_both_sides(runs: Any) -> None:
    frame = runs["odd"].diff(runs["small"], "HKLM", subtree=True, value="*", only="values")
    assert {one[:3] for one in frame.attrs["doubts"]} == {"a: ", "b: "}
    assert set(frame["what"]) == {"value"}
    assert str(frame.dtypes["a_count"]) == "int64[pyarrow]"
    assert str(frame.dtypes["a_time"]) == "datetime64[us, UTC]"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"fold": "user"}, "cannot be folded"),
        ({"only": "colours"}, "unknown kind"),
        ({"only": ""}, "no kind given"),
        ({"key": "HKXX"}, "not a registry path"),
        ({"a_start": "yesterday"}, "not a time"),
    ],
)
def test_what_means_nothing_is_a_usage_error(runs: Any, how: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        runs["one"].diff(runs["two"], **how)
    with pytest.raises(UsageError, match="nothing to compare"):
        runs["one"].diff()


@pytest.mark.slow
def test_nothing_is_left_of_a_comparison(runs: Any, tmp_path: Path) -> None:
    with open_capture(write_events(tmp_path / "none.regtrace", [])) as none:
        assert none.diff(runs["one"], only="processes")["side"].eq("only_b").all()
        spill = Path(none.backend.con.execute("SELECT current_setting('temp_directory')").fetchone()[0])
        assert [path for path in spill.iterdir() if path.suffix == ".parquet"] == []
        assert none.diff(none, only=KINDS).empty
    with pytest.raises(CaptureError, match="closed"):
        runs["one"].diff(none)


@pytest.mark.slow
def test_a_key_that_went_with_the_one_above_it_differs_whatever_is_asked_for(tmp_path: Path) -> None:
    above, key = "HKLM\\SOFTWARE\\A", "HKLM\\SOFTWARE\\A\\B"
    write = event("SetValueKey", key, "x", data_type=4, data_size=4, data=b"\1\0\0\0")
    rename = event("RenameKey", above, requested_name="C")
    with (
        open_capture(write_events(tmp_path / "a.regtrace", [write])) as a,
        open_capture(write_events(tmp_path / "b.regtrace", [write, rename])) as b,
    ):
        asked: list[dict[str, Any]] = [{}, {"key": above, "subtree": True}, {"key": key}]
        for words in asked:
            found = a.diff(b, **words)
            own = found[found["key"] == key]
            assert own["what"].tolist() == ["key", "value"]
            assert own["b_known"].tolist() == ["deleted", "deleted"]
