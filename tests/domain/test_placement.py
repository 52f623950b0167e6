"""A worker gets what it can execute: the study's requirements, and the trial's need of memory."""

from __future__ import annotations

import pytest

from service.contract.lease import Capabilities, Device
from service.contract.study import Requires
from service.domain.placement import suffices, unmet

CPU = Capabilities(devices=[Device(kind="cpu", memory_gib=512)])
SMALL = Capabilities(devices=[Device(kind="cuda", memory_gib=16)], labels={"room": "cellar"})
LARGE = Capabilities(devices=[Device(kind="cuda", memory_gib=80)])


@pytest.mark.parametrize(
    ("requires", "capabilities", "lack"),
    [
        (None, CPU, None),
        (Requires(), CPU, None),
        (Requires(gpu_memory_gib=20), CPU, "requires a GPU with 20 GiB; this worker has none"),
        (Requires(gpu_memory_gib=20), SMALL, "requires a GPU with 20 GiB; this worker has 16 GiB"),
        (Requires(gpu_memory_gib=16), SMALL, None),
        (Requires(labels={"room": "cellar"}), SMALL, None),
        (Requires(labels={"room": "attic"}), SMALL, "requires a worker with --label room=attic"),
        (Requires(labels={"room": "cellar"}), LARGE, "requires a worker with --label room=cellar"),
    ],
)
def test_what_a_study_requires(requires: Requires | None, capabilities: Capabilities, lack: str | None) -> None:
    assert unmet(requires, capabilities) == lack


def test_a_trial_that_ran_out_of_memory_is_for_larger_gpus() -> None:
    assert [suffices(16.0, each) for each in (CPU, SMALL, LARGE)] == [False, False, True]
    assert all(suffices(0.0, each) for each in (CPU, SMALL, LARGE))
