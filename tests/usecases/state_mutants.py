"""Mutants of the state tables: each forbidden transition allowed, each allowed one forbidden."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from service.domain.state_machine import StateMachine, Transition
from service.domain.states import ATTEMPT, STUDY, TRIAL

MACHINES: tuple[StateMachine[Any, Any], ...] = (STUDY, TRIAL, ATTEMPT)


@dataclass(frozen=True)
class TableMutant:
    """A machine in which an event may find a state that it may not find, or may no longer find one that it may."""

    machine: StateMachine[Any, Any]
    event: Any
    state: Any

    @property
    def is_allowing(self) -> bool:
        """Whether the mutant allows what is forbidden."""
        return self.state not in self.machine.transitions[self.event].sources

    def __str__(self) -> str:
        return f"{self.machine.name}: {self.event} {'from' if self.is_allowing else 'not from'} {self.state}"

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The machine is so for the length of a block."""
        moves: Any = self.machine.transitions
        right = moves[self.event]
        moves[self.event] = Transition(right.sources ^ {self.state}, right.target)
        try:
            yield
        finally:
            moves[self.event] = right


def table_mutants() -> list[TableMutant]:
    """Every event with every state."""
    return [
        TableMutant(machine, event, state)
        for machine in MACHINES
        for event in machine.transitions
        for state in machine.states
    ]
