"""Mutants of time: of leases, their loss, and what a lost trial goes on with."""

from __future__ import annotations

from tests.simulation.mutants.edit import Edit, Mutant

MUTANTS = (
    Mutant(
        "loss and requeue in two transactions",
        (
            Edit(
                "service/usecases/maintenance/reaper.py",
                "    end_attempt(unit_of_work, spec, FencedAttempt(trial, attempt), outcome)\n    return 1",
                "    from service.domain.states import AttemptEvent\n"
                "    from service.usecases.attempts.outcome import _drop_lease\n"
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
                "service/usecases/maintenance/reaper.py",
                "    await complete_if_done(context, lease.study_id)\n",
                "    if num_lost:\n"
                "        requeue = lambda unit_of_work: _requeue(unit_of_work, lease)\n"
                "        await context.transact(lease.study_id, requeue)\n"
                "    await complete_if_done(context, lease.study_id)\n",
            ),
        ),
    ),
    Mutant(
        "lease not looked at again before it is lost",
        (
            Edit(
                "service/usecases/maintenance/reaper.py",
                "    if lease.expires_at != seen.expires_at:\n        return 0\n",
                "",
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
                "service/usecases/maintenance/reaper.py",
                "    is_back = silence > _MISSED_ROUNDS * round_length\n",
                "    is_back = False\n",
            ),
        ),
    ),
    Mutant(
        "a heartbeat renews nothing",
        (
            Edit(
                "service/usecases/attempts/heartbeat.py",
                ".values(renewed_at=now, expires_at=now + int(context.limits.lease_seconds * MICROSECONDS))",
                ".values(renewed_at=now)",
            ),
        ),
    ),
    Mutant(
        "heartbeats bring no orders",
        (
            Edit(
                "service/usecases/attempts/heartbeat.py",
                "    if study.stop_requested_at is not None:\n",
                "    if False:\n",
            ),
        ),
    ),
    Mutant(
        "a lost attempt is charged though it came back",
        (
            Edit(
                "service/domain/failures.py",
                "    return num_losses - 1, num_failures - was_charged\n",
                "    return num_losses, num_failures - was_charged\n",
            ),
        ),
    ),
    Mutant(
        "lost trials begin afresh",
        (
            Edit(
                "service/usecases/dispatch/grants.py",
                "        resume_step=resume_step,\n",
                "        resume_step=None,\n",
            ),
        ),
    ),
    Mutant(
        "the newest checkpoint is told by its step alone",
        (
            Edit(
                "service/storage/queries/checkpoints.py",
                "    checkpoint.c.step.desc(), checkpoint.c.batch.desc(), checkpoint.c.attempt.desc()\n",
                "    checkpoint.c.step.desc(), checkpoint.c.attempt.desc()\n",
            ),
        ),
    ),
)
