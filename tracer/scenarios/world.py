"""The world of a scenario: its registry, its clock, and where the records go."""

from random import Random

from tracer.registry.text import fold_name
from tracer.scenarios.data import Data
from tracer.scenarios.machine import USERS, make_machine
from tracer.scenarios.story import Story
from tracer.simulate.options import SimulationOptions
from tracer.simulate.registry import Key
from tracer.simulate.sink import Sink

__all__ = ["World"]

_OPERATION_US = 4  # the least time between two operations
_JITTER_US = 40


class World:
    """What all programs share.

    Attributes:
        sink: where the records go.
        random: for everything that may differ from seed to seed.
        story: what happens, for the truth.
        registry: the registry.
        microsecond: ticks of one.
    """

    def __init__(self, options: SimulationOptions, sink: Sink, random: Random, story: Story) -> None:
        self.sink, self.random, self.story = sink, random, story
        self.registry = make_machine(options, random)
        self.microsecond = sink.writer.clock.ticks_per_microsecond
        self._links = [(fold_name(path), key) for path, key in self.registry.links]

    def prepare(self, path: str, name: str, data: Data) -> None:
        r"""Put a value into the registry before the story begins; a user's key as `HKU\alice\...`."""
        root, _, rest = path.partition("\\")
        if root == "HKU":
            user, _, rest = rest.partition("\\")
            key = self.registry.users[USERS.index(user)]
        else:
            key = self.registry.machine
        for component in rest.split("\\"):
            key = key.add(component)
        key.put_value(name, *data)

    def tick(self) -> None:
        """Let a little time pass."""
        self.sink.ticks += int((_OPERATION_US + self.random.random() * _JITTER_US) * self.microsecond)

    def now(self) -> int:
        """Return the time as a FILETIME."""
        return self.sink.writer.clock.filetime(self.sink.ticks)

    def walk(self, path: str) -> tuple[Key, list[str]]:
        """Return the last key of a native path that exists, links followed, and the names that are missing below it."""
        folded = fold_name(path)
        for link, target in self._links:
            if folded == link or folded.startswith(f"{link}\\"):
                return self._walk(target, path[len(link) + 1 :])
        return self._walk(self.registry.root, path.partition("\\REGISTRY\\")[2])

    def _walk(self, key: Key, rest: str) -> tuple[Key, list[str]]:
        names = rest.split("\\") if rest else []
        for place, name in enumerate(names):
            child = key.find(name)
            if child is None:
                return key, names[place:]
            key = child
        return key, []
