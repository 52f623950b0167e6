"""Peak memory of a function, on a GPU from its allocator and on Linux from the process's resident set."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

_STATUS, _RESET, _AVAILABLE = Path("/proc/self/status"), Path("/proc/self/clear_refs"), Path("/proc/meminfo")
_KIB = 1024
_NOTICEABLE_BYTES = 2**30


def reset_peak(device: torch.device) -> bool:
    """Begin a new measurement of the peak; returns whether this machine can measure it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        _RESET.write_text("5", encoding="ascii")  # the kernel's command to reset the peak of the resident set
    except OSError:
        return False
    return peak_bytes(device) is not None


def peak_bytes(device: torch.device) -> int | None:
    """Return the peak since `reset_peak`, in bytes: of the device's allocator, or of this process; None: unknown."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device))
    return _read(_STATUS, "VmHWM")


def available_bytes(device: torch.device) -> int | None:
    """Return how much memory a training could take here, in bytes; None: unknown."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return _read(_AVAILABLE, "MemAvailable")


def gpu_gib(device: torch.device) -> float | None:
    """Return a GPU's memory in GiB if this process has it nearly to itself; None: it has not, or there is no GPU."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    used_by_others = total - free - torch.cuda.memory_reserved(device)
    return None if used_by_others > _NOTICEABLE_BYTES else round(total / 2**30, 1)


def _read(file: Path, name: str) -> int | None:
    """Return a value of a file of the kernel, in bytes."""
    with suppress(OSError, ValueError):
        for line in file.read_text(encoding="ascii", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key == name:
                return int(value.split()[0]) * _KIB
    return None
