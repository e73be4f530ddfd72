"""Evidence of some keys as numbers, by key and time: for loops that do what an engine's windows over wide rows do.

`analysis.answers.evidence` says what each fact means, and which events are evidence.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.answers.facts import FACTS
from analysis.answers.sorted_columns import ORDER_BITS, Bools, Ints, Names, in_order, numbers_of
from tracer.columns.sorting import stable_argsort

__all__ = ["NONE", "Marks", "Moments"]

NONE = -1  # before every sequence
_OF_VALUES = np.array([not name.startswith("key_") for name in FACTS])


@dataclass(frozen=True, slots=True)
class Moments:
    """Events of things (keys, or values), by thing and sequence."""

    at: Ints

    @classmethod
    def of(cls, thing: Ints, sequence: Ints, chosen: Bools) -> "Moments":
        """Return some events of things, known by number.

        Args:
            thing: of each event, rising.
            sequence: of each event, rising for each thing.
            chosen: which events.
        """
        return cls(thing[chosen] << ORDER_BITS | sequence[chosen])

    def last_before(self, thing: Ints, sequence: Ints) -> Ints:
        """Return the sequence of the last event of each thing before a sequence; NONE where there is none."""
        if not len(self.at):
            return np.full(len(thing), NONE, np.int64)
        place = np.searchsorted(self.at, thing << ORDER_BITS | sequence) - 1
        found = self.at[np.maximum(place, 0)]
        is_own = (place >= 0) & (found >> ORDER_BITS == thing)
        return np.where(is_own, found & ((1 << ORDER_BITS) - 1), NONE)


@dataclass(frozen=True, slots=True)
class Marks:
    """Evidence, ordered by key and sequence; one array a column.

    Attributes:
        keys: the keys (groups) by number.
        group: number of the key.
        sequence: of the event.
        fact: place in FACTS of what it proves.
        value: number of the value's folded name among `names`; -1 for facts of keys.
        row: place in the rows of which these are made, for columns that are needed of few.
        names: the names of values in those rows.
    """

    keys: pa.Array
    group: Ints
    sequence: Ints
    fact: Ints
    value: Ints
    row: Ints
    names: Names

    @classmethod
    def of(cls, rows: pa.Table, facts: Collection[str]) -> "Marks":
        """Return the rows of `analysis.answers.evidence.numbered_evidence`, and of others like these, with some facts."""
        facts_of = rows.column("fact").fill_null(len(FACTS)).to_numpy()
        wanted = np.array([*(name in facts for name in FACTS), False])
        kept = np.flatnonzero(wanted[facts_of])
        groups = pc.dictionary_encode(rows.column("key_id").combine_chunks())
        group, sequence = numbers_of(groups.indices)[kept], numbers_of(rows.column("sequence"))[kept]
        order, _ = in_order(group, sequence)
        row = kept[order]
        fact, names = facts_of[row].astype(np.int64), Names.of(rows.column("value_name"))
        value = np.where(_OF_VALUES[fact], names.number()[row], -1)
        return cls(groups.dictionary, group[order], sequence[order], fact, value, row, names)

    def are(self, facts: Collection[str]) -> Bools:
        """Tell which have one of some facts."""
        listed = np.array([name in facts for name in FACTS])
        found: Bools = listed[self.fact]
        return found

    def taken(self, places: Ints) -> "Marks":
        """Return the marks at some places, in the order of these."""
        return Marks(
            self.keys,
            self.group[places],
            self.sequence[places],
            self.fact[places],
            self.value[places],
            self.row[places],
            self.names,
        )

    def by_value(self) -> tuple[Ints, Ints]:
        """Return the places of the marks of values by key, value and sequence, and which value each is of: from 0, rising."""
        chosen = np.flatnonzero(self.value >= 0)
        pair = self.group[chosen] * (len(self.names.numbers) + 1) + self.value[chosen]
        order = stable_argsort(pair)
        pair = pair[order]
        number = np.cumsum(np.append(False, pair[1:] != pair[:-1])) if len(pair) else pair
        return chosen[order], number

    def column(self, rows: pa.Table, name: str, nothing: int = 0) -> Ints:
        """Return a column of numbers of the rows of which the marks were made; `nothing` is what NULL becomes."""
        numbers = rows.column(name)
        found = numbers_of(numbers)[self.row]
        if nothing and numbers.null_count:
            found[~np.asarray(pc.is_valid(numbers))[self.row]] = nothing
        return found
