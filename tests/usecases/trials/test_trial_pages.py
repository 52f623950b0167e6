"""Paged listings contain every trial, wherever a page ends."""

from __future__ import annotations

import pytest

from service.usecases.studies import lifecycle
from service.usecases.trials.trial_lookup import list_trials
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
async def test_no_trial_is_lost_where_one_revision_changes_several(replica: Replica, limit: int) -> None:
    name = await replica.create(budget={"trials": 9})
    running = [await replica.claim(name) for _ in range(5)]
    for grant in running[2:]:
        await replica.finish(grant, result="released")
    for grant in running[:2]:
        await replica.report(grant, 1, 0.5)
        await replica.finish(grant)
    await lifecycle.stop_study(replica.context, name, "")  # cancels the three waiting trials in one revision
    revisions = {trial.number: trial.revision for trial in await replica.trials(name)}
    assert len({revisions[number] for number in (2, 3, 4)}) == 1

    numbers: list[int | None] = []
    page = await list_trials(replica.context, name, 0, limit)
    while page.trials:
        numbers += [trial.number for trial in page.trials]
        page = await list_trials(replica.context, name, page.revision, limit)
    assert sorted(number for number in numbers if number is not None) == [0, 1, 2, 3, 4]
