"""Mutants of failure classes: charged what is free, free what is charged, and faults that nobody learns from."""

from __future__ import annotations

from tests.simulation.mutants.edit import Edit, Mutant

MUTANTS = (
    Mutant(
        "host faults are charged",
        (
            Edit(
                "service/domain/failures.py",
                "    if context.all_hosts_fail:\n",
                "    if True:\n",
            ),
        ),
    ),
    Mutant(
        "no host is put in quarantine",
        (
            Edit(
                "service/usecases/quarantine.py",
                "        .values(quarantined_at=unit_of_work.now(), quarantine_reason=reason)\n",
                "        .values(quarantine_reason=reason)\n",
            ),
        ),
    ),
    Mutant(
        "preemption is charged",
        (
            Edit(
                "service/domain/failures.py",
                "(AttemptEvent.RELEASED, TrialEvent.REQUEUED, reason, outcome.failure)\n",
                "(AttemptEvent.RELEASED, TrialEvent.REQUEUED, reason, outcome.failure, is_loss=True)\n",
            ),
        ),
    ),
    Mutant(
        "a restore counts as a loss",
        (
            Edit(
                "service/usecases/maintenance/restore.py",
                "FailureClass.PREEMPTED",
                "FailureClass.WORKER_LOST",
            ),
        ),
    ),
    Mutant(
        "poison is not known",
        (
            Edit(
                "service/domain/failures.py",
                "    if len(hosts) < POISON_LOSSES or len(set(hosts)) < POISON_HOSTS:\n",
                "    if True:\n",
            ),
        ),
    ),
    Mutant(
        "batches of a step are no progress",
        (
            Edit(
                "service/storage/queries/attempts.py",
                "    return max((row.last_step or 0, 0), saved)\n",
                "    return (row.last_step or 0, 0)\n",
            ),
        ),
    ),
    Mutant(
        "a broken study goes on",
        (
            Edit(
                "service/usecases/attempts/outcome.py",
                "    if is_fault:\n        _pause",
                "    if False:\n        _pause",
            ),
        ),
    ),
    Mutant(
        "memory that did not suffice is forgotten",
        (
            Edit(
                "service/usecases/dispatch/assignment.py",
                "    if not has_enough_gpu_memory(floor, request.capabilities):\n",
                "    if False:\n",
            ),
        ),
    ),
    Mutant(
        "running out of memory is a failure",
        (
            Edit(
                "service/domain/failures.py",
                "    return Resolution(AttemptEvent.FAILED, TrialEvent.REQUEUED, reason, failure)",
                "    return Resolution(AttemptEvent.FAILED, TrialEvent.REQUEUED, reason, failure, is_failure=True)",
            ),
        ),
    ),
)
