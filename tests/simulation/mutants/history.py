"""Mutants of what strategies see, and of exact numbers and budgets."""

from __future__ import annotations

from tests.simulation.mutants.edit import Edit, Mutant

MUTANTS = (
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
        "overtaken rows count",
        (
            Edit(
                "service/storage/queries/series.py",
                'sa.bindparam("trials", expanding=True)), ~_overtaken)',
                'sa.bindparam("trials", expanding=True)))',
            ),
        ),
    ),
    Mutant(
        "suggestion kept although its number was taken",
        (
            Edit(
                "service/usecases/dispatch/claim.py",
                "    is_fresh = study.spec_version == snapshot.study.spec_version"
                " and study.next_number == known.next_number\n",
                "    is_fresh = True\n",
            ),
        ),
    ),
    Mutant(
        "a trial is changed without its revision",
        (
            Edit(
                "service/storage/unit_of_work.py",
                '{"key_id": trial_id, "revision": self.revision, **columns}',
                '{"key_id": trial_id, **columns}',
            ),
        ),
    ),
    Mutant(
        "one trial beyond the budget",
        (
            Edit(
                "service/search/decide.py",
                "    if spec.budget.trials is not None and number >= spec.budget.trials:\n",
                "    if spec.budget.trials is not None and number > spec.budget.trials:\n",
            ),
        ),
    ),
    Mutant(
        "one failure more than the budget allows",
        (
            Edit(
                "service/domain/budget.py",
                "num_failures(history) >= budget.failures:\n",
                "num_failures(history) > budget.failures:\n",
            ),
        ),
    ),
    Mutant(
        "an extension is forgotten",
        (
            Edit(
                "service/usecases/studies/lifecycle.py",
                "            spec_version=study.spec_version + 1,\n            pause_cause",
                "            pause_cause",
            ),
        ),
    ),
)
