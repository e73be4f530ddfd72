r"""Images with a drive: ``\Device\HarddiskVolume3\...`` becomes ``C:\...`` where the drive is known, and says how."""

import json
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import regtrace as rt
from analysis.open import open_capture
from tracer.columns.arrays import from_rows
from tracer.registry.image_paths import SOURCES, drives_in, path_of_command, with_dos_paths
from tracer.schema import ADDED_COLUMNS, PROCESSES
from tracer.windows.drives import read_drives

DEVICE = "\\Device\\HarddiskVolume"


def told(*rows, **more):
    """Return dos_path and dos_path_source of processes given by image_path and command_line."""
    listed = [
        {"process_id": n, "image_path": image, "command_line": line} for n, (image, line) in enumerate(rows)
    ]
    table = with_dos_paths(from_rows(listed, PROCESSES.arrow()), **more)
    return [(row["dos_path"], row["dos_path_source"]) for row in table.to_pylist()]


def test_a_command_line_proves_the_drive_of_its_volume_for_every_image_on_it():
    assert told(
        (DEVICE + "4\\Windows\\System32\\svchost.exe", "d:\\windows\\system32\\svchost.exe -k netsvcs"),
        (DEVICE + "4\\Tools\\a.exe", "a.exe"),
        (DEVICE + "5\\Tools\\b.exe", None),
    ) == [
        ("D:\\Windows\\System32\\svchost.exe", "process"),
        ("D:\\Tools\\a.exe", "process"),
        (None, None),
    ]


def test_what_the_recording_asked_counts_more_than_what_command_lines_say():
    rows = [(DEVICE + "4\\a.exe", "C:\\a.exe")]
    assert told(*rows, drives={DEVICE + "4": "E:"}) == [("E:\\a.exe", "drives")]


def test_command_lines_that_contradict_each_other_prove_nothing():
    rows = [(DEVICE + "4\\a.exe", "C:\\a.exe"), (DEVICE + "4\\b.exe", "D:\\b.exe")]
    assert told(*rows) == [(None, None), (None, None)]


def test_a_command_line_of_another_file_proves_nothing():
    assert told((DEVICE + "4\\a.exe", "C:\\b.exe")) == [(None, None)]


def test_the_volume_of_windows_is_guessed_to_be_c_and_says_so():
    system = DEVICE + "3\\WINDOWS\\system32\\lsass.exe"
    assert told((system, None), (DEVICE + "3\\x.exe", None), (DEVICE + "7\\y.exe", None)) == [
        ("C:\\WINDOWS\\system32\\lsass.exe", "guess"),
        ("C:\\x.exe", "guess"),
        (None, None),
    ]
    # C: is another volume, as a process proves; two volumes hold a Windows.
    assert told((system, None), (DEVICE + "1\\a.exe", "C:\\a.exe"))[0] == (None, None)
    assert told((system, None), (DEVICE + "4\\Windows\\System32\\a.exe", None))[0] == (None, None)


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [
        ("C:\\a.exe", "C:\\a.exe"),
        ("\\??\\C:\\a.exe", "C:\\a.exe"),
        ("\\\\server\\share\\a.exe", "\\\\server\\share\\a.exe"),
        ("\\Device\\Mup\\server\\share\\a.exe", "\\\\server\\share\\a.exe"),
    ],
)
def test_a_path_that_needs_no_drive_is_as_recorded(recorded, shown):
    assert told((recorded, None)) == [(shown, "recorded")]


@pytest.mark.parametrize(
    "odd", ["System", "", "\\Device\\HarddiskVolumeShadowCopy2\\a.exe", "\\Device\\Mup\\;Z:1\\a", None]
)
def test_what_is_no_path_on_a_volume_has_no_drive(odd):
    assert told((odd, None)) == [(None, None)]


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from("ab"), st.sampled_from([None, "C", "D"])), max_size=6
    )
)
def test_each_path_names_its_file_and_its_drive_is_the_only_one_that_fits(rows):
    """A plain form: a volume has a drive if all command lines of its files name the same one."""
    listed = [
        (f"{DEVICE}{volume}\\{name}.exe", drive and f'"{drive}:\\{name}.exe" -x')
        for volume, name, drive in rows
    ]
    for (volume, name, _), (path, source) in zip(rows, told(*listed), strict=True):
        drives = {drive for other, _, drive in rows if other == volume and drive}
        expected = (f"{drives.pop()}:\\{name}.exe", "process") if len(drives) == 1 else (None, None)
        assert (path, source) == expected


@given(st.text(max_size=30))
def test_any_command_line_is_read_or_left(line):
    path = path_of_command(line)
    assert path is None or path in line


def test_settings_of_strangers_tell_no_drives():
    for settings in ({}, {"host": 3}, {"host": {"drives": [1]}}, {"host": {"drives": {"a": 4}}}):
        assert drives_in(settings) == {}
    assert drives_in({"host": {"drives": {DEVICE + "3": "C:"}}}) == {DEVICE + "3": "C:"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paths")
    rt.simulate(folder / "a.etl", rt.SimulationOptions(events=300))
    rt.ingest(folder / "a.etl", folder / "a.regtrace")
    return folder / "a.regtrace"


def test_a_capture_says_each_path_and_how_it_is_known(made):
    with open_capture(made) as capture:
        rows = capture.sql("SELECT image_path, dos_path, dos_path_source FROM processes").to_dict("records")
    assert rows
    for row in rows:
        assert row["image_path"].startswith(DEVICE)
        assert row["dos_path"] == "C:" + row["image_path"].removeprefix(DEVICE + "3")
        assert row["dos_path_source"] in SOURCES


def test_a_capture_of_an_older_version_has_no_such_paths(made, tmp_path):
    """Its file lacks the columns, and its manifest does not count them: they are NULL, and nothing else differs."""
    import shutil

    old = tmp_path / "old.regtrace"
    shutil.copytree(made, old)
    file = old / "processes.parquet"
    table = pq.read_table(file)
    pq.write_table(table.drop_columns(list(ADDED_COLUMNS["processes"])), file)
    manifest = json.loads((old / "capture.json").read_text())
    for entry in manifest["tables"].values():
        del entry["columns"], entry["bytes"]
    (old / "capture.json").write_text(json.dumps(manifest))
    with open_capture(old) as before, open_capture(made) as after:
        query = "SELECT * EXCLUDE (dos_path, dos_path_source) FROM processes"
        assert before.sql(query).equals(after.sql(query))
        assert before.sql("SELECT dos_path, dos_path_source FROM processes").isna().all(axis=None)
        assert before.timeline().equals(after.timeline())
    with open_capture([old, made]) as both:
        assert both.sql("SELECT count(dos_path) AS n FROM processes")["n"].tolist() == [
            pa.compute.count(table["dos_path"]).as_py()
        ]


@pytest.mark.skipif(sys.platform != "win32", reason="asks Windows itself")
def test_windows_says_which_volume_each_drive_is():
    drives = read_drives()
    assert drives
    assert all(device.startswith("\\Device\\") and drive[1:] == ":" for device, drive in drives.items())
    assert os.environ.get("SYSTEMDRIVE", "C:").upper() in drives.values()


def test_a_process_is_found_by_the_path_that_people_write(made):
    with open_capture(made) as capture:
        images = capture.sql("SELECT image, dos_path FROM processes WHERE dos_path IS NOT NULL")
        path = images["dos_path"].iloc[0]
        found = capture.timeline(process=path.upper())
        expected = capture.timeline(process=images["image"].iloc[0])
    assert len(found) == len(expected) > 0
