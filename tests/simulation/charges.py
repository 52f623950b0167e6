"""What every attempt cost its trial, reckoned anew: nothing for what was free, and everything for what was not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from service.contract.lease import FailureClass
from tests.simulation import views

if TYPE_CHECKING:
    from tests.simulation.world import World

LOSSES = {FailureClass.WORKER_LOST, FailureClass.PROCESS_KILLED, FailureClass.HUNG}
MAX_LOSSES = 5
INFEASIBLE = {FailureClass.DIVERGED, FailureClass.INFEASIBLE, FailureClass.INVALID}


@dataclass
class Account:
    """What a trial was charged so far."""

    num_losses: int = 0
    num_failures: int = 0
    reached: int = 0
    hosts: list[str] = field(default_factory=list)
    """Where it was lost, without a step further since the first of them."""

    def interrupt(self, last_step: int) -> None:
        """Take in an attempt that ended for reasons which are none of the trial's."""
        self.hosts.clear()
        self.reached = max(self.reached, last_step)

    def charge(self, told: FailureClass | None, filed: FailureClass | None, host: str, last_step: int) -> str | None:
        """Charge an attempt by how it ended; what is wrong with how it was filed, if anything."""
        is_further, self.reached = last_step > self.reached, max(self.reached, last_step)
        if told not in LOSSES:
            self.hosts.clear()
            self.num_failures += filed is FailureClass.USER_EXCEPTION
            is_fine = filed is told or (told is FailureClass.HOST_FAULT and filed is FailureClass.USER_EXCEPTION)
            return None if is_fine else f"was {told} and is filed as {filed}"
        self.hosts = [] if is_further else [*self.hosts, host]
        if len(self.hosts) >= 3 and len(set(self.hosts)) >= 2:
            self.hosts.clear()
            self.num_failures += 1
            return None if filed is FailureClass.POISON else f"is poison and filed as {filed}"
        self.num_losses += 1
        return None if filed is told else f"was {told} and is filed as {filed}"


def check(world: World) -> Iterator[str]:
    """Reckon every trial's charges by its attempts, and compare what became of it."""
    attempts: dict[str, list[tuple[Any, ...]]] = {}
    query = "SELECT trial_id, worker, state, failure, outcome, last_step FROM attempt ORDER BY trial_id, number"
    for trial, *facts in views.rows(query):
        attempts.setdefault(trial, []).append(tuple(facts))
    for trial, study_id, version, state, reason, num_losses, num_failures, num_attempts in views.rows(
        "SELECT id, study_id, spec_version, state, state_reason, num_losses, num_failures, num_attempts FROM trial"
    ):
        account = Account()
        for worker, attempt_state, failure, text, last_step in attempts.get(trial, []):
            outcome = views.outcome_of(text)
            if outcome is None:  # ended by a restore, which says nothing about the trial
                account.interrupt(last_step or 0)
                continue
            filed = FailureClass(failure) if failure else None
            host = world.worker_plans[worker].host
            if wrong := account.charge(outcome.failure, filed, host, last_step or 0):
                yield f"an attempt of {trial} ({attempt_state}) {wrong}"
        if (num_losses, num_failures) != (account.num_losses, account.num_failures):
            yield (
                f"{trial} was charged {num_losses} losses and {num_failures} failures, "
                f"its attempts make it {account.num_losses} and {account.num_failures}"
            )
        if num_attempts != len(attempts.get(trial, [])):
            yield f"{trial} counts {num_attempts} attempts, there are {len(attempts.get(trial, []))}"
        spec = views.spec_of(study_id, version)
        retries = spec.retry_failed if spec.retry_failed is not None else int(spec.sampler.name == "grid")
        is_used_up = account.num_losses > MAX_LOSSES or account.num_failures > retries
        if state == "failed" and not is_used_up and "never reported" not in (reason or ""):
            yield f"{trial} failed ({reason}), though its budgets were not used up: {account}"
        if state in {"completed", "pruned"} and is_used_up:
            yield f"{trial} was {state}, though its budgets were used up: {account}"
        if state == "cancelled" and not views.rows("SELECT 1 FROM journal WHERE kind = 'stop_requested' LIMIT 1"):
            yield f"{trial} was cancelled, and nobody had stopped its study"
