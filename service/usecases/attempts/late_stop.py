"""Late stop verdicts: uses what a trial trained after a verdict to stop that reached its worker too late."""

from __future__ import annotations

from dataclasses import dataclass

from service.contract.study import StudySpec
from service.domain.failures import Resolution
from service.domain.objective import ObjectiveResult, final_value, is_better
from service.domain.states import TrialEvent
from service.storage.queries import series, trials
from service.storage.tables import Row
from service.storage.unit_of_work import UnitOfWork
from service.usecases.fencing import FencedAttempt


@dataclass(frozen=True)
class LateStop:
    """The event and the reason for a trial whose worker went on after a verdict to stop."""

    event: TrialEvent
    reason: str


def late_stop(
    unit_of_work: UnitOfWork,
    spec: StudySpec,
    fenced: FencedAttempt,
    resolution: Resolution,
    ended: list[ObjectiveResult],
) -> LateStop | None:
    """Return the event for a trial that trained past a pruner's verdict to stop; None if nothing changes.

    A trial that trained to its end completes with its final value, and its reason says that the verdict came late. A
    trial that stopped late is pruned, unless it improved after the step of the verdict and is better than every
    completed trial: then it completes with the value that it has. Pruners support only studies with one objective.
    """
    is_over = resolution.trial in {TrialEvent.COMPLETED, TrialEvent.PRUNED} and resolution.failure is None
    is_settled = is_over and all(each.value is not None and each.is_finite for each in ended)
    if not is_settled or fenced.trial.number is None or unit_of_work.study.stop_requested_at is not None:
        return None
    stop = series.first_stop(unit_of_work.connection, fenced.trial.id, fenced.attempt.number)
    if stop is None or (fenced.attempt.last_step or 0) <= stop.step:
        return None
    late = f"the verdict to stop at step {stop.step} came too late ({stop.reason})"
    if resolution.trial is TrialEvent.COMPLETED:
        return LateStop(TrialEvent.COMPLETED, f"{resolution.reason}; {late}")
    than = _improvement(unit_of_work, spec, fenced.trial, stop.step, ended[0].value or 0.0)
    if than is None:
        return None
    reached = f"by step {fenced.attempt.last_step} the trial had reached {ended[0].value:g}, {than}"
    return LateStop(TrialEvent.COMPLETED, f"{late}: {reached}, so it counts as completed")


def _improvement(unit_of_work: UnitOfWork, spec: StudySpec, trial: Row, stopped_at: int, value: float) -> str | None:
    """Describe how good a value is that a trial reached after the step of the verdict; None if it is no new best."""
    connection, metric = unit_of_work.connection, spec.primary_objective.metric
    curve = series.curves(connection, trial.id, [metric])[metric]
    before = final_value(spec.primary_objective, tuple(point for point in curve if point[0] <= stopped_at))
    if before is None or not is_better(spec.primary_objective, value, before):
        return None
    best = trials.best(connection, unit_of_work.study.id, spec)
    if best is None:
        return "before any trial completed"
    is_new_best = is_better(spec.primary_objective, value, best.value)
    return f"better than the best of the completed, trial {best.number}" if is_new_best else None
