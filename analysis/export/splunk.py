"""Splunk: events for its HTTP Event Collector, one JSON object a line: time, host, source, sourcetype, event."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.export.flat import flat_pieces
from analysis.export.json_text import Piece, braced, fixed, inner, members, quoted
from analysis.export.messages import messages
from analysis.export.notices import Notice
from analysis.export.records import Records
from analysis.export.rows import Rows, text_bytes

__all__ = ["NOTICE_SOURCETYPE", "SOURCETYPE", "Splunk"]

SOURCETYPE = "regtrace:event"
NOTICE_SOURCETYPE = "regtrace:notice"


class Splunk:
    """A timeline for the HTTP Event Collector; first the notices, with a sourcetype of their own."""

    def __init__(self, records: Records) -> None:
        """Write `records`."""
        self._records = records
        self._sourcetype = records.options.sourcetype or SOURCETYPE

    def head(self) -> Iterator[bytes | memoryview]:
        """Yield the notices."""
        for notice in self._records.notices():
            yield fixed(self._notice(notice)).encode() + b"\n"

    def rows(self, rows: Rows) -> Iterator[bytes | memoryview]:
        """Yield the line of each row."""
        sentence = pc.binary_join_element_wise('"', messages(rows, inner), '"', "")
        event = braced(members({"message": sentence} | flat_pieces(rows)))
        pieces: dict[str, Piece] = {"time": _seconds(rows), "sourcetype": quoted(self._sourcetype)}
        if self._records.options.index is not None:
            pieces["index"] = quoted(self._records.options.index)
        pieces |= {"host": rows.told("host", quoted), "source": rows.told("capture", quoted), "event": event}
        yield text_bytes(pc.binary_join_element_wise(braced(members(pieces)), "\n", ""))

    def tail(self) -> Iterator[bytes | memoryview]:
        """Yield nothing."""
        yield from ()

    def _notice(self, notice: Notice) -> dict[str, Any]:
        event: dict[str, Any] = {"message": notice.sentence, "notice": notice.kind}
        for name in ("start_ns", "end_ns", "count"):
            if (number := getattr(notice, name)) is not None:
                event[name] = number
        made: dict[str, Any] = {"time": notice.time_ns // 1000 / 1e6, "sourcetype": NOTICE_SOURCETYPE}
        if self._records.options.index is not None:
            made["index"] = self._records.options.index
        named = {"host": notice.host, "source": notice.capture}
        return made | {name: text for name, text in named.items() if text is not None} | {"event": event}


def _seconds(rows: Rows) -> pa.Array:
    """Return the times in seconds since 1970, to the microsecond, as JSON numbers."""
    micros = pc.cast(rows["time"], pa.int64())
    seconds = pc.divide(micros, 1_000_000)  # towards zero: no trace is older than 1970
    fraction = pc.subtract(micros, pc.multiply(seconds, 1_000_000))
    return pc.binary_join_element_wise(
        seconds.cast(pa.string()), pc.utf8_lpad(fraction.cast(pa.string()), 6, "0"), "."
    )
