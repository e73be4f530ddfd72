"""The policy files of a folder: every registry.pol, .admx and .adml in it and below."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from analysis.policy.admx import Setting, read_adml, read_admx
from analysis.policy.registry_pol import PolicyEntry, read_registry_pol
from tracer.errors import SourceError, UsageError

__all__ = ["Policies", "read_policies"]

_SIDES = ("machine", "user")
_MOST_FILES = 20_000


@dataclass(frozen=True, slots=True)
class Policies:
    """What the files of a folder say.

    Attributes:
        entries: what registry.pol files set and delete, file by file, in order.
        settings: what settings of templates stand for.
        problems: a sentence for each file that could not be read, or not whole.
    """

    entries: list[PolicyEntry]
    settings: list[Setting]
    problems: list[str]


def read_policies(folder: Path | str) -> Policies:
    r"""Return what the policy files of a folder say; a registry.pol may be given itself.

    Whether a registry.pol is of the machine or of a user is told by the folder that holds it (``Machine``, ``User``).
    Texts are taken from en-US where there are several languages.

    Raises:
        UsageError: there is no such folder, or no such file in it.
    """
    folder = Path(folder)
    if not folder.exists():
        raise UsageError(f"{folder} does not exist; give a folder with registry.pol or .admx files")
    entries: list[PolicyEntry] = []
    settings: list[Setting] = []
    problems: list[str] = []
    templates: list[Path] = []
    languages: list[Path] = []
    any_file = False
    for path in _files(folder, problems):
        name = path.name.lower()
        if name == "registry.pol" or (path == folder and name.endswith(".pol")):
            any_file = True
            side = next((part.lower() for part in reversed(path.parts[:-1]) if part.lower() in _SIDES), "")
            try:
                some, said = read_registry_pol(path, side=side)
            except SourceError as error:
                problems.append(str(error))
                continue
            entries += some
            problems += said
        elif name.endswith(".admx"):
            any_file = True
            templates.append(path)
        elif name.endswith(".adml"):
            languages.append(path)
    if not any_file:
        raise UsageError(f"{folder} holds no registry.pol and no .admx file")
    for path in templates:
        own = [one for one in languages if one.stem.lower() == path.stem.lower()]
        own.sort(key=lambda one: one.parent.name.lower() != "en-us")
        texts: dict[str, str] = {}
        if own:
            texts, said = read_adml(own[0])
            problems += said
        found, said = read_admx(path, texts)
        settings += found
        problems += said
    return Policies(entries, settings, problems)


def _files(folder: Path, problems: list[str]) -> Iterator[Path]:
    """Yield the files in a stable order; links are not followed, and what cannot be listed is a problem."""
    if folder.is_file():
        yield folder
        return
    waiting, seen = [folder], 0
    while waiting:
        here = waiting.pop()
        try:
            inside = sorted(here.iterdir(), key=lambda one: one.name.lower())
        except OSError as error:
            problems.append(f"{here} cannot be listed: {error.strerror or error}")
            continue
        for path in inside:
            if path.is_symlink():
                continue
            if path.is_dir():
                waiting.append(path)
            else:
                seen += 1
                if seen > _MOST_FILES:
                    problems.append(
                        f"{folder} holds more than {_MOST_FILES:,} files; only these were looked at"
                    )
                    return
                yield path
