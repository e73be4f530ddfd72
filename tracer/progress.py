"""How far a long job is."""

from dataclasses import dataclass

__all__ = ["Progress"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an ingest is: bytes of the sources, event rows made so far, and a sentence for the user where there is one."""

    bytes_done: int
    bytes_total: int
    events: int
    note: str = ""
