"""The child: a program that decodes chunks until its input ends, and that the system ends where a chunk makes it hang.

`python -c "from tracer.evtx.child import main; main()" SECONDS WINDOW` reads from standard input which stretches of
which file it is to decode, reads them, and writes answers to standard output and into the window
(`tracer.evtx.protocol`). The library holds Python's lock while it hangs, so nothing in Python can end it; what can is set
up before every chunk: a timer of processor time whose signal ends the process (not on Windows, where a thread of
faulthandler ends it after ten times that time on the clock). Memory is limited where the system can do so.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # Python's `signal` makes enums of it, which takes longer
import io
import os
import struct
import sys

from tracer.evtx.chunk import (
    CHUNK_SIZE,
    Span,
    find_records,
    frame,
    is_chunk_sound,
    is_unused,
    numbered_frame,
    read_chunk,
    whole_records,
)
from tracer.evtx.protocol import JSON_LIMIT, Chunk, Decoded, StretchWriter, read_stretch, write_greeting
from tracer.evtx.window import open_window

TYPE_CHECKING = False  # see tracer.evtx.protocol
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from mmap import mmap
    from typing import Any, BinaryIO

__all__ = ["decode_chunk", "main", "serve"]

_MEMORY_LIMIT = 768 << 20
_WALL_FACTOR = 10  # a machine may be busy: on the clock, a chunk is given so much more


def decode_chunk(chunk: bytes, available: int) -> tuple[Chunk, Decoded]:
    """Decode the records of a chunk.

    Args:
        chunk: 65,536 bytes.
        available: how many of them the file holds.
    """
    if is_unused(chunk):
        return Chunk(available, is_unused=True, is_sound=True), Decoded()
    is_sound = is_chunk_sound(chunk)
    found = whole_records(chunk, available)
    if found is not None:
        offsets, stamps, end = found
        texts = _decode_whole(frame(chunk, end), len(offsets))
        if texts is not None:
            records = _records(offsets, stamps, texts)
            if len(records.json) <= JSON_LIMIT:
                return Chunk(available, is_unused=False, is_sound=is_sound, records=len(offsets)), records
    spans, beyond = find_records(chunk, available)
    decoded, broke_off = _decode_any(chunk, spans)
    whole = [spans[index] for index in decoded]
    lost = [
        (at, size, record_id is not None)
        for index, (at, size, record_id, _) in enumerate(spans)
        if index not in decoded
    ]
    stamps = [struct.pack("<QQ", record_id, filetime) for _, _, record_id, filetime in whole]
    records = _records([span[0] for span in whole], stamps, list(decoded.values()))
    state = Chunk(
        available,
        is_unused=False,
        is_sound=is_sound,
        broke_off=broke_off,
        beyond=beyond,
        records=len(whole),
        lost=lost,
    )
    return state, records


def _decode_whole(log: bytes, count: int) -> list[str] | None:
    """Return the JSON of every record, if the library decodes all of them; None if anything is odd."""
    try:
        texts = [record["data"] for record in _library_records(log)]
    except BaseException:  # noqa: BLE001 - a panic of the library is no Exception; the other way looks at each record
        return None
    return texts if len(texts) == count else None


def _decode_any(chunk: bytes, spans: list[Span]) -> tuple[dict[int, str], bool]:
    """Return the JSON of each span that the library decodes, by index, and whether it broke off."""
    decoded: dict[int, str] = {}
    size = 0
    try:
        records = _library_records(numbered_frame(chunk, spans))
        for _ in range(len(spans) + 1):
            try:
                record = next(records, None)
            except RuntimeError:  # this record cannot be decoded; the next one may be
                continue
            if record is None:
                break
            size += _size(record["data"])
            if size > JSON_LIMIT:
                return decoded, True
            decoded[record["event_record_id"]] = record["data"]
    except BaseException:  # noqa: BLE001 - a panic leaves nothing to go on with
        return decoded, True
    return decoded, False


def _library_records(log: bytes) -> Iterator[dict[str, Any]]:
    records: Iterator[dict[str, Any]] = _parser()(io.BytesIO(log), 1).records_json()
    return records


def _parser() -> Any:  # noqa: ANN401 - the library is not typed
    """Return the library's parser.

    What its package imports beside the compiled module takes as long as the start of the interpreter, so that
    module is loaded alone where there is one.

    Raises:
        ImportError: the library is missing, or cannot be loaded.
    """
    global _loaded
    if _loaded is None:
        spec = sys.meta_path[-1].find_spec("evtx", None)
        if spec is not None and spec.submodule_search_locations:
            package = type(sys)("evtx")
            package.__path__ = spec.submodule_search_locations
            sys.modules["evtx"] = package
        try:
            from evtx._native import PyEvtxParser
        except ImportError:
            sys.modules.pop("evtx", None)
            from evtx import PyEvtxParser
        _loaded = PyEvtxParser
    return _loaded


_loaded: Any = None


def _records(offsets: list[int], stamps: list[bytes], texts: list[str]) -> Decoded:
    count = len(offsets)
    json = "".join(texts)
    sizes = map(len if json.isascii() else _size, texts)
    return Decoded(
        struct.pack(f"<{count}I", *offsets),
        b"".join(stamps),
        struct.pack(f"<{count}I", *sizes),
        json.encode(),
    )


def _size(text: str) -> int:
    """Return how many bytes of UTF-8 a text takes."""
    return len(text) if text.isascii() else len(text.encode())


def serve(
    source: BinaryIO,
    sink: BinaryIO,
    window: mmap | None,
    deadline_s: float,
    decode: Callable[[bytes, int], tuple[Chunk, Decoded]],
) -> None:
    """Answer questions until `source` ends, or `sink` does.

    Args:
        source: where stretches come from.
        sink: where answers go.
        window: memory for the JSON of a stretch; None: there is none.
        deadline_s: processor time of a chunk, after which the system ends this process.
        decode: what is made of a chunk and the number of its bytes that the file holds.
    """
    while (stretch := read_stretch(source)) is not None:
        path, begin, end = stretch
        answer, failure = StretchWriter(window), None
        try:
            with open(path, "rb") as file:  # noqa: PTH123 - pathlib would be a quarter of a child's start
                for at in range(begin, end, CHUNK_SIZE):
                    chunk, available = read_chunk(file, at, end)
                    _end_after(deadline_s)
                    answer.add(*decode(chunk, available))
                    _end_after(0)
        except OSError as error:
            failure = error
        try:
            answer.write(sink, failure)
        except BrokenPipeError:
            return


def _end_after(seconds: float) -> None:
    """Let the system end this process after some processor time; 0 takes that back."""
    if sys.platform == "win32":
        import faulthandler

        if seconds:
            faulthandler.dump_traceback_later(seconds * _WALL_FACTOR, exit=True)
        else:
            faulthandler.cancel_dump_traceback_later()
    else:
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _limit_memory() -> None:
    """Limit what this process may allocate, where the system does that."""
    if sys.platform != "win32":
        import resource

        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT, _MEMORY_LIMIT))
        except (ValueError, OSError):  # macOS refuses some limits
            return


def main(decode: Callable[[bytes, int], tuple[Chunk, Decoded]] = decode_chunk) -> None:
    """Be a child: what `serve` says, on standard input and output.

    Args:
        decode: see `serve`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends this process
    if sys.platform != "win32":
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
    _limit_memory()
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints here is no answer
    failure = None
    try:
        _parser()
    except ImportError as error:
        failure = str(error)
    write_greeting(sink, failure)
    if failure is None:
        serve(sys.stdin.buffer, sink, open_window(sys.argv[2]), float(sys.argv[1]), decode)
