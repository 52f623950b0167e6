"""Devices: a GPU in use by another process is not used (scripted NVML), and memory limits of the kernel."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from service.contract.capabilities import Device
from worker import cli
from worker.agent.devices import DeviceError, LocalDevice, cpu, in_use, num_killed_for_memory

GPUS = [LocalDevice(Device(kind="cuda", index=index, name="H200"), visible=f"GPU-{index}") for index in range(2)]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """UUID -> the processes that NVML tells of."""
    told: dict[str, list[Any]] = {gpu.visible: [] for gpu in GPUS}
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", lambda handle: told[handle])
    return told


def test_a_gpu_is_in_use_when_a_process_computes_on_it(processes: dict[str, list[Any]]) -> None:
    assert in_use(GPUS[0]) is None
    processes["GPU-0"] = [SimpleNamespace(pid=17, usedGpuMemory=3 * 1024**3)]
    assert in_use(GPUS[0]) == "process 17 uses it with 3.0 GiB"
    processes["GPU-0"] = [SimpleNamespace(pid=17, usedGpuMemory=None)]
    assert in_use(GPUS[0]) == "process 17 uses it"
    assert in_use(cpu()) is None


def test_it_is_left_alone_unless_shared(processes: dict[str, list[Any]], caplog: pytest.LogCaptureFixture) -> None:
    processes["GPU-0"] = [SimpleNamespace(pid=17, usedGpuMemory=None)]
    assert cli._free(GPUS, share=False) == [GPUS[1]]
    assert "gpu0 is not used: process 17 uses it (use it all the same with --share)" in caplog.text
    assert cli._free(GPUS, share=True) == GPUS
    with pytest.raises(DeviceError, match=r"gpu0 is not used: .*; name another GPU, or share it with --share"):
        cli._free(GPUS[:1], share=False)


def test_the_kernel_tells_how_many_it_killed_for_memory(tmp_path: Path) -> None:
    (tmp_path / "vmstat").write_text("nr_free_pages 10\noom_kill 3\n")
    assert num_killed_for_memory(tmp_path / "vmstat") == 3
    assert num_killed_for_memory(tmp_path / "absent") == 0
