"""Faults planted on purpose in the service: what the simulation must catch, or it proves nothing."""

from __future__ import annotations

from tests.simulation.mutants import failures, fencing, history, leases, replays, turns
from tests.simulation.mutants.edit import Edit, Mutant, StaleMutantError

__all__ = ["MUTANTS", "Edit", "Mutant", "StaleMutantError"]

MUTANTS = (
    *fencing.MUTANTS,
    *replays.MUTANTS,
    *leases.MUTANTS,
    *history.MUTANTS,
    *turns.MUTANTS,
    *failures.MUTANTS,
)
