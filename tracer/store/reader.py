"""The files of each table of a capture: the manifest lists them, nothing is searched for."""

from pathlib import Path

from tracer.schema import TABLES
from tracer.store.manifest import Manifest

__all__ = ["event_files", "table_files"]


def event_files(directory: Path, manifest: Manifest) -> list[Path]:
    """Return the parts of `events`, in order of time."""
    return [directory / part["file"] for part in manifest.parts]


def table_files(directory: Path, manifest: Manifest) -> dict[str, list[Path]]:
    """Return the files of every table by its name.

    There are none for `events` when nothing was traced, for an optional table, and for sums that count otherwise than
    we do.
    """
    files = {"events": event_files(directory, manifest)}
    for name in TABLES:
        if name != "events":
            entry = manifest.tables[name]["file"] if manifest.has_table(name) else None
            files[name] = [] if entry is None else [directory / entry]
    return files
