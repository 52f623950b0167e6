"""Diagnosis rounds that go wrong: rules that raise or never end, two replicas, deletions, restores, damaged rows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from service.analysis.diagnosis.facts import StudyFacts, TrialFacts
from service.contract.finding import Finding
from service.contract.study import StudyState
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.database import Database
from service.storage.fsck.invariants import check
from service.usecases import diagnosis_lookup as stored
from service.usecases.maintenance import diagnosis, judgement
from service.usecases.maintenance.diagnosis import diagnose_due
from service.usecases.maintenance.restore import begin_epoch
from service.usecases.studies import deletion
from tests.usecases.diagnosed import RULES, many_rise, rises, searched, shown, shown_trial
from tests.usecases.replica import Replica

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("at_once")]


async def test_a_rule_that_raises_spoils_neither_other_trials_nor_other_studies(
    replica: Replica, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = await searched(replica, name="first"), await searched(replica, name="second")

    def of_trial(facts: TrialFacts) -> Sequence[Finding]:
        if facts.curves["loss"][-1][1] == 0.75:
            raise ValueError("no such luck")
        return rises(facts)

    rules = replace(RULES, of_trial=of_trial)
    with caplog.at_level(logging.WARNING):
        assert await diagnose_due(replica.context, rules) == 2
        for name in (first, second):
            now = await shown(replica, name)
            assert now.error == "trial 1: the rules for trials raised ValueError: no such luck"
            assert (now.lags, now.trial_findings[0].trials) == (False, [2])
            assert (await shown_trial(replica, name, 1)).error == "the rules for trials raised ValueError: no such luck"
            assert (await replica.study(name)).state is StudyState.ACTIVE
        await replica.train(first, 0.5)
        await diagnose_due(replica.context, rules)
    assert caplog.text.count("no such luck") == 2, "once per study"


async def test_a_rule_for_studies_that_raises_leaves_the_findings_about_trials(replica: Replica) -> None:
    def of_study(_: StudyFacts) -> Sequence[Finding]:
        raise KeyError("x")

    name = await searched(replica)
    await diagnose_due(replica.context, replace(RULES, of_study=of_study))
    now = await shown(replica, name)
    assert now.error == "the rules for studies raised KeyError: 'x'"
    assert (now.lags, now.trial_findings[0].trials) == (False, [1, 2])


async def test_a_finding_that_no_database_can_hold_counts_as_an_error(replica: Replica) -> None:
    def of_trial(facts: TrialFacts) -> Sequence[Finding]:
        return [each.model_copy(update={"sentence": "\ud800"}) for each in rises(facts)]

    name = await searched(replica)
    await diagnose_due(replica.context, replace(RULES, of_trial=of_trial))
    now = await shown(replica, name)
    assert now.error is not None
    assert (now.lags, now.num_judged) == (False, 3)


async def test_a_rule_that_takes_too_long_keeps_no_other_study_waiting(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "WAIT_SECONDS", 0.05)
    slow, quick = await searched(replica, name="slow"), await searched(replica, name="quick")
    go_on = asyncio.Event()
    loop = asyncio.get_running_loop()

    def of_study(facts: StudyFacts) -> Sequence[Finding]:
        if facts.spec.name == slow:
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(timeout=30)
        return many_rise(facts)

    rules = replace(RULES, of_study=of_study)
    await diagnose_due(replica.context, rules)
    assert ((await shown(replica, slow)).lags, (await shown(replica, quick)).lags) == (True, False)
    go_on.set()
    monkeypatch.setattr(diagnosis, "WAIT_SECONDS", 10.0)
    await diagnose_due(replica.context, rules)
    assert not (await shown(replica, slow)).lags


async def test_a_study_whose_spec_is_damaged_is_marked(replica: Replica, caplog: pytest.LogCaptureFixture) -> None:
    sick, healthy = await searched(replica, name="sick"), await searched(replica, name="healthy")
    spec = tables.study_spec
    study_id = (await replica.study(sick)).id
    with replica.database.writer.begin() as connection:
        connection.execute(spec.update().where(spec.c.study_id == study_id).values(spec=[1]))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await diagnose_due(replica.context, RULES)
    assert not (await shown(replica, healthy)).lags
    now = await shown(replica, sick)
    assert now.error is not None
    assert "damaged" in now.error
    assert caplog.text.count("the diagnosis failed") == 1


async def test_other_rules_judge_everything_again(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    name = await searched(replica)
    await diagnose_due(replica.context, RULES)

    def none(_: TrialFacts) -> Sequence[Finding]:
        return []

    changed = replace(RULES, of_trial=none, version="changed")
    assert await diagnose_due(replica.context, changed) == 0, "a replica with the other rules may still be there"
    monkeypatch.setattr(diagnosis, "ABANDONED_SECONDS", 0.0)
    monkeypatch.setattr(stored, "rules_version", lambda: "changed")
    assert (await shown(replica, name)).num_waiting == 3
    assert await diagnose_due(replica.context, changed) == 1
    now = await shown(replica, name)
    assert (now.lags, now.num_waiting, now.findings, now.trial_findings) == (False, 0, [], [])


async def test_nothing_of_a_deleted_study_is_stored(replica: Replica) -> None:
    name = await searched(replica)

    def of_study(_: StudyFacts) -> Sequence[Finding]:
        table = tables.study
        with replica.database.writer.begin() as connection:
            connection.execute(table.update().values(deleted_at=0, name="gone"))
        return []

    assert await diagnose_due(replica.context, replace(RULES, of_study=of_study)) == 0
    assert await diagnose_due(replica.context, RULES) == 0
    with pytest.raises(DomainError, match="no study"):
        await shown(replica, name)


async def test_rows_go_with_a_deleted_study(replica: Replica) -> None:
    name = await searched(replica)
    await diagnose_due(replica.context, RULES)
    await deletion.delete_study(replica.context, name)
    replica.clock.forward(60)
    assert await deletion.remove_deleted(replica.context) == 1
    with replica.database.writer.connect() as connection:
        for table in (tables.trial_diagnosis, tables.study_diagnosis):
            assert connection.execute(table.select()).all() == []
    assert not any(each.broken for each in replica.database.read_sync(check))


async def between(replica: Replica, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> int:
    """A round of the replica, in which something happens after the rules were applied and before it writes."""

    acts = [act]

    def then(*given: Any) -> judgement.Judgement:
        result = judge(*given)
        if acts:  # what happens then may judge studies itself
            acts.pop()()
        return result

    judge = judgement.judge
    with monkeypatch.context() as patch:
        patch.setattr(diagnosis, "judge", then)
        return await diagnose_due(replica.context, RULES)


async def test_an_older_result_never_replaces_a_newer_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Replica(database), Replica(database)
    name = await searched(one)
    loop = asyncio.get_running_loop()

    async def overtake() -> None:
        await other.train(name, 0.5, 0.75)
        assert await diagnose_due(other.context, RULES) == 1

    def act() -> None:
        asyncio.run_coroutine_threadsafe(overtake(), loop).result(timeout=30)

    assert await between(one, monkeypatch, act) == 0
    now = await shown(one, name)
    assert (now.lags, now.trial_findings[0].trials) == (False, [1, 2, 3])
    # What the overtaken replica has in memory misleads it in no later round.
    await one.train(name, 0.5, 0.75)
    await diagnose_due(one.context, RULES)
    assert (await shown(one, name)).findings[0].sentence == "The loss of trials 1, 2, 3, 4 rose."


async def test_a_result_from_before_a_restore_is_dropped(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica(database)
    name = await searched(replica)
    loop = asyncio.get_running_loop()

    def act() -> None:
        asyncio.run_coroutine_threadsafe(begin_epoch(replica.context), loop).result(timeout=30)

    assert await between(replica, monkeypatch, act) == 0
    assert (await shown(replica, name)).num_judged == 0
    assert await diagnose_due(replica.context, RULES) == 1
    assert not (await shown(replica, name)).lags


async def test_a_replica_that_dies_before_it_writes_loses_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = Replica(database)
    name = await searched(replica)

    async def dies(*_: Any) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr(diagnosis, "_keep", dies)
        with pytest.raises(asyncio.CancelledError):
            await diagnose_due(replica.context, RULES)
    assert (await shown(replica, name)).num_judged == 0
    assert await diagnose_due(Replica(database).context, RULES) == 1
    assert not (await shown(replica, name)).lags


DAMAGES = [
    ("trial_diagnosis", "findings", '[{"rule": 1}]'),
    ("trial_diagnosis", "findings", '{"a": 1}'),
    ("study_diagnosis", "decomposition", "[1]"),
    ("study_diagnosis", "findings", '"x"'),
    ("study_diagnosis", "trial_findings", '[{"rule": "a"}]'),
]
SQLITE_DAMAGES = [
    ("trial_diagnosis", "findings", "["),
    ("trial_diagnosis", "trial_revision", "x"),
    ("study_diagnosis", "findings", "{"),
    ("study_diagnosis", "judged_revision", "x"),
    ("study_diagnosis", "judged_at", "x"),
]


async def test_a_damaged_diagnosis_is_made_again(replica: Replica) -> None:
    name = await searched(replica)
    await diagnose_due(replica.context, RULES)
    is_sqlite = replica.database.dialect.name == "sqlite"
    # Postgres refuses the others.
    for table, column, value in [*DAMAGES, *SQLITE_DAMAGES] if is_sqlite else DAMAGES:
        await _damage_and_repair(replica, name, f"UPDATE {table} SET {column} = '{value}'")


async def _damage_and_repair(replica: Replica, name: str, statement: str) -> None:
    whole, trial = await shown(replica, name), await shown_trial(replica, name, 1)
    with replica.database.writer.begin() as connection:
        connection.exec_driver_sql(statement)
    found = {each.name: each.broken for each in replica.database.read_sync(check)}
    assert found["readable"], statement
    # Nothing that is shown fails, and every trial and study stays readable.
    assert (await replica.study(name)).name == name
    await shown(replica, name)
    await replica.trial(name, 1)
    assert (await shown_trial(replica, name, 1)).trial == trial.trial
    assert await diagnose_due(replica.context, RULES) == 1
    repaired = await shown(replica, name)
    assert repaired.model_copy(update={"judged_at": whole.judged_at}) == whole, statement
    assert await shown_trial(replica, name, 1) == trial
    assert not any(each.broken for each in replica.database.read_sync(check))
