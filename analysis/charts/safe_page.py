"""One HTML file that asks for nothing and in which nothing of a capture acts: what pictures and reports share.

Names in a capture were written by strangers. Whatever a page holds passes `harmless`: no control, bidi or surrogate
character is left. It is JSON without a ``<`` in a block that no browser runs, and the page's program puts it into the page as
text. The page's own policy lets nothing be loaded and no script or style be used but its own, by their hashes.
"""

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.card import printable

__all__ = ["coded", "harmless", "safe_page"]


def harmless(value: Any) -> Any:  # noqa: ANN401
    """Return JSON values with every text printable, also in nested lists and objects."""
    if isinstance(value, str):
        return value if value.isprintable() else printable(value)
    if isinstance(value, list | tuple):
        return [harmless(item) for item in value]
    if isinstance(value, dict):
        return {name: harmless(item) for name, item in value.items()}
    return value


def coded(texts: Iterable[str | None]) -> dict[str, Any]:
    """Return a column of texts for a page: each different one once, and the place of each row's."""
    numbers: dict[str | None, int] = {}
    at = [numbers.setdefault(text, len(numbers)) for text in texts]
    return {"names": list(numbers), "at": at}


def safe_page(
    template: str,
    content: Any,  # noqa: ANN401  (JSON values)
    *,
    title: str,
    style: str,
    programs: Mapping[str, str],
    notes: Sequence[str] = (),
) -> str:
    """Return the page.

    Args:
        template: HTML with places such as ``@@TITLE@@``: POLICY, STYLE, TITLE, NOTES, CONTENT, and one for each program.
        content: what the programs show.
        title: the title.
        style: the style sheet.
        programs: the scripts, by their places.
        notes: sentences, each an entry of a list.
    """
    said = (
        json.dumps(harmless(content), separators=(",", ":")).replace("<", "\\u003c").replace(">", "\\u003e")
    )
    scripts = " ".join(_hash(program) for program in programs.values())
    parts = {
        "POLICY": f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src {_hash(style)}; script-src {scripts}",
        "STYLE": style,
        "TITLE": html.escape(printable(title)),
        "NOTES": "".join(f"<li>{html.escape(printable(note))}</li>" for note in notes),
        "CONTENT": said,
        **programs,
    }
    pieces = template.split("@@")
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
