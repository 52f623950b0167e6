"""A check kills every mutant of a condition that decides a state change; the others change nothing."""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
from pathlib import Path

import pytest

import service.usecases
from tests.usecases import guard_hunt
from tests.usecases.guard_hunt import Hunt
from tests.usecases.guard_mutants import MODULES, GuardMutant, guard_mutants
from tests.usecases.in_memory import InMemoryTest
from tests.usecases.state_mutants import table_mutants

NUM_GROUPS = 6
"""Test processes share the mutants group by group."""

EQUIVALENT = {
    "fencing.find_attempt: trial is None or attempt is None without trial is None": (
        "an attempt belongs to a trial that exists, so where there is no trial there is no attempt"
    ),
    "forks._run_until: false for parent.run_until is None": (
        "a trial without a goal is of a study without a resource, whose fork has no goal either: no training of the "
        "core, so no epochs are looked for, and no rungs"
    ),
    "forks._keep: saved.uri.startswith(BLOB) and context.blobs is not None without context.blobs is not None": (
        "without a blob store no blob counts as kept, so none is found"
    ),
    "grants._resume_point_for: false for trial.num_attempts == 0": (
        "a trial without attempts has no checkpoints, so the loop after the condition ends in the same answer"
    ),
    "grants._resume_point: false for attempt.resume_step is None": (
        "no checkpoint is of no step, and an attempt that begins at no step is of no fork, so none is found"
    ),
    "heartbeat._renew: true for table.c.attempt == lease.attempt": (
        "the attempt asked for is the newest, and only the newest attempt of a trial may have a lease"
    ),
    "provenance.note_code: false for code is None": ("it writes NULL where NULL stands, and no code differs from none"),
    "provenance._compare_data: data is not None and study.data_fingerprint is None without data is not None": (
        "it writes NULL where NULL stands"
    ),
    "reaper._note_round: true for unit_of_work.connection.execute("
    "table.update().values(reaper_seen_at=now)).rowcount == 0": (
        "a deployment that has begun is not begun again, and the second update writes the same instant"
    ),
    "report.report: fault is not None or isinstance(judged, StudyFault) without isinstance(judged, StudyFault)": (
        "where the judgement is a fault, the work is called with it"
    ),
    "outcome._move_trial: late is not None and event in {TrialEvent.COMPLETED, TrialEvent.PRUNED} "
    "without event in {TrialEvent.COMPLETED, TrialEvent.PRUNED}": (
        "a verdict is late only for trials that are over with values, which complete or are pruned"
    ),
    "outcome._drop_lease: true for table.c.attempt == attempt": (
        "only the newest attempt of a trial may have a lease, and only the newest attempt ends"
    ),
}
"""Mutants that change nothing, and why.

For most the condition has the same value in every line of moves.txt. Those of which it has not are played: in each
situation and in each call that is among these lines, once, nothing differs.
"""

WRITES_NO_STATE = {
    "service.usecases.blobs": "writes files, and the mark of the folder of blobs",
    "service.usecases.catalogue": "writes what workers can train with, which no trial's state depends on",
    "service.usecases.trials.logs": "appends lines of logs",
    "service.usecases.trials.predictions": "registers files of predictions",
    "service.usecases.studies.creation": "creates studies: refused or made as a whole",
    "service.usecases.specs": "stores a version of a spec, which its callers decide about",
    "service.usecases.studies.warm_start": "reads trials of other studies when a study is created",
}
"""Modules that write and are not mutated."""

_WRITES = {"advance_study", "advance_trial", "advance_attempt", "set_study", "set_trial", "set_attempt", "insert"}


@pytest.fixture(scope="module")
def hunt(runner: asyncio.Runner) -> Hunt:
    return runner.run(guard_hunt.prepare())


@pytest.mark.prove
@pytest.mark.full
@pytest.mark.parametrize("group", range(NUM_GROUPS))
def test_every_mutant_is_killed_or_changes_nothing(hunt: Hunt, runner: asyncio.Runner, group: int) -> None:
    """Run the checks of guard_witnesses.txt, then search for the mutants that these do not kill."""
    mutants = guard_mutants()[group::NUM_GROUPS]
    known = guard_hunt.read()

    async def find_living() -> list[GuardMutant]:
        living = []
        for mutant in mutants:
            check = hunt.check_of(known.get(str(mutant), ""))
            if check is None or not await hunt.kills(check, mutant):
                living.append(mutant)
        unexplained = [mutant for mutant in living if str(mutant) not in EQUIVALENT]
        killed = await hunt.search(unexplained) if unexplained else {}
        return [mutant for mutant in living if mutant not in killed]

    living = runner.run(find_living())
    assert {str(mutant) for mutant in living} == {str(mutant) for mutant in mutants} & EQUIVALENT.keys()


def test_few_mutants_change_nothing() -> None:
    names = {str(mutant) for mutant in guard_mutants()}
    assert names >= EQUIVALENT.keys()
    assert len(EQUIVALENT) <= 0.05 * (len(names) + len(table_mutants()))


@pytest.mark.prove
@pytest.mark.full
def test_every_witness_passes_without_its_mutant(hunt: Hunt, runner: asyncio.Runner) -> None:
    """Run the tests among them; test_state_mutants.py plays every line of moves.txt."""
    checks = {name: hunt.check_of(name) for name in dict.fromkeys(guard_hunt.read().values())}

    async def find_failing() -> list[str]:
        return [
            name
            for name, check in checks.items()
            if check is None or (isinstance(check, InMemoryTest) and not await hunt.passes(check))
        ]

    assert runner.run(find_failing()) == []


@pytest.mark.prove
@pytest.mark.full
def test_moves_are_the_same_under_a_mutant_that_is_said_to_change_nothing(hunt: Hunt, runner: asyncio.Runner) -> None:
    explained = [mutant for mutant in guard_mutants() if str(mutant) in EQUIVALENT]

    async def find_different() -> list[tuple[str, str]]:
        reached = await hunt.reached(explained, list(hunt.expected))
        return [
            (str(mutant), guard_hunt.name_of(check))
            for mutant, checks in reached.items()
            for check in guard_hunt.one_of_each(checks)
            if await hunt.kills(check, mutant)
        ]

    assert runner.run(find_different()) == []


def test_every_use_case_that_writes_is_mutated() -> None:
    writing = set()
    root = Path(service.usecases.__path__[0])
    for path in root.rglob("*.py"):
        module = ".".join(("service.usecases", *path.relative_to(root).with_suffix("").parts))
        tree = ast.parse(inspect.getsource(importlib.import_module(module)))
        called = {
            node.func.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        if called & _WRITES:
            writing.add(module)
    assert writing - MODULES.keys() == WRITES_NO_STATE.keys() & writing
