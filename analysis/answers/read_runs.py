"""Runs of identical reads with no change in between; `redundant` decides how many were unnecessary."""

import ibis
from ibis.expr.types import BooleanValue, Table

from analysis.answers.evidence import changes_hive
from analysis.answers.reads import READS
from analysis.expressions.folding import folded
from analysis.expressions.links import link_target, own_paths
from analysis.expressions.operation_counters import fitting
from analysis.expressions.time_math import rest
from tracer.flags import FLAGS
from tracer.registry.ntstatus import NOT_SUCCESS
from tracer.registry.operations import GROUPS

__all__ = ["QUESTION", "nameless_changes", "read_runs", "read_steps", "reads_of"]

# what makes reads by one process identical
QUESTION = ("process_id", "group_id", "operation", "value", "index", "information_class")

_OF_KEYS = ("QueryKey", "QuerySecurityKey")
_BY_INDEX = ("EnumerateKey", "EnumerateValueKey")
_OF_VALUES = ("SetValueKey", "DeleteValueKey")
_EITHER = "CreateOrDelete"  # of a key, or of a value of the key above
_OF_FACTS = ("SetInformationKey", "SetSecurityKey")
_OF_VALUE_READS = ("QueryValueKey", "EnumerateValueKey")
_COMPARED_FACTS = (2, 4)  # KEY_INFORMATION_CLASS: full, cached, which are the same whichever handle asks
_LENGTH = r'"Length": [0-9]+(, )?'  # of the caller's buffer
_OF_HANDLES = 5  # KEY_INFORMATION_CLASS: from here on they tell of a handle more than of a key
_CUT, _AMBIGUOUS = FLAGS["data_truncated"], FLAGS["name_ambiguous"]
_READ_COLUMNS = ("sequence", "time", "time_ns", "process_id", "operation", "index", "information_class", "status",
                 "value_name", "data_size", "duration_ns")  # fmt: skip
_NAMELESS = ("partial", "none")
_COUNTED = ("of_whole", "of_any", "of_value", "unclear")


def read_runs(events: Table, everything: Table, keys: Table, *, repeated: bool = False) -> Table:
    """Return the reads with the columns QUESTION, `question`, `run`, `unclear` and more, in no order.

    Left out are reads that cannot be proved identical: reads without a process, a key or a status, queries of
    a value without its name, enumerations without an index, and QueryMultipleValueKey.

    `group_id` is `keys.same_as`; `value` is the folded name of the value that QueryValueKey asks for, else
    NULL. `question` is the same number for reads of one question, whatever their result. `run` has the same number for two reads of one question where no change was seen between them, by
    whatever process. Changes, where not known to have failed, are:

    * of a value: SetValueKey and DeleteValueKey of it, or of one with an ambiguous name; DeleteKey, RenameKey
      and a CreateKey that made the key (or does not say);
    * of what is asked of a key (QueryKey, QuerySecurityKey, EnumerateKey, EnumerateValueKey): these, of any
      of its values; SetInformationKey (handle tags left out) and SetSecurityKey; DeleteKey, RenameKey and CreateKey of a key
      right below it. That EnumerateKey also tells when a key below was written last is left aside.

    `unclear` counts, up to each read, what may have changed everything at and below a key without a record
    of it: hives that were loaded, unloaded, restored or replaced, and renames above it or to it. Where it
    differs between two reads of a run, nobody knows that nothing changed.

    `content` is a hash of what was returned, for comparison within one answer; NULL where that was not
    captured as a whole. `size` is what was returned in bytes, NULL
    where it tells of a handle more than of its key. `data_size` is NULL where nothing was returned.
    `ambiguous` tells whether the names of the read are. Of the event stand here: sequence, time, time_ns,
    status, value_name, duration_ns.

    Args:
        events: the event rows whose reads are wanted.
        everything: all event rows, for changes.
        keys: the table `keys`.
        repeated: only reads of questions that were asked more than once.
    """
    groups = keys.select(grouped_id="key_id", group_id="same_as")
    reads = _of_questions(_reads(events, groups), repeated=repeated)
    of_groups = (
        groups.semi_join(events, groups["grouped_id"] == events["key_id"]).select("group_id").distinct()
    )
    steps = _changes(everything, keys, groups).semi_join(of_groups, "group_id")
    columns = {
        name: steps[name] if name in steps.columns else ibis.null(kind)
        for name, kind in reads.schema().items()
    }
    rows = reads.union(steps.select(**columns))
    of_key = ibis.window(group_by="group_id", order_by="sequence", rows=(None, 0))
    rows = rows.mutate(
        of_whole=rows["of_whole"].sum().over(of_key).cast("int64"),
        of_any=rows["of_any"].sum().over(of_key).cast("int64"),
        unclear=rows["unclear"].sum().over(of_key).cast("int64"),
    )
    of_value = ibis.window(group_by=["group_id", "value"], order_by="sequence", rows=(None, 0))
    rows = rows.mutate(of_value=rows["of_value"].sum().over(of_value).cast("int64"))
    rows = rows.filter(rows["status"].notnull())  # what is no step is a read
    run = ibis.ifelse(rows["value"].isnull(), rows["of_any"], rows["of_whole"] + rows["of_value"])
    return rows.mutate(run=run).drop("of_whole", "of_any", "of_value")


def _reads(events: Table, groups: Table) -> Table:
    operation = events["operation"]
    has_question = (
        operation.isin(_OF_KEYS)
        | ((operation == "QueryValueKey") & events["value_name"].notnull())
        | (operation.isin(_BY_INDEX) & events["index"].notnull())
    )
    has_result = events["process_id"].notnull() & events["status"].notnull()
    rows = events.filter(has_question & has_result).select(
        "key_id", "data", "detail", "flags", *_READ_COLUMNS
    )
    rows = rows.inner_join(groups, rows["key_id"] == groups["grouped_id"]).drop("grouped_id", "key_id")
    operation = rows["operation"]
    of_value, none = operation == "QueryValueKey", ibis.null(str)
    class_ = rows["information_class"]
    alike = (operation != "QueryKey") | (class_ < _OF_HANDLES).fill_null(False)
    done, no_size = rows["status"] < NOT_SUCCESS, ibis.null()
    whole = done & ((rows["flags"] & _CUT) == 0)
    facts = (operation == "QueryKey") & class_.isin(_COMPARED_FACTS).fill_null(False)
    facts = facts & ~rows["detail"].contains('"ResultLength"').fill_null(
        True
    )  # else not all, or nothing, was captured
    content = ibis.cases(
        (whole & operation.isin(_OF_VALUE_READS), rows["data"].hash()),
        (whole & facts, rows["detail"].re_replace(_LENGTH, "").hash()),
        else_=ibis.null(),
    )
    zero = ibis.literal(0, "int64")
    return rows.mutate(
        value=ibis.ifelse(of_value, folded(rows["value_name"]), none),
        value_name=ibis.ifelse(of_value, rows["value_name"], none),
        index=ibis.ifelse(operation.isin(_BY_INDEX), rows["index"], ibis.null()),
        content=content.cast("int64"),
        data_size=ibis.ifelse(done, rows["data_size"], no_size),
        ambiguous=(rows["flags"] & _AMBIGUOUS) != 0,
        size=ibis.ifelse(alike & done, rows["data_size"], no_size),
        **dict.fromkeys(_COUNTED, zero),
    ).drop("data", "detail", "flags")


def reads_of(events: Table, keys: Table) -> Table:
    """Return the reads of some keys as numbers, in no order, for `analysis.answers.sorted_reads`.

    Columns: sequence, time_ns, process_id, group_id, asked (place of the operation in READS), value_name, index,
    information_class, status, content, size, data_size, duration_ns, ambiguous; as `read_runs` says.

    Args:
        events: the event rows whose reads are wanted.
        keys: grouped_id and group_id of the keys that are looked at.
    """
    reads = _reads(events, keys)
    asked = ibis.cases(
        *((reads["operation"] == name, place) for place, name in enumerate(READS)), else_=ibis.null()
    )
    return reads.select(
        "sequence", "time_ns", "process_id", "group_id", "value_name", "index", "information_class", "status",
        "content", "size", "data_size", "duration_ns", "ambiguous", asked=asked.cast("int8"),
    )  # fmt: skip


def read_steps(events: Table, keys: Table) -> Table:
    """Return what `read_runs` counts as changes: sequence, group_id, value, and which counts grow by 1 with it.

    Args:
        events: all event rows.
        keys: the table `keys`.
    """
    return _changes(events, keys, keys.select(grouped_id="key_id", group_id="same_as"))


def _of_questions(reads: Table, *, repeated: bool) -> Table:
    """Return the reads with `question`, one number for all that makes them identical: the sequence of the first."""
    questions = reads.group_by(*QUESTION).aggregate(question=reads["sequence"].min(), times=reads.count())
    if repeated:
        questions = questions.filter(questions["times"] > 1)
    names = {f"asked_{name}": name for name in QUESTION}
    questions = questions.select("question", **names)
    same = [reads[name].identical_to(questions[asked]) for asked, name in names.items()]
    return reads.inner_join(questions, same).drop(*names)


def nameless_changes(events: Table, keys: Table, *, width_ns: int) -> Table:
    """Return the times of changes through objects without a name, as rows of the table `losses`.

    They may have changed any key. Those within `width_ns` (nanoseconds) are one row, so that rows are few.
    """
    nameless = keys.filter(keys["name_source"].isin(_NAMELESS) & (keys["key_id"] == keys["same_as"]))
    rows = _done(events).semi_join(nameless, "key_id")
    rows = rows.mutate(part=rows["time_ns"] - rest(rows["time_ns"], width_ns))
    times = rows.group_by("part").aggregate(from_ns=rows["time_ns"].min(), to_ns=rows["time_ns"].max())
    return times.select("from_ns", "to_ns", kind=ibis.literal("events"))


def _done(events: Table) -> Table:
    """Return the events that changed, or may have changed, one key or value."""
    operation, status = events["operation"], events["status"]
    made = (operation == "CreateKey") & (events["disposition"] != 2).fill_null(True)
    changes = operation.isin(["DeleteKey", "RenameKey", _EITHER, *_OF_VALUES, *_OF_FACTS]) | made
    failed = (status >= NOT_SUCCESS).fill_null(False)
    noise = fitting(events, GROUPS["noise"].cases)  # tags of handles say nothing of the key
    return events.filter(changes & ~failed & ~noise).select(
        "sequence", "time_ns", "key_id", "operation", "value_name", "flags"
    )


def _changes(events: Table, keys: Table, groups: Table) -> Table:
    """Return the changes as rows of the same columns, with the changes that they count as."""
    changes = _done(events)
    changes = changes.inner_join(groups, changes["key_id"] == groups["grouped_id"])
    # A change of a value whose name is not certain may be one of any value of the key.
    certain = changes["value_name"].notnull() & ((changes["flags"] & _AMBIGUOUS) == 0)
    of_value = changes["operation"].isin(_OF_VALUES) & certain
    of_fact = changes["operation"].isin(_OF_FACTS)
    own = _steps(
        changes.mutate(value=ibis.ifelse(of_value, folded(changes["value_name"]), ibis.null(str))),
        of_whole=~(of_value | of_fact),
        of_any=ibis.literal(True),
        of_value=of_value,
    )
    above = keys.select(child_id="key_id", above_id="parent_id")
    above = above.inner_join(groups, above["above_id"] == groups["grouped_id"])
    above = above.select("child_id", above_group="group_id")
    of_keys = changes.filter(~changes["operation"].isin((*_OF_VALUES, *_OF_FACTS)))
    below = of_keys.inner_join(above, of_keys["group_id"] == above["child_id"])
    below = below.mutate(group_id=below["above_group"], value=ibis.null(str))
    of_parent = _steps(below, of_any=ibis.literal(True), of_whole=below["operation"] == _EITHER)
    return own.union(of_parent).union(_unclear(events, keys))


def _unclear(events: Table, keys: Table) -> Table:
    """Return steps for the keys at and below one whose hive was changed, that was renamed, or that got its name."""
    operation, status = events["operation"], events["status"]
    whole = changes_hive(events) | (operation == "RenameKey")
    whole = whole & ~(status >= NOT_SUCCESS).fill_null(False)
    paths = own_paths(keys).select("group_id", "path")
    groups = keys.select(grouped_id="key_id", top_id="same_as")
    tops = events.filter(whole).select("sequence", "key_id", "operation", "requested_name")
    tops = tops.inner_join(groups, tops["key_id"] == groups["grouped_id"])
    tops = tops.inner_join(paths, tops["top_id"] == paths["group_id"])
    renames = tops.filter((tops["operation"] == "RenameKey") & tops["requested_name"].notnull())
    beside = link_target(renames["path"].re_replace(r"[^\\]*$", "").concat(folded(renames["requested_name"])))
    all_tops = tops.select("sequence", top="path").union(renames.select("sequence", top=beside))
    below = all_tops.inner_join(
        paths, (paths["path"] == all_tops["top"]) | paths["path"].startswith(all_tops["top"].concat("\\"))
    )
    below = below.select("sequence", "group_id", value=ibis.null(str))
    return _steps(below, unclear=ibis.literal(True))


def _steps(rows: Table, **counted: BooleanValue) -> Table:
    """Return rows as steps of changes: what counts is 1, and the columns of reads are NULL."""
    zero = ibis.literal(0, "int64")
    numbers = {name: counted[name].cast("int64") if name in counted else zero for name in _COUNTED}
    return rows.select("sequence", "group_id", "value", **numbers)
