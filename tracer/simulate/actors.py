"""The actors: processes, threads, and the key objects they hold."""

from random import Random

from tracer.simulate.names import APP_IMAGES
from tracer.simulate.options import SimulationOptions
from tracer.simulate.registry import Key, Registry

__all__ = ["SYSTEM_FOLDER", "Handle", "Process", "ProcessPool", "Thread"]

SYSTEM_FOLDER = "\\Device\\HarddiskVolume3\\Windows\\System32"
_SYSTEM_PID = 4


class Handle:
    """A key object (one open of one key).

    `spelled` is the path as the requests that led here spelled it: through links, in the callers' case.
    """

    __slots__ = ("address", "key", "life", "spelled")

    def __init__(self, key: Key, spelled: str) -> None:
        self.key = key
        self.spelled = spelled
        self.address = 0
        self.life = -1


class Thread:
    """A thread; `cpu` is where it runs at the moment."""

    __slots__ = ("cpu", "pid", "process", "tid")

    def __init__(self, process: "Process", tid: int, cpu: int) -> None:
        self.process, self.pid, self.tid, self.cpu = process, process.pid, tid, cpu


class Process:
    """A process, its threads and open handles.

    `folder` is where its image lies, as the kernel writes it; `command_line` None leaves one to the sink.
    """

    __slots__ = (
        "command_line",
        "create_ticks",
        "folder",
        "habits",
        "handles",
        "image",
        "parent",
        "pid",
        "roots",
        "sequence",
        "session",
        "sid",
        "threads",
    )

    def __init__(self, pid: int, parent: int, image: str, sid: str, session: int) -> None:
        self.pid, self.parent, self.image, self.sid, self.session = pid, parent, image, sid, session
        self.threads: list[Thread] = []
        self.handles: list[Handle] = []
        self.roots: list[Key] = []
        self.habits: list[Key] = []
        self.create_ticks = 0
        self.sequence = 0
        self.folder = SYSTEM_FOLDER
        self.command_line: str | None = None


class ProcessPool:
    """Makes processes; process and thread ids are reused as Windows does, lowest freed first."""

    def __init__(self, options: SimulationOptions, registry: Registry, random: Random) -> None:
        self._options, self._registry, self._random = options, registry, random
        self._next_id = 700
        self._free: list[int] = []
        self._count = 0
        self.running = [self.start(0, image="System")]
        for _ in range(options.processes - 1):
            self.running.append(self.start(self.running[-1].pid))

    def start(self, parent: int, image: str = "") -> Process:
        """Return a new process, not yet among `running`."""
        random = self._random
        image = image or APP_IMAGES[int(random.random() * len(APP_IMAGES))]
        user = int(random.random() * len(self._registry.sids))
        system = image in ("System", "svchost.exe", "MsMpEng.exe", "WmiPrvSE.exe")
        process = Process(
            _SYSTEM_PID if image == "System" else self._id(), parent, image,
            "S-1-5-18" if system else self._registry.sids[user], 0 if system else 1 + user,
        )  # fmt: skip
        self._count += 1
        process.sequence = self._count
        process.roots = [self._registry.machine, self._registry.machine]
        if not system:
            process.roots.append(self._registry.users[user])
        if self._registry.apps and random.random() < 0.4:
            process.roots.append(self._registry.apps[int(random.random() * len(self._registry.apps))])
        process.threads = [
            Thread(process, self._id(), int(random.random() * self._options.cpus))
            for _ in range(self._options.threads)
        ]
        return process

    def end(self, process: Process) -> None:
        """Remove the process; its ids may be used again."""
        self.running.remove(process)
        self._free += [process.pid, *(thread.tid for thread in process.threads)]

    def _id(self) -> int:
        if len(self._free) > 40:
            return self._free.pop(0)
        self._next_id += 4
        return self._next_id
