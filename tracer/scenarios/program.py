r"""Programs: what a process does to the registry, in the records that its calls leave.

Paths are written as people write them: `HKLM\...`, `HKCU\...` (the hive of the program's user), `HKCR\...` (the machine's
classes), `HKU\...`. Each program opens these roots once and asks relative to them, as the functions of advapi32 do; each
open below a root is preceded by a query of the handle's tags (KeyHandleTagsInformation), as in the logs of Procmon.
"""

from tracer.registry.text import fold_name
from tracer.scenarios.data import Data
from tracer.scenarios.world import World
from tracer.simulate import key_information
from tracer.simulate.actors import Handle, Process
from tracer.simulate.registry import Key, Value, encode_text

__all__ = ["Program"]

_SUCCESS, _REPARSE, _NO_MORE, _NOT_FOUND = 0, 0x104, 0x8000001A, 0xC0000034
_CREATED, _EXISTED = 1, 2
_BASIC, _PARTIAL, _FULL, _HANDLE_TAGS = 0, 2, 1, 7
_DELETE_KEY, _QUERY_KEY, _ENUMERATE_KEY, _ENUMERATE_VALUE = 3, 4, 8, 9
_ROOTS = {
    "HKLM": "\\REGISTRY\\MACHINE",
    "HKCR": "\\REGISTRY\\MACHINE\\SOFTWARE\\Classes",
    "HKU": "\\REGISTRY\\USER",
}


class Program:
    """A running process.

    Attributes:
        process: the process of the simulator.
        pid: its id.
    """

    def __init__(self, world: World, process: Process) -> None:
        self._world, self._sink = world, world.sink
        self.process, self.pid = process, process.pid
        self._thread = process.threads[0]
        self._roots: dict[str, Handle] = {}

    # opening

    def open(self, path: str) -> Handle | None:
        """Open a key; None where it does not exist."""
        root, rest = self._root(path)
        return self._open(root, rest)

    def open_below(self, base: Handle, name: str) -> Handle | None:
        """Open a key relative to an open one; None where it does not exist."""
        return self._open(base, name)

    def create(self, path: str) -> Handle:
        """Open a key, which is made where it does not exist, and the keys above it too."""
        root, rest = self._root(path)
        self._tick()
        parent, missing, native, through_link = self._resolve(root, rest)
        request = rest
        if through_link:
            self._write_open(root, rest, native, None, _REPARSE, create=True)
            self._tick()
            request = native
        if not missing:
            return self._opened(root, request, parent, create=True, disposition=_EXISTED)
        if len(missing) > 1:  # the first try fails, then every key is made in its turn
            self._write_open(root, request, native, None, _NOT_FOUND, create=True)
            request = request[: -len("\\".join(missing[1:])) - 1]
        base = root
        for name in missing:
            self._tick()
            parent = parent.add(name)
            below = request if base is root else name
            handle = self._opened(base, below, parent, create=True, disposition=_CREATED)
            if base is not root:
                self.close(base)
            base = handle
        return base

    def close(self, handle: Handle | None) -> None:
        """Close a key; nothing for None."""
        if handle is not None:
            self._tick()
            self.process.handles.remove(handle)
            self._sink.write_close(self._thread, handle, lost=False)

    # values

    def query(self, handle: Handle, name: str) -> Data | None:
        """Read a value; None where it does not exist."""
        self._tick()
        value = handle.key.find_value(name)
        if value is None:
            self._sink.write_value_query(
                self._thread, handle, _NOT_FOUND, name, encode_text(name), _PARTIAL, 0, None
            )
            return None
        size, data = key_information.value_information(_PARTIAL, value, build=self._sink.wants_data)
        self._sink.write_value_query(
            self._thread, handle, _SUCCESS, value.name, value.wire, _PARTIAL, size, data
        )
        return value.type, value.data

    def get(self, path: str, name: str = "") -> Data | None:
        """Open a key, read a value, close the key; None where key or value does not exist."""
        handle = self.open(path)
        if handle is None:
            return None
        data = self.query(handle, name)
        self.close(handle)
        return data

    def set(self, handle: Handle, name: str, data: Data) -> None:
        """Write a value."""
        self._tick()
        value = handle.key.find_value(name)
        previous = None if value is None else (value.type, value.data)
        value = handle.key.put_value(name, *data)
        self._world.story.note_change(self.pid, handle.key.path, value.name, previous, data)
        self._sink.write_value_set(self._thread, handle, _SUCCESS, Value(value.name, *data), previous)

    def put(self, path: str, name: str, data: Data) -> None:
        """Make a key where it does not exist, write a value, close the key."""
        handle = self.create(path)
        self.set(handle, name, data)
        self.close(handle)

    def delete_value(self, path: str, name: str) -> None:
        """Delete a value, where it exists."""
        handle = self.open(path)
        if handle is None:
            return
        self._tick()
        value = handle.key.find_value(name)
        if value is not None:
            handle.key.values.remove(value)
            self._world.story.note_change(
                self.pid, handle.key.path, value.name, (value.type, value.data), None
            )
        self._sink.write_value_delete(
            self._thread, handle, _NOT_FOUND if value is None else _SUCCESS, name, encode_text(name)
        )
        self.close(handle)

    # keys

    def delete_tree(self, path: str) -> None:
        """Delete a key and all keys below it, the lowest first."""
        handle = self.open(path)
        if handle is None:
            return
        for child in self.enumerate_keys(handle):
            self.delete_tree(f"{path}\\{child}")
        self._tick()
        self._world.story.note_key_gone(self.pid, handle.key)
        handle.key.remove()
        self._sink.write_key_operation(self._thread, _DELETE_KEY, handle, _SUCCESS)
        self.close(handle)

    def enumerate_keys(self, handle: Handle) -> list[str]:
        """Read the names of all keys below a key."""
        keys, build = list(handle.key.children), self._sink.wants_data
        entries = [key_information.key_information(_BASIC, key, build=build) for key in keys]
        self._enumerate(_ENUMERATE_KEY, handle, _BASIC, entries)
        return [key.name for key in keys]

    def enumerate_values(self, handle: Handle) -> list[str]:
        """Read all values of a key, with their data."""
        values, build = list(handle.key.values), self._sink.wants_data
        entries = [key_information.value_information(_FULL, value, build=build) for value in values]
        self._enumerate(_ENUMERATE_VALUE, handle, _FULL, entries)
        return [value.name for value in values]

    def query_key(self, handle: Handle, information_class: int = _BASIC) -> None:
        """Ask for facts of a key: KEY_INFORMATION_CLASS 0 basic, 2 full, 3 name, 7 handle tags."""
        self._tick()
        size, data = key_information.key_information(
            information_class, handle.key, build=self._sink.wants_data
        )
        self._sink.write_information(
            self._thread, _QUERY_KEY, handle, _SUCCESS, information_class, size, data
        )

    # within

    def _tick(self) -> None:
        self._world.tick()

    def _root(self, path: str) -> tuple[Handle, str]:
        """Return the open root of a path, and the path below it."""
        name, _, rest = path.partition("\\")
        handle = self._roots.get(name)
        if handle is None:
            native = f"\\REGISTRY\\USER\\{self.process.sid}" if name == "HKCU" else _ROOTS[name]
            if name == "HKCU" and self.process.sid == "S-1-5-18":
                native = "\\REGISTRY\\USER\\.DEFAULT"
            self._tick()
            key, missing = self._world.walk(native)
            assert not missing, f"the machine has no {native}"
            handle = self._opened(None, native, key)
            self._roots[name] = handle
        return handle, rest

    def _open(self, base: Handle, request: str) -> Handle | None:
        if base in self._roots.values():
            self.query_key(base, _HANDLE_TAGS)
        self._tick()
        key, missing, native, through_link = self._resolve(base, request)
        if missing:
            self._write_open(base, request, native, None, _NOT_FOUND)
            return None
        if through_link:
            self._write_open(base, request, native, None, _REPARSE)
            self._tick()
            return self._opened(base, native, key)
        return self._opened(base, request, key)

    def _resolve(self, base: Handle, request: str) -> tuple[Key, list[str], str, bool]:
        """Return the last key on the way that exists, the missing names, the true path, and whether a link led there."""
        asked = f"{base.key.path}\\{request}"
        key, missing = self._world.walk(asked)
        native = "\\".join((key.path, *missing))
        return key, missing, native, fold_name(native) != fold_name(asked)

    def _opened(
        self, base: Handle | None, request: str, key: Key, *, create: bool = False, disposition: int = 0
    ) -> Handle:
        handle = Handle(key, _spelled(base, request))
        self._write_open(base, request, key.path, handle, _SUCCESS, create=create, disposition=disposition)
        self.process.handles.append(handle)
        return handle

    def _write_open(
        self, base: Handle | None, request: str, path: str, handle: Handle | None, status: int, *,
        create: bool = False, disposition: int = 0,
    ) -> None:  # fmt: skip
        self._sink.write_open(
            self._thread,
            base,
            request,
            path,
            _spelled(base, request),
            handle,
            status,
            disposition,
            create=create,
        )

    def _enumerate(
        self, operation: int, handle: Handle, class_: int, entries: list[tuple[int, bytes]]
    ) -> None:
        """Write an enumeration, entry by entry, and the call that meets its end."""
        for index, (size, data) in enumerate(entries):
            self._tick()
            self._sink.write_enumeration(self._thread, operation, handle, _SUCCESS, index, class_, size, data)
        self._tick()
        self._sink.write_enumeration(self._thread, operation, handle, _NO_MORE, len(entries), class_, 0, None)


def _spelled(base: Handle | None, request: str) -> str:
    """Return the path of a request, letter by letter."""
    return request if request[:1] == "\\" or base is None else f"{base.spelled}\\{request}"
