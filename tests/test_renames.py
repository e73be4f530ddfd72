"""Where a key is renamed, what was known of it and of all below it is known under its new name, one story at a time."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hand_capture import MISSING, event, write_events

import regtrace as rt
from analysis.answers.stays import stays_of
from analysis.capture import Capture
from analysis.open import open_capture
from tracer.pml.renames import name_subkeys
from tracer.resolve.tree import KeyTree

FAULTS = Path(__file__).parents[2] / "shared/faults"
SOFTWARE = "HKLM\\SOFTWARE"
A, B, C = (f"{SOFTWARE}\\{name}" for name in "ABC")
DENIED = 0xC0000022
AMBIGUOUS = 1
Event_ = dict[str, Any]


def write(key: str, number: int, value: str = "V", **more: Any) -> Event_:
    data = number.to_bytes(4, "little")
    return event("SetValueKey", key, value, data_type=4, data_size=4, data=data, **more)


def create(key: str) -> Event_:
    return event("CreateKey", key, disposition=1)


def rename(key: str, name: str | None, **more: Any) -> Event_:
    return event("RenameKey", key, requested_name=name, **more)


def opened(folder: Path, *events: Event_) -> Capture:
    return open_capture(write_events(folder / "a.regtrace", events))


@cache  # tests look at one answer from several sides
def known(capture: Capture, at: str | None = None) -> dict[tuple[str, str | None], Any]:
    """Return what `state` tells, by key and value: the word, or the number that the value holds."""
    rows = capture.state(at=at)[["display_key", "value_name", "known", "text"]].astype(object)
    rows = rows.where(rows.notna(), None)
    found = {}
    for key, value, word, text in rows.itertuples(index=False):
        found[key, value] = int(text.split()[0]) if text and word in ("write", "read") else word
    return found


@cache
def old(capture: Capture, key: str) -> list[Any]:
    """Return how the old data is known of each change that `history` tells of a key, and its number."""
    rows = capture.history(key)[["operation", "old_from", "old_text"]].astype(object)
    rows = rows.where(rows.notna(), None)
    return [
        (operation, source, text and int(text.split()[0]))
        for operation, source, text in rows.itertuples(index=False)
    ]


def changed(capture: Capture, **words: Any) -> dict[tuple[str, str | None], str]:
    rows = capture.changes(**words)[["display_key", "value_name", "change"]].astype(object)
    rows = rows.where(rows.notna(), None)
    return {(key, value): word for key, value, word in rows.itertuples(index=False)}


def test_values_go_with_their_key(tmp_path: Path) -> None:
    events = [write(A, 1), write(f"{A}\\x", 2), rename(A, "B"), write(B, 3), event("OpenKey", f"{B}\\x")]
    with opened(tmp_path, *events) as capture:
        assert known(capture, "+2us") == {(A, None): "exists", (A, "V"): 1} | {
            (f"{A}\\x", None): "exists",
            (f"{A}\\x", "V"): 2,
        } | {
            (B, None): "exists",
            (B, "V"): 1,
            (f"{B}\\x", None): "exists",
            (f"{B}\\x", "V"): 2,
        } | dict.fromkeys([(A, None), (A, "V"), (f"{A}\\x", None), (f"{A}\\x", "V")], "deleted")
        assert known(capture, "+1us") == {
            (A, None): "exists", (A, "V"): 1, (f"{A}\\x", None): "exists", (f"{A}\\x", "V"): 2,
        }  # fmt: skip
        assert known(capture)[B, "V"] == 3
        assert old(capture, A) == [("SetValueKey", None, None), ("RenameKey", "write", 1)]
        assert old(capture, B) == [("SetValueKey", "write", 1)]
        [row] = capture.history(B).to_dict("records")
        assert (row["old_sequence"], row["across_loss"]) == (0, False)
        [row] = capture.state(at="+2us", key=B, value="V").to_dict("records")
        assert (row["sequence"], row["operation"], row["key"]) == (
            0,
            "SetValueKey",
            "\\REGISTRY\\MACHINE\\SOFTWARE\\B",
        )
        assert known(capture, "+2us") == known(capture, "+2.5us")


def test_an_answer_about_one_name_is_that_about_all(tmp_path: Path) -> None:
    events = [write(A, 1), rename(A, "B"), write(B, 2), rename(B, "C"), write(C, 3), create(A), write(A, 9)]
    with opened(tmp_path, *events) as capture:
        whole = known(capture)
        for key in (A, B, C):
            rows = capture.state(key=key)
            assert rows["known"].tolist() == ["exists", "write"] if key != B else ["deleted", "deleted"]
            assert {(key, None), (key, "V")} == {place for place in whole if place[0] == key}
            frame = capture.history("**")
            assert (
                capture.history(key)["sequence"].tolist()
                == frame[frame["display_key"] == key]["sequence"].tolist()
            )
        assert [source for _, source, _ in old(capture, C)] == ["write"]


def test_renames_in_a_chain_and_back(tmp_path: Path) -> None:
    events = [write(A, 1), rename(A, "B"), rename(B, "C"), write(C, 2), rename(C, "A"), write(A, 3)]
    with opened(tmp_path, *events) as capture:
        assert old(capture, C) == [("SetValueKey", "write", 1), ("RenameKey", "write", 2)]
        assert old(capture, B) == [("RenameKey", "write", 1)]
        assert old(capture, A) == [
            ("SetValueKey", None, None),
            ("RenameKey", "write", 1),
            ("SetValueKey", "write", 2),
        ]
        end = known(capture)
        assert (end[A, "V"], end[B, "V"], end[C, "V"]) == (3, "deleted", "deleted")
        assert known(capture, "+2us")[C, "V"] == 1
        assert (B, "V") not in known(capture, "+0us")


def test_a_new_key_under_the_old_name_is_empty(tmp_path: Path) -> None:
    events = [
        write(A, 1),
        rename(A, "B"),
        create(A),
        event("QueryValueKey", A, "W", status=MISSING),
        write(A, 5),
    ]
    with opened(tmp_path, *events) as capture:
        assert known(capture, "+3us")[A, "V"] == "absent"
        assert old(capture, A)[-1] == ("SetValueKey", "absent", None)
        assert known(capture)[B, "V"] == 1


def test_what_was_heard_of_the_new_name_before_is_of_another_key(tmp_path: Path) -> None:
    gone = [write(B, 7), write(B, 8, "W"), event("DeleteKey", B)]
    with opened(tmp_path, *gone, write(A, 1), rename(A, "B"), write(B, 2), write(B, 2, "W")) as capture:
        assert known(capture, "+4us")[B, "V"] == 1
        assert known(capture, "+4us")[B, "W"] == "unknown"  # of A's W nobody heard
        assert old(capture, B)[-2:] == [("SetValueKey", "write", 1), ("SetValueKey", None, None)]
        assert known(capture, "+3us")[B, "V"] == "deleted"


@pytest.mark.parametrize(
    ("last", "word"),
    [
        (rename(A, "B"), 1),
        (rename(A, "B", status=0x104), 1),  # a success with something to say
        (rename(A, "B", status=DENIED), None),
        (rename(A, "B", status=None), None),
        (rename(A, "B", flags=AMBIGUOUS), None),
        (rename(A, None), None),
        (rename(A, "B\\C"), None),
    ],
)
def test_only_a_rename_that_is_known_to_be_done_takes_anything_along(
    tmp_path: Path, last: Event_, word: int | None
) -> None:
    with opened(tmp_path, write(A, 1), last, event("OpenKey", B)) as capture:
        assert known(capture).get((B, "V")) == word
        left = known(capture)[A, "V"]
    failed = last["status"] == DENIED
    unclear = last["status"] is None or last.get("flags")
    assert left == (1 if failed else "unknown" if unclear else "deleted")


def test_a_rename_of_letters_case_alone_leaves_all_as_it_is(tmp_path: Path) -> None:
    with opened(tmp_path, write(A, 1), rename(A, "a"), write(A, 2)) as capture:
        assert known(capture, "+1us") == {(A, None): "exists", (A, "V"): 1}
        assert old(capture, A) == [("SetValueKey", None, None), ("SetValueKey", "write", 1)]
        assert changed(capture, start="+1us") == {(A, "V"): "changed"}


def test_doubt_goes_along_too(tmp_path: Path) -> None:
    doubtful = write(A, 2, flags=AMBIGUOUS)
    with opened(tmp_path, write(A, 1), doubtful, rename(A, "B"), write(B, 3)) as capture:
        assert known(capture, "+2us")[B, "V"] == "unknown"
        assert old(capture, B) == [("SetValueKey", None, None)]
    elsewhere = event("DeleteKey", C, flags=16)
    with open_capture(
        write_events(tmp_path / "b.regtrace", [write(A, 1), elsewhere, rename(A, "B"), write(B, 3)])
    ) as capture:
        assert capture.history(B)["across_loss"].tolist() == [True]
        assert known(capture, "+2us")[B, "V"] == "unknown"


def test_below_a_key_that_is_missing_is_nothing_that_came_by_a_rename(tmp_path: Path) -> None:
    events = [write(f"{A}\\x", 1), rename(A, "B"), event("OpenKey", B, status=MISSING)]
    with opened(tmp_path, *events, event("OpenKey", f"{B}\\x", status=DENIED)) as capture:
        assert known(capture, "+1us")[f"{B}\\x", "V"] == 1
        assert known(capture)[f"{B}\\x", "V"] == "absent"


def test_a_key_that_was_only_renamed_was_there_and_is_gone_with_the_one_above_it(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "B")):
        events = [rename(A, name), event("OpenKey", SOFTWARE, status=MISSING)]
        with open_capture(write_events(tmp_path / f"{number}.regtrace", events)) as capture:
            assert known(capture)[f"{SOFTWARE}\\{'AB'[number]}", None] == "absent"


def test_links_are_followed(tmp_path: Path) -> None:
    user = "HKU\\S-1-5-21-1-2-3-1001"
    events = [write(f"{user}\\Software\\Classes\\a", 1), rename(f"{user}_Classes\\a", "b")]
    with opened(tmp_path, *events, write(f"{user}\\Software\\Classes\\b", 2)) as capture:
        assert old(capture, f"{user}_Classes\\b") == [("SetValueKey", "write", 1)]


def test_net_changes_of_a_key_made_and_renamed_are_those_of_a_new_key(tmp_path: Path) -> None:
    events = [create(A), write(A, 1), write(A, 4, "W"), rename(A, "B"), write(B, 2)]
    with opened(tmp_path, *events) as capture:
        assert changed(capture) == {(B, None): "created", (B, "V"): "added", (B, "W"): "added"}
        frame = capture.changes().set_index(capture.changes()["value_name"].fillna("key"))
        assert frame["complete"].all()
        assert frame.loc["W", "writes"] == 0
        files = capture.reg_files()
    assert '"V"=dword:00000002' in files.apply
    assert '"W"=dword:00000004' in files.apply
    assert "[-HKEY_LOCAL_MACHINE\\SOFTWARE\\B]" in files.undo
    assert files.left_out.num_rows == 0


def test_net_changes_of_a_key_that_was_there_are_no_reg_file(tmp_path: Path) -> None:
    with opened(tmp_path, write(A, 1), rename(A, "B"), write(B, 2)) as capture:
        assert changed(capture, start="+1us") == {
            (A, None): "renamed", (A, "V"): "removed", (B, None): "renamed", (B, "V"): "added",
        }  # fmt: skip
        files = capture.reg_files(start="+1us")
        assert "SOFTWARE\\B]" not in files.undo
        assert {reason for _, reason in files.left_out_of("undo")} == {
            "the key was renamed, which no .reg file can do"
        }
        # After the rename, what was known before it is what an undo brings back.
        assert changed(capture, start="+2us") == {(B, "V"): "changed"}
        assert '"V"=dword:00000001' in capture.reg_files(start="+2us").undo


def test_net_changes_of_what_was_not_there_when_its_key_came(tmp_path: Path) -> None:
    """Whatever is below a key that was just made is made in the capture, also where that was not seen."""
    with opened(tmp_path, create(A), rename(A, "B"), write(f"{B}\\x", 1)) as capture:
        assert changed(capture) == {
            (B, None): "created",
            (f"{B}\\x", None): "created",
            (f"{B}\\x", "V"): "added",
        }


def test_two_times_differ_by_a_rename(tmp_path: Path) -> None:
    with opened(tmp_path, write(A, 1), rename(A, "B"), event("OpenKey", B)) as capture:
        rows = capture.queries.diff(a_end="+0us", only=("keys", "values")).to_arrow()
        told = {(row["side"], row["b_key"] or row["a_key"], row["value_name"]) for row in rows.to_pylist()}
    assert told == {("differs", A, None), ("differs", A, "V"), ("only_b", B, None), ("only_b", B, "V")}


def test_renames_that_would_make_too_many_stays_are_not_followed() -> None:
    renames = [(number, "A", "B") if number % 2 else (number, "B", "A") for number in range(1, 9)]
    paths = [("A", 1), ("B", 2), ("B\\x", 3)]
    whole = stays_of(renames, paths)
    assert stays_of(renames, paths, most=12).num_rows < whole.num_rows
    assert max(stays_of(renames, paths, most=12)["begins"].to_pylist()) == 2
    assert stays_of([], paths).num_rows == 0


def test_keys_below_a_new_name_are_keys(tmp_path: Path) -> None:
    tree = KeyTree()
    key, sub = tree.rooted("\\REGISTRY\\MACHINE\\A"), tree.rooted("\\REGISTRY\\MACHINE\\A\\x\\y")
    name_subkeys(tree, [(key, "B"), (key, "a"), (key, "\\"), (sub, ""), (0, "C")])
    paths = [tree.path(node) for node in range(len(tree))]
    assert paths[-3:] == [
        "\\REGISTRY\\MACHINE\\B",
        "\\REGISTRY\\MACHINE\\B\\x",
        "\\REGISTRY\\MACHINE\\B\\x\\y",
    ]
    name_subkeys(tree, [(key, "C")], most=1)
    assert tree.path(len(tree) - 1) == "\\REGISTRY\\MACHINE\\C\\x"


@pytest.mark.skipif(not FAULTS.is_dir(), reason="the faults are not here")
def test_the_fault_has_its_right_answers(tmp_path: Path) -> None:
    rt.ingest(FAULTS / "procmon-operations.pml", tmp_path / "a.regtrace")
    vendor, new = f"{SOFTWARE}\\Vendor", f"{SOFTWARE}\\Vendor2"
    with rt.open(tmp_path / "a.regtrace") as capture:
        rows = capture.history(new, "Version")
        assert rows["old_text"].tolist() == ["1", "2"]
        after = capture.state(at="2020-01-01T00:00:00.000300Z").set_index(["display_key", "value_name"])
        assert after.loc[(new, "Version"), "text"] == "1"
        assert after.loc[(vendor, "Version"), "known"] == "deleted"
        before = capture.state(at="2020-01-01T00:00:00.000200Z")
        assert set(before["display_key"]) == {vendor}
        change = capture.changes(start="2020-01-01T00:00:00.000400Z").set_index(["display_key", "value_name"])
        assert change.loc[(new, "Version"), ["change", "before_data"]].tolist() == ["removed", b"1\0\0\0"]
        assert "unclear" not in set(capture.changes()["change"])
        assert '"Version"="1"' in capture.reg_files(start="2020-01-01T00:00:00.000400Z").undo
