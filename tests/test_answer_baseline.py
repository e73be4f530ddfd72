"""State, history and changes with hives as the state before the first event, compared with the registry that was simulated."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hive_writer
import pml_writer as pml
import pytest
from hive_writer import Key
from schema_rules import broken_rules
from two_sources import simulate_two

import regtrace as rt
from analysis.capture import Capture
from tracer.registry.text import fold_name
from tracer.simulate import registry, run

Content = dict[
    tuple[str, str | None], tuple[int, bytes] | None
]  # folded path and value -> type and data; of a key None
BEFORE = "2023-01-01T00:00:00Z"  # after the hives were written, before the trace
WRITTEN = 133_000_000_000_000_000  # FILETIME, June 2022
OPTIONS: dict[str, Any] = {
    "seed": 21,
    "keys": 150,
    "links": 0.0,
    "preopened": 0,
    "gap_us": 2000.0,
    "option_word": 7,
}


@dataclass
class World:
    """A capture with hives, and what its registry held."""

    capture: Capture
    before: Content
    half: Content
    half_ns: int

    def covers(self, path: str) -> bool:
        """Whether a key is one of a hive; application hives were not given."""
        folded = fold_name(path)
        roots = {path for path, _ in self.before if (path.rpartition("\\")[0], None) not in self.before}
        return any(folded == root or folded.startswith(f"{root}\\") for root in roots)


def hive_of(key: registry.Key) -> Key:
    copy = Key(key.name, written=WRITTEN)
    copy.values = [(one.name, one.type, one.data) for one in key.values]
    copy.keys = [hive_of(child) for child in key.children]
    return copy


def mounts_of(model: registry.Registry) -> list[registry.Key]:
    users = [*model.users, *(link for _, link in model.links[1:])]
    return [*(model.at(f"\\REGISTRY\\MACHINE\\{name}") for name in ("SOFTWARE", "SYSTEM")), *users]


def content_of(model: registry.Registry) -> Content:
    content: Content = {}
    waiting = mounts_of(model)
    while waiting:
        key = waiting.pop()
        waiting += key.children
        content[fold_name(key.path), None] = None
        for value in key.values:
            content[fold_name(key.path), fold_name(value.name)] = (value.type, value.data)
    return content


def write_hives(model: registry.Registry, folder: Path) -> list[str]:
    words = []
    for number, key in enumerate(mounts_of(model)):
        path = folder / f"hive{number}"
        path.write_bytes(hive_writer.hive(hive_of(key)))
        words.append(f"{path}={key.path}")
    return words


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("baseline")
    first: dict[str, Any] = {}
    models: list[registry.Registry] = []

    class Kept(registry.Registry):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            models.append(self)
            if not first:
                first.update(content=content_of(self), hives=write_hives(self, folder))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Registry", Kept)
        rt.simulate(folder / "long.etl", rt.SimulationOptions(**OPTIONS, events=5000))
        rt.simulate(folder / "short.etl", rt.SimulationOptions(**OPTIONS, events=2500))
    rt.ingest(folder / "long.etl", folder / "long.regtrace", baseline=first["hives"])
    with rt.open(folder / "long.regtrace", memory_limit="512MB") as capture:
        half_ns = int(capture.timeline(limit=2500)["time_ns"].iloc[-1])
        yield World(capture, first["content"], content_of(models[-1]), half_ns)


def told(frame: Any) -> tuple[Content, dict[tuple[str, str | None], str]]:
    """Return what a state says is there, with whole data, and how each is known."""
    content: Content = {}
    words = {}
    for row in frame.to_dict("records"):
        value = row["value_name"] if isinstance(row["value_name"], str) else None
        place = fold_name(row["key"]), None if value is None else fold_name(value)
        words[place] = row["known"]
        if row["known"] in ("absent", "deleted", "unknown"):
            continue
        data = row["data"] if isinstance(row["data"], bytes) else b""
        content[place] = None if value is None else (row["type"], data)
    return content, words


@pytest.mark.slow
def test_before_the_first_event_the_state_is_what_the_hives_hold(world: World) -> None:
    frame = world.capture.state(at=BEFORE)
    content, words = told(frame)
    assert content == world.before
    assert set(words.values()) == {"baseline", "absent"}
    assert frame["sequence"].isna().all()
    assert set(frame["operation"]) == {"Baseline"}


@pytest.mark.slow
def test_at_any_time_the_state_is_what_the_registry_held(world: World) -> None:
    first_ns, _ = world.capture.context.span() or (0, 0)
    content, words = told(world.capture.state(at=f"+{world.half_ns - first_ns}ns"))
    ours = {place: one for place, one in content.items() if world.covers(place[0])}
    # A name with zeros behind it may end elsewhere: such a value is not sure of its name.
    unsure = {place for place, word in words.items() if word == "unknown"}
    assert len(unsure) < 5
    differ = {place for place in ours.keys() ^ world.half.keys() if place not in unsure}
    assert not differ
    long = 0
    for place, one in world.half.items():
        if place in unsure or one is None:
            continue
        kind, data = ours[place]  # type: ignore[misc]
        long += data != one[1]
        assert kind == one[0]
        assert one[1].startswith(data)  # a trace captures 2 KB of a value
        assert data == one[1] or len(data) > 1900
    assert long < 10
    assert {"baseline", "write", "read", "absent", "deleted", "exists"} <= set(words.values())


@pytest.mark.slow
def test_the_old_data_of_first_changes_is_what_the_hives_hold(world: World) -> None:
    # The records tell old data as well (option word 7): both agree, but where a value was longer than what is captured.
    history = world.capture.history()
    assert history[history["done"]]["conflict"].isna().all()
    firsts = history[history["done"]].drop_duplicates(["key_id", "value_name"])
    paths = dict(world.capture.sql("SELECT key_id, path FROM keys").itertuples(index=False))
    words = {"event": 0, "baseline": 0, "absent": 0}
    for row in firsts.to_dict("records"):
        path = fold_name(paths[row["key_id"]])
        if not world.covers(path):
            continue
        held = world.before.get((path, fold_name(row["value_name"])))
        if row["old_from"] == "absent":
            assert held is None
        elif row["old_from"] in ("event", "baseline"):
            assert held is not None
            assert (row["old_type"], row["old_size"]) == (held[0], len(held[1]))
        if row["old_from"] in words:
            words[row["old_from"]] += 1
    assert words["event"] > 5
    assert words["absent"] > 5


@pytest.mark.slow
def test_changes_know_both_sides(world: World) -> None:
    frame = world.capture.changes()
    for row in frame.to_dict("records"):
        if not world.covers(row["key"]) or not isinstance(row["value_name"], str):
            continue
        held = world.before.get((fold_name(row["key"]), fold_name(row["value_name"])))
        if row["change"] == "added":
            assert held is None, row
        elif row["change"] in ("changed", "removed"):
            assert held is not None, row
    inside = frame[frame["key"].str.upper().str.startswith("\\REGISTRY\\MACHINE\\SOFTWARE")]
    assert not (inside["change"] == "set").any(), "what was there before is known"


@pytest.mark.slow
def test_without_recorded_old_data_the_baseline_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: list[str] = []
    before: Content = {}

    class Kept(registry.Registry):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            words.extend(write_hives(self, tmp_path))
            before.update(content_of(self))

    monkeypatch.setattr(run, "Registry", Kept)
    rt.simulate(tmp_path / "a.etl", rt.SimulationOptions(**OPTIONS | {"option_word": 1}, events=2500))
    rt.ingest(tmp_path / "a.etl", tmp_path / "a.regtrace", baseline=words)
    rt.ingest(tmp_path / "a.etl", tmp_path / "without.regtrace")
    with rt.open(tmp_path / "a.regtrace") as capture, rt.open(tmp_path / "without.regtrace") as without:
        history, changes = capture.history(), capture.changes()
        paths = dict(capture.sql("SELECT key_id, path FROM keys").itertuples(index=False))
        assert len(history) == len(without.history())
        assert "baseline" not in set(without.history()["old_from"])
        net = {(row.key, row.value_name): row.before_from for row in changes.itertuples()}
    told_by_hive = history[history["old_from"] == "baseline"]
    assert len(told_by_hive) > 10
    assert told_by_hive["old_sequence"].isna().all()
    for row in told_by_hive.itertuples():
        held = before[fold_name(paths[row.key_id]), fold_name(row.value_name)]
        assert held is not None
        assert (row.old_type, row.old_size, row.old_data or b"") == (held[0], len(held[1]), held[1])
    assert sum(word == "baseline" for word in net.values()) > 5


@pytest.mark.slow
def test_a_gap_before_the_trace_is_said(world: World) -> None:
    doubts = world.capture.state(key=r"HKLM\SOFTWARE").attrs["doubts"]
    assert (
        sum("days before the first event" in doubt for doubt in doubts)
        == len(world.capture.manifest.sources) - 1
    )
    assert not any("first event" in doubt for doubt in world.capture.timeline(limit=1).attrs["doubts"])
    notes = world.capture.manifest.settings["notes"]
    assert set(doubts) <= set(notes)


@pytest.mark.slow
def test_a_procmon_log_and_a_dataset_take_hives_too(tmp_path: Path) -> None:
    key = r"HKLM\SOFTWARE\Vendor"
    (tmp_path / "a.pml").write_bytes(
        pml.write_log([pml.opened(key), pml.value_set(key + r"\New", b"\1\2")]).raw
    )
    root = Key("S", written=132_000_000_000_000_000)
    root.below("Vendor").values.append(("Old", 4, b"\7\0\0\0"))
    (tmp_path / "SOFTWARE").write_bytes(hive_writer.hive(root))
    folder = tmp_path / "all"
    folder.mkdir()
    word = f"{tmp_path / 'SOFTWARE'}=HKLM\\SOFTWARE"
    rt.ingest(tmp_path / "a.pml", folder / "a.regtrace", baseline=[word])
    rt.ingest(tmp_path / "a.pml", folder / "b.regtrace")
    with rt.open(folder / "a.regtrace") as capture:
        rows = capture.state(key=key)
        assert dict(zip(rows["value_name"].fillna("key"), rows["known"], strict=True)) == {
            "key": "exists", "New": "write", "Old": "baseline",
        }  # fmt: skip
        assert capture.history()["old_from"].tolist() == ["absent"]
        with rt.open(folder / "b.regtrace") as other:
            doubts = capture.diff(other).attrs["doubts"]
            assert [one[:16] for one in doubts if "hive" in one] == ["a: what the hive"]
    with rt.open(folder) as both:
        rows = both.state(key=key)
        assert rows["known"].tolist() == ["exists", "write", "baseline", "exists", "write"]
        assert rows["capture"].tolist() == ["a"] * 3 + ["b"] * 2
        history = both.history()
        assert history["old_from"].fillna("").tolist() == ["absent", ""]
        assert history["sequence"].nunique() == 2


@pytest.mark.slow
def test_sources_of_several_kinds_share_one_baseline(tmp_path: Path) -> None:
    two = simulate_two(tmp_path, events=600, keys=60)
    root = Key("S", written=WRITTEN)
    for name in ("Microsoft\\Windows", "Vendor\\Product"):
        root.below(name).values.append(("Held", 1, "a\0".encode("utf-16-le")))
    (tmp_path / "SOFTWARE").write_bytes(hive_writer.hive(root))
    answers = []
    for name, sources in (("one", [two.etl]), ("both", [two.log, two.etl])):
        path = tmp_path / f"{name}.regtrace"
        rt.ingest(sources, path, baseline=[f"{tmp_path / 'SOFTWARE'}=HKLM\\SOFTWARE"])
        assert list(broken_rules(path)) == []
        with rt.open(path) as capture:
            rows = capture.state(at=BEFORE, under=r"HKLM\SOFTWARE")
            rows = rows[rows["known"] == "baseline"]
            answers.append(sorted(zip(rows["display_key"], rows["text"].fillna("key"), strict=True)))
            assert capture.manifest.sources[-1]["kind"] == "hive"
            assert [row["source_id"] for row in capture.manifest.sources] == list(range(len(sources) + 1))
            notes = capture.manifest.settings["notes"]
            assert sum("days before the first event" in note for note in notes) == 1
    assert answers[0] == answers[1]
    assert len(answers[0]) == 1 + 4 + 2  # the root, four keys, two values


@pytest.mark.slow
def test_volatile_keys_are_not_believed_to_be_absent(tmp_path: Path) -> None:
    key, made = r"HKLM\SOFTWARE\Volatile", r"HKLM\SOFTWARE\Made"
    events = [
        pml.opened(key),
        pml.value_set(key + r"\V", b"\1\2"),
        pml.opened(key + r"\Below", result=0xC0000034),
        pml.opened(made, result=0xC0000034),
    ]
    (tmp_path / "a.pml").write_bytes(pml.write_log(events).raw)
    root = Key("S", written=132_000_000_000_000_000, keys=[Key("Other", written=132_000_000_000_000_000)])
    (tmp_path / "SOFTWARE").write_bytes(hive_writer.hive(root))
    rt.ingest(
        tmp_path / "a.pml", tmp_path / "a.regtrace", baseline=[f"{tmp_path / 'SOFTWARE'}=HKLM\\SOFTWARE"]
    )
    with rt.open(tmp_path / "a.regtrace") as capture:
        before = capture.state(at="2019-12-31T00:00:00Z", under=r"HKLM\SOFTWARE")
        assert dict(zip(before["display_key"], before["known"], strict=True)) == {
            r"HKLM\SOFTWARE": "baseline",
            made: "absent",
            r"HKLM\SOFTWARE\Other": "baseline",
        }
        assert capture.history()["old_from"].isna().all()


@pytest.mark.slow
def test_a_hive_newer_than_the_trace_tells_only_what_was_not_written_since(
    world: World, tmp_path: Path
) -> None:
    folder = world.capture.path.parent
    root = Key("S", written=WRITTEN)
    old = root.below("Vendor\\Old")
    old.values.append(("V", 4, b"\1\0\0\0"))
    new = root.below("Vendor\\New")
    new.values.append(("V", 4, b"\2\0\0\0"))
    new.written = root.keys[0].written = 134_000_000_000_000_000  # August 2025
    (tmp_path / "H").write_bytes(hive_writer.hive(root))
    rt.ingest(folder / "long.etl", tmp_path / "a.regtrace", baseline=[f"{tmp_path / 'H'}=HKLM\\NEWER"])
    with rt.open(tmp_path / "a.regtrace") as capture:
        rows = capture.state(under=r"HKLM\NEWER", at="+0s")
        found = {
            (row.display_key, row.value_name if isinstance(row.value_name, str) else None): row.known
            for row in rows.itertuples()
        }
        tells = dict(
            capture.sql("SELECT display_path, tells FROM baseline_keys JOIN keys USING (key_id)").itertuples(
                index=False
            )
        )
    vendor = "HKLM\\NEWER\\Vendor"
    assert found == {
        ("HKLM\\NEWER", None): "baseline",
        (vendor, None): "baseline",
        (f"{vendor}\\Old", None): "baseline",
        (f"{vendor}\\Old", "V"): "baseline",
    }
    assert tells == {
        "HKLM\\NEWER": "all",
        vendor: "key",
        f"{vendor}\\Old": "all",
        f"{vendor}\\New": "nothing",
    }
