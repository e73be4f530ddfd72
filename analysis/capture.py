"""A capture opened for questions: timelines, summaries and SQL, answered as pandas DataFrames.

Each question is a method of `Questions`, and a module of `analysis.questions`. What a method returns depends on whom it is
asked of: a `Capture` answers with DataFrames, `Capture.lazy` with Ibis tables, `Capture.queries` with queries that can do both.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack

from analysis.engine.connection import engine_errors
from analysis.filters import Codes, Filters, Words, below
from analysis.questions.caveats import Caveats, find_caveats
from analysis.questions.context import QueryContext
from analysis.questions.query import Query
from analysis.questions.words import FilterWords, MoreFilters, ValueFilters, merged_filters, shows_filters
from tracer.deprecation import renamed_arguments
from tracer.schema import TABLES
from tracer.store.manifest import Manifest

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from ibis.backends.duckdb import Backend
    from ibis.expr.types import Table

    from analysis.charts.accessor import Plots
    from analysis.dataset.contexts import DatasetContext
    from analysis.dataset.members import Member
    from analysis.export.records import Exported
    from analysis.questions.autoruns import AutorunsQuery
    from analysis.questions.bisect import BisectQuery
    from analysis.questions.changes import ChangesQuery
    from analysis.questions.diff import DiffQuery
    from analysis.questions.divergence import DivergenceQuery
    from analysis.questions.rules import RulesQuery
    from analysis.questions.slow import SlowQuery
    from analysis.questions.triage import TriageQuery
    from analysis.questions.why import WhyQuery
    from analysis.regfile.files import RegFiles
    from analysis.report.report import Report
    from analysis.versions.blame import BlameQuery
    from analysis.versions.checkout import Checkout
    from analysis.versions.log import LogQuery
    from analysis.versions.show import ShowQuery

    _AnyQuery = (
        Query
        | AutorunsQuery
        | BisectQuery
        | BlameQuery
        | ChangesQuery
        | DiffQuery
        | DivergenceQuery
        | LogQuery
        | RulesQuery
        | SlowQuery
        | TriageQuery
        | WhyQuery
    )

__all__ = ["Capture", "Dataset", "Questions"]

_Answer = TypeVar("_Answer")


class Questions(Generic[_Answer]):
    """The questions of a capture: one method a question; `key` first, everything else by name.

    Filters are the keyword arguments of `analysis.filters.Filters`; together they narrow. Behind the column
    `display_key` of an answer stands `key_user`: the name of the user whose key it is, or the SID where the capture tells
    no name; NULL for keys of no user. Lazy answers and the view `events` have it not: names of users are looked for where an
    answer holds such a key, and a view would look for them whenever a capture is opened.
    """

    _context: QueryContext
    _standing: Filters  # what the capture was narrowed to, by `Capture.where`

    def _answer(self, query: "_AnyQuery") -> _Answer:
        """Return what a question is answered with here."""
        raise NotImplementedError

    @renamed_arguments(user_sid="user")
    def timeline(
        self,
        key: Words = None,
        *,
        subtree: bool = False,
        value: str | None = None,
        process: str | int | None = None,
        pid: int | Sequence[int] | None = None,
        process_tree: str | int | None = None,
        operation: Words = None,
        status: Codes = None,
        start: str | datetime | None = None,
        end: str | datetime | None = None,
        where: str | None = None,
        user: str | None = None,
        noise: bool | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> _Answer:
        r"""Return the events that fit the filters, oldest first.

        Args:
            key: HKLM\..., \REGISTRY\..., any case, ``*`` within a component, ``**`` across components.
            subtree: also the keys below.
            value: value name or pattern; "" is the default value.
            process: image name or pattern, or a pid.
            pid: process id, or several.
            process_tree: image name or pattern, or a pid: those processes and what they started, and so on down.
            operation: set, delete, read, write, SetValueKey, ...; several separated by commas.
            status: success, error, a status name or code; several separated by commas.
            start: ISO 8601, or +90s after the first event, or -5m before the last.
            end: the last time, inclusive, in the same words.
            where: an SQL condition on the columns.
            user: whose keys HKCU and HKCR are, by name or SID; None: everybody's.
            noise: False: without what Windows does by itself (`tracer.registry.operations.NOISE`).
            columns: columns to return, in this order; None for all.
            limit: the first so many rows; None for all.

        Raises:
            UsageError: a filter cannot be understood.
        """
        from analysis.questions import timeline

        filters = self._asked(
            key=key,
            subtree=subtree,
            value=value,
            process=process,
            pid=pid,
            process_tree=process_tree,
            operation=operation,
            status=status,
            start=start,
            end=end,
            where=where,
            user=user,
            noise=noise,
        )
        return self._answer(timeline.query(self._context, filters, columns=columns, limit=limit))

    @shows_filters
    def keys(
        self,
        key: Words = None,
        *,
        under: Words = None,
        sort: str = "events",
        limit: int | None = None,
        **filters: "Unpack[ValueFilters]",
    ) -> _Answer:
        """Return one row per key: how often it was read, written and opened, by how many, and when.

        The columns are those of `analysis.answers.keys.key_summary`.

        Args:
            key: a key or pattern, or several; only they. None for every key that events touch.
            under: a key or pattern, or several; they and the keys below them.
            sort: events, reads, writes, opens, created, deletes, failures (or errors), not_found, processes, values,
                bytes_written, last_time (largest or latest first), first_time or key.
            limit: the first so many rows; None for all.
            filters: which rows count.

        Raises:
            UsageError: a filter or the order cannot be understood.
        """
        from analysis.questions import keys

        asked = below(self._asked(key=key, **filters), under)
        return self._answer(keys.query(self._context, asked, sort=sort, limit=limit))

    @shows_filters
    def history(
        self,
        key: Words = None,
        value: str | None = None,
        *,
        limit: int | None = None,
        **filters: "Unpack[MoreFilters]",
    ) -> _Answer:
        """Return each write and delete of a value in order, what it changed, and how the old content is known.

        Deletes and renames of a key have a row for each value that they took with them; attempts that failed
        have rows too. Filters choose rows; what a value held before is learnt from all events of its key.

        Columns: sequence, time; display_key, value_name (as first spelled; "" is the default value);
        operation; done (False: it failed and changed nothing; NULL: not known), status, status_name;
        process, pid; new_type, new_size (bytes), new_data (bytes as captured), new_text (as people read
        it), all NULL for deletes; old_type, old_size, old_data, old_text: what was there before, as
        old_from says: event (the record itself tells), write (the last write in this capture), read (a later
        read of it), absent (there was no such value), NULL where unknown. old_sequence is the event by
        which it is known, NULL where the record itself tells; across_loss, whether events may have been lost
        between the two. conflict says where the event contradicts what was known: absent (it found a value
        that should not have been there), present (it did not find one that should have been), data (it
        found another type or other data). Then key_id, process_id, handle_id, flags.

        Args:
            key: a key or a pattern, or several.
            value: value name or pattern; "" or (default) is the default value. None for all values.
            limit: the first so many rows; None for all.
            filters: as in `analysis.filters.Filters`.

        Raises:
            UsageError: a filter cannot be understood.
        """
        from analysis.questions import history

        asked = self._asked(key=key, value=value, **filters)
        return self._answer(history.query(self._context, asked, limit=limit))

    @shows_filters
    def state(
        self,
        key: Words = None,
        value: str | None = None,
        *,
        at: str | datetime | None = None,
        under: Words = None,
        limit: int | None = None,
        **filters: "Unpack[MoreFilters]",
    ) -> _Answer:
        """Return keys and values as of a time: one row for each with evidence by then.

        Writes, deletes, reads and misses are evidence, of whole keys also creates, opens and deletes; the
        newest counts. Filters other than of keys and values choose rows by the event that is the evidence.

        Columns: display_key, value_name (as first spelled; NULL in the key's own row); known: of a value
        write or read (how its content is known), absent (a query found none, or its key was not there), deleted; of
        a key exists, absent, deleted; of both unknown, where events may have been lost since or something
        of unknown result happened. last_known is what was known before that; type, size (bytes), data (bytes
        as captured) and text (as people read it) of a value are what it last held. lost_since: whether a loss
        lies between the evidence and the time asked about. sequence, time, operation, process and pid are of
        the event that is the evidence. Then key (native path), key_id, process_id, handle_id, flags.

        Args:
            key: a key or a pattern, or several; None for all.
            value: value name or pattern; "" or (default) is the default value. Rows of keys are left out.
            at: a time (`analysis.times.parse_time`), inclusive; None for the end of the capture.
            under: a key or pattern, or several; they and the keys below them.
            limit: the first so many rows; None for all.
            filters: as in `analysis.filters.Filters`; `at` stands for its `end`.

        Raises:
            UsageError: a filter cannot be understood.
        """
        from analysis.questions import state

        asked = below(self._asked(key=key, value=value, **filters), under)
        if at is not None:
            asked = replace(asked, end=at)
        return self._answer(state.query(self._context, asked, limit=limit))

    @shows_filters
    def changes(
        self,
        key: Words = None,
        value: str | None = None,
        *,
        under: Words = None,
        fold: str | None = None,
        limit: int | None = None,
        **filters: "Unpack[MoreFilters]",
    ) -> _Answer:
        """Return the net changes between two times: the values and keys whose end differs from their start.

        The times are the filters start and end. Other filters select the changes; the state
        before is then that before the first of them, the state after always that at the end.

        Columns (NULL: not known, or not applicable): key, display_key; value_name ("" is the default value,
        NULL in the key's own row); change: added, changed, removed, or set (what was there before is unknown)
        of a value, created, deleted, recreated (deleted and made again: what it held before is gone, seen or
        not) or renamed (away, or to this name by a key that was there before) of a key, unclear where the state at the end is unknown. before_from: how the old data
        is known: event (the first write recorded it), write or read (an earlier one), absent (proved by a
        miss, a delete, or a new key), NULL for never seen; after_from the same (a later read that tells other
        data than the last write counts). before_type, before_size (bytes), before_data (bytes as captured),
        after_type, after_size, after_data. complete: whether both sides are known to the last byte; of a key
        that is gone, whether it was made in this capture. with_key: whether a value is gone because its key was, or
        was made anew. writes: the number of selected changes; processes: the number of processes that made any
        change, selected or not; also_by_others: whether other changes came after the first selected one, so that
        the net change includes them. first_time, last_time, first_sequence, last_sequence of the selected changes; process, pid and process_id of the last; key_id.

        Rows are ordered by first_sequence. What ended as it began is left out; `attrs["notes"]` counts it.

        Args:
            key: a key or pattern, or several; only they. None for all.
            value: value name or pattern; "" or (default) is the default value. Rows of keys are left out.
            under: a key or pattern, or several; they and the keys below them.
            fold: "noise": leave out keys in which Windows notes what a user did (`tracer.registry.bookkeeping`).
            limit: the first so many rows; None for all.
            filters: as in `analysis.filters.Filters`.

        Raises:
            UsageError: a filter cannot be understood.
        """
        from analysis.questions import changes  # with what compares both sides, which few need

        asked = below(self._asked(key=key, value=value, **filters), under)
        return self._answer(changes.query(self._context, asked, fold=fold, limit=limit))

    @shows_filters
    def log(
        self,
        key: Words = None,
        *,
        under: Words = None,
        pause: float = 2.0,
        by: str = "tree",
        limit: int | None = None,
        **filters: "Unpack[ValueFilters]",
    ) -> _Answer:
        """Return the change sets of the capture, newest first: who changed the registry, when, and how much.

        A change set is what one tree of processes changed without a pause longer than `pause`: values written and deleted, keys
        made, deleted and renamed, all with success. A program that began during the capture is of the tree of its
        topmost ancestor that began then too and made changes; a process that ran before is a tree by itself.
        Every change is in one set, whatever is asked for: filters choose sets by their changes, and what is counted.

        Columns: change_set, the name: 40 hex digits made of what the set did, so that the same capture (and `pause` and `by`)
        always has the same names; time and last_time of its first and last change; process, pid, user,
        command_line of the root; processes that made changes; keys, values and changes that fit, and
        all_changes; display_key, the key with most of those; keys_created, keys_deleted, keys_renamed, values_set,
        values_deleted (operations that fit); first_sequence, last_sequence; key_id; process_id.

        Args:
            key: a key or pattern, or several; only they. None for all.
            under: a key or pattern, or several; they and the keys below them.
            pause: the longest pause within a change set, seconds.
            by: "tree", or "process": each process by itself.
            limit: the newest so many sets; None for all.
            filters: as in `analysis.filters.Filters`.

        Raises:
            UsageError: a filter or the grouping cannot be understood.
        """
        from analysis.versions import log
        from analysis.versions.change_sets import Grouping

        asked = below(self._asked(key=key, **filters), under)
        return self._answer(log.query(self._context, asked, grouping=Grouping.of(pause, by), limit=limit))

    @shows_filters
    def blame(
        self,
        key: Words = None,
        value: str | None = None,
        *,
        at: str | datetime | None = None,
        under: Words = None,
        deleted: bool = False,
        pause: float = 2.0,
        by: str = "tree",
        limit: int | None = None,
        **filters: "Unpack[MoreFilters]",
    ) -> _Answer:
        """Return the tree of keys and values as known at a time, and who wrote each last.

        Columns: display_key, value_name (NULL: the key itself); change_set (`log`), writer, writer_pid, write_time and
        write_sequence of the last change that was seen, of a key of itself or one of its values: NULL where nobody was seen to
        write it. evidence: write (what is there is what that wrote); write, and read since (a later read told the
        same); write, and missed since (it was deleted, and asked for since); read, exists or absent (only that tells of
        it); hive (a hive held it before the trace); "..., not as last written" (a read told something else than the
        last write that was seen: somebody unseen wrote). known, last_known, type, size, data are those of `state`, as are sequence,
        time, process, pid and process_id of the event by which it is known. key_id. A renamed key keeps its past.

        Args:
            key: a key or pattern, or several, and the keys below them. None for all.
            value: value name or pattern; rows of keys are left out.
            at: a time (`analysis.times.parse_time`), inclusive; None for the end of the capture.
            under: the same as `key`.
            deleted: also what was deleted, or was not there.
            pause: as for `log`.
            by: as for `log`.
            limit: the first so many rows; None for all.
            filters: as in `analysis.filters.Filters`; `at` stands for its `end`.

        Raises:
            UsageError: a filter or the grouping cannot be understood.
        """
        from analysis.versions import blame
        from analysis.versions.change_sets import Grouping

        asked = below(self._asked(key=key, value=value, **filters), under)
        asked = replace(asked, subtree=asked.key is not None, end=asked.end if at is None else at)
        grouping = Grouping.of(pause, by)
        return self._answer(
            blame.query(self._context, asked, grouping=grouping, deleted=deleted, limit=limit)
        )

    @shows_filters
    def autoruns(
        self,
        key: Words = None,
        *,
        under: Words = None,
        reads: bool = False,
        new: bool = False,
        category: Words = None,
        limit: int | None = None,
        **filters: "Unpack[ValueFilters]",
    ) -> _Answer:
        """Return who touched what Windows starts by itself, and what guards it: autostart points, by the table of them.

        One row per write, delete or attempt, with `reads` also one per entry and process that read it. The table has
        categories, kinds (autostart, hijack, security control, credential) and ATT&CK techniques: docs/autoruns.md lists it.

        Columns: touch (write, attempt or read), sequence, time; last_time of reads; category, kind, autostart (id of the row of
        the table), technique and technique_name; display_key, value_name (NULL: the key itself, or a name that nobody
        recorded); operation, done (NULL: not known), status, status_name; process, pid, user, command_line; count of reads and
        opens; novelty of what was written: new (there was no such entry), changed, same, existed (it was there; whether it
        held the same is not known), NULL where nothing tells; new_type, new_size, new_data; old_from, old_type, old_size,
        old_data and across_loss as in `history`. What the entry is: holds (command, dll, clsid, ...), program, arguments,
        folder of the program (system, programs, user, temp, shared, remote, other), user_writable (whether users write to the
        folder of what is run in the end), host_program (what kind of thing the program runs for others), payload (what
        that is) and payload_folder, remote (unc, webdav or url), clsid and server (the library or program of that class,
        where the capture or its hives tell it); NULL is unknown, or not applicable. note says what the row of the table is about.

        Rows are ordered by category, writes before reads, then by sequence.

        Args:
            key: a key or pattern, or several; only they. None for all.
            under: a key or pattern, or several; they and the keys below them.
            reads: who read or opened an entry, too.
            new: only what made or changed an entry, or may have: without deletes, attempts, and writes of the same data.
            category: categories, separated by commas or as a list; None for all.
            limit: the first so many rows; None for all.
            filters: which rows count.

        Raises:
            UsageError: a filter or category cannot be understood, or `new` and `reads` are both given.
        """
        from analysis.questions import autoruns  # with the table, which few need

        asked = below(self._asked(key=key, **filters), under)
        query = autoruns.query(self._context, asked, reads=reads, new=new, category=category, limit=limit)
        return self._answer(query)

    @shows_filters
    def triage(
        self,
        key: Words = None,
        *,
        under: Words = None,
        rules: "str | Path | Sequence[str | Path] | None" = None,
        policy: Path | str | None = None,
        limit: int | None = None,
        **filters: "Unpack[ValueFilters]",
    ) -> _Answer:
        """Return what to look at first: autostart points, Sigma rules, policies and net changes, the heaviest first.

        The columns are those of `analysis.questions.triage.TriageQuery.to_arrow`; weights are those of
        `analysis.rules.weights`, and each row lists its own.

        Args:
            key: a key or pattern, or several; only they. None for all.
            under: a key or pattern, or several; they and the keys below them.
            rules: files, folders or patterns of Sigma rules (needs the extra `sigma`); None: without rules.
            policy: a folder with registry.pol, .admx and .adml files; None: without policies.
            limit: the first so many rows; None for all.
            filters: which rows count.

        Raises:
            UsageError: a filter or a path cannot be understood.
            RegtraceError: rules are given and pySigma is not installed.
        """
        from analysis.questions import triage  # with the tables, which few need

        asked = below(self._asked(key=key, **filters), under)
        verdicts = files = None
        if rules is not None:
            from analysis.questions import rules as rules_question

            verdicts = rules_question.query(self._context, asked, rules)
        if policy is not None:
            from analysis.policy.folder import read_policies

            files = read_policies(policy)
        return self._answer(triage.query(self._context, asked, rules=verdicts, policies=files, limit=limit))

    @shows_filters
    def coverage(
        self, key: Words = None, *, limit: int | None = None, **filters: "Unpack[ValueFilters]"
    ) -> _Answer:
        """Return which source reported which operations, and of how many what is known.

        The columns are those of `analysis.answers.coverage.coverage`.

        Args:
            key: a key or pattern, or several; None for all.
            limit: the first so many rows; None for all.
            filters: which rows count.

        Raises:
            UsageError: a filter cannot be understood.
        """
        from analysis.questions import coverage

        return self._answer(coverage.query(self._context, self._asked(key=key, **filters), limit=limit))

    @shows_filters
    def hot(
        self,
        key: Words = None,
        *,
        by: str = "key",
        sort: str = "events",
        every_s: float = 1.0,
        gap_s: float = 1.0,
        min_count: int = 20,
        limit: int | None = None,
        **filters: "Unpack[ValueFilters]",
    ) -> _Answer:
        """Return the busiest keys, processes, stretches of time, operations or results; or storms of misses.

        The columns are those of `analysis.answers.hot.hot`, for storms of `analysis.answers.storms.storms`.

        Args:
            key: a key or pattern, or several; None for all.
            by: key, process, second, operation, status, or storm.
            sort: events, reads, writes, opens, created, deletes, failures, not_found, time_spent_ns (largest first), or
                first_time; storms are sorted by their misses.
            every_s: by second: how long each stretch of time is, seconds.
            gap_s: by storm: the longest time between two misses of a storm, seconds.
            min_count: by storm: the fewest misses of a storm.
            limit: the first so many rows; None for all.
            filters: which rows count.

        Raises:
            UsageError: a filter or another word cannot be understood.
        """
        from analysis.questions import hot

        query = hot.query(
            self._context,
            self._asked(key=key, **filters),
            by=by,
            sort=sort,
            every_s=every_s,
            gap_s=gap_s,
            min_count=min_count,
            limit=limit,
        )
        return self._answer(query)

    @shows_filters
    def tree(
        self,
        key: Words = None,
        *,
        under: Words = None,
        depth: int = 2,
        sort: str = "path",
        limit: int | None = None,
        **filters: "Unpack[ValueFilters]",
    ) -> _Answer:
        """Return the operations on each key and the keys below it, down to a depth.

        The columns are those of `analysis.answers.tree.subtrees`.

        Args:
            key: a key or pattern, or several: only their own events count, in the whole tree. None for all.
            under: a key or pattern, or several, at which the tree begins; None for all keys.
            depth: levels below that; the last one counts everything below it.
            sort: path (as a tree), or events, reads, writes, opens, created, deletes, failures, not_found, keys,
                time_spent_ns (largest first).
            limit: the first so many rows; None for all.
            filters: which rows count.

        Raises:
            UsageError: a filter or the order cannot be understood.
        """
        from analysis.questions import tree

        asked = below(self._asked(key=key, **filters), under)
        return self._answer(tree.query(self._context, asked, depth=depth, sort=sort, limit=limit))

    @shows_filters
    def handles(
        self,
        key: Words = None,
        *,
        by: str = "handle",
        late_s: float = 10.0,
        min_count: int = 10,
        problems: bool = False,
        limit: int | None = None,
        **filters: "Unpack[ValueFilters]",
    ) -> _Answer:
        """Return the lives of key objects, one by one, or summed up by process and key.

        The columns are those of `analysis.answers.handles.handle_lives`, by key those of
        `analysis.answers.handle_use.handle_use`. A capture of Procmon's logs has no key objects.

        Args:
            key: a key or pattern, or several; None for all.
            by: handle or key.
            late_s: how long a handle may be idle before its close without being closed late, seconds.
            min_count: by key: from how many on handles leak, and a key is opened over and over.
            problems: only what was not closed, or not in time; by key: only what leaks or is opened over
                and over.
            limit: the first so many rows; None for all.
            filters: a life is counted, as a whole, where a row that fits opened, used or closed it.

        Raises:
            UsageError: a filter or another word cannot be understood.
        """
        from analysis.questions import handles

        query = handles.query(
            self._context,
            self._asked(key=key, **filters),
            by=by,
            late_s=late_s,
            min_count=min_count,
            problems=problems,
            limit=limit,
        )
        return self._answer(query)

    @shows_filters
    def redundant(
        self,
        key: Words = None,
        *,
        min_count: int = 1,
        polling: bool = False,
        limit: int | None = None,
        **filters: "Unpack[ValueFilters]",
    ) -> _Answer:
        """Return the reads that a process repeated though nothing changed in between, most repeated first.

        The columns are those of `analysis.answers.redundant.redundant_reads`.

        Args:
            key: a key or pattern, or several; None for all.
            min_count: the fewest redundant reads of a row.
            polling: only what is read by the clock.
            limit: the first so many rows; None for all.
            filters: which reads count; changes are looked for in all events.

        Raises:
            UsageError: a filter cannot be understood.
        """
        from analysis.questions import redundant

        asked = self._asked(key=key, **filters)
        query = redundant.query(self._context, asked, min_count=min_count, polling=polling, limit=limit)
        return self._answer(query)

    @shows_filters
    def slow(
        self,
        key: Words = None,
        *,
        most: int = 10,
        limit: int | None = None,
        **filters: "Unpack[ValueFilters]",
    ) -> _Answer:
        """Return the page for the performance engineer: time spent in the registry, on what, when, and what need not be.

        The rows are in sections, with the columns and words of `analysis.questions.slow.SlowQuery.to_arrow`: total,
        operation, key, saved, read, stretch and duration. Where the source has no durations, as ETW, times are NULL,
        counts decide what is worst, and the section duration is empty.

            capture.slow(process="app.exe").query("section == 'saved'")

        Args:
            key: a key or pattern, or several; None for all.
            most: how many keys, reads and stretches of time are listed.
            limit: the first so many rows; None for all.
            filters: which operations count.

        Raises:
            UsageError: a filter cannot be understood, or these are several captures.
        """
        from analysis.questions import slow

        return self._answer(
            slow.query(self._context, self._asked(key=key, **filters), most=most, limit=limit)
        )

    @shows_filters
    def errors(
        self,
        key: Words = None,
        value: str | None = None,
        *,
        fold: bool = True,
        harmless: bool = True,
        limit: int | None = None,
        **filters: "Unpack[MoreFilters]",
    ) -> _Answer:
        """Return what failed, by process, key, value and status; what matters first.

        Misses of a search that then found what it looked for are one row, and `harmless`
        (`analysis.answers.errors.errors` lists the columns).

        Args:
            key: a key or pattern, or several; None for all.
            value: a value name or pattern; None for all.
            fold: False: searches are not folded.
            harmless: False: rows all of whose misses were answered are left out.
            limit: the first so many rows; None for all.
            filters: the filters of the failures; hits after misses are searched in all rows.

        Raises:
            UsageError: a filter cannot be understood.
        """
        from analysis.questions import errors

        asked = self._asked(key=key, value=value, **filters)
        return self._answer(errors.query(self._context, asked, fold=fold, harmless=harmless, limit=limit))

    @shows_filters
    def rules(
        self,
        paths: "str | Path | Sequence[str | Path]",
        key: Words = None,
        *,
        under: Words = None,
        level: str | None = None,
        rule: str | None = None,
        attempts: bool = False,
        unknown: bool = False,
        limit: int | None = None,
        **filters: "Unpack[ValueFilters]",
    ) -> _Answer:
        """Return what Sigma rules say: hits, what cannot be told and why, and counts of rules.

            hits = capture.rules("sigma/rules/windows/registry").query("section == 'hit'")

        The rows are in sections, with the columns and words of `analysis.questions.rules.RulesQuery.to_arrow`. A rule that needs
        what the capture does not hold is neither a hit nor none: it cannot be told. Needs the extra `sigma`.

        Args:
            paths: files of rules, folders, or patterns such as ``rules/**/*.yml``.
            key: a key or pattern, or several: only their events are tried. None for all.
            under: a key or pattern, or several; they and the keys below them.
            level: only rules of at least this level: informational, low, medium, high or critical.
            rule: only rules with this text in their title or id.
            attempts: attempts that failed count too.
            unknown: list the events of which cannot be told whether they match.
            limit: the first so many hits, and so many of these events; None for all.
            filters: which events are tried.

        Raises:
            UsageError: a filter, a path or the level cannot be understood.
            RegtraceError: pySigma is not installed.
        """
        from analysis.questions import rules  # pySigma is an extra

        asked = below(self._asked(key=key, **filters), under)
        query = rules.query(
            self._context,
            asked,
            paths,
            level=level,
            rule=rule,
            attempts=attempts,
            unknown=unknown,
            limit=limit,
        )
        return self._answer(query)

    @shows_filters
    def who(
        self,
        key: Words = None,
        value: str | None = None,
        *,
        each: bool = False,
        limit: int | None = None,
        **filters: "Unpack[MoreFilters]",
    ) -> _Answer:
        """Return which processes wrote, read, opened or missed a key or value, those that changed most first.

        Args:
            key: a key or pattern, or several; None for all.
            value: a value name or pattern; None for all, and for the rows of the key itself.
            each: one row per key, value and process (`analysis.answers.who.touched_by`) instead of one per
                process (`analysis.answers.who.who`).
            limit: the first so many rows; None for all.
            filters: which rows count.

        Raises:
            UsageError: a filter cannot be understood.
        """
        from analysis.questions import who

        asked = self._asked(key=key, value=value, **filters)
        return self._answer(who.query(self._context, asked, each=each, limit=limit))

    def why(
        self,
        key: Words = None,
        value: str | None = None,
        *,
        at: str | datetime | None = None,
        user: str | None = None,
        depth: int = 3,
        within_s: float = 5.0,
        most: int = 5,
    ) -> _Answer:
        r"""Return why a value was written: its last write or delete, who did it, what led to it, and what came of it.

            capture.why(r"HKLM\SOFTWARE\Vendor", "Version")

        One row a link; `of` is the row that it hangs on. The columns are those of `analysis.questions.why.WhyQuery`:
        the process and its parents; what the thread read before, who had written that, and so on; who read the value
        before the next write, what they wrote next, and so on. Each link has its rules, their weight and its evidence,
        which is no proof (docs/causes.md).

        Args:
            key: the key.
            value: the value; "" is the default value.
            at: the last write by this time (`analysis.times.parse_time`); None: of all.
            user: whose HKCU or HKCR is meant.
            depth: how many writes away the chain goes, 0 to 20.
            within_s: how far a read may be before a write, and a write after a read; seconds.
            most: links of one kind at one operation, the heaviest, 1 to 50.

        Raises:
            UsageError: key and value are missing, or a word or number cannot be understood.
        """
        from analysis.questions import why

        asked = self._asked(key=key, value=value, end=at, user=user)
        return self._answer(why.query(self._context, asked, depth=depth, within_s=within_s, most=most))

    @shows_filters
    def diff(
        self,
        other: "Capture | None" = None,
        key: Words = None,
        value: str | None = None,
        *,
        fold: str | Collection[str] | None = None,
        only: str | Collection[str] | None = None,
        counts: bool = False,
        a_start: str | datetime | None = None,
        a_end: str | datetime | None = None,
        b_start: str | datetime | None = None,
        b_end: str | datetime | None = None,
        limit: int | None = None,
        **filters: "Unpack[MoreFilters]",
    ) -> _Answer:
        """Return what differs between this capture (a) and another (b), or between two intervals.

        The columns are those of `analysis.answers.differences.differences`. A side tells what its own rows
        say: values by their last write, or without a write by the last read.

        Args:
            other: the other capture; None: this one, whose intervals are compared.
            key: a key or pattern, or several; None for all.
            value: a value name or pattern; None for all.
            fold: what differs between machines and means nothing: sid, guid, controlset, wow64, or all; noise: keys in
                which Windows notes what a user did
                (`analysis.answers.normalize.meaning`).
            only: values, keys, processes, operations; None: all but operations.
            counts: operations and processes also differ where their numbers do.
            a_start: first time of this side (`analysis.times.parse_time`), as its own capture counts.
            a_end: last time of this side, inclusive.
            b_start: first time of the other side.
            b_end: last time of the other side.
            limit: the first so many rows; None for all.
            filters: which rows count on both sides.

        Raises:
            UsageError: a filter cannot be understood, or there is nothing to compare with.
        """
        from analysis.questions import diff

        query = diff.query(
            self._context,
            self._asked(key=key, value=value, **filters),
            None if other is None else other.context,
            fold=fold,
            only=only,
            counts=counts,
            a=(a_start, a_end),
            b=(b_start, b_end),
            limit=limit,
        )
        return self._answer(query)

    @shows_filters
    def first_divergence(
        self,
        other: "Capture | None" = None,
        key: Words = None,
        value: str | None = None,
        *,
        fold: str | Collection[str] | None = None,
        a_process: str | int | None = None,
        b_process: str | int | None = None,
        a_start: str | datetime | None = None,
        a_end: str | datetime | None = None,
        b_start: str | datetime | None = None,
        b_end: str | datetime | None = None,
        context: int = 5,
        limit: int | None = None,
        **filters: "Unpack[MoreFilters]",
    ) -> _Answer:
        """Return where two runs part first: the operation that one does and the other does not, or that ends otherwise.

            works.first_divergence(fails, process="app.exe")
            capture.first_divergence(a_process=1234, b_process=5678)

        The operations of both are aligned one by one, whatever their addresses, ids and times. The columns are those of
        `analysis.answers.divergence.diverge`: first the divergence, then the reads before it that returned other data, the
        nearest first, then the operations before and after it. Where the runs do not part, only such reads are rows.
        `attrs["notes"]` says what the alignment passed over.

        Args:
            other: the other capture; None: this one, of which two processes or intervals are aligned.
            key: a key or pattern, or several: only operations on them are aligned. None for all.
            value: a value name or pattern; None for all operations.
            fold: what differs between machines and means nothing: sid, guid, controlset, wow64, or all, "" for nothing;
                None: sid and controlset. Folded SIDs and GUIDs pair by the order in which each side first uses them.
            a_process: the process of this side, as the filter `process`.
            b_process: that of the other; where both are given, processes pair whatever their images.
            a_start: first time of this side (`analysis.times.parse_time`), as its own capture counts.
            a_end: last time of this side, inclusive.
            b_start: first time of the other side.
            b_end: last time of the other side.
            context: how many operations before and after the divergence are rows.
            limit: the first so many rows; None for all.
            filters: which rows are aligned on both sides.

        Raises:
            UsageError: a filter cannot be understood, there is nothing to align, or no process has a partner.
        """
        from analysis.questions import divergence

        query = divergence.query(
            self._context,
            self._asked(key=key, value=value, **filters),
            None if other is None else other.context,
            fold=fold,
            a_process=a_process,
            b_process=b_process,
            a=(a_start, a_end),
            b=(b_start, b_end),
            context_rows=context,
            limit=limit,
        )
        return self._answer(query)

    @shows_filters
    def bisect(
        self,
        fails: "Capture",
        key: Words = None,
        value: str | None = None,
        *,
        fold: str | Collection[str] | None = None,
        a_process: str | int | None = None,
        b_process: str | int | None = None,
        a_start: str | datetime | None = None,
        a_end: str | datetime | None = None,
        b_start: str | datetime | None = None,
        b_end: str | datetime | None = None,
        limit: int | None = None,
        **filters: "Unpack[MoreFilters]",
    ) -> _Answer:
        """Return which differing value may be why a run fails: this capture is of a run that works.

            works.bisect(fails, process="app.exe")
            works.queries.bisect(fails, process="app.exe").compare().trial("1").apply  # the .reg file

        The runs are aligned as by `first_divergence`. What the failing run read differently before they part is listed, the
        most likely cause first, with reasons and weights (docs/causes.md). The columns are those of
        `analysis.questions.bisect.BisectQuery`: a_ is of this run, b_ of the one that fails. `attrs["reg"]` and
        `attrs["undo"]` are .reg files for the first candidate: one makes the failing side like this one, one takes it back. `attrs["empty"]` says why there is no
        candidate, and what to do.

        Args:
            fails: the capture of the run that fails.
            key: a key or pattern, or several: only operations on them are aligned. None for all.
            value: a value name or pattern; None for all operations.
            fold: as of `first_divergence`, as are the other arguments.
            a_process: the process of this run.
            b_process: that of the run that fails.
            a_start: first time of this run.
            a_end: last time of this run, inclusive.
            b_start: first time of the run that fails.
            b_end: last time of the run that fails.
            limit: the first so many candidates; None for all.
            filters: which rows are aligned on both sides.

        Raises:
            UsageError: a filter cannot be understood, or no process has a partner.
        """
        from analysis.questions import bisect

        query = bisect.query(
            self._context,
            self._asked(key=key, value=value, **filters),
            fails.context,
            fold=fold,
            a_process=a_process,
            b_process=b_process,
            a=(a_start, a_end),
            b=(b_start, b_end),
            limit=limit,
        )
        return self._answer(query)

    def _asked(self, **words: Any) -> Filters:  # noqa: ANN401
        return merged_filters(self._standing, Filters(**words))


class Capture(Questions["pd.DataFrame"]):
    """One capture and the engine that reads it; close it, or use it in a `with` statement.

    Answers are DataFrames; the doubts about each are in its `attrs["doubts"]`, as sentences. Where an answer is empty,
    `attrs["empty"]` says which filter leaves nothing, if one does; `attrs["users"]` says whose keys HKCU and HKCR are.
    `attrs["cut"]` is there where an answer has as many rows as its `limit` allows: `queries` counts them all
    (`capture.queries.who(limit=20).total()`).

    Attributes:
        context: what questions are asked of: tables, rows that fit filters, what answers rest on.
    """

    def __init__(self, context: QueryContext, standing: Filters | None = None) -> None:
        self.context = self._context = context
        self._standing = standing or Filters()

    @property
    def path(self) -> Path:
        """The directory."""
        return self.context.path

    @property
    def manifest(self) -> Manifest:
        """The manifest: the content of `capture.json`."""
        return self.context.manifest

    @property
    def filters(self) -> Filters:
        """The filters that the capture was narrowed to (`where`)."""
        return self._standing

    @property
    def plot(self) -> "Plots":
        """The pictures as Altair charts: `capture.plot.timeline(...)`; it needs the extra `plots`."""
        from analysis.charts.accessor import Plots

        return Plots(self)

    @property
    def event_columns(self) -> tuple[str, ...]:
        """The columns of a timeline."""
        from analysis.questions import timeline

        return timeline.timeline_columns(self.context)

    @property
    def backend(self) -> "Backend":
        """Ibis' backend, for questions that this class lacks; it reads only this capture."""
        return self.context.engine.backend

    @property
    def tables(self) -> "Mapping[str, Table]":
        """The stored tables as Ibis tables, by name; the stored event rows are `stored_events`."""
        names = ["stored_events" if name == "events" else name for name in TABLES]
        context = self.context
        return MappingProxyType({name: context.engine.table(context.relation(name)) for name in names})

    @property
    def events(self) -> "Table":
        """The event rows with the names of keys and processes, as an Ibis table."""
        return self.context.engine.table(self.context.timeline_rows(Filters()))

    @property
    def lazy(self) -> "Questions[Table]":
        """The same questions, answered with lazy Ibis tables in order; `history` and `state` have captured bytes only."""
        return _Lazy(self._context, self._standing)

    @property
    def queries(self) -> "Questions[Any]":
        """The same questions as queries (`analysis.questions.query.Query`): `to_arrow`, `to_pandas`, `to_ibis`, `reader`.

        polars.from_arrow(capture.queries.who(key))
        """
        return _Queries(self._context, self._standing)

    @renamed_arguments(user_sid="user")
    def where(self, filters: Filters | None = None, /, **words: "Unpack[FilterWords]") -> Self:
        """Return the capture with these filters: every question of it uses them too.

            capture.where(process="setup.exe").changes()

        It shares the engine of this capture, and closes with it.

        Raises:
            UsageError: a filter asks otherwise than the capture was narrowed to before.
        """
        asked = merged_filters(self._standing, filters or Filters())
        return type(self)(self._context, merged_filters(asked, Filters(**words)))

    def rows(self, filters: Filters, *, joined: bool) -> "Table":
        """Return the event rows that fit as an Ibis table, in no order; `joined`: with names, else as stored."""
        asked = merged_filters(self._standing, filters)
        return self.context.engine.table(self.context.rows(asked, joined=joined))

    def timeline_reader(
        self,
        filters: Filters,
        *,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        batch_rows: int = 16_384,
    ) -> "pa.RecordBatchReader":
        """Return the timeline as a stream of Arrow batches, for results larger than memory."""
        from analysis.questions import timeline

        asked = merged_filters(self._standing, filters)
        return timeline.query(self._context, asked, columns=columns, limit=limit).reader(batch_rows)

    def sql(self, query: str, *, limit: int | None = None) -> "pd.DataFrame":
        """Return the answer to one SQL query in DuckDB's dialect, or its first rows.

        It sees `events` (names joined), `stored_events`, and the other stored tables by their names.

        Raises:
            UsageError: the query has a mistake, or does more than read.
        """
        from analysis.engine.fetch import to_frame
        from analysis.questions import sql

        return to_frame(sql.rows(self._context, query, limit=limit))

    def sql_reader(
        self,
        query: str,
        *,
        plain: bool = False,
        finite: bool = False,
        limit: int | None = None,
        batch_rows: int = 65_536,
    ) -> "pa.RecordBatchReader":
        """Return the answer to one SQL query as a stream of Arrow batches; see `analysis.questions.sql.reader`."""
        from analysis.questions import sql

        return sql.reader(
            self._context, query, plain=plain, finite=finite, limit=limit, batch_rows=batch_rows
        )

    def sql_tables(self) -> tuple[str, ...]:
        """Return the names of the tables that SQL sees; `events` is the one with the names joined."""
        from analysis.questions import sql

        return sql.tables(self._context)

    @shows_filters
    def reg_files(
        self,
        key: Words = None,
        value: str | None = None,
        *,
        under: Words = None,
        fold: str | None = None,
        powershell: bool = False,
        **filters: "Unpack[MoreFilters]",
    ) -> "RegFiles":
        """Return the net changes as two .reg files for regedit: one that makes them, one that takes them back.

        Args:
            key: as in `changes`, as are the other arguments. `user` is also whose keys are written
                below HKEY_CURRENT_USER; None: below HKEY_USERS.
            value: as in `changes`.
            under: as in `changes`.
            fold: as in `changes`.
            powershell: scripts for PowerShell instead.
            filters: as in `changes`.

        Raises:
            UsageError: a filter cannot be understood, or there is more than one capture.
        """
        from analysis.questions import changes

        asked = below(self._asked(key=key, value=value, **filters), under)
        net = changes.query(self._context, changes.of_changes(asked), fold=fold).net_changes()
        return changes.reg_files(self._context, net, asked, powershell=powershell)

    @shows_filters
    def export(
        self,
        path: Path | str,
        *,
        to: str,
        key: Words = None,
        force: bool = False,
        limit: int | None = None,
        index: str | None = None,
        sourcetype: str | None = None,
        **filters: "Unpack[ValueFilters]",
    ) -> "Exported":
        r"""Write the timeline as a file that another program imports, and return what became of its rows.

            capture.export("host.jsonl", to="timesketch", key=r"HKLM\SOFTWARE", subtree=True)

        Beside the rows it says what is missing: losses, doubts about names, what a source never tells. docs/export.md has
        the fields of each format and the command that imports it.

        Args:
            path: the file; with .gz it is compressed. For Timesketch it must end with .csv or .jsonl.
            to: timesketch, ecs, ocsf, perfetto (needs the extra `perfetto`), splunk or l2tcsv.
            key: a key or pattern, or several; None for all.
            force: whether an existing file is replaced.
            limit: the first so many rows; None for all.
            index: of Elasticsearch (default: regtrace) or Splunk.
            sourcetype: of Splunk (default: regtrace:event).
            filters: which rows.

        Raises:
            UsageError: the format, a filter or an option cannot be understood.
            TargetError: the file exists or cannot be written.
        """
        from analysis.export.formats import export_file

        return export_file(
            self._context,
            self._asked(key=key, **filters),
            Path(path),
            to=to,
            force=force,
            limit=limit,
            index=index,
            sourcetype=sourcetype,
        )

    @shows_filters
    def policies(
        self, folder: Path | str, key: Words = None, **filters: "Unpack[ValueFilters]"
    ) -> "pd.DataFrame":
        """Return each write to a value of a group policy, beside what policy files say: as policy, against it, or neither.

        The columns are those of `analysis.questions.policies.policy_writes`; `attrs["notes"]` says which files could not be read.

        Args:
            folder: a folder with registry.pol, .admx and .adml files.
            key: a key or pattern, or several; None: below the Policies keys, and what a registry.pol names.
            filters: which writes count.

        Raises:
            UsageError: a filter cannot be understood, or the folder has no such file.
        """
        from analysis.engine.fetch import to_frame
        from analysis.policy.folder import read_policies
        from analysis.questions.policies import policy_writes

        files = read_policies(folder)
        frame = to_frame(policy_writes(self._context, self._asked(key=key, **filters), files))
        frame.attrs["notes"] = files.problems
        return frame

    def checkout(
        self, under: Words = None, *, at: str | datetime | None = None, user: str | None = None
    ) -> "Checkout":
        """Return keys and values as known at a time, to be saved as files: `.save("before.reg")`, `.save("folder")`.

        Only what is known whole is in it; `unknown` lists the rest with the reasons.

        Args:
            under: a key or pattern, or several; they and the keys below them. None for all.
            at: a time (`analysis.times.parse_time`), inclusive; None for the end of the capture.
            user: whose keys HKCU and HKCR are.

        Raises:
            UsageError: a filter cannot be understood, or there are several captures.
        """
        from analysis.versions.checkout import checkout

        asked = below(merged_filters(self._standing, Filters(user=user)), under)
        return checkout(self._context, asked if at is None else replace(asked, end=at))

    def show(self, change_set: str, *, pause: float = 2.0, by: str = "tree") -> "pd.DataFrame":
        """Return what one change set did: the net changes of its keys and values, with before and after.

        Columns: change_set, its whole name; then those of `changes`. What ended as it began is left out;
        `attrs["notes"]` counts it.

        Args:
            change_set: the first digits of its name, as `log` has it.
            pause: as for `log`.
            by: as for `log`.

        Raises:
            UsageError: no name begins so, or several do.
        """
        return self._show(change_set, pause, by).to_pandas(depth=2)

    def show_files(
        self, change_set: str, *, pause: float = 2.0, by: str = "tree", powershell: bool = False
    ) -> "RegFiles":
        """Return one change set as two .reg files: one that makes it again, one that takes it back.

        Args:
            change_set: as for `show`, as are `pause` and `by`.
            pause: as for `log`.
            by: as for `log`.
            powershell: scripts for PowerShell instead.

        Raises:
            UsageError: no name begins so, or several do.
        """
        return self._show(change_set, pause, by).reg_files(powershell=powershell)

    def _show(self, change_set: str, pause: float, by: str) -> "ShowQuery":
        from analysis.versions import show
        from analysis.versions.change_sets import Grouping

        return show.query(self._context, change_set, grouping=Grouping.of(pause, by))

    def baseline(
        self, key: Words = None, *, under: Words = None, tolerance_s: float = 1.0, limit: int | None = None
    ) -> "pd.DataFrame":
        """Return where the hives of the capture and its events differ, a row a key.

        finding: unseen (the hive says that the key was last written during the trace, and no change of it was seen then),
        lost (likewise, but events of that time may be missing, or stand under no proved name) or in_memory (the trace used
        the key without having made it, and no hive holds it). Then display_key, last_written (of the hive), last_change
        (the last change seen before), hive (its file), key, key_id. `attrs["doubts"]` says what hives leave in doubt.

        Args:
            key: a key or pattern, or several; None for all.
            under: a key or pattern, or several; they and the keys below them.
            tolerance_s: by how much the clocks of hive and trace may differ, seconds.
            limit: the first so many rows; None for all.

        Raises:
            UsageError: a filter cannot be understood, or the capture was made without hives.
        """
        from analysis.questions import last_writes

        asked = below(merged_filters(self._standing, Filters(key=key)), under)
        return last_writes.query(self._context, asked, tolerance_s=tolerance_s, limit=limit).to_pandas(
            depth=2
        )

    def report(
        self,
        *,
        rules: "str | Path | Sequence[str | Path] | None" = None,
        cards: int = 40,
        pictures: bool = True,
    ) -> "Report":
        """Return a report to hand over: `.save("NAME.html")` is a page that needs no network, `.save("NAME.md")` Markdown.

        What the capture was narrowed to (`where`) holds for its tables.

        Args:
            rules: files, folders or patterns of Sigma rules (needs the extra `sigma`); None: without rules.
            cards: so many keys at most are told write by write, and at each moment.
            pictures: whether the page has pictures, which need the extra `plots`.
        """
        from analysis.report.report import make_report

        listed = [rules] if isinstance(rules, str | Path) else rules
        return make_report(
            type(self)(self._context), self._standing, rules=listed, most_keys=cards, pictures=pictures
        )

    def span(self) -> tuple[int, int] | None:
        """Return the times (UTC nanoseconds) of the first and the last event; None where there is none."""
        return self.context.span()

    def doubts(self, filters: Filters | None = None) -> Caveats:
        """Return why an answer about the time that a filter states may be incomplete."""
        return find_caveats(self.context, filters or self._standing)

    def suggest_keys(self, text: str, n: int = 5) -> list[str]:
        """Return up to `n` display paths of this capture that are close to what a user wrote, best first."""
        from analysis.questions.unknown_names import close_keys

        return close_keys(self.context, text, n)

    def info(self) -> dict[str, Any]:
        """Return the facts of the capture as JSON values: the manifest, losses and diagnostics."""
        return self.context.info()

    def close(self) -> None:
        """Release the engine and the disk space it spilled to; closing twice is fine."""
        self.context.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        from analysis.card import card_text, facts

        return card_text(self.path.name, facts(self.manifest, closed=not self.context.engine.is_open))

    def _repr_html_(self) -> str:
        from analysis.card import card_html, facts

        operations = self.manifest.totals.get("operations")
        return card_html(
            str(self.path),
            facts(self.manifest, closed=not self.context.engine.is_open),
            operations if isinstance(operations, dict) else None,
        )

    def _answer(self, query: "_AnyQuery") -> "pd.DataFrame":
        return query.to_pandas(depth=4)


class Dataset(Capture):
    """Several captures and the engine that reads them.

    Ids are int64 and not those of the captures; `sequence` orders the events of each capture, one capture
    after the other, for no clock is shared. Every answer with a sequence, key_id, process_id or handle_id has
    the columns `host` and `capture`, as have `events` and the stored tables in SQL. `captures` is a table too.
    """

    context: "DatasetContext"

    @property
    def members(self) -> "tuple[Member, ...]":
        """The captures, in order."""
        return self.context.members

    @property
    def captures(self) -> "pd.DataFrame":
        """One row per capture: host, capture, path, counts, times, and whether anything was lost."""
        from analysis.engine.connection import answer
        from analysis.engine.fetch import to_frame

        with engine_errors():
            return to_frame(answer(self.context.engine, "SELECT * FROM captures"))

    def __repr__(self) -> str:
        from analysis.card import dataset_text, facts

        closed = not self.context.engine.is_open
        return dataset_text(self.path.name, self._hosts(), facts(self.manifest, closed=closed))

    def _repr_html_(self) -> str:
        from analysis.card import dataset_html, facts

        closed = not self.context.engine.is_open
        own = [(member.host, member.capture, facts(member.manifest)) for member in self.members]
        return dataset_html(str(self.path), self._hosts(), facts(self.manifest, closed=closed), own)

    def _hosts(self) -> list[str]:
        return list(dict.fromkeys(member.host for member in self.members))


class _Lazy(Questions["Table"]):
    def __init__(self, context: QueryContext, standing: Filters) -> None:
        self._context, self._standing = context, standing

    def _answer(self, query: "_AnyQuery") -> "Table":
        return query.to_ibis()


class _Queries(Questions["_AnyQuery"]):
    def __init__(self, context: QueryContext, standing: Filters) -> None:
        self._context, self._standing = context, standing

    def _answer(self, query: "_AnyQuery") -> "_AnyQuery":
        return query
