"""Verdicts of Sigma rules on the writes of captures: what matches, what cannot be told, and why not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.rules.sigma_conditions import AllOf, AnyOf, FieldTest, Node, Not, SameField, Unsupported
from analysis.rules.sigma_events import Writes
from analysis.rules.sigma_fields import Known
from analysis.rules.sigma_rules import Rule
from analysis.rules.sigma_tests import MAYBE, NO, YES, Trits
from tracer.registry.text import fold_name

__all__ = ["Verdict", "judge"]

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule says of the writes.

    Attributes:
        rule: the rule.
        hits: the writes that match, as places in `Writes`, ascending.
        unknown: those of which cannot be told whether they match.
        gaps: what is not known of these, in a few words (`unsupported: ` in front of what no capture helps), with the writes;
            a write may have several.
    """

    rule: Rule
    hits: Rows
    unknown: Rows
    gaps: tuple[tuple[str, Rows], ...]

    @property
    def word(self) -> str:
        """The verdict in a word: match, cannot tell, or no match."""
        return "match" if len(self.hits) else "cannot tell" if len(self.unknown) else "no match"


def judge(rules: Sequence[Rule], writes: Writes) -> Iterator[Verdict]:
    """Yield the verdict of each rule, in their order."""
    scopes: dict[tuple[str, ...], Trits] = {}
    for rule in rules:
        if rule.operations not in scopes:
            scopes[rule.operations] = np.minimum(writes.of_operations(rule.operations), writes.happened)
        yield _Judgement(writes).of(rule, scopes[rule.operations])


class _Judgement:
    """One rule while it is decided; it notes which fields left a test open."""

    def __init__(self, writes: Writes) -> None:
        self._writes = writes
        self._open: list[tuple[str, Rows]] = []  # a field, or "unsupported: ...", and the writes

    def of(self, rule: Rule, scope: Trits) -> Verdict:
        """Return the verdict of the rule on the writes that are of its operations."""
        rows = np.flatnonzero(scope > NO)
        found = np.minimum(self._decide(AnyOf(rule.conditions), rows), scope[rows])
        unknown = rows[found == MAYBE]
        return Verdict(rule, rows[found == YES], unknown, tuple(self._gaps(unknown)) if len(unknown) else ())

    def _gaps(self, unknown: Rows) -> Iterator[tuple[str, Rows]]:
        by_gap: dict[str, list[Rows]] = {}
        for field, rows in self._open:
            own = np.intersect1d(rows, unknown)
            if not len(own):
                continue
            column = self._writes.fields.get(field)
            for gap, some in [(field, own)] if column is None else column.gaps(own):
                by_gap.setdefault(gap or "spelling of the name", []).append(some)
        unclear = unknown[[self._writes.operations[row] == "CreateOrDelete" for row in unknown.tolist()]]
        for gap, some in (("EventType", unclear), *self._writes.doubts(unknown)):
            if len(some):
                by_gap.setdefault(gap, []).append(some)
        for gap, parts in by_gap.items():
            yield gap, np.unique(np.concatenate(parts))

    def _decide(self, node: Node, rows: Rows) -> Trits:
        """Return what a part of the condition says of some writes."""
        if isinstance(node, FieldTest):
            return self._noted(node.field, rows, self._writes.fields[node.field].verdicts(node.test, rows))
        if isinstance(node, Not):
            return (YES - self._decide(node.part, rows)).astype(np.uint8)
        if isinstance(node, AllOf):
            return self._combined(node.parts, rows, NO)
        if isinstance(node, AnyOf):
            return self._combined(node.parts, rows, YES)
        if isinstance(node, SameField):
            return self._compared(node, rows)
        what = node.what if isinstance(node, Unsupported) else type(node).__name__
        return self._noted(f"unsupported: {what}", rows, np.full(len(rows), MAYBE, np.uint8))

    def _combined(self, parts: Sequence[Node], rows: Rows, decisive: int) -> Trits:
        """Return the least (`and`: NO decides) or the greatest (`or`: YES decides) of some parts.

        Writes that a part decided are not looked at by the next ones.
        """
        found = np.full(len(rows), YES - decisive, np.uint8)
        open_rows = np.arange(len(rows))
        for part in parts:
            if not len(open_rows):
                break
            said = self._decide(part, rows[open_rows])
            before = found[open_rows]
            found[open_rows] = np.minimum(before, said) if decisive == NO else np.maximum(before, said)
            open_rows = open_rows[found[open_rows] != decisive]
        return found

    def _compared(self, node: SameField, rows: Rows) -> Trits:
        """Return whether the field of each write fits that of another field."""
        one, other = self._writes.fields[node.field], self._writes.fields[node.other]
        said = [_fits(one.known(row), other.known(row), node.how) for row in rows.tolist()]
        found = np.array(said, np.uint8)
        self._noted(node.other, rows, found)
        return self._noted(node.field, rows, found)

    def _noted(self, field: str, rows: Rows, found: Trits) -> Trits:
        open_rows = rows[found == MAYBE]
        if len(open_rows):
            self._open.append((field, open_rows))
        return found


def _fits(one: Known, other: Known, how: str) -> int:
    """Return whether one text equals, begins with, ends with or contains another."""
    if "absent" in (one.how, other.how):
        return NO
    if one.how != "whole" or other.how != "whole":
        return MAYBE
    pairs = [(fold_name(a), fold_name(b)) for a in one.texts for b in other.texts]
    found = {
        a.startswith(b)
        if how == "startswith"
        else a.endswith(b)
        if how == "endswith"
        else b in a
        if how == "contains"
        else a == b
        for a, b in pairs
    }
    return MAYBE if len(found) > 1 else YES if found.pop() else NO
