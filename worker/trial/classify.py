"""Classifies the exception of a task as an outcome with a failure class; no other module classifies exceptions."""

from __future__ import annotations

import errno
import re
import traceback

import torch

from service.contract.attempt import FailureClass, FaultScope, MemoryShortage, Outcome
from worker.training import (
    ConfigError,
    Diverged,
    Infeasible,
    MissingFile,
    MissingLibrary,
    OutOfMemory,
    OutsideFolders,
    ProcessGroupError,
)
from worker.training.out_of_memory import OF_DEVICE, OF_HOST, is_of_device, is_out_of_memory

_MAX_MESSAGE = 500
_MAX_TRACEBACK = 20_000
"""In characters. The end is kept, since it names the cause; the attempt's stderr file has the whole traceback."""


_GIB = 1024**3

_HOST_ERRNOS = {errno.ENOENT, errno.ENOSPC, errno.EIO, errno.EROFS, errno.ESTALE}
"""File system errors that another host may not have: file missing, disk full, I/O error, read-only, stale handle."""

_DRIVER = re.compile(
    r"uncorrectable ECC|NVIDIA driver|CUDA driver|no CUDA-capable device|device\(s\) is/are busy|"
    r"GPU is lost|CUDA initialization",
    re.IGNORECASE,
)
"""Errors of the CUDA driver and the hardware. Errors of kernels and failed assertions are faults of the code."""


_LACKING = (ImportError, MissingFile, MissingLibrary, OutsideFolders)
"""What a study asks for and this host lacks, or does not read; other studies may train well here."""

_MISSING = re.compile(r"^(ImportError|ModuleNotFoundError|FileNotFoundError)\b", re.IGNORECASE)
"""Last lines of programs that lack a module or a file: a fault that concerns the study of this program alone."""

_LAST_LINES = {
    FailureClass.OUT_OF_MEMORY: re.compile(
        rf"OutOfMemoryError|MemoryError|out of memory|{OF_HOST}|{OF_DEVICE}", re.IGNORECASE
    ),
    FailureClass.HOST_FAULT: re.compile(
        rf"{_MISSING.pattern}|No space left on device|{_DRIVER.pattern}",
        re.IGNORECASE,
    ),
}
"""Failure classes recognised from the last line that a program writes to stderr."""


class UnknownTask(Exception):
    """The grant asks for a kind of task that a worker does not execute."""


def failure_class(error: BaseException) -> FailureClass:
    """Return the failure class of an exception."""
    match error:
        case Infeasible():
            return FailureClass.INFEASIBLE
        case ConfigError() | UnknownTask() if not isinstance(error, _LACKING):
            return FailureClass.INVALID
        case Diverged():
            return FailureClass.DIVERGED
        case _ if is_out_of_memory(error):
            return FailureClass.OUT_OF_MEMORY
        case _ if _is_host_fault(error):
            return FailureClass.HOST_FAULT
        case _:
            return FailureClass.USER_EXCEPTION


def _is_host_fault(error: BaseException) -> bool:
    """Return whether another host might succeed.

    This host lacks an import, a file, a working driver or a link between devices, or its worker may not read a folder.
    """
    if isinstance(error, OSError):
        return error.errno in _HOST_ERRNOS
    return isinstance(error, (*_LACKING, ProcessGroupError)) or (
        isinstance(error, RuntimeError) and bool(_DRIVER.search(str(error)))
    )


def fault_scope(error: BaseException) -> FaultScope:
    """Return whether a host fault concerns all trials on this host, or those of this study alone.

    A file, a module or a library that this study asks for may be missing here while other studies train well.
    """
    if isinstance(error, OSError):
        return "study" if error.errno == errno.ENOENT else "host"
    return "study" if isinstance(error, _LACKING) else "host"


def failure_outcome(error: BaseException) -> Outcome:
    """Return the outcome of a task that raised: class, one sentence, and the traceback if the code may be at fault."""
    failure = failure_class(error)
    scope = fault_scope(error) if failure is FailureClass.HOST_FAULT else "host"
    is_setting = isinstance(error, ConfigError)
    if is_setting or failure in (FailureClass.INFEASIBLE, FailureClass.INVALID, FailureClass.DIVERGED):
        return Outcome(result="failed", failure=failure, scope=scope, message=str(error)[:_MAX_MESSAGE])
    # A note of the exception names the callback that raised.
    first_line = "; ".join([*str(error).splitlines()[:1], *getattr(error, "__notes__", [])])
    name = type(error).__name__
    message = f"{name}: {first_line}" if first_line else name
    return Outcome(
        result="failed",
        failure=failure,
        scope=scope,
        message=(str(error) if isinstance(error, OutOfMemory) else message)[:_MAX_MESSAGE],
        traceback="".join(traceback.format_exception(error))[-_MAX_TRACEBACK:],
        shortage=_shortage(is_of_device(error)) if failure is FailureClass.OUT_OF_MEMORY else None,
    )


def command_exit_outcome(status: int, stderr: str) -> Outcome:
    """Return the outcome of a program that exited with a status other than 0, classified by its last line on stderr."""
    last_line = (stderr.strip().splitlines() or [""])[-1].strip()
    matches = (failure for failure, pattern in _LAST_LINES.items() if pattern.search(last_line))
    failure = next(matches, FailureClass.USER_EXCEPTION)
    return Outcome(
        result="failed",
        failure=failure,
        scope="study" if failure is FailureClass.HOST_FAULT and _MISSING.search(last_line) else "host",
        message=f"the command exited with status {status}{': ' if last_line else ''}{last_line}"[:_MAX_MESSAGE],
        traceback=stderr[-_MAX_TRACEBACK:] or None,
        shortage=_shortage("CUDA" in last_line) if failure is FailureClass.OUT_OF_MEMORY else None,
    )


def _shortage(is_device: bool) -> MemoryShortage:
    """Return whether the host or the device ran out of memory, and how much of it other processes use right now."""
    if not is_device or not torch.cuda.is_available():
        return MemoryShortage(place="host")
    free, total = torch.cuda.mem_get_info()
    used_by_others = max(0, total - free - torch.cuda.memory_reserved())
    return MemoryShortage(place="device", total_gib=round(total / _GIB, 1), others_gib=round(used_by_others / _GIB, 1))
