"""The story: what a scenario did, written beside its trace as the truth that an answer can be checked against."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.registry.paths import display_path, native_path
from tracer.registry.values import decode_value, type_name
from tracer.scenarios.data import Data
from tracer.simulate.actors import Process
from tracer.simulate.registry import Key

__all__ = ["Change", "Plant", "Story", "read_story", "story_path", "write_story"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Change:
    """A write or delete that succeeded.

    Attributes:
        path: native path, links followed.
        value: name of the value; None where the key itself was deleted.
        before, after: type and bytes; None where there was or is no such value.
        pid: who did it.
    """

    path: str
    value: str | None
    before: Data | None
    after: Data | None
    pid: int


@dataclass(frozen=True, slots=True)
class Plant:
    """A thing that was put into the story for somebody to find.

    Attributes:
        what: autostart, security control, credential, rolled back, polling, redundant read, search, leak, cause, or other word
            of the scenario.
        key: display path, links followed.
        value: name of the value; None for the key itself.
        note: a sentence.
        count: how often, where that matters; else None.
    """

    what: str
    key: str
    value: str | None
    note: str
    count: int | None = None


class Story:
    """Collects what happens.

    Attributes:
        name: name of the scenario.
        summary: one sentence.
        processes: every process, in order of their starts.
        changes: every change in order, those of ordinary programs too.
        plants: what there is to find.
        cast: pids of the processes that the story is about.
    """

    def __init__(self, name: str, summary: str) -> None:
        self.name, self.summary = name, summary
        self.processes: list[Process] = []
        self.changes: list[Change] = []
        self.plants: list[Plant] = []
        self.cast: list[int] = []

    def note_process(self, process: Process) -> None:
        """Add a process."""
        self.processes.append(process)

    def note_change(self, pid: int, path: str, value: str, before: Data | None, after: Data | None) -> None:
        """Add a write or delete of a value."""
        self.changes.append(Change(path, value, before, after, pid))

    def note_key_gone(self, pid: int, key: Key) -> None:
        """Add the delete of a key, and of the values in it."""
        for value in key.values:
            self.changes.append(Change(key.path, value.name, (value.type, value.data), None, pid))
        self.changes.append(Change(key.path, None, None, None, pid))

    def plant(self, what: str, key: str, value: str | None, note: str, count: int | None = None) -> None:
        """Add a thing to find; `key` as display path."""
        self.plants.append(Plant(what, key, value, note, count))


def story_path(path: Path) -> Path:
    """Return where the story of a simulated `path` is: NAME.story.json."""
    return path.with_name(f"{path.stem}.story.json")


def write_story(path: Path, story: Story, *, seed: int) -> None:
    """Write the story as JSON; data as type, text for people, and hex."""
    document = {
        "format": FORMAT,
        "simulated": True,
        "scenario": story.name,
        "summary": story.summary,
        "seed": seed,
        "processes": [
            {
                "pid": one.pid, "parent": one.parent, "image": one.image, "user": one.sid,
                "command_line": one.command_line, "in_story": one.pid in story.cast,
            }
            for one in story.processes
        ],
        "plants": [
            {
                "what": one.what, "key": one.key, "path": _native(one.key), "value": one.value, "note": one.note,
                "count": one.count,
            }
            for one in story.plants
        ],
        "changes": [
            {
                "key": display_path(one.path, control_set=1), "path": one.path, "value": one.value,
                "before": _shown(one.before), "after": _shown(one.after), "pid": one.pid,
            }
            for one in story.changes
        ],
    }  # fmt: skip
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def read_story(path: Path) -> dict[str, Any]:
    """Return the story as it was written."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def _native(key: str) -> str:
    return native_path(key).replace("\\CurrentControlSet", "\\ControlSet001", 1)


def _shown(data: Data | None) -> dict[str, str] | None:
    if data is None:
        return None
    kind, content = data
    return {"type": type_name(kind), "text": decode_value(kind, content, len(content)), "hex": content.hex()}
