"""Lists this host's devices through NVML, without creating a CUDA context; errors name the devices that exist."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pynvml

from service.contract.capabilities import Device

_GIB = 1024**3


class DeviceError(Exception):
    """This host lacks a requested device; the message is one sentence that names the remedy."""


@dataclass(frozen=True)
class LocalDevice:
    """A device as reported to the service, and the value of `CUDA_VISIBLE_DEVICES` that pins a process to it."""

    device: Device
    visible: str

    @property
    def label(self) -> str:
        """A short name that is unique on this host: `cpu`, `gpu0`."""
        return "cpu" if self.device.kind == "cpu" else f"gpu{self.device.index}"


def cpu() -> LocalDevice:
    """Return the processor as a device, with every GPU hidden."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    return LocalDevice(Device(kind="cpu", name=platform.machine(), memory_gib=round(memory, 1)), visible="")


def gpus(indices: Sequence[int], environment: Mapping[str, str] = os.environ) -> list[LocalDevice]:
    """Return the GPUs with these numbers.

    If `CUDA_VISIBLE_DEVICES` already restricts this process (as under Slurm), the numbers count the GPUs that it lists.

    Raises:
        DeviceError: One of the GPUs does not exist, or the driver cannot list them.
    """
    present = _visible_gpus(environment)
    by_index = {gpu.device.index: gpu for gpu in present}
    for index in indices:
        if index not in by_index:
            names = ", ".join(f"GPU {gpu.device.index} ({gpu.device.name})" for gpu in present)
            remedy = f"it has {names}; name one of these, or" if present else "the NVIDIA driver lists none;"
            raise DeviceError(f"there is no GPU {index} on this machine: {remedy} train on the processor with --cpu")
    return [by_index[index] for index in indices]


def visible(devices: Sequence[LocalDevice]) -> str:
    """Return the value of `CUDA_VISIBLE_DEVICES` for a process that has exactly these devices."""
    return ",".join(device.visible for device in devices if device.visible)


def in_use(device: LocalDevice) -> str | None:
    """Describe what other processes compute on a GPU; None if no process does. Call it before training begins."""
    if device.device.kind == "cpu":
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(pynvml.nvmlDeviceGetHandleByUUID(device.visible))
    except pynvml.NVMLError:  # some drivers report this only to root
        return None
    finally:
        pynvml.nvmlShutdown()
    if not processes:
        return None
    num_bytes = sum(process.usedGpuMemory or 0 for process in processes)
    memory = f" with {num_bytes / _GIB:.1f} GiB" if num_bytes else ""
    pids = ", ".join(str(process.pid) for process in processes)
    return f"process {pids} uses it{memory}"


def num_cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_killed_for_memory(vmstat: Path = Path("/proc/vmstat")) -> int:
    """Return how many processes the kernel's OOM killer has killed on this host; 0 if the kernel does not report it."""
    try:
        counters = dict(line.split() for line in vmstat.read_text().splitlines())
    except OSError:
        return 0
    return int(counters.get("oom_kill", 0))


def _visible_gpus(environment: Mapping[str, str]) -> list[LocalDevice]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver, or no device
        return []
    try:
        allowed = environment.get("CUDA_VISIBLE_DEVICES")
        names = [name.strip() for name in allowed.split(",")] if allowed is not None else None
        if names is None:
            names = [str(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return [_describe(index, name) for index, name in enumerate(names) if name]
    except pynvml.NVMLError as error:
        raise DeviceError(f"the NVIDIA driver cannot list its GPUs ({error}); repair it or use --cpu") from error
    finally:
        pynvml.nvmlShutdown()


def _describe(index: int, name: str) -> LocalDevice:
    """Describe one GPU by its driver number or UUID.

    Processes are pinned to it by UUID, because CUDA may number GPUs differently from NVML.
    """
    handle = pynvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else pynvml.nvmlDeviceGetHandleByUUID(name)
    memory = round(pynvml.nvmlDeviceGetMemoryInfo(handle).total / _GIB, 1)
    device = Device(kind="cuda", index=index, name=pynvml.nvmlDeviceGetName(handle), memory_gib=memory)
    return LocalDevice(device, visible=pynvml.nvmlDeviceGetUUID(handle) if name.isdigit() else name)
