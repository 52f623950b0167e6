"""The checker accepts a correct record, and finds every planted violation of a promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from service.contract.attempt import FailureClass, FinishRequest, Outcome
from service.contract.claim import Grant
from service.contract.report import Point, ReportRequest
from service.storage.database import Database
from service.usecases.attempts.finish import finish
from service.usecases.attempts.report import report
from tests.chaos.check import PROMISES, Known, violations
from tests.chaos.ledger import Claimed, Fact, Finished, Ledger, Reported, Saved, Trained, read
from tests.chaos.training import METRIC, values
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio

NUM_TRIALS, NUM_STEPS = 3, 4
SHA256 = "0" * 64


class Client:
    """A client that trains what it claims, and keeps a ledger as agents do."""

    def __init__(self, replica: Replica, study: str) -> None:
        self._replica = replica
        self._study = study
        self.facts: list[Fact] = []

    async def claim(self) -> Grant:
        request_id = f"request-{len(self.facts)}"
        grant = await self._replica.claim(self._study, request_id=request_id)
        assert grant.number is not None
        resume = grant.resume.step if grant.resume else None
        known = grant.trial, grant.attempt, grant.nonce, grant.number, grant.parameters, resume
        self.facts.append(Claimed(request_id, *known))
        return grant

    async def train(self, grant: Grant, until: int) -> None:
        first = grant.resume.step + 1 if grant.resume else 1
        measured = values(grant.seed, grant.parameters, NUM_STEPS)
        for sequence, step in enumerate(range(first, until + 1), start=1):
            key, value = (grant.trial, grant.attempt), measured[step]
            self.facts.append(Trained(*key, step, value))
            points = [Point(step=step, metrics={METRIC: value})]
            request = ReportRequest(nonce=grant.nonce, sequence=sequence, points=points)
            verdict = await report(self._replica.context, *key, request)
            self.facts.append(Reported(*key, sequence, step, value, verdict.action, verdict.reason))

    async def save(self, grant: Grant, step: int) -> None:
        await self._replica.checkpoint(grant, step, sha256=SHA256)
        self.facts.append(Saved(grant.trial, grant.attempt, step, SHA256))

    async def finish(self, grant: Grant, outcome: Outcome) -> None:
        request = FinishRequest(nonce=grant.nonce, outcome=outcome)
        reply = await finish(self._replica.context, grant.trial, grant.attempt, request)
        told = outcome.model_dump(mode="json"), reply.trial_state, reply.values
        self.facts.append(Finished(grant.trial, grant.attempt, *told))


@pytest.fixture
async def facts(database: Database) -> list[Fact]:
    """A study of three trials, the first of which was lost at step 2 and resumed from there."""
    replica = Replica(database)
    objective, resource = {"metric": METRIC, "direction": "maximize"}, {"name": "epoch", "max": NUM_STEPS}
    study = await replica.create(objective=objective, resource=resource, budget={"trials": NUM_TRIALS})
    client = Client(replica, study)
    lost = await client.claim()
    await client.train(lost, until=2)
    await client.save(lost, 2)
    await client.finish(lost, Outcome(result="failed", failure=FailureClass.PROCESS_KILLED))
    for _ in range(NUM_TRIALS):
        grant = await client.claim()
        await client.train(grant, until=NUM_STEPS)
        await client.finish(grant, Outcome(result="succeeded"))
    return client.facts


def broken(database: Database, facts: list[Fact], num_trials: int = NUM_TRIALS) -> set[str]:
    """The promises that the checker sees broken, by the names of what asked for them."""
    known = Known.of(facts)
    found = database.read_sync(lambda connection: violations(connection, known, num_trials, NUM_STEPS))
    return {PROMISES[sentence].__name__ for sentence, said in found.items() if said}


async def test_a_true_story_breaks_no_promise(database: Database, facts: list[Fact]) -> None:
    assert broken(database, facts) == set()


MEDDLING = {
    "DELETE FROM report WHERE step = 3": {"_acknowledged", "_canonical"},
    "UPDATE report SET value = 0.5 WHERE step = 3": {"_acknowledged", "_invented", "_valued"},
    "DELETE FROM verdict WHERE sequence = 1": {"_acknowledged"},
    "DELETE FROM checkpoint": {"_acknowledged"},
    "DELETE FROM claim": {"_acknowledged"},
    "UPDATE attempt SET nonce = 'another'": {"_acknowledged"},
    "UPDATE attempt SET outcome = NULL": {"_acknowledged"},
    "UPDATE trial SET state = 'waiting' WHERE number = 1": {"_lost", "_acknowledged"},
    "UPDATE trial SET number = 7 WHERE number = 1": {"_lost", "_acknowledged"},
    "UPDATE trial SET value = 0.5 WHERE number = 1": {"_acknowledged", "_valued"},
    "UPDATE trial SET seed = seed + 1 WHERE number = 1": {"_valued"},
    "DELETE FROM journal WHERE kind = 'trial_completed' AND trial_number = 1": {"_ended_once"},
    "UPDATE attempt SET resume_step = NULL": {"_canonical"},
    "UPDATE study SET next_number = 9": {"broken_invariants"},
}


@pytest.mark.parametrize("statement", MEDDLING)
async def test_a_database_that_was_meddled_with_is_found_out(
    database: Database, facts: list[Fact], statement: str
) -> None:
    with database.writer.begin() as connection:
        connection.execute(sa.text(statement))
    assert MEDDLING[statement] <= broken(database, facts)


def completed_by_another(facts: list[Fact]) -> list[Fact]:
    """The first trial, completed by its first attempt as well."""
    end = next(fact for fact in facts if isinstance(fact, Finished) and fact.attempt == 2)
    return [*facts, replace(end, attempt=1)]


def untrained(facts: list[Fact]) -> list[Fact]:
    return [fact for fact in facts if not (isinstance(fact, Trained) and fact.step == 1)]


def untold(facts: list[Fact]) -> list[Fact]:
    return [fact for fact in facts if not isinstance(fact, Finished)]


def told_more(facts: list[Fact]) -> list[Fact]:
    """A report that the service took and forgot."""
    last = [fact for fact in facts if isinstance(fact, Reported)][-1]
    return [*facts, replace(last, step=5, sequence=5)]


@pytest.mark.parametrize(
    ("change", "promise"),
    [
        (completed_by_another, "_ended_once"),
        (untold, "_ended_once"),
        (untrained, "_invented"),
        (told_more, "_acknowledged"),
    ],
)
async def test_clients_that_know_otherwise_are_heard(
    database: Database, facts: list[Fact], change: Callable[[list[Fact]], list[Fact]], promise: str
) -> None:
    assert promise in broken(database, change(facts))


async def test_a_budget_that_was_not_spent_is_found_out(database: Database, facts: list[Fact]) -> None:
    assert broken(database, facts, NUM_TRIALS + 1) == {"_lost"}


async def test_every_promise_is_broken_by_some_meddling() -> None:
    shown = set().union(*MEDDLING.values()) | {"_ended_once", "_invented"}
    assert shown == {asked.__name__ for asked in PROMISES.values()}


async def test_a_ledger_reads_as_it_was_written(facts: list[Fact], tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    for fact in facts:
        ledger.note(fact)
    ledger.close()
    assert list(read([tmp_path / "ledger"])) == facts
    assert Known.of(facts).num_trained == NUM_TRIALS * NUM_STEPS
