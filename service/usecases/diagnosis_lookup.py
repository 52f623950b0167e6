"""Stored diagnoses for viewers: of a study with its trials by rule, and of one trial."""

from __future__ import annotations

from collections.abc import Iterable

from service.contract.diagnosis import StudyDiagnosis, TrialDiagnosis
from service.contract.finding import Confidence, Finding
from service.domain.errors import DamagedRowError
from service.storage.queries import diagnoses
from service.storage.tables import Connection, Row
from service.storage.timestamps import to_datetime
from service.usecases import stored_findings
from service.usecases.context import Context
from service.usecases.remedies.attach import with_actions
from service.usecases.rules_version import rules_version
from service.usecases.studies.study_lookup import find_study
from service.usecases.trials.trial_lookup import find_trial


async def get_study_diagnosis(
    context: Context, name: str, rule: str | None = None, confidence: Confidence | None = None
) -> StudyDiagnosis:
    """Return what the rules found about a study and about its trials.

    Args:
        context: context of this replica.
        name: name or id of the study.
        rule: return only what this rule found; None: all.
        confidence: return only findings of this confidence; None: all.

    Raises:
        DomainError: There is no such study.
    """

    def is_wanted(of_rule: str, of_confidence: Confidence) -> bool:
        return rule in (None, of_rule) and confidence in (None, of_confidence)

    def read(connection: Connection) -> StudyDiagnosis:
        study = find_study(connection, name)
        stored = stored_findings.of_study(connection, context, study.id)
        is_current = stored is not None and stored.rules == rules_version()
        num_waiting = _num_waiting(connection, study)
        findings = [] if stored is None else [each for each in stored.findings if is_wanted(each.rule, each.confidence)]
        groups = [] if stored is None else list(stored.trial_findings)
        groups = [each for each in groups if is_wanted(each.rule, each.confidence)]
        complete = _with_actions(connection, context, study, [*findings, *(each.clearest for each in groups)])
        clearest = complete[len(findings) :]
        return StudyDiagnosis(
            study=study.name,
            revision=study.revision,
            spec_version=study.spec_version,
            judged_revision=(stored.judged_revision or None) if stored is not None and is_current else None,
            judged_at=None if stored is None else to_datetime(stored.judged_at),
            lags=not is_current or stored is None or stored.judged_revision < study.revision,
            num_judged=study.next_number - num_waiting,
            num_waiting=num_waiting,
            findings=complete[: len(findings)],
            trial_findings=[
                each.model_copy(update={"clearest": finding}) for each, finding in zip(groups, clearest, strict=True)
            ],
            decomposition=None if stored is None else stored.decomposition,
            error=None if stored is None else stored.error,
        )

    return await context.database.read_for_viewer(read)


def _num_waiting(connection: Connection, study: Row) -> int:
    num_trials: int = study.next_number
    return min(num_trials, diagnoses.num_unjudged(connection, study.id, rules_version()))


def _with_actions(connection: Connection, context: Context, study: Row, findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings with the actions of their remedies; without actions if the study's spec is damaged."""
    found = list(findings)
    try:
        return with_actions(connection, context, study, found)
    except DamagedRowError:
        return found


async def get_trial_diagnosis(
    context: Context, name: str, key: str, rule: str | None = None, confidence: Confidence | None = None
) -> TrialDiagnosis:
    """Return what the rules found about one trial.

    Args:
        context: context of this replica.
        name: name or id of the study.
        key: number or id of the trial.
        rule: return only what this rule found; None: all.
        confidence: return only findings of this confidence; None: all.

    Raises:
        DomainError: There is no such study or trial.
    """

    def is_wanted(finding: Finding) -> bool:
        return rule in (None, finding.rule) and confidence in (None, finding.confidence)

    def read(connection: Connection) -> TrialDiagnosis:
        study = find_study(connection, name)
        trial = find_trial(connection, study, key)
        stored = stored_findings.of_trial(connection, context, trial.id)
        findings = () if stored is None else stored.findings
        is_current = stored is not None and stored.key == (trial.revision, rules_version())
        return TrialDiagnosis(
            study=study.name,
            trial=trial.id,
            number=trial.number,
            revision=trial.revision,
            spec_version=study.spec_version,
            judged_revision=None if stored is None else stored.trial_revision,
            # Only search trials are judged.
            lags=trial.number is not None and not is_current,
            findings=_with_actions(connection, context, study, filter(is_wanted, findings)),
            error=None if stored is None else stored.error,
        )

    return await context.database.read_for_viewer(read)
