"""What a preflight proposes to change in a spec: the range of learning rates to search first."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.preflight import Check, CheckStatus, LearningRateRange, MemoryLimit, PreflightResult
from service.contract.study import Bound, Constraints, StudySpec
from service.domain.history import History
from service.search import decide
from service.search.preflight_edits import automatic_edits, batch_size_edit, memory_edit, rate_edit
from tests.search.studies import study

RATES: dict[str, Any] = {"type": "float", "low": 1e-5, "high": 1.0, "log": True}
SPACE = {"optimizer.lr": RATES, "x": {"type": "float", "low": 0, "high": 1}}


def result(*, proposed: float = 1e-2, explodes: float | None = None, **measured: Any) -> PreflightResult:
    found = LearningRateRange(falls=proposed / 5, steepest=proposed, explodes=explodes, proposed=proposed)
    check = Check(number=4, name="learning_rate", status=CheckStatus.PASSED, sentence="it falls")
    return PreflightResult.model_validate({"checks": [check], "seconds": 1, "learning_rate": found} | measured)


@pytest.mark.parametrize(
    ("changes", "proposed", "explodes", "expected"),
    [
        ({}, 1e-2, None, (1e-3, 0.1)),
        ({}, 1e-2, 0.033, (1e-3, 0.033)),  # never to where the loss explodes
        ({}, 2e-5, None, (1e-5, 2e-4)),  # never outside the declared range
        ({"step": 0.02, "low": 0.02, "log": False}, 0.02, None, (0.02, 0.2)),
    ],
)
def test_the_range_lies_around_the_proposed_rate(
    changes: dict[str, Any], proposed: float, explodes: float | None, expected: tuple[float, float]
) -> None:
    edit = rate_edit(study({**SPACE, "optimizer.lr": RATES | changes}), result(proposed=proposed, explodes=explodes))
    assert edit is not None
    assert edit.settings == {
        "space.optimizer.lr.low": pytest.approx(expected[0]), "space.optimizer.lr.high": pytest.approx(expected[1]),
    }  # fmt: skip
    rate = edit.spec.space["optimizer.lr"].model_dump()
    assert (rate["low"], rate["high"]) == pytest.approx(expected)
    assert rate["log"] is (changes.get("log", True))
    assert f"the learning-rate range test proposes {proposed:g}, so optimizer.lr is searched from" in edit.reason
    assert rate_edit(edit.spec, result(proposed=proposed, explodes=explodes)) is None, "it is made already"


@pytest.mark.parametrize(
    "spec",
    [
        study({**SPACE, "optimizer.name": {"type": "categorical", "choices": ["sgd", "adamw"]}}),
        study({**SPACE, "optimizer.lr": {"type": "categorical", "choices": [0.1, 0.01], "ordered": True}}),
        study({"x": SPACE["x"]}),
        # Without the rates above 0.5, nothing would meet the condition.
        study({**SPACE, "x": SPACE["x"] | {"when": {"optimizer.lr": {"low": 0.5}}}}),
    ],
    ids=["each optimizer has rates of its own", "choices", "not searched", "a condition"],
)
def test_rates_that_cannot_be_narrowed_are_left(spec: StudySpec) -> None:
    assert rate_edit(spec, result()) is None


def test_no_measured_rates_change_nothing() -> None:
    assert rate_edit(study(SPACE), result(learning_rate=None)) is None
    assert rate_edit(study(SPACE), result(proposed=1e3)) is None, "outside the declared range"


def test_a_coarse_to_fine_search_begins_with_the_rates_in_its_whole_declared_space() -> None:
    spec = study(SPACE, sampler={"name": "coarse_to_fine", "seed": 3})
    edit = rate_edit(spec, result())
    assert edit is not None
    assert edit.settings == {"sampler.first_box": {"optimizer.lr": [1e-3, 0.1]}}
    assert edit.spec.space == spec.space
    assert rate_edit(edit.spec, result()) is None
    decision = decide.next_action(History(), edit.spec)
    assert isinstance(decision, decide.Suggest)
    assert decision.suggestion.notes["box"] == {"optimizer.lr": [1e-3, 0.1], "x": [0.0, 1.0]}


def test_another_first_box_is_kept_beside_the_rates() -> None:
    spec = study(SPACE, sampler={"name": "coarse_to_fine", "first_box": {"x": [0.2, 0.4], "optimizer.lr": [0.1, 1]}})
    edit = rate_edit(spec, result())
    assert edit is not None
    assert edit.settings["sampler.first_box"] == {"x": [0.2, 0.4], "optimizer.lr": [1e-3, 0.1]}


def test_rates_are_applied_only_if_the_spec_says_so() -> None:
    assert automatic_edits(study(SPACE), result()) == []
    (edit,) = automatic_edits(study(SPACE, preflight_rates="apply"), result())
    assert edit == rate_edit(study(SPACE, preflight_rates="apply"), result())
    assert automatic_edits(study(SPACE, preflight_rates="apply"), result(learning_rate=None)) == []


TRAIN = {"data": {"name": "digits"}, "model": {"name": "mlp"}}


def test_an_automatic_batch_size_becomes_the_proposed_number() -> None:
    spec = study(SPACE, task={"train": {**TRAIN, "batch_size": "auto"}}, preflight_rates="apply")
    first, second = automatic_edits(spec, result(batch_size=512))
    assert first.settings == {"task.train.batch_size": 512}
    assert first.reason == "batch_size: auto becomes 512, the same for all trials"
    assert second.spec.task is not None
    assert second.spec.task.train == {**TRAIN, "batch_size": 512}, "an edit is made from the version before it"
    assert second.spec.space != spec.space
    assert batch_size_edit(spec, result()) is None, "none was measured"
    for task in ({"train": {**TRAIN, "batch_size": 64}}, {"train": TRAIN}, {"function": "mine:train"}, None):
        assert batch_size_edit(study(SPACE, task=task), result(batch_size=512)) is None


def test_corners_without_memory_become_constraints_beside_others() -> None:
    limit = MemoryLimit(parameters={"batch_size": 64}, larger=["batch_size"], gpu_memory_gib=8)
    spec = study(SPACE, task={"train": TRAIN}, constraints={"parameters": {"max": 100}})
    (edit,) = automatic_edits(spec, result(memory_limits=[limit]))
    assert edit.spec.constraints == Constraints(parameters=Bound(max=100), memory=[limit])
    assert memory_edit(spec, result()) is None
