"""The history of values, compared with a loop that follows events one by one, and with the simulator's truth."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from batches import check_in_batches
from hypothesis import strategies as st
from plain_evidence import content_of, follow, is_doubtful, is_lost, text_of, unproved_times
from plain_rows import simulated
from small_capture import write_capture
from workloads import losses, together, with_renames, write_workload

from analysis.answers.contents import HISTORY_COLUMNS
from analysis.capture import Capture
from analysis.open import open_capture
from tracer.errors import UsageError
from tracer.registry.ntstatus import status_name
from tracer.registry.text import fold_name
from tracer.registry.value_columns import names_with_texts

Row = dict[str, Any]
TRACES: dict[str, dict[str, Any]] = {
    "hostile": {"seed": 3, "option_word": 2, "nul_names": 0.1, "surrogate_names": 0.1, "reuse": 1.0},
    "lossy": {"seed": 4, "lost_buffers": 0.2, "buffer_size": 8192, "option_word": 3},
}


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


def plain_history(capture: Capture) -> list[Row]:
    """Return what `history` must say of all keys."""
    follower = follow(capture)
    losses = capture.info()["losses"], unproved_times(capture)
    return [_plain_row(*change, losses, follower) for change in follower.changes]


def _plain_row(row, value, word, at, group, losses, follower) -> Row:
    operation, status = row["operation"], row["status"]
    missed = operation == "DeleteValueKey" and status == 0xC0000034
    own = content_of(at) if word in ("write", "read") else (None, None, None)
    recorded = (row["previous_type"], row["previous_size"], row["previous_data"])
    is_recorded = recorded != (None, None, None)
    sure = {"deleted": "absent", "unknown": None}.get(word, word)
    old = recorded if is_recorded else (None, None, None) if missed else own
    new = (row["data_type"], row["data_size"], row["data"])
    new = new if operation == "SetValueKey" else (None, None, None)
    by_itself = is_recorded or missed or sure is None
    done = None if status is None or status == 0x103 else status < 0x80000000
    return {
        "sequence": row["sequence"],
        "key_id": group,
        "value_name": follower.names[group, value],
        "operation": operation,
        "done": done,
        "status_name": None if status is None else status_name(status),
        "process": row["process"],
        "pid": row["pid"],
        "new": new,
        "new_text": text_of(new),
        "old": old,
        "old_text": text_of(old),
        "old_from": "event" if is_recorded else "absent" if missed else sure,
        "old_sequence": None if by_itself else at["sequence"],
        "across_loss": None
        if by_itself
        else is_lost(losses[0], at["time_ns"], row["time_ns"])
        or is_doubtful(losses[1], word, value, at["time_ns"], row["time_ns"]),
        "conflict": _conflict(
            sure, own, recorded, is_recorded, missed, operation == "DeleteValueKey" and done
        ),
    }


def _conflict(sure, own, recorded, is_recorded, missed, deleted) -> str | None:
    if sure == "absent":
        return "absent" if is_recorded or deleted else None
    if sure is None:
        return None
    if missed:
        return "present"
    if not is_recorded:
        return None
    (kind, size, data), (kind_before, size_before, data_before) = own, recorded
    if None not in (kind, kind_before) and kind != kind_before:
        return "data"
    if None not in (size, size_before) and size != size_before:
        return "data"
    both = data is not None and data_before is not None
    same = both and (data.startswith(data_before) or data_before.startswith(data))
    return "data" if both and not same else None


def asked(capture: Capture, *arguments: Any, **filters: Any) -> list[Row]:
    frame = capture.history(*arguments, **filters)
    assert tuple(name for name in frame.columns if name != "key_user") == names_with_texts(HISTORY_COLUMNS)
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    for row in rows:
        for side in ("new", "old"):
            row[side] = tuple(row[f"{side}_{part}"] for part in ("type", "size", "data"))
    return rows


def compare(found: list[Row], wanted: list[Row]) -> None:
    wanted = sorted(wanted, key=lambda row: (row["sequence"], row["key_id"], row["value_name"]))
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert {name: ours[name] for name in theirs} == theirs


@pytest.mark.slow
def test_every_change_is_told_with_what_was_known_before_it(capture: Capture) -> None:
    wanted = plain_history(capture)
    assert len(wanted) > 10
    compare(asked(capture, "**"), wanted)


@pytest.mark.slow
def test_any_events_are_told_as_the_loop_tells_them(tmp_path_factory: pytest.TempPathFactory) -> None:
    def check(examples: Sequence[tuple[list[Row], list[Row]]]) -> None:
        rows = together([rows for rows, _ in examples])
        path = write_workload(
            tmp_path_factory.mktemp("any") / "a.regtrace", rows, examples[0][1], workloads=len(examples)
        )
        with open_capture(path, memory_limit="512MB", threads=1) as capture:
            compare(asked(capture, "**"), plain_history(capture))

    check_in_batches(
        st.tuples(with_renames(30, 120), st.lists(losses(), max_size=3)), check, (1, 3, 5, 5), shrink=False
    )


# --- what is asked, and how it fails --------------------------------------------------------------------------


@pytest.mark.slow
def test_questions_about_some_keys_and_values_have_the_same_answer_about_them(plain: Capture) -> None:
    whole = asked(plain, "**")
    below = [row for row in whole if row["display_key"].upper().startswith("HKLM\\")]
    assert 0 < len(below) < len(whole)
    assert asked(plain, "HKLM", subtree=True) == below
    name = next(row["value_name"] for row in whole if row["value_name"])
    assert asked(plain, "**", name.lower()) == [
        row for row in whole if fold_name(row["value_name"]) == fold_name(name)
    ]
    defaults = [row for row in whole if row["value_name"] == ""]
    assert asked(plain, "**", "(Default)") == defaults


@pytest.mark.slow
def test_filters_choose_rows_and_hide_no_evidence(plain: Capture) -> None:
    whole = asked(plain, "**")
    process = whole[-1]["process"]
    assert asked(plain, "**", process=process) == [row for row in whole if row["process"] == process]
    later = whole[len(whole) // 2]["time"]
    late = [row for row in whole if row["time"] >= later]
    assert {row["old_from"] for row in late} >= {"absent", "read"}
    assert asked(plain, "**", start=later.isoformat()) == late
    deletes = [row for row in whole if row["operation"] == "DeleteKey"]
    assert asked(plain, "**", operation="deletekey") == deletes != []
    failures = [row for row in whole if row["done"] is False]
    assert asked(plain, "**", status="error", limit=3) == failures[:3] != []


@pytest.mark.slow
def test_the_answer_is_empty_where_nothing_was_written(plain: Capture) -> None:
    assert asked(plain, "HKLM\\**\\NoSuchKey") == []
    assert asked(plain, "**", end="2001-01-01T00:00:00Z") == []
    with pytest.raises(UsageError, match="not an operation"):
        plain.history("**", operation="sing")


@pytest.mark.slow
def test_integers_stay_integers_and_the_doubts_come_along(plain: Capture) -> None:
    frame = plain.history("**")
    kinds = {name: str(frame.dtypes[name]) for name in ("old_type", "old_sequence", "done", "across_loss")}
    assert kinds == {
        "old_type": "uint32[pyarrow]", "old_sequence": "int64[pyarrow]", "done": "bool[pyarrow]",
        "across_loss": "bool[pyarrow]",
    }  # fmt: skip
    assert frame.attrs["doubts"] == plain.doubts().sentences


# --- one value, by hand -----------------------------------------------------------------------------------------


def test_where_an_event_contradicts_what_was_known_the_row_says_how(tmp_path: Path) -> None:
    def write(number: int, before: int | None = None) -> Row:
        row = {"operation": "SetValueKey", "status": 0, "data_type": 4, "data_size": 4}
        if before is not None:
            row |= {"previous_type": 4, "previous_size": 4, "previous_data": before.to_bytes(4, "little")}
        return row | {"data": number.to_bytes(4, "little")}

    def delete(status: int) -> Row:
        return {"operation": "DeleteValueKey", "status": status}

    read = {"operation": "QueryValueKey", "status": 0, "information_class": 2}
    read |= {"data_type": 4, "data_size": 4, "data": (9).to_bytes(4, "little")}
    story = [  # an event, then what the history says of old_from, old_text, conflict
        (write(1), (None, None, None)),
        (write(2, before=1), ("event", "1", None)),
        (write(3, before=7), ("event", "7", "data")),
        (delete(0xC0000022), ("write", "3", None)),
        (delete(0xC0000034), ("absent", None, "present")),
        (write(4, before=3), ("event", "3", "absent")),
        (delete(0), ("write", "4", None)),
        (delete(0), ("absent", None, "absent")),
        (read, None),
        (write(5), ("read", "9", None)),
        (write(6) | {"status": 0x103}, ("write", "5", None)),
        (write(7), (None, None, None)),
        ({"operation": "DeleteKey", "status": 0}, ("write", "7", None)),
        (write(8) | {"status": 0xC000017C}, ("absent", None, None)),
    ]
    shared = {"key_id": 2, "value_name": "V", "notify_class": 16, "gap": 5, "flags": 0, "process_id": 0}
    rows = [shared | event for event, _ in story]
    with open_capture(write_workload(tmp_path / "a.regtrace", rows, [])) as capture:
        found = asked(capture, "HKLM\\SOFTWARE\\A\\x", "v")
    told = [told for _, told in story if told is not None]
    assert [(row["old_from"], row["old_text"], row["conflict"]) for row in found] == told
    assert [row["done"] for row in found[3:5]] == [False, False]
    assert found[9]["done"] is None
