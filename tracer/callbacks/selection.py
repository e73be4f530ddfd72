"""Filters of event rows by notify class, key and process, applied to whole tables at once."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.callbacks.notify_class import REPORTED, Notify
from tracer.errors import UsageError
from tracer.registry.paths import KeyPattern
from tracer.registry.terms import process_regex
from tracer.registry.user_keys import compile_patterns, is_sid, user_root

__all__ = ["Names", "Notifies", "Processes", "Selection"]

Bools = NDArray[np.bool_]
Names = str | Sequence[str] | None
Notifies = Notify | int | str | Iterable[Notify | int | str] | None
Processes = str | int | Sequence[str | int] | None

_MOST_VERDICTS = 100_000  # names whose verdict is remembered


class Selection:
    r"""Filters of event rows; a row must pass all of them, None lets every row pass.

    Args:
        notify: REG_NOTIFY_CLASS, by `Notify`, number or name; or several.
        key: a key or a pattern (`tracer.registry.paths.compile_pattern`), or several of which one must match. A row
            whose key is unknown cannot match.
        process: image names (patterns with ``*`` and ``?``, any case), image paths (with a backslash), or pids; digits
            in a text also name a pid. A row whose process is not known cannot match.
        subtree: keys below a matching key match too.
        user: SID of the user whose keys HKCU and HKCR are; None: everybody's with a profile.
        sids: returns the SIDs that a user's name or SID means, where that is known; None: only SIDs are understood.
        shows_user: whether keys are called HKCU because their user is unknown (`tracer.registry.user_keys.compile_patterns`).

    Raises:
        UsageError: a filter cannot be understood, or names a class that no source reports.
    """

    def __init__(
        self,
        *,
        notify: Notifies = None,
        key: Names = None,
        process: Processes = None,
        subtree: bool = False,
        user: str | None = None,
        shows_user: bool = False,
        sids: Callable[[str | None], Sequence[str]] | None = None,
    ) -> None:
        self.notify = _classes(notify)
        self.keys = _as_tuple(key)
        self.processes = _as_tuple(process)
        self._subtree, self._user, self._shows_user = subtree, user, shows_user
        self._sids = sids
        self._patterns: dict[int | None, list[KeyPattern]] = {}
        if user is not None and not any(map(user_root, self.keys or ())):
            raise UsageError(
                f"the user {user} says whose HKCU or HKCR is meant, and no key begins with these"
            )
        self._compile(None)  # so that a mistake is reported now
        self._key_verdicts: dict[tuple[int | None, str], bool] = {}
        texts = [word for word in self.processes or () if isinstance(word, str)]
        self._pids = pa.array(_pids(self.processes or ()), pa.int64())
        self._images = _Globs([text for text in texts if "\\" not in text])
        self._image_paths = _Globs([text for text in texts if "\\" in text])

    def match(self, rows: pa.Table, *, control_set: int | None = None) -> Bools:
        """Return which rows pass; each distinct name is matched once.

        Args:
            rows: a table with those of the columns notify_class, key, process, image_path and pid that the filters need.
            control_set: number of the current control set; None if unknown.
        """
        mask: Bools = np.ones(rows.num_rows, np.bool_)
        if self.notify is not None:
            numbers = pa.array(sorted(self.notify), pa.int64())
            classes = rows.column("notify_class").cast(pa.int64())
            mask &= _as_bools(pc.is_in(classes, value_set=numbers))
        if self.processes is not None:
            mask &= self._match_process(rows, mask)
        if self.keys is not None:
            mask = _match_names(rows.column("key"), mask, lambda key: self._match_key(key, control_set))
        return mask

    def _match_process(self, rows: pa.Table, among: Bools) -> Bools:
        matches: Bools = np.zeros(rows.num_rows, np.bool_)
        if len(self._pids):
            matches |= _as_bools(pc.is_in(rows.column("pid").cast(pa.int64()), value_set=self._pids))
        for globs, column in ((self._images, "process"), (self._image_paths, "image_path")):
            if globs.regexes and column in rows.column_names:
                matches |= _match_names(rows.column(column), among & ~matches, globs.match)
        return matches

    def _match_key(self, key: str, control_set: int | None) -> bool:
        verdict = self._key_verdicts.get((control_set, key))
        if verdict is None:
            if len(self._key_verdicts) >= _MOST_VERDICTS:
                self._key_verdicts.clear()
            verdict = any(pattern.matches(key) for pattern in self._compile(control_set))
            self._key_verdicts[control_set, key] = verdict
        return verdict

    def _compile(self, control_set: int | None) -> list[KeyPattern]:
        if control_set not in self._patterns:
            self._patterns[control_set] = [
                pattern
                for text in self.keys or ()
                for pattern in compile_patterns(
                    text,
                    control_set=control_set,
                    users=self._users_of(text),
                    subtree=self._subtree,
                    shows_user=self._shows_user,
                )
            ]
        return self._patterns[control_set]

    def _users_of(self, key: str) -> Sequence[str] | None:
        """Return the SIDs of those whose key this is; None: everybody's."""
        root = user_root(key)
        if root is None:
            return None
        word = root.user or self._user
        if self._sids is not None:
            return self._sids(word)
        if word is not None and not is_sid(word):
            raise UsageError(
                f"live events tell users by their SIDs only: give one such as S-1-5-21-1-2-3-1001, not {word!r}"
            )
        return None if word is None else [word]


class _Globs:
    """Patterns of names of which one must match; each name is matched once."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.regexes = [re.compile(process_regex(pattern, whole=False)) for pattern in patterns]
        self._verdicts: dict[str, bool] = {}

    def match(self, name: str) -> bool:
        verdict = self._verdicts.get(name)
        if verdict is None:
            if len(self._verdicts) >= _MOST_VERDICTS:
                self._verdicts.clear()
            verdict = self._verdicts[name] = any(regex.fullmatch(name) for regex in self.regexes)
        return verdict


def _match_names(column: pa.ChunkedArray, among: Bools, test: Callable[[str], bool]) -> Bools:
    """Return the rows of `among` whose name passes the test; a NULL never does."""
    matches: Bools = np.zeros(len(among), np.bool_)
    places = np.flatnonzero(among)
    if not len(places):
        return matches
    names = column.take(pa.array(places)).combine_chunks()
    if isinstance(names, pa.ChunkedArray):
        names = pa.concat_arrays(names.chunks)
    if not pa.types.is_dictionary(names.type):
        names = names.dictionary_encode()
    verdicts = np.array([name is not None and test(name) for name in names.dictionary.to_pylist()] + [False])
    numbers = pc.fill_null(names.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    matches[places] = verdicts[numbers]
    return matches


def _as_bools(values: pa.ChunkedArray) -> Bools:
    return np.asarray(values.to_numpy()).astype(np.bool_)


def _as_tuple(words: Any) -> tuple[Any, ...] | None:  # noqa: ANN401
    if words is None:
        return None
    return (words,) if isinstance(words, str | int) else tuple(words)


def _classes(notify: Notifies) -> frozenset[Notify] | None:
    words = _as_tuple(notify)
    return None if words is None else frozenset(map(_class, words))


def _class(word: Notify | int | str) -> Notify:
    """Return the class that a word names."""
    try:
        notify = Notify[word.removeprefix("RegNt")] if isinstance(word, str) else Notify(word)
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"{word!r} is not a REG_NOTIFY_CLASS; use a name or number of regtrace.Notify"
        ) from error
    if notify not in REPORTED:
        post = notify.name.replace("Pre", "Post")
        names = (post, f"{post}Ex", notify.name.replace("Post", "Pre"))
        reported = next(
            (name for name in names if name in Notify.__members__ and Notify[name] in REPORTED), None
        )
        advice = f"register for {reported}" if reported else "leave it out"
        reason = "operations are reported after they completed, " if notify.is_pre else ""
        raise UsageError(f"no source reports {notify.name} ({int(notify)}): {reason}{advice}")
    return notify


def _pids(words: Iterable[str | int]) -> list[int]:
    """Return the pids that words may mean: numbers, and texts of digits."""
    texts = (
        word
        for word in words
        if isinstance(word, int) or (word.isascii() and word.isdigit() and len(word) <= 10)
    )
    return [pid for pid in map(int, texts) if 0 <= pid < 1 << 32]
