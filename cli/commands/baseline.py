"""`regtrace baseline`: the hives of a capture, and where they and the trace differ."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.options.common import (
    CapturePath,
    Example,
    FewRows,
    Force,
    FormatOption,
    KeyWords,
    OutputFile,
    UnderWords,
    UserWord,
    Wide,
    Zone,
)
from cli.output.console import console
from cli.output.phrases import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["EXAMPLES", "baseline"]

EXAMPLES = (
    Example(
        "regtrace baseline boot.regtrace",
        "which hives were given, and what they say otherwise than the trace",
    ),
    Example(
        r"regtrace baseline boot.regtrace --under 'HKLM\SYSTEM\CurrentControlSet\Services' -o unseen.csv",
        "keys that were written when the trace saw nobody write",
    ),
)


def baseline(
    capture: CapturePath,
    key: KeyWords = None,
    under: UnderWords = None,
    user: UserWord = None,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance",
            metavar="SECONDS",
            min=0,
            help="By how much the clocks of hive and trace may differ.",
        ),
    ] = 1.0,
    limit: FewRows = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
) -> None:
    """Print where hives and trace differ, and what hives tell.

    Of each hive (`regtrace ingest --baseline`): where it stands, what it holds, when it was written, and what it leaves in
    doubt. Then a row for each key that a hive says was last written during the trace, though no change of it was seen
    (unseen; lost, where events of that time may be missing), and for each key that the trace used without having made
    it, though no hive holds it (in_memory).
    """
    from analysis.questions.last_writes import query
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import asking, few_rows, filters_of
    from cli.tables.baseline import baseline_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz))
    limit = few_rows(limit, target)
    with asking(capture, filters_of(key=key, under=under, user=user), target) as question:
        asked = query(question.context, question.filters, tolerance_s=tolerance, limit=limit)
        for sentence in _hives([manifest.sources for _, manifest in question.context.stores]):
            console.say(sentence)
        lines = partial(baseline_lines, zone=target.zone, color=target.color)
        question.print(asked, lines, noun="finding", limit=limit)


def _hives(sources: "Sequence[Sequence[dict[str, Any]]]") -> "Iterator[str]":
    """Yield a sentence for each hive, and one for what it leaves in doubt."""
    from tracer.baseline.doubts import hive_doubt
    from tracer.inspect.times import time_text

    for source in (one for listed in sources for one in listed if one.get("kind") == "hive"):
        facts = source.get("facts") or {}
        keys, values, time_ns = (facts.get(name) for name in ("keys", "values", "time_ns"))
        amounts = [
            plural(count, noun)
            for count, noun in ((keys, "key"), (values, "value"))
            if isinstance(count, int)
        ]
        when = time_text(time_ns) if isinstance(time_ns, int) else None
        logs = facts.get("logs") or []
        yield "; ".join(
            [
                f"{source.get('name')} at {facts.get('mount')}: {', '.join(amounts)}",
                f"last written {when}" if when else "without a time",
                *([f"with {', '.join(map(str, logs))}"] if logs else []),
            ]
        )
        doubt = hive_doubt(source)
        if doubt:
            yield doubt
