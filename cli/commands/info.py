"""`regtrace info`: the content of a trace or a capture, how sure its names are, and its losses."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.exits import Exit
from cli.options.common import Example, FailOnLoss, Wide
from cli.output.console import console, has_color, is_terminal, terminal_width
from cli.output.phrases import quoted, say_pipes
from tracer.errors import CaptureError, SourceError

if TYPE_CHECKING:
    from tracer.sources.inputs import SourceFile

__all__ = ["EXAMPLES", "describe", "info", "is_lossy"]

EXAMPLES = (
    Example("regtrace info boot.etl", "header, counts by provider and event, losses, oddities"),
    Example("regtrace info boot.regtrace", "the same of a capture, and where its names came from"),
    Example("regtrace info boot.regtrace --json | jq .totals.names", "for a program"),
    Example(
        "regtrace info boot.regtrace --fail-on-loss --quiet > info.txt",
        "exit code 4 where anything is missing",
    ),
)


def info(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="TRACE|CAPTURE",
            help="An .etl, a Procmon .pml (also packed, or - for standard input), or a capture.",
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program.")] = False,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Show what a trace or capture holds, and what is missing.

    Of a trace: what its header says, how many records of which provider and event it has. Of a capture:
    its sources, totals, and how sure its names are. Of both: every loss and everything odd that was met,
    each with a sentence.
    """
    from cli.output.destination import write_lines
    from tracer.sources.inputs import bare_name

    say_pipes([path])
    facts = describe(path)
    if as_json:
        write_lines([json.dumps(facts, indent=2, default=str)])
    else:
        from cli.tables.info import info_lines

        width = terminal_width() if is_terminal(sys.stdout) and not wide else None
        write_lines(info_lines(facts, width, color=has_color(sys.stdout), most_losses=None if wide else 40))
    for sentence in facts.get("left_out", ()):
        console.say(sentence)
    if is_lossy(facts):
        console.warn(f"{path.name} is incomplete: events were lost or are unreadable")
    if facts["kind"] in ("capture", "dataset"):
        console.hint(
            f"regtrace keys {quoted(path)} --limit 20", f"regtrace timeline {quoted(path)} --key KEY"
        )
    else:
        console.hint(f"regtrace ingest {quoted(path)} -o {quoted(bare_name(path) + '.regtrace')}")
    if fail_on_loss and is_lossy(facts):
        raise typer.Exit(Exit.LOSS)


def describe(path: Path) -> dict[str, Any]:
    """Return the facts of a trace or a capture as JSON values; `kind` is capture, dataset, or the kind of the file.

    Raises:
        CaptureError: a folder is no capture, or is damaged.
        SourceError: a file is no trace, or holds several.
    """
    from tracer.sources.inputs import holds_traces, open_sources
    from tracer.sources.unpack import waits
    from tracer.store.addresses import is_address

    if is_address(path) or (path.is_dir() and (_holds_captures(path) or not holds_traces(path))):
        from analysis.open import open_capture

        with open_capture(path) as capture:
            facts = capture.info()
            kind = "dataset" if "captures" in facts else "capture"
            return {"kind": kind, "name": path.name, **facts}
    if not waits(path) and not any(place.exists() for place in (path, *path.parents[:-1])):
        raise CaptureError(f"{path} does not exist; give an .etl, a .pml or a capture")
    with open_sources([path]) as sources:
        if len(sources.files) > 1:
            names = ", ".join(file.shown for file in sources.files[:4])
            raise SourceError(f"{path}: holds {len(sources.files)} traces; name one of them: {names}")
        file = sources.files[0]
        return {**_describe(file), "name": file.name, "wrapper": file.wrapper, "left_out": sources.left_out}


def _holds_captures(folder: Path) -> bool:
    """Tell whether a folder holds captures: other verbs then read these, even with traces beside them."""
    from analysis.dataset.members import find_captures

    return find_captures(folder) is not None


def _describe(file: "SourceFile") -> dict[str, Any]:
    if file.kind == "pml":
        return _describe_pml(file.path)
    if file.kind != "etl":
        from tracer.inspect.times import time_text
        from tracer.named.description import describe_log

        facts = describe_log(file)
        return {
            **facts,
            "first_time": time_text(facts["first_ns"]),
            "last_time": time_text(facts["last_ns"]),
        }
    from tracer.inspect.info import describe_etl

    return describe_etl(file.path)


def is_lossy(facts: dict[str, Any]) -> bool:
    """Tell whether anything is missing, by the capture, a loss, or a counter of that severity."""
    counted = any(row["severity"] == "loss" and row["count"] for row in facts["diagnostics"])
    lost = any(loss["kind"] not in ("blind", "clock") for loss in facts["losses"])
    return counted or lost or facts.get("complete") is False


def _describe_pml(path: Path) -> dict[str, Any]:
    from collections import Counter

    from tracer.diagnostics import Diagnostics
    from tracer.pml import PmlFile
    from tracer.resolve.tree import KeyTree

    diagnostics = Diagnostics()
    log = PmlFile(path, diagnostics)
    tree = KeyTree()
    operations: Counter[str] = Counter()
    first_ns: int | None = None
    last_ns: int | None = None
    for batch in log.batches(tree, source_id=0, first_process_id=0, first_sequence=0):
        operations.update(batch.column("operation").to_pylist())
        times = batch.column("time_ns")
        if batch.num_rows:
            first_ns = times[0].as_py() if first_ns is None else first_ns
            last_ns = times[batch.num_rows - 1].as_py()
    from tracer.inspect.times import time_text

    if not operations:
        diagnostics.count("pml_no_registry_events")
    return {
        "kind": "pml",
        "name": path.name,
        "size": path.stat().st_size,
        "header": log.facts,
        "operations": dict(operations.most_common()),
        "keys": len(tree),
        "processes": log.processes(0, 0).num_rows,
        "first_ns": first_ns,
        "last_ns": last_ns,
        "first_time": time_text(first_ns),
        "last_time": time_text(last_ns),
        "losses": [],
        "diagnostics": diagnostics.rows(0),
    }
