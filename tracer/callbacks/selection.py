"""Which event rows somebody wants: by notify class, key and process, decided for whole tables at once."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.callbacks.notify_class import REPORTED, Notify
from tracer.errors import UsageError
from tracer.registry.paths import KeyPattern, compile_patterns, escape_argument
from tracer.registry.quoting import as_pattern
from tracer.registry.text import fold_name

__all__ = ["Names", "Notifies", "Processes", "Selection"]

Bools = NDArray[np.bool_]
Names = str | Sequence[str] | None
Notifies = Notify | int | str | Iterable[Notify | int | str] | None
Processes = str | int | Sequence[str | int] | None

_MOST_KNOWN = 100_000  # verdicts on names that are kept


class Selection:
    r"""What rows are wanted; every filter narrows, None asks nothing.

    Args:
        notify: REG_NOTIFY_CLASS, by `Notify`, number or name; or several.
        keys: a key or a pattern (`tracer.registry.paths.compile_pattern`), or several of which one must match. A row
            whose key nobody named cannot match.
        processes: image names (patterns with ``*`` and ``?``, any case) or pids; digits in a text also
            name a pid. A row whose process is not known cannot match.
        subtree: keys below a matching key are wanted too.
        user_sid: SID whose key HKCU is.
        shows_user: whether keys are called HKCU because nobody knows whose they are (`tracer.registry.paths.compile_patterns`).

    Raises:
        UsageError: a filter cannot be understood, or asks for a class that no source reports.
    """

    def __init__(
        self,
        *,
        notify: Notifies = None,
        keys: Names = None,
        processes: Processes = None,
        subtree: bool = False,
        user_sid: str | None = None,
        shows_user: bool = False,
    ) -> None:
        self.notify = _classes(notify)
        self.keys = _several(keys)
        self.processes = _several(processes)
        self._subtree, self._user_sid, self._shows_user = subtree, user_sid, shows_user
        self._patterns: dict[int | None, list[KeyPattern]] = {}
        self._compiled(None)  # a mistake is told now
        self._known_keys: dict[tuple[int | None, str], bool] = {}
        self._known_images: dict[str, bool] = {}
        self._pids, self._images = _pids_and_images(self.processes)

    def wanted(self, rows: pa.Table, *, control_set: int | None = None) -> Bools:
        """Return which rows are wanted; each distinct name is matched once.

        Args:
            rows: a table with the columns notify_class, key, process and pid, where they are asked for.
            control_set: number of the current control set; None where unknown.
        """
        mask: Bools = np.ones(rows.num_rows, np.bool_)
        if self.notify is not None:
            numbers = pa.array(sorted(self.notify), pa.int64())
            classes = rows.column("notify_class").cast(pa.int64())
            mask &= _bools(pc.is_in(classes, value_set=numbers))
        if self.processes is not None:
            pids = rows.column("pid").cast(pa.int64())
            of_process = _bools(pc.is_in(pids, value_set=pa.array(self._pids, pa.int64())))
            if self._images:
                of_process |= _named(rows.column("process"), mask & ~of_process, self._is_image)
            mask &= of_process
        if self.keys is not None:
            mask = _named(rows.column("key"), mask, lambda key: self._is_key(key, control_set))
        return mask

    def _is_key(self, key: str, control_set: int | None) -> bool:
        known = self._known_keys.get((control_set, key))
        if known is None:
            if len(self._known_keys) >= _MOST_KNOWN:
                self._known_keys.clear()
            known = any(pattern.matches(key) for pattern in self._compiled(control_set))
            self._known_keys[control_set, key] = known
        return known

    def _is_image(self, image: str) -> bool:
        known = self._known_images.get(image)
        if known is None:
            if len(self._known_images) >= _MOST_KNOWN:
                self._known_images.clear()
            folded = fold_name(image)
            known = any(pattern.fullmatch(folded) for pattern in self._images)
            self._known_images[image] = known
        return known

    def _compiled(self, control_set: int | None) -> list[KeyPattern]:
        if control_set not in self._patterns:
            self._patterns[control_set] = [
                pattern
                for text in self.keys or ()
                for pattern in compile_patterns(
                    text,
                    control_set=control_set,
                    user_sid=self._user_sid,
                    subtree=self._subtree,
                    shows_user=self._shows_user,
                )
            ]
        return self._patterns[control_set]


def _named(column: pa.ChunkedArray, among: Bools, fits: Any) -> Bools:  # noqa: ANN401
    """Return the rows of `among` whose name fits; a NULL never does."""
    found: Bools = np.zeros(len(among), np.bool_)
    places = np.flatnonzero(among)
    if not len(places):
        return found
    names = column.take(pa.array(places)).combine_chunks()
    if isinstance(names, pa.ChunkedArray):
        names = pa.concat_arrays(names.chunks)
    if not pa.types.is_dictionary(names.type):
        names = names.dictionary_encode()
    verdicts = np.array([name is not None and fits(name) for name in names.dictionary.to_pylist()] + [False])
    numbers = pc.fill_null(names.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    found[places] = verdicts[numbers]
    return found


def _bools(values: pa.ChunkedArray) -> Bools:
    return np.asarray(values.to_numpy()).astype(np.bool_)


def _several(words: Any) -> tuple[Any, ...] | None:  # noqa: ANN401
    if words is None:
        return None
    return (words,) if isinstance(words, str | int) else tuple(words)


def _classes(notify: Notifies) -> frozenset[Notify] | None:
    listed = _several(notify)
    return None if listed is None else frozenset(map(_class, listed))


def _class(word: Notify | int | str) -> Notify:
    """Return the class a user means, if some source reports it."""
    try:
        found = Notify[word.removeprefix("RegNt")] if isinstance(word, str) else Notify(word)
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"{word!r} is no REG_NOTIFY_CLASS: the names are those of regtrace.Notify"
        ) from error
    if found not in REPORTED:
        twins = [
            found.name.replace("Pre", "Post"),
            f"{found.name.replace('Pre', 'Post')}Ex",
            found.name.replace("Post", "Pre"),
        ]
        twin = next((twin for twin in twins if twin in Notify.__members__ and Notify[twin] in REPORTED), None)
        advice = f"register for {twin}" if twin else "leave it out"
        reason = "operations are told after they completed, " if found.is_pre else ""
        raise UsageError(f"no source reports {found.name} ({int(found)}): {reason}{advice}")
    return found


_TOKEN = re.compile(r"\[([*?\[])\]|(.)", re.DOTALL)


def _pids_and_images(words: tuple[str | int, ...] | None) -> tuple[list[int], list[re.Pattern[str]]]:
    pids: list[int] = []
    images: list[re.Pattern[str]] = []
    for word in words or ():
        if isinstance(word, int):
            pids.append(word)
            continue
        if "\\" in word:
            raise UsageError(f"{word!r} is a path: give the image's file name, or a pid")
        if word.isascii() and word.isdigit() and len(word) <= 10:
            pids.append(int(word))
        images.append(_image_pattern(word))
    return [pid for pid in pids if 0 <= pid < 1 << 32], images


def _image_pattern(word: str) -> re.Pattern[str]:
    out = []
    for literal, letter in _TOKEN.findall(escape_argument(as_pattern(word))):
        wild = {"*": ".*", "?": "."}.get(letter)
        out.append(wild or re.escape(fold_name(literal or letter)))
    return re.compile("".join(out), re.DOTALL)
