"""Unpacking of compressed files, .zip archives and pipes: in bounded pieces, no more than the disk holds."""

import bz2
import contextlib
import gzip
import lzma
import shutil
import stat
import sys
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO

from tracer.errors import SourceError, TargetError, UsageError, reason_of
from tracer.registry.safe_text import visible
from tracer.sources.kinds import HEAD_BYTES, FileKind, file_kind

__all__ = [
    "STDIN",
    "Limit",
    "Pieces",
    "ZipMember",
    "read_compressed",
    "read_pipe",
    "waits",
    "write_pieces",
    "zip_members",
]

STDIN = Path("-")
Pieces = Generator[bytes, None, None]
_PIECE = 1 << 20
_MOST_MEMORY = 256 << 20  # of an .xz: its largest preset wants 65 MiB
_MOST_MEMBERS = 10_000
_ALWAYS = 4 << 30  # bytes that any file may unpack to
_MOST_RATIO = 200  # beyond these: real traces shrink 5 to 40 times, made-up ones thousands of times
_SPARE = 256 << 20  # bytes of the disk that are left free
_DAMAGED = (EOFError, NotImplementedError, OSError, RuntimeError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)  # fmt: skip


class Limit:
    """Limit of the bytes that one source may unpack to."""

    def __init__(self, shown: str, packed: int | None, folder: Path) -> None:
        """Set the limit.

        Args:
            shown: what to call the source in an error.
            packed: its size; None if that is not known, so that the disk alone is the limit.
            folder: where its bytes will be written.
        """
        self._shown, self._folder = shown, folder
        self._room = max(shutil.disk_usage(folder).free - _SPARE, 0)
        self._most = None if packed is None else max(_ALWAYS, packed * _MOST_RATIO)
        self._bytes = 0

    def take(self, size: int) -> None:
        """Count `size` bytes more.

        Raises:
            SourceError: it is more than such a file is believed to hold.
            TargetError: the disk has no room for it.
        """
        self._bytes += size
        if self._most is not None and self._bytes > self._most:
            raise SourceError(
                f"{self._shown}: unpacks to more than {_MOST_RATIO} times its size ({self._most:,} bytes), as no real "
                "trace does; if you trust it, unpack it yourself"
            )
        if self._bytes > self._room:
            raise TargetError(
                f"{self._shown}: there is no room to unpack it in {self._folder} ({self._room:,} bytes can be used); "
                "free some, or unpack it yourself on another disk"
            )


def waits(path: Path) -> bool:
    """Tell whether reading `path` waits for a writer: standard input, a pipe, a device."""
    if path == STDIN:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def read_pipe(path: Path) -> Pieces:
    """Yield the bytes of standard input or a pipe, until its writer ends.

    Raises:
        SourceError: it cannot be opened or read.
        UsageError: standard input is a terminal.
    """
    if path == STDIN and sys.stdin.isatty():
        raise UsageError("standard input is a terminal; pipe a trace into it, or name a file")
    try:
        stream = sys.stdin.buffer if path == STDIN else path.open("rb")
        with contextlib.nullcontext(stream) if path == STDIN else stream:
            while piece := stream.read(_PIECE):
                yield piece
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror}") from error


def read_compressed(path: Path, word: str, shown: str) -> Pieces:
    """Yield the content of a compressed file, in pieces of at most 1 MiB.

    Args:
        path: the file.
        word: gz, bz2, xz or zst.
        shown: what to call it in an error.

    Raises:
        SourceError: it is damaged or cut short.
    """
    with _unpacking(shown, f"the .{word} data"), path.open("rb") as file:
        if word == "gz":
            with gzip.GzipFile(fileobj=file) as stream:
                yield from _pieces(stream.read)
        elif word == "zst":
            import pyarrow as pa

            with pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd") as stream:
                yield from _pieces(stream.read)
        elif word == "xz":
            yield from _streams(file, lambda: lzma.LZMADecompressor(memlimit=_MOST_MEMORY))
        else:
            yield from _streams(file, bz2.BZ2Decompressor)


def _pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    while piece := read(_PIECE):
        yield piece


def _streams(
    file: IO[bytes], make: "Callable[[], lzma.LZMADecompressor | bz2.BZ2Decompressor]"
) -> Iterator[bytes]:
    """Yield the content of one or several concatenated streams; zeros after them are padding."""
    packed = file.read(_PIECE)
    while packed:
        decompressor = make()
        while not decompressor.eof:
            if decompressor.needs_input and not packed:
                packed = file.read(_PIECE)
                if not packed:
                    raise EOFError("it ends in the middle")
            piece = decompressor.decompress(packed, _PIECE)
            packed = b""
            if piece:
                yield piece
        packed = decompressor.unused_data.lstrip(b"\0")
        while not packed and (more := file.read(_PIECE)):
            packed = more.lstrip(b"\0")


class ZipMember:
    """A file in a .zip; `name` is its name there, and is never used as a path."""

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, shown: str) -> None:
        self.name, self.shown = info.filename, shown
        self._archive, self._info = archive, info

    def kind(self) -> FileKind:
        """Return the kind of the file by its first bytes; raises as `read` does."""
        with contextlib.closing(self._read(HEAD_BYTES)) as pieces:
            return file_kind(next(pieces, b""))

    def read(self) -> Pieces:
        """Yield the bytes of the file, in pieces of at most 1 MiB.

        Raises:
            SourceError: it is encrypted, damaged, or packed in a way that is not read.
        """
        return self._read(_PIECE)

    def _read(self, size: int) -> Pieces:
        if self._info.flag_bits & 1:
            raise SourceError(
                f"{self.shown}: is encrypted; unpack the .zip with its password, and name the file"
            )
        # Of the other methods Python's reader does not bound what one piece unpacks to.
        if self._info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise SourceError(
                f"{self.shown}: is packed by method {self._info.compress_type} of .zip (9 is Deflate64, with which "
                "Windows packs large files); 0 and 8 are read: unpack the .zip, and name the file"
            )
        with _unpacking(self.shown, "this member of the .zip"), self._archive.open(self._info) as stream:
            yield from iter(lambda: stream.read(size), b"")


@contextlib.contextmanager
def zip_members(path: Path, shown: str) -> Iterator[list[ZipMember]]:
    """Open a .zip for its members that are files: neither folders nor links.

    Raises:
        SourceError: it is damaged, or has more members than are looked at.
    """
    with _unpacking(shown, "the .zip"):
        archive = zipfile.ZipFile(path)
    with archive:
        infos = archive.infolist()
        if len(infos) > _MOST_MEMBERS:
            raise SourceError(
                f"{shown}: has {len(infos):,} members, more than the {_MOST_MEMBERS:,} that are looked at; "
                "unpack it, and name the traces"
            )
        named = [info for info in infos if info.filename]  # damage can leave a member without a name
        files = [info for info in named if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16)]
        yield [ZipMember(archive, info, f"{shown}/{visible(info.filename)}") for info in files]


def write_pieces(pieces: Pieces, target: Path, limit: Limit, each: Callable[[int], None]) -> None:
    """Write pieces to a new file, and call `each` with the size of each one.

    Raises:
        SourceError: there is more than the limit allows.
        TargetError: the disk refuses.
    """
    try:
        out = target.open("xb")
    except OSError as error:
        raise TargetError(f"cannot unpack to {target.parent}: {error.strerror}") from error
    with out, contextlib.closing(pieces):
        for piece in pieces:
            limit.take(len(piece))
            try:
                out.write(piece)
            except OSError as error:
                raise TargetError(f"cannot unpack to {target.parent}: {error.strerror}") from error
            each(len(piece))


@contextlib.contextmanager
def _unpacking(shown: str, what: str) -> Iterator[None]:
    """Turn errors of a decompressor into one sentence."""
    try:
        yield
    except _DAMAGED as error:
        raise SourceError(
            f"{shown}: {what} cannot be unpacked ({reason_of(error)}); copy it again from where it was made"
        ) from error
