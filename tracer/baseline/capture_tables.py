"""Mounted hives as tables of a capture: keys and values, and what each tells of the time before the first event.

A hive that was written before the trace tells what was there at its time. Of one that is newer, a key tells it as well if
it was last written before the first event and the trace saw no change of it; others tell nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.baseline.mounts import MountedHive, mount_hives, read_word, select_current
from tracer.columns.arrays import from_booleans, from_bytes, from_numbers, from_texts
from tracer.registry.text import fold_name
from tracer.resolve.tree import KeyTree
from tracer.schema import BASELINE_KEYS, BASELINE_TELLS, BASELINE_VALUES
from tracer.sources.description import Source
from tracer.store.writer import CaptureWriter

__all__ = ["Baseline", "NamedBaseline", "open_baseline"]

_ALL, _SOME, _KEY, _ABSENT, _NOTHING = range(len(BASELINE_TELLS))
_WORDS = list(BASELINE_TELLS)
_OUTSIDE, _GONE, _UNKNOWN = (
    -1,
    -2,
    -3,
)  # in place of a row: no hive is of this key; it is in none; a hive does not say
_SYSTEM = fold_name("\\REGISTRY\\MACHINE\\SYSTEM")
_LINK = "CurrentControlSet"
_USERS = fold_name("\\REGISTRY\\USER\\")
_CHANGES = ("writes", "deletes", "unclear_writes")


@dataclass(slots=True)
class Baseline:
    """The hives of one ingest; none is fine, and then nothing is written.

    Attributes:
        hives: each with the key where it stands.
        control_set: number of the current control set that one of them states; None: none does.
    """

    hives: Sequence[MountedHive] = ()
    control_set: int | None = None

    def paths(self) -> Iterator[str]:
        """Yield the native path of every key of the hives; those of the current control set by its link as well."""
        for one in self.hives:
            paths: list[str] = []
            link = self._link_of(one)
            for parent, name in zip(one.hive.keys.parent.tolist(), one.hive.keys.names, strict=True):
                path = one.mount if parent < 0 else f"{paths[parent]}\\{name}"
                paths.append(path)
                yield path
                if link is not None and f"{fold_name(path)}\\".startswith(f"{link[0]}\\"):
                    yield link[1] + path[len(link[0]) :]

    def whole_roots(self) -> Iterator[str]:
        """Yield the native paths of the roots of hives of which every key was read."""
        for one in self.hives:
            if one.hive.keys.knows_subkeys.all():
                yield one.mount

    def _link_of(self, one: MountedHive) -> tuple[str, str] | None:
        """Return the folded path of the current control set, and that of the link to it; None in another hive."""
        if self.control_set is None or fold_name(one.mount) != _SYSTEM:
            return None
        return f"{_SYSTEM}\\CONTROLSET{self.control_set:03d}", f"{one.mount}\\{_LINK}"

    def name_keys(self, tree: KeyTree) -> "NamedBaseline":
        """Name the keys of the hives in the tree of a capture, and return what is left to write when its events are."""
        named = len(tree)
        return NamedBaseline([_HiveTables(one, tree) for one in self.hives], tree, named)

    def write(
        self,
        writer: CaptureWriter,
        tree: KeyTree,
        *,
        first_ns: int | None,
        control_set: int | None,
        source_id: int,
    ) -> list[dict[str, Any]]:
        """Name the keys of the hives in the tree, write the tables of the baseline, and return its entries of the manifest.

        Args:
            writer: the writer of the capture, to which all events were given.
            tree: the keys of the capture; it gets those of the hives as well.
            first_ns: time of the first event; None: there is none.
            control_set: number of the current control set; None if unknown.
            source_id: position of the first hive in the list of sources.
        """
        return self.name_keys(tree).write(
            writer, first_ns=first_ns, control_set=control_set, source_id=source_id
        )


def open_baseline(words: Sequence[Path | str]) -> Baseline:
    """Return the hives that some words name: `PATH`, or `PATH=KEY`.

    Raises:
        SourceError: a file is no hive.
        UsageError: nothing says at which key a hive stands, or two stand at one key.
    """
    hives = mount_hives([read_word(str(word)) for word in words])
    stated = [select_current(one.hive) for one in hives if fold_name(one.mount) == _SYSTEM]
    return Baseline(hives, stated[0] if stated else None)


class NamedBaseline:
    """Hives whose keys stand in the tree of a capture."""

    def __init__(self, tables: "Sequence[_HiveTables]", tree: KeyTree, named: int) -> None:
        """Hold the hives; `named`: the number of the tree's nodes before they were named."""
        self._tables, self._tree, self._named = tables, tree, named

    def write(
        self, writer: CaptureWriter, *, first_ns: int | None, control_set: int | None, source_id: int
    ) -> list[dict[str, Any]]:
        """Write the tables of the baseline, and return its entries of the manifest; arguments as of `Baseline.write`."""
        changed = _changed_keys(writer)
        count = 0
        for place, table in enumerate(self._tables):
            table.source_id = source_id + place
            writer.append(BASELINE_VALUES.name, table.value_tables(count))
            count += table.values
            table.find_tells(first_ns, changed)
        absent = _Absent(self._tables, self._tree, control_set).rows(self._named)
        for table in self._tables:
            writer.append(BASELINE_KEYS.name, table.keys(absent.get(table.source_id, [])))
            writer.append_rows("diagnostics", table.mounted.hive.found.rows(table.source_id))
        return [table.entry(first_ns) for table in self._tables]


class _HiveTables:
    """One hive, its keys as nodes of the capture's tree."""

    source_id = 0  # position in the list of sources

    def __init__(self, mounted: MountedHive, tree: KeyTree) -> None:
        self.mounted = mounted
        keys = mounted.hive.keys
        self.nodes = np.empty(len(keys), np.int32)
        self.nodes[0] = tree.rooted(mounted.mount)
        for level in keys.levels():
            self.nodes[level] = tree.children(
                self.nodes[keys.parent[level]].astype(np.int64), keys.names[level]
            )
        self.written = np.array([-1 if time is None else time for time in mounted.hive.written_ns], np.int64)
        self.tells = np.zeros(len(keys), np.int8)
        self.as_of = np.zeros(len(keys), np.int64)
        self.values = 0

    def value_tables(self, first_id: int) -> Iterator[pa.Table]:
        """Yield the table of values; `first_id` is that of the first."""
        for batch in self.mounted.hive.values():
            known = np.fromiter((data is not None for data in batch.data), np.bool_, len(batch.data))
            ids = np.arange(first_id + self.values, first_id + self.values + len(known))
            self.values += len(known)
            yield pa.table(
                [
                    from_numbers(ids),
                    from_numbers(self.nodes[batch.key]),
                    from_texts(batch.names),
                    from_numbers(batch.kinds),
                    from_numbers(batch.sizes),
                    from_bytes([data or b"" for data in batch.data], known),
                ],
                schema=BASELINE_VALUES.arrow(),
            )

    def find_tells(self, first_ns: int | None, changed: NDArray[np.bool_]) -> None:
        """Find what each key tells of the time before the first event; after the values were read."""
        hive = self.mounted.hive
        self.tells[:] = np.where(hive.knows_values, _ALL, _SOME)
        time_ns = hive.time_ns
        self.as_of[:] = 0 if time_ns is None else time_ns
        if time_ns is None:  # nothing says when it was so
            self.as_of[:] = self.written
        if first_ns is None or (time_ns is not None and time_ns < first_ns):
            return
        self.as_of[:] = self.written
        was_changed = np.zeros(len(self.nodes), np.bool_)
        inside = self.nodes < len(changed)
        was_changed[inside] = changed[self.nodes[inside]]
        is_old = (self.written >= 0) & (self.written < first_ns) & ~was_changed
        self.tells[~is_old] = _NOTHING
        # A key that was there then had all keys above it, whatever they held.
        parents, tells, as_of = hive.keys.parent.tolist(), self.tells.tolist(), self.as_of.tolist()
        for row in range(len(parents) - 1, 0, -1):
            if tells[row] != _NOTHING and tells[parents[row]] in (_NOTHING, _KEY):
                tells[parents[row]] = _KEY
                earlier = as_of[parents[row]] if as_of[parents[row]] < first_ns else -1
                as_of[parents[row]] = max(earlier, as_of[row])
        self.tells[:], self.as_of[:] = tells, as_of

    def keys(self, absent: list[tuple[int, int]]) -> Iterator[pa.Table]:
        """Yield the table of keys; `absent`: node and time of keys that the hive does not hold."""
        hive = self.mounted.hive
        count = len(self.nodes)
        nodes = np.concatenate([self.nodes, np.array([node for node, _ in absent], np.int32)])
        tells = np.concatenate([self.tells, np.full(len(absent), _ABSENT, np.int8)])
        as_of = np.concatenate([self.as_of, np.array([time for _, time in absent], np.int64)])
        written = np.concatenate([self.written, np.full(len(absent), -1)])
        is_key = np.arange(len(nodes)) < count
        yield pa.table(
            [
                from_numbers(nodes),
                from_numbers(np.full(len(nodes), self.source_id, np.int16)),
                from_texts([_WORDS[tell] for tell in tells.tolist()]),
                from_numbers(as_of, as_of > 0),
                from_numbers(written, written >= 0),
                from_texts([*hive.classes, *[None] * len(absent)]),
                from_booleans(np.concatenate([hive.knows_values, is_key[count:]])),
                from_booleans(np.concatenate([hive.keys.knows_subkeys, is_key[count:]])),
            ],
            schema=BASELINE_KEYS.arrow(),
        )

    def entry(self, first_ns: int | None) -> dict[str, Any]:
        """Return the entry of the manifest."""
        hive = self.mounted.hive
        tells = np.bincount(self.tells, minlength=len(_WORDS)).tolist()
        time_ns = hive.time_ns
        facts = {
            "mount": self.mounted.mount,
            "loaded_from": hive.base.name or None,
            "written_ns": hive.base.written_ns,
            "time_ns": time_ns,
            "gap_ns": None if None in (time_ns, first_ns) else first_ns - time_ns,  # type: ignore[operator]
            "keys": len(self.nodes),
            "values": self.values,
            "whole_keys": tells[_ALL],
            "keys_written_later": tells[_NOTHING] + tells[_KEY],
            "damaged": any(name.startswith("hive_bad") or name == "hive_cut" for name, _, _ in hive.found),
            "logs": hive.logs,
        }
        return Source(
            self.source_id, hive.path.name, "hive", hive.size, hive.sha256, None, None, False, facts
        ).as_dict()


class _Absent:
    """Which of the capture's keys the hives do not hold."""

    def __init__(self, tables: Sequence[_HiveTables], tree: KeyTree, control_set: int | None) -> None:
        self._tables, self._tree = tables, tree
        self._row: dict[int, tuple[int, int]] = {}  # node -> table, row
        for number, table in enumerate(tables):
            self._row.update((node, (number, row)) for row, node in enumerate(table.nodes.tolist()))
        self._links = self._find_links(control_set)

    def rows(self, named: int) -> dict[int, list[tuple[int, int]]]:
        """Return by source the nodes that its hive does not hold, and up to when that is known.

        Args:
            named: the number of nodes before the hives were named.
        """
        tree = self._tree
        absent: dict[int, list[tuple[int, int]]] = {}
        # node -> the node that it is in a hive; or _GONE and so on, with the table and time of what says so
        stands: dict[int, int] = {}
        why: dict[int, tuple[int, int]] = {}
        for node in range(named):
            if node in self._row:
                stands[node] = node
                continue
            if node in self._links:
                target = self._links[node]
                stands[node] = _OUTSIDE if target is None else stands.get(target, target)
                continue
            parent = tree.parents[node]
            above = stands.get(parent, _OUTSIDE) if parent >= 0 and not tree.unrooted[node] else _OUTSIDE
            if above >= 0:
                above = self._below(node, above, why)
            elif above == _GONE:
                why[node] = why[parent]
            stands[node] = above
            if above == _GONE:
                number, time_ns = why[node]
                absent.setdefault(self._tables[number].source_id, []).append((node, time_ns))
        return absent

    def _below(self, node: int, above: int, why: dict[int, tuple[int, int]]) -> int:
        """Return where a key stands whose parent is the node `above` of a hive."""
        found = self._tree.find(above, self._tree.names[node])
        if found is not None and found in self._row:
            return found
        number, row = self._row[above]
        table = self._tables[number]
        tells = table.tells[row]
        is_whole = bool(table.mounted.hive.keys.knows_subkeys[row])
        if tells in (_KEY, _NOTHING) or not is_whole:
            return _UNKNOWN
        why[node] = (number, int(table.as_of[row]))
        return _GONE

    def _find_links(self, control_set: int | None) -> dict[int, int | None]:
        """Return the nodes of links in the hives' keys with their targets, None where the target is not there."""
        tree = self._tree
        links: dict[int, int | None] = {}
        for table in self._tables:
            root, mount = int(table.nodes[0]), fold_name(table.mounted.mount)
            if mount == _SYSTEM:
                link = tree.find(root, _LINK)
                if link is not None and link not in self._row:
                    target = None if control_set is None else tree.find(root, f"ControlSet{control_set:03d}")
                    links[link] = target
            elif mount.startswith(_USERS) and not mount.endswith("_CLASSES"):
                software = tree.find(root, "Software")
                link = None if software is None else tree.find(software, "Classes")
                if link is not None:
                    classes = tree.find(tree.parents[root], f"{tree.names[root]}_Classes")
                    links[link] = classes if classes in self._row else None
        return links


def _changed_keys(writer: CaptureWriter) -> NDArray[np.bool_]:
    """Return for each key whether the trace saw a change of it, or may have."""
    usage = writer.usage()
    changed = np.zeros(1, np.bool_)
    keys = usage["key_id"].to_pylist()
    sums = [usage[name].to_pylist() for name in _CHANGES]
    rows = [key for key, *counts in zip(keys, *sums, strict=True) if key is not None and any(counts)]
    if rows:
        changed = np.zeros(max(rows) + 1, np.bool_)
        changed[rows] = True
    return changed
