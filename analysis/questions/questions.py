"""The questions a capture answers beyond timelines and summaries of keys, one method each."""

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, TypedDict, Unpack

from ibis.expr.types import Table

from analysis.engine.duckdb_backend import engine_errors
from analysis.engine.fetch import fetch, to_frame
from analysis.filters import Codes, Filters, Words, below
from analysis.questions.beyond import doubtful, unproved_changes_of
from analysis.questions.caveats import with_doubts
from analysis.questions.context import by_capture
from analysis.questions.findings import Findings
from analysis.questions.unknown_names import warn_unknown
from analysis.questions.usage import Usage
from tracer.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from analysis.answers.net_changes import NetChanges
    from analysis.regfile.files import RegFiles

__all__ = ["FilterWords", "MoreFilters", "Questions"]


class MoreFilters(TypedDict, total=False):
    """The filters of `FilterWords` but for key and value, for questions that have these as parameters."""

    subtree: bool
    process: str | int | None
    pid: int | Sequence[int] | None
    operation: Words
    status: Codes
    start: str | datetime | None
    end: str | datetime | None
    where: str | None
    user_sid: str | None


class FilterWords(MoreFilters, total=False):
    """The filters of `analysis.filters.Filters` as keyword arguments; every one that is left out asks nothing."""

    key: Words
    value: str | None


class Questions(Usage, Findings):
    """What a capture can be asked; each answer is a DataFrame with its doubts in `attrs["doubts"]`."""

    def history(
        self,
        key: Words,
        value: str | None = None,
        *,
        limit: int | None = None,
        **filters: Unpack[MoreFilters],
    ) -> "pd.DataFrame":
        """Return each write and delete of a value in order, what it changed, and how the old content is known.

        Deletes and renames of a key have a row for each value that they took with them; attempts that failed
        have rows too. Filters choose rows; what a value held before is learnt from all events of its key.

        Columns: sequence, time; display_key, value_name (as first spelled; "" is the default value);
        operation; done (False: it failed and changed nothing; NULL: not known), status, status_name;
        process, pid; new_type, new_size (bytes), new_data (bytes as captured), new_value (as people read
        it), all NULL for deletes; old_type, old_size, old_data, old_value: what was there before, as
        old_from says: event (the record itself tells), write (the last write in this capture), read (a later
        read of it), absent (there was no such value), NULL where nobody knows. old_sequence is the event by
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
        from analysis.answers.history import told

        asked = Filters(key=key, value=value, **filters)
        return self._told(self.history_table(asked, limit=limit), told, asked)

    @by_capture()
    def history_table(self, filters: Filters, *, limit: int | None = None) -> Table:
        """Return the lazy, ordered table of which `analysis.answers.history.told` makes the answer of `history`."""
        from analysis.answers.history import value_history

        tables = self.tables
        found, events = self._evidence(filters)
        rows = value_history(
            found,
            keys=tables["keys"],
            processes=tables["processes"],
            losses=tables["losses"],
            unproved=unproved_changes_of(self, Filters()),
            value=filters.value,
            shown=self._shown(filters),
            events=events,
        )
        return rows if limit is None else rows.limit(limit)

    def state(
        self,
        at: str | datetime | None = None,
        under: Words = None,
        value: str | None = None,
        *,
        key: Words = None,
        limit: int | None = None,
        **filters: Unpack[MoreFilters],
    ) -> "pd.DataFrame":
        """Return what was known at a time: a row for each key and each value of which there is evidence by then.

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
            at: a time (`analysis.times.parse_time`), inclusive; None for the end of the capture.
            under: a key or pattern; it and the keys below it. None for all keys.
            value: value name or pattern; "" or (default) is the default value. Rows of keys are left out.
            key: a key or a pattern, or several.
            limit: the first so many rows; None for all.
            filters: as in `analysis.filters.Filters`; `at` stands for its `end`.

        Raises:
            UsageError: a filter cannot be understood.
        """
        from analysis.answers.state import told

        asked = below(Filters(key=key, value=value, **filters), under)
        if at is not None:
            asked = replace(asked, end=at)
        return self._told(self.state_table(asked, limit=limit), told, asked)

    @by_capture()
    def state_table(self, filters: Filters, *, limit: int | None = None) -> Table:
        """Return the lazy, ordered table of which `analysis.answers.state.told` makes the answer of `state`."""
        from analysis.answers.state import state_at

        tables = self.tables
        found, events = self._evidence(filters)
        rows = state_at(
            found,
            keys=tables["keys"],
            processes=tables["processes"],
            losses=tables["losses"],
            unproved=unproved_changes_of(self, filters),
            at_ns=self.interval(filters)[1],
            value=filters.value,
            shown=self._shown(replace(filters, end=None)),
            events=events,
        )
        return rows if limit is None else rows.limit(limit)

    def changes(
        self,
        under: Words = None,
        key: Words = None,
        value: str | None = None,
        *,
        limit: int | None = None,
        **filters: Unpack[MoreFilters],
    ) -> "pd.DataFrame":
        """Return the net changes between two times: the values and keys that ended otherwise than they began.

        The times are the filters start and end. Other filters choose whose changes are asked for; the state
        before is then that before the first of them, the state after always that at the end.

        Columns (NULL: not known, or not applicable): key, display_key; value_name ("" is the default value,
        NULL in the key's own row); change: added, changed, removed, or set (what was there before is unknown)
        of a value, created, deleted, recreated (deleted and made again: what it held before is gone, seen or
        not) or renamed of a key, unclear where the state at the end is unknown. before_from: how the old data
        is known: event (the first write recorded it), write or read (an earlier one), absent (proved by a
        miss, a delete, or a new key), NULL for never seen; after_from likewise (a later read that tells other
        data than the last write counts). before_type, before_size (bytes), before_data (bytes as captured),
        after_type, after_size, after_data. complete: whether both sides are known to the last byte; of a key
        that is gone, whether it was made in this capture. with_key: whether a value is gone because its key was, or
        was made anew. writes: how many changes were asked for; processes:
        how many made some, asked for or not; also_by_others: whether changes that were not asked for came
        after the first one, so that the net change is not theirs alone. first_time, last_time,
        first_sequence, last_sequence of the changes asked for; process, pid and process_id of the last; key_id.

        Rows are ordered by first_sequence. What ended as it began is left out; `attrs["notes"]` counts it.

        Args:
            under: a key or pattern, or several; they and the keys below them.
            key: a key or pattern, or several; only they.
            value: value name or pattern; "" or (default) is the default value. Rows of keys are left out.
            limit: the first so many rows; None for all.
            filters: as in `analysis.filters.Filters`.

        Raises:
            UsageError: a filter cannot be understood.
        """
        asked = below(Filters(key=key, value=value, **filters), under)
        found = self.net_changes(asked)
        frame = to_frame(self.labelled(found.rows.slice(0, limit)))
        warn_unknown(self, asked, frame, depth=1)
        frame = with_doubts(frame, self.doubts(asked))
        frame.attrs["notes"] = found.sentences
        return frame

    @by_capture()
    def changes_table(self, filters: Filters) -> Table:
        """Return the lazy table of which `net_changes` makes the answer of `changes`."""
        from analysis.answers.changes import touched_values_and_keys

        until_end = replace(filters.of_keys(), end=filters.end)
        subtrees, everywhere, descent = self.subtree_changes(until_end)
        tables, asked = self.tables, None
        if _is_narrow(filters):
            asked = self.rows(replace(filters, value=None), joined=False).select("sequence", "operation")
            if everywhere is not None:  # what was done above a key was done to it
                above = everywhere.semi_join(self.rows(filters.of_events(), joined=False), "sequence")
                asked = asked.union(above.select("sequence", "operation"))
        return touched_values_and_keys(
            self.rows(until_end, joined=False),
            tables["keys"],
            tables["processes"],
            start_ns=self.interval(filters)[0],
            asked=asked,
            value=filters.value,
            everywhere=everywhere,
            subtrees=subtrees,
            descent=descent,
            dated=doubtful(self, filters) is not None,
        )

    def net_changes(self, filters: Filters) -> "NetChanges":
        """Return the answer of `changes` as Arrow, and how many values are not in it."""
        from analysis.answers.net_changes import NetChanges, net_changes

        with engine_errors():
            found = [
                net_changes(fetch(one.changes_table(filters)), doubtful(one, filters))  # type: ignore[attr-defined]
                for one in self.apart(filters)
            ]
        return found[0] if len(found) == 1 else NetChanges.of_many(found)

    def reg_files(
        self, under: Words = None, key: Words = None, value: str | None = None, **filters: Unpack[MoreFilters]
    ) -> "RegFiles":
        """Return the net changes as two .reg files for regedit: one that makes them, one that takes them back.

        Args:
            under: as in `changes`, as are the other arguments. `user_sid` is also whose keys are written
                below HKEY_CURRENT_USER; None: below HKEY_USERS.
            key: likewise.
            value: likewise.
            filters: likewise.

        Raises:
            UsageError: a filter cannot be understood, or there is more than one capture.
        """
        asked = below(Filters(key=key, value=value, **filters), under)
        return self.reg_files_of(self.net_changes(asked), asked)

    def reg_files_of(self, found: "NetChanges", filters: Filters) -> "RegFiles":
        """Return the .reg files of net changes that were asked for with these filters."""
        from analysis.regfile.files import reg_files

        if len(self.stores) > 1:
            raise UsageError("a .reg file is for one registry: ask one capture, not several")
        return reg_files(
            found.rows,
            user_sid=filters.user_sid,
            narrowed=_is_narrow(filters) or filters.value is not None,
            about=[
                f"Net changes in {self.path.name}, by regtrace",
                *_words_of(filters),
                *self.doubts(filters).sentences,
            ],
        )

    def _evidence(self, filters: Filters) -> tuple[Table, Table]:
        """Return all evidence of the keys asked for, whatever else is asked, and the rows of the events it is made of."""
        from analysis.answers.evidence import NEEDED, evidence, told_by

        of_keys, keys = filters.of_keys(), self.tables["keys"]
        events = self.rows(of_keys, joined=False).select(*NEEDED)
        if filters.key is not None:
            events = self.few(events)
        subtrees, everywhere, descent = self.subtree_changes(of_keys)
        if everywhere is not None:
            everywhere = everywhere.select(*NEEDED)
        found = evidence(events, keys, everywhere, subtrees=subtrees, descent=descent)
        return found, told_by(events, everywhere, descent)

    def _shown(self, filters: Filters) -> Table | None:
        """Return the sequence of the events that fit what is not asked of keys and values; None where all do."""
        of_events = filters.of_events()
        if of_events == Filters():
            return None
        return self.rows(of_events, joined=False).select("sequence")

    def _told(self, table: Table, told: "Callable[[pa.Table], pa.Table]", filters: Filters) -> "pd.DataFrame":
        """Run a question whose rows are finished outside of the engine, and return them with their doubts."""
        with engine_errors():
            rows = told(fetch(table))
        frame = to_frame(self.labelled(rows))
        warn_unknown(self, filters, frame, depth=2)
        return with_doubts(frame, self.doubts(filters))


def _is_narrow(filters: Filters) -> bool:
    """Tell whether only some of the changes of a key are asked for: more than keys and times is said."""
    return replace(filters.of_events(), start=None, end=None) != Filters()


def _words_of(filters: Filters) -> list[str]:
    """Return the filters that ask something as one line, or none."""
    asked = {field.name: getattr(filters, field.name) for field in fields(filters)}
    words = [f"{name} {word}" for name, word in asked.items() if word not in (None, False)]
    return [f"Asked for: {', '.join(words)}"] if words else []
