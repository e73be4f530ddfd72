"""The service: captures that are open, and one bounded answer to each call of a tool. It knows no protocol."""

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import Any, Self

from analysis.capture import Capture
from analysis.engine.interruption import time_limit
from analysis.filters import Filters
from analysis.open import open_capture
from analysis.policy.folder import read_policies
from analysis.questions.empty_answers import why_empty
from analysis.questions.unknown_names import unknown_key, unknown_process
from analysis.server.arguments import checked
from analysis.server.caveats import caveats_of
from analysis.server.cursors import cursor_at, rows_before
from analysis.server.facts import FACTS, facts_of
from analysis.server.fetch import Rows, fetched, fetched_sql
from analysis.server.limits import FEW_ROWS, Limits
from analysis.server.others import OTHERS
from analysis.server.pages import page_of
from analysis.server.resources import Resource, read_resource, resources
from analysis.server.tools import ALL_FILTERS, Tool, input_schema, offered
from analysis.server.untrusted import marked, safe
from analysis.times import dated
from tracer.errors import RegtraceError, TimeLimit, UsageError
from tracer.registry.paths import has_wildcard
from tracer.registry.suggestions import advice

__all__ = ["Answer", "Service"]

_PAGE = ("rows", "cursor")  # arguments that are no part of the question
_MOST_MESSAGE = 2000


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as JSON, and whether it says why there is none."""

    content: dict[str, Any]
    is_error: bool = False


class Service:
    """Answers calls of tools about some captures, one at a time; close it, or use it in a `with` statement.

    Attributes:
        tools: the tools that it offers.
    """

    def __init__(
        self,
        captures: Sequence[Path | str],
        *,
        rules: Sequence[Path | str] = (),
        policies: Path | str | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Open the captures.

        Args:
            captures: captures, or folders of them.
            rules: files, folders or patterns of Sigma rules; without any there is no tool for them.
            policies: a folder with registry.pol and .admx files; None: there is no tool for them.
            limits: what an answer may cost; None: the usual.

        Raises:
            CaptureError: a capture cannot be read.
            UsageError: there is none, or one is named twice; or the folder has no policy files.
        """
        if not captures:
            raise UsageError("no capture was named; give one or more, as `regtrace ingest` makes them")
        self._limits = limits or Limits()
        self._given: dict[str, Any] = {"rules": [str(path) for path in rules], "policies": policies}
        if policies is not None:
            read_policies(policies)  # what is wrong with it is said at the start
        self._captures = [Path(path) for path in captures]
        self._open: dict[int | None, Capture] = {}
        self._lock = threading.Lock()
        self._whole: tuple[str, Rows] | None = None  # of the last question that has no pages of its own
        stores = self._capture(None).context.stores
        self._folders = [path for path, _ in stores]
        self._digests = [_digest(manifest.as_dict()) for _, manifest in stores]
        self.tools = offered([word for word, one in self._given.items() if one], len(stores))

    def schema(self, tool: Tool) -> dict[str, Any]:
        """Return the JSON schema of a tool's arguments."""
        return input_schema(tool, len(self._folders))

    def resources(self) -> list[Resource]:
        """Return the pages that can be read."""
        return resources(self.tools)

    def read(self, uri: str) -> str:
        """Return a page as Markdown; UsageError where there is none."""
        return read_resource(uri, self.tools)

    def ask(self, name: str, arguments: Mapping[str, Any] | None) -> Answer:
        """Return the answer of a tool, or the sentence on why there is none.

        Args:
            name: the tool.
            arguments: what the client sent; they are checked.
        """
        tools = {tool.name: tool for tool in self.tools}
        if (tool := tools.get(name)) is None:
            sentence = f"there is no tool {safe(name, 60)[0]}; {advice(name[:60], tools)}"
            return Answer({"error": sentence}, is_error=True)
        with self._lock:  # one engine, one question
            try:
                asked = checked(arguments, self.schema(tool))
                question = {word: value for word, value in asked.items() if word not in _PAGE}
                before = rows_before(asked.get("cursor"), tool.name, question, self._digests)
            except UsageError as error:  # about the client's own words
                return Answer({"error": safe(str(error), _MOST_MESSAGE)[0]}, is_error=True)
            try:
                with time_limit(self._limits.seconds):
                    return Answer(self._answered(tool, question, before, asked.get("rows", FEW_ROWS)))
            except TimeLimit as error:
                self.close()  # the query may go on for a moment; the next question opens the captures anew
                return Answer({"error": str(error)}, is_error=True)
            except MemoryError:
                self.close()
                return Answer({"error": "out of memory; narrow the question"}, is_error=True)
            except (RegtraceError, OSError) as error:
                return _refused(error)

    def close(self) -> None:
        """Release the captures; the next question opens them again."""
        for capture in self._open.values():
            capture.close()
        self._open.clear()
        self._whole = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _capture(self, number: int | None) -> Capture:
        """Return a capture by its number, or all of them."""
        if number not in self._open:
            memory = self._limits.memory
            if number is None and len(self._captures) > 1:
                self._open[number] = open_capture(self._captures, memory_limit=memory)
            else:
                path = self._captures[0] if number is None else self._folders[number - 1]
                self._open[number] = open_capture(path, memory_limit=memory)
        return self._open[number]

    def _answered(self, tool: Tool, question: Mapping[str, Any], before: int, most: int) -> dict[str, Any]:
        words = dict(question)
        number, other = words.pop("capture", None), words.pop("other", None)
        capture = self._capture(number)
        filters, notes = Filters(), list[str]()
        if tool.filters:
            filters = _filters(capture, {name: words.pop(name) for name in ALL_FILTERS if name in words})
            notes += _about_names(capture, filters)
        asked = [(capture, filters)]
        if other is not None:
            asked.append((self._capture(other), filters))
        if tool.name == "info":
            rows = Rows(facts_of(capture.context), list(FACTS), is_whole=True)
        elif tool.name == "sql":
            rows = fetched_sql(capture.context, words["query"], before, most + 1)
        else:
            rows = self._rows(tool, asked, words, before, most + 1)
        shown = rows.rows[before:] if rows.is_whole else rows.rows
        page = page_of(shown[:most], rows.columns, self._limits.bytes)
        after = before + len(page.rows)
        is_last = len(page.rows) == len(shown)
        if not shown and not before and tool.filters:
            notes += filter(None, [why_empty(capture.context, filters, rows.needs)])
        total = len(rows.rows) if rows.is_whole else after if is_last else None
        return {
            "tool": tool.name,
            "row_count": len(page.rows),
            "total": total,
            "cursor": None if is_last else cursor_at(after, tool.name, question, self._digests),
            "caveats": _caveats(asked),
            "untrusted": marked(
                notes=[safe(note, _MOST_MESSAGE)[0] for note in [*notes, *rows.notes]],
                columns=page.columns,
                rows=page.rows,
                cut=page.cut,
            ),
        }

    def _rows(
        self,
        tool: Tool,
        asked: Sequence[tuple[Capture, Filters]],
        words: dict[str, Any],
        before: int,
        most: int,
    ) -> Rows:
        """Return the rows of a question from `before` on, or all of them."""
        (capture, filters), *others = asked
        more = dict(words)
        if "at" in more:
            more["at"] = _dated(capture, more["at"], is_end=True)
        if tool.needs == "rules":
            more["paths"] = self._given["rules"]
        elif tool.needs == "policies":
            more["folder"] = str(self._given["policies"])
        elif tool.method == "triage" and self._given["rules"]:
            more["rules"] = self._given["rules"]
        if others:
            more[tool.other] = others[0][0]
        key = _digest([tool.name, filters.stated(), more, [str(one.path) for one, _ in asked]])
        if self._whole is not None and self._whole[0] == key:
            return self._whole[1]
        query = (
            getattr(capture.where(filters).queries, tool.method)(**more)
            if tool.method
            else OTHERS[tool.name](capture, filters, **more)
        )
        rows = fetched(query, before, most)
        self._whole = (key, rows) if rows.is_whole else None
        return rows


def _filters(capture: Capture, words: Mapping[str, Any]) -> Filters:
    """Return the filters; a time of the day is one of the capture's, in UTC."""
    filters = Filters(**words)
    return replace(
        filters,
        start=_dated(capture, filters.start, is_end=False),
        end=_dated(capture, filters.end, is_end=True),
    )


def _dated(capture: Capture, time: Any, *, is_end: bool) -> Any:  # noqa: ANN401  (text, or None)
    first_ns, last_ns = capture.span() or (None, None)
    return dated(time, first_ns=first_ns, last_ns=last_ns, zone=UTC, end=is_end)


def _about_names(capture: Capture, filters: Filters) -> list[str]:
    """Return what to say of keys, users and processes of filters.

    Raises:
        UsageError: a key that is no pattern is not in the capture.
    """
    notes = []
    for key in filters.keys:
        sentence = unknown_key(capture.context, key, subtree=filters.subtree, user=filters.user)
        if sentence and not has_wildcard(key):
            raise UsageError(sentence)
        notes.append(sentence)
    notes += [capture.context.users_sentence(filters), unknown_process(capture.context, filters)]
    return list(filter(None, notes))


def _caveats(asked: Sequence[tuple[Capture, Filters]]) -> list[str]:
    """Return the caveats of one capture, or of both sides of a comparison."""
    if len(asked) == 1:
        return list(caveats_of(asked[0][0].context, asked[0][1]))
    return [
        f"{side}: {sentence}"
        for side, (capture, filters) in zip("ab", asked, strict=True)
        for sentence in caveats_of(capture.context, filters)
    ]


def _refused(error: Exception) -> Answer:
    """Return an error that may quote the capture: its sentence stands among what is untrusted."""
    sentence = safe(" ".join(str(error).split()), _MOST_MESSAGE)[0]
    return Answer(
        {
            "error": "this question has no answer as it was asked; untrusted.message says why",
            "kind": type(error).__name__,
            "untrusted": marked(message=sentence),
        },
        is_error=True,
    )


def _digest(value: Any) -> str:  # noqa: ANN401  (JSON)
    said = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
