"""End of a preflight's attempt: the trial takes the result, which may edit the study's spec or pause the study."""

from __future__ import annotations

from service.analysis.preflight_summary import reason_to_pause, summarize
from service.contract.attempt import Outcome
from service.contract.preflight import PreflightResult
from service.contract.study import PauseCause, StudySpec, StudyState
from service.domain.failures import Resolution
from service.domain.states import StudyEvent, TrialEvent
from service.search.preflight_edits import automatic_edits
from service.search.spec_diff import differences
from service.storage.unit_of_work import UnitOfWork
from service.usecases.fencing import FencedAttempt
from service.usecases.specs import store_spec


def end_preflight(
    unit_of_work: UnitOfWork, spec: StudySpec, fenced: FencedAttempt, outcome: Outcome, resolution: Resolution
) -> TrialEvent:
    """Apply the event that follows from the outcome of a preflight's attempt; return the event.

    A preflight has no objective. It is completed once its worker sent the results of the checks, whatever they say.
    """
    trial, event, reason = fenced.trial, resolution.trial, resolution.reason
    why_paused, result = None, None
    if event is TrialEvent.COMPLETED:
        if outcome.preflight is None:
            event, reason = TrialEvent.FAILED, "its worker sent no results of the checks"
        else:  # whatever the checks found, the preflight did its work
            result = outcome.preflight
            reason = summarize(result)
            why_paused = reason_to_pause(result, spec.preflight_mode)
    if event in {TrialEvent.FAILED, TrialEvent.PRUNED}:
        why_paused = f"the preflight ended without a result: {reason}"
    if event is TrialEvent.PAUSED:
        event = TrialEvent.REQUEUED
    if event is TrialEvent.REQUEUED and unit_of_work.study.stop_requested_at is not None:
        event, reason = TrialEvent.CANCELLED, "the study was stopped"
    columns: dict[str, object] = {
        "num_losses": trial.num_losses + resolution.is_loss,
        "num_failures": trial.num_failures + resolution.is_failure,
    }
    if event is not TrialEvent.REQUEUED:
        columns |= {"infeasible": resolution.infeasible, "finished_at": unit_of_work.now()}
    unit_of_work.advance_trial(trial, event, attempt=fenced.attempt.number, reason=reason, **columns)
    if result is not None:
        _edit_spec(unit_of_work, spec, fenced, result)
    _pause_if_required(unit_of_work, spec, why_paused)
    return event


def _edit_spec(unit_of_work: UnitOfWork, spec: StudySpec, fenced: FencedAttempt, result: PreflightResult) -> None:
    """Store a new version of the spec if the preflight changes it and no trial was made by it yet."""
    study = unit_of_work.study
    if study.next_number > 0 or study.spec_version != fenced.trial.spec_version:
        return
    edits = automatic_edits(spec, result)
    if not edits:
        return
    version = study.spec_version + 1
    store_spec(unit_of_work, study.id, version, edits[-1].spec)
    unit_of_work.set_study(spec_version=version)
    changes = [f"{path}: {change}" for path, change in differences(spec, edits[-1].spec)]
    reasons = [f"after the preflight: {edit.reason}" for edit in edits]
    unit_of_work.record("study_edited", data={"version": version, "changes": [*changes, *reasons]})


def _pause_if_required(unit_of_work: UnitOfWork, spec: StudySpec, reason: str | None) -> None:
    """Pause a study whose search has not begun for a reason, if its preflight holds the search back."""
    study = unit_of_work.study
    holds_back = spec.preflight_mode in {"require", "review"}
    if reason is None or not holds_back or study.state != StudyState.ACTIVE or study.next_number > 0:
        return
    remedy = (
        f"start the search as it is (study resume {study.name}), or correct the study (study edit {study.name}) "
        f"and check it again (study preflight {study.name} --again)"
    )
    unit_of_work.advance_study(StudyEvent.PAUSED, reason=f"{reason}; {remedy}", pause_cause=PauseCause.PREFLIGHT)
