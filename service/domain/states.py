"""State machines of studies, trials and attempts, with their states and events."""

from __future__ import annotations

from enum import StrEnum

from service.contract.study import StudyState
from service.contract.trial import AttemptState, TrialState
from service.domain.state_machine import StateMachine, Transition


class StudyEvent(StrEnum):
    """Events of a study."""

    PAUSED = "paused"
    RESUMED = "resumed"
    COMPLETED = "completed"
    STOPPED = "stopped"
    EXTENDED = "extended"


class TrialEvent(StrEnum):
    """Events of a trial."""

    CLAIMED = "claimed"
    REQUEUED = "requeued"
    REATTACHED = "reattached"
    PAUSED = "paused"
    PROMOTED = "promoted"
    NOT_PROMOTED = "not_promoted"
    COMPLETED = "completed"
    PRUNED = "pruned"
    FAILED = "failed"
    GIVEN_UP = "given_up"
    CANCELLED = "cancelled"


class AttemptEvent(StrEnum):
    """Events of an attempt."""

    SUCCEEDED = "succeeded"
    PRUNED = "pruned"
    PAUSED = "paused"
    FAILED = "failed"
    LOST = "lost"
    REATTACHED = "reattached"
    RELEASED = "released"
    CANCELLED = "cancelled"


_S, _T, _A = StudyState, TrialState, AttemptState

STUDY: StateMachine[StudyState, StudyEvent] = StateMachine(
    "study",
    StudyState.ACTIVE,
    {
        StudyEvent.PAUSED: Transition(frozenset({_S.ACTIVE}), _S.PAUSED),
        StudyEvent.RESUMED: Transition(frozenset({_S.PAUSED}), _S.ACTIVE),
        StudyEvent.COMPLETED: Transition(frozenset({_S.ACTIVE}), _S.COMPLETED),
        StudyEvent.STOPPED: Transition(frozenset({_S.ACTIVE, _S.PAUSED}), _S.STOPPED),
        StudyEvent.EXTENDED: Transition(frozenset({_S.ACTIVE, _S.PAUSED, _S.COMPLETED, _S.STOPPED}), _S.ACTIVE),
    },
)

TRIAL: StateMachine[TrialState, TrialEvent] = StateMachine(
    "trial",
    TrialState.WAITING,
    {
        TrialEvent.CLAIMED: Transition(frozenset({_T.WAITING}), _T.RUNNING),
        TrialEvent.REQUEUED: Transition(frozenset({_T.RUNNING}), _T.WAITING),
        TrialEvent.REATTACHED: Transition(frozenset({_T.WAITING}), _T.RUNNING),
        TrialEvent.PAUSED: Transition(frozenset({_T.RUNNING}), _T.PAUSED),
        TrialEvent.PROMOTED: Transition(frozenset({_T.PAUSED}), _T.WAITING),
        TrialEvent.NOT_PROMOTED: Transition(frozenset({_T.PAUSED}), _T.PRUNED),
        TrialEvent.COMPLETED: Transition(frozenset({_T.RUNNING}), _T.COMPLETED),
        TrialEvent.PRUNED: Transition(frozenset({_T.RUNNING}), _T.PRUNED),
        TrialEvent.FAILED: Transition(frozenset({_T.RUNNING}), _T.FAILED),
        TrialEvent.GIVEN_UP: Transition(frozenset({_T.WAITING}), _T.PRUNED),
        TrialEvent.CANCELLED: Transition(frozenset({_T.WAITING, _T.RUNNING, _T.PAUSED}), _T.CANCELLED),
    },
)

ATTEMPT: StateMachine[AttemptState, AttemptEvent] = StateMachine(
    "attempt",
    AttemptState.RUNNING,
    {
        AttemptEvent.SUCCEEDED: Transition(frozenset({_A.RUNNING}), _A.SUCCEEDED),
        AttemptEvent.PRUNED: Transition(frozenset({_A.RUNNING}), _A.PRUNED),
        AttemptEvent.PAUSED: Transition(frozenset({_A.RUNNING}), _A.PAUSED),
        AttemptEvent.FAILED: Transition(frozenset({_A.RUNNING}), _A.FAILED),
        AttemptEvent.LOST: Transition(frozenset({_A.RUNNING}), _A.LOST),
        AttemptEvent.REATTACHED: Transition(frozenset({_A.LOST}), _A.RUNNING),
        AttemptEvent.RELEASED: Transition(frozenset({_A.RUNNING}), _A.RELEASED),
        AttemptEvent.CANCELLED: Transition(frozenset({_A.RUNNING}), _A.CANCELLED),
    },
)

OPEN_TRIALS = frozenset(TRIAL.states) - TRIAL.terminal
"""States in which a trial can still change.

A study is complete when no trial is in one of these states and no trial number is left to hand out.
"""

FINISHED_STUDIES = frozenset({StudyState.COMPLETED, StudyState.STOPPED})
"""States of a study that hands out no trials. Only an extension of the budget makes such a study active again."""
