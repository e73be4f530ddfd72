r"""Administrative templates (.admx and .adml): which setting of the policy editor a value is.

Only names, keys and values are looked at. Source: Microsoft Learn, "ADMX schema": ``policy`` elements have a class, a key and
perhaps a valueName; elements inside them (boolean, decimal, enum, list, multiText, text, longDecimal) name further values and
perhaps another key. Names to show are ``$(string.ID)``, which the .adml of a language spells.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

__all__ = ["Setting", "read_adml", "read_admx"]

_STRING = re.compile(r"\$\(string\.([^)]+)\)")
_SIDES = {"machine": ("machine",), "user": ("user",), "both": ("machine", "user")}
_MOST_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Setting:
    r"""One value that a setting of an administrative template stands for.

    Attributes:
        file: the .admx.
        name: the name of the setting, as the policy editor shows it; its id where no .adml spells it.
        side: machine or user.
        key: key below the root.
        value: name of the value; None where every value of the key belongs to it (a list).
    """

    file: Path
    name: str
    side: str
    key: str
    value: str | None


def read_admx(path: Path, texts: dict[str, str]) -> tuple[list[Setting], list[str]]:
    """Return the settings of a template, and a sentence for what could not be read.

    Args:
        path: the .admx.
        texts: texts by their ids, of the .adml files beside it.
    """
    root, problem = _parsed(path)
    if root is None:
        return [], [problem]
    found = []
    for policy in root.iter():
        if _local(policy.tag) != "policy":
            continue
        key, label = policy.get("key"), policy.get("displayName") or policy.get("name") or ""
        matched = _STRING.fullmatch(label)
        name = texts.get(matched[1], policy.get("name") or matched[1]) if matched else label
        sides = _SIDES.get((policy.get("class") or "").lower(), ("machine", "user"))
        values = [(key, policy.get("valueName"))] if policy.get("valueName") is not None else []
        for part in policy.iter():
            kind = _local(part.tag)
            if kind == "list":
                values.append((part.get("key") or key, None))
            elif kind in ("boolean", "decimal", "longDecimal", "enum", "multiText", "text") and part.get(
                "valueName"
            ):
                values.append((part.get("key") or key, part.get("valueName")))
        found += [
            Setting(path, name, side, of_key, value)
            for side in sides
            for of_key, value in values
            if of_key is not None
        ]
    return found, []


def read_adml(path: Path) -> tuple[dict[str, str], list[str]]:
    """Return the texts of an .adml by their ids, and a sentence for what could not be read."""
    root, problem = _parsed(path)
    if root is None:
        return {}, [problem]
    return {
        part.get("id", ""): (part.text or "").strip() for part in root.iter() if _local(part.tag) == "string"
    }, []


def _parsed(path: Path) -> tuple[ET.Element | None, str]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None, f"{path.name} is longer than {_MOST_BYTES >> 20} MB and was left out"
        content = path.read_bytes()
    except OSError as error:
        return None, f"{path.name} cannot be read: {error.strerror or error}"
    if (
        b"<!ENTITY" in content or "<!ENTITY".encode("utf-16-le") in content
    ):  # templates have none; they could grow without end
        return None, f"{path.name} declares entities, which no template does, and was left out"
    try:
        return ET.fromstring(content), ""
    except (ET.ParseError, ValueError, LookupError) as error:
        return None, f"{path.name} is no well-formed XML ({error}) and was left out"


def _local(tag: object) -> str:
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""
