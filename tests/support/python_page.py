"""The page docs/python.md, made from the docstrings and signatures of what `import regtrace` offers.

`python tests/support/python_page.py` writes it anew; a test compares.
"""

import dataclasses
import enum
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "python.md"
sys.path.insert(0, str(ROOT))

import regtrace  # noqa: E402
from analysis.capture import Questions  # noqa: E402
from analysis.open import open_capture  # noqa: E402
from analysis.replay import replay  # noqa: E402
from tracer.ingest.pipeline import ingest  # noqa: E402
from tracer.simulate import simulate  # noqa: E402

_HEAD = """# Python

Made from the docstrings by `python tests/support/python_page.py`; `help(...)` shows the same, with types.

```python
import regtrace as rt

with rt.open("boot.regtrace") as capture:
    capture.who(r"HKLM\\SOFTWARE\\Vendor")
```

`rt.open` returns a [Capture](#capture), or a [Dataset](#dataset) of several. [Questions](#questions) has what either
can be asked. [README.md](../README.md#in-python-and-notebooks) shows callbacks;
[questions.md](questions.md) says what answers mean.
"""
_WIDTH = 110
_WHOLE: dict[str, Callable[..., object]] = {
    "open": open_capture,
    "ingest": ingest,
    "simulate": simulate,
    "replay": replay,
}
_ORDER = ("open", "ingest", "simulate", "replay", "Capture", "Dataset", "Filters")  # first; the rest by name


def signature(function: Callable[..., object]) -> str:
    """Return the arguments of a function and their defaults, without types: these stand in `help`."""
    found = inspect.signature(function)
    own = [one for name, one in found.parameters.items() if name not in ("self", "cls")]
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in own]
    text = str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    assert " at 0x" not in text, f"a default of {function} has no text of its own: {text}"
    return text


def described(thing: object, arguments: Collection[str] | None = None) -> str:
    """Return a docstring: its first paragraphs as prose, from the first that is none on as it stands.

    Args:
        thing: what has the docstring.
        arguments: the only ones that are described; None: all.
    """
    text = inspect.getdoc(thing)
    assert text, f"{thing} has no docstring"
    paragraphs = text.split("\n\n")
    proses = [paragraphs.pop(0)]
    while paragraphs and not re.search(r"^(\w+:$|\* |    )|[*\\<]", paragraphs[0], re.MULTILINE):
        proses.append(paragraphs.pop(0))
    rest = "\n\n".join(paragraphs).rstrip()
    if arguments is not None:
        before, raises, after = rest.partition("\n\nRaises:\n")
        left_out = (one for one in re.findall(r"^    (\w+): ", before, re.MULTILINE) if one not in arguments)
        for name in left_out:
            before = re.sub(
                rf"^    {name}: .*\n(?:     .*\n)*", "", f"{before}\n", flags=re.MULTILINE
            ).rstrip()
        rest = before + raises + after
    shown = "\n".join(f"{filled(one)}" for one in proses)
    return f"{shown}" + (f"\n```text\n{rest}\n```\n" if rest else "")


def filled(paragraph: str) -> str:
    """Return a paragraph in lines of readable width; stars mean themselves."""
    text = " ".join(paragraph.split())
    text = textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return text.replace("*", r"\*") + "\n"


def call(name: str, function: Callable[..., object]) -> str:
    """Return one line, or a few, that show how a function is called."""
    text = f"{name}{signature(function)}"
    lines = textwrap.wrap(
        text, _WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return "```text\n" + "\n".join(lines) + "\n```\n"


def members(owner: type) -> Iterator[str]:
    """Yield the public methods and properties that a class itself defines, in order."""
    fields = {field.name for field in dataclasses.fields(owner)} if dataclasses.is_dataclass(owner) else set()
    for name, thing in vars(owner).items():
        if name.startswith("_") or name in fields or isinstance(thing, enum.Enum):
            continue
        if isinstance(thing, property):
            yield f"\n### {owner.__name__}.{name}\n\n{described(thing)}"
        elif isinstance(thing, classmethod | staticmethod) or inspect.isfunction(thing):
            function = getattr(owner, name)
            if inspect.getdoc(function):
                shown = call(f"{owner.__name__ if isinstance(thing, classmethod) else ''}.{name}", function)
                yield f"\n### {owner.__name__}.{name}\n\n{shown}\n{described(function)}"


def section(name: str, thing: object) -> str:
    """Return what the page says of one public name."""
    parts = [f"\n## {name}\n\n"]
    if isinstance(thing, ModuleType):
        parts.append(described(thing))
        for each in thing.__all__:
            function = getattr(thing, each)
            if inspect.isfunction(function):
                parts.append(
                    f"\n### {name}.{each}\n\n{call(f'rt.{name}.{each}', function)}\n{described(function)}"
                )
    elif isinstance(thing, type) and issubclass(thing, enum.Enum):
        parts += [described(thing), f"\n{listed(thing)}", *members(thing)]
    elif isinstance(thing, type):
        made_by_users = dataclasses.is_dataclass(thing) or name in ("Monitor", "Registrations")
        parts += [f"{call(f'rt.{name}', thing)}\n"] if made_by_users else []
        parts += [described(thing), *members(thing)]
    else:
        assert callable(thing)
        # These hand on to a function that says more, and takes more.
        own, taken = (_WHOLE[name], inspect.signature(thing).parameters) if name in _WHOLE else (thing, None)
        parts += [f"{call(f'rt.{name}', thing)}\n", described(own, taken)]
    return "".join(parts)


def listed(kind: type[enum.Enum]) -> str:
    """Return the names of an enumeration as a paragraph."""
    names = ", ".join(f"`{name}`" for name in kind.__members__)
    return textwrap.fill(names, _WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def page() -> str:
    """Return the whole page."""
    names = [name for name in regtrace.__all__ if not name.startswith("_")]
    things = {name: getattr(regtrace, name) for name in names}
    is_error = {
        name: isinstance(thing, type) and issubclass(thing, Exception) for name, thing in things.items()
    }
    ordered = [*_ORDER, *(name for name in names if name not in _ORDER and not is_error[name])]
    parts = [_HEAD]
    for name in ordered:
        if name == "Capture":
            parts.append(section("Questions", Questions))
        parts.append(section(name, things[name]))
    parts.append("\n## Errors and warnings\n\n| class | kind of | when |\n| --- | --- | --- |\n")
    for name in filter(is_error.__getitem__, names):
        thing = things[name]
        first = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
        parts.append(f"| `{name}` | `{thing.__base__.__name__}` | {first} |\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
