"""From an exception in a task to the outcome that the service hears; the only place that decides failure classes."""

from __future__ import annotations

import errno
import re
import traceback

import torch

from service.contract.lease import FailureClass, Outcome, Shortage
from worker.training import ConfigError, Diverged, GroupBroken, Infeasible, MissingLibrary, OutsideFolders

_MAX_MESSAGE = 500
_MAX_TRACEBACK = 20_000
"""Characters; the end is kept, where the cause stands. The whole of it is in the attempt's stderr file."""


_GIB = 1024**3

_HOST_ERRNOS = {errno.ENOENT, errno.ENOSPC, errno.EIO, errno.EROFS, errno.ESTALE}
"""What the file system of one host may say and another's not: missing, full, broken, read-only."""

_DRIVER = re.compile(
    r"uncorrectable ECC|NVIDIA driver|CUDA driver|no CUDA-capable device|device\(s\) is/are busy|"
    r"GPU is lost|CUDA initialization",
    re.IGNORECASE,
)
"""What the CUDA runtime says of its driver and its hardware; errors of kernels and assertions are the code's own."""


_LAST_WORDS = {
    FailureClass.OUT_OF_MEMORY: re.compile(r"OutOfMemoryError|MemoryError|out of memory", re.IGNORECASE),
    FailureClass.HOST_FAULT: re.compile(
        rf"^(ImportError|ModuleNotFoundError|FileNotFoundError)\b|No space left on device|{_DRIVER.pattern}",
        re.IGNORECASE,
    ),
}
"""The classes that a program's last line tells, as an exception would here."""


class UnknownTask(Exception):
    """The grant asks for a kind of task that this worker does not carry out."""


def failure_class(error: BaseException) -> FailureClass:
    """The class of a failure, told from its exception alone."""
    match error:
        case Infeasible():
            return FailureClass.INFEASIBLE
        case ConfigError() | UnknownTask() if not isinstance(error, MissingLibrary | OutsideFolders):
            return FailureClass.INVALID
        case Diverged():
            return FailureClass.DIVERGED
        case _ if _is_out_of_memory(error):
            return FailureClass.OUT_OF_MEMORY
        case _ if _is_host_fault(error):
            return FailureClass.HOST_FAULT
        case _:
            return FailureClass.USER_EXCEPTION


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):  # how torch's CPU allocator says it
        return True
    return isinstance(error, torch.OutOfMemoryError | MemoryError)


def _is_host_fault(error: BaseException) -> bool:
    """Whether another host might do better: an import, a file, a driver, a link between devices that this one lacks.

    Or a folder that this one's worker does not read.
    """
    if isinstance(error, OSError):
        return error.errno in _HOST_ERRNOS
    return isinstance(error, ImportError | MissingLibrary | OutsideFolders | GroupBroken) or (
        isinstance(error, RuntimeError) and bool(_DRIVER.search(str(error)))
    )


def failed(error: BaseException) -> Outcome:
    """The outcome of a task that raised: class, one sentence, and the traceback where the code is at fault."""
    failure = failure_class(error)
    is_setting = isinstance(error, ConfigError)
    if is_setting or failure in (FailureClass.INFEASIBLE, FailureClass.INVALID, FailureClass.DIVERGED):
        return Outcome(result="failed", failure=failure, message=str(error)[:_MAX_MESSAGE])
    # Whose callback raised stands in a note.
    first_line = "; ".join([*str(error).splitlines()[:1], *getattr(error, "__notes__", [])])
    name = type(error).__name__
    return Outcome(
        result="failed",
        failure=failure,
        message=(f"{name}: {first_line}" if first_line else name)[:_MAX_MESSAGE],
        traceback="".join(traceback.format_exception(error))[-_MAX_TRACEBACK:],
        shortage=_shortage(isinstance(error, torch.OutOfMemoryError))
        if failure is FailureClass.OUT_OF_MEMORY
        else None,
    )


def exited(status: int, stderr: str) -> Outcome:
    """The outcome of a program that ended with a status other than 0, by its last words on stderr."""
    said = (stderr.strip().splitlines() or [""])[-1].strip()
    failure = next((each for each, words in _LAST_WORDS.items() if words.search(said)), FailureClass.USER_EXCEPTION)
    return Outcome(
        result="failed",
        failure=failure,
        message=f"the command exited with status {status}{': ' if said else ''}{said}"[:_MAX_MESSAGE],
        traceback=stderr[-_MAX_TRACEBACK:] or None,
        shortage=_shortage("CUDA" in said) if failure is FailureClass.OUT_OF_MEMORY else None,
    )


def _shortage(is_device: bool) -> Shortage:
    """Whose memory was short, and what other processes hold of it at this moment."""
    if not is_device or not torch.cuda.is_available():
        return Shortage(place="host")
    free, total = torch.cuda.mem_get_info()
    others = max(0, total - free - torch.cuda.memory_reserved())
    return Shortage(place="device", total_gib=round(total / _GIB, 1), others_gib=round(others / _GIB, 1))
