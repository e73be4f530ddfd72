"""The arguments of a tool, checked against its schema: a mistake is one sentence that says what is accepted.

It knows the few forms of JSON schema that `analysis.server.tools` uses, and needs no library for them.
"""

from collections.abc import Mapping
from typing import Any

from tracer.errors import UsageError
from tracer.registry.suggestions import advice

__all__ = ["checked"]

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
}
_CALLED = {
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "array": "a list",
}
_MOST_LETTERS = 4_000  # of a text whose schema states no length
_SHOWN = 60


def checked(arguments: Mapping[str, Any] | None, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that are set; null is as if it were not there.

    Raises:
        UsageError: one is unknown, missing, or not of its kind.
    """
    known: Mapping[str, Any] = schema["properties"]
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    for name, value in given.items():
        if name not in known:
            raise UsageError(f"unknown argument {_shown(name)}; {advice(name[:_SHOWN], known)}")
        _check(name, value, known[name])
    for name in schema["required"]:
        if name not in given:
            raise UsageError(f"the argument {name} is missing: {known[name]['description']}")
    return given


def _check(name: str, value: Any, schema: Mapping[str, Any]) -> None:  # noqa: ANN401  (JSON)
    forms = schema.get("anyOf", [schema])
    fitting = [form for form in forms if _is_of(value, form["type"])]
    if not fitting:
        accepted = " or ".join(_CALLED[form["type"]] for form in forms)
        raise UsageError(f"{name} must be {accepted}, not {_shown(value)}")
    form = fitting[0]
    if isinstance(value, str):
        _check_text(name, value, form)
    elif isinstance(value, list):
        if len(value) > form["maxItems"]:
            raise UsageError(f"{name} may list {form['maxItems']} words at most")
        for one in value:
            _check(name, one, form["items"])
    elif not isinstance(value, bool):
        _check_number(name, value, form)


def _is_of(value: Any, kind: str) -> bool:  # noqa: ANN401
    return isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _check_text(name: str, text: str, form: Mapping[str, Any]) -> None:
    most = form.get("maxLength", _MOST_LETTERS)
    if len(text) > most:
        raise UsageError(f"{name} has {len(text):,} letters; {most:,} are accepted")
    if len(text) < form.get("minLength", 0):
        raise UsageError(f"{name} is empty")
    if "enum" in form and text not in form["enum"]:
        raise UsageError(f"{name} cannot be {_shown(text)}; {advice(text[:_SHOWN], form['enum'])}")


def _check_number(name: str, number: float, form: Mapping[str, Any]) -> None:
    least, most, above = (form.get(word) for word in ("minimum", "maximum", "exclusiveMinimum"))
    if (
        not abs(number) < 2**63
        or (least is not None and number < least)
        or (most is not None and number > most)
        or (above is not None and number <= above)
    ):
        limits = [
            text
            for limit, text in (
                (least, f"{least} or more"),
                (above, f"more than {above}"),
                (most, f"{most} at most"),
            )
            if limit is not None
        ]
        raise UsageError(f"{name} must be {' and '.join(limits) or 'a smaller number'}, not {_shown(number)}")


def _shown(value: Any) -> str:  # noqa: ANN401
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
