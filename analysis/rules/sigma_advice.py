"""What to record next time, for each thing that rules could not be told of."""

__all__ = ["advice"]

_DATA = (
    "record data: regtrace capture asks for them by the option word (regtrace selftest tells whether this Windows honours it); "
    "a Sysmon rule or an auditing entry (SACL) on the key tells numbers and text"
)
_PROCESS = "record processes beside the registry, as regtrace capture does, from their start; Sysmon names full paths"
_USER = "Sysmon from version 13 on and the Security log name the user; so does a trace of processes from their start"
_NAME = "record the open keys at the start, as regtrace capture does, or from the boot on (regtrace boot); Sysmon writes whole paths"
_ADVICE = {
    "data that were written": _DATA,
    "rest of the data": "record more bytes of data: what is longer was cut by the source",
    "text after a NUL": "nothing helps: the data hold a NUL, and readers differ in whether text ends there",
    "process": _PROCESS,
    "process id": _PROCESS,
    "path of the program": _PROCESS,
    "drive letter of the program": "record command lines (regtrace capture does) or Sysmon's log, which have drive letters",
    "user": _USER,
    "name of the user": _USER,
    "name of the key": _NAME,
    "name of the value": "record names: regtrace capture asks for them by the option word",
    "new name of the key": "record renames with their new name, as ETW and Sysmon do",
    "spelling of the name": "nothing helps: a capture keeps the first spelling of a name, and the rule asks for its case",
    "control set in force": "tell which control set was in force: regtrace ingest --control-set N",
    "EventType": "read Sysmon's own .evtx: the collector overwrote EventType, so a create cannot be told from a delete",
    "whether the key was made": "use a source that tells whether a create made the key: ETW or Procmon",
    "success": "use a source that tells how operations ended: ETW, Procmon or Sysmon",
}


def advice(gap: str) -> str:
    """Return what to record next time so that something is known, as a sentence without its full stop.

    Args:
        gap: what was not known (`analysis.rules.sigma_verdicts.Verdict.gaps`).
    """
    if gap.startswith("unsupported"):
        return "no recording helps: regtrace does not support this part of the rule"
    return _ADVICE[gap]
