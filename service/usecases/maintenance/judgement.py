"""Applies the rules of the diagnosis to what was read about a study, within a limit of processor time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from service.analysis.diagnosis.decomposition import decompose
from service.analysis.diagnosis.facts import StudyFacts, TrialFacts
from service.clock import thread_seconds
from service.contract.decomposition import Decomposition
from service.contract.diagnosis import MAX_NAMED_TRIALS, TrialFindings
from service.contract.finding import Confidence, Finding
from service.contract.importance import Importance
from service.search.importance import importance
from service.storage.diagnosis_rows import StoredTrialDiagnosis
from service.storage.serialization import to_json
from service.usecases.maintenance.diagnosis_facts import Material, TrialToJudge
from service.usecases.rules_version import rules_version

MAX_PROCESSOR_SECONDS = 0.25
"""After this much processor time a round judges no further trial of the study."""

MAX_FINDINGS = 30
"""The largest number of findings that are stored about one trial, and about one study."""

_ERROR_CHARACTERS = 300
_CONFIDENCES = list(Confidence)


def _diagnose_trial(facts: TrialFacts) -> Sequence[Finding]:
    # Loads NumPy, which the service does not load before it is needed.
    from service.analysis.diagnosis.trial import diagnose_trial  # noqa: PLC0415

    return diagnose_trial(facts)


def _diagnose_study(facts: StudyFacts) -> Sequence[Finding]:
    # Loads NumPy and SciPy.
    from service.analysis.diagnosis.study import diagnose_study  # noqa: PLC0415

    return diagnose_study(facts)


@dataclass(frozen=True)
class Rules:
    """The rules of the diagnosis, and their version: equal versions find the same."""

    of_trial: Callable[[TrialFacts], Sequence[Finding]] = _diagnose_trial
    of_study: Callable[[StudyFacts], Sequence[Finding]] = _diagnose_study
    decompose: Callable[[StudyFacts], Decomposition | None] = decompose
    version: str = field(default_factory=rules_version)


@dataclass(frozen=True)
class OfStudy:
    """What a round found about the study itself."""

    findings: Sequence[Finding] = ()
    decomposition: Decomposition | None = None
    importance: Importance | None = None


@dataclass(frozen=True)
class Judgement:
    """What a round found.

    Attributes:
        trials: the new diagnoses of trials.
        of_study: what was found about the study.
        trial_findings: the findings about all of its trials, by rule.
        error: why the study, or the first of its trials, could not be judged.
        is_complete: whether every trial is judged.
    """

    trials: Sequence[StoredTrialDiagnosis]
    of_study: OfStudy
    trial_findings: Sequence[TrialFindings]
    error: str | None
    is_complete: bool


def judge(material: Material, rules: Rules) -> Judgement:
    """Apply the rules to the study's trials, for at most MAX_PROCESSOR_SECONDS, and to the study."""
    began, judged = thread_seconds(), dict(material.known.diagnoses)
    new: list[StoredTrialDiagnosis] = []
    for trial in material.to_judge:
        if new and thread_seconds() - began > MAX_PROCESSOR_SECONDS:
            break
        judged[trial.number] = _judge_trial(trial, rules)
        new.append(judged[trial.number])
    of_trials = {number: each.findings for number, each in sorted(judged.items()) if each.findings}
    error = next((f"trial {number}: {each.error}" for number, each in sorted(judged.items()) if each.error), None)
    of_study = OfStudy(importance=material.importance)
    try:
        of_study = _judge_study(material, rules, of_trials)
    except Exception as raised:  # a rule's mistake must not keep the findings about the trials
        error = f"the rules for studies raised {_describe(raised)}"
    return Judgement(
        trials=new,
        of_study=of_study,
        trial_findings=group(of_trials),
        error=error,
        is_complete=len(new) == len(material.to_judge) and not material.has_more,
    )


def _judge_study(material: Material, rules: Rules, of_trials: Mapping[int, Sequence[Finding]]) -> OfStudy:
    ranking = material.importance or importance(material.study.history, material.study.spec)
    facts = replace(material.study, trial_findings=of_trials, importance=ranking)
    findings, parts = _storable(rules.of_study(facts)), rules.decompose(facts)
    if parts is not None:
        to_json(parts.model_dump(mode="json"))
    return OfStudy(findings, parts, ranking)


def _judge_trial(trial: TrialToJudge, rules: Rules) -> StoredTrialDiagnosis:
    diagnosis = StoredTrialDiagnosis(trial.trial_id, trial.revision, rules.version)
    if trial.facts is None:
        return replace(diagnosis, error=trial.error)
    try:
        return replace(diagnosis, findings=_storable(rules.of_trial(trial.facts)))
    except Exception as raised:  # a rule's mistake must not keep the findings about the other trials
        return replace(diagnosis, error=f"the rules for trials raised {_describe(raised)}")


def _storable(findings: Sequence[Finding]) -> Sequence[Finding]:
    """Return the first MAX_FINDINGS findings, after a check that the database can hold them."""
    kept = list(findings[:MAX_FINDINGS])
    to_json([each.model_dump(mode="json") for each in kept])
    return kept


def _describe(error: Exception) -> str:
    message = f"{type(error).__name__}: {error}"
    return message if len(message) <= _ERROR_CHARACTERS else f"{message[:_ERROR_CHARACTERS]}…"


def group(of_trials: Mapping[int, Iterable[Finding]]) -> list[TrialFindings]:
    """Return the findings about trials by rule: the highest confidence first, then the most trials.

    Args:
        of_trials: trial number -> the findings about it, by ascending number.
    """
    by_rule: dict[str, dict[int, Finding]] = {}
    for number, findings in of_trials.items():
        for finding in findings:
            of_rule = by_rule.setdefault(finding.rule, {})
            if number not in of_rule or _rank(finding) < _rank(of_rule[number]):
                of_rule[number] = finding
    groups = []
    for rule, found in by_rule.items():
        clearest = min(found.values(), key=_rank)
        groups.append(
            TrialFindings(
                rule=rule,
                confidence=clearest.confidence,
                num_trials=len(found),
                trials=list(found)[:MAX_NAMED_TRIALS],
                clearest=clearest,
            )
        )
    return sorted(groups, key=lambda each: (_CONFIDENCES.index(each.confidence), -each.num_trials, each.rule))


def _rank(finding: Finding) -> int:
    return _CONFIDENCES.index(finding.confidence)
