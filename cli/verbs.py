"""The table of all verbs of the command line, as `regtrace --help` shows it."""

from typing import NamedTuple

__all__ = ["GROUPS", "VERBS", "Verb"]


class Verb(NamedTuple):
    """The module of a verb, and the first line of its help (a test compares it)."""

    module: str
    function: str
    summary: str


GROUPS = {
    "Make a capture, and see what it holds": {
        "demo": "Show the whole job on a simulated trace.",
        "ingest": "Read traces and logs, name their keys, and publish a capture.",
        "info": "Show what a trace or capture holds, and what is missing.",
        "dump": "Write every record of a trace, before names are resolved.",
        "simulate": "Write a simulated trace, a genuine .etl, with its truth beside it.",
    },
    "Ask what happened": {
        "timeline": "Print what happened to keys and values, oldest first.",
        "history": "Print each write and delete of values, with old and new data.",
        "why": "Print what led to a write, and what came of it, link by link.",
        "state": "Print what was known of keys and values at a time.",
        "changes": "Print the net changes, and write .reg files that undo them.",
        "who": "Print which processes wrote, read, opened or missed a key.",
        "triage": "Print what to look at first: autostarts, rules, policies, changes.",
        "autoruns": "Print who touched autostart points, and what is new of them.",
        "baseline": "Print where hives and trace differ, and what hives tell.",
        "coverage": "Print which source reported which operations.",
        "log": "Print the change sets of a capture, newest first.",
        "blame": "Print who wrote what stands in a tree of keys, with its change set.",
        "checkout": "Write keys and values as known at a time, as files.",
        "show": "Print one change set as a diff: - old, + new.",
        "diff": "Compare two captures, or two intervals of one.",
        "bisect": "Print which differing value may be why a run fails.",
        "rules": "Try Sigma rules about the registry on a capture.",
    },
    "Ask what it cost": {
        "keys": "Print one row per key: how often used, by whom, and when.",
        "hot": "Print the busiest keys, processes or seconds, or storms of misses.",
        "tree": "Print how much was done to each key and to all keys below it.",
        "errors": "Print what failed, by process, key, value and status.",
        "redundant": "Print reads that a process repeated though nothing changed.",
        "slow": "Show a program's time in the registry, and what need not be.",
        "handles": "Print how long handles lived, and which were never closed.",
    },
    "Ask anything, draw it, and hand it on": {
        "browse": "Walk through the keys of a capture, and through its time.",
        "sql": "Print the answer to an SQL query over the tables of a capture.",
        "plot": "Draw a capture as a page that needs no network, or as an image.",
        "report": "Write one file to hand over: a page, or Markdown.",
        "export": "Write a timeline for Timesketch, Elastic, Splunk or Perfetto.",
        "mcp": "Answer a program that speaks the Model Context Protocol.",
    },
    "Record on Windows": {
        "capture": "Record on Windows, around a program or until Ctrl-C.",
        "watch": "Show what happens to the registry, as it happens, until Ctrl-C.",
        "start": "Begin a recording on Windows that goes on by itself.",
        "status": "Show what is being recorded, and how it stands.",
        "snapshot": "Save what the ring of a running recording holds.",
        "stop": "End the recording that `regtrace start` began, and publish it.",
        "cancel": "End the recording that `regtrace start` began, and discard it.",
        "sessions": "Show the tracing sessions that run, or stop one.",
        "boot": "Trace the boot: configure it, make a capture of it, switch it off.",
        "doctor": "Check this machine: system, rights, sessions, disk.",
        "selftest": "Try whether this machine reports names and values.",
    },
    "Look up": {
        "schema": "Print the tables and columns of a capture.",
        "list": "Print the words that options accept.",
    },
}
_FUNCTIONS = {"list": "list_words"}  # where a verb's function cannot have its name
VERBS = {
    name: Verb(f"cli.commands.{name}", _FUNCTIONS.get(name, name), summary)
    for group in GROUPS.values()
    for name, summary in group.items()
}
