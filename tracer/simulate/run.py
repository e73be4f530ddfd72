"""Runs a simulation: connects model, sink, file and truth."""

import gc
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Protocol

from tracer.files.targets import Slot, check_apart
from tracer.schema import SIMULATED_NAME
from tracer.simulate.activity import Activity
from tracer.simulate.actors import Handle, ProcessPool
from tracer.simulate.classic import ClassicSink
from tracer.simulate.container import Clock, EtlWriter
from tracer.simulate.manifest import ManifestSink
from tracer.simulate.noise import ForeignRecords
from tracer.simulate.options import SimulationOptions
from tracer.simulate.registry import AddressPool, Registry
from tracer.simulate.sink import Sink

if TYPE_CHECKING:
    from tracer.simulate.truth import TruthWriter

__all__ = ["Play", "PlayMaker", "Summary", "seed_path", "simulate", "truth_path"]


class Play(Protocol):
    """What happens in a trace, step by step; each step writes records to the sink it was made with."""

    @property
    def finished(self) -> bool:
        """Whether everything has happened."""

    def begin(self) -> list[Handle]:
        """Describe what ran and was open before the trace; return the open handles."""

    def step(self) -> None:
        """Let one thread do one thing, which may write several records."""

    def end(self) -> None:
        """Describe what runs when the trace stops."""


PlayMaker = Callable[[SimulationOptions, Sink, Random], Play]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a simulation wrote.

    Attributes:
        path: the .etl.
        truth: its truth; None when not asked for.
        seed: its seed table; None when not asked for.
        operations: registry operations simulated, those lost included.
        events_lost: events lost before they reached a buffer.
        buffers_lost: buffers lost.
        size: bytes of the .etl.
        first_filetime: time of the header record (100 ns since 1601).
        last_filetime: time of the last record.
    """

    path: Path
    truth: Path | None
    seed: Path | None
    operations: int
    events_lost: int
    buffers_lost: int
    size: int
    first_filetime: int
    last_filetime: int


def truth_path(path: Path) -> Path:
    """Return where the truth of a simulated `path` is: NAME.truth.parquet."""
    return path.with_name(f"{path.stem}.truth.parquet")


def seed_path(path: Path) -> Path:
    """Return where the seed table of a simulated `path` is: NAME.seed.parquet."""
    return path.with_name(f"{path.stem}.seed.parquet")


def simulate(
    path: Path, options: SimulationOptions, *, truth: bool = True, play: PlayMaker | None = None
) -> Summary:
    """Write a simulated trace to `path`, and its truth beside it; complete files replace existing ones.

    Args:
        path: the .etl to write.
        options: what to simulate.
        truth: whether to write the truth too (it costs about as much again).
        play: makes what happens; None for the random activity of `tracer.simulate.activity`.

    Raises:
        OSError: a file cannot be written; then none is.
        TargetError: one would lie in a capture, or another run made one meanwhile.
    """
    outputs = [
        path,
        *([truth_path(path)] if truth else []),
        *([seed_path(path)] if options.seed_table else []),
    ]
    for one in outputs:
        check_apart(one)
    slots = [Slot(one) for one in outputs]
    with slots[0].workspace() as workspace:
        summary = _simulate(workspace.path / path.name, options, truth=truth, play=play)
        with slots[0].publishing():
            for one, slot in zip(outputs, slots, strict=True):
                (workspace.path / one.name).replace(slot.path)
    return replace(
        summary,
        path=path,
        truth=truth_path(path) if truth else None,
        seed=seed_path(path) if options.seed_table else None,
    )


def _simulate(path: Path, options: SimulationOptions, *, truth: bool, play: PlayMaker | None) -> Summary:
    from tracer.simulate.truth import (
        TruthWriter,  # here, for the command line shows the options without pyarrow
    )

    random = Random(f"model {options.seed}")
    clock = _clock(options)
    writer = EtlWriter(
        path, cpus=options.cpus, buffer_size=options.buffer_size, pointer_size=options.pointer_size, clock=clock,
        compressed=options.compressed, disorder=options.disorder, lost_buffers=options.lost_buffers,
        circular_mib=options.circular_mib, zeros_mib=options.zeros_mib, unfinalised=options.unfinalised,
        cut=options.cut,
        seed=options.seed, logger_name=SIMULATED_NAME,
    )  # fmt: skip
    rows = TruthWriter(truth_path(path) if truth else None)
    pool = AddressPool(options.pointer_size, options.reuse, random)
    sink = _sink(options, writer, rows, pool)
    activity = (play or _activity)(options, sink, random)
    collecting = gc.isenabled()
    gc.disable()  # millions of small tuples, none in a cycle: looking through them takes a third of the time
    with closing(writer):
        try:
            opened = activity.begin()
            _run(options, activity, sink, rows)
            activity.end()
        finally:
            if collecting:
                gc.enable()
        placement = writer.finish()
    lives = [handle.life for handle in opened if handle.life >= 0]
    rows.finish(placement, clock=clock, previous=pool.previous, preopened=lives)
    seed = _write_seed(seed_path(path), opened) if options.seed_table else None
    return Summary(
        path, truth_path(path) if truth else None, seed, rows.count, placement.events_lost,
        placement.buffers_lost,
        placement.size, clock.start_filetime, clock.filetime(writer.last_ticks),
    )  # fmt: skip


def _activity(options: SimulationOptions, sink: Sink, random: Random) -> Play:
    registry = Registry(options, random)
    return Activity(options, registry, ProcessPool(options, registry, random), sink, random)


def _sink(options: SimulationOptions, writer: EtlWriter, rows: "TruthWriter", pool: AddressPool) -> Sink:
    return (ClassicSink if options.classic else ManifestSink)(options, writer, rows, pool)


def _clock(options: SimulationOptions) -> Clock:
    if options.clock == 2:
        return Clock(type=2, start_ticks=Clock().start_filetime)
    return Clock(type=options.clock)


def _run(options: SimulationOptions, activity: Play, sink: Sink, rows: "TruthWriter") -> None:
    """Step until the play is finished."""
    period = int(options.flush_ms * 1000 * sink.writer.clock.ticks_per_microsecond)
    next_flush = sink.ticks + period
    options_from = int(options.events * options.option_from)
    sink.use_options(options.option_word if options_from == 0 else 0)
    foreign, random, share = (
        ForeignRecords(sink.writer, options.seed),
        Random(f"run {options.seed}").random,
        options.foreign,
    )
    step = activity.step
    while not activity.finished:
        step()
        if share and random() < share:
            sink.ticks += 1
            foreign.write(sink.ticks)
        if options_from and rows.count >= options_from:
            sink.use_options(options.option_word)
            options_from = 0
        if period and sink.ticks >= next_flush:
            sink.writer.flush_all()
            next_flush = sink.ticks + period


def _write_seed(path: Path, opened: list[Handle]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    addresses = pa.array([handle.address for handle in opened], pa.uint64()).to_numpy().view("int64")
    names = pa.array([handle.key.path for handle in opened], pa.string())
    pq.write_table(pa.table({"address": addresses, "path": names}), path, compression="zstd")
    return path
