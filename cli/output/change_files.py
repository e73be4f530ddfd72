"""Files that make changes again or take them back: which names they may have, and what is said of them."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cli.output.console import console
from cli.output.files import check_target, open_target
from cli.output.phrases import plural
from tracer.errors import UsageError

if TYPE_CHECKING:
    from analysis.regfile.files import RegFiles

__all__ = ["SCRIPT", "check_change_files", "write_change_file"]

SCRIPT = ".ps1"
_ENDINGS = (".reg", SCRIPT)
_SHOWN = 10  # so many changes that a file lacks are named here, of more only the reasons; the file lists them


def check_change_files(
    files: Sequence[Path | None], others: Sequence[Path | None] = (), *, force: bool, options: str
) -> None:
    """Raise where a file cannot be written, before any work.

    Args:
        files: files of changes.
        others: other files of the same verb.
        force: whether existing files are replaced.
        options: the options that name all of these, in words.

    Raises:
        UsageError: an ending is unknown, a file would go to a terminal, or two are the same.
        TargetError: a file exists or cannot be written.
    """
    if "-" in map(str, files):
        raise UsageError("a .reg file is UTF-16, which no terminal shows; give a file name")
    named = [path for path in (*files, *others) if path is not None and str(path) != "-"]
    for path in named:
        check_target(path, force=force)
    for one in files:
        if one is not None and one.suffix.lower() not in _ENDINGS:
            raise UsageError(
                f"unknown kind of file {one.name!r}; use .reg (for regedit) or .ps1 (for PowerShell)"
            )
    if len({path.resolve() for path in named}) < len(named):
        raise UsageError(f"{options} name the same file; give each its own")


def write_change_file(files: "RegFiles", direction: str, path: Path, *, force: bool) -> None:
    """Write the file that makes changes ("apply") or takes them back ("undo"), and say what it lacks."""
    with open_target(path, force=force) as stream:
        stream.write(files.encoded(direction))
    console.say(f"wrote {path}")
    left_out = files.left_out_of(direction)
    if not left_out:
        return
    done = "made again" if direction == "apply" else "undone"
    console.warn(
        f"{plural(len(left_out), 'change')} cannot be {done}, or not exactly; listed at the end of {path}"
    )
    if len(left_out) > _SHOWN:
        reasons = Counter(reason for _, reason in left_out)
        left_out = [(f"{count:,}", reason) for reason, count in reasons.most_common()]
    for what, reason in left_out:
        console.say(f"  {what}: {reason}")
