"""Reading decoded records: text of one or several files to records in the order of time, as `EtlReader` yields them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.decode.layouts import LAYOUTS, Layout
from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError
from tracer.etl.logfile import FILETIME_EPOCH, LogfileHeader
from tracer.etl.losses import Loss
from tracer.etl.providers import ProviderTable
from tracer.etl.records import Records
from tracer.named.context import NamedContext, NamedOptions
from tracer.named.times import parse_times
from tracer.raw.columns import COLUMN, payload_names
from tracer.raw.forms import FORMS
from tracer.raw.identity import UNKNOWN, Identity, identify
from tracer.raw.numbers import parse_numbers
from tracer.raw.payloads import given, pack
from tracer.raw.spool import ROW, Spool
from tracer.sources.description import FileState
from tracer.sources.inputs import SourceFile

__all__ = ["RawReader", "RawSource", "raw_computers"]

_MANIFEST64, _CLASSIC64 = 0x13, 0x14  # header types: EVENT_HEADER and FULL, of 64 bits
_MOST_PLACED = 1000  # unreadable records of a file that are placed one by one
_FILETIMES = r"^\s*1\d{17}\s*$"  # whole numbers of 100 ns since 1601: years 1917 to 2234


class RawSource:
    """One file.

    Attributes:
        source: the file. path: where its bytes are. file: it, opened.
        state: its size and time when reading began.
        providers: how many records each known provider has.
        first_ns, last_ns: UTC nanoseconds of the earliest and the latest record; None where there is none.
    """

    def __init__(self, source: SourceFile) -> None:
        """Open the file.

        Raises:
            SourceError: it cannot be opened.
        """
        self.source = source
        try:
            self.file: IO[bytes] = source.path.open("rb")
        except OSError as error:
            raise SourceError(f"{source.shown}: cannot be opened: {error.strerror}") from error
        self.path = source.path
        self.state = FileState.of(self.file)
        self.providers: dict[str, int] = {}
        self.first_ns: int | None = None
        self.last_ns: int | None = None


class _Places(Diagnostics):
    """Counters that remember where records were that cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: list[int] = []
        self.unplaced = 0

    def count(self, name: str, times: int = 1, *, offset: int | None = None) -> None:
        super().count(name, times, offset=offset)
        if name in ("log_bad_record", "log_no_time") and times > 0:
            if offset is None or len(self.lost) >= _MOST_PLACED:
                self.unplaced += times
            else:
                self.lost.append(offset)


class RawReader:
    """One or several files of decoded records, merged by time.

    Attributes:
        sources: the files; `Records.source` points into it.
        diagnostics: the counters of each.
        providers: names of the providers met so far; `Records.provider` points into it.
        losses: records that cannot be read, between the records around them.
        foreign: how many records are of other providers.
        host: the computer that the records name; None where none does.
        bytes_done, bytes_total: progress.
    """

    def __init__(
        self,
        files: Sequence[SourceFile],
        folder: Path,
        options: NamedOptions,
        say: Callable[[int, int, int], None],
    ) -> None:
        """Read all files: their order is known only then.

        Args:
            files: the files, of kinds of `tracer.raw.forms.FORMS`.
            folder: where records wait.
            options: what the user said of the files.
            say: takes bytes done, bytes in all, and records read, now and then.

        Raises:
            SourceError: a file cannot be opened.
            UsageError: the records are of several computers, and the user chose none.
        """
        self.sources = [RawSource(file) for file in files]
        places = [_Places() for _ in files]
        self.diagnostics: list[Diagnostics] = [*places]
        self.losses: list[Loss] = []
        self.foreign = 0
        self.bytes_done, self.bytes_total = 0, sum(source.state.size for source in self.sources)
        self._providers = ProviderTable()
        self._spool = Spool(folder)
        self._context = NamedContext(options)
        self._say = say
        try:
            for number, source in enumerate(self.sources):
                self._read(number, source, places[number])
            self.host = self._context.hosts.check()
        except BaseException:
            self.close()
            raise

    @property
    def providers(self) -> list[str]:
        """Provider names, by number."""
        return self._providers.names

    @property
    def headers(self) -> list[LogfileHeader]:
        """Nothing: no text has a log file header."""
        return []

    def set_backs(self) -> list[Loss]:
        """Return nothing: whether a clock was set back, no text says."""
        return []

    def latest(self, loss: Loss) -> int | None:
        """Return the end of a loss in the time that records are ordered by."""
        return loss.to_ns

    def close(self) -> None:
        """Close the files."""
        self._spool.close()
        for source in self.sources:
            source.file.close()

    def __iter__(self) -> Iterator[Records]:
        """Yield Records in the order of time."""
        return self._spool.records()

    def _read(self, number: int, source: RawSource, diagnostics: _Places) -> None:
        """Read one file, and keep its records."""
        offsets: list[NDArray[np.int64]] = []
        times: list[NDArray[np.int64]] = []
        began = self.bytes_done
        form = FORMS[source.source.kind]
        for table in form(source.source.path, source.state.size, diagnostics):
            for rows in self._batch(number, source, table, diagnostics):
                offsets.append(rows["offset"].copy())
                times.append(rows["time_ns"].copy())
            if table.num_rows:
                self.bytes_done = max(self.bytes_done, began + int(table["offset"][-1].as_py()))
            self._say(self.bytes_done, self.bytes_total, len(self._spool))
        self.bytes_done = began + source.state.size
        if times:
            source.first_ns = min(int(some.min()) for some in times)
            source.last_ns = max(int(some.max()) for some in times)
        self._place(number, diagnostics, offsets, times)

    def _place(
        self,
        number: int,
        diagnostics: _Places,
        offsets: Sequence[NDArray[np.int64]],
        times: Sequence[NDArray[np.int64]],
    ) -> None:
        """Note what could not be read as losses between the records before and behind it in the file."""
        gaps: Counter[int] = Counter()
        time = np.zeros(0, np.int64)
        if diagnostics.lost and offsets:
            time = np.concatenate(times)
            gaps.update(np.searchsorted(np.concatenate(offsets), diagnostics.lost).tolist())
        elif diagnostics.lost:
            gaps[0] = len(diagnostics.lost)
        for place, count in sorted(gaps.items()):
            before = int(time[place - 1]) if place else None
            behind = int(time[place]) if place < len(time) else None
            if before is not None and behind is not None:
                before, behind = min(before, behind), max(before, behind)
            self.losses.append(
                Loss(number, "events", count, before, behind, None, "records of the text cannot be read")
            )
        if diagnostics.unplaced:
            self.losses.append(
                Loss(
                    number, "events", diagnostics.unplaced, None, None, None,
                    "further records of the text cannot be read",
                )
            )  # fmt: skip

    def _batch(
        self, number: int, source: RawSource, table: pa.Table, diagnostics: _Places
    ) -> Iterator[np.ndarray]:
        """Keep the records of a table (`tracer.raw.columns`, and `offset`), and yield them."""
        table = self._context.of_host(table, _computers(table), diagnostics)
        kinds, place = identify(table)
        self._count_providers(source, kinds, place)
        known = np.array([kind is not None for kind in kinds] + [False])[place]
        others = np.flatnonzero(~known)
        if len(others):
            self.foreign += len(others)
            offset = int(table["offset"][int(others[0])].as_py())
            diagnostics.count("foreign_records", len(others), offset=offset)
        times, dated = _times(table["@time"])
        self._count_rows(diagnostics, "log_no_time", table, known & ~dated)
        rows = np.flatnonzero(known & dated)
        if not len(rows):
            return
        if len(rows) < table.num_rows:
            table, place = table.take(pa.array(rows)), place[rows]
        yield self._keep(number, table, kinds, place, times[rows], diagnostics)

    @staticmethod
    def _count_providers(
        source: RawSource, kinds: Sequence[Identity | None], place: NDArray[np.int64]
    ) -> None:
        for kind, count in zip(kinds, np.bincount(place, minlength=len(kinds)).tolist(), strict=True):
            if kind is not None:
                source.providers[kind.provider] = source.providers.get(kind.provider, 0) + count

    @staticmethod
    def _count_rows(diagnostics: _Places, name: str, table: pa.Table, rows: NDArray[np.bool_]) -> None:
        """Count records one by one, each with its place."""
        for offset in table["offset"].filter(pa.array(rows)).to_pylist():
            diagnostics.count(name, offset=offset)

    def _keep(
        self,
        number: int,
        table: pa.Table,
        kinds: Sequence[Identity | None],
        place: NDArray[np.int64],
        times: NDArray[np.int64],
        diagnostics: _Places,
    ) -> np.ndarray:
        count = table.num_rows
        rows = np.zeros(count, ROW)
        rows["time_ns"], rows["source"] = times, number
        rows["offset"] = table["offset"].to_numpy()
        rows["pid"], rows["tid"] = _ids(table["@pid"]), _ids(table["@tid"])
        cpu, has_cpu = parse_numbers(table["@cpu"], 15)
        rows["cpu"] = np.where(has_cpu, cpu, 0).astype(np.int16)
        rows["cpu"][~has_cpu] = -1
        pointer, has_pointer = parse_numbers(table["@pointer"], 8)
        rows["pointer_size"] = np.where(has_pointer & (pointer == 4), 4, 8)
        pieces: list[NDArray[np.uint8]] = []
        filled = 0
        too_long = np.zeros(count, bool)
        for mine, layout, kind, version in _layouts(table, kinds, place):
            wide = rows["pointer_size"][mine] == 8
            for pointer_size, some in ((8, mine[wide]), (4, mine[~wide])):
                if not len(some):
                    continue
                made = pack(layout, pointer_size, _fields(table, layout, some))
                rows["start"][some], rows["size"][some] = made.start + filled, made.size
                rows["provider"][some] = self._providers.number(kind.provider)
                rows["id"][some] = -1 if kind.classic else kind.id
                rows["opcode"][some] = kind.id if kind.classic else 0
                rows["version"][some] = version
                rows["kind"][some] = _CLASSIC64 if kind.classic else _MANIFEST64
                too_long[some] = made.too_long
                for name, which in (("raw_missing_field", made.cut), ("raw_odd_data", made.odd_data)):
                    if which.any():
                        first = int(rows["offset"][some[which]].min())
                        diagnostics.count(name, int(which.sum()), offset=first)
                pieces.append(made.raw)
                filled += len(made.raw)
        self._count_rows(diagnostics, "log_bad_record", table, too_long)
        rows = rows[~too_long]
        self._spool.add(rows, np.concatenate(pieces) if pieces else np.zeros(0, np.uint8))
        return rows


def _layouts(
    table: pa.Table, kinds: Sequence[Identity | None], place: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], Layout | None, Identity, int]]:
    """Yield records of one layout: their places, the layout, what they are, and their version."""
    for number, kind in enumerate(kinds):
        rows = np.flatnonzero(place == number)
        if kind is None or not len(rows):
            continue
        versions = sorted(
            (version for guid, id_, version in LAYOUTS if (guid, id_) == (kind.provider, kind.id)),
            reverse=True,
        )
        if not versions:
            yield rows, None, kind, max(kind.version, 0)
            continue
        newest = versions[0]
        usable = [version for version in versions if kind.version == UNKNOWN or version <= kind.version]
        wanted = next(iter(usable), newest)
        for version in usable:
            if not len(rows):
                break
            layout = LAYOUTS[kind.provider, kind.id, version]
            fits = (
                np.ones(len(rows), bool)
                if len(versions) == 1
                else given(layout, _fields(table, layout, rows))
            )
            if fits.any():
                # Newer than all that are known: read as far as the newest goes, and counted as such.
                stated = kind.version if kind.version > newest and version == newest else version
                yield rows[fits], layout, kind, stated
            rows = rows[~fits]
        if len(rows):
            yield rows, LAYOUTS[kind.provider, kind.id, wanted], kind, wanted


def raw_computers(file: SourceFile, size: int, context: NamedContext) -> Iterator[pa.ChunkedArray]:
    """Yield the computers of a file's records, and count them in the context.

    Args:
        file: of a kind of `tracer.raw.forms.FORMS`.
        size: bytes to read.
        context: where computers are counted.
    """
    for table in FORMS[file.kind](file.path, size, Diagnostics()):
        computers = _computers(table)
        context.hosts.choose(computers.combine_chunks())
        yield computers


def _computers(table: pa.Table) -> pa.ChunkedArray:
    """Return the computer of each record, NULL where it says none."""
    return pc.if_else(pc.equal(table["@computer"], ""), None, table["@computer"])


def _fields(table: pa.Table, layout: Layout | None, rows: NDArray[np.int64]) -> pa.Table:
    """Return the fields of a layout of some records."""
    names = () if layout is None else dict.fromkeys(COLUMN[name] for name in payload_names(layout))
    return table.select([*names, "offset"]).take(pa.array(rows))


def _ids(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return ids of processes or threads; -1 where a record has none."""
    values, known = parse_numbers(texts, 32)
    return np.where(known, values.astype(np.int64), -1)


def _times(texts: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return times in UTC nanoseconds, and which texts are times: dates, or FILETIMEs."""
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    values, known = parse_times(texts)
    numbers = pc.fill_null(pc.match_substring_regex(texts, _FILETIMES), False).to_numpy(zero_copy_only=False)
    if numbers.any():
        ticks, are_ticks = parse_numbers(texts)
        are_ticks &= numbers
        values = np.where(are_ticks, (ticks.astype(np.int64) - FILETIME_EPOCH) * 100, values)
        known = known | are_ticks
    return values, known
