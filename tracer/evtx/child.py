"""The child: a program that decodes chunks until its input ends, and that the system ends where a chunk makes it hang.

`python -c "from tracer.evtx.child import main; main()" SECONDS` reads groups from standard input and writes answers to
standard output (`tracer.evtx.protocol`). The library holds Python's lock while it hangs, so nothing in Python can end it; what can is set up
before every chunk: a timer of processor time whose signal ends the process (not on Windows, where a thread of faulthandler
ends it after ten times that time on the clock). Memory is limited where the system can do so.
"""

import contextlib
import io
import itertools
import os
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from tracer.evtx.chunk import Span, find_records, frame
from tracer.evtx.protocol import JSON_LIMIT, Answer, read_group, write_answer, write_greeting

__all__ = ["decode_chunk", "main", "serve"]

_MEMORY_LIMIT = 768 << 20
_WALL_FACTOR = 10  # a machine may be busy: on the clock, a chunk is given so much more


def decode_chunk(chunk: bytes, available: int) -> Answer:
    """Decode the records of a chunk.

    Args:
        chunk: 65,536 bytes.
        available: how many of them the file holds.
    """
    spans, beyond = find_records(chunk, available)
    texts = _decode_sound(chunk, spans)
    if texts is not None:
        answer = _answer(spans, texts, [], beyond, broke_off=False)
        if len(answer.json) <= JSON_LIMIT:
            return answer
    decoded, broke_off = _decode_damaged(chunk, spans)
    whole, texts = [spans[index] for index in decoded], list(decoded.values())
    lost = [
        (at, size, record_id is not None)
        for index, (at, size, record_id, _) in enumerate(spans)
        if index not in decoded
    ]
    return _answer(whole, texts, lost, beyond, broke_off=broke_off)


def _decode_sound(chunk: bytes, spans: list[Span]) -> list[str] | None:
    """Return the JSON of every record, if the library decodes all of them; None if anything is odd."""
    if None in [span[2] for span in spans]:
        return None
    try:
        texts = [record["data"] for record in _library_records(frame(chunk, spans, number=False))]
    except BaseException:  # noqa: BLE001 - a panic of the library is no Exception; the other way looks at each record
        return None
    return texts if len(texts) == len(spans) else None


def _decode_damaged(chunk: bytes, spans: list[Span]) -> tuple[dict[int, str], bool]:
    """Return the JSON of each span that the library decodes, by index, and whether it broke off."""
    decoded: dict[int, str] = {}
    size = 0
    try:
        records = _library_records(frame(chunk, spans, number=True))
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
    from evtx import PyEvtxParser

    records: Any = PyEvtxParser(io.BytesIO(log), 1).records_json()
    return records


def _answer(
    spans: list[Span], texts: list[str], lost: list[tuple[int, int, bool]], beyond: int, *, broke_off: bool
) -> Answer:
    count = len(spans)
    columns = list(zip(*spans, strict=True)) or [(), (), (), ()]
    json = "".join(texts)
    sizes = map(len if json.isascii() else _size, texts)
    return Answer(
        broke_off=broke_off,
        beyond=beyond,
        records=count,
        offsets=struct.pack(f"<{count}I", *columns[0]),
        identifiers=struct.pack(f"<{count}Q", *columns[2]),
        filetimes=struct.pack(f"<{count}Q", *columns[3]),
        ends=struct.pack(f"<{count}I", *itertools.accumulate(sizes)),
        lost=lost,
        json=json.encode(),
    )


def _size(text: str) -> int:
    """Return how many bytes of UTF-8 a text takes."""
    return len(text) if text.isascii() else len(text.encode())


def serve(
    source: BinaryIO,
    sink: BinaryIO,
    deadline_s: float,
    decode: Callable[[bytes, int], Answer],
) -> None:
    """Answer groups of chunks until `source` ends, or `sink` does.

    Args:
        source: where groups come from.
        sink: where answers go.
        deadline_s: processor time of a chunk, after which the system ends this process.
        decode: what makes an answer of a chunk and the number of its bytes that the file holds.
    """
    with contextlib.suppress(BrokenPipeError):
        while group := read_group(source):
            for available, chunk in group:
                _end_after(deadline_s)
                answer = decode(chunk, available)
                _end_after(0)
                write_answer(sink, answer)


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

        with contextlib.suppress(ValueError, OSError):  # macOS refuses some limits
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT, _MEMORY_LIMIT))


def main(decode: Callable[[bytes, int], Answer] = decode_chunk) -> None:
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
        import evtx  # noqa: F401
    except ImportError as error:
        failure = str(error)
    write_greeting(sink, failure)
    if failure is None:
        serve(sys.stdin.buffer, sink, float(sys.argv[1]), decode)
