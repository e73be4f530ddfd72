"""`import regtrace as rt`: small, lazy, and ours."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from small_capture import write_capture

import regtrace as rt

HOME = Path(__file__).resolve().parents[1]


def run(code: str, folder: Path, *first: Path) -> subprocess.CompletedProcess[str]:
    path = (
        ":".join(map(str, [*first, HOME])) if sys.platform != "win32" else ";".join(map(str, [*first, HOME]))
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": path, "PATH": "", "SYSTEMROOT": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_importing_the_face_loads_nothing_heavy(tmp_path: Path) -> None:
    heavy = "{'pandas', 'pyarrow', 'duckdb', 'ibis', 'numpy', 'rich', 'typer'}"
    done = run(f"import regtrace, sys; print(sorted({heavy} & set(sys.modules)))", tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((HOME / "pyproject.toml").read_text(encoding="utf-8"))
    assert rt.__version__ == project["project"]["version"]


def test_the_public_names_exist_and_are_sorted() -> None:
    assert rt.__all__ == sorted(rt.__all__)
    assert dir(rt) == rt.__all__
    for name in rt.__all__:
        assert getattr(rt, name) is not None
    with pytest.raises(AttributeError, match="colour"):
        _ = rt.colour


def test_a_capture_opens_by_one_call(tmp_path: Path) -> None:
    with rt.open(write_capture(tmp_path / "small.regtrace", events=12)) as capture:
        assert isinstance(capture, rt.Capture)
        assert len(capture.timeline()) == 12
    with pytest.raises(rt.RegtraceError):
        rt.open(tmp_path / "absent.regtrace")


@pytest.mark.parametrize("name", ["tracer", "analysis", "cli"])
@pytest.mark.parametrize("kind", ["package", "module"])
def test_a_strangers_package_stops_the_import_with_one_sentence(tmp_path: Path, name: str, kind: str) -> None:
    stranger = tmp_path / "theirs"
    stranger.mkdir()
    if kind == "package":
        (stranger / name).mkdir()
        (stranger / name / "__init__.py").write_text("")
    else:
        (stranger / f"{name}.py").write_text("")
    done = run("import regtrace", tmp_path, stranger)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: regtrace needs its own")
    assert str(stranger / name) in last


def test_a_plain_folder_of_that_name_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "analysis").mkdir()
    assert run("import regtrace", tmp_path).returncode == 0


def test_a_simulated_trace_becomes_a_capture_by_three_calls(tmp_path: Path) -> None:
    summary = rt.simulate(tmp_path / "demo.etl", rt.SimulationOptions(events=300, seed=7))
    manifest = rt.ingest(tmp_path / "demo.etl", tmp_path / "demo.regtrace")
    assert isinstance(manifest, rt.Manifest)
    with rt.open(tmp_path / "demo.regtrace") as capture:
        frame = capture.timeline()
        assert len(frame) == summary.operations == manifest.totals["events"]
        assert list(frame["sequence"]) == list(range(len(frame)))
        assert frame["name_source"][frame["key"].notna()].notna().all()


def test_a_trace_that_cannot_be_written_is_a_target_error(tmp_path: Path) -> None:
    with pytest.raises(rt.TargetError):
        rt.simulate(tmp_path / "absent" / "demo.etl", rt.SimulationOptions(events=10))


def test_the_old_name_of_the_simulators_options_works_and_warns(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="regtrace.Knobs is now called regtrace.SimulationOptions"):
        assert rt.Knobs is rt.SimulationOptions
    with pytest.warns(DeprecationWarning, match="'knobs' is now called 'options'"):
        assert rt.simulate(tmp_path / "a.etl", knobs=rt.SimulationOptions(events=5)).operations >= 5
