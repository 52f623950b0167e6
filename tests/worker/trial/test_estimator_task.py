"""The task kind `estimator` behind its channel: reports, orders, predictions, and outcomes."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from service.contract.attempt import Outcome
from service.contract.base import TaskKind
from service.contract.claim import Grant
from tests.worker.grants import grant, start_of
from worker.protocol import Message, MessageDecoder, Order, PredictionsSaved, Provenance, Report, encode
from worker.training import ConfigError
from worker.training.predictions_file import read
from worker.trial.channel import Channel
from worker.trial.classify import failure_outcome
from worker.trial.tasks.dispatch import dispatch

TASK = {"data": {"name": "wine"}, "model": {"name": "hist_boosting", "max_iter": 25}}


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    agent, process = socket.socketpair()
    with agent, process:
        yield agent, process


def run(
    sockets: Sequence[socket.socket], folder: Path, *orders: Order, **changes: Any
) -> tuple[Outcome, list[Message]]:
    agent, process = sockets
    for order in orders:
        agent.sendall(encode(order))
    granted: Grant = grant(**{"task_kind": TaskKind.ESTIMATOR, "task": TASK, "parameters": {}, **changes})
    outcome = dispatch(granted, start_of(granted, folder), Channel(process))
    return outcome, MessageDecoder().feed(agent.recv(1 << 20))


def test_it_reports_each_block_tests_once_and_keeps_its_predictions(
    sockets: Sequence[socket.socket], tmp_path: Path
) -> None:
    outcome, said = run(sockets, tmp_path)
    assert [message.step for message in said if isinstance(message, Report)] == [10, 20, 25]
    assert isinstance(said[0], Provenance)
    assert said[0].data is not None
    assert outcome.result == "succeeded"
    assert {"test/accuracy", "val/accuracy", "seconds", "num_parameters"} <= set(outcome.metrics)
    assert outcome.confusion is not None
    assert set(outcome.confusion.splits) == {"val", "test"}
    [saved] = [message for message in said if isinstance(message, PredictionsSaved)]
    predictions, classes = read(Path(saved.path))
    assert (set(predictions), len(classes)) == ({"val", "test"}, 3)


def test_an_order_to_stop_prunes_it_after_a_block(sockets: Sequence[socket.socket], tmp_path: Path) -> None:
    outcome, said = run(sockets, tmp_path, Order("stop", "worse than the median"))
    assert [message.step for message in said if isinstance(message, Report)] == [10]
    assert (outcome.result, outcome.message) == ("pruned", "worse than the median")
    assert not any(name.startswith("test/") for name in outcome.metrics)


def test_it_pauses_at_its_rung_and_ends_at_its_last_step(sockets: Sequence[socket.socket], tmp_path: Path) -> None:
    outcome, said = run(sockets, tmp_path, run_until=15, pauses=True)
    assert [message.step for message in said if isinstance(message, Report)] == [10, 15]
    assert outcome.result == "paused"
    assert not any(name.startswith("test/") for name in outcome.metrics)
    outcome, _ = run(sockets, tmp_path, run_until=15)
    assert outcome.result == "succeeded"
    assert "test/accuracy" in outcome.metrics


@pytest.mark.parametrize(
    ("parameters", "failure"),
    [({"model.max_iter": 25}, ("host_fault", "study")), ({"data.path": "nowhere.csv"}, ("invalid", "host"))],
)
def test_a_missing_file_is_the_hosts_fault_unless_a_parameter_names_it(
    sockets: Sequence[socket.socket], tmp_path: Path, parameters: dict[str, Any], failure: tuple[str, str]
) -> None:
    task = {**TASK, "data": {"name": "csv", "path": "nowhere.csv", "target": "price"}}
    with pytest.raises(ConfigError, match=r"data\.path: there is no file 'nowhere\.csv'") as found:
        run(sockets, tmp_path, task=task, parameters=parameters)
    outcome = failure_outcome(found.value)
    assert (outcome.failure, outcome.scope) == failure
