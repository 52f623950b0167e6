"""Checks the promises at the end of a scenario: clients' records against the database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from service.domain.states import TRIAL
from service.search import decide
from tests.simulation.oracles import budgets, charges, database_view, writes

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

TERMINAL = {"completed", "pruned", "failed", "cancelled"}


def check_end(world: Scenario) -> None:
    """Check the whole story, once everything should have come to its end."""
    if world.violations:
        return  # it was cut short: what is missing at its end says nothing
    checks = (_ended, _numbers, _people, _epoch, _journal, _suggestions, charges.check, writes.check, world.costs.check)
    for check in checks:
        for violation in check(world):
            world.blame(violation)


def _ended(world: Scenario) -> Iterator[str]:
    for name, state, stop_requested_at in database_view.rows("SELECT name, state, stop_requested_at FROM study"):
        if state != ("stopped" if stop_requested_at else "completed"):
            yield f"study {name} hangs: it is {state}"
    for number, trial_state in database_view.rows("SELECT number, state FROM trial"):
        if trial_state not in TERMINAL:
            yield f"trial {number} hangs: it is {trial_state}"
    for worker in world.workers:
        if not worker.is_idle:
            yield f"worker {worker.plan.name} still holds {sorted(worker.disk.held)}"


def _numbers(world: Scenario) -> Iterator[str]:
    query = "SELECT id, name, state, next_number, spec_version FROM study"
    for study_id, name, state, next_number, version in database_view.rows(query):
        query = "SELECT number FROM trial WHERE study_id = ? ORDER BY number"
        numbers = [number for (number,) in database_view.rows(query, study_id)]
        if numbers != list(range(next_number)):
            yield f"numbers of {name} are {numbers}, the next one is {next_number}"
        spec = database_view.spec_of(study_id, version)
        budget = spec.budget.trials or 0
        cells = 7 if spec.sampler.name == "grid" else None
        wanted = min(number for number in (budget, cells) if number is not None)
        is_short = state == "completed" and len(numbers) < wanted and not budgets.used_up(study_id, spec, world.now())
        if len(numbers) > budget or is_short:
            yield f"the budget of {name} is {budget} trials, {len(numbers)} were made"


def _people(world: Scenario) -> Iterator[str]:
    """What people were told that it is done, is done."""
    for name, budget in world.record.extended:
        ((study_id, version),) = database_view.rows("SELECT id, spec_version FROM study WHERE name = ?", name)
        if (database_view.spec_of(study_id, version).budget.trials or 0) < budget:
            yield f"{name} was extended to {budget} trials, and that is gone"
    queue = {row[0] for row in database_view.rows("SELECT id FROM enqueued_trial")}
    if missing := set(world.record.enqueued) - queue:
        yield f"{len(missing)} configurations that people enqueued are gone"


def _epoch(world: Scenario) -> Iterator[str]:
    """Every restore begins an epoch; a command that was given again, because its answer was lost, begins one more."""
    ((epoch,),) = database_view.rows("SELECT epoch FROM deployment")
    if epoch < world.watch.epoch or (world.watch.epoch == 1 and epoch != 1):
        yield f"the database was restored {world.watch.epoch - 1} times, and its epoch is {epoch}"


def _journal(world: Scenario) -> Iterator[str]:
    led_to = {f"trial_{event}": move.target for event, move in TRIAL.transitions.items()}
    ends: dict[str, str] = {}
    for trial, kind in database_view.rows(
        "SELECT trial_id, kind FROM journal WHERE kind LIKE 'trial_%' ORDER BY revision"
    ):
        if trial in ends:
            yield f"{kind} of {trial} after {ends[trial]}"
        if led_to.get(kind) in TERMINAL:
            ends[trial] = led_to[kind]
    for trial, state in database_view.rows("SELECT id, state FROM trial"):
        if ends.get(trial) != state:
            yield f"{trial} is {state}, its journal ends with {ends.get(trial)}"


def _suggestions(world: Scenario) -> Iterator[str]:
    """Every suggestion is what its spec, seed and number give from the history at its stored revision."""
    for study_id, seen in world.watch.state.studies.items():
        whole = database_view.whole_history(study_id, seen.revision)
        if repr(whole) != repr(seen.histories[seen.revision]):
            yield f"something of {seen.name} was changed without its revision"
        for number, version, revision, parameters, reason, stage, enqueued in database_view.rows(
            "SELECT number, spec_version, history_revision, trial.parameters, suggestion_reason, stage,"
            " enqueued_trial.id FROM trial LEFT JOIN enqueued_trial ON enqueued_trial.trial_id = trial.id"
            " WHERE trial.study_id = ? ORDER BY number",
            study_id,
        ):
            if enqueued is not None:
                continue
            known = seen.histories.get(revision)
            decision: Any = (
                decide.next_action(known, database_view.spec_of(study_id, version)) if known is not None else None
            )
            stored = number, json.loads(parameters), reason, stage
            if isinstance(decision, decide.Suggest):
                said = decision.suggestion
                again = decision.number, dict(said.parameters), said.reason, said.stage
            else:
                again = decision
            if stored != again:
                yield f"trial {number} of {seen.name} was {stored}, the history at revision {revision} gives {again}"
