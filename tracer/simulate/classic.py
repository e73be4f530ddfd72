"""Records of the NT Kernel Logger: the classic registry class (V2) and the classic process class.

Here objects are key control blocks: one for each key that is in use, shared by all who opened it, made at
the first open (opcode 22) and deleted some time after the last close (23). Blocks that still exist when
the session stops are named by the rundown (25).
"""

from collections import deque
from typing import TYPE_CHECKING

from tracer.etl.providers import CLASSIC_REGISTRY
from tracer.simulate.actors import Handle, Process, Thread
from tracer.simulate.container import EtlWriter
from tracer.simulate.headers import build_record
from tracer.simulate.options import SimulationOptions
from tracer.simulate.payloads import compile_layout
from tracer.simulate.process_records import classic_process_record
from tracer.simulate.record_flags import CLOSES, EVIDENCE_ONLY, NAMES_LIFE, OPENS, OWN_NAME, UNDER_BASE
from tracer.simulate.registry import AddressPool, Key, Value, encode_text
from tracer.simulate.sink import Sink

if TYPE_CHECKING:
    from tracer.simulate.truth import TruthWriter

__all__ = ["CLASSIC_OPCODES", "ClassicSink"]

# Manifest event id -> classic opcode of the same operation.
CLASSIC_OPCODES = {
    1: 10, 2: 11, 3: 12, 4: 13, 5: 14, 6: 15, 7: 16, 8: 17, 9: 18, 10: 19, 11: 20, 12: 21, 13: 27, 14: 29,
    15: 28,
}  # fmt: skip
_CREATED, _DELETED, _RUNDOWN_BEGIN, _RUNDOWN_END = 22, 23, 24, 25
_REGISTRY_GROUP = 9
_DELAYED = 64  # blocks kept after their last close
_SYSTEM_PID, _SYSTEM_TID = 4, 172


class _Block:
    """A key control block."""

    __slots__ = ("address", "key", "life", "uses")

    def __init__(self, key: Key, address: int, life: int) -> None:
        self.key, self.address, self.life, self.uses = key, address, life, 0


class ClassicSink(Sink):
    """Writes what the NT Kernel Logger would."""

    def __init__(
        self, options: SimulationOptions, writer: EtlWriter, truth: "TruthWriter", pool: AddressPool
    ) -> None:
        super().__init__(options, writer, truth, pool)
        self._encode = compile_layout(CLASSIC_REGISTRY, 11, 2, options.pointer_size)
        self._blocks: dict[int, _Block] = {}  # by life
        self._unused: deque[_Block] = deque()

    def use_options(self, word: int) -> None:
        """Nothing: the class has no options."""

    def note_preopened(self, handle: Handle) -> None:
        """Write it (see `Sink`)."""
        block = self._block(handle.key)
        if block is None:
            block = self._make(handle.key)
            if self.options.rundown_begin:
                self._evidence(_RUNDOWN_BEGIN, block, NAMES_LIFE)
        block.uses += 1
        handle.address, handle.life = block.address, block.life

    def write_open(
        self, thread: Thread, base: Handle | None, requested: str, path: str, spelled: str,
        handle: Handle | None,
        status: int, disposition: int, *, create: bool,  # noqa: ARG002
    ) -> None:  # fmt: skip
        """Write it (see `Sink`)."""
        if handle is not None:
            block = self._block(handle.key)
            if block is None:
                block = self._make(handle.key)
                self._evidence(_CREATED, block, NAMES_LIFE | OPENS)
                self.ticks += 1
            block.uses += 1
            handle.address, handle.life = block.address, block.life
        address, life = (base.address, base.life) if base is not None else (0, -1)
        kind = OWN_NAME if requested[:1] == "\\" else UNDER_BASE
        self._record(thread, 1 if create else 2, status, 0, address, requested, (
            0, address, path, spelled, None, requested, None, None, 0, -1, life, kind,
        ))  # fmt: skip

    def write_key_operation(self, thread: Thread, id_: int, handle: Handle, status: int) -> None:
        """Write it (see `Sink`)."""
        self._on_key(thread, id_, handle, status)

    def write_close(self, thread: Thread, handle: Handle, *, lost: bool) -> None:
        """Write it (see `Sink`)."""
        self._on_key(thread, 13, handle, 0, lost=lost)
        block = self._blocks[handle.life]
        block.uses -= 1
        if not block.uses:
            self._unused.append(block)
        while len(self._unused) > _DELAYED:
            old = self._unused.popleft()
            if old.uses or old.life not in self._blocks or old in self._unused:
                continue
            self.ticks += 1
            self._evidence(_DELETED, old, CLOSES)
            del self._blocks[old.life]
            old.key.block = None
            self.pool.give_back(old.address)

    def write_information(
        self, thread: Thread, id_: int, handle: Handle, status: int, class_: int, size: int,  # noqa: ARG002
        data: bytes | None,  # noqa: ARG002
    ) -> None:  # fmt: skip
        """Write it (see `Sink`)."""
        self._on_key(thread, id_, handle, status, index=class_)

    def write_enumeration(
        self, thread: Thread, id_: int, handle: Handle, status: int, index: int, class_: int,  # noqa: ARG002
        size: int, data: bytes | None,  # noqa: ARG002
    ) -> None:  # fmt: skip
        """Write it (see `Sink`)."""
        self._on_key(thread, id_, handle, status, index=index)

    def write_value_query(
        self, thread: Thread, handle: Handle, status: int, name: str, wire: bytes,  # noqa: ARG002
        class_: int, size: int, data: bytes | None,  # noqa: ARG002
    ) -> None:  # fmt: skip
        """Write it (see `Sink`)."""
        self._on_key(thread, 7, handle, status, index=class_, value=name)

    def write_value_set(
        self, thread: Thread, handle: Handle, status: int, value: Value, previous: tuple[int, bytes] | None
    ) -> None:
        """Write it (see `Sink`)."""
        self._on_key(thread, 5, handle, status, value=value.name, data=value.data,
                     previous=previous[1] if previous else None)  # fmt: skip

    def write_value_delete(
        self, thread: Thread, handle: Handle, status: int, name: str, wire: bytes  # noqa: ARG002
    ) -> None:  # fmt: skip
        """Write it (see `Sink`)."""
        self._on_key(thread, 6, handle, status, value=name)

    def write_values_query(
        self, thread: Thread, handle: Handle, status: int, count: int, size: int  # noqa: ARG002
    ) -> None:  # fmt: skip
        """Write it (see `Sink`)."""
        self._on_key(thread, 10, handle, status, index=count)

    def write_process(self, process: Process, what: str) -> None:
        """Write it (see `Sink`)."""
        record = classic_process_record(process, what, self.ticks, self.options.pointer_size)
        self.write(process.threads[0].cpu, record)

    def finish(self) -> None:
        """Write it (see `Sink`)."""
        if self.options.rundown_end:
            for block in self._blocks.values():
                self.ticks += 1
                self._evidence(_RUNDOWN_END, block, NAMES_LIFE)

    def _block(self, key: Key) -> _Block | None:
        return key.block if isinstance(key.block, _Block) else None

    def _make(self, key: Key) -> _Block:
        address, life = self.pool.take()
        block = _Block(key, address, life)
        key.block = block
        self._blocks[life] = block
        return block

    def _on_key(
        self, thread: Thread, id_: int, handle: Handle, status: int, *, index: int = 0,
        value: str | None = None,
        data: bytes | None = None, previous: bytes | None = None, lost: bool = False,
    ) -> None:  # fmt: skip
        self._record(thread, id_, status, index, handle.address, value or "", (
            handle.address, 0, handle.key.path, handle.spelled, value, None, data, previous, 0, handle.life,
            -1, 0,
        ), lost=lost)  # fmt: skip

    def _record(
        self, thread: Thread, id_: int, status: int, index: int, address: int, name: str, row: tuple[object,
                                                                                                     ...],
        *, lost: bool = False,
    ) -> None:  # fmt: skip
        record = self._build(CLASSIC_OPCODES[id_], status, index, address, name, thread.pid, thread.tid)
        buffer, place = (-1, 0) if lost else self.write(thread.cpu, record)
        self.truth.add((
            self.ticks, thread.pid, thread.tid, thread.cpu, id_, status, *row, buffer, place, len(record),
        ))  # fmt: skip

    def _evidence(self, opcode: int, block: _Block, kind: int) -> None:
        """Write a control block record, which is no operation but may name one's key."""
        record = self._build(opcode, 0, 0, block.address, block.key.path, _SYSTEM_PID, _SYSTEM_TID)
        buffer, place = self.write(0, record)
        self.truth.add_evidence((
            self.ticks, _SYSTEM_PID, _SYSTEM_TID, 0, 1, 0, block.address, 0, block.key.path, block.key.path,
            None,
            None, None, None, 0, block.life, -1, kind | EVIDENCE_ONLY, buffer, place, len(record),
        ))  # fmt: skip

    def _build(
        self, opcode: int, status: int, index: int, address: int, name: str, pid: int, tid: int
    ) -> bytes:
        payload = self._encode(self.ticks - 7, status, index, address, encode_text(name) + b"\0\0")
        return build_record("system", provider=_REGISTRY_GROUP, opcode=opcode, version=2, pid=pid, tid=tid,
                            ticks=self.ticks, payload=payload,
                            pointer_size=self.options.pointer_size)  # fmt: skip
