"""Sigma rules made by hand, as files: no line of a rule of others."""

from pathlib import Path
from typing import Any

import yaml

__all__ = ["as_rule", "write_rule"]


def as_rule(
    title: str, detection: dict[str, Any], category: str | None = "registry_set", **more: Any
) -> dict[str, Any]:
    """Return a rule; its condition is `selection` where the detection has none, and the detection the selection."""
    if "condition" not in detection:
        detection = {"selection": detection, "condition": "selection"}
    source = {"product": "windows"} | ({} if category is None else {"category": category})
    return {"title": title, "logsource": source, "detection": detection} | more


def write_rule(folder: Path, rule: dict[str, Any]) -> Path:
    """Write a rule into a file of a folder, which is made, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{len(list(folder.iterdir())):03}.yml"
    path.write_text(yaml.safe_dump(rule, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path
