"""Works and fails: two runs of one program on two machines that differ in one value that matters."""

from collections.abc import Iterator
from dataclasses import dataclass

from tracer.scenarios.data import Data, binary, dword, text
from tracer.scenarios.ordinary import Desktop
from tracer.scenarios.program import Program
from tracer.scenarios.stage import Act, Stage

__all__ = ["FAILS", "WORKS", "begin_fails", "begin_works"]

WORKS = "Report Viewer opens a report; the other run of the pair, `fails`, differs in one value that matters."
FAILS = "Report Viewer cannot open a report, because of one value; the run `works` of the same seed shows how it should be."
_FOLDER = r"C:\Program Files\Contoso\ReportViewer"
_PRODUCT = r"HKLM\SOFTWARE\Contoso\ReportViewer"
_USER = r"HKCU\Software\Contoso\ReportViewer"
_POLICY = r"HKLM\SOFTWARE\Policies\Contoso\ReportViewer"
_SETTINGS = (
    "Renderer",
    "CachePath",
    "FontSize",
    "Zoom",
    "Printer",
    "PaperSize",
    "LogLevel",
    "Timeout",
    "Proxy",
    "Charset",
)


@dataclass(frozen=True, slots=True)
class _Cause:
    """A value that decides; None is a value that does not exist."""

    key: str
    value: str
    works: Data | None
    fails: Data | None
    note: str


_CAUSES = (
    _Cause(_POLICY, "BlockMacros", None, dword(1), "a policy blocks the macros of the report"),
    _Cause(_POLICY, "TrustedSources", text("https://reports.contoso.example"), text("https://intranet.example"),
           "the report's source is not trusted"),
    _Cause(_PRODUCT, "Engine", text("{7E2C19A4-3B60-4C1F-A2D7-64F0C8B1E935}"), text("{00000000-0000-0000-0000-000000000000}"),
           "the class of the engine is not registered"),
    _Cause(_PRODUCT, "TemplatePath", text(rf"{_FOLDER}\Templates"), None, "the folder of the templates is not set"),
    _Cause(_USER, "OfflineMode", dword(0), dword(1), "alice works offline"),
)  # fmt: skip


def begin_works(stage: Stage, desktop: Desktop) -> None:
    """Put the run that works on the stage."""
    _begin(stage, desktop, works=True)


def begin_fails(stage: Stage, desktop: Desktop) -> None:
    """Put the run that fails on the stage."""
    _begin(stage, desktop, works=False)


def _begin(stage: Stage, desktop: Desktop, *, works: bool) -> None:
    cause = _CAUSES[stage.options.seed % len(_CAUSES)]
    world = stage.world
    for number, name in enumerate(_SETTINGS):
        world.prepare(_PRODUCT, name, dword(number) if number % 3 else text(f"{name}-default"))
    for other in _CAUSES:
        # Of what does not decide, half differs too: a difference alone is no cause.
        data = other.works if other is cause and works else other.fails if other is cause else other.works
        if data is not None:
            world.prepare(_owned(other.key), other.value, data)
    # These differ from run to run, and the program reads them, before and after it fails.
    world.prepare(
        _owned(_USER), "LastOpened", text(rf"C:\Users\alice\Documents\{'may' if works else 'june'}.rpt")
    )
    world.prepare(_owned(_USER), "WindowPlacement", binary(bytes([44, 0, 0, 0, 100 + works, 0, 0, 0])))
    world.prepare(_PRODUCT, "InstallDate", text("20240518" if works else "20240611"))
    world.prepare(_PRODUCT, "Telemetry", dword(3 if works else 1))
    stage.play(_viewer(stage, desktop, cause), after_us=900_000, main=True)


def _owned(key: str) -> str:
    return key.replace("HKCU", r"HKU\alice", 1)


def _viewer(stage: Stage, desktop: Desktop, cause: _Cause) -> Act:
    story = stage.story
    viewer = stage.run(
        "ReportViewer.exe", parent=desktop.explorer, folder=_FOLDER,
        command_line=rf'"{_FOLDER}\ReportViewer.exe" "C:\Users\alice\Documents\q2.rpt"',
    )  # fmt: skip
    story.cast.append(viewer.pid)
    story.plant("cause", cause.key.replace("HKCU", f"HKU\\{viewer.process.sid}", 1), cause.value, cause.note)
    for key, name in _start():
        viewer.get(key, name)
        yield 1_500.0
    decisive = {one: viewer.get(one.key, one.value) for one in _CAUSES}
    yield 4_000.0
    if decisive[cause] == cause.works:
        yield from _open_report(viewer)
    else:
        yield from _give_up(viewer)
    viewer.get(_PRODUCT, "Telemetry")
    yield 10_000.0
    stage.exit(viewer)


def _start() -> Iterator[tuple[str, str]]:
    yield r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion", "CurrentBuild"
    yield r"HKCU\Control Panel\International", "LocaleName"
    yield _USER, "LastOpened"
    yield _USER, "WindowPlacement"
    yield _PRODUCT, "InstallDate"
    for name in _SETTINGS:
        yield _USER, name  # the user's own setting first
        yield _PRODUCT, name


def _open_report(viewer: Program) -> Act:
    for format_ in ("rpt", "csv", "pdf"):
        viewer.get(rf"{_PRODUCT}\Formats\{format_}", "Handler")
        yield 2_000.0
    viewer.put(_USER, "LastOpened", text(r"C:\Users\alice\Documents\q2.rpt"))
    viewer.put(_USER, "OpenCount", dword(1))
    yield 30_000.0


def _give_up(viewer: Program) -> Act:
    viewer.get(r"HKLM\SOFTWARE\Microsoft\Windows\Windows Error Reporting", "Disabled")
    viewer.get(r"HKLM\SOFTWARE\Microsoft\Windows\Windows Error Reporting", "DontShowUI")
    yield 2_000.0
    viewer.put(_USER, "LastError", dword(0x80070005))
    yield 20_000.0
