"""Procmon's registry operations, by number, under the provider's names."""

__all__ = ["OPERATIONS", "VALUE_OPERATIONS"]

# By the number in the event: (Procmon's name, the name in tracer.registry.operations).
OPERATIONS = (
    ("RegOpenKey", "OpenKey"),
    ("RegCreateKey", "CreateKey"),
    ("RegCloseKey", "CloseKey"),
    ("RegQueryKey", "QueryKey"),
    ("RegSetValue", "SetValueKey"),
    ("RegQueryValue", "QueryValueKey"),
    ("RegEnumValue", "EnumerateValueKey"),
    ("RegEnumKey", "EnumerateKey"),
    ("RegSetInfoKey", "SetInformationKey"),
    ("RegDeleteKey", "DeleteKey"),
    ("RegDeleteValue", "DeleteValueKey"),
    ("RegFlushKey", "FlushKey"),
    ("RegLoadKey", "LoadKey"),
    ("RegUnloadKey", "UnloadKey"),
    ("RegRenameKey", "RenameKey"),
    ("RegQueryMultipleValueKey", "QueryMultipleValueKey"),
    ("RegSetKeySecurity", "SetSecurityKey"),
    ("RegQueryKeySecurity", "QuerySecurityKey"),
)

# RegSetValue, RegQueryValue, RegDeleteValue: their path ends with the value's name.
VALUE_OPERATIONS = frozenset({4, 5, 10})
