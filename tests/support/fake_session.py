"""A session and its consumer that a test drives step by step, in place of tracer.session.session's."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import pytest

from tracer.live.records import RawRecord
from tracer.live.watch import Watch
from tracer.session.options import Provider, SessionCounters, SessionOptions

__all__ = ["FakeConsumer", "FakeSession", "Script", "install"]


@dataclass
class Script:
    """What happens: batches to be taken, and what was done to the session.

    A batch may be a function instead: it is called when its turn comes (and returns records, or None).
    """

    batches: list[Any] = field(default_factory=list)
    after_stop: list[list[RawRecord]] = field(default_factory=list)
    lost: int = 0
    lost_buffers: int = 0
    dropped: int = 0
    now: float = 0.0
    tick: float = 0.1
    stopped_by_other: bool = False
    done: list[Any] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)
    running: bool = False

    def counters(self) -> SessionCounters:
        return SessionCounters(int(self.now * 1e9), self.lost, 0, self.lost_buffers, 9, 64, 61)

    def step(self, name: str, *what: Any) -> None:
        self.done.append((name, *what))
        if name in self.fails:
            raise self.fails[name]


class FakeSession:
    script: ClassVar[Script]

    def __init__(self, options: SessionOptions) -> None:
        self.name, self.options, self.ended_by_other = options.name, options, False
        self.running = False

    def start(self) -> None:
        self.script.step("start", self.options)
        self.running = self.script.running = True

    def enable(self, provider: Provider) -> None:
        self.script.step("enable", provider)

    def counters(self) -> SessionCounters:
        self.script.step("counters")
        return self.script.counters()

    def stop(self) -> SessionCounters:
        self.script.step("stop")
        self.running = self.script.running = False
        self.ended_by_other = self.script.stopped_by_other
        return self.script.counters()


class FakeConsumer:
    script: ClassVar[Script]

    def __init__(self, session_name: str, *, most_bytes: int = 64 << 20) -> None:
        self.failures = self.taken = 0
        self.is_cut, self.trouble = False, None

    @property
    def dropped(self) -> int:
        return self.script.dropped

    def start(self) -> None:
        self.script.step("consume")

    def take(self, timeout: float) -> list[RawRecord] | None:
        script = self.script
        script.now += script.tick
        if not script.running:
            batch = script.after_stop.pop(0) if script.after_stop else None
        else:
            batch = script.batches.pop(0) if script.batches else []
        batch = batch() if callable(batch) else batch
        self.taken += len(batch or ())
        return batch

    @property
    def received(self) -> int:
        return self.taken + self.dropped + self.failures

    def close(self) -> None:
        pass

    def wait(self, timeout: float) -> None:
        pass

    def stop(self, patience: float = 10) -> None:
        self.script.step("consumer stop")


def install(monkeypatch: pytest.MonkeyPatch, script: Script) -> Script:
    """Let a watch run on `script`: its session, its time, no handle table and no processes."""
    from tracer.windows import handle_table, process_snapshot

    session = type("Session", (FakeSession,), {"script": script})
    consumer = type("Consumer", (FakeConsumer,), {"script": script})
    monkeypatch.setattr("tracer.session.session.Session", session)
    monkeypatch.setattr("tracer.session.consumer.Consumer", consumer)
    monkeypatch.setattr("tracer.session.session.list_sessions", list)
    monkeypatch.setattr("tracer.session.session.require_windows", lambda what: None)
    monkeypatch.setattr("tracer.live.watch.Watch", partial(Watch, clock=lambda: script.now))
    monkeypatch.setattr(process_snapshot, "snapshot_processes", list)
    empty = handle_table.HandleTable([], [], 0, 0.0, 0, 0, 0)
    monkeypatch.setattr(handle_table, "read_handle_table", lambda: empty)
    return script
