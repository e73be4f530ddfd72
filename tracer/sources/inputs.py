"""The traces that a user names: files, folders, compressed files, .zip archives, pipes.

What is wrapped is unpacked into a folder of its own, which is removed afterwards. One level is unpacked, not more.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tracer.errors import RegtraceError, SourceError, TargetError
from tracer.files.workspace import Workspace
from tracer.progress import Progress
from tracer.registry.safe_text import visible
from tracer.sources.description import kind_of_file, sha256
from tracer.sources.kinds import HEAD_BYTES, OTHER_JSON, TRACES, WRAPPERS, FileKind, file_kind
from tracer.sources.unpack import (
    STDIN,
    Limit,
    Pieces,
    read_compressed,
    read_pipe,
    waits,
    write_pieces,
    zip_members,
)
from tracer.store.manifest import MANIFEST_NAME

__all__ = ["SourceFile", "SourceFiles", "bare_name", "holds_traces", "open_sources"]

_TRACE_NAMES = (".etl", ".pml", ".evtx")
_BLOCK = 1 << 20
_NESTED = "what is packed twice is not read: unpack it, and name what is in it"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A trace on the disk.

    Attributes:
        path: where its bytes are; of an unpacked one, below a folder that will be removed.
        name: what the manifest calls it: `boot.etl`, or `logs.zip/boot.etl`.
        shown: what an error calls it: its path, or that of its wrapper with the name in it.
        kind: a word of `tracer.sources.kinds.TRACES`; etl also where nothing is known: the reader will say why not.
        wrapper: see `tracer.sources.description.Source`.
        copies: names of later ones with the same bytes, which are left out.
    """

    path: Path
    name: str
    shown: str
    kind: str
    wrapper: dict[str, Any] | None = None
    copies: tuple[str, ...] = ()


@dataclass(slots=True)
class SourceFiles:
    """The traces in the order of the words, and one sentence for each folder or archive with other files."""

    files: list[SourceFile] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def without_copies(self) -> list[SourceFile]:
        """Return the files without copies of earlier ones; the earlier file lists the names of its copies.

        Only files of one size are read for that, and only as far as they are equal.
        """
        files: list[SourceFile] = []
        sizes: dict[int, list[int]] = {}
        for file in self.files:
            rivals = sizes.setdefault(file.path.stat().st_size, [])
            original = next((one for one in rivals if _same_bytes(files[one].path, file.path)), None)
            if original is None:
                rivals.append(len(files))
                files.append(file)
            else:
                files[original] = replace(files[original], copies=(*files[original].copies, file.name))
        return files


def bare_name(path: Path) -> str:
    """Return the name of a trace without extensions: `boot` for boot.etl and for boot.etl.zip."""
    if path == STDIN:
        return "stdin"
    name = path.name or path.resolve().name or "trace"
    first = (
        name.removesuffix(path.suffix) if path.suffix.lower() in {f".{word}" for word in WRAPPERS} else name
    )
    return Path(first).stem or name


def holds_traces(folder: Path) -> bool:
    """Tell whether a folder is not a capture, and a file in it looks like a trace, compressed or not."""
    if (folder / MANIFEST_NAME).exists():
        return False
    try:
        files = [path for path in folder.iterdir() if path.is_file()]
        return any(_is_trace_name(path.name) or kind_of_file(path, "").word in TRACES for path in files)
    except (OSError, SourceError):
        return False


@contextmanager
def open_sources(
    words: Sequence[Path],
    *,
    folder: Path | None = None,
    any_json: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[SourceFiles]:
    """Find the traces that the words name; compressed ones stay unpacked as long as the context lasts.

    Args:
        words: files, folders (the traces directly in them), `-` for standard input, `archive.zip/member`.
        folder: where to unpack; None or missing: where temporary files go.
        any_json: take JSON of a form that is not known as a log: the user says where its fields are.
        progress: called after every piece that was unpacked.

    Raises:
        SourceError: a word stands for no trace. Errors of the block get the names that the user knows.
        TargetError: there is no room to unpack.
    """
    place = folder if folder and folder.is_dir() else Path(tempfile.gettempdir())
    finder = _Finder(place, any_json, progress)
    try:
        for word in words:
            finder.find(word)
        yield finder.sources
    except RegtraceError as error:
        text = str(error)
        for file in finder.sources.files:
            if str(file.path) != file.shown:
                text = text.replace(str(file.path), file.shown)
        if text == str(error):
            raise
        raise type(error)(text) from error
    finally:
        finder.close()


class _Finder:
    """Collects the traces of several words."""

    def __init__(self, folder: Path, any_json: bool, progress: Callable[[Progress], None] | None) -> None:
        self.sources = SourceFiles()
        self._any_json = any_json
        self._parent = folder
        self._workspace: Workspace | None = None
        self._progress, self._bytes, self._files = progress, 0, 0

    def close(self) -> None:
        """Remove the unpacked files."""
        if self._workspace is not None:
            self._workspace.close()

    def find(self, word: Path) -> None:
        """Add the traces that one word names."""
        archive, member = _split_member(word)
        if waits(word):
            self._pipe(word)
        elif member:
            self._file(archive, str(archive), archive.name, member)
        elif word.is_dir():
            self._in_folder(word)
        else:
            self._file(word, str(word), word.name)

    def _in_folder(self, folder: Path) -> None:
        if (folder / MANIFEST_NAME).exists():
            raise SourceError(
                f"{folder}: this is a capture, not a folder of traces; to see what it holds, run regtrace info {folder}"
            )
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            raise SourceError(f"{folder}: cannot be opened: {error.strerror}") from error
        before, others = len(self.sources.files), []
        for path in paths:
            if not path.is_file():
                continue
            kind = self._kind(kind_of_file(path, str(path)))
            if kind.word in WRAPPERS or kind.word in TRACES or _is_trace_name(path.name):
                self._file(path, str(path), path.name, optional=not _is_trace_name(path.name))
            else:
                others.append(path.name)
        if len(self.sources.files) == before:
            captures = [path.name for path in paths if (path / MANIFEST_NAME).exists()]
            more = (
                f"; it holds captures ({_some(captures)}), which the verbs that ask take" if captures else ""
            )
            raise SourceError(
                f"{folder}: no file in this folder is a trace or a log (folders below it are not looked at){more}; "
                "name one or more .etl, .pml or .evtx files, or logs as JSON, XML or CSV"
            )
        self._leave_out(str(folder), others)

    def _kind(self, kind: FileKind) -> FileKind:
        """Return the kind of a file as the user sees it."""
        return FileKind("json") if self._any_json and kind == OTHER_JSON else kind

    def _pipe(self, word: Path) -> None:
        shown = "standard input" if word == STDIN else str(word)
        path = self._unpack(read_pipe(word), shown, None)
        self._file(path, shown, shown if word == STDIN else word.name)

    def _file(self, path: Path, shown: str, name: str, member: str = "", *, optional: bool = False) -> None:
        """Add a file, or the traces in it; an `optional` file without any is left out."""
        kind = self._kind(kind_of_file(path, shown))
        if kind.word == "zip":
            self._zip(path, shown, name, member, optional=optional)
        elif kind.word in WRAPPERS:
            self._compressed(path, kind.word, shown, name, optional=optional)
        else:
            self._add(path, kind, shown, name)

    def _add(
        self, path: Path, kind: FileKind, shown: str, name: str, wrapper: dict[str, Any] | None = None
    ) -> None:
        _check(kind, shown)
        known = kind.word if kind.word in TRACES else "etl"
        self.sources.files.append(SourceFile(path, name, shown, known, wrapper))

    def _compressed(self, path: Path, word: str, shown: str, name: str, *, optional: bool) -> None:
        pieces = read_compressed(path, word, shown)
        with closing(pieces):
            first = next(pieces, b"")
            kind = self._kind(file_kind(first[:HEAD_BYTES]))
            if optional and kind.word not in TRACES:
                self._leave_out(str(path.parent), [path.name])
                return
            _check(kind, shown)
            inside = self._unpack(_with_first(first, pieces), shown, path.stat().st_size)
        self._add(inside, kind, shown, name, _wrapper(path, word, name))

    def _zip(self, path: Path, shown: str, name: str, member: str, *, optional: bool) -> None:
        limit = Limit(shown, path.stat().st_size, self._parent)
        wrapper = None
        others: list[str] = []
        nested: list[str] = []
        with zip_members(path, shown) as members:
            for one in members:
                if member and one.name != member:
                    continue
                kind = self._kind(_kind_of_member(one.name, one.kind))
                if not (member or kind.word in TRACES or _is_trace_name(one.name)):
                    (nested if kind.word in WRAPPERS else others).append(one.name)
                    continue
                _check(kind, one.shown)
                wrapper = wrapper or _wrapper(path, "zip", name)
                inside = self._unpack(one.read(), one.shown, None, limit)
                self._add(inside, kind, one.shown, f"{name}/{one.name}", {**wrapper, "member": one.name})
        if wrapper is None and optional:
            self._leave_out(str(path.parent), [path.name])
        elif wrapper is None:
            what = f"has no member {member!r}" if member else "holds no trace"
            more = f"; of the archives in it ({_some(nested)}): {_NESTED}" if nested else ""
            raise SourceError(f"{shown}: {what}, but {_some([*others, *nested])}{more}")
        else:
            self._leave_out(shown, [*others, *nested])

    def _unpack(self, pieces: Pieces, shown: str, packed: int | None, limit: Limit | None = None) -> Path:
        """Write pieces to a new file and return it."""
        if self._workspace is None:
            self._workspace = self._make_workspace()
        self._files += 1
        target = self._workspace.path / str(self._files)
        write_pieces(pieces, target, limit or Limit(shown, packed, self._parent), self._count)
        return target

    def _make_workspace(self) -> Workspace:
        try:
            return Workspace(self._parent)
        except OSError as error:
            raise TargetError(f"cannot unpack to {self._parent}: {error.strerror}") from error

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._progress:
            self._progress(Progress(self._bytes, 0, 0))

    def _leave_out(self, where: str, names: list[str]) -> None:
        if names:
            what = (
                "1 file that is no trace" if len(names) == 1 else f"{len(names):,} files that are no traces"
            )
            self.sources.left_out.append(f"{where}: left out {what}: {_some(names)}")


def _with_first(first: bytes, pieces: Pieces) -> Pieces:
    yield first
    yield from pieces


def _check(kind: FileKind, shown: str) -> None:
    """Raise SourceError for a file of another kind, and for one that is compressed twice."""
    if kind.word == "foreign":
        raise SourceError(kind.sentence(shown))
    if kind.word in WRAPPERS:
        raise SourceError(f"{shown}: {_NESTED}")


def _split_member(word: Path) -> tuple[Path, str]:
    """Return (archive, member) of `archive.zip/member`, or the word itself and ""."""
    if not word.exists():
        for parent in word.parents:
            if parent.is_file():
                return parent, word.relative_to(parent).as_posix()
    return word, ""


def _kind_of_member(name: str, read: Callable[[], FileKind]) -> FileKind:
    """Return the kind of a member; one that cannot be read counts as a trace only by its name."""
    try:
        return read()
    except SourceError:
        if _is_trace_name(name):
            raise
        return FileKind("foreign")


def _wrapper(path: Path, word: str, name: str) -> dict[str, Any]:
    return {"kind": word, "name": name, "size": path.stat().st_size, "sha256": sha256(path), "member": None}


def _is_trace_name(name: str) -> bool:
    bare = name.lower()
    for word in WRAPPERS:
        bare = bare.removesuffix(f".{word}")
    return bare.endswith(_TRACE_NAMES)


def _same_bytes(one: Path, other: Path) -> bool:
    if one.samefile(other):
        return True
    with one.open("rb") as first, other.open("rb") as second:
        while (block := first.read(_BLOCK)) == second.read(_BLOCK):
            if not block:
                return True
    return False


def _some(names: list[str]) -> str:
    """Return some of the names as text.

    >>> _some(["a", "b"]), _some(["a", "b", "c", "d", "e"]), _some([])
    ('a, b', 'a, b, c and 2 more', 'nothing')
    """
    if not names:
        return "nothing"
    more = f" and {len(names) - 3:,} more" if len(names) > 4 else ""
    return ", ".join(map(visible, names[:3] if more else names)) + more
