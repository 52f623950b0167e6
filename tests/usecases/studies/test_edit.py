"""Edits: a study continues with another spec, old trials remain observations, and concurrent edits are not lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.contract.claim import Grant, NoTrial
from service.contract.problem import ErrorCode
from service.contract.report import Action
from service.contract.study import EditRequest, EnqueueRequest, StudySpec, StudyState, StudyView
from service.domain.errors import DomainError
from service.usecases.studies import creation, lifecycle, study_lookup
from service.usecases.studies.edit import edit_study
from service.usecases.studies.enqueue import enqueue
from service.usecases.studies.stages import list_stages
from tests.usecases.interleaving import At, Call, play
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio

OTHER = {"lr": {"type": "float", "low": 1.0, "high": 10.0}}
NARROW = {"lr": {"type": "float", "low": 1e-3, "high": 1e-2, "log": True}}
REVIEWED = {"name": "coarse_to_fine", "stages": [{"trials": 2}, {"trials": 2}], "review": True}


async def edited(replica: Replica, name: str, **changes: Any) -> EditRequest:
    """What a person asks for who changes the study as it is now."""
    view = await replica.study(name)
    spec = StudySpec.model_validate(view.spec.model_dump(exclude_none=True) | changes)
    return EditRequest(spec=spec, version=view.spec_version)


async def edit(replica: Replica, name: str, **changes: Any) -> StudyView:
    return await edit_study(replica.context, name, await edited(replica, name, **changes))


async def coarse(replica: Replica) -> str:
    """A study whose first stage has ended, and that a person is to be asked of the second."""
    name = await replica.create(sampler=REVIEWED, budget={"trials": 4})
    for loss in (0.5, 0.4):
        await replica.train(name, loss)
    return name


async def test_from_an_edit_on_trials_are_of_the_new_space_and_old_ones_stay(replica: Replica) -> None:
    name = await replica.create(sampler={"name": "tpe", "startup_trials": 1}, budget={"trials": 6})
    old = [await replica.train(name, loss) for loss in (0.5, 0.4)]
    running = await replica.claim(name)
    view = await edit(replica, name, space=OTHER, description="larger rates")
    assert (view.state, view.spec_version, view.spec.description) == (StudyState.ACTIVE, 2, "larger rates")
    new = await replica.train(name, 0.3)
    assert 1.0 <= new.parameters["lr"] <= 10.0  # type: ignore[operator]
    assert "a model of 2 trials" in (await replica.trial(name, 3)).suggestion_reason
    assert [trial.parameters for trial in await replica.trials(name)][:2] == [grant.parameters for grant in old]
    assert (await replica.report(running, 1, 0.1)).action is Action.CONTINUE
    assert (await replica.finish(running)).values == [0.1]


async def test_the_journal_says_what_was_edited(replica: Replica) -> None:
    name = await replica.create()
    await edit(replica, name, budget={"trials": 9}, priority=2, owner="ann")
    (event,) = (await study_lookup.list_events(replica.context, name, 0, 100, "study_edited")).events
    changes = ["budget.trials: 3 -> 9", "priority: 0 -> 2", 'owner: "ann" added']
    assert event.data == {"version": 2, "changes": changes}


async def test_a_study_takes_its_turn_by_its_new_priority(replica: Replica) -> None:
    older, newer = await replica.create(), await replica.create()
    await edit(replica, newer, priority=1)
    assert (await replica.claim(None)).study_name == newer
    await edit(replica, older, priority=2)
    assert (await replica.claim(None)).study_name == older


async def test_an_edit_that_changes_nothing_writes_nothing(replica: Replica) -> None:
    name = await replica.create()
    before = await replica.stored(name)
    assert (await edit(replica, name)).revision == before.revision
    once = await edited(replica, name, priority=2)
    after = await edit_study(replica.context, name, once)
    again = await edit_study(replica.context, name, once)
    assert again.revision == after.revision, "said twice, as its answer was lost"


async def test_an_edit_of_an_older_version_is_refused(replica: Replica) -> None:
    name = await replica.create()
    mine, theirs = await edited(replica, name, priority=1), await edited(replica, name, priority=2)
    await edit_study(replica.context, name, mine)
    with pytest.raises(DomainError, match="at version 2 of its spec, and this edit was made from version 1") as caught:
        await edit_study(replica.context, name, theirs)
    assert caught.value.code is ErrorCode.STUDY_CHANGED
    assert (await replica.study(name)).spec.priority == 1


async def test_of_two_concurrent_edits_one_succeeds_and_the_other_conflicts(replica: Replica) -> None:
    name = await replica.create()
    wanted = [await edited(replica, name, priority=priority) for priority in (1, 2)]
    answers = await asyncio.gather(
        *(edit_study(replica.context, name, each) for each in wanted), return_exceptions=True
    )
    (view,) = [answer for answer in answers if isinstance(answer, StudyView)]
    (refusal,) = [answer for answer in answers if isinstance(answer, DomainError)]
    assert refusal.code is ErrorCode.STUDY_CHANGED
    assert (await replica.study(name)).spec.priority == view.spec.priority


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"space": {"lr": {"type": "float", "low": 0.1, "high": 1.0, "when": {"depth": 1}}}}, "space.lr.when"),
        ({"objective": {"metric": "loss", "direction": "maximize"}}, "objective.direction"),
        ({"project": "another"}, "project"),
        ({"pruner": {"name": "asha"}}, "resource"),
    ],
)
async def test_an_unworkable_command_line_is_refused_and_writes_nothing(
    replica: Replica, changes: dict[str, Any], path: str
) -> None:
    name = await replica.create()
    await replica.train(name, 0.5)
    before = await replica.stored(name)
    with pytest.raises(DomainError) as caught:
        await edit(replica, name, **changes)
    assert (caught.value.code, caught.value.errors[0].path) == (ErrorCode.INVALID_SPEC, path)
    after = await replica.study(name)
    assert (after.revision, after.spec) == (before.revision, before.spec)


async def test_a_claim_under_way_is_made_again_by_the_new_spec(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    name = await first.create(sampler={"name": "random"})
    wanted = await edited(second, name, space=OTHER)
    played = await play(
        Call(first, lambda: first.ask(name)),
        At.STATEMENT,
        Call(second, lambda: edit_study(second.context, name, wanted)),
    )
    assert isinstance(played.stopped, Grant)
    assert 1.0 <= played.stopped.parameters["lr"] <= 10.0  # type: ignore[operator]


async def test_a_box_that_was_to_be_proposed_is_drawn_again_by_the_new_spec(replicas: tuple[Replica, Replica]) -> None:
    first, second = replicas
    name = await coarse(first)
    wanted = await edited(second, name, space=NARROW)
    await play(
        Call(first, lambda: first.ask(name)),
        At.STATEMENT,
        Call(second, lambda: edit_study(second.context, name, wanted)),
    )
    (stage,) = (await list_stages(first.context, name)).stages
    assert 1e-3 <= stage.box["lr"][0] < stage.box["lr"][1] <= 1e-2  # type: ignore[operator]


async def test_a_budget_below_what_was_made_ends_the_search_when_its_trials_have_ended(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    await replica.train(name, 0.5)
    running = await replica.claim(name)
    assert (await edit(replica, name, budget={"trials": 1})).state is StudyState.ACTIVE
    assert isinstance(await replica.ask(name), NoTrial)
    await replica.report(running, 1, 0.1)
    await replica.finish(running)
    assert (await replica.study(name)).state is StudyState.COMPLETED
    idle = await replica.create(budget={"trials": 9})
    await replica.train(idle, 0.5)
    assert (await edit(replica, idle, budget={"trials": 1})).state is StudyState.COMPLETED


async def test_a_completed_study_continues_if_the_new_spec_has_more_to_do(replica: Replica) -> None:
    grid: dict[str, Any] = {"sampler": "grid", "budget": {}}
    name = await replica.create(space={"lr": {"type": "categorical", "choices": [1, 2]}}, **grid)
    for loss in (0.5, 0.4):
        await replica.train(name, loss)
    done = await replica.study(name)
    told = await edit(replica, name, description="done")
    assert (told.state, told.finished_at) == (StudyState.COMPLETED, done.finished_at)
    more = await edit(replica, name, space={"lr": {"type": "categorical", "choices": [3, 2, 1]}})
    assert (more.state, more.finished_at) == (StudyState.ACTIVE, None)
    assert (await replica.train(name, 0.3)).parameters == {"lr": 3}
    assert (await replica.study(name)).state is StudyState.COMPLETED


async def test_a_paused_study_stays_paused_and_a_stopped_one_has_to_be_extended_first(replica: Replica) -> None:
    name = await replica.create()
    await lifecycle.pause_study(replica.context, name, "look")
    view = await edit(replica, name, priority=1)
    assert (view.state, view.state_reason) == (StudyState.PAUSED, "look")
    await lifecycle.stop_study(replica.context, name, "")
    with pytest.raises(DomainError, match="the study was stopped; extend it first") as caught:
        await edit(replica, name, priority=2)
    assert caught.value.code is ErrorCode.STUDY_STATE


async def test_a_box_under_review_is_computed_again_for_the_new_spec(replica: Replica) -> None:
    name = await coarse(replica)
    await replica.ask(name)
    (before,) = (await list_stages(replica.context, name)).stages
    view = await edit(replica, name, space=NARROW)
    assert view.state is StudyState.ACTIVE
    assert (await list_stages(replica.context, name)).stages == []
    await replica.ask(name)
    (after,) = (await list_stages(replica.context, name)).stages
    assert 1e-3 <= after.box["lr"][0] < after.box["lr"][1] <= 1e-2  # type: ignore[operator]
    assert after.box != before.box
    unasked = await edit(replica, name, sampler={**REVIEWED, "review": False})
    assert unasked.state is StudyState.ACTIVE
    assert (await replica.claim(name)).number == 2


async def test_an_enqueued_configuration_is_tried_as_written(replica: Replica) -> None:
    name = await replica.create()
    await enqueue(replica.context, name, EnqueueRequest(parameters={"lr": 0.05}))
    await edit(replica, name, space=OTHER)
    assert (await replica.claim(name)).parameters == {"lr": 0.05}
    assert (await replica.claim(name)).parameters["lr"] >= 1.0  # type: ignore[operator]


DIGITS = {
    "data": {"name": "digits"},
    "model": {"name": "linear"},
    "optimizer": {"name": "sgd"},
    "loss": {"name": "focal"},
}
GAMMA = {"loss.gamma": {"type": "float", "low": 0.0, "high": 5.0}}
MOMENTUM = {"optimizer.momentum": {"type": "float", "low": 0.0, "high": 0.9}}


async def test_a_loss_whose_options_are_searched_is_refused_as_objective_and_said_what_to_write(
    replica: Replica,
) -> None:
    with pytest.raises(DomainError) as refused:
        await replica.create(task={"train": DIGITS}, space=GAMMA)
    assert refused.value.code is ErrorCode.INCOMPARABLE_LOSS
    assert "write {metric: val/cross_entropy, direction: minimize}" in str(refused.value)
    name = await replica.create(task={"train": DIGITS}, space=MOMENTUM)
    with pytest.raises(DomainError) as refused:
        await edit(replica, name, space=GAMMA)
    assert refused.value.code is ErrorCode.INCOMPARABLE_LOSS
    assert (await replica.study(name)).spec_version == 1


async def test_a_built_in_metric_with_the_contrary_direction_is_refused(replica: Replica) -> None:
    objective = {"metric": "val/accuracy", "direction": "minimize"}
    with pytest.raises(DomainError) as refused:
        await replica.create(task={"train": DIGITS}, space=MOMENTUM, objective=objective)
    assert refused.value.code is ErrorCode.CONTRARY_DIRECTION
    assert str(refused.value).endswith("write direction: maximize")


async def test_an_older_study_that_searches_its_loss_can_still_be_edited(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(creation, "require_comparable", lambda *_: None)
        name = await replica.create(task={"train": DIGITS}, space=GAMMA)
    assert (await edit(replica, name, budget={"trials": 5})).spec_version == 2
