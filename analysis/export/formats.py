"""The formats of exports by their words, and the file that one of them becomes."""

import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from analysis.export.records import Export, Exported, Options, Records
from tracer.errors import UsageError
from tracer.files.targets import open_target
from tracer.registry.suggestions import advice

if TYPE_CHECKING:
    from analysis.filters import Filters
    from analysis.questions.context import QueryContext

__all__ = ["FORMATS", "Format", "check_format", "export_file", "export_stream", "options_of"]

_Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        summary: what reads it.
        writer: its module and class.
        is_text: whether it can go to a terminal.
        endings: with which a file must end; () for any.
        words: which options it takes.
    """

    summary: str
    writer: str
    is_text: bool = True
    endings: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def load(self) -> Callable[[Records], Export]:
        """Return the class that writes it.

        Raises:
            UsageError: it needs a library that is not installed.
        """
        module, _, name = self.writer.partition(":")
        found: Callable[[Records], Export] = getattr(import_module(f"analysis.export.{module}"), name)
        return found


FORMATS = {
    "timesketch": Format(
        "Timesketch, as CSV or JSON lines by the ending of the file",
        "timesketch:Timesketch",
        endings=(".csv", ".jsonl"),
    ),
    "ecs": Format("Elasticsearch: bulk lines, Elastic Common Schema", "ecs:Ecs", words=("index",)),
    "ocsf": Format("security lakes: OCSF Registry Key and Value Activity, JSON lines", "ocsf:Ocsf"),
    "perfetto": Format("ui.perfetto.dev: a Perfetto trace (protobuf)", "perfetto:Perfetto", is_text=False),
    "splunk": Format(
        "Splunk's HTTP Event Collector, JSON lines", "splunk:Splunk", words=("index", "sourcetype")
    ),
    "l2tcsv": Format("log2timeline's CSV of 17 columns", "l2tcsv:L2tCsv"),
}


def check_format(to: str, path: Path | None) -> Format:
    """Return the format of a word.

    Args:
        to: the word.
        path: the file that it becomes; None for a stream.

    Raises:
        UsageError: there is no such format, or it takes no file with this ending.
    """
    if to not in FORMATS:
        raise UsageError(f"unknown format {to!r}; {advice(to, tuple(FORMATS))}")
    found = FORMATS[to]
    if path is not None and found.endings and path.suffix.lower() not in found.endings:
        raise UsageError(
            f"{to} takes files that end with {' or '.join(found.endings)} only, so it would not import "
            f"{path.name!r}; name it {path.stem}{found.endings[0]}"
        )
    return found


def options_of(
    to: str, path: Path | None, *, index: str | None = None, sourcetype: str | None = None
) -> Options:
    """Return the options of a format.

    Raises:
        UsageError: the format does not take one of them.
    """
    for word, value in (("index", index), ("sourcetype", sourcetype)):
        if value is not None and word not in FORMATS[to].words:
            takers = " and ".join(name for name, one in FORMATS.items() if word in one.words)
            raise UsageError(f"{to} has no {word}; {takers} {'has' if ' and ' not in takers else 'have'} one")
    return Options(index, sourcetype, csv=path is not None and path.suffix.lower() == ".csv")


def export_file(
    context: "QueryContext",
    filters: "Filters",
    path: Path,
    *,
    to: str,
    force: bool = False,
    limit: int | None = None,
    index: str | None = None,
    sourcetype: str | None = None,
    progress: _Progress | None = None,
) -> Exported:
    """Write a timeline as a file for another program; of `.gz` compressed.

    Args:
        context: one or several captures.
        filters: the filters of the rows.
        path: the file; it appears whole or not at all.
        to: a word of FORMATS.
        force: whether an existing file is replaced.
        limit: the first so many rows; None for all.
        index: of Elasticsearch or Splunk; None: `regtrace`, and Splunk's own.
        sourcetype: of Splunk; None: `regtrace:event`.
        progress: is told how many rows are written.

    Raises:
        UsageError: the format, an option or a filter cannot be understood.
        TargetError: the file cannot be written.
    """
    check_format(to, path)
    options = options_of(to, path, index=index, sourcetype=sourcetype)
    records = Records(context, filters, options, limit=limit)
    with open_target(path, force=force, sources=[store for store, _ in context.stores]) as stream:
        if path.suffix.lower() != ".gz":
            return export_stream(records, stream, to=to, progress=progress)
        # Neither a name nor a time: the same rows are the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=6, mtime=0) as packed:
            return export_stream(records, packed, to=to, progress=progress)


def export_stream(
    records: Records,
    stream: BinaryIO | gzip.GzipFile | io.BufferedIOBase,
    *,
    to: str,
    progress: _Progress | None = None,
) -> Exported:
    """Write records to a stream of bytes and return what became of them."""
    writer = FORMATS[to].load()(records)
    for piece in writer.head():
        stream.write(piece)
    for rows in records.batches():
        for piece in writer.rows(rows):
            stream.write(piece)
        if progress is not None:
            progress(records.tally.rows)
    for piece in writer.tail():
        stream.write(piece)
    return records.tally
