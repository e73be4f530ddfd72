"""A report of a capture: what it is, what was found, what changed, who was busy, what failed; as a page or as Markdown."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.card import printable
from analysis.filters import Filters
from analysis.questions.changes import reg_files
from analysis.questions.empty_answers import filter_words
from analysis.report import answers, promise
from analysis.report.cards import key_cards
from analysis.report.content import Content, Section
from analysis.report.findings import finding_sections, keys_of_findings
from analysis.report.markdown import markdown_text
from analysis.report.moments import MOST_STOPS, known_moments
from analysis.report.page import page_html
from analysis.report.source import Asking, Source
from tracer.errors import RegtraceError, UsageError
from tracer.files.targets import open_target

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ENDINGS", "Report", "make_report"]

ENDINGS = (".html", ".md")
_MOST_KEYS = 40  # of which a report has cards and moments
_MOST_ERRORS = 500
_MOST_ROWS_OF_UNDO = 2000


@dataclass(frozen=True, slots=True)
class Report(Content):
    """A report: what it says, and how it is written."""

    def html(self) -> str:
        """Return the page: one file that asks for nothing from the network."""
        return page_html(self)

    def markdown(self) -> str:
        """Return the report as Markdown, without pictures and moments."""
        return markdown_text(self)

    def render(self, ending: str) -> bytes:
        """Return the bytes of the file.

        Raises:
            UsageError: the ending is none of `ENDINGS`.
        """
        forms = {".html": self.html, ".md": self.markdown}
        if ending not in forms:
            raise UsageError(f"unknown format of a report {ending!r}; use one of {', '.join(ENDINGS)}")
        return forms[ending]().encode("utf-8", "backslashreplace")

    def save(self, path: Path | str, *, force: bool = False) -> Path:
        """Write the report, whole or not at all; the ending of the name is the format.

        Args:
            path: NAME.html or NAME.md.
            force: replace a file that exists.

        Raises:
            UsageError: the ending is none of `ENDINGS`.
            TargetError: the file exists, or cannot be written.
        """
        path = Path(path)
        content = self.render(path.suffix.lower())
        with open_target(path, force=force) as stream:
            stream.write(content)
        return path

    def __repr__(self) -> str:
        return f"<Report of {len(self.sections)} sections and {len(self.cards)} keys; .save('NAME.html') keeps it>"


def make_report(
    source: Source,
    filters: Filters | None = None,
    *,
    rules: Sequence[str | Path] | None = None,
    most_keys: int = _MOST_KEYS,
    most_stops: int = MOST_STOPS,
    pictures: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Return a report of a capture.

    Args:
        source: an open capture, not narrowed.
        filters: what the tables tell of; cards and moments tell all of their keys. None: of everything.
        rules: files, folders or patterns of Sigma rules, which need the extra `sigma`; None: without rules.
        most_keys: of so many keys at most there are cards and moments.
        most_stops: the moments of the time slider, at most.
        pictures: whether there are pictures; there are none without the extra `plots` either.
        progress: is called with what is done next.

    Raises:
        UsageError: a filter cannot be understood.
    """
    say = progress or (lambda _: None)
    capture = source.where(filters or Filters())
    name = capture.path.name
    info = capture.info()
    asking = Asking(capture)
    of_one = len(capture.context.stores) == 1
    say("findings")
    findings, found = finding_sections(asking, rules, _command("triage", name))
    say("net changes")
    net = capture.queries.changes().net_changes()
    changes = asking.finished(net.rows)
    say("processes and keys")
    sections = [
        *findings,
        Section(
            "changes",
            "Net changes",
            ("A question mark stands for what nobody saw.", *(f"{sentence}." for sentence in net.sentences)),
            (answers.changes_grid(changes, _command("changes", name)),),
            _undo(capture, net),
        ),
        Section(
            "processes",
            "Processes",
            ("Each stands below the process that started it; counts leave out what Windows does by itself.",),
            (answers.processes_grid(capture, asking.rows(capture.queries.who())),),
        ),
        _busy(asking, name),
        _failing(asking, name, say),
    ]
    say("keys and moments")
    keys = _keys_of_report(changes, keys_of_findings(found, of_one=of_one), most_keys, of_one=of_one)
    whole = Asking(source)
    cards = key_cards(whole, keys)
    moments = known_moments(whole, list(dict.fromkeys(keys.values())), most=most_stops)
    drawn: dict[str, dict[str, Any]] = {}
    library = ""
    if pictures:
        say("pictures")
        drawn, library = _pictures(capture)
    sections.append(_method(capture, info))
    return Report(
        title=f"Registry activity in {printable(name)}",
        facts=promise.about_capture(capture),
        doubts=[*filter(None, [asking.users_sentence]), *capture.doubts().sentences, *promise.sources_sentences(capture)],
        sections=sections,
        cards=cards,
        moments=moments,
        pictures=drawn,
        library=library,
    )  # fmt: skip


def _command(verb: str, name: str, *more: str) -> str:
    return shlex.join(["regtrace", verb, printable(name), *more])


def _undo(capture: Source, net: Any) -> tuple[str, str] | None:  # noqa: ANN401
    """Return the file that takes the changes back; None where there are none, or of more than one registry."""
    if len(capture.context.stores) > 1 or not 0 < net.rows.num_rows <= _MOST_ROWS_OF_UNDO:
        return None
    return "undo.reg", reg_files(capture.context, net, capture.filters).undo


def _busy(asking: Asking, name: str) -> Section:
    queries = asking.capture.queries
    query = queries.hot(by="key", limit=100)
    grids = (
        answers.busy_processes_grid(asking.rows(queries.hot(by="process"))),
        answers.busy_keys_grid(asking.rows(query), query.total(), _command("hot", name)),
    )
    return Section("busiest", "Busiest", ("What Windows does by itself is left out.",), grids)


def _failing(asking: Asking, name: str, say: Callable[[str], None]) -> Section:
    say("failures")
    query = asking.capture.queries.errors(limit=_MOST_ERRORS)
    grid = answers.errors_grid(asking.rows(query), query.total(), _command("errors", name))
    sentence = (
        "A miss that a later hit answered is ordinary: programs look in one place and then in the next."
    )
    return Section("failing", "Failing", (sentence,), (grid,))


def _keys_of_report(changes: "pa.Table", first: dict[str, str], most: int, *, of_one: bool) -> dict[str, str]:
    """Return the keys with cards, by display path: those of findings first, then by their number of changes."""
    counts: dict[str, int] = {}
    ids: dict[str, str] = {}
    for row in changes.select(["display_key", "key_id", "writes"]).to_pylist():
        key = row["display_key"]
        if key is not None and row["key_id"] is not None:
            counts[key] = counts.get(key, 0) + (row["writes"] or 1)
            ids[key] = f"#{row['key_id']}" if of_one else key
    ordered = sorted(counts, key=lambda key: -counts[key])
    together = first | {key: ids[key] for key in ordered if key not in first}
    return dict(list(together.items())[:most])


def _pictures(capture: Source) -> tuple[dict[str, dict[str, Any]], str]:
    """Return the charts and the program that draws them; nothing where the extra is missing or cannot run, or with nothing to draw."""
    try:
        from analysis.charts.figures import activity
        from analysis.charts.picture import library
    except RegtraceError:
        return {}, ""
    try:
        picture = activity(capture)
    except UsageError:  # no event fits
        return {}, ""
    return {"Operations per second": picture.spec()}, library()


def _method(capture: Source, info: Mapping[str, Any]) -> Section:
    sentences = [
        f"Made by regtrace {info['regtrace_version']} on {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC. All times are UTC.",
        "What is not known is not guessed: a question mark stands for it.",
        "A net change compares what a value held before the first change that was seen with what it held at the end.",
        "What was known at a moment is what the newest evidence until then says: a write, a read, an open that failed.",
        *(f"The tables tell only of {words}." for words, _ in filter_words(capture.filters)),
    ]
    grids = (promise.sources_grid(info), promise.names_grid(info), promise.losses_grid(info))
    return Section("method", "Sources and method", tuple(sentences), grids)
