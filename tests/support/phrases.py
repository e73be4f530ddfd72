"""The phrases that the package brings along: `python tests/support/phrases.py` writes them anew, a test compares.

Every usual question is asked of small captures: simulated ones, an odd one, and one whose keys were renamed. What Ibis
had to say for that is kept. Phrases of the sources as they are stay as they are, also where only comments have changed
since: only those that are missing are made.
"""

import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hand_capture import MISSING, event, write_events
from phrase_sources import ROOT, code_of, path_of, sources_of
from small_capture import write_capture

import regtrace as rt
from analysis.answers.facts import NEEDED
from analysis.answers.stays import STAYS
from analysis.answers.words import HOT_BY, HOT_SORTS, KEY_SORTS, TREE_SORTS
from analysis.engine import kept_phrases, phrases
from analysis.engine.open_engine import OpenEngine
from analysis.engine.relation import Columns, Relation, columns_of
from analysis.questions import changes, evidence, history, key_ranges, state
from analysis.questions.evidence import Surroundings
from tracer.registry.operations import GROUPS, OPERATIONS

KEY = r"HKLM\SOFTWARE"
PROCESS = "svchost.exe"

_Phrases = dict[str, dict[str, tuple[str, Columns] | None]]


def usual(capture: rt.Capture) -> list[Callable[[], object]]:
    """Return the usual questions, each ready to be asked."""
    asked: list[Callable[[], object]] = [
        *(lambda a=each: capture.who(each=a) for each in (False, True)),
        *(lambda f=f, h=h: capture.errors(fold=f, harmless=h) for f, h in product((True, False), repeat=2)),
        *(lambda s=sort: capture.keys(sort=s) for sort in KEY_SORTS),
        lambda: capture.keys(under=KEY),
        lambda: capture.keys(process=PROCESS),
        *(lambda b=by, s=sort: capture.hot(by=b, sort=s) for by in HOT_BY for sort in HOT_SORTS),
        *(lambda b=by: capture.hot(by=b, process=PROCESS) for by in HOT_BY),
        lambda: capture.hot(by="storm"),
        lambda: capture.coverage(),
        lambda: capture.coverage(process=PROCESS),
        lambda: capture.autoruns(),
        lambda: capture.autoruns(process=PROCESS),
        lambda: capture.autoruns(reads=True),
        *(lambda s=sort: capture.tree(sort=s) for sort in TREE_SORTS[:2]),
        *(lambda d=depth: capture.tree(depth=d) for depth in range(4)),
        lambda: capture.tree(under=KEY),
        lambda: capture.tree(process=PROCESS),
        *(
            lambda b=by, p=problems, k=key: capture.handles(k, by=b, problems=p)
            for by, problems, key in product(("handle", "key"), (False, True), (None, KEY))
        ),
        *(lambda p=polling: capture.redundant(polling=p) for polling in (False, True)),
        *(lambda p=polling: _of_a_large_capture(lambda: capture.redundant(polling=p)) for polling in (False, True)),
        *(lambda k=key: capture.changes(under=k) for key in (None, KEY)),
        *(
            lambda w=words: _of_a_large_capture(lambda: capture.changes(**w))
            for words in ({}, {"start": "+1ms"}, {"key": KEY, "subtree": True})
        ),
        *(lambda w=words: _of_a_large_capture(lambda: capture.history("**", **w)) for words in ({}, {"start": "+1ms"})),
        lambda: _of_a_large_capture(lambda: capture.history(KEY, subtree=True)),
        *(lambda k=key: capture.state(under=k) for key in (None, KEY)),
        *(lambda s=subtree: capture.history(KEY, subtree=s) for subtree in (False, True)),
        *(
            lambda f=fold, k=key: capture.diff(key=k, a_end="+5ms", b_start="+5ms", fold=f)
            for fold, key in product((None, "all", "sid,controlset"), (None, KEY))
        ),
        *(lambda p=process: capture.slow(process=p) for process in (None, PROCESS)),
        lambda: capture.first_divergence(a_end="+5ms", b_start="+5ms"),
        lambda: capture.first_divergence(process=PROCESS, a_end="+5ms", b_start="+5ms"),
        *(lambda o=word: capture.timeline(operation=o, limit=1) for word in words()),
        *(lambda s=word: capture.timeline(status=s, limit=1) for word in ("success", "error", "NAME_NOT_FOUND")),
        lambda: capture.timeline(KEY, value="a*", process=PROCESS, start="+1ms", end="+1s", limit=1),
        lambda: capture.timeline(KEY, subtree=True, pid=4, start="+1ms", limit=1),
        lambda: capture.timeline(process=r"*\a.exe", end="+1s", limit=1),
        lambda: capture.timeline(process="4", limit=1),
        lambda: capture.context.rows(rt.Filters(operation="write"), joined=False),
    ]  # fmt: skip
    return asked


def usual_of_many(dataset: rt.Capture) -> list[Callable[[], object]]:
    """Return the questions whose phrases are kept for datasets too: their ids have another type than those of one capture."""
    return [
        dataset.who,
        dataset.errors,
        dataset.keys,
        lambda: dataset.keys(under=KEY),
        dataset.hot,
        dataset.autoruns,
        lambda: dataset.changes(under=KEY),
        lambda: dataset.history(KEY, subtree=True),
        lambda: dataset.state(under=KEY),
        lambda: dataset.timeline(KEY, limit=1),
        lambda: dataset.timeline(KEY, subtree=True, limit=1),
        lambda: dataset.timeline(process=PROCESS, operation="write", limit=1),
    ]


def _of_a_large_capture(ask: Callable[[], object]) -> None:
    """Ask as of captures whose keys are looked at range by range."""
    with patch.object(key_ranges, "_MANY_ROWS", 0):
        ask()


def with_evidence(capture: rt.Capture) -> list[Callable[[], object]]:
    """Return what `history`, `state` and `changes` may have to look at, each ready to be phrased; none of it runs."""
    context = capture.context
    events, keys = context.relation("stored_events"), context.relation("keys")
    kind = dict(keys.columns)["key_id"]
    pairs = Relation.of_table("pairs", tuple((name, kind) for name in ("top_key_id", "top_id", "below_id")))
    descent = phrases.phrase(
        "analysis.answers.evidence:heard_of", events=events, keys=keys, descent=pairs, stays=None
    )
    unproved = phrases.phrase(
        "analysis.answers.unproved:unproved_changes",
        options={"flagged": True},
        values={"width_ns": 1},
        events=events,
        keys=keys,
    )
    everywhere = events.select(*NEEDED)
    stays = Relation.of_table("stays", (*columns_of(STAYS), ("is_asked", "bool")))
    plain = [Surroundings(False)]
    of_all = plain + [Surroundings(s, None, d) for s, d in ((False, descent), (True, None), (True, descent))]
    of_keys = [Surroundings(s, everywhere, d) for s, d in ((False, descent), (True, None), (True, descent))]
    # where keys were renamed
    of_all += [Surroundings(True, None, d, stays) for d in (None, descent)]
    of_keys += [Surroundings(True, everywhere, d, stays) for d in (None, descent)]
    asked: list[Callable[[], object]] = []
    for around, proof in product(plain + of_keys, (None, unproved)):
        for more in ({}, {"value": "a"}, {"process": PROCESS}):
            asked.append(partial(_phrased_history, capture, around, proof, KEY, **more))
    for around, proof in product([Surroundings(False), *of_all[1:4], *of_keys[:3]], (None, unproved)):
        key = KEY if around.everywhere is not None else None
        for more in ({}, {"start": "+1ms"}):
            asked.append(partial(_phrased_in_ranges, capture, around, proof, key, **more))
    for around, proof in product(of_all + of_keys, (None, unproved)):
        key = KEY if around.everywhere is not None else None
        for more in ({}, {"value": "a"}, {"at": "+1s"}, {"process": PROCESS}):
            asked.append(partial(_phrased_state, capture, around, proof, key, **more))
    for around, dated in product(of_all + of_keys, (False, True)):
        key = KEY if around.everywhere is not None else None
        for more in ({}, {"start": "+1ms"}, {"process": PROCESS}):
            asked.append(partial(_phrased_changes, capture, around, dated, key, **more))
    return asked


def _events(capture: rt.Capture, key: str | None) -> Relation:
    events = capture.context.relation("stored_events")
    return events if key is None else events.select(*NEEDED)


def _phrased_history(
    capture: rt.Capture, around: Surroundings, unproved: Relation | None, key: str | None, **more: Any
) -> None:
    events = _events(capture, key)
    with (
        patch.object(history, "evidence_of", lambda *_: (events, around)),
        patch.object(history, "unproved_changes", lambda *_: unproved),
    ):
        capture.queries.history(key, **more)


def _phrased_state(
    capture: rt.Capture, around: Surroundings, unproved: Relation | None, key: str | None, **more: Any
) -> None:
    events = _events(capture, key)
    with (
        patch.object(state, "evidence_of", lambda *_: (events, around)),
        patch.object(state, "unproved_changes", lambda *_: unproved),
    ):
        capture.queries.state(key, **more)


def _phrased_changes(
    capture: rt.Capture, around: Surroundings, dated: bool, key: str | None, **more: Any
) -> None:
    events = _events(capture, key)
    with (
        patch.object(changes, "surroundings", lambda *_: around),
        patch.object(changes, "needed_rows", lambda *_: events),
    ):
        changes._touched(capture.context, capture.queries.changes(key, **more).filters, dated=dated)


def _phrased_in_ranges(
    capture: rt.Capture, around: Surroundings, unproved: Relation | None, key: str | None, **more: Any
) -> None:
    """Phrase what changes and history of a large capture ask for beside the evidence of each range."""

    def gather(_: object, kind: str, __: str, make: Callable[[], object], columns: Columns) -> Relation:
        list(make())  # type: ignore[call-overload]
        return Relation.of_table(kind, columns)

    events, filters = _events(capture, key), rt.Filters(key=key, **more)
    with (
        patch.object(OpenEngine, "gather", gather),
        patch.object(OpenEngine, "keep", lambda _, kind, rows: Relation.of_table(kind, rows.columns)),
        patch.object(evidence, "key_ranges", lambda _: []),
        patch.object(history, "unproved_changes", lambda *_: unproved),
    ):
        history._in_ranges(capture.context, filters, events, around)
        changes._in_ranges(capture.context, filters, events, around, None)


def words() -> list[str]:
    """Return every word for operations."""
    return [*(group.word or group.name for group in GROUPS.values()), *(one.short for one in OPERATIONS)]


def make(folder: Path) -> _Phrases:
    """Ask every usual question, and return what was asked of phrases, by function and arguments.

    Args:
        folder: for the captures.

    Returns:
        What Ibis said; None for a phrase that is kept.
    """
    asked: _Phrases = defaultdict(dict)

    def look(function: str, arguments: str) -> tuple[str, Columns] | None:
        asked[function].setdefault(arguments, None)
        return kept_phrases.find_phrase(function, arguments)

    def hear(function: str, arguments: str, said: tuple[str, Columns]) -> None:
        asked[function][arguments] = said

    for name, options in SIMULATIONS.items():
        rt.simulate(folder / f"{name}.etl", rt.SimulationOptions(**options))
        rt.ingest(folder / f"{name}.etl", folder / f"{name}.regtrace")
    shutil.copytree(folder / "whole.regtrace", folder / "whole-too.regtrace")
    write_capture(folder / "odd.regtrace")
    write_events(folder / "renamed.regtrace", RENAMED)
    phrases._phrased.cache_clear()
    phrases.listeners.append(hear)
    try:
        with patch.object(phrases, "find_phrase", look):
            for name in (*SIMULATIONS, "odd", "renamed"):
                with rt.open(folder / f"{name}.regtrace") as capture:
                    for ask in usual(capture):
                        with suppress(rt.RegtraceError):
                            ask()
                    if name == "whole":
                        for ask in with_evidence(capture):
                            ask()
            for several in (("whole", "whole-too"), ("lossy", "odd")):
                with rt.open([folder / f"{name}.regtrace" for name in several]) as dataset:
                    for ask in usual_of_many(dataset):
                        with suppress(rt.RegtraceError):
                            ask()
    finally:
        phrases.listeners.remove(hear)
    return asked


SIMULATIONS: dict[str, dict[str, Any]] = {
    "whole": {"events": 3_000},
    "lossy": {"events": 3_000, "lost_buffers": 0.2},
}
# A key is renamed, with one below it that has a value; of a third one only that it is missing was heard before.
RENAMED = [
    event("CreateKey", rf"{KEY}\A", disposition=1),
    event("SetValueKey", rf"{KEY}\A\x", "V", data_type=4, data_size=4, data=bytes(4)),
    event("OpenKey", rf"{KEY}\B", status=MISSING),
    event("RenameKey", rf"{KEY}\A", requested_name="B"),
    event("SetValueKey", rf"{KEY}\B\x", "V", data_type=4, data_size=4, data=b"\1\0\0\0"),
]


def refresh() -> None:
    """Give files a new first line where only comments of their sources have changed; remove those that are stale."""
    for path in kept_phrases.FOLDER.glob("*.txt"):
        head, code, *lines = path.read_text(encoding="ascii").splitlines()
        module = "analysis." + path.stem.rsplit(".", 1)[0]
        new_head, new_code = heads_of(module) if (ROOT / path_of(module)).is_file() else ("", "")
        if code != new_code:
            path.unlink()
        elif head != new_head:
            write(path, [new_head, new_code, *lines])
    kept_phrases._phrases_of.cache_clear()


def heads_of(module: str) -> tuple[str, str]:
    """Return the first two lines of a file with phrases of this module."""
    sources = sources_of(module)
    code = f"without comments {code_of(sources)}; by tests/support/phrases.py: do not edit"
    return kept_phrases.head_of(sources), code


def write(path: Path, lines: list[str]) -> None:
    """Write a file of phrases."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii", newline="\n")


def main() -> None:
    """Write the files whose sources have changed anew, and add and remove phrases in the others."""
    kept_phrases.FOLDER.mkdir(exist_ok=True)
    refresh()
    with tempfile.TemporaryDirectory() as folder:
        asked = make(Path(folder))
    for path in set(kept_phrases.FOLDER.glob("*.txt")) - {
        kept_phrases.file_of(function) for function in asked
    }:
        path.unlink()
    for function, said in asked.items():
        kept = kept_phrases._phrases_of(function)
        lines = []
        for arguments, phrase in said.items():
            number = kept_phrases._number(arguments)
            lines.append(
                f"{number} {kept[number]}" if phrase is None else kept_phrases.line_of(arguments, phrase)
            )
        write(kept_phrases.file_of(function), [*heads_of(function.partition(":")[0]), *sorted(lines)])


if __name__ == "__main__":
    main()
