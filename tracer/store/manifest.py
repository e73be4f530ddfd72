"""The manifest of a capture, `capture.json`: which parts exist, where they came from, what was lost.

It is written last and replaced as a whole, so a capture either has every part its manifest names or was never
published. It is input like any other: what it says is checked before anything is opened.
"""

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

from tracer.errors import CaptureError, TargetError, reason_of
from tracer.registry.operations import COUNTS_VERSION
from tracer.schema import ADDED_COLUMNS, FORMAT_VERSION, OPTIONAL, TABLES, USAGE

__all__ = ["LARGEST", "MANIFEST_NAME", "STRUCTURES", "Manifest"]

MANIFEST_NAME = "capture.json"
_FORMAT = "regtrace"
_WITH_HKCU = (
    "pml",
    "procmon-csv",
    "procmon-xml",
)  # kinds of sources that write HKCU for the user of the desktop
_MAGIC = b"PAR1"  # a Parquet file starts and ends with it
_KINDS: dict[str, tuple[type, ...]] = {
    "complete": (bool,),
    "windows_build": (int, type(None)),
    "clock": (str, type(None)),
    "control_set": (int, type(None)),
    "sources": (list,),
    "settings": (dict,),
    "parts": (list,),
    "tables": (dict,),
    "totals": (dict,),
    "regtrace_version": (str,),
    "data_of_reads": (str,),
}
STRUCTURES = "structures"
# A manifest has some 300 bytes a part and a few kB a source, so one of this size comes of no ingest.
LARGEST = 64 << 20
_LONGEST_NAME = 255  # of a part: what every file system takes
_ABSENT = type(None)  # older versions did not write everything
_SOURCE_KINDS: dict[str, tuple[type, ...]] = {
    "name": (str, _ABSENT),
    "kind": (str, _ABSENT),
    "size": (int, _ABSENT),
    "sha256": (str, _ABSENT),
    "first_ns": (int, _ABSENT),
    "last_ns": (int, _ABSENT),
    "simulated": (bool, _ABSENT),
    "facts": (dict, _ABSENT),
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of `capture.json`; nested fields are plain JSON values.

    Attributes:
        complete: False when anything was lost.
        windows_build: build number of the traced Windows; None if the sources do not say.
        clock: qpc, system, cycles or procmon; None if the sources do not say, or differ.
        control_set: number of the current control set; None if unknown.
        sources: name, kind, size, sha256, first_ns, last_ns, simulated and header facts of each source.
        settings: what the ingest was asked for; under `recording` what the recording was asked for, how it
            went and how it ended, where regtrace made it.
        parts: file, rows, bytes (size of the file; absent in captures of older versions), first_sequence,
            last_sequence, first_ns and last_ns of each part of `events`.
        tables: file, rows, columns (how many; absent in captures of older versions) and bytes of each other table, by its
            name; of `usage` also counts_version, the
            definition that it counts by (`tracer.registry.operations.COUNTS_VERSION`; absent in captures of older versions).
        totals: events, records, keys, processes, names (rows by name source), operations (rows by name) and
            unclear_writes (rows that do not say whether they are writes; absent in captures of older versions).
        data_of_reads: "values", the values' own; STRUCTURES in captures of versions that did not say it and kept
            the structures around them: there the columns OF_VALUES (`tracer.schema`) of reads are unknown.
        regtrace_version: version that wrote the capture.
        format_version: version of the layout (`tracer.schema.FORMAT_VERSION`).
        format: always "regtrace".
    """

    complete: bool
    windows_build: int | None = None
    clock: str | None = None
    control_set: int | None = None
    sources: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    parts: list[dict[str, Any]] = field(default_factory=list)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    totals: dict[str, Any] = field(default_factory=dict)
    data_of_reads: str = "values"
    regtrace_version: str = "0.1.0"
    format_version: int = FORMAT_VERSION
    format: str = _FORMAT

    @classmethod
    def load(cls, directory: Path | str, *, check_rows: bool = True) -> "Manifest":
        """Read and check the manifest of a capture directory.

        Args:
            directory: the capture, `NAME.regtrace`.
            check_rows: also compare each part's row count with the manifest's, where this does not tell the size
                of its file (needs pyarrow).

        Raises:
            CaptureError: the directory, its manifest or a part is missing, damaged or of another format.
        """
        directory = Path(directory)
        manifest = cls.read(directory)
        for entry in manifest.files():
            _check_part(directory, entry, check_rows=check_rows)
        return manifest

    @classmethod
    def read(cls, directory: Path) -> "Manifest":
        """Read and check the manifest of a capture directory, and not the files that it names.

        Raises:
            CaptureError: the directory or its manifest is missing, damaged or of another format.
        """
        values = {"data_of_reads": STRUCTURES} | _read(directory)
        _check_shape(directory, values)
        return cls(**{item.name: values[item.name] for item in fields(cls) if item.name in values})

    @property
    def shows_user(self) -> bool:
        r"""Whether keys may be called ``HKCU\...``: their user is unknown (a Procmon log without a SID)."""
        return any(
            source.get("kind") in _WITH_HKCU and not (source.get("facts") or {}).get("hkcu_sid")
            for source in self.sources
        )

    @property
    def row_sources(self) -> tuple[str, ...]:
        """Words of the column `source` that rows may have; the kind of a source stands for those that are not counted."""
        words: dict[str, None] = {}
        for source in self.sources:
            counted = (source.get("facts") or {}).get("rows_by_source")
            words |= dict.fromkeys(
                counted if isinstance(counted, dict) and counted else [source.get("kind") or ""]
            )
        return tuple(words)

    def files(self) -> Iterator[dict[str, Any]]:
        """Yield the entry of every part and table."""
        yield from self.parts
        yield from self.tables.values()

    def has_table(self, name: str) -> bool:
        """Tell whether the capture has a readable table; a `usage` with another version of counts is not."""
        entry = self.tables.get(name)
        if entry is None:
            return False
        return name != USAGE.name or entry.get("counts_version") == COUNTS_VERSION

    def columns_without(self, name: str) -> tuple[str, ...]:
        """Return the columns that the file of a table lacks, because an older version wrote it."""
        entry = self.tables.get(name)
        is_new = entry is None or entry.get("columns") == len(TABLES[name].names)
        return () if is_new else ADDED_COLUMNS.get(name, ())

    def as_dict(self) -> dict[str, Any]:
        """Return the content of `capture.json`, in its stated order."""
        first = ("format", "format_version", "regtrace_version")
        rest = (item.name for item in fields(self) if item.name not in first)
        return {name: getattr(self, name) for name in (*first, *rest)}

    def save(self, directory: Path | str) -> None:
        """Publish the manifest in `directory`, replacing an older one atomically.

        Raises:
            TargetError: it cannot be written.
        """
        directory = Path(directory)
        target = directory / MANIFEST_NAME
        temporary = directory / f"{MANIFEST_NAME}.tmp"
        try:
            with temporary.open("w", encoding="ascii", newline="\n") as out:
                json.dump(self.as_dict(), out, indent=1)
                out.write("\n")
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(target)
            _sync_directory(directory)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise TargetError(f"{target} cannot be written: {error.strerror or error}") from error


def _read(directory: Path) -> dict[str, Any]:
    """Return the JSON object in the manifest's file."""
    path = directory / MANIFEST_NAME
    _check_stays(directory, path)
    _check_waits(path)
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise CaptureError(
                f"{path} has {size:,} bytes, more than any ingest writes, so it is not read: run the ingest again"
            )
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        if directory.is_file():
            what = f"is a file, not a capture: make one of it with `regtrace ingest {directory.name}`"
        elif not directory.exists():
            what = "does not exist: give the path of a NAME.regtrace directory"
        else:
            what = f"has no {MANIFEST_NAME}, so it is no capture or is unfinished: run the ingest again"
        raise CaptureError(f"{directory} {what}") from error
    except OSError as error:
        raise CaptureError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CaptureError(f"{path} is not JSON: run the ingest again") from error
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CaptureError(f"{path} is not JSON ({reason_of(error)}): run the ingest again") from error
    if not isinstance(values, dict) or values.get("format") != _FORMAT:
        raise CaptureError(
            f"{path} is not the manifest of a regtrace capture: give a directory made by `regtrace ingest`"
        )
    return values


def _check_shape(directory: Path, values: dict[str, Any]) -> None:
    """Raise unless the manifest has the version and the fields that this module reads."""
    path = directory / MANIFEST_NAME
    version = values.get("format_version")
    if version != FORMAT_VERSION:
        newer = isinstance(version, int) and version > FORMAT_VERSION
        advice = "use a newer regtrace" if newer else "run the ingest again"
        raise CaptureError(
            f"{path} has format version {version!r:.80}, this regtrace reads {FORMAT_VERSION}: {advice}"
        )
    for name, kinds in _KINDS.items():
        value = values.get(name)
        if type(value) not in kinds:
            raise CaptureError(f"{path} has no usable {name!r}: run the ingest again")
    _check_nested(path, values)
    needed = TABLES.keys() - OPTIONAL - {"events"}
    missing = [name for name in TABLES if name in needed and name not in values["tables"]]
    if missing:
        raise CaptureError(f"{path} names no table {missing[0]!r}: run the ingest again")
    spans = ("first_sequence", "last_sequence", "first_ns", "last_ns")
    for entry, numbers in (
        *((entry, ("rows", *spans)) for entry in values["parts"]),
        *((entry, ("rows",)) for entry in values["tables"].values()),
    ):
        fit = isinstance(entry, dict) and isinstance(entry.get("file"), str)
        if (
            not fit
            or any(type(entry.get(number)) is not int for number in numbers)
            or not _is_inside(entry["file"])
        ):
            raise CaptureError(
                f"{path} has an invalid entry for a part ({entry!r:.80}): run the ingest again"
            )
    _check_apart(path, [entry["file"] for entry in (*values["parts"], *values["tables"].values())])


def _check_apart(path: Path, files: Sequence[str]) -> None:
    """Raise if two entries name one file: its rows would count as often as it is named."""
    seen: set[PurePosixPath] = set()
    for file in (PurePosixPath(file.lower()) for file in files):  # as Windows finds them
        if file in seen:
            raise CaptureError(f"{path} names the part {file} twice: run the ingest again")
        seen.add(file)


def _check_nested(path: Path, values: dict[str, Any]) -> None:
    """Raise unless nested objects, their numbers and names have the types that readers expect."""
    for source in values["sources"]:
        for name, kinds in _SOURCE_KINDS.items():
            if not isinstance(source, dict) or not isinstance(source.get(name), kinds):
                raise CaptureError(
                    f"{path} has an invalid entry for a source ({source!r:.80}): run the ingest again"
                )
    totals = values["totals"]
    counts = [totals.get(name) for name in ("names", "operations")]
    objects = [one for one in counts if one is not None]
    numbers = [number for one in objects if isinstance(one, dict) for number in one.values()]
    numbers += [totals.get(name) for name in ("events", "records", "keys", "processes")]
    if any(not isinstance(one, dict) for one in objects) or any(
        number is not None and type(number) is not int for number in numbers
    ):
        raise CaptureError(f"{path} has no usable 'totals': run the ingest again")


def _is_inside(file: str) -> bool:
    """Tell whether a part's name stays inside the capture on every operating system."""
    path = PurePosixPath(file)
    odd = any(letter in file for letter in ("\\", ":", "\0"))
    fits = len(file) <= _LONGEST_NAME
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and not odd and fits


def _check_stays(directory: Path, path: Path) -> None:
    """Raise if a file of a capture is reached through a link that leads out of its folder."""
    if _is_plain(directory, path):
        return
    try:
        stays = path.resolve().is_relative_to(directory.resolve())
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links
        raise CaptureError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stays:
        raise CaptureError(
            f"{path} leads out of the capture through a link, so it is not read: put the file itself there, or run the ingest "
            "again"
        )


def _is_plain(directory: Path, path: Path) -> bool:
    """Tell whether nothing is a link from a folder down to a file in it; False where that cannot be seen at once."""
    place = str(directory)
    try:
        for part in path.parts[len(directory.parts) :]:
            place = os.path.join(place, part)  # noqa: PTH118 - a path for each part takes longer than the look at it
            seen = os.lstat(place)
            if stat.S_ISLNK(seen.st_mode) or getattr(seen, "st_reparse_tag", None):
                return False
    except (OSError, ValueError):
        return False
    return True


def _check_waits(path: Path) -> None:
    """Raise if a file of a capture is a pipe or a device, because reading it would wait."""
    with contextlib.suppress(OSError, ValueError):
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise CaptureError(f"{path} is a pipe or a device, not a file; run the ingest again")


def _check_part(directory: Path, entry: dict[str, Any], *, check_rows: bool) -> None:
    """Raise unless a part exists, is complete, and is the one that the manifest describes."""
    path = directory / entry["file"]
    advice = f"run the ingest again, or restore the file named in {MANIFEST_NAME}"
    _check_stays(directory, path)
    _check_waits(path)
    try:
        with path.open("rb") as part:
            head = part.read(4)
            size = part.seek(0, os.SEEK_END)
            part.seek(max(0, size - 8))
            tail = part.read(8)
    except FileNotFoundError as error:
        raise CaptureError(f"{path} is missing: {advice}") from error
    except (OSError, ValueError) as error:
        raise CaptureError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    footer = int.from_bytes(tail[:4], "little")
    if head != _MAGIC or tail[4:] != _MAGIC or footer + 12 > size:
        raise CaptureError(f"{path} is cut short or damaged: {advice}")
    expected = entry.get("bytes")
    if expected is not None and expected != size:
        raise CaptureError(f"{path} has {size} bytes where {MANIFEST_NAME} says {expected}: {advice}")
    if check_rows and expected is None:
        _check_rows(path, entry["rows"], advice)


def _check_rows(path: Path, expected: int, advice: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:  # the last: a column's name is no text
        raise CaptureError(f"{path} is damaged: {advice}") from error
    if rows != expected:
        raise CaptureError(f"{path} has {rows} rows where {MANIFEST_NAME} says {expected}: {advice}")


def _sync_directory(directory: Path) -> None:
    """Make the new name durable; on Windows the rename does that."""
    if os.name == "nt":
        return
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
