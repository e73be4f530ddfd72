"""The one way to open captures."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, overload

from analysis.capture import Capture, Dataset
from analysis.questions.context import SingleContext
from tracer.store.addresses import is_address
from tracer.store.manifest import MANIFEST_NAME, Manifest

if TYPE_CHECKING:
    from analysis.dataset.members import Captures

__all__ = ["open_capture"]


@overload
def open_capture(
    path: Path | str, *, memory_limit: str = ..., threads: int | None = ..., check_rows: bool = ...
) -> Capture: ...
@overload
def open_capture(
    path: list[Path | str] | list[Path] | list[str] | Mapping[str, Path | str],
    *,
    memory_limit: str = ...,
    threads: int | None = ...,
    check_rows: bool = ...,
) -> Dataset: ...
@overload
def open_capture(
    path: "Captures", *, memory_limit: str = ..., threads: int | None = ..., check_rows: bool = ...
) -> Capture: ...
def open_capture(
    path: "Captures", *, memory_limit: str = "4GB", threads: int | None = None, check_rows: bool = True
) -> Capture:
    """Open a capture directory, or several as one (`analysis.capture.Dataset`).

    Args:
        path: NAME.regtrace, as `regtrace ingest` makes it; or a folder of such, a list of them, or a
            mapping of hosts to them. In place of a path may stand an address in object storage, such as
            `s3://bucket/fleet`: its captures are fetched first (`tracer.store.object_storage`).
        memory_limit: what the engine may use; larger questions spill to the disk.
        threads: how many the engine may use; None for one per processor.
        check_rows: compare each part's row count with the manifest first.

    Raises:
        CaptureError: the capture is missing, incomplete, damaged or of another format.
        RegtraceError: object storage cannot be read.
        UsageError: the engine refuses the memory limit or the number of threads; or one capture is named
            twice, or none.
    """
    if isinstance(path, Path | str) and is_address(path):
        from analysis.dataset.members import local_captures

        path = local_captures(path)
    if not isinstance(path, Path | str) or not (Path(path) / MANIFEST_NAME).exists():
        from analysis.dataset.members import find_captures

        captures = find_captures(path)
        if captures is not None or not isinstance(path, Path | str):
            from analysis.dataset.contexts import DatasetContext

            context = DatasetContext.open(
                path, captures or [], memory_limit=memory_limit, threads=threads, check_rows=check_rows
            )
            return Dataset(context)
    directory = Path(path)
    manifest = Manifest.load(directory, check_rows=check_rows)
    return Capture(SingleContext.open(directory, manifest, memory_limit=memory_limit, threads=threads))
