"""What is written where: never over what is read, never into a capture, never over what others made, and never half."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from small_capture import write_capture
from typer.testing import CliRunner

from cli.app import app
from tracer.errors import TargetError
from tracer.files.targets import check_apart, open_target
from tracer.files.workspace import Workspace, remove_dead
from tracer.ingest.pipeline import ingest
from tracer.simulate import SimulationOptions, simulate
from tracer.store.manifest import Manifest

ROOT = Path(__file__).resolve().parents[1]
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs links and signals of POSIX")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    simulate(folder / "d.etl", SimulationOptions(events=300, seed=1), truth=False)
    return folder


@pytest.fixture
def trace(made, tmp_path) -> Path:
    return Path((tmp_path / "d.etl").write_bytes((made / "d.etl").read_bytes()) and tmp_path / "d.etl")


def contents(folder: Path) -> dict[str, str]:
    """Return every file below a folder, links as what they lead to, with the hash of what it holds."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def refused(folder: Path, *arguments: object) -> str:
    """Run a command that must be refused and change nothing; return what it says."""
    before = contents(folder)
    result = CliRunner().invoke(app, [str(a) for a in arguments], prog_name="regtrace")
    assert result.exit_code == 1, (result.output, result.exception)
    assert "Traceback" not in result.output
    assert contents(folder) == before
    assert not list(folder.glob(".regtrace-*"))
    return result.stderr


# --- an output is no source ------------------------------------------------------------------------------


def test_an_ingest_does_not_replace_the_folder_its_source_or_seed_is_in(tmp_path, trace):
    inside = tmp_path / "c.regtrace"
    ingest([trace], inside)
    (inside / "trace.etl").write_bytes(trace.read_bytes())
    assert "would be replaced" in refused(tmp_path, "ingest", inside / "trace.etl", "-o", inside, "--force")
    # and what somebody else put there is not replaced either, whatever the source is
    assert "trace.etl, which no ingest wrote" in refused(tmp_path, "ingest", trace, "-o", inside, "--force")
    (inside / "trace.etl").unlink()
    (inside / "events" / "notes.txt").write_text("mine")
    assert "events/notes.txt" in refused(tmp_path, "ingest", trace, "-o", inside, "--force")
    (inside / "events" / "notes.txt").rename(tmp_path / "seed.csv")
    assert "the source " in refused(
        tmp_path, "ingest", trace, "--seed", tmp_path / "seed.csv", "-o", tmp_path / "seed.csv", "--force"
    )
    assert "lies in" in refused(tmp_path, "ingest", trace, "-o", trace / "c.regtrace", "--force")
    assert "lies in the capture" in refused(tmp_path, "ingest", trace, "-o", inside / "d.regtrace")
    ingest([trace], inside, force=True)


@POSIX
def test_an_ingest_knows_its_source_by_any_name(tmp_path, trace):
    inside = tmp_path / "c.regtrace"
    ingest([trace], inside)
    trace.rename(inside / "d.etl")
    (tmp_path / "link.etl").symlink_to(inside / "d.etl")
    (tmp_path / "folder").symlink_to(inside)
    for source in (tmp_path / "link.etl", tmp_path / "folder/d.etl", inside / "../c.regtrace/d.etl"):
        for target in (inside, tmp_path / "folder", inside / "."):
            assert "would be replaced" in refused(tmp_path, "ingest", source, "-o", target, "--force")


@POSIX
def test_a_capture_behind_a_link_is_replaced_and_the_link_stays(tmp_path, trace):
    (tmp_path / "disk").mkdir()
    (tmp_path / "c.regtrace").symlink_to(tmp_path / "disk" / "real.regtrace")
    for force in (False, True):
        ingest([trace], tmp_path / "c.regtrace", force=force)
        assert (tmp_path / "c.regtrace").is_symlink()
        Manifest.load(tmp_path / "disk" / "real.regtrace")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.regtrace", "d.etl", "disk"]


def test_what_a_verb_reads_is_not_its_output(tmp_path, trace):
    capture = write_capture(tmp_path / "c.regtrace", events=12)
    query = tmp_path / "query.csv"
    query.write_text("SELECT 1")
    assert "the source " in refused(tmp_path, "dump", trace, "-o", trace, "-f", "jsonl", "--force")
    assert "the source " in refused(tmp_path, "sql", capture, "--file", query, "-o", query, "--force")
    if os.name != "nt":
        os.link(trace, tmp_path / "same.jsonl")
        (tmp_path / "link.jsonl").symlink_to(trace)
        for name in ("same.jsonl", "link.jsonl"):
            assert "the source " in refused(tmp_path, "dump", trace, "-o", tmp_path / name, "--force")


def test_no_verb_writes_into_a_capture(tmp_path, trace):
    capture = write_capture(tmp_path / "c.regtrace", events=12)
    keys, new = capture / "keys.parquet", capture / "new"
    commands = [
        ["sql", capture, "FROM keys", "-o", keys, "--force"],
        ["sql", capture, "FROM keys", "-o", capture / "events" / "new.csv"],
        ["timeline", capture, "-o", keys, "--force"],
        ["changes", capture, "--reg", new.with_suffix(".reg")],
        ["changes", capture, "--undo", keys, "--force"],
        ["plot", "activity", capture, "-o", new.with_suffix(".svg")],
        ["schema", "-o", capture / "capture.json", "--force"],
        ["dump", trace, "-o", new.with_suffix(".csv")],
        ["simulate", "-o", new.with_suffix(".etl"), "-n", "100"],
        ["demo", capture, "--force", "-n", "1000"],
    ]
    if os.name != "nt":
        (tmp_path / "link.parquet").symlink_to(keys)
        (tmp_path / "folder").symlink_to(capture)
        commands += [
            ["sql", capture, "FROM keys", "-o", tmp_path / "link.parquet", "--force"],
            ["timeline", capture, "-o", tmp_path / "folder" / "t.csv"],
        ]
    for command in commands:
        assert "lies in the capture" in refused(tmp_path, *command), command


@pytest.mark.slow
def test_python_writes_into_no_capture_either(tmp_path):
    pytest.importorskip("altair")
    import regtrace as rt
    from analysis.charts.figures import PICTURES
    from analysis.filters import Filters

    capture = write_capture(tmp_path / "c.regtrace", events=12)
    with rt.open(capture) as opened:
        files = opened.reg_files()
        picture = PICTURES["activity"](opened, Filters())
    with pytest.raises(TargetError, match="lies in the capture"):
        files.save(capture / "keys.parquet", force=True)
    with pytest.raises(TargetError, match="lies in the capture"):
        picture.save(capture / "a.svg")
    with pytest.raises(TargetError, match="lies in the capture"):
        simulate(capture / "a.etl", SimulationOptions(events=10))


@pytest.mark.parametrize("target", [".", "..", "/", "a\0b", "x" * 300, "./", "link"])
def test_a_target_that_can_be_no_capture_is_one_sentence(tmp_path, trace, monkeypatch, target):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    if target == "link":
        (tmp_path / "here" / "link").symlink_to("link")
    for force in (False, True):
        if target in (".", "./") and force:
            continue  # an empty folder is replaced by --force, the one a shell stands in too
        with pytest.raises(TargetError) as caught:
            ingest([trace], Path(target), force=force)
        assert "\n" not in str(caught.value)
    assert trace.exists()


# --- what others made ---------------------------------------------------------------------------------------


def test_what_others_left_beside_a_target_stays(tmp_path, trace):
    for name in ("c.regtrace.partial", "c.regtrace.replaced", ".regtrace-0123456789abcdef", ".regtrace-mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("years")
    (tmp_path / ".regtrace-mine" / "regtrace-run.json").write_text('{"made_by": "regtrace", "run": "other"}')
    (tmp_path / ".regtrace-file").write_text("mine")
    (tmp_path / ".d.jsonl.4711.part").write_text("mine")
    before = contents(tmp_path)
    for force in (False, True):
        ingest([trace], tmp_path / "c.regtrace", force=force)
        with open_target(tmp_path / "d.jsonl", force=force) as stream:
            stream.write(b"new")
    after = contents(tmp_path)
    assert {name: after.get(name) for name in before} == before


@POSIX
def test_what_a_dead_run_left_is_removed_and_what_a_living_one_has_is_not(tmp_path):
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom tracer.files.workspace import Workspace\n"
        "workspace = Workspace(Path(sys.argv[1]), target='x')\n(workspace.path / 'big').write_bytes(b'x' * 100)\n"
        "print(workspace.path, flush=True)\ntime.sleep(600)\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    left = Path(run.stdout.readline().strip())
    with Workspace(tmp_path) as own:
        remove_dead(tmp_path)
        assert (left / "big").exists()
        assert own.path.exists()
        run.send_signal(signal.SIGKILL)
        run.communicate()
        assert (left / "big").exists()
        remove_dead(tmp_path)
        assert not left.exists()
        assert own.path.exists()
    assert list(tmp_path.iterdir()) == []


@POSIX
@pytest.mark.parametrize(
    "left", [(), ("unmarked", ""), ("unmarked", '{"made_by"'), ("regtrace-run.json", "")]
)
def test_what_a_run_left_that_was_killed_before_its_marker_was_whole_is_removed(tmp_path, left):
    import fcntl

    folder = tmp_path / ".regtrace-0123456789abcdef"
    folder.mkdir()
    if left:
        name, text = left
        (folder / name).write_text(text)
        with (folder / name).open("r+b") as file:  # while it lives
            fcntl.flock(file, fcntl.LOCK_EX)
            remove_dead(tmp_path)
            assert (folder / name).exists()
    remove_dead(tmp_path)
    assert not folder.exists()


@POSIX
def test_a_run_whose_folder_is_taken_for_a_dead_ones_makes_another(tmp_path, monkeypatch):
    real, folders = os.open, []

    def interfere(path, *arguments, **options):
        if str(path).endswith("unmarked") and len(folders) < 2:
            folders.append(Path(path).parent)
            if len(folders) == 1:  # before the file is there, and after
                remove_dead(tmp_path)
                return real(path, *arguments, **options)
            descriptor = real(path, *arguments, **options)
            remove_dead(tmp_path)
            return descriptor
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", interfere)
    with Workspace(tmp_path) as workspace:
        assert len(folders) == 2
        assert list(tmp_path.iterdir()) == [workspace.path]
        assert {path.name for path in workspace.path.iterdir()} == {"regtrace-run.json"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@POSIX
def test_the_engines_disk_space_of_a_killed_run_is_given_back(tmp_path, monkeypatch):
    capture = write_capture(tmp_path / "c.regtrace", events=12)
    script = (
        "import sys, time, regtrace as rt\nc = rt.open(sys.argv[1])\n"
        "print('open', flush=True)\ntime.sleep(600)\n"
    )
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    run = subprocess.Popen(
        [sys.executable, "-c", script, str(capture)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "open\n"
    (left,) = scratch.iterdir()
    run.send_signal(signal.SIGKILL)
    run.communicate()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    import regtrace as rt

    with rt.open(capture) as opened:
        assert not left.exists()
        assert len(list(scratch.iterdir())) == 1
        assert len(opened.sql("SELECT 1"))
    assert list(scratch.iterdir()) == []


# --- two runs at one place ----------------------------------------------------------------------------------

_RUNNER = """
import sys
from pathlib import Path
from tracer.errors import TargetError
from tracer.ingest.pipeline import ingest
from tracer.files.targets import open_target
print("ready", flush=True)
for line in sys.stdin:
    kind, force, target = line.rstrip("\\n").split("|")
    try:
        if kind == "capture":
            ingest([Path(sys.argv[1])], Path(target), force=force == "force")
        else:
            with open_target(Path(target), force=force == "force") as stream:
                stream.write(Path(sys.argv[1]).read_bytes())
        print("won", flush=True)
    except TargetError as error:
        print("lost", str(error).replace("\\n", "<newline>"), flush=True)
"""


@pytest.mark.slow
def test_of_two_runs_at_one_place_one_publishes_and_the_other_says_so(tmp_path):
    hashes, runs = {}, []
    for seed in range(3):
        source = tmp_path / f"{seed}.etl"
        simulate(source, SimulationOptions(events=200 + seed, seed=seed), truth=False)
        hashes[seed] = hashlib.sha256(source.read_bytes()).hexdigest()
        runs.append(
            subprocess.Popen(
                [sys.executable, "-c", _RUNNER, str(source)],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    out = tmp_path / "out"
    out.mkdir()
    assert {run.stdout.readline() for run in runs} == {"ready\n"}
    lost = 0
    for number in range(16):
        kind, force = ("capture", "file")[number % 2], ("no", "force")[number // 2 % 2]
        target = out / f"{number}.{kind}"
        if force == "force":
            Path(tmp_path / "old").write_text("old")
            if kind == "capture":
                ingest([tmp_path / "0.etl"], target)
            else:
                target.write_text("old")
        for run in runs:
            run.stdin.write(f"{kind}|{force}|{target}\n")
            run.stdin.flush()
        said = [run.stdout.readline() for run in runs]
        winners = [place for place, line in enumerate(said) if line == "won\n"]
        assert winners
        assert force == "force" or len(winners) == 1, said
        for line in said:
            assert line == "won\n" or "exists" in line or "meanwhile" in line, line
        lost += 3 - len(winners)
        if kind == "capture":
            published = Manifest.load(target)
            assert published.sources[0]["sha256"] in {hashes[place] for place in winners}
            assert published.totals["records"]
        else:
            assert hashlib.sha256(target.read_bytes()).hexdigest() in {hashes[place] for place in winners}
        assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []
    for run in runs:
        run.communicate()
        assert run.returncode == 0
    assert lost >= 16  # of 16 rounds the half must have two losers each


# --- a disk that is full ------------------------------------------------------------------------------------


def test_a_simulation_on_a_full_disk_leaves_nothing_and_keeps_what_was_there(tmp_path, monkeypatch):
    target = tmp_path / "a.etl"
    simulate(target, SimulationOptions(events=100, seed_table=True))
    before = contents(tmp_path)
    from tracer.simulate.container import EtlWriter

    writes = []

    def fail(self, *arguments):
        writes.append(arguments)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("finish", "_write_one"):
        monkeypatch.setattr(EtlWriter, name, fail)
        result = CliRunner().invoke(app, ["simulate", "-o", str(target), "-n", "3000", "--force"])
        assert result.exit_code == 1
        assert "No space left" in result.stderr
        assert contents(tmp_path) == before
        new = CliRunner().invoke(app, ["simulate", "-o", str(tmp_path / "new.etl"), "-n", "3000"])
        assert new.exit_code == 1
        assert contents(tmp_path) == before
        monkeypatch.undo()
    assert len(writes) == 4


def test_check_apart_allows_what_is_apart(tmp_path):
    (tmp_path / "in").mkdir()
    check_apart(tmp_path / "in" / "c.regtrace", [tmp_path / "c.etl", tmp_path / "in" / "d.etl"])
    check_apart(tmp_path / "new", [tmp_path / "missing"])


@pytest.mark.parametrize("verb", ["timeline", "export", "report"])
def test_a_file_that_nobody_may_read_is_replaced_where_its_folder_may_be_written(tmp_path, monkeypatch, verb):
    from small_capture import write_capture
    from test_cli_verbs import invoke

    capture = write_capture(tmp_path / "c.regtrace")
    old = tmp_path / {"timeline": "old.csv", "export": "old.jsonl", "report": "old.md"}[verb]
    old.write_text("older\n")
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode, **more: Path(path) != old and access(path, mode, **more)
    )
    words = ["--to", "timesketch"] if verb == "export" else []
    done = invoke(verb, capture, *words, "-o", old, "--force")
    assert done.exit_code == 0, done.output
    assert old.read_text() != "older\n"
