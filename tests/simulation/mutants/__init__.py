"""Faults planted on purpose in a copy of the service: what the simulation must catch, or it proves nothing."""

from __future__ import annotations

from tests.simulation.mutants import failures, fencing, history, leases, replays, turns
from tests.simulation.mutants.edit import Edit, Mutant

__all__ = ["MUTANTS", "Edit", "Mutant"]

MUTANTS = (
    *fencing.MUTANTS,
    *replays.MUTANTS,
    *leases.MUTANTS,
    *history.MUTANTS,
    *turns.MUTANTS,
    *failures.MUTANTS,
)
