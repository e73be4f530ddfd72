"""Progress of a long job."""

from dataclasses import dataclass

__all__ = ["Progress"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of an ingest: bytes of the sources, event rows made, and perhaps a sentence for the user."""

    bytes_done: int
    bytes_total: int
    events: int
    note: str = ""
