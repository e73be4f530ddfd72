"""Groups of sources that are read together: .etl files, Procmon logs, and logs of named sources."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tracer.named.targets import KnownKeys
from tracer.progress import Progress
from tracer.sources.inputs import SourceFile
from tracer.store.manifest import Manifest
from tracer.store.writer import CaptureWriter

__all__ = ["IngestOneKind", "Report", "group_by_kind"]

Report: TypeAlias = Callable[[Progress], None] | None
# (files of one kind, where rows go, keys that other sources know, progress, sentences for the manifest)
IngestOneKind: TypeAlias = Callable[
    [Sequence[SourceFile], CaptureWriter, KnownKeys, Report, list[str]], Manifest
]
_OWN = ("etl", "pml")  # the other kinds are logs of named sources


def group_by_kind(files: Sequence[SourceFile]) -> list[list[SourceFile]]:
    """Return the files of each group; logs come last, because keys of the others help to read their paths."""
    groups = [[file for file in files if file.kind == kind] for kind in _OWN]
    groups.append([file for file in files if file.kind not in _OWN])
    return [group for group in groups if group]
