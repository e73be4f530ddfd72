"""Where hives stand: told by what they hold, by the path that Windows loaded them from, or by the user; never guessed."""

import lzma
from pathlib import Path

import hive_writer
import pytest
from hive_writer import Key

from tracer.baseline.capture_tables import open_baseline
from tracer.errors import UsageError

SID = "S-1-5-21-1-2-3-1001"
REAL = {
    "BCD": r"\REGISTRY\MACHINE\BCD00000000",
    "SAM": r"\REGISTRY\MACHINE\SAM",
    "SECURITY": r"\REGISTRY\MACHINE\SECURITY",
    "SYSTEM_B": r"\REGISTRY\MACHINE\SYSTEM",
    "UsrClass.dat": r"\REGISTRY\USER\S-1-5-21-2734969515-1644526556-1039763013-1001_Classes",
}


def write(path: Path, *keys: str, name: str = "", root: str = "ROOT", values: tuple = ()) -> Path:
    key = Key(root)
    for one in keys:
        key.below(one)
    for place, *value in values:
        key.below(place).values.append(tuple(value))
    path.write_bytes(hive_writer.hive(key, name=name))
    return path


def user_hive(path: Path, name: str) -> Path:
    return write(path, "Control Panel\\Desktop", "Software\\Microsoft", name=name)


def software(path: Path, *profiles: tuple[str, str]) -> Path:
    place = r"Microsoft\Windows NT\CurrentVersion\ProfileList"
    values = tuple(
        (f"{place}\\{sid}", "ProfileImagePath", 2, (folder + "\0").encode("utf-16-le"))
        for sid, folder in profiles
    )
    return write(path, place, "Classes", values=values)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_hives_say_where_they_stand(corpus, tmp_path, name):
    path = tmp_path / "hive"
    path.write_bytes(lzma.decompress((corpus / "hives" / f"{name}.xz").read_bytes()))
    found = open_baseline([path])
    assert found.hives[0].mount == REAL[name]
    assert found.control_set == (1 if name == "SYSTEM_B" else None)


def test_a_users_hive_is_known_by_the_profile_list_of_the_machine(tmp_path):
    user = user_hive(tmp_path / "NTUSER.DAT", r"?\C:\Users\tony\ntuser.dat")
    machine = software(
        tmp_path / "SOFTWARE", (SID, r"C:\Users\tony"), ("S-1-5-18", r"%systemroot%\system32\tony")
    )
    assert [one.mount for one in open_baseline([user, machine]).hives] == [
        rf"\REGISTRY\USER\{SID}",
        r"\REGISTRY\MACHINE\SOFTWARE",
    ]


@pytest.mark.parametrize(
    ("name", "profiles"),
    [
        ("", [(SID, r"C:\Users\tony")]),  # saved, never loaded
        (r"ony\ntuser.dat", [(SID, r"C:\Users\tony")]),  # cut
        (r"?\C:\Users\other\ntuser.dat", [(SID, r"C:\Users\tony")]),
        (r"?\C:\Users\tony\ntuser.dat", [(SID, r"C:\Users\tony"), (SID + "0", r"D:\Users\tony")]),
    ],
)
def test_a_users_hive_that_is_not_proved_to_be_somebodys_is_asked_for(tmp_path, name, profiles):
    user = user_hive(tmp_path / "NTUSER.DAT", name)
    machine = software(tmp_path / "SOFTWARE", *profiles)
    with pytest.raises(UsageError, match="PATH=KEY") as raised:
        open_baseline([user, machine])
    assert str(user) in str(raised.value)
    assert "\n" not in str(raised.value)
    for key in (SID, rf"HKU\{SID}"):
        assert open_baseline([f"{user}={key}"]).hives[0].mount == rf"\REGISTRY\USER\{SID}"


@pytest.mark.parametrize(
    ("name", "sid"),
    [
        (r"\SystemRoot\System32\Config\DEFAULT", ".DEFAULT"),
        (r"erviceProfiles\LocalService\NTUSER.DAT", "S-1-5-19"),
        (r"viceProfiles\NetworkService\NTUSER.DAT", "S-1-5-20"),
    ],
)
def test_hives_of_windows_own_accounts_are_known_by_their_path(tmp_path, name, sid):
    path = user_hive(tmp_path / "hive", name)
    assert open_baseline([path]).hives[0].mount == rf"\REGISTRY\USER\{sid}"


def test_other_hives_and_impossible_keys_are_refused(tmp_path):
    odd = write(tmp_path / "odd", "A")
    with pytest.raises(UsageError, match="nothing in this hive says"):
        open_baseline([odd])
    assert open_baseline([f"{odd}=HKLM\\ODD"]).hives[0].mount == r"\REGISTRY\MACHINE\ODD"
    for word, match in ((f"{odd}=nonsense", "neither a registry path"), (f"{odd}=HKLM", "no hive stands")):
        with pytest.raises(UsageError, match=match):
            open_baseline([word])
    with pytest.raises(UsageError, match="both stand at"):
        open_baseline([f"{odd}=HKLM\\A", f"{write(tmp_path / 'b', 'A')}=hklm\\a"])


def test_the_keys_of_a_hive_are_named_by_the_link_to_the_current_control_set_too(tmp_path):
    path = write(
        tmp_path / "SYSTEM",
        "ControlSet001\\Services\\X",
        "ControlSet0010",
        "Setup",
        values=(("Select", "Current", 4, b"\1\0\0\0"),),
    )
    found = open_baseline([path])
    system = r"\REGISTRY\MACHINE\SYSTEM"
    linked = {one.removeprefix(system) for one in found.paths() if "Current" in one}
    assert linked == {f"\\CurrentControlSet{end}" for end in ("", "\\Services", "\\Services\\X")}
    assert list(found.whole_roots()) == [system]


def test_a_file_whose_name_has_an_equals_sign_is_a_file(tmp_path):
    path = write(tmp_path / "a=HKLM", "Select", "Setup")
    assert open_baseline([path]).hives[0].mount == r"\REGISTRY\MACHINE\SYSTEM"


@pytest.mark.parametrize(("data", "number"), [(b"\2\0\0\0", 2), (b"\0\0\0\0", None), (b"\2\0", None)])
def test_the_control_set_is_the_one_that_was_selected(tmp_path, data, number):
    path = write(tmp_path / "SYSTEM", "Select", "Setup", values=(("Select", "Current", 4, data),))
    assert open_baseline([path]).control_set == number
