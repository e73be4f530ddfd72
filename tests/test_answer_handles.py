"""Lives of key objects, compared with a loop over handles and rows."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_counts import plain_counts
from plain_rows import group_of, plain_answer, plain_rows, simulated
from small_capture import write_capture

from analysis.answers.handle_use import handle_use
from analysis.answers.handles import VERDICTS, handle_lives
from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from tracer.errors import UsageError
from tracer.schema import EVENTS, HANDLES, KEYS, LOSSES, PROCESSES

TRACES: dict[str, dict[str, Any]] = {
    "lossy": {"seed": 3, "events": 2000, "lost_buffers": 0.1, "buffer_size": 8192, "reuse": 1.0},
    "classic": {"seed": 5, "events": 2000, "classic": True},
}
LATE_NS = 50_000_000
Row = dict[str, Any]


@pytest.fixture(scope="module", params=TRACES)
def capture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    path = simulated(tmp_path_factory.mktemp("handles"), **TRACES[request.param])
    with open_capture(path, memory_limit="512MB", threads=2) as opened:
        yield opened


def plain_lives(
    rows: list[Row],
    handles: list[Row],
    groups: dict[Any, int],
    processes: dict[int, Row],
    losses: list[Row],
    end_ns: int,
) -> list[Row]:
    """Return the answer of `handle_lives` without names and times."""
    used: dict[int, list[Row]] = defaultdict(list)
    closers = {}
    for row in rows:
        used[row["handle_id"]].append(row)
        if row["operation"] == "CloseKey":
            closers[row["sequence"], row["handle_id"]] = row["process_id"]
    answers = []
    handles = sorted(handles, key=lambda life: (life["first_sequence"], life["handle_id"]))
    for place, life in enumerate(handles):
        touched = used[life["handle_id"]]
        but_closing = [row["time_ns"] for row in touched if row["operation"] != "CloseKey"]
        first, last = (min(but_closing), max(but_closing)) if but_closing else (None, None)
        uses = [row for row in touched if row["operation"] not in ("OpenKey", "CreateKey", "CloseKey")]
        opened, closed = life["opened_ns"], life["closed_ns"]
        since = first if opened is None else opened
        until = closed if closed is not None else end_ns if life["ended"] == "open" else last
        last_use = last if last is not None else opened
        idle = None if closed is None or last_use is None else max(0, closed - last_use)
        after = [one["opened_ns"] for one in handles[place + 1 :] if one["address"] == life["address"]][:1]
        gone = closed if closed is not None else after[0] if after and after[0] is not None else end_ns
        process = processes.get(life["process_id"], {})
        ended = process.get("end_ns") is not None and process["end_ns"] <= end_ns
        if life["ended"] == "reuse" or (life["ended"] == "open" and ended):
            verdict = "unseen close"
        elif life["ended"] == "open":
            verdict = "never closed"
        else:
            verdict = "closed late" if idle is not None and idle > LATE_NS else "closed"
        answers.append(
            {
                "verdict": verdict,
                "uses": len(uses),
                **{name: plain_counts(uses)[name] for name in ("reads", "writes", "unclear_writes")},
                "lifetime_ns": None if opened is None or closed is None else closed - opened,
                "seen_ns": None if since is None or until is None else max(0, until - since),
                "idle_ns": idle,
                "across_loss": None if since is None else lost(losses, since, gone),
                "closed_process_id": closers.get((life["closed_sequence"], life["handle_id"])),
                "key_id": groups.get(life["key_id"]),
                **{name: life[name] for name in (
                    "began", "ended", "opened_ns", "closed_ns", "handle_id", "address", "process_id",
                    "opened_sequence", "closed_sequence", "first_sequence", "last_sequence",
                )},
            }
        )  # fmt: skip
    return answers


def lost(losses: list[Row], after: int, before: int) -> bool:
    return any(
        (loss["from_ns"] is None or loss["from_ns"] <= before)
        and (loss["to_ns"] is None or loss["to_ns"] >= after)
        for loss in losses
        if loss["kind"] != "blind"
    )


def plain_use(lives: list[Row], least: int) -> list[Row]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for life in lives:
        groups[life["process_id"], life["key_id"]].append(life)
    answers = []
    for (process_id, key_id), mine in groups.items():
        opened = [life for life in mine if life["opened_sequence"] is not None]
        times = sorted(life["lifetime_ns"] for life in mine if life["lifetime_ns"] is not None)
        middle = (times[(len(times) - 1) // 2] + times[len(times) // 2]) // 2 if times else None
        growth = sum(life["verdict"] == "never closed" for life in opened)
        brief = sum(
            life["closed_sequence"] is not None and life["uses"] <= 1 and life["uses"] == life["reads"]
            for life in opened
        )
        starts = [life["opened_ns"] for life in opened]
        span = max(starts) - min(starts) if starts else 0
        known = [life["across_loss"] for life in mine if life["across_loss"] is not None]
        answers.append(
            {
                "process_id": process_id,
                "key_id": key_id,
                "handles": len(mine),
                "opened": len(opened),
                "closed": sum(life["closed_sequence"] is not None for life in mine),
                "never_closed": sum(life["verdict"] == "never closed" for life in mine),
                "unseen_closes": sum(life["verdict"] == "unseen close" for life in mine),
                "late_closes": sum(life["verdict"] == "closed late" for life in mine),
                "growth": growth,
                "leaking": growth >= least and growth * 2 > len(opened),
                "most_open": most_open(mine),
                "brief": brief,
                "reopened": brief >= least,
                "opens_per_second": pytest.approx(len(opened) * 1e9 / span) if span else None,
                "uses": sum(life["uses"] for life in mine),
                "median_lifetime_ns": middle,
                "longest_lifetime_ns": times[-1] if times else None,
                "across_loss": any(known) if known else None,
                "first_sequence": min(life["first_sequence"] for life in mine),
                "last_sequence": max(life["last_sequence"] for life in mine),
            }
        )
    return sorted(
        answers, key=lambda row: (-row["growth"], -row["brief"], -row["handles"], row["first_sequence"])
    )


def most_open(lives: list[Row]) -> int:
    """Return at how many moments at once lives overlap, by looking at every beginning."""
    spans = []
    for life in lives:
        start = life["opened_sequence"] if life["opened_sequence"] is not None else life["first_sequence"]
        end = life["closed_sequence"] if life["closed_sequence"] is not None else life["last_sequence"]
        spans.append((start, float("inf") if life["verdict"] == "never closed" else end))
    # At the moment of its end a life is still there: it is the last row that touched it.
    return max(sum(start <= moment <= end for start, end in spans) for moment, _ in spans)


def lives_of(capture: Capture) -> list[Row]:
    found = capture.info()["losses"]
    tables = {name: plain_answer(capture.tables[name]) for name in ("handles", "processes")}
    return plain_lives(
        plain_rows(capture),
        tables["handles"],
        group_of(capture),  # type: ignore[arg-type]
        {row["process_id"]: row for row in tables["processes"]},
        found,
        max(part["last_ns"] for part in capture.manifest.parts),
    )


def some(found: list[Row], wanted: list[Row]) -> list[Row]:
    return [{name: row[name] for name in wanted[0]} for row in found]


@pytest.fixture(scope="module")
def lives(capture: Capture) -> list[Row]:
    return lives_of(capture)


def test_every_life_is_what_a_loop_says(capture: Capture, lives: list[Row]) -> None:
    wanted = lives
    found = plain_answer(capture.lazy.handles(late_s=LATE_NS / 1e9))
    assert some(found, wanted) == wanted
    assert len({row["verdict"] for row in found}) >= 2
    for row in found:
        for name in ("opened", "closed"):
            time, ns = row[f"{name}_time"], row[f"{name}_ns"]
            assert (time is None) == (ns is None)
            assert time is None or time.timestamp() == pytest.approx(ns / 1e9, abs=1e-5)


@pytest.mark.slow
def test_lives_are_summed_up_by_process_and_key(capture: Capture, lives: list[Row]) -> None:
    wanted = plain_use(lives, 2)
    table = capture.lazy.handles(by="key", late_s=LATE_NS / 1e9, min_count=2)
    assert some(plain_answer(table), wanted) == wanted
    assert len(wanted) > 20
    problems = capture.lazy.handles(by="key", late_s=LATE_NS / 1e9, min_count=2, problems=True, limit=5)
    wanted = [row for row in wanted if row["leaking"] or row["reopened"]][:5]
    assert some(plain_answer(problems), wanted) == wanted


@pytest.mark.slow
def test_a_life_is_shown_whole_where_one_of_its_rows_fits(capture: Capture, lives: list[Row]) -> None:
    asked = Filters(operation="set", key=r"HKLM\SOFTWARE", subtree=True)
    fitting = {row["handle_id"] for row in plain_rows(capture, asked)}
    wanted = [life for life in lives if life["handle_id"] in fitting]
    assert some(plain_answer(capture.where(asked).lazy.handles(late_s=LATE_NS / 1e9)), wanted) == wanted
    assert wanted
    late = plain_answer(capture.where(asked).lazy.handles(late_s=LATE_NS / 1e9, problems=True))
    assert some(late, wanted) == [life for life in wanted if life["verdict"] != "closed"]


_TABLES = (EVENTS, HANDLES, KEYS, PROCESSES, LOSSES)


def whole_rows(*contents: list[Row]) -> list[list[Row]]:
    """Return the rows of each table with every column; what is not given is NULL."""
    return [
        [{name: row.get(name) for name in table.names} for row in own]
        for table, own in zip(_TABLES, contents, strict=True)
    ]


def memory_tables(*contents: list[Row]) -> list[ibis.Table]:
    return [
        ibis.memtable(pa.Table.from_pylist(own, schema=table.arrow()))
        for table, own in zip(_TABLES, contents, strict=True)
    ]


def test_a_close_that_nobody_saw_is_not_called_a_leak() -> None:
    """The process of the first handle ended; the address of the second was opened again before the loss."""
    handles: list[Row] = [
        {
            "handle_id": 0,
            "address": 1,
            "process_id": 0,
            "began": "open",
            "ended": "open",
            "first_sequence": 0,
        },
        {
            "handle_id": 1,
            "address": 2,
            "process_id": 1,
            "began": "open",
            "ended": "reuse",
            "first_sequence": 1,
        },
        {
            "handle_id": 2,
            "address": 2,
            "process_id": 1,
            "began": "open",
            "ended": "open",
            "first_sequence": 2,
        },
    ]
    for life in handles:
        at = life["first_sequence"]
        life |= {"key_id": 0, "opened_sequence": at, "last_sequence": at, "opened_ns": 100 * at}
    rows = [
        {"sequence": n, "time_ns": 100 * n, "operation": "OpenKey", "handle_id": n, "process_id": 1}
        for n in range(3)
    ]
    processes = [{"process_id": 0, "pid": 4, "end_ns": 150}, {"process_id": 1, "pid": 8}]
    losses = [{"kind": "events", "from_ns": 250, "to_ns": 260}]
    tables = memory_tables(*whole_rows(rows, handles, [{"key_id": 0, "same_as": 0}], processes, losses))
    found = handle_lives(*tables, end_ns=1000).to_pyarrow().to_pylist()
    assert [(row["verdict"], row["across_loss"]) for row in found] == [
        ("unseen close", True), ("unseen close", False), ("never closed", True),
    ]  # fmt: skip


_STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(("open", "read", "write", "close")), st.integers(0, 30)),
    max_size=40,
)


@pytest.mark.slow
@settings(max_examples=3)
@given(_STEPS, st.integers(0, 1), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=2))
def test_any_order_of_opens_uses_and_closes(
    steps: list[tuple[int, str, int]], process: int, gaps: list[tuple[int, int]]
) -> None:
    """Handles of four addresses; an address that is opened again while open was reused."""
    rows: list[Row] = []
    handles: list[Row] = []
    current: dict[int, Row] = {}
    time_ns = 1_700_000_000_000_000_000
    for sequence, (address, step, gap) in enumerate(steps):
        time_ns += gap
        life = current.get(address)
        if step == "open" or life is None:
            if life is not None:
                life["ended"] = "reuse"
            began = "open" if step == "open" else "unseen"
            life = {"handle_id": len(handles), "address": address, "key_id": address % 2, "began": began, "ended": "open",
                    "process_id": (address + process) % 2 if step == "open" else None, "first_sequence": sequence}  # fmt: skip
            if step == "open":
                life |= {"opened_sequence": sequence, "opened_ns": time_ns}
            handles.append(life)
            current[address] = life
        if step == "close":
            life |= {"ended": "close", "closed_sequence": sequence, "closed_ns": time_ns}
            del current[address]
        life["last_sequence"] = sequence
        operation = {"open": "OpenKey", "read": "QueryKey", "write": "SetValueKey", "close": "CloseKey"}[step]
        rows.append({"sequence": sequence, "time_ns": time_ns, "operation": operation, "handle_id": life["handle_id"],
                     "process_id": address % 2})  # fmt: skip
    start = 1_700_000_000_000_000_000
    losses = [{"kind": "events", "from_ns": start + min(gap), "to_ns": start + max(gap)} for gap in gaps]
    processes = [{"process_id": 0, "pid": 4, "end_ns": start + 200}, {"process_id": 1, "pid": 8}]
    keys = [{"key_id": 0, "same_as": 0}, {"key_id": 1, "same_as": 0}]
    filled = whole_rows(rows, handles, keys, processes, losses)
    tables = memory_tables(*filled)
    lives = handle_lives(*tables, end_ns=time_ns, late_ns=LATE_NS)
    wanted = plain_lives(
        filled[0], filled[1], {0: 0, 1: 0}, {row["process_id"]: row for row in filled[3]}, losses, time_ns
    )
    found = lives.to_pyarrow().to_pylist()
    assert found == [] if not wanted else some(found, wanted) == wanted
    summed = handle_use(lives, tables[2], tables[3], min_count=2).to_pyarrow().to_pylist()
    wanted_use = plain_use(wanted, 2)
    assert summed == [] if not wanted_use else some(summed, wanted_use) == wanted_use


@pytest.mark.slow
def test_mistakes_are_refused_and_nothing_is_nothing(tmp_path: Path) -> None:
    with open_capture(write_capture(tmp_path / "small.regtrace")) as small:
        with pytest.raises(UsageError, match="handle, key"):
            small.handles(by="colour")
        with pytest.raises(UsageError, match="above 0"):
            small.handles(late_s=0)
        frame = small.handles(by="key", problems=True, limit=2)
        assert len(frame) == 0
        assert str(frame["median_lifetime_ns"].dtype) == "int64[pyarrow]"
        assert str(frame["leaking"].dtype) == "bool[pyarrow]"
        assert len(small.handles()) == 0
    assert VERDICTS[-1] == "closed"
