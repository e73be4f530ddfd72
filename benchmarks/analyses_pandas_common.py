"""What the pandas forms of the analyses share: reading what they need, and names at the end."""

from pathlib import Path

import numpy as np
import pandas as pd

from tracer.registry.ntstatus import NOT_FAILURES, status_name
from tracer.registry.text import fold_name

READS = (
    "QueryKey",
    "QueryValueKey",
    "EnumerateKey",
    "EnumerateValueKey",
    "QueryMultipleValueKey",
    "QuerySecurityKey",
)
HIVES = ("LoadKey", "UnloadKey", "RestoreKey", "ReplaceKey")
WRITES = ("SetValueKey", "DeleteValueKey", "DeleteKey", "RenameKey", "SetSecurityKey", *HIVES)
DELETES = ("DeleteKey", "DeleteValueKey")
OPENS = ("OpenKey", "CreateKey")
NOT_FOUND, PATH_NOT_FOUND = 0xC0000034, 0xC000003A
TOO_SHORT = (0x80000005, 0xC0000023)  # what is asked for is there, and longer
FAILED = 0x80000000
SECOND_NS = 1_000_000_000
LAST_NS = 2**63 - 1

ENDS = {"first_time": ("time", "min"), "last_time": ("time", "max"),
        "first_sequence": ("sequence", "min"), "last_sequence": ("sequence", "max")}  # fmt: skip


def events(path: Path, *columns: str, **more: object) -> pd.DataFrame:
    return pd.read_parquet(path / "events", columns=list(columns), **more)


def classed(rows: pd.DataFrame) -> None:
    """Add what each row counts as; needs operation, status, disposition and information_class."""
    operation, status = rows["operation"], rows["status"]
    create, settings = operation == "CreateKey", operation == "SetInformationKey"
    kind, disposition = rows.pop("information_class"), rows.pop("disposition")
    rows["read"], rows["open"], rows["delete"] = (operation.isin(some) for some in (READS, OPENS, DELETES))
    rows["made"] = create & (disposition == 1)
    rows["write"] = operation.isin(WRITES) | rows["made"] | (settings & kind.notna() & (kind != 5))
    elsewhere = (status == 0x104) | (status >= FAILED)
    rows["unclear"] = (create & ~disposition.isin([1, 2]) & ~elsewhere) | (settings & kind.isna())
    rows["failure"], rows["missing"] = failures(status), status == NOT_FOUND


def unless_unclear(found: pd.DataFrame) -> pd.DataFrame:
    """Return sums with NULL where none is known and some rows do not say."""
    unclear = found["unclear_writes"] > 0
    for name in {"writes", "created"} & {*found.columns}:
        found[name] = found[name].astype("Int64").mask(unclear & (found[name] == 0))
    return found


def table(path: Path, name: str, *columns: str) -> pd.DataFrame:
    """Return columns of a small table; those with NULLs keep whole numbers, which floats would round."""
    return pd.read_parquet(
        path / f"{name}.parquet", columns=list(columns) or None, dtype_backend="numpy_nullable"
    )


def groups(path: Path, key_id: pd.Series) -> pd.Series:
    """Return the key under which the spellings of each row's key are grouped."""
    keys = pd.read_parquet(path / "keys.parquet", columns=["key_id", "same_as"])
    return key_id.map(keys.set_index("key_id")["same_as"])


def with_key_names(path: Path, rows: pd.DataFrame, column: str, **names: str) -> pd.DataFrame:
    """Add columns of `keys` for the key that `column` holds; `names` says what they are called."""
    keys = pd.read_parquet(path / "keys.parquet", columns=["key_id", *names.values()])
    keys.columns = [column, *names]
    return rows.merge(keys, on=column, how="left")


def with_process_names(
    path: Path, rows: pd.DataFrame, column: str = "process_id", **names: str
) -> pd.DataFrame:
    """Add image and pid, or other columns of `processes`, likewise."""
    names = names or {"process": "image", "pid": "pid"}
    processes = pd.read_parquet(path / "processes.parquet", columns=["process_id", *names.values()])
    processes.columns = [column, *names]
    return rows.merge(processes, on=column, how="left")


def failures(status: pd.Series) -> pd.Series:
    return (status >= FAILED) & ~status.isin(NOT_FAILURES)


def folded(names: pd.Series) -> pd.Series:
    """Return names without case, by the registry's own rule, which `str.upper` is not."""
    return names.map({name: fold_name(name) for name in names.dropna().unique()})


def link_target(paths: pd.Series, classes: str = "_CLASSES") -> pd.Series:
    """Return paths with the link to a user's classes followed; `classes` as the paths are spelled."""
    link = r"(?ai)^(HKU\\S-1-[0-9-]+)\\Software\\Classes(?=\\|\Z)"
    return paths.str.replace(link, rf"\1{classes}", regex=True)


def status_names(status: pd.Series) -> pd.Series:
    return status.map({code: status_name(int(code)) for code in status.dropna().unique()})


def ids_of(path: Path, *, subtree: str | None = None, key: str | None = None) -> list[int]:
    """Return the keys asked for, in all their spellings."""
    keys = pd.read_parquet(path / "keys.parquet", columns=["key_id", "same_as", "folded_path"])
    paths = keys["folded_path"]
    asked = paths == (key or subtree).upper()
    if subtree:
        asked |= paths.str.startswith(subtree.upper() + "\\")
    return keys[keys["same_as"].isin(keys[asked]["same_as"])]["key_id"].tolist()


def lost_between(after: pd.Series, before: pd.Series, losses: pd.DataFrame) -> pd.Series:
    """Tell in which of some times (UTC nanoseconds) something may have been lost; NULL where `after` is.

    A bound of a loss that is not known is the end of time.
    """
    lost = losses.fillna({"from_ns": -LAST_NS, "to_ns": LAST_NS}).astype(
        {"from_ns": "int64", "to_ns": "int64"}
    )
    lost = lost.sort_values("from_ns")
    begun = lost["from_ns"].searchsorted(before.astype("int64"), side="right")  # losses that began by then
    until = np.concatenate([[-LAST_NS], lost["to_ns"].cummax()])[begun]
    return (after <= until).astype("boolean").mask(after.isna())


def real_losses(path: Path) -> pd.DataFrame:
    losses = table(path, "losses", "kind", "from_ns", "to_ns")
    return losses[losses["kind"].isin(["events", "buffers", "damage"])]
