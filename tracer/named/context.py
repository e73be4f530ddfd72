"""What the readers of named sources share: the user's options, and the computers and processes met so far."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tracer.diagnostics import Diagnostics
from tracer.named.actors import Actors
from tracer.named.hosts import Hosts
from tracer.named.kept_logs import KeptLog, LogKeeper, RowsOf
from tracer.named.rows import NamedRows

__all__ = ["NamedContext", "NamedOptions"]


@dataclass(frozen=True, slots=True)
class NamedOptions:
    """What the user said of the files.

    Attributes:
        fields: paths of fields (`tracer.logs.field_paths`) that come before ours.
        host: the computer whose records are wanted; None: the files are of one computer.
        day: the local day on which a log without dates begins; None: the latest that the file's time allows.
        zone: of the times in logs that do not say it; None: they are taken as UTC.
        kept: logs that were taken apart before, by their path.
        apart: see `tracer.named.hosts.Hosts`.
    """

    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    host: str | None = None
    day: date | None = None
    zone: tzinfo | None = None
    kept: Mapping[Path, KeptLog] = field(default_factory=dict)
    apart: frozenset[str] = frozenset()


class NamedContext:
    """What is the same for all files of one capture.

    Attributes:
        options: what the user said of the files.
        hosts: the computers of the records.
        actors: the processes of the records.
        losses: rows of the table `losses` without their `source_id`; of the file that is being read.
        facts: what the file that is being read says of itself.
        keeper: keeps the records of the file that is being read, instead of making rows of them; None: nothing does.
    """

    def __init__(self, options: NamedOptions) -> None:
        self.options = options
        self.losses: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {}
        self.keeper: LogKeeper | None = None
        self.hosts = Hosts(options.host, options.apart)
        self.actors = Actors()

    def rows_of_host(
        self, records: pa.Table, computer: pa.ChunkedArray, rows_of: RowsOf, diagnostics: Diagnostics
    ) -> Iterator[NamedRows]:
        """Yield the rows of those records that are of the computer that is wanted.

        Args:
            records: text columns, and `offset`.
            computer: the name of the computer of each record, as it spells it; NULL where it does not say.
            rows_of: makes rows of records: (records, context, diagnostics).
            diagnostics: of the file.
        """
        if self.keeper is None:
            yield from rows_of(self.of_host(records, computer, diagnostics), self, diagnostics)
        else:
            self.of_host(records, computer, diagnostics)
            self.keeper.keep(records, computer, rows_of)

    def of_host(
        self, records: pa.Table, computer: pa.Array | pa.ChunkedArray, diagnostics: Diagnostics
    ) -> pa.Table:
        """Return the records of the computer that is wanted, and count the others.

        Args:
            records: any table.
            computer: the name of the computer of each record, as it spells it; NULL where it does not say.
            diagnostics: of the file.
        """
        chosen = self.hosts.choose(
            computer.combine_chunks() if isinstance(computer, pa.ChunkedArray) else computer
        )
        if chosen is None:
            return records
        diagnostics.count("log_other_hosts", int(np.count_nonzero(~chosen)))
        return records.filter(pa.array(chosen))
