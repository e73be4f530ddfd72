"""The seed table: names of objects that were open before the trace."""

import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq
import pytest

import regtrace as rt
from tracer.errors import SourceError
from tracer.ingest.seed import read_seed

ROWS = {
    "address": ["0xffffb1893d043aa0", "4096"],
    "path": ["\\REGISTRY\\MACHINE\\SOFTWARE", "\\REGISTRY\\USER\\a,b"],
}
EXPECTED = ([0xFFFFB1893D043AA0, 4096], ROWS["path"])


def test_a_seed_reads_alike_from_csv_and_parquet(tmp_path):
    pcsv.write_csv(pa.table(ROWS), tmp_path / "seed.csv")
    numbers = pa.array([EXPECTED[0][0] - (1 << 64), 4096], pa.int64())
    pq.write_table(pa.table({"address": numbers, "path": ROWS["path"]}), tmp_path / "seed.parquet")
    assert read_seed(tmp_path / "seed.csv") == EXPECTED
    assert read_seed(tmp_path / "seed.parquet") == EXPECTED


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "seed table"),
        (b"address\n1\n", "path"),
        (b"address,path\nhere,\\REGISTRY\n", "address"),
        (b"PAR1 but no more", "seed table"),
    ],
)
def test_a_bad_seed_is_one_sentence_that_says_what_is_wrong(tmp_path, content, word):
    path = tmp_path / "seed.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        read_seed(path)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_seed_is_one_sentence(tmp_path):
    with pytest.raises(SourceError, match="seed table"):
        read_seed(tmp_path / "none.csv")


def test_a_seeded_capture_names_what_was_open_before_the_trace(tmp_path):
    made = rt.simulate(
        tmp_path / "a.etl", rt.SimulationOptions(events=3000, preopened=50, seed_table=True, option_word=0)
    )
    plain = rt.ingest(tmp_path / "a.etl", tmp_path / "plain.regtrace")
    seeded = rt.ingest(tmp_path / "a.etl", tmp_path / "seeded.regtrace", seed=made.seed)
    assert plain.totals["names"]["none"] > 0
    assert seeded.totals["names"]["seed"] > 0
    assert "none" not in seeded.totals["names"]
