"""What of a log could not be read: where it is, how much it is, and between which records it stood."""

from dataclasses import dataclass

__all__ = ["EvtxLoss", "LossList"]

_MOST = 10_000  # of a hostile log; what follows is added to the last one


@dataclass(slots=True)
class EvtxLoss:
    """A stretch of the file that gave no records.

    Attributes:
        offset: in the file.
        size_bytes: of the stretch; 0 where the header promises chunks that the file does not hold.
        records: how many records are lost; None if nobody can tell.
        from_ns: when the last whole record before it was written (UTC, nanoseconds since 1970); None if there is none.
        to_ns: the same of the first whole record after it. A log that Windows wrote in a circle has its oldest records
            after its newest: there both are None.
        reason: in a few words.
    """

    offset: int
    size_bytes: int
    records: int | None
    from_ns: int | None
    to_ns: int | None
    reason: str


class LossList:
    """Losses in the order of the file; the times around them come from the records that are added between."""

    def __init__(self) -> None:
        self.losses: list[EvtxLoss] = []
        self._last_ns: int | None = None
        self._open: list[EvtxLoss] = []

    def add(self, offset: int, size_bytes: int, records: int | None, reason: str) -> None:
        """Add a stretch that follows on everything added so far."""
        last = self.losses[-1] if self.losses else None
        is_next = last is not None and last.reason == reason and last.offset + last.size_bytes == offset
        if last is not None and (len(self.losses) >= _MOST or is_next):
            last.size_bytes = offset + size_bytes - last.offset
            last.records = None if last.records is None or records is None else last.records + records
            if not self._open:  # records stand between them, and the time after is to come
                last.to_ns = None
                self._open.append(last)
            return
        loss = EvtxLoss(offset, size_bytes, records, self._last_ns, None, reason)
        self.losses.append(loss)
        self._open.append(loss)

    def pass_records(self, first_ns: int, last_ns: int) -> None:
        """Note whole records: when the first and the last of them were written."""
        for loss in self._open:
            loss.to_ns = first_ns
            if loss.from_ns is not None and loss.from_ns > first_ns:
                loss.from_ns = loss.to_ns = None
        self._open.clear()
        self._last_ns = last_ns
