"""Plans and replays: a plan creates nothing, and a replay changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.attempt import FailureClass
from service.contract.plan import ReplayRequest
from service.contract.preflight import Check, CheckStatus, PreflightResult
from service.contract.pruner import AshaPrunerSpec
from service.domain.errors import DomainError
from service.storage import tables
from service.usecases.studies import study_lookup
from service.usecases.studies.planning import plan_study, replay_study
from service.usecases.studies.preflight import start_preflight
from tests.usecases.replica import Replica, spec_of

pytestmark = pytest.mark.anyio

ASHA = ReplayRequest(pruner=AshaPrunerSpec(name="asha", min=1))
NINE = {"resource": {"name": "epoch", "max": 9}, "budget": {"trials": 9}}


async def test_a_plan_begins_nothing(replica: Replica) -> None:
    plan = await plan_study(replica.context, spec_of(**NINE, pruner=ASHA.pruner))
    assert plan.num_steps == 9 * 1 + 3 * 2 + 1 * 6
    assert (await study_lookup.list_studies(replica.context)).studies == []


async def test_a_plan_of_what_cannot_work_is_refused(replica: Replica) -> None:
    with pytest.raises(DomainError, match="asha needs the last step of a trial"):
        await plan_study(replica.context, spec_of(pruner="asha"))


async def test_a_plan_tells_hours_by_what_a_step_took_in_another_study(replica: Replica) -> None:
    name = await replica.create(**NINE)
    with pytest.raises(DomainError, match="has been timed yet; name a study with ended trials"):
        await plan_study(replica.context, spec_of(**NINE), like=name)
    for _ in range(3):
        await replica.train(name, 0.5, 0.4)
    await replica.fail(await replica.claim(name), FailureClass.USER_EXCEPTION)
    with replica.database.writer.begin() as connection:
        attempt = tables.attempt
        ran = attempt.update().where(attempt.c.state == "succeeded")
        connection.execute(ran.values(ended_at=attempt.c.started_at + 20_000_000))
    plan = await plan_study(replica.context, spec_of(**NINE), like=name)
    assert (plan.num_steps, plan.step_seconds) == (81, 10.0)
    assert plan.notes == [f"a step took 10 s in {name}, the median of 3 attempts"]
    with pytest.raises(DomainError, match="there is no study 'nobody'"):
        await plan_study(replica.context, spec_of(**NINE), like="nobody")


async def test_a_plan_says_where_the_timed_study_is_another(replica: Replica) -> None:
    train = {
        "data": {"name": "digits"},
        "model": {"name": "mlp"},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "sgd"},
        "epochs": 9,
    }
    space = {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}}
    name = await replica.create(**NINE)
    await replica.train(name, 0.5)
    plan = await plan_study(replica.context, spec_of(**NINE, space=space, task={"train": train}), like=name)
    assert plan.notes[-1] == f"{name} has another data, model: a step may take longer or shorter here"


async def test_a_replay_says_what_a_scheduler_would_have_saved_and_lost(replica: Replica) -> None:
    name = await replica.create(**NINE)
    for number in range(9):
        # The last one is behind until the end, where it is the best.
        final = 0.05 if number == 8 else 0.1 + number / 100
        await replica.train(name, *(0.5 + number / 100 for _ in range(8)), final)
    before = await replica.stored(name)
    replayed = await replay_study(replica.context, name, ASHA)
    assert (replayed.recorded.num_steps, replayed.recorded.best, replayed.recorded.trial) == (81, 0.05, 8)
    assert (replayed.replayed.num_steps, replayed.replayed.trial) == (9 + 3 * 2 + 6, 0)
    assert replayed.saved_fraction == pytest.approx(1 - 21 / 81)
    assert replayed.regret == pytest.approx(0.05)
    assert replayed.notes == []
    assert await replica.stored(name) == before


async def test_unfinished_teachers_are_reported(replica: Replica) -> None:
    name = await replica.create(**NINE)
    await replica.train(name, 0.5)
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    replayed = await replay_study(replica.context, name, ASHA)
    assert replayed.notes == ["1 of 2 trials were not trained to the end; their later values are unknown"]


async def test_a_pruner_that_does_not_go_with_the_study_is_refused(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    with pytest.raises(DomainError, match="asha needs the last step of a trial"):
        await replay_study(replica.context, name, ASHA)


async def test_before_anything_is_recorded_there_is_nothing_to_replay(replica: Replica) -> None:
    name = await replica.create(**NINE)
    with pytest.raises(DomainError, match="has reported loss yet; replay it when some have ended"):
        await replay_study(replica.context, name, ASHA)


def preflight_of(seconds: float | None, corners: list[float | None]) -> PreflightResult:
    figures = {"corners": [{"name": "corner", "settings": {}, "seconds_per_epoch": each} for each in corners]}
    check = Check(
        number=6, name="seconds_per_epoch", status=CheckStatus.PASSED, sentence="It takes a while.", figures=figures
    )
    return PreflightResult(checks=[check], seconds=1, seconds_per_epoch=seconds)


TRAIN: dict[str, Any] = {
    "name": "timed",
    "preflight": None,
    "task": {
        "train": {
            "data": {"name": "digits"}, "model": {"name": "mlp"}, "loss": {"name": "cross_entropy"},
            "optimizer": {"name": "sgd"}, "epochs": 9,
        }
    },
    "space": {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}},
    "budget": {"trials": 9},
}  # fmt: skip


async def test_a_plan_tells_hours_by_the_preflight_of_the_study_of_its_name(replica: Replica) -> None:
    assert (await plan_study(replica.context, spec_of(**TRAIN))).step_seconds is None, "there is no such study"
    name = await replica.create(**TRAIN)
    assert (await plan_study(replica.context, spec_of(**TRAIN))).step_seconds is None, "its preflight has not ended"
    await replica.finish(await replica.claim(name), preflight=preflight_of(2.0, [2.0, 1.5, None, 8.0]))
    plan = await plan_study(replica.context, spec_of(**TRAIN))
    assert (plan.num_steps, plan.step_seconds, plan.step_seconds_range) == (81, 2.0, (1.5, 8.0))
    assert plan.notes == [
        "an epoch took 2 s in the preflight of timed, at the centre (1.5 to 8 s at the corners of the space)"
    ]
    other = spec_of(**{**TRAIN, "name": "other"})
    assert (await plan_study(replica.context, other)).step_seconds is None
    assert (await plan_study(replica.context, other, like=name)).step_seconds == 2.0, "no trial of it has ended"
    task = {"train": {**TRAIN["task"]["train"], "model": {"name": "linear"}}}
    assert (await plan_study(replica.context, spec_of(**{**TRAIN, "task": task}))).step_seconds is None
    await start_preflight(replica.context, name)
    assert (await plan_study(replica.context, spec_of(**TRAIN))).step_seconds == 2.0, "the newest one has not ended"


async def test_a_preflight_that_timed_nothing_tells_no_hours(replica: Replica) -> None:
    name = await replica.create(**TRAIN)
    await replica.finish(await replica.claim(name), preflight=preflight_of(None, []))
    plan = await plan_study(replica.context, spec_of(**TRAIN))
    assert (plan.step_seconds, plan.step_seconds_range, plan.notes) == (None, None, [])


async def test_a_preflight_of_equal_corners_has_no_range(replica: Replica) -> None:
    name = await replica.create(**TRAIN)
    await replica.finish(await replica.claim(name), preflight=preflight_of(2.0, [2.0]))
    plan = await plan_study(replica.context, spec_of(**TRAIN))
    assert (plan.step_seconds, plan.step_seconds_range) == (2.0, None)
    assert plan.notes == ["an epoch took 2 s in the preflight of timed, at the centre"]
