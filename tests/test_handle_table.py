"""The handle table: parsed from buffers as the kernel writes them, by a stand-in for the kernel."""

import itertools
import struct
import sys
from contextlib import contextmanager

import pytest

from tracer.errors import PlatformError, TargetError
from tracer.ingest.seed import read_seed
from tracer.windows.handle_table import HandleTable, handle_layout, read_handle_table, write_seed
from tracer.windows.system_calls import (
    BUFFER_OVERFLOW,
    BUFFER_TOO_SMALL,
    INFO_LENGTH_MISMATCH,
    SUCCESS,
    real_kernel,
)

OURS, KEY, FILE = 4321, 44, 37
SOFTWARE = "\\REGISTRY\\MACHINE\\SOFTWARE"
ACCESS_DENIED = 0xC0000022
KEY_DELETED = 0xC000017C
windows = pytest.mark.skipif(sys.platform != "win32", reason="calls Windows itself")


class FakeKernel:
    """A kernel with a handle table: processes hold handles to objects; names belong to objects."""

    def __init__(self, pointer_size: int = 8) -> None:
        self.pid, self.pointer_size = OURS, pointer_size
        self.high = 0xFFFF_B189_0000_0000 if pointer_size == 8 else 0x9000_0000
        self.handles: dict[tuple[int, int], tuple[int, int]] = {}  # (pid, value) -> (object, type)
        self.names: dict[int, str | None] = {}
        self.refusing: set[int] = set()
        self.privileged = True
        self.shows_addresses = True
        self.status = SUCCESS
        self.asked_sizes: list[int] = []
        self.opened: list[int] = []
        self.queried: list[int] = []
        self.fresh = itertools.count(0x10000, 4)
        self.after_table = lambda: None  # what happens in the system after the first table was read
        self.is_open: set[int] = set()
        self.privilege_is_on = False

    def hold(self, pid: int, value: int, object_: int, name: str | None = None, type_: int = KEY) -> None:
        self.handles[pid, value] = (self.high + object_, type_)
        if name is not None:
            self.names[self.high + object_] = name

    def table(self) -> bytes:
        pieces = [struct.pack("<QQ" if self.pointer_size == 8 else "<II", len(self.handles), 0)]
        entry = struct.Struct("<QQQIHHII" if self.pointer_size == 8 else "<IIIIHHII")
        for (pid, value), (object_, type_) in self.handles.items():
            shown = object_ if self.shows_addresses else 0
            pieces.append(entry.pack(shown, pid, value, 0x20019, 0, type_, 0, 0))
        return b"".join(pieces)

    @contextmanager
    def debug_privilege(self):
        self.privilege_is_on = self.privileged
        yield self.privileged
        self.privilege_is_on = False

    @contextmanager
    def own_key(self):
        self.hold(OURS, 0x88, 0x1000, SOFTWARE)
        yield 0x88 | 1
        del self.handles[OURS, 0x88]

    def query_handles(self, size: int) -> tuple[int, bytes, int]:
        self.asked_sizes.append(size)
        raw = self.table()
        if self.status != SUCCESS:
            return self.status, b"", 0
        if size < len(raw):
            return INFO_LENGTH_MISMATCH, b"", len(raw)
        self.after_table()
        return SUCCESS, raw.ljust(size, b"\0"), len(raw)

    def open_process(self, pid: int) -> int | None:
        self.opened.append(pid)
        if pid in self.refusing:
            return None
        handle = next(self.fresh)
        self.is_open.add(handle)
        self.handles[OURS, handle] = (pid, 7)
        return handle

    def duplicate(self, process: int, value: int) -> int | None:
        pid, _ = self.handles[OURS, process]
        if (pid, value) not in self.handles:
            return None
        handle = next(self.fresh)
        self.is_open.add(handle)
        self.handles[OURS, handle] = self.handles[pid, value]
        return handle

    def query_key_name(self, key: int, size: int) -> tuple[int, bytes, int]:
        object_, type_ = self.handles[OURS, key]
        assert type_ == KEY or object_ not in self.names
        self.queried.append(object_)
        name = self.names.get(object_)
        if name is None:
            return KEY_DELETED, b"", 0
        text = name.encode("utf-16-le", "surrogatepass")
        raw = struct.pack("<I", len(text)) + text
        if size < len(raw):
            return (BUFFER_TOO_SMALL if size < 4 else BUFFER_OVERFLOW), b"", len(raw)
        return SUCCESS, raw.ljust(size, b"\0"), len(raw)

    def close(self, handle: int) -> None:
        self.is_open.remove(handle)
        del self.handles[OURS, handle]


@pytest.fixture(params=[8, 4], ids=["64-bit", "32-bit"])
def kernel(request) -> FakeKernel:
    fake = FakeKernel(request.param)
    fake.hold(8, 0x4, 0x2000, SOFTWARE + "\\Vendor")
    fake.hold(8, 0x8, 0x3000, None, FILE)
    fake.hold(12, 0x4, 0x4000, "\\REGISTRY\\USER\\.DEFAULT")
    fake.hold(12, 0x8, 0x2000)  # the same object, by a handle that was duplicated
    return fake


def as_dict(table: HandleTable) -> dict[int, str]:
    return dict(zip(table.addresses, table.paths, strict=True))


def test_an_entry_is_40_bytes_and_28_where_pointers_are_short():
    assert (handle_layout(8).itemsize, handle_layout(4).itemsize) == (40, 28)


def test_every_open_key_object_is_named_once_by_its_address(kernel):
    table = read_handle_table(kernel)
    assert as_dict(table) == {
        kernel.high + 0x1000: SOFTWARE,
        kernel.high + 0x2000: SOFTWARE + "\\Vendor",
        kernel.high + 0x4000: "\\REGISTRY\\USER\\.DEFAULT",
    }
    assert len(kernel.queried) == 3
    assert (table.handles, table.unnamed, table.refused_processes, table.hidden, table.moved) == (
        4,
        0,
        0,
        0,
        0,
    )


def test_nothing_of_ours_stays_open_and_the_privilege_is_given_back(kernel):
    table = read_handle_table(kernel)
    assert table.privileged
    assert kernel.is_open == set()
    assert not kernel.privilege_is_on


def test_handles_are_closed_when_reading_fails_half_way(kernel):
    kernel.names[kernel.high + 0x4000] = "x" * 10
    calls = itertools.count()
    ask = kernel.query_key_name

    def fails(key, size):
        if next(calls) == 1:
            raise OSError("the call was interrupted")
        return ask(key, size)

    kernel.query_key_name = fails
    with pytest.raises(OSError, match="interrupted"):
        read_handle_table(kernel)
    assert kernel.is_open == set()


def test_processes_that_refuse_are_counted_and_their_objects_named_by_another_holder(kernel):
    kernel.refusing = {8}
    table = read_handle_table(kernel)
    assert table.refused_processes == 1
    assert kernel.high + 0x2000 in table.addresses
    kernel.refusing = {8, 12}
    table = read_handle_table(kernel)
    assert (table.refused_processes, table.unnamed, len(table.addresses)) == (2, 2, 1)


def test_processes_without_keys_are_left_alone(kernel):
    kernel.hold(99, 0x4, 0x9000, None, FILE)
    read_handle_table(kernel)
    assert set(kernel.opened) == {8, 12, OURS}


def test_a_handle_that_was_given_to_another_key_meanwhile_names_that_key_and_no_other(kernel):
    def reused():
        kernel.hold(8, 0x4, 0x7000, "\\REGISTRY\\MACHINE\\SYSTEM")
        kernel.after_table = lambda: None

    del kernel.handles[12, 0x8]
    kernel.after_table = reused
    table = read_handle_table(kernel)
    assert as_dict(table)[kernel.high + 0x7000] == "\\REGISTRY\\MACHINE\\SYSTEM"
    assert kernel.high + 0x2000 not in table.addresses
    assert (table.moved, table.unnamed) == (1, 1)


def test_a_handle_that_was_given_to_a_file_meanwhile_names_nothing(kernel):
    def reused():
        kernel.handles[12, 0x4] = (kernel.high + 0x8000, FILE)

    kernel.after_table = reused
    table = read_handle_table(kernel)
    assert kernel.high + 0x8000 not in table.addresses
    assert kernel.high + 0x4000 not in table.addresses
    assert table.unnamed == 1


def test_a_handle_that_was_closed_meanwhile_is_counted_as_unnamed(kernel):
    kernel.after_table = lambda: kernel.handles.pop((12, 0x4), None)
    table = read_handle_table(kernel)
    assert kernel.high + 0x4000 not in table.addresses
    assert table.unnamed == 1


def test_a_deleted_key_has_no_name(kernel):
    kernel.hold(12, 0xC, 0x5000)
    table = read_handle_table(kernel)
    assert kernel.high + 0x5000 not in table.addresses
    assert table.unnamed == 1


def test_the_buffer_grows_until_the_table_fits(kernel):
    for number in range(40_000):
        kernel.hold(20, 4 * number, 0x10_0000 + number, None, FILE)
    kernel.hold(20, 4_000_000, 0x6000, SOFTWARE + "\\Last")
    table = read_handle_table(kernel)
    assert kernel.high + 0x6000 in table.addresses
    first = kernel.asked_sizes.index(max(kernel.asked_sizes))
    assert 0 < first < 6
    assert kernel.asked_sizes[:first] == sorted(kernel.asked_sizes[:first])


def test_a_table_that_never_fits_is_given_up(kernel):
    kernel.query_handles = lambda size: (INFO_LENGTH_MISMATCH, b"", size * 2)
    with pytest.raises(PlatformError, match="impossible size of its handle table"):
        read_handle_table(kernel)


def test_a_count_that_the_buffer_cannot_hold_reads_no_byte_beyond_it(kernel):
    honest = kernel.query_handles

    def lies(size):
        status, raw, wanted = honest(size)
        pointer = kernel.pointer_size
        return status, (b"\xff" * (pointer - 1) + b"\x7f" + raw[pointer:wanted]), wanted

    kernel.query_handles = lies
    assert len(read_handle_table(kernel).addresses) == 3


def test_a_refusal_is_one_sentence_with_the_status(kernel):
    kernel.status = ACCESS_DENIED
    with pytest.raises(PlatformError, match="0xC0000022") as caught:
        read_handle_table(kernel)
    assert "\n" not in str(caught.value)
    assert not kernel.is_open


def test_addresses_that_the_kernel_hides_are_counted_and_name_nothing(kernel):
    kernel.shows_addresses = kernel.privileged = False
    table = read_handle_table(kernel)
    assert (table.addresses, table.hidden, table.handles, table.unnamed) == ([], 4, 4, 0)
    assert not table.privileged
    assert kernel.opened == []


def test_a_table_without_our_own_key_is_refused(kernel):
    kernel.pid = 1
    with pytest.raises(PlatformError, match="own handle"):
        read_handle_table(kernel)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("\\REGISTRY\\MACHINE\\a\0b", "\\REGISTRY\\MACHINE\\a<U+0000>b"),
        ("\\REGISTRY\\MACHINE\\\ud800", "\\REGISTRY\\MACHINE\\<U+D800>"),
        ("\\REGISTRY\\MACHINE\\<U+0041>", "\\REGISTRY\\MACHINE\\<U+003C>U+0041>"),
        ("\\REGISTRY\\A\\" + "é" * 32_000, "\\REGISTRY\\A\\" + "é" * 32_000),
    ],
    ids=["nul", "surrogate", "escape", "longest"],
)
def test_names_are_escaped_by_the_rule_and_as_long_as_they_come(kernel, name, path):
    kernel.hold(12, 0x10, 0x6000, name)
    assert as_dict(read_handle_table(kernel))[kernel.high + 0x6000] == path


def test_a_seed_reads_back_as_it_was_written(kernel, tmp_path):
    kernel.hold(12, 0x10, 0x6000, '\\REGISTRY\\USER\\a\0,"\nb')
    table = read_handle_table(kernel)
    write_seed(table, tmp_path / "seed.parquet")
    assert read_seed(tmp_path / "seed.parquet") == (table.addresses, table.paths)
    assert all(address >= 0 for address in table.addresses)


def test_an_empty_seed_can_be_written(tmp_path):
    write_seed(HandleTable([], [], 0, 0.0, 0, 0, 0), tmp_path / "seed.parquet")
    assert read_seed(tmp_path / "seed.parquet") == ([], [])


def test_a_seed_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(TargetError, match="seed"):
        write_seed(HandleTable([], [], 0, 0.0, 0, 0, 0), tmp_path / "missing" / "seed.parquet")


@pytest.mark.skipif(sys.platform == "win32", reason="this is Windows")
def test_other_systems_say_that_windows_is_needed():
    with pytest.raises(PlatformError, match="needs Windows") as caught:
        read_handle_table()
    assert caught.value.exit_code == 5


@windows
def test_the_real_calls_show_and_name_our_own_key():
    kernel = real_kernel()
    with kernel.debug_privilege(), kernel.own_key() as own:
        process = kernel.open_process(kernel.pid)
        assert process is not None
        ours = kernel.duplicate(process, own)
        assert ours not in (None, own)
        status, raw, _ = kernel.query_key_name(ours, 1024)
        assert status == SUCCESS
        length = int.from_bytes(raw[:4], "little")
        assert raw[4 : 4 + length].decode("utf-16-le").upper() == SOFTWARE
        assert kernel.query_key_name(ours, 4)[0] in (BUFFER_OVERFLOW, BUFFER_TOO_SMALL)
        kernel.close(ours)
        assert kernel.duplicate(process, 0x7FFFFFF0) is None
        kernel.close(process)
    assert kernel.open_process(0x7FFFFFF0) is None


@windows
def test_the_real_table_finds_keys_whether_or_not_it_tells_their_addresses():
    table = read_handle_table()
    assert table.handles > 0
    # Wine shows no addresses, Windows does.
    assert table.hidden == table.handles or SOFTWARE in {path.upper() for path in table.paths}
