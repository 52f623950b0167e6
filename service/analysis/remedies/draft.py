"""Drafts a follow-up study: the changes that findings suggest, those of the highest confidence first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.analysis.remedies.actions import action_for
from service.analysis.remedies.subject import StudyForRemedies
from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from service.contract.remedy import DraftedChange
from service.contract.remedy_action import EditAction, ExtendAction, FollowUpAction, ForkAction, RemedyAction

_ORDER = [Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW]

_OPPOSITES: tuple[frozenset[RemedyName], ...] = (
    frozenset({RemedyName.LOWER_RATE, RemedyName.RAISE_RATE}),
    frozenset({RemedyName.TRAIN_LONGER, RemedyName.TRAIN_SHORTER}),
    frozenset({RemedyName.LARGER_MODEL, RemedyName.SMALLER_MODEL}),
    frozenset({RemedyName.MORE_REGULARIZATION, RemedyName.LESS_REGULARIZATION}),
    frozenset({RemedyName.DECAY_RATE, RemedyName.DECAY_LATER}),
    frozenset({RemedyName.WIDEN_RANGE, RemedyName.NARROW_RANGE}),
)
"""Remedies that contradict each other."""

Accepts = Callable[[Mapping[str, Any]], bool]
"""Whether a spec with these changes, by dotted path, is a valid study."""


@dataclass
class Draft:
    """The changes of a follow-up study so far.

    Attributes:
        settings: dotted path into the spec -> its new value; None removes a setting.
        changes: the same paths with their reasons, without paths that only follow from another one.
        notes: what was left out, and why.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    changes: list[DraftedChange] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def draft_changes(findings: Iterable[Finding], study: StudyForRemedies, accepts: Accepts) -> Draft:
    """Return the changes that the findings suggest for a follow-up study.

    Each finding changes what its first possible remedy says. Of two findings that contradict, the one of the higher
    confidence counts; of equal ones, the first.

    Args:
        findings: findings about the study and its trials, the gravest first.
        study: the study.
        accepts: whether a spec with these changes is a valid study.
    """
    draft = Draft()
    chosen: list[tuple[Remedy, Finding]] = []
    for finding in sorted(findings, key=lambda each: _ORDER.index(each.confidence)):
        for remedy, changes in _proposals(finding, study):
            rival = _rival(remedy, chosen) or _owner(changes, draft.changes)
            if rival is not None:
                draft.notes.append(
                    f"left out: {remedy.sentence} (finding {_title(finding)}, {finding.confidence} confidence), "
                    f"because the finding {rival} counts more"
                )
                break
            if set(changes) <= set(draft.settings) or not accepts({**draft.settings, **changes}):
                continue
            draft.settings |= changes
            draft.changes += [
                DraftedChange(
                    path=path,
                    reason=remedy.sentence,
                    rule=finding.rule,
                    trial=finding.trial,
                    confidence=finding.confidence,
                )
                for path, value in changes.items()
                if value is not None
            ]
            chosen.append((remedy, finding))
            break
    return draft


def _proposals(finding: Finding, study: StudyForRemedies) -> Iterator[tuple[Remedy, Mapping[str, Any]]]:
    """Yield each remedy of a finding that changes a spec, with its changes."""
    for remedy in finding.remedies:
        changes = _spec_changes(action_for(remedy, finding, study), study)
        if changes:
            yield remedy, changes


def _spec_changes(action: RemedyAction | None, study: StudyForRemedies) -> Mapping[str, Any]:
    """Return what an action changes in the spec of a follow-up study; empty: it changes only this study."""
    match action:
        case EditAction():
            return {path: value for path, value in action.changes.items() if path != "budget.trials"}
        case FollowUpAction():
            return action.changes
        case ExtendAction():
            return {"budget.trials": action.trials}
        case ForkAction(settings=settings) if "epochs" in settings:
            resource = {} if study.spec.resource is None else {"resource": None}
            return {"task.train.epochs": settings["epochs"], **resource}
        case _:
            return {}


def _rival(remedy: Remedy, chosen: Iterable[tuple[Remedy, Finding]]) -> str | None:
    """Return the finding whose chosen remedy contradicts this one."""
    for other, finding in chosen:
        pair = frozenset({remedy.name, other.name})
        about = {each.settings.get("parameter") for each in (remedy, other)}
        if pair in _OPPOSITES and len(about) == 1:
            return _title(finding)
    return None


def _owner(changes: Mapping[str, Any], made: Iterable[DraftedChange]) -> str | None:
    """Return the finding that changes one of these paths, or a part of it, already."""
    for change in made:
        if any(_overlap(path, change.path) for path in changes):
            return change.rule if change.trial is None else f"{change.rule} about trial {change.trial}"
    return None


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _title(finding: Finding) -> str:
    return finding.rule if finding.trial is None else f"{finding.rule} about trial {finding.trial}"
