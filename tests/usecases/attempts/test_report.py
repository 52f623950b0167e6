"""Reports: accepted in order and once, judged, and repeated reports get the first verdict."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from service.contract.problem import ErrorCode
from service.contract.report import Action, Point, ReportRequest
from service.domain.errors import DomainError
from service.usecases.attempts.report import report
from tests.usecases.replica import Replica, points

pytestmark = pytest.mark.anyio

MEDIAN = {"name": "median", "startup_trials": 2, "warmup_steps": 2}


async def refused(code: ErrorCode, match: str, replica: Replica, *args: object, **kwargs: object) -> None:
    with pytest.raises(DomainError, match=match) as caught:
        await replica.report(*args, **kwargs)  # type: ignore[arg-type]
    assert caught.value.code is code


async def test_batches_come_without_a_hole(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    await refused(ErrorCode.REPORT_ORDER, "report 2 came before report 1", replica, grant, 2, 0.5)
    await replica.report(grant, 1, 0.5)
    await refused(ErrorCode.REPORT_ORDER, "report 3 came before report 2", replica, grant, 3, 0.5)


async def test_steps_may_be_sparse_but_never_fall(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5, step=10)
    await replica.report(grant, 2, 0.4, step=1000)
    await refused(
        ErrorCode.REPORT_ORDER,
        "step 999 came after step 1000; the steps of an attempt never fall",
        replica,
        grant,
        3,
        0.3,
        step=999,
    )
    (series,) = (await replica.trial(name, 0)).series
    assert (series.metric, series.steps, series.values) == ("loss", [10, 1000], [0.5, 0.4])


async def test_a_step_has_one_value(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    await replica.report(grant, 1, 0.5, step=1)
    match = "loss at step 1 is already 0.5, now 0.25 was sent; a step of an attempt has one value"
    await refused(ErrorCode.REPORT_CONFLICT, match, replica, grant, 2, 0.25, step=1)
    await refused(ErrorCode.REPORT_CONFLICT, match, replica, grant, 1, 0.25, step=1)
    await replica.report(grant, 2, 0.5, 0.4, step=1)


async def test_metrics_of_one_step_may_come_one_by_one(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    request = ReportRequest(nonce=grant.nonce, sequence=2, points=[Point(step=1, metrics={"accuracy": 1})])
    verdict = await report(replica.context, grant.trial, grant.attempt, request)
    assert (verdict.action, verdict.reason) == (Action.CONTINUE, "no new value of loss")
    found = {series.metric: series.values for series in (await replica.trial(name, 0)).series}
    assert found == {"loss": [0.5], "accuracy": [1.0]}


@pytest.mark.parametrize("value", [0.1 + 0.2, -0.0, math.nan, math.inf, -math.inf, 1e300])
async def test_a_replay_changes_nothing_and_gets_the_stored_verdict(replica: Replica, value: float) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    first = await replica.report(grant, 1, value)
    before = await replica.trial(name, 0)
    assert await replica.report(grant, 1, value) == first
    assert await replica.trial(name, 0) == before


async def test_a_value_that_is_not_finite_stops_the_trial_and_is_kept(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    verdict = await replica.report(grant, 2, math.nan)
    assert (verdict.action, verdict.reason) == (Action.STOP, "diverged: loss is nan at step 2")
    (series,) = (await replica.trial(name, 0)).series
    assert [str(value) for value in series.values] == ["0.5", "value=None status='nan'"]
    assert (await replica.finish(grant, "pruned")).trial_state == "pruned"
    assert (await replica.trial(name, 0)).infeasible


async def test_the_median_rule_stops_the_worse_half(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 5}, pruner=MEDIAN)
    for value in (0.1, 0.2, 0.3):
        await replica.train(name, value, value, value)
    grant = await replica.claim(name)
    assert (await replica.report(grant, 1, 0.9)).action is Action.CONTINUE
    verdict = await replica.report(grant, 2, 0.8)
    assert (verdict.action, verdict.step) == (Action.STOP, 2)
    assert verdict.reason == "best 0.8 by step 2 is above the median 0.2 of 3 others"
    status = await replica.heartbeat(grant)
    assert (status.order, status.reason) == (Action.STOP, verdict.reason)
    assert await replica.report(grant, 2, 0.8) == verdict
    assert (await replica.finish(grant, "pruned", message=verdict.reason)).trial_state == "pruned"
    detail = await replica.trial(name, 3)
    assert (detail.values, detail.infeasible, detail.state_reason) == ([0.8], False, verdict.reason)
    assert [each.action for each in detail.verdicts] == [Action.CONTINUE, Action.STOP]
    assert "verdict_stop" in await replica.kinds(name)
    better = await replica.claim(name)
    await replica.report(better, 1, 0.15)
    assert (await replica.report(better, 2, 0.15)).action is Action.CONTINUE


async def test_a_verdict_never_changes(replica: Replica) -> None:
    """What others report later changes no stored answer."""
    name = await replica.create(budget={"trials": 4}, pruner=MEDIAN)
    early = await replica.claim(name)
    await replica.report(early, 1, 0.9)
    said = await replica.report(early, 2, 0.9)
    assert said.action is Action.CONTINUE
    for value in (0.1, 0.2, 0.3):
        await replica.train(name, value, value)
    assert await replica.report(early, 2, 0.9) == said


@pytest.mark.parametrize("pruner", [MEDIAN, {"name": "threshold", "upper": 0.5}, {"name": "patience", "patience": 1}])
async def test_however_a_worker_batches_its_steps_the_verdict_is_that_of_one_by_one(
    replica: Replica, pruner: dict[str, object]
) -> None:
    name = await replica.create(budget={"trials": 4}, pruner=pruner)
    for value in (0.3, 0.2):
        await replica.train(name, value, value / 2, value / 4)
    values = (0.4, 0.6, 0.1, 0.05)
    alone = await replica.claim(name)
    sequence = 1
    while (one_by_one := await replica.report(alone, sequence, values[sequence - 1])).action is Action.CONTINUE:
        sequence += 1
    together = await replica.report(await replica.claim(name), 1, *values)
    assert (together.action, together.step) == (Action.STOP, one_by_one.step) == (Action.STOP, 2)


async def test_a_checkpoint_never_outruns_the_metrics(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    with pytest.raises(DomainError, match="the checkpoint is of step 3, but the last reported step is 1") as caught:
        await replica.checkpoint(grant, 3)
    assert caught.value.code is ErrorCode.REPORT_ORDER
    unsent = [ReportRequest(nonce=grant.nonce, sequence=each, points=points(0.1, step=each)) for each in (1, 2, 3)]
    with pytest.raises(DomainError, match="is already"):
        await replica.report(grant, 1, 0.1)
    assert (await replica.checkpoint(grant, 3, *unsent[1:])).step == 3
    (series,) = (await replica.trial(name, 0)).series
    assert series.steps == [1, 2, 3]


async def test_a_checkpoint_that_fails_leaves_no_metrics(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    batch = ReportRequest(nonce=grant.nonce, sequence=1, points=points(0.5))
    with pytest.raises(DomainError, match="the last reported step is 1"):
        await replica.checkpoint(grant, 9, batch)
    assert (await replica.trial(name, 0)).series == []


async def test_a_checkpoint_sent_again_changes_nothing(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    batch = ReportRequest(nonce=grant.nonce, sequence=1, points=points(0.5))
    assert (await replica.checkpoint(grant, 1, batch)).step == 1
    assert (await replica.checkpoint(grant, 1, batch)).step == 1
    assert (await replica.kinds(name)).count("checkpoint_stored") == 1
    with pytest.raises(DomainError, match=r"the checkpoint of step 1 is already 000.*an attempt has one") as caught:
        await replica.checkpoint(grant, 1, sha256="1" * 64)
    assert caught.value.code is ErrorCode.REPORT_CONFLICT


async def test_a_report_that_came_with_a_checkpoint_may_come_again(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    await replica.checkpoint(grant, 1, ReportRequest(nonce=grant.nonce, sequence=1, points=points(0.5)))
    assert (await replica.report(grant, 1, 0.5)).action is Action.CONTINUE
    assert (await replica.report(grant, 2, 0.4)).action is Action.CONTINUE


def test_a_bare_nan_is_no_number_of_the_wire() -> None:
    with pytest.raises(ValidationError):
        Point(step=1, metrics={"loss": math.nan})


async def test_a_batch_may_bring_nothing_new(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    await replica.report(grant, 1, 0.5)
    verdict = await replica.report(grant, 2, 0.5, step=1)
    assert verdict.action is Action.CONTINUE
    assert (await replica.report(grant, 3, 0.25, step=2)).step == 2
