"""A host that lacks what one study needs is excluded from that study until a user readmits it."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from service.contract.attempt import FailureClass, FinishReply, MemoryShortage
from service.contract.capabilities import Device
from service.contract.claim import Grant, NoTrial
from service.contract.study import PauseCause, StudyState
from service.contract.trial import TrialState
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.fsck import invariants
from service.usecases.maintenance.oom_expiry import expire_oom_waiters
from service.usecases.quarantine import lift_quarantine
from service.usecases.studies import lifecycle
from service.usecases.studies.deletion import delete_study, remove_deleted
from service.usecases.workers import list_workers
from tests.usecases.replica import LIMITS, Replica
from tests.usecases.test_isolation import damage

pytestmark = pytest.mark.anyio

MESSAGE = "FileNotFoundError: No such file or directory: '/data/houses.csv'"
COMMAND = {"command": ["true"]}
LONG = {"trials": 40}


async def fault(
    replica: Replica, name: str, *, host: str = "a", worker: str | None = None, scope: str = "study", **more: Any
) -> FinishReply:
    grant = await replica.claim(name, worker=worker or f"{host}1", host=host, **more)
    return await replica.fail(grant, FailureClass.HOST_FAULT, message=MESSAGE, scope=scope)


async def do_well(replica: Replica, name: str, host: str = "b") -> Grant:
    grant = await replica.claim(name, worker=f"{host}1", host=host)
    await replica.report(grant, 1, 0.5)
    return grant


async def exclude(replica: Replica, name: str, host: str = "a") -> None:
    """Exclude a host from a study; the host b trains the study's first trial."""
    await do_well(replica, name)
    for _ in range(2):
        assert (await fault(replica, name, host=host)).trial_state == "waiting"


async def quarantined(replica: Replica) -> set[str]:
    return {view.name for view in (await list_workers(replica.context)).workers if view.quarantined_at}


async def test_a_host_that_lacks_a_studys_file_trains_another_study(replica: Replica) -> None:
    broken, healthy = await replica.create(budget=LONG), await replica.create(budget=LONG)
    await exclude(replica, broken)
    for worker in ("a1", "a2"):  # every worker of the host, a new one too
        answer = await replica.ask(broken, worker=worker, host="a")
        assert isinstance(answer, NoTrial)
        assert answer.reason == (
            f"{broken}: the host a is excluded from this study: two faults in a row on a in this study alone; "
            f"the last: {MESSAGE}; repair it, then: study readmit a"
        )
        for name in (healthy, None):
            grant = await replica.claim(name, worker=worker, host="a")
            assert grant.study_name == healthy
            await replica.report(grant, 1, 0.5)
            await replica.finish(grant)
    assert await quarantined(replica) == set()
    assert "host_quarantined" not in await replica.kinds(broken)
    assert (await replica.kinds(broken)).count("host_excluded") == 1
    again = await replica.claim(broken, worker="b2", host="b")
    assert (again.number, again.attempt) == (1, 3)
    assert (await replica.study(broken)).num_trials == {TrialState.RUNNING: 2}, "nothing was charged"


async def test_views_show_which_host_is_excluded_and_why(replica: Replica) -> None:
    broken, healthy = await replica.create(), await replica.create()
    await exclude(replica, broken)
    (shown,) = (await replica.study(broken)).exclusions
    assert (shown.study, shown.host) == (broken, "a")
    assert shown.reason == f"two faults in a row on a in this study alone; the last: {MESSAGE}"
    assert (await replica.study(healthy)).exclusions == []
    workers = {view.name: view.exclusions for view in (await list_workers(replica.context)).workers}
    assert workers == {"a1": [shown], "b1": []}


async def test_a_worker_that_names_no_host_is_excluded_by_its_own_name(replica: Replica) -> None:
    name = await replica.create()
    await do_well(replica, name)
    for _ in range(2):
        grant = await replica.claim(name, worker="solo")
        await replica.fail(grant, FailureClass.HOST_FAULT, message=MESSAGE, scope="study")
    assert isinstance(await replica.ask(name, worker="solo"), NoTrial)
    assert isinstance(await replica.ask(name, worker="other"), Grant)
    await lift_quarantine(replica.context, "solo")
    assert (await replica.study(name)).exclusions == []


async def test_resuming_the_study_lifts_its_exclusions_alone(replica: Replica) -> None:
    first, second = await replica.create(budget=LONG), await replica.create(budget=LONG)
    for name in (first, second):
        await exclude(replica, name)
    await lifecycle.pause_study(replica.context, first, "the files are being copied")
    assert len((await replica.study(second)).exclusions) == 1
    assert (await lifecycle.resume_study(replica.context, first)).exclusions == []
    assert isinstance(await replica.ask(first, worker="a1", host="a"), Grant)
    assert isinstance(await replica.ask(second, worker="a1", host="a"), NoTrial)


@pytest.mark.parametrize("by", ["a", "a1"])
async def test_readmission_by_host_or_worker_lifts_the_exclusion(replica: Replica, by: str) -> None:
    name = await replica.create()
    await exclude(replica, name)
    assert isinstance(await replica.ask(name, worker="a2", host="a"), NoTrial)
    view = await lift_quarantine(replica.context, by)
    assert (view.host, view.exclusions) == ("a", [])
    assert (await replica.study(name)).exclusions == []
    assert isinstance(await replica.ask(name, worker="a2", host="a"), Grant)


async def test_a_success_in_between_forgives(replica: Replica) -> None:
    name = await replica.create(budget=LONG)
    await do_well(replica, name)
    await fault(replica, name)
    await replica.finish(await do_well(replica, name, "a"))
    await fault(replica, name)
    assert isinstance(await replica.ask(name, worker="a1", host="a"), Grant)


async def test_other_studies_that_do_well_there_in_between_forgive_nothing(replica: Replica) -> None:
    broken, healthy = await replica.create(budget=LONG), await replica.create(budget=LONG)
    await do_well(replica, broken)
    for _ in range(2):
        await fault(replica, broken)
        await replica.finish(await do_well(replica, healthy, "a"))
    assert isinstance(await replica.ask(broken, worker="a1", host="a"), NoTrial)


async def test_faults_of_both_scopes_are_counted_apart(replica: Replica) -> None:
    first, second = await replica.create(budget=LONG), await replica.create(budget=LONG)
    for name in (first, second):
        await do_well(replica, name)
    await fault(replica, first)
    await fault(replica, second)
    await fault(replica, second, scope="host")
    assert await quarantined(replica) == set(), "the files that two studies lack say nothing about the host"
    assert (await replica.study(first)).exclusions == []
    await fault(replica, first)
    assert await quarantined(replica) == set()
    assert [each.host for each in (await replica.study(first)).exclusions] == ["a"]
    await fault(replica, second, scope="host")
    assert await quarantined(replica) == {"a1"}, "two faults of the host in a row, a study's in between"


async def test_a_trial_that_has_not_reported_yet_on_another_host_counts(replica: Replica) -> None:
    """Where the first epoch of the healthy host takes long, the other one must not pause the study meanwhile."""
    name = await replica.create(budget=LONG)
    await replica.claim(name, worker="b1", host="b")
    for _ in range(2):
        assert (await fault(replica, name)).trial_state == "waiting"
    assert isinstance(await replica.ask(name, worker="a1", host="a"), NoTrial)
    assert (await replica.study(name)).state is StudyState.ACTIVE


async def test_attempts_that_ran_on_the_host_when_it_was_excluded_end_uncharged(replica: Replica) -> None:
    name = await replica.create(budget=LONG)
    await do_well(replica, name)
    grants = [await replica.claim(name, worker=f"a{number}", host="a") for number in range(3)]
    for grant in grants:
        reply = await replica.fail(grant, FailureClass.HOST_FAULT, message=MESSAGE, scope="study")
        assert reply.trial_state == "waiting"
    assert len((await replica.study(name)).exclusions) == 1
    assert (await replica.kinds(name)).count("host_excluded") == 1


async def test_a_study_whose_file_no_host_has_any_more_pauses_with_the_reason(replica: Replica) -> None:
    """Once every other host is excluded, the last one's faults are charged as those of an only host."""
    name = await replica.create(budget=LONG)
    await replica.claim(name, worker="c1", host="c")
    for _ in range(2):
        await fault(replica, name, host="b")
    await replica.lose()
    for _ in range(6):
        if (await replica.study(name)).state is not StudyState.ACTIVE:
            break
        await fault(replica, name, host="c")
    study = await replica.study(name)
    assert (study.state, study.pause_cause) == (StudyState.PAUSED, PauseCause.FAILURES)
    assert study.state_reason == f"the first 3 trials all failed with the same error: {MESSAGE}"
    assert study.num_trials[TrialState.FAILED] == 3


async def test_a_host_that_did_well_before_its_exclusion_does_better_no_more(replica: Replica) -> None:
    name = await replica.create(budget=LONG)
    await replica.finish(await do_well(replica, name, "b"))
    running = await do_well(replica, name, "c")
    for _ in range(2):
        await fault(replica, name, host="b")
    await replica.finish(running)
    assert [(await fault(replica, name, host="c")).trial_state for _ in range(2)] == ["waiting", "failed"]
    assert [each.host for each in (await replica.study(name)).exclusions] == ["b"]


async def test_a_study_that_only_excluded_hosts_are_there_for_says_so(replica: Replica) -> None:
    name = await replica.create(task=COMMAND)
    await exclude(replica, name)
    assert (await replica.study(name)).no_worker_reason is None, "the host b serves it"
    with replica.database.writer.begin() as connection:
        connection.execute(tables.worker.update().where(tables.worker.c.name == "b1").values(last_seen_at=0))
    told = (await replica.study(name)).no_worker_reason or ""
    assert told.startswith("the host a is excluded from this study: two faults in a row on a")
    assert told.endswith("repair it, then: study readmit a")
    await lift_quarantine(replica.context, "a")
    assert (await replica.study(name)).no_worker_reason is None


async def test_a_study_that_only_quarantined_hosts_are_there_for_says_so(replica: Replica) -> None:
    name = await replica.create(task=COMMAND)
    await do_well(replica, name)
    for _ in range(2):
        await fault(replica, name, scope="host")
    with replica.database.writer.begin() as connection:
        connection.execute(tables.worker.update().where(tables.worker.c.name == "b1").values(last_seen_at=0))
    told = (await replica.study(name)).no_worker_reason or ""
    assert told.startswith("the host a is quarantined: two host faults in a row on a while other hosts succeed")
    assert told.endswith("repair it, then: study readmit a")


async def test_a_deleted_study_leaves_no_exclusion(replica: Replica) -> None:
    name = await replica.create()
    await exclude(replica, name)
    await replica.lose()
    await delete_study(replica.context, name)
    workers = {view.name: view.exclusions for view in (await list_workers(replica.context)).workers}
    assert workers == {"a1": [], "b1": []}, "not told from the moment on that the study is deleted"
    replica.clock.forward(LIMITS.removal_seconds + 1)
    while await remove_deleted(replica.context):
        pass
    with replica.database.writer.connect() as connection:
        assert connection.execute(sa.select(tables.study_host_exclusion)).all() == []
    assert not any(each.broken for each in replica.database.read_sync(invariants.check))


async def test_no_trial_waits_for_the_larger_gpu_of_an_excluded_host(replica: Replica) -> None:
    name = await replica.create(budget=LONG)
    small, large = ({"devices": [Device(kind="cuda", memory_gib=gib)]} for gib in (8, 80))
    await do_well(replica, name)
    for _ in range(2):
        await fault(replica, name, **large)
    replica.clock.forward(LIMITS.gone_seconds + 1)
    await replica.ask(None, worker="a1", host="a", **large)
    grant = await replica.claim(name, worker="c1", host="c", **small)
    shortage = MemoryShortage(place="device", total_gib=8)
    reply = await replica.fail(grant, FailureClass.OUT_OF_MEMORY, message="CUDA out of memory", shortage=shortage)
    assert reply.trial_state == TrialState.PRUNED


async def test_a_trial_that_waited_for_the_gpu_of_a_host_is_given_up_after_its_exclusion(replica: Replica) -> None:
    name = await replica.create(budget=LONG)
    small, large = ({"devices": [Device(kind="cuda", memory_gib=gib)]} for gib in (8, 80))
    await do_well(replica, name)
    await fault(replica, name, **large)
    grant = await replica.claim(name, worker="c1", host="c", **small)
    shortage = MemoryShortage(place="device", total_gib=8)
    reply = await replica.fail(grant, FailureClass.OUT_OF_MEMORY, message="CUDA out of memory", shortage=shortage)
    assert reply.trial_state == TrialState.WAITING
    await fault(replica, name, **large)
    assert await expire_oom_waiters(replica.context) == 0, "the host may be readmitted soon"
    replica.clock.forward(LIMITS.gone_seconds + 1)
    await replica.ask(None, worker="a1", host="a", **large)
    assert await expire_oom_waiters(replica.context) == 1


async def test_readmission_of_a_host_leaves_the_exclusion_of_another(replica: Replica) -> None:
    name = await replica.create(budget=LONG)
    for host in ("a", "c"):
        await exclude(replica, name, host)
    await lift_quarantine(replica.context, "a")
    assert [each.host for each in (await replica.study(name)).exclusions] == ["c"]


async def test_a_refused_readmission_names_no_worker_by_an_empty_host(replica: Replica) -> None:
    await replica.ask(None, worker="tower")
    with pytest.raises(DomainError) as caught:
        await lift_quarantine(replica.context, "t")
    assert caught.value.detail == "there is no worker 't'; known: tower"


@pytest.mark.parametrize("is_damaged", [False, True])
async def test_only_a_host_fault_is_stored_with_its_scope(replica: Replica, is_damaged: bool) -> None:
    name = await replica.create(budget=LONG)
    await do_well(replica, name)
    first, second = [await replica.claim(name, worker="a1", host="a") for _ in range(2)]
    if is_damaged:
        await damage(replica, name)
    await replica.fail(first, FailureClass.HOST_FAULT, message=MESSAGE, scope="study")
    await replica.fail(second, FailureClass.PROCESS_KILLED)
    query = sa.select(tables.attempt.c.fault_scope).where(tables.attempt.c.failure.is_not(None))
    scopes = await replica.database.read(
        lambda connection: connection.execute(query.order_by(tables.attempt.c.failure)).scalars().all()
    )
    assert scopes == ["study", None]
