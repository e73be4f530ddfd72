"""Opens and creates of the simulated processes: by which name, relative to what, and with which failures."""

import zlib
from random import Random

from tracer.simulate.actors import Handle, Thread
from tracer.simulate.names import MISSING_KEYS, make_guid
from tracer.simulate.options import SimulationOptions
from tracer.simulate.registry import Key, Registry
from tracer.simulate.sink import Sink

__all__ = ["Opens"]

_FIRST_HABITS, _MOST_HABITS, _FAITHFUL = 10, 150, 0.95
_SUCCESS, _REPARSE = 0, 0x104
_DENIED, _INVALID, _NOT_FOUND, _NO_PATH = 0xC0000022, 0xC0000033, 0xC0000034, 0xC000003A
_KEY_DELETED = 0xC000017C
_CREATED, _EXISTED = 1, 2


class Opens:
    """Opens and creates keys; `tracer.simulate.activity.Activity` does the other operations."""

    def __init__(self, options: SimulationOptions, registry: Registry, sink: Sink, random: Random) -> None:
        self._options, self._registry, self._sink, self._random = options, registry, sink, random
        self._guids = [make_guid(random) for _ in range(200)]

    def _open(self, thread: Thread) -> None:
        options, random = self._options, self._random.random
        handles = thread.process.handles
        base = self._pick(handles) if handles and random() < 0.6 else None
        if random() < options.failed_open:
            self._fail_open(thread, base)
            return
        draw = random()
        if draw < options.links:
            self._open_link(thread)
        elif base is not None and draw < options.links + options.empty_relative:
            self._opened(thread, base, "", base.key)
        else:
            if base is None:
                target = self._habit(thread, 7)
            else:
                target = self._walk(base.key, 3)
                if target is base.key:
                    base = None
                    if target.parent is not None and target.parent.children:
                        siblings = target.parent.children
                        target = siblings[int(random() * len(siblings))]
            self._opened(thread, base, self._request(base, target), target)

    def _request(self, base: Handle | None, target: Key) -> str:
        """Return the name by which a caller asks for `target`, relative to `base`."""
        if base is not None:
            text = target.path[len(base.key.path) + 1 :]
        else:
            text = target.path
            if self._random.random() < 0.5:
                text = text.replace("\\REGISTRY\\MACHINE", "\\Registry\\Machine", 1)
        return self._misspell(text)

    def _misspell(self, text: str) -> str:
        draw = self._random.random()
        if draw < self._options.mixed_case:
            if not text.isascii() or "<U+" in text:
                return text
            return text.upper() if draw * 3 < self._options.mixed_case else text.lower()
        if draw > 1 - self._options.slashes and text:
            return (
                f"{text}\\"
                if draw > 1 - self._options.slashes / 2
                else text[0] + text[1:].replace("\\", "\\\\")
            )
        return text

    def _spelled(self, base: Handle | None, text: str) -> str:
        """Return the path of a request, letter by letter."""
        if "\\\\" in text or text[-1:] == "\\":
            text = ("\\" if text[0] == "\\" else "") + "\\".join(part for part in text.split("\\") if part)
        if base is None or text[:1] == "\\":
            return text
        return f"{base.spelled}\\{text}" if text else base.spelled

    def _opened(
        self, thread: Thread, base: Handle | None, request: str, target: Key, *, create: bool = False,
        disposition: int = 0,
    ) -> None:  # fmt: skip
        if base is not None and base.key.deleted:
            self._sink.write_open(thread, base, request, target.path, self._spelled(base, request), None,
                              _KEY_DELETED, 0,
                              create=create)  # fmt: skip
            return
        if target.deleted:  # asked for by its path: a key that was deleted is found no more
            spelled = self._spelled(base, request)
            self._sink.write_open(
                thread, base, request, target.path, spelled, None, _NOT_FOUND, 0, create=create
            )
            return
        handle = Handle(target, self._spelled(base, request))
        self._sink.write_open(thread, base, request, target.path, handle.spelled, handle, _SUCCESS, disposition,
                          create=create)  # fmt: skip
        thread.process.handles.append(handle)

    def _open_link(self, thread: Thread) -> None:
        random = self._random.random
        links = self._registry.links
        text, to = links[int(random() * len(links))]
        target = self._walk(to, 4)
        request = self._misspell(text + target.path[len(to.path) :])
        # As records show that Velociraptor's Sigma rules publish: below a base object although the path is absolute, and the
        # reparse of a create has no object and disposition 0.
        handles = thread.process.handles
        base = handles[-1] if handles and not handles[-1].key.deleted else None
        create = self._sink.ticks % 2 == 1
        if random() < self._options.reparse:
            self._sink.write_open(thread, base, request, target.path, self._spelled(None, request), None,
                              _REPARSE, 0,
                              create=create)  # fmt: skip
            self._sink.ticks += 3
            request = target.path
        disposition = _EXISTED if create else 0
        self._opened(thread, base, request, target, create=create, disposition=disposition)

    def _fail_open(self, thread: Thread, base: Handle | None) -> None:
        random = self._random.random
        draw = random()
        parent = self._habit(thread, 2) if base is None else base.key
        if draw < 0.06 and parent.children:
            target, status = parent.children[0].path, _DENIED
        else:
            # Programs ask for the same few keys that are not there, over and over.
            # (A real log of 46,030 operations: 9,357 opens failed, on 1,119 paths.)
            pick = zlib.crc32(parent.path.encode("utf-16-le", "surrogatepass"))
            name = MISSING_KEYS[pick % len(MISSING_KEYS)] if draw < 0.7 else self._guids[pick % 200]
            target = f"{parent.path}\\{name}"
            if parent.find(name.split("\\")[0]) is not None:
                status = _DENIED
            else:
                status = _INVALID if draw < 0.07 else _NO_PATH if draw < 0.15 else _NOT_FOUND
        if base is not None and base.key.deleted:
            status = _KEY_DELETED
        request = self._misspell(target[len(base.key.path) + 1 :] if base is not None else target)
        self._sink.write_open(thread, base, request, target, self._spelled(base, request), None, status, 0,
                          create=draw > 0.97)  # fmt: skip

    def _create(self, thread: Thread) -> None:
        base = self._pick(thread.process.handles)
        parent = self._walk(base.key, 2)
        draw = self._random.random()
        if draw < 0.85 and parent is not base.key:  # most creates find their key
            self._opened(thread, base, self._request(base, parent), parent, create=True, disposition=_EXISTED)
            return
        name = self._registry.namer.key()
        exists = parent.find(name)
        if exists is None and (draw > 0.95 or len(parent.children) > 60 or parent.depth > 20):
            request = self._request(base, parent)
            request = f"{request}\\{name}" if request else name
            self._sink.write_open(thread, base, request, f"{parent.path}\\{name}", self._spelled(base, request),
                              None,
                              _DENIED, 0, create=True)  # fmt: skip
            return
        if base.key.deleted or parent.deleted:
            self._opened(thread, base, name, base.key, create=True)
            return
        key = exists or parent.add(name)
        disposition = _CREATED if exists is None else _EXISTED
        self._opened(thread, base, self._request(base, key), key, create=True, disposition=disposition)

    def _pick(self, handles: list[Handle]) -> Handle:
        """Return a handle, more often a recent one."""
        draw = self._random.random()
        return handles[-1 - int(draw * draw * len(handles))]

    def _habit(self, thread: Thread, most: int) -> Key:
        """Return a key for the process, nearly always one it used before."""
        random, process = self._random.random, thread.process
        habits, draw = process.habits, random()
        if len(habits) > _FIRST_HABITS and draw < _FAITHFUL:
            key = habits[int(draw * draw * len(habits))]
            if not key.deleted:
                return key
        key = self._walk(process.roots[int(random() * len(process.roots))], most)
        if len(habits) < _MOST_HABITS:
            habits.append(key)
        else:
            habits[int(draw * 1e6) % _MOST_HABITS] = key
        return key

    def _walk(self, key: Key, most: int) -> Key:
        """Return a key up to `most` levels below `key`."""
        random = self._random.random
        for _ in range(1 + int(random() * most)):
            children = key.children
            if not children:
                break
            draw = random()  # a few keys are asked for all the time, most of them hardly ever
            key = children[int(draw * draw * draw * len(children))]
        return key
