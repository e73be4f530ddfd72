"""Conditions of Sigma rules as trees that are decided with three values: yes, no, or cannot tell.

pySigma parses a condition; its tree becomes one of these nodes, so that nothing of pySigma is asked while rules run. What
this program does not support is a node that cannot tell, with the reason: it is never silently false.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.rules.sigma_patterns import AnyPattern, Pattern, Regex
from analysis.rules.sigma_tests import MAYBE, NO, YES, Comparison, IsNull, Network, Number, Test
from tracer.registry.text import escape_argument

__all__ = [
    "FIELDS",
    "AllOf",
    "AnyOf",
    "FieldTest",
    "Node",
    "Not",
    "SameField",
    "Unsupported",
    "compile_condition",
    "is_possible",
]

# Fields of Sysmon's registry events that a capture tells (docs/rules.md says what each is).
FIELDS = ("TargetObject", "EventType", "EventID", "NewName", "Details", "Image", "User", "ProcessId")
_COST = {name: place for place, name in enumerate(FIELDS)}
_LONGEST = 80  # letters of a field's name that is said
_DEEPEST = 200  # levels of a condition; Sigma's own rules have five


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a condition."""


@dataclass(frozen=True, slots=True)
class AllOf(Node):
    """Every one of some parts: `and`, `all of`."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class AnyOf(Node):
    """At least one of some parts: `or`, `1 of`, a list of values."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not(Node):
    """The contrary of a part."""

    part: Node


@dataclass(frozen=True, slots=True)
class FieldTest(Node):
    """A test of one field."""

    field: str
    test: Test


@dataclass(frozen=True, slots=True)
class SameField(Node):
    """A comparison of a field with another one (`fieldref`).

    Attributes:
        field: whose text is looked at.
        other: whose text it must equal, begin with, or end with.
        how: equals, startswith, endswith or contains.
    """

    field: str
    other: str
    how: str


@dataclass(frozen=True, slots=True)
class Unsupported(Node):
    """What cannot be decided here, and what it is, in a few words."""

    what: str


def compile_condition(parsed: Any) -> Node:  # noqa: ANN401  (pySigma's classes)
    """Return the node of a condition.

    Args:
        parsed: the tree that pySigma parsed.

    Raises:
        ValueError: the condition has more than _DEEPEST levels, or none of its parts says anything.
    """
    return _node(parsed, 0)


def is_possible(node: Node, event_id: int) -> bool:
    """Tell whether a record with this EventID may meet a condition, whatever its other fields are."""
    return _verdict(node, str(event_id)) != NO


def _verdict(node: Node, event_id: str) -> int:
    """Return what a condition says of a record of which the EventID alone is known."""
    if isinstance(node, FieldTest) and node.field == "EventID":
        return YES if node.test.matches(event_id) else NO
    if isinstance(node, Not):
        return YES - _verdict(node.part, event_id)
    if isinstance(node, AllOf | AnyOf):
        said = [_verdict(part, event_id) for part in node.parts]
        return min(said) if isinstance(node, AllOf) else max(said)
    return MAYBE


def _node(parsed: Any, depth: int) -> Node:  # noqa: ANN401
    from sigma.conditions import (
        ConditionAND,
        ConditionFieldEqualsValueExpression,
        ConditionNOT,
        ConditionOR,
        ConditionValueExpression,
    )

    if depth > _DEEPEST:
        raise ValueError(f"the condition has more than {_DEEPEST} levels")
    if parsed is None:
        raise ValueError("the condition is empty")
    if isinstance(parsed, ConditionFieldEqualsValueExpression):
        return _of_field(parsed.field, parsed.value)
    if isinstance(parsed, ConditionValueExpression):
        return Unsupported("a search for keywords in the whole record")
    parts = [_node(one, depth + 1) for one in getattr(parsed, "args", ())]
    if isinstance(parsed, ConditionNOT) and len(parts) == 1:
        return Not(parts[0])
    if isinstance(parsed, ConditionAND):
        return AllOf(tuple(sorted(parts, key=_cost)))
    if isinstance(parsed, ConditionOR):
        return AnyOf(tuple(sorted(_searched_at_once(parts), key=_cost)))
    return Unsupported(f"a condition of the kind {type(parsed).__name__}")


def _searched_at_once(parts: Sequence[Node]) -> list[Node]:
    """Return the parts of an `or`; patterns that are looked for inside the same field become one part."""
    found: list[Node] = []
    by_field: dict[str, list[Pattern]] = {}
    for part in parts:
        test = part.test if isinstance(part, FieldTest) else None
        if isinstance(part, FieldTest) and isinstance(test, Pattern) and test.searches and test.is_folded:
            by_field.setdefault(part.field, []).append(test)
        else:
            found.append(part)
    for field, patterns in by_field.items():
        found.append(FieldTest(field, patterns[0] if len(patterns) == 1 else AnyPattern(tuple(patterns))))
    return found


def _of_field(field: str, value: Any) -> Node:  # noqa: ANN401
    """Return the node that compares a field with a value."""
    from sigma.types import SigmaExpansion, SigmaFieldReference

    if field not in FIELDS:
        return Unsupported(f"the field {_short(field)}")
    if isinstance(value, SigmaExpansion):
        return AnyOf(tuple(_of_field(field, one) for one in value.values))
    if isinstance(value, SigmaFieldReference):
        if value.field not in FIELDS:
            return Unsupported(f"the field {_short(value.field)}")
        ends = (bool(value.starts_with), bool(value.ends_with))
        how = {(True, False): "startswith", (False, True): "endswith", (True, True): "contains"}
        return SameField(field, value.field, how.get(ends, "equals"))
    try:
        test = _test(value)
    except ValueError as error:
        return Unsupported(str(error))
    return FieldTest(field, test)


def _short(name: str) -> str:
    """Return a stranger's name of a field as every format can store it."""
    return escape_argument(str(name))[:_LONGEST]


def _test(value: Any) -> Test:  # noqa: ANN401
    """Return the test that a value makes.

    Raises:
        ValueError: this program has none for it; the message says what it is, in a few words.
    """
    from sigma.types import (
        SigmaBool,
        SigmaCasedString,
        SigmaCIDRExpression,
        SigmaCompareExpression,
        SigmaExists,
        SigmaNull,
        SigmaNumber,
        SigmaRegularExpression,
        SigmaString,
        SigmaTimestampPart,
    )

    if isinstance(value, SigmaString):
        return Pattern.of(_parts(value.s), is_cased=isinstance(value, SigmaCasedString))
    if isinstance(value, SigmaNull):
        return IsNull(expects=True)
    if isinstance(value, SigmaExists):
        return IsNull(expects=not value.exists)
    if isinstance(value, SigmaTimestampPart):
        raise ValueError("a part of a time")  # noqa: TRY004
    if isinstance(value, SigmaNumber):
        return Number(value.number)
    if isinstance(value, SigmaBool):
        return Pattern.of([str(value.boolean)])
    if isinstance(value, SigmaRegularExpression):
        if value.regexp.contains_placeholder():
            raise ValueError("a placeholder (expand)")
        flags = "".join(sorted(value.sigma_to_re_flag[flag] for flag in value.flags))
        return Regex.of(str(value.regexp), flags)
    if isinstance(value, SigmaCIDRExpression):
        return Network(value.network)
    if isinstance(value, SigmaCompareExpression):
        signs = {"LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}
        if value.op.name in signs:
            return Comparison(signs[value.op.name], value.number.number)
    raise ValueError(f"a value of the kind {type(value).__name__}")


def _parts(parts: Sequence[Any]) -> list[str | None]:
    """Return the parts of a string of pySigma as `Pattern.of` takes them."""
    from sigma.types import SpecialChars

    special = {SpecialChars.WILDCARD_MULTI: None, SpecialChars.WILDCARD_SINGLE: ""}
    found: list[str | None] = []
    for part in parts:
        if isinstance(part, str):
            found.append(part)
        elif isinstance(part, SpecialChars):
            found.append(special[part])
        else:
            raise ValueError("a placeholder (expand)")  # noqa: TRY004
    return found


def _cost(node: Node) -> int:
    """Return how late a part is worth deciding: what is cheap and rules out most comes first."""
    if isinstance(node, FieldTest):
        searches = isinstance(node.test, AnyPattern) or (
            isinstance(node.test, Pattern) and node.test.searches
        )
        return 2 * _COST[node.field] + searches
    if isinstance(node, Not):
        return 100 + _cost(node.part)
    if isinstance(node, AllOf):
        return min(map(_cost, node.parts), default=0)
    if isinstance(node, AnyOf):
        return 1 + max(map(_cost, node.parts), default=0)
    return 200
