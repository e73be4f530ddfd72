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
    records: Records, providers: list[str], names: NameTable, diagnostics: list[Diagnostics]
) -> Operations:
    """Decode the registry records among `records`, in their order; diagnostics are one a source."""
    rows, plan, exact = _registry_rows(records, providers, diagnostics, compiled=names.compiled)
    # Items that did not parse leave no trustworthy payload.
    sound = records.items.take(rows) != -2
    enough = records.payload.take(rows) + PlanTables.fixed.take(plan) <= records.end.take(rows)
    enough |= PlanTables.scalar[plan]
    readable = sound & enough
    if readable.all():
        return _chunk_form(names)(records, rows, plan, exact, names, diagnostics).decode()
    count_records(diagnostics, "short_payload", records, rows[sound & ~enough])
    unread = rows[~readable]
    rows, plan, exact = rows[readable], plan[readable], exact[readable]
    operations = _chunk_form(names)(records, rows, plan, exact, names, diagnostics).decode()
    return replace(operations, unread=unread)


def _chunk_form(names: NameTable) -> type[Chunk]:
    """Return the form of Chunk that goes with the form of the name table."""
    if names.compiled:
        from tracer.compiled.operations import CompiledChunk

        return CompiledChunk
    return ColumnChunk


def _registry_rows(
    records: Records, providers: list[str], diagnostics: list[Diagnostics], *, compiled: bool
) -> tuple[Column, NDArray[np.int16], NDArray[np.bool_]]:
    """Return rows of known registry events, their plans, and whether the layout fits their version."""
    manifest = providers.index(KERNEL_REGISTRY) if KERNEL_REGISTRY in providers else ABSENT
    classic = providers.index(CLASSIC_REGISTRY) if CLASSIC_REGISTRY in providers else ABSENT
    find = _find_plans
    if compiled:
        from tracer.compiled.plans import find_plans as find
    rows, plan, exact = find(records, manifest, classic)
    known = plan != ABSENT
    if not known.all():
        count_records(diagnostics, "unknown_registry_event", records, rows[~known])
        rows, plan, exact = rows[known], plan[known], exact[known]
    if not exact.all():
        count_records(diagnostics, "unknown_event_version", records, rows[~exact])
    return rows, plan, exact


def _find_plans(
    records: Records, manifest: int, classic: int
) -> tuple[Column, NDArray[np.int16], NDArray[np.bool_]]:
    is_classic = records.provider == classic
    rows = np.flatnonzero(is_classic | (records.provider == manifest))
    is_classic = is_classic[rows]
    plan, exact = find_plans(
        is_classic,
        records.pointer_size[rows] == 8,
        records.version[rows],
        np.where(is_classic, records.opcode[rows], records.id[rows]),
    )
    return rows, plan, exact
