"""What ECS, OCSF, Elastic's bulk interface and Splunk require of a record: a small check that needs no file of theirs."""

from typing import Any

__all__ = ["ECS", "OCSF_KEY", "OCSF_VALUE"]


def _object(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


_TEXT, _LONG = {"type": "string"}, {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
_TEXTS = {"type": "array", "items": _TEXT}
_BASE64 = {"type": "string", "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"}
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"}
_DATA = _object(
    (), type={"type": "string", "pattern": "^(REG_[A-Z_]+|0x[0-9A-F]+)$"}, strings=_TEXTS, bytes=_BASE64
)
_PROCESS = {"pid": _LONG, "name": _TEXT, "executable": _TEXT, "command_line": _TEXT, "start": _TIME}
ECS = _object(
    ("@timestamp", "ecs", "message", "event", "regtrace"),
    **{
        "@timestamp": _TIME,
        "ecs": _object(("version",), version={"type": "string", "pattern": r"^9\.\d+\.\d+$"}),
        "message": _TEXT,
        "event": _object(
            ("kind", "action", "module", "dataset"),
            kind={"enum": ["event", "state"]},
            category={"const": ["registry"]},
            type={
                "type": "array",
                "items": {"enum": ["access", "change", "creation", "deletion"]},
                "minItems": 1,
            },
            action=_TEXT,
            outcome={"enum": ["success", "failure", "unknown"]},
            code=_TEXT,
            provider=_TEXT,
            module=_TEXT,
            dataset=_TEXT,
            duration=_LONG,
            sequence=_LONG,
            start=_TIME,
            end=_TIME,
        ),
        "registry": _object(
            (),
            hive={"enum": ["HKLM", "HKU", "HKCU", "HKCR", "HKCC"]},
            key=_TEXT,
            value=_TEXT,
            path=_TEXT,
            data=_DATA,
        ),
        "process": _object((), **_PROCESS, thread=_object(("id",), id=_LONG), parent=_object((), **_PROCESS)),
        "user": _object((), id={"type": "string", "pattern": "^S-1-"}, name=_TEXT, domain=_TEXT),
        "host": _object(("name",), name=_TEXT),
        "regtrace": {"type": "object"},
    },
)
_OCSF_VALUE = _object(
    ("name", "path"),
    name=_TEXT,
    path=_TEXT,
    is_default={"const": True},
    type=_TEXT,
    type_id={"enum": [1, 2, 3, 4, 5, 6, 7, 8, 10, 99]},
    reg_string_data=_TEXT,
    reg_string_list_data=_TEXTS,
    reg_integer_data=_LONG,
    reg_binary_data=_BASE64,
)


def _ocsf(class_uid: int, activities: tuple[int, ...], *required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [
            "class_uid", "category_uid", "activity_id", "type_uid", "severity_id", "time", "metadata", "device", "actor",
            *required,
        ],
        "properties": {
            "class_uid": {"const": class_uid},
            "category_uid": {"const": 1},
            "activity_id": {"enum": [*activities, 0, 99]},
            "type_uid": {"enum": [class_uid * 100 + one for one in (*activities, 0, 99)]},
            "severity_id": {"const": 1},
            "time": _LONG,
            "status_id": {"enum": [0, 1, 2]},
            "status_code": {"type": "string", "pattern": "^0x[0-9A-F]{8}$"},
            "metadata": {"type": "object", "required": ["version", "product"]},
            "device": {"type": "object", "required": ["type_id"]},
            "actor": {"type": "object", "minProperties": 1},
            **properties,
        },
    }  # fmt: skip


_KEY = _object(("path",), path=_TEXT)
OCSF_KEY = _ocsf(201001, tuple(range(1, 10)), "reg_key", reg_key=_KEY, prev_reg_key=_KEY, reg_value=False)
OCSF_VALUE = _ocsf(
    201002, (1, 2, 3, 4), "reg_value", reg_value=_OCSF_VALUE, prev_reg_value=_OCSF_VALUE, reg_key=False
)
