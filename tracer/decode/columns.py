"""Registry records of a chunk to columns, all at once.

`tracer.decode.payload` states the rule for names and reads one record; this module reads all of them and
hands over only what is rare: hive work, names with embedded NULs, payloads that do not fit.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tracer.decode.batch import Chunk, Column, Operations, count_records
from tracer.decode.plans import ABSENT, PlanTables, find_plans
from tracer.decode.spans import ColumnChunk
from tracer.decode.strings import NameTable
from tracer.diagnostics import Diagnostics
from tracer.etl.providers import CLASSIC_REGISTRY, KERNEL_REGISTRY
from tracer.etl.records import Records

__all__ = ["decode_operations"]


def decode_operations(
    records: Records,
    providers: list[str],
    names: NameTable,
    diagnostics: list[Diagnostics],
    chunk: type[Chunk] = ColumnChunk,
) -> Operations:
    """Decode the registry records among `records`, in their order; diagnostics are one a source.

    `chunk` is the form of decoding; it has to suit the table `names` and the order of the records.
    """
    rows, plan, exact = _registry_rows(records, providers, diagnostics)
    # Items that did not parse leave no trustworthy payload.
    sound = records.items.take(rows) != -2
    enough = records.payload.take(rows) + PlanTables.fixed.take(plan) <= records.end.take(rows)
    enough |= PlanTables.scalar[plan]
    readable = sound & enough
    if readable.all():
        return chunk(records, rows, plan, exact, names, diagnostics).decode()
    count_records(diagnostics, "short_payload", records, rows[sound & ~enough])
    unread = rows[~readable]
    rows, plan, exact = rows[readable], plan[readable], exact[readable]
    operations = chunk(records, rows, plan, exact, names, diagnostics).decode()
    return replace(operations, unread=unread)


def _registry_rows(
    records: Records, providers: list[str], diagnostics: list[Diagnostics]
) -> tuple[Column, NDArray[np.int16], NDArray[np.bool_]]:
    """Return rows of known registry events, their plans, and whether the layout fits their version."""
    manifest, classic = (
        providers.index(provider) if provider in providers else ABSENT
        for provider in (KERNEL_REGISTRY, CLASSIC_REGISTRY)
    )
    is_classic = records.provider == classic
    rows = np.flatnonzero(is_classic | (records.provider == manifest))
    is_classic, id_ = is_classic.take(rows), records.id.take(rows)
    if is_classic.any():
        id_ = np.where(is_classic, records.opcode.take(rows), id_)
    wide = records.pointer_size.take(rows) == 8
    plan, exact = find_plans(is_classic, wide, records.version.take(rows), id_)
    known = plan != ABSENT
    if not known.all():
        count_records(diagnostics, "unknown_registry_event", records, rows[~known])
        rows, plan, exact = rows[known], plan[known], exact[known]
    if not exact.all():
        count_records(diagnostics, "unknown_event_version", records, rows[~exact])
    return rows, plan, exact
