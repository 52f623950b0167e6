"""Checks the promises at the end: compares the clients' ledgers with the database."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from service.contract.trial import TrialState
from service.storage import tables
from service.storage.fsck.invariants import check as check_invariants
from service.storage.queries import series
from tests.chaos.ledger import Claimed, Fact, Finished, Key, Reported, Saved, Trained
from tests.chaos.training import METRIC, values

_TERMINAL = {TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED, TrialState.CANCELLED}


@dataclass
class Known:
    """What all clients together did and were told, by kind."""

    trained: dict[Key, dict[int, float]] = field(default_factory=lambda: defaultdict(dict))
    claimed: list[Claimed] = field(default_factory=list)
    reported: list[Reported] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)

    @classmethod
    def of(cls, facts: Iterable[Fact]) -> Known:
        """Sort the facts."""
        known = cls()
        for fact in facts:
            match fact:
                case Trained():
                    known.trained[fact.trial, fact.attempt][fact.step] = fact.value
                case Claimed():
                    known.claimed.append(fact)
                case Reported():
                    known.reported.append(fact)
                case Saved():
                    known.saved.append(fact)
                case Finished():
                    known.finished.append(fact)
        return known

    @property
    def num_trained(self) -> int:
        """Steps that training processes made, whatever became of them."""
        return sum(len(steps) for steps in self.trained.values())


class Story:
    """One study's end, from both sides."""

    def __init__(self, connection: sa.Connection, known: Known, num_trials: int, num_steps: int) -> None:
        self._connection = connection
        self.known = known
        self.num_trials = num_trials
        self.num_steps = num_steps

    def ask(self, query: sa.Select[Any]) -> list[Any]:
        """The rows that answer a query."""
        return list(self._connection.execute(query).all())

    def rows(self, *columns: Any) -> list[Any]:
        """All rows of one table, by these columns."""
        return self.ask(sa.select(*columns))

    @cached_property
    def trials(self) -> list[Any]:
        trial = tables.trial.c
        return self.rows(trial.id, trial.number, trial.state, trial.value, trial.parameters, trial.seed)

    @cached_property
    def values(self) -> dict[Key, dict[int, float]]:
        report = tables.report.c
        found: dict[Key, dict[int, float]] = defaultdict(dict)
        for trial, attempt, step, value in self.rows(report.trial_id, report.attempt, report.step, report.value):
            found[trial, attempt][step] = value
        return found

    @cached_property
    def canonical(self) -> dict[str, list[tuple[int, float]]]:
        found: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for row in series.canonical(self._connection, [trial.id for trial in self.trials], [METRIC]):
            found[row.trial_id].append((row.step, series.value_of(row)))
        return found

    @cached_property
    def expected(self) -> dict[str, dict[int, float]]:
        """Trial -> what a training without any fault would have measured."""
        return {trial.id: values(trial.seed, trial.parameters, self.num_steps) for trial in self.trials}

    def broken_invariants(self) -> Iterator[str]:
        for invariant in check_invariants(self._connection):
            for finding in invariant.broken:
                yield f"{invariant.name}: {finding}"


def violations(connection: sa.Connection, known: Known, num_trials: int, num_steps: int) -> dict[str, list[str]]:
    """Every promise by its sentence, and what breaks it; nothing: it was kept."""
    story = Story(connection, known, num_trials, num_steps)
    return {sentence: list(check(story)) for sentence, check in PROMISES.items()}


def _lost(story: Story) -> Iterator[str]:
    numbers = sorted(trial.number for trial in story.trials)
    if numbers != list(range(story.num_trials)):
        yield f"{story.num_trials} trials were asked for, the numbers are {_excerpt(numbers)}"
    for trial in story.trials:
        if trial.state != TrialState.COMPLETED:
            yield f"trial {trial.number} is {trial.state}"


def _ended_once(story: Story) -> Iterator[str]:
    journal = tables.journal.c
    ends = {f"trial_{state}" for state in _TERMINAL}
    counted = Counter(trial for trial, kind in story.rows(journal.trial_id, journal.kind) if kind in ends)
    for trial in story.trials:
        if counted[trial.id] != 1:
            yield f"trial {trial.number} ended {counted[trial.id]} times by the journal"
    completed = {(told.trial, told.attempt) for told in story.known.finished if told.trial_state == "completed"}
    for trial_id, times in Counter(trial for trial, _ in completed).items():
        if times > 1:
            yield f"{times} attempts of trial {trial_id} were told that they completed it"
    known = {told.trial for told in story.known.finished}
    for trial in story.trials:
        if trial.state == TrialState.COMPLETED and trial.id not in known:
            yield f"trial {trial.number} is completed, and nobody was told"


def _granted(story: Story) -> Iterator[str]:
    claim, attempt = tables.claim.c, tables.attempt.c
    claims = {row[0]: tuple(row[1:]) for row in story.rows(claim.request_id, claim.trial_id, claim.attempt)}
    nonces = {tuple(row[:2]): row.nonce for row in story.rows(attempt.trial_id, attempt.number, attempt.nonce)}
    trials = {trial.id: (trial.number, trial.parameters) for trial in story.trials}
    for grant in story.known.claimed:
        key = grant.trial, grant.attempt
        if claims.get(grant.request_id) != key or nonces.get(key) != grant.nonce:
            yield f"the grant of {key} is gone"
        if trials.get(grant.trial) != (grant.number, grant.parameters):
            yield f"{key} was granted as {grant.number} {grant.parameters}, stored is {trials.get(grant.trial)}"


def _reported(story: Story) -> Iterator[str]:
    verdict = tables.verdict.c
    judged = story.rows(verdict.trial_id, verdict.attempt, verdict.sequence, verdict.action, verdict.reason)
    verdicts = {tuple(row[:3]): tuple(row[3:]) for row in judged}
    for told in story.known.reported:
        key = told.trial, told.attempt
        stored = story.values.get(key, {}).get(told.step)
        if stored != told.value:
            yield f"step {told.step} of {key} was acknowledged as {told.value}, stored is {stored}"
        if verdicts.get((*key, told.sequence)) != (told.action, told.reason):
            yield f"report {told.sequence} of {key} was answered {told.action}, its verdict is gone or another"


def _saved(story: Story) -> Iterator[str]:
    checkpoint, artifact = tables.checkpoint, tables.artifact
    kept = sa.select(checkpoint.c.trial_id, checkpoint.c.attempt, checkpoint.c.step, artifact.c.sha256)
    stored = {tuple(row) for row in story.ask(kept.join_from(checkpoint, artifact))}
    for told in story.known.saved:
        if (told.trial, told.attempt, told.step, told.sha256) not in stored:
            yield f"the checkpoint of step {told.step} of {(told.trial, told.attempt)} is gone"


def _finished(story: Story) -> Iterator[str]:
    attempt = tables.attempt.c
    outcomes = {tuple(row[:2]): row.outcome for row in story.rows(attempt.trial_id, attempt.number, attempt.outcome)}
    ends = {trial.id: (trial.state, [trial.value]) for trial in story.trials}
    for told in story.known.finished:
        key = told.trial, told.attempt
        if outcomes.get(key) != told.outcome:
            yield f"{key} was acknowledged as {told.outcome['result']}, stored is {outcomes.get(key)}"
        if told.trial_state in _TERMINAL and ends.get(told.trial) != (told.trial_state, told.values):
            yield f"{key} was told {told.trial_state} {told.values}, stored is {ends.get(told.trial)}"


def _acknowledged(story: Story) -> Iterator[str]:
    """Each answer that reached a client, looked for in the database."""
    for check in (_granted, _reported, _saved, _finished):
        yield from check(story)


def _invented(story: Story) -> Iterator[str]:
    for key, steps in story.values.items():
        trained = story.known.trained.get(key, {})
        for step, value in steps.items():
            if trained.get(step) != value:
                yield f"step {step} of {key} is stored as {value}, its training process had {trained.get(step)}"


def _canonical(story: Story) -> Iterator[str]:
    for trial in story.trials:
        steps = [step for step, _ in story.canonical.get(trial.id, [])]
        if trial.state == TrialState.COMPLETED and steps != list(range(1, story.num_steps + 1)):
            yield f"the steps of trial {trial.number} are {steps}"


def _valued(story: Story) -> Iterator[str]:
    for trial in story.trials:
        expected = story.expected[trial.id]
        if wrong := [step for step, value in story.canonical.get(trial.id, []) if expected.get(step) != value]:
            yield f"trial {trial.number} has other values than its seed and parameters give at steps {wrong}"
        if trial.state == TrialState.COMPLETED and trial.value != expected[story.num_steps]:
            yield f"trial {trial.number} ended with {trial.value}, its training gives {expected[story.num_steps]}"


PROMISES = {
    "no trial is lost: numbers are 0 … n-1, and all of them completed": _lost,
    "every trial ended once, and its worker was told": _ended_once,
    "every write that a client saw acknowledged is there": _acknowledged,
    "nothing is stored that no training process measured": _invented,
    "the series that counts has every step once": _canonical,
    "every value is the one that its seed and parameters give": _valued,
    "assayer fsck finds nothing": Story.broken_invariants,
}


def _excerpt(numbers: list[int]) -> str:
    return str(numbers) if len(numbers) <= 20 else f"{numbers[:10]} … {numbers[-10:]} ({len(numbers)} in all)"
