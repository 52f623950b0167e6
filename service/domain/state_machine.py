"""State machines: a table of events, each with its source states and its target state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

State = TypeVar("State", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)


@dataclass(frozen=True)
class Transition(Generic[State]):
    """A transition: the states in which an event is allowed, and the state it leads to."""

    sources: frozenset[State]
    target: State


class IllegalTransitionError(Exception):
    """An event happened in a state that does not allow it; a bug in the service, never a caller's mistake."""


@dataclass(frozen=True)
class StateMachine(Generic[State, Event]):
    """A state machine as a table of transitions.

    `advance`, the guarded UPDATE, the CHECK constraint and the diagram in the docs all come from this table.
    """

    name: str
    initial: State
    transitions: Mapping[Event, Transition[State]]

    @property
    def states(self) -> list[State]:
        """All states, in the order of their declaration."""
        return list(type(self.initial))

    @property
    def terminal(self) -> frozenset[State]:
        """The states that no event can leave."""
        left = {source for transition in self.transitions.values() for source in transition.sources}
        return frozenset(state for state in self.states if state not in left)

    def advance(self, state: State, event: Event) -> State:
        """Return the state after `event`.

        Raises:
            IllegalMoveError: the event is not allowed in this state.
        """
        transition = self.transitions[event]
        if state not in transition.sources:
            raise IllegalTransitionError(f"{self.name}: {event} may not happen in state {state}")
        return transition.target

    def diagram(self) -> str:
        """Return the state machine as a Mermaid state diagram."""
        lines = ["stateDiagram-v2", f"    [*] --> {self.initial}"]
        for event, transition in self.transitions.items():
            lines += [
                f"    {source} --> {transition.target}: {event}"
                for source in self.states
                if source in transition.sources
            ]
        lines += [f"    {state} --> [*]" for state in self.states if state in self.terminal]
        return "\n".join(lines)
