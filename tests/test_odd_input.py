"""Odd values in seed tables, in the files of a capture and in options: one sentence that names the file, never a traceback."""

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_capture import write_capture
from typer.testing import CliRunner

from analysis.filters import Filters
from analysis.open import open_capture
from cli.app import app
from tracer.errors import CaptureError, RegtraceError, SourceError, UsageError
from tracer.ingest.seed import read_seed
from tracer.simulate import SimulationOptions

NOT_UTF8 = pa.Array.from_buffers(
    pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
)
SEEDS = {
    "infinite": pa.table({"address": [float("inf")], "path": ["x"]}),
    "no number": pa.table({"address": [float("nan")], "path": ["x"]}),
    "a fraction": pa.table({"address": [1.5], "path": ["x"]}),
    "a truth": pa.table({"address": [True], "path": ["x"]}),
    "a list": pa.table({"address": [[1]], "path": ["x"]}),
    "none": pa.table({"address": pa.array([None], pa.int64()), "path": ["x"]}),
    "digits": pa.table({"address": ["9" * 5000], "path": ["x"]}),
    "too large": pa.table({"address": ["0x1ffffffffffffffff"], "path": ["x"]}),
    "path of bytes": pa.table({"address": [1], "path": [b"\xff\xfe"]}),
    "path of numbers": pa.table({"address": [1], "path": [5]}),
    "path of times": pa.table({"address": [1], "path": pa.array([0], pa.timestamp("us"))}),
    "path not UTF-8": pa.table({"address": pa.array([1]), "path": NOT_UTF8}),
}


@pytest.mark.parametrize("name", SEEDS)
def test_an_odd_seed_table_is_one_sentence(tmp_path, name):
    path = tmp_path / "seed.parquet"
    pq.write_table(SEEDS[name], path)
    with pytest.raises(SourceError, match=r"seed\.parquet") as caught:
        read_seed(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_a_seed_table_as_it_should_be_is_read(tmp_path):
    path = tmp_path / "seed.parquet"
    kinds = [
        (pa.array([-1, 5]), [2**64 - 1, 5]),
        (pa.array([2**64 - 1, 5], pa.uint64()), [2**64 - 1, 5]),
        (pa.array(["0xffffffffffffffff", "5"]), [2**64 - 1, 5]),
    ]
    for addresses, expected in kinds:
        for paths in (
            pa.array(["\\REGISTRY\\A", None]),
            pa.array(["\\REGISTRY\\A", None]).dictionary_encode(),
        ):
            pq.write_table(pa.table({"address": addresses, "path": paths}), path)
            assert read_seed(path) == (expected, ["\\REGISTRY\\A", ""])


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return write_capture(tmp_path_factory.mktemp("sound") / "c.regtrace", events=24)


MANIFESTS = [
    (["sources"], ["x"]),
    (["sources"], [None]),
    (["sources", 0, "name"], 5),
    (["sources", 0, "facts"], "x"),
    (["sources", 0, "first_ns"], "x"),
    (["totals"], {"names": "x"}),
    (["totals"], {"operations": ["a"]}),
    (["totals"], {"events": "many"}),
    (["totals"], {"names": {"open": "x"}}),
]


def save_changed(sound: Path, capture: Path, where: list, value: object) -> None:
    """Save the manifest of a sound capture with another value at a place, in a copy of the capture."""
    manifest = json.loads((sound / "capture.json").read_text())
    place = manifest
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    (capture / "capture.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(("where", "value"), MANIFESTS)
def test_a_manifest_with_a_wrong_value_is_refused_by_name(tmp_path, sound, where, value):
    capture = tmp_path / "m.regtrace"
    shutil.copytree(sound, capture)
    save_changed(sound, capture, where, value)
    with pytest.raises(CaptureError, match=r"capture\.json has .*run the ingest again"):
        open_capture(capture)


def test_what_a_manifest_says_of_its_recording_need_not_be_understood(tmp_path, sound):
    capture = tmp_path / "m.regtrace"
    shutil.copytree(sound, capture)
    for recording in ("x", {"host": "x", "arrived": "y", "lost": 3}, {}):
        manifest = json.loads((capture / "capture.json").read_text())
        manifest["settings"] = {"recording": recording}
        (capture / "capture.json").write_text(json.dumps(manifest))
        result = CliRunner().invoke(app, ["info", str(capture)])
        assert result.exit_code == 0, result.exception
        assert ("cannot be read" in result.output) == isinstance(recording, dict)


@pytest.mark.parametrize("how", ["not UTF-8", "a column less", "a name not UTF-8", "pages overwritten"])
def test_a_table_that_is_damaged_is_no_mistake_of_the_question(tmp_path, sound, how):
    capture = tmp_path / "m.regtrace"
    shutil.copytree(sound, capture)
    table = pq.read_table(capture / "keys.parquet")
    if how == "not UTF-8":
        rows = table.num_rows
        ends = pa.array([2 * row for row in range(rows + 1)], pa.int32()).buffers()[1]
        bad = pa.Array.from_buffers(pa.string(), rows, [None, ends, pa.py_buffer(b"\xff\xfe" * rows)])
        table = table.set_column(table.schema.names.index("display_path"), "display_path", bad)
    elif how == "a column less":
        table = table.drop_columns(["depth"])
    pq.write_table(table, capture / "keys.parquet")
    content = bytearray((capture / "keys.parquet").read_bytes())
    if how == "a name not UTF-8":
        content = content.replace(b"display_path", b"\xff\xfesplay_path")
    elif how == "pages overwritten":
        column = (
            pq.read_metadata(capture / "keys.parquet")
            .row_group(0)
            .column(table.schema.names.index("display_path"))
        )
        at = column.dictionary_page_offset
        content[at + 40 : at + 200] = b"\xff" * 160
    (capture / "keys.parquet").write_bytes(content)
    manifest = json.loads((capture / "capture.json").read_text())
    manifest["tables"]["keys"].pop("bytes", None)
    (capture / "capture.json").write_text(json.dumps(manifest))
    result = CliRunner().invoke(app, ["timeline", str(capture), "--limit", "1"])
    assert result.exit_code == 1, (result.output, result.exception)
    assert "run the ingest again" in result.stderr


def test_a_part_with_a_name_without_end_is_refused_in_a_short_sentence(tmp_path, sound):
    capture = tmp_path / "m.regtrace"
    shutil.copytree(sound, capture)
    for where, value in ((["tables", "keys", "file"], "x" * 5000), (["format_version"], "x" * 5000)):
        save_changed(sound, capture, where, value)
        with pytest.raises(CaptureError) as caught:
            open_capture(capture)
        assert len(str(caught.value)) < 400 + len(str(capture))


@pytest.mark.parametrize(
    "text", ["9" * 5000, f"+{'9' * 5000}s", f"-{'9' * 5000}m", f"{'9' * 5000}-01-01", f"+1.{'9' * 5000}s"]
)
def test_a_time_of_thousands_of_digits_is_no_time_or_a_time(sound, text):
    with open_capture(sound, threads=1) as capture:
        if text.startswith("+1."):  # digits beyond the nanosecond
            assert capture.context.interval(Filters(start=text))[0] is not None
            return
        with pytest.raises(UsageError, match="is not a time") as caught:
            capture.context.interval(Filters(start=text))
        assert len(str(caught.value)) < 250


def test_other_numbers_of_thousands_of_digits_are_understood_or_refused(sound):
    digits = "9" * 5000
    with open_capture(sound, threads=1) as capture:
        assert capture.timeline(process=digits).empty
        with pytest.raises(UsageError):
            capture.timeline(status=digits)
    for options in ({"gap_us": float("inf")}, {"gap_us": float("nan")}, {"lost_events": float("nan")}):
        with pytest.raises(RegtraceError, match="finite"):
            SimulationOptions(events=10, **options)


@pytest.mark.skipif(os.name == "nt", reason="needs named pipes of POSIX")
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(tmp_path, sound):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="not a file"):
        read_seed(tmp_path / "pipe")
    with pytest.raises(CaptureError):
        open_capture(tmp_path / "pipe")
    for name in ("keys.parquet", "capture.json"):
        capture = tmp_path / "m.regtrace"
        shutil.copytree(sound, capture, dirs_exist_ok=True)
        (capture / name).unlink()
        os.mkfifo(capture / name)
        with pytest.raises(CaptureError, match="not a file"):
            open_capture(capture)
        (capture / name).unlink()
