"""Shared by the worker's tests: a scripted service and the parts of an agent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import Client
from service.contract.report import Action
from tests.worker.scripted_service import Scripted, scripted_service
from worker.agent.attempts import ActiveAttempts
from worker.agent.connectivity import ServiceStatus
from worker.agent.outbox.outbox import Outbox


class HeardProcess:
    """The agent's end of a training process, for tests that only ask what it would have been told."""

    def __init__(self) -> None:
        self.orders: list[tuple[Action, str]] = []
        self.answers: list[int] = []
        self.num_terminations = 0

    def order(self, action: Action, reason: str) -> None:
        self.orders.append((action, reason))

    def send_verdict_ready(self, step: int) -> None:
        self.answers.append(step)

    def terminate(self) -> None:
        self.num_terminations += 1


@pytest.fixture
def process() -> HeardProcess:
    return HeardProcess()


@pytest.fixture
def scripted() -> Iterator[tuple[Scripted, Client]]:
    with scripted_service() as pair:
        yield pair


@pytest.fixture
def script(scripted: tuple[Scripted, Client]) -> Scripted:
    return scripted[0]


@pytest.fixture
def client(scripted: tuple[Scripted, Client]) -> Client:
    return scripted[1]


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox(tmp_path / "outbox.sqlite")
    yield box
    box.close()


@pytest.fixture
def held() -> ActiveAttempts:
    return ActiveAttempts()


@pytest.fixture
def service_status(script: Scripted) -> ServiceStatus:
    return ServiceStatus(script.url)
