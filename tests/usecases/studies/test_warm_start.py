"""Warm start: which prior trials a new study copies, and that they stay as they were."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.attempt import FailureClass
from service.domain.errors import DomainError
from service.domain.history import History
from service.search import decide
from service.storage import tables
from service.storage.queries import studies
from service.storage.tables import Connection
from service.usecases.studies.planning import plan_study
from service.usecases.studies.study_lookup import list_events
from tests.usecases.replica import Replica, spec_of

pytestmark = pytest.mark.anyio

WARM = {"sampler": {"name": "tpe", "seed": 1}, "budget": {"trials": 9}}


async def earlier(replica: Replica, num: int = 3, **changes: Any) -> str:
    """A study with so many completed trials, each better than the one before."""
    name = await replica.create(**{"budget": {"trials": 99}, **changes})
    for number in range(num):
        await replica.train(name, 1.0 / (number + 1))
    return name


def history_of(replica: Replica, name: str) -> History:
    def read(connection: Connection) -> History:
        row = studies.find(connection, name)
        assert row is not None
        return replica.context.histories.latest(connection, row.id, "loss")

    return replica.database.read_sync(read)


async def test_completed_trials_are_taken_over_with_parameters_and_values(replica: Replica) -> None:
    old = await earlier(replica, 12)
    new = await replica.create(**WARM, warm_start=[old])
    taken = history_of(replica, new).prior_trials
    assert [trial.value for trial in taken] == [1.0 / (number + 1) for number in range(12)]
    theirs = await replica.trials(old)
    assert [dict(trial.parameters) for trial in taken] == [trial.parameters for trial in theirs]
    assert [trial.notes["trial"] for trial in taken] == [trial.id for trial in theirs]
    grant = await replica.claim(new)
    assert (await replica.trial(new, 0)).suggestion_reason.startswith("tpe: a model of 12 trials, 12 of other studies")
    assert grant.number == 0


async def test_they_are_no_trials_of_the_study(replica: Replica) -> None:
    old = await earlier(replica)
    view = await replica.study(await replica.create(**WARM, warm_start=[old]))
    assert (view.num_trials, view.best, view.budget_used.trials) == ({}, None, 0)


async def test_they_stay_what_they_were(replica: Replica) -> None:
    """Whoever reads the history, and whatever becomes of the other study: a suggestion can be made again."""
    old = await earlier(replica, 12)
    new = await replica.create(**WARM, warm_start=[old])
    grant = await replica.claim(new)
    with replica.database.writer.begin() as connection:
        connection.execute(tables.study.delete().where(tables.study.c.name == old))
    fresh = Replica(replica.database)
    known = history_of(fresh, new)
    assert len(known.prior_trials) == 12
    spec = (await fresh.study(new)).spec
    again = decide.next_action(History(trials=(), prior_trials=known.prior_trials), spec)
    assert isinstance(again, decide.Suggest)
    assert again.suggestion.parameters == grant.parameters


async def test_selected_and_rejected_prior_trials_are_reported(replica: Replica) -> None:
    old = await earlier(replica)
    await replica.fail(await replica.claim(old), FailureClass.USER_EXCEPTION)
    other = await earlier(replica, 2, space={"lr": {"type": "float", "low": 0.2, "high": 0.9}})
    new = await replica.create(**WARM, warm_start=[old, other])
    told = (
        f"warm start: of the 6 trials of {old}, {other} that have ended, 3 are prior trials; "
        "left out: 1 did not complete, 2 lie outside this space"
    )
    assert (await replica.study(new)).notice == told
    (event,) = [each for each in (await list_events(replica.context, new, 0, 10)).events if each.kind == "warm_started"]
    assert event.data == {"num_trials": 3, "reason": told}


async def test_in_a_staged_search_only_fully_trained_trials_are_comparable(replica: Replica) -> None:
    stages = [{"trials": 2, "resource": 1}, {"trials": 2}]
    sampler = {"name": "coarse_to_fine", "stages": stages}
    old = await replica.create(sampler=sampler, resource={"name": "epoch", "max": 2}, budget={"trials": 4})
    for number in range(4):
        await replica.train(old, *([0.5] if number < 2 else [0.5, 0.4]))
    new = await replica.create(**WARM, warm_start=[old])
    assert len(history_of(replica, new).prior_trials) == 2
    assert "2 trained in an early stage" in str((await replica.study(new)).notice)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": (
        {"warm_start": ["older"]},
        "warm_start.0: there is no study 'older' in project 'default'; did you mean",
    ),
    "another objective": ({"objective": {"metric": "accuracy", "direction": "maximize"}}, "is to minimize loss, and"),
    "another direction": (
        {"objective": {"metric": "loss", "direction": "maximize"}},
        "and that of this study to maximize loss",
    ),
    "another space": (
        {"space": {"x": {"type": "float", "low": 0, "high": 1}}},
        r"that have ended, none can be a prior trial \(3 lie outside this space\); leave it out, or widen the space",
    ),
    "no model": ({"sampler": "random"}, "warm_start: random does not learn from other studies"),
}


@pytest.mark.parametrize(("changes", "told"), REFUSED.values(), ids=REFUSED)
async def test_unlearnable_data_is_refused(replica: Replica, changes: dict[str, Any], told: str) -> None:
    await earlier(replica, name="olden")
    asked = spec_of(**{**WARM, "warm_start": ["olden"], **changes})
    with pytest.raises(DomainError, match=told):
        await plan_study(replica.context, asked)
    with pytest.raises(DomainError, match=told):
        await replica.create(**asked.model_dump(exclude_none=True))


async def test_a_study_without_an_ended_trial_teaches_nothing(replica: Replica) -> None:
    old = await earlier(replica, 0)
    with pytest.raises(
        DomainError, match=r"of the 0 trials of .* that have ended, none can be a prior trial; leave it"
    ):
        await replica.create(**WARM, warm_start=[old])
