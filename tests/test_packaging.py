"""What is shipped: the wheel holds the program and nothing else, and works far from the checkout."""

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

import regtrace

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("hatchling") is None, reason="hatchling builds it and is not installed"),
]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """Return the folder of commands of a new environment, elsewhere, that holds the wheel.

    The libraries it needs are borrowed from this environment: the wheel is tested, not a package index.
    """
    if find_spec("pip") is None:
        pytest.skip("pip is not installed")
    folder = tmp_path_factory.mktemp("elsewhere") / "environment"
    venv.create(folder, with_pip=False)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / ("python.exe" if sys.platform == "win32" else "python")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    # A path line is no site folder, so a checkout that is installed here with -e does not come along.
    paths = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    vars_ = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=vars_))
    (site / "borrowed.pth").write_text("\n".join(sorted(paths)) + "\n", encoding="utf-8")
    return scripts


def test_the_wheel_holds_the_program_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"regtrace-{regtrace.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"tracer", "analysis", "cli", "regtrace.py", info}
    assert f"{info}/licenses/LICENSE" in names
    for house in ("tracer", "analysis", "cli"):
        assert f"{house}/py.typed" in names
        ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / house).rglob("*.py")}
        assert ours <= names
    assert {"analysis/rules/autostarts.csv", "analysis/rules/techniques.csv"} <= names
    assert not [name for name in names if name.endswith((".etl", ".pml", ".parquet", ".pyc"))]


def test_the_source_archive_builds_and_holds_the_tests(tmp_path):
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=ROOT)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml", "regtrace.py", "tests/test_packaging.py"} <= names
    assert not [name for name in names if name.endswith((".etl", ".pml", ".parquet"))]


def test_the_installed_command_shows_its_help(installed, tmp_path):
    assert "Start here:" in run(installed / "regtrace", "--help", cwd=tmp_path)
    assert run(installed / "regtrace", "--version", cwd=tmp_path) == f"regtrace {regtrace.__version__}\n"


def test_the_installed_program_does_the_whole_job(installed, tmp_path):
    run(installed / "regtrace", "demo", "tour", "--events", "2000", "--quiet", cwd=tmp_path)
    code = (
        "import regtrace as rt, tracer, pathlib\n"
        f"assert {str(ROOT)!r} not in str(pathlib.Path(tracer.__file__)), tracer.__file__\n"
        "with rt.open('tour/demo.regtrace') as capture:\n"
        "    print(len(capture.timeline()), capture.manifest.sources[0]['simulated'])\n"
    )
    rows, simulated = run(installed / "python", "-c", code, cwd=tmp_path).split()
    assert int(rows) > 1500
    assert simulated == "True"
