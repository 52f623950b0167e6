"""Database states from which every call is tried; the use cases themselves create them, in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from service.contract.attempt import FailureClass
from service.contract.catalogue import load_catalogue
from service.contract.claim import Grant
from service.contract.study import ExtendRequest
from service.storage.database import Database
from service.storage.unit_of_work import Transactor
from service.usecases.context import Context, Limits
from service.usecases.maintenance.restore import begin_epoch
from service.usecases.studies import lifecycle
from service.usecases.studies.deletion import delete_study
from tests.simulation.memory import SimulatedSqlite, memory
from tests.usecases.inline import without_threads
from tests.usecases.replica import LIMITS, Replica

BEGAN_AT = 1_700_000_000_000_000

LOSS = FailureClass.WORKER_LOST
ASHA: dict[str, Any] = {"pruner": {"name": "asha", "eta": 2, "min": 1}, "resource": {"name": "step", "max": 4}}
REVIEWED: dict[str, Any] = {
    "sampler": {"name": "coarse_to_fine", "stages": [{"trials": 1}, {"trials": 1}], "review": True}
}


class Bench:
    """A replica on a database in memory, with a clock that stands still and ids that repeat."""

    def __init__(self) -> None:
        self.now = BEGAN_AT
        self._num_ids = 0
        self.database = without_threads(Database(SimulatedSqlite(memory().engine, lambda: self.now)))
        self.fresh()

    def fresh(self) -> None:
        """Begin with an empty database."""
        memory().clear()
        self.now, self._num_ids = BEGAN_AT, 0
        self.renew()

    def renew(self) -> None:
        """Begin with the caches of a new process."""
        self.replica = Replica(self.database)
        context = Context(
            self.database, Transactor(self.database, self.new_id), load_catalogue(), self.new_id, _limits()
        )
        self.replica.context = context

    def new_id(self) -> str:
        self._num_ids += 1
        return f"{self._num_ids:032x}"

    def back_up(self) -> tuple[bytes, int, int]:
        return memory().back_up(), self.now, self._num_ids

    def restore(self, saved: tuple[bytes, int, int]) -> None:
        backup, self.now, self._num_ids = saved
        memory().restore(backup)
        self.renew()


def _limits() -> Limits:
    return replace(LIMITS, suggest_seconds=5.0)


@dataclass(frozen=True)
class Situation:
    """A state of the database, and the token of the attempt whose worker speaks up."""

    name: str
    saved: tuple[bytes, int, int]
    study: str
    late: Grant | None


Setup = Callable[[Bench], Awaitable[tuple[str, Grant | None]]]
SITUATIONS: dict[str, Setup] = {}


def situation(setup: Setup) -> Setup:
    SITUATIONS[setup.__name__] = setup
    return setup


async def _claimed(bench: Bench, **changes: Any) -> tuple[str, Grant]:
    name = await bench.replica.create(name="s", **changes)
    grant = await bench.replica.claim(name, host="here")
    await bench.replica.report(grant, 1, 0.5)
    return name, grant


@situation
async def untouched(bench: Bench) -> tuple[str, Grant | None]:
    return await bench.replica.create(name="s"), None


@situation
async def running(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await _claimed(bench)
    await bench.replica.checkpoint(grant, 1)
    return name, grant


@situation
async def claimed_only(bench: Bench) -> tuple[str, Grant | None]:
    name = await bench.replica.create(name="s")
    return name, await bench.replica.claim(name)


@situation
async def lost(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await _claimed(bench)
    await bench.replica.fail(grant, LOSS, message="silent")
    return name, grant


@situation
async def lost_then_stopped(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await lost(bench)
    await lifecycle.stop_study(bench.replica.context, name, "")
    return name, grant


@situation
async def lost_then_paused(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await lost(bench)
    await lifecycle.pause_study(bench.replica.context, name, "")
    return name, grant


@situation
async def lost_then_deleted(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await lost(bench)
    await delete_study(bench.replica.context, name)
    return name, grant


@situation
async def superseded(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await lost(bench)
    await bench.replica.claim(name, worker="other")
    return name, grant


@situation
async def resumed(bench: Bench) -> tuple[str, Grant | None]:
    """It began with the checkpoint of step 1, and reports of steps up to it are known."""
    name, grant = await _claimed(bench)
    await bench.replica.checkpoint(grant, 1)
    await bench.replica.finish(grant, "released")
    grant = await bench.replica.claim(name)
    await bench.replica.report(grant, 1, 0.25, step=2)
    return name, grant


@situation
async def of_same_code(bench: Bench) -> tuple[str, Grant | None]:
    """Only workers with the code of the first are served."""
    name = await bench.replica.create(name="s", code_policy="same", task={"function": "own:f"})
    return name, await bench.replica.claim(name, code="0123456789abcdef")


@situation
async def released(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await _claimed(bench)
    await bench.replica.finish(grant, "released")
    return name, grant


@situation
async def completed(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await _claimed(bench)
    await bench.replica.finish(grant)
    return name, grant


@situation
async def pruned(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await _claimed(bench)
    await bench.replica.finish(grant, "pruned")
    return name, grant


@situation
async def failed(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await _claimed(bench)
    await bench.replica.fail(grant, FailureClass.USER_EXCEPTION, message="broken")
    return name, grant


@situation
async def failed_and_tried_again(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await _claimed(bench, retry_failed=1)
    await bench.replica.fail(grant, FailureClass.USER_EXCEPTION, message="broken")
    return name, grant


@situation
async def all_failing(bench: Bench) -> tuple[str, Grant | None]:
    """One more failure pauses the study."""
    name = await bench.replica.create(name="s", budget={"trials": 5})
    for _ in range(2):
        await bench.replica.fail(await bench.replica.claim(name), FailureClass.USER_EXCEPTION, message="broken")
    return name, await bench.replica.claim(name)


@situation
async def stopping(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await running(bench)
    await lifecycle.stop_study(bench.replica.context, name, "")
    return name, grant


@situation
async def study_paused(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await running(bench)
    await lifecycle.pause_study(bench.replica.context, name, "")
    return name, grant


@situation
async def study_completed(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await _claimed(bench, budget={"trials": 1})
    await bench.replica.checkpoint(grant, 1)
    await bench.replica.finish(grant)
    return name, grant


@situation
async def study_stopped(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await running(bench)
    await bench.replica.finish(grant)
    await lifecycle.stop_study(bench.replica.context, name, "")
    return name, grant


@situation
async def last_trial(bench: Bench) -> tuple[str, Grant | None]:
    return await _claimed(bench, budget={"trials": 1})


@situation
async def at_rung(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await _claimed(bench, budget={"trials": 3}, **ASHA)
    await bench.replica.checkpoint(grant, 1)
    return name, grant


@situation
async def at_rung_without_checkpoint(bench: Bench) -> tuple[str, Grant | None]:
    return await _claimed(bench, budget={"trials": 3}, **ASHA)


@situation
async def trial_paused(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await at_rung(bench)
    assert grant is not None
    await bench.replica.finish(grant, "paused")
    return name, grant


@situation
async def promotable(bench: Bench) -> tuple[str, Grant | None]:
    """Two are paused at a rung, and one may go on."""
    name, first = await trial_paused(bench)
    second = await bench.replica.claim(name)
    await bench.replica.report(second, 1, 0.7)
    await bench.replica.checkpoint(second, 1)
    await bench.replica.finish(second, "paused")
    return name, first


@situation
async def not_promotable(bench: Bench) -> tuple[str, Grant | None]:
    """One is paused at a rung, and none will ever come to compare it with."""
    name, grant = await _claimed(bench, budget={"trials": 2}, **ASHA)
    await bench.replica.checkpoint(grant, 1)
    other = await bench.replica.claim(name)
    await bench.replica.finish(grant, "paused")
    return name, other


@situation
async def not_promoted(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await _claimed(bench, budget={"trials": 1}, **ASHA)
    await bench.replica.checkpoint(grant, 1)
    await bench.replica.finish(grant, "paused")
    await bench.replica.ask(name)
    return name, grant


@situation
async def reviewed(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await _claimed(bench, **REVIEWED)
    await bench.replica.finish(grant)
    await bench.replica.ask(name)
    return name, grant


@situation
async def stranded(bench: Bench) -> tuple[str, Grant | None]:
    """It ran out of memory and waits for a larger GPU, which is gone."""
    large = {"devices": [{"kind": "cuda", "memory_gib": 80.0}]}
    name = await bench.replica.create(name="s")
    other = await bench.replica.create(name="other")
    await bench.replica.claim(other, worker="large", **large)
    grant = await bench.replica.claim(name, devices=[{"kind": "cuda", "memory_gib": 8.0}])
    shortage = {"place": "device", "total_gib": 8.0}
    await bench.replica.fail(grant, FailureClass.OUT_OF_MEMORY, shortage=shortage)
    bench.now += 2_000 * 1_000_000
    return name, grant


@situation
async def fork_waits(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await study_completed(bench)
    await lifecycle.extend_study(bench.replica.context, name, ExtendRequest(trials=2))
    return name, grant


@situation
async def fork_runs(bench: Bench) -> tuple[str, Grant | None]:
    """Every number is handed out, and only the fork is open."""
    name, _ = await study_completed(bench)
    await bench.replica.fork(name, 0, lr=0.05)
    return name, await bench.replica.claim(name)


@situation
async def fork_untouched(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await study_completed(bench)
    await bench.replica.fork(name, 0, lr=0.05)
    return name, grant


@situation
async def reviewed_and_stopping(bench: Bench) -> tuple[str, Grant | None]:
    """A fork still runs in a study that waits for a review and is to stop."""
    name, grant = await _claimed(bench, **REVIEWED)
    await bench.replica.checkpoint(grant, 1)
    await bench.replica.finish(grant)
    await bench.replica.fork(name, 0, lr=0.05)
    fork = await bench.replica.claim(name)
    await bench.replica.ask(name)
    await lifecycle.stop_study(bench.replica.context, name, "")
    return name, fork


@situation
async def failures_left(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await _claimed(bench, budget={"trials": 5, "failures": 1})
    await bench.replica.claim(name, worker="other")
    return name, grant


@situation
async def failures_used_up(bench: Bench) -> tuple[str, Grant | None]:
    """A trial still waits, which is executed all the same."""
    name, first = await failures_left(bench)
    second = await bench.replica.claim(name)
    await bench.replica.finish(second, "released")
    assert first is not None
    await bench.replica.fail(first, FailureClass.USER_EXCEPTION, message="broken")
    return name, first


@situation
async def restored(bench: Bench) -> tuple[str, Grant | None]:
    name, grant = await running(bench)
    await begin_epoch(bench.replica.context)
    return name, grant


async def build(bench: Bench) -> list[Situation]:
    """Make every situation by the use cases themselves."""
    made = []
    for name, setup in SITUATIONS.items():
        bench.fresh()
        study, late = await setup(bench)
        made.append(Situation(name, bench.back_up(), study, late))
    return made
