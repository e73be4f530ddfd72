"""Why a value was written: the chain equals plain loops over the rows, and the stories of the scenarios."""

import json
import re
from xml.etree import ElementTree as ET

import causes_page
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hand_capture import MISSING, event, write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_causes import plain_content, plain_why
from small_capture import HOSTILE
from typer.testing import CliRunner

import regtrace as rt
from analysis.causes.graph import graph_page, graph_svg
from analysis.causes.links import Operation, content_rule
from analysis.causes.rules import RULES
from cli.app import app
from cli.tables.why import why_lines
from tracer.errors import UsageError
from tracer.scenarios import read_story, story_path

SOFTWARE = r"HKLM\SOFTWARE\V"


def text(word):
    data = f"{word}\0".encode("utf-16-le")
    return {"data": data, "data_type": 1, "data_size": len(data)}


RELAY = [
    event("SetValueKey", rf"{SOFTWARE}\One", "Server", **text("build.example"), process="a.exe", at_us=0),
    event("QueryValueKey", rf"{SOFTWARE}\One", "server", **text("build.example"), process="b.exe", at_us=1_000),
    event("QueryValueKey", rf"{SOFTWARE}\One", "Missing", status=MISSING, process="b.exe", at_us=1_100),
    event("SetValueKey", rf"{SOFTWARE}\Two", "Url", **text("https://build.example/x"), process="b.exe", at_us=2_000),
    event("QueryValueKey", rf"{SOFTWARE}\Two", "Url", **text("https://build.example/x"), process="c.exe", at_us=60_000_000),
    event("QueryValueKey", rf"{SOFTWARE}\Two", "Url", **text("https://build.example/x"), process="c.exe", at_us=60_100_000),
    event("SetValueKey", rf"{SOFTWARE}\Three", "", **text("https://build.example/x"), process="c.exe", at_us=60_200_000),
    event("SetValueKey", rf"{SOFTWARE}\Two", "Url", **text("gone"), process="a.exe", at_us=61_000_000),
    event("DeleteKey", rf"{SOFTWARE}\Two", process="a.exe", at_us=62_000_000),
]  # fmt: skip


@pytest.fixture(scope="module")
def relay(tmp_path_factory):
    folder = write_events(tmp_path_factory.mktemp("why") / "relay.regtrace", RELAY)
    with rt.open(folder) as capture:
        yield capture


def told(frame):
    return [(row.direction, row.depth, row.what, row.process) for row in frame.itertuples()]


def test_a_chain_crosses_processes_backwards(relay):
    found = relay.why(rf"{SOFTWARE}\Three", "")
    assert told(found) == [
        ("itself", 0, "write", "c.exe"),
        ("who", 0, "process", "c.exe"),
        ("cause", 0, "read", "c.exe"),
        ("cause", 1, "write", "b.exe"),
        ("cause", 1, "read", "b.exe"),
        ("cause", 2, "write", "a.exe"),
        ("cause", 1, "missing", "b.exe"),
    ]
    assert found.rules.tolist()[2:6] == [
        "recent read, same data", "last write, as read", "recent read, part of data", "last write, as read",
    ]  # fmt: skip
    assert found.times[2] == 2  # c.exe read it twice, the nearest counts
    assert list(found.of)[2:] == [0, 2, 3, 4, 3]


def test_a_chain_crosses_processes_forwards_and_ends_where_it_is_told_to(relay):
    found = relay.why(rf"{SOFTWARE}\One", "SERVER")
    effects = [row for row in told(found) if row[0] == "effect"]
    assert effects == [
        ("effect", 0, "read", "b.exe"),
        ("effect", 1, "write", "b.exe"),
        ("effect", 1, "read", "c.exe"),
        ("effect", 2, "write", "c.exe"),
    ]
    assert [
        one for one in told(relay.why(rf"{SOFTWARE}\One", "Server", depth=1)) if one[0] == "effect"
    ] == effects[:2]
    assert [one for one in told(relay.why(rf"{SOFTWARE}\One", "Server", depth=0)) if one[0] == "effect"] == []


def test_the_last_write_by_a_time_is_asked_about_and_a_delete_of_the_key_is_one(relay):
    now = relay.why(rf"{SOFTWARE}\Two", "Url")
    assert (now.operation[0], now.what[0]) == ("DeleteKey", "delete")
    before = relay.why(rf"{SOFTWARE}\Two", "Url", at="+30s")
    assert (before.data_text[0], before.process[0]) == ("https://build.example/x", "b.exe")
    none = relay.why(rf"{SOFTWARE}\Two", "Nothing")
    assert len(none) == 0


def test_a_read_that_disagrees_with_the_last_write_says_so(tmp_path):
    events = [
        event("SetValueKey", SOFTWARE, "x", **text("first one"), process="a.exe"),
        event("QueryValueKey", SOFTWARE, "x", **text("other one"), process="b.exe"),
        event("SetValueKey", SOFTWARE, "y", **text("other one"), process="b.exe"),
    ]
    with rt.open(write_events(tmp_path / "x.regtrace", events)) as capture:
        found = capture.why(SOFTWARE, "y")
    assert found.rules.tolist()[2:] == ["recent read, same data", "last write"]
    assert "a change in between was not recorded" in found.evidence.iloc[3]


def test_many_captures_have_a_chain_each(relay, tmp_path):
    write_events(tmp_path / "other.regtrace", RELAY[:4])
    with rt.open({"one": relay.path, "two": tmp_path / "other.regtrace"}) as both:
        found = both.why(rf"{SOFTWARE}\Two", "Url", at="+30s")
        with rt.open(tmp_path / "other.regtrace") as alone:
            own = alone.why(rf"{SOFTWARE}\Two", "Url")
    assert set(found.host) == {"one", "two"}
    second = found[found.host == "two"]
    assert told(second) == told(own)
    assert second.evidence.fillna("").tolist() == own.evidence.fillna("").tolist()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"key": SOFTWARE}, "needs a key and a value"),
        ({"key": SOFTWARE, "value": "x", "depth": 99}, "invalid depth 99"),
        ({"key": SOFTWARE, "value": "x", "within_s": -1}, "invalid time -1"),
        ({"key": SOFTWARE, "value": "x", "most": 0}, "invalid number of links 0"),
    ],
)
def test_a_mistake_is_one_sentence(relay, words, said):
    with pytest.raises(UsageError, match=said):
        relay.why(**words)


def test_a_narrowed_capture_is_refused(relay):
    with pytest.raises(UsageError, match="takes a key, a value, a user and a time"):
        relay.where(process="a.exe").why(SOFTWARE, "x")


# the rules against plain loops

_DATA = st.one_of(
    st.none(),
    st.binary(max_size=12),
    st.sampled_from(["", "on", "abcd", "abcdefgh", "xabcdefgh", "abcdefghij\0"]).map(lambda word: f"{word}\0".encode("utf-16-le")),
)  # fmt: skip
_HELD = st.tuples(_DATA, st.sampled_from([1, 3, 4, 7]), st.sampled_from([0, 0, 0, 5]))


@settings(max_examples=150, deadline=None)
@given(_HELD, _HELD, st.sampled_from([0, MISSING]))
def test_what_was_read_and_what_was_written_compare_as_plain_loops_say(got, put, status):
    rows = []
    for operation, (data, kind, more), code in (("QueryValueKey", got, status), ("SetValueKey", put, 0)):
        rows.append(
            {"operation": operation, "data": data, "data_type": kind, "status": code,
             "data_size": None if data is None else len(data) + more}
        )  # fmt: skip
    made = [
        Operation(place, 0, 1, 1, row["operation"], 1, "x", row["status"], row["data_type"], row["data_size"], row["data"])
        for place, row in enumerate(rows)
    ]  # fmt: skip
    assert content_rule(*made) == plain_content(*rows)


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("busy")
    rt.simulate(
        folder / "busy.etl", rt.SimulationOptions(events=2_500, seed=5, keys=12, processes=3), truth=False
    )
    rt.ingest(folder / "busy.etl", folder / "busy.regtrace")
    return folder / "busy.regtrace"


def stored(path):
    """Return the rows of a capture in order with the key they stand for, and the open of each write's handle."""
    keys = {row["key_id"]: row["same_as"] for row in pq.read_table(path / "keys.parquet").to_pylist()}
    opened = {
        row["handle_id"]: row["opened_sequence"]
        for row in pq.read_table(path / "handles.parquet").to_pylist()
    }
    rows = sorted(pq.read_table(path / "events").to_pylist(), key=lambda row: row["sequence"])
    opens = {}
    for row in rows:
        row["key_id"] = keys.get(row["key_id"])
        at = opened.get(row["handle_id"])
        if at is not None and (rows[at]["process_id"], rows[at]["thread_id"]) == (
            row["process_id"],
            row["thread_id"],
        ):
            opens[row["sequence"]] = at
    return rows, opens


@pytest.mark.slow
def test_chains_equal_plain_loops_over_the_rows(busy):
    rows, opens = stored(busy)
    assert [row["sequence"] for row in rows] == list(range(len(rows)))
    writes = [row for row in rows if row["operation"] == "SetValueKey" and row["status"] == 0]
    last = {(row["key_id"], row["value_name"].upper()): row for row in writes}
    gone = {
        row["key_id"]: row["sequence"] for row in rows if row["operation"] in ("DeleteKey", "DeleteValueKey")
    }
    chosen = [row for row in last.values() if gone.get(row["key_id"], -1) < row["sequence"]][::3][:12]
    assert len(chosen) >= 5
    used = set()
    with rt.open(busy) as capture:
        for anchor in chosen:
            asked = {"depth": 3, "within_s": 0.004, "most": 3}
            found = capture.why(f"#{anchor['key_id']}", glob(anchor["value_name"]), **asked)
            sequences = dict(zip(found.link, found.sequence, strict=True))
            got = {
                (row.direction, row.depth, sequences[row.of], row.sequence, row.rules, row.times)
                for row in found.itertuples()
                if row.direction in ("cause", "effect")
            }
            want = plain_why(rows, opens, anchor, depth=3, within_ns=4_000_000, most=3)
            assert got == want, anchor["sequence"]
            used |= {rule for link in want for rule in link[4].split(", ")}
    assert used >= {
        "open to write",
        "recent read",
        "same data",
        "last write",
        "as read",
        "read before the next write",
    }


def glob(name):
    """Return a value name as a pattern that fits it alone."""
    return re.sub(r"([*?\[])", r"[\1]", name)


# the stories


@pytest.fixture(scope="module", params=["persistence", "installer"])
def scenario(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    path = folder / "told.etl"
    rt.simulate(path, rt.SimulationOptions(events=2_000, seed=11), truth=False, scenario=request.param)
    rt.ingest(path, folder / "told.regtrace")
    with rt.open(folder / "told.regtrace") as capture:
        yield read_story(story_path(path)), capture


def test_the_writer_and_its_parents_are_those_of_the_story(scenario):
    story, capture = scenario
    processes = {one["pid"]: one for one in story["processes"]}
    last = {(one["path"], one["value"]): one for one in story["changes"] if one["value"] is not None}
    of_cast = [one for one in last.values() if processes[one["pid"]]["in_story"]]
    assert len(of_cast) > 10
    for change in of_cast[::2]:
        found = capture.why(change["path"].replace("*", "[*]"), glob(change["value"]), depth=0)
        who = found[found.direction == "who"]
        line = []
        pid = change["pid"]
        while pid in processes:
            line.append((pid, processes[pid]["command_line"]))
            pid = processes[pid]["parent"]
        assert list(zip(who.pid, who.command_line, strict=True)) == line
        assert (
            found.data[0] == (bytes.fromhex(change["after"]["hex"]) if change["after"] else None)
            or change["after"]["hex"] == ""
        )


def test_what_a_program_read_and_then_extended_is_the_first_cause(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    for name, key, value, word in (
        (
            "persistence",
            r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon",
            "Userinit",
            "part of data",
        ),
        (
            "installer",
            r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Explorer",
            "GlobalAssocChangedCounter",
            "same value",
        ),
    ):
        rt.simulate(
            folder / f"{name}.etl", rt.SimulationOptions(events=500, seed=3), truth=False, scenario=name
        )
        rt.ingest(folder / f"{name}.etl", folder / f"{name}.regtrace")
        with rt.open(folder / f"{name}.regtrace") as capture:
            found = capture.why(key, value)
            if name == "persistence":
                assert_recorded("why", why_lines(capture.queries.why(key, value).to_arrow(), 80))
        first = found[found.direction == "cause"].iloc[0]
        assert (first.value_name, word in first.rules, first.times) == (value, True, 1)
        assert "no write of it before is in this capture" in first.evidence


# output


def assert_recorded(name, lines):
    """Assert that the session on the page has these lines; users' keys are spelled as the verb spells them."""
    recorded = causes_page.recorded(name)
    made = [line for line in lines if "HKU" not in line]
    assert len(made) > 10
    assert [line for line in made if line not in recorded] == []


def run(*words):
    return CliRunner().invoke(app, list(words), env={"COLUMNS": "80"})


def test_the_page_fits_a_terminal_and_tells_the_chain(relay):
    rows = relay.queries.why(rf"{SOFTWARE}\Three", "").to_arrow()
    lines = list(why_lines(rows, 80))
    assert max(map(len, lines)) <= 80
    page = "\n".join(lines)
    for words in ("Who", "What may have led to it", "What came of it", "recent read, same data", "by a.exe (100)",
                  "no read of it is known"):  # fmt: skip
        assert words in page
    for width in (40, 60, 200):
        assert max(map(len, why_lines(rows, width))) <= width


def test_the_page_says_what_well_known_data_means(relay):
    rows = relay.queries.why(rf"{SOFTWARE}\Three", "").to_arrow()
    place = rows.schema.get_field_index("data_meaning")
    told = rows.set_column(
        place, "data_meaning", pa.array(["1, newest first"] + [None] * (rows.num_rows - 1))
    )
    assert " = [1, newest first]" in "\n".join(why_lines(told, 80))
    assert "newest first" not in "\n".join(why_lines(rows, 80))


def test_the_verb_prints_a_page_json_and_a_graph(relay, tmp_path):
    words = ("why", str(relay.path), rf"{SOFTWARE}\Three", "(default)")
    page = run(*words, "--graph", str(tmp_path / "why.html"))
    assert page.exit_code == 0, page.output
    assert "no proof" in page.output
    rows = [json.loads(line) for line in run(*words, "-f", "jsonl").stdout.splitlines()]
    assert [row["direction"] for row in rows[:3]] == ["itself", "who", "cause"]
    text = (tmp_path / "why.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert "recent read, same data" in text
    wrong = run(*words, "--graph", str(tmp_path / "why.pdf"))
    assert wrong.exit_code == 2
    assert "FILE.html or FILE.svg" in wrong.output
    none = run("why", str(relay.path), rf"{SOFTWARE}\Two", "Nothing")
    assert none.exit_code == 0
    assert "no write or delete of Nothing" in none.output


def test_hostile_names_are_text_in_the_graph(tmp_path):
    events = []
    for place, name in enumerate(HOSTILE):
        events.append(
            event("QueryValueKey", rf"{SOFTWARE}\{name}", name, **text(name), process="<b>&.exe", at_us=place)
        )
    events.append(event("SetValueKey", SOFTWARE, "x", **text("y"), process="<b>&.exe", at_us=99))
    with rt.open(write_events(tmp_path / "h.regtrace", events)) as capture:
        rows = capture.queries.why(SOFTWARE, "x", most=20).to_arrow().to_pylist()
    assert len(rows) == 2 + len(HOSTILE)
    svg = graph_svg(rows, title="<script>")
    root = ET.fromstring(svg)
    kinds = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert kinds <= {"svg", "title", "style", "g", "rect", "path", "text"}
    page = graph_page(rows, title="<script>", notes=["<i>"])
    assert "<script" not in page
    assert "<i>" not in page
    assert all(letter.isprintable() or letter == "\n" for letter in svg + page)


def test_the_page_of_causes_has_the_rules_as_they_are():
    text = causes_page.PAGE.read_text(encoding="utf-8")
    for name, rule in RULES.items():
        assert f"| {name} | {rule.weight} | {rule.meaning} |" in text
