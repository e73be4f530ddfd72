"""The computers that logs are of, so that each gets a capture of its own."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from tracer.diagnostics import Diagnostics
from tracer.errors import UsageError
from tracer.files.device_names import is_device_name
from tracer.named.context import NamedContext, NamedOptions
from tracer.named.ingest import READERS
from tracer.progress import Progress
from tracer.raw.forms import FORMS
from tracer.raw.reader import raw_computers
from tracer.sources.inputs import SourceFiles

__all__ = ["find_hosts"]


def find_hosts(
    found: SourceFiles, options: NamedOptions, *, progress: Callable[[Progress], None] | None = None
) -> list[tuple[str, str]]:
    """Return each computer that logs have registry operations of, and a file name for it that is safe and its own.

    Args:
        found: the logs.
        options: what the user said of the files; a `host` is ignored.
        progress: called after every batch.

    Raises:
        UsageError: a source is no log of a computer that its records name.
    """
    context = NamedContext(replace(options, host=None))
    others = [file.shown for file in found.files if file.kind not in READERS and file.kind not in FORMS]
    if others:
        raise UsageError(f"{others[0]}: --each-host is for logs of several computers; a trace is of one")
    total = sum(file.path.stat().st_size for file in found.files)
    for file in found.files:
        rows, size = 0, file.path.stat().st_size
        batches = (
            raw_computers(file, size, context)
            if file.kind in FORMS
            else READERS[file.kind](file, size, context, Diagnostics())
        )
        for batch in batches:
            rows += len(batch)
            if progress:
                progress(Progress(0, total, rows))
    names = context.hosts.names
    if not names:
        raise UsageError("no record names a computer; ingest without --each-host")
    return list(zip(names, _file_names(names), strict=True))


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
