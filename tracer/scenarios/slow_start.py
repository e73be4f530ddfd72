"""A slow start: an application that searches, polls, reads the same again and again, and forgets to close."""

from tracer.scenarios.data import dword, text
from tracer.scenarios.ordinary import Desktop
from tracer.scenarios.stage import Act, Stage

__all__ = ["SUMMARY", "begin"]

SUMMARY = "Ledger starts slowly: a storm of misses, a value that it reads hundreds of times, polling, and handles left open."
_FOLDER = r"C:\Program Files\Ledger"
_PRODUCT = r"HKLM\SOFTWARE\Ledger"
_STATE = r"HKCU\Software\Ledger\Sync"
_PLUGINS = 60
_THEME_READS = 600
_POLLS = 80
_LEAKS = 120
_CONNECTED_AFTER = 70  # polls


def begin(stage: Stage, desktop: Desktop) -> None:
    """Put the story on the stage."""
    stage.world.prepare(_PRODUCT, "Theme", text("Light"))
    stage.world.prepare(_PRODUCT, "Plugins", text("Reports;Budget;Invoices"))
    stage.world.prepare(r"HKU\alice\Software\Ledger\Sync", "State", text("connecting"))
    stage.play(_application(stage, desktop), after_us=800_000, main=True)


def _application(stage: Stage, desktop: Desktop) -> Act:
    story, random = stage.story, stage.random
    program = stage.run(
        "Ledger.exe", parent=desktop.explorer, folder=_FOLDER, command_line=rf'"{_FOLDER}\Ledger.exe"'
    )
    story.cast.append(program.pid)
    program.get(_PRODUCT, "Plugins")
    yield 5_000.0

    # A plugin is looked for in four places; none has it.
    for number in range(_PLUGINS):
        for place in (r"HKCU\Software\Ledger\Plugins", r"HKLM\SOFTWARE\Ledger\Plugins",
                      r"HKLM\SOFTWARE\WOW6432Node\Ledger\Plugins", r"HKCR\Ledger.Plugin"):  # fmt: skip
            program.open(rf"{place}\Vendor{number:02}")
        yield 1_500.0 + 1_000 * random.random()
    story.plant(
        "search",
        r"HKLM\SOFTWARE\Ledger\Plugins",
        None,
        "each plugin is looked for in four places",
        _PLUGINS * 4,
    )

    # Each of many controls asks for the same colour.
    for number in range(_THEME_READS):
        program.get(_PRODUCT, "Theme")
        if number % 10 == 9:
            yield 3_000.0
    story.plant("redundant read", _PRODUCT, "Theme", "read by every control, and never written", _THEME_READS)

    for number in range(_LEAKS):
        program.open(_PRODUCT)
        if number % 20 == 19:
            yield 2_000.0
    story.plant("leak", _PRODUCT, None, "opened and not closed while the program runs", _LEAKS)

    classes = program.open(r"HKCR\CLSID")
    if classes is not None:
        for _ in range(3):
            program.enumerate_keys(classes)
            yield 2_000.0
        program.close(classes)

    # It waits for a state by asking, where RegNotifyChangeKeyValue would tell.
    for number in range(_POLLS):
        if number == _CONNECTED_AFTER:
            desktop.explorer.put(_STATE, "State", text("connected"))
        program.get(_STATE, "State")
        yield 100_000.0
    hive = program.process.sid
    story.plant(
        "polling", rf"HKU\{hive}\Software\Ledger\Sync", "State", "asked for ten times a second", _POLLS
    )
    program.put(_STATE, "LastStart", dword(1))
    yield 50_000.0
    stage.exit(program)
