"""Options that several verbs share."""

from dataclasses import dataclass

__all__ = ["Example"]


@dataclass(frozen=True, slots=True)
class Example:
    """One line a user can type, and what for."""

    command: str
    purpose: str
