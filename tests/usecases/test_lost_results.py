"""Six cases in which Optuna 5 loses a trial or a result: none is lost here, on SQLite and on Postgres.

What Optuna makes of each is in benchmarks/results/optuna.md, as benchmarks/optuna_cases.py saw it.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import Client
from service.client.errors import ServiceUnreachable
from service.contract.attempt import FinishReply, FinishRequest, HeartbeatReply, HeartbeatRequest, Outcome
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant
from service.contract.problem import ErrorCode
from service.contract.trial import AttemptState, TrialState
from service.domain.errors import DomainError
from service.storage.database import open_database
from service.storage.fsck.invariants import check
from tests.support.service import ROOT, running_service
from tests.usecases.replica import Replica, spec_of
from tests.worker.waiting import eventually
from worker.agent.attempts import ActiveAttempts
from worker.agent.connectivity import ServiceStatus
from worker.agent.heartbeat import Heartbeat

pytestmark = pytest.mark.anyio


async def clean(replica: Replica) -> bool:
    return not any(each.broken for each in await replica.database.read(check))


async def refused(code: ErrorCode, call: object) -> None:
    with pytest.raises(DomainError) as caught:
        await call  # type: ignore[misc]
    assert caught.value.code is code, caught.value


async def test_a_worker_dead_before_its_first_heartbeat(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    dead = await replica.claim(name, worker="dead")
    assert await replica.lose() == 1
    next_one = await replica.claim(name, worker="alive")
    assert (next_one.trial, next_one.number, next_one.parameters) == (dead.trial, 0, dead.parameters)
    await replica.report(next_one, 1, 0.5)
    assert (await replica.finish(next_one)).values == [0.5]
    assert await clean(replica)


@contextlib.contextmanager
def opened(url: str) -> Iterator[Replica]:
    database = open_database(url)
    try:
        yield Replica(database)
    finally:
        database.close()


def stop_the_reaper_between(url: str, *, seconds_ahead: float) -> None:
    command = [sys.executable, "-m", "tests.usecases.dying_reaper", url, str(seconds_ahead)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as reaper:
        assert reaper.stdout is not None
        assert reaper.stdout.readline() == "the attempt is lost, its trial does not wait yet\n"
        reaper.kill()


@pytest.mark.slow
async def test_the_reaper_killed_between_loss_and_requeue(empty_database_url: str) -> None:
    with opened(empty_database_url) as replica:
        name = await replica.create(budget={"trials": 1})
        silent = await replica.claim(name)
    stop_the_reaper_between(empty_database_url, seconds_ahead=61)
    with opened(empty_database_url) as replica:
        trial = await replica.trial(name, 0)
        assert (trial.state, trial.attempts[0].state) == (TrialState.RUNNING, AttemptState.RUNNING)
        assert await clean(replica)
        replica.clock.forward(61)
        assert await replica.reap() == 1
        assert (await replica.kinds(name))[-2:] == ["attempt_lost", "trial_requeued"]
        assert (await replica.claim(name)).trial == silent.trial
        assert await clean(replica)


class Unsteady(Client):
    """A client whose second heartbeat does not get through."""

    num_heartbeats = 0
    num_renewed = 0

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatReply:
        self.num_heartbeats += 1
        if self.num_heartbeats == 2:
            raise ServiceUnreachable("the network was away for a moment")
        reply = super().heartbeat(request)
        self.num_renewed += all(lease.held for lease in reply.leases)
        return reply


@pytest.mark.prove
def test_one_transient_error_in_a_heartbeat(empty_database_url: str, tmp_path: Path) -> None:
    short = {"ASSAYER_HEARTBEAT_SECONDS": "0.5", "ASSAYER_LEASE_SECONDS": "3", "ASSAYER_REAPER_SECONDS": "0.2"}
    with (
        running_service(tmp_path, database=empty_database_url, environment=short) as service,
        Unsteady(service.url) as client,
    ):
        study = client.create_study(spec_of())
        asked_at = time.monotonic()
        grant = claim(client, study.name)
        with Heartbeat(client, "w", ActiveAttempts(), ServiceStatus(service.url)) as heartbeat:
            attempt = heartbeat.start_renewing(grant, asked_at)
            # For two leases' length: without a heartbeat the trial would be another's by now.
            assert eventually(lambda: attempt.expires_at > asked_at + 3 * grant.lease_seconds, 30)
        assert client.num_renewed >= client.num_heartbeats - 1 > 2
        finished = client.finish(
            grant.trial, grant.attempt, FinishRequest(nonce=grant.nonce, outcome=Outcome(result="released"))
        )
        assert finished == FinishReply(trial_state=TrialState.WAITING, values=None)
        [only] = client.trial(study.name, 0).attempts
        assert only.state is AttemptState.RELEASED


def claim(client: Client, study: str) -> Grant:
    request = ClaimRequest(
        request_id=f"a-claim-{threading.get_ident()}",
        worker="w",
        capabilities=Capabilities(tasks=[TaskKind.EXTERNAL]),
        studies=[study],
    )
    answer = client.claim(request)
    assert isinstance(answer, Grant)
    return answer


async def test_a_foreign_worker_finishing_a_trial(replica: Replica) -> None:
    name = await replica.create()
    own, foreign = await replica.claim(name), await replica.claim(name, worker="foreign")
    await replica.report(own, 1, 0.5)
    for nonce in (foreign.nonce, "guessed"):
        await refused(ErrorCode.LEASE_SUPERSEDED, replica.finish(own, nonce=nonce))
        await refused(ErrorCode.LEASE_SUPERSEDED, replica.finish(own, "pruned", nonce=nonce))
    assert (await replica.trial(name, 0)).state is TrialState.RUNNING
    assert (await replica.finish(own)).values == [0.5]
    assert await clean(replica)


async def test_a_duplicate_step_with_another_value(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    await refused(ErrorCode.REPORT_CONFLICT, replica.report(grant, 1, 0.9))
    await refused(ErrorCode.REPORT_CONFLICT, replica.report(grant, 2, 0.9, step=1))
    await replica.report(grant, 1, 0.5)
    assert (await replica.trial(name, 0)).series[0].values == [0.5]
    assert (await replica.finish(grant)).values == [0.5]
    assert await clean(replica)


async def test_a_late_finish(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    assert await replica.lose() == 1
    assert await replica.finish(grant) == FinishReply(trial_state=TrialState.COMPLETED, values=[0.5])
    [only] = await replica.trials(name)
    assert (only.number, only.values, only.num_attempts) == (0, [0.5], 1)
    assert await clean(replica)


async def test_a_finish_so_late_that_another_has_begun(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    late = await replica.claim(name)
    await replica.report(late, 1, 0.9)
    assert await replica.lose() == 1
    now = await replica.claim(name, worker="other")
    await refused(ErrorCode.LEASE_SUPERSEDED, replica.finish(late))
    await replica.report(now, 1, 0.5)
    assert (await replica.finish(now)).values == [0.5]
    assert await clean(replica)
