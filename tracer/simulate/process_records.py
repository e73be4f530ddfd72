"""Process records: starts, ends and rundowns, as Microsoft-Windows-Kernel-Process and the classic class write them."""

from tracer.decode.layouts import LAYOUTS
from tracer.etl.providers import CLASSIC_PROCESS, KERNEL_PROCESS
from tracer.simulate.actors import Process
from tracer.simulate.container import Clock
from tracer.simulate.headers import build_record
from tracer.simulate.payloads import encode_payload

__all__ = ["classic_process_record", "kernel_process_record"]

_CLASSIC_GROUP, _CLASSIC_VERSION = 3, 4
_CLASSIC_OPCODES = {"start": 1, "stop": 2, "rundown": 3, "final rundown": 4}
_KERNEL_EVENTS = {"start": (1, 3, 1), "stop": (2, 2, 2), "rundown": (15, 1, 0)}  # id, version, opcode
_KEYWORD, _CHANNEL, _INFORMATION_LEVEL = 0x10, 0x10, 4
_ANALYTIC_BIT = 1 << 63
_SYSTEM_PID = 4
_STILL_ACTIVE = 0x103


def classic_process_record(process: Process, what: str, ticks: int, pointer_size: int) -> bytes:
    """Return a record of the NT Kernel Logger's process class, which carries the command line and the user.

    Args:
        process: the process.
        what: start, stop, rundown or final rundown.
        ticks: raw time stamp.
        pointer_size: 8 or 4.
    """
    opcode = _CLASSIC_OPCODES[what]
    mask = (1 << 8 * pointer_size) - 1
    values = {
        "UniqueProcessKey": (0xFFFFA40C00000000 + process.sequence * 0x600) & mask,
        "ProcessId": process.pid, "ParentId": process.parent, "SessionId": process.session,
        "ExitStatus": 0 if what == "stop" else _STILL_ACTIVE, "UserSID": process.sid,
        "ImageFileName": process.image,
        "CommandLine": process.command_line or f'"C:\\Windows\\System32\\{process.image}" -k',
    }  # fmt: skip
    layout = LAYOUTS[(CLASSIC_PROCESS, opcode, _CLASSIC_VERSION)]
    pid = process.parent if what == "start" else process.pid if what == "stop" else _SYSTEM_PID
    return build_record(
        "system", provider=_CLASSIC_GROUP, opcode=opcode, version=_CLASSIC_VERSION, pid=pid,
        tid=process.threads[0].tid, ticks=ticks, pointer_size=pointer_size,
        payload=encode_payload(layout, values, pointer_size=pointer_size),
    )  # fmt: skip


def kernel_process_record(process: Process, what: str, ticks: int, clock: Clock, pointer_size: int) -> bytes:
    """Return a record of Microsoft-Windows-Kernel-Process; `what` is start, stop or rundown."""
    id_, version, opcode = _KERNEL_EVENTS[what]
    path = f"{process.folder}\\{process.image}"
    values = {
        "ProcessID": process.pid, "ProcessSequenceNumber": process.sequence,
        "CreateTime": clock.filetime(process.create_ticks), "ExitTime": clock.filetime(ticks),
        "ParentProcessID": process.parent, "SessionID": process.session,
        "ProcessTokenElevationType": 1, "ImageName": process.image if what == "stop" else path,
        "HandleCount": len(process.handles), "MandatoryLabel": "S-1-16-8192", "TimeDateStamp": 0x5F3A1B2C,
    }  # fmt: skip
    layout = LAYOUTS[(KERNEL_PROCESS, id_, version)]
    return build_record(
        "event", provider=KERNEL_PROCESS, id_=id_, version=version, opcode=opcode,
        task=1 if opcode else 0, channel=_CHANNEL, level=_INFORMATION_LEVEL, keyword=_KEYWORD | _ANALYTIC_BIT,
        pid=process.parent if what == "start" else process.pid, tid=process.threads[0].tid, ticks=ticks,
        payload=encode_payload(layout, values, pointer_size=pointer_size), pointer_size=pointer_size,
    )  # fmt: skip
