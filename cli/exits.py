"""The exit codes of the command line, in one place. They are part of the interface and do not change."""

from enum import IntEnum

__all__ = ["MEANINGS", "Exit"]


class Exit(IntEnum):
    """What `regtrace` returns to its caller."""

    OK = 0
    ERROR = 1
    USAGE = 2
    FINDINGS = 3
    LOSS = 4
    PLATFORM = 5
    INTERRUPTED = 130
    CLOSED_PIPE = 141


MEANINGS = {
    Exit.OK: "the job was done",
    Exit.ERROR: "the job failed; one sentence on standard error says why",
    Exit.USAGE: "the request is wrong: an unknown option, key, time, zone or operation",
    Exit.FINDINGS: "done, and there are findings or differences (verbs that look for some)",
    Exit.LOSS: "done, but the trace is incomplete and --fail-on-loss was given",
    Exit.PLATFORM: "the verb needs Windows, or elevated rights",
    Exit.INTERRUPTED: "interrupted from the keyboard (Ctrl-C)",
    Exit.CLOSED_PIPE: "the reader of the output went away, as `head` does",
}
