"""Information of keys that reads returned or operations set, as text: the column `detail`."""

import json

from tracer.registry.quoting import quote_name

__all__ = ["key_facts_text"]

_LENGTHS = ("Length", "ResultLength")  # of buffers, no facts of keys


def key_facts_text(operation: str | None, detail: str | None) -> str | None:
    r"""Return the information of an event about its key, without values; None where there is none.

    >>> key_facts_text("QueryKey", '{"LastWriteTime": 1, "SubKeys": 2, "Values": 3}')
    '2 subkeys, 3 values'
    """
    if operation not in ("QueryKey", "EnumerateKey", "SetInformationKey") or detail is None:
        return None
    try:
        facts = json.loads(detail)
    except (ValueError, RecursionError):
        return None
    if not isinstance(facts, dict):
        return None
    if isinstance(facts.get("Name"), str):
        return quote_name(facts["Name"])
    if "SubKeys" in facts and "Values" in facts:
        return f"{facts['SubKeys']} subkeys, {facts['Values']} values"
    return ", ".join(f"{name} {fact}" for name, fact in facts.items() if name not in _LENGTHS) or None
