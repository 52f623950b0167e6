"""Check 10, of functions and commands: they start, report the objective, follow orders, and resume.

It also repeats checks 7 and 9 for them: whether a seed repeats the values, and whether each parameter has an effect.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from service.contract.claim import Grant, Monitor, ResumePoint
from service.contract.study import StudySpec
from worker.training.deadline import Deadline
from worker.training.estimators.config import EstimatorConfig
from worker.training.preflight import Check, PreflightResult, SearchSpace, Status
from worker.training.preflight.bench import in_words
from worker.trial.preflight.short_attempt import ShortAttempt, execute_short

_NUMBER = 10
_NUM_REPORTS = 4
_EQUAL = 1e-9
_TIME = "The time was over."


@dataclass
class OwnCode:
    """The custom code of a study under test.

    Attributes:
        spec: the study.
        space: its space.
        folder: an empty folder for the files of the attempts.
        seed: the trial's seed.
        device: cpu or cuda.
        threads: the number of CPU threads.
        deadline: of the whole preflight.
    """

    spec: StudySpec
    space: SearchSpace
    folder: Path
    seed: int
    device: str
    threads: int
    deadline: Deadline
    num_attempts: int = 0

    def attempt(
        self, parameters: Mapping[str, Any], num_reports: int, resume: tuple[int, Path] | None = None
    ) -> ShortAttempt:
        """Execute a few steps of the task, for at most half of the time that is left."""
        self.num_attempts += 1
        grant = self._grant(parameters)
        if resume is not None:
            point = ResumePoint(sha256="", size=resume[1].stat().st_size, uri="", step=resume[0])
            grant = grant.model_copy(update={"resume": point})
        return execute_short(
            grant,
            self.folder / str(self.num_attempts),
            device=self.device,
            threads=self.threads,
            num_reports=num_reports,
            seconds=self.deadline.left / 2,
            resume=None if resume is None else resume[1],
        )

    def _grant(self, parameters: Mapping[str, Any]) -> Grant:
        spec, objective = self.spec, self.spec.primary_objective
        assert spec.task is not None
        if spec.task.estimator is not None:
            task = EstimatorConfig.with_parameters(spec.task.estimator, parameters)
        else:
            task = getattr(spec.task, spec.task_kind).model_dump(mode="json")
        return Grant(
            study="preflight", study_name=spec.name, trial="preflight", number=0, attempt=1, nonce="",
            task_kind=spec.task_kind, task=task, parameters=dict(parameters), seed=self.seed,
            monitor=Monitor(metric=objective.metric, direction=objective.direction, keep="last"),
            resource="epoch" if spec.resource is None else spec.resource.name,
            run_until=None if spec.resource is None else spec.resource.max,
            lease_seconds=60.0, heartbeat_seconds=10.0,
        )  # fmt: skip


def check_own_code(code: OwnCode, on_check: Callable[[Check], None]) -> PreflightResult:
    """Run the task a few times, and return what was seen; an epoch takes as long as there is between two reports."""
    started = time.perf_counter()
    checks: list[Check] = []

    def add(check: Check) -> Check:
        checks.append(check)
        on_check(check)
        return check

    first = code.attempt(code.space.centre, _NUM_REPORTS)
    has_started = add(_starts(first, code)).status is not Status.FAILED
    if has_started and add(_objective(first, code)).status is not Status.FAILED:
        add(_orders(first))
        again = code.attempt(code.space.centre, _NUM_REPORTS)
        repeats = add(_same_seed(first, again)).status is Status.PASSED
        add(_resumes(first, code, repeats=repeats))
        add(_parameters(first, code, repeats=repeats))
    return PreflightResult(checks, time.perf_counter() - started, seconds_per_epoch=_seconds_per_report(first))


def _starts(first: ShortAttempt, code: OwnCode) -> Check:
    name = "starts"
    figures = {"reports": len(first.reports), "seconds_to_first_report": first.seconds[0] if first.seconds else None}
    if first.failure is not None:
        kind = code.spec.task_kind
        return Check(
            _NUMBER, name, Status.FAILED,
            f"The {kind} fails after {len(first.reports)} reports: {first.failure}", figures,
            f"Correct the {kind}; `worker try` shows the whole traceback of a trial."
            if kind == "function"
            else "Start the program by hand with the parameters of the centre of the space.",
        )  # fmt: skip
    if first.reports:
        sentence = f"It starts, and reports step {first.reports[0][0]} after {in_words(first.seconds[0])} s."
        return Check(_NUMBER, name, Status.PASSED, sentence, figures)
    if first.outcome is None:
        return Check(
            _NUMBER, name, Status.FAILED, "It reported nothing, and was ended when half of the time was over.", figures,
            "Report more often, give the preflight more seconds, or look for what it waits for.",
        )  # fmt: skip
    return Check(_NUMBER, name, Status.PASSED, "It starts, and ends without a report.", figures)


def _objective(first: ShortAttempt, code: OwnCode) -> Check:
    name = "reports_objective"
    found = first.metrics
    figures = {"metrics": found}
    for objective in code.spec.objectives:
        if objective.metric not in found:
            reported = f"it reports {', '.join(sorted(found))}" if found else "it reports nothing"
            return Check(
                _NUMBER, name, Status.FAILED, f"The objective {objective.metric} is missing: {reported}.", figures,
                f"Report {objective.metric}, or name a reported metric in the study's objective.",
            )  # fmt: skip
        if not math.isfinite(found[objective.metric]):
            return Check(
                _NUMBER, name, Status.FAILED,
                f"The objective {objective.metric} is no finite number at the centre of the space.", figures,
                "Look for a division by zero or a rate that is too high.",
            )  # fmt: skip
    reported = ", ".join(f"{each.metric} = {in_words(found[each.metric])}" for each in code.spec.objectives)
    return Check(_NUMBER, name, Status.PASSED, f"It reports {reported}.", figures)


def _orders(first: ShortAttempt) -> Check:
    name = "follows_orders"
    if first.ignored_order:
        return Check(
            _NUMBER, name, Status.WARNED, f"It goes on after the order to stop, for {len(first.reports)} reports.", {},
            "Ask trial.should_stop after each report and return, so that pruners and pauses save time.",
        )  # fmt: skip
    if len(first.reports) < _NUM_REPORTS:
        return Check(_NUMBER, name, Status.NOT_RUN, f"It ends by itself after {len(first.reports)} reports.")
    return Check(_NUMBER, name, Status.PASSED, f"It ends when it is ordered to, after {len(first.reports)} reports.")


def _same_seed(first: ShortAttempt, again: ShortAttempt) -> Check:
    name = "same_seed"
    difference = _difference(first.reports, again.reports)
    if difference is None:
        return Check(7, name, Status.NOT_RUN, "The two attempts have no step in common.")
    figures = {"difference": difference}
    if difference <= _EQUAL:
        return Check(7, name, Status.PASSED, "The same seed and parameters give the same values.", figures)
    return Check(
        7, name, Status.WARNED, f"The same seed and parameters give values that differ by {in_words(difference)}.",
        figures,
        "Seed everything random from trial.seed (or a fixed number), so that trials differ by their parameters alone.",
    )  # fmt: skip


def _resumes(first: ShortAttempt, code: OwnCode, *, repeats: bool) -> Check:
    name = "resumes"
    if not first.checkpoints:
        sentence = "It saves no checkpoint: a trial that loses its host begins anew, and no pause keeps its work."
        return Check(_NUMBER, name, Status.NOT_RUN, sentence)
    if code.deadline.has_passed:
        return Check(_NUMBER, name, Status.NOT_RUN, _TIME)
    step, path = first.checkpoints[0]
    resumed = code.attempt(code.space.centre, _NUM_REPORTS - 1, (step, path))
    figures = {"step": step, "reports": len(resumed.reports)}
    if resumed.failure is not None:
        return Check(
            _NUMBER, name, Status.FAILED, f"It does not resume from step {step}: {resumed.failure}", figures,
            "Load trial.load_checkpoint() if it is not None, and continue with step trial.step + 1.",
        )  # fmt: skip
    difference = _difference(first.reports, resumed.reports)
    if repeats and difference is not None and difference > _EQUAL:
        return Check(
            _NUMBER, name, Status.WARNED,
            f"Resumed from step {step}, its next values differ by {in_words(difference)} from those of one attempt.",
            {**figures, "difference": difference},
            "Save and restore all state: weights, the optimizer's state, and the states of random generators.",
        )  # fmt: skip
    exact = " with the same values" if repeats and difference is not None else ""
    return Check(_NUMBER, name, Status.PASSED, f"It resumes from step {step}{exact}.", figures)


def _parameters(first: ShortAttempt, code: OwnCode, *, repeats: bool) -> Check:
    """Change one parameter after the other, and compare the first values."""
    name = "parameters"
    searched = {path: each for path, each in code.space.parameters.items() if len(each.values) > 1}
    if not repeats:
        return Check(9, name, Status.NOT_RUN, "Values that no seed repeats don't tell what a parameter changes.")
    inert: list[str] = []
    failed: dict[str, str] = {}
    tested: list[str] = []
    for path in searched:
        if code.deadline.has_passed:
            break
        tested.append(path)
        has_effect, problem = _effect(first, code, path)
        if problem is not None:
            failed[path] = problem
        elif not has_effect:
            inert.append(path)
    figures = {"tested": tested, "without_effect": inert, "failed": failed}
    if inert:
        return Check(
            9, name, Status.FAILED, f"The values are the same whatever {', '.join(inert)} is.", figures,
            "Use the parameter in the code, or leave it out of the space: its trials would be repetitions.",
        )  # fmt: skip
    if failed:
        path, problem = next(iter(failed.items()))
        return Check(
            9,
            name,
            Status.WARNED,
            f"It fails with {path} = {problem}",
            figures,
            "Narrow the space, or correct the code.",
        )
    if len(tested) < len(searched):
        sentence = f"The time was over after {len(tested)} of {len(searched)} parameters; each has an effect."
        return Check(9, name, Status.NOT_RUN, sentence, figures)
    return Check(9, name, Status.PASSED, f"Each of the {len(searched)} searched parameters has an effect.", figures)


def _effect(first: ShortAttempt, code: OwnCode, path: str) -> tuple[bool, str | None]:
    """Return whether another value of a parameter changes the reports, and the message of an attempt that failed."""
    parameter = code.space.parameters[path]
    others = [value for value in reversed(parameter.values) if value != code.space.centre.get(path)]
    for value in others[:2]:
        changed = code.attempt(code.space.settings({**parameter.requires, path: value}), _NUM_REPORTS)
        if changed.failure is not None:
            return True, f"{value!r}: {changed.failure}"
        if _difference(first.reports, changed.reports) != 0.0:
            return True, None
    return False, None


def _difference(
    first: Sequence[tuple[int, Mapping[str, float]]], second: Sequence[tuple[int, Mapping[str, float]]]
) -> float | None:
    """Return the largest difference of equal metrics at equal steps; None: there are none in common."""
    values = {(step, name): value for step, metrics in first for name, value in metrics.items()}
    differences = [
        0.0 if value == values[step, name] or value != value else abs(value - values[step, name])  # noqa: PLR0124 - NaN
        for step, metrics in second
        for name, value in metrics.items()
        if (step, name) in values
    ]
    return max(differences, default=None)


def _seconds_per_report(first: ShortAttempt) -> float | None:
    gaps = [after - before for before, after in pairwise(first.seconds)]
    return statistics.median(gaps) if gaps else None
