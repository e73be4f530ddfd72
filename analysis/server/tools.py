r"""The table of tools: what a model can ask, in words for it, and which question answers.

Every text here is ours: nothing of a capture comes into a name, a description or a schema.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.answers.words import HANDLES_BY, HOT_BY, HOT_SORTS, KEY_SORTS, MOST_LEVELS, TREE_SORTS
from analysis.server.limits import FEW_ROWS, MOST_ROWS

__all__ = ["ALL_FILTERS", "TOOLS", "Tool", "input_schema", "offered"]

_Schema = Mapping[str, Any]
_WORDS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 50}]}
_TEXT = {"type": "string"}


def _text(description: str, **more: Any) -> _Schema:  # noqa: ANN401  (JSON schema)
    return _TEXT | {"description": description} | more


def _flag(description: str) -> _Schema:
    return {"type": "boolean", "description": description}


def _number(description: str, kind: str = "number", **more: Any) -> _Schema:  # noqa: ANN401
    return {"type": kind, "description": description} | more


_KEYS = {
    "key": _WORDS
    | {
        "description": r"A registry key, or several: HKLM\..., HKCU\..., HKU\..., \REGISTRY\..., any case. * stands for letters "
        r"within one component, ** for any components, [*] for the letter itself."
    },
    "subtree": _flag("Also the keys below the key."),
    "user": _text("Whose keys HKCU and HKCR are: a user's name or SID. Without it: everybody's."),
}
_VALUE = {
    "value": _text('Name of a value, or a pattern with * and ?, any case; "(default)" is the default value.')
}
_EVENTS = {
    "process": _text(
        "Only this process: image name (with or without .exe, * and ? allowed), an id as digits, or a path."
    ),
    "process_tree": _text("Only these processes (same words) and all that they started, and so on down."),
    "operation": _WORDS
    | {
        "description": "Only these operations: read, write, set, delete, open, create, or SetValueKey, QueryValueKey, ..."
    },
    "status": _WORDS | {"description": "Only these results: success, error, a status name or a code."},
    "start": _text(
        "First time: ISO 8601 (UTC), a time of the capture's day (10:00:00), +90s after the first event, or -5m before the last."
    ),
    "end": _text("Last time, inclusive, in the same words."),
    "where": _text(
        "An SQL condition on the columns of the table events, in DuckDB's dialect.", maxLength=10_000
    ),
    "noise": _flag(
        "false: without what Windows does by itself; true: with it, where the question leaves it out."
    ),
}
_SIDES = {
    "a_start": _text("First time of side a."),
    "a_end": _text("Last time of side a, inclusive."),
    "b_start": _text("First time of side b."),
    "b_end": _text("Last time of side b, inclusive."),
}
_FOLD = "What differs between machines and means nothing: sid, guid, controlset, wow64, or all, separated by commas"
_GROUPING = {
    "pause": _number("The longest pause within a change set, seconds; 2 without it.", minimum=0),
    "by": _text(
        "tree: a tree of processes makes a set; process: each process by itself.", enum=["tree", "process"]
    ),
}
ALL_FILTERS = _KEYS | _VALUE | _EVENTS


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool.

    Attributes:
        name: what a model calls it by.
        description: what it answers, for a model.
        more: the schemas of its own arguments, besides the filters.
        filters: the schemas of the filters that it takes.
        method: the method of `analysis.capture.Questions` that answers; "" for those that are no question of it.
        required: the arguments that must be given.
        columns: the function whose docstring lists the columns of the answer, as module:name; "" where the method's does.
        needs: what the server must have been given for it to be there: rules or policies; "" where nothing.
        other: the argument of the method that is the capture to compare with; "" where it compares none.
        needs_two: whether it is there only where there are two captures.
    """

    name: str
    description: str
    more: Mapping[str, _Schema] = field(default_factory=dict)
    filters: Mapping[str, _Schema] = field(default_factory=lambda: ALL_FILTERS)
    method: str = ""
    required: tuple[str, ...] = ()
    columns: str = ""
    needs: str = ""
    other: str = ""
    needs_two: bool = False


def _question(name: str, description: str, **more: Any) -> Tool:  # noqa: ANN401
    return Tool(name, description, method=name, **more)


TOOLS = (
    Tool(
        "info",
        "What the captures hold: machine, sources, time span, numbers of events, and everything that was lost or is in doubt. "
        "Ask this first.",
        filters={},
    ),
    _question(
        "who",
        "Which processes wrote, read, opened or missed a key or value; those that changed most come first.",
        more={"each": _flag("One row per key, value and process instead of one per process.")},
        columns="analysis.answers.who:who",
    ),
    _question(
        "history",
        "Each write and delete of values in order: old and new data, by which process, and how the old data is known.",
    ),
    _question(
        "log",
        "The change sets, newest first: what one tree of processes changed without a long pause, with its root process, times "
        "and counts. The tool show tells one of them.",
        more=_GROUPING,
    ),
    Tool(
        "show",
        "What one change set did: the net changes of its keys and values, with the data before and after.",
        more={
            "change_set": _text(
                "Its name in the tool log, or the first digits of it.", minLength=1, maxLength=40
            ),
            **_GROUPING,
        },
        filters={},
        required=("change_set",),
    ),
    _question(
        "why",
        "Why a value was written: its last write, the process and its parents, what the thread read before and who had written "
        "that, and who read the value afterwards. Each link has its rules, a weight and its evidence, which is no proof.",
        more={
            "at": _text("The last write by this time; without it the last of all."),
            "depth": _number("How many writes away the chain goes.", "integer", minimum=0, maximum=20),
            "within_s": _number(
                "How far a read may be before a write, and a write after a read; seconds.", minimum=0
            ),
            "most": _number("Links of one kind at one operation.", "integer", minimum=1, maximum=50),
        },
        filters={name: ALL_FILTERS[name] for name in ("key", "value", "user")},
        required=("key", "value"),
        columns="analysis.questions.why:WhyQuery.to_arrow",
    ),
    _question(
        "state",
        "What was known of keys and values at a time: content, absence or deletion, each with the event that proves it. What "
        "the capture never saw is unknown, not absent.",
        more={"at": _text("The time, inclusive; without it the end of the capture.")},
        filters={name: one for name, one in ALL_FILTERS.items() if name != "end"},
    ),
    _question(
        "blame",
        "Who wrote what stands in a tree of keys as known at a time: of each key and value the last writer that was seen, when, "
        "in which change set, and how that is known. Where nobody was seen to write it, nobody is named.",
        more={
            "at": _text("The time, inclusive; without it the end of the capture."),
            "deleted": _flag("Also what was deleted, or was not there."),
            **_GROUPING,
        },
        filters={name: ALL_FILTERS[name] for name in ("key", "value", "user")},
        required=("key",),
    ),
    Tool(
        "checkout",
        "The keys and values below a key as known at a time, as lines of a .reg file; what is not known whole, or what no such "
        "file can hold, comes with the reason in place of a line. No file is written.",
        more={"at": _text("The time, inclusive; without it the end of the capture.")},
        filters={name: ALL_FILTERS[name] for name in ("key", "user")},
        required=("key",),
        columns="analysis.versions.checkout:Checkout.rows",
    ),
    _question(
        "changes",
        "The net changes between two times: values and keys whose end differs from their start, with data before and after.",
        more={"fold": _text("noise: leave out keys in which Windows notes what a user did.", enum=["noise"])},
    ),
    _question(
        "errors",
        "What failed, by process, key, value and status; what matters comes first. A miss that a later lookup answered is harmless.",
        more={
            "harmless": _flag("false: without rows all of whose misses were answered."),
            "fold": _flag("false: searches along a path are not folded into one row."),
        },
        columns="analysis.answers.errors:errors",
    ),
    _question(
        "autoruns",
        "Who touched the places that Windows starts programs from by itself (autostarts, hijacks, security controls), what is "
        "new there, and its ATT&CK technique.",
        more={
            "new": _flag("Only what made or changed an entry, or may have."),
            "reads": _flag("Also who read or opened an entry."),
            "category": _WORDS | {"description": "Only these categories of autostart points."},
        },
    ),
    _question(
        "triage",
        "What to look at first: autostarts, rules where the server has some, and net changes in one list with weights and reasons.",
        columns="analysis.questions.triage:TriageQuery.to_arrow",
    ),
    _question(
        "rules",
        "What the Sigma rules of this server say: hits, what cannot be told and why, and counts of rules, in sections.",
        more={
            "level": _text(
                "Only rules of at least this level.",
                enum=["informational", "low", "medium", "high", "critical"],
            ),
            "rule": _text("Only rules with this text in their title or id."),
            "attempts": _flag("Attempts that failed count too."),
            "unknown": _flag("List the events of which cannot be told whether they match."),
        },
        columns="analysis.questions.rules:RulesQuery.to_arrow",
        needs="rules",
    ),
    _question(
        "diff",
        "What differs between two captures (a is `capture`, b is `other`), or between two intervals of one capture.",
        more={
            "fold": _text(f"{_FOLD}; noise: keys in which Windows notes what a user did."),
            "only": _text(
                "values, keys, processes, operations, separated by commas; without it all but operations."
            ),
            "counts": _flag("Operations and processes also differ where their numbers do."),
            **_SIDES,
        },
        columns="analysis.answers.differences:differences",
        other="other",
    ),
    _question(
        "first_divergence",
        "Where two runs part first: the operation that one does and the other does not, or that ends otherwise, and the reads "
        "before it that returned other data. For a program that works here (a) and fails there (b).",
        more={
            "fold": _text(f"{_FOLD}; empty text for nothing. Without it: sid and controlset."),
            "a_process": _text("The process of side a."),
            "b_process": _text("The process of side b."),
            **_SIDES,
            "context": _number(
                "Operations before and after the divergence.", "integer", minimum=0, maximum=100
            ),
        },
        columns="analysis.answers.divergence:diverge",
        other="other",
    ),
    _question(
        "bisect",
        "Which differing value may be why a run fails: the values that the failing run (`other`) read differently before the runs "
        "part, the most likely cause first, with reasons. `capture` is the run that works.",
        more={
            "fold": _text(f"{_FOLD}; empty text for nothing. Without it: sid and controlset."),
            "a_process": _text("The process of the run that works."),
            "b_process": _text("The process of the run that fails."),
            **_SIDES,
        },
        columns="analysis.questions.bisect:BisectQuery.to_arrow",
        other="fails",
        needs_two=True,
    ),
    _question(
        "timeline", "Every event that fits the filters, oldest first. Narrow it, for a capture has many."
    ),
    _question(
        "keys",
        "One row per key: how often it was read, written and opened, by how many processes, and when.",
        more={"sort": _text("By what, largest first.", enum=sorted(KEY_SORTS))},
        columns="analysis.answers.keys:key_summary",
    ),
    _question(
        "tree",
        "How much was done to each key and to all keys below it, down to a depth. For an overview; key is where it begins.",
        more={
            "depth": _number("Levels below that.", "integer", minimum=1, maximum=MOST_LEVELS),
            "sort": _text("path (as a tree), or by what, largest first.", enum=sorted(TREE_SORTS)),
        },
        columns="analysis.answers.tree:subtrees",
    ),
    _question(
        "hot",
        "The busiest keys, processes, stretches of time, operations or results; or storms of misses.",
        more={
            "by": _text("What a row is about.", enum=[*HOT_BY, "storm"]),
            "sort": _text("By what, largest first.", enum=sorted(HOT_SORTS)),
            "every_s": _number("By second: how long each stretch is, seconds.", exclusiveMinimum=0),
            "gap_s": _number("By storm: the longest time between two misses, seconds.", minimum=0),
            "min_count": _number("By storm: the fewest misses.", "integer", minimum=1),
        },
        columns="analysis.answers.hot:hot",
    ),
    _question(
        "handles",
        "Handles to keys: each life with how it began and ended and how long it was idle; or sums by process and key: what leaks, "
        "and what is opened over and over.",
        more={
            "by": _text("handle: one row a life; key: one row a process and key.", enum=list(HANDLES_BY)),
            "problems": _flag(
                "Only what was not closed, or late; by key: what leaks or is opened over and over."
            ),
            "late_s": _number("How long a handle may be idle before its close, seconds.", minimum=0),
            "min_count": _number("By key: from how many on it is a problem.", "integer", minimum=1),
        },
        columns="analysis.answers.handles:handle_lives",
    ),
    _question(
        "redundant",
        "Reads that a process repeated though nothing changed in between, the most repeated first.",
        more={
            "polling": _flag("Only what is read by the clock."),
            "min_count": _number("The fewest redundant reads of a row.", "integer", minimum=1),
        },
        columns="analysis.answers.redundant:redundant_reads",
    ),
    _question(
        "slow",
        "Where the time goes: time spent in the registry, on what, when, and what need not be, in sections.",
        more={
            "most": _number(
                "How many keys, reads and stretches are listed.", "integer", minimum=1, maximum=100
            )
        },
        columns="analysis.questions.slow:SlowQuery.to_arrow",
    ),
    Tool(
        "policies",
        "Each write to a value of a group policy, beside what the policy files of this server say: as policy, against it, or "
        "neither; and whether it overwrote what the policy had set.",
        needs="policies",
        columns="analysis.questions.policies:policy_writes",
    ),
    _question(
        "coverage",
        "Which source reported which operations, and of how many the name, the process and the data are known.",
        columns="analysis.answers.coverage:coverage",
    ),
    Tool(
        "sql",
        "The answer to one SELECT in DuckDB's dialect. It can only read the tables of the capture: events (all names joined), "
        "stored_events, keys, processes, handles, losses, diagnostics; `DESCRIBE events` tells its columns, and so does the "
        "resource regtrace://schema. ORDER BY sequence is the order of events; without ORDER BY pages may overlap.",
        more={"query": _text("The query, one statement that only reads.", minLength=1, maxLength=20_000)},
        filters={},
        required=("query",),
    ),
)


def offered(given: Collection[str], captures: int) -> tuple[Tool, ...]:
    """Return the tools of a server.

    Args:
        given: what was given besides captures: rules, policies.
        captures: how many captures it has.
    """
    return tuple(
        tool
        for tool in TOOLS
        if (not tool.needs or tool.needs in given) and (captures > 1 or not tool.needs_two)
    )


def input_schema(tool: Tool, captures: int) -> dict[str, Any]:
    """Return the JSON schema of a tool's arguments, where the server has so many captures."""
    chosen = {"type": "integer", "minimum": 1, "maximum": captures}
    properties: dict[str, Any] = dict(tool.more) | dict(tool.filters)
    if captures > 1:
        alone = "" if tool.other else " Without it: all of them, with the columns host and capture."
        properties["capture"] = chosen | {"description": f"Which capture, as `info` numbers them.{alone}"}
        if tool.other:
            properties["other"] = chosen | {
                "description": "The capture to compare with"
                + ("." if tool.needs_two else "; without it two intervals of one.")
            }
    properties["rows"] = _number(
        f"The most rows of this page; {FEW_ROWS} without it.", "integer", minimum=1, maximum=MOST_ROWS
    )
    properties["cursor"] = _text("The field `cursor` of the answer before, for its next page.")
    required = [*tool.required, *(["capture"] if tool.other and captures > 1 else [])]
    required += ["other"] if tool.needs_two else []
    return {
        "type": "object",
        "properties": {name: dict(one) for name, one in properties.items()},
        "required": required,
        "additionalProperties": False,
    }
