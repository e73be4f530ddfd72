"""A hive in memory: its base block, and the bytes of its bins. What cells hold is not looked at here.

The layout is that of the open descriptions of the format: M. Suhanov, "Windows registry file format specification", and
J. Metz, "Windows NT Registry File (REGF) format".
"""

import struct
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError
from tracer.registry.text import decode_name

__all__ = [
    "BASE_BLOCK",
    "SIGNATURE",
    "UNIX_OF_FILETIME",
    "BaseBlock",
    "HiveImage",
    "filetime_ns",
    "read_image",
]

SIGNATURE = b"regf"
BASE_BLOCK = 4096  # bytes before the first bin; offsets of cells count from its end
UNIX_OF_FILETIME = 116_444_736_000_000_000  # 1970 as a FILETIME: 100 ns since 1601
_STATED = struct.Struct(
    "<4sIIQIIIIII"
)  # signature, sequences, time, version, type, format, root, bytes of bins
_NAME = slice(48, 112)  # the end of the path that Windows loaded it from, UTF-16LE
_CHECKED = 508  # bytes that the checksum is of, and its place
_DIRECT = 1  # format: direct memory load
_MAJOR = 1
_MOST_BYTES = (1 << 31) - BASE_BLOCK  # an offset has 31 bits


@dataclass(frozen=True, slots=True)
class BaseBlock:
    """What a base block states.

    Attributes:
        primary, secondary: sequence numbers; they differ while something is written, and after it was cut off.
        written_ns: when the file was last written, UTC nanoseconds; None where it does not say.
        version: major and minor.
        root: offset of the root key's cell in the bins.
        size: bytes of bins.
        name: the end of the path under which Windows loaded the hive, escaped.
        is_sound: whether its checksum fits.
    """

    primary: int
    secondary: int
    written_ns: int | None
    version: tuple[int, int]
    root: int
    size: int
    name: str
    is_sound: bool

    @classmethod
    def of(cls, block: bytes) -> "BaseBlock | None":
        """Return what the bytes of a base block state; None where they are none."""
        if len(block) < _CHECKED + 4 or not block.startswith(SIGNATURE):
            return None
        _, primary, secondary, time, major, minor, _, _, root, size = _STATED.unpack_from(block)
        name = block[_NAME].decode("utf-16-le", "surrogatepass").split("\0", 1)[0]
        return cls(
            primary,
            secondary,
            filetime_ns(time),
            (major, minor),
            root,
            size,
            decode_name(name.encode("utf-16-le", "surrogatepass")),
            checksum(block) == int.from_bytes(block[_CHECKED : _CHECKED + 4], "little"),
        )

    @property
    def is_clean(self) -> bool:
        """Whether the hive was written as a whole, so that no log holds more."""
        return self.is_sound and self.primary == self.secondary


def filetime_ns(time: int) -> int | None:
    """Return a FILETIME as UTC nanoseconds; None for 0 and for what 64 bits do not hold."""
    ns = (time - UNIX_OF_FILETIME) * 100
    return ns if time and -(1 << 63) <= ns < 1 << 63 else None


def checksum(block: bytes) -> int:
    """Return the checksum of a base block: the XOR of its first 127 numbers, where 0 and -1 are not used."""
    found = int(np.bitwise_xor.reduce(np.frombuffer(block, "<u4", _CHECKED // 4)))
    return {0: 1, 0xFFFF_FFFF: 0xFFFF_FFFE}.get(found, found)


@dataclass(frozen=True, slots=True)
class HiveImage:
    """A hive in memory.

    Attributes:
        base: its base block.
        bins: the bytes after the base block, a multiple of 8.
    """

    base: BaseBlock
    bins: bytes

    def with_bins(self, bins: bytes) -> "HiveImage":
        """Return the hive with other bytes of bins, written as a whole."""
        base = replace(self.base, size=len(bins), primary=self.base.secondary, is_sound=True)
        return HiveImage(base, bins)


def read_image(path: Path, found: Diagnostics) -> tuple[HiveImage, bytes]:
    """Return the hive in a file, as it stands there, and all bytes of the file.

    Args:
        path: the file; it is only read.
        found: counts what is odd.

    Raises:
        SourceError: it cannot be opened, or is no hive of this kind.
    """
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"{path}: this hive cannot be opened: {error.strerror or error}; Windows locks the hives that it uses: save a copy "
            "with `reg save`"
        ) from error
    base = BaseBlock.of(whole[:BASE_BLOCK])
    if base is None:
        what = "is empty" if not whole else "does not begin with `regf`"
        raise SourceError(f"{path}: this is no registry hive: it {what}; save one with `reg save`")
    if base.version[0] != _MAJOR or len(whole) <= BASE_BLOCK:
        what = (
            "ends after its base block"
            if len(whole) <= BASE_BLOCK
            else f"has version {'.'.join(map(str, base.version))}"
        )
        raise SourceError(f"{path}: this hive cannot be read: it {what}; save it anew with `reg save`")
    found.count("hive_odd_header", int(not base.is_sound), offset=_CHECKED)
    bins = whole[BASE_BLOCK : BASE_BLOCK + min(base.size or _MOST_BYTES, _MOST_BYTES)]
    missing = base.size - len(bins)
    if missing > 0:
        found.count("hive_cut", 1, offset=len(whole))
    return HiveImage(base, bins[: len(bins) & ~7]), whole
