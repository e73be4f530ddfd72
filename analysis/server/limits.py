"""The limits of an answer: rows, bytes, seconds."""

from dataclasses import dataclass

__all__ = ["FEW_ROWS", "MOST_ROWS", "Limits"]

FEW_ROWS = 50  # of a page, where a client asks for no number
MOST_ROWS = 500


@dataclass(frozen=True, slots=True)
class Limits:
    """What an answer may cost.

    Attributes:
        seconds: how long the engine may work on one question.
        bytes: how large the rows of one answer may be, as JSON; one row is always sent.
        memory: what the engine may use, in its own words.
    """

    seconds: float = 30.0
    bytes: int = 60_000
    memory: str = "2GB"
