r"""HKCU and HKCR in and out: whose they are, who they are, and how tables and files show users' keys."""

import csv
from collections import Counter
from pathlib import Path

import pml_writer as pml
import pytest
from hand_capture import event, write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from procmon_oracle import csv_rows
from typer.testing import CliRunner

import regtrace as rt
from analysis.capture import Capture
from cli.app import app
from tracer.live.row_filter import RowFilter
from tracer.registry.paths import compile_pattern
from tracer.registry.text import fold_name
from tracer.registry.user_keys import as_current_user, compile_patterns, sid_of, user_root

LOG = "pml/pp-LogfileTests64bitUTC.pml"
ANN, BOB, EVE = (f"S-1-5-21-1-2-3-{number}" for number in (1001, 1002, 1003))
RUN = r"Software\Vendor\Run"
PROFILES = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList"


def told(key: str, value: str, text: str, **more: object) -> dict:
    data = text.encode("utf-16-le") + b"\0\0"
    return event("QueryValueKey", key, value, data_type=1, data_size=len(data), data=data, **more)


EVENTS = [
    told(rf"{PROFILES}\{ANN}", "ProfileImagePath", r"C:\Users\ann"),
    told(rf"HKU\{BOB}\Volatile Environment", "USERNAME", "Bob"),
    told(rf"{PROFILES}\{BOB}", "ProfileImagePath", r"C:\Users\bob.HOST"),
    *(
        event("SetValueKey", rf"HKU\{sid}\{RUN}", "v", data_type=3, data_size=1, data=b"1")
        for sid in (ANN, BOB)
    ),
    event("OpenKey", rf"HKU\S-1-5-18\{RUN}"),
    event("OpenKey", rf"HKU\.DEFAULT\{RUN}"),
    event("OpenKey", rf"HKU\{ANN}_Classes\.txt"),
    event("OpenKey", rf"HKU\{BOB}\Software\Classes\.txt"),
    event("OpenKey", r"HKLM\SOFTWARE\Classes\.txt"),
    event("OpenKey", rf"HKU\{BOB}X\{RUN}"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("users") / "two.regtrace", EVENTS)


@pytest.fixture(scope="module")
def two(folder: Path):
    with rt.open(folder) as capture:
        yield capture


def keys_of(capture: Capture, key: str, **filters: object) -> Counter[str]:
    return Counter(capture.timeline(key, **filters)["display_key"])


def test_users_have_the_names_that_the_capture_tells(two: Capture) -> None:
    users = {user.sid: user.name for user in two.context.users.users}
    assert users == {ANN: "ann", BOB: "Bob", "S-1-5-18": None, ".DEFAULT": None}
    assert [user.sid for user in two.context.users.people] == [ANN, BOB]


def test_hkcu_is_everybodys_and_a_name_or_sid_narrows(two: Capture) -> None:
    own = {sid: rf"HKU\{sid}\{RUN}" for sid in (ANN, BOB)}
    asked = rf"HKCU\{RUN}"
    assert keys_of(two, asked) == Counter(own.values())
    for word, sid in ((ANN.lower(), ANN), ("ANN", ANN), ("bob", BOB), (r"HOST\bob", BOB)):
        assert keys_of(two, asked, user=word) == Counter([own[sid]])
    assert (
        keys_of(two, rf"HKCU (Bob)\{RUN}")
        == keys_of(two, rf"hkey_current_user: ({BOB})\{RUN}")
        == Counter([own[BOB]])
    )
    assert set(two.timeline(asked)["key_user"]) == {"ann", "Bob"}
    assert (
        two.timeline(asked).attrs["users"] == f"HKCU is that of ann ({ANN}) and Bob ({BOB}); --user narrows"
    )


def test_hkcr_is_each_users_classes_and_the_machines(two: Capture) -> None:
    machine = r"HKLM\SOFTWARE\Classes\.txt"
    ann, bob = rf"HKU\{ANN}_Classes\.txt", rf"HKU\{BOB}\Software\Classes\.txt"
    assert keys_of(two, r"HKCR\.txt") == Counter([machine, ann, bob])
    assert keys_of(two, r"HKEY_CLASSES_ROOT\.txt", user="ann") == Counter([machine, ann])
    assert "before those of the machine" in two.timeline(r"HKCR\.txt").attrs["users"]


def test_accounts_of_windows_are_meant_only_where_there_is_nobody_else(tmp_path: Path) -> None:
    path = write_events(tmp_path / "own.regtrace", [event("OpenKey", rf"HKU\S-1-5-18\{RUN}")])
    with rt.open(path) as capture:
        rows = capture.timeline(rf"HKCU\{RUN}")
    assert rows["display_key"].tolist() == [rf"HKU\S-1-5-18\{RUN}"]
    assert "accounts of Windows, for nobody with a profile" in rows.attrs["users"]


@pytest.mark.parametrize(
    ("key", "user", "said"),
    [
        (rf"HKCU\{RUN}", "an", r"no user in two.regtrace is called an; did you mean ann\?"),
        (rf"HKCU\{RUN}", "nobody", rf"give ann \({ANN}\) or Bob"),
        (r"HKLM\SOFTWARE", "ann", "says whose HKCU or HKCR is meant"),
        (None, "ann", "says whose HKCU or HKCR is meant"),
        (rf"HKCU (eve)\{RUN}", None, "is called eve"),
    ],
)
def test_a_user_who_is_not_there_or_not_needed_is_refused(
    two: Capture, key: str, user: str, said: str
) -> None:
    with pytest.raises(rt.UsageError, match=said):
        two.timeline(key, user=user)


def test_a_name_of_two_users_is_refused_with_their_sids(tmp_path: Path) -> None:
    events = [told(rf"HKU\{sid}\Volatile Environment", "USERNAME", "ann") for sid in (ANN, BOB)]
    with rt.open(write_events(tmp_path / "a.regtrace", events)) as capture:
        with pytest.raises(rt.UsageError, match=f"several users are called ann: give one of {ANN}, {BOB}"):
            capture.timeline("HKCU", subtree=True, user="ann")
        assert set(capture.timeline("HKCU", subtree=True)["key_user"]) == {"ann"}


def test_in_a_dataset_each_capture_has_its_own_users(tmp_path: Path) -> None:
    one = [told(rf"{PROFILES}\{ANN}", "ProfileImagePath", r"C:\Users\ann"), event("OpenKey", rf"HKU\{ANN}\{RUN}"),
           event("OpenKey", rf"HKU\S-1-5-18\{RUN}")]  # fmt: skip
    other = [
        told(rf"{PROFILES}\{BOB}", "ProfileImagePath", r"C:\Users\ann"),
        event("OpenKey", rf"HKU\{BOB}\{RUN}"),
    ]
    system = [event("OpenKey", rf"HKU\S-1-5-18\{RUN}")]
    paths = {name: write_events(tmp_path / f"{name}.regtrace", events)
             for name, events in (("one", one), ("other", other), ("system", system))}  # fmt: skip
    with rt.open(paths) as fleet:
        rows = fleet.timeline(rf"HKCU\{RUN}")
        assert list(zip(rows["host"], rows["key_user"], strict=True)) == [
            ("one", "ann"), ("other", "ann"), ("system", "S-1-5-18")
        ]  # fmt: skip
        assert fleet.timeline(rf"HKCU\{RUN}", user="ann")["host"].tolist() == ["one", "other"]
        assert fleet.history(rf"HKCU\{RUN}", user="ann").empty


@pytest.mark.parametrize(
    "question", ["timeline", "history", "state", "changes", "who", "keys", "hot", "tree", "errors", "handles"]
)
def test_every_question_about_hkcu_is_the_one_about_its_users(two: Capture, question: str) -> None:
    more = {"who": {"each": True}}.get(question, {})
    asked = getattr(two, question)(rf"HKCU\{RUN}", **more)
    spelled = getattr(two, question)([rf"HKU\{sid}\{RUN}" for sid in (ANN, BOB)], **more)
    assert asked.equals(spelled)


below = st.sampled_from(
    [
        "",
        "\\Software",
        "\\**\\Run",
        "\\Software\\*\\Run",
        "\\Software\\Classes",
        "\\Software\\Classes\\.txt",
        "\\soft*",
    ]
)


@pytest.mark.slow
@settings(max_examples=25)
@given(below, st.booleans())
def test_hkcu_is_the_union_of_its_users_keys(two: Capture, rest: str, subtree: bool) -> None:
    asked = keys_of(two, f"HKCU{rest}", subtree=subtree)
    rows = two.timeline([f"HKU\\{sid}{rest}" for sid in (ANN, BOB)], subtree=subtree)
    assert asked == Counter(rows["display_key"])
    one_by_one = sum(
        (keys_of(two, f"HKCU{rest}", user=sid, subtree=subtree) for sid in (ANN, BOB)), Counter()
    )
    assert asked == one_by_one


@settings(max_examples=60)
@given(below, st.booleans(), st.sampled_from([ANN, BOB, EVE, "S-1-12-1-5-6-7-8", "S-1-5-18", f"{ANN}X"]),
       st.sampled_from(["", "_Classes", "_Classes\\.txt", "\\Software\\Vendor\\Run", "\\Software\\Classes\\.txt", "\\Software"]))  # fmt: skip
def test_without_a_capture_hkcu_is_everybodys_with_a_profile(
    rest: str, subtree: bool, sid: str, key: str
) -> None:
    path = f"\\REGISTRY\\USER\\{sid}{key}"
    everybody = any(one.matches(path) for one in compile_patterns(f"HKCU{rest}", subtree=subtree))
    own = compile_pattern(f"HKU\\{sid}{rest}", subtree=subtree).matches(path)
    assert everybody == (own and sid.startswith(("S-1-5-21-", "S-1-12-1-")) and not sid.endswith("X"))


def test_live_rows_take_a_sid_and_refuse_a_name() -> None:
    RowFilter(key=rf"HKCU\{RUN}")
    RowFilter(key=rf"HKCU\{RUN}", user=ANN)
    with pytest.raises(rt.UsageError, match="tell users by their SIDs only"):
        RowFilter(key=rf"HKCU\{RUN}", user="ann")
    with pytest.raises(rt.UsageError, match="no key begins with these"):
        RowFilter(key=r"HKLM\SOFTWARE", user=ANN)


def test_a_replay_knows_the_users_of_its_capture(folder: Path, two: Capture) -> None:
    for source in (folder, two):
        assert [one.key.split("\\")[3] for one in rt.replay(source, key=rf"HKCU\{RUN}", user="bob")] == [BOB]
        assert len(list(rt.replay(source, key=rf"HKCU\{RUN}"))) == 2


@pytest.mark.parametrize("text", ["HKCUX\\a", "HKLM\\HKCU", "HKCU (a\\b)\\c", "HKU\\x", "HKCU(ann)\\x"])
def test_other_roots_are_no_users(text: str) -> None:
    assert user_root(text) is None


@pytest.mark.slow
@given(st.text(st.characters(exclude_characters="\\", codec="utf-8"), min_size=1), st.text(min_size=1))
def test_a_key_as_a_table_shows_it_is_understood_again(name: str, rest: str) -> None:
    shown = as_current_user(rf"HKU\{ANN}_Classes\{rest}", f"HKCU ({name})")
    root = user_root(f'"{shown}"'.replace('""', '"'))
    assert shown.startswith(f"HKCU ({name})\\Software\\Classes\\")
    assert '"' in name + rest or (root is not None and root.user == name)


@pytest.mark.slow
def test_the_old_name_of_the_filter_works_and_warns(two: Capture) -> None:
    for ask in (two.timeline, two.history):
        with pytest.warns(DeprecationWarning, match="'user_sid' is now called 'user'") as caught:
            rows = ask(rf"HKCU\{RUN}", user_sid=ANN)
        assert caught[0].filename == __file__
        assert set(rows["key_user"]) == {"ann"}
    with pytest.warns(DeprecationWarning, match="'user_sid'"):
        assert rt.Filters(user_sid=ANN).user == ANN


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
def test_a_table_says_whose_key_is_whose_and_a_file_keeps_the_sid(folder: Path) -> None:
    table = run("timeline", str(folder), "--key", rf"HKCU\{RUN}")
    assert rf"HKCU (ann)\{RUN}" in table
    assert rf"HKCU (Bob)\{RUN}" in table
    one = run("timeline", str(folder), "--key", rf"HKCU\{RUN}", "--user", "ann")
    assert rf"HKCU\{RUN}" in one
    assert ANN in one  # whose it is
    lines = run("-q", "timeline", str(folder), "--key", rf"HKCU\{RUN}", "-f", "csv").splitlines()
    rows = list(csv.DictReader(lines))
    assert [(row["display_key"], row["key_user"]) for row in rows] == [
        (rf"HKU\{ANN}\{RUN}", "ann"), (rf"HKU\{BOB}\{RUN}", "Bob")
    ]  # fmt: skip


def test_a_name_cannot_draw_on_the_terminal(tmp_path: Path) -> None:
    evil = "a\x1b[2J\u202eb"
    events = [told(rf"HKU\{sid}\Volatile Environment", "USERNAME", evil + sid[-1]) for sid in (ANN, BOB)]
    path = write_events(tmp_path / "a.regtrace", events)
    shown = run("timeline", str(path), "--key", "HKCU", "--subtree")
    assert "\x1b" not in shown
    assert "\u202e" not in shown


@pytest.mark.slow
def test_tables_spell_every_key_of_hkcu_as_procmon_does(corpus: Path, procmon_capture: Path) -> None:
    theirs = [row["Path"] for row in csv_rows(corpus / LOG.replace(".pml", ".csv.gz"))]
    with rt.open(procmon_capture) as capture:
        users = capture.context.users
        assert [user.name for user in users.people] == ["test"]
        rows = capture.timeline(columns=["display_key", "value_name", "key_user", "operation"])
        spell = users.spelling(rt.Filters())
        asked = capture.timeline("HKCU", subtree=True)
    # Procmon repeats the letters' case and the last backslash that each caller gave; a key here has one spelling.
    ours = []
    of_values = ("QueryValueKey", "SetValueKey", "DeleteValueKey")
    for row in rows.itertuples():
        value = "\\" + (row.value_name or "(Default)") if row.operation in of_values else ""
        ours.append(spell(row.display_key) + value)
    hkcu = [path for path in theirs if path.split("\\")[0] == "HKCU"]
    assert Counter(fold_name(path) for path in ours if path.split("\\")[0] == "HKCU") == Counter(
        fold_name(path.rstrip("\\")) for path in hkcu
    )
    assert len(asked) == len(hkcu) > 10_000
    assert set(asked["key_user"]) == {"test"}


def test_hkcu_of_a_log_that_says_whose_it_is(tmp_path: Path) -> None:
    procmon = pml.Process(8, pid=99, texts=("High", "HOST\\ann", "Procmon64.exe", "C:\\Procmon64.exe", "p"))
    log = pml.write_log(
        [pml.answered("HKCU\\Software", f"\\REGISTRY\\USER\\{ANN}\\Software"), pml.opened(f"HKCU\\{RUN}", time=5),
         pml.opened("HKLM\\SOFTWARE", time=6, process=8)],
        (pml.Process(), procmon),
    )  # fmt: skip
    (tmp_path / "a.pml").write_bytes(log.raw)
    rt.ingest(tmp_path / "a.pml", tmp_path / "a.regtrace")
    with rt.open(tmp_path / "a.regtrace") as capture:
        rows = capture.timeline(rf"HKCU\{RUN}")
        assert rows["key_user"].tolist() == ["ann"]
        assert sid_of(rows["display_key"][0]) == ANN
