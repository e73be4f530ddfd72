"""The files of each table of a capture: the manifest lists them, nothing is searched for."""

from pathlib import Path

from tracer.schema import TABLES
from tracer.store.manifest import Manifest

__all__ = ["event_files", "files_of", "rows_in", "table_files"]


def event_files(directory: Path, manifest: Manifest) -> list[Path]:
    """Return the parts of `events`, in order of time."""
    return [directory / part["file"] for part in manifest.parts]


def files_of(directory: Path, manifest: Manifest, name: str) -> list[Path]:
    """Return the files of one table; as of `table_files`."""
    if name == "events":
        return event_files(directory, manifest)
    return [directory / manifest.tables[name]["file"]] if manifest.has_table(name) else []


def rows_in(manifest: Manifest, name: str) -> int:
    """Return how many rows the manifest says that one table has; an optional table that is not there has none."""
    entries = (
        manifest.parts if name == "events" else [manifest.tables[name]] if name in manifest.tables else []
    )
    return sum(entry["rows"] for entry in entries)


def table_files(directory: Path, manifest: Manifest) -> dict[str, list[Path]]:
    """Return the files of every table by its name.

    There are none for `events` when nothing was traced, for an optional table, and for sums that count otherwise than
    we do.
    """
    return {name: files_of(directory, manifest, name) for name in TABLES}
