"""Placement: workers get trials whose requirements and GPU memory they satisfy."""

from __future__ import annotations

import pytest

from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities, Device
from service.contract.study import Requires
from service.contract.task import Function
from service.domain.placement import (
    LOCALITY_WAIT_SECONDS,
    CheckpointHost,
    disallowed_task,
    has_enough_gpu_memory,
    is_reachable,
    is_reserved_for,
    unmet_requirement,
)

CPU = Capabilities(devices=[Device(kind="cpu", memory_gib=512)])
SMALL = Capabilities(devices=[Device(kind="cuda", memory_gib=16)], labels={"room": "cellar"})
UNEVEN = Capabilities(devices=[Device(kind="cuda", memory_gib=80), Device(kind="cuda", index=1, memory_gib=16)])
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
        (Requires(devices=2), SMALL, "requires 2 devices for a trial (worker --devices-per-trial); this slot has 1"),
        (Requires(devices=2, gpu_memory_gib=20), UNEVEN, "requires a GPU with 20 GiB; this worker has 16 GiB"),
        (Requires(devices=2, gpu_memory_gib=16), UNEVEN, None),
        (Requires(labels={"room": "attic"}), SMALL, "requires a worker with --label room=attic"),
        (Requires(labels={"room": "cellar"}), LARGE, "requires a worker with --label room=cellar"),
    ],
)
def test_requirements_of_a_study_are_met(
    requires: Requires | None, capabilities: Capabilities, lack: str | None
) -> None:
    assert unmet_requirement(requires, capabilities) == lack


@pytest.mark.parametrize(
    ("kind", "tasks", "lack"),
    [
        (TaskKind.FUNCTION, [TaskKind.TRAIN], "its task is a function; start a worker with --allow-functions"),
        (TaskKind.COMMAND, [TaskKind.FUNCTION], "its task is a command; start a worker with --allow-commands"),
        (TaskKind.COMMAND, [TaskKind.COMMAND], None),
        (TaskKind.EXTERNAL, [TaskKind.TRAIN], None),
    ],
)
def test_a_users_own_code_needs_a_worker_that_allows_it(
    kind: TaskKind, tasks: list[TaskKind], lack: str | None
) -> None:
    assert disallowed_task(kind, Capabilities(tasks=tasks)) == lack


@pytest.mark.parametrize(
    ("functions", "is_allowed"),
    [
        (None, True),
        (["mine"], True),
        (["other", "mine.training"], True),
        (["mine.training.late"], False),
        (["min"], False),
        ([], False),
    ],
)
def test_functions_may_be_allowed_of_some_modules_alone(functions: list[str] | None, is_allowed: bool) -> None:
    capabilities = Capabilities(tasks=[TaskKind.FUNCTION], functions=functions)
    lack = "its function is of mine.training; start a worker with --allow-functions mine.training"
    told = disallowed_task(TaskKind.FUNCTION, capabilities, Function(name="mine.training:train"))
    assert told == (None if is_allowed else lack)


def test_a_trial_that_ran_out_of_memory_is_for_larger_gpus() -> None:
    assert [has_enough_gpu_memory(16.0, each) for each in (CPU, SMALL, LARGE)] == [False, False, True]
    assert all(has_enough_gpu_memory(0.0, each) for each in (CPU, SMALL, LARGE))


@pytest.mark.parametrize(
    ("host", "has_room", "waited", "is_kept"),
    [
        ("far", True, 0.0, True),
        ("near", True, 0.0, False),
        ("far", False, 0.0, False),
        ("far", True, LOCALITY_WAIT_SECONDS, False),
    ],
    ids=["for a moment", "not from its holder", "not while that is busy or gone", "not for long"],
)
def test_a_trial_is_kept_for_the_holder_of_its_checkpoint(
    host: str, has_room: bool, waited: float, is_kept: bool
) -> None:
    assert is_reserved_for(CheckpointHost("near", has_room), host, waited) is is_kept


@pytest.mark.parametrize(
    ("uri", "directories", "reachable"),
    [
        ("blob:12", [], True),
        ("file:///shared/t/1.pt", None, True),
        ("file:///shared/t/1.pt", [], False),
        ("file:///shared/t/1.pt", ["file:///other", "file:///shared"], True),
        ("file:///shared-too/t/1.pt", ["file:///shared"], False),
    ],
)
def test_a_shared_checkpoint_goes_to_workers_that_share_its_directory(
    uri: str, directories: list[str] | None, reachable: bool
) -> None:
    assert is_reachable(uri, directories) is reachable
