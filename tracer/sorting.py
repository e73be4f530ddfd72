"""Stable ordering of whole numbers, sixteen bits at a time.

NumPy sorts 16-bit numbers by counting, at a few nanoseconds each on every processor; its sorts of wider
numbers are several times slower, most of all where their AVX-512 form meets a processor that emulates it.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["stable_order"]


def stable_order(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the permutation that sorts `numbers` as unsigned ones; equal ones keep their order."""
    if not len(numbers):
        return np.empty(0, np.int64)
    order = np.argsort(numbers.astype(np.uint16), kind="stable")
    rest = numbers.view(np.uint64) >> np.uint64(16)  # signed, a negative number would never become 0
    while rest.any():
        order = order.take(np.argsort(rest.astype(np.uint16).take(order), kind="stable"))
        rest = rest >> np.uint64(16)
    return order
