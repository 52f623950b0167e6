"""Invariants of rung results, checked with the rules of the study's pruner and not in SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from service.domain.history import RungResult
from service.domain.rungs import Rungs, rungs_of
from service.storage.fsck.violations import Violation, of_trials
from service.storage.queries import studies
from service.storage.tables import study, trial


def _climbers(connection: sa.Connection) -> Iterator[tuple[sa.Row[Any], Rungs | None, list[RungResult]]]:
    """Yield trials with rung results, with the rungs by the study's current spec, and the parsed results."""
    columns = trial.c.study_id, trial.c.run_until, trial.c.rung_results, study.c.spec_version
    rows = [
        row for row in connection.execute(of_trials(*columns).where(trial.c.number.is_not(None))) if row.rung_results
    ]
    keys = {(row.study_id, row.spec_version) for row in rows}
    specs = {key: studies.spec_if_readable(connection, *key) for key in keys}
    rungs = {key: rungs_of(spec) for key, spec in specs.items() if spec is not None}
    for row in rows:
        try:
            results = [RungResult(**result) for result in row.rung_results]
        except TypeError:
            continue  # a damaged row, which the invariant `readable` reports
        yield row, rungs.get((row.study_id, row.spec_version)), results


def wrong_arrivals(connection: sa.Connection) -> list[Violation]:
    """Return trials with a result at a step that is not one of their rungs, two at one rung, or an impossible rank."""
    found = []
    for row, rungs, results in _climbers(connection):
        steps = [result.step for result in results]
        known = rungs is not None and set(steps) <= set(rungs.of(row.trial)[:-1])
        if not known or steps != sorted(set(steps)) or any(not 1 <= each.rank <= each.num for each in results):
            found.append({"study": row.study, "trial": row.trial, "rung_results": row.rung_results})
    return found


def too_many_promoted(connection: sa.Connection) -> list[Violation]:
    """Return rungs with more promotions than allowed; in mode "stop" there is no such limit."""
    arrived: Counter[tuple[str, int, int]] = Counter()
    promoted: Counter[tuple[str, int, int]] = Counter()
    eta = {}
    for row, rungs, results in _climbers(connection):
        if rungs is None or not rungs.promotes or not rungs.has_quota or row.run_until is None:
            continue
        eta[row.study] = rungs.eta
        for result in results:
            rung = row.study, rungs.bracket(row.trial), result.step
            arrived[rung] += 1
            promoted[rung] += row.run_until > result.step
    return [
        {"study": rung[0], "bracket": rung[1], "rung": rung[2], "arrived": arrived[rung], "promoted": promoted[rung]}
        for rung in arrived
        if promoted[rung] > arrived[rung] // eta[rung[0]]
    ]
