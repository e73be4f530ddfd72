"""Reports: rows that may be of an operation which another source reported as well, as columns of numbers.

Two passes over the stored rows. The first gives each row a number for its operation, place and process id; the place is
the key with the value's name, as one path, because a log does not say where the key ends. Only rows whose number another
source has too are looked at closely in the second.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.columns.arrays import read_numbers
from tracer.columns.sorting import find_distinct
from tracer.merge.claims import COLUMNS, Claims, join_claims, number_of, read_claims, wide_numbers
from tracer.merge.member import Member
from tracer.registry.operations import OPERATIONS
from tracer.registry.text import fold_name
from tracer.schema import FLAGS

__all__ = ["Keys", "Reports", "Sources", "find_owners", "find_reports"]

Column = NDArray[np.int64]
_UNSURE = FLAGS["name_ambiguous"] | FLAGS["path_split"]
_ETW = ("Microsoft-Windows-Kernel-Registry", "NT Kernel Logger")
_BY_DETAIL = (
    "procmon",
    "procmon-csv",
    "procmon-xml",
    "security",
    "sysmon",
    "defender",
)  # after ETW: the earlier says more of an operation
_OPERATIONS = {operation.name: number for number, operation in enumerate(OPERATIONS)}
_NUMBERS = (
    "row",
    "source",
    "what",
    "time_ns",
    "key",
    "is_sure",
    "owner",
    "status",
    "name",
)  # of Reports: one array each
_NO_OPERATION = len(_OPERATIONS)
_USER = re.compile(r"HKU\\(S-1-[0-9-]+)(_CLASSES)?(?=\\|\Z)")
_STATES_BEGIN = tuple(place for place, word in enumerate(_BY_DETAIL, 1) if word.startswith("procmon"))
_RENAME = _OPERATIONS["RenameKey"]


class Sources:
    """Sources by how much they say of an operation: a number for each, the lower the more. ETW's two are one."""

    def __init__(self) -> None:
        self.words: list[str] = ["etw", *_BY_DETAIL]

    def number(self, word: str) -> int:
        """Return the number of a word of the column `source`; those that nobody ranked come last."""
        word = "etw" if word in _ETW else word
        if word not in self.words:
            self.words.append(word)
        return self.words.index(word)


@dataclass(frozen=True, slots=True)
class Keys:
    r"""Keys of all captures.

    Attributes:
        new: of each capture, the key_id of each of its keys.
        same_as: of each key_id, the key that it is the same as.
        folded: of each key_id, its folded path; None where the key has no name.
        owner: of each key_id, a number for the user whose key it is; 0 where it is no user's, -1 for ``HKCU\...``, as
            Procmon writes a user's key where nothing says which user's it is.
    """

    new: Sequence[NDArray[np.int32]]
    same_as: NDArray[np.int32]
    folded: Sequence[str | None]
    owner: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Reports:
    """Rows that another source may have reported too, rising by (what, time).

    Attributes:
        row: number of the row among those of all captures, one capture after the other.
        source: as `Sources` numbers it.
        what: operation, place and process id as one number.
        time_ns: when the operation ended, as far as its source says.
        key: same_as of its key.
        is_sure: whether where the key ends is certain.
        owner: a number for the user whose key it is; -1 is unknown.
        status: -1 is unknown.
        name: a number for the new name of a rename; 0 is none.
        data: what it says of the data.
        previous: what it says of the data before.
    """

    row: Column
    source: Column
    what: Column
    time_ns: Column
    key: Column
    is_sure: NDArray[np.bool_]
    owner: Column
    status: Column
    name: Column
    data: Claims
    previous: Claims

    def take(self, rows: Column) -> "Reports":
        """Return some of the reports."""
        some = {name: getattr(self, name)[rows] for name in _NUMBERS}
        return Reports(**some, data=self.data.take(rows), previous=self.previous.take(rows))

    def fit(self, rows: Column, others: Column) -> NDArray[np.bool_]:
        """Tell, pair by pair, whether two reports do not contradict each other."""
        one, other = self.take(rows), self.take(others)
        right = (one.status < 0) | (other.status < 0) | (one.status == other.status)
        owned = (one.owner >= 0) & (other.owner >= 0)
        right &= ~owned | (one.owner == other.owner)
        right &= ~(owned & one.is_sure & other.is_sure) | (one.key == other.key)
        right &= (one.name == 0) | (other.name == 0) | (one.name == other.name)
        return right & ~one.data.contradict(other.data) & ~one.previous.contradict(other.previous)


def find_reports(
    members: Sequence[Member], keys: Keys
) -> tuple[Reports | None, Sources, Mapping[int, Counter[int]]]:
    """Return the rows that another source may have reported too, the sources, and rows by operation of each source.

    There are no reports (None) where no two sources have an operation, place and process id in common.
    """
    sources, places = Sources(), _Places(keys)
    numbers = _number_pids(members)
    firsts = [0, *np.cumsum([member.rows for member in members]).tolist()]
    what = np.full(firsts[-1], -1, np.int64)
    source = np.zeros(firsts[-1], np.int8)
    counts: dict[int, Counter[int]] = {}
    for number, member in enumerate(members):
        at = firsts[number]
        for part in member.parts(["operation", "key_id", "value_name", "process_id", "source"]):
            to = slice(at, at + part.num_rows)
            operation = _coded(part["operation"], lambda word: _OPERATIONS.get(word, _NO_OPERATION))
            source[to] = _coded(part["source"], sources.number)
            place = places.number(number, part)
            pid = np.append(numbers[number], -1)[
                read_numbers(part["process_id"].combine_chunks()).or_else(-1).astype(np.int64)
            ]
            known = (place >= 0) & (pid >= 0) & (operation != _NO_OPERATION)
            whole = (place * (numbers.total + 1) + pid) * (_NO_OPERATION + 1) + operation
            what[to] = np.where(known, whole, -1)
            for of_source in np.unique(source[to]).tolist():
                done = np.bincount(operation[source[to] == of_source])
                counts.setdefault(of_source, Counter()).update(
                    {one: int(done[one]) for one in np.flatnonzero(done).tolist()}
                )
            at += part.num_rows
    rows = np.flatnonzero((what >= 0) & np.isin(what, _shared(what, source)))
    return _read(members, keys, firsts, rows, what, source), sources, counts


class _PidNumbers(list[Column]):
    """Of each capture, a number for the process id of each of its processes (-1: unknown)."""

    total: int


def _number_pids(members: Sequence[Member]) -> _PidNumbers:
    pids = [member.numbers_of("processes", "pid") for member in members]
    distinct = np.unique(np.concatenate(pids)) if pids else np.zeros(0, np.int64)
    numbers = _PidNumbers(np.where(own < 0, -1, np.searchsorted(distinct, own)) for own in pids)
    numbers.total = len(distinct)
    return numbers


def _shared(what: Column, source: NDArray[np.int8]) -> Column:
    """Return the numbers that more than one source has."""
    each = [np.unique(what[source == one]) for one in np.unique(source).tolist()]
    distinct, times = np.unique(np.concatenate(each) if each else what, return_counts=True)
    shared: Column = distinct[times > 1]
    return shared


class _Places:
    """Numbers of keys and values by their path; a key and a value never share one."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._are_owned = bool((keys.owner >= 0).all())
        self._names: dict[str | None, int] = {None: 0}
        self._folded: list[str] = [""]
        self._pairs: dict[int, int] = {}
        self._places: dict[tuple[bool, str], int] = {}

    def number(self, member: int, rows: pa.Table) -> Column:
        """Return the place of each row; -1 where its key has no name."""
        name = _coded(rows["value_name"], self._name)
        old = read_numbers(rows["key_id"].combine_chunks())
        new = self._keys.new[member]
        key = np.where(old.is_valid, new[np.where(old.is_valid, old.values, 0)], -1) if len(new) else -1
        key = np.where(key >= 0, self._keys.same_as[key], -1) if len(new) else np.full(rows.num_rows, -1)
        pairs, _, at = find_distinct(key.astype(np.int64) << 32 | name)
        found = np.array([self._place(pair) for pair in pairs.tolist()], np.int64)
        return found[at] if len(found) else np.zeros(0, np.int64)

    def _name(self, name: str | None) -> int:
        number = self._names.get(name)
        if number is None:
            number = self._names[name] = len(self._folded)
            self._folded.append(fold_name(name or ""))
        return number

    def _place(self, pair: int) -> int:
        place = self._pairs.get(pair)
        if place is None:
            key, name = pair >> 32, pair & 0xFFFFFFFF
            folded = None if key < 0 else self._keys.folded[key]
            if folded is None:
                place = -1
            else:
                path = f"{folded}\\{self._folded[name]}" if name else folded
                if (
                    not self._are_owned
                ):  # whose key it is then decides nothing, as long as one source does not say it
                    path = _USER.sub(_of_some_user, path, count=1) if path.startswith("HKU") else path
                place = self._places.setdefault((name > 0, path), len(self._places))
            self._pairs[pair] = place
        return place


def find_owners(folded: Sequence[str | None]) -> NDArray[np.int32]:
    """Return `Keys.owner` of folded paths."""
    users: dict[str, int] = {}
    owners = np.zeros(len(folded), np.int32)
    for key, path in enumerate(folded):
        if path is None or not path.startswith("HK"):
            continue
        if found := _USER.match(path):
            owners[key] = users.setdefault(found[1], len(users) + 1)
        elif path == "HKCU" or path.startswith("HKCU\\"):
            owners[key] = -1
    return owners


def _of_some_user(user: re.Match[str]) -> str:
    """Return how a source that does not know the user writes a user's hive."""
    return "HKCU\\SOFTWARE\\CLASSES" if user[2] else "HKCU"


def _coded(column: pa.ChunkedArray, number: Callable[[str], int]) -> Column:
    """Return `number` of each row's word; of NULL it is 0."""
    encoded = column.combine_chunks().dictionary_encode()
    codes = np.array([number(word) for word in encoded.dictionary.to_pylist()] + [0], np.int64)
    return codes[pc.fill_null(encoded.indices, len(codes) - 1).to_numpy(zero_copy_only=False)]


def _read(
    members: Sequence[Member],
    keys: Keys,
    firsts: Sequence[int],
    rows: Column,
    what: Column,
    source: NDArray[np.int8],
) -> Reports | None:
    """Return the reports at `rows`; None where there are none."""
    pieces = []
    for number, member in enumerate(members):
        at = firsts[number]
        names = ["time_ns", "duration_ns", "key_id", "status", "requested_name", *COLUMNS]
        for part in member.parts(names):
            mine = rows[np.searchsorted(rows, at) : np.searchsorted(rows, at + part.num_rows)]
            if len(mine):
                some = part.take(pa.array(mine - at))
                pieces.append(_reports(some, keys, number, mine, what[mine], source[mine].astype(np.int64)))
            at += part.num_rows
    if not pieces:
        return None
    columns = {name: np.concatenate([getattr(one, name) for one in pieces]) for name in _NUMBERS}
    data, previous = join_claims([one.data for one in pieces]), join_claims([one.previous for one in pieces])
    whole = Reports(**columns, data=data, previous=previous)
    return whole.take(np.lexsort((whole.time_ns, whole.what)))


def _reports(rows: pa.Table, keys: Keys, member: int, row: Column, what: Column, source: Column) -> Reports:
    time_ns = read_numbers(rows["time_ns"].combine_chunks()).values.astype(np.int64)
    took = read_numbers(rows["duration_ns"].combine_chunks()).or_else(0)
    # Procmon states when an operation began; the others report it when it is over.
    ended = np.where(np.isin(source, _STATES_BEGIN), time_ns + took, time_ns)
    flags = read_numbers(rows["flags"].combine_chunks()).values
    key = keys.same_as[keys.new[member][read_numbers(rows["key_id"].combine_chunks()).values]]
    is_rename = what % (_NO_OPERATION + 1) == _RENAME
    name = _coded(rows["requested_name"], lambda text: number_of(fold_name(text).encode()))
    return Reports(
        row,
        source,
        what,
        ended,
        key.astype(np.int64),
        flags & _UNSURE == 0,
        keys.owner[key].astype(np.int64),
        wide_numbers(rows["status"]),
        np.where(is_rename, name, 0),
        read_claims(rows, "data"),
        read_claims(rows, "previous"),
    )
