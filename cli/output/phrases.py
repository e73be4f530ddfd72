"""Small pieces of text that several verbs share."""

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from cli.output.console import console
from tracer.registry.text import plural
from tracer.schema import NAME_SOURCES
from tracer.store.addresses import address_of, is_address

__all__ = ["name_lines", "name_summary", "percent", "plural", "quoted", "say_pipes"]


def quoted(argument: Path | str) -> str:
    """Return an argument quoted for the shell."""
    text = address_of(argument) if is_address(argument) else str(argument)
    if os.name == "nt":
        return f'"{text}"' if " " in text else text
    return shlex.quote(text)


def say_pipes(sources: Iterable[Path]) -> None:
    """Print which sources are pipes: they are read until their writer ends them."""
    from tracer.sources.unpack import waits

    for source in sources:
        if waits(source):
            name = "standard input" if str(source) == "-" else str(source)
            console.say(f"reading {name} until its writer ends it")


def percent(part: int, whole: int) -> str:
    """Return a share with one decimal; 100.0 and 0.0 only where exact.

    >>> percent(999_999, 1_000_000), percent(1, 10_000), percent(0, 5)
    ('99.9 %', '<0.1 %', '0 %')
    """
    if whole <= 0 or part <= 0:
        return "0 %"
    if part >= whole:
        return "100 %"
    tenths = part * 1000 // whole
    return f"{tenths // 10}.{tenths % 10} %" if tenths else "<0.1 %"


def name_summary(names: Mapping[str, int]) -> str:
    """Return in one line how sure the names of a capture's rows are; `names` counts rows by name source.

    >>> name_summary({"event": 5, "open": 984, "partial": 8, "none": 3})
    'names: 98.9 % exact, 0.8 % partial, 0.3 % unknown'
    """
    total = sum(names.values())
    if not total:
        return "names: no row has a key"
    unsure = {"partial": names.get("partial", 0), "unknown": names.get("none", 0)}
    parts = [f"{percent(total - sum(unsure.values()), total)} exact"]
    parts += [f"{percent(count, total)} {word}" for word, count in unsure.items() if count]
    return "names: " + ", ".join(parts)


def name_lines(names: Mapping[str, int]) -> list[str]:
    """Return one line for each name source that occurs, from sure to unsure: rows, share, what it means."""
    total = sum(names.values())
    found = [name for name in NAME_SOURCES if names.get(name)]
    widest = max((len(f"{names[name]:,}") for name in found), default=0)
    return [
        f"{name:<8} {names[name]:>{widest},}  {percent(names[name], total):>7}  {NAME_SOURCES[name]}"
        for name in found
    ]
