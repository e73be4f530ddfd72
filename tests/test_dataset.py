"""Several captures as one dataset: its answers are those of each capture, put together, with the host joined on."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from dataset_questions import NOT_ASKED, QUESTIONS
from small_capture import BIG, SID, joined_rows, write_capture
from typer.testing import CliRunner

import regtrace as rt
from analysis.capture import Dataset, Questions
from analysis.engine.columns import IDS, KINDS, LABELS, kind_of_id
from cli.app import app
from tracer.errors import CaptureError, RegtraceError, UsageError
from tracer.ingest.pipeline import ingest
from tracer.schema import TABLES
from tracer.simulate import SimulationOptions, simulate
from tracer.store.manifest import Manifest

VENDOR = r"HKLM\SOFTWARE\Vendor"
SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"


def change(capture: Path, **changes: object) -> Path:
    """Change what a capture says of itself."""
    manifest = Manifest.load(capture)
    values = json.loads((capture / "capture.json").read_text())
    for name, value in changes.items():
        assert hasattr(manifest, name)
        values[name] = value
    (capture / "capture.json").write_text(json.dumps(values))
    return capture


def recorded_on(name: str) -> dict[str, object]:
    return {"settings": {"recording": {"host": {"name": name}}}}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three captures: two simulated ones of different seeds, and the small one, whose control set differs."""
    folder = tmp_path_factory.mktemp("fleet")
    for seed, name in enumerate(("a", "b")):
        trace = folder / f"{name}.etl"
        simulate(trace, SimulationOptions(events=400, seed=seed, lost_events=0.02 * seed), truth=False)
        ingest([trace], folder / f"{name}.regtrace")
    small = write_capture(folder / "inner" / "c.regtrace")
    change(small, **recorded_on("DESKTOP-C"), control_set=2)
    return folder


@pytest.fixture(scope="module")
def dataset(fleet: Path) -> Iterator[Dataset]:
    with rt.open(fleet, memory_limit="1GB", threads=2) as opened:
        assert isinstance(opened, Dataset)
        yield opened


@pytest.fixture(scope="module")
def apart(fleet: Path) -> Iterator[dict[str, rt.Capture]]:
    paths = {"b": fleet / "b.regtrace", "DESKTOP-C": fleet / "inner" / "c.regtrace"}
    captures = {host: rt.open(path, memory_limit="1GB", threads=2) for host, path in paths.items()}
    yield captures
    for capture in captures.values():
        capture.close()


@pytest.fixture(scope="module")
def together(apart: dict[str, rt.Capture]) -> Iterator[rt.Capture]:
    with rt.open([capture.path for capture in apart.values()], memory_limit="1GB", threads=2) as opened:
        yield opened


def comparable(frame: pd.DataFrame) -> list[list[str]]:
    """Return the rows as text, in order; ids are left out, for a dataset's are its own."""
    columns = [name for name in frame.columns if kind_of_id(name) is None and name not in LABELS]
    return [[str(value) for value in row] for row in frame[columns].itertuples(index=False)]


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_an_answer_is_that_of_each_capture_put_together(name, together, apart):
    ask = QUESTIONS[name]
    whole = ask(together)
    assert len(whole)
    assert set(whole["host"]) <= set(apart)
    for host, capture in apart.items():
        own = ask(capture)
        assert list(whole.columns) == [*LABELS, *own.columns]
        assert comparable(whole[whole["host"] == host]) == comparable(own)


def test_every_question_of_a_capture_is_asked_of_a_dataset_here():
    named = {name.partition(" ")[0] for name in QUESTIONS} | NOT_ASKED.keys()
    assert {name for name in vars(Questions) if not name.startswith("_")} == named


def test_every_integer_that_names_something_in_a_capture_is_an_id():
    others = {"event_id", "session_id", "thread_id", "parent_pid", "pid"}
    for table in TABLES.values():
        for column in table.columns:
            looks = column.name.endswith(("_id", "sequence")) or column.name == "same_as"
            assert (column.name in IDS[table.name]) == (looks and column.name not in others), column
    assert IDS["processes"]["parent_id"] == "process_id"
    assert IDS["keys"] == dict.fromkeys(("key_id", "parent_id", "same_as"), "key_id")


def test_no_two_captures_share_an_id(dataset):
    for name, columns in IDS.items():
        rows = dataset.sql(f"SELECT * FROM {'stored_events' if name == 'events' else name}")
        for column, kind in columns.items():
            ranges = rows.dropna(subset=[column]).groupby("capture")[column].agg(["min", "max"])
            ranges = ranges.sort_values("min")
            assert (ranges["max"].iloc[:-1].to_numpy() < ranges["min"].iloc[1:].to_numpy()).all(), (
                name,
                column,
            )
            first = dict(
                zip(dataset.captures["capture"], [m.first[kind] for m in dataset.members], strict=True)
            )
            assert all(first[capture] <= low for capture, low in ranges["min"].items())
    assert dataset.sql("SELECT sequence FROM events")["sequence"].is_unique


def test_ids_lead_to_rows_of_the_same_host(dataset):
    for name, kind in (("keys", "key_id"), ("processes", "process_id"), ("handles", "handle_id")):
        astray = dataset.sql(
            f"SELECT count(*) AS n FROM stored_events AS e JOIN {name} AS o USING ({kind}) WHERE e.host <> o.host"
        )
        found = dataset.sql(f"SELECT count(*) AS n FROM stored_events JOIN {name} USING ({kind})")
        assert int(astray["n"][0]) == 0
        assert int(found["n"][0]) > 0
    parents = "SELECT count(*) AS n FROM keys AS k JOIN keys AS p ON k.parent_id = p.key_id"
    assert int(dataset.sql(f"{parents} WHERE k.capture <> p.capture")["n"][0]) == 0
    assert int(dataset.sql(parents)["n"][0]) > 0


def test_events_stand_capture_after_capture(dataset):
    frame = dataset.timeline()
    assert list(frame.columns[:3]) == ["host", "capture", "time"]
    assert frame["sequence"].is_monotonic_increasing
    assert list(frame["host"].unique()) == ["a", "b", "DESKTOP-C"]
    assert list(frame["capture"].unique()) == ["a", "b", "c"]
    assert len(frame) == dataset.captures["events"].sum()


def test_the_host_is_a_column_like_any_other(dataset):
    only = dataset.timeline(where="host = 'DESKTOP-C' AND tid IS NOT NULL", columns=["operation", "host"])
    assert list(only.columns) == ["operation", "host"]
    assert set(only["host"]) == {"DESKTOP-C"}
    assert len(only) == sum(row["tid"] is not None for row in joined_rows())
    both = dataset.timeline(VENDOR, subtree=True, where="capture = 'c'")
    assert len(both) == len(dataset.timeline(VENDOR, subtree=True)[lambda f: f["capture"] == "c"]) > 0
    counted = dataset.sql("SELECT host, count(*) AS rows FROM events GROUP BY ALL")
    assert dict(zip(counted["host"], counted["rows"], strict=True))["DESKTOP-C"] == len(joined_rows())
    assert "host" in dataset.events.columns
    assert "host" not in dataset.tables["keys"].columns


@pytest.mark.parametrize("columns", [["time"], ["capture", "value_name"], ["key_id", "host"]])
def test_columns_are_those_that_were_asked_for(dataset, columns):
    frame = dataset.timeline(VENDOR, columns=columns)
    assert [name for name in frame.columns if name in columns] == columns


def test_the_current_control_set_is_each_captures_own(dataset, apart):
    found = dataset.timeline(SERVICES)
    assert set(found[found["host"] == "DESKTOP-C"]["key_id"]) == {
        int(key) + dataset.members[2].first["key_id"]
        for key in apart["DESKTOP-C"].timeline(SERVICES)["key_id"]
    }
    assert dataset.context.has_key(SERVICES)
    assert not dataset.context.has_key(r"HKLM\No\Such")


def test_a_key_is_looked_for_in_the_captures_that_have_it_and_near_it(dataset):
    def helpers(*keys: str) -> str:
        before = set(dataset.context.engine._helpers)
        dataset.timeline(list(keys))
        made = dataset.context.engine._helpers.keys() - before
        return " ".join(text for _, text in made if "read_parquet" in text)

    one = helpers(rf"HKU\{SID}\Software\Run")  # of the small capture only
    assert "c.regtrace" in one
    assert "a.regtrace" not in one
    assert "own.key_id = 8" in one
    several = helpers(rf"HKU\{SID}\Software\Run", rf"HKU\{SID}\Software\Classes\.txt")
    assert "BETWEEN 8 AND 9 AND own.key_id IN (8, 9)" in several
    many = helpers("HKLM\\**")
    assert many.count("BETWEEN") == 3
    assert " IN (" not in many


def test_the_engine_plans_by_the_rows_that_the_manifests_tell(dataset):
    """A scan begins with a form without rows: by its rows an engine would hold all events in memory, to find a few of them."""
    for table, count in (("stored_events", "events"), ("keys", "keys")):
        explained = dataset.context.engine.con.execute(f"EXPLAIN (FORMAT json) FROM {table}").fetchall()
        plan = json.loads(explained[0][1])[0]
        said = sum(member.manifest.totals[count] for member in dataset.context.members)
        assert int(plan["extra_info"]["Estimated Cardinality"]) == said


def test_losses_and_oddities_name_their_host(dataset):
    losses = dataset.sql("SELECT host, count FROM losses")
    assert BIG in list(losses[losses["host"] == "DESKTOP-C"]["count"])
    assert set(losses["host"]) == {"b", "DESKTOP-C"}
    assert {"host", "name"} <= set(dataset.sql("SELECT * FROM diagnostics").columns)
    assert dataset.info()["losses"][0]["host"]
    assert [one["capture"] for one in dataset.info()["captures"]] == ["a", "b", "c"]
    assert not dataset.manifest.complete
    assert dataset.timeline(VENDOR).attrs["doubts"]


def test_the_card_lists_the_captures(dataset):
    assert repr(dataset).startswith(f"<Dataset {dataset.path.name}: 3 hosts: a, b, DESKTOP-C; ")
    page = dataset._repr_html_()
    assert page.count("<tr>") > 6
    assert all(f">{name}</td>" in page for name in ("a", "b", "DESKTOP-C", "c"))
    assert "<b>boot" not in page


def test_settings_of_the_engine_are_passed_on(fleet):
    with rt.open([fleet / "a.regtrace", fleet / "b.regtrace"], memory_limit="300MB", threads=1) as opened:
        settings = opened.backend.con.execute(
            "SELECT current_setting('threads'), current_setting('memory_limit')"
        )
        threads, memory = settings.fetchone() or (None, None)
        assert int(threads) == 1
        assert memory.startswith("286")
        assert opened.path.name == "2 captures"
    with pytest.raises(CaptureError, match="closed"):
        opened.timeline()
    with pytest.raises(UsageError, match="memory_limit"):
        rt.open([fleet / "a.regtrace"], memory_limit="a lot")


def test_replay_takes_a_dataset_one_capture_after_the_other(fleet, dataset):
    from analysis.replay import replay

    alone = [len(list(replay(path))) for path, _ in dataset.context.stores]
    assert len(list(replay(dataset))) == len(list(replay(fleet))) == sum(alone)


# Which captures, and what they are called.


def test_hosts_may_be_named(fleet):
    with rt.open({"left": fleet / "a.regtrace", "=cmd|'": fleet / "inner"}) as opened:
        assert list(opened.captures["host"]) == ["left", "=cmd|'"]
        assert list(opened.captures["capture"]) == ["a", "c"]
        assert set(opened.keys()["host"]) == {"left", "=cmd|'"}


def test_captures_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for host in ("one", "two"):
        write_capture(tmp_path / host / "boot.regtrace")
    with rt.open(tmp_path) as opened:
        assert list(opened.captures["capture"]) == ["one/boot", "two/boot"]


@pytest.mark.slow
def test_captures_of_one_host_keep_their_own_names(tmp_path):
    for name in ("before", "after"):
        change(write_capture(tmp_path / f"{name}.regtrace"), **recorded_on("PC"))
    with rt.open(tmp_path) as opened:
        assert list(opened.captures["host"]) == ["PC", "PC"]
        assert list(opened.keys(under=VENDOR)["capture"].unique()) == ["after", "before"]
    shown = CliRunner().invoke(app, ["timeline", str(tmp_path), "--key", VENDOR], prog_name="regtrace")
    assert "\tbefore\t" in shown.stdout


@pytest.mark.slow
def test_hostile_names_are_only_names(tmp_path):
    odd = "it's [x]*?; DROP TABLE keys --\x1b[31m<b>\u202e host=1"
    write_capture(tmp_path / f"{odd}.regtrace")
    change(write_capture(tmp_path / "b.regtrace"), **recorded_on("nul\0 \ud800 <script>"))
    with rt.open(tmp_path) as opened:
        hosts = set(opened.timeline(VENDOR)["host"])
        assert hosts == {odd, "nul<U+0000> <U+D800> <script>"}
        assert "<script>" not in opened._repr_html_()
        assert "\x1b" not in opened._repr_html_() + repr(opened)
    shown = CliRunner().invoke(app, ["timeline", str(tmp_path), "--key", VENDOR], prog_name="regtrace")
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout


def test_leftovers_of_a_writer_and_other_folders_are_no_captures(tmp_path):
    write_capture(tmp_path / "a.regtrace")
    for name in ("b.regtrace.partial", ".hidden.regtrace", "notes"):
        (tmp_path / name).mkdir()
    shutil.copytree(tmp_path / "a.regtrace", tmp_path / "c.regtrace.replaced")
    with rt.open(tmp_path) as opened:
        assert list(opened.captures["capture"]) == ["a"]


@pytest.mark.slow
def test_captures_without_events_have_no_rows(tmp_path):
    write_capture(tmp_path / "a.regtrace", events=0)
    write_capture(tmp_path / "b.regtrace", events=0)
    with rt.open(tmp_path) as opened:
        assert len(opened.timeline()) == len(opened.timeline(VENDOR)) == 0
        assert opened.span() is None
    write_capture(tmp_path / "c.regtrace")
    with rt.open(tmp_path) as opened:
        assert set(opened.timeline(VENDOR)["host"]) == {"c"}
        assert opened.keys()["host"].notna().all()


# How it fails.


def test_a_capture_that_is_named_twice_is_a_mistake(fleet):
    same = fleet / "inner" / ".." / "a.regtrace"
    with pytest.raises(UsageError, match="given twice"):
        rt.open([fleet / "a.regtrace", same])
    with pytest.raises(UsageError, match="given twice"):
        rt.open({"a": fleet, "b": fleet / "b.regtrace"})


@pytest.mark.parametrize("nothing", [[], {}, ()])
def test_nothing_is_no_dataset(nothing):
    with pytest.raises(UsageError, match="no capture given"):
        rt.open(nothing)


def test_a_folder_without_captures_is_none(tmp_path):
    (tmp_path / "notes").mkdir()
    for captures in (tmp_path, [tmp_path], tmp_path / "notes"):
        with pytest.raises(CaptureError, match=r"capture\.json"):
            rt.open(captures)


@pytest.mark.parametrize("damage", ["manifest", "part", "version"])
def test_the_capture_that_is_damaged_is_named(tmp_path, damage):
    write_capture(tmp_path / "good.regtrace")
    bad = write_capture(tmp_path / "bad.regtrace")
    if damage == "manifest":
        (bad / "capture.json").unlink()
    elif damage == "part":
        (bad / "keys.parquet").write_bytes(b"PAR1")
    else:
        change(bad, format_version=99)
    with pytest.raises(CaptureError, match=r"bad\.regtrace"):
        rt.open(tmp_path)
    shown = CliRunner().invoke(app, ["keys", str(tmp_path)], prog_name="regtrace")
    assert shown.exit_code != 0
    assert "bad.regtrace" in " ".join(shown.stderr.split())
    assert "Traceback" not in shown.stderr


def test_ids_that_leave_no_room_are_refused(tmp_path, monkeypatch):
    for name in ("a", "b"):
        write_capture(tmp_path / f"{name}.regtrace")
    large = dict.fromkeys(KINDS, 2**62)
    monkeypatch.setattr("analysis.dataset.scans.largest_ids", lambda members, *_: [large] * len(members))
    with pytest.raises(RegtraceError, match="too large"):
        rt.open(tmp_path)


# On the command line.


@pytest.mark.slow
def test_verbs_take_a_folder_of_captures(fleet):
    shown = CliRunner().invoke(
        app, ["timeline", str(fleet), "--key", VENDOR, "-f", "csv"], prog_name="regtrace"
    )
    assert shown.exit_code == 0
    assert shown.stdout.startswith("host,capture,sequence,")
    shown = CliRunner().invoke(app, ["keys", str(fleet), "-u", r"HKLM\No\Such"], prog_name="regtrace")
    assert shown.exit_code == 2
    assert "nothing in" in shown.stderr
    shown = CliRunner().invoke(app, ["info", str(fleet)], prog_name="regtrace")
    assert shown.exit_code == 0
    assert all(name in shown.stdout for name in ("DESKTOP-C", "a.regtrace", "b.regtrace"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "timeline", "keys", "who FOLDER HKLM --subtree", "hot", "hot FOLDER --by process", "tree", "errors",
        "handles", "handles FOLDER --by key", "state", "changes", "history FOLDER HKLM --subtree",
    ],
)  # fmt: skip
def test_tables_of_a_dataset_have_the_host(fleet, words):
    verb, *more = words.replace("FOLDER", str(fleet)).split()
    shown = CliRunner().invoke(app, [verb, *(more or [str(fleet)])], prog_name="regtrace")
    assert shown.exit_code == 0
    title, *lines = shown.stdout.splitlines()
    assert "host" in title.split()
    assert any(host in line.split() for line in lines for host in ("a", "b", "DESKTOP-C"))
