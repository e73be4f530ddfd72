"""The first divergence of two runs, in captures written by hand, against plain loops, and where nothing parts."""

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hand_capture import MISSING, event, write_events
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.answers.divergence import DIVERGENCE
from analysis.capture import Capture
from analysis.open import open_capture
from tracer.errors import UsageError
from tracer.ingest.pipeline import ingest
from tracer.scenarios import read_story, simulate_scenario, story_path
from tracer.simulate.options import SimulationOptions

V = "HKLM\\SOFTWARE\\Vendor"
SID, SECOND_SID = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"
GUID = "{12345678-90AB-CDEF-1234-567890ABCDEF}"
TOO_SHORT = 0x80000005

Write = Callable[..., list[Capture]]
Events = list[dict[str, Any]]


@pytest.fixture
def write(tmp_path: Path):
    opened: list[Capture] = []

    def make(*sides: Events) -> list[Capture]:
        for events in sides:
            path = write_events(tmp_path / f"{len(opened)}.regtrace", events)
            opened.append(open_capture(path, threads=1, memory_limit="256MB"))
        return opened[-len(sides) :]

    yield make
    for capture in opened:
        capture.close()


def read(value: str | None, data: bytes | None = b"x", /, key: str = V, **more: Any) -> dict[str, Any]:
    """Return a read of a value; `data` None: it is not there."""
    if data is None:
        return event("QueryValueKey", key, value, information_class=2, status=MISSING, **more)
    filled = {"data": data, "data_size": len(data), "data_type": 3, "information_class": 2}
    return event("QueryValueKey", key, value, **filled | more)


def wrote(value: str, data: bytes = b"w", **more: Any) -> dict[str, Any]:
    return event("SetValueKey", V, value, data=data, data_size=len(data), data_type=3, **more)


def rows(a: Capture, b: Capture | None = None, **how: Any) -> list[dict[str, Any]]:
    found = a.queries.first_divergence(b, **how).to_arrow()
    assert found.schema.names == list(DIVERGENCE)
    return found.to_pylist()


def parting(a: Capture, b: Capture | None = None, **how: Any) -> tuple[Any, ...] | None:
    """Return in what the runs part, and the sequences; None where they do not."""
    first = next((row for row in rows(a, b, **how) if row["what"] == "divergence"), None)
    return None if first is None else (first["differs"], first["a_sequence"], first["b_sequence"])


def test_a_result_that_differs_is_the_divergence_and_reads_before_it_may_be_why(write: Write) -> None:
    a = [
        read("same"),
        read("far", b"1"),
        read("near", b"1"),
        read("near", b"1"),
        event("OpenKey", V),
        read("policy", None),
    ]
    b = [
        read("same"),
        read("far", b"2"),
        read("near", b"2"),
        read("near", b"3"),
        event("OpenKey", V),
        read("policy", b"\1"),
    ]
    found = rows(*write([*a, wrote("x")], [*b, wrote("y"), wrote("z")]), context=2)
    assert [(row["what"], row["place"], row["differs"], row["times"]) for row in found] == [
        ("divergence", 0, "result", None),
        ("read", -2, "data", 2),
        ("read", -4, "data", 1),
        ("before", -1, None, None),
        ("before", -2, None, None),
        ("after", 1, None, None),
        ("after", 2, None, None),
    ]  # fmt: skip
    first, near, far, *_, last = found
    assert (first["a_status_name"], first["b_status_name"]) == ("OBJECT_NAME_NOT_FOUND", "SUCCESS")
    assert (first["a_text"], first["b_text"], first["b_data"]) == (None, "01", b"\1")
    assert (near["a_value_name"], near["a_data"], near["b_data"]) == ("near", b"1", b"3")
    assert (far["a_value_name"], far["a_key"], far["a_sequence"]) == ("far", V, 1)
    assert (last["a_operation"], last["a_sequence"], last["b_value_name"]) == (None, None, "z")


@pytest.mark.parametrize(
    ("ours", "theirs", "word"),
    [
        (event("OpenKey", V), event("CreateKey", V), "operation"),
        (event("OpenKey", V), event("OpenKey", f"{V}\\k"), "key"),
        (read("a"), read("b"), "value"),
        (read("a"), read("a", information_class=1), "request"),
        (event("EnumerateKey", V, index=0, information_class=0), event("EnumerateKey", V, index=1, information_class=0), "request"),
        (read("a"), read("a", None), "result"),
        (event("OpenKey", f"HKU\\{SID}\\a"), event("OpenKey", f"HKU\\{SECOND_SID}\\a"), None),
    ],
)  # fmt: skip
def test_the_word_says_in_what_the_operations_differ(
    write: Write, ours: dict[str, Any], theirs: dict[str, Any], word: str | None
) -> None:
    a, b = write([read("z"), ours, wrote("e")], [read("z"), theirs, wrote("e")])
    wanted = None if word is None else (word, 1, 1)
    assert parting(a, b) == wanted
    assert parting(b, a) == wanted


def test_a_side_that_ends_and_one_that_begins_later(write: Write) -> None:
    a, b, empty = write([wrote("a"), wrote("b")], [wrote("a")], [])
    assert parting(a, b) == ("end", 1, None)
    assert parting(b, a) == ("end", None, 1)
    with pytest.raises(UsageError, match="side b has no operation"):
        parting(a, empty)
    with pytest.raises(UsageError, match="side a has no operation"):
        parting(empty, a)
    assert parting(a, b, key="HKLM\\none") is None  # nothing on both sides


def test_what_decides_nothing_is_no_operation(write: Write) -> None:
    noise = event("QueryKey", V, information_class=7)
    tags = event("SetInformationKey", V, information_class=5)
    a, b = write(
        [wrote("a"), noise, event("CloseKey", V), wrote("b")],
        [tags, wrote("a"), wrote("b"), event("CloseKey", V)],
    )
    assert rows(a, b) == []


def test_a_repeated_look_is_passed_over_and_said_and_a_repeated_write_is_not(write: Write) -> None:
    once = [event("OpenKey", V), read("a"), wrote("b")]
    a, b, twice = write(once, once[:2] * 3 + once[2:], [*once, once[2]])
    assert rows(a, b) == []
    assert a.first_divergence(b).attrs["notes"] == [
        "b repeats 4 operations that only look again at what was just looked at: no divergence"
    ]
    assert parting(a, twice) == ("end", None, 3)


def test_a_buffer_that_was_too_short_is_a_value_that_was_found(write: Write) -> None:
    long = read("a", b"1234", status=TOO_SHORT, data=None)
    a, b = write([read("a", b"1"), wrote("w")], [long, read("a", b"1234"), wrote("w")])
    found = rows(a, b)
    assert [(row["what"], row["differs"], row["a_size"], row["b_size"]) for row in found] == [
        ("read", "size", 1, 4)
    ]


def test_unknown_data_is_no_difference_and_said(write: Write) -> None:
    unseen = read("a", b"1", data=None)
    a, b = write([read("a", b"1")], [unseen])
    assert rows(a, b) == []
    assert a.first_divergence(b).attrs["notes"] == [
        "of 1 read the data was not captured on both sides: whether they are equal is not known"
    ]


def test_bytes_that_were_cut_are_compared_as_far_as_they_go(write: Write) -> None:
    cut, same, other = (read("a", data, data_size=9) for data in (b"123", b"123456789", b"12x456789"))
    a, b, c = write([cut], [same], [other])
    assert rows(a, b) == []
    assert [row["differs"] for row in rows(a, c)] == ["data"]


def test_facts_that_reads_return_count_but_times_do_not(write: Write) -> None:
    def facts(subkeys: int, time: int) -> dict[str, Any]:
        detail = f'{{"Length": 176, "LastWriteTime": {time}, "SubKeys": {subkeys}, "Values": 1}}'
        return event("QueryKey", V, information_class=2, detail=detail)

    def name(value: str) -> dict[str, Any]:
        return event("EnumerateValueKey", V, value, index=0, information_class=0)

    def create(disposition: int) -> dict[str, Any]:
        return event("CreateKey", V, disposition=disposition)

    a, b, c = write(
        [facts(1, 1), name("n"), create(1)],
        [facts(1, 2), name("n"), create(1)],
        [facts(2, 1), name("m"), create(2)],
    )
    assert rows(a, b) == []
    assert [(row["differs"], row["place"]) for row in rows(a, c)] == [
        ("disposition", -1), ("name", -2), ("facts", -3)
    ]  # fmt: skip


def test_folded_identifiers_pair_in_the_order_of_their_first_use(write: Write) -> None:
    def uses(*sids: str) -> Events:
        return [event("OpenKey", f"HKU\\{sid}\\Software") for sid in sids]

    third = "S-1-5-21-9-9-9-1003"
    a, b, c = write(uses(SID, SECOND_SID, SID), uses(SECOND_SID, third, SECOND_SID), uses(third, SID, SID))
    assert parting(a, b) is None
    assert parting(a, c) == ("key", 2, 2)
    assert parting(a, b, fold="") == ("key", 0, 0)
    one, other = write(
        [read("v", key=f"{V}\\{GUID}")], [read("v", key=V + "\\{00000000-0000-0000-0000-00000000000A}")]
    )
    assert parting(one, other) == ("key", 0, 0)
    assert parting(one, other, fold="guid") is None


def test_identifiers_are_folded_in_texts_too(write: Write) -> None:
    texts = [f"C:\\{sid}".encode("utf-16-le") for sid in (SID, SECOND_SID)]
    a, b = write(*([read("v", text, data_type=1)] for text in texts))
    assert rows(a, b) == []
    assert [row["differs"] for row in rows(a, b, fold="")] == ["data"]


def test_threads_are_aligned_one_by_one(write: Write) -> None:
    def threads(numbers: list[int], names: dict[int, int]) -> Events:
        counts = dict.fromkeys(names, 0)
        done = []
        for number in numbers:
            counts[number] += 1
            done.append(read(f"{number}-{counts[number]}", thread=names[number]))
        return done

    order = [0, 1, 2] * 8
    shuffled = order.copy()
    random.Random(5).shuffle(shuffled)
    a, b = write(threads(order, {0: 1, 1: 2, 2: 3}), threads(shuffled, {0: 30, 1: 10, 2: 20}))
    assert rows(a, b) == []
    changed = threads(shuffled, {0: 30, 1: 10, 2: 20})
    place = [row["value_name"] for row in changed].index("1-5")
    changed[place] = read("1-5", None, thread=10)
    (c,) = write(changed)
    assert parting(a, c) == ("result", 13, place)
    more = [*threads(order, {0: 1, 1: 2, 2: 3}), wrote("late", thread=9)]
    (d,) = write(more)
    assert parting(a, d) == ("thread", None, 24)
    assert parting(d, a) == ("thread", 24, None)


def test_work_that_another_thread_does_is_passed_over(write: Write) -> None:
    def pool(*items: tuple[int, str]) -> Events:
        return [read(f"{item}{step}", thread=thread) for thread, item in items for step in range(3)]

    a, b = write(
        pool((1, "a"), (2, "b"), (1, "c"), (2, "d"), (1, "e"), (2, "f")),
        pool((1, "a"), (2, "b"), (2, "c"), (1, "d"), (1, "e"), (2, "f")),
    )
    assert rows(a, b) == []
    assert "done by another thread" in a.first_divergence(b).attrs["notes"][0]


def test_processes_pair_by_image_or_as_they_are_given(write: Write) -> None:
    a, b = write(
        [wrote("a", process="App.exe"), wrote("n", process="noise.exe"), wrote("b", process="App.exe")],
        [wrote("x", process="other.exe"), wrote("a", process="APP.EXE"), wrote("c", process="APP.EXE")],
    )
    assert parting(a, b) == ("value", 2, 2)
    notes = a.first_divergence(b).attrs["notes"]
    assert [note.partition(":")[0] for note in notes] == [
        "only a has 1 process called noise.exe", "only b has 1 process called other.exe"
    ]  # fmt: skip
    assert parting(a, a_process="app.exe", b_process="noise.exe") == ("value", 0, 1)
    assert parting(a, a_process=100, b_process="104") == ("value", 0, 1)
    with pytest.raises(UsageError, match="no process of one side"):
        rows(a, b, a_process="noise.exe")


def test_what_cannot_be_asked_is_refused(write: Write) -> None:
    (a,) = write([wrote("a")])
    with pytest.raises(UsageError, match="nothing to align"):
        a.first_divergence()
    with pytest.raises(UsageError, match=r"no process in .* is called nobody\.exe"):
        a.first_divergence(a_process="a.exe", b_process="nobody.exe")
    with pytest.raises(UsageError, match="either it, or a process of each side"):
        a.first_divergence(process="a.exe", a_process="a.exe", b_process="b.exe")
    with pytest.raises(UsageError, match="no lazy form"):
        a.lazy.first_divergence(a, a_end="+1s", b_start="+1s")
    with pytest.raises(UsageError, match="0 or more"):
        a.first_divergence(a, context=-1)


NAMES = (
    V,
    f"{V}\\{GUID}",
    f"HKU\\{SID}\\Software",
    f"HKU\\{SECOND_SID}_Classes",
    "<object 0xffff900012345678>\\k",
)
OPERATION = st.builds(
    lambda kind, key, value, miss: (
        event("OpenKey", key, status=MISSING if miss else 0)
        if kind == 0
        else read(value, None if miss else b"d", key=key)
        if kind < 3
        else event("SetValueKey", key, value, data=b"d", data_size=1, data_type=3)
    ),
    st.integers(0, 3), st.sampled_from(NAMES), st.sampled_from(["", "a", f"{GUID}"]), st.booleans(),
)  # fmt: skip
HOW = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.slow
@HOW
@given(st.lists(OPERATION, min_size=1, max_size=30), st.integers(0, 2**32))
def test_a_run_does_not_part_from_itself_under_other_names(
    tmp_path_factory: pytest.TempPathFactory, events: Events, seed: int
) -> None:
    chance = random.Random(seed)

    def sid(match: re.Match[str]) -> str:
        return renamed.setdefault(match[0], f"S-1-5-21-{chance.randrange(10**9)}-7-8-{1000 + len(renamed)}")

    def guid(match: re.Match[str]) -> str:
        return renamed.setdefault(
            match[0], f"{{{chance.randrange(2**32):08X}-1111-2222-3333-{len(renamed):012X}}}"
        )

    def address(match: re.Match[str]) -> str:
        return renamed.setdefault(match[0], f"<object 0x{chance.randrange(2**64):016x}>")

    renamed: dict[str, str] = {}

    def anew(text: str | None) -> str | None:
        if text is None:
            return None
        for pattern, new in (
            (r"S-1-5-21[-0-9]+", sid),
            (r"\{[-0-9A-F]{36}\}", guid),
            (r"<object 0x[0-9a-f]+>", address),
        ):
            text = re.sub(pattern, new, text)
        return text

    start = chance.randrange(10**9)
    other = [
        one
        | {
            "key": anew(one["key"]),
            "value_name": anew(one["value_name"]),
            "thread": 77,
            "at_us": start + 9 * place,
        }
        for place, one in enumerate(events)
    ]
    other.insert(0, event("OpenKey", V, process="before.exe"))  # so that the ids of processes differ too
    folder = tmp_path_factory.mktemp("same")
    a = open_capture(write_events(folder / "a.regtrace", events), threads=1)
    b = open_capture(write_events(folder / "b.regtrace", other), threads=1)
    with a, b:
        assert rows(a, b, process="a.exe", fold="all") == []
        assert rows(b, a, process="a.exe", fold="all") == []


@pytest.mark.slow
@HOW
@given(st.data(), st.integers(1, 30))
def test_one_operation_more_less_or_changed_is_found_at_its_place(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, size: int
) -> None:
    events = [
        data.draw(OPERATION) | {"key": f"{V}\\{number}"} for number in range(size)
    ]  # every step is another one
    place = data.draw(st.integers(0, size - 1))
    odd = data.draw(OPERATION) | {"key": f"{V}\\odd"}
    folder = tmp_path_factory.mktemp("odd")
    with open_capture(write_events(folder / "a.regtrace", events), threads=1) as a:
        for number, other in enumerate((
            [*events[:place], odd, *events[place:]],
            [*events[:place], *events[place + 1 :]],
            [*events[:place], odd, *events[place + 1 :]],
            [*events[:place], events[place] | {"status": 0xC0000022}, *events[place + 1 :]],
        )):  # fmt: skip
            with open_capture(write_events(folder / f"{number}.regtrace", other), threads=1) as b:
                if not other:  # nothing is left to align
                    continue
                there = place if place < len(other) else None
                assert parting(a, b)[1:] == (place, there)
                assert parting(b, a)[1:] == (there, place)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))  # each has another cause
def test_the_value_that_makes_a_run_fail_is_where_it_parts_or_the_nearest_read(
    tmp_path: Path, seed: int
) -> None:
    captures, causes = [], []
    for name, noise in (("works", 1000), ("fails", 3000)):
        trace = tmp_path / f"{name}.etl"
        simulate_scenario(trace, name, SimulationOptions(events=noise, seed=seed), truth=False)
        ingest([trace], tmp_path / f"{name}.regtrace")
        captures.append(open_capture(tmp_path / f"{name}.regtrace", threads=1))
        plants = read_story(story_path(trace))["plants"]
        causes.append(next(one for one in plants if one["what"] == "cause"))
    with captures[0] as works, captures[1] as fails:
        found = rows(works, fails, process="ReportViewer.exe")
        again = rows(fails, works, process="ReportViewer.exe")
    wanted = [
        (cause["key"].replace("ControlSet001", "CurrentControlSet"), cause["value"]) for cause in causes
    ]

    def named(row: dict[str, Any]) -> list[tuple[str, str]]:
        return [(row[f"{letter}_key"], row[f"{letter}_value_name"]) for letter in "ab"]

    reads = [row for row in found if row["what"] == "read"]
    # What has no data on one side parts there; else the program reads it, and parts a little later.
    assert wanted in ([named(found[0])] if found[0]["differs"] == "result" else [named(reads[0])])
    others = {row["a_value_name"] for row in reads if named(row) != wanted}
    assert others == {"LastOpened", "InstallDate", "WindowPlacement"}
    assert [(row["what"], row["place"], row["a_sequence"]) for row in found if row["what"] != "after"] == [
        (row["what"], row["place"], row["b_sequence"]) for row in again if row["what"] != "after"
    ]


@pytest.mark.slow
def test_two_runs_of_one_program_in_a_real_log_do_the_same(procmon_capture: Path) -> None:
    with open_capture(procmon_capture) as capture:
        first, second = (
            int(pid) for pid in capture.hot(by="process").query("process == 'NOTEPAD.EXE'")["pid"]
        )
        query = capture.queries.first_divergence(a_process=first, b_process=second)
        found = query.compare()
        assert not found.parted
        assert found.steps[0] == found.steps[1] == found.matched > 500
        # Only when the program ran last is another time.
        assert [(row["what"], row["differs"], row["a_size"]) for row in found.rows.to_pylist()] == [
            ("read", "data", 24)
        ]
        assert parting(capture, a_process=first, b_process="smartscreen.exe") is not None
