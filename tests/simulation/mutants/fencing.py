"""Mutants that let somebody write who may not, or keep somebody from writing who may."""

from __future__ import annotations

from tests.simulation.mutants.edit import Edit, Mutant


def _unfenced(path: str, number: str, after: str) -> tuple[Edit, ...]:
    """Take the attempt as it is, whoever asks."""
    found = f"        fenced = find_attempt(unit_of_work, trial_id, {number}, request.nonce)\n{after}"
    taken = (
        "        from service.storage.queries import trials as _trials\n"
        "        from service.usecases.fencing import FencedAttempt as _Held\n"
        "        fenced = _Held(\n"
        "            _trials.by_id(unit_of_work.connection, trial_id),\n"
        f"            _trials.attempt_of(unit_of_work.connection, trial_id, {number}),\n"
        "        )\n"
    )
    return (Edit(path, found, taken + after),)


MUTANTS = (
    Mutant(
        "no fence on finish",
        _unfenced("service/usecases/attempts/finish.py", "number", "        if fenced.attempt.outcome is None"),
    ),
    Mutant(
        "no fence on report",
        _unfenced("service/usecases/attempts/report.py", "attempt", "        if request.sequence <="),
    ),
    Mutant(
        "no fence on checkpoint",
        _unfenced("service/usecases/attempts/checkpoint.py", "number", "        fenced = ensure_attached("),
    ),
    Mutant(
        "no fence on heartbeat",
        (
            Edit(
                "service/usecases/attempts/heartbeat.py",
                "    if known is None or known.nonce != lease.nonce or known.num_attempts != lease.attempt:\n",
                "    if known is None:\n",
            ),
        ),
    ),
    Mutant(
        "superseded attempts may write",
        (
            Edit("service/usecases/fencing.py", " or attempt.number != trial.num_attempts:", ":"),
            Edit(
                "service/usecases/fencing.py",
                "    if fenced.attempt.state == AttemptState.RUNNING:\n",
                "    if True:\n",
            ),
        ),
    ),
    Mutant(
        "expired is treated as superseded",
        (
            Edit(
                "service/usecases/fencing.py",
                "    if fenced.attempt.state == AttemptState.LOST and fenced.trial.state == TrialState.WAITING:\n",
                "    if False:\n",
            ),
        ),
    ),
    Mutant(
        "a restored database keeps its epoch",
        (
            Edit(
                "service/usecases/maintenance/restore.py",
                "ensure_deployment(unit_of_work).epoch) + 1\n",
                "ensure_deployment(unit_of_work).epoch)\n",
            ),
        ),
    ),
    Mutant(
        "a restore leaves leases and claims",
        (
            Edit(
                "service/usecases/maintenance/restore.py",
                "        unit_of_work.connection.execute(table.delete().where(table.c.study_id == study_id))\n",
                "        pass\n",
            ),
            Edit(
                "service/usecases/maintenance/restore.py",
                "        if attempt.state == AttemptState.RUNNING:\n",
                "        if False:\n",
            ),
        ),
    ),
    Mutant(
        "a restore leaves the nonces of lost attempts",
        (
            Edit(
                "service/usecases/maintenance/restore.py",
                "        unit_of_work.set_attempt(attempt.trial_id, attempt.number, nonce=unit_of_work.new_id())\n",
                "",
            ),
        ),
    ),
)
