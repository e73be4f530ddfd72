"""The stage: programs that run side by side, each a generator that yields how long it pauses."""

from collections.abc import Generator
from heapq import heappop, heappush
from random import Random

from tracer.scenarios.machine import USERS
from tracer.scenarios.program import Program
from tracer.scenarios.story import Story
from tracer.scenarios.world import World
from tracer.simulate.actors import Handle, Process, Thread
from tracer.simulate.options import SimulationOptions
from tracer.simulate.sink import Sink

__all__ = ["Act", "Stage"]

Act = Generator[float, None, None]  # what a program does; it yields microseconds to wait

_SYSTEM_SID = "S-1-5-18"
_BEFORE_US, _BETWEEN_STARTS_US = 3_600e6, 5e6  # when what ran before the trace had started
_ENDING_US = 300_000  # ordinary activity goes on for a while after the story


class Stage:
    """Runs acts in order of time, and keeps the registry that they share.

    Attributes:
        options: the options of the trace.
        sink: where the records go.
        random: for everything that may differ from seed to seed.
        story: what happens, for the truth.
        world: the registry and the clock that all share.
    """

    def __init__(self, options: SimulationOptions, sink: Sink, random: Random, story: Story) -> None:
        self.options, self.sink, self.random, self.story = options, sink, random, story
        self.world = World(options, sink, random, story)
        self._microsecond = self.world.microsecond
        self._acts: list[tuple[float, int, Act]] = []
        self._count = 0
        self._main = 0  # acts of the story that still run
        self._end: float | None = None
        self._next_id = 600
        self._running: list[Process] = []

    # programs

    def run(
        self, image: str, *, parent: Program | None = None, user: str | None = None, folder: str = "",
        command_line: str = "", announced: bool = True,
    ) -> Program:  # fmt: skip
        r"""Start a program.

        Args:
            image: file name of its image.
            parent: who starts it; None for a process of the system.
            user: one of `USERS`; None for the parent's user, or SYSTEM.
            folder: where the image lies, `C:\...`; "" for System32.
            command_line: "" for the quoted path.
            announced: False for what ran before the trace.
        """
        sid, session = _SYSTEM_SID, 0
        if user is not None:
            sid, session = self.world.registry.sids[USERS.index(user)], 1
        elif parent is not None:
            sid, session = parent.process.sid, parent.process.session
        pid = 4 if image == "System" else self._id()
        process = Process(pid, parent.pid if parent else 0, image, sid, session)
        where = folder or "C:\\Windows\\System32"
        process.folder = where.replace("C:", "\\Device\\HarddiskVolume3", 1)
        process.command_line = command_line or f'"{where}\\{image}"'
        process.sequence = len(self.story.processes) + 1
        process.threads = [Thread(process, self._id(), int(self.random.random() * self.options.cpus))]
        # What ran before the trace started in the order in which it is listed, parents first.
        ago = 0 if announced else _BEFORE_US - _BETWEEN_STARTS_US * process.sequence
        process.create_ticks = self.sink.ticks - int(ago * self._microsecond)
        self._running.append(process)
        self.story.note_process(process)
        if announced and self.options.process_events:
            self.world.tick()
            self.sink.write_process(process, "start")
        return Program(self.world, process)

    def exit(self, program: Program) -> None:
        """End a program, which closes what it holds."""
        while program.process.handles:
            program.close(program.process.handles[-1])
        if self.options.process_events:
            self.world.tick()
            self.sink.write_process(program.process, "stop")
        self._running.remove(program.process)

    def play(self, act: Act, *, after_us: float = 0.0, main: bool = False) -> None:
        """Let an act begin; the trace ends a little after the last `main` one."""
        self._count += 1
        self._main += main
        due = self.sink.ticks + after_us * self._microsecond
        heappush(self._acts, (due, self._count, self._counted(act) if main else act))

    def pause(self, least_us: float, most_us: float) -> float:
        """Return how long an act pauses, microseconds, at random between two lengths."""
        return least_us + (most_us - least_us) * self.random.random()

    # the play, as `tracer.simulate.run.Play` wants it

    def begin(self) -> list[Handle]:
        """Describe what ran before the trace."""
        if self.options.process_events:
            for process in self._running:
                self.sink.write_process(process, "rundown")
        return []

    @property
    def finished(self) -> bool:
        """Whether the story and the activity after it are over."""
        return not self._acts or (self._end is not None and self._acts[0][0] > self._end)

    def step(self) -> None:
        """Let the act that is due go on."""
        due, number, act = heappop(self._acts)
        self.sink.ticks = max(self.sink.ticks + 1, int(due))
        try:
            pause = next(act)
        except StopIteration:
            return
        heappush(self._acts, (self.sink.ticks + pause * self._microsecond, number, act))

    def end(self) -> None:
        """Describe what runs when the trace stops."""
        if self.options.process_events:
            for process in self._running:
                self.sink.write_process(process, "final rundown")
        self.sink.finish()

    def _counted(self, act: Act) -> Act:
        yield from act
        self._main -= 1
        if not self._main:
            self._end = self.sink.ticks + _ENDING_US * self._microsecond

    def _id(self) -> int:
        self._next_id += 4 + 4 * int(self.random.random() * 30)
        return self._next_id
