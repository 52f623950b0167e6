"""Release: a user takes a running trial from its worker; it waits again, and the worker drops it."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.problem import ErrorCode
from service.contract.report import Action
from service.contract.study import StudyState
from service.contract.trial import AttemptState, ReleaseRequest, TrialState, TrialView
from service.storage.fsck import invariants
from service.storage.queries import trials
from service.usecases.studies import lifecycle
from service.usecases.trials.release import release_trial
from tests.usecases.maintenance.test_leases import refused
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio


async def release(replica: Replica, name: str, key: int | str = 0, **request: Any) -> TrialView:
    return await release_trial(replica.context, name, str(key), ReleaseRequest(**request))


def broken(replica: Replica) -> dict[str, Any]:
    return {each.name: each.broken for each in replica.database.read_sync(invariants.check) if each.broken}


async def test_a_released_trial_continues_with_another_worker_free_of_charge(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    old = await replica.claim(name)
    await replica.report(old, 1, 0.5)
    await replica.checkpoint(old, 1)
    view = await release(replica, name, reason="its host hangs")
    assert (view.state, view.state_reason) == (TrialState.WAITING, "its host hangs")
    detail = await replica.trial(name, 0)
    assert [(each.state, each.failure, each.message) for each in detail.attempts] == [
        (AttemptState.RELEASED, None, "its host hangs")
    ]
    row = await replica.database.read(lambda connection: trials.by_id(connection, old.trial))
    assert row is not None
    assert (row.num_losses, row.num_failures) == (0, 0)
    assert (await replica.kinds(name))[-2:] == ["attempt_released", "trial_requeued"]
    assert broken(replica) == {}
    new = await replica.claim(name, worker="other")
    assert (new.trial, new.attempt, new.resume and new.resume.step) == (old.trial, 2, 1)
    await replica.report(new, 1, 0.25, step=2)
    assert (await replica.finish(new)).values == [0.25]
    assert broken(replica) == {}


async def test_the_old_worker_must_drop_a_released_trial(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    old = await replica.claim(name)
    await replica.report(old, 1, 0.5)
    await release(replica, name)
    before = await replica.stored(name)
    status = await replica.heartbeat(old)
    assert (status.held, status.order) == (False, Action.STOP)
    for call in (replica.report(old, 2, 0.4), replica.checkpoint(old, 1), replica.finish(old)):
        await refused(ErrorCode.ATTEMPT_ENDED, call)
    # What it had said before is answered as before.
    assert (await replica.report(old, 1, 0.5)).action is Action.CONTINUE
    assert await replica.stored(name) == before
    await replica.claim(name, worker="other")
    for call in (replica.report(old, 2, 0.4), replica.checkpoint(old, 1), replica.finish(old)):
        await refused(ErrorCode.LEASE_SUPERSEDED, call)
    assert not (await replica.heartbeat(old)).held


async def test_a_repeated_release_takes_the_trial_from_no_other_worker(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    await replica.claim(name)
    first = await release(replica, name, attempt=1)
    assert await release(replica, name, attempt=1) == first
    await refused(ErrorCode.STUDY_STATE, release(replica, name))
    new = await replica.claim(name, worker="other")
    said = await refused(ErrorCode.STUDY_STATE, release(replica, name, attempt=1))
    assert "attempt 2 on worker other does" in said
    assert (await replica.heartbeat(new, worker="other")).held


@pytest.mark.parametrize("end", ["waiting", "completed", "cancelled"])
async def test_only_a_running_trial_can_be_released(replica: Replica, end: str) -> None:
    name = await replica.create(budget={"trials": 2})
    grant = await replica.claim(name)
    if end == "completed":
        await replica.report(grant, 1, 0.5)
        await replica.finish(grant)
    else:
        await replica.lose()
    if end == "cancelled":
        await lifecycle.stop_study(replica.context, name, "")
    before = await replica.stored(name)
    assert f"is {end}" in await refused(ErrorCode.STUDY_STATE, release(replica, name))
    assert await replica.stored(name) == before
    await refused(ErrorCode.UNKNOWN_TRIAL, release(replica, name, 7))
    await refused(ErrorCode.UNKNOWN_STUDY, release(replica, "nowhere"))


async def test_a_stopped_study_ends_with_the_release_of_its_last_trial(replica: Replica) -> None:
    name = await replica.create()
    await replica.claim(name)
    await lifecycle.stop_study(replica.context, name, "")
    assert (await replica.study(name)).state is StudyState.ACTIVE
    assert (await release(replica, name)).state is TrialState.CANCELLED
    assert (await replica.study(name)).state is StudyState.STOPPED
    assert broken(replica) == {}


async def test_a_release_meets_the_finish_that_came_first(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    assert (await replica.finish(grant)).trial_state == TrialState.COMPLETED
    await refused(ErrorCode.STUDY_STATE, release(replica, name))
    assert (await replica.trial(name, 0)).values == [0.5]
