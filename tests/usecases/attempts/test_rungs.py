"""Promotion in the database: stored rung results, exact counts with any claimers, resumption from checkpoints."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from service.contract.attempt import FailureClass
from service.contract.claim import Grant, NoTrial
from service.contract.report import Action, ReportRequest
from service.contract.study import ExtendRequest, StudyState
from service.contract.trial import TrialDetail, TrialState
from service.usecases.studies import lifecycle
from service.usecases.studies.study_lookup import list_events
from tests.usecases.replica import Replica, points

pytestmark = pytest.mark.anyio

ASHA: dict[str, Any] = {
    "pruner": {"name": "asha", "min": 1},
    "resource": {"name": "epoch", "max": 9},
    "budget": {"trials": 9},
}
STOPPING: dict[str, Any] = {**ASHA, "pruner": {"name": "asha", "min": 1, "mode": "stop"}}


async def climb(replica: Replica, name: str, *values: float, saves: bool = True, worker: str = "w") -> Grant:
    """Claim, report the values, save a checkpoint, and end as the grant says."""
    grant = await replica.claim(name, worker=worker)
    first = grant.resume.step + 1 if grant.resume else 1
    await replica.report(grant, 1, *values, step=first)
    if saves:
        await replica.checkpoint(grant, first + len(values) - 1)
    await replica.finish(grant, "paused" if grant.pauses else "succeeded")
    return grant


async def fill_the_first_rung(replica: Replica, name: str, *values: float) -> None:
    """Let trials with these values arrive at step 1 and pause there, before any of them is promoted."""
    grants = [await replica.claim(name, worker=f"w{at}") for at in range(len(values))]
    for grant, value in zip(grants, values, strict=True):
        await replica.report(grant, 1, value)
        await replica.checkpoint(grant, 1)
        await replica.finish(grant, "paused")


def told(trial: TrialDetail) -> list[tuple[int, int, int]]:
    return [(arrival.step, arrival.rank, arrival.num) for arrival in trial.rung_results]


async def test_a_trial_is_granted_to_its_first_rung_and_pauses_there(replica: Replica) -> None:
    name = await replica.create(**ASHA)
    grant = await replica.claim(name)
    assert (grant.run_until, grant.pauses) == (1, True)
    verdict = await replica.report(grant, 1, 0.5)
    assert (verdict.action, verdict.reason) == (Action.PAUSE, "1st of 1 at step 1: pauses there")
    await replica.checkpoint(grant, 1)
    reply = await replica.finish(grant, "paused")
    trial = await replica.trial(name, 0)
    assert reply.trial_state == trial.state == TrialState.PAUSED
    assert (trial.state_reason, trial.values, trial.finished_at) == ("paused: 1st of 1 at step 1", None, None)
    assert told(trial) == [(1, 1, 1)]
    assert "rung_reached" in await replica.kinds(name)


async def test_the_best_of_three_is_promoted_before_any_new_trial(replica: Replica) -> None:
    name = await replica.create(**ASHA)
    await fill_the_first_rung(replica, name, 0.3, 0.1, 0.2)
    grant = await replica.claim(name)
    assert (grant.number, grant.attempt, grant.run_until, grant.pauses) == (1, 2, 3, True)
    assert grant.resume is not None
    assert grant.resume.step == 1
    assert (await replica.claim(name)).number == 3
    await replica.report(grant, 1, 0.1, 0.05, step=2)
    assert told(await replica.trial(name, 1)) == [(1, 1, 3), (3, 1, 1)]


@pytest.mark.parametrize("num_claims", [3, 16])
async def test_exactly_the_best_third_is_promoted_under_many_claimers(replica: Replica, num_claims: int) -> None:
    name = await replica.create(**ASHA)
    await fill_the_first_rung(replica, name, *(0.9 - at / 10 for at in range(9)))
    answers = await asyncio.gather(*(replica.ask(name, worker=f"c{at}") for at in range(num_claims)))
    assert sorted(answer.number or 0 for answer in answers if isinstance(answer, Grant)) == [6, 7, 8]
    assert (await replica.kinds(name)).count("trial_promoted") == 3


async def test_exactly_the_best_third_is_promoted_over_two_replicas(replicas: tuple[Replica, Replica]) -> None:
    name = await replicas[0].create(**ASHA)
    await fill_the_first_rung(replicas[0], name, *(0.9 - at / 10 for at in range(9)))
    turns = itertools.cycle(replicas)
    answers = await asyncio.gather(*(next(turns).ask(name, worker=f"c{at}") for at in range(16)))
    assert sorted(answer.number or 0 for answer in answers if isinstance(answer, Grant)) == [6, 7, 8]
    assert (await replicas[1].kinds(name)).count("trial_promoted") == 3


async def test_arrivals_at_once_are_ranked_one_after_the_other(replica: Replica) -> None:
    name = await replica.create(**ASHA)
    grants = [await replica.claim(name, worker=f"w{at}") for at in range(9)]
    await asyncio.gather(*(replica.report(grant, 1, 0.5 + at / 10) for at, grant in enumerate(grants)))
    trials = await replica.trials(name)
    assert sorted(arrival.num for trial in trials for arrival in trial.rung_results) == list(range(1, 10))


async def test_a_whole_study_ends_with_the_counts_of_the_table(replica: Replica) -> None:
    name = await replica.create(**ASHA)
    number = 0
    while isinstance(grant := await replica.ask(name), Grant):
        first = grant.resume.step + 1 if grant.resume else 1
        assert grant.run_until is not None
        values = [0.9 - (grant.number or 0) / 10 + 1 / step for step in range(first, grant.run_until + 1)]
        await replica.report(grant, 1, *values, step=first)
        await replica.checkpoint(grant, grant.run_until)
        await replica.finish(grant, "paused" if grant.pauses else "succeeded")
        number += 1
    assert number == 9 + 3 + 1
    study, trials = await replica.study(name), await replica.trials(name)
    assert (study.state, study.num_trials) == (StudyState.COMPLETED, {TrialState.COMPLETED: 1, TrialState.PRUNED: 8})
    assert [sum(trial.step >= rung for trial in trials if trial.step) for rung in (1, 3, 9)] == [9, 3, 1]
    behind = next(trial for trial in trials if trial.state is TrialState.PRUNED)
    assert behind.values == [pytest.approx(0.9 + 1)]
    assert behind.state_reason == "not promoted: 9th of 9 at step 1, the best 3 were promoted"


async def test_a_trial_that_succeeds_at_its_rung_is_paused(replica: Replica) -> None:
    """A worker that only knows run_until trains to it and says that it is done."""
    name = await replica.create(**ASHA)
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    await replica.checkpoint(grant, 1)
    assert (await replica.finish(grant, "succeeded")).trial_state == TrialState.PAUSED


async def test_a_trial_that_trains_beyond_its_rung_is_completed(replica: Replica) -> None:
    name = await replica.create(**ASHA)
    grant = await replica.claim(name)
    await replica.report(grant, 1, *(1 / step for step in range(1, 10)))
    assert (await replica.finish(grant, "paused")).trial_state == TrialState.COMPLETED
    assert told(await replica.trial(name, 0)) == [(1, 1, 1), (3, 1, 1)]


async def test_a_trial_that_ends_before_its_rung_is_completed(replica: Replica) -> None:
    name = await replica.create(**ASHA | {"pruner": {"name": "asha", "min": 3}})
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    assert (await replica.finish(grant, "succeeded")).trial_state == TrialState.COMPLETED


@pytest.mark.parametrize("pruner", ["none", {"name": "asha", "min": 3}])
async def test_a_trial_paused_at_no_rung_waits_to_continue(replica: Replica, pruner: Any) -> None:
    """Otherwise nobody would ever resume it, and the study would never end."""
    name = await replica.create(**ASHA | {"pruner": pruner})
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    assert (await replica.finish(grant, "paused")).trial_state == TrialState.WAITING
    assert (await replica.claim(name)).number == 0


async def test_values_that_come_with_a_checkpoint_arrive_too(replica: Replica) -> None:
    name = await replica.create(**ASHA)
    grant = await replica.claim(name)
    await replica.checkpoint(grant, 1, ReportRequest(nonce=grant.nonce, sequence=1, points=points(0.5)))
    assert told(await replica.trial(name, 0)) == [(1, 1, 1)]
    assert (await replica.finish(grant, "paused")).trial_state == TrialState.PAUSED


async def test_a_promoted_trial_that_is_lost_keeps_its_goal_and_its_arrivals(replica: Replica) -> None:
    name = await replica.create(**ASHA)
    await fill_the_first_rung(replica, name, 0.3, 0.1, 0.2)
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.09, step=2)
    assert await replica.lose() == 1
    again = await replica.claim(name)
    assert (again.number, again.attempt, again.run_until) == (1, 3, 3)
    assert again.resume is not None
    assert again.resume.step == 1
    assert told(await replica.trial(name, 1)) == [(1, 1, 3)]
    assert (await replica.kinds(name)).count("trial_promoted") == 1


async def test_a_trial_that_begins_afresh_keeps_the_rungs_it_has_reached(replica: Replica) -> None:
    name = await replica.create(**ASHA)
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    await replica.lose()
    again = await replica.claim(name)
    assert again.resume is None
    await replica.report(again, 1, 0.25)
    trial = await replica.trial(name, 0)
    assert [(arrival.value, arrival.rank) for arrival in trial.rung_results] == [(0.5, 1)]
    assert (await replica.kinds(name)).count("rung_reached") == 1


async def test_a_restart_changes_no_decision(replica: Replica) -> None:
    name = await replica.create(**ASHA)
    await fill_the_first_rung(replica, name, 0.3, 0.1, 0.2)
    fresh = Replica(replica.database)
    assert (await fresh.claim(name)).number == 1
    assert (await replica.claim(name)).number == 3


class TestWithoutCheckpoints:
    """A task that saves none by its first rung cannot be promoted: arrivals decide for good from then on."""

    async def test_the_study_falls_back_to_mode_stop_and_says_why(self, replica: Replica) -> None:
        name = await replica.create(**ASHA)
        await climb(replica, name, 0.5, saves=False)
        study = await replica.study(name)
        assert study.notice == (
            "asha continues in mode stop: trial 0 saved no checkpoint by step 1, so trials cannot pause and be promoted"
        )
        assert (study.spec_version, study.spec.pruner.model_dump()["mode"]) == (2, "stop")
        assert "pruner_changed" in await replica.kinds(name)

    async def test_a_late_stopped_trial_among_the_best_trains_to_the_end_again(self, replica: Replica) -> None:
        name = await replica.create(**ASHA)
        await climb(replica, name, 0.5, saves=False)
        grant = await replica.claim(name)
        assert (grant.number, grant.attempt, grant.run_until, grant.pauses) == (0, 2, 9, False)
        assert grant.resume is None
        verdict = await replica.report(grant, 1, *(1 / step for step in range(1, 10)))
        assert verdict.action is Action.CONTINUE
        assert (await replica.finish(grant)).trial_state == TrialState.COMPLETED

    async def test_and_stays_behind_otherwise_with_its_value(self, replica: Replica) -> None:
        name = await replica.create(**ASHA)
        grants = [await replica.claim(name, worker=f"w{at}") for at in range(2)]
        for grant, value in zip(grants, (0.1, 0.2), strict=True):
            await replica.report(grant, 1, value)
            await replica.finish(grant, "paused")
        trial = await replica.trial(name, 1)
        assert (trial.state, trial.values) == (TrialState.PRUNED, [0.2])
        assert trial.state_reason == "2nd of 2 at step 1, and saved no checkpoint to continue from"
        assert (await replica.study(name)).spec_version == 2

    async def test_a_paused_trial_with_a_checkpoint_may_be_promoted_until_the_end(self, replica: Replica) -> None:
        name = await replica.create(**ASHA)
        grants = [await replica.claim(name, worker=f"w{at}") for at in range(4)]
        for at, (grant, value) in enumerate(zip(grants, (0.2, 0.1, 0.3, 0.4), strict=True)):
            await replica.report(grant, 1, value)
            if at != 3:
                await replica.checkpoint(grant, 1)
            await replica.finish(grant, "paused")
        grant = await replica.claim(name)
        assert (grant.number, grant.run_until, grant.pauses) == (1, 9, False)


class TestModeStop:
    """The arrival decides for good."""

    async def test_the_leader_continues_and_trials_that_fall_behind_are_stopped(self, replica: Replica) -> None:
        name = await replica.create(**STOPPING)
        first, second = [await replica.claim(name, worker=f"w{at}") for at in range(2)]
        assert first.run_until == 9
        assert (await replica.report(first, 1, 0.1)).action is Action.CONTINUE
        verdict = await replica.report(second, 1, 0.2)
        assert (verdict.action, verdict.reason) == (Action.STOP, "2nd of 2 at step 1, of which the best 1 goes on")
        assert (await replica.finish(second, "pruned")).trial_state == TrialState.PRUNED

    async def test_an_order_to_a_lost_attempt_is_repeated(self, replica: Replica) -> None:
        name = await replica.create(**STOPPING)
        first, second = [await replica.claim(name, worker=f"w{at}") for at in range(2)]
        await replica.report(first, 1, 0.1)
        await replica.report(second, 1, 0.2)
        await replica.checkpoint(second, 1)
        await replica.finish(second, "released", failure=FailureClass.PREEMPTED)
        again = await replica.claim(name)
        assert again.resume is not None
        assert (await replica.report(again, 1, 0.0, step=2)).action is Action.STOP


class TestControl:
    """A person steers a study with paused trials."""

    async def test_a_stopped_study_cancels_what_is_paused(self, replica: Replica) -> None:
        name = await replica.create(**ASHA)
        await fill_the_first_rung(replica, name, 0.3, 0.1)
        assert (await lifecycle.stop_study(replica.context, name, "")).state == StudyState.STOPPED
        assert {trial.state for trial in await replica.trials(name)} == {TrialState.CANCELLED}

    async def test_a_paused_study_promotes_no_trial_until_it_is_resumed(self, replica: Replica) -> None:
        name = await replica.create(**ASHA)
        await fill_the_first_rung(replica, name, 0.3, 0.1, 0.2)
        await lifecycle.pause_study(replica.context, name, "")
        assert isinstance(await replica.ask(name), NoTrial)
        await lifecycle.resume_study(replica.context, name)
        assert (await replica.claim(name)).number == 1

    async def test_the_last_finish_of_a_study_prunes_what_stays_behind(self, replica: Replica) -> None:
        name = await replica.create(**ASHA | {"budget": {"trials": 2}})
        await fill_the_first_rung(replica, name, 0.3, 0.1)
        study, trials = await replica.study(name), await replica.trials(name)
        assert study.state == StudyState.COMPLETED
        assert [(trial.state, trial.values) for trial in trials] == [
            (TrialState.PRUNED, [0.3]),
            (TrialState.PRUNED, [0.1]),
        ]

    async def test_an_extended_study_promotes_what_is_still_paused_and_nothing_that_was_pruned(
        self, replica: Replica
    ) -> None:
        name = await replica.create(**ASHA | {"budget": {"trials": 2}})
        await fill_the_first_rung(replica, name, 0.1, 0.3)
        await lifecycle.extend_study(replica.context, name, ExtendRequest(trials=6))
        await fill_the_first_rung(replica, name, 0.2, 0.4, 0.5, 0.6)
        # Two of six have a place: trial 0 is the best and over, trial 2 the second.
        trials = await replica.trials(name)
        assert [trial.state for trial in trials][:2] == [TrialState.PRUNED] * 2
        assert (await replica.claim(name)).number == 2
        assert isinstance(await replica.ask(name), NoTrial)


FREEZE_THAW: dict[str, Any] = {
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "pruner": {"name": "freeze_thaw", "rungs": [1]},
    "sampler": "auto",
    "resource": {"name": "epoch", "max": 9},
    "budget": {"trials": 9, "resource": 30},
}


async def test_freeze_thaw_promotes_what_is_expected_to_end_best_until_its_steps_are_used_up(replica: Replica) -> None:
    name = await replica.create(**FREEZE_THAW)
    await fill_the_first_rung(replica, name, *(0.9 - at / 100 for at in range(8)), 0.2)
    promoted = await replica.claim(name)
    assert (promoted.number, promoted.attempt, promoted.run_until, promoted.pauses) == (8, 2, 9, False)
    assert promoted.resume is not None
    events = (await list_events(replica.context, name, 0, 1000)).events
    reasons = [str(event.data) for event in events if event.kind == "trial_promoted"]
    assert len(reasons) == 1
    assert "expected to end at" in reasons[0]
    assert (await replica.study(name)).budget_used.resource == 8 + 9
    await replica.report(promoted, 1, *(0.2 - step / 100 for step in range(2, 10)), step=2)
    await replica.finish(promoted)
    for _ in range(2):
        await climb(replica, name, *(0.5 for _ in range(2, 10)))
    answer = await replica.ask(name)
    assert isinstance(answer, NoTrial)
    study = await replica.study(name)
    assert study.state is StudyState.COMPLETED
    assert "30 steps is used up" in (study.state_reason or "")
    assert study.budget_used.resource == 9 + 2 * 9 + 6
    assert study.num_trials == {TrialState.COMPLETED: 3, TrialState.PRUNED: 6}


async def test_freeze_thaw_begins_one_trial_for_each_of_many_claimers_over_two_replicas(
    replicas: tuple[Replica, Replica],
) -> None:
    """Of many claimers, each gets another trial: the paused ones are promoted once, the others are new."""
    name = await replicas[0].create(**{**FREEZE_THAW, "budget": {"trials": 12, "resource": 200}})
    await fill_the_first_rung(replicas[0], name, *(0.9 - at / 100 for at in range(9)))
    turns = itertools.cycle(replicas)
    answers = await asyncio.gather(*(next(turns).ask(name, worker=f"c{at}") for at in range(6)))
    numbers = [answer.number for answer in answers if isinstance(answer, Grant)]
    assert len(numbers) == len(set(numbers)) > 0
    for grant in answers:
        if isinstance(grant, Grant) and grant.attempt == 2:
            assert grant.run_until == 9


async def test_freeze_thaw_without_checkpoints_continues_in_mode_stop(replica: Replica) -> None:
    name = await replica.create(**FREEZE_THAW)
    await climb(replica, name, 0.5, saves=False)
    study = await replica.study(name)
    assert study.notice is not None
    assert study.notice.startswith("freeze_thaw continues in mode stop")
    assert (await replica.trial(name, 0)).state is TrialState.WAITING
    assert isinstance(await replica.ask(name), Grant)
