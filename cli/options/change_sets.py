"""Options of verbs about change sets: how changes are grouped."""

from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["GroupBy", "GroupByOption", "Pause"]


class GroupBy(StrEnum):
    """Whose changes are grouped."""

    TREE = "tree"
    PROCESS = "process"


GroupByOption = Annotated[
    GroupBy,
    typer.Option(
        "--by",
        help="tree: a program that began during the capture, with those it started. process: each process by itself.",
    ),
]
Pause = Annotated[
    str, typer.Option("--pause", metavar="TIME", help="A longer pause between changes ends a change set.")
]
