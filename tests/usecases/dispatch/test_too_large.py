"""A configuration that needs more memory than its preflight found is infeasible before any worker trains it."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.capabilities import Device
from service.contract.claim import Grant
from service.contract.study import EnqueueRequest, StudyState
from service.contract.trial import TrialState
from service.usecases.studies.enqueue import enqueue
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio

SMALL, LARGE = (Device(kind="cuda", memory_gib=memory) for memory in (8, 24))
LIMITED: dict[str, Any] = {
    "task": {
        "train": {
            "data": {"name": "digits"}, "model": {"name": "mlp"}, "loss": {"name": "cross_entropy"},
            "optimizer": {"name": "sgd"}, "epochs": 4,
        }
    },
    "space": {"batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]}},
    "sampler": {"name": "grid"},
    "budget": {},
    "constraints": {"memory": [{"parameters": {"batch_size": 64}, "larger": ["batch_size"], "gpu_memory_gib": 8}]},
}  # fmt: skip


async def sizes(replica: Replica, name: str, device: Device, num: int) -> list[Any]:
    return [(await replica.claim(name, devices=[device])).parameters["batch_size"] for _ in range(num)]


async def test_configurations_at_or_beyond_the_limit_end_before_they_are_trained(replica: Replica) -> None:
    name = await replica.create(**LIMITED)
    for size in await sizes(replica, name, SMALL, 2):
        assert size in (16, 32)
    await replica.ask(name, devices=[SMALL])
    trials = {trial.parameters["batch_size"]: trial for trial in await replica.trials(name)}
    assert set(trials) == {16, 32, 64, 128}
    for size in (64, 128):
        trial = trials[size]
        assert (trial.state, trial.infeasible, trial.started_at) == (TrialState.PRUNED, True, None)
        assert trial.finished_at is not None
        assert trial.state_reason == ("out of memory in the preflight: a GPU of 8 GiB is too small for batch_size = 64")
    assert (await replica.study(name)).budget_used.failures == 0


async def test_a_study_of_too_large_configurations_alone_completes(replica: Replica) -> None:
    space = {"batch_size": {"type": "categorical", "choices": [64, 128]}}
    name = await replica.create(**{**LIMITED, "space": space})
    await replica.ask(name, devices=[SMALL])
    assert (await replica.study(name)).state is StudyState.COMPLETED


@pytest.mark.parametrize(
    "devices",
    [[LARGE], [SMALL, SMALL], [Device(kind="cpu")], [Device(kind="cuda", memory_gib=8.4), LARGE]],
    ids=["a larger GPU", "several GPUs", "a processor", "several sizes"],
)
async def test_other_devices_try_it(replica: Replica, devices: list[Device]) -> None:
    name = await replica.create(**LIMITED)
    grants = [await replica.claim(name, devices=devices) for _ in range(4)]
    assert sorted(grant.parameters["batch_size"] for grant in grants) == [16, 32, 64, 128]  # type: ignore[type-var]


async def test_while_a_larger_gpu_is_alive_it_is_tried(replica: Replica) -> None:
    name = await replica.create(**LIMITED)
    await replica.ask(name, worker="large", devices=[LARGE])
    assert all([isinstance(await replica.ask(name, devices=[SMALL]), Grant) for _ in range(3)])
    replica.clock.forward(120)  # the worker with the larger GPU is gone
    other = await replica.create(**LIMITED)
    assert await sizes(replica, other, SMALL, 2) != []
    await replica.ask(other, devices=[SMALL])
    assert sum(trial.infeasible for trial in await replica.trials(other)) == 2


async def test_a_configuration_that_a_user_enqueued_is_tried(replica: Replica) -> None:
    name = await replica.create(**LIMITED)
    await enqueue(replica.context, name, EnqueueRequest(parameters={"batch_size": 128}))
    grant = await replica.claim(name, devices=[SMALL])
    assert grant.parameters == {"batch_size": 128}
    assert "memory" not in grant.constraints


async def test_a_study_without_limits_tries_everything(replica: Replica) -> None:
    for constraints in (None, {"parameters": {"max": 1e9}}):
        name = await replica.create(**{**LIMITED, "constraints": constraints})
        assert sorted(await sizes(replica, name, SMALL, 4)) == [16, 32, 64, 128]
