"""Facts of real records, as rendered records published by Velociraptor's Sigma rules (January 2025) and a quoted one of 2026 show them.

The payloads are made here with their values; nothing else of a published record is in this project.
"""

import struct
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import raw_etl as raw

import regtrace as rt
from tracer.decode.layouts import LAYOUTS
from tracer.decode.payload import decode_payload
from tracer.etl.providers import CLASSIC_REGISTRY, KERNEL_REGISTRY

BASE, KEY, VIDEO = 0xFFFFB1893D043AA0, 0xFFFFB189385B9BB0, 0xFFFFB1893C344100
REPARSE, NOT_FOUND = 0x104, 0xC0000034
CLASSES = "\\REGISTRY\\USER\\S-1-5-21-1-2-3-500_Classes\\Local Settings\\Software"
BAM = "\\Device\\HarddiskVolume5\\a\\tool.exe"


def wide(text: str) -> bytes:
    return text.encode("utf-16-le") + b"\0\0"


def opened(base: int, key: int, status: int, disposition: int, path: str) -> bytes:
    return struct.pack("<QQII", base, key, status, disposition) + wide("") + wide(path)


def written(key: int, kind: int, size: int, name: str, previous: bytes = bytes(10)) -> bytes:
    return struct.pack("<QIII", key, 0, kind, size) + wide("") + wide(name) + b"\0\0" + previous


RECORDS = [
    (1, opened(BASE, 0, REPARSE, 0, CLASSES)),
    (1, opened(BASE, BASE, 0, 2, CLASSES)),
    (2, opened(BASE, VIDEO, 0, 0, "\\Registry\\Machine\\Hardware\\DeviceMap\\VIDEO")),
    (5, written(BASE, 11, 8, "PCT")),
    (5, written(BASE, 3, 24, BAM)),
    (5, written(BASE, 1, 4, "Emptied", struct.pack("<IIH", 1, 0, 0))),
    (6, struct.pack("<QI", BASE, NOT_FOUND) + wide("") + wide("CachedFeatureString")),
    (3, struct.pack("<QI", KEY, 0) + wide("")),
]


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    records = [
        raw.event(number, raw.FIRST_STAMP + at, payload, guid=KERNEL_REGISTRY, version=0)
        for at, (number, payload) in enumerate(RECORDS)
    ]
    (folder / "a.etl").write_bytes(raw.etl(raw.buffer(*records, size=8192)))
    rt.ingest(folder / "a.etl", folder / "a.regtrace")
    return folder / "a.regtrace"


@pytest.fixture(scope="module")
def rows(capture) -> list[dict]:
    with rt.open(capture) as opened_capture:
        return opened_capture.timeline_reader(rt.Filters()).read_all().to_pylist()


def test_a_path_that_begins_with_a_backslash_is_whole_though_a_base_object_is_named(rows):
    assert [row["key"] for row in rows[:2]] == [CLASSES, CLASSES]
    assert rows[2]["key"].upper() == "\\REGISTRY\\MACHINE\\HARDWARE\\DEVICEMAP\\VIDEO"
    assert rows[2]["display_key"].upper() == "HKLM\\HARDWARE\\DEVICEMAP\\VIDEO"


def test_a_reparse_makes_no_object_and_tells_of_no_new_key(rows, capture):
    reparse, create, opening = rows[:3]
    assert (reparse["status"], reparse["disposition"]) == (REPARSE, None)
    assert (create["status"], create["disposition"]) == (0, 2)
    assert (opening["status"], opening["disposition"]) == (0, None)
    lives = pq.read_table(capture / "handles.parquet").to_pylist()
    assert sorted(life["address"] for life in lives if life["opened_ns"] is not None) == sorted(
        address - (1 << 64) for address in (BASE, VIDEO)
    )


def test_previous_zeros_are_not_recorded_and_never_an_empty_value(rows):
    for row in rows[3:5]:
        assert (row["data_size"], row["data"]) == ({"PCT": 8, BAM: 24}[row["value_name"]], None)
        assert (row["previous_type"], row["previous_size"], row["previous_data"]) == (None, None, None)
    assert (rows[5]["previous_type"], rows[5]["previous_size"]) == (1, 0)  # of a type: that was recorded


@pytest.mark.slow
def test_what_was_not_recorded_is_unknown_in_every_answer(capture):
    with rt.open(capture) as asked:
        history = asked.history(CLASSES, "PCT")
        changes = asked.changes()
    assert history[["old_type", "old_size", "old_data", "old_from"]].isna().all().all()
    mine = changes[changes["value_name"] == "PCT"]
    assert mine["change"].tolist() == [
        "unclear"
    ]  # the key that was deleted last, which nobody names, may be this one
    assert mine[["before_type", "before_size", "before_data"]].isna().all().all()


def test_a_value_name_that_begins_with_a_backslash_is_no_path(rows):
    assert (rows[4]["key"], rows[4]["value_name"]) == (CLASSES, BAM)


def test_names_are_empty_where_the_option_word_asks_for_none(rows):
    missed, deleted = rows[6:]
    assert (missed["key"], missed["value_name"], missed["status"]) == (
        CLASSES,
        "CachedFeatureString",
        NOT_FOUND,
    )
    assert deleted["name_source"] == "none"


def test_the_index_of_a_classic_query_is_its_information_class(tmp_path):
    payload = struct.pack("<QIIQ", 4597740950432, 0, 1, 0xFFFFB189314B9200) + wide("StandardName")
    found = decode_payload(LAYOUTS[CLASSIC_REGISTRY, 16, 2], payload, 8)
    assert found.fields["InitialTime"] == 4597740950432
    record = raw.system(9, 16, raw.FIRST_STAMP + 3, payload)
    (tmp_path / "a.etl").write_bytes(raw.etl(raw.buffer(record)))
    rt.ingest(tmp_path / "a.etl", tmp_path / "a.regtrace")
    with rt.open(tmp_path / "a.regtrace") as asked:
        (row,) = asked.timeline_reader(rt.Filters()).read_all().to_pylist()
    assert (row["operation"], row["value_name"], row["information_class"], row["index"]) == (
        "QueryValueKey", "StandardName", 1, None,
    )  # fmt: skip
