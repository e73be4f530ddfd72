"""What failed and which searches ended well, compared with plain loops and with chains written down by hand."""

from pathlib import Path
from typing import Any

import pytest
from hand_capture import MISSING, event, write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_errors import plain_errors
from plain_rows import plain_answer, simulated
from procmon_oracle import csv_rows
from small_capture import write_capture

import regtrace as rt
from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from tracer.registry.text import fold_name

PML = "pml/pp-LogfileTests64bitUTC"
SID = "S-1-5-21-1-2-3-1001"
USER, CLASSES = f"HKU\\{SID}", f"HKU\\{SID}_Classes"
CLASS = "CLSID\\{00000000-0000-0000-0000-000000000001}"
DENIED, REPARSE, SHORT = 0xC0000022, 0x104, 0x80000005
FILTERS: list[dict[str, Any]] = [
    {},
    {"key": "HKLM", "subtree": True},
    {"value": "*"},
    {"process": "*e*", "start": "+1s"},
    {"where": "sequence % 3 = 0"},
    {"status": "NAME_NOT_FOUND", "operation": "open"},
    {"status": "success"},
]


@pytest.fixture(scope="module", params=["small", "damaged"])
def capture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("errors")
    if request.param == "small":
        path = write_capture(folder / "small.regtrace", events=600)
    else:
        options: dict[str, Any] = {"hostile_names": 0.1, "nul_names": 0.1, "lost_buffers": 0.1, "links": 0.3}
        path = simulated(folder, seed=8, buffer_size=8192, failed_open=0.6, keys=120, **options)
    with open_capture(path, memory_limit="512MB", threads=2) as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize(
    ("asked", "fold"),
    [*((asked, True) for asked in FILTERS), ({}, False), ({"key": "HKU", "subtree": True}, False)],
)
def test_failures_are_what_a_loop_finds(capture: Capture, asked: dict[str, Any], fold: bool) -> None:
    filters = Filters(**asked)
    assert plain_answer(capture.where(filters).lazy.errors(fold=fold)) == plain_errors(
        capture, filters, fold=fold
    )


def asked(events: list[dict[str, Any]], folder: Path) -> list[tuple[Any, ...]]:
    with open_capture(write_events(folder / "hand.regtrace", events), threads=1) as capture:
        found = plain_answer(capture.lazy.errors())
        assert found == plain_errors(capture, Filters(), fold=True)
    return [(row["display_key"], row["failures"], row["chain"], row["resolved_key"]) for row in found]


def miss(key: str, **more: Any) -> dict[str, Any]:
    return event("OpenKey", key, status=MISSING, **more)


def hit(key: str, **more: Any) -> dict[str, Any]:
    return event("OpenKey", key, **more)


def test_the_users_key_is_missed_and_the_machines_found(tmp_path: Path) -> None:
    events = [miss(f"{USER}\\Software\\V"), hit("HKLM\\SOFTWARE\\v")]
    assert asked(events, tmp_path) == [(f"{USER}\\Software\\V", 1, "hkcu-hklm", "HKLM\\SOFTWARE\\v")]


@pytest.mark.slow
def test_the_other_view_answers_either_way_round(tmp_path: Path) -> None:
    native, wow = "HKLM\\SOFTWARE\\V", "HKLM\\SOFTWARE\\WOW6432Node\\V"
    assert asked([miss(wow), hit(native)], tmp_path / "1") == [(wow, 1, "wow64", native)]
    assert asked([miss(native), hit(wow)], tmp_path / "2") == [(native, 1, "wow64", wow)]


@pytest.mark.slow
def test_a_long_search_is_one_row_where_it_began(tmp_path: Path) -> None:
    places = [f"{USER}\\Software\\Policies\\V", "HKLM\\SOFTWARE\\Policies\\V", f"{USER}\\Software\\V"]
    search = [*map(miss, places), hit("HKLM\\SOFTWARE\\V")]
    assert asked(search * 3, tmp_path) == [(places[0], 9, "policy", "HKLM\\SOFTWARE\\V")]


def test_a_search_that_ends_nowhere_is_no_chain(tmp_path: Path) -> None:
    events = [miss(f"{USER}\\Software\\V"), miss("HKLM\\SOFTWARE\\V")]
    assert [row[2] for row in asked(events, tmp_path)] == [None, None]


def test_com_finds_classes_and_what_serves_them(tmp_path: Path) -> None:
    machine = "HKLM\\SOFTWARE\\Classes\\" + CLASS
    events = [
        miss(f"{CLASSES}\\{CLASS}"),
        hit(machine),
        miss(f"{CLASSES}\\{CLASS}\\TreatAs", at_us=10),
        miss(f"{machine}\\TreatAs", at_us=11),
        miss(f"{CLASSES}\\{CLASS}\\InprocServer32", at_us=12),
        hit(f"{machine}\\InprocServer32", at_us=13),
        miss(f"{USER}\\Software\\Classes\\.txt", at_us=20),
        event("QueryValueKey", "HKLM\\SOFTWARE\\Classes\\.txt", "", status=MISSING, at_us=21),
    ]
    assert asked(events, tmp_path) == [
        ("HKLM\\SOFTWARE\\Classes\\.txt", 1, None, None),  # the value is nowhere
        (f"{CLASSES}\\{CLASS}\\TreatAs", 3, "com", f"{machine}\\InprocServer32"),
        (f"{CLASSES}\\{CLASS}", 1, "com", machine),
        (f"{USER}\\Software\\Classes\\.txt", 1, "com", "HKLM\\SOFTWARE\\Classes\\.txt"),
    ]


def test_a_value_is_looked_for_by_name(tmp_path: Path) -> None:
    policy, plain = "HKLM\\SOFTWARE\\Policies\\V", "HKLM\\SOFTWARE\\V"
    events = [
        event("QueryValueKey", policy, "Colour", status=MISSING),
        event("QueryValueKey", policy, "Size", status=MISSING),
        event("QueryValueKey", plain, "COLOUR", status=SHORT),
        event("QueryValueKey", plain, "", status=0),
    ]
    assert asked(events, tmp_path) == [(policy, 1, None, None), (policy, 1, "policy", plain)]


NO_ANSWERS = [
    [miss(f"{USER}\\V"), hit("HKLM\\V", thread=2)],
    [miss(f"{USER}\\V"), hit("HKLM\\V", process="b.exe")],
    [miss(f"{USER}\\V"), hit("HKLM\\V", at_us=100_001)],
    [miss(f"{USER}\\V"), event("OpenKey", "HKLM\\V", status=DENIED), hit("HKLM\\V", at_us=3)],
    [miss(f"{USER}\\V"), event("CreateKey", "HKLM\\V", disposition=1)],
    [miss(f"{USER}\\V"), hit(f"{USER}\\V")],
    [miss(f"{USER}\\V"), hit("HKU\\S-1-5-18\\V")],
    [miss(f"{USER}\\V"), hit("HKLM\\W")],
    [miss(f"{USER}\\V"), event("CloseKey", "HKLM\\V")],
    [miss(f"{USER}\\V", thread=None), hit("HKLM\\V", thread=None)],
    [miss(f"{USER}\\V", process=None), hit("HKLM\\V", process=None)],
    [miss("HKLM\\SOFTWARE\\Policies"), hit("HKLM\\SOFTWARE")],
    [miss("HKLM\\SYSTEM\\Policies\\V"), hit("HKLM\\SYSTEM\\V")],
    [miss("\\REGISTRY\\A\\{1}\\Policies\\V"), hit("\\REGISTRY\\A\\{1}\\V")],
    [hit("HKLM\\V"), miss(f"{USER}\\V")],
]


def test_what_looks_like_an_answer_and_is_none(tmp_path: Path) -> None:
    events = []
    for number, case in enumerate(NO_ANSWERS):  # each by processes of its own, long after the one before
        for place, one in enumerate(case):
            image = one.get("process", "a.exe")
            process = None if image is None else f"{number}-{image}"
            events.append(one | {"process": process, "at_us": number * 10**6 + one.get("at_us", place)})
    assert {row[2] for row in asked(events, tmp_path)} == {None}


@pytest.mark.slow
def test_what_is_between_does_not_matter(tmp_path: Path) -> None:
    events = [
        miss(f"{USER}\\V"),
        event("OpenKey", "HKLM\\V", status=REPARSE),
        event("OpenKey", "HKLM\\Other", status=DENIED),
        event("CloseKey", f"{USER}\\V", status=None),
        event("EnumerateValueKey", "HKLM\\V", status=0x8000001A),
    ]
    assert asked(events, tmp_path)[-1] == (f"{USER}\\V", 1, "hkcu-hklm", "HKLM\\V")


def test_a_place_that_is_asked_again_begins_a_new_search(tmp_path: Path) -> None:
    events = [miss(f"{USER}\\V"), miss(f"{USER}\\v"), hit("HKLM\\V"), miss(f"{USER}\\V")]
    assert asked(events, tmp_path) == [
        (f"{USER}\\V", 2, None, None),
        (f"{USER}\\V", 1, "hkcu-hklm", "HKLM\\V"),
    ]


KEYS = st.sampled_from(
    [
        f"{top}{policies}{key}"
        for top in (
            "HKLM\\SOFTWARE",
            "HKLM\\SOFTWARE\\WOW6432Node",
            f"{USER}\\Software",
            "HKU\\.DEFAULT\\Software",
        )
        for policies in ("", "\\Policies", "\\Policies\\Policies")
        for key in ("", "\\V", "\\Policies", "\\Classes\\.txt", f"\\Classes\\{CLASS}\\TreatAs")
    ]
    + [f"{CLASSES}\\.TXT", CLASSES, f"{CLASSES}\\{CLASS}\\LocalServer32", "HKLM", USER, "HKU"]
)
EVENTS = st.builds(
    event,
    st.sampled_from(
        ["OpenKey", "OpenKey", "CreateKey", "QueryValueKey", "SetValueKey", "QueryKey", "CloseKey"]
    ),
    KEYS,
    st.sampled_from([None, "", "a", "A"]),
    status=st.sampled_from([0, 0, MISSING, MISSING, 0xC000003A, DENIED, REPARSE, SHORT, None]),
    disposition=st.sampled_from([None, 1, 2]),
    thread=st.sampled_from([1, 1, 2, None]),
    process=st.sampled_from(["a.exe", "a.exe", "b.exe", None]),
)


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(events=st.lists(EVENTS, max_size=60), gap=st.sampled_from([1, 30_000]))
def test_any_events_give_what_the_loops_give(
    events: list[dict[str, Any]], gap: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for number, one in enumerate(events):
        one["at_us"] = number * gap
    path = write_events(tmp_path_factory.mktemp("any") / "hand.regtrace", events)
    with open_capture(path, threads=1) as capture:
        found = plain_answer(capture.lazy.errors(fold=gap == 1))
        assert found == plain_errors(capture, Filters(), fold=gap == 1)


@pytest.mark.slow
def test_the_method_gives_exact_types_and_doubts(tmp_path: Path) -> None:
    with open_capture(write_capture(tmp_path / "small.regtrace")) as capture:
        frame = capture.errors(r"HKLM\SOFTWARE", subtree=True)
        assert frame.attrs["doubts"]
        assert str(frame.dtypes["failures"]) == "int64[pyarrow]"
        assert str(frame.dtypes["harmless"]) == "bool[pyarrow]"
        assert str(frame.dtypes["key_id"]) == "int32[pyarrow]"
        assert capture.errors("HKLM\\Nothing").empty
    with open_capture(write_events(tmp_path / "none.regtrace", [])) as capture:
        assert capture.errors().empty


@pytest.mark.slow
def test_a_real_log_agrees_with_procmons_csv(corpus: Path, procmon_capture: Path) -> None:
    rows = csv_rows(corpus / f"{PML}.csv.gz")
    wanted: dict[tuple[int, str, str], int] = {}
    for row in rows:  # a value is below its key in Procmon's column Path; HKLM shows both alike
        if row["Path"].startswith("HKLM") and row["Result"] in ("NAME NOT FOUND", "PATH NOT FOUND"):
            what = int(row["PID"]), row["Operation"], fold_name(row["Path"])
            wanted[what] = wanted.get(what, 0) + 1
    with rt.open(procmon_capture) as capture:
        answer = capture.errors("HKLM", subtree=True, status="NAME_NOT_FOUND,PATH_NOT_FOUND", fold=False)
        found: dict[tuple[int, str, str], int] = {}
        for row in answer.itertuples():
            if row.display_key.upper().startswith("HKLM\\SOFTWARE\\CLASSES"):
                continue  # Procmon calls these HKCR
            name = row.value_name if isinstance(row.value_name, str) else None
            path = row.display_key if name is None else f"{row.display_key}\\{name or '(Default)'}"
            theirs = {"OpenKey": "RegOpenKey", "QueryValueKey": "RegQueryValue"}.get(row.operation, "other")
            what = int(row.pid), theirs, fold_name(path)
            found[what] = found.get(what, 0) + int(row.failures)
        assert found == wanted
        folded = capture.errors()
        assert int(folded["failures"].sum()) == int(capture.errors(fold=False)["failures"].sum())
        # a chain of Procmon's own rows: the user's class is missed, then the machine's is used
        com = folded[folded["chain"] == "com"]
        assert len(com) > 100
        for row in com.head(10).itertuples():
            name = row.resolved_key.removeprefix("HKLM\\SOFTWARE\\Classes\\")
            user, machine = f"HKCU\\Software\\Classes\\{name}", f"HKCR\\{name}"
            paths = [
                (r["Result"], fold_name(r["Path"])) for r in rows
                if r["PID"] == str(row.pid) and fold_name(r["Path"]) in (fold_name(user), fold_name(machine))
            ]  # fmt: skip
            assert ("NAME NOT FOUND", fold_name(user)) in paths
            assert ("SUCCESS", fold_name(machine)) in paths
