"""The roll-up by subtree, compared with a loop that cuts paths into their components."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_counts import plain_counts
from plain_rows import counted_rows, link_target, plain_answer, simulated
from procmon_oracle import csv_rows
from small_capture import write_capture
from workloads import events, write_workload

from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from tracer.errors import UsageError
from tracer.registry.paths import compile_pattern
from tracer.registry.text import fold_name

LOG = "pp-LogfileTests64bitUTC"
SOFTWARE = r"HKLM\SOFTWARE"


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    folder = tmp_path_factory.mktemp("tree")
    path = simulated(folder, seed=7, events=2000, hostile_names=0.2, nul_names=0.1, surrogate_names=0.1)
    with open_capture(path, memory_limit="512MB", threads=2) as opened:
        yield opened


def components(path: str) -> list[str]:
    first, *more = path[1:].split("\\")
    return [path[0] + first, *more]


def target_shown(path: str) -> str:
    """Return a display path with the link to a user's classes followed."""
    if link_target(fold_name(path)) == fold_name(path):
        return path
    hku, user, _, _, *rest = path.split("\\")
    return "\\".join([hku, f"{user}_Classes", *rest])


def place_of(key: Any, tops: set[str] | None) -> tuple[str, list[str], int]:
    """Return a key's path as shown, the paths of all keys from the root to it, and which of these is its top."""
    found = []
    path = target_shown(key.display_path)
    _, user, *rest = [*path.split("\\"), ""]
    spellings = [path]
    if tops is not None and path.upper().startswith("HKU\\S-1-") and user.upper().endswith("_CLASSES"):
        through = "\\".join(["HKU", user[: -len("_Classes")], "Software", "Classes", *rest])
        spellings.append(through.rstrip("\\"))
    for by_link, shown in enumerate(spellings):
        parts = components(fold_name(shown))
        paths = ["\\".join(parts[: place + 1]) for place in range(len(parts))]
        start = next((place for place, path in enumerate(paths) if tops is None or path in tops), len(paths))
        found.append((start == len(paths), start, by_link, shown, paths))
    _, start, _, shown, paths = min(found)
    return shown, paths, start


def plain_tree(
    capture: Capture, rows: list[dict[str, Any]], tops: set[str] | None, depth: int
) -> list[dict[str, Any]]:
    """Return the answer of `subtrees`, as a tree."""
    keys = {key.key_id: key for key in capture.sql("SELECT * FROM keys").itertuples()}
    own = {link_target(key.folded_path): key for key in reversed(keys.values()) if key.key_id == key.same_as}
    nodes: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["group"] is None:
            continue
        key = keys[row["group"]]
        shown, paths, start = place_of(key, tops)
        for level, path in enumerate(paths[start : start + depth + 1]):
            spelled = target_shown(own[path].display_path) if path in own else shown[: len(path)]
            node = nodes.setdefault(
                path, {"level": level, "rows": [], "own": 0, "spelled": set(), "path": path}
            )
            node["rows"].append(row)
            node["own"] += path == paths[-1]
            node["spelled"].add(spelled)
    whole = sum(len(node["rows"]) for node in nodes.values() if node["level"] == 0)
    answers = []
    for path, node in nodes.items():
        mine, level = node["rows"], node["level"]
        shown = min(node["spelled"])
        answers.append(
            {
                "display_key": shown,
                "name": shown if level == 0 else shown.rpartition("\\")[2],
                "level": level,
                **plain_counts(mine),
                "own_events": node["own"],
                "share": pytest.approx(len(mine) / whole),
                "keys": len({row["group"] for row in mine}),
                "processes": len({row["process_id"] for row in mine} - {None}),
                "first_time": mine[0]["time"],
                "last_time": mine[-1]["time"],
                "key_id": own[link_target(path)].key_id if link_target(path) in own else None,
                "first_sequence": mine[0]["sequence"],
                "last_sequence": mine[-1]["sequence"],
            }
        )  # fmt: skip
    return sorted(answers, key=lambda row: tree_place(fold_name(row["display_key"])))


def tree_place(path: str) -> tuple[bool, str]:
    return path.startswith("<OBJECT "), path.replace("\\", "\1")


def some(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = wanted[0] if wanted else {}
    return [{name: row[name] for name in names} for row in found]


@pytest.mark.parametrize("depth", [0, 9])
def test_every_key_counts_in_all_keys_above_it(capture: Capture, depth: int) -> None:
    wanted = plain_tree(capture, counted_rows(capture), None, depth)
    found = plain_answer(capture.lazy.tree(depth=depth))
    assert some(found, wanted) == wanted
    assert len(wanted) > 2


def test_hostile_names_and_keys_without_parents_have_their_place(tmp_path: Path) -> None:
    with open_capture(write_capture(tmp_path / "small.regtrace", events=240)) as small:
        wanted = plain_tree(small, counted_rows(small), None, 4)
        assert some(plain_answer(small.lazy.tree(depth=4)), wanted) == wanted


@pytest.mark.parametrize(
    "under", [SOFTWARE, [r"HKLM\SOFTWARE\*", SOFTWARE, "HKU"], r"HKLM\**\S*", r"HKLM\**\None"]
)
def test_a_tree_begins_at_the_highest_keys_asked_for(capture: Capture, under: str | list[str]) -> None:
    asked = Filters(key=under, subtree=True)
    patterns = [compile_pattern(text) for text in ([under] if isinstance(under, str) else under)]
    keys = capture.sql(
        "SELECT k.folded_path AS path, g.folded_path AS top FROM keys k, keys g WHERE k.same_as = g.key_id"
    )
    tops = {
        link_target(top)
        for path, top in keys.itertuples(index=False)
        if any(pattern.matches(path) for pattern in patterns)
    }
    wanted = plain_tree(capture, counted_rows(capture, asked), tops, 1)
    found = plain_answer(capture.where(asked).lazy.tree(depth=1))
    assert some(found, wanted) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("sort", ["failures", "keys"])
def test_the_largest_come_first_where_a_size_is_asked_for(capture: Capture, sort: str) -> None:
    rows = plain_answer(capture.lazy.tree(sort=sort))
    known = [row for row in rows if row[sort] is not None]
    assert known == sorted(known, key=lambda row: (-row[sort], tree_place(fold_name(row["display_key"]))))
    assert plain_answer(capture.lazy.tree(sort=sort, limit=3)) == rows[:3]


def test_rows_that_do_not_fit_do_not_count(capture: Capture) -> None:
    asked = Filters(process="*s*", status="error")
    wanted = plain_tree(capture, counted_rows(capture, asked), None, 2)
    assert some(plain_answer(capture.where(asked).lazy.tree()), wanted) == wanted


@pytest.mark.slow
@settings(max_examples=2)
@given(st.lists(events(), min_size=10, max_size=60), st.integers(0, 4))
def test_any_workload_is_rolled_up_as_a_loop_does(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], depth: int
) -> None:
    path = write_workload(tmp_path_factory.mktemp("any") / "any.regtrace", rows, [])
    with open_capture(path, memory_limit="512MB", threads=1) as capture:
        wanted = plain_tree(capture, counted_rows(capture), None, depth)
        assert some(plain_answer(capture.lazy.tree(depth=depth)), wanted) == wanted


def test_mistakes_are_refused(capture: Capture) -> None:
    for words, message in (
        ({"sort": "colour"}, "failures"),
        ({"depth": -1}, "0 to 30"),
        ({"depth": 31}, "0 to 30"),
    ):
        with pytest.raises(UsageError, match=message):
            capture.tree(**words)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="one of them"):
        capture.tree(under="HKLM", key="HKU")
    assert len(capture.tree(start="+1d")) == 0


@pytest.mark.slow
def test_subtrees_of_a_procmon_log_are_those_of_its_own_csv(corpus: Path, procmon_capture: Path) -> None:
    rows = csv_rows(corpus / "pml" / f"{LOG}.csv.gz")
    with open_capture(procmon_capture) as log:
        found = {
            row.display_key: row for row in log.tree(under=r"HKLM\SYSTEM", depth=3, noise=True).itertuples()
        }
    for key in (
        "",
        r"\CurrentControlSet",
        r"\CurrentControlSet\Control",
        r"\CurrentControlSet\Services",
        r"\Setup",
    ):
        top = rf"HKLM\SYSTEM{key}".upper()
        mine = [row for row in rows if (row["Path"].upper() + "\\").startswith(top + "\\")]
        node = found[rf"HKLM\SYSTEM{key}"]
        assert node.events == len(mine) > 5
        assert node.processes == len({row["PID"] for row in mine})
        assert node.not_found == sum(row["Result"] == "NAME NOT FOUND" for row in mine)
