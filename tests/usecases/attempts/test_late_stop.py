"""Late verdicts: if a trial improves on the best after its stop was decided, the improvement counts."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.report import Action
from service.contract.trial import TrialDetail, TrialState
from service.storage.fsck.invariants import check
from service.usecases.studies.lifecycle import stop_study
from service.usecases.trials.trial_lookup import get_best
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio

PATIENCE: dict[str, Any] = {
    "objective": {"metric": "loss", "direction": "minimize", "value": "best"},
    "pruner": {"name": "patience", "patience": 2},
    "budget": {"trials": 9},
}
STOP = "the verdict to stop at step 3 came too late (the best, 1, is 2 steps old, and the patience is 2 steps)"


async def overrun(replica: Replica, name: str, *later: float, result: str = "pruned") -> TrialDetail:
    """A trial that is told to stop at step 3, reports `later` values all the same, and then ends."""
    grant = await replica.claim(name)
    await replica.report(grant, 1, 1.0, 2.0)
    verdict = await replica.report(grant, 2, 2.0, step=3)
    assert (verdict.action, verdict.step) == (Action.STOP, 3)
    for at, value in enumerate(later):
        await replica.report(grant, 3 + at, value, step=4 + at)
    await replica.finish(grant, result)
    assert grant.number is not None
    return await replica.trial(name, grant.number)


async def test_a_trial_that_went_on_and_got_better_than_the_best_is_completed(replica: Replica) -> None:
    name = await replica.create(**PATIENCE)
    await replica.train(name, 0.5)
    trial = await overrun(replica, name, 0.25)
    assert (trial.state, trial.values) == (TrialState.COMPLETED, [0.25])
    assert trial.state_reason == (
        f"{STOP}: by step 4 the trial had reached 0.25, better than the best of the completed, trial 0, "
        "so it counts as completed"
    )
    assert (await get_best(replica.context, name)).number == trial.number
    assert [each.broken for each in await replica.database.read(check) if each.broken] == []


async def test_before_any_trial_completed_an_improvement_is_enough(replica: Replica) -> None:
    trial = await overrun(replica, await replica.create(**PATIENCE), 0.75)
    assert (trial.state, trial.values) == (TrialState.COMPLETED, [0.75])
    assert "by step 4 the trial had reached 0.75, before any trial completed" in (trial.state_reason or "")


async def test_a_trial_that_got_no_better_than_the_best_stays_pruned(replica: Replica) -> None:
    name = await replica.create(**PATIENCE)
    await replica.train(name, 0.5)
    for later in ((), (0.75,), (0.5,), (2.0, 3.0), (float("nan"),)):
        assert (await overrun(replica, name, *later)).state is TrialState.PRUNED, later


async def test_values_before_the_verdict_do_not_count_as_late_improvement(replica: Replica) -> None:
    name = await replica.create(**PATIENCE)
    await replica.train(name, 5.0)
    assert (await overrun(replica, name, 4.0)).state is TrialState.PRUNED


async def test_a_trial_that_trained_to_its_end_keeps_its_value_and_says_that_the_stop_came_late(
    replica: Replica,
) -> None:
    name = await replica.create(**PATIENCE)
    await replica.train(name, 0.5)
    trial = await overrun(replica, name, 0.75, result="succeeded")
    assert (trial.state, trial.values) == (TrialState.COMPLETED, [0.75])
    assert trial.state_reason == f"trained to the end; {STOP}"


async def test_trials_of_a_study_that_is_stopped_are_cancelled_all_the_same(replica: Replica) -> None:
    name = await replica.create(**PATIENCE)
    grant = await replica.claim(name)
    await replica.report(grant, 1, 1.0, 2.0, 2.0)
    await stop_study(replica.context, name, "enough")
    await replica.report(grant, 2, 0.1, step=4)
    await replica.finish(grant, "pruned")
    assert (await replica.trial(name, 0)).state is TrialState.CANCELLED


async def test_a_fork_that_recovered_from_a_stop_completes_like_any_other(replica: Replica) -> None:
    """Pruners judge no fork: its stop said that a value was not finite."""
    name = await replica.create(budget={"trials": 1})
    parent = await replica.claim(name)
    await replica.report(parent, 1, 0.5)
    await replica.checkpoint(parent, 1)
    await replica.finish(parent)
    await replica.fork(name, 0, lr=0.05)
    fork = await replica.claim(name)
    assert (await replica.report(fork, 1, float("nan"), step=2)).action is Action.STOP
    await replica.report(fork, 2, 0.25, step=3)
    await replica.finish(fork)
    trial = await replica.trial(name, fork.trial)
    assert (trial.state, trial.values, trial.state_reason) == (TrialState.COMPLETED, [0.25], "trained to the end")


async def test_a_verdict_that_is_known_already_is_not_given_again_for_later_steps(replica: Replica) -> None:
    grant = await replica.claim(await replica.create(**PATIENCE))
    await replica.report(grant, 1, 1.0, 2.0)
    assert (await replica.report(grant, 2, 2.0, step=3)).action is Action.STOP
    verdict = await replica.report(grant, 3, 2.0, 0.5, step=3)
    assert (verdict.action, verdict.step) == (Action.CONTINUE, 4)
