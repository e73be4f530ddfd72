"""What a Perfetto trace shows beside operations: lives of key objects as bars, what is missing, and counters."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from analysis.export.json_text import decoded
from analysis.export.notices import Notice
from analysis.export.perfetto_events import Ints, begins, ends, number_pieces, packets, text_pieces
from analysis.export.perfetto_extra import protos
from analysis.export.perfetto_strings import CATEGORIES, Strings
from analysis.export.perfetto_tracks import Lanes, Tracks
from analysis.export.wire import joined
from analysis.questions import handles

if TYPE_CHECKING:
    from analysis.filters import Filters
    from analysis.questions.context import QueryContext

__all__ = ["Counts", "HandleLives", "counter_packets", "missing_packets"]

_STEPS = 1_000  # of a counter, about
_SECOND_NS = 1_000_000_000
_DEPTH = 3  # components of a subtree that has lanes of its own
_BATCH_ROWS = 16_384
_STAYS = "never closed"  # of analysis.answers.handles.VERDICTS


class Counts:
    """Counters over time, in steps that are a power of ten, from a thousandth of a second to a second."""

    def __init__(self, first_ns: int, last_ns: int) -> None:
        """Choose the steps for a trace between two times."""
        self.step_ns = _SECOND_NS
        while self.step_ns > 1_000_000 and (last_ns - first_ns) // self.step_ns < _STEPS // 10:
            self.step_ns //= 10
        self._by_host: dict[str | None, Counter[int]] = {}

    def add(self, host: str | None, times: Ints, amounts: Ints | None = None) -> None:
        """Add to the steps of some times one each, or an amount."""
        steps, places = np.unique(times // self.step_ns, return_inverse=True)
        sums = np.bincount(places, amounts, len(steps))
        found = self._by_host.setdefault(host, Counter())
        for step, amount in zip(steps.tolist(), sums.tolist(), strict=True):
            found[step] += int(amount)

    def rates(self) -> Iterator[tuple[str | None, int, float]]:
        """Yield host, time and the rate a second that begins there; 0 where nothing follows at once."""
        for host, counts in self._by_host.items():
            for step in sorted(counts):
                yield host, step * self.step_ns, counts[step] * _SECOND_NS / self.step_ns
                if step + 1 not in counts:
                    yield host, (step + 1) * self.step_ns, 0.0

    def levels(self) -> Iterator[tuple[str | None, int, float]]:
        """Yield host, the end of each step and the sum of all until then."""
        for host, counts in self._by_host.items():
            level = 0
            for step in sorted(counts):
                level += counts[step]
                yield host, (step + 1) * self.step_ns, float(level)


def counter_packets(
    tracks: Tracks, name: str, unit: str, points: Iterable[tuple[str | None, int, float]]
) -> Iterator[protos.TracePacket]:
    """Yield the packets of a counter."""
    for host, time_ns, value in points:
        packet = protos.TracePacket(timestamp=max(time_ns, 0))
        packet.track_event.type = protos.TrackEvent.TYPE_COUNTER
        packet.track_event.track_uuid = tracks.counter(name, host, unit)
        packet.track_event.double_counter_value = value
        yield packet


class HandleLives:
    """The lives of key objects: a bar from the opening to the close, or to the end where there is none."""

    def __init__(self, context: "QueryContext", filters: "Filters", span: tuple[int, int]) -> None:
        """Ask for the lives of rows that fit.

        Args:
            context: one or several captures.
            filters: the filters of the rows.
            span: the first and the last time of the capture.
        """
        self._rows = handles.query(context, filters).reader(_BATCH_ROWS)
        self._first, self._last = span
        self._lanes = Lanes()
        self.left_out = 0
        self.lives = 0
        self.open = Counts(*span)

    def packets(self, tracks: Tracks, strings: Strings) -> Iterator[pa.Array]:
        """Yield the packets of all lives, a batch at a time."""
        for batch in self._rows:
            starts = batch.column("opened_ns").fill_null(self._first).to_numpy().astype(np.int64)
            until = self._ends(batch, starts)
            known = until >= starts
            self.left_out += int((~known).sum())
            if known.any():
                place = np.flatnonzero(known)
                yield from self._written(
                    batch.take(pa.array(place)), starts[place], until[place], tracks, strings
                )

    def _ends(self, batch: pa.RecordBatch, starts: Ints) -> Ints:
        """Return when each life ends; before its start where that is not known."""
        closed = batch.column("closed_ns").to_pylist()
        seen = batch.column("seen_ns").to_pylist()
        opened = batch.column("opened_ns").to_pylist()
        verdicts = batch.column("verdict").to_pylist()
        found = []
        for start, begin, end, lasted, verdict in zip(
            starts.tolist(), opened, closed, seen, verdicts, strict=True
        ):
            if end is not None:
                found.append(end)
            elif verdict == _STAYS:
                found.append(self._last)
            else:
                found.append(begin + lasted if begin is not None and lasted is not None else start - 1)
        return np.array(found, np.int64)

    def _written(
        self, batch: pa.RecordBatch, starts: Ints, until: Ints, tracks: Tracks, strings: Strings
    ) -> Iterator[pa.Array]:
        strings.make_room()
        self.lives += batch.num_rows
        keys = batch.column("display_key").dictionary_encode()
        shown = keys.dictionary.to_pylist()
        subtrees = [_subtree(key) for key in shown]
        hosts = batch.column("host").to_pylist() if "host" in batch.schema.names else [None] * batch.num_rows
        uuids = []
        for key, host, start, end in zip(
            keys.indices.to_pylist(), hosts, starts.tolist(), until.tolist(), strict=True
        ):
            subtree = "no key" if key is None else subtrees[key]
            lane = self._lanes.take((host, subtree), start, end)
            uuids.append(tracks.named(subtree, host, lane=lane, below=tracks.named("Lives of handles", host)))
        stays = np.array([verdict == _STAYS for verdict in batch.column("verdict").to_pylist()])
        for host in dict.fromkeys(hosts):
            own = np.array([one == host for one in hosts])
            times = np.concatenate([starts[own], until[own & ~stays]])
            self.open.add(host, times, np.repeat([1, -1], [own.sum(), (own & ~stays).sum()]))
        category = CATEGORIES.index("handle") + 1
        names = [
            protos.TrackEvent(
                name=key.rpartition("\\")[2] or key, category_iids=[category]
            ).SerializeToString()
            for key in shown
        ]
        unnamed = protos.TrackEvent(name="no key", category_iids=[category]).SerializeToString()
        named = pa.DictionaryArray.from_arrays(keys.indices, pa.array(names, pa.binary()))
        texts = {"key": keys} | {
            name: batch.column(name).dictionary_encode() for name in ("process", "began", "ended", "verdict")
        }
        pieces = [decoded(named).fill_null(unnamed)]
        pieces += [text_pieces(strings, name, column) for name, column in texts.items()]
        pieces += [
            number_pieces(strings, name, batch.column(name))
            for name in ("pid", "uses", "reads", "writes", "handle_id")
        ]
        tracks_of = np.array(uuids, np.int64)
        slices = np.ones(batch.num_rows, np.bool_)
        yield joined([begins(starts, tracks_of, slices, pieces), ends(until, tracks_of, slices)])


def _subtree(key: str) -> str:
    """Return the first components of a key; objects without a name are together."""
    return "unnamed objects" if key.startswith("<object ") else "\\".join(key.split("\\")[:_DEPTH])


def missing_packets(
    notices: Iterable[Notice], tracks: Tracks, strings: Strings, span: tuple[int, int]
) -> Iterator[bytes]:
    """Yield what is missing: losses and times without names as bars of a track, doubts as marks, and a counter."""
    lanes = Lanes()
    lost: Counter[str | None] = Counter()
    for notice in notices:
        is_bar = notice.kind in ("loss", "blind", "clock")
        start = span[0] if notice.start_ns is None else notice.start_ns
        end = max(start, span[1] if notice.end_ns is None else notice.end_ns)
        what = "Lost" if is_bar else "Doubts"
        lane = lanes.take((notice.host, what), start, end) if is_bar else 0
        packet = protos.TracePacket(timestamp=max(start, 0))
        packet.sequence_flags = protos.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        event = packet.track_event
        event.track_uuid = tracks.named(what, notice.host, lane=lane)
        event.category_iids.append(CATEGORIES.index("loss" if is_bar else "doubt") + 1)
        event.name_iid = strings.name(notice.kind)
        event.type = protos.TrackEvent.TYPE_SLICE_BEGIN if is_bar else protos.TrackEvent.TYPE_INSTANT
        event.debug_annotations.add(name_iid=strings.annotation("message"), string_value=notice.sentence)
        if notice.count is not None:
            event.debug_annotations.add(name_iid=strings.annotation("count"), int_value=notice.count)
        if is_bar:
            unbounded = notice.start_ns is None or notice.end_ns is None
            event.debug_annotations.add(name_iid=strings.annotation("times_known"), bool_value=not unbounded)
        made = [packet]
        if is_bar:
            close = protos.TracePacket(timestamp=max(end, 0))
            close.track_event.type = protos.TrackEvent.TYPE_SLICE_END
            close.track_event.track_uuid = event.track_uuid
            made.append(close)
        if notice.kind == "loss" and notice.count is not None:
            lost[notice.host] += notice.count
            made += counter_packets(
                tracks, "Lost", "events, buffers or bytes", [(notice.host, end, float(lost[notice.host]))]
            )
        yield packets(made)
