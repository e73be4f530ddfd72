"""The registry model: hives, keys with values, links, and addresses of open objects."""

from functools import lru_cache
from random import Random

from tracer.registry.text import encode_name, fold_name
from tracer.simulate.names import SKELETON, Namer, make_guid
from tracer.simulate.options import SimulationOptions

__all__ = ["AddressPool", "Key", "Registry", "Value", "encode_text"]

_CONTROL_SET = "\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet001"
_CURRENT = "\\REGISTRY\\MACHINE\\SYSTEM\\CurrentControlSet"
_TEXTS = (
    "1", "Apartment", "C:\\Windows\\System32\\svchost.exe -k netsvcs -p",
    "%SystemRoot%\\System32\\drivers\\tcpip.sys",
    "Both", "C:\\Program Files\\Common Files\\updater.exe", "de-DE", "192.168.1.23", "10.0.19045.4046", "",
    "{00021401-0000-0000-C000-000000000046}", "@%systemroot%\\system32\\shell32.dll,-8964",
)  # fmt: skip
_NONE, _SZ, _EXPAND_SZ, _BINARY, _DWORD, _MULTI_SZ, _QWORD = 0, 1, 2, 3, 4, 7, 11


@lru_cache(16_384)  # the same names come again and again
def encode_text(text: str) -> bytes:
    """Return escaped text as UTF-16LE; quick where nothing is escaped."""
    return encode_name(text) if "<U+" in text else text.encode("utf-16-le")


class Value:
    """One value of a key."""

    __slots__ = ("data", "name", "type", "wire")

    def __init__(self, name: str, type_: int, data: bytes) -> None:
        self.name = name
        self.wire = encode_text(name)
        self.type = type_
        self.data = data


class Key:
    """One key; `path` is its true native path, escaped."""

    __slots__ = (
        "_folded",
        "_full",
        "block",
        "children",
        "deleted",
        "depth",
        "has_nul",
        "parent",
        "path",
        "values",
    )

    def __init__(self, parent: "Key | None", name: str) -> None:
        self.parent = parent
        self.path: str = f"{parent.path}\\{name}" if parent else f"\\{name}"
        self.depth: int = parent.depth + 1 if parent else 1
        self.children: list[Key] = []
        self.values: list[Value] = []
        self.deleted = False
        self.has_nul = "<U+0000>" in self.path
        self.block: object = None  # the classic logger's control block while the key has one
        self._folded: dict[str, Key] = {}
        self._full: bytes | None = None

    @property
    def name(self) -> str:
        """The last component."""
        return self.path.rsplit("\\", 1)[1]

    @property
    def wide_path(self) -> bytes:
        """The path as a wz field."""
        if self._full is None:
            self._full = encode_text(self.path) + b"\0\0"
        return self._full

    def find(self, name: str) -> "Key | None":
        """Return the child of that name in any case, or None."""
        return self._folded.get(fold_name(name))

    def find_value(self, name: str) -> "Value | None":
        """Return the value of that name in any case, or None."""
        folded = fold_name(name)
        return next((value for value in self.values if fold_name(value.name) == folded), None)

    def put_value(self, name: str, type_: int, data: bytes) -> "Value":
        """Return the value of that name with this content; it is made if it does not exist."""
        value = self.find_value(name)
        if value is None:
            value = Value(name, type_, data)
            self.values.append(value)
        value.type, value.data = type_, data
        return value

    def add(self, name: str) -> "Key":
        """Return the child `name`; it is made if it does not exist."""
        folded = fold_name(name)
        child = self._folded.get(folded)
        if child is None:
            child = Key(self, name)
            self._folded[folded] = child
            self.children.append(child)
        return child

    def remove(self) -> None:
        """Remove the key (which has no children) from its parent."""
        self.deleted = True
        if self.parent is not None:
            self.parent.children.remove(self)
            del self.parent._folded[fold_name(self.name)]


class Registry:
    r"""The hives, filled to about `options.keys` keys unless `fill` is False.

    Attributes:
        machine: \REGISTRY\MACHINE.
        users: the user hives, in order of `sids`.
        sids: SIDs of the users.
        apps: the application hives.
        links: (path of the link, key it leads to).
    """

    def __init__(self, options: SimulationOptions, random: Random, *, fill: bool = True) -> None:
        self._random = random
        self.namer = Namer(options, random)
        self.root = Key(None, "REGISTRY")
        for path in SKELETON:
            self.at(path)
        self.machine = self.at("\\REGISTRY\\MACHINE")
        domain = "-".join(str(random.getrandbits(30)) for _ in range(3))
        self.sids = [f"S-1-5-21-{domain}-{1000 + user}" for user in range(1, options.users + 1)]
        self.links: list[tuple[str, Key]] = [(_CURRENT, self.at(_CONTROL_SET))]
        self.users = [self._user(sid) for sid in self.sids]
        self.apps = [self.at(f"\\REGISTRY\\A\\{make_guid(random).lower()}") for _ in range(options.app_hives)]
        for app in self.apps:
            app.add("LocalState").add("Settings")
        if fill:
            self._fill(options.keys)

    def at(self, path: str) -> Key:
        """Return the key of a native path; it is made if it does not exist."""
        key = self.root
        for name in path.split("\\")[2:]:
            key = key.add(name)
        return key

    def new_value(self, name: str | None = None) -> Value:
        """Return a value with random type and data, of a random name unless one is given."""
        type_, data = self.new_data()
        return Value(self.namer.value() if name is None else name, type_, data)

    def new_data(self) -> tuple[int, bytes]:
        """Return a random type, and data that mostly fits it."""
        random = self._random
        draw = random.random()
        if draw < 0.5:
            return _DWORD, random.getrandbits(32 if draw < 0.1 else 4).to_bytes(4, "little")
        if draw < 0.82:
            text = _TEXTS[int(draw * 1e6) % len(_TEXTS)].encode("utf-16-le")
            return (_SZ if draw < 0.72 else _EXPAND_SZ), text + (b"\0\0" if draw < 0.8 else b"")
        if draw < 0.88:
            return _QWORD, random.getrandbits(64).to_bytes(8, "little")
        if draw < 0.92:
            return _MULTI_SZ, "alpha\0beta\0\0".encode("utf-16-le")
        if draw < 0.97:
            return _BINARY, random.randbytes(int(random.random() * 120))
        if draw < 0.975:
            return _BINARY, random.randbytes(int(random.random() * 6000))  # some exceed the capture limit
        if draw < 0.99:
            return _NONE, b""
        return (int(draw * 1e6) & 0xFFFF0000) | 0x7FF, b"\x01\0\x02"  # any number may be a type

    def _user(self, sid: str) -> Key:
        hive = self.at(f"\\REGISTRY\\USER\\{sid}")
        for path in ("Software\\Microsoft\\Windows\\CurrentVersion\\Explorer", "Control Panel\\Desktop",
                      "Environment",
                      "Software\\Microsoft\\Windows\\CurrentVersion\\Run"):  # fmt: skip
            self.at(f"{hive.path}\\{path}")
        classes = self.at(f"{hive.path}_Classes")
        self.at(f"{classes.path}\\Local Settings\\MuiCache")
        self.at(f"{classes.path}\\VirtualStore\\MACHINE\\SOFTWARE")
        self.at(f"{classes.path}\\WOW6432Node\\CLSID")
        self.links.append((f"{hive.path}\\Software\\Classes", classes))
        return hive

    def _fill(self, count: int) -> None:
        """Add keys below the deeper ones, and values to all."""
        random, keys, stack = self._random, [], [self.root]
        while stack:
            key = stack.pop()
            stack += key.children
            if key.depth >= 3:
                keys.append(key)
        while len(keys) < count:
            parent = keys[int(random.random() * len(keys))]
            if parent.depth < 13 and len(parent.children) < 40:
                child = parent.add(self.namer.key())
                if not child.children and child is not keys[-1]:
                    keys.append(child)
        for key in keys:
            names = set()
            for _ in range(int(random.random() ** 2 * 12)):
                value = self.new_value()
                if (folded := fold_name(value.name)) not in names:
                    names.add(folded)
                    key.values.append(value)


class AddressPool:
    """Kernel addresses: new ones, and those of closed objects again."""

    def __init__(self, pointer_size: int, reuse: float, random: Random) -> None:
        self._random, self._reuse = random, reuse
        self._next = 0xFFFF_A40C_1A20_0AA0 if pointer_size == 8 else 0x8A20_0AA0
        self._step = 0x1B0 if pointer_size == 8 else 0x40
        self._free: list[int] = []
        self._last_life: dict[int, int] = {}
        self.previous: list[int] = []  # life -> the life before it at its address, -1 for none

    def take(self) -> tuple[int, int]:
        """Return an address and the number of the lifetime that begins there."""
        free = self._free
        if free and self._random.random() < self._reuse:
            address = free.pop()
        else:
            address = self._next
            self._next += self._step
        life = len(self.previous)
        self.previous.append(self._last_life.get(address, -1))
        self._last_life[address] = life
        return address, life

    def give_back(self, address: int) -> None:
        """Release the address of a closed object."""
        self._free.append(address)
