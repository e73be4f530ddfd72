"""`regtrace watch`: filters, lines, the table, Ctrl-C, and losses that are said."""

import json
import os
import signal
import tracemalloc
from datetime import UTC

import pyarrow as pa
import pytest
from fake_session import Script, install
from live_raw import event_record, raw_records
from typer.testing import CliRunner

from analysis.filters import Filters
from analysis.open import open_capture
from cli.app import app
from cli.exits import Exit
from cli.options.durations import parse_duration
from cli.tables.watch import WatchView
from tracer.errors import RegtraceError, SessionError, UsageError
from tracer.etl.logfile import FILETIME_EPOCH
from tracer.etl.providers import KERNEL_PROCESS, KERNEL_REGISTRY
from tracer.ingest.pipeline import ingest
from tracer.live.pipeline import LivePipeline
from tracer.live.row_filter import RowFilter
from tracer.live.watch import Watch, WatchStatus, watched_keywords
from tracer.rows.processes import ProcessRecord
from tracer.session.options import ALL_OPTIONS, NAMING_KEYWORDS, OPTION_NAMES, LogMode
from tracer.session.owners import owner_of
from tracer.simulate import SimulationOptions, simulate

HOSTILE = "evil\x1b[2J\u202egnp\n\x07\ud800" + "<U+0000>"


@pytest.fixture
def script(monkeypatch):
    return install(monkeypatch, Script())


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watch")
    simulate(
        folder / "a.etl",
        SimulationOptions(events=3000, option_word=7, hostile_names=0.1, nul_names=0.02),
        truth=False,
    )
    ingest([folder / "a.etl"], folder / "a.regtrace")
    raw, pipeline = list(raw_records(folder / "a.etl")), LivePipeline()
    live = pa.concat_tables([pipeline.push(raw), pipeline.flush()])
    with open_capture(folder / "a.regtrace") as capture:
        yield raw, live, capture


def run(*arguments: str):
    return CliRunner().invoke(app, ["watch", *arguments])


def set_value(
    name: str, number: int = 0, *, path: str = "\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor", status: int = 0
):
    data = (0x1000).to_bytes(8, "little") + status.to_bytes(4, "little") + (4).to_bytes(4, "little") * 2
    data += path.encode("utf-16-le") + b"\0\0" + name.encode("utf-16-le", "surrogatepass") + b"\0\0"
    data += (4).to_bytes(2, "little") + number.to_bytes(4, "little") + bytes(10)
    return event_record(
        provider=KERNEL_REGISTRY, id=5, pid=77, filetime=FILETIME_EPOCH + number * 10, data=data
    )


def lines(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"key": ["HKLM\\SOFTWARE"], "subtree": True},
        {"key": ["HKLM\\**\\Run*", "HKU\\*\\Software"]},
        {"operation": "write"},
        {"operation": "set,delete,close"},
        {"status": "error"},
        {"status": "success,0x80000005"},
        {"status": "NAME_NOT_FOUND"},
        {"process": "*.exe"},
        {"process": "*E*.EXE", "operation": "read"},
        {"process": "4"},
        {"value": "*Path*"},
        {"value": ""},
    ],
)
def test_filters_let_through_the_rows_that_a_timeline_shows(trace, words):
    _, everything, capture = trace
    rows = RowFilter(
        key=words.get("key"), subtree=words.get("subtree", False), status=words.get("status"),
        operation=words.get("operation"), value=words.get("value"),
        process=[words["process"]] if "process" in words else None,
    )  # fmt: skip
    live = rows.apply(everything)
    stored = capture.timeline_reader(Filters(**words)).read_all()
    unsure = ("later", "rundown", "partial", "none")  # what only later evidence names is not known live
    by_name = "key" in words
    expected = [
        number
        for number, source in zip(
            stored["sequence"].to_pylist(), stored["name_source"].to_pylist(), strict=True
        )
        if not by_name or source not in unsure
    ]
    found = [
        number
        for number, source in zip(live["sequence"].to_pylist(), live["name_source"].to_pylist(), strict=True)
        if not by_name or source not in unsure
    ]
    if "process" in words:  # a process that was described after its first rows
        assert set(found) <= set(expected)
        assert len(found) > 0.8 * len(expected)
    else:
        assert found == expected
    assert expected


@pytest.mark.parametrize(
    "words", [{"operation": "fly"}, {"status": "maybe"}, {"key": ["Nowhere\\x"]}, {"status": ""}]
)
def test_a_filter_that_means_nothing_is_said_before_anything_starts(words):
    with pytest.raises(UsageError):
        RowFilter(**words)


def test_an_image_path_is_compared_with_the_path():
    rows = pa.table(
        {
            "process": pa.array(["a.exe", "a.exe"]).dictionary_encode(),
            "image_path": pa.array(["\\Temp\\a.exe", None]).dictionary_encode(),
        }
    )
    assert RowFilter(process=["*\\a.exe"]).apply(rows).num_rows == 1


def test_keywords_follow_the_operations_and_names_are_always_asked_for():
    assert watched_keywords(("SetValueKey",)) == NAMING_KEYWORDS | 0x100
    assert watched_keywords(("LoadKey", "SetValueKey")) == 0  # has no keyword, so everything
    assert watched_keywords(None) & 0xFFF7 == 0xFFF7


def test_the_session_is_ours_real_time_and_asks_for_what_is_shown(script):
    result = run("--operation", "set", "--duration", "1s", "-f", "jsonl")
    assert result.exit_code == 0, result.output
    options = script.done[0][1]
    assert options.mode == LogMode.REAL_TIME
    assert (owner_of(options.name).verb, owner_of(options.name).pid) == ("watch", os.getpid())
    registry = next(
        step[1] for step in script.done if step[0] == "enable" and step[1].guid == KERNEL_REGISTRY
    )
    assert (registry.any_keywords, registry.option_word) == (NAMING_KEYWORDS | 0x100, ALL_OPTIONS)
    assert any(step[0] == "enable" and step[1].guid == KERNEL_PROCESS for step in script.done)
    assert [step[0] for step in script.done][-2:] == ["stop", "consumer stop"]


def test_without_data_the_provider_is_not_asked_for_any(script):
    run("--no-data", "--duration", "1s", "-f", "jsonl")
    words = [
        step[1].option_word for step in script.done if step[0] == "enable" and step[1].guid == KERNEL_REGISTRY
    ]
    assert words == [OPTION_NAMES]


def test_every_line_is_one_object_whatever_names_hold(script):
    names = [HOSTILE, '"quoted"\\', "a\nb", "=1+1", "Ünïcode", "\u2028", ""]
    script.batches = [[set_value(name, number) for number, name in enumerate(names)]]
    result = run("--duration", "2s", "-f", "jsonl")
    rows = lines(result)
    assert result.exit_code == 0
    assert len(rows) == len(names)
    assert all(line.isprintable() for line in result.stdout.splitlines())
    assert rows[1]["value_name"] == '"quoted"\\'
    assert rows[6]["value_name"] == ""
    assert rows[0]["value_name"].startswith("evil\x1b[2J\u202egnp\n\x07<U+D800>")
    assert {"key", "display_key", "status_name", "pid", "tid", "data", "name_source"} <= set(rows[0])
    assert rows[2]["data"] == "02000000"


def test_rows_are_written_when_they_come_not_at_the_end(script, monkeypatch):
    seen = []
    script.batches = [[set_value("a", 1)], *[[]] * 40, lambda: seen.append(written()) or []]

    class Stream:
        def __init__(self):
            self.data, self.flushed = b"", b""

        def write(self, data):
            self.data += data

        def flush(self):
            self.flushed = self.data

    stream = Stream()

    def written():
        return stream.flushed

    monkeypatch.setattr("cli.output.files.binary_stdout", lambda: stream)
    assert run("--duration", "9s", "-f", "jsonl").exit_code == 0
    assert b'"value_name":"a"' in seen[0]


def test_ctrl_c_ends_cleanly_with_what_was_on_its_way(script):
    script.batches = [
        [set_value("first", 1)],
        lambda: signal.raise_signal(signal.SIGINT) or [set_value("second", 2)],
    ]
    script.after_stop = [[set_value("third", 3)]]
    result = run("-f", "jsonl")
    assert result.exit_code == Exit.INTERRUPTED
    assert [row["value_name"] for row in lines(result)] == ["first", "second", "third"]
    assert not script.running
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_gives_up_the_rest_but_stops_the_session(script):
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    script.batches = [twice]
    assert run("-f", "jsonl").exit_code == Exit.INTERRUPTED
    assert not script.running


def test_a_loss_is_said_at_the_end_and_in_the_exit_code_where_asked(script):
    def lose():
        script.lost, script.lost_buffers, script.dropped = 5, 2, 1
        script.now += 2
        return []

    script.batches = [lose]
    result = run("--duration", "4s", "-f", "jsonl", "--fail-on-loss")
    assert result.exit_code == Exit.LOSS
    assert "lost 5 events, 2 whole buffers, 1 event for which our queue had no room" in result.stderr


def test_names_from_before_a_loss_are_flagged(script):
    def lose():
        script.lost = 1
        script.now += 2
        return []

    late = event_record(
        provider=KERNEL_REGISTRY, id=12, filetime=FILETIME_EPOCH + 100_000_000,
        data=(0x1000).to_bytes(8, "little") + bytes(6),
    )  # fmt: skip
    script.batches = [[set_value("a", 1)], lose, [late]]
    rows = lines(run("--duration", "15s", "-f", "jsonl"))
    assert [(row["operation"], row["flags"] & 16) for row in rows] == [("SetValueKey", 0), ("FlushKey", 16)]


def test_somebody_elses_stop_is_an_error_that_says_so(script):
    script.batches = [[set_value("a", 1)], lambda: None]
    script.stopped_by_other = True
    result = run("-f", "jsonl")
    assert result.exit_code == Exit.ERROR
    assert "another program stopped the session" in result.stderr
    assert [row["value_name"] for row in lines(result)] == ["a"]


@pytest.mark.parametrize("step", ["start", "consume", "enable", "counters"])
def test_a_failure_at_the_start_leaves_no_session(script, step):
    script.fails = {step: SessionError(f"the {step} was refused")}
    result = run("-f", "jsonl")
    assert result.exit_code == Exit.ERROR
    assert f"the {step} was refused" in result.stderr
    assert "Traceback" not in result.stderr
    assert ("stop",) in script.done
    assert not script.running


def test_what_cannot_be_looked_up_is_a_warning(script, monkeypatch):
    from tracer.windows import handle_table

    def refuse():
        raise RegtraceError("the system refuses")

    monkeypatch.setattr(handle_table, "read_handle_table", refuse)
    result = run("--duration", "1s", "-f", "jsonl")
    assert result.exit_code == 0
    assert "keys that were open before are not named: the system refuses" in result.stderr


def test_elsewhere_than_on_windows_one_sentence_says_so(monkeypatch):
    monkeypatch.setattr("tracer.session.session.is_supported", lambda: False)
    result = run("-f", "jsonl")
    assert result.exit_code == Exit.PLATFORM
    assert "needs Windows" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_table_needs_a_terminal(script):
    result = run("-f", "table")
    assert result.exit_code == Exit.USAGE
    assert "needs a terminal" in result.stderr


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("5m", 300), ("1h30m", 5400), ("2 min", 120)]
)
def test_a_length_of_time_is_read_as_people_write_it(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5s", "5 parsecs", "1h30", "9999d", "1e3", "\u0665s"])
def test_what_is_no_length_of_time_is_refused(text):
    with pytest.raises(UsageError):
        parse_duration(text)


def status(**more) -> WatchStatus:
    values = {"seconds": 12.0, "received": 1300, "events": 1234, "shown": 12, "rate": 98_765.4, "buffers": (3, 64), "waiting": 5,
              "filtered": 1222, "other": 61, "undecoded": 0, "unread": 0, "queue_bytes": None, "lost": 0, "lost_buffers": 0, "dropped": 0, "late": 0}  # fmt: skip
    return WatchStatus(**{**values, **more})


def picture(width: int, raw, *, height: int = 20, **more) -> str:
    import io

    from rich.console import Console

    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=True, markup=False, highlight=False
    )
    pipeline = LivePipeline()
    view = WatchView(UTC, console=console, clock=lambda: 0.0)
    view.show(pa.concat_tables([pipeline.push(raw), pipeline.flush()]), status(**more))
    return view.picture(status(**more)).plain


@pytest.mark.parametrize("width", [40, 72, 80, 92, 109, 110, 120, 140, 200])
def test_no_line_is_wider_than_the_terminal_and_nothing_in_it_is_a_control(trace, width):
    raw, *_ = trace
    shown = picture(width, raw).splitlines()
    assert len(shown) <= 19
    assert all(len(line) <= width and line.isprintable() for line in shown)


def test_the_table_shows_the_newest_rows_and_how_it_goes():
    shown = picture(120, [set_value(f"v{number}", number) for number in range(100)])
    assert "98,765/s" in shown
    assert "1,234 operations" in shown
    assert "12 shown" in shown
    assert "lost 0" in shown
    assert "HKLM\\SOFTWARE\\Vendor : v99" in shown
    assert "v80" not in shown
    assert "99 (0x63)" in shown


def test_rows_that_came_too_many_at_once_for_the_screen_are_not_said_to_have_been_on_it():
    import io

    from rich.console import Console

    console = Console(file=io.StringIO(), width=100, height=25, force_terminal=True)
    view = WatchView(UTC, console=console, clock=iter(range(100)).__next__)
    pipeline = LivePipeline()
    with view:
        for first, count in ((0, 100), (100, 7)):
            raw = [set_value(f"v{number}", number) for number in range(first, first + count)]
            view.show(pa.concat_tables([pipeline.push(raw), pipeline.flush()]), status())
    assert view.drawn == 20 + 7


def test_hostile_names_cannot_reach_the_terminal():
    shown = picture(200, [set_value("\x1b[2J\u202e", 1)])
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\\u{1B}[2J\\u{202E}" in shown
    assert picture(200, [set_value("[bold]x", 1)]).count("[bold]x") == 1


def test_a_loss_stays_visible_in_the_narrowest_terminal():
    assert "lost 7 + 2 buffers" in picture(40, [], lost=4, dropped=3, lost_buffers=2)


def test_a_loss_is_red():
    from rich.text import Text

    view = WatchView(UTC)
    line: Text = view.picture(status(lost=1))
    assert any(
        line.plain[span.start : span.end] == "lost 1" and "red" in str(span.style) for span in line.spans
    )


def test_an_empty_watch_says_that_nothing_came_yet():
    assert "nothing yet" in picture(80, [], events=0, shown=0)
    assert "nothing that fits the filters yet" in picture(80, [], events=9, shown=0)


@pytest.mark.slow
def test_a_hundred_thousand_events_a_second_in_flat_memory(monkeypatch):
    """A second of event time in thirty pieces; the whole run is benchmarks/watch.py."""
    total, piece = 99_000, 3_300
    batch = [
        set_value(f"v{number % 50}", number, path=f"\\REGISTRY\\MACHINE\\Key{number % 997}")
        for number in range(piece)
    ]
    stamp = 0x10

    def at(turn: int):
        def make():
            return [
                (head[:stamp] + (FILETIME_EPOCH + turn * 330_000 + place * 100).to_bytes(8, "little") + head[stamp + 8 :], data, items)
                for place, (head, data, items) in enumerate(batch)
            ]  # fmt: skip

        return make

    script = install(monkeypatch, Script(batches=[at(turn) for turn in range(total // piece)], tick=0.033))
    seen, sizes = 0, []
    tracemalloc.start()
    try:
        with Watch(RowFilter(), clock=lambda: script.now) as running:
            for rows in running.batches():
                seen += rows.num_rows
                sizes.append(tracemalloc.get_traced_memory()[0])
                if not script.batches and not running.status().waiting:
                    break
            seen += sum(rows.num_rows for rows in running.finish())
            standing = running.status()
    finally:
        tracemalloc.stop()
    assert seen == total
    assert not standing.is_lossy
    assert max(sizes[len(sizes) // 2 :]) < 1.3 * max(sizes[3 : len(sizes) // 2])


def test_a_tree_shows_its_rows_and_says_what_is_not_known(script, monkeypatch):
    running = [
        ProcessRecord("rundown", "snapshot", 0, 77, 40, "setup.exe", start_ns=1),
        ProcessRecord("rundown", "snapshot", 0, 78, 41, "other.exe", start_ns=2),
    ]
    monkeypatch.setattr("tracer.windows.process_snapshot.snapshot_processes", lambda: running)
    script.batches = [[set_value("a", 1)]]  # by process 77
    result = run("--tree", "setup", "--duration", "2s", "-f", "jsonl")
    assert [row["value_name"] for row in lines(result)] == ["a"]
    assert "may belong" not in result.stderr
    script.batches = [[set_value("a", 1)]]
    result = run("--tree", "other.exe", "--duration", "2s", "-f", "jsonl")
    assert (lines(result), result.exit_code) == ([], 0)
    assert "1 process left out may belong to the tree of other.exe" in " ".join(result.stderr.split())
