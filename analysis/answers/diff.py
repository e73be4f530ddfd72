"""Two captures, or two intervals, side by side: the keys, values, processes and operations of each."""

from collections.abc import Collection, Sequence

import ibis
from ibis.expr.types import Table

from analysis.answers.evidence import evidence, in_stay_of, of_path
from analysis.answers.normalize import meaning
from analysis.answers.state import state_at
from analysis.answers.stays import ARRIVALS, SAME
from analysis.answers.words import KINDS
from analysis.expressions.folding import folded
from analysis.expressions.links import link_target

__all__ = [
    "CANDIDATES",
    "candidates",
    "compared",
    "own_names",
    "side",
    "value_names",
]

_CHANGES = ("write", "delete", "key_created", "key_deleted", "key_renamed", "key_arrived")
_UNPROVED = ("doubtful", "hearsay", "key_doubtful", "key_hearsay")
_MATCH = ("what", "key_name", "value", "image", "operation")
_OF_SIDE = (
    "display_key", "spelled_value", "spelled_image", "last_known", "changed", "own_fact", "own_type",
    "own_size", "own_data", "times", "process", "pid", "sequence", "time", "key_id", "process_id",
)  # fmt: skip
_FOLDED = (
    "what",
    "fold_key",
    "fold_value",
    "image",
    "operation",
)  # what a thing is called with everything folded
CANDIDATES = (
    *_MATCH, "fold_key", "fold_value", *(f"{letter}_{name}" for letter in "ab" for name in (*_OF_SIDE, "alike")),
)  # fmt: skip


def side(
    events: Table,
    *,
    keys: Table,
    processes: Table,
    losses: Table,
    kinds: Collection[str] = KINDS,
    folds: Collection[str] = (),
    names: Table | None = None,
    regex: str | None = None,
    everywhere: Table | None = None,
    subtrees: bool = True,
    descent: Table | None = None,
    stays: Table | None = None,
) -> Table:
    """Return the things of one side, one row per thing, in no order.

    Objects of which only the address is known are left out, with the keys below them.

    Columns that name the thing (none is NULL; "" where it does not apply):

    * what: key, value, operation (by key and process) or process;
    * key_name, value, image: folded names, that of the key as `names` calls it; operation;
    * fold_key, fold_value: both by their meaning (`analysis.answers.normalize`), which several may share.

    Columns that tell of it (NULL where they do not apply):

    * display_key, spelled_value, spelled_image: as spelled; key_id (of the group);
    * last_known: write, read, absent or deleted of a value, exists, absent or deleted of a key
      (`analysis.answers.state`); changed: whether this side changed it; own_fact, own_type,
      own_size, own_data: the event by which it is known;
    * times: how many changes of a key or value, events of a process, or operations of that kind;
    * process, pid, process_id, sequence, time: of the last event.

    Args:
        events: stored or joined event rows of this side.
        keys: the table `keys`.
        processes: the table `processes`.
        losses: the table `losses`.
        kinds: some of KINDS.
        folds: as for `analysis.answers.normalize.meaning`.
        names: what keys are called that pair by their meaning (`analysis.answers.pairing`): the columns NAMES;
            None: each by its own name.
        regex: regular expression for value names (`tracer.registry.terms.name_regex`); None: all. Rows of keys themselves are then left out.
        everywhere: the rows of this side in which to look for what changed whole subtrees, where `events` are
            those of some keys only; None: `events`.
        subtrees: False where it is known that there is no such event (`analysis.answers.evidence.OF_SUBTREES`).
        descent: as in `analysis.answers.evidence.evidence`.
        stays: as in `analysis.answers.evidence.evidence`.
    """
    parts = []
    key_names = _named_keys(keys, folds, names)
    if "values" in kinds or "keys" in kinds:
        evidence_rows = evidence(events, keys, everywhere, subtrees=subtrees, descent=descent, stays=stays)
        states = _states(evidence_rows, key_names, processes, losses, regex, keys)
        whats = [what for what in ("value", "key") if f"{what}s" in kinds]
        parts.append(states.filter(states["what"].isin(whats)))
    if regex is not None:
        events = events.filter(events["value_name"].re_search(regex))
    if "processes" in kinds:
        parts.append(_processes(events, processes))
    if "operations" in kinds:
        parts.append(_operations(events, keys, processes, key_names))
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.union(part)
    return whole.mutate(fold_value=meaning(whole["value"], folds))


def own_names(keys: Table) -> Table:
    """Return the key names of a side (own), each once."""
    return _own_paths(keys).select(own="own_path").distinct()


def value_names(rows: Table) -> Table:
    """Return key_name and value of the values of a `side` whose names change when folded."""
    values = rows.filter(rows["what"] == "value", rows["value"] != rows["fold_value"])
    return values.select("key_name", "value").distinct()


def compared(
    a: Table,
    b: Table,
    a_values: Table | None = None,
    b_values: Table | None = None,
    *,
    counts: bool = False,
    folds: Collection[str] = (),
) -> Table:
    """Return `candidates`; `a_values` and `b_values` are its `values`, None where no value is called otherwise."""
    values = () if a_values is None or b_values is None else (a_values, b_values)
    return candidates(a, b, counts=counts, folds=folds, values=values)


def candidates(
    a: Table, b: Table, *, counts: bool = False, folds: Collection[str] = (), values: Sequence[Table] = ()
) -> Table:
    """Return the things that may differ: those of one side only, and those that are not obviously equal.

    In order: processes by image; keys by name, each before its values; operations.

    Columns: CANDIDATES, each side's with a_ and b_ in front, NULL where the side knows nothing of the thing.
    What only one side knows is there only where that side changed it, or where it is an operation or a process.
    a_alike, b_alike: how many things of that side have all of fold_key, fold_value, image and operation.

    Args:
        a: `side` of the one.
        b: `side` of the other; with `a`, on one engine.
        counts: whether operations and processes differ where their numbers do.
        folds: as for `side`.
        values: what values of `a` and of `b` are called that pair by their meaning: key_name and the columns NAMES.
    """
    if values:
        a, b = (_renamed(rows, names) for rows, names in zip((a, b), values, strict=True))
    left = a.rename({f"a_{name}": name for name in a.columns})
    right = b.rename({f"b_{name}": name for name in b.columns})
    both = left.outer_join(right, [left[f"a_{name}"] == right[f"b_{name}"] for name in _MATCH])
    in_a, in_b = both["a_what"].notnull(), both["b_what"].notnull()
    names = {
        name: ibis.coalesce(both[f"a_{name}"], both[f"b_{name}"])
        for name in (*_MATCH, "fold_key", "fold_value")
    }
    is_state = names["what"].isin(["key", "value"])
    alike = both["a_last_known"].identical_to(both["b_last_known"])
    for name in ("own_fact", "own_type", "own_size", "own_data"):
        alike = alike & both[f"a_{name}"].identical_to(both[f"b_{name}"])
    changed = both["a_changed"].fill_null(False) | both["b_changed"].fill_null(False)
    states = is_state & ibis.ifelse(in_a & in_b, ~alike, changed)
    numbers = both["a_times"] != both["b_times"] if counts else ibis.literal(False)
    others = ~is_state & (~(in_a & in_b) | numbers.fill_null(False))
    pairs = both.filter(states | others).mutate(**names)
    for letter, rows in (("a", a), ("b", b)):
        pairs = _with_alike(pairs, rows, f"{letter}_alike", folds)
    order = ibis.cases((pairs["what"] == "process", 0), (pairs["what"] == "operation", 2), else_=1)
    pairs = pairs.order_by(order, "key_name", "what", "value", "image", "operation")
    return pairs.select(*CANDIDATES)


def _with_alike(pairs: Table, rows: Table, name: str, folds: Collection[str]) -> Table:
    """Add the number of things of a side with the same name after folding; 0 without folding."""
    if not folds:
        return pairs.mutate(**{name: ibis.literal(0, "int64")})
    alike = rows.group_by(**{f"of_{column}": column for column in _FOLDED}).aggregate(
        alike_rows=rows.count().cast("int64")
    )
    same = [pairs[column] == alike[f"of_{column}"] for column in _FOLDED]
    pairs = pairs.left_join(alike, same).drop(*(f"of_{column}" for column in _FOLDED))
    return pairs.mutate(**{name: pairs["alike_rows"].fill_null(0)}).drop("alike_rows")


def _renamed(rows: Table, names: Table) -> Table:
    """Return rows of `side` with values renamed by `names`."""
    names = names.rename(called_key="key_name", called_own="own", called="name")
    same = [rows["key_name"] == names["called_key"], rows["value"] == names["called_own"]]
    rows = rows.left_join(names, same)
    return rows.mutate(value=ibis.coalesce(rows["called"], rows["value"])).drop(
        "called_key", "called_own", "called"
    )


def _states(
    evidence_rows: Table,
    key_names: Table,
    processes: Table,
    losses: Table,
    regex: str | None,
    keys: Table,
) -> Table:
    """Return the state of keys and values at the end of this side, from the evidence of this side alone.

    What was only heard of, under a name that is not proved, may be of another key: it is no difference.
    """
    evidence_rows = evidence_rows.filter(~evidence_rows["fact"].isin(_UNPROVED))
    changed = evidence_rows["fact"].isin(_CHANGES)
    counted = evidence_rows
    if "origin" in evidence_rows.columns:
        changed = changed & (evidence_rows["origin"] == "own")
        counted = evidence_rows.mutate(key_id=of_path(evidence_rows["key_id"]), is_change=changed)
        changed = counted["is_change"]
    changes = counted.group_by("key_id", "value").aggregate(
        changes=counted.count(where=changed).cast("int64")
    )
    changes = changes.mutate(value=changes["value"].fill_null(""), of_key=changes["value"].isnull())
    changes = changes.rename(changed_id="key_id", changed_value="value", changed_key="of_key")
    rows = state_at(evidence_rows, keys=keys, processes=processes, losses=losses, regex=regex)
    rows = rows.filter(rows["last_known"].notnull())
    rows = rows.inner_join(key_names, rows["key_id"] == key_names["path_id"])
    is_key, own = rows["value_name"].isnull(), folded(rows["value_name"]).fill_null("")
    rows = rows.mutate(is_key=is_key, own_value=own)
    rows = rows.left_join(
        changes,
        [
            rows["key_id"] == changes["changed_id"],
            rows["own_value"] == changes["changed_value"],
            rows["is_key"] == changes["changed_key"],
        ],
    )
    came = ibis.literal(False)
    if "origin" in evidence_rows.columns:
        arrived = _arrived(evidence_rows)
        rows = rows.left_join(arrived, rows["key_id"] == arrived["arrived_id"])
        came = rows["arrived_id"].notnull() & rows["last_known"].isin(["exists", "write", "read"])
    times = rows["changes"].fill_null(0)
    rows = rows.mutate(
        what=ibis.ifelse(rows["is_key"], "key", "value"),
        value=rows["own_value"],
        image=ibis.literal(""),
        spelled_value=rows["value_name"],
        spelled_image=ibis.null(str),
        changed=(times > 0) | (~rows["is_key"] & (rows["last_known"] == "deleted")) | came,
        times=times,
        last_operation=rows["operation"],
    ).drop("operation")
    return _merged(rows.mutate(operation=ibis.literal("")))


def _arrived(evidence_rows: Table) -> Table:
    """Return arrived_id, the key_id of the paths to which a key came on this side, to stay until its end."""
    own = evidence_rows.filter(evidence_rows["origin"] != "carried")
    begins = (own["origin"] == "renamed") & own["fact"].isin(ARRIVALS)
    stay = in_stay_of(own["key_id"])
    turned = (own["origin"] == "renamed") & ~own["fact"].isin(SAME)
    last = own.group_by(arrived_id=of_path(own["key_id"])).aggregate(
        turned_with=stay.max(where=turned), came_with=stay.max(where=begins)
    )
    return last.filter(last["turned_with"] == last["came_with"]).select("arrived_id")


def _processes(events: Table, processes: Table) -> Table:
    images = processes.select(named_id="process_id", process="image", pid="pid")
    rows = events.select("sequence", "time", "process_id")
    rows = rows.inner_join(images, rows["process_id"] == images["named_id"])
    rows = rows.filter(rows["process"].notnull()).mutate(image=folded(rows["process"]))
    groups = rows.group_by("image").aggregate(
        times=rows.count().cast("int64"), sequence=rows["sequence"].max(), spelled_at=rows["sequence"].min()
    )
    return _like_states(_with_last(groups, rows, ()), "process")


def _operations(events: Table, keys: Table, processes: Table, paths: Table) -> Table:
    images = processes.select(named_id="process_id", process="image", pid="pid")
    groups = keys.select(grouped_id="key_id", group_id="same_as")
    rows = events.select("sequence", "time", "process_id", "key_id", "operation")
    rows = rows.inner_join(groups, rows["key_id"] == groups["grouped_id"]).drop("key_id")
    summed = rows.group_by("group_id", "process_id", "operation").aggregate(
        times=rows.count().cast("int64"), sequence=rows["sequence"].max()
    )
    summed = summed.left_join(images, summed["process_id"] == images["named_id"])
    summed = summed.inner_join(paths, summed["group_id"] == paths["path_id"])
    summed = summed.mutate(image=folded(summed["process"]).fill_null(""))
    totals = summed.group_by("key_name", "fold_key", "image", "operation").aggregate(
        times=summed["times"].sum().cast("int64"), sequence=summed["sequence"].max()
    )
    last = summed.select(
        "process", "pid", "process_id", "group_id", display_key="path_shown", last_at="sequence"
    )
    totals = totals.inner_join(last, totals["sequence"] == last["last_at"])
    times = events.select(timed_at="sequence", time="time")
    totals = totals.inner_join(times, totals["sequence"] == times["timed_at"])
    return _like_states(
        totals.mutate(spelled_image=totals["process"], key_id=totals["group_id"]), "operation"
    )


def _own_paths(keys: Table) -> Table:
    """Return the paths of keys; an object's address, which means nothing on the other side, is no path."""
    with_path = keys.filter(~keys["folded_path"].startswith("<OBJECT 0X"))
    return with_path.select(
        path_id="key_id", own_path=link_target(with_path["folded_path"]), path_shown="display_path"
    )


def _named_keys(keys: Table, folds: Collection[str], names: Table | None) -> Table:
    """Return path_id, path_shown, key_name and fold_key of the keys that have a path."""
    paths = _own_paths(keys)
    paths = paths.mutate(fold_key=meaning(paths["own_path"], folds), key_name=paths["own_path"])
    if names is not None:
        paths = paths.left_join(names, paths["own_path"] == names["own"])
        paths = paths.mutate(key_name=ibis.coalesce(paths["name"], paths["own_path"])).drop("own", "name")
    return paths.drop("own_path")


def _with_last(groups: Table, rows: Table, more: Sequence[str]) -> Table:
    """Add the columns of the last event of each group."""
    last = rows.select("process", "pid", "process_id", "time", *more, last_at="sequence")
    groups = groups.inner_join(last, groups["sequence"] == last["last_at"])
    return groups.mutate(spelled_image=groups["process"], key_id=ibis.null("int64"))


def _like_states(rows: Table, what: str) -> Table:
    """Return operations or processes with the columns of `_states`."""
    empty = {
        "key_name": ibis.literal(""), "fold_key": ibis.literal(""), "value": ibis.literal(""), "operation": ibis.literal(""),
        "display_key": ibis.null(str), "spelled_value": ibis.null(str), "last_known": ibis.null(str),
        "changed": ibis.null(bool), "own_fact": ibis.null(str),
        "own_type": ibis.null("int64"), "own_size": ibis.null("int64"), "own_data": ibis.null("binary"),
    }  # fmt: skip
    have = set(rows.columns)
    rows = rows.mutate(
        what=ibis.literal(what), **{name: value for name, value in empty.items() if name not in have}
    )
    return _columns(rows)


def _merged(rows: Table) -> Table:
    """Return one row per name: of several spellings of a key, links followed, the one with the latest evidence."""
    newest = ibis.window(group_by=_MATCH, order_by=rows["sequence"].desc())
    all_of = ibis.window(group_by=_MATCH)
    rows = rows.mutate(
        place=ibis.row_number().over(newest),
        times=rows["times"].sum().over(all_of).cast("int64"),
        changed=rows["changed"].any().over(all_of),
    )
    return _columns(rows.filter(rows["place"] == 0))


def _columns(rows: Table) -> Table:
    """Return the rows as `side` gives them; numbers are as wide in every capture and in every engine."""
    numbers = ("key_id", "process_id", "own_type", "own_size")
    rows = rows.mutate(**{name: rows[name].cast("int64") for name in numbers})
    return rows.select(*_MATCH, "fold_key", *_OF_SIDE)
