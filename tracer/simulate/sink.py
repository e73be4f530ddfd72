"""The sink: the interface between the model and the two writers of records, and their common code.

A sink gets one call per operation, already decided and done in the model, and turns it into a record in
the file and a row of the truth. `ManifestSink` writes the provider's events, `ClassicSink` the NT Kernel
Logger's.
"""

from abc import ABC, abstractmethod
from random import Random
from typing import TYPE_CHECKING

from tracer.simulate.actors import Handle, Process, Thread
from tracer.simulate.container import EtlWriter
from tracer.simulate.options import SimulationOptions
from tracer.simulate.registry import AddressPool, Value

if TYPE_CHECKING:
    from tracer.simulate.truth import TruthWriter

__all__ = ["Sink"]


class Sink(ABC):
    """Takes operations; `ticks` is the raw time stamp of the next record, set by the model.

    Attributes:
        wants_data: whether data read or written would be captured now; without it nobody need build it.
    """

    wants_data = False

    def __init__(
        self, options: SimulationOptions, writer: EtlWriter, truth: "TruthWriter", pool: AddressPool
    ) -> None:
        self.options, self.writer, self.truth, self.pool = options, writer, truth, pool
        self.ticks = writer.clock.start_ticks
        self.random = Random(f"sink {options.seed}")

    def write(self, cpu: int, record: bytes) -> tuple[int, int]:
        """Put a record into the file; return its buffer and place, or (-1, 0) if it is lost."""
        lost = self.options.lost_events
        if lost and self.random.random() < lost:
            self.writer.lose_event(cpu)
            return -1, 0
        return self.writer.append(cpu, record, self.ticks)

    @abstractmethod
    def use_options(self, word: int) -> None:
        """Use the option word `word` from now on."""

    @abstractmethod
    def note_preopened(self, handle: Handle) -> None:
        """Note that `handle` was open before the trace."""

    @abstractmethod
    def write_open(
        self, thread: Thread, base: Handle | None, requested: str, path: str, spelled: str,
        handle: Handle | None,
        status: int, disposition: int, *, create: bool,
    ) -> None:  # fmt: skip
        """Write an open or create; `handle` is None if it failed."""

    @abstractmethod
    def write_key_operation(self, thread: Thread, id_: int, handle: Handle, status: int) -> None:
        """Write an operation that has only a key: delete, flush, security."""

    @abstractmethod
    def write_close(self, thread: Thread, handle: Handle, *, lost: bool) -> None:
        """Write a close; a `lost` one leaves no record."""

    @abstractmethod
    def write_information(
        self,
        thread: Thread,
        id_: int,
        handle: Handle,
        status: int,
        class_: int,
        size: int,
        data: bytes | None,
    ) -> None:
        """Write QueryKey or SetInformationKey."""

    @abstractmethod
    def write_enumeration(
        self, thread: Thread, id_: int, handle: Handle, status: int, index: int, class_: int, size: int,
        data: bytes | None,
    ) -> None:  # fmt: skip
        """Write EnumerateKey or EnumerateValueKey."""

    @abstractmethod
    def write_value_query(
        self, thread: Thread, handle: Handle, status: int, name: str, wire: bytes, class_: int, size: int,
        data: bytes | None,
    ) -> None:  # fmt: skip
        """Write QueryValueKey."""

    @abstractmethod
    def write_value_set(
        self, thread: Thread, handle: Handle, status: int, value: Value, previous: tuple[int, bytes] | None
    ) -> None:
        """Write SetValueKey of `value` over `previous` type and data (None: there was no such value)."""

    @abstractmethod
    def write_value_delete(self, thread: Thread, handle: Handle, status: int, name: str, wire: bytes) -> None:
        """Write DeleteValueKey."""

    @abstractmethod
    def write_values_query(self, thread: Thread, handle: Handle, status: int, count: int, size: int) -> None:
        """Write QueryMultipleValueKey."""

    @abstractmethod
    def write_process(self, process: Process, what: str) -> None:
        """Write a process record; `what` is start, stop, rundown or final rundown."""

    @abstractmethod
    def finish(self) -> None:
        """Write what a session writes when it stops."""
