"""The database's clock is two years ahead for a while: no time stored then decides anything after its correction."""

from __future__ import annotations

import os
from typing import Any

import pytest
import sqlalchemy as sa

from service.contract.study import StudyState
from service.contract.trial import TrialState
from service.storage import tables
from service.storage.blobs import BlobStore
from service.storage.fsck import invariants
from service.storage.future_timestamps import OF_ALL, OF_STUDIES
from service.storage.tables import Connection
from service.usecases.blobs import collect_blobs
from service.usecases.studies import lifecycle
from tests.usecases.replica import LIMITS, Replica, put

pytestmark = pytest.mark.anyio

TWO_YEARS = 2 * 365 * 24 * 3600.0

ONLY_SHOWN = {
    "journal.at",
    "claim.created_at",
    "report.reported_at",
    "verdict.decided_at",
    "artifact.created_at",
    "checkpoint.created_at",
    "log_chunk.created_at",
    "custom_entry.registered_at",
    "enqueued_trial.created_at",
    "stage.decided_at",
    "study_spec.created_at",
}
"""Instants that no query compares with another or with now."""


INSTANTS = [
    column
    for table in tables.metadata.sorted_tables
    for column in table.columns
    if isinstance(column.type, sa.BigInteger) and (column.name.endswith(("_at", "_since")) or column.name == "at")
]


def future(replica: Replica) -> set[str]:
    """Columns of instants that lie in the future; a lease's end does, of course."""

    def read(connection: Connection) -> set[str]:
        now = replica.clock(connection)
        latest = {str(column): connection.execute(sa.select(sa.func.max(column))).scalar_one() for column in INSTANTS}
        return {name for name, at in latest.items() if (at or 0) > now} - {"lease.expires_at"}

    return replica.database.read_sync(read)


def broken(replica: Replica) -> dict[str, Any]:
    return {each.name: each.broken for each in replica.database.read_sync(invariants.check) if each.broken}


def lease_seconds(replica: Replica) -> list[float]:
    """How long each lease still lasts."""

    def read(connection: Connection) -> list[float]:
        now = replica.clock(connection)
        return [(each - now) / 1e6 for each in connection.execute(sa.select(tables.lease.c.expires_at)).scalars()]

    return replica.database.read_sync(read)


async def go_ahead(replica: Replica) -> None:
    await replica.reap()
    replica.clock.forward(TWO_YEARS)
    await replica.reap()


async def come_back(replica: Replica) -> None:
    replica.clock.forward(-TWO_YEARS)


def test_every_instant_is_corrected_limited_or_only_shown() -> None:
    """A new column of an instant has to be placed: what happens to it when the clock was ahead and comes back?"""
    corrected = {
        f"{table.name}.{column}" for table, columns in (*OF_STUDIES.items(), *OF_ALL.items()) for column in columns
    }
    assert set(map(str, INSTANTS)) == corrected | ONLY_SHOWN | {"lease.expires_at"}


async def test_a_lease_that_was_granted_ahead_ends_within_its_length(replica: Replica) -> None:
    name = await replica.create()
    await go_ahead(replica)
    grant = await replica.claim(name)
    await come_back(replica)
    assert lease_seconds(replica)[0] > TWO_YEARS
    assert await replica.reap() == 0
    assert lease_seconds(replica)[0] == pytest.approx(LIMITS.lease_seconds, abs=2)
    # Its worker is gone: another gets the trial as soon as if the clock had always been right.
    assert await replica.lose() == 1
    assert (await replica.claim(name, worker="other")).trial == grant.trial
    assert broken(replica) == {}


async def test_a_worker_that_is_at_work_keeps_its_lease_through_both_steps(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await go_ahead(replica)
    assert (await replica.heartbeat(grant)).held
    await come_back(replica)
    assert await replica.reap() == 0
    assert (await replica.heartbeat(grant)).held
    assert await replica.reap() == 0
    await replica.report(grant, 1, 0.5)
    assert (await replica.finish(grant)).trial_state == TrialState.COMPLETED
    assert "attempt_lost" not in await replica.kinds(name)
    assert broken(replica) == {}


async def test_a_credit_never_makes_a_lease_longer_than_its_length(replica: Replica) -> None:
    """A heartbeat that comes before the upkeep's first round after an outage has renewed the lease already."""
    grant = await replica.claim(await replica.create())
    await replica.reap()
    replica.clock.forward(3600)
    assert (await replica.heartbeat(grant)).held
    assert await replica.reap() == 0
    assert lease_seconds(replica)[0] <= LIMITS.lease_seconds + 1


async def test_nothing_that_decides_stays_in_the_future(replica: Replica) -> None:
    """Every kind of row is made while the clock is ahead."""
    await go_ahead(replica)
    name = await replica.create(budget={"trials": 6, "hours": 5})
    await replica.train(name, 0.5)
    running = await replica.claim(name, worker="other", host="far")
    await replica.report(running, 1, 0.4)
    await replica.checkpoint(running, 1)
    stopped = await replica.create()
    await replica.claim(stopped, worker="third")
    await lifecycle.stop_study(replica.context, stopped, "")
    over = await replica.create(budget={"trials": 1})
    await replica.train(over, 0.5)
    with replica.database.writer.begin() as connection:
        quarantined = tables.worker.update().where(tables.worker.c.name == "third")
        connection.execute(quarantined.values(quarantined_at=replica.clock(connection)))
        study_id = connection.execute(sa.select(tables.study.c.id).where(tables.study.c.name == name)).scalar_one()
        exclusion = {"study_id": study_id, "host": "third", "reason": "", "excluded_at": replica.clock(connection)}
        connection.execute(tables.study_host_exclusion.insert().values(exclusion))
    assert future(replica) == set()
    await come_back(replica)
    assert {"study.active_since", "worker.last_seen_at", "attempt.ended_at", "trial.finished_at"} <= future(replica)
    await replica.reap()
    assert future(replica) <= ONLY_SHOWN
    assert broken(replica) == {}
    # Once is enough: the next round changes nothing.
    before = await replica.stored(name)
    assert await replica.reap() == 0
    assert await replica.stored(name) == before
    assert (await replica.kinds(name)).count("clock_corrected") == 1


async def test_a_worker_that_is_gone_does_not_count_as_alive(replica: Replica) -> None:
    await go_ahead(replica)
    await replica.claim(await replica.create())
    await come_back(replica)
    await replica.reap()
    with replica.database.writer.begin() as connection:
        (seen_at,) = connection.execute(sa.select(tables.worker.c.last_seen_at)).scalars()
        assert seen_at <= replica.clock(connection)


async def test_hours_pass_again(replica: Replica) -> None:
    """The study's first trial began ahead: without a correction its own time would stand still for two years."""
    await go_ahead(replica)
    name = await replica.create(budget={"trials": 6, "hours": 1})
    await replica.claim(name)
    await come_back(replica)
    await replica.reap()
    replica.clock.forward(1800)
    await lifecycle.pause_study(replica.context, name, "")
    assert (await replica.study(name)).budget_used.hours == pytest.approx(0.5, abs=0.01)


async def test_an_attempt_that_began_ahead_gives_no_time_back(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 6, "device_hours": 1})
    first = await replica.claim(name)
    replica.clock.forward(1800)
    await replica.finish(first, "failed")
    await go_ahead(replica)
    ahead = await replica.claim(name)
    await come_back(replica)
    await replica.finish(ahead, "failed")  # before the upkeep comes by
    used = (await replica.study(name)).budget_used
    assert used.device_hours == pytest.approx(0.5, abs=0.01)


async def test_an_improvement_ahead_does_not_hide_that_nothing_improves_later(replica: Replica) -> None:
    await go_ahead(replica)
    name = await replica.create(budget={"trials": 9, "no_improvement": 2})
    await replica.train(name, 0.1)
    await come_back(replica)
    await replica.reap()
    for value in (0.5, 0.6):
        replica.clock.forward(1)
        await replica.train(name, value)
    study = await replica.study(name)
    assert study.state is StudyState.COMPLETED, study.state_reason


async def test_a_small_step_is_no_matter(replica: Replica) -> None:
    name = await replica.create()
    await replica.claim(name)
    await replica.reap()
    replica.clock.forward(-2)
    assert await replica.reap() == 0
    assert "clock_corrected" not in await replica.kinds(name)


async def test_a_blob_that_was_touched_ahead_is_collected_in_time(replica: Replica, blobs: BlobStore) -> None:
    sha256 = put(blobs, b"content")
    path = blobs.directory / sha256[:2] / sha256
    ahead = path.stat().st_mtime + TWO_YEARS
    os.utime(path, (ahead, ahead))
    assert await collect_blobs(replica.context) == 0
    assert path.stat().st_mtime < ahead - TWO_YEARS + 60
    past = path.stat().st_mtime - replica.context.limits.blob_grace_seconds - 60
    os.utime(path, (past, past))
    assert await collect_blobs(replica.context) == 1
