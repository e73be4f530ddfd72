r"""Paths of images as programs write them: ``\Device\HarddiskVolume3\Windows\a.exe`` is ``C:\Windows\a.exe``, if the drive is known.

The kernel names a volume by its device, logs of people and rules by its drive. Which drive a volume has is known where the
recording asked Windows, or where one process has both spellings: the kernel's path, and a command line or another source's path
with a drive. Else the volume that holds ``\Windows\System32`` is guessed to be ``C:``, and each path says so.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tracer.columns.arrays import from_texts
from tracer.registry.text import fold_name

__all__ = [
    "GUESS",
    "SOURCES",
    "drives_in",
    "drives_of_processes",
    "is_surer",
    "path_of_command",
    "with_dos_paths",
]

RECORDED, DRIVES, PROCESS, GUESS = "recorded", "drives", "process", "guess"
SOURCES = {
    RECORDED: "the source wrote it so",
    DRIVES: "the recording asked Windows which drive the volume has",
    PROCESS: "a process of the capture has both spellings of a path on this volume",
    GUESS: r"a guess: the volume holds \Windows\System32, so its drive is taken to be C:",
}
_DOS = re.compile(r"[A-Za-z]:\\")
_DEVICE = re.compile(r"(\\Device\\HarddiskVolume\d+)(\\.*)", re.IGNORECASE | re.DOTALL)
_NETWORK = re.compile(r"\\Device\\Mup(\\[^;].*)", re.IGNORECASE | re.DOTALL)
_PREFIXES = ("\\??\\", "\\\\?\\")
_SYSTEM = fold_name("\\Windows\\System32\\")
_COMMAND = re.compile(r'\s*(?:"([^"]+)"|(\S+))')


def with_dos_paths(
    processes: pa.Table,
    drives: Mapping[str, str] | None = None,
    other_paths: Iterable[tuple[str, str]] = (),
) -> pa.Table:
    r"""Return rows of the table `processes` with `dos_path` and `dos_path_source` filled; what a source told stays.

    Args:
        processes: the rows; `image_path` and `command_line` are looked at.
        drives: the drive of each volume, such as ``{"\\Device\\HarddiskVolume3": "C:"}``; None: nobody asked.
        other_paths: pairs of paths that two sources tell of one process.
    """
    images, commands = (processes.column(name).to_pylist() for name in ("image_path", "command_line"))
    pairs = [
        (image, command)
        for image, line in zip(images, commands, strict=True)
        if (command := path_of_command(line))
    ]
    known = drives_of_processes([*pairs, *other_paths])
    asked = {fold_name(device): drive for device, drive in (drives or {}).items()}
    guessed = _guessed(images, {**known, **asked})
    before = zip(
        *(processes.column(name).to_pylist() for name in ("dos_path", "dos_path_source")), strict=True
    )
    found = [
        told if told[1] in (RECORDED, DRIVES) else _dos_path(image, asked, known, guessed)
        for image, told in zip(images, before, strict=True)
    ]
    for name, values in (
        ("dos_path", [path for path, _ in found]),
        ("dos_path_source", [source for _, source in found]),
    ):
        place = processes.schema.get_field_index(name)
        processes = processes.set_column(place, processes.schema.field(place), from_texts(values))
    return processes


def is_surer(source: str | None, other: str | None) -> bool:
    """Tell whether a path of this source is surer than one of the other."""
    order = [*SOURCES, None]
    return order.index(source) < order.index(other)


def drives_of_processes(pairs: Iterable[tuple[str | None, str | None]]) -> dict[str, str]:
    r"""Return the drive of each volume, by its folded device path, as paths of one file in both spellings prove it.

    A volume of which they contradict each other is left out.

    Args:
        pairs: paths of one process, either spelling first.

    >>> drives_of_processes([("\\Device\\HarddiskVolume3\\a\\b.exe", "C:\\A\\b.exe")])
    {'\\DEVICE\\HARDDISKVOLUME3': 'C:'}
    """
    drives: dict[str, set[str]] = {}
    for one, other in pairs:
        for device_path, dos_path in ((one, other), (other, one)):
            found = _DEVICE.fullmatch(device_path or "")
            if found and dos_path and _DOS.match(dos_path) and fold_name(found[2]) == fold_name(dos_path[2:]):
                drives.setdefault(fold_name(found[1]), set()).add(dos_path[:2].upper())
    return {device: next(iter(some)) for device, some in drives.items() if len(some) == 1}


def path_of_command(line: str | None) -> str | None:
    r"""Return the program's path that a command line begins with, if it has a drive; None otherwise.

    >>> path_of_command('"C:\\Program Files\\a.exe" -x'), path_of_command("a.exe -x")
    ('C:\\Program Files\\a.exe', None)
    """
    found = _COMMAND.match(line or "")
    path = (found[1] or found[2]) if found else None
    if path is None:
        return None
    for prefix in _PREFIXES:
        path = path.removeprefix(prefix)
    return path if _DOS.match(path) else None


def _guessed(images: Sequence[str | None], known: Mapping[str, str]) -> str | None:
    """Return the only volume without a known drive that holds the system folder, if no volume is known to be C:."""
    if "C:" in known.values():
        return None
    devices = set()
    for image in images:
        found = _DEVICE.fullmatch(image or "")
        if found and fold_name(found[2]).startswith(_SYSTEM):
            devices.add(fold_name(found[1]))
    return devices.pop() if len(devices) == 1 and not devices & known.keys() else None


def _dos_path(
    image: str | None, asked: Mapping[str, str], known: Mapping[str, str], guessed: str | None
) -> tuple[str | None, str | None]:
    if image is None:
        return None, None
    path = image
    for prefix in _PREFIXES:
        path = path.removeprefix(prefix)
    if _DOS.match(path) or (path.startswith("\\\\") and path == image):
        return path, RECORDED
    if network := _NETWORK.fullmatch(path):
        return "\\" + network[1], RECORDED
    found = _DEVICE.fullmatch(path)
    if not found:
        return None, None
    device = fold_name(found[1])
    for drives, source in ((asked, DRIVES), (known, PROCESS)):
        if device in drives:
            return drives[device] + found[2], source
    return (f"C:{found[2]}", GUESS) if device == guessed else (None, None)


def drives_in(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the drive of each volume as the settings of a recording tell them; empty where nobody asked."""
    host = settings.get("host")
    drives = host.get("drives") if isinstance(host, dict) else None
    if not isinstance(drives, dict):
        return {}
    return {
        device: drive
        for device, drive in drives.items()
        if isinstance(device, str) and isinstance(drive, str)
    }
