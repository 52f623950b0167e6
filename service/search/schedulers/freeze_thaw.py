"""Freeze-thaw: a model of unfinished learning curves decides whether to begin a new trial or to continue a paused one.

Every trial pauses at each rung. Each decision compares, by one Gaussian process over configurations and steps, the
expected improvement of the *final* value of every paused trial with that of the best new configuration (after Swersky,
Snoek & Adams 2014). A promotion and a suggestion compete, so no share of the trials is fixed in advance. All decisions
depend on the history only, so a restart changes none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.contract.base import Value
from service.contract.space import ConstantParameter, Space
from service.contract.study import Objective
from service.contract.trial import TrialState
from service.domain.history import History, Suggestion, TrialRecord
from service.domain.rungs import Rungs
from service.search.schedulers.rung_scheduler import Promote, RungScheduler, describe_rank
from service.search.seeds import derive

if TYPE_CHECKING:
    from service.search.gaussian_process.curve_surrogate import CurveSurrogate, Expectation

STARTUP_TRIALS = 8
"""Number of trials that begin before the model decides: the centre of the space and Sobol points."""

COMPLETION_PERIOD = 5
"""At least one trial completes for each so many whole trainings' worth of steps, whatever the model expects."""

_STALE_AFTER = 8
"""Number of rung results after which a promotion that was decided before them is decided anew."""

_FIT_SHARE = 12
"""The hyperparameters are fitted anew whenever the rung results have grown by about this fraction of the trials."""

_ENDED = frozenset({TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED, TrialState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A new configuration, the logarithm of its expected improvement, and what it is expected to end at."""

    parameters: Mapping[str, Value]
    improvement: float
    expected: Expectation


class FreezeThaw(RungScheduler):
    """The freeze-thaw scheduler of one study, which is also its pruner.

    Args:
        rungs: the rungs of the study.
        objective: its only objective.
        space: its checked space.
        seed: the seed of its sampler.
    """

    def __init__(self, rungs: Rungs, objective: Objective, space: Space, seed: int) -> None:
        super().__init__(rungs, objective)
        self._space = space
        self._seed = seed

    def can_promote(self, history: History) -> bool:
        """Return whether a paused trial can train on."""
        return any(trial.state is TrialState.PAUSED and trial.rung_results for trial in history)

    def confirmed(self, known: History, now: History, promotion: Promote) -> Promote | None:
        """Return a promotion that was decided from `known` if it is still possible `now`, else None.

        It needs no model: the trial must be paused at the same rung, and few results may have arrived since.
        """
        trial = now.trials[promotion.number]
        if trial.state is not TrialState.PAUSED or not trial.rung_results:
            return None
        last = trial.rung_results[-1]
        if last.step != promotion.result.step or num_arrivals(now) - num_arrivals(known) > _STALE_AFTER:
            return None
        return promotion

    def decide(
        self, history: History, *, can_begin: bool, suggest: Callable[[], Suggestion], by_model: bool
    ) -> Promote | Suggestion | None:
        """Return the paused trial to promote or the configuration to begin; None if there is neither.

        Args:
            history: the study's search trials.
            can_begin: whether a new trial may begin.
            suggest: returns the suggestion of the study's sampler for the next trial.
            by_model: whether the model also chooses new configurations; otherwise it only scores the sampler's.
        """
        paused = [trial for trial in history if trial.state is TrialState.PAUSED and trial.rung_results]
        number = history.next_number
        if can_begin and number < STARTUP_TRIALS:
            return suggest() if not by_model else self._startup(history, number)
        if not paused:
            return (self._without_model(history, number, suggest, by_model=by_model)) if can_begin else None
        model = self._model(history)
        if model is None:
            return self._promote(history, paused[0], "too few trials have a value to compare it with")
        scores = model.of_trials(paused)
        at = int(scores.argmax())
        if (overdue := self._overdue(history)) is not None:
            best = min(paused, key=lambda trial: self._key(trial.number, model.expected(trial).median))
            return self._promote(
                history, best, f"{_words(model.expected(best), model)}; {overdue}", goal=self.rungs.last
            )
        if can_begin:
            new, made = self._new(history, model, suggest, by_model=by_model)
            if new is not None and new.improvement > float(scores[at]):
                why = (
                    f"freeze_thaw: largest expected improvement of the final value by a model of {model.num_trials} "
                    f"learning curves; {_words(new.expected, model)}"
                )
                reason = why if made is None else f"{made.reason}; {why}"
                notes = {**(made.notes if made is not None else {}), **model.notes()}
                return Suggestion(dict(new.parameters), reason, notes=notes)
        return self._promote(history, paused[at], _words(model.expected(paused[at]), model))

    def not_promoted_reason(self, history: History, trial: TrialRecord) -> str:
        """Explain why a paused trial was not promoted from its last rung."""
        del history
        return f"not promoted: {describe_rank(trial.rung_results[-1])}, and others were expected to end better"

    def _startup(self, history: History, number: int) -> Suggestion:
        """Return the centre of the space, or a Sobol point."""
        from service.search.samplers.gp import startup_point  # noqa: PLC0415 - samplers import schedulers' results

        parameters, where = startup_point(self._space, history.trials, number, self._seed)
        return Suggestion(
            parameters, f"freeze_thaw startup: {where}, as {number} of {STARTUP_TRIALS} trials have begun"
        )

    def _without_model(
        self, history: History, number: int, suggest: Callable[[], Suggestion], *, by_model: bool
    ) -> Suggestion:
        """Return a suggestion while no trial is paused."""
        if not by_model:
            return suggest()
        model = self._model(history)
        if model is None:
            return self._startup(history, number)
        new, _ = self._new(history, model, suggest, by_model=True)
        if new is None:
            return self._startup(history, number)
        return Suggestion(dict(new.parameters), f"freeze_thaw: {_words(new.expected, model)}", notes=model.notes())

    def _model(self, history: History) -> CurveSurrogate | None:
        if all(isinstance(parameter, ConstantParameter) for parameter in self._space.values()):
            return None
        # Loads NumPy and SciPy.
        from service.search.gaussian_process.curve_surrogate import CurveSurrogate  # noqa: PLC0415

        must_fit = num_arrivals(history) % max(2, len(history) // _FIT_SHARE) == 0
        return CurveSurrogate.of(self._space, self._objective, history.trials, self.rungs.steps, must_fit=must_fit)

    def _new(
        self, history: History, model: CurveSurrogate, suggest: Callable[[], Suggestion], *, by_model: bool
    ) -> tuple[Candidate | None, Suggestion | None]:
        """Return the best new configuration, and the sampler's suggestion if the sampler chose it."""
        import numpy as np  # noqa: PLC0415

        from service.search.gaussian_process.candidates import ranked_candidates  # noqa: PLC0415
        from service.search.trial_matrix import trial_matrix_of  # noqa: PLC0415

        if not by_model:
            made = suggest()
            point = model.encoding.points([made.parameters])
            return Candidate(made.parameters, float(model.of_new(point)[0]), model.expected_of_new(point)), made
        rng = np.random.default_rng(derive(self._seed, "freeze_thaw", history.next_number, num_arrivals(history)))
        points = ranked_candidates(model.of_new, model.encoding, model.best_points, rng)
        matrix = trial_matrix_of(self._space, history.trials)
        for row in range(len(points)):
            parameters = model.encoding.configuration(points.units[row])
            if not matrix.contains(self._space, parameters):
                point = points.take([row])
                return Candidate(parameters, float(model.of_new(point)[0]), model.expected_of_new(point)), None
        return None, None

    def _overdue(self, history: History) -> str | None:
        """Return why a trial must be completed now whatever the model expects, or None if none must."""
        spent = sum(trial.last_step or 0 for trial in history)
        num_due = spent // (COMPLETION_PERIOD * self.rungs.last)
        num_ended = sum(
            trial.state is TrialState.COMPLETED or (trial.state not in _ENDED and trial.run_until == self.rungs.last)
            for trial in history
        )
        if num_ended >= num_due:
            return None
        return f"one of {COMPLETION_PERIOD} trainings' worth of steps completes a trial"

    def _promote(self, history: History, trial: TrialRecord, why: str, goal: int | None = None) -> Promote:
        """Return the promotion of a trial to `goal`, by default its next rung."""
        last = trial.rung_results[-1]
        result = self._rank_at(
            self._entries_by_rung(history)[self.rungs.bracket(trial.number), last.step],
            trial.number,
            last.step,
            last.value,
        )
        goal = goal or self.rungs.after(trial.number, last.step)
        return Promote(trial.number, goal, result, f"promoted to step {goal}: {why}")


def num_arrivals(history: History) -> int:
    """Return how many rung results a history has."""
    return sum(len(trial.rung_results) for trial in history)


def _words(expected: Expectation, model: CurveSurrogate) -> str:
    """Describe what a trial is expected to end at, with an 80 % interval."""
    low, high = sorted((expected.low, expected.high))
    best = "" if model.best is None else f"; best so far {model.best:.4g}"
    return f"expected to end at {expected.median:.4g} ({low:.4g} to {high:.4g}){best}"
