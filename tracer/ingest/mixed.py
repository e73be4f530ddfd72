"""Sources of different kinds to one capture: each kind becomes a capture of its own, and these are merged.

Logs are merged even without sources of another kind, because one log may hold what several programs report. Where it holds
what one program reports, its capture is published as it is.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tracer.files.workspace import Workspace
from tracer.ingest.groups import IngestOneKind, Report, known_keys
from tracer.merge.keys import certain_paths
from tracer.merge.member import Member
from tracer.merge.merge import merge_captures
from tracer.named.targets import native
from tracer.sources.inputs import SourceFile
from tracer.store.manifest import Manifest
from tracer.store.writer import CaptureWriter

if TYPE_CHECKING:
    from tracer.baseline.capture_tables import Baseline

__all__ = ["ingest_mixed"]


def ingest_mixed(
    groups: Sequence[Sequence[SourceFile]],
    writer: CaptureWriter,
    ingest_one_kind: IngestOneKind,
    *,
    link: bool,
    control_set: int | None,
    left_out: Sequence[str],
    progress: Report,
    baseline: "Baseline | None" = None,
) -> Manifest:
    """Ingest each group into a capture beside the target, and merge these captures.

    Args:
        groups: files of one kind each.
        writer: where the rows of all go.
        ingest_one_kind: makes a capture of one group, given the keys that the groups before it know.
        link: whether reports of one operation by several sources become one row.
        control_set: which ControlSet00N is CurrentControlSet, where the user knows it.
        left_out: a sentence for each folder or archive of which something is no source.
        progress: called now and then; its bytes are those of all groups.
        baseline: hives of the machine; None: none was given.

    Raises:
        RegtraceError: as an ingest of each group, or a merge, does.
    """
    total = sum(file.path.stat().st_size for group in groups for file in group)
    known, bytes_done, events = known_keys(baseline), 0, 0
    more = list(left_out) if len(groups) == 1 else []
    with Workspace(writer.target.parent) as workspace:
        paths = []
        for number, group in enumerate(groups):
            path = workspace.path / f"{number}.regtrace"
            report = _shifted(progress, bytes_done, total, events)
            with CaptureWriter(path) as one:
                manifest = ingest_one_kind(group, one, known, report, more)
            paths.append(path)
            bytes_done += sum(file.path.stat().st_size for file in group)
            events += manifest.totals["events"]
            known.add(native(name) for name in certain_paths([Member(path)]))
        if len(groups) == 1 and baseline is None and len(manifest.row_sources) < 2:
            return writer.publish_made(paths[0])
        return merge_captures(
            paths,
            writer,
            link=link,
            control_set=control_set,
            left_out=() if more else left_out,
            progress=progress,
            baseline=baseline,
        )


def _shifted(progress: Report, bytes_done: int, total: int, events: int) -> Report:
    """Return a progress that counts what the groups before it were, too."""
    if progress is None:
        return None
    return lambda one: progress(
        replace(one, bytes_done=bytes_done + one.bytes_done, bytes_total=total, events=events + one.events)
    )
