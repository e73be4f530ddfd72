"""The table `usage`: the sums of the event rows by key, and answers that are the same with it and without."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_counts import is_noise, is_read, plain_counts

import tracer.store.usage
from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from tracer.ingest.pipeline import ingest
from tracer.registry.operations import COUNTS_VERSION, OPERATIONS
from tracer.schema import EVENTS, USAGE
from tracer.simulate import SimulationOptions, simulate
from tracer.store.manifest import MANIFEST_NAME
from tracer.store.usage import Usage

LOG = "pml/pp-LogfileTests64bitUTC.pml"
READS = "('QueryKey', 'QueryValueKey', 'QueryMultipleValueKey', 'QuerySecurityKey', 'EnumerateKey', 'EnumerateValueKey')"
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "key_id": st.sampled_from([None, 0, 1, 2, 7, 40]),
            "operation": st.sampled_from([one.name for one in OPERATIONS]),
            "status": st.sampled_from([None, 0, 0, 0x104, 0x80000005, 0x8000001A, 0xC0000022, 0xC0000034]),
            "disposition": st.sampled_from([None, 0, 1, 2, 3]),
            "information_class": st.sampled_from([None, 0, 4, 5, 7]),
            "data_size": st.none() | st.sampled_from([0, 1, 2**32 - 1]),
            "duration_ns": st.none() | st.sampled_from([0, 2**50, -(2**50), 2**60, 3 * 2**61]),
            "time_ns": st.integers(-(2**62), 2**62),
        }
    ),
    max_size=40,
)


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the table `usage`, as a loop makes them."""
    found: dict[tuple[bool, int | None], dict[str, Any]] = {}
    for row in rows:
        sums = found.setdefault((is_noise(row), row["key_id"]), dict.fromkeys(USAGE.names[2:11], 0))
        operation, status, size = row["operation"], row["status"], row["data_size"]
        for name, number in plain_counts([row], known=False).items():
            sums[name] += number
        is_done = status is not None and status < 0x80000000
        for name, amount in (
            ("bytes_read", size if is_done and is_read(row) else None),
            ("bytes_written", size if is_done and operation == "SetValueKey" else None),
            ("time_spent_ns", row["duration_ns"]),
        ):
            known = sums.get(name)
            sums[name] = known if amount is None else amount + (known or 0)
        for name in ("ns", "sequence"):
            value = row["time_ns" if name == "ns" else name]
            sums[f"first_{name}"] = min(value, sums.get(f"first_{name}", value))
            sums[f"last_{name}"] = max(value, sums.get(f"last_{name}", value))
    for sums in found.values():
        if abs(sums["time_spent_ns"] or 0) >= 2**62:  # damage
            sums["time_spent_ns"] = None
    ordered = sorted(found, key=lambda group: (group[0], -1 if group[1] is None else group[1]))
    return [
        {name: ({"key_id": key, "noise": noise} | found[noise, key])[name] for name in USAGE.names}
        for noise, key in ordered
    ]


@given(rows=ROWS, block=st.sampled_from([1, 2, 7, 1 << 15]), cut=st.integers(0, 40), encoded=st.booleans())
def test_the_sums_are_those_of_a_loop(rows, block, cut, encoded):
    rows = [row | {"sequence": number} for number, row in enumerate(rows)]
    tables = []
    for part in (rows[:cut], rows[cut:]):  # two row groups, each sorted
        part = sorted(part, key=lambda row: (-1 if row["key_id"] is None else row["key_id"], row["sequence"]))
        filled = [{name: row.get(name) for name in EVENTS.names} for row in part]
        table = pa.Table.from_pylist(filled, schema=EVENTS.arrow())
        if encoded:
            place = EVENTS.names.index("operation")
            table = table.set_column(place, "operation", table["operation"].dictionary_encode())
        tables.append(table)
    usage = Usage()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracer.store.usage, "_BLOCK", block)
        for table in tables:
            usage.add(table)
    assert usage.arrow().schema.equals(USAGE.arrow())
    assert usage.arrow().to_pylist() == plain(rows)


SQL = f"""
    SELECT key_id, coalesce(
            operation IN ('OpenKey', 'CreateKey') AND status = 260
            OR operation = 'QueryKey' AND information_class IN (3, 7) OR operation = 'QueryKeyName'
            OR operation = 'SetInformationKey' AND information_class = 5, false
        ) AS noise, count(*)::BIGINT AS events,
        count(*) FILTER (operation IN {READS}) AS reads,
        count(*) FILTER (operation IN ('SetValueKey', 'DeleteValueKey', 'DeleteKey', 'RenameKey', 'SetSecurityKey',
            'LoadKey', 'UnloadKey', 'RestoreKey', 'ReplaceKey') OR operation = 'CreateKey' AND disposition = 1
            OR operation = 'SetInformationKey' AND information_class <> 5) AS writes,
        count(*) FILTER (operation IN ('OpenKey', 'CreateKey')) AS opens,
        count(*) FILTER (operation = 'CreateKey' AND disposition = 1) AS created,
        count(*) FILTER (operation IN ('DeleteKey', 'DeleteValueKey')) AS deletes,
        count(*) FILTER (operation = 'CreateKey' AND coalesce(disposition, 0) NOT IN (1, 2)
            AND coalesce(status, 0) < 2147483648 AND coalesce(status, 0) <> 260
            OR operation = 'SetInformationKey' AND information_class IS NULL
            OR operation = 'CreateOrDelete') AS unclear_writes,
        count(*) FILTER (status >= 2147483648 AND status NOT IN (2147483653, 2147483674, 3221225507)) AS failures,
        count(*) FILTER (status = 3221225524) AS not_found,
        sum(data_size) FILTER (operation IN {READS} AND status < 2147483648)::BIGINT AS bytes_read,
        sum(data_size) FILTER (operation = 'SetValueKey' AND status < 2147483648)::BIGINT AS bytes_written,
        sum(duration_ns)::BIGINT AS time_spent_ns,
        min(time_ns) AS first_ns, max(time_ns) AS last_ns,
        min(sequence) AS first_sequence, max(sequence) AS last_sequence
    FROM stored_events GROUP BY ALL ORDER BY noise, key_id NULLS FIRST
"""


@pytest.fixture(scope="module", params=["manifest", "classic", "losses", "none", "procmon"])
def directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "procmon":
        source = request.getfixturevalue("corpus") / LOG
    else:
        options: dict[str, Any] = {
            "manifest": {"events": 9_000, "option_word": 7, "nul_names": 0.1, "preopened": 50},
            "classic": {"events": 5_000, "classic": True, "rundown_begin": True},
            "losses": {"events": 5_000, "lost_buffers": 0.1, "buffer_size": 8192},
            "none": {"events": 0},
        }[request.param]
        source = simulate(folder / "a.etl", SimulationOptions(seed=3, **options), truth=False).path
    ingest([source], folder / "a.regtrace")
    return folder / "a.regtrace"


@pytest.mark.slow
def test_the_table_has_what_the_engine_adds_up(directory: Path) -> None:
    with open_capture(directory) as capture:
        stored = capture.sql("SELECT * FROM usage ORDER BY noise, key_id NULLS FIRST")
        expected = capture.sql(SQL)
        assert bool(len(stored)) == bool(capture.manifest.totals["events"])
    pd.testing.assert_frame_equal(stored, expected, check_dtype=False)


def without_usage(directory: Path, target: Path) -> Path:
    """Return a copy as an older version would have written it: without the table."""
    shutil.copytree(directory, target)
    (target / "usage.parquet").unlink()
    manifest = json.loads((target / MANIFEST_NAME).read_text())
    del manifest["tables"]["usage"]
    (target / MANIFEST_NAME).write_text(json.dumps(manifest))
    return target


def answers(capture: Capture, filters: Filters) -> list[pd.DataFrame]:
    return [
        capture.where(filters).keys(),
        capture.where(filters).hot(by="key"),
        capture.where(filters).tree(depth=3),
    ]


OF_KEYS = [
    Filters(),
    Filters(noise=True),
    Filters(key="HKLM", subtree=True),
    Filters(key="HKLM\\SOFTWARE\\*"),
    Filters(key="HKLM\\no such key"),
]
OF_EVENTS = [
    Filters(process="*svc*"),
    Filters(pid=4),
    Filters(operation="read"),
    Filters(status="error"),
    Filters(value="*"),
    Filters(start="+0.01s"),
    Filters(end="+0.05s"),
    Filters(where="data_size > 4"),
    Filters(key="HKLM", subtree=True, operation="write"),
]


@pytest.mark.slow
def test_answers_are_the_same_without_the_table(directory: Path, tmp_path: Path) -> None:
    old = without_usage(directory, tmp_path / "old.regtrace")
    with open_capture(directory) as new, open_capture(old) as older:
        assert new.context.usage(Filters()) is not None
        assert older.context.usage(Filters()) is None
        for filters in OF_KEYS if directory.parent.name.startswith("manifest") else OF_KEYS[:1]:
            for one, other in zip(answers(new, filters), answers(older, filters), strict=True):
                pd.testing.assert_frame_equal(one, other)


@pytest.mark.slow
def test_answers_about_several_captures_are_the_same_without_the_table(tmp_path: Path) -> None:
    for number in (1, 2):
        path = simulate(tmp_path / "a.etl", SimulationOptions(events=2_000, seed=number), truth=False).path
        (tmp_path / "new").mkdir(exist_ok=True)
        ingest([path], tmp_path / "new" / f"{number}.regtrace")
        without_usage(tmp_path / "new" / f"{number}.regtrace", tmp_path / "old" / f"{number}.regtrace")
    shutil.copytree(tmp_path / "new", tmp_path / "mixed")
    shutil.rmtree(tmp_path / "mixed" / "2.regtrace")
    shutil.copytree(tmp_path / "old" / "2.regtrace", tmp_path / "mixed" / "2.regtrace")
    with open_capture(tmp_path / "old") as older:
        expected = answers(older, Filters())
        assert older.context.usage(Filters()) is None
    for name in ("new", "mixed"):
        with open_capture(tmp_path / name) as capture:
            assert (capture.context.usage(Filters()) is None) == (name == "mixed")
            for one, other in zip(answers(capture, Filters()), expected, strict=True):
                pd.testing.assert_frame_equal(one, other)


@pytest.mark.slow
def test_sums_of_another_definition_are_not_used(tmp_path: Path) -> None:
    path = simulate(tmp_path / "a.etl", SimulationOptions(events=500), truth=False).path
    ingest([path], tmp_path / "a.regtrace")
    manifest = tmp_path / "a.regtrace" / MANIFEST_NAME
    for version in (COUNTS_VERSION - 1, None, "1", [COUNTS_VERSION]):
        content = json.loads(manifest.read_text())
        content["tables"]["usage"]["counts_version"] = version
        content["totals"].pop("unclear_writes", None)
        manifest.write_text(json.dumps(content))
        with open_capture(tmp_path / "a.regtrace") as capture:
            assert capture.context.usage(Filters()) is None
            assert capture.sql("SELECT count(*) AS rows FROM usage")["rows"].tolist() == [0]
            found = capture.hot(by="key", noise=True)
            assert found["events"].sum() + capture.sql(
                "SELECT count(*) AS n FROM stored_events WHERE key_id IS NULL")["n"][0] == content["totals"]["events"]  # fmt: skip


def test_filters_among_the_events_of_a_key_are_not_answered_by_sums(directory: Path) -> None:
    with open_capture(directory) as capture:
        assert None not in [capture.context.usage(filters) for filters in OF_KEYS]
        assert {capture.context.usage(filters) for filters in OF_EVENTS} == {None}
