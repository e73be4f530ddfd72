"""What the view shows: the tree of keys, the times of changes, and the contents of keys at a time."""

import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.capture import Capture
from analysis.filters import Filters
from cli.browse.changes import Changes, Stops
from cli.browse.keys import Keys
from tracer.columns.arrays import from_texts, to_numbers

__all__ = ["Model", "told_time"]

_CACHED = 512  # answers
_SECOND = 1_000_000_000  # nanoseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def told_time(time_ns: int, zone: tzinfo = UTC) -> str:
    """Return UTC nanoseconds since 1970 in a zone, with all nine digits: 2024-05-01 10:00:00.000000100+00:00."""
    second, rest = divmod(int(time_ns), _SECOND)
    moment = (_EPOCH + timedelta(seconds=second)).astimezone(zone).isoformat(sep=" ")
    return f"{moment[:19]}.{rest:09d}{moment[19:]}"


class Model:
    """The keys and changes of one capture, and its answers about single keys.

    Making it reads the keys alone, so that they can be shown at once. Questions run one at a time, and any thread may
    ask; what is kept is there at once.

    Attributes:
        capture: the capture.
        keys: its keys.
        first_ns, last_ns: times of the first and last event, UTC nanoseconds; 0 in an empty capture.
    """

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.first_ns, self.last_ns = capture.span() or (0, 0)
        self._turn = threading.RLock()  # of who asks
        self._hold = threading.Lock()  # of what is kept, for a moment only
        self._answers: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()
        self._names: pa.Table | None = None
        self.keys = Keys(capture)

    @cached_property
    def changes(self) -> Changes:
        """The changes; they are read when they are first asked for."""
        with self._turn:
            return Changes(self.capture, self.keys)

    @property
    def stops(self) -> Stops:
        """The times of all changes."""
        return self.changes.stops

    @cached_property
    def losses(self) -> list[tuple[int, int]]:
        """Where events are missing: from and to, UTC nanoseconds, each cut to the capture's own time."""
        with self._turn:
            rows = self.capture.sql_reader(
                "SELECT from_ns, to_ns FROM losses WHERE kind <> 'clock'"
            ).read_all()
        return [
            (
                max(self.first_ns, self.first_ns if low is None else low),
                min(self.last_ns, self.last_ns if high is None else high),
            )
            for low, high in zip(rows["from_ns"].to_pylist(), rows["to_ns"].to_pylist(), strict=True)
        ]

    def read_changes(self) -> None:
        """Read changes and losses, which would else be read when they are first asked for."""
        assert self.changes.stops is not None
        assert self.losses is not None

    def read_users(self) -> None:
        """Show users' keys from now on as other tables spell them."""
        with self._turn:
            self.keys.spell = self.capture.context.users.spelling(Filters())

    def kept(self, key: int, at_ns: int) -> pa.Table | None:
        """Return what `state` would, without asking; None where it would have to ask."""
        with self._hold:
            return self._answers.get((key, at_ns))

    def state(self, key: int, at_ns: int) -> pa.Table:
        """Return the key's own row and those of its values (`Capture.state`) as known at `at_ns`, inclusive."""
        with self._turn:
            found = self.kept(key, at_ns)
            if found is None:
                found = self.capture.queries.state(key=f"#{key}", at=told_time(at_ns)).to_arrow()
                self._keep({(key, at_ns): found})
            return found

    def prepare(self, keys: Sequence[int], at_ns: int) -> None:
        """Keep the states of several keys: one question takes hardly longer for twenty keys than for one."""
        with self._turn:
            wanted = [key for key in keys if self.kept(key, at_ns) is None]
            if not wanted:
                return
            words = [f"#{key}" for key in wanted]
            rows = self.capture.queries.state(key=words, at=told_time(at_ns)).to_arrow()
            of = rows["key_id"]
            if not np.isin(to_numbers(of.combine_chunks()), wanted).all():
                return  # a renamed key's rows may be another's; it is asked about by itself
            self._keep({(key, at_ns): rows.filter(pc.equal(of, key)) for key in wanted})

    def history(self, key: int) -> pa.Table:
        """Return the writes and deletes of the key's values (`Capture.history`)."""
        with self._turn:
            return self.capture.queries.history(key=f"#{key}").to_arrow()

    def times_of(self, rows: pa.Table) -> list[int]:
        """Return the time of the event of each row (column `sequence`), UTC nanoseconds."""
        wanted = rows["sequence"].to_pylist()
        if not wanted:
            return []
        listed = ", ".join(str(int(one)) for one in wanted)
        with self._turn:
            found = self.capture.sql_reader(
                f"SELECT sequence, time_ns FROM stored_events WHERE sequence IN ({listed})"
            ).read_all()
        times = dict(zip(found["sequence"].to_pylist(), found["time_ns"].to_pylist(), strict=True))
        return [times[one] for one in wanted]

    def find(self, text: str, after: int | None = None, *, back: bool = False) -> int | None:
        """Return the next key whose name or one of whose values' names holds `text`, in the order of the tree.

        Args:
            text: part of a name, in any case.
            after: where to begin: the key after this one, and round the end; None: the first key.
            back: look upwards instead.

        Returns:
            The key; None where no name holds the text.
        """
        literal = text.encode("utf-8", "replace").decode()
        with self._turn:
            places = self._found(literal)
        if not places:
            return None
        here = -1 if after is None else self.keys.range_of(after)[0]
        spot = bisect_left(places, here) - 1 if back else bisect_right(places, here)
        return self.keys.order[places[spot % len(places)]]

    def doubts(self) -> list[str]:
        """Return what is missing or in doubt in the whole capture, as sentences."""
        with self._turn:
            sentences = list(self.capture.doubts().sentences)
        unplaced = self.capture.manifest.totals.get("rows_without_key")
        if unplaced:
            sentences.append(f"{unplaced:,} rows are of no key")
        return sentences

    def _keep(self, answers: dict[tuple[int, int], pa.Table]) -> None:
        with self._hold:
            self._answers |= answers
            while len(self._answers) > _CACHED:
                self._answers.popitem(last=False)

    def _found(self, text: str) -> list[int]:
        if self._names is None:
            asked = "SELECT DISTINCT key_id, value_name FROM stored_events WHERE value_name IS NOT NULL AND key_id IS NOT NULL"
            self._names = self.capture.sql_reader(asked).read_all()
            if "baseline_values" in self.capture.sql_tables():
                of_hives = self.capture.sql_reader(
                    "SELECT key_id, value_name FROM baseline_values"
                ).read_all()
                self._names = pa.concat_tables([self._names, of_hives.cast(self._names.schema)])
        fits = pc.match_substring(self._names["value_name"], text, ignore_case=True)
        keys = self.keys
        by_value = keys.places[to_numbers(self._names["key_id"].filter(fits).combine_chunks())]
        labels = from_texts([keys.shown_label(key) for key in keys.order])
        by_name = to_numbers(pc.indices_nonzero(pc.match_substring(labels, text, ignore_case=True)))
        places = np.union1d(by_value, by_name)
        return [int(place) for place in places if place >= 0]
