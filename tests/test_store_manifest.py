"""The manifest is the truth about a capture, and is checked like any input."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_capture import write_capture

from tracer.errors import CaptureError, TargetError
from tracer.schema import TABLES
from tracer.store.manifest import MANIFEST_NAME, Manifest
from tracer.store.reader import table_files


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return write_capture(tmp_path / "small.regtrace")


def change(capture: Path, **values: object) -> None:
    path = capture / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refusal(capture: Path) -> str:
    with pytest.raises(CaptureError) as caught:
        Manifest.load(capture)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_what_is_saved_is_loaded(capture: Path) -> None:
    manifest = Manifest.load(capture)
    assert manifest.as_dict() == json.loads((capture / MANIFEST_NAME).read_text())
    assert list(manifest.as_dict())[:3] == ["format", "format_version", "regtrace_version"]
    assert [part["rows"] for part in manifest.parts] == [50, 50, 20]


def test_saving_twice_gives_the_same_bytes_and_leaves_nothing_else(capture: Path) -> None:
    manifest = Manifest.load(capture)
    before, listing = (capture / MANIFEST_NAME).read_bytes(), sorted(capture.iterdir())
    manifest.save(capture)
    assert (capture / MANIFEST_NAME).read_bytes() == before
    assert sorted(capture.iterdir()) == listing


def test_a_failed_save_keeps_the_old_manifest(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest.load(capture)
    before, listing = (capture / MANIFEST_NAME).read_bytes(), sorted(capture.iterdir())

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(TargetError, match="No space left"):
        replace(manifest, complete=True).save(capture)
    assert (capture / MANIFEST_NAME).read_bytes() == before
    assert sorted(capture.iterdir()) == listing


def test_saving_into_nothing_is_a_target_error(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"capture\.json"):
        Manifest(complete=True).save(tmp_path / "absent")


def test_a_lone_surrogate_in_a_sources_name_survives(capture: Path) -> None:
    manifest = replace(Manifest.load(capture), sources=[{"name": "a\udcffb\u202e.etl"}])
    manifest.save(capture)
    assert Manifest.load(capture).sources == manifest.sources


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    assert "absent.regtrace does not exist" in refusal(tmp_path / "absent.regtrace")


def test_a_trace_given_for_a_capture_is_told_apart(tmp_path: Path) -> None:
    trace = tmp_path / "boot.etl"
    trace.write_bytes(b"\0" * 100)
    assert "regtrace ingest boot.etl" in refusal(trace)


def test_a_directory_without_manifest_is_no_capture(tmp_path: Path) -> None:
    assert "has no capture.json" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"null", b"[]", b"{}", b'{"format": "other"}', b"[" * 100_000]
)
def test_a_manifest_that_is_none_is_refused(capture: Path, content: bytes) -> None:
    (capture / MANIFEST_NAME).write_bytes(content)
    assert MANIFEST_NAME in refusal(capture)


@pytest.mark.parametrize(
    ("version", "advice"),
    [(99, "newer regtrace"), (0, "ingest again"), ("1", "ingest again"), (None, "ingest")],
)
def test_another_format_version_is_refused_with_advice(capture: Path, version: object, advice: str) -> None:
    change(capture, format_version=version)
    assert advice in refusal(capture)


@pytest.mark.parametrize(
    "values",
    [
        {"complete": "yes"},
        {"control_set": 1.5},
        {"control_set": True},
        {"parts": {}},
        {"parts": [3]},
        {"parts": [{"file": "events/part-00000.parquet"}]},
        {"tables": {}},
        {"totals": None},
    ],
)
def test_a_manifest_of_the_wrong_shape_is_refused(capture: Path, values: dict[str, object]) -> None:
    change(capture, **values)
    assert "ingest again" in refusal(capture)


@pytest.mark.parametrize(
    "file", ["../outside.parquet", "/etc/passwd", "events\\..\\..\\x", "C:x", "", "a\0b", "."]
)
def test_a_manifest_cannot_point_out_of_its_capture(capture: Path, file: str) -> None:
    part = Manifest.load(capture).parts[0] | {"file": file}
    change(capture, parts=[part])
    refusal(capture)


@pytest.mark.parametrize("spelled", ["events/part-00000.parquet", "./events//part-00000.parquet"])
def test_a_manifest_that_names_a_part_twice_is_refused(capture: Path, spelled: str) -> None:
    parts = Manifest.load(capture).parts
    change(capture, parts=[*parts, parts[0] | {"file": spelled}])
    assert "twice" in refusal(capture)


def test_a_manifest_beyond_all_measure_is_refused_unread(capture: Path) -> None:
    with (capture / MANIFEST_NAME).open("r+b") as file:
        file.truncate(1 << 40)  # a hole takes no disk
    assert "1,099,511,627,776 bytes" in refusal(capture)


@pytest.mark.parametrize("file", ["events/part-00001.parquet", "keys.parquet"])
def test_a_missing_part_is_named(capture: Path, file: str) -> None:
    (capture / file).unlink()
    assert f"{Path(file).name} is missing" in refusal(capture)


@pytest.mark.parametrize("size", [0, 3, 4, 8, 11, 100, -1])
def test_a_part_cut_short_is_named(capture: Path, size: int) -> None:
    part = capture / "events" / "part-00001.parquet"
    content = part.read_bytes()
    part.write_bytes(content[:size])
    assert "part-00001.parquet is cut short" in refusal(capture)


def test_a_part_with_a_broken_middle_is_named(capture: Path) -> None:
    part = capture / "keys.parquet"
    content = bytearray(part.read_bytes())
    content[-60:-12] = b"\xff" * 48
    part.write_bytes(content)
    assert "keys.parquet is damaged" in refusal(capture)


def test_a_part_with_other_rows_is_named(capture: Path) -> None:
    part = capture / "events" / "part-00002.parquet"
    pq.write_table(pq.read_table(part).slice(1), part)
    assert "has 19 rows where capture.json says 20" in refusal(capture)
    assert Manifest.load(capture, check_rows=False).parts


def test_a_part_of_another_size_is_named_without_reading_it(capture: Path) -> None:
    manifest = Manifest.load(capture)
    for entry in manifest.files():
        entry["bytes"] = (capture / entry["file"]).stat().st_size
    manifest.save(capture)
    assert Manifest.load(capture) == manifest
    part = capture / "events" / "part-00002.parquet"
    pq.write_table(pq.read_table(part), part, compression="none")
    assert f"has {part.stat().st_size} bytes where capture.json says" in refusal(capture)


@pytest.mark.parametrize("name", ["keys.parquet", MANIFEST_NAME, "events"])
def test_a_link_that_leads_out_of_the_capture_is_not_followed(
    capture: Path, tmp_path: Path, name: str
) -> None:
    (capture / name).rename(tmp_path / "outside")
    (capture / name).symlink_to(tmp_path / "outside", target_is_directory=name == "events")
    sentence = refusal(capture)
    assert "leads out of the capture through a link" in sentence
    assert name in sentence


def test_a_link_that_leads_to_itself_is_one_sentence(capture: Path) -> None:
    (capture / "keys.parquet").unlink()
    (capture / "keys.parquet").symlink_to("keys.parquet")
    assert "keys.parquet" in refusal(capture)


def test_links_to_a_capture_and_inside_it_are_followed(capture: Path, tmp_path: Path) -> None:
    (capture / "keys.parquet").rename(capture / "names.parquet")
    (capture / "keys.parquet").symlink_to("names.parquet")
    (tmp_path / "link.regtrace").symlink_to(capture, target_is_directory=True)
    assert Manifest.load(tmp_path / "link.regtrace") == Manifest.load(capture)


def test_a_directory_in_place_of_a_part_is_refused(capture: Path) -> None:
    (capture / "keys.parquet").unlink()
    (capture / "keys.parquet").mkdir()
    assert "keys.parquet" in refusal(capture)


def test_readers_take_the_files_of_the_manifest_and_no_others(capture: Path) -> None:
    (capture / "events" / "part-99999.parquet").write_bytes(b"left by a crash")
    files = table_files(capture, Manifest.load(capture))
    assert [path.name for path in files["events"]] == [f"part-0000{n}.parquet" for n in range(3)]
    assert set(files) == set(TABLES)
