"""What a command line does without: pandas always, and NumPy where a verb reads one capture.

Loading them takes longer than most answers. Arrow would import both to check whether it was handed one of their objects.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["LONG_EVENTS", "Unneeded", "reads_one_capture"]

# They hand Arrow's columns to nobody else; a dataset does, and so do pictures.
_READERS = frozenset(
    {"info", "sql", "timeline", "history", "state", "who", "keys", "tree", "hot", "errors", "handles", "redundant",
     "diff"}
)  # fmt: skip
_MANIFEST = "capture.json"
# From so many events on questions may follow keys through ranges (`analysis.questions.key_ranges`), in NumPy's loops.
LONG_EVENTS = 200_000
_MANIFEST_BYTES = 1 << 20


class Unneeded:
    """A finder that hides pandas, as no verb makes a DataFrame, and perhaps NumPy while Arrow loads.

    Attributes:
        numpy: whether Arrow may see NumPy; others always may. Arrow that was loaded without it converts nothing to or from
            NumPy, but says so.
    """

    numpy = True

    def find_spec(self, name: str, *_: object) -> None:
        """Find nothing; of what is hidden say that it is not there.

        Raises:
            ModuleNotFoundError: it is hidden.
        """
        if name == "pandas":
            raise ModuleNotFoundError("the command line makes no DataFrames", name=name)
        if name == "numpy" and not self.numpy and _is_arrow_loading():
            raise ModuleNotFoundError("this verb needs no NumPy in Arrow", name=name)


def reads_one_capture(words: Sequence[str]) -> bool:
    """Tell whether a command line asks one capture, which is not long, for what takes no NumPy."""
    if not words or words[0] not in _READERS:
        return False
    folders = [path for path in map(Path, words[1:]) if path.is_dir()]
    return len(folders) == 1 and _is_short(folders[0] / _MANIFEST)


def _is_short(manifest: Path) -> bool:
    """Tell whether a capture has few events; False where its manifest does not say it."""
    try:
        with manifest.open("rb") as file:
            known = json.loads(file.read(_MANIFEST_BYTES))  # a longer one is cut, and so is no JSON
        return bool(known["totals"]["events"] < LONG_EVENTS)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _is_arrow_loading() -> bool:
    """Tell whether Arrow, or the module of its functions, has begun to load and does not have all its names yet."""
    arrow, functions = sys.modules.get("pyarrow"), sys.modules.get("pyarrow.compute")
    if arrow is None:
        return False
    return not hasattr(arrow, "Table") or (functions is not None and not hasattr(functions, "Expression"))
