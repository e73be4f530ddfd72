"""Which form of the loops a trace gets, what a user hears of it, and where compiled code is kept."""

import os
import sys
import time
from pathlib import Path

import pytest

from cli.output.progress import ProgressLine
from tracer import compiled
from tracer.ingest import kernels
from tracer.ingest.kernels import (
    COMPILE_BYTES,
    LOAD_BYTES,
    NUMPY,
    choose_kernels,
    load_compiled,
    note_compiled,
)
from tracer.ingest.pipeline import ingest
from tracer.progress import Progress
from tracer.simulate import SimulationOptions, simulate

FAST = object()  # stands for the compiled form


@pytest.fixture
def said(monkeypatch) -> list[str]:
    monkeypatch.setattr(kernels, "load_compiled", lambda: FAST)
    monkeypatch.setattr(compiled, "is_available", lambda: True)
    return []


@pytest.mark.parametrize(
    ("size", "kept", "form", "sentences"),
    [
        (0, False, NUMPY, 0),
        (LOAD_BYTES - 1, True, NUMPY, 0),
        (LOAD_BYTES, True, FAST, 0),
        (LOAD_BYTES, False, NUMPY, 0),  # compiling would take longer than it saves
        (COMPILE_BYTES - 1, False, NUMPY, 0),
        (COMPILE_BYTES, False, FAST, 1),
        (COMPILE_BYTES, True, FAST, 0),
    ],
)
def test_compiled_loops_are_chosen_where_they_pay(monkeypatch, said, size, kept, form, sentences):
    monkeypatch.setattr(compiled, "is_kept", lambda: kept)
    assert choose_kernels(size, said.append) is form
    assert len(said) == sentences


def test_without_numba_every_trace_is_read_by_numpy(monkeypatch, said):
    monkeypatch.setattr(compiled, "is_available", lambda: False)
    assert choose_kernels(COMPILE_BYTES, said.append) is NUMPY
    assert said == []


def test_a_small_trace_does_not_even_look_for_compiled_code(monkeypatch, said):
    monkeypatch.setattr(compiled, "is_kept", lambda: pytest.fail("looked"))
    assert choose_kernels(LOAD_BYTES - 1, said.append) is NUMPY


def test_a_folder_that_cannot_be_written_keeps_nothing_and_stops_nobody(monkeypatch, tmp_path):
    pytest.importorskip("numba", reason="Numba (extra fast) is not installed")
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    note_compiled(load_compiled())
    assert not compiled.is_kept()


def test_compiled_code_is_noted_where_it_is_kept(monkeypatch, tmp_path):
    pytest.importorskip("numba", reason="Numba (extra fast) is not installed")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    note_compiled(NUMPY)
    assert not compiled.is_kept()
    note_compiled(load_compiled())
    assert compiled.is_kept()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "another"))
    assert not compiled.is_kept()


def test_loops_that_nobody_uses_any_more_are_removed(monkeypatch, tmp_path):
    pytest.importorskip("numba", reason="Numba (extra fast) is not installed")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    for name, days in (("loops-old", 100), ("loops-young", 10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "complete").touch()
        used = time.time() - days * 86400
        os.utime(tmp_path / name / "complete", (used, used))
    (tmp_path / "of somebody else").mkdir()
    note_compiled(load_compiled())
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"loops-young", "of somebody else", compiled.cache_folder().name}


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the folder of other systems")
def test_compiled_code_is_kept_in_the_users_cache_folder(monkeypatch, tmp_path):
    pytest.importorskip("numba", reason="Numba (extra fast) is not installed")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiled.cache_folder().parent == tmp_path / "regtrace" / "compiled"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert compiled.cache_folder().parent == Path.home() / ".cache" / "regtrace" / "compiled"


def test_numbas_own_setting_is_left_as_it_was():
    numba = pytest.importorskip("numba", reason="Numba (extra fast) is not installed")
    before = numba.config.CACHE_DIR

    @compiled.kernel
    def one():
        return 1

    assert before == numba.config.CACHE_DIR
    assert one() == 1


def test_that_loops_are_compiled_is_said_once_on_standard_error(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(kernels, "load_compiled", lambda: NUMPY)
    monkeypatch.setattr(compiled, "is_available", lambda: True)
    monkeypatch.setattr(compiled, "is_kept", lambda: False)
    monkeypatch.setattr(kernels, "LOAD_BYTES", 0)
    monkeypatch.setattr(kernels, "COMPILE_BYTES", 0)
    path = simulate(tmp_path / "a.etl", SimulationOptions(events=200)).path
    with ProgressLine("ingest") as line:
        ingest([path], tmp_path / "a.regtrace", progress=line)
        line(Progress(1, 2, 3))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("compiling") == 1
    assert "once" in shown.err
