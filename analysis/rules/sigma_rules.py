"""Sigma rules of files: which of them are about the registry, which are not, and which cannot be read.

pySigma (extra `sigma`) parses them; it is imported when rules are asked for, and only the parts that need no network.
What a rule's condition means for events is said in `analysis.rules.sigma_conditions`.
"""

import glob
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.rules.sigma_conditions import Node, compile_condition, is_possible
from analysis.rules.sigma_levels import LEVELS
from analysis.rules.sigma_policy import quiet_policy
from tracer.errors import RegtraceError, UsageError
from tracer.registry.text import escape_argument

if TYPE_CHECKING:
    from sigma.rule import SigmaRule

__all__ = ["CATEGORIES", "Broken", "Rule", "Rules", "load_rules"]

# Categories of Sigma's taxonomy and the operations that each is about (EventID of Sysmon: 13; 12; 12; 14; 12 to 14).
CATEGORIES = {
    "registry_set": ("SetValueKey",),
    "registry_add": ("CreateKey",),
    "registry_delete": ("DeleteKey", "DeleteValueKey"),
    "registry_rename": ("RenameKey",),
    "registry_event": ("SetValueKey", "CreateKey", "DeleteKey", "DeleteValueKey", "RenameKey"),
}
_SYSMON_IDS = (12, 13, 14)  # of its registry events
_ENDINGS = (".yml", ".yaml")
_MOST_BYTES = 4 << 20  # of a file of rules; the largest of Sigma's own has 60 KB
_NEEDS = "Sigma rules need the library pySigma; install it with pip install 'regtrace[sigma]'"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule about the registry. Its texts are a stranger's.

    Attributes:
        title: the rule's title.
        rule_id: its UUID; None where it has none.
        level: a word of `analysis.rules.sigma_levels.LEVELS`; None where it has none.
        techniques: ATT&CK techniques, as T1547.001.
        author: who wrote it, as the rule says; None where it does not.
        path: the file.
        operations: the operations that it is about.
        conditions: its conditions; it matches where one of them does.
    """

    title: str
    rule_id: str | None
    level: str | None
    techniques: tuple[str, ...]
    author: str | None
    path: str
    operations: tuple[str, ...]
    conditions: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """A file, or a rule in it, that cannot be read: where, and one line why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of some files.

    Attributes:
        rules: those about the registry, in the order of the files.
        others: log sources of other rules, such as "process_creation (windows)", and how many rules each has.
        broken: what could not be read.
        skipped: how many rules about the registry the level or the word left out.
    """

    rules: tuple[Rule, ...]
    others: dict[str, int]
    broken: tuple[Broken, ...]
    skipped: int = 0


def load_rules(
    paths: str | Path | Iterable[str | Path], *, level: str | None = None, rule: str | None = None
) -> Rules:
    """Return the rules of files, folders (with all folders below) and patterns of names, such as ``rules/**/*set*.yml``.

    Args:
        paths: where they are; a file that is named by several is read once.
        level: only rules of at least this level (LEVELS); one without a level is left out then.
        rule: only rules with this text in their title or id, in any case.

    Raises:
        UsageError: a path does not exist or holds no rule file, or the level is no level.
        RegtraceError: pySigma is not installed.
    """
    if level is not None and level.lower() not in LEVELS:
        raise UsageError(f"unknown level {level!r}; use one of {', '.join(LEVELS)}")
    files = _files([paths] if isinstance(paths, str | Path) else paths)
    parsed, filters, broken = _parsed(files)
    own: list[Rule] = []
    others: Counter[str] = Counter()
    for path, one in parsed:
        try:
            found = one if isinstance(one, str) else _rule(path, reduce(_sifted, filters, one))
        except _errors() as error:
            broken.append(Broken(str(path), f"{_title(one)}: {_line(error)}"))
            continue
        if isinstance(found, Rule):
            own.append(found)
        else:
            others[escape_argument(found)] += 1
    broken = [Broken(escape_argument(one.path), escape_argument(one.reason)) for one in broken]
    asked = [one for one in own if _is_asked(one, level, rule)]
    return Rules(tuple(asked), dict(others), tuple(broken), len(own) - len(asked))


def _is_asked(rule: Rule, level: str | None, word: str | None) -> bool:
    if level is not None and (rule.level is None or LEVELS.index(rule.level) < LEVELS.index(level.lower())):
        return False
    return word is None or word.casefold() in f"{rule.title}\n{rule.rule_id or ''}".casefold()


def _files(paths: Iterable[str | Path]) -> list[Path]:
    """Return the files that paths name, each once."""
    files: dict[Path, None] = {}
    for given in paths:
        path = Path(given)
        if path.is_dir():
            some = sorted(one for one in path.rglob("*") if one.suffix.lower() in _ENDINGS and one.is_file())
        elif path.is_file():
            some = [path]
        else:
            names = glob.glob(str(given), recursive=True)  # noqa: PTH207  (a pattern may be absolute)
            some = sorted(one for one in map(Path, names) if one.is_file())
            if not some:
                raise UsageError(
                    f"no Sigma rules at {given}: give a .yml file, a folder that holds some, or a pattern such as 'rules/**/*.yml'"
                )
        if not some:
            raise UsageError(f"the folder {given} holds no Sigma rules (files that end with .yml)")
        files.update(dict.fromkeys(some))
    if not files:
        raise UsageError("no Sigma rules were named; give a .yml file or a folder that holds some")
    return list(files)


def _parsed(
    files: Sequence[Path],
) -> tuple[list[tuple[Path, "SigmaRule | str"]], list[Any], list[Broken]]:
    """Return the rules of files as pySigma has them, or the kind of what is none; filters; and what cannot be read."""
    try:
        from sigma.collection import SigmaCollection
        from sigma.rule import SigmaRule
    except ImportError as error:
        raise RegtraceError(_NEEDS) from error
    found: list[tuple[Path, SigmaRule | str]] = []
    broken: list[Broken] = []
    filters: list[Any] = []
    for path in files:
        try:
            documents = list(_documents(path))
            collection = SigmaCollection.from_dicts(
                documents,
                collect_errors=True,
                collect_filters=True,
                resolve_references=False,
                policy=quiet_policy(),
            )
        except _errors() as error:
            broken.append(Broken(str(path), _line(error)))
            continue
        filters += collection.filters
        if not collection.rules and not collection.filters and not collection.errors:
            broken.append(Broken(str(path), "no rule: the file has neither logsource nor detection"))
        own = [
            error for error in collection.errors if not any(error in one.errors for one in collection.rules)
        ]
        broken += [Broken(str(path), _line(error)) for error in own]
        for one in collection.rules:
            if one.errors:
                broken.append(Broken(str(path), f"{_title(one)}: {_line(one.errors[0])}"))
            else:
                found.append((path, one if isinstance(one, SigmaRule) else "correlation of rules"))
    return found, filters, broken


def _documents(path: Path) -> Iterator[Any]:
    """Yield the YAML documents of a file.

    Raises:
        ValueError: it is too large, not text, or a document is no mapping.
    """
    import yaml
    from sigma.rule.base import (
        SigmaYAMLLoader,
    )  # libyaml's, ten times as fast as PyYAML's own; it refuses a key twice

    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from error
    if len(text) > _MOST_BYTES:
        raise ValueError(f"longer than {_MOST_BYTES >> 20} MiB, which no file of rules is")
    for document in yaml.load_all(text, SigmaYAMLLoader):
        if document is None:
            continue
        if not isinstance(document, dict):
            raise ValueError("not a rule: a rule is a mapping with title, logsource and detection")  # noqa: TRY004
        yield document


def _sifted(rule: Any, sift: Any) -> Any:  # noqa: ANN401  (pySigma's classes)
    """Return a rule with one of Sigma's filters added, where the filter is meant for it."""
    return sift.apply_on_rule(rule)


def _rule(path: Path, parsed: "SigmaRule") -> Rule | str:
    """Return a rule about the registry; of any other the name of its log source."""
    source = parsed.logsource
    category, service = source.category, source.service
    is_ours = source.product in (None, "windows") and (
        category in CATEGORIES or (category is None and service == "sysmon")
    )
    if not is_ours:
        name = category or service or source.product or "none"
        return f"{name} ({source.product})" if source.product and name != source.product else name
    conditions = tuple(compile_condition(one.parsed) for one in parsed.detection.parsed_condition)
    if category is None and not any(is_possible(one, number) for one in conditions for number in _SYSMON_IDS):
        return "other events of sysmon (windows)"
    return Rule(
        title=escape_argument(parsed.title or str(path)),
        rule_id=None if parsed.id is None else str(parsed.id),
        level=None if parsed.level is None else str(parsed.level),
        techniques=tuple(
            escape_argument(tag.name.upper())
            for tag in parsed.tags
            if tag.namespace == "attack" and tag.name[:1].lower() == "t" and tag.name[1:2].isdigit()
        ),
        author=None if parsed.author is None else escape_argument(str(parsed.author)),
        path=escape_argument(str(path)),
        operations=CATEGORIES[category or "registry_event"],
        conditions=conditions,
    )


def _title(rule: Any) -> str:  # noqa: ANN401  (pySigma's classes)
    return getattr(rule, "title", None) or "a rule without a title"


def _line(error: BaseException) -> str:
    """Return what an error says as one line."""
    problem = getattr(error, "problem", None)  # of YAML
    mark = getattr(error, "problem_mark", None)
    if problem:
        return f"not YAML: {problem}" + (f", line {mark.line + 1}" if mark else "")
    return " ".join(str(error).split()) or type(error).__name__


def _errors() -> tuple[type[Exception], ...]:
    """Return what reading a stranger's rule may raise."""
    import yaml
    from sigma.exceptions import SigmaError

    # pySigma looks into a mapping before it knows the kinds of its values
    return (
        SigmaError, yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError,
        UnicodeError,
    )  # fmt: skip
