"""The activity: which operation a simulated process does next, on which key, and with which result."""

import math
from bisect import bisect
from random import Random

from tracer.simulate import key_information
from tracer.simulate.actors import Handle, ProcessPool, Thread
from tracer.simulate.opens import Opens
from tracer.simulate.options import SimulationOptions
from tracer.simulate.registry import Registry, Value, encode_text
from tracer.simulate.sink import Sink

__all__ = ["Activity"]

_SUCCESS, _OVERFLOW, _NO_MORE = 0, 0x80000005, 0x8000001A
_DENIED, _TOO_SMALL, _NOT_FOUND = 0xC0000022, 0xC0000023, 0xC0000034
_CANNOT_DELETE, _KEY_DELETED = 0xC0000121, 0xC000017C

# How often each operation comes; opens and closes balance by what a process holds.
_MIX = (
    ("query_value", 30), ("open", 27), ("close", 17), ("query_key", 7), ("enumerate_key", 6),
    ("enumerate_value", 4),
    ("set_value", 4), ("create", 1.6), ("security", 1), ("set_information", 0.6), ("delete_value", 0.5),
    ("delete_key", 0.5), ("flush", 0.3), ("query_values", 0.2),
)  # fmt: skip
_HELD_AT_MOST = 40  # key objects of one process
_KEPT_AT_LEAST = 2
_STICKY = 0.9  # a thread goes on for ten operations or so
_MIGRATES = 0.02
_PROCESS_ENDS = 1 / 20_000


class Activity(Opens):
    """Drives the registry model and reports each operation to a sink."""

    def __init__(
        self, options: SimulationOptions, registry: Registry, pool: ProcessPool, sink: Sink, random: Random
    ) -> None:
        super().__init__(options, registry, sink, random)
        self._pool = pool
        total, weights = 0.0, []
        for _, weight in _MIX:
            total += weight
            weights.append(total)
        self._weights = [weight / total for weight in weights]
        self._actions = [getattr(self, f"_{name}") for name, _ in _MIX]
        self._step = options.gap_us * 2 * sink.writer.clock.ticks_per_microsecond
        self._thread = pool.running[0].threads[0]

    @property
    def finished(self) -> bool:
        """Whether enough operations were written."""
        return self._sink.truth.count >= self._options.events

    def begin(self) -> list[Handle]:
        """Describe what ran and was open before the trace; return the open handles."""
        handles = []
        for process in self._pool.running:
            process.create_ticks = self._sink.ticks - int(self._random.random() * 1e10)
        for place in range(self._options.preopened):
            process = self._pool.running[place % len(self._pool.running)]
            turn = place // len(self._pool.running)
            key = process.roots[turn] if turn < len(process.roots) else self._walk(process.roots[0], 6)
            handle = Handle(key, key.path)
            self._sink.note_preopened(handle)
            process.handles.append(handle)
            handles.append(handle)
        if self._options.process_events:
            for process in self._pool.running:
                self._sink.write_process(process, "rundown")
        return handles

    def step(self) -> None:
        """Let one thread do one thing (which may write several records)."""
        random = self._random.random
        self._sink.ticks += 1 + int(random() * self._step)
        thread = self._thread
        draw = random()
        if draw > _STICKY:
            running = self._pool.running
            process = running[int(random() * len(running))]
            thread = self._thread = process.threads[int(random() * len(process.threads))]
            if draw > 1 - _MIGRATES:
                thread.cpu = int(random() * self._options.cpus)
        elif draw < _PROCESS_ENDS:
            self._replace_process()
            return
        open_handles = len(thread.process.handles)
        if open_handles <= _KEPT_AT_LEAST:
            self._open(thread)
        elif open_handles > _HELD_AT_MOST:
            self._close(thread)
        else:
            self._actions[bisect(self._weights, random())](thread)

    def end(self) -> None:
        """Describe what runs when the trace stops."""
        if self._options.process_events:
            for process in self._pool.running:
                self._sink.write_process(process, "final rundown")
        self._sink.finish()

    # what is done with an open key

    def _close(self, thread: Thread) -> None:
        process, random = thread.process, self._random.random
        place = int(random() * len(process.handles))
        handle = process.handles.pop(place)
        options, sink = self._options, self._sink
        if options.late_close and random() < options.late_close and options.cpus > 1:
            # The close overtakes the last use: stamped before it, on another processor.
            stamp = sink.ticks
            sink.ticks = stamp + 2
            self._query_value(thread, handle)
            sink.ticks = stamp
            other = Thread(process, process.threads[-1].tid, (thread.cpu + 1) % options.cpus)
            sink.write_close(other, handle, lost=False)
            sink.ticks = stamp + 2
            return
        sink.write_close(thread, handle, lost=bool(options.lost_close) and random() < options.lost_close)

    def _query_value(self, thread: Thread, handle: Handle | None = None) -> None:
        random, sink = self._random.random, self._sink
        if handle is None:
            handle = self._pick(thread.process.handles)
        key = handle.key
        draw = random()
        values = key.values
        if key.deleted or draw < 0.25 or not values:
            name = self._registry.namer.value()
            status = _KEY_DELETED if key.deleted else _NOT_FOUND
            if not key.deleted and any(value.name == name for value in values):
                status = _DENIED
            sink.write_value_query(thread, handle, status, name, encode_text(name), 2, 0, None)
            return
        value = values[int(random() * len(values))]
        class_, status = 2, _SUCCESS
        if draw < 0.4:
            class_ = 1
        elif draw < 0.5:
            status = _OVERFLOW if draw < 0.45 else _TOO_SMALL
        size, data = key_information.value_information(class_, value, build=sink.wants_data)
        sink.write_value_query(thread, handle, status, value.name, value.wire, class_, size,
                           data if status == _SUCCESS else None)  # fmt: skip

    def _set_value(self, thread: Thread) -> None:
        handle = self._pick(thread.process.handles)
        key, random = handle.key, self._random.random
        draw = random()
        if key.values and draw < 0.75:
            value = key.values[int(random() * len(key.values))]
            previous: tuple[int, bytes] | None = (value.type, value.data)
        else:
            name = self._registry.namer.value()
            values = [value for value in key.values if value.name.upper() == name.upper()]
            value = values[0] if values else Value(name, 0, b"")
            previous = (value.type, value.data) if values else None
        type_, data = self._registry.new_data()
        new = Value(value.name, type_, data)
        status = (
            _KEY_DELETED if key.deleted else _DENIED if draw > 0.97 or len(key.values) > 200 else _SUCCESS
        )
        if status == _SUCCESS:
            value.type, value.data = type_, data
            if previous is None:
                key.values.append(value)
        self._sink.write_value_set(thread, handle, status, new, previous)

    def _delete_value(self, thread: Thread) -> None:
        handle = self._pick(thread.process.handles)
        values, random = handle.key.values, self._random.random
        if handle.key.deleted or not values or random() < 0.3:
            name = "CachedFeatureString"
            status = _KEY_DELETED if handle.key.deleted else _NOT_FOUND
            self._sink.write_value_delete(thread, handle, status, name, encode_text(name))
            return
        value = values.pop(int(random() * len(values)))
        self._sink.write_value_delete(thread, handle, _SUCCESS, value.name, value.wire)

    def _query_key(self, thread: Thread) -> None:
        handle = self._pick(thread.process.handles)
        draw = self._random.random()
        class_ = (2, 0, 4, 3, 1, 7)[int(draw * draw * 6)]
        size, data = key_information.key_information(class_, handle.key, build=self._sink.wants_data)
        status = _KEY_DELETED if handle.key.deleted else _TOO_SMALL if draw > 0.95 else _SUCCESS
        self._sink.write_information(
            thread, 4, handle, status, class_, size, data if status == _SUCCESS else None
        )

    def _set_information(self, thread: Thread) -> None:
        handle = self._pick(thread.process.handles)
        status = _KEY_DELETED if handle.key.deleted else _SUCCESS
        if self._random.random() < 0.5:
            self._sink.write_information(thread, 11, handle, status, 5, 4, (1).to_bytes(4, "little"))
        else:
            written = self._sink.writer.clock.filetime(self._sink.ticks).to_bytes(8, "little")
            self._sink.write_information(thread, 11, handle, status, 0, 8, written)

    def _enumerate_key(self, thread: Thread) -> None:
        handle = self._pick(thread.process.handles)
        children = handle.key.children
        index = int(self._random.random() * (len(children) + 1))
        if index >= len(children) or handle.key.deleted:
            status = _KEY_DELETED if handle.key.deleted else _NO_MORE
            self._sink.write_enumeration(thread, 8, handle, status, index, 0, 0, None)
            return
        class_ = index & 1
        size, data = key_information.key_information(class_, children[index], build=self._sink.wants_data)
        self._sink.write_enumeration(thread, 8, handle, _SUCCESS, index, class_, size, data)

    def _enumerate_value(self, thread: Thread) -> None:
        handle = self._pick(thread.process.handles)
        values = handle.key.values
        index = int(self._random.random() * (len(values) + 1))
        if index >= len(values) or handle.key.deleted:
            status = _KEY_DELETED if handle.key.deleted else _NO_MORE
            self._sink.write_enumeration(thread, 9, handle, status, index, 1, 0, None)
            return
        size, data = key_information.value_information(index & 1, values[index], build=self._sink.wants_data)
        self._sink.write_enumeration(thread, 9, handle, _SUCCESS, index, index & 1, size, data)

    def _delete_key(self, thread: Thread) -> None:
        handle = self._pick(thread.process.handles)
        key = handle.key
        if key.deleted:
            status = _KEY_DELETED
        elif key.children or key.depth < 5:
            status = _CANNOT_DELETE
        else:
            status = _SUCCESS
            key.remove()
        self._sink.write_key_operation(thread, 3, handle, status)

    def _security(self, thread: Thread) -> None:
        draw = self._random.random()
        handle = self._pick(thread.process.handles)
        self._sink.write_key_operation(
            thread, 14 if draw < 0.8 else 15, handle, _DENIED if draw > 0.95 else _SUCCESS
        )

    def _flush(self, thread: Thread) -> None:
        self._sink.write_key_operation(thread, 12, self._pick(thread.process.handles), _SUCCESS)

    def _query_values(self, thread: Thread) -> None:
        count = 1 + int(self._random.random() * 9)
        self._sink.write_values_query(thread, self._pick(thread.process.handles), _SUCCESS, count, count * 24)

    def _replace_process(self) -> None:
        """End a process, which closes what it holds, and start another."""
        running, random = self._pool.running, self._random.random
        if len(running) < 2:
            return
        process = running[1 + int(random() * (len(running) - 1))]
        thread = process.threads[0]
        while process.handles:
            self._sink.write_close(thread, process.handles.pop(), lost=False)
            self._sink.ticks += 5
        if self._options.process_events:
            self._sink.write_process(process, "stop")
        self._pool.end(process)
        parent = running[int(random() * len(running))]
        self._sink.ticks += 1 + int(math.sqrt(random()) * self._step)
        new = self._pool.start(parent.pid)
        new.create_ticks = self._sink.ticks
        running.append(new)
        if self._options.process_events:
            self._sink.write_process(new, "start")
        if self._thread.process is process:
            self._thread = new.threads[0]
