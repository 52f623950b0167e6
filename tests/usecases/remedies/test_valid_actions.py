"""Every action that a finding carries is accepted by the use case that carries it out, on random studies."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from service.contract.finding import Finding
from service.contract.remedy import ApplyRequest
from service.domain.errors import DomainError
from service.storage.tables import Connection
from service.usecases.remedies.apply import apply_remedy
from service.usecases.remedies.attach import with_actions
from service.usecases.studies.study_lookup import find_study
from tests.support.sizes import size
from tests.usecases.remedies.random_studies import random_finding, random_study
from tests.usecases.situations import Bench

NUM_STUDIES = 8


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


async def play(bench: Bench, seed: int) -> Counter[str]:
    """Apply every action of a random finding about a random study, without storing it; count the kinds of actions."""
    rng = random.Random(seed)
    bench.fresh()
    replica = bench.replica
    try:
        name = await random_study(bench, rng)
    except DomainError:  # The random spec is not a study.
        return Counter()
    view = await replica.study(name)
    finding = random_finding(rng, sorted(view.spec.space), sum(view.num_trials.values()))

    def read(connection: Connection) -> list[Finding]:
        return with_actions(connection, replica.context, find_study(connection, name), [finding])

    (found,) = await replica.context.database.read(read)
    kinds: Counter[str] = Counter()
    before = await replica.kinds(name)
    for remedy in found.remedies:
        if remedy.action is None:
            continue
        request = ApplyRequest(
            action=remedy.action,
            version=view.spec_version,
            rule=found.rule,
            remedy=remedy.name,
            trial=found.trial,
            dry_run=True,
        )
        reply = await apply_remedy(replica.context, name, request)
        assert reply.changes or reply.kind in ("stop", "preflight"), (seed, remedy)
        kinds[remedy.action.kind] += 1
    assert await replica.kinds(name) == before, f"seed {seed}: a dry run stored something"
    return kinds


def _play_all(bench: Bench, seeds: range) -> Counter[str]:
    kinds: Counter[str] = Counter()
    with asyncio.Runner() as runner:
        for seed in seeds:
            kinds += runner.run(play(bench, seed))
    return kinds


def test_actions_of_random_findings_are_accepted(bench: Bench) -> None:
    kinds = _play_all(bench, range(NUM_STUDIES))
    assert kinds.total() > 10 * NUM_STUDIES
    assert kinds.keys() == {"edit", "enqueue", "fork", "extend", "follow_up", "stop", "preflight"}


@pytest.mark.prove
def test_actions_of_many_random_findings_are_accepted(bench: Bench) -> None:
    num = size(ci=60, full=1_000)
    kinds = _play_all(bench, range(NUM_STUDIES, NUM_STUDIES + num))
    assert kinds.total() > 10 * num
