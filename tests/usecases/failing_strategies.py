"""Studies whose sampler or pruner raises or hangs, for tests of isolation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from service.domain.history import History, Suggestion
from service.search.pruners.threshold import ThresholdPruner
from service.search.samplers.random import RandomSampler
from service.storage import tables
from service.storage.fsck import invariants
from tests.usecases.replica import Replica

POISON = 666
"""The seed of a study whose sampler, and the limit of one whose pruner, does what `Trouble` says."""
POISONED: dict[str, Any] = {"sampler": {"name": "random", "seed": POISON}, "priority": 9}
POISONED_PRUNER: dict[str, Any] = {"pruner": {"name": "threshold", "upper": POISON}}


class Trouble:
    """What the strategies of poisoned studies do; None: they work."""

    error: Exception | None = KeyError("weights")
    blocks: threading.Event | None = None

    def strike(self) -> None:
        if self.blocks is not None:
            assert self.blocks.wait(30)
        elif self.error is not None:
            raise self.error.with_traceback(None)  # that of an earlier test is not cut off otherwise


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trouble]:
    chosen = Trouble()
    suggest, judge = RandomSampler.suggest, ThresholdPruner.judge

    def suggesting(sampler: RandomSampler, history: History, number: int, seed: int) -> Suggestion:
        if seed == POISON:
            chosen.strike()
        return suggest(sampler, history, number, seed)

    def judging(pruner: ThresholdPruner, history: History, number: int) -> Any:
        if pruner._upper == POISON:
            chosen.strike()
        return judge(pruner, history, number)

    monkeypatch.setattr(RandomSampler, "suggest", suggesting)
    monkeypatch.setattr(ThresholdPruner, "judge", judging)
    yield chosen
    if chosen.blocks is not None:
        chosen.blocks.set()


def hurry(replica: Replica, **limits: float) -> None:
    replica.context = replace(replica.context, limits=replace(replica.context.limits, **limits))


def state_of(replica: Replica, name: str) -> sa.Row[Any]:
    with replica.database.writer.connect() as connection:
        return connection.execute(sa.select(tables.study).where(tables.study.c.name == name)).one()


def require_no_finding(replica: Replica) -> None:
    with replica.database.writer.connect() as connection:
        assert not [each for each in invariants.check(connection) if each.broken]
