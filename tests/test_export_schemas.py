"""ECS and OCSF: each record fits a check of our own, the published definitions where they are at hand, and its row."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from export_rows import VENDOR, rows_of, write_export_capture
from export_schemas import ECS, OCSF_KEY, OCSF_VALUE
from jsonschema import Draft202012Validator

from analysis.export.ocsf_words import ACTIVITIES
from analysis.open import open_capture
from tracer.registry.ntstatus import is_failure
from tracer.registry.values import type_name

Record = dict[str, Any]
USERS = {
    "PC\\ann": {"domain": "PC", "name": "ann"},
    "S-1-5-18": {"id": "S-1-5-18"},
    "bob": {"name": "bob"},
    None: None,
}
Made = tuple[list[Record], list[Record]]  # notices, events


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_export_capture(tmp_path_factory.mktemp("schemas") / "host.regtrace")


@pytest.fixture(scope="module")
def rows(capture: Path) -> list[Record]:
    return rows_of(capture)


@pytest.fixture(scope="module")
def ecs(capture: Path) -> Made:
    path = capture.parent / "ecs.ndjson"
    with open_capture(capture) as opened:
        opened.export(path, to="ecs", index="traces")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines[::2] == [{"create": {"_index": "traces"}}] * (len(lines) // 2)
    kinds = {"state": [], "event": []}
    for one in lines[1::2]:
        kinds[one["event"]["kind"]].append(one)
    return kinds["state"], kinds["event"]


@pytest.fixture(scope="module")
def ocsf(capture: Path) -> Made:
    path = capture.parent / "ocsf.jsonl"
    with open_capture(capture) as opened:
        opened.export(path, to="ocsf")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    notices = [one for one in lines if one["activity_name"].startswith("regtrace ")]
    return notices, lines[len(notices) :]


def content_of_row(row: Record, prefix: str = "") -> Any:
    """Return what a value holds, by its type: a list of texts, a number, or bytes; None where nothing was captured."""
    kind, data, size = (
        row[f"{prefix}{name}"]
        for name in (("type", "data", "size") if prefix else ("data_type", "data", "data_size"))
    )
    data = b"" if data is None and size == 0 else data
    if data is None:
        return None
    if kind in (4, 5, 11) and len(data) == (8 if kind == 11 else 4):
        return int.from_bytes(data, "big" if kind == 5 else "little")
    if kind in (1, 2, 6, 7):
        text = data[: len(data) // 2 * 2].decode("utf-16-le", "surrogatepass")
        if kind != 7:
            return [text.removesuffix("\0")]
        return [part for part in text.rstrip("\0").split("\0") if part]
    return data


def test_ecs_documents_fit_their_check_and_their_rows(ecs: Made, rows: list[Record]) -> None:
    check = Draft202012Validator(ECS)
    notices, events = ecs
    for one in (*notices, *events):
        check.validate(one)
    assert len(events) == len(rows)
    for made, row in zip(events, rows, strict=True):
        registry = made.get("registry", {})
        assert registry.get("value") == row["value_name"]
        if row["display_key"] is None:
            assert "path" not in registry
        else:
            whole = [row["display_key"], *([] if row["value_name"] is None else [row["value_name"]])]
            assert registry["path"] == "\\".join(whole)
            parts = [registry["hive"]] if "hive" in registry else []
            assert "\\".join([*parts, registry["key"]]) == row["display_key"]
        for found, prefix in (
            (registry.get("data", {}), ""),
            (made["regtrace"].get("previous", {}), "previous_"),
        ):
            _same_data(found, row, prefix)
        status = row["status"]
        expected = "unknown" if status is None else "failure" if is_failure(status) else "success"
        assert made["event"]["outcome"] == expected
        assert made["event"].get("duration") == row["duration_ns"]
        process = made.get("process", {})
        assert (process.get("pid"), process.get("name")) == (row["pid"], row["process"])
        assert process.get("command_line") == row["command_line"]
        assert made.get("user") == USERS[row["user"]]
        if row["process"] == "reader.exe":
            assert process["parent"] == {"pid": 100, "name": "a.exe", "executable": "C:\\a.exe"}
    assert {one["event"]["action"] for one in notices} == {
        "regtrace-loss",
        "regtrace-blind",
        "regtrace-doubt",
    }


def _same_data(found: Record, row: Record, prefix: str) -> None:
    kind = row["previous_type"] if prefix else row["data_type"]
    assert found.get("type") == (None if kind is None else type_name(kind))
    content = content_of_row(row, prefix)
    if isinstance(content, int):
        assert found["strings"] == [str(content)]
        assert "bytes" not in found
    elif isinstance(content, list):
        assert found["strings"] == content
    elif content is not None:
        assert b64decode(found["bytes"]) == content
        assert "strings" not in found
    else:
        assert found.keys() <= {"type"}
    if isinstance(content, list) and "bytes" in found:  # the strings do not give the bytes back
        assert b64decode(found["bytes"]) == (row[f"{prefix}data"] or b"")


def test_what_ecs_strings_do_not_say_stands_there_in_bytes(ecs: Made) -> None:
    by_value = {one["registry"]["value"]: one["registry"]["data"] for one in ecs[1]
                if one["event"]["action"] == "SetValueKey" and one["registry"].get("value", "").startswith("v")
                and "data" in one["registry"]}  # fmt: skip
    assert by_value["v1"] == {"type": "REG_SZ", "strings": ["text"]}
    assert b64decode(by_value["v2"]["bytes"]) == "no end".encode("utf-16-le")
    assert by_value["v11"] == {"type": "REG_MULTI_SZ", "strings": ["a", "b, c"]}


def test_ocsf_records_fit_their_check_and_their_rows(ocsf: Made, rows: list[Record]) -> None:
    checks = {201001: Draft202012Validator(OCSF_KEY), 201002: Draft202012Validator(OCSF_VALUE)}
    notices, events = ocsf
    assert len(events) == len(rows)
    for made, row in zip(events, rows, strict=True):
        uid = made["class_uid"]
        assert made["type_uid"] == uid * 100 + made["activity_id"]
        assert made["time"] == row["time_ns"] // 1_000_000
        assert made["unmapped"]["time_ns"] == row["time_ns"]
        if uid == 0:
            assert row["display_key"] is None
            continue
        checks[uid].validate(made)
        if uid == 201001:
            assert made["activity_name"] in (*ACTIVITIES[uid].values(), row["operation"])
            assert made["reg_key"]["path"] == (
                f"{VENDOR}\\Newer" if "prev_reg_key" in made else row["display_key"]
            )
            continue
        value, before = made["reg_value"], made.get("prev_reg_value")
        assert (value["name"], value["path"]) == (row["value_name"], row["display_key"])
        assert value.get("is_default") == (True if row["value_name"] == "" else None)
        assert _typed(value) == content_of_row(row)
        assert (before is None) == (row["previous_type"] is None and row["previous_size"] is None)
        if before is not None:
            assert _typed(before) == content_of_row(row, "previous_")
        names = {"id": "uid"}
        user = (
            None
            if row["user"] is None
            else {names.get(key, key): name for key, name in USERS[row["user"]].items()}
        )
        assert made["actor"].get("user") == user
        if row["process"] is None:
            assert made["actor"] == {"app_name": "unknown"}
        else:
            assert made["actor"]["process"]["name"] == row["process"]
    renamed = [one for one in events if "prev_reg_key" in one]
    assert [one["prev_reg_key"]["path"] for one in renamed] == [f"{VENDOR}\\Old"]
    assert {one["unmapped"]["notice"] for one in notices} == {"loss", "blind", "doubt"}


def _typed(value: Record) -> Any:
    if "reg_integer_data" in value:
        return value["reg_integer_data"]
    if "reg_string_data" in value:
        return [value["reg_string_data"]]
    if "reg_string_list_data" in value:
        return value["reg_string_list_data"]
    if "reg_binary_data" in value:
        octets = b64decode(value["reg_binary_data"])
        return int.from_bytes(octets, "little") if value["type_id"] == 8 and len(octets) == 8 else octets
    return None


def test_ocsf_activities_say_what_was_done(ocsf: Made, rows: list[Record]) -> None:
    said = {(row["operation"], row["value_name"], row["disposition"], row["status"]): one["activity_name"]
            for one, row in zip(ocsf[1], rows, strict=True)}  # fmt: skip
    assert said["CreateKey", None, 1, 0] == "Create"
    assert said["CreateKey", None, 2, 0] == "CreateKey"  # it opened the key
    assert said["CreateKey", None, None, None] == "Unknown"
    assert said["DeleteValueKey", "", None, 0] == "Delete"
    assert said["QueryValueKey", "", None, 0] == "Get"
    assert said["SetValueKey", "", None, 0] == "Set"
    assert said["SetValueKey", "v1", None, 0] == "Modify"  # the record tells what was there before
    assert said["OpenKey", "", None, 0] == "OpenKey"
    assert said["SetSecurityKey", None, None, None] == "Set Security"


@pytest.fixture(scope="module")
def schemas(corpus: Path) -> Path:
    if not (corpus / "schemas").is_dir():
        pytest.skip("no definitions of ECS and OCSF (../shared/corpus/schemas)")
    return corpus / "schemas"


def test_ecs_fields_are_those_of_its_definitions(schemas: Path, ecs: Made) -> None:
    yaml = pytest.importorskip("yaml")
    fields: dict[str, Record] = {"ecs.version": {"type": "keyword"}}
    for name in ("base", "event", "registry", "process", "user", "host"):
        group = yaml.safe_load((schemas / "ecs" / f"{name}.yml").read_text(encoding="utf-8"))[0]
        prefix = "" if group.get("root") else f"{name}."
        for field in group["fields"]:
            fields[prefix + field["name"]] = field
            if name == "process":
                fields[f"process.parent.{field['name']}"] = field
    kinds = {"keyword": str, "wildcard": str, "match_only_text": str, "date": str, "long": int}
    seen = set()
    for made in (*ecs[0], *ecs[1]):
        for name, value in _leaves({key: part for key, part in made.items() if key != "regtrace"}):
            definition = fields[name]
            values = value if isinstance(value, list) else [value]
            assert isinstance(value, list) == ("array" in definition.get("normalize", [])), name
            assert all(type(one) is kinds[definition["type"]] for one in values), name
            allowed = [one["name"] for one in definition.get("allowed_values", [])]
            assert not allowed or set(values) <= set(allowed), name
            seen.add(name)
    assert {"registry.data.strings", "registry.data.bytes", "process.thread.id", "event.start"} <= seen


def _leaves(part: Record, prefix: str = "") -> Any:
    for name, value in part.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


class Ocsf:
    """The definitions of OCSF, as they are published."""

    def __init__(self, folder: Path) -> None:
        win = folder / "extensions" / "windows"
        self._files = {path.stem: json.loads(path.read_text(encoding="utf-8"))
                       for path in (*folder.rglob("objects/*.json"), *folder.rglob("events/**/*.json"))}  # fmt: skip
        self._by_name = {one["name"]: one for one in self._files.values() if "name" in one}
        self._types = {name: one.get("type") for path in (folder, win)
                       for name, one in json.loads((path / "dictionary.json").read_text(encoding="utf-8"))["attributes"].items()}  # fmt: skip
        self._enums = {name: one.get("enum", {}) for name, one in
                       json.loads((folder / "dictionary.json").read_text(encoding="utf-8"))["attributes"].items()}  # fmt: skip

    def attributes(self, name: str) -> tuple[Record, list[str]]:
        """Return the attributes of a class or an object with those of its parents, and of which one must be there."""
        found = self._by_name.get(name)
        if found is None:
            return {}, []
        above, one_of = self.attributes(found["extends"]) if found.get("extends") else ({}, [])
        own = {
            key: above.get(key, {}) | one
            for key, one in found["attributes"].items()
            if not key.startswith("$")
        }
        constraints = found.get("constraints")
        return above | own, one_of if constraints is None else constraints.get("at_least_one", [])

    def check(self, made: Record, name: str, more: tuple[str, ...] = ()) -> None:
        """Assert that an object is one of that name; `more` are attributes of its profiles."""
        attributes, one_of = self.attributes(name)
        required = {key for key, one in attributes.items() if one.get("requirement") == "required"}
        assert required <= made.keys(), (name, required - made.keys())
        assert made.keys() <= attributes.keys() | set(more), (name, made.keys() - attributes.keys())
        assert not one_of or made.keys() & set(one_of), (name, made)
        for key, value in made.items():
            allowed = attributes.get(key, {}).get("enum", {}) | self._enums.get(key, {})
            if key.endswith("_id") and allowed:
                assert str(value) in allowed, (name, key, value)
            kind = self._types.get(key) or "string_t"
            if kind in self._by_name and key not in ("unmapped", "extensions"):
                self.check(value, kind)
            elif kind in ("integer_t", "long_t", "timestamp_t"):
                assert type(value) is int, (name, key)
            elif kind == "boolean_t":
                assert type(value) is bool, (name, key)
            elif kind.endswith("_t") and not isinstance(value, list):
                assert type(value) is str, (name, key)


def test_ocsf_records_are_those_of_its_definitions(schemas: Path, ocsf: Made) -> None:
    definitions = Ocsf(schemas / "ocsf")
    names = {0: "base_event", 201001: "registry_key_activity", 201002: "registry_value_activity"}
    assert "reg_value" in definitions.attributes("registry_value_activity")[0]
    for made in (*ocsf[0], *ocsf[1]):
        profiles = made["metadata"].get("profiles", [])
        definitions.check(made, names[made["class_uid"]], ("actor", "device") if "host" in profiles else ())
    captions = {uid: {key: one["caption"] for key, one in definitions.attributes(name)[0]["activity_id"]["enum"].items()}
                for uid, name in names.items()}  # fmt: skip
    for uid, activities in ACTIVITIES.items():
        listed = {str(number): caption for number, caption in activities.items() if number}
        assert listed.items() <= captions[uid].items()
