"""Laws of state machines, for the three of the service and a small one."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.state_machine import IllegalTransitionError, StateMachine, Transition
from service.domain.states import ATTEMPT, STUDY, TRIAL

MACHINES: list[StateMachine[Any, Any]] = [STUDY, TRIAL, ATTEMPT]

machines = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)


class Door(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    WALLED_UP = "walled_up"


class Hand(StrEnum):
    PUSHED = "pushed"
    PULLED = "pulled"
    BRICKED = "bricked"


DOOR: StateMachine[Door, Hand] = StateMachine(
    "door",
    Door.CLOSED,
    {
        Hand.PUSHED: Transition(frozenset({Door.CLOSED}), Door.OPEN),
        Hand.PULLED: Transition(frozenset({Door.OPEN}), Door.CLOSED),
        Hand.BRICKED: Transition(frozenset({Door.OPEN, Door.CLOSED}), Door.WALLED_UP),
    },
)


@given(data=st.data())
@machines
def test_advance_never_leaves_the_table(machine: StateMachine[Any, Any], data: st.DataObject) -> None:
    """From the initial state, any sequence of events ends in a state of the machine by moves of the table alone."""
    state = machine.initial
    for event in data.draw(st.lists(st.sampled_from(list(machine.transitions)), max_size=20)):
        move = machine.transitions[event]
        if state in move.sources:
            state = machine.advance(state, event)
            assert state == move.target
        else:
            with pytest.raises(
                IllegalTransitionError, match=f"{machine.name}: {event} may not happen in state {state}"
            ):
                machine.advance(state, event)
    assert state in machine.states


@machines
def test_terminal_is_final(machine: StateMachine[Any, Any]) -> None:
    for state in machine.terminal:
        for event in machine.transitions:
            with pytest.raises(IllegalTransitionError):
                machine.advance(state, event)


@machines
def test_every_state_can_be_reached(machine: StateMachine[Any, Any]) -> None:
    reached = {machine.initial}
    for _ in machine.states:
        reached |= {move.target for move in machine.transitions.values() if move.sources & reached}
    assert reached == set(machine.states)


@machines
def test_every_event_has_a_move(machine: StateMachine[Any, Any]) -> None:
    kind: type[StrEnum] = type(next(iter(machine.transitions)))
    assert set(machine.transitions) == set(kind)


def test_a_machine_knows_its_states_and_its_ends() -> None:
    assert DOOR.states == [Door.OPEN, Door.CLOSED, Door.WALLED_UP]
    assert DOOR.terminal == {Door.WALLED_UP}


def test_the_diagram_draws_every_move_once() -> None:
    assert DOOR.diagram().splitlines() == [
        "stateDiagram-v2",
        "    [*] --> closed",
        "    closed --> open: pushed",
        "    open --> closed: pulled",
        "    open --> walled_up: bricked",
        "    closed --> walled_up: bricked",
        "    walled_up --> [*]",
    ]


@machines
def test_every_move_of_the_table_leads_to_its_target(machine: StateMachine[Any, Any]) -> None:
    for event, move in machine.transitions.items():
        assert {machine.advance(source, event) for source in move.sources} == {move.target}
