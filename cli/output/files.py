"""Output files of verbs: checks before any work, whole files, and standard output as bytes."""

import sys
from typing import BinaryIO

from tracer.files.targets import check_target, open_target

__all__ = ["binary_stdout", "check_target", "open_target"]


def binary_stdout() -> BinaryIO:
    """Return standard output as bytes, after a flush of earlier text."""
    sys.stdout.flush()
    return sys.stdout.buffer
