"""Many captures are asked at once: their answers are those of each, whatever the others are, and none says how another is read."""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_capture import MISSING, event, write_events
from small_capture import write_capture

import regtrace as rt
from analysis.capture import Dataset
from analysis.dataset.clocks import stretches
from analysis.engine.columns import LABELS, kind_of_id
from tracer.scenarios import simulate_scenario
from tracer.schema import ADDED_COLUMNS
from tracer.simulate import SimulationOptions, simulate
from tracer.store.manifest import STRUCTURES, Manifest

SOFTWARE = r"HKLM\SOFTWARE"
RUN = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run"
RULE = r"""
title: Run keys
id: 11111111-2222-4333-8444-555555555555
logsource: {product: windows, category: registry_set}
detection:
  selection: {TargetObject|contains: '\SOFTWARE\'}
  condition: selection
level: high
"""


def change(capture: Path, **changes: object) -> None:
    """Change what a capture says of itself."""
    values = json.loads((capture / "capture.json").read_text())
    (capture / "capture.json").write_text(json.dumps(values | changes))


def rewrite(capture: Path, name: str, make: Callable[[pa.Table], pa.Table]) -> None:
    """Change a table of a capture, and what its manifest says of it."""
    values = json.loads((capture / "capture.json").read_text())
    entry = values["tables"][name] if name != "events" else values["parts"][0]
    made = make(pq.read_table(capture / entry["file"]))
    pq.write_table(made, capture / entry["file"])
    for told in ("bytes", "columns"):
        entry.pop(told, None)
    (capture / "capture.json").write_text(json.dumps(values))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captures of all kinds: lossy ones, stories, renames, hives at work, older versions, and one without events."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(2):
        trace = folder / "trace.etl"
        lost = {"lost_buffers": 0.2} if number else {"lost_events": 0.05}
        simulate(trace, SimulationOptions(events=400, seed=number, **lost), truth=False)
        rt.ingest(trace, folder / f"c{number}.regtrace")
    simulate_scenario(trace, "persistence", SimulationOptions(events=100), truth=False)
    rt.ingest(trace, folder / "b0.regtrace")
    trace.unlink()
    for number in range(2):  # alike, with other hosts, ids and neighbours
        shutil.copytree(folder / "c1.regtrace", folder / f"d{number}.regtrace")
        shutil.copytree(folder / "b0.regtrace", folder / f"e{number}.regtrace")
    change(folder / "d1.regtrace", data_of_reads=STRUCTURES)
    rewrite(
        folder / "e1.regtrace", "processes", lambda rows: rows.drop_columns(list(ADDED_COLUMNS["processes"]))
    )
    write_capture(folder / "small.regtrace")
    write_events(folder / "none.regtrace", [])
    write_events(
        folder / "renamed.regtrace",
        [
            event("CreateKey", rf"{SOFTWARE}\A", disposition=1),
            event("SetValueKey", RUN, "V", data_type=4, data_size=4, data=bytes(4)),
            event("OpenKey", rf"{SOFTWARE}\B", status=MISSING),
            event("RenameKey", rf"{SOFTWARE}\A", requested_name="B"),
            event("SetValueKey", RUN, "V", data_type=4, data_size=4, data=b"\1\0\0\0"),
        ],
    )
    return folder


@pytest.fixture(scope="module")
def dataset(fleet: Path) -> Iterator[Dataset]:
    with rt.open(fleet, memory_limit="1GB", threads=2) as opened:
        assert isinstance(opened, Dataset)
        yield opened


def comparable(frame: pd.DataFrame) -> list[list[str]]:
    """Return the rows as text, in order; ids are left out, for a dataset's are its own."""
    names = [name for name in frame.columns if kind_of_id(name) is None and name not in LABELS]
    return [[str(value) for value in row] for row in frame[names].itertuples(index=False)]


QUESTIONS: dict[str, Callable[[rt.Capture, Path], pd.DataFrame]] = {
    "who": lambda capture, _: capture.who(RUN),
    "timeline": lambda capture, _: capture.timeline(SOFTWARE, subtree=True),
    "history": lambda capture, _: capture.history(SOFTWARE, subtree=True),
    "autoruns with reads": lambda capture, _: capture.autoruns(reads=True),
    "rules": lambda capture, rule: capture.rules(rule).query("section == 'hit'").drop(
        columns=["before", "before_type", "before_from"]  # of several only what events recorded
    ),
}  # fmt: skip


@pytest.mark.slow
def test_an_answer_is_that_of_each_capture(dataset, fleet, tmp_path):
    """Ten seconds of processor time: each of eleven captures is asked by itself, too, and odd ones need Ibis."""
    pytest.importorskip("sigma")
    rule = tmp_path / "rule.yml"
    rule.write_text(RULE)
    whole = {name: ask(dataset, rule) for name, ask in QUESTIONS.items()}
    asked = dict.fromkeys(QUESTIONS, 0)
    for member in dataset.members:
        with rt.open(member.path, memory_limit="1GB", threads=2) as capture:
            for name, ask in QUESTIONS.items():
                own, mine = ask(capture, rule), whole[name]
                assert comparable(mine[mine["capture"] == member.capture]) == comparable(own), (
                    member.capture,
                    name,
                )
                asked[name] += bool(len(own))
    assert min(asked.values()) >= 3, asked


def test_losses_of_one_host_are_not_those_of_another(dataset):
    groups = dataset.context.groups(rt.Filters(), lambda _: "alike")
    assert len(groups) == 1
    ends = [(one.first + one.shift, one.last + one.shift) for one in groups[0].clock]
    assert all(end < begin for (_, end), (begin, _) in itertools.pairwise(ends))
    for name, kind, times in (
        ("stored_events", "sequence", ["time_ns"]),
        ("losses", "source_id", ["from_ns", "to_ns"]),
    ):
        rows = groups[0].engine.fetch(groups[0].clocked(groups[0].relation(name))).to_pylist()
        assert rows
        for place, row in zip(groups[0].places([row[kind] for row in rows], kind), rows, strict=True):
            assert all(ends[place][0] <= row[time] <= ends[place][1] for time in times)


def test_captures_of_very_long_times_are_asked_by_themselves(dataset):
    long = [{"first_ns": 1, "last_ns": 2**62, "rows": 1}]
    members = [
        type(one)(one.path, Manifest(True, parts=long), one.capture, one.host, one.first)
        for one in dataset.members[:3]
    ]
    assert stretches(members[:1], 1000) is not None
    assert stretches(members, 1000) is None


@pytest.mark.parametrize("first", ["a", "z"])
def test_no_capture_says_how_another_is_read(fleet, tmp_path, first):
    """A table with a column that the engine has itself, and with another type, stands before or behind those of others."""
    good = [fleet / f"{name}.regtrace" for name in ("b0", "e0")]
    for path in good:
        shutil.copytree(path, tmp_path / path.name)
    bad = tmp_path / f"{first}.regtrace"
    shutil.copytree(good[0], bad)
    rewrite(
        bad, "keys", lambda rows: rows.append_column("file_index", pa.array([1] * len(rows), pa.uint64()))
    )
    rewrite(
        bad, "events", lambda rows: rows.set_column(
            rows.schema.get_field_index("data"), "data", pa.array(["x"] * len(rows), pa.string())
        ).append_column("file_index", pa.array([1] * len(rows), pa.uint64())),
    )  # fmt: skip
    with rt.open(tmp_path) as several, rt.open(good[0]) as one:
        whole, own = several.timeline(RUN), one.timeline(RUN)
        for path in good:
            assert comparable(whole[whole["capture"] == path.stem]) == comparable(own)
        assert len(whole[whole["capture"] == first]) == len(own)
        keys = several.sql("SELECT capture, count(*) AS n FROM keys GROUP BY capture")
        assert keys["n"].nunique() == 1
