"""A final refusal by the service ends that attempt only; the worker continues."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import Client
from service.contract.attempt import FailureClass, FinishRequest, Outcome
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant
from service.contract.report import Point, ReportRequest
from service.contract.trial import AttemptState, TrialState
from tests.e2e.test_worker import child_of, endless, training
from tests.support.forked_commands import TRAINING
from tests.support.service import Service, running_service
from tests.usecases.replica import spec_of
from tests.worker.waiting import eventually
from worker.agent.attempts import ActiveAttempt, ActiveAttempts, AttemptKey
from worker.agent.connectivity import ServiceStatus
from worker.agent.outbox.outbox import Outbox
from worker.agent.outbox.sender import Sender

pytestmark = pytest.mark.prove

START_SECONDS = 60.0


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    short = {"ASSAYER_HEARTBEAT_SECONDS": "0.5", "ASSAYER_LEASE_SECONDS": "3", "ASSAYER_REAPER_SECONDS": "0.5"}
    with running_service(tmp_path_factory.mktemp("service"), environment=short) as service:
        yield service


@pytest.fixture
def client(live: Service) -> Iterator[Client]:
    with Client(live.url) as connected:
        yield connected


@contextlib.contextmanager
def working(live: Service, study: str, state_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker for the length of a block."""
    command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", live.url]
    command += ["--state-dir", str(state_dir), "--study", study, "--until-done"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
    with TRAINING.popen(command, env=environment, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def claim(client: Client, study: str, task: TaskKind, number: int = 0) -> Grant:
    request = ClaimRequest(
        request_id=f"{study}-claim-{number}",
        worker="by-hand",
        capabilities=Capabilities(tasks=[task]),
        studies=[study],
    )
    answer = client.claim(request)
    assert isinstance(answer, Grant), answer
    return answer


def test_a_worker_that_has_lost_its_lease_stops_its_child_and_trains_the_next_trial(
    live: Service, client: Client, tmp_path: Path
) -> None:
    client.create_study(endless("taken") | {"budget": {"trials": 2}})
    with working(live, "taken", tmp_path) as process:
        assert eventually(lambda: training(client, "taken"), START_SECONDS)
        child = child_of(process)

        # The host stands still for longer than a lease, but for the training process; another worker ends the trial.
        process.send_signal(signal.SIGSTOP)
        assert eventually(lambda: client.trial("taken", 0).state is TrialState.WAITING, START_SECONDS)
        other = claim(client, "taken", TaskKind.TRAIN)
        assert (other.number, other.attempt) == (0, 2)
        step = other.resume.step + 1 if other.resume else 1
        points = [Point(step=step, metrics={"val/accuracy": 0.25})]
        client.report(other.trial, 2, ReportRequest(nonce=other.nonce, sequence=1, points=points))
        client.finish(other.trial, 2, FinishRequest(nonce=other.nonce, outcome=Outcome(result="succeeded")))
        before = client.trial("taken", 0)
        os.kill(child, 0)

        process.send_signal(signal.SIGCONT)
        assert eventually(lambda: not Path(f"/proc/{child}").exists(), 20)
        assert eventually(lambda: len(client.trials("taken").trials) == 2, START_SECONDS)
        assert client.trial("taken", 1).attempts[0].worker == before.attempts[0].worker
        assert client.trial("taken", 0) == before
        [path] = tmp_path.glob("*/outbox.sqlite")
        outbox = Outbox(path)
        assert {key for key, _ in outbox.dead_letters()} == {AttemptKey(other.trial, 1)}
        assert all("drop the trial" in reason for _, reason in outbox.dead_letters())
        outbox.close()
        client.stop("taken")
        assert process.wait(START_SECONDS) == 0


def test_a_report_refused_for_good_ends_its_attempt_invalid_and_what_comes_later_counts(
    client: Client, tmp_path: Path
) -> None:
    study = client.create_study(spec_of()).name
    outbox, held = Outbox(tmp_path / "outbox.sqlite"), ActiveAttempts()

    def hold(number: int) -> AttemptKey:
        outbox.claim_id("cpu")
        grant = claim(client, study, TaskKind.EXTERNAL, number)
        outbox.ack_claim("cpu", grant)
        held.add(ActiveAttempt(grant, expires_at=time.monotonic() + 60))
        return AttemptKey(grant.trial, grant.attempt)

    def point(step: int, value: float) -> Point:
        return Point(step=step, metrics={"loss": value})

    refused, later = hold(0), hold(1)
    with Sender(client, outbox, held, ServiceStatus(client.server)) as sender:
        for value in (0.5, 0.9):  # the same step with another value
            sender.add_report(refused, point(1, value))
        sender.add_outcome(refused, Outcome(result="succeeded"))
        sender.add_report(later, point(1, 0.4))
        sender.add_outcome(later, Outcome(result="succeeded"))
        assert sender.wait_until_sent(None, START_SECONDS)
    ended = client.trial(study, 0)
    assert [(each.state, each.failure) for each in ended.attempts] == [(AttemptState.FAILED, FailureClass.INVALID)]
    assert "loss at step 1 is already 0.5, now 0.9 was sent" in (ended.attempts[0].message or "")
    assert ended.series[0].values == [0.5]
    assert {key for key, _ in outbox.dead_letters()} == {refused}
    assert all("now 0.9 was sent" in reason for _, reason in outbox.dead_letters())
    assert client.trial(study, 1).values == [0.4]
    outbox.close()
