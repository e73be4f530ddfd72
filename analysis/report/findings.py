"""The findings of a report: what `triage` ranks, autostart points, and what Sigma rules say and cannot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from analysis.questions.triage import ranked_findings
from analysis.report.content import Section
from analysis.report.grids import Column, Grid, content_text, made_grid, process_text, value_text
from analysis.report.source import Asking

__all__ = ["finding_sections", "keys_of_findings"]

MOST_ROWS = 500
_HOST = Column("host", "text", lambda row: row.get("host"))
_KEY = Column("key", "key", "display_key")
_PROCESS = Column("process", "text", process_text)


def finding_sections(
    asking: Asking, rules: Sequence[str | Path] | None, command: str
) -> tuple[list[Section], pa.Table]:
    """Return the sections of findings, and the rows of `triage` that are findings.

    Args:
        asking: a capture, perhaps narrowed.
        rules: files, folders or patterns of Sigma rules; None: without rules.
        command: the command line of triage.
    """
    capture = asking.capture
    touches = capture.queries.autoruns().to_arrow()
    verdicts = None if rules is None else capture.queries.rules(rules).to_arrow()
    rows = asking.spelled(
        ranked_findings(capture.context, capture.filters, touches=touches, verdicts=verdicts)
    )
    found = rows.filter(
        pa.array([word != "changes" for word in rows.column("found_by").to_pylist()], pa.bool_())
    )
    sections = [
        Section(
            "findings",
            "What to look at first",
            (
                "The weight is the sum of the reasons beside it: an order to look in, and no verdict.",
                "Installers and Windows itself touch these places too.",
            ),
            (_triage(found, command),),
        ),
        Section(
            "autoruns",
            "Autostart points",
            (
                "Each write, delete and attempt at a place from which something is started, or which weakens what guards it.",
            ),
            (_autoruns(asking.spelled(touches), command.replace("triage", "autoruns")),),
        ),
    ]
    if verdicts is not None:
        listed = asking.spelled(verdicts).to_pylist()
        sections.append(
            Section(
                "rules",
                "Sigma rules",
                (_counts(listed),),
                tuple(_rules(listed, command.replace("triage", "rules"))),
            )
        )
    return sections, found


def keys_of_findings(rows: pa.Table, *, of_one: bool) -> dict[str, str]:
    """Return how filters find the keys of findings, by display path, the heaviest first.

    Args:
        rows: findings.
        of_one: whether they are of one capture, where a key has a short id.
    """
    return {
        row["display_key"]: f"#{row['key_id']}" if of_one else row["display_key"]
        for row in rows.select(["display_key", "key_id"]).to_pylist()
        if row["display_key"] is not None and row["key_id"] is not None
    }


def _triage(rows: pa.Table, command: str) -> Grid:
    columns = [
        _HOST,
        _KEY,
        Column("weight", "number", "weight"),
        Column("time", "time", "time"),
        _PROCESS,
        Column("value", "code", value_text),
        Column("before", "code", lambda row: _shown(row, "before")),
        Column("after", "code", lambda row: _shown(row, "after")),
        Column("reasons", "text", "reasons"),
        Column("ATT&CK", "text", "techniques"),
    ]
    return made_grid(
        "triage", rows.slice(0, MOST_ROWS).to_pylist(), columns, total=rows.num_rows, more=command,
        empty="No autostart point was touched, and no rule matches.",
    )  # fmt: skip


def _autoruns(rows: pa.Table, command: str) -> Grid:
    columns = [
        _HOST,
        _KEY,
        Column("category", "text", "category"),
        Column("point", "text", "autostart"),
        Column("time", "time", "time"),
        _PROCESS,
        Column("value", "code", value_text),
        Column("was", "text", lambda row: row["novelty"] or ("attempt" if row["done"] is False else "?")),
        Column("before", "code", lambda row: "(none)" if row["old_from"] == "absent" else content_text(row, "old_")),
        Column("entry", "code", lambda row: content_text(row, "new_") if row["operation"] == "SetValueKey" else row["operation"]),
        Column("starts", "code", _started),
        Column("ATT&CK", "text", "technique"),
    ]  # fmt: skip
    return made_grid(
        "autoruns", rows.slice(0, MOST_ROWS).to_pylist(), columns, total=rows.num_rows, more=command, empty="None was touched."
    )  # fmt: skip


def _started(row: Mapping[str, Any]) -> str | None:
    """Return what an entry runs in the end, and the kind of its folder."""
    path = row["payload"] or row["server"] or row["program"]
    folder = row["payload_folder"] or row["folder"]
    return f"{path} ({folder} folder)" if path and folder else path


def _counts(rows: Sequence[Mapping[str, Any]]) -> str:
    counts = {row["gap"]: row["rules"] for row in rows if row["section"] == "count"}
    tried = counts.pop("tried", 0)
    return (
        f"{tried:,} rules were tried: {', '.join(f'{number:,} {name}' for name, number in counts.items())}."
    )


def _rules(rows: Sequence[Mapping[str, Any]], command: str) -> list[Grid]:
    hits = [row for row in rows if row["section"] == "hit"]
    columns = [
        _HOST,
        _KEY,
        Column("level", "text", "level"),
        Column("rule", "text", "title"),
        Column("time", "time", "time"),
        _PROCESS,
        Column(
            "parent", "text", lambda row: process_text({"process": row["parent"], "pid": row["parent_pid"]})
        ),
        Column("value", "code", value_text),
        Column("before", "code", lambda row: _shown(row, "before")),
        Column("details", "code", "details"),
        Column("ATT&CK", "text", "techniques"),
    ]
    unknown = [row for row in rows if row["section"] == "unknown"]
    gaps = [row for row in rows if row["section"] == "gap"]
    broken = [row for row in rows if row["section"] in ("broken", "source")]
    return [
        made_grid("hits", hits[:MOST_ROWS], columns, title="Hits", total=len(hits), more=command, empty="No rule matches."),
        made_grid(
            "gaps",
            gaps,
            [
                Column("not known", "text", "gap"),
                Column("rules", "number", "rules"),
                Column("events", "number", "events"),
                Column("what to record next time", "text", "advice"),
            ],
            title="What decides and is not known",
            empty="Every rule could be told.",
        ),
        made_grid(
            "unknown",
            unknown[:MOST_ROWS],
            [
                Column("level", "text", "level"),
                Column("rule", "text", "title"),
                Column("not known", "text", "gap"),
                Column("events", "number", "events"),
            ],
            title="Rules that cannot be told",
            total=len(unknown),
            more=command,
            empty="There are none.",
        ),
        made_grid(
            "untried",
            broken,
            [Column("what", "text", "section"), Column("which", "text", lambda row: row["path"] or row["gap"]), Column("why, or how many", "text", lambda row: row["gap"] if row["path"] else row["rules"])],
            title="Rules that were not tried",
            empty="There are none.",
        ),
    ]  # fmt: skip


def _shown(row: Mapping[str, Any], name: str) -> str | None:
    text = row[name]
    if row["value_name"] is None:
        return None
    return "?" if text is None else text or '""'
