"""What stands behind differing values: who wrote them in the failing run, and what those programs had read differently."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from analysis.answers.normalize import meaning_of_text, without_views
from analysis.causes.candidates import Candidate, Content
from analysis.causes.event_log import EventLog
from analysis.causes.links import MISSING, Operation, links_to_reads
from tracer.registry.text import fold_name

__all__ = ["read_behind", "with_owners", "with_writers"]

_WITHIN_NS = 5_000_000_000  # how far back another program's read may be before its write
_MOST_READS = 10  # reads of another program that are looked at behind one value


def _readers(candidates: Sequence[Candidate], log: EventLog, side: int) -> list[Operation | None]:
    """Return the read of each value in a run; None of other candidates, and of a read that returned no data."""
    sequences = [one.sequences[side] if one.kind == "value" else None for one in candidates]
    reads = log.operations(one for one in sequences if one is not None)
    return [None if one is None else reads.get(one) for one in sequences]


def with_owners(candidates: Sequence[Candidate], logs: Sequence[EventLog]) -> list[Candidate]:
    """Say of which values the program itself writes, in one of the runs."""
    own = [False] * len(candidates)
    for side, log in enumerate(logs):
        readers = _readers(candidates, log, side)
        written = {
            process_id: log.written_by([process_id])
            for process_id in {one.process_id for one in readers if one is not None}
            if process_id is not None
        }
        own = [
            before
            or (one is not None and one.process_id is not None and one.of_value in written[one.process_id])
            for before, one in zip(own, readers, strict=True)
        ]
    return [replace(one, is_own=is_own) for one, is_own in zip(candidates, own, strict=True)]


def with_writers(
    candidates: Sequence[Candidate], log: EventLog
) -> tuple[list[Candidate], list[tuple[int, Operation]]]:
    """Say who wrote the values in the failing run, and return those writes of other programs, with the candidate's place."""
    readers = _readers(candidates, log, 1)
    places = [place for place, one in enumerate(readers) if one is not None]
    sequences = log.last_writes([one for one in readers if one is not None])
    writes = log.operations(one for one in sequences if one is not None)
    named, behind = list(candidates), []
    for place, sequence in zip(places, sequences, strict=True):
        if sequence is None:
            continue
        write, reader = writes[sequence], readers[place]
        named[place] = replace(named[place], writer=write.process_id)
        if reader is not None and write.process_id is not None and write.process_id != reader.process_id:
            behind.append((place, write))
    return named, behind


def read_behind(
    behind: Sequence[tuple[int, Operation]],
    candidates: Sequence[Candidate],
    logs: Sequence[EventLog],
    folds: Collection[str],
) -> list[Candidate]:
    """Return values that other programs read differently before they wrote what the program read."""
    if not behind:
        return []
    works, fails = logs
    writes = [write for _, write in behind]
    opens = fails.opens(writes)
    writes = [replace(one, opened=opens.get(one.sequence)) for one in writes]
    before = fails.reads_before(writes, within_ns=_WITHIN_NS)
    alike = fails.same_data(writes)
    paths = {_meaning(path, folds): (key_id, path) for path, key_id in works.key_paths().items()}
    known = {(_meaning(one.keys[1] or "", folds), fold_name(one.value_name or "")) for one in candidates}
    found = []
    for (place, _), write, reads, same in zip(behind, writes, before, alike, strict=True):
        links = links_to_reads(write, reads, within_ns=_WITHIN_NS, same_data=same)[:_MOST_READS]
        own = fails.paths(link.operation.key_id for link in links if link.operation.key_id is not None)
        for read in (link.operation for link in links):
            path = own.get(read.key_id) if read.key_id is not None else None
            name = fold_name(read.value_name or "")
            if path is None or (meant := _meaning(path, folds)) not in paths or (meant, name) in known:
                continue
            other = works.last_known((paths[meant][0], name))
            differs = None if other is None else _difference(_held(other), _held(read))
            if other is None or differs is None:
                continue
            known.add((meant, name))
            found.append(
                Candidate(
                    "value", differs, candidates[place].steps, 1, (paths[meant][1], path), read.value_name,
                    _held(other), _held(read), (other.sequence, read.sequence), behind=place,
                )
            )  # fmt: skip
    return found


def _held(one: Operation) -> Content:
    """Return what an operation tells of a value."""
    if one.status == MISSING or one.operation == "DeleteValueKey":
        return Content("absent")
    return Content("present", one.data_type, one.data_size, one.data)


def _difference(one: Content, other: Content) -> str | None:
    """Return in what two contents differ; None where they do not, or nobody can tell."""
    if one.state != other.state:
        return "missing"
    if one.state != "present":
        return None
    if one.is_whole and other.is_whole and one.data != other.data:
        return "data"
    if one.data_size is not None and other.data_size is not None and one.data_size != other.data_size:
        return "size"
    return None


def _meaning(path: str, folds: Collection[str]) -> str:
    return meaning_of_text(without_views(fold_name(path), folds), folds)
