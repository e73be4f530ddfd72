"""A picture: a chart as a self-contained HTML page, PNG or SVG; `analysis.charts.figures` draws it.

Names in a capture were written by strangers. Whatever a chart holds passes `analysis.charts.safe_page.harmless` on its way out:
no control, bidi or surrogate character is left (a NUL would end the program that draws).
"""

import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from analysis.charts.extra import alt, vl_convert
from analysis.charts.page import Page, page_html
from analysis.charts.safe_page import harmless
from tracer.errors import UsageError
from tracer.files.targets import open_target

__all__ = ["ENDINGS", "Picture", "library"]

ENDINGS = (".html", ".png", ".svg")


class Picture:
    """One drawn answer; a notebook shows it as an image.

    Attributes:
        chart: the Altair chart, for changes of your own. Altair's own display and `save` know nothing of
            hostile names; use those of this class.
        rows: how many rows of the capture were drawn or counted.
        notes: what limits the picture, one sentence each; it shows them too.
        page: what its page has beside the chart, to explore; None for the chart alone.
    """

    def __init__(
        self,
        chart: Any,  # noqa: ANN401  (Altair's kinds of charts have no type in common)
        *,
        rows: int,
        notes: Sequence[str] = (),
        page: Page | None = None,
    ) -> None:
        self.chart = chart
        self.rows = rows
        self.notes = tuple(notes)
        self.page = page

    def spec(self) -> dict[str, Any]:
        """Return the chart as Vega-Lite, with every text made harmless."""
        # Tests check charts against the schema of Vega-Lite: that takes two thirds of this time.
        spec: dict[str, Any] = harmless(self.chart.to_dict(validate=False))
        return spec

    def html(self) -> str:
        """Return a self-contained page, which needs no network."""
        return page_html(self.spec(), self.page, library())

    def png(self, scale: float = 2.0) -> bytes:
        """Return the picture as a PNG; `scale` 1 is 72 pixels an inch."""
        image: bytes = vl_convert.vegalite_to_png(
            self.spec(), vl_version=_version(), scale=scale, allowed_base_urls=[]
        )
        return _packed(image)

    def svg(self) -> str:
        """Return the picture as SVG."""
        drawn: str = vl_convert.vegalite_to_svg(self.spec(), vl_version=_version(), allowed_base_urls=[])
        return drawn

    def save(self, path: Path | str) -> Path:
        """Write the picture to `path`; its ending is the format: .html, .png or .svg.

        Raises:
            UsageError: the ending is none of these.
            TargetError: the file cannot be written.
        """
        path = Path(path)
        content = self.render(path.suffix.lower())
        with open_target(path, force=True) as stream:
            stream.write(content)
        return path

    def render(self, ending: str) -> bytes:
        """Return the bytes of a file with this ending.

        Raises:
            UsageError: the ending is none of `ENDINGS`.
        """
        if ending == ".png":
            return self.png()
        if ending == ".svg":
            return self.svg().encode()
        if ending == ".html":
            return self.html().encode()
        raise UsageError(f"unknown picture format {ending!r}; use one of {', '.join(ENDINGS)}")

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        image = self.png()
        # The size stands in the header of every PNG; half of it, as the scale is 2.
        return image, {
            "width": int.from_bytes(image[16:20]) // 2,
            "height": int.from_bytes(image[20:24]) // 2,
        }

    def __repr__(self) -> str:
        return f"<Picture of {self.rows:,} rows; .save('NAME.html') keeps it>"


def _packed(image: bytes) -> bytes:
    """Return a PNG compressed again: the drawing library compresses fast, and the file is four times as large."""
    chunks, at = [], 8
    while at < len(image):
        end = at + 12 + int.from_bytes(image[at : at + 4])
        chunks.append((image[at + 4 : at + 8], image[at + 8 : end - 4]))
        at = end
    pixels = b"".join(body for kind, body in chunks if kind == b"IDAT")
    packed = (b"IDAT", zlib.compress(zlib.decompress(pixels), 8))  # 9 takes 2.5 times as long for 6 % less
    first = next(place for place, (kind, _) in enumerate(chunks) if kind == b"IDAT")
    kept = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    kept.insert(first, packed)
    return image[:8] + b"".join(
        len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4) for kind, body in kept
    )


@cache
def library() -> str:
    """Return the program that draws charts in a page: Vega, Vega-Lite and Vega-Embed, as vl-convert brings them."""
    bundle: Any = vl_convert.javascript_bundle  # its types ask for a snippet, which it does not need
    library: str = bundle(vl_version=_version())
    return library.replace("</script", "<\\/script")


def _version() -> str:
    """Return the version of Vega-Lite that Altair writes, as vl-convert spells it."""
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
