"""What a report says: facts, parts with tables, cards of keys, moments, pictures."""

from dataclasses import dataclass
from typing import Any

from analysis.report.cards import Card
from analysis.report.grids import Grid
from analysis.report.moments import Moments

__all__ = ["Content", "Section"]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report.

    Attributes:
        name: what addresses of the page call it.
        title: the heading.
        sentences: what stands above the tables.
        grids: the tables.
        file: a text file that belongs to it: its name and its text; None for none.
    """

    name: str
    title: str
    sentences: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    file: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """All that a report says.

    Attributes:
        title: the heading.
        facts: subject and text, the most important first.
        doubts: why answers may be incomplete, a sentence each.
        sections: the parts, in order.
        cards: what happened to the keys that matter most.
        moments: what was known of these keys at each moment; None where there is nothing.
        pictures: charts as Vega-Lite, by title.
        library: the program that draws them; "" where there are none.
    """

    title: str
    facts: list[tuple[str, str]]
    doubts: list[str]
    sections: list[Section]
    cards: list[Card]
    moments: Moments | None
    pictures: dict[str, dict[str, Any]]
    library: str
