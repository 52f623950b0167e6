"""Mutants of who gets what: priority, fair shares, the queue, quarantine, requirements."""

from __future__ import annotations

from tests.simulation.mutants.edit import Edit, Mutant

MUTANTS = (
    Mutant(
        "priority ignored",
        (
            Edit(
                "service/storage/queries/studies.py",
                ".order_by(study.c.priority.desc(), study.c.created_at, study.c.id)",
                ".order_by(study.c.created_at, study.c.id)",
            ),
            Edit(
                "service/storage/queries/fair_share.py",
                "key=lambda row: (-row.priority, used.get(row.owner or row.id, 0))",
                "key=lambda row: used.get(row.owner or row.id, 0)",
            ),
        ),
    ),
    Mutant(
        "fair shares ignored",
        (
            Edit(
                "service/storage/queries/fair_share.py",
                "key=lambda row: (-row.priority, used.get(row.owner or row.id, 0))",
                "key=lambda row: -row.priority",
            ),
        ),
    ),
    Mutant(
        "the queue is taken from its end",
        (
            Edit(
                "service/storage/queries/studies.py",
                ".order_by(enqueued_trial.c.priority.desc(), enqueued_trial.c.revision)",
                ".order_by(enqueued_trial.c.priority.desc(), enqueued_trial.c.revision.desc())",
            ),
        ),
    ),
    Mutant(
        "the queue knows no priority",
        (
            Edit(
                "service/storage/queries/studies.py",
                ".order_by(enqueued_trial.c.priority.desc(), enqueued_trial.c.revision)",
                ".order_by(enqueued_trial.c.revision)",
            ),
        ),
    ),
    Mutant(
        "quarantine ignored",
        (
            Edit(
                "service/usecases/dispatch/claim.py",
                "    if claim_context.quarantine is not None:\n",
                "    if False:\n",
            ),
        ),
    ),
    Mutant(
        "requirements ignored",
        (
            Edit(
                "service/usecases/eligibility.py",
                "        or unmet_requirement(spec.requires, capabilities)\n",
                "",
            ),
        ),
    ),
    Mutant(
        "a paused study hands out trials",
        (
            Edit(
                "service/usecases/dispatch/claim.py",
                "    if snapshot.study.state != StudyState.ACTIVE:\n",
                "    if False:\n",
            ),
            Edit(
                "service/usecases/dispatch/claim.py",
                "    if study.state != StudyState.ACTIVE or study.stop_requested_at is not None:\n",
                "    if study.stop_requested_at is not None:\n",
            ),
            Edit(
                "service/storage/queries/studies.py",
                "    .where(study.c.state == StudyState.ACTIVE, _is_listed)\n",
                "    .where(_is_listed)\n",
            ),
        ),
    ),
    Mutant(
        "every claim writes its worker down",
        (
            Edit(
                "service/usecases/dispatch/claim.py",
                "    if not claim_context.seen_recently:\n",
                "    if True:\n",
            ),
        ),
    ),
)
