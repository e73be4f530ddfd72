"""Procmon logs to captures: the whole way, one log and several."""

import pytest

import regtrace as rt
from tracer.errors import SourceError, UsageError

LOG = "pml/pp-LogfileTests64bitUTC.pml"


def test_every_registry_operation_of_a_real_log_is_a_row_of_the_capture(corpus, tmp_path):
    manifest = rt.ingest(corpus / LOG, tmp_path / "log.regtrace")
    assert manifest.totals["events"] == 46_030
    assert manifest.clock == "procmon"
    with rt.open(tmp_path / "log.regtrace") as capture:
        rows = capture.sql(
            "SELECT count(*) AS n, count(key) AS keys, count(process) AS processes FROM events"
        )
        assert rows.iloc[0].tolist() == [46_030, 46_030, 46_030]
        order = capture.sql("SELECT bool_and(time_ns >= before) AS rising FROM (SELECT time_ns, "
                            "lag(time_ns, 1, time_ns) OVER (ORDER BY sequence) AS before FROM events)")  # fmt: skip
        assert bool(order.iloc[0, 0])


def test_two_logs_keep_their_own_processes(corpus, tmp_path):
    other = corpus / "pml/pp-LogFileUTC64Process.pml"
    one = rt.ingest(corpus / LOG, tmp_path / "one.regtrace")
    both = rt.ingest([corpus / LOG, other], tmp_path / "both.regtrace")
    assert both.totals["events"] == one.totals["events"]
    assert both.totals["processes"] > one.totals["processes"]
    assert [source["kind"] for source in both.sources] == ["pml", "pml"]


def test_a_log_and_a_trace_do_not_go_into_one_capture(corpus, tmp_path):
    rt.simulate(tmp_path / "a.etl", rt.Knobs(events=100))
    with pytest.raises(UsageError, match="kind"):
        rt.ingest([corpus / LOG, tmp_path / "a.etl"], tmp_path / "x.regtrace")
    assert not (tmp_path / "x.regtrace").exists()


def test_a_seed_does_not_go_with_a_log(corpus, tmp_path):
    with pytest.raises(UsageError, match="seed"):
        rt.ingest(corpus / LOG, tmp_path / "x.regtrace", seed=tmp_path / "seed.csv")


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "log.evtx").write_bytes(b"ElfFile\0" + bytes(100))
    with pytest.raises(SourceError, match="event log"):
        rt.ingest(tmp_path / "log.evtx", tmp_path / "x.regtrace")
