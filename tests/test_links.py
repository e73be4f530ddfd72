r"""A link and its target are one key in every question: HKU\SID\Software\Classes is HKU\SID_Classes, and all below it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pytest
from hand_capture import event, write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_rows import link_target as plain_target
from plain_rows import plain_answer

from analysis.capture import Capture
from analysis.expressions.links import link_path, link_target
from analysis.filters import Filters
from analysis.open import open_capture
from tracer.registry.paths import compile_pattern

SID = "HKU\\S-1-5-21-1-2-3-1001"
LINK, HIVE = f"{SID}\\Software\\Classes", f"{SID}_Classes"
ONE = {"data_type": 4, "data_size": 4, "data": b"\1\0\0\0"}


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    events = [
        event("OpenKey", HIVE),
        event("SetValueKey", f"{HIVE}\\A", "v", **ONE),
        event("SetValueKey", f"{LINK}\\B", "v", **ONE),
        event("OpenKey", f"{LINK}\\B\\C"),
        event("OpenKey", f"{SID}\\Software\\Other"),
        event("OpenKey", f"{SID}X\\Software\\Classes"),
        *(event("OpenKey", key) for key in ("HKLM\\SOFTWARE", "HKU", SID, f"{SID}\\Software")),
    ]
    with open_capture(write_events(tmp_path_factory.mktemp("links") / "a.regtrace", events)) as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize(
    ("under", "events"),
    [(HIVE, 4), (LINK, 4), (f"{LINK}\\B", 2), (f"{HIVE}\\B", 2), (f"{HIVE}\\A", 1), (f"{SID}\\Software", 6), (SID, 7),
     (f"{SID}\\Soft*", 6), ("HKU", 9), (f"{SID}\\**\\C", 1), (f"{HIVE}\\**", 4), (f"{SID}\\*\\*\\?", 3)],
)  # fmt: skip
def test_every_question_finds_the_same_rows_below_a_key(capture: Capture, under: str, events: int) -> None:
    asked = Filters(key=under, subtree=True)
    rows = capture.timeline_reader(asked).read_all().num_rows
    keys = plain_answer(capture.where(asked).lazy.keys())
    tree = plain_answer(capture.where(asked).lazy.tree(depth=9))
    assert (rows, sum(row["events"] for row in keys)) == (events, events)
    assert sum(row["events"] for row in tree if row["level"] == 0) == events
    assert sum(row["own_events"] for row in tree) == events


@pytest.mark.slow
def test_below_the_link_the_tree_names_keys_as_asked_and_finds_their_ids(capture: Capture) -> None:
    tree = plain_answer(capture.where(Filters(key=f"{SID}\\Software", subtree=True)).lazy.tree(depth=2))
    names = [(row["display_key"].removeprefix(f"{SID}\\Software"), row["events"]) for row in tree]
    assert names == [("", 6), ("\\Classes", 4), ("\\Classes\\A", 1), ("\\Classes\\B", 2), ("\\Other", 1)]
    ids = {row["display_key"]: row["key_id"] for row in plain_answer(capture.where(Filters()).lazy.keys())}
    assert [row["key_id"] for row in tree[2:4]] == [ids[f"{HIVE}\\A"], ids[f"{LINK}\\B"]]


@pytest.mark.slow
@pytest.mark.parametrize("top", [HIVE, LINK])
@pytest.mark.parametrize(
    ("operation", "more"),
    [("HiveWork", {"status": None, "detail": '{"event": "UnloadHiveStart"}'}), ("RestoreKey", {}), ("UnloadKey", {})],
)  # fmt: skip
def test_what_changes_a_hive_changes_what_was_recorded_through_the_link(
    tmp_path: Path, top: str, operation: str, more: dict[str, Any]
) -> None:
    events = [event("SetValueKey", f"{key}\\A", key, **ONE) for key in (HIVE, LINK, f"{SID}\\Software")]
    path = write_events(tmp_path / "a.regtrace", [*events, event(operation, top, **more)])
    with open_capture(path) as opened:
        values = opened.state().dropna(subset=["value_name"])
    assert dict(zip(values["value_name"], values["known"], strict=True)) == {
        HIVE: "unknown", LINK: "unknown", f"{SID}\\Software": "write",
    }  # fmt: skip


@pytest.mark.slow
def test_a_read_is_not_redundant_after_the_hive_was_replaced_under_its_other_name(tmp_path: Path) -> None:
    read = event("QueryValueKey", f"{LINK}\\B", "v", information_class=2)
    path = write_events(tmp_path / "a.regtrace", [read, read, event("RestoreKey", HIVE), read])
    with open_capture(path) as opened:
        [row] = plain_answer(opened.lazy.redundant())
    assert (row["redundant"], row["unproved"], row["proved"]) == (2, 2, False)


@pytest.mark.slow
def test_two_captures_name_one_key_the_same_whichever_spelling_they_saw(tmp_path: Path) -> None:
    captures = []
    for name, key in (("a", f"{HIVE}\\B"), ("b", f"{LINK}\\B")):
        path = write_events(tmp_path / f"{name}.regtrace", [event("SetValueKey", key, "v", **ONE)])
        captures.append(open_capture(path))
    with captures[0] as one, captures[1] as other:
        assert len(one.diff(other)) == 0


PARTS = st.lists(
    st.sampled_from(("HKU", "HKLM", "S-1-5-21-1", "S-1-5-21-1_CLASSES", "S-1-5_CLASSESX", "SOFTWARE", "CLASSES", "ſ", "")),
    min_size=1, max_size=6,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(PARTS.map("\\".join), min_size=1, max_size=40))
def test_a_path_leads_where_a_loop_over_its_components_says(paths: list[str]) -> None:
    table = ibis.memtable(pa.table({"n": range(len(paths)), "path": paths}))
    table = table.mutate(target=link_target(table["path"]), link=link_path(link_target(table["path"])))
    rows = ibis.duckdb.connect().to_pyarrow(table.order_by("n")).to_pylist()
    assert [row["target"] for row in rows] == [plain_target(path) for path in paths]
    for row in rows:
        assert plain_target(row["link"]) == row["target"]
        if row["path"].startswith("HKU\\S-1-") and "" not in row["path"].split("\\"):
            assert compile_pattern(row["target"]).matches(row["path"])
