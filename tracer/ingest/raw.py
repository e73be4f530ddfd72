"""Decoded records as text to a capture: the pipeline of .etl files, with another reader in front."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer.etl.providers import PROVIDER_NAMES
from tracer.files.workspace import Workspace
from tracer.ingest.etl import EtlIngest
from tracer.ingest.kernels import Kernels
from tracer.ingest.recording_facts import LiveFacts
from tracer.named.context import NamedOptions
from tracer.progress import Progress
from tracer.raw.reader import RawReader
from tracer.sources.description import FileState, Source, sha256_of_first
from tracer.sources.inputs import SourceFile
from tracer.store.writer import CaptureWriter

if TYPE_CHECKING:
    from tracer.baseline.capture_tables import Baseline
    from tracer.ingest.record_reader import RecordReader

__all__ = ["RawIngest"]


class RawIngest(EtlIngest):
    """One run over files of decoded records, of kinds of `tracer.sources.kinds.RAW_ETW`."""

    raw: RawReader

    def __init__(
        self,
        files: list[SourceFile],
        left_out: list[str],
        writer: CaptureWriter,
        seed: Path | None,
        control_set: int | None,
        progress: Callable[[Progress], None] | None,
        kernels: Kernels | None,
        live: LiveFacts | None,
        baseline: "Baseline | None",
        options: NamedOptions | None,
    ) -> None:
        """Take what `EtlIngest` takes, and which computer is wanted."""
        super().__init__(files, left_out, writer, seed, control_set, progress, kernels, live, baseline)
        self.options = options or NamedOptions()

    def open(self) -> AbstractContextManager["RecordReader"]:
        """Return what reads the files."""

        @contextmanager
        def opened() -> Iterator["RecordReader"]:
            with Workspace(self.writer.target.parent) as workspace:
                files = [self.files[path] for path in self.paths]
                with closing(RawReader(files, workspace.path, self.options, self._read)) as reader:
                    self.raw = reader
                    yield reader

        return opened()

    def _read(self, done: int, total: int, records: int) -> None:
        if self.progress:
            self.progress(Progress(done, total, records))

    def note_files(self, hashing: ThreadPoolExecutor) -> None:
        """Begin the digests of the files."""
        self.records += self.raw.foreign
        self.digests = {
            source.source.path: hashing.submit(sha256_of_first, source.file, source.state.size)
            for source in self.raw.sources
        }

    def begin_ns(self) -> int:
        """Return the time of the first record; the text does not say when the recording began."""
        return min((source.first_ns for source in self.raw.sources if source.first_ns is not None), default=0)

    def clock(self) -> tuple[int | None, str]:
        """Return that the build is not known, and that the tool turned times into those of the system."""
        return None, "system"

    def host(self) -> str | None:
        """Return the computer's name; None where no record says it."""
        return self.raw.host

    def count_files(self) -> None:
        """Count what is odd about the files themselves."""
        for source, each in zip(self.raw.sources, self.diagnostics, strict=True):
            each.count("copied_source", len(source.source.copies))
            each.count("source_changed", int(FileState.of(source.file) != source.state))

    def source(self, number: int) -> dict[str, Any]:
        """Return a source's entry in the manifest."""
        source = self.raw.sources[number]
        file = source.source
        counts = {PROVIDER_NAMES[guid]: count for guid, count in sorted(source.providers.items())}
        facts: dict[str, Any] = {"records_by_provider": counts}
        return Source(
            source_id=number,
            name=file.name,
            kind=file.kind,
            size=source.state.size,
            sha256=self.digests[file.path].result(),
            first_ns=self.first_ns.get(number),
            last_ns=self.last_ns.get(number),
            simulated=False,
            facts=facts,
            wrapper=file.wrapper,
        ).as_dict()
