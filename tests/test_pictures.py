"""Pictures: they count what is there, hold nothing that acts, and fail kindly."""

import base64
import hashlib
import importlib
import io
import json
import re
import shlex
import struct
import sys
import zlib
from collections import Counter
from pathlib import Path

import pytest
from busy_capture import busy_capture
from small_capture import HOSTILE, joined_rows, write_capture
from typer.testing import CliRunner

pytest.importorskip("altair", reason="pictures need the extra plots")
pytest.importorskip("vl_convert", reason="pictures need the extra plots")

from analysis.charts.figures import PICTURES
from analysis.charts.operations import Operations
from analysis.charts.parts import moment_text
from analysis.charts.picture import Picture
from analysis.charts.safe_page import harmless
from analysis.charts.tree import plant
from analysis.charts.values import stretches
from analysis.filters import Filters
from analysis.open import open_capture
from cli.app import VERBS, Verb, app
from cli.commands.plot import Kind
from tracer.errors import RegtraceError, UsageError

RUN = "HKLM\\SOFTWARE\\Vendor\\Run"


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    with open_capture(write_capture(tmp_path_factory.mktemp("pictures") / "small.regtrace")) as opened:
        yield opened


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    with busy_capture(tmp_path_factory.mktemp("pictures"), events=4000) as opened:
        yield opened


def drawn(picture: Picture, column: str) -> list[dict]:
    """Return the marks that have a column."""
    spec = picture.spec()
    sets = list(spec["datasets"].values())
    return next(values for values in sets if values and column in values[0])


def test_a_timeline_has_one_mark_for_each_operation_and_a_cross_for_each_failure(capture):
    picture = PICTURES["timeline"](capture, Filters(key=RUN))
    rows = [row for row in joined_rows() if row["same_as"] == 3]
    marks = drawn(picture, "result")
    assert picture.rows == len(marks) == len(rows) > 3
    assert [mark["operation"] for mark in marks] == [row["operation"] for row in rows]
    failures = capture.timeline(RUN, status="error")
    assert sum(mark["result"] == "failed" for mark in marks) == len(failures) > 0


@pytest.mark.slow
def test_a_timeline_of_many_operations_counts_each_one_over_the_whole_time(busy):
    times = busy.timeline_reader(Filters(), columns=["time_ns"]).read_all()["time_ns"].to_pylist()
    picture = PICTURES["timeline"](busy, Filters(noise=True), limit=100)
    bins = drawn(picture, "low")
    assert sum(each["events"] for each in bins) == picture.rows == len(times)
    assert sum(each["failures"] for each in bins) == len(busy.timeline(status="error"))
    zero = busy.span()[0]
    first, last = ((time - zero) / 1e6 for time in (times[0], times[-1]))
    assert min(each["from"] for each in bins) <= first < min(each["to"] for each in bins)
    assert max(each["from"] for each in bins) <= last <= max(each["to"] for each in bins)
    assert any(f"{len(times):,} operations are counted" in note for note in picture.notes)
    every = PICTURES["timeline"](busy, Filters(noise=True), limit=10**6)
    assert len(drawn(every, "result")) == every.rows == len(times)


def test_rows_and_counts_of_a_page_are_every_operation_once(busy):
    filters = Filters(operation="read,open,close")
    wanted = busy.timeline(operation="read,open,close")
    for most in (0, 1, 300, 2000, 10**6):
        some = Operations.of(busy, filters, most=most)
        assert len(some.rows) <= most
        assert len(some.rows) + some.counted == some.total == len(wanted)
        rows = wanted.set_index("sequence").loc[[row["sequence"] for row in some.rows]]
        rest = wanted[~wanted["sequence"].isin(rows.index)]
        place = (rest["time_ns"] - some.first_ns) // some.width_ns
        counted = rest.groupby([place, rest["process_id"]]).size().to_dict()
        sums = Counter()
        for cell in some.cells:
            sums[cell.place, cell.process_id] += cell.events
        assert sums == counted


def test_keys_of_the_one_user_are_spelled_as_in_tables_and_it_is_said_whose_they_are(capture):
    picture = PICTURES["timeline"](capture, Filters(key="HKCU", subtree=True))
    keys = {mark["key"] for mark in drawn(picture, "result")}
    assert keys
    assert all(key.startswith("HKCU\\") for key in keys)
    assert picture.page.rows["texts"]["key"]["names"] == list(
        dict.fromkeys(mark["key"] for mark in drawn(picture, "result"))
    )
    assert [note for note in picture.page.notes if note.startswith("HKCU is that of S-1-5-21-1-2-3-1001")]
    others = PICTURES["timeline"](capture, Filters(key=RUN))
    assert not [note for note in others.page.notes if "HKCU" in note]


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked", [{}, {"process": "notepad", "where": "tid > 5", "key": r"HKLM\**"}, {"operation": "read"}]
)
def test_the_command_of_a_page_lists_the_operations_of_its_picture(busy, asked):
    page = PICTURES["timeline"](busy, Filters(**asked))
    words = shlex.split(page.page.command)[1:]
    words[1] = str(busy.path)
    result = CliRunner().invoke(app, [*words, "--format", "jsonl"], prog_name="regtrace")
    assert len(result.stdout.splitlines()) == page.rows


def test_values_written_often_are_right_at_the_end_of_each_stretch_to_the_last(busy):
    shown = PICTURES["values"](busy, limit=20)
    every = PICTURES["values"](busy, limit=10**6)
    assert shown.rows < every.rows
    assert any("the last one of each value in each of 20 stretches" in note for note in shown.notes)
    writes = busy.timeline(operation="set,delete", status="success")
    latest = writes.groupby([writes["key"].str.upper(), writes["value_name"].str.upper()])["time_ns"].max()
    assert len(latest) <= shown.rows
    assert drawn(shown, "data")


@pytest.mark.slow
def test_a_title_names_every_filter(busy):
    asked = {
        "key": r"HKLM\**",
        "process": "*.exe",
        "operation": "set,delete",
        "status": "success",
        "start": "+0ms",
        "end": "+900ms",
        "where": "data_size < 100",
        "value": "*",
    }
    for kind, draw in PICTURES.items():
        title = " ".join(draw(busy, Filters(**asked)).spec()["title"]["text"])
        assert [text for text in asked.values() if text not in title] == [], (kind, title)
    below = PICTURES["activity"](busy, Filters(key="HKLM", subtree=True, pid=[4, 8]))
    below = " ".join(below.spec()["title"]["text"])
    assert "HKLM and below" in below
    assert "by pid 4, 8" in below


@pytest.mark.slow
def test_pictures_of_one_capture_count_from_one_moment(busy):
    first = busy.span()[0]
    for kind in ("timeline", "activity", "handles", "values"):
        for filters in (Filters(), Filters(start="+100ms")):
            text = json.dumps(PICTURES[kind](busy, filters).spec())
            assert f"after {moment_text(first)}" in text
    late = drawn(PICTURES["timeline"](busy, Filters(start="+100ms"), limit=10**6), "result")
    assert min(mark["at"] for mark in late) >= 100


def test_a_value_of_no_bytes_is_empty_and_not_uncaptured():
    row = {"display_key": "HKLM\\A", "value_name": "v", "operation": "SetValueKey", "process": "a.exe", "pid": 4,
           "time_ns": 5, "data_type": 1, "data_size": 0, "data": None,
           "previous_type": 3, "previous_size": 0, "previous_data": None}  # fmt: skip
    before, after = stretches([row])
    assert (before["text"], after["text"]) == ("[empty]", "[empty]")
    unknown = row | {"data_size": 9, "previous_type": None, "previous_size": None}
    assert [life["text"] for life in stretches([unknown])] == ["[9 bytes, not captured]"]


def test_the_values_of_two_users_are_told_apart():
    row = {"value_name": "v", "operation": "SetValueKey", "process": "a.exe", "pid": 4, "time_ns": 5, "data_type": 4,
           "data_size": 4, "data": bytes(4), "previous_type": None, "previous_size": None, "previous_data": None}  # fmt: skip
    below = r"Software\Microsoft\Windows\CurrentVersion\Explorer\Advanced"
    users = ["S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002", "S-1-5-21-1-2-3-1002_Classes", ".DEFAULT"]
    called = [
        life["called"]
        for life in stretches([row | {"display_key": rf"HKU\{user}\{below}"} for user in users])
    ]
    assert len(set(called)) == len(users)
    assert [next(user for user in ("1001", "1002_Classes", "1002", "…") if user in name) for name in called] == [
        "1001", "1002", "1002_Classes", "…",
    ]  # fmt: skip


def test_activity_counts_every_operation_once(busy):
    picture = PICTURES["activity"](busy, Filters(noise=True))
    bars = drawn(picture, "low")
    counted = busy.sql("SELECT count(*) AS events FROM events")["events"].iloc[0]
    assert sum(bar["events"] for bar in bars) == picture.rows == counted
    tops = {}
    for bar in bars:  # each bar stands on the one before it
        assert bar["low"] == tops.get(bar["from"], 0)
        tops[bar["from"]] = bar["high"]


def test_losses_are_shaded_where_they_were(busy):
    shaded = drawn(PICTURES["activity"](busy), "kind")
    found = busy.sql(
        "SELECT * FROM losses WHERE kind <> 'blind' AND from_ns IS NOT NULL AND to_ns IS NOT NULL"
    )
    first = min(part["first_ns"] for part in busy.manifest.parts)
    spec = PICTURES["activity"](busy).spec()
    unit = 1e9 if "seconds after" in json.dumps(spec) and "milliseconds" not in json.dumps(spec) else 1e6
    assert len(found)
    for loss in found.itertuples():
        middle = ((int(loss.from_ns) + int(loss.to_ns)) / 2 - first) / unit
        assert any(s["kind"] == "lost" and s["from"] <= middle <= s["to"] for s in shaded)


def test_handles_are_bars_from_open_to_close_longest_first(busy):
    picture = PICTURES["handles"](busy, limit=10_000)
    wanted = busy.sql(
        "SELECT count(*) AS lives FROM handles WHERE handle_id IN (SELECT handle_id FROM stored_events)"
    )
    bars = drawn(picture, "lived")
    assert len(bars) == wanted["lives"].iloc[0]
    assert len({bar["lane"] for bar in bars}) == len(bars)
    assert all(bar["from"] < bar["to"] for bar in bars)


def test_a_value_holds_what_was_written_until_the_next_write_or_delete():
    def row(time_ns, data, operation="SetValueKey", previous=None):
        return {
            "time_ns": time_ns, "process": "a.exe", "pid": 1, "operation": operation, "display_key": "HKLM\\A",
            "value_name": "N", "data_type": 4, "data_size": 4, "data": data, "previous_type": 4,
            "previous_size": 4, "previous_data": previous,
        }  # fmt: skip

    rows = [
        row(10, b"\1\0\0\0", previous=b"\7\0\0\0"),
        row(20, b"\2\0\0\0"),
        row(30, None, "DeleteValueKey"),
        row(40, b"\3\0\0\0") | {"value_name": "n"},
    ]
    assert [(life["from_ns"], life["to_ns"], life["number"], life["gone"]) for life in stretches(rows)] == [
        (None, 10, 7, False),
        (10, 20, 1, False),
        (20, 30, 2, False),
        (30, 40, None, True),
        (40, None, 3, False),
    ]


def test_every_key_counts_in_all_keys_above_it():
    rows = [("HKLM\\A\\b", 3, 1), ("HKLM\\a", 2, 0), ("HKU\\c", 5, 5)]
    root = plant(rows)
    below = root.children["HKLM"].children["A"]
    assert (root.events, root.failures) == (10, 6)
    assert (below.events, below.own, below.failures) == (5, 2, 1)


def test_an_icicle_has_no_child_higher_than_its_parent(busy):
    boxes = drawn(PICTURES["tree"](busy), "level")
    total = Counter()
    for box in boxes:
        total[box["level"]] += box["events"]
    assert total[0] == PICTURES["tree"](busy).rows
    assert all(total[level] <= total[level - 1] for level in total if level)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(PICTURES))
def test_nothing_acts_in_a_picture_of_hostile_names(kind, capture, busy):
    for source in (busy,) if kind == "handles" else (capture, busy):  # the small one has no table of handles
        picture = PICTURES[kind](source)
        page = picture.html()
        scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
        [content] = re.findall(
            r'<script id="content" type="application/json">(.*?)</script>', page, re.DOTALL
        )
        assert len(scripts) + 1 == page.count("<script") == page.count("</script") == 3
        policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
        for script in scripts:  # the policy lets these two run, and nothing else
            digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
        assert policy.count("'sha256-") == 3  # and one style
        assert "unsafe" not in policy
        assert not set("<>") & set(content)
        assert json.dumps(json.loads(content), ensure_ascii=False).isprintable()
        spec = picture.spec()
        assert spec == harmless(picture.chart.to_dict())  # it is as the schema of Vega-Lite has it
        texts = json.dumps(spec, ensure_ascii=False)
        assert texts.isprintable()
        svg = picture.svg()
        assert not [bad for bad in ("<script", "\u202e", "\0") if bad in svg]
        assert picture.png().startswith(b"\x89PNG")


def pixels(image: bytes) -> tuple[bytes, bytes]:
    """Return the header and the pixels of a PNG; every chunk's checksum must fit."""
    header, body = b"", b""
    stream = io.BytesIO(image)
    assert stream.read(8) == b"\x89PNG\r\n\x1a\n"
    kind = b""
    while kind != b"IEND":
        size, kind = struct.unpack(">I4s", stream.read(8))
        data = stream.read(size)
        assert stream.read(4) == struct.pack(">I", zlib.crc32(kind + data))
        header += data if kind == b"IHDR" else b""
        body += data if kind == b"IDAT" else b""
    assert stream.read() == b""
    return header, zlib.decompress(body)


@pytest.mark.slow
def test_a_png_is_packed_well_and_keeps_its_pixels(capture, monkeypatch):
    picture = PICTURES["activity"](capture)
    packed = picture.png()
    monkeypatch.setattr("analysis.charts.picture._packed", lambda image: image)
    drawn = picture.png()
    assert pixels(packed) == pixels(drawn)
    assert len(packed) < len(drawn) / 2


def test_a_title_with_markup_and_a_nul_is_only_text(capture):
    hostile = "</script><script>alert(1)</script>\0\u202e\ud800"
    chart = PICTURES["activity"](capture).chart.properties(title=hostile)
    picture = Picture(chart, rows=1)
    assert "<script>alert" not in picture.html()
    assert "<script" not in picture.svg()
    assert picture.png()


def test_hostile_names_are_in_the_small_capture():
    assert any("<script>" in name for name in HOSTILE)


def test_a_page_asks_for_nothing_from_the_network(capture):
    page = re.sub(r"<script.*?</script>", "", PICTURES["activity"](capture).html(), flags=re.DOTALL)
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=", page)
    assert "default-src 'none'" in page


def test_a_capture_without_events_is_one_sentence(tmp_path):
    with open_capture(write_capture(tmp_path / "empty.regtrace", events=0)) as empty:
        for draw in PICTURES.values():
            with pytest.raises(UsageError, match="nothing to draw"):
                draw(empty)


def test_a_source_without_handles_is_told_from_a_filter_that_fits_nothing(capture, busy):
    with pytest.raises(UsageError, match="Procmon"):
        PICTURES["handles"](capture)
    with pytest.raises(UsageError, match="choose more keys"):
        PICTURES["handles"](busy, Filters(process="nobody.exe"))


@pytest.mark.slow
def test_activity_of_a_real_log_counts_every_operation(procmon_capture):
    with open_capture(procmon_capture) as opened:
        manifest = opened.manifest
        assert PICTURES["activity"](opened, Filters(noise=True)).rows == manifest.totals["events"]
        assert PICTURES["tree"](opened, Filters(noise=True)).rows == manifest.totals["events"]


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("analysis.charts")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(UsageError, match=r"pip install 'regtrace\[plots\]'"):
        importlib.import_module("analysis.charts.figures")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_with_few_addresses_one_sentence_says_so_and_no_process_ends(monkeypatch):
    import resource

    import analysis.charts.extra as extra

    monkeypatch.setattr(resource, "getrlimit", lambda _: (4 << 30, 4 << 30))
    with pytest.raises(
        RegtraceError, match=r"80 GiB of addresses.* may have 4 GiB: raise the limit \(ulimit -v\)"
    ):
        importlib.reload(extra)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    importlib.reload(extra)


def test_the_words_of_the_verb_are_the_pictures():
    assert [kind.value for kind in Kind] == list(PICTURES)


@pytest.fixture
def plot(monkeypatch):
    monkeypatch.setitem(
        VERBS, "plot", Verb("cli.commands.plot", "plot", "Draw a capture as a page or an image.")
    )
    return lambda *words: CliRunner().invoke(app, ["plot", *map(str, words)], prog_name="regtrace")


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".html", ".png", ".svg"])
def test_the_verb_writes_each_kind_of_file(plot, capture, tmp_path, ending):
    target = tmp_path / f"out{ending}"
    result = plot("timeline", capture.path, "--key", RUN, "-o", target)
    assert result.exit_code == 0, result.output
    start = {".html": b"<!DOCTYPE html>", ".png": b"\x89PNG", ".svg": b"<svg"}[ending]
    assert target.read_bytes().startswith(start)
    assert plot("timeline", capture.path, "-o", target).exit_code != 0  # it exists
    assert plot("timeline", capture.path, "-o", target, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "x.pdf"), "use .html, .png or .svg"),
        (("-o", "x.png", "--key", "HKLM\\Nowhere"), "touches a key"),
        (("-o", "x.png", "--from", "2001-01-01", "--to", "2001-01-02"), "nothing to draw"),
    ],
)
def test_a_mistake_is_one_sentence(plot, capture, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    result = plot("timeline", Path(capture.path).absolute(), *words)
    assert result.exit_code == 2
    assert said in result.output.replace("\n", " ")
    assert not list(tmp_path.glob("x.*"))
