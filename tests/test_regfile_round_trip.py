"""The .reg files of a simulated trace, tried on the very registry that was simulated: there and back again."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from reg_reader import Model

import regtrace as rt
from analysis.engine.fetch import to_frame
from analysis.filters import Filters
from analysis.questions.changes import reg_files
from analysis.regfile.syntax import NotExpressible, encode_file, key_name
from tracer.registry.text import fold_name, unescape_name
from tracer.simulate import run
from tracer.simulate.registry import Key, Registry

TRACES: list[dict[str, Any]] = [
    {"seed": 21, "events": 12_000, "keys": 200},
    {"seed": 22, "events": 12_000, "keys": 150, "hostile_names": 0.1, "nul_names": 0.05, "surrogate_names": 0.05},
    {"seed": 23, "events": 8_000, "keys": 100, "lost_events": 0.0005, "lost_buffers": 0.005, "buffer_size": 8192},
]  # fmt: skip

Named = tuple[str, str | None]  # a key and a value of it; None: the key itself


class Simulated:
    """A simulated registry before and after its trace, and the capture that was made of the trace."""

    def __init__(self, folder: Path, options: dict[str, Any]) -> None:
        made: list[Registry] = []

        class Watched(Registry):
            def __init__(watched, *arguments: Any) -> None:  # noqa: N805
                super().__init__(*arguments)
                made.append(watched)
                self.before = self._model(watched)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "Registry", Watched)
            rt.simulate(
                folder / "trace.etl", rt.SimulationOptions(**({"preopened": 0, "gap_us": 500.0} | options))
            )
        self.after = self._model(made[0])
        rt.ingest(folder / "trace.etl", folder / "trace.regtrace", control_set=1)
        self.capture = rt.open(folder / "trace.regtrace")

    def _model(self, registry: Registry) -> Model:
        """Return a registry as importers see it; CurrentControlSet and a user's classes are links."""

        def named(path: str) -> str:
            return fold_name(unescape_name(path)).removeprefix("\\REGISTRY\\")

        def followed(path: str) -> str:
            path = path.replace("HKEY_LOCAL_MACHINE", "MACHINE", 1).replace("HKEY_USERS", "USER", 1)
            for link, target in registry.links:
                start, end = named(link), named(target.path)
                if path == start or path.startswith(start + "\\"):
                    return end + path[len(start) :]
            return path

        model = Model(fold_name, followed)
        stack: list[Key] = [registry.root]
        while stack:
            key = stack.pop()
            stack += key.children
            if key.parent is None:
                continue
            values = model.keys.setdefault(named(key.path), {})
            for value in key.values:
                values[fold_name(unescape_name(value.name))] = (value.type, value.data)
        return model


def differences(model: Model, other: Model, said: set[Named]) -> set[Named]:
    """Return the keys and values that differ, but for what the files say they leave out."""
    found: set[Named] = set()
    for path in model.keys.keys() | other.keys.keys():
        ours, theirs = model.keys.get(path), other.keys.get(path)
        if (ours is None) != (theirs is None):
            found.add((path, None))
        names = (ours or {}).keys() | (theirs or {}).keys()
        found |= {(path, name) for name in names if (ours or {}).get(name) != (theirs or {}).get(name)}
    return {(path, name) for path, name in found if (path, name) not in said and (path, None) not in said}


def said_by(model: Model, left_out: pd.DataFrame) -> set[Named]:
    """Return what a file says it leaves out; of a key, whatever is in it."""
    return {
        (model.follow(folded_path(key)), None if pd.isna(value) else fold_name(unescape_name(value)))
        for key, value in zip(left_out["display_key"], left_out["value_name"], strict=True)
    }


def folded_path(display_key: str) -> str:
    root, _, rest = unescape_name(display_key).partition("\\")
    roots = {"HKLM": "MACHINE", "HKU": "USER"}
    return fold_name(f"{roots[root]}\\{rest}" if root in roots else unescape_name(display_key)[10:])


@pytest.mark.slow
@pytest.mark.parametrize("options", TRACES[:2], ids=str)
def test_apply_leads_to_the_state_after_and_undo_back_to_the_state_before(tmp_path, options) -> None:
    simulated = Simulated(tmp_path, options)
    with simulated.capture as capture:
        found = capture.queries.changes().net_changes()
        files = reg_files(capture.context, found, Filters())
    changes = to_frame(found.rows)
    assert set(changes["change"]) >= {"added", "changed", "removed", "set", "created", "deleted"}
    model = simulated.before.copy()
    not_applied, not_undone = said_by(model, files.not_applicable), said_by(model, files.not_undoable)
    assert len(differences(simulated.before, simulated.after, not_applied)) > 200
    model.apply(encode_file(files.apply))
    assert differences(model, simulated.after, not_applied) == set()
    back = simulated.after.copy()
    back.apply(encode_file(files.undo))
    assert differences(back, simulated.before, not_undone) == set()
    model.apply(encode_file(files.undo))
    assert differences(model, simulated.before, not_undone) == set()
    # Nothing is said to be left out without need.
    reasons = set(files.not_applicable["reason"])
    assert len(files.not_applicable) < len(changes) / 4
    assert not any("never seen" in reason for reason in reasons)


@pytest.mark.slow
def test_a_part_of_the_time_begins_and_ends_between(tmp_path) -> None:
    simulated = Simulated(tmp_path, TRACES[0])
    with simulated.capture as capture:
        first, second = capture.reg_files(end="+4s"), capture.reg_files(start="+4.000000001s")
    model = simulated.before.copy()
    said = said_by(model, first.not_applicable) | said_by(model, second.not_applicable)
    model.apply(encode_file(first.apply))
    assert differences(model, simulated.after, said)
    model.apply(encode_file(second.apply))
    assert differences(model, simulated.after, said) == set()
    said |= said_by(model, first.not_undoable) | said_by(model, second.not_undoable)
    model.apply(encode_file(second.undo))
    assert differences(model, simulated.before, said)
    model.apply(encode_file(first.undo))
    assert differences(model, simulated.before, said) == set()


@pytest.mark.slow
def test_with_losses_only_what_was_seen_is_touched(tmp_path) -> None:
    simulated = Simulated(tmp_path, TRACES[2])
    with simulated.capture as capture:
        found = capture.queries.changes().net_changes()
        files, changes = reg_files(capture.context, found, Filters()), to_frame(found.rows)
    model = simulated.after.copy()
    model.apply(encode_file(files.undo))
    touched = set()
    for shown in changes["display_key"]:
        try:
            key_name(shown)
        except NotExpressible:
            continue
        touched.add(model.follow(folded_path(shown)))
    unlike = {path for path, _ in differences(model, simulated.after, set())}
    assert unlike
    assert all(any(path == key or path.startswith(key + "\\") for key in touched) for path in unlike)
