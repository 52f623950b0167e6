"""Promotion from rung to rung: tables of the papers, exact counts at any parallelism, and observations at a rung."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.base import Value
from service.contract.report import Action
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, RungResult, TrialRecord
from service.search import decide
from service.search.replay import simulate
from service.search.schedulers import scheduler_of
from service.search.schedulers.rung_observations import observations_at_rung
from service.search.schedulers.rung_scheduler import Promote
from service.search.schedulers.successive_halving import SuccessiveHalving
from service.search.validation import check_strategy
from tests.search.studies import curve, record, study

LINE: dict[str, Any] = {"x": {"type": "float", "low": 0.0, "high": 1.0}}


def spec_of(pruner: Any = "asha", last: int = 9, **changes: Any) -> StudySpec:
    if isinstance(pruner, str):
        pruner = {"name": pruner, "min": 1}
    return study(LINE, pruner=pruner, **{"sampler": "random", "resource": {"name": "epoch", "max": last}, **changes})


def scheduler(spec: StudySpec) -> SuccessiveHalving:
    found = scheduler_of(spec)
    assert isinstance(found, SuccessiveHalving)
    return found


def learned(spec: StudySpec, history: History) -> tuple[History, str]:
    return observations_at_rung(history, spec, scheduler(spec).rungs)


def paused(number: int, *values: float, rungs: tuple[int, ...]) -> TrialRecord:
    """A trial that pauses at the last of `rungs`, which it has reached with these values."""
    arrivals = tuple(RungResult(rung, value, 1, 1) for rung, value in zip(rungs, values, strict=True))
    steps = tuple((rung, value) for rung, value in zip(rungs, values, strict=True))
    return record(number, state=TrialState.PAUSED, series=steps, rung_results=arrivals, run_until=rungs[-1])


def first_rung(*values: float) -> History:
    return History(trials=tuple(paused(at, value, rungs=(1,)) for at, value in enumerate(values)))


def promoted(history: History, spec: StudySpec) -> list[tuple[int, int]]:
    """(number, step) of all that are promoted one after the other while nobody arrives."""
    found = []
    while (promotion := scheduler(spec).promotion(history)) is not None:
        found.append((promotion.number, promotion.run_until))
        trial = promotion.of(history.trials[promotion.number])
        history = history.with_trial(replace(trial, state=TrialState.RUNNING))
    return found


def reached(history: History) -> list[int]:
    """How many trials came to each rung: steps 1, 3 and 9."""
    return [sum((trial.last_step or 0) >= rung for trial in history) for rung in (1, 3, 9)]


def recorded(*finals: float) -> History:
    """Trials with these losses at the end, whose curves keep their ranks, trained to step 9."""
    return History(
        trials=tuple(
            record(at, {"x": x}, x + 1 / 9, series=tuple((step, x + 1 / step) for step in range(1, 10)))
            for at, x in enumerate(finals)
        )
    )


def slope(parameters: Mapping[str, Value], step: int) -> dict[str, float]:
    """A curve that keeps its rank: the loss of x falls towards x."""
    x = parameters["x"]
    assert isinstance(x, float)
    return {"val/loss": x + 1 / step}


class TestPromotion:
    """Algorithm 2 of Li et al. 2020."""

    spec = spec_of()

    @pytest.mark.parametrize(("num", "best"), [(1, 0), (2, 0), (3, 1), (5, 1), (6, 2), (9, 3), (10, 3)])
    def test_the_best_third_of_a_rung_rounded_down_is_promoted_best_first(self, num: int, best: int) -> None:
        history = first_rung(*(10.0 - number for number in range(num)))
        assert promoted(history, self.spec) == [(num - 1 - at, 3) for at in range(best)]

    def test_the_largest_is_promoted_when_maximizing(self) -> None:
        spec = spec_of(objective={"metric": "val/loss", "direction": "maximize"})
        assert promoted(first_rung(0.3, 0.9, 0.5), spec) == [(1, 3)]

    def test_ties_are_promoted_in_order_of_arrival(self) -> None:
        assert promoted(first_rung(0.5, 0.5, 0.5), self.spec) == [(0, 3)]

    def test_the_top_rung_is_looked_at_first(self) -> None:
        high = [paused(at, 1.0, 0.5 - at / 100, rungs=(1, 3)) for at in range(3)]
        low = [paused(3 + at, 0.1 * at, rungs=(1,)) for at in range(9)]
        assert promoted(History(trials=(*high, *low)), self.spec) == [(2, 9), (3, 3)]

    def test_an_earlier_promoted_trial_keeps_its_rank(self) -> None:
        """With three more that are worse, only one more goes on: two of six."""
        ahead = replace(paused(0, 0.1, rungs=(1,)), state=TrialState.RUNNING, run_until=3)
        later = [paused(at, at / 10, rungs=(1,)) for at in range(2, 7)]
        others = History(trials=(ahead, *[replace(trial, number=at + 1) for at, trial in enumerate(later)]))
        assert promoted(others, self.spec) == [(1, 3)]

    @pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAILED, TrialState.CANCELLED, TrialState.WAITING])
    def test_only_paused_trials_are_promoted_and_no_other_takes_their_place(self, state: TrialState) -> None:
        history = first_rung(0.1, 0.2, 0.3)
        assert promoted(history.with_trial(replace(history.trials[0], state=state)), self.spec) == []

    def test_it_says_why(self) -> None:
        promotion = scheduler(self.spec).promotion(first_rung(0.3, 0.1, 0.2, 0.4, 0.6, 0.5))
        assert promotion is not None
        assert promotion.reason == "promoted to step 3: 1st of 6 at step 1, of which the best 2 go on"

    def test_it_goes_before_anything_new_even_what_a_person_enqueued(self) -> None:
        decision = decide.next_action(first_rung(0.3, 0.1, 0.2), self.spec, enqueued={"x": 0.5})
        assert isinstance(decision, Promote)
        assert (decision.number, decision.run_until) == (1, 3)

    def test_brackets_are_ranked_apart(self) -> None:
        """Hyperband's trials 1, 5 and 9 are of the second bracket and begin at step 3."""
        spec = spec_of("hyperband")
        brackets = [scheduler(spec).rungs.bracket(number) for number in range(10)]
        assert [number for number, bracket in enumerate(brackets) if bracket == 1] == [1, 5, 9]
        trials = [
            paused(at, *([1.0, 0.9] if bracket == 0 else [0.1 + at / 10]), rungs=(1, 3) if bracket == 0 else (3,))
            if bracket < 2
            else record(at, value=0.0)
            for at, bracket in enumerate(brackets)
        ]
        assert promoted(History(trials=tuple(trials)), spec) == [(0, 9), (1, 9)]


class TestArrivals:
    """What counts as having reached a rung."""

    spec = spec_of()

    def test_a_trial_arrives_with_the_first_value_at_or_behind_the_rung(self) -> None:
        history = History(trials=(record(0, series=((2, 0.5), (4, 0.25))),))
        assert scheduler(self.spec).new_rung_results(history, 0) == (
            RungResult(1, 0.5, 1, 1),
            RungResult(3, 0.25, 1, 1),
        )

    def test_a_rank_counts_the_earlier_results_only(self) -> None:
        history = History(trials=(*first_rung(0.1, 0.3, 0.2), record(3, series=curve(0.2))))
        assert scheduler(self.spec).new_rung_results(history, 3) == (RungResult(1, 0.2, rank=3, num=4),)

    def test_an_arrival_is_never_retracted_and_never_repeated(self) -> None:
        fell_back = replace(paused(0, 0.5, rungs=(1,)), state=TrialState.RUNNING, series=curve(0.7))
        assert scheduler(self.spec).new_rung_results(History(trials=(fell_back,)), 0) == ()

    def test_a_value_that_is_no_number_is_no_arrival(self) -> None:
        history = History(trials=(record(0, series=curve(math.nan)),))
        assert scheduler(self.spec).new_rung_results(history, 0) == ()
        assert decide.judge(history, self.spec, 0).action is Action.STOP

    @pytest.mark.parametrize(("value", "counted"), [("last", 0.7), ("best", 0.4), ({"mean_of_last": 2}, 0.55)])
    def test_it_counts_for_what_the_objective_would_be_there(self, value: Any, counted: float) -> None:
        spec = spec_of(objective={"metric": "val/loss", "direction": "minimize", "value": value})
        arrived = scheduler(spec).new_rung_results(History(trials=(record(0, series=curve(0.9, 0.4, 0.7)),)), 0)
        assert arrived[-1].value == pytest.approx(counted)


class TestVerdicts:
    """What a report is answered."""

    def test_at_its_rung_a_trial_pauses(self) -> None:
        history = first_rung(0.1, 0.3)
        arrived = replace(record(2, series=curve(0.2)), rung_results=(RungResult(1, 0.2, 2, 3),), run_until=1)
        verdict = decide.judge(History(trials=(*history, arrived)), spec_of(), 2)
        assert (verdict.action, verdict.reason) == (Action.PAUSE, "2nd of 3 at step 1: pauses there")

    def test_before_its_rung_a_trial_continues(self) -> None:
        trial = replace(record(0, series=curve(0.2)), run_until=2)
        verdict = decide.judge(History(trials=(trial,)), spec_of({"name": "asha", "min": 2}), 0)
        assert (verdict.action, verdict.reason) == (Action.CONTINUE, "its next rung is at step 2")

    def test_a_promoted_trial_trains_to_its_next_rung(self) -> None:
        trial = replace(record(0, series=curve(0.3, 0.2)), rung_results=(RungResult(1, 0.2, 1, 3),), run_until=3)
        verdict = decide.judge(History(trials=(trial,)), spec_of(), 0)
        assert (verdict.action, verdict.reason) == (Action.CONTINUE, "1st of 3 at step 1: continues to step 3")

    @pytest.mark.parametrize(
        ("rank", "num", "action"), [(1, 1, Action.CONTINUE), (2, 5, Action.STOP), (2, 6, Action.CONTINUE)]
    )
    def test_in_mode_stop_the_arrival_decides(self, rank: int, num: int, action: Action) -> None:
        spec = spec_of({"name": "asha", "min": 1, "mode": "stop"})
        trial = replace(record(0, series=curve(0.3)), rung_results=(RungResult(1, 0.3, rank, num),), run_until=9)
        assert decide.judge(History(trials=(trial,)), spec, 0).action is action

    def test_a_lost_stop_order_is_sent_again(self) -> None:
        spec = spec_of({"name": "asha", "min": 1, "mode": "stop"})
        trial = replace(record(0, series=curve(0.3, 0.1)), rung_results=(RungResult(1, 0.3, 2, 5),), run_until=9)
        verdict = decide.judge(History(trials=(trial,)), spec, 0)
        assert (verdict.action, verdict.reason) == (Action.STOP, "2nd of 5 at step 1, of which the best 1 goes on")


class TestWholeStudies:
    """Played to their end by the simulator."""

    def test_one_worker_promotes_as_soon_as_it_can(self) -> None:
        """Nine trials, r = 1, R = 9, eta = 3, each better than those before: worked by hand."""
        played = simulate.replay(spec_of(budget={"trials": 9}), recorded(*(x / 10 for x in range(9, 0, -1))))
        begun = [(step.number, step.step) for step in played.steps if step.step in {1, 2, 4}]
        # After three arrivals the best of them is promoted to step 3, after six the best of the six, after nine again;
        # and then the best of the three that arrived at step 3 trains to the end.
        low = [(0, 1), (1, 1), (2, 1), (2, 2), (3, 1), (4, 1), (5, 1), (5, 2), (6, 1), (7, 1), (8, 1), (8, 2)]
        assert begun == [*low, (8, 4)]

    def test_a_rung_gives_a_place_for_each_eta_arrivals_even_where_better_ones_come_late(self) -> None:
        """Algorithm 2 alone would promote 8 and 7 of the last three, and four of nine in all."""
        played = simulate.replay(spec_of(budget={"trials": 9}), recorded(0.5, 0.6, 0.7, 0.4, 0.3, 0.8, 0.9, 0.2, 0.1))
        assert [trial.number for trial in played.history if (trial.last_step or 0) >= 3] == [0, 4, 8]

    @settings(deadline=None, max_examples=40)
    @given(trials=st.integers(1, 40), workers=st.integers(1, 20), seed=st.integers(0, 5))
    def test_at_any_parallelism_exactly_a_third_of_each_rung_is_promoted(
        self, trials: int, workers: int, seed: int
    ) -> None:
        spec = spec_of(budget={"trials": trials})
        history = simulate.run(spec, slope, workers=workers, seed=seed).history
        assert {trial.state for trial in history} <= {TrialState.COMPLETED, TrialState.PRUNED}
        assert [trial.number for trial in history] == list(range(trials))
        assert reached(history) == [trials, trials // 3, trials // 3 // 3]
        for rung in (1, 3):
            arrived = [(arrival, trial) for trial in history for arrival in trial.rung_results if arrival.step == rung]
            assert all(arrival.rank <= arrival.num // 3 for arrival, trial in arrived if trial.last_step != rung)

    def test_the_counts_are_those_of_the_table(self) -> None:
        """Li et al. 2018, table 1: of 81 trials at step 1, 27 go on to step 3, 9 to 9, 3 to 27, and 1 to 81."""
        history = simulate.run(spec_of(last=81, budget={"trials": 81}), slope, workers=9).history
        assert [sum((trial.last_step or 0) >= rung for trial in history) for rung in (1, 3, 9, 27, 81)] == [
            81, 27, 9, 3, 1,
        ]  # fmt: skip

    def test_hyperband_hands_out_the_brackets_of_the_table(self) -> None:
        """R = 9: brackets of 9, 5 and 3 trials; ⌊n/3⌋ of each rung go on."""
        spec = spec_of("hyperband", budget={"trials": 17})
        history = simulate.run(spec, slope, workers=17).history
        by_bracket: dict[int, Counter[int]] = {0: Counter(), 1: Counter(), 2: Counter()}
        for trial in history:
            bracket = scheduler(spec).rungs.bracket(trial.number)
            by_bracket[bracket].update(rung for rung in (1, 3, 9) if (trial.last_step or 0) >= rung)
        assert [by_bracket[0][rung] for rung in (1, 3, 9)] == [9, 3, 1]
        assert [by_bracket[1][rung] for rung in (3, 9)] == [5, 1]
        assert by_bracket[2][9] == 3

    def test_an_unpromoted_trial_is_pruned_with_the_value_it_reached(self) -> None:
        spec = spec_of(budget={"trials": 9})
        history = simulate.run(spec, slope, workers=9).history
        left = [trial for trial in history if trial.state is TrialState.PRUNED]
        assert len(left) == 8
        assert all(trial.value == trial.series[-1][1] for trial in left)

    def test_no_step_is_trained_twice(self) -> None:
        played = simulate.run(spec_of(budget={"trials": 27}), slope, workers=4)
        assert len({(step.number, step.step) for step in played.steps}) == len(played.steps)

    def test_in_mode_stop_no_trial_pauses_and_fewer_continue_at_first(self) -> None:
        spec = spec_of({"name": "asha", "min": 1, "mode": "stop"}, budget={"trials": 27})
        played = simulate.run(spec, slope, workers=4)
        assert all(step.verdict.action is not Action.PAUSE for step in played.steps)
        assert {trial.state for trial in played.history} == {TrialState.COMPLETED, TrialState.PRUNED}


class TestTheEnd:
    """Done is exact."""

    spec = spec_of(budget={"trials": 2})
    spent = "all 2 trials of the budget were suggested"

    def test_paused_trials_are_not_waited_for_once_none_can_be_promoted(self) -> None:
        assert decide.next_action(first_rung(0.1, 0.2), self.spec) == decide.Done(self.spent)
        assert decide.completion_reason(first_rung(0.1, 0.2), self.spec) == self.spent

    def test_they_are_while_another_may_arrive(self) -> None:
        history = first_rung(0.1, 0.2)
        running = history.with_trial(replace(history.trials[0], state=TrialState.RUNNING, rung_results=()))
        assert decide.next_action(running, self.spec) == decide.Wait(f"{self.spent}; 1 are still open")
        assert decide.completion_reason(running, self.spec) is None

    def test_and_while_one_can_be_promoted(self) -> None:
        spec = spec_of(budget={"trials": 3})
        assert decide.completion_reason(first_rung(0.1, 0.2, 0.3), spec) is None

    def test_an_unpromoted_trial_keeps_its_value_and_learns_its_rank(self) -> None:
        history = first_rung(0.1, 0.2)
        assert decide.unpromoted(history, self.spec)[1] == (
            1,
            0.2,
            "not promoted: 2nd of 2 at step 1, and none was promoted",
        )

    def test_the_place_is_the_one_at_the_end_among_all_that_arrived(self) -> None:
        # Trial 0 was the best of its rung when it came; then three better ones came, and the best of them went on.
        history = first_rung(0.9, 0.1, 0.2, 0.3)
        assert history.trials[0].rung_results[0].rank == 1
        gone = replace(history.trials[1], state=TrialState.COMPLETED, run_until=3)
        left = decide.unpromoted(history.with_trial(gone), self.spec)
        assert [why for _, _, why in left] == [
            "not promoted: 4th of 4 at step 1, the best was promoted",
            "not promoted: 2nd of 4 at step 1, the best was promoted",
            "not promoted: 3rd of 4 at step 1, the best was promoted",
        ]


class TestLessons:
    """What a model learns from (Falkner et al. 2018, BOHB)."""

    spec = spec_of(sampler={"name": "tpe", "startup_trials": 3}, budget={"trials": 40})

    def test_it_compares_at_the_highest_rung_that_enough_have_reached(self) -> None:
        high = [paused(at, 0.9, 0.5 + at / 10, rungs=(1, 3)) for at in range(3)]
        low = [paused(3 + at, 0.7, rungs=(1,)) for at in range(4)]
        lessons, compared = learned(self.spec, History(trials=(*high, *low)))
        assert compared == "by step 3, which 3 have reached"
        assert [(trial.state, trial.value) for trial in lessons][:3] == [
            (TrialState.COMPLETED, 0.5), (TrialState.COMPLETED, 0.6), (TrialState.COMPLETED, 0.7),
        ]  # fmt: skip
        assert {trial.state for trial in lessons.trials[3:]} == {TrialState.PRUNED}

    def test_two_at_a_rung_do_not_make_a_model(self) -> None:
        high = [paused(at, 0.9, 0.5, rungs=(1, 3)) for at in range(2)]
        low = [paused(2, 0.7, rungs=(1,))]
        assert learned(self.spec, History(trials=(*high, *low)))[1] == "by step 1, which 3 have reached"

    def test_running_trials_below_the_rung_are_pending(self) -> None:
        trials = [*(paused(at, 0.7, rungs=(1,)) for at in range(3)), record(3), record(4, series=((1, 0.2), (5, 0.2)))]
        lessons, _ = learned(self.spec, History(trials=tuple(trials)))
        assert [trial.state for trial in lessons.trials[3:]] == [TrialState.RUNNING, TrialState.COMPLETED]

    def test_infeasible_and_failed_trials_stay_what_they_are(self) -> None:
        odd = (
            record(0, state=TrialState.PRUNED, infeasible=True, series=curve(0.1)),
            record(1, state=TrialState.FAILED, series=curve(0.1)),
        )
        assert learned(self.spec, History(trials=odd))[0].trials == odd

    def test_a_record_that_did_not_move_stays_the_same_lesson(self) -> None:
        """By identity: what models made of it is kept from one question to the next."""
        history = first_rung(0.3, 0.1, 0.2)
        first, _ = learned(self.spec, history)
        moved = history.with_trial(replace(history.trials[2], state=TrialState.RUNNING))
        second, _ = learned(self.spec, moved)
        assert [a is b for a, b in zip(first, second, strict=True)] == [True, True, False]

    def test_the_reason_says_where_trials_were_compared(self) -> None:
        history = simulate.run(self.spec, slope, workers=3, max_steps=30).history
        decision = decide.next_action(history, self.spec)
        while isinstance(decision, Promote):
            history = history.with_trial(
                replace(decision.of(history.trials[decision.number]), state=TrialState.RUNNING)
            )
            decision = decide.next_action(history, self.spec)
        assert isinstance(decision, decide.Suggest)
        assert "; trials are compared by step " in decision.suggestion.reason
        assert decision.suggestion.run_until == 1


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"resource": None}, "resource", "asha needs the last step of a trial; write resource: {name: epoch, max: 27}"),
        (
            {"pruner": {"name": "asha", "min": 9}},
            "pruner.min",
            "the first rung is at step 9, but trials end at 9; write less than 9",
        ),
        (
            {"resource": {"max": 1}},
            "resource.max",
            "asha needs a step before the last one to compare trials at; write 2 or more, or pruner: none",
        ),
        (
            {"sampler": "coarse_to_fine"},
            "pruner.name",
            "coarse_to_fine decides by its stages how long each trial trains, so asha cannot; write pruner: median",
        ),
    ],
)  # fmt: skip
def test_a_spec_without_rungs_is_refused_with_a_remedy(changes: dict[str, Any], path: str, message: str) -> None:
    spec = study(LINE, **{"pruner": "asha", "resource": {"name": "epoch", "max": 9}, **changes})
    [error] = check_strategy(spec)
    assert (error.path, error.message) == (path, message)
