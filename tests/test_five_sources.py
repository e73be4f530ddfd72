"""One history told by five sources: `history`, `state` and `changes` agree, up to what a source cannot say.

What a source cannot say stands in `tracer.sources.abilities`; of data, in `five_sources.SAYS`. A source may leave a
thing open that it cannot say. It never says another thing than the .etl, and what it can say it does say.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from five_sources import SAYS, captures_of
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import regtrace as rt
from tracer.sources.abilities import ABILITIES

Row = dict[str, Any]
CHANGING = ("SetValueKey", "DeleteValueKey")
GONE = ("absent", "deleted")


def answers_of(capture: Path) -> dict[str, list[Row]]:
    with rt.open(capture) as one:
        answers = {name: getattr(one, name)() for name in ("history", "state", "changes")}
    return {
        name: answer.astype(object).where(answer.notna(), None).to_dict("records")
        for name, answer in answers.items()
    }


def place(row: Row) -> str:
    """Return what a row is about as one path: not every source knows where the key's part of it ends."""
    path = row["display_key"].upper()
    return path if row["value_name"] is None else path + "\\" + (row["value_name"].upper() or "(DEFAULT)")


def is_plain(kind: int | None, data: bytes | None) -> bool:
    """Tell whether data is as its type wants it: programs write what is not in forms of their own."""
    if kind in (1, 2):
        text = (data or b"").decode("utf-16-le", "replace")
        return bool(data) and len(data or b"") % 2 == 0 and text.endswith("\0") and "\0" not in text[:-1]
    return {4: 4, 11: 8}.get(kind or 0) == len(data or b"") or kind not in (4, 11)


def check_content(source: str, mine: Row, right: Row, side: str = "") -> bool:
    """Check that a source says of data nothing else than the .etl; return whether it says something."""
    for name in ("type", "size"):
        told, known = mine[side + name], right[side + name]
        if source == "security" and mine[side + "data"] is None:
            continue  # in a form that nobody knows, and this test writes one type for all of them
        assert told is None or known is None or told == known, (source, side, name, mine, right)
    told, known = mine[side + "data"], right[side + "data"]
    if None not in (told, known):
        is_cut = mine[side + "size"] is not None and len(told) < mine[side + "size"]
        assert known.startswith(told) if is_cut else told == known, (source, side, mine, right)
    return told is not None


def can_say(source: str, right: Row, side: str = "") -> bool:
    kind, data = right[f"{side}type"], right[f"{side}data"]
    return data is not None and kind in SAYS[source] and is_plain(kind, data)


def reported(source: str, rows: list[Row]) -> Iterator[Row]:
    """Yield the rows of the .etl's history that a source reports."""
    ability = ABILITIES[source]
    for row in rows:
        if row["operation"] in ability.operations and (row["status"] == 0 or source == "procmon-csv"):
            yield row


def check_history(source: str, mine: list[Row], right: list[Row]) -> None:
    # Values gone with their key are listed where they were known before.
    known = {(place(row), row["time"].floor("ms")) for row in mine if row["operation"] == "DeleteKey"}
    expected = [
        row
        for row in reported(source, right)
        if row["operation"] != "DeleteKey" or (place(row), row["time"].floor("ms")) in known
    ]
    assert len(mine) == len(expected)
    for row, other in zip(mine, expected, strict=True):
        assert place(row) == place(other)
        for name in ("operation", "status", "pid", "process"):
            assert row[name] == other[name], (source, name, row, other)
        assert abs((row["time"] - other["time"]).total_seconds()) < 0.001
        assert row["conflict"] is None
        assert check_content(source, row, other, "new_") or not can_say(source, other, "new_")
        if (
            other["conflict"] is not None
        ):  # the record and what went before say two things, and the .etl says so
            continue
        says_old = check_content(source, row, other, "old_")
        if None not in (row["old_from"], other["old_from"]):
            assert (row["old_from"] == "absent") == (other["old_from"] == "absent")
        if source == "security" and other["old_from"] == "event":
            assert says_old or not can_say(source, other, "old_")
        if source == "procmon-csv" and other["old_from"] in ("read", "write"):
            assert says_old or not can_say(source, other, "old_")


def check_state(source: str, mine: list[Row], right: list[Row]) -> None:
    known = {place(row): row for row in right}
    said = {place(row): row for row in mine}
    for where, row in said.items():
        other = known[where]
        if "unknown" not in (row["known"], other["known"]):
            assert (row["known"] in GONE) == (other["known"] in GONE), (source, row, other)
        check_content(source, row, other)
    for where, other in known.items():
        if other["operation"] in CHANGING and other["known"] in ("write", "deleted"):
            assert said[where]["operation"] == other["operation"], (source, said[where], other)
            assert said[where]["data"] is not None or not can_say(source, other)
    if source == "procmon-csv":
        assert said.keys() == known.keys()


def check_changes(source: str, mine: list[Row], right: list[Row]) -> None:
    known = {place(row): row for row in right}
    said = {place(row): row for row in mine}
    for where, row in said.items():
        other = known.get(where)
        if other is None:  # the .etl knows that nothing changed; the source does not say what was there
            assert row["before_data"] is None or row["after_data"] is None, (source, row)
            continue
        for side in ("before_", "after_"):
            check_content(source, row, other, side)
            if None not in (row[f"{side}from"], other[f"{side}from"]):
                assert (row[f"{side}from"] == "absent") == (other[f"{side}from"] == "absent")
    for where, other in known.items():
        if other["value_name"] is not None and other["writes"] and not other["with_key"]:
            row = said[where]
            assert row["writes"] == other["writes"]
            if row["change"] == "unclear":  # the key was created: anew?
                assert "whether a create made the key" in ABILITIES[source].never
                continue
            assert row["after_data"] is not None or not can_say(source, other, "after_")


# A few are enough: each is a history of its own, with values written, deleted and read by several processes. None is
# shrunk: a seed has no smaller one.
@pytest.mark.slow
@settings(max_examples=2, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    seed=st.integers(0, 2**16),
    failed_open=st.sampled_from([0.0, 0.1, 0.4]),
    mixed_case=st.sampled_from([0.0, 0.3]),
    users=st.integers(1, 3),
)
def test_five_sources_tell_one_history(tmp_path_factory: pytest.TempPathFactory, **options: Any) -> None:
    folder = tmp_path_factory.mktemp("five")
    captures = captures_of(folder, events=800, keys=30, links=0.0, app_hives=0, **options)
    answers = {source: answers_of(capture) for source, capture in captures.items()}
    right = answers.pop("etl")
    assert len(right["history"]) > 10
    text = answers.pop("etw")
    for question, rows in right.items():
        assert text[question] == rows, question
    for source, mine in answers.items():
        check_history(source, mine["history"], right["history"])
        check_state(source, mine["state"], right["state"])
        check_changes(source, mine["changes"], right["changes"])
