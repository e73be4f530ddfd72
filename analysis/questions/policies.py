r"""Writes to values of group policies, beside what policy files set: which are the policy's, and who overwrote it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from analysis.filters import Filters
from analysis.policy.folder import Policies
from analysis.policy.registry_pol import PolicyEntry
from analysis.questions import history
from analysis.questions.context import QueryContext
from tracer.registry.text import fold_name
from tracer.registry.values import decode_value, type_name

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["VERDICTS", "policy_writes"]

AS_POLICY, AGAINST, CANNOT_TELL, SETTING, NO_POLICY = (
    "as policy",
    "against policy",
    "cannot tell",
    "setting",
    "no policy",
)
VERDICTS = {
    AS_POLICY: "what was written, or deleted, is what a registry.pol says",
    AGAINST: "a registry.pol says otherwise",
    CANNOT_TELL: "a registry.pol sets the value, and the data that was written is not known",
    SETTING: "a template knows the setting, and no registry.pol that was given sets it",
    NO_POLICY: "no file that was given knows the value",
}
_ROOTS = (
    r"HKLM\SOFTWARE\Policies",
    r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies",
    r"HKU\*\SOFTWARE\Policies",
    r"HKU\*\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies",
)
_Place = tuple[str, str]  # side, folded key


@dataclass(frozen=True, slots=True)
class _Index:
    """Entries and settings by the place of their value."""

    values: dict[tuple[_Place, str], PolicyEntry]
    emptied: dict[_Place, PolicyEntry]
    settings: dict[tuple[_Place, str | None], str]


def policy_writes(context: QueryContext, filters: Filters, policies: Policies) -> "pa.Table":
    r"""Return each write and delete of a value below a `Policies` key, or of one that a registry.pol names, in order.

    Columns: (host, capture of a dataset) sequence, time, display_key, value_name, operation, done (False: it failed), process,
    pid; verdict, a word of VERDICTS; new_text (what was written), policy_text and policy_type (what the registry.pol says),
    policy_file; setting: the name of the setting in the policy editor, where a template tells it; overwrote: whether the
    policy's own data stood there before, and this changed it; policy_process, policy_pid, policy_time: who had written that,
    and when; key_id, process_id. NULL means unknown or not applicable.

    Args:
        context: the context of the question.
        filters: which writes count.
        policies: what the policy files say.

    Raises:
        UsageError: a filter cannot be understood.
    """
    from tracer.columns.arrays import from_rows

    index = _index_of(policies)
    if filters.key is None:
        filters = replace(filters, key=tuple(dict.fromkeys([*_ROOTS, *_keys_of(policies)])), subtree=True)
    answer = history.query(context, filters).to_arrow()
    rows = list(_judged(answer.to_pylist(), index))
    labels = [field for field in answer.schema if field.name in ("host", "capture")]
    return from_rows(rows, _schema(labels))


def _schema(labels: list[Any]) -> "pa.Schema":
    import pyarrow as pa

    time = pa.timestamp("us", tz="UTC")
    fields = {
        "sequence": pa.int64(), "time": time, "display_key": pa.string(), "value_name": pa.string(), "operation": pa.string(),
        "done": pa.bool_(), "process": pa.string(), "pid": pa.int64(), "verdict": pa.string(), "new_text": pa.string(),
        "policy_text": pa.string(), "policy_type": pa.string(), "policy_file": pa.string(), "setting": pa.string(),
        "overwrote": pa.bool_(), "policy_process": pa.string(), "policy_pid": pa.int64(), "policy_time": time,
        "key_id": pa.int64(), "process_id": pa.int64(),
    }  # fmt: skip
    return pa.schema([*labels, *(pa.field(name, kind) for name, kind in fields.items())])


def _index_of(policies: Policies) -> _Index:
    """Return entries by place; of several for one value the last counts, as Windows applies them."""
    index = _Index({}, {}, {})
    for entry in policies.entries:
        for side in (entry.side,) if entry.side else ("machine", "user"):
            place = side, fold_name(entry.key.strip("\\"))
            if entry.order in ("sets", "**soft.", "**del."):
                index.values[place, fold_name(entry.value)] = entry
            elif entry.order == "**delvals.":
                index.emptied[place] = entry
            elif entry.order == "**deletevalues" and entry.value:
                index.values[place, fold_name(entry.value)] = entry
    for setting in policies.settings:
        name = None if setting.value is None else fold_name(setting.value)
        index.settings.setdefault(((setting.side, fold_name(setting.key.strip("\\"))), name), setting.name)
    return index


def _keys_of(policies: Policies) -> Iterator[str]:
    """Yield the keys that entries name outside of the usual places, as filters take them."""
    for entry in policies.entries:
        key = entry.key.strip("\\")
        if not key or any(letter in key for letter in "*?\0"):
            continue
        for side, root in (("machine", "HKLM"), ("user", "HKU\\*")):
            if entry.side in ("", side) and not fold_name(key).startswith(
                ("SOFTWARE\\POLICIES", "SOFTWARE\\MICROSOFT\\WINDOWS\\CURRENTVERSION\\POLICIES")
            ):
                yield f"{root}\\{key}"


def _judged(rows: list[dict[str, Any]], index: _Index) -> Iterator[dict[str, Any]]:
    last: dict[
        tuple[Any, _Place, str], dict[str, Any]
    ] = {}  # the row by which a value holds what the policy says
    for row in rows:
        place = _place_of(row["display_key"])
        if place is None:
            continue
        name = fold_name(row["value_name"] or "")
        entry = index.values.get((place, name)) or index.emptied.get(place)
        setting = index.settings.get((place, name)) or index.settings.get((place, None))
        below = "\\POLICIES\\" in f"\\{place[1]}\\"
        if entry is None and setting is None and not below:
            continue
        verdict = _verdict(row, entry, setting)
        where = (row.get("host"), place, name)
        before = last.get(where)
        overwrote = (
            None if entry is None or verdict == CANNOT_TELL else verdict == AGAINST and before is not None
        )
        if row["done"] is False:
            overwrote = False
        yield row | {
            "verdict": verdict,
            "policy_text": None
            if entry is None or entry.data is None
            else decode_value(entry.type, entry.data),
            "policy_type": None if entry is None or entry.type is None else type_name(entry.type),
            "policy_file": None if entry is None else str(entry.file),
            "setting": setting,
            "overwrote": overwrote,
            "policy_process": before["process"] if before and overwrote else None,
            "policy_pid": before["pid"] if before and overwrote else None,
            "policy_time": before["time"] if before and overwrote else None,
        }
        if row["done"] is True:
            if verdict == AS_POLICY:
                last[where] = row
            else:
                last.pop(where, None)
        elif row["done"] is None:
            last.pop(where, None)


def _verdict(row: Mapping[str, Any], entry: PolicyEntry | None, setting: str | None) -> str:
    if entry is None:
        return SETTING if setting is not None else NO_POLICY
    is_written = row["operation"] == "SetValueKey"
    if entry.data is None:  # the policy wants the value to be absent
        return AGAINST if is_written else AS_POLICY
    if not is_written:
        return AGAINST
    kind, data, size = row["new_type"], row["new_data"], row["new_size"]
    if kind is not None and kind != entry.type:
        return AGAINST
    if size is not None and size != len(entry.data):
        return AGAINST
    if kind is None or data is None or (size is not None and len(data) < size):
        known = data if data is not None else b""
        return CANNOT_TELL if entry.data.startswith(known) else AGAINST
    return AS_POLICY if data == entry.data else AGAINST


def _place_of(display_key: str | None) -> _Place | None:
    """Return the side and the folded key below its root; None for keys of neither side."""
    root, _, rest = fold_name(display_key or "").partition("\\")
    if root == "HKLM":
        return "machine", rest
    if root == "HKU":
        return "user", rest.partition("\\")[2]
    return ("user", rest) if root == "HKCU" else None
