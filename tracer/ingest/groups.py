"""Groups of sources that are read together: .etl files, ETW records as text, Procmon logs, and logs of named sources."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from tracer.named.targets import KnownKeys
from tracer.progress import Progress
from tracer.sources.inputs import SourceFile
from tracer.sources.kinds import RAW_ETW
from tracer.store.manifest import Manifest
from tracer.store.writer import CaptureWriter

if TYPE_CHECKING:
    from tracer.baseline.capture_tables import Baseline

__all__ = ["IngestOneKind", "Report", "group_by_kind", "known_keys", "may_be_mixed"]

Report: TypeAlias = Callable[[Progress], None] | None
# (files of one kind, where rows go, keys that other sources know, progress, sentences for the manifest)
IngestOneKind: TypeAlias = Callable[
    [Sequence[SourceFile], CaptureWriter, KnownKeys, Report, list[str]], Manifest
]
_OWN = (frozenset({"etl"}), RAW_ETW, frozenset({"pml"}))  # the other kinds are logs of named sources


def group_by_kind(files: Sequence[SourceFile]) -> list[list[SourceFile]]:
    """Return the files of each group; logs come last, because keys of the others help to read their paths."""
    groups = [[file for file in files if file.kind in kinds] for kinds in _OWN]
    groups.append([file for file in files if not any(file.kind in kinds for kinds in _OWN)])
    return [group for group in groups if group]


def known_keys(baseline: "Baseline | None") -> KnownKeys:
    """Return the keys that hives know, for logs whose paths do not tell where the key ends; None: no hive was given."""
    known = KnownKeys()
    if baseline is not None:
        known.add(baseline.paths())
        for root in baseline.whole_roots():
            known.add_complete(root)
    return known


def may_be_mixed(group: Sequence[SourceFile]) -> bool:
    """Tell whether the files of one group may hold what several sources report: logs may."""
    return not any(group[0].kind in kinds for kinds in _OWN)
