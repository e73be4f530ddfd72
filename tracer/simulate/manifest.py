"""Records of Microsoft-Windows-Kernel-Registry and Microsoft-Windows-Kernel-Process."""

import struct
from typing import TYPE_CHECKING

from tracer.etl.providers import KERNEL_REGISTRY
from tracer.simulate.actors import Handle, Process, Thread
from tracer.simulate.container import EtlWriter
from tracer.simulate.headers import (
    EVENT_HEADER,
    EXTENDED_TYPES,
    HEADER_KINDS,
    ExtendedItem,
    encode_sid,
    event_tail,
    extended_bytes,
)
from tracer.simulate.options import (
    CAPTURED_LIMIT,
    OPTION_DATA,
    OPTION_NAMES,
    OPTION_PREVIOUS,
    SimulationOptions,
)
from tracer.simulate.payloads import captured, compile_layout
from tracer.simulate.process_records import classic_process_record, kernel_process_record
from tracer.simulate.record_flags import (
    CLOSES,
    NAMES_BASE,
    NAMES_LIFE,
    OPENS,
    OWN_NAME,
    UNDER_BASE,
)
from tracer.simulate.registry import AddressPool, Key, Value, encode_text
from tracer.simulate.sink import Sink

if TYPE_CHECKING:
    from tracer.simulate.truth import TruthWriter

__all__ = ["KEYWORDS", "ManifestSink"]

# Event id -> keyword bit of the manifest.
KEYWORDS = {
    1: 0x1000, 2: 0x2000, 3: 0x4000, 4: 0x8000, 5: 0x0100, 6: 0x0200, 7: 0x0400, 8: 0x0800, 9: 0x0010,
    10: 0x0020, 11: 0x0040, 12: 0x0080, 13: 0x0001, 14: 0x0002, 15: 0x0004,
}  # fmt: skip
_CHANNEL = 0x10
_ANALYTIC_BIT = 1 << 63
_FAILED = 0x80000000  # an NTSTATUS from here on is a warning or an error: negative
_NONE = b"\0\0"  # an empty wz, and an empty captured field
_WHOLE_HEADER = struct.Struct(f"{EVENT_HEADER.format}56s")  # with the end that `_tail` makes
_APPENDED = b"\x01\x00\x00\x00\xaa\xbb\xcc\xdd"  # what the simulated newer version adds


def _tail(id_: int, level: int, version: int) -> bytes:
    """Return the end of a record: level 1 for a failed operation, else 2; the opcode is 31 + id."""
    return event_tail(KERNEL_REGISTRY, id_, version=version, channel=_CHANNEL, level=level, opcode=31 + id_,
                      task=0, keyword=KEYWORDS[id_] | _ANALYTIC_BIT)  # fmt: skip


class ManifestSink(Sink):
    """Writes what the two manifest providers would."""

    def __init__(
        self, options: SimulationOptions, writer: EtlWriter, truth: "TruthWriter", pool: AddressPool
    ) -> None:
        super().__init__(options, writer, truth, pool)
        self._tails = [[_tail(id_, level, 0) if id_ else b"" for id_ in range(16)] for level in (2, 1)]
        self._newer = [[_tail(id_, level, 1) if id_ else b"" for id_ in range(16)] for level in (2, 1)]
        self._type = HEADER_KINDS["event"][options.pointer_size == 8]
        self._loses, self._append = bool(options.lost_events), writer.append
        self._odd = bool(options.extended or options.newer_version)
        self._word = 0
        self._encode_open = (compile_layout(KERNEL_REGISTRY, 2, 0, options.pointer_size),
                             compile_layout(KERNEL_REGISTRY, 1, 0, options.pointer_size))  # fmt: skip
        self._encode_key = compile_layout(KERNEL_REGISTRY, 13, 0, options.pointer_size)
        self._encode_information = compile_layout(KERNEL_REGISTRY, 4, 0, options.pointer_size)
        self._encode_enumerate = compile_layout(KERNEL_REGISTRY, 8, 0, options.pointer_size)
        self._encode_set = compile_layout(KERNEL_REGISTRY, 5, 0, options.pointer_size)
        self._encode_delete = compile_layout(KERNEL_REGISTRY, 6, 0, options.pointer_size)
        self._encode_query = compile_layout(KERNEL_REGISTRY, 7, 0, options.pointer_size)
        self._encode_multiple = compile_layout(KERNEL_REGISTRY, 10, 0, options.pointer_size)

    def use_options(self, word: int) -> None:
        """Set the option word in force."""
        self._word = word
        self.wants_data = bool(word & OPTION_DATA)

    def note_preopened(self, handle: Handle) -> None:
        """Write it (see `Sink`)."""
        handle.address, handle.life = self.pool.take()

    def write_open(
        self, thread: Thread, base: Handle | None, requested: str, path: str, spelled: str,
        handle: Handle | None,
        status: int, disposition: int, *, create: bool,
    ) -> None:  # fmt: skip
        """Write it (see `Sink`)."""
        base_address, base_life, base_name, kind = 0, -1, _NONE, 0
        absolute = requested[:1] == "\\"
        if base is not None:
            base_address, base_life = base.address, base.life
            if self._word & OPTION_NAMES and self._fills():
                base_name = base.key.wide_path
                if not base.key.has_nul and "<U+0000>" not in requested:
                    kind = NAMES_BASE | (0 if absolute else OWN_NAME)
        kind |= OWN_NAME if absolute else UNDER_BASE
        address, life = 0, -1
        if handle is not None:
            address, life = self.pool.take()
            handle.address, handle.life = address, life
            kind |= OPENS | (NAMES_LIFE if kind & OWN_NAME else 0)
        payload = self._encode_open[create](
            base_address, address, status, disposition, base_name, encode_text(requested) + _NONE
        )
        self._record(thread, 1 if create else 2, status, payload, address, base_address, path, spelled, None,
                     requested, None, None, life, base_life, kind)  # fmt: skip

    def write_key_operation(self, thread: Thread, id_: int, handle: Handle, status: int) -> None:
        """Write it (see `Sink`)."""
        name, kind = self._name(handle.key, last=True) if self._word & OPTION_NAMES else (_NONE, 0)
        self._record(thread, id_, status, self._encode_key(handle.address, status, name), handle.address, 0,
                     handle.key.path, handle.spelled, None, None, None, None, handle.life, -1,
                     kind)  # fmt: skip

    def write_close(self, thread: Thread, handle: Handle, *, lost: bool) -> None:
        """Write it (see `Sink`)."""
        name, kind = self._name(handle.key, last=True) if self._word & OPTION_NAMES else (_NONE, 0)
        self._record(thread, 13, 0, self._encode_key(handle.address, 0, name), handle.address, 0,
                     handle.key.path,
                     handle.spelled, None, None, None, None, handle.life, -1, kind | CLOSES,
                     lost)  # fmt: skip
        self.pool.give_back(handle.address)

    def write_information(
        self,
        thread: Thread,
        id_: int,
        handle: Handle,
        status: int,
        class_: int,
        size: int,
        data: bytes | None,
    ) -> None:
        """Write it (see `Sink`)."""
        name, kind = self._name(handle.key, last=False) if self._word & OPTION_NAMES else (_NONE, 0)
        payload = self._encode_information(
            handle.address, status, class_, size, name, self._captured(data, status)
        )
        self._record(thread, id_, status, payload, handle.address, 0, handle.key.path, handle.spelled, None,
                     None,
                     data, None, handle.life, -1, kind)  # fmt: skip

    def write_enumeration(
        self, thread: Thread, id_: int, handle: Handle, status: int, index: int, class_: int, size: int,
        data: bytes | None,
    ) -> None:  # fmt: skip
        """Write it (see `Sink`)."""
        name, kind = self._name(handle.key, last=False) if self._word & OPTION_NAMES else (_NONE, 0)
        payload = self._encode_enumerate(
            handle.address, status, index, class_, size, name, self._captured(data, status)
        )
        self._record(thread, id_, status, payload, handle.address, 0, handle.key.path, handle.spelled, None,
                     None,
                     data, None, handle.life, -1, kind)  # fmt: skip

    def write_value_query(
        self, thread: Thread, handle: Handle, status: int, name: str, wire: bytes, class_: int, size: int,
        data: bytes | None,
    ) -> None:  # fmt: skip
        """Write it (see `Sink`)."""
        key_name, kind = self._name(handle.key, last=False) if self._word & OPTION_NAMES else (_NONE, 0)
        payload = self._encode_query(
            handle.address, status, class_, size, key_name, wire + _NONE, self._captured(data, status)
        )
        self._record(thread, 7, status, payload, handle.address, 0, handle.key.path, handle.spelled, name,
                     None,
                     data, None, handle.life, -1, kind)  # fmt: skip

    def write_value_set(
        self, thread: Thread, handle: Handle, status: int, value: Value, previous: tuple[int, bytes] | None
    ) -> None:
        """Write it (see `Sink`)."""
        key_name, kind = self._name(handle.key, last=False) if self._word & OPTION_NAMES else (_NONE, 0)
        old_type, old_size, old = 0, 0, _NONE
        if previous is not None and self._word & OPTION_PREVIOUS:
            old_type, old_size, old = previous[0], len(previous[1]), captured(previous[1][:CAPTURED_LIMIT])
        payload = self._encode_set(
            handle.address, status, value.type, len(value.data), key_name, value.wire + _NONE,
            self._captured(value.data, status), old_type, old_size, old,
        )  # fmt: skip
        self._record(thread, 5, status, payload, handle.address, 0, handle.key.path, handle.spelled,
                     value.name, None,
                     value.data, previous[1] if previous else None, handle.life, -1, kind)  # fmt: skip

    def write_value_delete(self, thread: Thread, handle: Handle, status: int, name: str, wire: bytes) -> None:
        """Write it (see `Sink`)."""
        key_name, kind = self._name(handle.key, last=False) if self._word & OPTION_NAMES else (_NONE, 0)
        payload = self._encode_delete(handle.address, status, key_name, wire + _NONE)
        self._record(thread, 6, status, payload, handle.address, 0, handle.key.path, handle.spelled, name,
                     None,
                     None, None, handle.life, -1, kind)  # fmt: skip

    def write_values_query(self, thread: Thread, handle: Handle, status: int, count: int, size: int) -> None:
        """Write it (see `Sink`)."""
        name, kind = self._name(handle.key, last=True) if self._word & OPTION_NAMES else (_NONE, 0)
        payload = self._encode_multiple(handle.address, status, count, size, name)
        self._record(thread, 10, status, payload, handle.address, 0, handle.key.path, handle.spelled, None,
                     None,
                     None, None, handle.life, -1, kind)  # fmt: skip

    def write_process(self, process: Process, what: str) -> None:
        """Write it (see `Sink`)."""
        cpu, width = process.threads[0].cpu, self.options.pointer_size
        if self.options.command_lines:
            self.write(cpu, classic_process_record(process, what, self.ticks, width))
        if what != "final rundown":
            self.write(cpu, kernel_process_record(process, what, self.ticks, self.writer.clock, width))

    def finish(self) -> None:
        """Nothing: these providers have no rundown at the end."""

    def _name(self, key: Key, *, last: bool) -> tuple[bytes, int]:
        """Return the KeyName field and what it proves; if more fields follow, NULs in it leave doubt."""
        if not self._fills():
            return _NONE, 0
        return key.wide_path, OWN_NAME | NAMES_LIFE if last or not key.has_nul else 0

    def _fills(self) -> bool:
        share = self.options.fill_share
        return share >= 1.0 or self.random.random() < share

    def _captured(self, data: bytes | None, status: int) -> bytes:
        if data is None or status >= _FAILED or not self.wants_data:
            return _NONE
        size = len(data)
        if size > CAPTURED_LIMIT:
            data, size = data[:CAPTURED_LIMIT], CAPTURED_LIMIT
        return size.to_bytes(2, "little") + data

    def _record(
        self, thread: Thread, id_: int, status: int, payload: bytes, key_object: int, base_object: int,
        path: str,
        spelled: str, value_name: str | None, requested: str | None, data: bytes | None,
        previous: bytes | None,
        life: int, base_life: int, kind: int, lost: bool = False,
    ) -> None:  # fmt: skip
        cpu, tid, pid, ticks = thread.cpu, thread.tid, thread.pid, self.ticks
        if self._odd:
            record = self._odd_record(thread, id_, status, payload)
            size = len(record)
        else:
            size = 80 + len(payload)
            tail = self._tails[status >= _FAILED][id_]
            record = _WHOLE_HEADER.pack(size, self._type, 0xC0, 0, 0, tid, pid, ticks, tail) + payload
        if lost:
            buffer, place = -1, 0
        else:  # `write` loses some; where it would not, that is one call less
            buffer, place = self.write(cpu, record) if self._loses else self._append(cpu, record, ticks)
        truth = self.truth
        if not truth.keeps:
            truth.count += 1
            return
        truth.add((
            ticks, pid, tid, cpu, id_, status, key_object, base_object, path, spelled, value_name, requested,
            data,
            previous, self._word, life, base_life, kind, buffer, place, size,
        ))  # fmt: skip

    def _odd_record(self, thread: Thread, id_: int, status: int, payload: bytes) -> bytes:
        """Return a record with extended items, of a newer version, or both."""
        failed, items, tails = status >= _FAILED, b"", self._tails
        if self.random.random() < self.options.newer_version:
            tails, payload = self._newer, payload + _APPENDED
        if self.random.random() < self.options.extended:
            items = self._extended(thread)
        size = 80 + len(items) + len(payload)
        header = EVENT_HEADER.pack(size, self._type, 0xC0, bool(items), 0, thread.tid, thread.pid, self.ticks)
        return header + tails[failed][id_] + items + payload

    def _extended(self, thread: Thread) -> bytes:
        wide = self.options.pointer_size == 8
        width, kind, top = (8, "stack64", 0xFFFFF802) if wide else (4, "stack32", 0x8240)
        frames = b"".join(
            (top << 8 * (width // 2) | self.random.getrandbits(8 * (width // 2) - 1)).to_bytes(
                width, "little"
            )
            for _ in range(3 + int(self.random.random() * 12))
        )
        start_key = thread.process.sequence << 48 | thread.pid
        items = ExtendedItem
        return extended_bytes((
            items(EXTENDED_TYPES["sid"], encode_sid(thread.process.sid)),
            items(EXTENDED_TYPES["session_id"], thread.process.session.to_bytes(4, "little")),
            items(EXTENDED_TYPES["process_start_key"], start_key.to_bytes(8, "little")),
            items(EXTENDED_TYPES[kind], bytes(8) + frames),
        ))  # fmt: skip
