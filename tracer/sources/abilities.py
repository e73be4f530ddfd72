"""What each source of rows can tell, and what it never does: one table for `info`, for empty answers and for the docs.

A source is a word of the column `source` of `events`. One that is not listed here (ETW, Procmon's own log) reports
every operation that its settings did not leave out.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tracer.registry.operations import PROCMON_NAMES

__all__ = ["ABILITIES", "Ability", "cannot_report", "never", "tells_failures"]


@dataclass(frozen=True, slots=True)
class Ability:
    """What one source tells.

    Attributes:
        name: what it is called in a sentence.
        operations: the operations that it may report.
        failures: whether it reports operations that failed.
        handles: whether it tells handles apart.
        tells: what a row says beside its key, as one sentence.
        never: what no row of it says.
        caveat: what a reader of its answers should know.
    """

    name: str
    operations: tuple[str, ...]
    failures: bool
    handles: bool
    tells: str
    never: tuple[str, ...]
    caveat: str


_PROCMON_CSV = Ability(
    "Procmon's CSV",
    tuple(PROCMON_NAMES.values()),
    failures=True,
    handles=False,
    tells="what Procmon showed in the columns that were on: the process, the thread, the result, the duration, data as text",
    never=(
        "handles",
        "the time zone",
        "data before a write",
        "REG_QWORD data, the strings of a REG_MULTI_SZ apart, and more than 16 bytes of other data",
        "the information class of reads of values and of enumerations",
        "whose keys HKCU are",
        "where in a path the key ends and the value's name begins",
    ),
    caveat="what a filter hid was not saved, and of columns that were off (TID, Duration, Date & Time by default) nothing is known",
)
ABILITIES = {
    "defender": Ability(
        "Defender",
        ("CreateKey", "DeleteKey", "RenameKey", "SetValueKey", "DeleteValueKey"),
        failures=False,
        handles=False,
        tells="key and value apart, the process (id, start, image, command line, user, parent), numbers and text with their "
        "type, and the data before a write",
        never=(
            "reads and opens",
            "operations that failed",
            "handles and threads",
            "durations",
            "data of other types than numbers and text, and the type of the data before",
            "whether a create made the key",
        ),
        caveat="Defender chooses which changes it reports; not tried on a real export",
    ),
    "procmon-csv": _PROCMON_CSV,
    "procmon-xml": replace(
        _PROCMON_CSV, name="Procmon's XML", caveat=f"{_PROCMON_CSV.caveat}; not tried on a real export"
    ),
    "sysmon": Ability(
        "Sysmon",
        ("CreateKey", "DeleteKey", "SetValueKey", "DeleteValueKey", "RenameKey", "CreateOrDelete"),
        failures=False,
        handles=False,
        tells="the process (GUID, id, image; its user since version 13), the new data as text",
        never=(
            "reads and opens",
            "operations that failed",
            "handles and threads",
            "durations",
            "data before a write",
            "types but REG_DWORD and REG_QWORD, and data of other types than numbers and text",
            "whether a create made the key",
            "where in a path the key ends and the value's name begins",
        ),
        caveat="its configuration decides which keys it looks at: what it does not show may have happened all the same",
    ),
    "security": Ability(
        "the Security log",
        ("OpenKey", "CloseKey", "SetValueKey", "DeleteValueKey", "DeleteKey", "AccessKey"),
        failures=True,
        handles=True,
        tells="values set and deleted with the data before and after; handles that were asked for, with the rights, and closed; "
        "rights that were used; the process (id and image) and the account of the caller",
        never=(
            "reads as such: only that the right to query or enumerate was used (AccessKey)",
            "whether an open made the key; keys that were renamed, and security that was changed",
            "failures but of access that was denied",
            "threads and durations",
            "data of other types than numbers and text",
        ),
        caveat="only keys with an auditing entry (SACL) are recorded, and only for the rights and accounts that it names",
    ),
}


def cannot_report(sources: Iterable[str], operations: Iterable[str]) -> str | None:
    """Return a sentence on why none of the sources has any of these operations; None where one may have.

    Args:
        sources: words of the column `source`.
        operations: names of operations.

    >>> cannot_report(["sysmon"], ["QueryValueKey"])
    'Sysmon never records QueryValueKey'
    """
    asked, names = set(operations), []
    for source in sources:
        ability = ABILITIES.get(source)
        if ability is None or asked & set(ability.operations):
            return None
        names.append(ability.name)
    if not names or not asked:
        return None
    some = ", ".join(sorted(asked)) if len(asked) < 4 else "none of these operations"
    verb = "records" if len(names) == 1 else "record"
    return f"{_all(names)} never {verb} {some}" if len(asked) < 4 else f"{_all(names)} {verb} {some}"


def tells_failures(sources: Iterable[str]) -> str | None:
    """Return a sentence on why the sources have no failures; None where one may have some."""
    names = []
    for source in sources:
        ability = ABILITIES.get(source)
        if ability is None or ability.failures:
            return None
        names.append(ability.name)
    return (
        f"{_all(names)} {'records' if len(names) == 1 else 'record'} only what succeeded" if names else None
    )


def never(sources: Iterable[str], what: str) -> str:
    """Return the sentence that these sources record no such thing."""
    names = [ABILITIES[source].name for source in sources]
    return f"{_all(names)} {'records' if len(names) == 1 else 'record'} no {what}"


def _all(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
