"""Quarantine: a host that fails where others succeed gets no trials until a user readmits it."""

from __future__ import annotations

import pytest

from service.contract.attempt import FailureClass, FinishReply
from service.contract.claim import Grant, NoTrial
from service.contract.problem import ErrorCode
from service.contract.study import StudyState
from service.contract.trial import TrialState
from service.domain.errors import DomainError
from service.usecases.quarantine import lift_quarantine
from service.usecases.workers import list_workers
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio


async def fault(replica: Replica, name: str, worker: str = "a1", host: str = "a") -> FinishReply:
    grant = await replica.claim(name, worker=worker, host=host)
    return await replica.fail(grant, FailureClass.HOST_FAULT, message="no module named 'torch'")


async def do_well(replica: Replica, name: str, worker: str = "b1", host: str = "b") -> Grant:
    grant = await replica.claim(name, worker=worker, host=host)
    await replica.report(grant, 1, 0.5)
    return grant


async def test_two_faults_in_a_row_while_others_do_well_quarantine_the_host(replica: Replica) -> None:
    name = await replica.create()
    await do_well(replica, name)
    assert (await fault(replica, name)).trial_state == "waiting"
    assert (await fault(replica, name, worker="a2")).trial_state == "waiting"
    for worker in ("a1", "a2", "a3"):  # every worker of the host, a new one too
        answer = await replica.ask(name, worker=worker, host="a")
        assert isinstance(answer, NoTrial)
        assert answer.reason.startswith("quarantined: two host faults in a row on a while other hosts succeed")
        assert answer.reason.endswith(f"no module named 'torch'; repair it, then: study readmit {worker}")
    shown = {view.name: view for view in (await list_workers(replica.context)).workers}
    assert shown["a1"].quarantined_at is not None
    assert "no module named 'torch'" in (shown["a1"].quarantine_reason or "")
    assert shown["b1"].quarantined_at is None
    assert "host_quarantined" in await replica.kinds(name)
    again = await replica.claim(name, worker="b1", host="b")
    assert (again.number, again.attempt) == (1, 3)
    trial = await replica.trial(name, 1)
    assert (trial.infeasible, trial.num_attempts) == (False, 3)


async def test_a_success_in_between_forgives(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    await do_well(replica, name)
    await fault(replica, name)
    await replica.finish(await do_well(replica, name, "a1", "a"))
    await fault(replica, name)
    assert isinstance(await replica.ask(name, worker="a1", host="a"), Grant)


async def test_where_no_host_does_better_it_is_an_exception_of_the_user(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    assert (await fault(replica, name)).trial_state == "waiting"
    assert (await fault(replica, name, "b1", "b")).trial_state == "waiting"
    assert (await fault(replica, name)).trial_state == "failed"
    trial = await replica.trial(name, 0)
    assert (trial.state, trial.attempts[-1].failure) == (TrialState.FAILED, FailureClass.USER_EXCEPTION)
    assert trial.state_reason == "no module named 'torch' (no other host succeeds either)"
    assert not [view for view in (await list_workers(replica.context)).workers if view.quarantined_at]


async def test_a_file_that_the_only_host_lacks_pauses_the_study_though_other_studies_do_well_there(
    replica: Replica,
) -> None:
    name, other = await replica.create(budget={"trials": 40}), await replica.create(budget={"trials": 40})
    num_faults = 0
    while (await replica.study(name)).state is StudyState.ACTIVE:
        await fault(replica, name)
        num_faults += 1
        assert num_faults <= 6, "the study gets its trials back for ever"
        await replica.finish(await do_well(replica, other, "a1", "a"))
    study = await replica.study(name)
    assert study.state is StudyState.PAUSED
    assert study.state_reason == "the first 3 trials all failed with the same error: no module named 'torch'"
    assert study.num_trials[TrialState.FAILED] == 3
    assert not [view for view in (await list_workers(replica.context)).workers if view.quarantined_at]


async def test_a_trial_does_not_come_back_for_ever_to_a_host_that_only_others_studies_do_well_on(
    replica: Replica,
) -> None:
    name, other = await replica.create(), await replica.create(budget={"trials": 40})
    await replica.finish(await do_well(replica, name))  # the host b has served the study once, and is gone
    states = []
    for _ in range(6):
        states.append((await fault(replica, name)).trial_state)
        await replica.finish(await do_well(replica, other, "a1", "a"))
    assert states == ["waiting"] * 5 + ["failed"]
    trial = await replica.trial(name, 1)
    assert trial.state_reason == "no module named 'torch' (given up after 6 faults of the host a)"


async def test_readmission_is_for_the_whole_host(replica: Replica) -> None:
    name = await replica.create()
    await do_well(replica, name)
    await fault(replica, name)
    await fault(replica, name, worker="a2")
    view = await lift_quarantine(replica.context, "a1")
    assert (view.name, view.quarantined_at, view.quarantine_reason) == ("a1", None, None)
    assert isinstance(await replica.ask(name, worker="a2", host="a"), Grant)


async def test_an_unknown_worker_cannot_be_readmitted(replica: Replica) -> None:
    await replica.create()
    await replica.ask(None, worker="tower")
    with pytest.raises(DomainError, match="there is no worker 'towr'; did you mean 'tower'") as caught:
        await lift_quarantine(replica.context, "towr")
    assert caught.value.code is ErrorCode.UNKNOWN_WORKER


async def quarantined(replica: Replica) -> set[str]:
    return {view.name for view in (await list_workers(replica.context)).workers if view.quarantined_at is not None}


async def test_a_worker_is_not_taken_for_the_host_of_its_name(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    await do_well(replica, name)
    await do_well(replica, name, worker="a", host="elsewhere")
    await do_well(replica, name, worker="nowhere", host="")
    await fault(replica, name)
    await fault(replica, name)
    assert await quarantined(replica) == {"a1"}


async def test_a_worker_without_a_host_counts_as_its_own_host(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    await do_well(replica, name)
    await do_well(replica, name, worker="other", host="")
    await fault(replica, name, worker="alone", host="")
    await fault(replica, name, worker="alone", host="")
    assert await quarantined(replica) == {"alone"}
    assert isinstance(await replica.ask(name, worker="other", host=""), Grant)
    await lift_quarantine(replica.context, "other")
    assert await quarantined(replica) == {"alone"}
    await lift_quarantine(replica.context, "alone")
    assert await quarantined(replica) == set()


async def test_another_fault_in_quarantine_changes_neither_its_beginning_nor_its_reason(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    await do_well(replica, name)
    running = await replica.claim(name, worker="a1", host="a")
    await fault(replica, name)
    await fault(replica, name)
    before = {view.name: view.quarantine_reason for view in (await list_workers(replica.context)).workers}
    at = {view.name: view.quarantined_at for view in (await list_workers(replica.context)).workers}
    replica.clock.forward(5)
    await replica.fail(running, FailureClass.HOST_FAULT, message="another one")
    after = (await list_workers(replica.context)).workers
    assert {view.name: view.quarantine_reason for view in after} == before
    assert {view.name: view.quarantined_at for view in after} == at


async def test_readmission_leaves_other_hosts_in_quarantine(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 20})
    await do_well(replica, name)
    for host in ("a", "c"):
        await fault(replica, name, worker=f"{host}1", host=host)
        await fault(replica, name, worker=f"{host}1", host=host)
    assert await quarantined(replica) == {"a1", "c1"}
    await lift_quarantine(replica.context, "a1")
    assert await quarantined(replica) == {"c1"}


async def test_before_any_worker_has_come_a_readmission_says_so(replica: Replica) -> None:
    with pytest.raises(DomainError, match="there is no worker 'tower'; no worker has contacted the service yet"):
        await lift_quarantine(replica.context, "tower")
