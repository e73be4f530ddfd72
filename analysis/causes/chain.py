"""The chain of causes and effects of a write: reads before it and who wrote those, readers after it and what they wrote next."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from analysis.causes.links import MISSING, Link, Operation, content_rule, links_to_reads, rank

__all__ = ["Log", "Node", "Reach", "make_chain", "walk"]


class Log(Protocol):
    """What a chain asks of a capture; `analysis.causes.event_log.EventLog` says what each returns."""

    def operations(self, sequences: Sequence[int]) -> dict[int, Operation]: ...  # noqa: D102
    def opens(self, writes: Sequence[Operation]) -> dict[int, int]: ...  # noqa: D102
    def reads_before(  # noqa: D102
        self, writes: Sequence[Operation], *, within_ns: int
    ) -> list[list[Operation]]: ...
    def same_data(self, writes: Sequence[Operation]) -> list[list[Operation]]: ...  # noqa: D102
    def last_writes(self, reads: Sequence[Operation]) -> list[int | None]: ...  # noqa: D102
    def next_writes(  # noqa: D102
        self, writes: Sequence[Operation], values: Sequence[tuple[int | None, str | None]]
    ) -> list[int | None]: ...
    def readers(  # noqa: D102
        self,
        writes: Sequence[Operation],
        values: Sequence[tuple[int | None, str | None]],
        ends: Sequence[int | None],
    ) -> list[list[tuple[Operation, int]]]: ...
    def writes_after(  # noqa: D102
        self, reads: Sequence[Operation], *, within_ns: int
    ) -> list[list[Operation]]: ...


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a chain goes.

    Attributes:
        depth: how many writes away from the one that is asked about.
        within_ns: how far a recent read is before a write, and a write after a read; nanoseconds.
        most: links of one kind at one operation: the heaviest.
    """

    depth: int
    within_ns: int
    most: int


@dataclass(slots=True)
class Node:
    """An operation in the chain, and how it hangs on the one above.

    Attributes:
        link: the operation, and the rules that join it to the one above.
        direction: itself, cause or effect.
        depth: how many writes away.
        said: what else is known of the link: no write (none of it is in the capture before), other data (the last write wrote
            something else), absent (it was deleted before, or not there), shown (it stands elsewhere in the chain).
        left_out: how many further links of this operation there are, that weigh less.
        below: the operations that hang on it, the heaviest first.
    """

    link: Link
    direction: str
    depth: int
    said: str | None = None
    left_out: int = 0
    below: "list[Node]" = field(default_factory=list)


def walk(node: Node) -> Iterator[tuple[Node, Node | None]]:
    """Yield each node of a tree with the one above it, from the top."""
    stack: list[tuple[Node, Node | None]] = [(node, None)]
    while stack:
        one, above = stack.pop()
        yield one, above
        stack += [(child, one) for child in reversed(one.below)]


def make_chain(log: Log, write: Operation, value: tuple[int | None, str | None], reach: Reach) -> Node:
    """Return the chain of a write; the operations are fetched level by level.

    Args:
        log: the capture.
        write: the write or delete that is asked about.
        value: the key and the folded name of the value; it may be gone with its key.
        reach: how far the chain goes.
    """
    root = Node(Link(_opened(log, [write])[0], ()), "itself", 0)
    _add_causes(log, root, reach)
    _add_effects(log, root, value, reach)
    return root


def _add_causes(log: Log, root: Node, reach: Reach) -> None:
    seen = {root.link.operation.sequence}
    level = [root]
    for depth in range(reach.depth):
        if not level:
            return
        writes = _opened(log, [node.link.operation for node in level])
        before = log.reads_before(writes, within_ns=reach.within_ns)
        alike = log.same_data(writes)
        reads = []
        for node, write, listed, same in zip(level, writes, before, alike, strict=True):
            links = links_to_reads(write, listed, within_ns=reach.within_ns, same_data=same)
            node.below += [Node(link, "cause", depth) for link in links[: reach.most]]
            node.left_out += len(links[reach.most :])
            reads += node.below
        level = _writes_of(log, reads, depth + 1, seen)


def _writes_of(log: Log, reads: Sequence[Node], depth: int, seen: set[int]) -> list[Node]:
    """Hang the last write of each value that was read on the read, and return those that are new."""
    sequences = log.last_writes([node.link.operation for node in reads])
    writes = log.operations([one for one in sequences if one is not None])
    new = []
    for node, sequence in zip(reads, sequences, strict=True):
        if sequence is None:
            node.said = "no write"
            continue
        read, write = node.link.operation, writes[sequence]
        rules = ["last write"]
        agrees = _agrees(read, write)
        if agrees:
            rules.append("as read")
        child = Node(Link(write, tuple(rules)), "cause", depth, None if agrees is not False else "other data")
        node.below.append(child)
        if sequence in seen:
            child.said = "shown"
        else:
            seen.add(sequence)
            new.append(child)
    return new


def _agrees(read: Operation, write: Operation) -> bool | None:
    """Tell whether what was read is what the last write left; None: nobody knows."""
    if read.status == MISSING or write.operation != "SetValueKey":
        return read.status == MISSING and write.operation != "SetValueKey"
    if read.data_size == 0 and write.data_size == 0:
        return True
    if read.data is None or write.data is None:
        return None if read.data_size is None or read.data_size == write.data_size else False
    shorter = min(len(read.data), len(write.data))
    if read.data[:shorter] != write.data[:shorter]:
        return False
    whole = not (read.is_cut or write.is_cut)
    return len(read.data) == len(write.data) if whole else None if read.data_size != write.data_size else True


def _add_effects(log: Log, root: Node, value: tuple[int | None, str | None], reach: Reach) -> None:
    seen = {root.link.operation.sequence}
    level = [root]
    values = [value]
    for depth in range(reach.depth):
        if not level:
            return
        writes = [node.link.operation for node in level]
        found = log.readers(writes, values, log.next_writes(writes, values))
        readers = []
        for node, listed in zip(level, found, strict=True):
            links = rank((_reader(node.link.operation, read, times) for read, times in listed), before=False)
            own = [Node(link, "effect", depth) for link in links[: reach.most]]
            node.below += own
            node.left_out += len(links[reach.most :])
            readers += own
        level = _next_writes(log, readers, depth + 1, seen, reach)
        values = [node.link.operation.of_value for node in level]


def _reader(write: Operation, read: Operation, times: int) -> Link:
    rules = ["read before the next write"]
    if _agrees(read, write):
        rules.append("as read")
    return Link(read, tuple(rules), times)


def _next_writes(log: Log, readers: Sequence[Node], depth: int, seen: set[int], reach: Reach) -> list[Node]:
    """Hang on each reader what its thread wrote next, and return what is new."""
    found = log.writes_after([node.link.operation for node in readers], within_ns=reach.within_ns)
    new = []
    for node, listed in zip(readers, found, strict=True):
        read = node.link.operation
        links = []
        for write in listed:
            content = content_rule(read, write)
            links.append(Link(write, ("write after read", *([content] if content else []))))
        for link in rank(links, before=False)[: reach.most]:
            child = Node(link, "effect", depth)
            node.below.append(child)
            if link.operation.sequence in seen:
                child.said = "shown"
            else:
                seen.add(link.operation.sequence)
                new.append(child)
    return new


def _opened(log: Log, writes: list[Operation]) -> list[Operation]:
    opens = log.opens(writes)
    return [replace(one, opened=opens.get(one.sequence)) for one in writes]
