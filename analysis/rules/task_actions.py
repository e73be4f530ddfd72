"""What a scheduled task does: its binary value ``Actions`` in TaskCache, as the Task Scheduler keeps it.

The layout was published by others who looked at Windows 8.1 and 10 (cyber.wtf, "Windows Registry Analysis: Tasks", 2022; the
notes on GhostTask). UNCONFIRMED here: no real value was at hand. What does not fit to the last field is left out.
"""

from dataclasses import dataclass
from uuid import UUID

from tracer.registry.text import decode_name

__all__ = ["TaskAction", "task_actions"]

_FIRST_WITH_CONTEXT, _FIRST_WITH_FLAGS, _LAST_VERSION = 2, 3, 3
_PROGRAM, _CLASS, _MAIL, _MESSAGE = 0x6666, 0x7777, 0x8888, 0x9999
_KINDS = {_PROGRAM: "program", _CLASS: "class", _MAIL: "mail", _MESSAGE: "message"}
_MOST = 64  # actions of one task; the Task Scheduler takes 32 (Microsoft Learn, IActionCollection.Create)


@dataclass(frozen=True, slots=True)
class TaskAction:
    """One action of a task.

    Attributes:
        kind: program, class, mail or message.
        command: the program of an action that starts one; None for other kinds.
        arguments: its arguments, "" for none; None for other kinds.
        clsid: the CLSID of an action that calls a class, in upper case and braces; None for other kinds.
    """

    kind: str
    command: str | None = None
    arguments: str | None = None
    clsid: str | None = None

    @property
    def line(self) -> str | None:
        """The command line; None for an action that starts no program."""
        if self.command is None:
            return None
        command = self.command.strip()
        if " " in command and not command.startswith('"'):
            command = f'"{command}"'
        return f"{command} {self.arguments}".strip()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def is_at_end(self) -> bool:
        return self._at >= len(self._data)

    def take(self, size: int) -> bytes:
        if size < 0 or self._at + size > len(self._data):
            raise ValueError
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def text(self) -> str:
        return decode_name(self.take(self.number(4)))


def task_actions(data: bytes | None) -> list[TaskAction]:
    """Return the actions of a task, in order, as far as the data can be read.

    Args:
        data: the bytes of the value, perhaps fewer than it has; None if none were captured.
    """
    found: list[TaskAction] = []
    reader = _Reader(data or b"")
    try:
        version = reader.number(2)
        if not 1 <= version <= _LAST_VERSION:
            return []
        if version >= _FIRST_WITH_CONTEXT:
            reader.text()
        while not reader.is_at_end and len(found) < _MOST:
            kind = reader.number(2)
            if kind not in (
                _PROGRAM,
                _CLASS,
            ):  # of mails and messages it is enough to know that there are some
                found += [TaskAction(_KINDS[kind])] if kind in _KINDS else []
                break
            reader.text()  # its id
            if kind == _CLASS:
                clsid = "{" + str(UUID(bytes_le=reader.take(16))).upper() + "}"
                reader.text()
                found.append(TaskAction("class", clsid=clsid))
                continue
            command, arguments, _ = reader.text(), reader.text(), reader.text()
            if version >= _FIRST_WITH_FLAGS:
                reader.number(2)
            found.append(TaskAction("program", command, arguments))
    except ValueError:
        return found
    return found
