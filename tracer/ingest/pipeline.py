"""Sources to a capture: the pipeline from records to published tables."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.errors import UsageError
from tracer.files.targets import check_apart
from tracer.ingest.etl import EtlIngest
from tracer.ingest.groups import Report, group_by_kind, known_keys, may_be_mixed
from tracer.ingest.kernels import Kernels
from tracer.ingest.recording_facts import LiveFacts
from tracer.named.targets import KnownKeys
from tracer.progress import Progress
from tracer.sources.inputs import SourceFile, SourceFiles, open_sources
from tracer.sources.kinds import RAW_ETW
from tracer.store.manifest import Manifest
from tracer.store.writer import CaptureWriter

if TYPE_CHECKING:
    from tracer.baseline.capture_tables import Baseline
    from tracer.named.context import NamedOptions

__all__ = ["Progress", "ingest"]


def ingest(
    sources: Sequence[Path] | SourceFiles,
    target: Path,
    *,
    force: bool = False,
    seed: Path | None = None,
    control_set: int | None = None,
    baseline: Sequence[Path | str] = (),
    progress: Callable[[Progress], None] | None = None,
    kernels: Kernels | None = None,
    live: LiveFacts | None = None,
    named: "NamedOptions | None" = None,
    merge: bool = True,
) -> Manifest:
    """Read the sources and publish them as the capture `target`.

    Args:
        sources: .etl files, ETW records as text, Procmon's logs and event logs of one machine, merged by time; their
            kinds are detected by content. Also folders of them, .zip archives, files packed as .gz, .bz2, .xz or .zst, pipes, and `-` for standard input; or what
            `open_sources` made of such words.
        target: the capture directory to make.
        force: replace an existing capture.
        seed: table of objects open before the trace (schema.SEED), Parquet or CSV.
        control_set: which ControlSet00N is CurrentControlSet, where the user knows it.
        baseline: hives of the machine, for the state before the first event: `PATH`, or `PATH=KEY` where it cannot be told
            where one stands. Logs beside a hive are replayed in memory.
        progress: called after every chunk.
        kernels: the form of the loops that read .etl files; None: the compiled ones (extra `fast`) where they are
            installed and the files are large enough to pay for loading them. The capture is the same.
        live: what else is known of the .etl files, where regtrace recorded them itself.
        named: what the user said of logs (Sysmon and others).
        merge: make one row of what several sources report of one operation; False: each report stays a row.

    Raises:
        SourceError: a source is not readable as what it should be.
        TargetError: the target exists, is or holds a source, or cannot be written.
        UsageError: sources of different machines or boots, or a seed without an .etl file; or nothing says at
            which key a hive stands.
    """
    paths = (
        [file.path for file in sources.files]
        if isinstance(sources, SourceFiles)
        else [Path(source) for source in sources]
    )
    if not paths:
        raise UsageError("no source was given; name one or more traces or logs")
    target = Path(target)
    check_apart(target, [*paths, *([seed] if seed is not None else [])])  # before anything is unpacked
    hives = _open_hives(baseline)
    with (
        nullcontext(sources)
        if isinstance(sources, SourceFiles)
        else open_sources(
            paths,
            folder=target.parent,
            any_json=named is not None and bool(named.fields),
            progress=progress,
        )
    ) as found:
        if seed is not None and not any(file.kind in {"etl", *RAW_ETW} for file in found.files):
            raise UsageError(
                "a seed table names the objects of .etl files and ETW records; other sources hold names already"
            )
        files, left_out = found.without_copies(), [*found.left_out]
        read = [*paths, *(file.path for file in files), *([seed] if seed is not None else [])]
        if hives is not None:
            read += [one.hive.path for one in hives.hives]
        groups = group_by_kind(files)
        is_mixed = len(groups) > 1 or (merge and may_be_mixed(groups[0]))
        own = None if is_mixed else hives  # the merge looks at them itself

        def ingest_one_kind(
            group: Sequence[SourceFile],
            into: CaptureWriter,
            known: KnownKeys,
            report: Report,
            more: list[str],
        ) -> Manifest:
            if group[0].kind == "etl":
                return EtlIngest(list(group), more, into, seed, control_set, report, kernels, live, own).run()
            if group[0].kind in RAW_ETW:
                from tracer.ingest.raw import RawIngest

                return RawIngest(
                    list(group), more, into, seed, control_set, report, kernels, None, own, named
                ).run()
            if group[0].kind == "pml":
                from tracer.pml.ingest import ingest_pml

                return ingest_pml(
                    group, into, control_set=control_set, left_out=more, progress=report, baseline=own
                )
            from tracer.named.context import NamedOptions
            from tracer.named.ingest import ingest_named

            return ingest_named(
                group,
                into,
                options=named or NamedOptions(),
                known=known,
                control_set=control_set,
                left_out=more,
                progress=report,
                baseline=own,
            )

        with _no_collector(), CaptureWriter(target, force=force, sources=read) as writer:
            if not is_mixed:
                return ingest_one_kind(files, writer, known_keys(hives), progress, left_out)
            from tracer.ingest.mixed import ingest_mixed

            return ingest_mixed(
                groups,
                writer,
                ingest_one_kind,
                link=merge,
                control_set=control_set,
                left_out=left_out,
                progress=progress,
                baseline=hives,
            )


def _open_hives(words: Sequence[Path | str]) -> "Baseline | None":
    if not words:
        return None
    from tracer.baseline.capture_tables import open_baseline

    return open_baseline(words)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Keep the cyclic garbage collector out: an ingest makes millions of small objects and no cycles."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
