"""Drafts a follow-up study from the stored findings about a study and its trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.analysis.remedies.draft import draft_changes
from service.contract.remedy import FollowUpDraft
from service.domain.errors import DomainError
from service.storage.tables import Connection
from service.usecases import stored_findings
from service.usecases.context import Context
from service.usecases.remedies.follow_up import follow_up_spec
from service.usecases.remedies.state import read_state
from service.usecases.studies.creation import check_new_spec
from service.usecases.studies.study_lookup import find_study

_MIN_SHARE = 0.1
"""Findings about single trials count for a follow-up study from this share of the trials on."""


async def draft_follow_up(context: Context, name: str) -> FollowUpDraft:
    """Return a follow-up study with the changes that the findings suggest, each with its reason.

    Raises:
        DomainError: There is no such study.
    """

    def read(connection: Connection) -> FollowUpDraft:
        study = find_study(connection, name)
        state = read_state(connection, context, study)
        stored = stored_findings.of_study(connection, context, study.id)
        findings = [] if stored is None else list(stored.findings)
        least = _MIN_SHARE * study.next_number
        for each in () if stored is None else stored.trial_findings:
            if each.num_trials >= least:
                findings.append(each.clearest)

        def accepts(changes: Mapping[str, Any]) -> bool:
            try:
                spec = follow_up_spec(connection, state.spec, state.facts.follow_up_name, changes, "findings")
                check_new_spec(state.facts.catalogue, spec)
            except DomainError:
                return False
            return True

        draft = draft_changes(findings, state.facts, accepts)
        rules = ", ".join(dict.fromkeys(change.rule for change in draft.changes)) or "another search with the same spec"
        spec = follow_up_spec(connection, state.spec, state.facts.follow_up_name, draft.settings, rules)
        return FollowUpDraft(study=study.name, spec=spec, changes=draft.changes, notes=draft.notes)

    return await context.database.read_for_viewer(read)
