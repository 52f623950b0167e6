"""The three state machines equal those of the protocol."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.state_machine import StateMachine
from service.domain.states import ATTEMPT, FINISHED_STUDIES, OPEN_TRIALS, STUDY, TRIAL

STUDY_FOLLOWS = {
    "active": {"active", "paused", "completed", "stopped"},
    "paused": {"active", "stopped"},
    "completed": {"active"},
    "stopped": {"active"},
}
TRIAL_FOLLOWS = {
    "waiting": {"running", "pruned", "cancelled"},
    "running": {"waiting", "paused", "completed", "pruned", "failed", "cancelled"},
    "paused": {"waiting", "pruned", "cancelled"},
    "completed": set(),
    "pruned": set(),
    "failed": set(),
    "cancelled": set(),
}
ATTEMPT_FOLLOWS = {
    "running": {"succeeded", "pruned", "paused", "failed", "lost", "released", "cancelled"},
    "lost": {"running"},
    "succeeded": set(),
    "pruned": set(),
    "paused": set(),
    "failed": set(),
    "released": set(),
    "cancelled": set(),
}


@pytest.mark.parametrize(
    ("machine", "follows", "initial"),
    [
        (STUDY, STUDY_FOLLOWS, "active"),
        (TRIAL, TRIAL_FOLLOWS, "waiting"),
        (ATTEMPT, ATTEMPT_FOLLOWS, "running"),
    ],
    ids=["study", "trial", "attempt"],
)
def test_allowed_transitions_equal_those_of_the_protocol(
    machine: StateMachine[Any, Any], follows: dict[str, set[str]], initial: str
) -> None:
    drawn: dict[str, set[str]] = {state: set() for state in machine.states}
    for move in machine.transitions.values():
        for source in move.sources:
            drawn[source].add(move.target)
    assert machine.initial == initial
    assert drawn == follows


def test_an_open_trial_may_still_move() -> None:
    assert {"waiting", "running", "paused"} == OPEN_TRIALS


def test_a_finished_study_hands_out_nothing() -> None:
    assert {"completed", "stopped"} == FINISHED_STUDIES
