"""Links between two operations: which rules say that one may be a cause of the other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from analysis.causes.rules import FEW_BYTES, PART_BYTES, RECENT_READS, weigh
from tracer.registry.text import fold_name

__all__ = [
    "MISSING",
    "READS",
    "WRITES",
    "Link",
    "Operation",
    "content_rule",
    "content_to_find",
    "links_to_reads",
    "rank",
]

READS = ("QueryValueKey", "EnumerateValueKey")
WRITES = ("SetValueKey", "DeleteValueKey", "DeleteKey")
MISSING = 0xC0000034  # STATUS_OBJECT_NAME_NOT_FOUND (ntstatus.h): the value was looked for, and was not there
_TEXTS = (
    1,
    2,
    6,
    7,
)  # REG_SZ, REG_EXPAND_SZ, REG_LINK, REG_MULTI_SZ end with NULs that say nothing (winnt.h)
_LONGEST = 16_384  # bytes of written data that are looked for in reads outside of the window


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation on a value, or the delete of a key.

    Attributes:
        sequence: its place in the capture.
        time_ns: UTC nanoseconds.
        process_id, thread_id: who; None is unknown.
        operation: its name.
        key_id: the key (`keys.same_as`); None is unknown.
        value_name: None of the delete of a key.
        status: NTSTATUS; None is unknown.
        data_type, data_size: of the data.
        data: the captured bytes; None where nothing was captured.
        opened: sequence of the open of its handle; None is unknown.
    """

    sequence: int
    time_ns: int
    process_id: int | None
    thread_id: int | None
    operation: str
    key_id: int | None
    value_name: str | None
    status: int | None
    data_type: int | None
    data_size: int | None
    data: bytes | None
    opened: int | None = None

    @property
    def of_value(self) -> tuple[int | None, str | None]:
        """The key and the folded name of the value."""
        return self.key_id, None if self.value_name is None else fold_name(self.value_name)

    @property
    def is_cut(self) -> bool:
        """Whether fewer bytes were captured than there are."""
        return self.data is not None and self.data_size is not None and len(self.data) < self.data_size


@dataclass(frozen=True, slots=True)
class Link:
    """An operation that may be a cause, or an effect, of another.

    Attributes:
        operation: the operation.
        rules: the names of the rules that fit (`analysis.causes.rules.RULES`).
        times: how many such operations there are; this one is the nearest.
    """

    operation: Operation
    rules: tuple[str, ...]
    times: int = 1

    @property
    def weight(self) -> int:
        """The sum of the weights of the rules."""
        return weigh(self.rules)


def content_rule(read: Operation, write: Operation) -> str | None:
    """Return the rule by which what was read is, or is in, what was written; None: neither, or unknown.

    The NULs at the end of texts do not count. Of data that was not captured as a whole the captured bytes are compared, and
    the sizes.
    """
    if write.operation != "SetValueKey" or not read.data or not write.data or read.status == MISSING:
        return None
    if read.is_cut or write.is_cut:
        shorter = min(len(read.data), len(write.data))
        alike = read.data_size == write.data_size and read.data[:shorter] == write.data[:shorter]
        return "same data" if alike and shorter >= FEW_BYTES else None
    got, put = _bare(read), _bare(write)
    if not got:
        return None
    if got == put:
        return "same data" if len(got) >= FEW_BYTES else "same short data"
    if len(got) < PART_BYTES or not any(got):
        return None
    step = 2 if read.data_type in _TEXTS and write.data_type in _TEXTS else 1
    at = put.find(got)
    while at >= 0 and at % step:
        at = put.find(got, at + 1)
    return "part of data" if at >= 0 else None


def content_to_find(write: Operation) -> bytes | None:
    """Return the bytes in which data of earlier reads is looked for; None: too few, too many, or unknown."""
    if write.operation != "SetValueKey" or not write.data or write.is_cut:
        return None
    bare = _bare(write)
    return bare if FEW_BYTES <= len(bare) <= _LONGEST else None


def links_to_reads(
    write: Operation, reads: Sequence[Operation], *, within_ns: int, same_data: Sequence[Operation] = ()
) -> list[Link]:
    """Return what may have led to a write, the heaviest first, one link for each value.

    Args:
        write: the write.
        reads: reads of values of the same thread before it, in order; the nearest are all among them.
        within_ns: how far back a recent read may be, nanoseconds.
        same_data: further reads of the same process before it; they count only by their data.
    """
    nearest: dict[tuple[int | None, str | None], Link] = {}
    counted: set[int] = set()
    recent = {one.sequence for one in reads[-RECENT_READS:] if one.time_ns >= write.time_ns - within_ns}
    for read in reads:
        rules = []
        if write.opened is not None and read.sequence > write.opened:
            rules.append("open to write")
        if read.sequence in recent:
            rules.append("recent read")
        if read.of_value == write.of_value and (rules or read.time_ns >= write.time_ns - within_ns):
            rules.append("same value")
        if not rules:
            continue
        _note(nearest, read, rules, content_rule(read, write))
        counted.add(read.sequence)
    for read in same_data:
        rule = content_rule(read, write)
        if read.sequence not in counted and rule in ("same data", "part of data"):
            _note(nearest, read, [], rule)
    return rank(nearest.values(), before=True)


def _note(
    nearest: dict[tuple[int | None, str | None], Link], read: Operation, rules: list[str], content: str | None
) -> None:
    """Keep a read as the link of its value where it weighs as much as the one before; count it in any case."""
    if content is not None:
        rules.append(content)
    link = Link(read, tuple(rules))
    known = nearest.get(read.of_value)
    if known is None:
        nearest[read.of_value] = link
        return
    times = known.times + 1
    later = (link.weight, read.sequence) >= (known.weight, known.operation.sequence)
    nearest[read.of_value] = replace(link if later else known, times=times)


def rank(links: Iterable[Link], *, before: bool) -> list[Link]:
    """Return links, the heaviest first; of equal ones the nearest: the latest `before`, or the first after."""
    sign = -1 if before else 1
    return sorted(links, key=lambda link: (-link.weight, sign * link.operation.sequence))


def _bare(operation: Operation) -> bytes:
    """Return the data without the NULs at the end of a text."""
    data = operation.data or b""
    if operation.data_type not in _TEXTS:
        return data
    end = len(data)
    while end >= 2 and end % 2 == 0 and data[end - 2 : end] == b"\0\0":
        end -= 2
    return data[:end]
