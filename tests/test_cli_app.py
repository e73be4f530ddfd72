"""The command itself: start-up, help, exit codes, closed pipes, errors in one sentence."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cli import app as application
from cli.app import VERBS, app
from cli.exits import MEANINGS, Exit
from cli.manual import manual
from tracer.errors import PlatformError, TargetError, UsageError

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("numpy", "pandas", "pyarrow", "duckdb", "ibis", "rich")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.app", *arguments],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def invoke(*arguments: str, **options: object):
    return CliRunner().invoke(app, list(arguments), prog_name="regtrace", **options)


@pytest.fixture
def verb(monkeypatch):
    """Return a function that puts a verb of one's own, `boom`, into the application."""

    def install(function):
        module = type(sys)("cli_boom")
        module.EXAMPLES = ()
        module.boom = function
        monkeypatch.setitem(sys.modules, "cli_boom", module)
        monkeypatch.setitem(application.VERBS, "boom", application.Verb("cli_boom", "boom", "Fail."))

    return install


def test_help_loads_no_heavy_library():
    code = (
        "import sys\nfrom cli.app import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as e:\n    code = e.code\n"
        f"print('LOADED', sorted(set({HEAVY!r}) & set(sys.modules)), code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED [] 0"


def test_the_help_of_a_verb_loads_no_heavy_library():
    """One process shows them all: what one of them loads stays loaded, and is told with its name."""
    names = [name for name in VERBS if name != "simulate"]  # its options live in a package that needs numpy
    code = (
        "import sys\nfrom cli.app import main\nheavy = set()\n"
        f"for name in {names!r}:\n"
        "    try:\n        main([name, '--help'])\n    except SystemExit as e:\n        code = e.code\n"
        f"    new = ({{*{HEAVY!r}}} & {{*sys.modules}}) - heavy\n"
        "    print('LOADED', name, sorted(new), code)\n"
        "    heavy |= new\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    loaded = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert loaded == [f"LOADED {name} [] 0" for name in names]


@pytest.mark.slow
def test_help_takes_little_longer_than_an_empty_application(tmp_path):
    empty = tmp_path / "empty.py"
    empty.write_text(
        "import typer\napp = typer.Typer()\n@app.command()\ndef main() -> None:\n    '''Hello.'''\napp()\n"
    )

    def best(*command: str) -> float:
        taken = []
        for _ in range(5):
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, *command, "--help"], cwd=ROOT, capture_output=True, timeout=60, check=True
            )
            taken.append(time.perf_counter() - started)
        return min(taken)

    assert best("-m", "cli.app") <= 1.5 * best(str(empty))


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help_with_an_example_that_names_it(name):
    shown = invoke(name, "--help")
    assert shown.exit_code == 0
    assert VERBS[name].summary in shown.output
    assert re.search(rf"Examples:\n(?:\s+#.*\n\s+regtrace {name}\b.*\n?)+", shown.output)
    for common in ("--quiet", "--debug"):
        assert common in shown.output


def test_help_lists_every_verb_and_every_exit_code():
    shown = invoke("--help").output
    for name, verb in VERBS.items():
        assert re.search(rf"^  {name} +{re.escape(verb.summary)}$", shown, re.MULTILINE)
    for code, meaning in MEANINGS.items():
        assert f"{code.value}  {meaning}" in shown


def test_every_exit_code_has_a_meaning_and_keeps_its_number():
    assert set(MEANINGS) == set(Exit)
    assert [code.value for code in Exit] == [0, 1, 2, 3, 4, 5, 130, 141]


def test_the_page_about_the_command_line_is_current():
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page.split() == manual().split(), "run: python -m cli.manual > docs/cli.md"
    for name in VERBS:
        assert f"## regtrace {name}" in page


def test_no_arguments_show_the_help():
    assert "Start here:" in invoke().output


def test_a_misspelt_verb_is_a_usage_error_that_names_the_right_one():
    shown = invoke("timelin")
    assert shown.exit_code == Exit.USAGE
    assert "timeline" in shown.stderr
    assert shown.stdout == ""


def test_a_misspelt_option_is_a_usage_error():
    assert invoke("schema", "--colour").exit_code == Exit.USAGE


@pytest.mark.parametrize(
    ("problem", "code"),
    [(UsageError("no such zone"), 2), (TargetError("no such zone"), 1), (PlatformError("no such zone"), 5)],
)
def test_our_errors_are_one_line_with_their_exit_code(verb, problem, code):
    def boom() -> None:
        raise problem

    verb(boom)
    shown = invoke("boom")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (code, "", "regtrace: no such zone\n")


def test_a_hostile_name_in_an_error_is_shown_harmlessly(verb):
    def boom() -> None:
        raise UsageError("no key \x1b[2J\nregtrace: all is well")

    verb(boom)
    assert invoke("boom").stderr == "regtrace: no key \\u{1B}[2J\n          regtrace: all is well\n"


def test_an_error_of_the_system_is_one_sentence(verb):
    def boom() -> None:
        Path("/no/such/file").read_bytes()

    verb(boom)
    shown = invoke("boom")
    assert shown.exit_code == Exit.ERROR
    assert shown.stderr == "regtrace: /no/such/file: no such file or directory\n"


def test_debug_shows_the_traceback(verb):
    def boom() -> None:
        raise UsageError("no such zone")

    verb(boom)
    for arguments in (["--debug", "boom"], ["boom", "--debug"]):
        assert isinstance(invoke(*arguments).exception, UsageError)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), RuntimeError("Query interrupted")])
def test_an_interrupt_returns_130(verb, stop):
    def boom() -> None:
        raise stop

    verb(boom)
    shown = invoke("boom")
    assert shown.exit_code == Exit.INTERRUPTED
    assert shown.stderr == "regtrace: interrupted\n"


def test_a_chosen_exit_code_reaches_the_caller(verb):
    def boom() -> None:
        raise typer.Exit(Exit.LOSS)

    verb(boom)
    assert invoke("boom").exit_code == 4


@pytest.mark.skipif(os.name == "nt", reason="signals and pipes as POSIX has them")
def test_a_closed_pipe_ends_quietly_with_141():
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cli.app", "schema"],
            cwd=ROOT,
            stdout=write_end,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (Exit.CLOSED_PIPE, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full")
def test_a_full_disk_behind_standard_output_is_one_sentence():
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "cli.app", "schema"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert done.returncode == Exit.ERROR
    assert done.stderr.decode().count("\n") == 1
    assert b"the disk is full" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them")
def test_control_c_returns_130_without_a_traceback(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(
        "import sys, time\nfrom cli import app\n"
        "module = type(sys)('slow'); module.EXAMPLES = ()\n"
        "def slow() -> None:\n    print('ready', flush=True)\n    time.sleep(30)\n"
        "module.slow = slow; sys.modules['slow'] = module\n"
        "app.VERBS['slow'] = app.Verb('slow', 'slow', 'Wait.')\napp.main(['slow'])\n"
    )
    child = subprocess.Popen(
        [sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGINT)
    _, words = child.communicate(timeout=30)
    assert (child.returncode, words) == (130, b"regtrace: interrupted\n")


def test_words_go_to_standard_error_and_data_to_standard_output():
    done = run("schema", "losses")
    assert done.returncode == 0
    assert done.stdout.startswith("losses:")
    assert done.stderr == ""  # hints are for terminals only


def test_the_version_is_printed():
    assert re.fullmatch(r"regtrace \S.*\n", invoke("--version").output)
