"""How much each reason weighs in `triage`: one table, which the answer spells out and the docs show.

A row's weight is the sum of the weights of its reasons; of several rules that match it only the heaviest counts, and of several
autostart points likewise. No other number enters.
"""

__all__ = ["LEVEL_WEIGHTS", "RARE_HOSTS", "WEIGHTS"]

LEVEL_WEIGHTS = {"critical": 80, "high": 50, "medium": 25, "low": 8, "informational": 2, None: 8}
"""Of the level of a Sigma rule that matches; None: the rule states none."""

WEIGHTS = {
    "autostart": (30, "a place from which Windows or a program starts something"),
    "hijack": (40, "a place that makes something else start instead, or with it"),
    "security control": (40, "a place that weakens what protects or records"),
    "credential": (45, "a place that gives access to secrets, or hooks what handles them"),
    "new": (10, "there was no such entry before"),
    "changed": (10, "the entry held something else before"),
    "user folder": (15, "what is started lies where a user without rights may write"),
    "script host": (10, "what is started is a script host or a loader that runs something else"),
    "remote": (20, "what is started lies on another machine"),
    "against policy": (25, "a registry.pol that was given says otherwise"),
    "overwrote policy": (20, "the policy's own data stood there before"),
    "rare": (15, "no other host has a change of this value by a program of this name"),
    "net change": (1, "a value or key ended otherwise than it began, and nothing else is known against it"),
}
"""Of every other reason: its weight, and what it says."""

RARE_HOSTS = 3  # of fewer hosts nothing is called rare
