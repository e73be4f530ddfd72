"""Blame and checkout against models that know the truth, and names of folders that no key can misuse."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hand_capture import MISSING, event, write_events
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from reg_reader import Model
from typer.testing import CliRunner

import regtrace as rt
from analysis.versions.folder_names import VALUES, Folders, folder_name
from cli.app import app
from tracer.errors import TargetError, UsageError
from tracer.registry.text import fold_name
from tracer.scenarios import read_story, simulate_scenario, story_path
from tracer.simulate import SimulationOptions

TOP = r"HKLM\SOFTWARE\Vendor"
SECOND_US = 1_000_000


def folded(key: str) -> str:
    return fold_name(key).replace("HKLM", "HKEY_LOCAL_MACHINE", 1)


def text(letters: str) -> bytes:
    return (letters + "\0").encode("utf-16-le")


def written(key: str, value: str, data: str, **more: Any) -> dict[str, Any]:
    content = text(data)
    return event("SetValueKey", key, value, data_type=1, data_size=len(content), data=content, **more)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["set", "unset", "make", "delete", "read"]),
        st.sampled_from([TOP + r"\A", TOP + r"\A\Below", TOP + r"\b"]),
        st.sampled_from(["", "Name", "other"]),
        st.sampled_from(["x", "y", "longer text"]),
        st.sampled_from([1000, 3 * SECOND_US]),
        st.sampled_from(["one.exe", "two.exe"]),
    ),
    min_size=1,
    max_size=14,
)  # fmt: skip


def played(
    steps: list[tuple[Any, ...]], *, alone: bool
) -> tuple[list[dict[str, Any]], list[dict[str, dict[str, Any]]], list[dict[Any, Any]]]:
    """Return events of a registry that begins with an empty key, what it holds after each, and who wrote what."""
    events = [event("CreateKey", TOP, disposition=1, process="zero.exe", at_us=0)]
    held: dict[str, dict[str, Any]] = {folded(TOP): {}}
    by: dict[Any, Any] = {}
    states, writers = [{key: dict(values) for key, values in held.items()}], [dict(by)]
    at_us = 0
    for what, key, name, data, gap_us, process in steps:
        at_us += gap_us
        process = "zero.exe" if alone else process
        parent, own = folded(key.rpartition("\\")[0]), folded(key)
        more = {"process": process, "at_us": at_us}
        values = held.get(own)
        if what == "make" and values is None and parent in held:
            events.append(event("CreateKey", key, disposition=1, **more))
            held[own] = {}
        elif what == "set" and values is not None:
            events.append(written(key, name, data, **more))
            values[fold_name(name)] = (1, text(data))
            by[own, fold_name(name)] = process
        elif what == "unset" and values is not None and fold_name(name) in values:
            events.append(event("DeleteValueKey", key, name, **more))
            del values[fold_name(name)]
        elif what == "delete" and values is not None and not any(one.startswith(own + "\\") for one in held):
            events.append(event("DeleteKey", key, **more))
            del held[own]
        elif what == "read" and values is not None:
            found = values.get(fold_name(name))
            told = (
                {"status": MISSING}
                if found is None
                else {"data_type": 1, "data": found[1], "data_size": len(found[1])}
            )
            events.append(event("QueryValueKey", key, name, **told, process="reader.exe", at_us=at_us))
        else:
            continue
        states.append({key: dict(values) for key, values in held.items()})
        writers.append(dict(by))
    return events, states, writers


def model_of(content: bytes) -> dict[str, dict[str, Any]]:
    model = Model(fold_name, lambda path: path)
    model.apply(content)
    return {key: values for key, values in model.keys.items() if key.startswith(folded(TOP))}


def at(step: dict[str, Any]) -> str:
    return f"+{step['at_us']}us"


@pytest.mark.slow
@settings(max_examples=8, deadline=None, phases=[Phase.generate])  # to shrink what fails takes minutes
@given(STEPS)
def test_a_checkout_holds_what_the_registry_held_and_blame_names_who_wrote_it(
    tmp_path_factory, steps
) -> None:
    events, states, writers = played(steps, alone=False)
    with rt.open(write_events(tmp_path_factory.mktemp("model") / "a", events)) as capture:
        for place in {0, len(events) // 2, len(events) - 1}:
            made = capture.checkout(TOP, at=at(events[place]))
            assert not made.unknown.num_rows
            assert model_of(_bytes(made)) == states[place]
            rows = capture.blame(TOP, at=at(events[place])).dropna(subset="value_name")
            found = {
                (folded(row.display_key), fold_name(row.value_name)): row.writer for row in rows.itertuples()
            }
            truth = {
                (key, name): writers[place][key, name]
                for key, values in states[place].items()
                for name in values
            }
            assert found == truth


def _bytes(made: Any) -> bytes:
    from analysis.regfile.syntax import encode_file

    return encode_file(made.text())


@pytest.mark.slow
@settings(max_examples=5, deadline=None, phases=[Phase.generate])
@given(STEPS)
def test_a_change_set_applied_to_the_checkout_before_it_gives_the_one_after_it(
    tmp_path_factory, steps
) -> None:
    events, _, _ = played(steps, alone=True)
    with rt.open(write_events(tmp_path_factory.mktemp("apply") / "a", events)) as capture:
        log = capture.log(limit=3)
        for row in log.itertuples():
            before = [one for one in events if one["at_us"] < events[row.first_sequence]["at_us"]]
            model = Model(fold_name, lambda path: path)
            if before:
                model.apply(_bytes(capture.checkout(TOP, at=at(before[-1]))))
            files = capture.show_files(row.change_set)
            assert not files.left_out_of("apply")
            model.apply(files.encoded("apply"))
            after = model_of(_bytes(capture.checkout(TOP, at=at(events[row.last_sequence]))))
            assert {key: values for key, values in model.keys.items() if key.startswith(folded(TOP))} == after


@pytest.fixture(scope="module", params=["installer", "persistence", "works", "fails"])
def story(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    simulate_scenario(folder / "s.etl", request.param, SimulationOptions(events=1000, seed=6))
    rt.ingest(folder / "s.etl", folder / "s.regtrace")
    with rt.open(folder / "s.regtrace") as capture:
        yield capture, read_story(story_path(folder / "s.etl"))


def test_blame_and_checkout_tell_what_the_story_says_at_its_end(story) -> None:
    capture, told = story
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for one in told["changes"]:
        if one["value"] is not None:
            last[fold_name(one["path"]), fold_name(one["value"])] = one
    images = {one["pid"]: one["image"] for one in told["processes"]}
    paths = dict(capture.sql("SELECT keys.display_path, own.path FROM keys JOIN keys own ON own.key_id = keys.same_as").itertuples(index=False))  # fmt: skip
    held = {
        (fold_name(paths[key]), fold_name(value.name)): value
        for key, values in capture.checkout().keys.items()
        for value in values
    }
    blame = capture.blame(deleted=True).dropna(subset="value_name")
    blamed = {
        (fold_name(paths[row.display_key]), fold_name(row.value_name)): row for row in blame.itertuples()
    }
    checked = 0
    for place, one in last.items():
        if place not in blamed:  # the story has the path behind a link, and the capture the one through it
            continue
        row, after = blamed[place], one["after"]
        if after is None:
            assert place not in held
            assert row.known in ("deleted", "absent")
        else:
            assert held[place].data.hex() == after["hex"]
            assert row.data.hex() == after["hex"]
            assert row.writer_pid == one["pid"]
            assert fold_name(row.writer) == fold_name(images[one["pid"]])
            assert row.evidence.startswith("write")
        checked += 1
    assert checked
    sets = capture.log().set_index("change_set")
    for row in blame.dropna(subset="change_set").itertuples():
        assert (
            sets["first_sequence"][row.change_set]
            <= row.write_sequence
            <= sets["last_sequence"][row.change_set]
        )


def test_a_renamed_key_keeps_its_past_and_a_change_that_nobody_saw_has_no_writer(tmp_path: Path) -> None:
    events = [
        event("CreateKey", TOP + r"\Old", disposition=1, process="maker.exe"),
        written(TOP + r"\Old", "A", "mine", process="maker.exe"),
        event("RenameKey", TOP + r"\Old", requested_name="New", process="mover.exe"),
        written(TOP, "B", "seen", process="writer.exe"),
        event("QueryValueKey", TOP, "B", data_type=1, data=text("else"), data_size=10, process="reader.exe"),
        event("QueryValueKey", TOP, "C", data_type=1, data=text("there"), data_size=12, process="reader.exe"),
        written(TOP, "D", "gone", process="writer.exe"),
        event("DeleteValueKey", TOP, "D", process="cleaner.exe"),
    ]
    with rt.open(write_events(tmp_path / "a", events)) as capture:
        rows = {(row.display_key, row.value_name): row for row in capture.blame(TOP).itertuples()}
        every = {
            (row.display_key, row.value_name): row for row in capture.blame(TOP, deleted=True).itertuples()
        }
    moved = rows[TOP + r"\New", "A"]
    assert (moved.writer, moved.write_sequence, moved.evidence) == ("maker.exe", 1, "write")
    assert {name: rows[TOP, name].evidence for name in "BC"} == {
        "B": "read, not as last written",
        "C": "read",
    }
    assert not isinstance(rows[TOP, "B"].writer, str)
    assert not isinstance(rows[TOP, "C"].writer, str)
    assert (TOP, "D") not in rows
    assert (every[TOP, "D"].writer, every[TOP, "D"].known) == ("cleaner.exe", "deleted")


def test_what_is_not_known_whole_is_listed_and_never_written(tmp_path: Path) -> None:
    events = [
        written(TOP, "Whole", "text"),
        event("SetValueKey", TOP, "Cut", data_type=3, data_size=9, data=b"12"),
        event("SetValueKey", TOP, "Never", data_type=3, data_size=9),
        event("SetValueKey", TOP, "Line\nbreak", data_type=1, data_size=4, data=text("x")),
        event("LoadKey", TOP + r"\Hive", process="loader.exe"),
        event("QueryValueKey", TOP, "Missing", status=MISSING),
    ]
    with rt.open(write_events(tmp_path / "a", events)) as capture:
        made = capture.checkout(TOP)
        made.save(tmp_path / "a.reg")
        made.save(tmp_path / "folder")
    reasons = {row["value_name"]: row["reason"] for row in made.unknown.to_pylist() if row["value_name"]}
    assert reasons["Cut"] == "2 of its 9 bytes were captured"
    assert "was not captured" in reasons["Never"] or "0 of its 9 bytes" in reasons["Never"]
    assert "line break" in reasons["Line\nbreak"]
    assert "Missing" not in reasons
    assert model_of((tmp_path / "a.reg").read_bytes())[folded(TOP)] == {"WHOLE": (1, text("text"))}
    index = json.loads((tmp_path / "folder" / "index.json").read_text())
    assert [row["value_name"] for row in index["unknown"]] == [
        row["value_name"] for row in made.unknown.to_pylist()
    ]
    for one in index["keys"]:
        content = (tmp_path / "folder" / one["folder"] / VALUES).read_bytes()
        assert len(model_of(content).get(folded(one["key"]), {})) == one["values"]


def unescaped(name: str) -> str:
    units = re.sub(r"%([0-9A-F]{4})", lambda found: chr(int(found[1], 16)), name)
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


@given(st.text(st.characters(exclude_characters="\\", codec=None), min_size=1, max_size=24))
def test_names_of_folders_are_lossless_and_lead_nowhere(name: str) -> None:
    folder = folder_name(name)
    assert re.fullmatch(r"[A-Za-z0-9 _\-+=@{}()\[\],;'!#$&.%~]+", folder)
    assert not {folder[0], folder[-1]} & {".", " "}
    if "~" not in folder:
        assert unescaped(folder) == name.encode("utf-16-le", "surrogatepass").decode(
            "utf-16-le", "surrogatepass"
        )


@pytest.mark.parametrize(
    "name", ["..", ".", "...", "CON", "con.txt", "Com1", "LPT9 ", "NUL", "aux", "conin$", "a.", "a ", " a", ".git",
             "values.reg", "INDEX.JSON", "a/b", "C:", "a\0b", "ä", "\u212a", "x" * 255, "%0041", "a~b", "\ud800"],
)  # fmt: skip
def test_names_that_mean_something_elsewhere_mean_nothing_here(name: str, tmp_path: Path) -> None:
    folder = folder_name(name)
    assert folder.isascii()
    assert folder.upper().partition(".")[0].strip() not in {"CON", "COM1", "LPT9", "NUL", "AUX", "CONIN$"}
    assert folder.lower() not in (VALUES, "index.json", ".git", "..", ".")
    assert len(folder) <= 120
    (tmp_path / "top" / folder).mkdir(parents=True)
    assert [path.name for path in (tmp_path / "top").iterdir()] == [folder]
    assert [path.name for path in tmp_path.iterdir()] == ["top"]


def test_spellings_of_a_parent_share_a_folder_and_deep_keys_stand_apart() -> None:
    folders = Folders()
    assert folders.of(r"HKLM\Software\A") == "HKLM/Software/A"
    assert folders.of(r"HKLM\SOFTWARE\B") == "HKLM/Software/B"
    deep = folders.of("HKLM" + r"\component" * 60)
    assert re.fullmatch("_long/[0-9a-f]{32}", deep)
    assert deep != folders.of("HKLM" + r"\component" * 61)


@pytest.mark.slow
@pytest.mark.parametrize("story", ["installer"], indirect=True)
def test_the_verbs_write_and_print_the_same(story, tmp_path: Path) -> None:
    capture, _ = story
    path = str(capture.path)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, list(arguments), prog_name="regtrace", env={"COLUMNS": "80"})

    shown = run("blame", path, r"HKLM\SOFTWARE", "-f", "jsonl")
    assert shown.exit_code == 0, shown.stderr
    names = [json.loads(line)["display_key"] for line in shown.stdout.splitlines()]
    assert names == capture.blame(r"HKLM\SOFTWARE")["display_key"].tolist()
    assert run("blame", path, r"HKLM\SOFTWARE").exit_code == 0
    target = tmp_path / "tree"
    done = run("checkout", path, "--under", r"HKLM\SOFTWARE", "-o", str(target))
    assert done.exit_code == 0, done.stderr
    assert (target / "index.json").is_file()
    again = run("checkout", path, "--under", r"HKLM\SOFTWARE", "-o", str(target))
    assert again.exit_code != 0
    assert "--force" in again.stderr
    assert run("checkout", path, "--under", r"HKLM\SOFTWARE", "-o", str(target), "--force").exit_code == 0
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    refused = run("checkout", path, "--under", r"HKLM\SOFTWARE", "-o", str(other), "--force")
    assert refused.exit_code != 0
    assert (other / "thesis.txt").read_text() == "years of work"
    assert run("checkout", path, "-o", str(tmp_path / "b.reg")).exit_code == 2
    with pytest.raises(TargetError):
        capture.checkout(r"HKLM\SOFTWARE").save(path, force=True)
    with pytest.raises(UsageError):
        capture.checkout("nonsense")
