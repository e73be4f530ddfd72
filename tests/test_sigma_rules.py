"""Files of Sigma rules: which are tried, which are about other logs, which are broken, and what is never done."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sigma_files import as_rule, write_rule

from analysis.rules.sigma_rules import load_rules
from tracer.errors import RegtraceError, UsageError

HEAD = "title: t\nlogsource: {category: registry_set, product: windows}\ndetection:\n  s: {Details: a}\n  condition: "
BROKEN = {
    "not YAML": "a: [",
    "no mapping": "- a\n- b\n",
    "nothing": "",
    "no text": "a\0b",
    "deep": "- " * 50_000 + "a",
    "deep condition": HEAD + "not " * 3000 + "s",
    "unfinished": HEAD + "s and",
    "no such part": HEAD + "q",
    "key twice": "title: a\n" + HEAD + "s",
    "no log source": "title: x\ndetection: {s: {a: b}, condition: s}",
    "unknown modifier": HEAD.replace("Details", "Details|foo") + "s",
    "bad expression": HEAD.replace("Details: a", "'Details|re': '(('") + "s",
    "kinds": "title: 5\nlevel: 7\ntags: 5\nid: zz\nlogsource: 5\ndetection: 7",
    "bomb": "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\n"
    "d: &d [*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d]\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_one_line_and_the_others_are_read(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    (tmp_path / "broken.yml").write_text(BROKEN[name])
    write_rule(tmp_path, as_rule("fine", {"Details": "x"}))
    found = load_rules(tmp_path)
    assert [rule.title for rule in found.rules] == ["fine"]
    assert [Path(one.path).name for one in found.broken] == ["broken.yml"]
    assert found.broken[0].reason
    assert found.broken[0].reason.isprintable()
    assert capfd.readouterr() == (
        "",
        "",
    )  # RE2 writes what it cannot read to standard error unless it is told not to


def test_rules_about_other_logs_are_counted_by_name(tmp_path: Path):
    rules = [
        as_rule("set", {"Details": "x"}),
        as_rule("sysmon", {"EventID": 13}, None),
        as_rule("process", {"Image": "x"}, "process_creation"),
        as_rule("security", {"EventID": 4657}, None),
        as_rule("linux", {"Details": "x"}),
    ]
    started = as_rule(
        "started", {"s": {"EventID": 1}, "t": {"EventID": [3, 22], "Image": "x"}, "condition": "s or t"}, None
    )
    negated = as_rule("not started", {"s": {"EventID": 1}, "condition": "not s"}, None)
    for rule in (rules[1], started, negated):
        rule["logsource"]["service"] = "sysmon"
    rules += [started, negated]
    rules[3]["logsource"]["service"] = "security"
    rules[4]["logsource"]["product"] = "linux"
    for rule in rules:
        write_rule(tmp_path, rule)
    (tmp_path / "more.yaml").write_text(
        "title: both\nname: a\nlogsource: {category: registry_add, product: windows}\ndetection: {s: {Image: x}, condition: s}\n"
        "---\ntitle: many\ncorrelation: {type: event_count, rules: [a], group-by: [Image], timespan: 1h, condition: {gte: 3}}\n"
    )
    found = load_rules(tmp_path)
    assert {rule.title: len(rule.operations) for rule in found.rules} == {
        "set": 1,
        "sysmon": 5,
        "not started": 5,
        "both": 1,
    }
    assert found.others == {
        "process_creation (windows)": 1,
        "security (windows)": 1,
        "registry_set (linux)": 1,
        "correlation of rules": 1,
        "other events of sysmon (windows)": 1,
    }
    assert not found.broken


def test_half_letters_in_a_rule_are_stored_as_those_of_names(tmp_path: Path):
    (tmp_path / "a.yml").write_text(
        'title: "t\\ud800"\nauthor: "\\0\\udfff"\nlogsource: {category: registry_set, product: windows}\n'
        'detection: {s: {"F\\ud800": a, "Details|contains": "\\ud800"}, condition: s}\n'
    )
    found = load_rules(tmp_path)
    said = [rule.title + (rule.author or "") for rule in found.rules] or [one.reason for one in found.broken]
    for text in said:
        text.encode("utf-8")


def test_paths_are_files_folders_and_patterns(tmp_path: Path):
    first = write_rule(tmp_path / "a" / "b", as_rule("one", {"Details": "x"}))
    write_rule(tmp_path / "a", as_rule("two", {"Details": "x"}))
    (tmp_path / "a" / "notes.txt").write_text("no rule")
    assert len(load_rules(tmp_path).rules) == 2
    assert len(load_rules([first, tmp_path, str(tmp_path / "**" / "*.yml")]).rules) == 2
    assert [rule.title for rule in load_rules(str(tmp_path / "a" / "*" / "*.yml")).rules] == ["one"]
    (tmp_path / "none").mkdir()
    for path, said in (
        (tmp_path / "none", "holds no Sigma rules"),
        (tmp_path / "absent", "no Sigma rules at"),
    ):
        with pytest.raises(UsageError, match=said):
            load_rules(path)
    with pytest.raises(UsageError, match="no Sigma rules were named"):
        load_rules([])


def test_a_level_and_a_word_choose_rules(tmp_path: Path):
    number = "11111111-2222-4333-8444-555555555555"
    write_rule(
        tmp_path,
        as_rule(
            "Évil run KEY",
            {"Details": "x"},
            level="high",
            id=number,
            tags=["attack.t1547.001", "attack.execution"],
        ),
    )
    write_rule(tmp_path, as_rule("mild", {"Details": "x"}, level="low"))
    write_rule(tmp_path, as_rule("none", {"Details": "x"}))
    assert [rule.title for rule in load_rules(tmp_path, level="Medium").rules] == ["Évil run KEY"]
    assert load_rules(tmp_path, level="medium").skipped == 2
    assert [rule.techniques for rule in load_rules(tmp_path, rule="run key").rules] == [("T1547.001",)]
    assert len(load_rules(tmp_path, rule=number[:8]).rules) == 1
    with pytest.raises(UsageError, match="unknown level"):
        load_rules(tmp_path, level="worst")


def test_without_pysigma_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_rule(tmp_path, as_rule("x", {"Details": "x"}))
    monkeypatch.setitem(sys.modules, "sigma.collection", None)
    with pytest.raises(RegtraceError, match=r"pip install 'regtrace\[sigma\]'"):
        load_rules(path)


def test_nothing_goes_to_the_network_and_no_library_for_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    path = write_rule(
        tmp_path, as_rule("x", {"Details": "x"}, tags=["attack.t1547.001", "attack.g0016", "d3fend.d3-am"])
    )
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert len(load_rules(path).rules) == 1
    program = (
        f"import sys; from analysis.rules.sigma_rules import load_rules; assert load_rules({str(path)!r}).rules; "
        "print([name for name in ('requests', 'urllib3', 'sigma.data.mitre_attack', 'sigma.plugins') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
