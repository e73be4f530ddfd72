"""How far a long job is."""

from dataclasses import dataclass

__all__ = ["Progress"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an ingest is: bytes of the sources, and event rows made so far."""

    bytes_done: int
    bytes_total: int
    events: int
