"""Children that misbehave on marked chunks: `python -P -c PROGRAM SECONDS WINDOW` in place of the real one.

What a marked chunk does to its child is the number in the reserved bytes of its header.
"""

import os
import re
import time

from evtx_writer import with_checksums

from tracer.evtx import child
from tracer.evtx.protocol import Chunk, Decoded

MARK_AT = 0x40
HANG, CRASH, HOARD, SLEEP, STOP, LIE = range(1, 7)
PROGRAM = ("-c", "import evtx_children; evtx_children.main()")


def mark(chunk: bytes, what: int) -> bytes:
    """Return the chunk marked, with right checksums."""
    return with_checksums(chunk[:MARK_AT] + bytes([what]) + chunk[MARK_AT + 1 :])


def decode(chunk: bytes, available: int) -> tuple[Chunk, Decoded]:
    """Decode a chunk as the real child does, unless it is marked."""
    what = chunk[MARK_AT]
    if what == HANG:  # in C, with Python's lock held, as the library does
        re.match(r"(a|a)*$", "a" * 60 + "b")
    elif what == CRASH:
        os.abort()
    elif what == HOARD:
        hoard = [bytearray(64 << 20) for _ in range(64)]
        assert not hoard
    elif what == SLEEP:  # the machine is busy: time passes and the child is not run
        time.sleep(1.0)
    elif what == STOP:
        time.sleep(3600)
    state, records = child.decode_chunk(chunk, available)
    if what == LIE:
        state.beyond = 1 << 30
    return state, records


def main() -> None:
    """Run a child that decodes with `decode`."""
    child.main(decode)
