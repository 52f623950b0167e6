"""Recomputes what every attempt is charged: nothing where it is excused, everything where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from service.contract.attempt import FailureClass, Outcome
from tests.simulation.oracles import database_view

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

Place = tuple[int, int]
"""A step, and batches of the next one."""

LOSSES = {FailureClass.WORKER_LOST, FailureClass.PROCESS_KILLED, FailureClass.HUNG}
MAX_LOSSES = 5


@dataclass
class Account:
    """What a trial was charged so far."""

    retries: int
    """Failures that its study forgives."""
    num_losses: int = 0
    num_failures: int = 0
    is_used_up: bool = False
    """Its last charge was one too many."""
    reached: Place = (0, 0)
    hosts: list[str] = field(default_factory=list)
    """Where it was lost, without a step further since the first of them."""
    was_short: bool = False
    """It ran out of a host's memory before; others may have held that, once."""

    def interrupt(self, reached: Place) -> None:
        """Take in an attempt that ended for reasons which are none of the trial's."""
        self.hosts.clear()
        self.reached = max(self.reached, reached)

    def charge(self, told: Outcome, filed: FailureClass | None, host: str, reached: Place) -> str | None:
        """Charge an attempt by how it ended; what is wrong with how it was filed, if anything."""
        is_further, self.reached = reached > self.reached, max(self.reached, reached)
        failure = told.failure
        if failure not in LOSSES:
            self.hosts.clear()
            if filed is FailureClass.USER_EXCEPTION:
                self._fail()
            if failure is FailureClass.OUT_OF_MEMORY and told.shortage and told.shortage.place == "host":
                # Infeasible in the end, which is no failure; tried again, it is one.
                self.num_failures += self.was_short and self.num_failures < self.retries
                self.was_short = True
            is_fine = filed is failure or (failure is FailureClass.HOST_FAULT and filed is FailureClass.USER_EXCEPTION)
            return None if is_fine else f"was {failure} and is filed as {filed}"
        self.hosts = [] if is_further else [*self.hosts, host]
        if len(self.hosts) >= 3 and len(set(self.hosts)) >= 2:
            self.hosts.clear()
            self._fail()
            return None if filed is FailureClass.POISON else f"is poison and filed as {filed}"
        self.num_losses += 1
        if self.num_losses > MAX_LOSSES:
            self.is_used_up = self.num_failures >= self.retries
            self.num_failures += not self.is_used_up
        return None if filed is failure else f"was {failure} and is filed as {filed}"

    def _fail(self) -> None:
        self.is_used_up = self.num_failures >= self.retries
        self.num_failures += 1


def check(world: Scenario) -> Iterator[str]:
    """Reckon every trial's charges by its attempts, and compare what became of it."""
    attempts: dict[str, list[tuple[Any, ...]]] = {}
    query = "SELECT trial_id, number, worker, state, failure, outcome, last_step FROM attempt ORDER BY trial_id, number"
    saved: dict[tuple[Any, ...], Place] = {}
    for *key, step, batch in database_view.rows(
        "SELECT trial_id, attempt, step, batch FROM checkpoint ORDER BY step, batch"
    ):
        saved[tuple(key)] = step, batch
    for trial, number, *facts, last_step in database_view.rows(query):
        reached = max((last_step or 0, 0), saved.get((trial, number), (0, 0)))
        attempts.setdefault(trial, []).append((*facts, reached))
    for trial, study_id, version, state, reason, num_losses, num_failures, num_attempts in database_view.rows(
        "SELECT id, study_id, spec_version, state, state_reason, num_losses, num_failures, num_attempts FROM trial"
    ):
        spec = database_view.spec_of(study_id, version)
        account = Account(spec.retry_failed if spec.retry_failed is not None else int(spec.sampler.name == "grid"))
        yield from _reckon(world, trial, attempts.get(trial, []), account)
        if (num_losses, num_failures) != (account.num_losses, account.num_failures):
            yield (
                f"{trial} was charged {num_losses} losses and {num_failures} failures, "
                f"its attempts make it {account.num_losses} and {account.num_failures}"
            )
        if num_attempts != len(attempts.get(trial, [])):
            yield f"{trial} counts {num_attempts} attempts, there are {len(attempts.get(trial, []))}"
        if account.is_used_up != (state == "failed") and "never reported" not in (reason or ""):
            yield f"{trial} is {state} ({reason}), its budgets say otherwise: {account}"
        if state == "cancelled" and not database_view.rows(
            "SELECT 1 FROM journal WHERE kind = 'stop_requested' AND study_id = ? LIMIT 1", study_id
        ):
            yield f"{trial} was cancelled, and nobody had stopped its study"


def _reckon(world: Scenario, trial: str, attempts: list[tuple[Any, ...]], account: Account) -> Iterator[str]:
    """Charge the attempts to the account, the first one first."""
    for worker, state, failure, text, reached in attempts:
        if account.is_used_up:
            yield f"{trial} was tried again, though its budgets were used up: {account}"
        outcome = database_view.outcome_of(text)
        if outcome is None:  # ended by a restore, which says nothing about the trial
            account.interrupt(reached)
            if failure != FailureClass.PREEMPTED:
                yield f"an attempt of {trial}, ended by a restore, is filed as {failure}"
            continue
        filed = FailureClass(failure) if failure else None
        if wrong := account.charge(outcome, filed, world.worker_plans[worker].host, reached):
            yield f"an attempt of {trial} ({state}) {wrong}"
