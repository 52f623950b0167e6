"""Stages: their history is stored, and with a review the study waits for the user's answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.contract.claim import Grant, NoTrial
from service.contract.problem import ErrorCode
from service.contract.stage import Review, ReviewRequest, StageView
from service.contract.study import ExtendRequest, StudyState
from service.domain.errors import DomainError
from service.usecases.studies import lifecycle
from service.usecases.studies.stages import list_stages, review_stage
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio

STAGES = [{"trials": 4}, {"trials": 2}, {"trials": 2}]
LOSSES = (0.4, 0.1, 0.3, 0.2)


def sampler(*, review: bool) -> dict[str, Any]:
    return {"name": "coarse_to_fine", "seed": 3, "stages": STAGES, "review": review}


async def coarse(replica: Replica, *, review: bool = True, trials: int = 8) -> str:
    """A study whose first stage has ended."""
    name = await replica.create(sampler=sampler(review=review), budget={"trials": trials})
    for loss in LOSSES:
        await replica.train(name, loss)
    return name


async def trail(replica: Replica, name: str) -> list[StageView]:
    return (await list_stages(replica.context, name)).stages


async def propose(replica: Replica, name: str) -> StageView:
    """Claim, so that the study proposes its next box."""
    answer = await replica.ask(name)
    assert isinstance(answer, NoTrial)
    assert "the study is paused" in answer.reason
    return (await trail(replica, name))[-1]


async def accept(replica: Replica, name: str, number: int = 1, **box: Any) -> None:
    await review_stage(replica.context, name, number, ReviewRequest(box=box))


async def test_a_stage_that_begins_leaves_its_box_and_the_reason(replica: Replica) -> None:
    name = await coarse(replica, review=False)
    assert await trail(replica, name) == []
    grants = [await replica.claim(name) for _ in range(2)]
    (stage,) = await trail(replica, name)
    assert (stage.number, stage.review) == (1, None)
    trial = await replica.trial(name, 4)
    assert stage.reason in trial.suggestion_reason
    assert stage.reason.startswith("lr [0.0001, 0.1] -> ")
    low, high = stage.box["lr"]
    assert all(low <= grant.parameters["lr"] <= high for grant in grants)  # type: ignore[operator]
    assert (await replica.kinds(name)).count("stage_begun") == 1


async def test_a_reviewed_study_pauses_with_its_proposal_when_a_stage_is_over(replica: Replica) -> None:
    name = await coarse(replica)
    stage = await propose(replica, name)
    assert (stage.number, stage.review) == (1, Review.PROPOSED)
    view = await replica.study(name)
    assert view.state is StudyState.PAUSED
    assert view.state_reason == (
        f"stage 2 of 3 waits for a review of its box: {stage.reason}. "
        f"Accept it: study accept {name}; or with another range: --box 'NAME=[LOW, HIGH]'"
    )
    assert len(await replica.trials(name)) == 4


async def test_an_accepted_box_is_searched(replica: Replica) -> None:
    name = await coarse(replica)
    proposed = await propose(replica, name)
    await accept(replica, name)
    (stage,) = await trail(replica, name)
    assert (stage.review, stage.box, stage.reason) == (Review.ACCEPTED, proposed.box, proposed.reason)
    view = await replica.study(name)
    assert (view.state, view.state_reason) == (StudyState.ACTIVE, None)
    assert (await replica.train(name, 0.05)).number == 4
    await replica.train(name, 0.05)
    assert (await propose(replica, name)).number == 2


async def test_an_edited_box_is_searched_instead_by_every_replica_and_after_a_restart(replica: Replica) -> None:
    name = await coarse(replica)
    proposed = await propose(replica, name)
    await accept(replica, name, lr=[0.0002, 0.0003])
    (stage,) = await trail(replica, name)
    assert (stage.review, stage.box) == (Review.EDITED, {"lr": [0.0002, 0.0003]})
    assert stage.reason.startswith(proposed.reason)
    assert stage.reason.endswith("-> [0.0002, 0.0003] as a user chose")
    for each in (replica, Replica(replica.database)):
        grant = await each.train(name, 0.05)
        assert 0.0002 <= grant.parameters["lr"] <= 0.0003  # type: ignore[operator]
    assert "lr [0.0002, 0.0003] -> " in (await propose(replica, name)).reason
    assert [event for event in await replica.kinds(name) if "stage" in event] == ["stage_reviewed"]


async def test_claims_at_once_propose_a_box_once(replica: Replica) -> None:
    name = await coarse(replica)
    others = [Replica(replica.database) for _ in range(3)]
    answers = await asyncio.gather(*(each.ask(name) for each in (replica, *others)))
    assert not any(isinstance(answer, Grant) for answer in answers)
    assert len(await trail(replica, name)) == 1
    assert (await replica.kinds(name)).count("study_paused") == 1


async def test_a_box_outside_the_space_is_refused_and_still_waits(replica: Replica) -> None:
    name = await coarse(replica)
    await propose(replica, name)
    with pytest.raises(DomainError, match=r"box\.lr: 1\.0 is outside the declared space") as caught:
        await accept(replica, name, lr=[0.01, 1.0])
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS
    assert (await trail(replica, name))[0].review is Review.PROPOSED


async def test_only_a_box_that_waits_can_be_reviewed(replica: Replica) -> None:
    name = await coarse(replica)
    with pytest.raises(DomainError, match=r"no box of stage 1 .* waits for a review; none does") as caught:
        await accept(replica, name)
    assert caught.value.code is ErrorCode.STUDY_STATE
    await propose(replica, name)
    with pytest.raises(DomainError, match=r"no box of stage 2 .* waits for a review; stage 1 does"):
        await accept(replica, name, 2)
    await accept(replica, name)
    with pytest.raises(DomainError, match="none does"):
        await accept(replica, name)


async def test_resuming_does_not_pass_for_a_review(replica: Replica) -> None:
    name = await coarse(replica)
    await propose(replica, name)
    with pytest.raises(DomainError, match=f"waits for a review of a box; accept it: study accept {name}"):
        await lifecycle.resume_study(replica.context, name)
    assert (await replica.study(name)).state is StudyState.PAUSED


async def test_a_study_that_waits_for_a_review_can_be_stopped(replica: Replica) -> None:
    name = await coarse(replica)
    await propose(replica, name)
    assert (await lifecycle.stop_study(replica.context, name, "")).state is StudyState.STOPPED
    with pytest.raises(DomainError, match="none does"):
        await accept(replica, name)


async def test_a_study_that_was_extended_instead_of_reviewed_asks_again(replica: Replica) -> None:
    name = await coarse(replica)
    first = await propose(replica, name)
    view = await lifecycle.extend_study(replica.context, name, ExtendRequest(trials=9))
    assert view.state is StudyState.ACTIVE
    assert (await propose(replica, name)).box == first.box
    assert len(await trail(replica, name)) == 1


async def test_an_enqueued_configuration_does_not_wait_for_a_review_that_is_not_asked_for_yet(replica: Replica) -> None:
    name = await replica.create(sampler=sampler(review=True), budget={"trials": 8})
    grants = [await replica.claim(name) for _ in range(4)]
    answer = await replica.ask(name)
    assert isinstance(answer, NoTrial)
    assert "stage 2 of 3 begins when the 4 open trials before it have ended" in answer.reason
    for grant, loss in zip(grants, LOSSES, strict=True):
        await replica.report(grant, 1, loss)
        await replica.finish(grant)
    assert (await propose(replica, name)).number == 1


async def test_a_box_that_is_accepted_as_it_was_proposed_is_not_edited(replica: Replica) -> None:
    name = await coarse(replica)
    proposed = await propose(replica, name)
    await accept(replica, name, lr=list(proposed.box["lr"]))
    (stage,) = await trail(replica, name)
    assert (stage.review, stage.reason) == (Review.ACCEPTED, proposed.reason)


async def test_a_box_takes_the_place_of_a_proposal_and_of_no_other_box(replica: Replica) -> None:
    accepted, begun = await coarse(replica), await coarse(replica, review=False)
    await propose(replica, accepted)
    await accept(replica, accepted)
    await replica.claim(begun)
    assert [stage.review for stage in await trail(replica, accepted)] == [Review.ACCEPTED]
    assert [stage.review for stage in await trail(replica, begun)] == [None]
