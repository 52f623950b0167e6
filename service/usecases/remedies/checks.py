"""Checks of actions against one snapshot: what the use case that carries an action out would refuse."""

from __future__ import annotations

from typing import assert_never

from service.contract.base import TaskKind
from service.contract.problem import ErrorCode
from service.contract.remedy_action import (
    EditAction,
    EnqueueAction,
    ExtendAction,
    FollowUpAction,
    ForkAction,
    PreflightAction,
    RemedyAction,
    StopAction,
)
from service.contract.study import ExtendRequest, PauseCause, StudySpec, StudyState
from service.contract.trial import ForkRequest
from service.domain.budget import exhausted_reason, extended_budget
from service.domain.errors import DomainError
from service.domain.metric_names import check_comparable
from service.domain.space import check_parameters
from service.domain.spec_changes import changed_spec
from service.domain.states import FINISHED_STUDIES
from service.search import decide
from service.search.spec_diff import check_edit, differences
from service.storage.tables import Connection
from service.usecases.context import Context
from service.usecases.remedies.follow_up import follow_up_spec
from service.usecases.remedies.state import RemedyState
from service.usecases.studies.creation import check_new_spec, check_spec
from service.usecases.trials.forks import check_fork


def is_possible(connection: Connection, context: Context, state: RemedyState, action: RemedyAction) -> bool:
    """Return whether the use case that carries an action out would accept it now."""
    try:
        return _is_possible(connection, context, state, action)
    except DomainError:
        return False


def _is_possible(connection: Connection, context: Context, state: RemedyState, action: RemedyAction) -> bool:
    study, facts = state.study, state.facts
    is_stopping = study.stop_requested_at is not None
    is_open = study.state not in FINISHED_STUDIES and not is_stopping
    match action:
        case EditAction():
            possible = not is_stopping and _is_possible_edit(state, action)
        case EnqueueAction():
            possible = is_open and not check_parameters(state.spec.space, action.parameters)
        case ForkAction():
            check_fork(context, connection, study, str(action.trial), ForkRequest(set=action.settings))
            possible = not is_stopping
        case ExtendAction():
            budget = extended_budget(state.spec, ExtendRequest(trials=action.trials))
            extended = check_spec(facts.catalogue, state.spec.model_copy(update={"budget": budget}))
            possible = exhausted_reason(extended, facts.history, state.used) is None
        case FollowUpAction():
            spec = follow_up_spec(connection, state.spec, action.name, action.changes, "a finding")
            check_new_spec(facts.catalogue, spec)
            possible = action.enqueue is None or not check_parameters(spec.space, action.enqueue)
        case StopAction():
            possible = is_open
        case PreflightAction():
            is_paused = study.state == StudyState.PAUSED and study.pause_cause != PauseCause.PREFLIGHT
            possible = is_open and not is_paused and state.spec.task_kind is not TaskKind.EXTERNAL
        case _:
            assert_never(action)
    return possible


def _is_possible_edit(state: RemedyState, action: EditAction) -> bool:
    """Return whether the edit and the configuration to try after it would be accepted, and the study goes on."""
    old, facts = state.spec, state.facts
    new = checked_edit(state, action)
    if not list(differences(old, new)):
        return False
    if check_edit(old, new, num_trials=state.study.next_number, stages_made=state.stages_made):
        return False
    if action.enqueue is not None and check_parameters(new.space, action.enqueue):
        return False
    is_over = decide.completion_reason(facts.history, new, state.used) is not None
    return not is_over or (state.study.state not in FINISHED_STUDIES and action.enqueue is None)


def checked_edit(state: RemedyState, action: EditAction) -> StudySpec:
    """Return the edited spec.

    Raises:
        DomainError: It is invalid, or its objective cannot be compared between trials.
    """
    catalogue = state.facts.catalogue
    new = check_spec(catalogue, changed_spec(state.spec, action.changes))
    if not any(check_comparable(state.spec, catalogue)):
        errors = list(check_comparable(new, catalogue))
        if errors:
            raise DomainError(ErrorCode.INCOMPARABLE_LOSS, errors[0].message, errors)
    return new
