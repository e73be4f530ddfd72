"""The hottest loops of an ingest in one of two forms, chosen once and handed down: NumPy's, or compiled by Numba."""

from collections.abc import Callable
from dataclasses import dataclass

from tracer import compiled
from tracer.decode.batch import Chunk
from tracer.decode.spans import ColumnChunk
from tracer.decode.strings import NameTable
from tracer.etl import reader
from tracer.etl.reader import ReadKernels
from tracer.resolve import resolver
from tracer.resolve.resolver import ResolveKernels

__all__ = [
    "COMPILE_BYTES",
    "LOAD_BYTES",
    "NUMPY",
    "Kernels",
    "choose_kernels",
    "load_compiled",
    "note_compiled",
]

MIB = 1 << 20
# Compiled loops save about 4.5 s of processor time a GB of trace. Loading them takes about half a second, so that
# from LOAD_BYTES on they pay. Compiling them takes some 5 to 18 s, once: a trace of COMPILE_BYTES earns back a good
# part of that at once, and the next one the rest.
LOAD_BYTES = 128 * MIB
COMPILE_BYTES = 512 * MIB
_COMPILING = "compiling the fast loops once, which takes 5 to 20 seconds; later runs load them"


@dataclass(frozen=True, slots=True)
class Kernels:
    """One form of every loop that has two; the forms of one set suit each other.

    Attributes:
        read: of `tracer.etl.reader.EtlReader`.
        chunk: finds fields, names and captured bytes, for `tracer.decode.columns.decode_operations`.
        name_table: numbers names.
        resolve: of `tracer.resolve.resolver.Resolver`.
    """

    read: ReadKernels
    chunk: type[Chunk]
    name_table: type[NameTable]
    resolve: ResolveKernels


NUMPY = Kernels(reader.NUMPY, ColumnChunk, NameTable, resolver.NUMPY)


def load_compiled() -> Kernels:
    """Return the compiled form; each loop is loaded, or compiled, when it is first called.

    Raises:
        ImportError: Numba is not installed.
    """
    from tracer.compiled import headers, int_map, keys, lifetimes, names, operations, scan, tree

    return Kernels(
        ReadKernels(scan.walk, scan.stable_argsort, headers.read_headers, in_time_order=True),
        operations.CompiledChunk,
        names.CompiledNameTable,
        ResolveKernels(
            tree.CompiledKeyTree, keys.CompiledKeyNumbers, int_map.CompiledIntMap, lifetimes.find_lifetimes
        ),
    )


def choose_kernels(size: int, say: Callable[[str], None]) -> Kernels:
    """Return the form that pays for traces of `size` bytes in all; `say` gets a sentence where that takes a while."""
    if size < LOAD_BYTES or not compiled.is_available():
        return NUMPY
    if not compiled.is_kept():
        if size < COMPILE_BYTES:
            return NUMPY
        say(_COMPILING)
    return load_compiled()


def note_compiled(kernels: Kernels) -> None:
    """Note, where `kernels` are the compiled ones, that a whole trace was read: from now on they are only loaded."""
    if kernels is not NUMPY:
        compiled.note_kept()
