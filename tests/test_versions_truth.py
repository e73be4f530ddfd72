"""Checkouts and change sets of a simulated registry, against a loop over the truth beside the trace.

Every key of the registry is asked about, at several times. The loop knows of the registry what the trace showed until then: what
was written, and what reads returned.
"""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from reg_reader import Model

import regtrace as rt
from analysis.regfile.syntax import encode_file
from tracer.registry.text import fold_name, unescape_name
from tracer.simulate import SimulationOptions, simulate

NOT_FOUND = (0xC0000034, 0xC000003A)
SEEN = "there, and nothing tells what it holds"
_Held = dict[tuple[str, str], bytes | str | None]


def played(rows: list[dict[str, Any]]) -> _Held:
    """Return what the operations tell of each value: its data, SEEN, or None where it is gone."""
    held: _Held = {}
    for row in rows:
        operation, status, path = row["operation"], row["status"], fold_name(row["path"] or "")
        place = path, fold_name(row["value_name"] or "")
        done = status < 0x80000000
        if operation == "SetValueKey" and done:
            held[place] = SEEN if row["data"] is None else row["data"]
        elif (operation == "DeleteValueKey" and done) or (
            operation in ("QueryValueKey", "DeleteValueKey") and status in NOT_FOUND
        ):
            held[place] = None
        elif operation == "QueryValueKey" and done and held.get(place) is None:
            held[place] = SEEN
        elif (operation == "DeleteKey" and done) or (
            operation in ("OpenKey", "CreateKey") and status in NOT_FOUND
        ):
            held |= {one: None for one in held if one[0] == path or one[0].startswith(path + "\\")}
    return held


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("truth")
    options = SimulationOptions(events=2500, keys=40, processes=4, seed=11, option_word=7)
    simulate(folder / "a.etl", options)
    rt.ingest(folder / "a.etl", folder / "a.regtrace")
    rows = pq.read_table(folder / "a.truth.parquet").to_pylist()
    assert not any(row["lost"] for row in rows)
    with rt.open(folder / "a.regtrace") as capture:
        yield capture, rows


def at(rows: list[dict[str, Any]], number: int) -> str:
    """Return the time of an operation, as one that no later operation has."""
    since_us = (rows[number]["time_ns"] - rows[0]["time_ns"]) // 1000
    return f"+{since_us + 1}us"


def shown_until(rows: list[dict[str, Any]], number: int) -> list[dict[str, Any]]:
    end_ns = rows[0]["time_ns"] + ((rows[number]["time_ns"] - rows[0]["time_ns"]) // 1000 + 1) * 1000
    return [row for row in rows if row["time_ns"] <= end_ns]


@pytest.mark.parametrize("part", [0.3, 0.7, 1.0])
def test_a_checkout_of_the_whole_registry_holds_what_the_trace_showed_until_then(trace, part: float) -> None:
    capture, rows = trace
    number = int(part * len(rows)) - 1
    seen = shown_until(rows, number)
    held = played(seen)
    own = dict(
        capture.sql(
            "SELECT one.display_path, same.path FROM keys one JOIN keys same ON same.key_id = one.same_as"
        ).itertuples(index=False)
    )
    made = capture.checkout(at=at(rows, number))
    ours = {
        (fold_name(own[key]), fold_name(value.name)): value.data
        for key, values in made.keys.items()
        for value in values
    }
    unknown = {
        (fold_name(own[row["display_key"]]), fold_name(row["value_name"]))
        for row in made.unknown.to_pylist()
        if row["value_name"] is not None
    }
    there = {place for place, told in held.items() if told is not None}
    assert there <= ours.keys() | unknown
    told = 0
    for place, data in ours.items():
        if isinstance(held.get(place), bytes):
            assert data == held[place], place
            told += 1
            continue
        # What only reads told is in what one of them returned: the truth has the whole structure.
        name = unescape_name(place[1])
        returned = [
            row["data"]
            for row in seen
            if fold_name(row["path"] or "") == place[0]
            and row["data"] is not None
            and (
                (row["operation"] == "QueryValueKey" and fold_name(row["value_name"] or "") == place[1])
                or row["operation"] == "EnumerateValueKey"
            )
        ]
        assert any(data in one for one in returned), (place, name)
    assert told > 5
    assert len(ours) > told + 10


def model_of(checkout: Any) -> Model:
    model = Model(fold_name, lambda path: path)
    model.apply(encode_file(checkout.text()))
    return model


@pytest.mark.slow
def test_a_change_set_over_the_checkout_before_it_gives_the_one_after_it(tmp_path: Path) -> None:
    options = SimulationOptions(events=1500, keys=30, processes=1, seed=5, option_word=7)
    simulate(tmp_path / "a.etl", options)
    rt.ingest(tmp_path / "a.etl", tmp_path / "a.regtrace")
    compared = 0
    with rt.open(tmp_path / "a.regtrace") as capture:
        times = capture.sql("SELECT sequence, time_ns FROM stored_events ORDER BY sequence")[
            "time_ns"
        ].tolist()
        log = capture.log(under=["HKLM", "HKU"], pause=0.0004, by="process")
        assert (log["changes"] > 1).any()
        for row in log.sort_values("changes").tail(4).itertuples():
            begin, end = ((times[one] - times[0]) // 1000 for one in (row.first_sequence, row.last_sequence))
            before, after = (model_of(capture.checkout(at=f"+{time}us")) for time in (begin - 1, end + 1))
            files = capture.show_files(row.change_set, pause=0.0004, by="process")
            assert all(
                "application hive" in why for _, why in files.left_out_of("apply")
            )  # nor is it in a checkout
            known = {key: dict(values) for key, values in before.keys.items()}
            before.apply(files.encoded("apply"))
            for key, values in before.keys.items():
                for name, content in values.items():
                    # What was known before may have been read anew meanwhile, and is the same; the rest the set wrote.
                    assert after.keys.get(key, {}).get(name) == content, (key, name)
                    compared += known.get(key, {}).get(name) != content
            gone = {(key, name) for key, values in known.items() for name in values} - {
                (key, name) for key, values in before.keys.items() for name in values
            }
            assert not [one for one in gone if one[1] in after.keys.get(one[0], {})]
    assert compared > 3
