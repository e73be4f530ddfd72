"""From nothing to a timeline through the command line alone: simulate, info, dump, ingest, timeline, demo."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cli.app import app
from cli.commands.simulate import option_help
from cli.output.progress import ProgressLine, duration_text, progress_text, size_text
from tracer.ingest.pipeline import Progress
from tracer.scenarios import SCENARIOS
from tracer.simulate import SimulationOptions


def invoke(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="regtrace")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a sound trace, a lossy one, and a capture of each."""
    folder = tmp_path_factory.mktemp("job")
    for name, options in (("demo", ()), ("lossy", ("--lost-buffers", "0.3", "--buffer-size", "16384"))):
        assert invoke("simulate", "-o", folder / f"{name}.etl", "-n", 3000, *options).exit_code == 0
        shown = invoke("ingest", folder / f"{name}.etl", "-o", folder / f"{name}.regtrace")
        assert shown.exit_code == 0, shown.stderr
    return folder


def test_every_option_is_an_option_with_its_help_and_default():
    shown = " ".join(invoke("simulate", "--help").output.split())
    for field in fields(SimulationOptions):
        assert f"--{field.name.replace('_', '-')}" in shown
        assert option_help()[field.name]
    assert "[default: 100000]" in shown


def test_an_option_out_of_range_is_a_usage_error(tmp_path):
    shown = invoke("simulate", "-o", tmp_path / "x.etl", "--cpus", 0)
    assert (shown.exit_code, shown.stderr) == (2, "regtrace: the option cpus is 0; it must be 1 to 255\n")


@pytest.mark.slow
def test_simulate_says_that_it_simulated_and_keeps_what_exists(folder, tmp_path):
    target = tmp_path / "x.etl"
    shown = invoke("simulate", "-o", target, "-n", 500)
    assert "simulated" in shown.stderr
    assert "x.truth.parquet" in shown.stderr
    before = target.read_bytes()
    assert invoke("simulate", "-o", target, "-n", 600).exit_code == 1
    assert target.read_bytes() == before
    assert invoke("simulate", "-o", target, "-n", 600, "--force").exit_code == 0
    assert target.read_bytes() != before


def test_simulate_writes_etl_only(tmp_path):
    assert invoke("simulate", "-o", tmp_path / "x.txt").exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_info_of_a_trace_counts_its_events(folder):
    facts = json.loads(invoke("info", folder / "demo.etl", "--json").stdout)
    registry = next(p for p in facts["providers"] if p["name"] == "Microsoft-Windows-Kernel-Registry")
    assert registry["records"] == 3000
    shown = invoke("info", folder / "demo.etl").stdout
    assert re.search(r"Microsoft-Windows-Kernel-Registry +id 1 +CreateKey +\d", shown)


def test_dump_writes_one_object_a_record_with_the_header_columns_first(folder):
    shown = invoke("dump", folder / "demo.etl")
    assert shown.exit_code == 0
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    first = ["offset", "header_type", "provider", "id", "opcode", "version", "cpu", "pid", "tid", "time_ns"]
    assert all(list(row)[:10] == first for row in rows)
    assert [row["time_ns"] for row in rows] == sorted(row["time_ns"] for row in rows)
    opened = next(row for row in rows if row["id"] == 2 and row["Status"] == 0)
    assert re.fullmatch(r"0x[0-9a-f]+", opened["KeyObject"])
    assert opened["RelativeName"]


def test_dump_of_one_provider_goes_to_parquet(folder, tmp_path):
    target = tmp_path / "registry.parquet"
    shown = invoke("dump", folder / "demo.etl", "-p", "Microsoft-Windows-Kernel-Registry", "-o", target)
    assert shown.exit_code == 0
    assert pq.read_metadata(target).num_rows == 3000


def test_dump_fails_on_loss_only_when_asked(folder):
    assert invoke("dump", folder / "lossy.etl").exit_code == 0
    assert invoke("dump", folder / "lossy.etl", "--fail-on-loss").exit_code == 4


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("empty.etl", b"", 1), ("text.etl", b"hello\n" * 100, 1), ("absent.etl", None, 1)],
)
@pytest.mark.parametrize("verb", ["info", "dump", "ingest"])
def test_what_is_no_trace_is_one_sentence(verb, name, content, code, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    extra = ["-o", tmp_path / "x.regtrace"] if verb == "ingest" else []
    shown = invoke(verb, path, *extra)
    assert shown.exit_code == code
    assert shown.stdout == ""
    assert shown.stderr.startswith("regtrace: ")
    assert shown.stderr.count("\n") == 1
    assert not (tmp_path / "x.regtrace").exists()


def test_dump_of_a_procmon_log_names_the_verb_that_reads_it(tmp_path):
    path = tmp_path / "x.pml"
    path.write_bytes(b"PML_" + bytes(1000))
    assert "regtrace ingest" in invoke("dump", path).stderr


def test_ingest_says_what_it_made(folder, tmp_path):
    shown = invoke("ingest", folder / "demo.etl", "-o", tmp_path / "x.regtrace")
    assert re.search(r"3,000 events, [\d,]+ keys by name, [\d,]+ processes", shown.stderr)
    assert re.search(r"names: [\d.]+ % exact", shown.stderr)
    assert shown.stdout == ""
    assert invoke("ingest", folder / "demo.etl", "-o", tmp_path / "y.regtrace", "--quiet").stderr == ""


def test_ingest_keeps_an_existing_capture_without_force(folder, tmp_path):
    target = tmp_path / "x.regtrace"
    assert invoke("ingest", folder / "demo.etl", "-o", target).exit_code == 0
    before = (target / "capture.json").read_bytes()
    assert invoke("ingest", folder / "lossy.etl", "-o", target).exit_code == 1
    assert (target / "capture.json").read_bytes() == before
    assert invoke("ingest", folder / "lossy.etl", "-o", target, "--force").exit_code == 0
    assert (target / "capture.json").read_bytes() != before


def test_ingest_names_the_capture_after_the_trace(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert invoke("ingest", folder / "demo.etl").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["demo.regtrace"]


@pytest.mark.slow
def test_losses_are_said_by_every_verb_that_meets_them(folder, tmp_path):
    for arguments in (
        ["ingest", folder / "lossy.etl", "-o", tmp_path / "x.regtrace"],
        ["info", folder / "lossy.etl"],
        ["info", folder / "lossy.regtrace"],
        ["timeline", folder / "lossy.regtrace"],
        ["keys", folder / "lossy.regtrace"],
        ["dump", folder / "lossy.etl"],
    ):
        assert "warning" in invoke(*arguments, "--quiet").stderr
    again = invoke("ingest", folder / "lossy.etl", "-o", tmp_path / "x.regtrace", "--force", "--fail-on-loss")
    assert again.exit_code == 4


@pytest.mark.slow
@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_the_demo_does_the_whole_job_and_finds_the_story(tmp_path, scenario):
    target = tmp_path / "demo"
    shown = invoke("demo", target, "--events", 3000, "--scenario", scenario)
    assert shown.exit_code == 0, shown.stderr
    for words in ("simulated", "regtrace ingest", "names: ", "exact", "losses", "Go on with:", "wrote"):
        assert words in shown.stderr
    found = {
        "installer": "Contoso", "persistence": "UserInitMprLogonScript", "slow-start": "Theme", "works": "OpenCount",
        "fails": "ReportViewer", "boot": "services.exe",
    }  # fmt: skip
    assert found[scenario] in shown.stdout
    assert pq.read_metadata(target / "timeline.parquet").num_rows
    assert {"demo.etl", "demo.truth.parquet", "demo.story.json", "demo.regtrace", "timeline.csv", "timeline.parquet"} <= {
        path.name for path in target.iterdir()
    }  # fmt: skip
    if scenario == "installer":
        assert (target / "undo.reg").exists()
        assert invoke("demo", target, "--events", 3000).exit_code == 1
        assert invoke("demo", target, "--events", 3000, "--force").exit_code == 0


@pytest.mark.slow
def test_the_demo_takes_a_folder_with_any_name(tmp_path):
    target = tmp_path / "a {capture} {0} {folder}"
    shown = invoke("demo", target, "--events", 1000, "--scenario", "works")
    assert shown.exit_code == 0, shown.stderr
    assert (target / "demo.regtrace").is_dir()


def test_the_demo_refuses_an_unknown_story(tmp_path):
    shown = invoke("demo", tmp_path / "demo", "--scenario", "instaler")
    assert shown.exit_code == 2
    assert "installer" in shown.stderr
    assert not (tmp_path / "demo").exists()


def test_progress_is_silent_where_nobody_looks(capsys):
    with ProgressLine("ingest") as line:
        line(Progress(1, 2, 3))
    assert capsys.readouterr().err == ""


def test_progress_is_one_line_that_is_wiped(monkeypatch, capsys):
    monkeypatch.setattr("cli.output.progress.is_terminal", lambda stream: True)
    with ProgressLine("ingest") as line:
        line(Progress(50_000_000, 100_000_000, 1_000_000))
        line(Progress(60_000_000, 100_000_000, 1_100_000))  # too soon to be drawn
    shown = capsys.readouterr().err
    assert shown.count("\r") == 2
    assert "[##########----------] 50 % 50.0 MB of 100.0 MB, 1,000,000 events" in shown
    assert shown.endswith("\r\x1b[K")
    assert line.events == 1_100_000


def test_progress_tells_size_rate_and_time():
    text = progress_text(Progress(2_000_000, 8_000_000, 3000), 2.0)
    assert text == "[#####---------------] 25 % 2.0 MB of 8.0 MB, 3,000 events, 1,500 events/s, 6.0 s left"
    begun = progress_text(Progress(100_000, 8_000_000, 3000), 2.0)
    assert begun == "[--------------------] 1 % 100.0 kB of 8.0 MB, 3,000 events, 1,500 events/s, 2.0 s"
    assert progress_text(Progress(5, 5, 3000), 2.0).endswith("events/s, finishing")
    assert progress_text(Progress(5, 0, 3000), 2.0) == "5 bytes, 3,000 events, 1,500 events/s, 2.0 s"
    assert (size_text(999), size_text(1000), size_text(999_999)) == ("999 bytes", "1.0 kB", "1.0 MB")
    assert duration_text(61) == "1 min 1 s"
