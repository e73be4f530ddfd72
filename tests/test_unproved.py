"""Evidence is no surer than the name it stands under, one story at a time; the whole of it is in test_evidence_truth."""

from pathlib import Path
from typing import Any

import pytest
from hand_capture import MISSING, event, write_events

import regtrace as rt
from analysis.open import open_capture

FAULTS = Path(__file__).parents[2] / "shared/faults"
APP, PARENT = "HKLM\\SOFTWARE\\App", "HKLM\\SOFTWARE\\P"
DENIED = 0xC0000022
ACROSS_LOSS, AMBIGUOUS = 16, 1


def write(key: str, number: int = 1, value: str = "Mode", **more: Any) -> dict[str, Any]:
    data = number.to_bytes(4, "little")
    return event("SetValueKey", key, value, data_type=4, data_size=4, data=data, **more)


def miss(key: str, value: str = "Mode", **more: Any) -> dict[str, Any]:
    return event("QueryValueKey", key, value, status=MISSING, **more)


def hive(name: str, more: str = "") -> dict[str, Any]:
    return event("HiveWork", None, status=None, detail=f'{{"event": "{name}"{more}}}')


def known(folder: Path, *events: dict[str, Any]) -> dict[tuple[str, str | None], str]:
    """Return what `state` knows in the end, by key and value."""
    with open_capture(write_events(folder / "a.regtrace", events)) as capture:
        rows = capture.state()[["display_key", "value_name", "known"]].astype(object)
    rows = rows.where(rows.notna(), None)
    return {(key, value): word for key, value, word in rows.itertuples(index=False)}


@pytest.mark.slow
@pytest.mark.parametrize("flags", [ACROSS_LOSS, AMBIGUOUS])
def test_a_miss_under_an_unproved_name_undoes_nothing(tmp_path: Path, flags: int) -> None:
    path = write_events(tmp_path / "a.regtrace", [miss(APP, flags=flags), write(APP, at_us=50)])
    with open_capture(path) as capture:
        assert capture.history(APP)[["old_from", "old_text"]].isna().all(axis=None)
        [changed] = capture.changes(start="+10us").to_dict("records")
        assert (changed["change"], changed["complete"]) == ("set", False)
        assert '"Mode"=-' not in capture.reg_files(start="+10us").undo


@pytest.mark.slow
@pytest.mark.parametrize(
    ("last", "word"),
    [
        (write(APP, 2, flags=AMBIGUOUS), "unknown"),
        (write("HKLM\\SOFTWARE\\Other", 2, flags=ACROSS_LOSS), "unknown"),  # App's, perhaps
        (write("HKLM\\SOFTWARE\\Other", 2, flags=AMBIGUOUS), "write"),
        (write("HKLM\\SOFTWARE\\Other", 2, "Else", flags=ACROSS_LOSS), "write"),
        (event("DeleteKey", "HKLM\\SOFTWARE\\Other", flags=ACROSS_LOSS), "unknown"),
        (miss(APP, flags=ACROSS_LOSS), "write"),
        (write(APP, 2, flags=ACROSS_LOSS, status=DENIED), "write"),
        (hive("RestoreHiveStop", ', "StatusCode": 0'), "unknown"),
        (hive("RestoreHiveStop", ', "StatusCode": 3221225506'), "write"),
        (hive("LoadHiveStop", ', "StatusCode": 0'), "write"),
        (hive("FlushHiveStop", ', "StatusCode": 0'), "write"),
    ],
)  # fmt: skip
def test_a_change_of_which_nobody_knows_the_key_leaves_in_doubt_what_it_may_have_changed(
    tmp_path: Path, last: dict[str, Any], word: str
) -> None:
    assert known(tmp_path, write(APP), last)[APP, "Mode"] == word


@pytest.mark.slow
def test_a_hive_that_was_loaded_somewhere_leaves_in_doubt_what_was_absent(tmp_path: Path) -> None:
    events = [event("OpenKey", APP, status=MISSING), hive("LoadHiveStop", ', "StatusCode": 0')]
    assert known(tmp_path, *events)[APP, None] == "unknown"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("last", "word"),
    [
        ({"status": MISSING}, "absent"),
        ({"operation": "CreateKey", "disposition": 1}, "absent"),
        ({"operation": "CreateKey", "disposition": 2}, "write"),
        ({"status": DENIED}, "write"),
        ({"status": MISSING, "flags": ACROSS_LOSS}, "write"),
    ],
    ids=str,
)
def test_below_a_key_that_is_missing_or_newly_made_is_nothing(
    tmp_path: Path, last: dict[str, Any], word: str
) -> None:
    refused = event("OpenKey", f"{PARENT}\\R", status=DENIED)
    found = known(tmp_path, refused, write(f"{PARENT}\\Q"), event("OpenKey", PARENT) | last)
    assert found[f"{PARENT}\\Q", "Mode"] == word
    assert found[f"{PARENT}\\Q", None] == ("exists" if word == "write" else "absent")
    assert (f"{PARENT}\\R", None) not in found  # what only a refused operation named


@pytest.mark.slow
def test_a_file_does_not_make_a_key_to_delete_a_value_that_went_with_it(tmp_path: Path) -> None:
    events = [write(f"{PARENT}\\Q"), event("OpenKey", PARENT, status=MISSING)]
    with open_capture(write_events(tmp_path / "a.regtrace", events)) as capture:
        files = capture.reg_files()
    assert "\\Q]" not in files.apply
    assert [reason for _, reason in files.left_out_of("apply")] == [
        "its key was gone, and what deleted that was not seen"
    ]


@pytest.mark.slow
@pytest.mark.skipif(not FAULTS.is_dir(), reason="the faults are not here")
def test_the_faults_have_their_right_answers(tmp_path: Path) -> None:
    for name in ("unproved-absent", "parent"):
        rt.ingest(FAULTS / f"{name}.etl", tmp_path / f"{name}.regtrace")
    with rt.open(tmp_path / "unproved-absent.regtrace") as capture:
        assert capture.history("HKLM\\SOFTWARE\\App")["old_from"].isna().all()
        assert '"Mode"=-' not in capture.reg_files(start="+5ms", end="+100ms").undo
    with rt.open(tmp_path / "parent.regtrace") as capture:
        rows = capture.state(under="HKLM\\SOFTWARE\\P\\Q")
        assert list(rows["known"]) == ["absent", "absent"]
