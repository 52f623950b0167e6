"""The result of a watched study: raises an error with the reason if the study has no result."""

from __future__ import annotations

from collections.abc import Iterator

from service.cli.render import study_pages
from service.client.endpoints import Endpoints
from service.client.errors import SearchFailed
from service.contract.study import PauseCause, StudyState, StudyView
from service.contract.trial import TrialDetail, TrialState

_NEWEST_REVISIONS = 500
"""The number of revisions searched for the newest failed trial."""
_ENDED_BADLY = (TrialState.FAILED, TrialState.PRUNED)


def require_result(endpoints: Endpoints, study: StudyView) -> None:
    """Raise an error if a study has no result after it was watched.

    Raises:
        SearchFailed: it is paused for its failures, was stopped, or is completed without any completed trial.
    """
    name, reason = study.name, study.state_reason or "no reason recorded"
    if study.state is StudyState.STOPPED:
        raise SearchFailed(f"{name} was stopped: {reason}")
    if study.state is StudyState.PAUSED and study.pause_cause is PauseCause.FAILURES:
        lines = [f"{name} is paused: {reason}", *_evidence(endpoints, study)]
        raise SearchFailed("\n".join([*lines, f"correct it, then: study resume {name}"]))
    if study.state is StudyState.COMPLETED and not study.num_trials.get(TrialState.COMPLETED):
        ended = f"{name}: {study_pages.num_finished(study)} trials ended, none completed: {study_pages.counts(study)}"
        raise SearchFailed("\n".join([ended, *_evidence(endpoints, study)]))


def _evidence(endpoints: Endpoints, study: StudyView) -> Iterator[str]:
    """Describe the newest failed or pruned trial: its reason, and the last line of its traceback."""
    trial = _newest_bad(endpoints, study)
    if trial is None:
        return
    number = trial.id if trial.number is None else trial.number
    yield f"trial {number} {trial.state}: {trial.state_reason}"
    traceback = trial.attempts[-1].traceback if trial.attempts else None
    lines = [line.strip() for line in (traceback or "").splitlines() if line.strip()]
    if lines and lines[-1] not in (trial.state_reason or ""):
        yield lines[-1]
    yield f"see: study show {study.name} --trial {number}"


def _newest_bad(endpoints: Endpoints, study: StudyView) -> TrialDetail | None:
    page = endpoints.trials(study.id, since=max(0, study.revision - _NEWEST_REVISIONS))
    bad = [trial for trial in page.trials if trial.state in _ENDED_BADLY and trial.finished_at is not None]
    if not bad:
        return None
    newest = max(bad, key=lambda trial: trial.revision)
    return endpoints.trial(study.id, newest.id if newest.number is None else newest.number)
