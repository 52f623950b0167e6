"""What a state machine is here: a table of events, each leading from some states to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

State = TypeVar("State", bound=StrEnum)
Occurrence = TypeVar("Occurrence", bound=StrEnum)


@dataclass(frozen=True)
class Move(Generic[State]):
    """The states an event may find, and the one it leads to."""

    sources: frozenset[State]
    target: State


class IllegalMoveError(Exception):
    """An event met a state that it may not find; a fault of ours, never of a caller."""


@dataclass(frozen=True)
class Machine(Generic[State, Occurrence]):
    """A table of moves. The same table makes `advance`, the guarded UPDATE, the CHECK constraint and the diagram."""

    name: str
    initial: State
    moves: Mapping[Occurrence, Move[State]]

    @property
    def states(self) -> list[State]:
        """Every state of the machine, in the order of their declaration."""
        return list(type(self.initial))

    @property
    def terminal(self) -> frozenset[State]:
        """The states that no event leaves."""
        left = {source for move in self.moves.values() for source in move.sources}
        return frozenset(state for state in self.states if state not in left)

    def advance(self, state: State, event: Occurrence) -> State:
        """Return the state after `event`.

        Raises:
            IllegalMoveError: the event may not happen in this state.
        """
        move = self.moves[event]
        if state not in move.sources:
            raise IllegalMoveError(f"{self.name}: {event} may not happen in state {state}")
        return move.target

    def diagram(self) -> str:
        """Draw the machine as a mermaid state diagram."""
        lines = ["stateDiagram-v2", f"    [*] --> {self.initial}"]
        for event, move in self.moves.items():
            lines += [f"    {source} --> {move.target}: {event}" for source in self.states if source in move.sources]
        lines += [f"    {state} --> [*]" for state in self.states if state in self.terminal]
        return "\n".join(lines)
