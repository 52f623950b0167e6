"""Attaches to the remedies of findings the actions that the service would carry out now."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from service.analysis.remedies.actions import action_for
from service.contract.finding import Finding, Remedy
from service.contract.remedy_action import RemedyAction
from service.storage.tables import Connection, Row
from service.usecases.context import Context
from service.usecases.remedies.checks import is_possible
from service.usecases.remedies.state import RemedyState, read_state


def with_actions(connection: Connection, context: Context, study: Row, findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, each remedy with its action, if the service can carry one out on the study as it is now.

    Args:
        connection: one snapshot.
        context: context of this replica.
        study: the study's row on this snapshot.
        findings: findings about the study and its trials.
    """
    found = list(findings)
    if not any(finding.remedies for finding in found):
        return found
    state = read_state(connection, context, study)
    known: dict[str, bool] = {}

    def is_accepted(action: RemedyAction) -> bool:
        key = action.model_dump_json()
        if key not in known:
            known[key] = is_possible(connection, context, state, action)
        return known[key]

    return [_with_actions(finding, state, is_accepted) for finding in found]


def _with_actions(finding: Finding, state: RemedyState, is_accepted: Callable[[RemedyAction], bool]) -> Finding:
    def complete(remedy: Remedy) -> Remedy:
        action = action_for(remedy, finding, state.facts)
        return remedy.model_copy(update={"action": action if action is not None and is_accepted(action) else None})

    return finding.model_copy(update={"remedies": [complete(remedy) for remedy in finding.remedies]})
