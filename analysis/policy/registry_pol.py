r"""Registry.pol: the values that a group policy sets, as Windows keeps them below ``GroupPolicy\Machine`` and ``\User``.

The file begins with ``PReg`` and a version. Then each entry is, in UTF-16, ``[key;value;type;size;data]``; key and value end
with a NUL, type and size are 32-bit numbers, data are bytes. Names that begin with ``**`` are orders instead of values. Source:
Microsoft's open specification MS-GPREG, sections 3.2.5.1 and 2.2.1; the rules of `**` names are those of the same text.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from tracer.errors import SourceError

__all__ = ["PolicyEntry", "read_registry_pol"]

_SIGNATURE = b"PReg"
_VERSION = 1
_HEADER_BYTES = 8
_OPEN, _CLOSE, _SEMICOLON = "[".encode("utf-16-le"), "]".encode("utf-16-le"), ";".encode("utf-16-le")
_NUL = b"\0\0"
_MOST_BYTES = 64 << 20  # real files have a few hundred kilobytes
_ORDERS = ("**DEL.", "**DELVALS.", "**DELETEVALUES", "**DELETEKEYS", "**SECUREKEY", "**SOFT.")


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    r"""One entry of a registry.pol.

    Attributes:
        file: the file.
        offset: where in it the entry begins, bytes.
        side: machine (HKLM) or user (HKCU); "" where the folder does not tell.
        key: the key below the root, such as ``Software\Policies\Vendor``.
        value: the name of the value; "" is the default value.
        order: sets, or the order in lower case: ``**del.`` (this value is deleted), ``**delvals.`` (all values are), ...
        type: REG_* number; None for orders.
        data: the bytes; None for orders.
    """

    file: Path
    offset: int
    side: str
    key: str
    value: str
    order: str = "sets"
    type: int | None = None
    data: bytes | None = None


def read_registry_pol(path: Path, *, side: str = "") -> tuple[list[PolicyEntry], list[str]]:
    """Return the entries of a file in order, and a sentence for what could not be read.

    Args:
        path: the file.
        side: machine, user, or "" where it is not known.

    Raises:
        SourceError: the file cannot be read, or is no registry.pol.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    if content[:4] != _SIGNATURE:
        raise SourceError(
            f"{path} is no registry.pol: it does not begin with PReg; give the file as Windows keeps it"
        )
    problems = []
    version = int.from_bytes(content[4:_HEADER_BYTES], "little")
    if version != _VERSION:
        problems.append(
            f"{path.name} has version {version}, and only version {_VERSION} is known: it was read as that"
        )
    if len(content) > _MOST_BYTES:
        problems.append(f"{path.name} is longer than {_MOST_BYTES >> 20} MB; what stands behind was not read")
    entries: list[PolicyEntry] = []
    at = _HEADER_BYTES
    while at < len(content):
        found = _entry(content, at, path, side)
        if found is None:
            problems.append(
                f"{path.name} is damaged at offset {at}: {len(entries):,} entries before it were read"
            )
            break
        entry, at = found
        entries.append(entry)
    return entries, problems


def _entry(content: bytes, at: int, path: Path, side: str) -> tuple[PolicyEntry, int] | None:
    """Return the entry that begins at an offset, and where it ends; None where none does."""
    start = at
    if content[at : at + 2] != _OPEN:
        return None
    at += 2
    names = []
    for _ in range(2):
        end = _end_of_text(content, at)
        if end is None:
            return None
        names.append(content[at:end].decode("utf-16-le", "surrogatepass"))
        at = end + 2
        if content[at : at + 2] != _SEMICOLON:
            return None
        at += 2
    if at + 12 > len(content):
        return None
    kind, first, size, second = struct.unpack_from("<I2sI2s", content, at)
    at += 12
    if first != _SEMICOLON or second != _SEMICOLON or content[at + size : at + size + 2] != _CLOSE:
        return None
    data = content[at : at + size]
    key, value = names
    order = next((one for one in _ORDERS if value.upper().startswith(one)), None)
    if order is None:
        return PolicyEntry(path, start, side, key, value, "sets", kind, data), at + size + 2
    if order == "**SOFT.":  # set only where there is no such value yet
        return PolicyEntry(path, start, side, key, value[len(order) :], "**soft.", kind, data), at + size + 2
    return PolicyEntry(path, start, side, key, value[len(order) :], order.lower()), at + size + 2


def _end_of_text(content: bytes, at: int) -> int | None:
    """Return where the NUL of a UTF-16 text stands."""
    end = content.find(_NUL, at)
    while end >= 0 and (end - at) % 2:
        end = content.find(_NUL, end + 1)
    return None if end < 0 else end
