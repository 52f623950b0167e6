"""Numbers are compared as numbers: a repeated request is accepted, and `assayer fsck` finds no violation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.contract.custom_entries import EntriesRequest
from service.contract.problem import ErrorCode
from service.contract.study import EditRequest, EnqueueRequest
from service.domain.errors import DomainError
from service.storage.fsck import invariants
from service.usecases.catalogue import register_entries
from service.usecases.studies.edit import edit_study
from service.usecases.studies.enqueue import enqueue
from service.usecases.workers import seen_recently
from tests.usecases.replica import Replica, claim_request, spec_of

pytestmark = pytest.mark.anyio

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
EXTREMES = [1e16, 1e23, -1e23, 1.7976931348623157e308, 1e-320, -0.0, 1.0]


def broken(replica: Replica) -> dict[str, Any]:
    return {each.name: each.broken for each in replica.database.read_sync(invariants.check) if each.broken}


async def play(replica: Replica, value: float) -> None:
    """A whole trial whose numbers are all `value`, with everything said twice."""
    name = await replica.create()
    grant = await replica.claim(name)
    for _ in range(2):
        await replica.report(grant, 1, value)
        await replica.checkpoint(grant, 1)
        await replica.provenance(grant, "0123456789abcdef", seconds=repr(value))
    said = {"metrics": {"test/loss": value, "seconds": value}, "message": "done"}
    first = await replica.finish(grant, **said)
    assert await replica.finish(grant, **said) == first
    assert first.values == [value]
    with pytest.raises(DomainError) as refused:
        await replica.finish(grant, metrics={"test/loss": value / 2 + 1.0, "seconds": value}, message="done")
    assert refused.value.code is ErrorCode.ATTEMPT_ENDED
    detail = await replica.trial(name, 0)
    assert detail.metrics == {"test/loss": value, "seconds": value}


@pytest.mark.parametrize("value", EXTREMES)
async def test_a_trial_of_extreme_numbers_is_accepted_again_and_is_whole(replica: Replica, value: float) -> None:
    await play(replica, value)
    assert broken(replica) == {}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=FLOATS)
@example(value=1e22)
async def test_a_trial_of_any_finite_number_is_accepted_again_and_is_whole(replica: Replica, value: float) -> None:
    await play(replica, value)
    assert broken(replica) == {}


async def test_choices_keep_their_types(replica: Replica) -> None:
    """1 and 1.0 are one setting; 1 and true are two; 1e23 is a float."""
    choices = [1, True, 1e23, 2.0, "1", [1, 1e23]]
    space = {"x": {"type": "categorical", "choices": choices}}
    name = await replica.create(space=space, sampler={"name": "grid"}, budget={})
    drawn = [(await replica.claim(name)).parameters["x"] for _ in choices]
    assert [(type(value), value) for value in drawn] == [(type(choice), choice) for choice in choices]
    stored = [trial.parameters["x"] for trial in await replica.trials(name)]
    assert [(type(value), value) for value in stored] == [(type(choice), choice) for choice in choices]
    assert type(stored[5][1]) is float  # type: ignore[index]
    assert (await replica.study(name)).spec.space["x"].choices == choices  # type: ignore[union-attr]


async def test_an_edit_that_changes_no_number_changes_nothing(replica: Replica) -> None:
    spec = spec_of(
        space={"x": {"type": "float", "low": -1e23, "high": 1e23}, "y": {"type": "categorical", "choices": [1, 1e23]}}
    )
    name = await replica.create(**spec.model_dump(mode="json", exclude_none=True))
    study = await edit_study(replica.context, name, EditRequest(version=1, spec=spec))
    assert study.spec_version == 1
    changed = spec.model_dump(mode="json", exclude_none=True)
    changed["space"]["y"]["choices"] = [True, 1e23]
    study = await edit_study(replica.context, name, EditRequest(version=1, spec=spec_of(**changed)))
    assert study.spec_version == 2


async def test_an_enqueued_configuration_is_tried_as_it_was_given(replica: Replica) -> None:
    name = await replica.create(space={"x": {"type": "float", "low": 0, "high": 1e24}})
    await enqueue(replica.context, name, EnqueueRequest(parameters={"x": 1e23}))
    parameters = (await replica.claim(name)).parameters
    assert (type(parameters["x"]), parameters["x"]) == (float, 1e23)


async def test_a_prior_trial_keeps_its_numbers(replica: Replica) -> None:
    """A warm start copies parameters and value; both must still fit the space that they are checked against."""
    space = {"x": {"type": "categorical", "choices": [1e23, 2e23]}}
    first = await replica.create(space=space, budget={"trials": 1})
    await replica.train(first, 1e23)
    second = await replica.create(space=space, warm_start=[first], sampler={"name": "tpe"})
    assert "1 are prior trials" in ((await replica.study(second)).notice or "")
    assert broken(replica) == {}


async def test_a_worker_with_the_same_capabilities_is_known(replica: Replica) -> None:
    devices = [{"kind": "cuda", "memory_gib": 1e23}]
    name = await replica.create()
    await replica.claim(name, devices=devices)
    request = claim_request(name, devices=devices)
    assert await replica.database.read(lambda connection: seen_recently(connection, replica.context, request))


async def test_an_entry_cannot_be_registered_again_with_other_options(replica: Replica) -> None:
    entry = {"description": "own", "parameters": {"scale": {"type": "float", "default": 1e23}}}
    request = EntriesRequest.model_validate({"worker": "w", "registries": {"model": {"own": entry}}})
    for _ in range(2):
        assert (await register_entries(replica.context, request)).notes == []


async def test_reports_of_a_batch_with_other_numbers_are_refused(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    await replica.report(grant, 1, 1e23)
    with pytest.raises(DomainError) as refused:
        await replica.report(grant, 1, 1.0000000000000001e23 * 1.0000001)
    assert refused.value.code is ErrorCode.REPORT_CONFLICT
