"""Which files make each table of a capture: the manifest says it, nothing is searched for."""

from pathlib import Path

from tracer.schema import TABLES
from tracer.store.manifest import Manifest

__all__ = ["event_files", "table_files"]


def event_files(
    directory: Path, manifest: Manifest, *, start_ns: int | None = None, end_ns: int | None = None
) -> list[Path]:
    """Return the parts of `events`, in order of time.

    Args:
        directory: the capture.
        manifest: its manifest.
        start_ns: leave out parts that end before this time; None for no limit.
        end_ns: leave out parts that begin after this time; None for no limit.
    """
    return [
        directory / part["file"]
        for part in manifest.parts
        if (start_ns is None or part["last_ns"] >= start_ns)
        and (end_ns is None or part["first_ns"] <= end_ns)
    ]


def table_files(directory: Path, manifest: Manifest) -> dict[str, list[Path]]:
    """Return the files of every table by its name; `events` may have none when nothing was traced."""
    files = {"events": event_files(directory, manifest)}
    for name in TABLES:
        if name != "events":
            files[name] = [directory / manifest.tables[name]["file"]]
    return files
