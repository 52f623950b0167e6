"""Coarse-to-fine search: stages in order, boxes from observations, growth at a border, no collapse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.contract.base import Value
from service.contract.space import CategoricalParameter, NumericParameter, Space
from service.contract.trial import TrialState
from service.domain.history import History, TrialRecord
from service.domain.parameter import contains
from service.domain.space import check_parameters
from service.search import decide
from service.search.replay.simulate import run
from service.search.samplers.coarse_to_fine.box import Evidence, format_range, refine
from service.search.samplers.coarse_to_fine.sampler import CoarseToFineSampler, stages_of
from service.search.validation import check_strategy
from tests.search.studies import DIGITS, begun, ended, played, record, smooth, study

STAGES = [{"trials": 20, "resource": 2}, {"trials": 10, "resource": 4}, {"trials": 5}]


def space(**parameters: Any) -> Space:
    return TypeAdapter(Space).validate_python(parameters)


LR = {"type": "float", "low": 1e-5, "high": 1e-1, "log": True}


def evidence(*best_first: Mapping[str, Value], num_top: int) -> Evidence:
    return Evidence([record(at, parameters, float(at)) for at, parameters in enumerate(best_first)], num_top)


class TestBox:
    """How the next box follows from the best trials."""

    def test_a_log_range_narrows_by_its_exponents(self) -> None:
        declared = space(lr=LR)
        box = refine(declared, declared, evidence(*({"lr": 1e-3} for _ in range(20)), num_top=7))
        lr = box.space["lr"]
        assert not isinstance(lr, CategoricalParameter)
        # An eighth of the four decades to either side.
        assert [lr.low, lr.high] == pytest.approx([10**-3.5, 10**-2.5], rel=0.01)
        assert box.changes == ("lr [1e-05, 0.1] -> [0.000316, 0.00317] because the best 7 of 20 lie there",)

    def test_few_trials_narrow_little(self) -> None:
        declared = space(x={"type": "float", "low": 0.0, "high": 1.0})
        boxes = [refine(declared, declared, evidence(*({"x": 0.5},) * 20, num_top=num)).space["x"] for num in (1, 4, 9)]
        assert [format_range(box) for box in boxes] == ["[0, 1]", "[0.3, 0.7]", "[0.4, 0.6]"]

    def test_a_parameter_that_does_not_matter_keeps_its_range(self) -> None:
        declared = space(x={"type": "float", "low": 0.0, "high": 1.0})
        even = [{"x": at / 5} for at in (3, 1, 2, 4)]
        assert refine(declared, declared, evidence(*even, num_top=4)).changes == ()

    @pytest.mark.parametrize(
        ("places", "end", "grown"),
        [((0.59, 0.58, 0.57, 0.5), "upper", "[0.52, 0.7]"), ((0.41, 0.42, 0.43, 0.5), "lower", "[0.3, 0.48]")],
    )
    def test_a_box_grows_across_the_border_that_the_best_sits_at(
        self, places: tuple[float, ...], end: str, grown: str
    ) -> None:
        declared = space(x={"type": "float", "low": 0.0, "high": 1.0})
        inner = space(x={"type": "float", "low": 0.4, "high": 0.6})
        box = refine(declared, inner, evidence(*({"x": place} for place in places), num_top=3))
        assert format_range(box.space["x"]) == grown
        why = f"because the best 3 of 4 lie there, and the {end} bound grows because the best trial is at it"
        assert box.changes == (f"x [0.4, 0.6] -> {grown} {why}",)

    def test_a_box_never_grows_out_of_the_declared_space(self) -> None:
        declared = space(lr=LR)
        box = refine(declared, declared, evidence({"lr": 0.09}, {"lr": 0.05}, {"lr": 0.01}, num_top=2))
        lr = box.space["lr"]
        assert not isinstance(lr, CategoricalParameter)
        assert lr.high == 0.1
        assert "the upper bound stays because the best trial is at it" in box.changes[0]

    def test_a_value_is_dropped_only_on_evidence(self) -> None:
        declared = space(name={"type": "categorical", "choices": ["sgd", "adamw", "rare"]})
        tried = ["adamw"] * 5 + ["sgd"] * 14 + ["rare"]
        box = refine(declared, declared, evidence(*({"name": name} for name in tried), num_top=5))
        assert box.space["name"].choices == ["adamw", "rare"]  # type: ignore[union-attr]
        why = "because the others were tried often and are not among the best 5 of 20"
        assert box.changes == (f"name {{sgd, adamw, rare}} -> {{adamw, rare}} {why}",)

    def test_a_conditional_range_follows_the_trials_that_have_it(self) -> None:
        declared = space(
            name={"type": "categorical", "choices": ["sgd", "adamw"]},
            momentum={"type": "float", "low": 0.0, "high": 1.0, "when": {"name": "sgd"}},
        )
        without = evidence({"name": "adamw"}, {"name": "adamw"}, {"name": "sgd", "momentum": 0.1}, num_top=2)
        assert refine(declared, declared, without).changes == ()
        top: list[Mapping[str, Value]] = [{"name": "sgd", "momentum": 0.5}] * 4
        assert format_range(refine(declared, declared, evidence(*top, num_top=4)).space["momentum"]) == "[0.3, 0.7]"

    def test_ordered_choices_narrow_as_a_range_and_keep_two(self) -> None:
        declared = space(batch={"type": "categorical", "choices": [8, 16, 32, 64, 128, 256], "ordered": True})
        middle = refine(declared, declared, evidence(*({"batch": 64},) * 20, num_top=7))
        assert format_range(middle.space["batch"]) == "{32, 64, 128}"
        alone = refine(declared, middle.space, evidence(*({"batch": 64},) * 40, num_top=30))
        assert format_range(alone.space["batch"]) == "{32, 64, 128}", "a border choice alone is no box"
        back = refine(declared, middle.space, evidence(*({"batch": 128},) * 20, num_top=7))
        assert format_range(back.space["batch"]) == "{128, 256}", "and it grows beyond the border"

    def test_zero_stays_with_the_smallest_decade_or_goes(self) -> None:
        declared = space(decay={"type": "float", "low": 1e-6, "high": 1e-2, "log": True, "zero": True})
        none = refine(declared, declared, evidence(*({"decay": 0.0},) * 40, num_top=30))
        assert format_range(none.space["decay"]) == "0 or [1e-06, 1e-05]"
        some = refine(declared, declared, evidence(*({"decay": 1e-3},) * 20, num_top=9))
        assert format_range(some.space["decay"]) == "[0.000354, 0.00282]"
        back = refine(declared, none.space, evidence(*({"decay": 9e-6},) * 20, num_top=7))
        assert format_range(back.space["decay"]) == "[5.84e-06, 5.63e-05]"

    def test_a_trial_from_outside_draws_the_box_towards_it(self) -> None:
        declared = space(x={"type": "float", "low": 0.0, "high": 1.0}, name={"type": "categorical", "choices": [1, 2]})
        inner = space(x={"type": "float", "low": 0.1, "high": 0.3}, name={"type": "categorical", "choices": [1]})
        box = refine(declared, inner, evidence({"x": 0.9, "name": 2}, num_top=1))
        assert contains(box.space["x"], 0.9)
        assert contains(box.space["name"], 2)

    @settings(deadline=None, max_examples=30)
    @given(data=st.data())
    def test_no_sequence_of_boxes_collapses_or_leaves_the_space(self, data: st.DataObject) -> None:
        declared = space(
            x={"type": "float", "low": -2.0, "high": 1.0},
            lr=LR,
            step={"type": "float", "low": 0.0, "high": 0.6, "step": 0.1},
            depth={"type": "int", "low": 1, "high": 9, "step": 2},
            batch={"type": "int", "low": 8, "high": 512, "log": True},
            name={"type": "categorical", "choices": ["a", "b", "c"]},
            size={"type": "categorical", "choices": [16, 32, 64, 128], "ordered": True},
            decay={"type": "float", "low": 1e-6, "high": 1e-2, "log": True, "zero": True},
            only={"type": "constant", "value": 1},
        )
        seed = data.draw(st.integers(0, 10**6))
        num_top = data.draw(st.integers(1, 30))
        box = declared
        for stage in range(6):
            spec = study({name: kind.model_dump() for name, kind in box.items()}, sampler="random")
            trials = played(spec, lambda _: 0.0).trials[seed % 7 :]
            box = refine(declared, box, Evidence(trials, min(num_top, len(trials)))).space
            seed = seed // 7 + stage
            for name, parameter in box.items():
                base = declared[name]
                if isinstance(parameter, CategoricalParameter):
                    assert len(parameter.choices) >= (2 if parameter.ordered else 1)
                elif isinstance(parameter, NumericParameter):
                    assert isinstance(base, NumericParameter)
                    assert base.low <= parameter.low < parameter.high <= base.high
                    assert contains(base, parameter.low)
            TypeAdapter(Space).validate_python({name: kind.model_dump() for name, kind in box.items()})


class TestStages:
    """How a study moves from stage to stage."""

    spec = study(sampler={"name": "coarse_to_fine", "stages": STAGES}, budget={"trials": 35}, resource={"max": 8})

    def test_stages_follow_each_other_each_with_its_trials_and_resource(self) -> None:
        history = played(self.spec, smooth, at_once=3)
        assert [trial.stage for trial in history] == [0] * 20 + [1] * 10 + [2] * 5
        decisions = [decide.next_action(History(trials=history.trials[:at]), self.spec) for at in (0, 20, 30)]
        assert [made.suggestion.run_until for made in decisions if isinstance(made, decide.Suggest)] == [2, 4, None]

    def test_a_stage_begins_when_the_one_before_has_ended(self) -> None:
        history = History()
        while isinstance(decision := decide.next_action(history, self.spec), decide.Suggest):
            history = begun(history, decision)
        assert len(history) == 20
        assert decision == decide.Wait("stage 2 of 3 begins when the 20 open trials before it have ended")

    def test_a_stage_whose_trials_all_failed_leaves_the_box_as_it_was(self) -> None:
        history = played(study(sampler="random", budget={"trials": 20}), smooth)
        failed = tuple(TrialRecord(trial.number, TrialState.FAILED, trial.parameters, stage=0) for trial in history)
        decision = decide.next_action(History(trials=failed), self.spec)
        assert isinstance(decision, decide.Suggest)
        assert decision.suggestion.reason.startswith(
            "stage 2 of 3: the box of stage 1, because its trials gave no reason to change it"
        )

    def test_every_suggestion_lies_in_its_stages_box_and_says_what_the_box_is(self) -> None:
        history = played(self.spec, smooth)
        sampler = CoarseToFineSampler.of(self.spec)
        for trial in history:
            assert trial.stage is not None
            box = sampler.box(history, trial.stage)
            assert check_parameters(box.space, trial.parameters) == []
            assert set(trial.notes["box"]) == set(DIGITS)
        assert "optimizer.lr [1e-05, 0.1] -> " in history.stages[1].reason

    def test_the_fine_box_closes_in_on_the_optimum(self) -> None:
        history = played(self.spec, smooth)
        boxes = [CoarseToFineSampler.of(self.spec).box(history, stage).space["optimizer.lr"] for stage in range(3)]
        widths = [math.log10(box.high / box.low) for box in boxes if not isinstance(box, CategoricalParameter)]
        assert widths[0] > 1.5 * widths[1]
        assert all(contains(box, 10**-2.5) for box in boxes)

    def coarse(self, *fates: dict[str, Any]) -> Evidence:
        """What twenty trials of the first stage say when the leading ones end as told, the rest with value 5."""
        history = History(trials=tuple(played(study(sampler="random"), smooth).trials[:20]))
        for number in range(20):
            history = ended(
                history, number, **{"value": 5.0, "stage": 0, **(fates[number] if number < len(fates) else {})}
            )
        return CoarseToFineSampler.of(self.spec)._evidence(history.trials, 0)

    def test_a_completed_trial_ranks_before_a_pruned_one_and_infeasible_ones_come_last(self) -> None:
        known = self.coarse(
            {"value": None, "state": TrialState.PRUNED, "infeasible": True},
            {"value": 1.0, "state": TrialState.PRUNED},
            {"value": 4.0},
            {"value": None, "state": TrialState.FAILED},
            {"value": float("nan")},
        )
        numbers = [trial.number for trial in known.ranked]
        assert (numbers[0], numbers[-2], numbers[-1]) == (2, 1, 0)
        assert not {3, 4} & set(numbers)
        assert known.num_top == math.ceil(0.25 * 17)

    def test_values_of_shorter_training_are_not_compared_with_longer_ones(self) -> None:
        history = played(self.spec, smooth)
        shorter = History(trials=tuple(replace(t, value=-1.0) if t.stage == 0 else t for t in history))
        sampler = CoarseToFineSampler.of(self.spec)
        assert sampler.box(shorter, 1) != sampler.box(history, 1)
        known = sampler._evidence(shorter.trials, 1)
        assert [trial.stage for trial in known.ranked] == [1] * 10

    def test_values_of_a_differently_set_task_are_not_compared_either(self) -> None:
        stages = [{"trials": 20, "overrides": {"data.limit": 500}}, {"trials": 10}]
        history = played(study(sampler="random", budget={"trials": 20}), smooth)
        trials = tuple(replace(trial, stage=0) for trial in history)
        for overrides, num_known in (({"data.limit": 500}, 0), ({}, 20)):
            spec = study(
                sampler={"name": "coarse_to_fine", "stages": [{**stages[0], "overrides": overrides}, stages[1]]}
            )
            assert len(CoarseToFineSampler.of(spec)._evidence(trials, 1).ranked) == num_known
            assert len(CoarseToFineSampler.of(spec)._evidence(trials, 0).ranked) == 20

    def test_overrides_of_a_stage_apply_to_its_trials_alone(self) -> None:
        stages = [{"trials": 5, "overrides": {"schedule.name": "constant"}}, {"trials": 5}]
        spec = study(sampler={"name": "coarse_to_fine", "stages": stages})
        assert [decide.overrides_of(spec, stage) for stage in (0, 1, None)] == [{"schedule.name": "constant"}, {}, {}]
        assert decide.overrides_of(study(sampler="tpe"), 0) == {}

    def test_a_stages_model_learns_from_trials_inside_its_box_only(self) -> None:
        stages = [{"trials": 20, "keep": 0.2}, {"trials": 10, "sampler": "tpe"}]
        spec = study(sampler={"name": "coarse_to_fine", "stages": stages}, budget={"trials": 30})
        history = played(spec, smooth)
        box = CoarseToFineSampler.of(spec).box(history, 1).space
        inside = [trial for trial in history.trials[:20] if check_parameters(box, trial.parameters) == []]
        assert 5 <= len(inside) < 20
        suggestion = CoarseToFineSampler.of(spec).suggest(History(trials=history.trials[:20]), 20, 0)
        assert f"tpe: a model of {len(inside)} trials" in suggestion.reason

    def test_a_larger_budget_continues_the_last_stage(self) -> None:
        spec = study(sampler="coarse_to_fine", budget={"trials": 12}, resource={"max": 8})
        history = played(spec, smooth)
        larger = spec.model_copy(update={"budget": spec.budget.model_copy(update={"trials": 60})})
        decision = decide.next_action(history, larger)
        assert isinstance(decision, decide.Suggest)
        assert decision.suggestion.stage == 1

    def test_stages_without_a_budget_end_with_the_last(self) -> None:
        spec = self.spec.model_copy(update={"budget": self.spec.budget.model_copy(update={"trials": None})})
        assert len(played(spec, smooth)) == 35

    def test_the_default_is_short_and_wide_then_long_and_narrow(self) -> None:
        coarse, fine = stages_of(study(sampler="coarse_to_fine", budget={"trials": 60}, resource={"max": 20}))
        assert (coarse.trials, coarse.resource, coarse.sampler) == (40, 5, "sobol")
        assert (fine.trials, fine.resource, fine.sampler) == (20, None, "tpe")


class TestFirstBox:
    """A box of the spec in place of the whole space."""

    FIRST = {"name": "coarse_to_fine", "first_box": {"x": [0.1, 0.3], "kind": ["a"]}}
    SPACE = {
        "x": {"type": "float", "low": 0, "high": 1},
        "kind": {"type": "categorical", "choices": ["a", "b"]},
    }

    def test_the_first_stage_searches_it_and_a_later_one_may_grow_past_it(self) -> None:
        spec = study(self.SPACE, sampler=self.FIRST)
        # The best trials lie at its upper border.
        history = played(spec, lambda parameters: -float(parameters["x"]))  # type: ignore[arg-type]
        first = [trial for trial in history if trial.stage == 0]
        assert len(first) == 20
        assert all(0.1 <= float(trial.parameters["x"]) <= 0.3 for trial in first)  # type: ignore[arg-type]
        assert {trial.parameters["kind"] for trial in history} == {"a"}
        assert max(float(trial.parameters["x"]) for trial in history) > 0.3  # type: ignore[arg-type]

    def test_its_suggestions_say_that_it_is_the_first_box(self) -> None:
        decision = decide.next_action(History(), study(self.SPACE, sampler=self.FIRST))
        assert isinstance(decision, decide.Suggest)
        assert decision.suggestion.reason.startswith("stage 1 of 2: the first box of the spec;")

    @pytest.mark.parametrize("stages", [None, [{"trials": 20}, {"trials": 5}]])
    def test_a_first_box_outside_the_space_is_refused(self, stages: list[dict[str, int]] | None) -> None:
        sampler = {"name": "coarse_to_fine", "stages": stages, "first_box": {"x": [0.5, 2.0], "y": [0, 1]}}
        errors = check_strategy(study(self.SPACE, sampler=sampler))
        assert [error.path for error in errors] == ["sampler.first_box.x", "sampler.first_box.y"]
        assert "2.0 is outside the declared space" in errors[0].message


class TestDecidedBoxes:
    """What was decided of a stage stands, and a person may decide."""

    spec = study(sampler={"name": "coarse_to_fine", "stages": STAGES}, budget={"trials": 35}, resource={"max": 8})
    reviewed = study(
        sampler={"name": "coarse_to_fine", "stages": STAGES, "review": True}, budget={"trials": 35}, resource={"max": 8}
    )

    def coarse(self) -> History:
        """The first stage, ended."""
        return replace(played(self.spec, smooth), trials=played(self.spec, smooth).trials[:20], stages={})

    def proposal(self, history: History) -> decide.Propose:
        decision = decide.next_action(history, self.reviewed)
        assert isinstance(decision, decide.Propose)
        return decision

    def test_the_first_trial_of_a_stage_tells_its_box_and_no_other_does(self) -> None:
        history = played(self.spec, smooth)
        known = History()
        begun_at = {}
        for trial in history:
            made = decide.next_action(known, self.spec)
            assert isinstance(made, decide.Suggest)
            if made.suggestion.new_stage is not None:
                begun_at[made.number] = made.suggestion.new_stage.number
                assert made.suggestion.new_stage.box == made.suggestion.notes["box"]
                assert made.suggestion.new_stage.reason in made.suggestion.reason
            known = replace(begun(known, made).with_trial(trial), revision=known.revision + 1)
        assert begun_at == {20: 1, 30: 2}

    def test_a_box_stands_once_its_stage_has_begun(self) -> None:
        history = played(self.spec, smooth)
        late = replace(history.trials[0], parameters={**history.trials[0].parameters, "optimizer.lr": 1e-5}, value=-9.0)
        sampler, after = CoarseToFineSampler.of(self.spec), history.with_trial(late)
        assert sampler.box(replace(after, stages={}), 1).space != sampler.box(history, 1).space
        assert sampler.box(after, 1) == sampler.box(history, 1)

    def test_a_study_that_is_reviewed_proposes_what_it_would_have_searched(self) -> None:
        made = decide.next_action(self.coarse(), self.spec)
        assert isinstance(made, decide.Suggest)
        assert self.proposal(self.coarse()) == decide.Propose(made.suggestion.new_stage, 3)  # type: ignore[arg-type]

    def test_nothing_is_proposed_while_the_stage_before_is_open_or_once_the_budget_is_spent(self) -> None:
        history = self.coarse()
        still_open = history.with_trial(replace(history.trials[3], state=TrialState.RUNNING))
        assert isinstance(decide.next_action(still_open, self.reviewed), decide.Wait)
        spent = self.reviewed.model_copy(update={"budget": self.reviewed.budget.model_copy(update={"trials": 20})})
        assert isinstance(decide.next_action(history, spent), decide.Done)

    def test_an_accepted_box_is_searched_and_later_ones_are_drawn_from_it(self) -> None:
        proposed = self.proposal(self.coarse()).stage
        theirs = replace(proposed, box={**proposed.box, "optimizer.lr": [1e-5, 2e-5]}, reason="a person said so")
        history = self.coarse().with_stage(theirs)
        while isinstance(decision := decide.next_action(history, self.reviewed), decide.Suggest):
            assert decision.suggestion.reason.startswith("stage 2 of 3: a person said so; ")
            assert decision.suggestion.new_stage is None
            assert 1e-5 <= decision.suggestion.parameters["optimizer.lr"] <= 2e-5  # type: ignore[operator]
            history = ended(begun(history, decision), decision.number, smooth(decision.suggestion.parameters))
        assert len(history) == 30
        assert isinstance(decision, decide.Propose)
        assert "optimizer.lr [1e-05, 2e-05] -> " in decision.stage.reason

    def test_a_stage_that_a_person_accepted_has_begun_though_a_larger_budget_would_stretch_the_one_before(self) -> None:
        spec = study(sampler={"name": "coarse_to_fine", "review": True}, budget={"trials": 30}, resource={"max": 8})
        history = replace(self.coarse(), trials=tuple(replace(trial, stage=0) for trial in self.coarse()))
        accepted = history.with_stage(self.proposal(history).stage)
        larger = spec.model_copy(update={"budget": spec.budget.model_copy(update={"trials": 90})})
        for known, stage in ((history, 0), (accepted, 1)):
            decision = decide.next_action(known, larger)
            assert isinstance(decision, decide.Suggest)
            assert decision.suggestion.stage == stage

    def test_a_simulation_accepts_what_is_proposed(self) -> None:
        plays = [
            run(spec, lambda parameters, _: {"val/loss": smooth(parameters)}, workers=2).history
            for spec in (self.spec, self.reviewed)
        ]
        assert plays[0].trials == plays[1].trials
        assert plays[0].stages == plays[1].stages


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        (
            {"sampler": "coarse_to_fine", "budget": {}},
            "budget.trials",
            "coarse_to_fine divides a budget into stages; write budget: {trials: 60}, or sampler.stages",
        ),
        (
            {"sampler": {"name": "coarse_to_fine", "stages": STAGES}, "resource": {"max": 8}},
            "sampler.stages",
            "the stages take 35 trials, the budget has 30; raise budget.trials or shorten a stage",
        ),
        (
            {"sampler": {"name": "coarse_to_fine", "stages": STAGES[1:]}, "resource": {"max": 3}},
            "sampler.stages.0.resource",
            "4 is more than resource.max 3; raise that or lower this",
        ),
        (
            {"sampler": {"name": "coarse_to_fine", "stages": [{"trials": 5, "overrides": {"a": 1}}, {"trials": 5}]}},
            "sampler.stages.0.overrides",
            "overrides are settings of a train task, and the study has none; leave them out",
        ),
        (
            {"sampler": {"name": "coarse_to_fine", "stages": STAGES[1:]}},
            "sampler.stages.0.resource",
            "a stage's resource is a part of the study's; write resource: {name: epoch, max: 20} too",
        ),
    ],
)
def test_stages_that_are_no_search_say_what_to_write(changes: dict[str, Any], path: str, message: str) -> None:
    errors = check_strategy(study(**changes))
    assert [(error.path, error.message) for error in errors] == [(path, message)]
