"""What the view shows: the keys as a tree, the times at which something changed, and a key's contents at a time."""

import threading
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from analysis.capture import Capture
from analysis.engine.relation import Relation
from analysis.filters import Filters
from tracer.registry.ntstatus import NOT_SUCCESS

__all__ = ["Model", "Stops", "told_time"]

_CACHED = 256  # answers
_NO_KEY = -1
_SECOND = 1_000_000_000  # nanoseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def told_time(time_ns: int, zone: tzinfo = UTC) -> str:
    """Return UTC nanoseconds since 1970 in a zone, with all nine digits: 2024-05-01 10:00:00.000000100+00:00."""
    second, rest = divmod(int(time_ns), _SECOND)
    moment = (_EPOCH + timedelta(seconds=second)).astimezone(zone).isoformat(sep=" ")
    return f"{moment[:19]}.{rest:09d}{moment[19:]}"


@dataclass(frozen=True, slots=True)
class Stops:
    """Times at which something changed, each once, in order.

    Attributes:
        times: UTC nanoseconds since 1970.
    """

    times: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.times)

    def until(self, at_ns: int) -> int:
        """Return how many are at `at_ns` or before."""
        return int(np.searchsorted(self.times, at_ns, side="right"))

    def after(self, at_ns: int) -> int | None:
        """Return the first one after `at_ns`; None where there is none."""
        found = self.until(at_ns)
        return int(self.times[found]) if found < len(self.times) else None

    def before(self, at_ns: int) -> int | None:
        """Return the last one before `at_ns`; None where there is none."""
        found = int(np.searchsorted(self.times, at_ns, side="left"))
        return int(self.times[found - 1]) if found else None


class Model:
    """The keys and changes of one capture, and its answers about single keys.

    Keys are numbers (`key_id`); rows of `keys` that stand for another key are that key. Questions run one at a time:
    any thread may ask.

    Attributes:
        capture: the capture.
        tops: the keys that no other key stands above, in the order of their names; unnamed objects last.
        first_ns, last_ns: times of the first and last event, UTC nanoseconds; 0 in an empty capture.
        stops: the times of all changes that did not fail.
        turn: held by a thread whose question nobody else's should come between.
        losses: where events are missing: from and to, UTC nanoseconds, each cut to the capture's own time.
    """

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.first_ns, self.last_ns = capture.span() or (0, 0)
        self.turn = threading.RLock()
        self._answers: OrderedDict[tuple[str, int, int], pa.Table] = OrderedDict()
        self._names: pa.Table | None = None
        self._read_keys()
        self._read_changes()
        self.losses = self._read_losses()

    def path(self, key: int) -> str:
        """Return the key's path as people write it, escaped as in the capture."""
        return self._paths[key]

    def label(self, key: int) -> str:
        """Return what the tree calls the key: its name, or its path where nothing stands above it."""
        parent = self._parents[key]
        return self._paths[key] if parent == _NO_KEY else self._paths[key][len(self._paths[parent]) + 1 :]

    def children(self, key: int) -> list[int]:
        """Return the keys right below, in the order of their names."""
        return self._children.get(key, [])

    def ancestors(self, key: int) -> list[int]:
        """Return the keys above, the highest first."""
        found: list[int] = []
        while (key := self._parents[key]) != _NO_KEY:
            found.append(key)
        return found[::-1]

    def stops_below(self, key: int) -> Stops:
        """Return the times of changes of the key and of all keys below it."""
        place = self._places.get(key)
        if place is None:
            return Stops(np.empty(0, np.int64))
        low, high = np.searchsorted(self._change_places, [place, self._ends[key]])
        return Stops(np.unique(self._change_times[low:high]))

    def is_kept(self, key: int, at_ns: int) -> bool:
        """Tell whether `state` would answer at once."""
        return ("state", key, at_ns) in self._answers

    def state(self, key: int, at_ns: int) -> pa.Table:
        """Return the key's own row and those of its values (`Capture.state`) as known at `at_ns`, inclusive."""
        return self._ask("state", key, at_ns)

    def history(self, key: int) -> pa.Table:
        """Return the writes and deletes of the key's values (`Capture.history`)."""
        return self._ask("history", key, 0)

    def times_of(self, rows: pa.Table) -> list[int]:
        """Return the time of the event of each row (column `sequence`), UTC nanoseconds."""
        wanted = rows["sequence"].to_pylist()
        if not wanted:
            return []
        listed = ", ".join(str(int(one)) for one in wanted)
        with self.turn:
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
        with self.turn:
            places = self._found(literal)
        if not places:
            return None
        here = self._places.get(after, -1) if after is not None else -1
        spot = bisect_left(places, here) - 1 if back else bisect_right(places, here)
        return self._order[places[spot % len(places)]]

    def doubts(self) -> list[str]:
        """Return what is missing or in doubt in the whole capture, as sentences."""
        sentences = list(self.capture.doubts().sentences)
        unplaced = self.capture.manifest.totals.get("rows_without_key")
        if unplaced:
            sentences.append(f"{unplaced:,} rows are of no key")
        return sentences

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
        keys = set(self._names["key_id"].filter(fits).to_pylist())
        labels = pa.array([self.label(key) for key in self._order], pa.string())
        named = np.asarray(pc.match_substring(labels, text, ignore_case=True))
        places = {self._places[self._same[key]] for key in keys if self._same.get(key) in self._places}
        return sorted(places.union(np.flatnonzero(named).tolist()))

    def _ask(self, question: str, key: int, at_ns: int) -> pa.Table:
        asked = (question, key, at_ns)
        with self.turn:
            if asked not in self._answers:
                queries, word = self.capture.queries, f"#{key}"
                query = (
                    queries.history(key=word)
                    if question == "history"
                    else queries.state(key=word, at=told_time(at_ns))
                )
                self._answers[asked] = query.to_arrow()
                while len(self._answers) > _CACHED:
                    self._answers.popitem(last=False)
            return self._answers[asked]

    def _read_keys(self) -> None:
        rows = self.capture.sql_reader(
            "SELECT key_id, same_as, display_path, folded_path FROM keys ORDER BY folded_path, key_id"
        ).read_all()
        ids, same, paths, folded = (rows.column(name).to_pylist() for name in rows.schema.names)
        self._same: dict[int, int] = {
            key: key if other is None else other for key, other in zip(ids, same, strict=True)
        }
        self._paths: dict[int, str] = {}
        self._parents: dict[int, int] = {}
        self._children: dict[int, list[int]] = {}
        self.tops: list[int] = []
        by_path: dict[str, int] = {}
        for key, path, name in zip(ids, paths, folded, strict=True):
            if self._same[key] != key:
                continue
            above = name.rpartition("\\")[0]
            while above and above not in by_path:
                above = above.rpartition("\\")[0]
            parent = by_path.get(above, _NO_KEY)
            by_path.setdefault(name, key)
            self._paths[key], self._parents[key] = path, parent
            (self.tops if parent == _NO_KEY else self._children.setdefault(parent, [])).append(key)
        self.tops.sort(key=lambda key: self._paths[key].startswith(("\\", "<")))  # unnamed objects last
        self._number()

    def _number(self) -> None:
        """Number the keys as the tree shows them, so that a key and all below it are a range."""
        self._order: list[int] = []
        self._places: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        waiting = [(key, False) for key in reversed(self.tops)]
        while waiting:
            key, is_done = waiting.pop()
            if is_done:
                self._ends[key] = len(self._order)
                continue
            self._places[key] = len(self._order)
            self._order.append(key)
            waiting.append((key, True))
            waiting += [(child, False) for child in reversed(self.children(key))]

    def _read_changes(self) -> None:
        context = self.capture.context
        writes = context.rows(Filters(operation="write"), joined=False)
        sql = (
            f"SELECT key_id, time_ns FROM {writes.source} "
            f"WHERE (status IS NULL OR status < {NOT_SUCCESS}) AND key_id IS NOT NULL"
        )
        rows = context.engine.fetch(Relation(sql, (("key_id", "int32"), ("time_ns", "int64"))))
        times = np.asarray(rows["time_ns"], np.int64)
        of = np.asarray(rows["key_id"], np.int64)
        places = np.full(max(self._same, default=0) + 1, _NO_KEY, np.int64)
        for key, same in self._same.items():
            places[key] = self._places.get(same, _NO_KEY)
        at = places[of]
        order = np.argsort(at, kind="stable")
        self._change_places, self._change_times = at[order], times[order]
        self.stops = Stops(np.unique(times))

    def _read_losses(self) -> list[tuple[int, int]]:
        rows = self.capture.sql_reader("SELECT from_ns, to_ns FROM losses WHERE kind <> 'clock'").read_all()
        return [
            (
                max(self.first_ns, self.first_ns if low is None else low),
                min(self.last_ns, self.last_ns if high is None else high),
            )
            for low, high in zip(rows["from_ns"].to_pylist(), rows["to_ns"].to_pylist(), strict=True)
        ]
