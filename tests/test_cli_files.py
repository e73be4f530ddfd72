"""Output files are whole or not there, and an existing one is never replaced unasked."""

import errno
import os
from pathlib import Path

import pytest

from cli.output.files import open_target
from tracer.errors import TargetError


def test_an_existing_file_is_kept_without_force(tmp_path):
    target = tmp_path / "rows.csv"
    target.write_text("precious")
    with pytest.raises(TargetError, match="--force"), open_target(target, force=False) as stream:
        stream.write(b"new")
    assert target.read_text() == "precious"


def test_force_replaces_the_file(tmp_path):
    target = tmp_path / "rows.csv"
    target.write_text("old")
    with open_target(target, force=True) as stream:
        stream.write(b"new")
        assert target.read_text() == "old"  # until the new one is whole
    assert target.read_text() == "new"


def test_a_job_that_fails_leaves_nothing_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), open_target(tmp_path / "rows.csv", force=False) as stream:
        stream.write(b"half" * (1 // 0))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    target = tmp_path / "rows.csv"
    with pytest.raises(TargetError, match="exists"), open_target(target, force=False):
        target.write_text("theirs")
    assert target.read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize(("name", "words"), [("", "is a folder"), ("no/such/rows.csv", "is not a folder")])
def test_a_place_that_cannot_hold_a_file_is_named(tmp_path, name, words):
    with pytest.raises(TargetError, match=words), open_target(tmp_path / name, force=True):
        pass


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(TargetError, match="the disk is full"),
        open_target(tmp_path / "rows.csv", force=False),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
def test_a_device_is_written_directly():
    with (
        pytest.raises(TargetError, match="the disk is full"),
        open_target(Path("/dev/full"), force=False) as stream,
    ):
        stream.write(b"x" * 100_000)
    assert Path("/dev/full").is_char_device()


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_a_link_stays_a_link(tmp_path):
    real, link = tmp_path / "real.csv", tmp_path / "link.csv"
    real.write_text("old")
    link.symlink_to(real)
    with open_target(link, force=True) as stream:
        stream.write(b"new")
    assert link.is_symlink()
    assert real.read_text() == "new"
