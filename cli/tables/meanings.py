"""What data means, in the cell that shows the data, and which class a key is of."""

import pyarrow as pa

from cli.output.columns import text_cells
from tracer.registry.class_ids import is_text_class, key_class

__all__ = ["class_cells", "with_meaning"]


def with_meaning(shown: str, meaning: str | None) -> str:
    """Return the cell of a value: what its data means in square brackets, in place of the data.

    What class a CLSID is stands behind the CLSID. What says the class of the row's key (`class_cells`) is no meaning of data.
    """
    if not meaning or key_class(meaning) is not None:
        return shown
    return f"{shown} [{meaning}]" if is_text_class(meaning) else f"[{meaning}]"


def class_cells(rows: pa.Table, name: str = "data_meaning") -> list[str]:
    """Return the name of the class whose CLSID each row's key is called by, in brackets; "" where none is known.

    Args:
        rows: rows with `display_key`.
        name: their column of meanings.
    """
    keys = text_cells(rows, "display_key")
    classes = {
        key: f"[{called}]"
        for key, meaning in zip(keys, text_cells(rows, name), strict=True)
        if meaning and (called := key_class(meaning)) is not None
    }
    return [classes.get(key, "") for key in keys]
