"""Buffers that several traces hold: parts of one recording that overlap, or a trace and its cut copy.

Windows numbers the buffers of a session and stamps each when it is written, so a buffer that stands in two files
says so: the same number, processor, time of writing and first record, and the same bytes. A copy may be cut, so
the bytes of the shorter one are the beginning of the longer one's; that one is read, of equal ones the first.
"""

from collections.abc import Sequence

from tracer.diagnostics import Diagnostics
from tracer.etl.buffers import BUFFER_HEADER, Buffer, BufferFile

__all__ = ["find_repeated"]


def find_repeated(traces: Sequence[BufferFile], diagnostics: Sequence[Diagnostics]) -> None:
    """Note in each trace which of its buffers are read from another one, and count them."""
    if len(traces) < 2:
        return
    seen: dict[tuple[int, ...], list[tuple[int, Buffer]]] = {}
    for number, trace in enumerate(traces):
        for buffer in trace.buffers[1:]:  # the header of each says how its clock runs
            if buffer.stamp is not None:
                key = (buffer.sequence, buffer.cpu, buffer.flushed, buffer.stamp, buffer.compressed)
                seen.setdefault(key, []).append((number, buffer))
    for alike in seen.values():
        # The longest first, then in the order of the sources.
        alike.sort(key=lambda one: -one[1].filled if not one[1].compressed else -one[1].size)
        kept: list[tuple[int, bytes]] = []
        for number, buffer in alike if len(alike) > 1 else ():
            content = _content(traces[number], buffer)
            if any(other != number and longer.startswith(content) for other, longer in kept):
                traces[number].repeated.add(buffer.at)
                diagnostics[number].count("repeated_buffers", offset=buffer.at)
            else:
                kept.append((number, content))


def _content(trace: BufferFile, buffer: Buffer) -> bytes:
    trace.file.seek(buffer.at + BUFFER_HEADER)
    size = buffer.size if buffer.compressed else min(buffer.filled, buffer.size)
    return trace.file.read(size - BUFFER_HEADER)
