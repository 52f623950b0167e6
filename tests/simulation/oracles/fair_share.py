"""Who gets what: at every grant, whether it was this study's turn, this worker's, this configuration's, this step's.

What a claim decided by, it saw some time between its arrival and its transaction. So only what held all that time
can be held against it. In a world that is not patient, a claim that waited for `turn_seconds` or longer may pass over
a study: the study's turn was busy with another claim, or its suggestion took too long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.contract.study import StudySpec
from tests.simulation.client_record import Key
from tests.simulation.oracles import database_view
from tests.simulation.replica import LIMITS

if TYPE_CHECKING:
    from tests.simulation.plan import WorkerPlan
    from tests.simulation.scenario import Scenario

LEAST = 60_000_000
"""A running attempt counts for at least a minute; microseconds."""
LARGER = 1.1
"""A GPU is larger than one that did not suffice from here on."""

_UNSHORT = "SELECT 1 FROM attempt WHERE attempt.trial_id = trial.id AND failure = 'out_of_memory'"
_UNSAVED = "SELECT 1 FROM checkpoint WHERE checkpoint.trial_id = trial.id"


def has_waiting(study_id: str) -> bool:
    """Whether a trial of the study waits that is for any worker, whatever it has and wherever it runs."""
    query = (
        "SELECT 1 FROM trial WHERE study_id = ? AND state = 'waiting'"
        f" AND NOT EXISTS ({_UNSHORT}) AND NOT EXISTS ({_UNSAVED}) LIMIT 1"
    )
    return bool(database_view.rows(query, study_id))


def judge(world: Scenario, study_id: str, key: Key, *, is_new: bool) -> Iterator[str]:
    """Say what was wrong with a grant, which was just written."""
    claims = database_view.rows("SELECT request_id, worker FROM claim WHERE trial_id = ? AND attempt = ?", *key)
    sent = world.record.arrivals.keys() | world.record.overtaken
    if len(claims) != 1 or claims[0][0] not in sent:
        yield f"{key} was granted to {len(claims)} claims, or to one that nobody sent"
        return
    request_id, name = claims[0]
    arrived_at = world.record.arrivals.get(request_id)
    if arrived_at is None:
        return  # what stood before it when it came is gone with the database that it came to
    ((state, stop, version),) = database_view.rows(
        "SELECT state, stop_requested_at, spec_version FROM study WHERE id = ?", study_id
    )
    if state != "active" or stop is not None:
        yield f"{key} was granted by a study that is {state}, stop requested: {stop is not None}"
    worker, spec = world.worker_plans[name], database_view.spec_of(study_id, version)
    if not worker.serves(spec):
        yield f"{name} was granted {key} of {spec.name}, which is not for it"
    ((quarantined_at,),) = database_view.rows("SELECT quarantined_at FROM worker WHERE name = ?", name)
    if quarantined_at is not None and quarantined_at < arrived_at:
        yield f"{name} was granted {key} in quarantine"
    yield from _memory(worker, key)
    yield from _resume(key)
    yield from _queue(study_id, key, arrived_at, is_new=is_new)
    yield from _rivals(world, worker, study_id, spec, arrived_at)


def _memory(worker: WorkerPlan, key: Key) -> Iterator[str]:
    """A trial that ran out of a GPU's memory of which nobody else held much goes to a larger one."""
    for (text,) in database_view.rows(
        "SELECT outcome FROM attempt WHERE trial_id = ? AND failure = 'out_of_memory'", key[0]
    ):
        outcome = database_view.outcome_of(text)
        short = outcome.shortage if outcome else None
        if short is None or short.place == "host" or short.total_gib is None or short.others_gib:
            continue
        if worker.gpu_gib <= short.total_gib * LARGER:
            yield f"{key}, which did not fit into {short.total_gib} GiB, was granted to {worker.gpu_gib} GiB"


def _resume(key: Key) -> Iterator[str]:
    """An attempt begins with the trial's newest checkpoint that no attempt since has fallen back behind."""
    trial, number = key
    query = "SELECT resume_step, resume_batch FROM attempt WHERE trial_id = ? ORDER BY number"
    resumes = [(step or 0, batch) for step, batch in database_view.rows(query, trial)]
    saved = database_view.rows("SELECT attempt, step, batch FROM checkpoint WHERE trial_id = ?", trial)
    counting = [
        tuple(place) for attempt, *place in saved if all(tuple(place) <= each for each in resumes[attempt : number - 1])
    ]
    if resumes[number - 1] != max(counting, default=(0, 0)):
        yield f"{key} begins after step and batch {resumes[number - 1]}, checkpoints are there of {sorted(counting)}"


def _queue(study_id: str, key: Key, arrived_at: int, *, is_new: bool) -> Iterator[str]:
    """A new trial is the one that people want most urgently, of those the first; only then the sampler's."""
    if not is_new:
        return
    taken = database_view.rows("SELECT priority, revision, parameters FROM enqueued_trial WHERE trial_id = ?", key[0])
    left = database_view.rows(
        "SELECT priority, revision FROM enqueued_trial WHERE study_id = ? AND trial_id IS NULL AND created_at < ?",
        study_id,
        arrived_at,
    )
    if not taken and left:
        yield f"{key} is the sampler's, though {len(left)} were in the queue"
    for priority, revision, parameters in taken:
        ((used,),) = database_view.rows("SELECT parameters FROM trial WHERE id = ?", key[0])
        if used != parameters:
            yield f"{key} has {used}, in the queue were {parameters}"
        ahead = [other for other in left if (-other[0], other[1]) < (-priority, revision)]
        if ahead:
            yield f"{key} was taken from the queue before {len(ahead)} that were ahead of it"


def _rivals(world: Scenario, worker: WorkerPlan, study_id: str, spec: StudySpec, arrived_at: int) -> Iterator[str]:
    """No study had a trial for this worker that is more urgent, or as urgent and of somebody who used less.

    A claim that was granted within `turn_seconds` of its arrival has waited for no study too long, so it passed over
    none, however patient its world is.
    """
    if not world.plan.is_patient and world.now() - arrived_at >= LIMITS.turn_seconds * 1e6:
        return
    for other_id, seen in world.watch.state.studies.items():
        other = world.plan.specs[seen.name]
        if other_id == study_id or not worker.serves(other):
            continue
        if not seen.is_available or seen.available_since >= arrived_at or other.priority < spec.priority:
            continue
        if other.priority > spec.priority:
            yield f"{spec.name} was served before {other.name}, which is more urgent"
            continue
        most = _most_used(world, other.owner or other_id, arrived_at)
        least = _least_used(world, spec.owner or study_id, arrived_at)
        if (other.owner or other_id) != (spec.owner or study_id) and most < least:
            yield (
                f"{spec.name} was served before {other.name}, though its owner had used {least / 1e6:.0f} s or more, "
                f"the other {most / 1e6:.0f} s or less"
            )


def _attempts_of(world: Scenario, owner: str) -> Iterator[tuple[Key, int, int | None]]:
    for study_id, seen in world.watch.state.studies.items():
        if (world.plan.specs[seen.name].owner or study_id) == owner:
            query = "SELECT trial_id, number, started_at, ended_at FROM attempt WHERE study_id = ?"
            for trial, number, started_at, ended_at in database_view.rows(query, study_id):
                yield (trial, number), started_at, ended_at


def _least_used(world: Scenario, owner: str, since: int) -> int:
    """What an owner had used by then, in microseconds, at least."""
    return sum(
        min(ended_at or since, since) - started_at
        for key, started_at, ended_at in _attempts_of(world, owner)
        if started_at < since and key not in world.watch.state.reattached
    )


def _most_used(world: Scenario, owner: str, since: int) -> int:
    """What an owner may at any time since then have been said to have used, in microseconds."""
    now = world.now()
    return sum(
        ended_at - started_at if ended_at and ended_at <= since else max(LEAST, (ended_at or now) - started_at)
        for _, started_at, ended_at in _attempts_of(world, owner)
    )
