r"""The users whose keys captures hold: whose `HKCU` is, what they are called, and how tables show their keys.

A user is a SID below `HKU`. The name is what the capture itself tells, and never proof of an account: the value
USERNAME of the user's own `Volatile Environment`, the account that Procmon ran as (it calls its own user's keys
`HKCU`), else the last component of ProfileImagePath in ProfileList, the folder of the profile.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from analysis.engine.connection import answer, engine_errors
from analysis.engine.open_engine import OpenEngine
from analysis.engine.relation import Relation, quoted
from tracer.errors import UsageError
from tracer.registry.suggestions import closest
from tracer.registry.text import decode_name, fold_name
from tracer.registry.user_keys import as_current_user, is_profile, is_sid, sid_of, user_root
from tracer.schema import BASELINE_VALUES
from tracer.store.manifest import Manifest

if TYPE_CHECKING:
    import pyarrow as pa

    from analysis.filters import Filters

__all__ = [
    "KEY_USER",
    "User",
    "Users",
    "by_batch",
    "find_users",
    "merged_users",
    "with_key_users",
    "with_spelled_keys",
]

_HIVES = "HKU\\"  # users' keys are below
KEY_USER = "key_user"  # the column that says whose key a row is about
_PROFILES = r"HKLM\SOFTWARE\MICROSOFT\WINDOWS NT\CURRENTVERSION\PROFILELIST"
_FOLDER, _ACCOUNT = "PROFILEIMAGEPATH", "USERNAME"
_PROCMON = ("procmon.exe", "procmon64.exe", "procmon64a.exe")
_FEW_ROWS = 5_000
_MOST_TOLD = 6  # users that a sentence names
# Columns of answers that hold display paths.
_SHOWN_KEYS = ("display_key", "a_key", "b_key", "top_key", "last_change_key", "resolved_key")


class _Captures(Protocol):
    """What of a context (`analysis.questions.context.QueryContext`) is needed here."""

    engine: OpenEngine

    @property
    def stores(self) -> list[tuple[Path, Manifest]]: ...

    def relation(self, name: str) -> Relation: ...

    def first_ids(self, kind: str) -> list[int]: ...


class User(NamedTuple):
    """A user whose keys a capture holds.

    Attributes:
        sid: the SID, or .DEFAULT, in upper case.
        name: what the capture calls the user, escaped; None where it does not say.
    """

    sid: str
    name: str | None

    @property
    def label(self) -> str:
        """The name, or the SID where there is none."""
        return self.name or self.sid

    def __str__(self) -> str:
        return f"{self.name} ({self.sid})" if self.name else self.sid


@dataclass(frozen=True, slots=True)
class Users:
    """The users of one capture, or of several.

    Attributes:
        name: the capture, for messages.
        users: every user, by SID; one whom captures call differently once for each name.
        captures: the number of captures.
        nameless: whether there are keys that are called HKCU because nothing says whose they are.
    """

    name: str
    users: tuple[User, ...]
    captures: int
    nameless: bool

    @property
    def people(self) -> tuple[User, ...]:
        """The users with a profile; where there are none, Windows' own accounts."""
        return tuple(user for user in self.users if is_profile(user.sid)) or self.users

    def meant(self, word: str | None) -> tuple[User, ...]:
        """Return the users that a name or SID means; None: everybody.

        Raises:
            UsageError: no user, or more than one, is called so.
        """
        if word is None:
            return self.people
        if is_sid(word):
            return self.called(word) or (User(word.upper(), None),)
        called = self.called(word)
        if len(called) > 1 and self.captures == 1:
            raise UsageError(
                f"several users are called {word}: give one of {', '.join(u.sid for u in called)}"
            )
        if not called:
            raise UsageError(f"no user in {self.name} is called {word}; {self._others(word)}")
        return called

    def called(self, word: str) -> tuple[User, ...]:
        """Return the users with a name or SID."""
        if is_sid(word):
            return tuple(user for user in self.users if user.sid == word.upper())[:1]
        name = fold_name(word.rpartition("\\")[2])
        return tuple(user for user in self.users if user.name and fold_name(user.name) == name)

    def asked(self, filters: "Filters") -> tuple[User, ...]:
        """Return the users that the keys of filters mean; nobody where no key is a user's.

        Raises:
            UsageError: there is no such user.
        """
        roots = [root for root in map(user_root, filters.keys) if root is not None]
        return tuple(dict.fromkeys(user for root in roots for user in self.meant(root.user or filters.user)))

    def label(self, sid: str) -> str:
        """Return the name of a user, or the SID where there is none."""
        labels = {user.label for user in self.users if user.sid == sid}
        return labels.pop() if len(labels) == 1 else sid

    def roots(self, filters: "Filters") -> dict[str, str]:
        r"""Return for each SID what keys of that user begin with in tables.

        Keys of the one user that is meant are shown as ``HKCU\...``, those of other people as ``HKCU (alice)\...``;
        keys of Windows' own accounts stay below HKU.
        """
        people = [user for user in self.users if is_profile(user.sid)]
        meant = [user for user in self.asked(filters) if is_profile(user.sid)] or people
        names = [self.label(sid) for sid in {user.sid for user in people}]
        roots = {}
        for sid in {user.sid for user in people}:
            label = self.label(sid)
            roots[sid] = f"HKCU ({label if names.count(label) == 1 else sid})"
        if len({user.sid for user in meant}) == 1:
            roots[meant[0].sid] = "HKCU"
        return roots

    def spelling(self, filters: "Filters") -> Callable[[str], str]:
        """Return the function that spells a display path as tables show it (`roots`)."""
        roots = self.roots(filters)

        def spell(display_key: str) -> str:
            root = roots.get(sid_of(display_key) or "")
            return display_key if root is None else as_current_user(display_key, root)

        return spell

    def sentence(self, filters: "Filters") -> str | None:
        """Return the sentence that says whose keys HKCU and HKCR are in filters; None where no key begins so."""
        roots = [root for root in map(user_root, filters.keys) if root is not None]
        if not roots:
            return None
        users = self.asked(filters)
        words = [str(user) for user in users[:_MOST_TOLD]]
        words += [f"{len(users) - _MOST_TOLD:,} more"] * (len(users) > _MOST_TOLD)
        words += ["a user whom the log does not name"] * self.nameless
        listed = " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
        said = []
        if any(not root.classes for root in roots):
            said.append(f"HKCU is that of {listed}" if words else f"no key in {self.name} is a user's")
        if any(root.classes for root in roots):
            said.append(
                f"HKCR is the classes of {listed}, before those of the machine (HKLM\\SOFTWARE\\Classes)"
                if words
                else "HKCR is the classes of the machine (HKLM\\SOFTWARE\\Classes)"
            )
        if users and not any(is_profile(user.sid) for user in users) and filters.user is None:
            said.append("these are accounts of Windows, for nobody with a profile has keys here")
        if len(users) > 1 and filters.user is None:
            said.append("--user narrows")
        return "; ".join(said)

    def _others(self, word: str) -> str:
        close = closest(word, (user.name for user in self.users if user.name), 1)
        if close:
            return f"did you mean {close[0]}?"
        listed = " or ".join(str(user) for user in self.people[:4])
        return f"give {listed}" if listed else "it has no user's keys"


def find_users(context: "_Captures") -> list[tuple[User, ...]]:
    """Return the users of each capture of a context, by SID."""
    first = context.first_ids("key_id")
    ranges = zip(range(len(first)), first, [*(start - 1 for start in first[1:]), 2**63 - 1], strict=True)
    captures = ", ".join(map(str, ranges))
    keys = context.relation("keys").source
    with engine_errors():
        hives = answer(
            context.engine,
            f"SELECT DISTINCT number, split_part(folded_path, '\\', 2) AS hive FROM {keys} "
            f"JOIN (VALUES {captures}) AS captures (number, first, last) ON key_id BETWEEN first AND last "
            "WHERE starts_with(folded_path, 'HKU\\')",
        ).to_pylist()
    sids: list[set[str]] = [set() for _ in first]
    for hive in hives:
        sid = sid_of(f"HKU\\{hive['hive']}")
        if sid is not None:
            sids[hive["number"]].add(sid)
    every = set().union(*sids)
    if not every:
        return [() for _ in first]
    names = _names(context, first, sorted(every))
    return [
        tuple(User(sid, own.get(sid)) for sid in sorted(some)) for some, own in zip(sids, names, strict=True)
    ]


def merged_users(name: str, captures: Sequence[tuple[User, ...]], *, nameless: bool) -> Users:
    """Return the users of several captures together.

    Args:
        name: the captures, for messages.
        captures: what `find_users` returned.
        nameless: as of `Users`.
    """
    every = {user for users in captures for user in users}
    named = {user.sid for user in every if user.name}
    users = (user for user in every if user.name or user.sid not in named)
    return Users(
        name, tuple(sorted(users, key=lambda user: (user.sid, user.name or ""))), len(captures), nameless
    )


def with_key_users(rows: "pa.Table", users: Callable[[], Users]) -> "pa.Table":
    """Return rows with the column KEY_USER behind `display_key`: whose key it is, NULL for keys of no user.

    Args:
        rows: an answer; one without the column `display_key` stays as it is.
        users: finds the users; it is called only where a user's key is among the rows.
    """
    names = rows.schema.names
    if "display_key" not in names or KEY_USER in names:
        return rows
    label = cache(lambda sid: users().label(sid))

    def tell(path: str) -> str | None:
        sid = sid_of(path)
        return None if sid is None else label(sid)

    labels = _told(rows.column("display_key"), tell, begins=_HIVES)
    return rows.add_column(names.index("display_key") + 1, KEY_USER, labels)


def by_batch(
    rows: "pa.RecordBatchReader", change: "Callable[[pa.Table], pa.Table]"
) -> "pa.RecordBatchReader":
    """Return a stream whose batches are changed, each as a table by itself."""
    import pyarrow as pa

    schema = change(rows.schema.empty_table()).schema

    def batches() -> "Iterator[pa.RecordBatch]":
        for batch in rows:
            yield from change(pa.Table.from_batches([batch])).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())


def with_spelled_keys(rows: "pa.Table", spell: Callable[[str], str]) -> "pa.Table":
    """Return rows for a table, in which users' keys are spelled as `Users.spelling` says."""
    for place, name in enumerate(rows.schema.names):
        if name in _SHOWN_KEYS:
            rows = rows.set_column(place, name, _told(rows.column(name), spell))
    return rows


def _told(
    column: "pa.ChunkedArray", tell: Callable[[str], str | None], *, begins: str = ""
) -> "pa.ChunkedArray":
    """Return what `tell` says of each path of a column; each distinct path is told once, NULL stays NULL.

    Args:
        column: paths.
        tell: is asked; it returns None for paths that do not begin with `begins`, in any case of letters.
        begins: see `tell`.
    """
    import pyarrow as pa

    if len(column) <= _FEW_ROWS:  # Arrow's functions take longer to load than these
        paths = column.to_pylist()
        by_path = {path: tell(path) for path in set(paths) - {None}}
        return pa.chunked_array([pa.array([by_path.get(path) for path in paths], pa.string())])
    import pyarrow.compute as pc

    chunks = []
    for chunk in column.chunks:
        some = chunk
        if begins:  # mostly few of many paths
            fits = pc.starts_with(chunk, begins, ignore_case=True)
            if not pc.any(fits).as_py():
                chunks.append(pa.nulls(len(chunk), pa.string()))
                continue
            some = pc.if_else(fits, chunk, pa.scalar(None, chunk.type))
        encoded = some.dictionary_encode()
        distinct = pa.array([tell(path) for path in encoded.dictionary.to_pylist()], pa.string())
        chunks.append(distinct.take(encoded.indices))
    return pa.chunked_array(chunks, pa.string())


def _names(context: "_Captures", first: Sequence[int], sids: Sequence[str]) -> list[dict[str, str]]:
    """Return the names of users by SID, for each capture."""
    telling: dict[
        str, tuple[str, str]
    ] = {}  # folded path -> whose key it is, and the value that tells the name
    for sid in sids:
        telling[f"{_PROFILES}\\{sid}"] = (sid, _FOLDER)
        telling[f"HKU\\{sid}\\VOLATILE ENVIRONMENT"] = (sid, _ACCOUNT)
    folders: list[dict[str, str]] = [{} for _ in first]
    names = _procmon_names(context, len(first))
    for key_id, path, value, data in _texts(context, list(telling)):
        sid, wanted = telling[path]
        name = decode_name(data).partition("<U+0000>")[0].rstrip("\\").rpartition("\\")[2]
        if name and fold_name(value) == wanted:
            by_sid = (names if wanted == _ACCOUNT else folders)[bisect.bisect_right(first, key_id) - 1]
            by_sid[sid] = name
    return [folder | name for folder, name in zip(folders, names, strict=True)]


def _texts(context: "_Captures", paths: Sequence[str]) -> Iterator[tuple[int, str, str, bytes]]:
    """Yield key id, folded path, value name and data of whole texts that hives hold, or that were written or read, in order."""
    keys, events = (context.relation(name).source for name in ("keys", "stored_events"))
    listed = ", ".join(map(quoted, paths))
    with engine_errors():
        found = answer(
            context.engine, f"SELECT key_id, folded_path FROM {keys} WHERE folded_path IN ({listed})"
        )
        by_id = {row["key_id"]: row["folded_path"] for row in found.to_pylist()}
        if not by_id:
            return
        rows = answer(
            context.engine,
            f"SELECT key_id, value_name, data FROM {events} WHERE key_id IN ({', '.join(map(str, by_id))}) "
            "AND status = 0 AND data_type IN (1, 2) AND value_name IS NOT NULL AND data IS NOT NULL "
            "AND octet_length(data) >= coalesce(data_size, 0) ORDER BY sequence",
        ).to_pylist()
        if any(manifest.has_table(BASELINE_VALUES.name) for _, manifest in context.stores):
            held = context.relation(BASELINE_VALUES.name).source
            before = answer(
                context.engine,
                f"SELECT key_id, value_name, data FROM {held} WHERE key_id IN ({', '.join(map(str, by_id))}) "
                "AND data_type IN (1, 2) AND data IS NOT NULL ORDER BY position",
            ).to_pylist()
            rows = [*before, *rows]
    for row in rows:
        yield row["key_id"], by_id[row["key_id"]], row["value_name"], row["data"]


def _procmon_names(context: "_Captures", count: int) -> list[dict[str, str]]:
    """Return the account that Procmon ran as, by the SID whose keys it calls HKCU, for each of `count` captures."""
    found: list[dict[str, str]] = [{} for _ in range(count)]
    sids = [
        {(source.get("facts") or {}).get("hkcu_sid") for source in manifest.sources}
        for _, manifest in context.stores
    ]
    if not any(some - {None} for some in sids):
        return found
    listed = ", ".join(map(quoted, _PROCMON))
    processes = context.relation("processes").source
    with engine_errors():
        rows = answer(
            context.engine,
            f'SELECT process_id, "user" FROM {processes} WHERE lower(image) IN ({listed}) AND "user" IS NOT NULL',
        ).to_pylist()
    first = context.first_ids("process_id")
    accounts: list[set[str]] = [set() for _ in range(count)]
    for row in rows:
        accounts[bisect.bisect_right(first, row["process_id"]) - 1].add(row["user"].rpartition("\\")[2])
    for own, some, called in zip(found, sids, accounts, strict=True):
        sid = next(iter(some), None)
        if len(some) == len(called) == 1 and sid is not None:
            own[sid.upper()] = called.pop()
    return found
