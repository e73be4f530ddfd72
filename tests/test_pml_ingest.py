"""Procmon logs to captures: the whole way, one log and several."""

import pml_writer as pml
import pytest
from schema_rules import broken_rules

import regtrace as rt
from tracer.errors import SourceError, UsageError

LOG = "pml/pp-LogfileTests64bitUTC.pml"


@pytest.mark.slow
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
    assert list(broken_rules(tmp_path / "log.regtrace")) == []


def test_every_column_of_a_log_means_what_the_page_on_the_schema_says(tmp_path):
    key = "HKLM\\SOFTWARE\\A"
    events = [
        pml.opened(key, time=5),
        pml.opened(key + "\\B", time=6, result=0xC0000034),
        pml.opened(key + "\\C", time=7, operation=pml.CREATE),
        pml.queried(key + "\\V", b"a\0\0\0", time=8),
        pml.queried(key + "\\gone", None, time=9, result=0xC0000034),
        pml.value_set(key + "\\W", b"", time=10),
        pml.value_set(key + "\\W", bytes(5000), copied=2048, time=11),
    ]
    (tmp_path / "a.pml").write_bytes(pml.write_log(events).raw)
    rt.ingest(tmp_path / "a.pml", tmp_path / "a.regtrace")
    assert list(broken_rules(tmp_path / "a.regtrace")) == []
    with rt.open(tmp_path / "a.regtrace") as capture:
        rows = capture.sql("SELECT * FROM events ORDER BY sequence")
    never = ["cpu", "handle_id", "event_id", "previous_type", "previous_size", "previous_data"]
    assert rows[never].isna().all(axis=None)
    assert rows["disposition"].fillna(0).tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert rows["data_size"].fillna(9).tolist() == [9, 9, 9, 4, 9, 0, 5000]
    assert [data and len(data) for data in rows["data"]] == [None, None, None, 4, None, None, 2048]


def test_two_logs_keep_their_own_processes(tmp_path):
    first = pml.write_log([pml.opened("HKLM\\SOFTWARE\\A", time=5)])
    other = pml.Process(7, pid=99, texts=("Medium", "HOST\\ann", "b.exe", "C:\\b.exe", "b"))
    second = pml.write_log([pml.opened("HKLM\\SOFTWARE\\B", time=9)], (other,))
    for name, log in (("a", first), ("b", second)):
        (tmp_path / f"{name}.pml").write_bytes(log.raw)
    both = rt.ingest([tmp_path / "a.pml", tmp_path / "b.pml"], tmp_path / "both.regtrace")
    with rt.open(tmp_path / "both.regtrace") as capture:
        rows = capture.sql("SELECT process, pid FROM events ORDER BY sequence")
    assert rows.values.tolist() == [["tool.exe", 1234], ["b.exe", 99]]
    assert [source["kind"] for source in both.sources] == ["pml", "pml"]


def test_logs_of_two_machines_are_refused(corpus, tmp_path):
    other = corpus / "pml/pp-LogFileUTC64Process.pml"
    with pytest.raises(UsageError, match="two machines: Windows builds 16299 and 18362"):
        rt.ingest([corpus / LOG, other], tmp_path / "x.regtrace")


def test_logs_of_two_computers_are_refused_and_a_copy_is_read_once(tmp_path):
    log = pml.write_log([pml.opened("HKLM\\SOFTWARE\\A", time=5)])
    named = bytearray(log.raw)
    named[0xC:0x2C] = "OTHER".encode("utf-16-le").ljust(0x20, b"\0")
    for name, content in (("a", log.raw), ("copy", log.raw), ("b", bytes(named))):
        (tmp_path / f"{name}.pml").write_bytes(content)
    with pytest.raises(UsageError, match="computers HOST and OTHER"):
        rt.ingest([tmp_path / "a.pml", tmp_path / "b.pml"], tmp_path / "x.regtrace")
    once = rt.ingest([tmp_path / "a.pml", tmp_path / "copy.pml"], tmp_path / "x.regtrace")
    assert once.totals["events"] == 1
    assert "read once" in once.settings["notes"][0]


def keys_of(folder, *logs):
    paths = []
    for name, times in logs:
        events = [pml.opened(f"HKLM\\SOFTWARE\\K{time}", time=time) for time in times]
        paths.append(folder / f"{name}.pml")
        paths[-1].write_bytes(pml.write_log(events).raw)
    rt.ingest(paths, folder / "c.regtrace", force=True)
    with rt.open(folder / "c.regtrace") as capture:
        rows = capture.sql("SELECT key, time_ns FROM events ORDER BY sequence")
    assert rows["time_ns"].is_monotonic_increasing
    return [int(key.rpartition("K")[2]) for key in rows["key"]]


def test_logs_come_in_the_order_of_time_whatever_the_order_they_are_named_in(tmp_path):
    assert keys_of(tmp_path, ("new", [7, 9]), ("old", [1, 5]), ("newest", [9, 11])) == [1, 5, 7, 9, 9, 11]


def test_operations_that_two_logs_hold_are_read_once(tmp_path):
    assert keys_of(tmp_path, ("a", [1, 3, 5, 7]), ("b", [5, 7, 9])) == [1, 3, 5, 7, 9]
    assert keys_of(tmp_path, ("all", [1, 3, 5, 7]), ("filtered", [3, 7])) == [1, 3, 5, 7]
    assert keys_of(tmp_path, ("start", [1, 5]), ("more", [3, 5, 7])) == [1, 3, 5, 7]
    with rt.open(tmp_path / "c.regtrace") as capture:
        told = capture.sql("SELECT \"count\" FROM diagnostics WHERE name = 'pml_repeated_events'")
    assert told.values.tolist() == [[1]]


def test_logs_with_different_operations_of_one_time_are_refused(tmp_path):
    with pytest.raises(UsageError, match="different operations of the same time"):
        keys_of(tmp_path, ("a", [1, 3, 5]), ("b", [2, 5, 9]))


def test_joined_logs_are_refused_not_read_as_the_first(tmp_path):
    one, other = (pml.write_log([pml.opened("HKLM\\A", time=time)]).raw for time in (1, 9))
    (tmp_path / "joined.pml").write_bytes(one + other)
    with pytest.raises(SourceError, match=f"begins at offset 0x{len(one):X}"):
        rt.ingest(tmp_path / "joined.pml", tmp_path / "x.regtrace")


def test_a_log_and_a_trace_of_two_machines_do_not_go_into_one_capture(corpus, tmp_path):
    rt.simulate(tmp_path / "a.etl", rt.SimulationOptions(events=100))
    with pytest.raises(UsageError, match="of two machines: Windows builds 19045 and 16299"):
        rt.ingest([corpus / LOG, tmp_path / "a.etl"], tmp_path / "x.regtrace")
    assert not (tmp_path / "x.regtrace").exists()


def test_a_seed_does_not_go_with_a_log(corpus, tmp_path):
    with pytest.raises(UsageError, match="seed"):
        rt.ingest(corpus / LOG, tmp_path / "x.regtrace", seed=tmp_path / "seed.csv")


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "log.evtx").write_bytes(b"ElfFile\0" + bytes(100))
    with pytest.raises(SourceError, match="cut inside its header"):
        rt.ingest(tmp_path / "log.evtx", tmp_path / "x.regtrace")


RUN = "HKCU\\Software\\Vendor\\Run"


@pytest.fixture(scope="module")
def of_somebody(tmp_path_factory):
    """A capture of a log that does not say whose HKCU is."""
    tmp_path = tmp_path_factory.mktemp("of_somebody")
    log = pml.write_log([pml.opened(RUN, time=5), pml.value_set(RUN + "\\Tool", b"1", time=9)])
    (tmp_path / "a.pml").write_bytes(log.raw)
    rt.ingest(tmp_path / "a.pml", tmp_path / "a.regtrace")
    return tmp_path / "a.regtrace"


@pytest.fixture(scope="module")
def capture_of_somebody(of_somebody):
    with rt.open(of_somebody) as capture:
        yield capture


@pytest.fixture(scope="module")
def dataset_of_somebody(of_somebody):
    with rt.open([of_somebody]) as dataset:
        yield dataset


def test_a_key_of_nobody_knows_whom_is_that_of_no_user(capture_of_somebody):
    assert not len(capture_of_somebody.timeline(key=r"HKU\*\Software\Vendor\Run"))


@pytest.mark.parametrize("sid", [None, "S-1-5-21-1-2-3-1001"])
@pytest.mark.parametrize(
    ("key", "subtree", "found"),
    [
        (RUN, False, 2),
        ("hkey_current_user:\\SOFTWARE\\vendor\\run\\", False, 2),
        ("HKCU\\Software\\*\\Run", False, 2),
        ("HKCU", True, 2),
        ("HKCU\\Software", False, 0),
    ],
)
def test_a_key_of_nobody_knows_whom_is_asked_for_as_it_is_shown(
    of_somebody, capture_of_somebody, dataset_of_somebody, key, subtree, found, sid
):
    asked = {"subtree": subtree} if sid is None else {"subtree": subtree, "user": sid}
    rows = capture_of_somebody.timeline(key=key, **asked)
    assert len(rows) == found
    assert set(rows["display_key"]) <= {RUN}
    assert len(dataset_of_somebody.timeline(key=key, **asked)) == found
    assert len(list(rt.replay(of_somebody, key=key, **asked))) == found


@pytest.mark.slow
def test_a_reg_file_names_it_as_it_is_shown(of_somebody):
    with rt.open(of_somebody) as capture:
        files = capture.reg_files()
    assert "[HKEY_CURRENT_USER\\Software\\Vendor\\Run]" in files.apply
    assert "Win32 programs cannot reach" not in files.apply


def test_hkcu_needs_no_sid_where_the_log_says_whose_it_is(tmp_path):
    sid = "S-1-5-21-1-2-3-1001"
    log = pml.write_log(
        [pml.answered("HKCU\\Software", f"\\REGISTRY\\USER\\{sid}\\Software"), pml.opened(RUN, time=5)]
    )
    (tmp_path / "a.pml").write_bytes(log.raw)
    rt.ingest(tmp_path / "a.pml", tmp_path / "a.regtrace")
    with rt.open(tmp_path / "a.regtrace") as capture:
        assert len(capture.timeline(key=RUN, user=sid)) == len(capture.timeline(key=RUN)) == 1
