"""The table `keys` does not depend on how many keys are spelled out at once."""

import pyarrow.parquet as pq
import pytest

from tracer.ingest.pipeline import ingest
from tracer.simulate import SimulationOptions, simulate


@pytest.mark.slow
@pytest.mark.parametrize("characters", [200, 64 << 20])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_keys_are_the_same_in_slices_of_any_size(tmp_path, monkeypatch, size, characters):
    trace = simulate(
        tmp_path / "a.etl",
        SimulationOptions(events=6000, seed=3, preopened=60, classic=True, rundown_end=True),
    ).path
    ingest([trace], tmp_path / "whole.regtrace")
    monkeypatch.setattr("tracer.resolve.catalog._SLICE", size)
    monkeypatch.setattr("tracer.resolve.catalog._MOST_CHARACTERS", characters)
    ingest([trace], tmp_path / "sliced.regtrace")
    whole, sliced = (
        pq.read_table(tmp_path / f"{name}.regtrace" / "keys.parquet") for name in ("whole", "sliced")
    )
    assert whole.num_rows > 800
    assert set(whole["name_source"].to_pylist()) > {None}
    # By a plain rule: a key's path is its parent's with its name behind it.
    rows = {row["key_id"]: row for row in whole.to_pylist()}
    below = [row for row in rows.values() if row["parent_id"] is not None]
    assert len(below) > 600
    assert all(row["path"] == f"{rows[row['parent_id']]['path']}\\{row['name']}" for row in below)
    assert sliced == whole
