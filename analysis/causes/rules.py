"""The rules of a chain of causes: what each says of two operations, and what it weighs.

A rule is evidence, no proof: two operations that fit it may have nothing to do with each other. docs/causes.md has the
table in words; a test compares.
"""

from dataclasses import dataclass

__all__ = ["FEW_BYTES", "NEXT_WRITES", "PART_BYTES", "RECENT_READS", "RULES", "Rule", "weigh"]

RECENT_READS = 20  # reads of the thread before a write, within a time
NEXT_WRITES = 5  # writes of the thread after a read, within a time
FEW_BYTES = 8  # data that is shorter is often the same by chance: 0, 1, "on"
PART_BYTES = 8  # four letters of UTF-16: shorter data is in other data by chance


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule.

    Attributes:
        weight: what it weighs in the order of links.
        meaning: a sentence.
    """

    weight: int
    meaning: str


RULES = {
    "named by the record": Rule(100, "the record of the write names the process"),
    "process table": Rule(100, "the process table names the parent"),
    "open to write": Rule(30, "the thread read it between its open of the written key and the write"),
    "recent read": Rule(20, f"it is among the thread's last {RECENT_READS} reads of values before the write, within the time"),
    "same value": Rule(25, "the thread read, within the time, the very value that it then wrote"),
    "same data": Rule(60, f"what was read is what was written, {FEW_BYTES} bytes or more"),
    "same short data": Rule(10, f"what was read is what was written, fewer than {FEW_BYTES} bytes: often by chance"),
    "part of data": Rule(45, f"what was read, {PART_BYTES} bytes or more, is contained in what was written"),
    "last write": Rule(50, "it is the last write or delete of the value before the read"),
    "as read": Rule(50, "what it wrote is what was read"),
    "read before the next write": Rule(50, "the value was read after the write, and before anything wrote or deleted it again"),
    "write after read": Rule(20, f"it is among the thread's first {NEXT_WRITES} writes or deletes after the read, within the time"),
}  # fmt: skip


def weigh(rules: tuple[str, ...]) -> int:
    """Return the sum of the weights of rules."""
    return sum(RULES[rule].weight for rule in rules)
