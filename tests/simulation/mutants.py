"""Faults planted on purpose in a copy of the service: what the simulation must catch, or it proves nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """One replacement in one file of the package; what is replaced must be there exactly once."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A service that breaks one promise."""

    name: str
    edits: tuple[Edit, ...]


def _unfenced(path: str, number: str, after: str) -> tuple[Edit, ...]:
    """Take the attempt as it is, whoever asks."""
    found = f"        held = find(unit_of_work, trial_id, {number}, request.nonce)\n{after}"
    taken = (
        "        from service.storage.queries import trials as _trials\n"
        "        from service.usecases.fence import Held as _Held\n"
        "        held = _Held(\n"
        "            _trials.by_id(unit_of_work.connection, trial_id),\n"
        f"            _trials.attempt_of(unit_of_work.connection, trial_id, {number}),\n"
        "        )\n"
    )
    return (Edit(path, found, taken + after),)


MUTANTS = (
    Mutant(
        "no fence on finish",
        _unfenced("service/usecases/finish.py", "number", "        if held.attempt.outcome is None"),
    ),
    Mutant(
        "no fence on report",
        _unfenced("service/usecases/report.py", "attempt", "        if request.sequence <="),
    ),
    Mutant(
        "no fence on checkpoint",
        _unfenced("service/usecases/checkpoint.py", "number", "        held = hold("),
    ),
    Mutant(
        "no fence on heartbeat",
        (
            Edit(
                "service/usecases/heartbeat.py",
                "    if known is None or known.nonce != asked.nonce or known.num_attempts != asked.attempt:\n",
                "    if known is None:\n",
            ),
        ),
    ),
    Mutant(
        "superseded attempts may write",
        (
            Edit("service/usecases/fence.py", " or attempt.number != trial.num_attempts:", ":"),
            Edit("service/usecases/fence.py", "    if held.attempt.state == AttemptState.RUNNING:\n", "    if True:\n"),
        ),
    ),
    Mutant(
        "checkpoint before metrics",
        (
            Edit(
                "service/usecases/checkpoint.py",
                "        if held.attempt.last_step is None or held.attempt.last_step < request.step:\n",
                "        if False:\n",
            ),
        ),
    ),
    Mutant(
        "duplicate report counted",
        (
            Edit(
                "service/usecases/report.py",
                "            return _replayed(unit_of_work, held, request)\n",
                "            counted = held.attempt.num_reports + 1\n"
                "            unit_of_work.set_attempt(held.trial.id, held.attempt.number, num_reports=counted)\n"
                "            return _replayed(unit_of_work, held, request)\n",
            ),
        ),
    ),
    Mutant(
        "verdict judged anew on replay",
        (
            Edit(
                "service/usecases/report.py",
                "            return _replayed(unit_of_work, held, request)\n",
                "            return verdict\n",
            ),
        ),
    ),
    Mutant(
        "reply before commit",
        (
            Edit(
                "service/storage/unit_of_work.py",
                "            connection.commit()\n",
                "            try:\n"
                "                connection.commit()\n"
                "            except sa.exc.OperationalError:\n"
                "                pass\n",
            ),
        ),
    ),
    Mutant(
        "loss and requeue in two transactions",
        (
            Edit(
                "service/usecases/reap.py",
                "    end_attempt(unit_of_work, spec, Held(trial, attempt), outcome)\n    return 1",
                "    from service.domain.states import AttemptEvent\n"
                "    from service.usecases.settle import _drop_lease\n"
                "    del spec\n"
                "    unit_of_work.advance_attempt(\n"
                "        trial, attempt.number, AttemptEvent.LOST, outcome=outcome.model_dump(mode='json'),\n"
                "        failure=outcome.failure, ended_at=unit_of_work.now(),\n"
                "    )\n"
                "    _drop_lease(unit_of_work, trial.id, attempt.number)\n"
                "    return 1\n"
                "\n"
                "\n"
                "def _requeue(unit_of_work: UnitOfWork, seen: Row) -> None:\n"
                "    from service.domain.states import TrialEvent\n"
                "    trial = trials.by_id(unit_of_work.connection, seen.trial_id)\n"
                "    unit_of_work.advance_trial(trial, TrialEvent.REQUEUED, attempt=seen.attempt,"
                " num_losses=trial.num_losses + 1)",
            ),
            Edit(
                "service/usecases/reap.py",
                "        await conclude(context, lease.study_id)\n",
                "        if num_lost:\n"
                "            requeue = lambda unit_of_work: _requeue(unit_of_work, lease)\n"
                "            await context.transact(lease.study_id, requeue)\n"
                "        await conclude(context, lease.study_id)\n",
            ),
        ),
    ),
    Mutant(
        "lease not looked at again before it is lost",
        (
            Edit(
                "service/usecases/reap.py",
                "    if lease.expires_at >= unit_of_work.now():\n        return 0\n",
                "",
            ),
        ),
    ),
    Mutant(
        "stale sampler cache",
        (
            Edit(
                "service/usecases/context.py",
                "        # Readers overlap: the newer view stays.\n",
                "        known = self._known.get(study_id)\n"
                "        if known is not None and len(known) == len(fresh):\n"
                "            return History(fresh.revision, known.trials)\n",
            ),
        ),
    ),
    Mutant(
        "sampler cache a few revisions behind",
        (
            Edit(
                "service/usecases/context.py",
                "        # Readers overlap: the newer view stays.\n",
                "        known = self._known.get(study_id)\n"
                "        if known is not None and len(known) == len(fresh) and fresh.revision < known.revision + 8:\n"
                "            return History(fresh.revision, known.trials)\n",
            ),
        ),
    ),
    Mutant(
        "suggestion kept although its number was taken",
        (
            Edit(
                "service/usecases/claim.py",
                "    is_fresh = study.spec_version == situation.study.spec_version"
                " and study.next_number == history.next_number\n",
                "    is_fresh = True\n",
            ),
        ),
    ),
    Mutant(
        "per-replica clock",
        (
            Edit(
                "service/storage/unit_of_work.py",
                "            self._now = self._clock(self.connection)\n",
                "            from service import clock\n\n            self._now = int(clock.monotonic() * 1_000_000)\n",
            ),
        ),
    ),
    Mutant(
        "no outage credit",
        (
            Edit(
                "service/usecases/reap.py",
                "    if silence > _MISSED_ROUNDS * context.limits.reaper_seconds * MICROSECONDS:\n",
                "    if False:\n",
            ),
        ),
    ),
    Mutant(
        "claim forgets its request",
        (
            Edit(
                "service/usecases/grants.py",
                "        request_id=request.request_id,\n",
                "        request_id=unit_of_work.new_id(),\n",
            ),
        ),
    ),
    Mutant(
        "overtaken rows count",
        (
            Edit(
                "service/storage/queries/series.py",
                'sa.bindparam("trials", expanding=True)), ~_overtaken)',
                'sa.bindparam("trials", expanding=True)))',
            ),
        ),
    ),
)
