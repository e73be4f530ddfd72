"""Parts that all charts share: the time axis, colours, shades, lanes and their names."""

import re
import textwrap
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import ibis
from ibis.expr.types import StringValue, Table

from analysis.charts.extra import alt
from analysis.engine.connection import answer, engine_errors
from analysis.expressions.operation_counters import fitting
from analysis.filters import Filters
from analysis.questions.caveats import caveats_between
from analysis.questions.noise import count_noise
from analysis.times import parse_time
from tracer.registry.operations import find_cases

if TYPE_CHECKING:
    from analysis.charts.source import Source

__all__ = [
    "GROUPS",
    "MOST_LANES",
    "SHADES",
    "WIDTH",
    "Lanes",
    "Span",
    "chosen_bar",
    "compose",
    "described",
    "duration_text",
    "group_color",
    "group_of",
    "moment_text",
    "noise_notes",
    "process_name",
    "round_up",
    "shades",
    "short_key",
    "shorten",
]

WIDTH = 900
MOST_LANES = 30
_UNITS = ((1_000_000_000, "s", "seconds"), (1_000_000, "ms", "milliseconds"), (1_000, "µs", "microseconds"))
# Okabe and Ito's colours, which the colour-blind can tell apart.
GROUPS = {
    "open": "#56B4E9",
    "create": "#009E73",
    "read": "#0072B2",
    "write": "#D55E00",
    "delete": "#CC79A7",
    "close": "#BBBBBB",
    "other": "#666666",
}
SHADES = {"lost": "#E69F00", "clock set back": "#CC79A7", "names unknown": "#8888BB"}
_USER = re.compile(r"HKU\\S-1(?:-\d+)*-(\d+(?:_Classes)?)(?=\\|$)", re.IGNORECASE)
_DRAWN_AS = (  # the first that fits: the counts of `tracer.registry.operations`, finer ones first
    ("created", "create"),
    ("deletes", "delete"),
    ("writes", "write"),
    ("opens", "open"),
    ("reads", "read"),
    ("CloseKey", "close"),
)


def group_of(events: Table) -> StringValue:
    """Return the group of `GROUPS` that each row is drawn in.

    Args:
        events: rows with the columns operation, disposition, information_class and status.
    """
    first, *more = [(fitting(events, find_cases(name)), group) for name, group in _DRAWN_AS]
    return ibis.cases(first, *more, else_="other")


def group_color(present: Iterable[str]) -> alt.Color:
    """Return the colours of the groups that are present, in the order of `GROUPS`."""
    groups = set(present)
    names = [name for name in GROUPS if name in groups]
    scale = alt.Scale(domain=names, range=[GROUPS[name] for name in names])
    return alt.Color("group:N", title="operation", scale=scale)


@dataclass(frozen=True, slots=True)
class Span:
    """The time range of a picture, and positions on its axis.

    Attributes:
        zero_ns: moment from which the axis counts, UTC nanoseconds: the capture's first event in each of its pictures.
        start_ns: first moment shown.
        end_ns: last moment; later than `start_ns`.
        unit_ns: nanoseconds of one unit of the axis.
        unit: its short name.
        word: its name.
    """

    zero_ns: int
    start_ns: int
    end_ns: int
    unit_ns: int
    unit: str
    word: str

    @classmethod
    def between(cls, zero_ns: int, first_ns: int, last_ns: int) -> "Span":
        """Return the span between two moments, in the unit that suits its length."""
        last_ns = max(last_ns, first_ns + 1000)
        fitting = (each for each in _UNITS if last_ns - first_ns >= 2 * each[0])
        unit_ns, unit, word = next(fitting, _UNITS[-1])
        return cls(zero_ns, first_ns, last_ns, unit_ns, unit, word)

    @classmethod
    def of(cls, capture: "Source", filters: Filters, first_ns: int | None, last_ns: int | None) -> "Span":
        """Return the span of the filters, or that of the marks where the filters have no time.

        Args:
            capture: whose span relative times count from.
            filters: the filters of the picture.
            first_ns: the first moment drawn; None for the capture's first.
            last_ns: the last one; None for the capture's last.
        """
        parts = capture.manifest.parts
        whole = (min(part["first_ns"] for part in parts), max(part["last_ns"] for part in parts))
        begin = whole[0] if first_ns is None else first_ns
        end = whole[1] if last_ns is None else last_ns
        margin = 0 if first_ns is None else max((end - begin) // 50, 500)
        begin, end = begin - margin, end + margin
        if filters.start is not None:
            begin = parse_time(filters.start, first_ns=whole[0], last_ns=whole[1], end=False)
        if filters.end is not None:
            end = parse_time(filters.end, first_ns=whole[0], last_ns=whole[1], end=True)
        return cls.between(whole[0], max(begin, whole[0] - margin), min(end, whole[1] + margin))

    def at(self, moment_ns: int) -> float:
        """Return the position of a moment on the axis."""
        return (moment_ns - self.zero_ns) / self.unit_ns

    def microseconds(self, moment_ns: int) -> int:
        """Return a moment as whole microseconds after the zero, so that both add up to the moment as it is shown."""
        return moment_ns // 1000 - self.zero_ns // 1000

    def clipped(self, moment_ns: int) -> float:
        """Return the position of a moment, or the nearer end of the axis."""
        return self.at(min(max(moment_ns, self.start_ns), self.end_ns))

    @property
    def length(self) -> float:
        """The length of the axis, in its unit."""
        return (self.end_ns - self.start_ns) / self.unit_ns

    @property
    def bounds(self) -> tuple[float, float]:
        """The first and the last position of the axis."""
        return self.at(self.start_ns), self.at(self.end_ns)

    def x(self, field_name: str = "at") -> alt.X:
        """Return the time axis."""
        scale = alt.Scale(domain=list(self.bounds), nice=False, zero=False)
        return alt.X(
            f"{field_name}:Q",
            title=f"{self.word} after {moment_text(self.zero_ns)}",
            scale=scale,
            axis=alt.Axis(grid=False),
        )


def moment_text(moment_ns: int) -> str:
    """Return a moment as text, UTC, to the microsecond."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment_ns // 1000)
    except OverflowError:
        return f"{moment_ns} ns"
    return f"{moment:%Y-%m-%d %H:%M:%S.%f} UTC"


@dataclass(slots=True)
class Lanes:
    """Names of the rows of a picture: different things never share a name, and there are only so many rows.

    Attributes:
        names: what each thing that has a row of its own is called, busiest first.
        rest: the name of the row for all others; None where there are none.
    """

    names: dict[Hashable, str] = field(default_factory=dict)
    rest: str | None = None

    @classmethod
    def of(
        cls,
        things: "Sequence[Hashable] | Counter[Any]",
        called: Mapping[Any, str],
        most: int = MOST_LANES,
    ) -> "Lanes":
        """Return lanes for things; a thing occurs once for each of its marks.

        Args:
            things: identities, or how many marks each has.
            called: a name of each, which several may share.
            most: how many lanes there may be.
        """
        counted = [thing for thing, _ in Counter(things).most_common()]
        lanes, used = cls(), Counter[str]()
        for thing in counted if len(counted) <= most else counted[: most - 1]:
            name = called[thing]
            used[name] += 1
            lanes.names[thing] = name if used[name] == 1 else f"{name} #{used[name]}"
        if len(counted) > most:
            lanes.rest = f"({len(counted) - most + 1:,} others)"
        return lanes

    def __getitem__(self, thing: Hashable) -> str:
        return self.names.get(thing, self.rest or "")

    def y(self, title: str | None, *, with_rest: bool = True) -> alt.Y:
        """Return the axis of lanes; title None is none."""
        domain = [*self.names.values(), *([self.rest] if self.rest and with_rest else [])]
        axis = alt.Axis(
            labelLimit=420, grid=True, gridColor="#888888", gridOpacity=0.2, domain=False, ticks=False
        )
        return alt.Y("lane:N", title=title, scale=alt.Scale(domain=domain), axis=axis)

    @property
    def height(self) -> int:
        """The height of all lanes in pixels."""
        return max(60, 26 * (len(self.names) + bool(self.rest)))


def process_name(image: str | None, pid: int | None) -> str:
    """Return the label of a process in a picture; unknown parts are labelled so."""
    if image is None:
        return "(process unknown)" if pid is None else f"pid {pid}"
    return image if pid is None else f"{shorten(image, 40)} ({pid})"


def shorten(text: str, most: int) -> str:
    """Return at most `most` letters of a text, cut in front: the end of a path says more than its start."""
    return text if len(text) <= most else "…" + text[-(most - 1) :]


def short_key(key: str | None, most: int) -> str:
    r"""Return a key's name, shortened so that two users' keys stay apart: the end of the SID is kept too.

    >>> short_key("HKU\\S-1-5-21-1-2-3-1001\\Software\\Vendor\\Settings\\View", 30)
    'HKU\\…-1001…r\\Settings\\View'
    """
    if key is None:
        return "(unknown key)"
    user = _USER.match(key)
    if len(key) <= most or user is None:
        return shorten(key, most)
    lead = f"HKU\\…-{user[1]}"
    return lead + shorten(key[user.end() :], max(most - len(lead), 8))


def round_up(nanoseconds: float) -> int:
    """Return 1, 2 or 5 times a power of ten, a microsecond at least, that is not less."""
    power = 1000
    while True:
        for digit in (1, 2, 5):
            if digit * power >= nanoseconds:
                return digit * power
        power *= 10


def duration_text(nanoseconds: int) -> str:
    """Return a length of time in the unit that suits it."""
    for unit_ns, unit in ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")):
        if nanoseconds >= unit_ns:
            return (
                f"{nanoseconds / unit_ns:g} {unit}"
                if nanoseconds % unit_ns == 0
                else f"{nanoseconds / unit_ns:.3g} {unit}"
            )
    return f"{nanoseconds} ns"


def chosen_bar(span: Span, y: alt.Y, *, height: int) -> alt.Chart:
    """Return the frame around the bar that a reader of the page chose."""
    frame = alt.Chart(alt.NamedData(name="chosen")).mark_bar(
        height=height, filled=False, stroke=alt.expr("ink"), strokeWidth=2, clip=True
    )
    return frame.encode(x=span.x("from"), x2="to:Q", y=y)


def described(filters: Filters) -> str:
    """Return the filters in words, for a title."""
    title = shorten(", ".join(filters.keys), 90) or "everything"
    if filters.keys and filters.subtree:
        title += " and below"
    words = {
        "value": filters.value if filters.value is None or filters.value else "(default)",
        "by": filters.process,
        "by pid": filters.pid,
        "started by": filters.process_tree,
        "operation": filters.operation,
        "result": filters.status,
        "from": filters.start,
        "to": filters.end,
        "where": filters.where,
        "HKCU of": filters.user,
    }
    return title + "".join(f", {word} {_words(asked)}" for word, asked in words.items() if asked is not None)


def noise_notes(capture: "Source", filters: Filters) -> list[str]:
    """Return the sentence that says how much a picture leaves out because Windows did it by itself, or none."""
    if filters.noise is not False:
        return []
    rows = count_noise(capture.context, replace(filters, noise=None))
    return [f"{rows:,} operations that Windows does by itself are left out"] if rows else []


def _words(words: object) -> str:
    """Return one or several words of a filter."""
    several = words if isinstance(words, Sequence) and not isinstance(words, str) else [words]
    return shorten(", ".join(map(str, several)), 60)


def shades(capture: "Source", span: Span) -> list[dict[str, Any]]:
    """Return the shaded times: losses, and times before names were known."""
    query = f"""
        SELECT CASE kind WHEN 'blind' THEN 2 WHEN 'clock' THEN 1 ELSE 0 END AS band, greatest(coalesce(from_ns, {span.start_ns}), {span.start_ns}) AS first,
            least(coalesce(to_ns, {span.end_ns}), {span.end_ns}) AS last
        FROM losses WHERE (from_ns IS NOT NULL OR to_ns IS NOT NULL)
            AND coalesce(from_ns <= {span.end_ns}, true) AND coalesce(to_ns >= {span.start_ns}, true)
        ORDER BY 1, 2, 3
    """
    with engine_errors():
        rows = answer(capture.context.engine, query).to_pylist()
    merged: list[dict[str, Any]] = []
    least = span.length / WIDTH  # a pixel: nearer ones cannot be told apart
    for row in rows:
        kind = ("lost", "clock set back", "names unknown")[row["band"]]
        first, last = span.at(row["first"]), max(span.at(row["last"]), span.at(row["first"]) + least)
        if merged and merged[-1]["kind"] == kind and first <= merged[-1]["to"] + least:
            merged[-1]["to"] = max(merged[-1]["to"], last)
        else:
            merged.append({"kind": kind, "from": first, "to": last})
    return merged


def compose(
    capture: "Source",
    span: Span,
    layers: Sequence[alt.Chart],
    *,
    title: str,
    height: int,
    notes: Sequence[str],
    data: Mapping[str, list[dict[str, Any]]],
    params: Mapping[str, Any] | None = None,
    shades_above: bool = False,
) -> tuple[alt.LayerChart, list[str]]:
    """Return layers and shades below a title with the caveats, and the sentences of the caveats.

    Args:
        capture: the capture, which says what was lost.
        span: the time that is shown.
        layers: what is drawn; each reads one of `data` by its name.
        title: the title.
        height: pixels.
        notes: sentences below the title.
        data: the data by name; `shades` is added.
        params: parameters of expressions in the layers.
        shades_above: whether lost times are shaded above the layers.
    """
    notes = [*notes, *caveats_between(capture.context, span.start_ns, span.end_ns).sentences]
    shaded = shades(capture, span)
    shade_layers: list[alt.Chart] = []
    if shaded:
        kinds = [kind for kind in SHADES if any(shade["kind"] == kind for shade in shaded)]
        color = alt.Color(
            "kind:N", title="missing", scale=alt.Scale(domain=kinds, range=[SHADES[kind] for kind in kinds])
        )
        marks = alt.Chart(alt.NamedData(name="shades")).mark_rect(opacity=0.3, clip=True)
        shade_layers = [marks.encode(x=span.x("from"), x2="to:Q", color=color, tooltip="kind:N")]
    lines = [line for note in notes for line in textwrap.wrap(note, 150)]
    words = alt.TitleParams(
        text=textwrap.wrap(title, 110) or "", subtitle=lines, anchor="start", subtitleColor="#555555"
    )
    ordered = [*layers, *shade_layers] if shades_above else [*shade_layers, *layers]
    drawn = alt.layer(*ordered, title=words, width=WIDTH, height=height).resolve_scale(color="independent")
    drawn.datasets = {**data, "shades": shaded}
    if params:
        drawn = drawn.add_params(*(alt.param(name=name, value=value) for name, value in params.items()))
    return drawn.configure_view(stroke="#DDDDDD"), notes
