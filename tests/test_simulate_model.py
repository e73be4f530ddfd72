"""The simulator's files are what they claim, and its truth agrees with them."""

import subprocess
import sys
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from foreign_readers import dissect_records

from tracer.errors import UsageError
from tracer.registry.text import fold_name
from tracer.schema import SIMULATED_NAME
from tracer.simulate import SimulationOptions, simulate, truth_path
from tracer.simulate.truth import OPERATION_NAMES, TRUTH_COLUMNS

REGISTRY = ("70eb4f03-c1de-4f73-a051-33d13d5413bd", "ae53722e-c863-11d2-8659-00c04fa321a1")
NASTY = {
    "quiet": {},
    "damaged": {"lost_buffers": 0.1, "lost_events": 0.01, "lost_close": 0.1, "late_close": 0.2},
    "odd names": {"nul_names": 0.1, "surrogate_names": 0.1, "hostile_names": 0.2, "links": 0.2,
                  "mixed_case": 0.3,
                  "slashes": 0.1, "empty_relative": 0.1},
    "some names filled": {"option_word": 7, "option_from": 0.4, "fill_share": 0.5},
    "extended": {"extended": 0.5, "newer_version": 0.2},
    "32 bit": {"pointer_size": 4, "clock": 3},
    "circular": {"circular_mib": 1, "buffer_size": 8192, "clock": 2},
    "compressed": {"compressed": True},
    "unfinalised": {"unfinalised": True, "zeros_mib": 1},
    "classic": {"classic": True},
    "classic with rundown at both ends": {"classic": True, "rundown_begin": True, "pointer_size": 4},
}  # fmt: skip


def rows_of(path: Path, options: SimulationOptions) -> list[dict]:
    simulate(path, options)
    return pq.read_table(truth_path(path)).to_pylist()


def nasty(name: str, **more: object) -> SimulationOptions:
    return SimulationOptions(**{"events": 8000, **NASTY[name], **more})


@pytest.mark.slow
@pytest.mark.parametrize("name", NASTY)
def test_the_same_options_write_the_same_bytes(tmp_path: Path, name: str) -> None:
    first, second = tmp_path / "one" / "a.etl", tmp_path / "two" / "a.etl"
    for path in (first, second):
        path.parent.mkdir()
        simulate(path, nasty(name, seed_table=True))
    for file in first.parent.iterdir():
        assert file.read_bytes() == (second.parent / file.name).read_bytes(), file.name


def test_another_seed_writes_another_trace(tmp_path: Path) -> None:
    simulate(tmp_path / "a.etl", SimulationOptions(events=500, seed=1), truth=False)
    simulate(tmp_path / "b.etl", SimulationOptions(events=500, seed=2), truth=False)
    assert (tmp_path / "a.etl").read_bytes() != (tmp_path / "b.etl").read_bytes()


def test_without_the_truth_the_trace_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    simulate(tmp_path / "a.etl", SimulationOptions(events=500))
    simulate(tmp_path / "x" / "a.etl", SimulationOptions(events=500), truth=False)
    assert (tmp_path / "a.etl").read_bytes() == (tmp_path / "x" / "a.etl").read_bytes()
    assert [file.name for file in (tmp_path / "x").iterdir()] == ["a.etl"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NASTY)
def test_the_file_holds_exactly_the_records_the_truth_does_not_call_lost(tmp_path: Path, name: str) -> None:
    truth = rows_of(tmp_path / "a.etl", nasty(name))
    expected = {(row["record_offset"], row["ticks"]): row for row in truth if not row["lost"]}
    opcodes = {22, 23, 24, 25}
    for record in dissect_records(tmp_path / "a.etl"):
        if record.provider in REGISTRY and not (record.id is None and record.opcode in opcodes):
            row = expected.pop((record.offset, record.ticks))
            assert (record.pid, record.tid, record.cpu) == (row["pid"], row["tid"], row["cpu"])
    assert not expected


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NASTY if "classic" not in name])
def test_knowable_is_what_a_plain_two_sided_resolver_can_name(tmp_path: Path, name: str) -> None:
    truth = [row for row in rows_of(tmp_path / "a.etl", nasty(name)) if not row["lost"]]
    exempt = NASTY[name].get("option_word", 0) & 1  # filled names are not in the truth's columns
    truth.sort(key=lambda row: row["ticks"])
    names: dict[int, str] = {}
    wrong = 0
    for row in truth:
        request, base = row["requested_name"], row["base_object"]
        if request is not None:
            if request.startswith("\\"):
                found = normal(request)
            elif base in names:
                found = normal(names[base] + "\\" + request)
            else:
                found = None
            if row["status"] == 0:
                names.pop(row["key_object"], None)
                if found is not None:
                    names[row["key_object"]] = found
        else:
            found = names.get(row["key_object"])
        if exempt:
            wrong += found is not None and fold_name(found) != fold_name(row["spelled_path"])
        elif row["blurred"]:
            continue
        else:
            assert (found is not None) == row["knowable"], row
            wrong += found is not None and fold_name(found) != fold_name(row["spelled_path"])
    assert wrong == 0


def normal(path: str) -> str:
    return "\\" + "\\".join(part for part in path.split("\\") if part)


def test_names_filled_later_make_earlier_rows_knowable(tmp_path: Path) -> None:
    without = rows_of(tmp_path / "a.etl", SimulationOptions(events=4000, option_word=6, preopened=60))
    later = rows_of(
        tmp_path / "b.etl", SimulationOptions(events=4000, option_word=7, preopened=60, option_from=0.3)
    )
    first = range(1000)
    assert [without[n]["path"] for n in first] == [later[n]["path"] for n in first]
    gained = [n for n in first if later[n]["knowable"] and not without[n]["knowable"]]
    assert gained
    assert not [n for n in first if without[n]["knowable"] and not later[n]["knowable"]]


def test_the_seed_table_names_what_was_open_before(tmp_path: Path) -> None:
    truth = rows_of(tmp_path / "a.etl", SimulationOptions(events=4000, preopened=60, seed_table=True))
    seed = pq.read_table(tmp_path / "a.seed.parquet").to_pylist()
    assert len(seed) == 60
    assert all(row["knowable_with_seed"] for row in truth)
    assert not all(row["knowable"] for row in truth)
    by_life = {row["life"]: row for row in truth if row["life"] is not None and row["life"] < 60}
    paths = {entry["address"]: entry["path"] for entry in seed}
    assert by_life
    assert all(paths[row["key_object"]] == row["path"] for row in by_life.values())


def test_a_closed_address_comes_again_for_another_key(tmp_path: Path) -> None:
    truth = rows_of(tmp_path / "a.etl", SimulationOptions(events=5000))
    keys: dict[int, set] = {}
    for row in truth:
        if row["life"] is not None:
            keys.setdefault(row["key_object"], set()).add((row["life"], row["path"]))
    assert max(len(lives) for lives in keys.values()) > 3


def test_every_operation_and_the_promised_share_of_failed_opens_occurs(tmp_path: Path) -> None:
    truth = rows_of(tmp_path / "a.etl", SimulationOptions(events=20_000))
    assert {row["operation"] for row in truth} == set(OPERATION_NAMES)
    opens = [row for row in truth if row["operation"] == "OpenKey"]
    failed = [row for row in opens if row["status"] != 0]
    assert 0.25 < len(failed) / len(opens) < 0.45
    assert all(row["key_object"] == 0 for row in failed)
    assert any(row["status"] == 0x104 for row in opens)
    assert any(row["base_object"] for row in opens)
    assert max(row["path"].count("\\") for row in truth) >= 12


def test_time_is_true_order_but_for_late_closes(tmp_path: Path) -> None:
    truth = rows_of(tmp_path / "a.etl", SimulationOptions(events=5000))
    assert all(a["ticks"] < b["ticks"] for a, b in pairwise(truth))
    truth = rows_of(tmp_path / "b.etl", SimulationOptions(events=5000, late_close=0.3))
    back = [b for a, b in pairwise(truth) if b["ticks"] < a["ticks"]]
    assert back
    assert {row["operation"] for row in back} == {"CloseKey"}


def test_set_value_tells_what_was_there_before(tmp_path: Path) -> None:
    truth = rows_of(tmp_path / "a.etl", SimulationOptions(events=20_000, hostile_names=0.1))
    held: dict[tuple, bytes] = {}
    checked = 0
    for row in truth:
        name = (row["path"], fold_name(row["value_name"] or ""))
        if row["status"] == 0 and row["operation"] == "SetValueKey":
            if name in held:
                assert row["previous_data"] == held[name]
                checked += 1
            held[name] = row["data"]
        elif row["status"] == 0 and row["operation"] == "DeleteValueKey":
            held.pop(name, None)
        elif row["status"] == 0 and row["operation"] == "DeleteKey":
            held = {key: data for key, data in held.items() if key[0] != row["path"]}
    assert checked > 20


def test_the_truth_has_the_documented_columns(tmp_path: Path) -> None:
    simulate(tmp_path / "a.etl", SimulationOptions(events=10))
    assert pq.read_schema(tmp_path / "a.truth.parquet").names == list(TRUTH_COLUMNS)


def test_the_header_says_that_the_trace_is_simulated(tmp_path: Path) -> None:
    simulate(tmp_path / "a.etl", SimulationOptions(events=10), truth=False)
    assert SIMULATED_NAME.encode("utf-16-le") in (tmp_path / "a.etl").read_bytes()[:1024]


@pytest.mark.parametrize("option", [{"failed_open": 1.5}, {"pointer_size": 5}, {"cpus": 0}, {"clock": 9},
                                  {"buffer_size": 100}, {"compressed": True, "circular_mib": 1}])  # fmt: skip
def test_an_option_out_of_range_is_refused_by_name(option: dict) -> None:
    with pytest.raises(UsageError, match="the option "):
        SimulationOptions(**option)


def test_the_options_are_shown_without_loading_pyarrow() -> None:
    code = "import sys, tracer.simulate; print({'numpy', 'pyarrow', 'pandas'} & set(sys.modules))"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_option_is_documented() -> None:
    described = SimulationOptions.__doc__ or ""
    assert [f.name for f in fields(SimulationOptions) if f"        {f.name}: " not in described] == []
