"""The captures of a dataset: their directories, their names, and the offsets of their ids."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.engine.columns import KINDS
from tracer.errors import CaptureError, UsageError
from tracer.registry.text import escape_argument
from tracer.store.addresses import is_address
from tracer.store.manifest import MANIFEST_NAME, STRUCTURES, Manifest

__all__ = [
    "Captures",
    "Member",
    "find_captures",
    "host_of",
    "load_members",
    "local_captures",
    "merged",
]

Captures = Path | str | Sequence[Path | str] | Mapping[str, Path | str]

_SUFFIX = ".regtrace"


@dataclass(frozen=True, slots=True)
class Member:
    """One capture of a dataset.

    Attributes:
        path: its directory.
        manifest: what its `capture.json` says.
        capture: what it is called in the dataset; no two are called the same.
        host: the machine that was traced; the capture's name where that is not known.
        first: what its ids of each kind (`analysis.engine.columns.KINDS`) start at.
    """

    path: Path
    manifest: Manifest
    capture: str
    host: str
    first: Mapping[str, int]


def local_captures(captures: Captures) -> Captures:
    """Return captures as they are; for an address in object storage their copies on this machine.

    Raises:
        RegtraceError: as of `tracer.store.object_storage.fetch_captures`.
    """
    if isinstance(captures, Path | str) and is_address(captures):
        from tracer.store.object_storage import fetch_captures

        return fetch_captures(captures)
    return captures


def find_captures(captures: Captures) -> list[tuple[Path, str | None]] | None:
    """Return the directories of a dataset's captures, and the host names that a user gave them.

    Args:
        captures: a folder that holds captures, directly or one folder deeper; or several captures or such
            folders; or these by the name of the host.

    Returns:
        None where it is one path that is no folder of captures.

    Raises:
        CaptureError: a folder among several holds no capture.
        UsageError: no capture is named, or one is named twice.
    """
    if isinstance(captures, Path | str):
        path = Path(captures)
        inside = _captures_in(path)
        return [(one, None) for one in inside] if inside else None
    with_hosts: Iterable[tuple[Path | str, str | None]]
    if isinstance(captures, Mapping):
        with_hosts = [(path, host) for host, path in captures.items()]
    else:
        with_hosts = [(path, None) for path in captures]
    captures_with_hosts: list[tuple[Path, str | None]] = []
    for place, host in with_hosts:
        copies = local_captures(place)
        if isinstance(copies, tuple):
            captures_with_hosts += [(Path(one), host) for one in copies]
            continue
        path = Path(copies)  # type: ignore[arg-type]
        captures_with_hosts += [(one, host) for one in _captures_in(path) or [path]]
    if not captures_with_hosts:
        raise UsageError("no capture given; give the paths of NAME.regtrace directories")
    places = Counter(path.resolve() for path, _ in captures_with_hosts)
    twice = next((path for path, _ in captures_with_hosts if places[path.resolve()] > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is given twice; give each capture once")
    return captures_with_hosts


def load_members(captures: Sequence[tuple[Path, str | None]], *, check_rows: bool) -> list[Member]:
    """Read the manifests of captures; their ids are not shifted yet.

    Raises:
        CaptureError: a capture is missing, incomplete, damaged or of another format; the message names it.
    """
    names = _names([path for path, _ in captures])
    members = []
    for (path, host), name in zip(captures, names, strict=True):
        manifest = Manifest.load(path, check_rows=check_rows)
        label = _text(host) if host is not None else host_of(manifest) or name
        members.append(Member(path, manifest, name, label, dict.fromkeys(KINDS, 0)))
    return members


def merged(members: Sequence[Member]) -> Manifest:
    """Return one manifest for all: sums, common facts, and parts and sources with shifted ids."""
    totals: dict[str, Any] = {}
    tables: dict[str, dict[str, Any]] = {}
    parts, sources = [], []
    for member in members:
        own = member.manifest
        for name, number in own.totals.items():
            totals[name] = _sum(totals.get(name), number)
        for name, entry in own.tables.items():
            rows = tables.get(name, {}).get("rows", 0) + entry["rows"]
            tables[name] = {"file": f"{name}.parquet", "rows": rows}
        shift = member.first["sequence"]
        for part in own.parts:
            numbers = {name: part[name] + shift for name in ("first_sequence", "last_sequence")}
            parts.append(part | numbers | {"file": str(member.path / part["file"])})
        for number, source in enumerate(own.sources):
            source_id = member.first["source_id"] + number
            sources.append(source | {"source_id": source_id, "host": member.host, "capture": member.capture})
    every = [member.manifest for member in members]
    return Manifest(
        complete=all(one.complete for one in every),
        windows_build=_common(one.windows_build for one in every),
        clock=_common(one.clock for one in every),
        control_set=_common(one.control_set for one in every),
        sources=sources,
        parts=parts,
        tables=tables,
        totals=totals,
        data_of_reads=STRUCTURES if any(one.data_of_reads == STRUCTURES for one in every) else "values",
        regtrace_version=_common(one.regtrace_version for one in every) or "several",
    )


def _captures_in(folder: Path) -> list[Path]:
    """Return the captures in a folder and its folders, by name; none where the folder is a capture."""
    if folder.suffix == _SUFFIX or (folder / MANIFEST_NAME).exists() or not folder.is_dir():
        return []
    try:
        captures = []
        for inside in sorted(folder.iterdir()):
            if _is_capture(inside):
                captures.append(inside)
            elif inside.is_dir() and not inside.name.startswith("."):
                captures += [deeper for deeper in sorted(inside.iterdir()) if _is_capture(deeper)]
    except OSError as error:
        raise CaptureError(f"{folder} cannot be read: {error.strerror or error}") from error
    return captures


def _is_capture(path: Path) -> bool:
    # What a writer left behind (NAME.regtrace.partial) is none; NAME.regtrace without a manifest is a damaged one.
    if path.name.startswith(".") or path.suffix in (".partial", ".replaced") or not path.is_dir():
        return False
    return path.suffix == _SUFFIX or (path / MANIFEST_NAME).exists()


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a unique name for each path: its last part, or more parts where needed."""
    parts = [path.resolve().parts for path in paths]
    lengths = [1] * len(paths)
    while True:
        names = ["/".join(part[-length:]) for part, length in zip(parts, lengths, strict=True)]
        names = [_text(name.removesuffix(_SUFFIX)) for name in names]
        counts = Counter(names)
        longer = [counts[name] > 1 and lengths[place] < len(parts[place]) for place, name in enumerate(names)]
        if not any(longer):
            break
        lengths = [length + more for length, more in zip(lengths, longer, strict=True)]
    used: set[str] = set()  # a.regtrace beside a: both are called a to the root
    for place, name in enumerate(names):
        number = 1
        while names[place] in used:
            number += 1
            names[place] = f"{name} ({number})"
        used.add(names[place])
    return names


def host_of(manifest: Manifest) -> str | None:
    """Return the name of the recorded machine; None where unknown."""
    recording = manifest.settings.get("recording")
    host = recording.get("host") if isinstance(recording, dict) else None
    name = host.get("name") if isinstance(host, dict) else None
    return _text(name) if isinstance(name, str) and name else None


def _text(name: str) -> str:
    """Return a name without NULs and lone surrogates, which the engine cannot store."""
    return escape_argument(str(name))


def _sum(known: Any, more: Any) -> Any:  # noqa: ANN401
    """Return the sum of two totals: numbers, or objects of numbers; other values are dropped."""
    if isinstance(more, dict):
        known = known if isinstance(known, dict) else {}
        return known | {name: _sum(known.get(name), number) for name, number in more.items()}
    numbers = [one for one in (known, more) if isinstance(one, int)]
    return sum(numbers)


def _common(values: Iterable[Any]) -> Any:  # noqa: ANN401
    """Return the value that all have; None where they differ."""
    different = list(dict.fromkeys(values))
    return different[0] if len(different) == 1 else None
