"""Events by subtree: one row per key of the tree, down to a depth, for the key and all keys below it."""

from collections.abc import Sequence
from functools import reduce

import ibis
from ibis.expr.types import IntegerValue, StringValue, Table

from analysis.answers.counts import COUNTED, SUMS, counted, measured, sums
from analysis.answers.words import MOST_LEVELS, TREE_SORTS, check_word
from analysis.expressions.links import link_path, link_target, own_paths
from analysis.expressions.operation_counters import unless_unclear
from tracer.errors import UsageError

__all__ = ["levels_of", "subtrees", "tops_of"]

_MOST_KEYS = 1 << 40
_BEFORE_ALL = (
    "\x01"  # stands for the backslash when paths are ordered, so that a key stands right above its own
)


def subtrees(
    events: Table,
    keys: Table,
    *,
    depth: int = 2,
    tops: Table | None = None,
    top_levels: Sequence[int] = (1,),
    sort: str = "path",
    usage: Table | None = None,
) -> Table:
    r"""Return one row per key with events, or above such a key, down to a depth.

    The tree is that of display paths; spellings of one key (`keys.same_as`) are one key. What was recorded through
    a link stands below the link's target, and below the link where a top is above that and none above the target.

    Columns: display_key; name (its last component; of a top the whole path); level (0 for a top); events
    (rows of the key and all keys below it, as all other counts); own_events (of the key alone); share, of
    the events of all tops; the other counts of `analysis.answers.counts.counts`, NULL where nobody could count
    (`analysis.expressions.operation_counters.unless_unclear`); keys and processes (how many different ones); bytes_read and bytes_written (by successful operations; NULL where no size is known);
    time_spent_ns (sum of durations; NULL where the source has none); first_time, last_time; key_id (NULL
    where the capture has no such key by itself), first_sequence, last_sequence.

    The last level counts everything below it. Operations without a key are left out. Ties are broken by
    path.

    Args:
        events: stored or joined event rows.
        keys: the table `keys`.
        depth: levels below the tops; 0: only these.
        tops: keys at which the tree begins (`tops_of`); a key below another of them is no top. None: the
            first component of each path, such as HKLM.
        top_levels: numbers of components that the paths of tops have (`levels_of`).
        sort: a word of TREE_SORTS: path is the order of a tree, every key above those below it.
        usage: the rows of the table `usage` that sum up just these events, where there are such.

    Raises:
        UsageError: there is no such order, or the depth is negative.
    """
    check_word(sort, TREE_SORTS, "order")
    if not 0 <= depth <= MOST_LEVELS:
        raise UsageError(f"invalid depth {depth}; use 0 to {MOST_LEVELS}")
    parts = measured(events, keys, "group_id", usage=usage)
    paths = own_paths(keys)
    places = _numbered(_places(paths.semi_join(parts, "group_id"), tops, top_levels, depth))
    parts = parts.inner_join(places, "group_id")
    nodes = parts.group_by("number").aggregate(
        **sums(parts),
        keys=parts.count().cast("int64"),
        node=parts["node"].min(),
        level=parts["level"].min(),
        node_shown=parts["node_shown"].min(),
        own_events=parts["events"].sum(where=parts["is_node"]).fill_null(0).cast("int64"),
    )
    used = counted(events, keys, "group_id", "process_id")
    used = used.inner_join(places.select("group_id", used_number="number"), "group_id")
    used = used.group_by("used_number").aggregate(processes=used["process_id"].nunique().cast("int64"))
    nodes = nodes.inner_join(used, nodes["number"] == used["used_number"])
    whole = ibis.ifelse(nodes["level"] == 0, nodes["events"], 0).sum().over(ibis.window())
    nodes = _named(
        unless_unclear(nodes).mutate(share=nodes["events"].cast("float64") / whole.cast("float64")), paths
    )
    as_tree = nodes["node"].replace("\\", _BEFORE_ALL)
    in_tree = [nodes["node"].startswith("<OBJECT "), as_tree, nodes["node"]]  # what nobody named comes last
    order = in_tree if sort == "path" else [nodes[sort].desc(), *in_tree]
    return nodes.order_by(*order).select(
        "display_key", "name", "level", "events", "own_events", "share", *COUNTED, "failures", "not_found",
        "keys", "processes", *SUMS[-3:], "first_time", "last_time", "key_id", "first_sequence", "last_sequence",
    )  # fmt: skip


def tops_of(keys: Table, key_ids: Sequence[int] | Table) -> Table:
    """Return the paths, and their numbers of levels, of some keys, for `subtrees`.

    Args:
        keys: the table `keys`.
        key_ids: ids, or a table with the column `key_id`.
    """
    own = own_paths(keys)
    if isinstance(key_ids, Table):
        own = own.semi_join(key_ids.select(group_id="key_id"), "group_id")
    else:
        own = own.filter(own["group_id"].isin(list(key_ids)) if key_ids else ibis.literal(False))
    return own.select("path", levels=levels_of(own["path"])).distinct()


def levels_of(path: StringValue) -> IntegerValue:
    r"""Return the number of components of a path; a leading backslash begins the first one."""
    separators = path.length() - path.replace("\\", "").length()
    levels: IntegerValue = (separators + 1 - path.startswith("\\").cast("int64")).cast("int64")
    return levels


def _places(paths: Table, tops: Table | None, top_levels: Sequence[int], depth: int) -> Table:
    """Return group_id, node and level: the tops and the keys below them that each key is or lies below."""
    paths = paths.mutate(by_link=ibis.literal(0))
    if tops is not None:
        linked = paths.filter(link_path(paths["path"]) != paths["path"])
        linked = linked.mutate(
            path=link_path(linked["path"]),
            shown=link_path(linked["shown"], as_shown=True),
            by_link=ibis.literal(1),
        )
        paths = paths.union(linked)
    paths = paths.mutate(levels=levels_of(paths["path"]))
    begins = []
    for level in sorted(set(top_levels)):
        deep = paths.filter(paths["levels"] >= level)
        top = deep["path"].re_extract(rf"^\\?(?:[^\\]*\\){{{level - 1}}}[^\\]*", 0)
        begin = deep.mutate(top=top, top_level=ibis.literal(level).cast("int64"))
        begins.append(begin if tops is None else begin.semi_join(tops, begin["top"] == tops["path"]))
    if not begins:
        begins = [paths.mutate(top=paths["path"], top_level=paths["levels"]).limit(0)]
    candidates = reduce(lambda some, more: some.union(more), begins)
    candidates = candidates.mutate(place=candidates["top_level"] * 2 + candidates["by_link"])
    candidates = candidates.mutate(highest=candidates["place"].min().over(ibis.window(group_by="group_id")))
    candidates = candidates.filter(candidates["place"] == candidates["highest"])
    below = candidates["path"].substr(candidates["top"].length())
    steps = []
    for level in range(depth + 1):
        node = candidates["top"].concat(below.re_extract(rf"^(?:\\[^\\]*){{{level}}}", 0))
        step = candidates.mutate(node=node, level=ibis.literal(level).cast("int64"))
        steps.append(
            step.filter(step["levels"] >= step["top_level"] + level).select(
                "group_id", "node", "level", is_node=step["node"] == step["path"],
                node_shown=step["shown"].substr(0, step["node"].length()),
            )
        )  # fmt: skip
    return reduce(lambda some, more: some.union(more), steps)


def _numbered(places: Table) -> Table:
    """Return the places with a number for each node: engines compare it sooner than a path."""
    nodes = places.group_by(numbered="node").aggregate(
        first=places["group_id"].min(), at=places["level"].min()
    )
    # Nodes of one level have no key in common, so each has a first key of its own.
    nodes = nodes.select("numbered", number=nodes["at"] * _MOST_KEYS + nodes["first"])
    return places.inner_join(nodes, places["node"] == nodes["numbered"]).drop("numbered")


def _named(nodes: Table, paths: Table) -> Table:
    """Return the nodes with display_key, name and key_id, spelled like the key itself, else like a key below it."""
    ids = paths.group_by("path").aggregate(key_id=paths["group_id"].min())
    nodes = nodes.mutate(target=link_target(nodes["node"]))
    nodes = nodes.left_join(ids, nodes["target"] == ids["path"]).drop("path", "target")
    own = paths.select(own_id="group_id", own_path="path", own_shown="shown")
    same = [nodes["key_id"] == own["own_id"], nodes["node"] == own["own_path"]]
    nodes = nodes.left_join(own, same).drop("own_id", "own_path")
    path = ibis.coalesce(nodes["own_shown"], nodes["node_shown"])
    name = ibis.ifelse(nodes["level"] == 0, path, path.re_extract(r"[^\\]*$", 0))
    return nodes.mutate(display_key=path, name=name)
