"""Eight bytes at any place of a byte array: what NumPy's views cannot give to compiled code.

Neither checks an index: the caller sees to eight readable bytes at the place.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["load", "store"]

_LONG = ir.IntType(64)


def _pointer(context: Any, builder: Any, array: Any, value: Any, at: Any) -> Any:
    data = context.make_array(array)(context, builder, value).data
    return builder.bitcast(builder.gep(data, [at]), _LONG.as_pointer())


@intrinsic
def load(_typing: Any, array: Any, at: Any) -> Any:
    """Return the eight bytes at `at` as one little-endian number."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], *values), align=1)

    return types.uint64(array, types.int64), generate


@intrinsic
def store(_typing: Any, array: Any, at: Any, number: Any) -> Any:
    """Write a number as the eight bytes at `at`."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        target, place, value = values
        builder.store(value, _pointer(context, builder, signature.args[0], target, place), align=1)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.uint64), generate
