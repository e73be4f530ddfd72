r"""The public face: what a notebook or a script imports.

    import regtrace as rt

    rt.simulate("demo.etl", rt.SimulationOptions(events=10_000))
    rt.ingest("demo.etl", "demo.regtrace")
    with rt.open("demo.regtrace") as capture:
        capture.timeline(r"HKLM\SOFTWARE\**", operation="set")
        capture.keys(sort="errors")
        capture.sql("SELECT process, count(*) FROM events GROUP BY ALL")

    callbacks = rt.Registrations()
    callbacks.register(print, notify=rt.Notify.PostSetValueKey, key=r"HKLM\SOFTWARE\**")
    for notification in rt.replay("demo.regtrace", callbacks):
        ...

Nothing heavy is loaded before it is used.
"""

import importlib
import importlib.util
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, overload


def _refuse_strangers() -> None:
    """Stop with one sentence where somebody else's tracer, analysis or cli would be imported for ours."""
    home = Path(__file__).resolve().parent
    for name in ("tracer", "analysis", "cli"):
        try:
            spec = importlib.util.find_spec(name)
        except ValueError:  # a module that was made by hand and has no spec
            spec = None
        found = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or [])]
        places = [Path(place).resolve() for place in found if place]
        ours = home / name
        if not any(place in (ours, ours / "__init__.py") for place in places):
            where = str(places[0]) if places else "nowhere"
            raise ImportError(
                f"regtrace needs its own {name!r} in {home}, but Python finds {where}: rename or move "
                "that one, start Python elsewhere, or install regtrace in an environment of its own",
                name=name,
                path=where,
            )


_refuse_strangers()

from tracer.deprecation import renamed_arguments  # noqa: E402  (the guard must come first)
from tracer.errors import (  # noqa: E402
    CaptureError,
    NotElevated,
    PlatformError,
    RegtraceError,
    RegtraceWarning,
    SessionError,
    SessionGone,
    SessionLimit,
    SourceError,
    TargetError,
    TimeLimit,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date, datetime, tzinfo

    from analysis.capture import Capture, Dataset
    from analysis.charts import figures as plot
    from analysis.dataset.members import Captures
    from analysis.dataset.spark import tables_on_spark as on_spark
    from analysis.engine.fetch import collect
    from analysis.filters import Filters
    from tracer.callbacks.notifications import Notification
    from tracer.callbacks.notify_class import Notify
    from tracer.callbacks.registrations import Registrations
    from tracer.ingest.pipeline import Progress
    from tracer.live.monitor import Monitor
    from tracer.named.context import NamedOptions
    from tracer.registry.values import decode_value
    from tracer.simulate import SimulationOptions, Summary
    from tracer.store.manifest import Manifest

__version__ = "0.1.0"

__all__ = [
    "Capture",
    "CaptureError",
    "Dataset",
    "Filters",
    "Manifest",
    "Monitor",
    "NotElevated",
    "Notification",
    "Notify",
    "PlatformError",
    "Registrations",
    "RegtraceError",
    "RegtraceWarning",
    "SessionError",
    "SessionGone",
    "SessionLimit",
    "SimulationOptions",
    "SourceError",
    "TargetError",
    "TimeLimit",
    "UsageError",
    "__version__",
    "collect",
    "decode_value",
    "ingest",
    "on_spark",
    "open",
    "plot",
    "replay",
    "simulate",
]

_LAZY = {
    "Capture": "analysis.capture",
    "Dataset": "analysis.capture",
    "Filters": "analysis.filters",
    "Manifest": "tracer.store.manifest",
    "Monitor": "tracer.live.monitor",
    "Notification": "tracer.callbacks.notifications",
    "Notify": "tracer.callbacks.notify_class",
    "Registrations": "tracer.callbacks.registrations",
    "SimulationOptions": "tracer.simulate.options",
}
_RENAMED = {"Knobs": "SimulationOptions"}
_ELSEWHERE = {  # name -> module, and what it is called there; "" for the module itself
    "collect": ("analysis.engine.fetch", "collect"),
    "decode_value": ("tracer.registry.values", "decode_value"),
    "on_spark": ("analysis.dataset.spark", "tables_on_spark"),
    "plot": ("analysis.charts.figures", ""),
}


@overload
def open(  # noqa: A001
    path: "Path | str", *, memory_limit: str = ..., threads: int | None = ...
) -> "Capture": ...
@overload
def open(  # noqa: A001
    path: "list[Path | str] | list[Path] | list[str] | Mapping[str, Path | str]",
    *,
    memory_limit: str = ...,
    threads: int | None = ...,
) -> "Dataset": ...
def open(  # noqa: A001  (rt.open reads like the built-in it resembles)
    path: "Captures", *, memory_limit: str = "4GB", threads: int | None = None
) -> "Capture":
    """Open a capture, or several as one (a list, a folder of them, or by host); see `analysis.open.open_capture`."""
    from analysis.open import open_capture

    return open_capture(path, memory_limit=memory_limit, threads=threads)


def ingest(
    sources: "Path | str | Sequence[Path | str]",
    target: "Path | str",
    *,
    force: bool = False,
    seed: "Path | str | None" = None,
    control_set: int | None = None,
    baseline: "Sequence[Path | str]" = (),
    merge: bool = True,
    host: str | None = None,
    fields: "Path | str | None" = None,
    day: "date | None" = None,
    zone: "tzinfo | None" = None,
    progress: "Callable[[Progress], None] | None" = None,
) -> "Manifest":
    """Make the capture `target` of one or more traces, logs and exports, and return its manifest.

    Args:
        sources: as for `tracer.ingest.pipeline.ingest`, as are the next five arguments.
        target: the capture directory to make.
        force: replace an existing capture.
        seed: table of objects open before the trace.
        control_set: which ControlSet00N is CurrentControlSet.
        baseline: hives that say what was there before the first event.
        merge: whether what several sources report of one operation is one row.
        host: the computer whose records are read, where a log holds those of several.
        fields: a TOML file that says where a collector puts the fields of events (docs/sources/sysmon.md).
        day: the local day on which a Procmon export without dates begins.
        zone: of times in exports that do not say it; None: UTC.
        progress: called after every chunk; None: a notebook shows a bar.
    """
    from tracer.ingest.notebook import notebook_progress
    from tracer.ingest.pipeline import ingest as make_capture

    listed = [sources] if isinstance(sources, str | Path) else sources
    return make_capture(
        [Path(source) for source in listed],
        Path(target),
        force=force,
        seed=None if seed is None else Path(seed),
        control_set=control_set,
        baseline=baseline,
        merge=merge,
        named=_named_options(host, fields, day, zone),
        progress=progress or notebook_progress(),
    )


def _named_options(
    host: str | None, fields: "Path | str | None", day: "date | None", zone: "tzinfo | None"
) -> "NamedOptions | None":
    if host is None and fields is None and day is None and zone is None:
        return None
    from tracer.logs.field_paths import EVENT_FIELDS, read_fields
    from tracer.named.context import NamedOptions

    paths = {} if fields is None else read_fields(Path(fields), EVENT_FIELDS)
    return NamedOptions(host=host, fields=paths, day=day, zone=zone)


@renamed_arguments(knobs="options")
def simulate(
    path: "Path | str",
    options: "SimulationOptions | None" = None,
    *,
    truth: bool = True,
    scenario: str | None = None,
) -> "Summary":
    """Write a simulated trace, a genuine .etl with its truth beside it; see `tracer.simulate.simulate`.

    `scenario` tells a story instead of random activity, and writes it beside the trace as NAME.story.json: installer,
    persistence, slow-start, works, fails or boot; see `tracer.scenarios`.
    """
    from tracer.simulate import SimulationOptions
    from tracer.simulate import simulate as write_trace

    try:
        if scenario is not None:
            from tracer.scenarios import simulate_scenario

            return simulate_scenario(Path(path), scenario, options or SimulationOptions(), truth=truth)
        return write_trace(Path(path), options or SimulationOptions(), truth=truth)
    except OSError as error:
        raise TargetError(f"{path} cannot be written: {error.strerror or error}") from error


@renamed_arguments(keys="key", until="end", user_sid="user")
def replay(
    capture: "Capture | Path | str",
    registrations: "Registrations | None" = None,
    *,
    key: "str | Sequence[str] | None" = None,
    start: "str | datetime | None" = None,
    end: "str | datetime | None" = None,
    subtree: bool = False,
    user: str | None = None,
) -> "Iterator[Notification]":
    """Yield what a capture holds as notifications, in order, and call callbacks; see `analysis.replay.replay`."""
    from analysis.replay import replay as read_again

    return read_again(capture, registrations, key=key, start=start, end=end, subtree=subtree, user=user)


def __getattr__(name: str) -> object:
    if name in _RENAMED:
        new = _RENAMED[name]
        warnings.warn(f"regtrace.{name} is now called regtrace.{new}", DeprecationWarning, stacklevel=2)
        name = new
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in _ELSEWHERE:
        place, own = _ELSEWHERE[name]
        module = importlib.import_module(place)
        return getattr(module, own) if own else module
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
