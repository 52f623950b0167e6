"""Mutants that forget what was said before, or answer what is not so."""

from __future__ import annotations

from tests.simulation.mutants.edit import Edit, Mutant

MUTANTS = (
    Mutant(
        "duplicate report counted",
        (
            Edit(
                "service/usecases/attempts/report.py",
                "            return _replayed(unit_of_work, fenced, request)\n",
                "            counted = fenced.attempt.num_reports + 1\n"
                "            unit_of_work.set_attempt(fenced.trial.id, fenced.attempt.number, num_reports=counted)\n"
                "            return _replayed(unit_of_work, fenced, request)\n",
            ),
        ),
    ),
    Mutant(
        "verdict judged anew on replay",
        (
            Edit(
                "service/usecases/attempts/report.py",
                "            return _replayed(unit_of_work, fenced, request)\n",
                "            return judged.verdict\n",
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
        "claim forgets its request",
        (
            Edit(
                "service/usecases/dispatch/grants.py",
                "        request_id=request.request_id,\n",
                "        request_id=unit_of_work.new_id(),\n",
            ),
        ),
    ),
    Mutant(
        "checkpoint before metrics",
        (
            Edit(
                "service/usecases/attempts/checkpoint.py",
                "    if known is None or known < request.step:\n",
                "    if False:\n",
            ),
        ),
    ),
    Mutant(
        "a finish said again is refused",
        (
            Edit(
                "service/usecases/attempts/finish.py",
                '        elif fenced.attempt.outcome != request.outcome.model_dump(mode="json"):\n',
                "        else:\n",
            ),
        ),
    ),
    Mutant(
        "another outcome is answered as if it were stored",
        (
            Edit(
                "service/usecases/attempts/finish.py",
                '        elif fenced.attempt.outcome != request.outcome.model_dump(mode="json"):\n',
                "        elif False:\n",
            ),
        ),
    ),
    Mutant(
        "reports may leave a hole",
        (
            Edit(
                "service/usecases/attempts/report.py",
                "    if request.sequence != attempt.num_reports + 1:\n",
                "    if False:\n",
            ),
        ),
    ),
)
