"""A window: memory that a parent shares with one child, so that the long part of an answer goes through no pipe.

Linux has memory without a name, which the child inherits; on Windows it has a name that nobody can guess. Where
neither is there, pipes carry everything.
"""

import mmap
import os
import sys

__all__ = ["NO_WINDOW", "Window", "open_window"]

NO_WINDOW = "-"
_SIZE = 4 << 20  # bytes: the JSON of eight real chunks takes half of it


class Window:
    """The parent's side.

    Attributes:
        memory: what is shared; None where this system has nothing to share.
        argument: what `open_window` needs in the child.
        inherited: file descriptors that the child must get.
    """

    def __init__(self) -> None:
        """Make it; without memory where the system refuses."""
        self.memory: mmap.mmap | None = None
        self.argument = NO_WINDOW
        self.inherited: tuple[int, ...] = ()
        try:
            if sys.platform == "win32":
                tag = f"regtrace-{os.getpid()}-{os.urandom(16).hex()}"
                self.memory, self.argument = mmap.mmap(-1, _SIZE, tagname=tag), tag
            elif sys.platform == "linux":
                descriptor = os.memfd_create("event log")
                self.inherited = (descriptor,)
                os.ftruncate(descriptor, _SIZE)
                self.memory, self.argument = mmap.mmap(descriptor, _SIZE), str(descriptor)
        except OSError:  # no memory, or a system call that a sandbox forbids
            self.close()

    def close(self) -> None:
        """Let go of it."""
        if self.memory is not None:
            self.memory.close()
        for descriptor in self.inherited:
            os.close(descriptor)
        self.memory, self.argument, self.inherited = None, NO_WINDOW, ()


def open_window(argument: str) -> mmap.mmap | None:
    """Return the memory behind `Window.argument`, in the child; None where there is none.

    Raises:
        OSError: it cannot be shared.
    """
    if argument == NO_WINDOW:
        return None
    if sys.platform == "win32":
        memory = mmap.mmap(-1, _SIZE, tagname=argument)
    else:
        memory = mmap.mmap(int(argument), _SIZE)
    return memory
