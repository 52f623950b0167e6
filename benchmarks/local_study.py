"""Runs the trials of a study one after the other in this process, without a service.

`service.search.decide` suggests and prunes, as in the service, and the training core trains.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from service.contract.catalogue import load_catalogue
from service.contract.report import Action
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, Series, TrialRecord
from service.domain.objective import final_value, plain_losses_of, tie_break_loss
from service.domain.task_config import apply_parameters
from service.search import decide
from service.search.seeds import trial_seed
from worker.training import Monitor, Report, TrainingConfig, TrainingResult, Verdict, train
from worker.training.errors import Diverged
from worker.training.events import Ending

Results = dict[int, TrainingResult]
"""The number of each completed trial -> its training."""


def run(spec: StudySpec) -> tuple[History, Results]:
    """Run a checked study of the training core to its end."""
    history, results = History(), Results()
    while isinstance(made := decide.next_action(history, spec), decide.Suggest):
        suggestion = made.suggestion
        trial = TrialRecord(
            made.number,
            TrialState.RUNNING,
            suggestion.parameters,
            stage=suggestion.stage,
            notes=suggestion.notes,
            run_until=suggestion.run_until,
        )
        history = replace(history, revision=history.revision + 1, trials=(*history.trials, trial))
        if suggestion.new_stage is not None:
            history = history.with_stage(suggestion.new_stage)
        history, result = _run_trial(history, spec, made.number)
        if result is not None:
            results[made.number] = result
    return history, results


def configuration(spec: StudySpec, trial: TrialRecord) -> dict[str, Any]:
    """Return the task of a trial, as a grant of the service has it."""
    assert spec.task is not None
    assert spec.task.train is not None
    settings = {**decide.overrides_of(spec, trial.stage), **trial.parameters}
    return apply_parameters(spec.task.train, settings, load_catalogue())[0]


def _run_trial(history: History, spec: StudySpec, number: int) -> tuple[History, TrainingResult | None]:
    """Train a trial until it ends or the pruner stops it; return the history with its result."""
    objective, begun = spec.primary_objective, history.trials[number]
    losses: dict[str, list[tuple[int, float]]] = {name: [] for name in plain_losses_of(objective.metric)}

    def on_report(report: Report) -> Verdict:
        nonlocal history
        history = history.with_value(number, report.step, report.metrics[objective.metric])
        for name, points in losses.items():
            if name in report.metrics:
                points.append((report.step, report.metrics[name]))
        stops = decide.judge(history, spec, number).action is Action.STOP
        return Verdict.STOP if stops else Verdict.CONTINUE

    task = configuration(spec, begun)
    result = None
    with contextlib.suppress(Diverged):
        result = train(
            TrainingConfig.from_mapping(task if begun.run_until is None else {**task, "epochs": begun.run_until}),
            seed=trial_seed(spec.sampler.seed, number),
            monitor=Monitor(objective.metric, objective.direction),
            on_report=on_report,
        )
    trial = history.trials[number]
    if result is None:
        return history.with_trial(replace(trial, state=TrialState.PRUNED, infeasible=True)), None
    curves: dict[str, Series] = {objective.metric: trial.series, **{name: tuple(each) for name, each in losses.items()}}
    is_finished = result.ending is Ending.FINISHED
    ended = replace(
        trial,
        state=TrialState.COMPLETED if is_finished else TrialState.PRUNED,
        value=final_value(objective, trial.series),
        tie_break_loss=tie_break_loss(objective, curves, {}),
    )
    return history.with_trial(ended), result if is_finished else None
