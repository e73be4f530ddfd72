"""Captures in object storage, such as `s3://bucket/fleet/host.regtrace`: they are fetched into a folder of this machine.

Questions are asked of that copy, so an engine reaches no network, and nobody's SQL reads another address. What is fetched is
what a manifest names below the address, and no more than fits into the folder. PyArrow speaks the protocol; credentials, the
region and another endpoint come from where every program of that service has them (AWS_ACCESS_KEY_ID and the like,
~/.aws/config, AWS_ENDPOINT_URL).
"""

import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING

from tracer.errors import CaptureError, RegtraceError, UsageError
from tracer.files.workspace import Workspace
from tracer.store.addresses import SCHEME, address_of
from tracer.store.manifest import LARGEST, MANIFEST_NAME, Manifest

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["cache_folder", "fetch_captures"]

_SUFFIX = ".regtrace"
_THREADS = 16
_PIECE = 8 << 20
_GIGABYTES = 20  # what the folder may hold where nobody says otherwise
_IN_USE_S = 3600  # a copy that was asked in the last hour is not removed for another
_PLACE, _SIZE = "REGTRACE_CACHE", "REGTRACE_CACHE_GB"
# Words of the service's errors, and what a user can do.
_ADVICE = (
    (("NO_SUCH_BUCKET", "NoSuchBucket"), "there is no such bucket: check its name"),
    (
        ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE", "HTTP response code 403", "CREDENTIALS", "UNRECOGNIZED_CLIENT"),
        "access is denied: give credentials that may read it (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)",
    ),
    (("HTTP response code 301", "HTTP response code 400"), "the bucket may be in another region: set AWS_REGION"),
    (("NETWORK_CONNECTION", "curlCode", "TIMEOUT"), "the service cannot be reached: check the network and AWS_ENDPOINT_URL"),
)  # fmt: skip


def fetch_captures(path: PurePath | str) -> Path | tuple[Path, ...]:
    """Return the copy of the capture at an address; or those of all captures below it, directly or one prefix deeper.

    A copy stays for the next question: it is fetched anew where `capture.json` at the address has changed.

    Raises:
        UsageError: the address names no bucket, or the variable REGTRACE_CACHE_GB no number.
        CaptureError: there is no capture, or it is damaged.
        RegtraceError: the storage cannot be read, or captures do not fit into the folder.
    """
    address = address_of(path)
    place = "/".join(PurePath(path).parts[1:])
    if not place:
        raise UsageError(
            f"{address} names no bucket; write s3://BUCKET/NAME{_SUFFIX}, or a prefix of captures"
        )
    storage = _storage(place.partition("/")[0])
    manifest = _manifest(storage, place)
    if manifest is not None:
        return _copies(storage, [(place, manifest)])[0]
    if place.endswith(_SUFFIX):
        raise CaptureError(
            f"{address} has no {MANIFEST_NAME}, so it is no capture or is not there: check the address"
        )
    places = _below(storage, place)
    with ThreadPoolExecutor(_THREADS) as pool:
        manifests = list(pool.map(lambda one: _manifest(storage, one), places))
    found = [(one, own) for one, own in zip(places, manifests, strict=True) if own is not None]
    if not found:
        raise CaptureError(f"{address} holds no capture, directly or one prefix deeper: check the address")
    return tuple(_copies(storage, found))


def cache_folder() -> Path:
    """Return the folder of copies."""
    if own := os.environ.get(_PLACE):
        return Path(own)
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        return base / "regtrace" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "regtrace"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "regtrace"


def _storage(bucket: str) -> "FileSystem":
    try:
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem
    except ImportError as error:
        raise RegtraceError(
            "this PyArrow was built without object storage: install the one of PyPI (`pip install pyarrow`)"
        ) from error
    scheme, separator, host = _endpoint().rpartition("://")
    with _errors(bucket):
        return S3FileSystem(
            endpoint_override=host.rstrip("/") or None,
            scheme=scheme if separator else None,
            connect_timeout=5,
            request_timeout=30,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=3),
        )


def _endpoint() -> str:
    """Return the address of the service that a user set; "" for Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _manifest(storage: "FileSystem", place: str) -> bytes | None:
    """Return the content of a capture's manifest; None where there is none."""
    from pyarrow.fs import FileType

    name = f"{place}/{MANIFEST_NAME}"
    with _errors(place):
        seen = storage.get_file_info(name)
        if seen.type != FileType.File:
            return None
        if seen.size > LARGEST:
            raise CaptureError(
                f"{SCHEME}//{name} has {seen.size:,} bytes, more than any ingest writes, so it is not read"
            )
        with storage.open_input_stream(name) as stream:
            content: bytes = stream.read(LARGEST)
            return content


def _below(storage: "FileSystem", place: str) -> list[str]:
    """Return the prefixes below one that may be captures."""
    found = []
    for inside in _prefixes(storage, place):
        if inside.endswith(_SUFFIX):
            found.append(inside)
        else:
            found += [inside, *(one for one in _prefixes(storage, inside) if one.endswith(_SUFFIX))]
    return found


def _prefixes(storage: "FileSystem", place: str) -> list[str]:
    from pyarrow.fs import FileSelector, FileType

    with _errors(place):
        inside = storage.get_file_info(FileSelector(place, allow_not_found=True))
    return sorted(one.path for one in inside if one.type == FileType.Directory)


def _copies(storage: "FileSystem", found: Sequence[tuple[str, bytes]]) -> list[Path]:
    """Return the copy of each capture; those that are missing or old are fetched."""
    folder = cache_folder()
    targets = [_target(folder, place) for place, _ in found]
    missing = []
    for target, (place, content) in zip(targets, found, strict=True):
        if _is_fresh(target, content):
            with suppress(OSError):
                os.utime(target.parent)
        else:
            missing.append((target, place, content))
    if missing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with Workspace(folder) as workspace:
                _fetch(storage, missing, workspace.path, keep=set(targets))
        except OSError as error:
            raise RegtraceError(
                f"captures cannot be kept in {folder}: {error.strerror or error}; {_PLACE} names another folder"
            ) from error
    return targets


def _fetch(
    storage: "FileSystem", missing: Sequence[tuple[Path, str, bytes]], workspace: Path, *, keep: set[Path]
) -> None:
    """Fetch captures whole, each into its place."""
    files: list[list[tuple[str, int]]] = []
    for number, (_, place, content) in enumerate(missing):
        own = workspace / str(number)
        own.mkdir()
        (own / MANIFEST_NAME).write_bytes(content)
        try:
            manifest = Manifest.read(own)
        except CaptureError as error:  # it names a file of ours, which nobody knows
            raise CaptureError(str(error).replace(str(own), f"{SCHEME}//{place}")) from error
        names = [entry["file"] for entry in manifest.files()]
        with _errors(place):
            sizes = [one.size for one in storage.get_file_info([f"{place}/{name}" for name in names])]
        for name, size in zip(names, sizes, strict=True):
            if size is None:
                raise CaptureError(f"{SCHEME}//{place}/{name} is missing: copy the whole capture there")
        files.append(list(zip(names, sizes, strict=True)))
    _make_room(sum(size for some in files for _, size in some), keep)
    with ThreadPoolExecutor(_THREADS) as pool:
        fetched = [
            pool.submit(_fetch_file, storage, f"{place}/{name}", size, workspace / str(number) / name)
            for number, (_, place, _) in enumerate(missing)
            for name, size in files[number]
        ]
        try:
            for one in fetched:
                one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    for number, (target, _, _) in enumerate(missing):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.rename(workspace / f"{number}.old")
        (workspace / str(number)).rename(target)


def _fetch_file(storage: "FileSystem", name: str, size: int, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with _errors(name), storage.open_input_stream(name) as source, target.open("wb") as out:
        left = size
        while left and (piece := source.read(min(left, _PIECE))):
            out.write(piece)
            left -= len(piece)
    if left:
        raise CaptureError(f"{SCHEME}//{name} became shorter while it was read: try again")


def _is_fresh(target: Path, content: bytes) -> bool:
    """Tell whether a copy has the manifest that is at the address now."""
    try:
        return (target / MANIFEST_NAME).read_bytes() == content
    except OSError:
        return False


def _target(folder: Path, place: str) -> Path:
    """Return where the copy of a capture is: names of a stranger's bucket stay away from this machine, but for the last."""
    digest = sha256(f"{_endpoint()}\n{place}".encode("utf-8", "surrogatepass")).hexdigest()[:24]
    name = PurePosixPath(place).name.removesuffix(_SUFFIX)
    plain = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)[:100]
    return folder / digest / f"{plain.strip('. ') or 'capture'}{_SUFFIX}"


def _make_room(needed: int, keep: Iterable[Path]) -> None:
    """Remove the copies that were not asked for longest, until so many bytes fit.

    Raises:
        RegtraceError: they do not fit.
    """
    try:
        limit = int(float(os.environ.get(_SIZE) or _GIGABYTES) * 1e9)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{_SIZE}={os.environ[_SIZE]!r} is no number of gigabytes") from error
    kept = {target.parent for target in keep}
    copies = []
    for one in cache_folder().iterdir():
        if len(one.name) == 24 and one.is_dir():
            size = sum(file.lstat().st_size for file in one.rglob("*"))
            copies.append((one.stat().st_mtime, size, one))
    used = sum(size for _, size, _ in copies)
    for asked, size, one in sorted(copies):
        if used + needed <= limit:
            break
        if one not in kept and asked < time.time() - _IN_USE_S:
            shutil.rmtree(one, ignore_errors=True)
            used -= size
    if used + needed > limit:
        raise RegtraceError(
            f"{needed / 1e9:,.1f} GB of captures do not fit into {cache_folder()}, which may hold {limit / 1e9:,.1f} GB and holds "
            f"{used / 1e9:,.1f}: set {_SIZE} to more, or name fewer captures"
        )


@contextmanager
def _errors(place: str) -> Iterator[None]:
    """Turn the errors of the service into one sentence."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:  # of a file of this machine
            raise
        said = " ".join(str(error).split())
        advice = next((told for words, told in _ADVICE if any(word in said for word in words)), None)
        raise RegtraceError(f"{SCHEME}//{place} cannot be read: {advice or said}") from error
