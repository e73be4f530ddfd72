"""Transaction logs of hives: replayed in their order, stale ones skipped, and left out where the hive does not read after it."""

import lzma
from pathlib import Path

import hive_writer
import pytest
from hive_writer import Key

from tracer.baseline.hive import open_hive
from tracer.baseline.image import BASE_BLOCK, BaseBlock
from tracer.baseline.logs import LogFile, marvin32

# Keys of each real hive alone, and with its logs; which logs hold something new.
# sources: libregf before; regipy, given one log at a time in this order, after.
REAL = {
    "transactions_NTUSER.DAT": (2590, 3105, ["transactions_ntuser.dat.log1"]),
    "UsrClass.dat": (6205, 6238, ["UsrClass.dat.LOG1", "UsrClass.dat.LOG2"]),
    "SYSTEM_B": (33_123, 35_595, ["SYSTEM_B.LOG1", "SYSTEM_B.LOG2"]),
}


def unpack(corpus: Path, folder: Path, name: str) -> Path:
    for path in (corpus / "hives").iterdir():
        if path.name.lower().startswith(name.lower()):
            (folder / path.stem).write_bytes(lzma.decompress(path.read_bytes()))
    return folder / name


LEAVES_FILES_OPEN = pytest.mark.filterwarnings(  # regipy does
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_logs_bring_the_keys_that_others_find(corpus, tmp_path, name):
    before, after, logs = REAL[name]
    path = unpack(corpus, tmp_path, name)
    whole = path.read_bytes()
    hive = open_hive(path)
    assert (hive.logs, len(hive.keys)) == (logs, after)
    assert path.read_bytes() == whole
    assert not any(name.startswith("hive_bad") for name, _, _ in hive.found)
    for log in tmp_path.iterdir():
        if log != path:
            log.unlink()
    alone = open_hive(path)
    assert len(alone.keys) == before
    assert alone.found["hive_dirty"] == 1


@LEAVES_FILES_OPEN
@pytest.mark.slow
def test_a_replayed_hive_is_the_one_that_regipy_makes_of_one_log(corpus, tmp_path):
    apply_transaction_logs = pytest.importorskip("regipy.recovery").apply_transaction_logs
    path = unpack(corpus, tmp_path, "transactions_NTUSER.DAT")
    target = tmp_path / "theirs"
    apply_transaction_logs(
        str(path), str(tmp_path / "transactions_ntuser.dat.log1"), restored_hive_path=str(target)
    )
    hive = open_hive(path)
    theirs = target.read_bytes()[BASE_BLOCK:]
    ours = hive._cells.bins
    assert len(ours) <= len(theirs)
    assert ours == theirs[: len(ours)]


def dirty(path: Path, before: Key, *, sequence: int = 7) -> bytes:
    whole = hive_writer.hive(before, sequences=(sequence + 1, sequence))
    path.write_bytes(whole)
    return whole


def names(path: Path) -> list[str]:
    return open_hive(path).keys.names[1:]


def tree(*keys: str) -> Key:
    return Key("R", keys=[Key(name) for name in keys])


def test_two_logs_are_replayed_in_the_order_of_their_numbers(tmp_path):
    path = tmp_path / "SYSTEM"
    first, second, third = (hive_writer.hive(tree(*"abc"[:count])) for count in (1, 2, 3))
    dirty(path, tree("a"))
    (tmp_path / "system.LOG1").write_bytes(hive_writer.log_of(second, third, 9))
    (tmp_path / "SYSTEM.log2").write_bytes(hive_writer.log_of(first, second, 7, steps=2))
    hive = open_hive(path)
    assert hive.logs == ["SYSTEM.log2", "system.LOG1"]
    assert hive.keys.names[1:] == ["a", "b", "c"]
    assert not list(hive.found)


def test_a_clean_hive_needs_no_log(tmp_path):
    path = tmp_path / "SYSTEM"
    path.write_bytes(hive_writer.hive(tree("a"), sequences=(7, 7)))
    log = hive_writer.log_of(hive_writer.hive(tree("a")), hive_writer.hive(tree("a", "b")), 7)
    (tmp_path / "SYSTEM.LOG1").write_bytes(log)
    assert names(path) == ["a"]


def test_a_stale_log_is_skipped_and_a_gap_is_not_bridged(tmp_path):
    path = tmp_path / "SYSTEM"
    first, second, third = (hive_writer.hive(tree(*"abc"[:count])) for count in (1, 2, 3))
    dirty(path, tree("a"))
    (tmp_path / "SYSTEM.LOG1").write_bytes(hive_writer.log_of(second, third, 6))
    hive = open_hive(path)
    assert hive.keys.names[1:] == ["a"]
    assert [(name, count) for name, count, _ in hive.found] == [("hive_dirty", 1), ("hive_log_stale", 1)]
    (tmp_path / "SYSTEM.LOG1").write_bytes(hive_writer.log_of(first, second, 7))
    (tmp_path / "SYSTEM.LOG2").write_bytes(hive_writer.log_of(second, third, 9))
    hive = open_hive(path)
    assert hive.keys.names[1:] == ["a", "b"]
    assert [(name, count) for name, count, _ in hive.found] == [("hive_log_dropped", 1)]


def test_a_torn_entry_ends_its_log(tmp_path):
    path = tmp_path / "SYSTEM"
    first, second = (hive_writer.hive(tree(*"ab"[:count])) for count in (1, 2))
    dirty(path, tree("a"))
    log = bytearray(hive_writer.log_of(first, second, 7))
    log[-600] ^= 1
    (tmp_path / "SYSTEM.LOG1").write_bytes(log)
    assert not list(LogFile("", bytes(log)).entries())
    assert names(path) == ["a"]


def test_a_log_after_which_the_hive_does_not_read_is_left_out(tmp_path):
    path = tmp_path / "SYSTEM"
    first = dirty(path, tree("a", "b"))
    broken = first.replace(b"nk", b"xx")
    (tmp_path / "SYSTEM.LOG1").write_bytes(hive_writer.log_of(first, broken, 7))
    hive = open_hive(path)
    assert (hive.logs, hive.keys.names[1:]) == ([], ["a", "b"])
    assert hive.found["hive_log_dropped"] == 1


def test_entries_that_point_out_of_the_hive_are_not_applied(tmp_path):
    path = tmp_path / "SYSTEM"
    first = dirty(path, tree("a"))
    second = hive_writer.hive(tree("a", "b"))
    log = bytearray(hive_writer.log_of(first, second, 7))
    at = 512 + 40
    log[at : at + 4] = b"\xf0\xff\xff\x7f"
    body = bytes(log[512:])
    log[512 + 24 : 512 + 32] = marvin32(body[40:]).to_bytes(8, "little")
    log[512 + 32 : 512 + 40] = marvin32(bytes(log[512 : 512 + 32])).to_bytes(8, "little")
    (tmp_path / "SYSTEM.LOG1").write_bytes(log)
    assert len(list(LogFile("", bytes(log)).entries())) == 1
    assert names(path) == ["a"]


def test_the_checksum_of_a_real_base_block_fits(corpus):
    for name in ("BCD", "NTUSER.DAT", "SAM"):
        block = lzma.decompress((corpus / "hives" / f"{name}.xz").read_bytes())[:BASE_BLOCK]
        base = BaseBlock.of(block)
        assert base is not None
        assert base.is_sound
        assert base.is_clean
