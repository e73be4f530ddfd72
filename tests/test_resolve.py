r"""The fast resolver gives what the plain one gives, row by row, however the rows are cut into batches.

`tracer.resolve.sequential` is the reference: a dict and a handful of rules. Numbers of keys depend on the
order in which a resolver meets them, so keys are compared by their paths.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer.compiled import is_available
from tracer.decode.columns import decode_operations
from tracer.decode.plans import ABSENT, PlanTables
from tracer.decode.strings import NameTable
from tracer.diagnostics import Diagnostics
from tracer.etl.reader import EtlReader
from tracer.resolve.losses import LossTimes
from tracer.resolve.object_ops import (
    CLASSIC_SPACE,
    DEFERRED,
    GRACE_NS,
    NO_NAME,
    OPEN,
    SEED,
    SOURCES,
    ObjectOps,
    Resolved,
)
from tracer.resolve.resolver import NUMPY, Resolver
from tracer.resolve.sequential import SequentialResolver
from tracer.resolve.tree import KeyTree
from tracer.rows.events import make_object_ops, time_order
from tracer.simulate import SimulationOptions, simulate

NAMES = [
    "", r"\REGISTRY\MACHINE\A", r"\registry\machine\b" + "\\", r"\REGISTRY\USER", r"\REGISTRY\MACHINE\A\x", "\\",
    "x", "X", "Y", r"z\w", r"deep\\er", "Y\\",
]  # fmt: skip
ROOTED = [1, 2, 3, 4, 5]
RELATIVE = [0, 6, 7, 8, 9, 10, 11]
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class ObjectOp:
    """One record, as far as resolving goes."""

    address: int = 0
    given_path: int = NO_NAME
    requested_path: int = NO_NAME
    opened_object: int = 0
    closes: bool = False
    rundown: bool = False
    created: bool = False
    doubtful: bool = False
    wait_ns: int = 100


def touches_of(records: list[ObjectOp]) -> ObjectOps:
    """Return the records as columns; each comes `wait_ns` after the one before."""

    def column(name: str, kind: type) -> np.ndarray:
        return np.array([getattr(record, name) for record in records], kind)

    return ObjectOps(
        address=column("address", np.uint64), given_path=column("given_path", np.int32), requested_path=column("requested_path", np.int32),
        opened_object=column("opened_object", np.uint64), created=column("created", bool), closes=column("closes", bool),
        rundown=column("rundown", bool), doubtful=column("doubtful", bool), time_ns=np.cumsum(column("wait_ns", np.int64)),
        sequence=np.arange(len(records)), process=np.zeros(len(records), np.int32),
    )  # fmt: skip


def cut(touches: ObjectOps, places: list[int]) -> list[ObjectOps]:
    """Cut a batch at `places` into several."""
    edges = [0, *sorted(places), len(touches)]
    return [touches.piece(a, b) for a, b in pairwise(edges) if a < b]


def path_of(tree: KeyTree, node: int) -> str | None:
    """Return a key's path from its root; None for no key."""
    if node < 0:
        return None
    parts = []
    while node >= 0:
        parts.append(tree.names[node])
        node = tree.parents[node]
    return "\\".join(reversed(parts))


@dataclass(frozen=True)
class Story:
    """Everything a resolver says, in a form that two of them can be compared by."""

    paths: list[str | None]
    handles: list[int]
    sources: list[int]
    after_close: list[bool]
    doubtful: list[bool]
    bound: list[tuple[str | None, str | None, str]]
    unnamed: int


def story(tree: KeyTree, parts: list[Resolved]) -> Story:
    def column(name: str) -> list:
        return np.concatenate([_NONE, *(getattr(part, name) for part in parts)]).tolist()

    bound = sorted((path_of(tree, a), path_of(tree, b), source) for a, (b, source) in tree.bound.items())
    paths = {node: path_of(tree, node) for node in set(column("key"))}
    return Story(
        [paths[node] for node in column("key")], column("handle"), column("source"), column("after_close"),
        column("doubtful"), bound,
        len(tree.objects),
    )  # fmt: skip


def fast(
    touches: ObjectOps,
    names: list[str],
    places: list[int],
    seed: dict[int, str],
    *,
    compiled: bool = False,
) -> tuple[Story, Resolver]:
    tree = KeyTree()
    kernels = NUMPY
    if compiled:
        from tracer.compiled.lifetimes import find_lifetimes

        kernels = replace(NUMPY, find_lifetimes=find_lifetimes)
    resolver = Resolver(tree, names, kernels=kernels)
    if seed:
        resolver.seed(list(seed), list(seed.values()), 0)
    return story(tree, [resolver.resolve(part) for part in cut(touches, places)]), resolver


def plain(touches: ObjectOps, names: list[str], seed: dict[int, str]) -> Story:
    tree = KeyTree()
    resolver = SequentialResolver(tree, names)
    for address, path in seed.items():
        resolver.seed(address, path)
    return story(tree, [resolver.resolve(touches)])


def check_handles(resolver: Resolver, said: Story) -> None:
    """Every life is in the table `handles`, once; none is missing."""
    numbers = resolver.handles.finish()["handle_id"].to_pylist()
    assert sorted(numbers) == list(range(len(numbers)))
    assert set(said.handles) - {-1} <= set(numbers)


# --- any touches ------------------------------------------------------------------------------------------

# Few addresses, so that reuse, chains and conflicts are the rule; both spaces at the same addresses.
addresses = st.integers(1, 6).map(lambda number: number * 16)
objects = st.one_of(addresses, addresses.map(lambda address: address | CLASSIC_SPACE))
waits = st.sampled_from([0, 100, GRACE_NS // 2, GRACE_NS, GRACE_NS + 1])
doubts = st.sampled_from([False, False, False, True])
maybe_object = st.one_of(st.just(0), objects)
rooted = st.sampled_from(ROOTED)
uses = st.builds(ObjectOp, address=objects, closes=st.booleans(), wait_ns=waits)
named_uses = st.builds(
    ObjectOp,
    address=objects,
    given_path=rooted,
    rundown=st.booleans(),
    closes=st.booleans(),
    wait_ns=waits,
    doubtful=doubts,
)
opens = st.builds(
    ObjectOp,
    address=maybe_object,
    requested_path=st.sampled_from(ROOTED + RELATIVE),
    opened_object=maybe_object,
    created=st.booleans(),
    wait_ns=waits,
    doubtful=doubts,
)
taught_opens = st.builds(
    ObjectOp,
    address=objects,
    given_path=rooted,
    requested_path=st.sampled_from(RELATIVE),
    opened_object=maybe_object,
    wait_ns=waits,
)
blocks = st.builds(
    ObjectOp, requested_path=rooted, opened_object=objects, wait_ns=waits
)  # classic: a control block was made
nothing = st.builds(ObjectOp, wait_ns=waits)
traces = st.lists(st.one_of(uses, uses, named_uses, opens, opens, taught_opens, blocks, nothing), max_size=60)
seeds = st.dictionaries(addresses, st.sampled_from([r"\REGISTRY\S1", r"\REGISTRY\MACHINE\A"]), max_size=3)


FORMS = pytest.mark.parametrize(
    "compiled", [False, pytest.param(True, marks=pytest.mark.skipif(not is_available(), reason="no Numba"))]
)


@pytest.mark.slow
@FORMS
@given(records=traces, seed=seeds, places=st.lists(st.integers(0, 60), max_size=5))
def test_the_fast_resolver_says_what_the_plain_one_says(compiled, records, seed, places):
    touches = touches_of(records)
    places = [min(place, len(touches)) for place in places]
    said, resolver = fast(touches, NAMES, places, seed, compiled=compiled)
    assert said == plain(touches, NAMES, seed)
    check_handles(resolver, said)


@given(records=traces, seed=seeds)
def test_a_batch_a_row_is_as_good_as_one_batch(records, seed):
    touches = touches_of(records)
    one, _ = fast(touches, NAMES, [], seed)
    many, _ = fast(touches, NAMES, list(range(len(records))), seed)
    assert one == many


@FORMS
@pytest.mark.parametrize("number", range(12))
def test_long_random_traces_agree(number, compiled):
    """Long enough for chains of openings that rest on openings many times over."""
    draw = np.random.default_rng(number)
    size, addresses = 4000, int(draw.integers(3, 200))
    opens = draw.random(size) < 0.35
    space = np.where(draw.random(size) < 0.2, CLASSIC_SPACE, 0)
    address = np.where(draw.random(size) < 0.9, draw.integers(1, addresses, size) * 16 | space, 0)
    given_path = np.where((address > 0) & (draw.random(size) < 0.05), draw.choice(ROOTED, size), NO_NAME)
    touches = ObjectOps(
        address=address.astype(np.uint64),
        given_path=given_path.astype(np.int32),
        requested_path=np.where(opens, draw.integers(0, len(NAMES), size), NO_NAME).astype(np.int32),
        opened_object=np.where(
            opens & (draw.random(size) < 0.7), draw.integers(1, addresses, size) * 16, 0
        ).astype(np.uint64),
        created=np.zeros(size, bool),
        closes=~opens & (draw.random(size) < 0.3),
        rundown=(given_path >= 0) & (draw.random(size) < 0.3),
        doubtful=draw.random(size) < 0.01,
        time_ns=np.cumsum(draw.integers(0, GRACE_NS // 20, size)),
        sequence=np.arange(size),
        process=np.zeros(size, np.int32),
    )
    seed = {16: r"\REGISTRY\S1", 32: r"\REGISTRY\S2"} if number % 2 else {}
    places = draw.integers(0, size, int(draw.integers(0, 6))).tolist()
    said, resolver = fast(touches, NAMES, places, seed, compiled=compiled)
    assert said == plain(touches, NAMES, seed)
    check_handles(resolver, said)


def test_a_chain_of_opens_longer_than_any_batch_is_wide_keeps_its_path():
    """Each object is opened from the one before: 300 levels in one batch."""
    records = [ObjectOp(requested_path=1, opened_object=16)]
    records += [ObjectOp(address=16 * n, requested_path=6, opened_object=16 * (n + 1)) for n in range(1, 300)]
    said, _ = fast(touches_of(records), NAMES, [], {})
    assert said.paths[-1] == r"\REGISTRY\MACHINE\A".removeprefix("\\") + r"\x" * 299


# --- the rules, one by one: both resolvers -----------------------------------------------------------------


def both(*records: ObjectOp, seed: dict[int, str] | None = None) -> Story:
    touches = touches_of(list(records))
    said, _ = fast(touches, NAMES, [], seed or {})
    assert said == plain(touches, NAMES, seed or {})
    return said


A = r"REGISTRY\MACHINE\A"


def test_an_address_opened_again_is_another_key():
    said = both(
        ObjectOp(requested_path=1, opened_object=16),
        ObjectOp(16),
        ObjectOp(requested_path=3, opened_object=16),
        ObjectOp(16),
    )
    assert said.paths == [A, A, r"REGISTRY\USER", r"REGISTRY\USER"]
    assert said.handles == [0, 0, 1, 1]


def test_a_failed_open_has_the_path_it_asked_for_and_opens_nothing():
    said = both(ObjectOp(requested_path=1, opened_object=16), ObjectOp(16, requested_path=6), ObjectOp(32))
    assert said.paths[1] == A + r"\x"
    assert said.sources == [0, OPEN, DEFERRED]


def test_a_use_shortly_after_the_close_is_of_the_same_object():
    said = both(
        ObjectOp(requested_path=1, opened_object=16),
        ObjectOp(16, closes=True),
        ObjectOp(16, wait_ns=GRACE_NS),
    )
    assert (said.paths[2], said.handles[2], said.after_close) == (A, 0, [False, False, True])


def test_a_use_long_after_the_close_is_of_an_object_that_nobody_named():
    said = both(
        ObjectOp(requested_path=1, opened_object=16),
        ObjectOp(16, closes=True),
        ObjectOp(16, wait_ns=GRACE_NS + 1),
        ObjectOp(16),
    )
    assert said.paths[2] == said.paths[3] == "<object 0x10>"
    assert (said.handles, said.sources[2], said.after_close[2]) == ([0, 0, 1, 1], DEFERRED, False)


@pytest.mark.parametrize(("rundown", "source"), [(False, "later"), (True, "rundown")])
def test_a_name_that_comes_later_names_the_earlier_rows(rundown, source):
    said = both(
        ObjectOp(16),
        ObjectOp(16, requested_path=6, opened_object=32),
        ObjectOp(32),
        ObjectOp(16, given_path=1, rundown=rundown),
    )
    assert said.bound == [("<object 0x10>", A, source)]
    assert said.paths[1:3] == [r"<object 0x10>\x"] * 2


def test_a_name_that_comes_later_names_what_was_opened_below_an_unnamed_object():
    said = both(
        ObjectOp(16, requested_path=6, opened_object=32),
        ObjectOp(32),
        ObjectOp(32, requested_path=8, opened_object=48),
        ObjectOp(48),
        ObjectOp(32, given_path=4),
    )
    assert said.bound == [(r"<object 0x10>\x", A + r"\x", "later")]


def test_a_relative_name_without_a_base_is_not_named_by_another_of_its_kind():
    said = both(
        ObjectOp(requested_path=6, opened_object=16),
        ObjectOp(requested_path=6, opened_object=32),
        ObjectOp(16, given_path=1),
        ObjectOp(32),
    )
    assert said.bound == []
    assert said.paths[3] == r"<object 0x0>\x"


def test_what_rests_on_a_doubtful_name_is_doubtful_until_a_sure_one_comes():
    said = both(
        ObjectOp(16, given_path=1, doubtful=True), ObjectOp(16, requested_path=6, opened_object=32), ObjectOp(32), ObjectOp(32, given_path=4), ObjectOp(32),
        ObjectOp(16),
    )  # fmt: skip
    assert said.doubtful == [True, True, True, False, False, True]


def test_a_doubtful_name_does_not_name_earlier_rows():
    assert both(ObjectOp(16), ObjectOp(16, given_path=1, doubtful=True)).bound == []


def test_a_name_is_not_given_to_the_object_that_had_the_address_before():
    said = both(ObjectOp(16), ObjectOp(requested_path=3, opened_object=16), ObjectOp(16, given_path=1))
    assert said.bound == []
    assert said.paths == ["<object 0x10>", r"REGISTRY\USER", A]


def test_a_seeded_name_holds_until_the_address_is_opened_again():
    said = both(
        ObjectOp(16), ObjectOp(requested_path=1, opened_object=16), ObjectOp(16), seed={16: r"\REGISTRY\S1"}
    )
    assert said.paths == [r"REGISTRY\S1", A, A]
    assert [SOURCES[source] for source in said.sources] == ["seed", "event", "open"]


def test_what_was_opened_below_a_seeded_object_is_no_surer_than_the_seed():
    said = both(ObjectOp(16, requested_path=6, opened_object=32), ObjectOp(32), seed={16: r"\REGISTRY\S1"})
    assert said.sources == [SEED, SEED]


def test_a_relative_name_without_a_base_stays_apart():
    said = both(ObjectOp(requested_path=6), ObjectOp(requested_path=7))
    assert said.paths == [r"<object 0x0>\x"] * 2
    assert said.sources == [DEFERRED] * 2


def test_spellings_of_one_key_are_one_key():
    said = both(
        ObjectOp(requested_path=1, opened_object=16),
        ObjectOp(16, requested_path=6),
        ObjectOp(16, requested_path=7),
        ObjectOp(16, requested_path=0),
    )
    assert said.paths == [A, A + r"\x", A + r"\x", A]


def test_a_control_block_and_an_object_at_one_address_are_two_things():
    said = both(
        ObjectOp(requested_path=1, opened_object=16),
        ObjectOp(requested_path=3, opened_object=16 | CLASSIC_SPACE),
        ObjectOp(16),
        ObjectOp(17),
    )
    assert said.paths[2:] == [A, r"REGISTRY\USER"]


def test_rows_that_touch_no_object_make_no_life():
    assert both(ObjectOp(), ObjectOp(requested_path=1), ObjectOp(requested_path=6)).handles == [-1, -1, -1]


# --- losses ------------------------------------------------------------------------------------------------


@given(
    losses=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted), max_size=4),
    stretch=st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted),
    unbounded=st.sampled_from([(), ((None, 10),), ((40, None),), ((None, None),)]),
)
def test_a_loss_lies_between_when_it_overlaps_the_stretch(losses, stretch, unbounded):
    since, until = stretch
    every = [*map(tuple, losses), *unbounded]
    times = LossTimes(every)
    said = bool(times.between(np.array([since]), np.array([until]))[0])
    expected = any((a is None or a < until) and (b is None or b > since) for a, b in every)
    assert said == expected or (said and since == until)  # at one moment a doubt may be raised too often


# --- simulated traces --------------------------------------------------------------------------------------


def simulated_touches(path, chunk_bytes: int) -> tuple[list[ObjectOps], list[str]]:
    """Return what the records of a trace do to key objects, batch by batch, and the names."""
    names, found, batches, events = NameTable(), [Diagnostics()], [], 0
    with EtlReader([path], found, chunk_bytes=chunk_bytes) as reader:
        for records in reader:
            operations = decode_operations(records, reader.providers, names, found)
            order = time_order(records, operations)
            is_row = PlanTables.operation[operations.plan[order]] != ABSENT
            sequence = events + np.cumsum(is_row) - is_row
            process = np.zeros(len(order), np.int32)
            batches.append(make_object_ops(records, operations, order, process, sequence, names))
            events += int(is_row.sum())
    return batches, names.texts


def check_simulated(folder, options: SimulationOptions, chunk_bytes: int) -> None:
    simulate(folder / "a.etl", options, truth=False)
    batches, names = simulated_touches(folder / "a.etl", chunk_bytes)
    assert len(batches) > 1
    fast_tree, plain_tree = KeyTree(), KeyTree()
    quick, slow = Resolver(fast_tree, names), SequentialResolver(plain_tree, names)
    ours = story(fast_tree, [quick.resolve(batch) for batch in batches])
    theirs = story(plain_tree, [slow.resolve(batch) for batch in batches])
    assert ours == theirs
    check_handles(quick, ours)
    assert len(ours.paths) > 0.8 * options.events


REUSE = {
    "reuse": 0.98,
    "disorder": 40,
    "flush_ms": 200,
    "lost_close": 0.05,
    "late_close": 0.1,
    "preopened": 300,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"option_word": 0},
        {"option_word": 7, "fill_share": 0.3},
        {"classic": True, "rundown_begin": True},
        {"lost_events": 0.05},
    ],
    ids=["bare", "filled", "classic", "lossy"],
)
def test_the_resolvers_agree_on_simulated_traces(tmp_path, options):
    check_simulated(tmp_path, SimulationOptions(events=40_000, seed=5, **{**REUSE, **options}), 1 << 20)


@pytest.mark.slow
def test_the_resolvers_agree_on_a_long_trace_with_reuse_and_disorder(tmp_path):
    check_simulated(tmp_path, SimulationOptions(events=400_000, seed=12, **REUSE), 8 << 20)


def test_forgetting_closed_objects_changes_no_answer(monkeypatch):
    """With hardly any room every batch forgets; answers and handles must be those of one that forgets nothing."""
    from tracer.resolve import resolver as module

    rng = np.random.default_rng(5)
    size = 6000
    opened = np.where(rng.random(size) < 0.4, rng.integers(1, 300, size) * 16, 0).astype(np.uint64)
    columns = {
        "address": np.where(opened == 0, rng.integers(1, 300, size) * 16, 0).astype(np.uint64),
        "given_path": np.full(size, NO_NAME, np.int32),
        "requested_path": np.where(opened > 0, 1, NO_NAME).astype(np.int32),
        "opened_object": opened,
        "created": np.zeros(size, bool),
        "closes": (opened == 0) & (rng.random(size) < 0.5),
        "rundown": np.zeros(size, bool),
        "doubtful": np.zeros(size, bool),
        "time_ns": np.cumsum(rng.integers(0, 40_000_000, size)),
        "sequence": np.arange(size),
        "process": np.zeros(size, np.int32),
    }
    answers, lives = [], []
    for room in (0, 1 << 30):
        monkeypatch.setattr(module, "_ROOMY", room)
        resolver = Resolver(KeyTree(), ["", "\\REGISTRY\\MACHINE"])
        parts = [
            resolver.resolve(ObjectOps(**{name: column[at : at + 500] for name, column in columns.items()}))
            for at in range(0, size, 500)
        ]
        answers.append(
            [
                np.concatenate([getattr(part, name) for part in parts]).tolist()
                for name in ("key", "handle", "source", "after_close")
            ]
        )
        lives.append(resolver.handles.finish().sort_by("handle_id").to_pylist())
    assert answers[0] == answers[1]
    assert lives[0] == lives[1]
