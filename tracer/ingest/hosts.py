"""The computers that logs are of, so that each gets a capture of its own."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tracer.diagnostics import Diagnostics
from tracer.errors import TargetError, UsageError
from tracer.files.device_names import is_device_name
from tracer.files.workspace import Workspace
from tracer.named.context import NamedContext, NamedOptions
from tracer.named.ingest import OF_HOSTS, READERS
from tracer.named.kept_logs import KeptLog, LogKeeper
from tracer.progress import Progress
from tracer.raw.forms import FORMS
from tracer.raw.reader import raw_computers
from tracer.sources.description import FileState, sha256_of_first
from tracer.sources.inputs import SourceFile, SourceFiles, open_sources

__all__ = ["HostLogs", "open_hosts"]


@dataclass(frozen=True, slots=True)
class HostLogs:
    """Logs of several computers, opened and read once.

    Attributes:
        sources: the logs.
        names: each computer that they have registry operations of, and a file name for it that is safe and its own.
        options: what the user said of the logs, and the records that were kept: give it with a `host` to the ingest.
    """

    sources: SourceFiles
    names: list[tuple[str, str]]
    options: NamedOptions


@contextmanager
def open_hosts(
    sources: Sequence[Path],
    options: NamedOptions,
    *,
    folder: Path,
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[HostLogs]:
    """Read logs once, and keep their records apart on the disk as long as the context lasts.

    Records of ETW as text are not kept: they are read again for each computer.

    Args:
        sources: as for `tracer.ingest.pipeline.ingest`.
        options: what the user said of the files; a `host` is ignored.
        folder: where records are kept and archives unpacked.
        progress: called after every batch.

    Raises:
        UsageError: a source is no log of a computer that its records name.
        TargetError: nothing can be written to the folder.
    """
    options = replace(options, host=None)
    with open_sources(sources, folder=folder, any_json=bool(options.fields), progress=progress) as found:
        others = [file.shown for file in found.files if file.kind not in READERS and file.kind not in FORMS]
        if others:
            raise UsageError(f"{others[0]}: --each-host is for logs of several computers; a trace is of one")
        try:
            workspace = Workspace(folder)
        except OSError as error:
            raise TargetError(f"cannot write to {folder}: {error.strerror}") from error
        with workspace:
            context, kept = NamedContext(options), {}
            total = sum(file.path.stat().st_size for file in found.files)
            for number, file in enumerate(found.files):
                one = _keep(file, workspace.path / f"{number}.arrow", context, total, progress)
                if one is not None:
                    kept[file.path] = one
            names = context.hosts.names
            if not names:
                raise UsageError("no record names a computer; ingest without --each-host")
            yield HostLogs(
                found,
                list(zip(names, _file_names(names), strict=True)),
                replace(options, kept=kept, apart=context.hosts.apart),
            )


def _keep(
    file: SourceFile,
    path: Path,
    context: NamedContext,
    total: int,
    progress: Callable[[Progress], None] | None,
) -> KeptLog | None:
    """Read a log, count its computers, and keep its records; None where its records are not kept."""

    def say(rows: int) -> None:
        if progress:
            progress(Progress(0, total, rows))

    with file.path.open("rb") as opened:
        began = FileState.of(opened)
        if file.kind not in OF_HOSTS:
            rows = 0
            batches = (
                raw_computers(file, began.size, context)
                if file.kind in FORMS
                else READERS[file.kind](file, began.size, context, Diagnostics())
            )
            for batch in batches:
                rows += len(batch)
                say(rows)
            return None
        diagnostics, context.keeper = Diagnostics(), LogKeeper(path, say)
        try:
            for _ in READERS[file.kind](file, began.size, context, diagnostics):
                pass  # all records are kept, so there are no rows
        finally:
            context.keeper.close()
        kept = context.keeper.finish(
            diagnostics, context.facts, context.losses, began, sha256_of_first(opened, began.size)
        )
        context.keeper, context.facts, context.losses = None, {}, []
        return kept


def _file_names(names: Sequence[str]) -> list[str]:
    """Return a file name for each computer: names come out of a log, and may be anything."""
    made: dict[str, str] = {}
    for name in names:
        safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:64].strip(".") or "computer"
        if safe.startswith("-") or is_device_name(safe):
            safe = f"_{safe}"
        number, one = 1, safe
        while one.lower() in made:
            number += 1
            one = f"{safe}-{number}"
        made[one.lower()] = one
    return [*made.values()]
