"""Applying remedies on the wire: the request and its answer, and the draft of a follow-up study."""

from __future__ import annotations

from pydantic import Field

from service.contract.base import Request, Response
from service.contract.finding import Confidence, RemedyName
from service.contract.remedy_action import RemedyAction
from service.contract.study import StudySpec


class ApplyRequest(Request):
    """Apply a remedy of a finding: carry out its action."""

    action: RemedyAction
    version: int = Field(ge=1, description="the study's `spec_version` that the action was made for")
    rule: str = Field(min_length=1, max_length=128, description="the rule of the finding")
    remedy: RemedyName | None = None
    trial: int | None = Field(default=None, ge=0, le=2**53, description="the trial that the finding is about")
    dry_run: bool = Field(default=False, description="check everything and describe the changes, and change nothing")


class ApplyReply(Response):
    """What applying a remedy changed, or would change."""

    kind: str = Field(description="the kind of the action")
    dry_run: bool
    sentence: str
    changes: list[str] = Field(default=[], description="differences in words")
    study: str = Field(description="name of the study to look at: the changed one, or the new follow-up study")
    fork: str | None = Field(default=None, description="id of the new fork")
    look: str = Field(description="the command that shows the result")


class DraftedChange(Response):
    """One setting that a drafted follow-up study changes, and the finding that is the reason."""

    path: str = Field(description="dotted path into the spec")
    reason: str
    rule: str
    trial: int | None = None
    confidence: Confidence


class FollowUpDraft(Response):
    """A follow-up study, drafted from the findings about a study."""

    study: str
    spec: StudySpec
    changes: list[DraftedChange] = Field(description="each changed setting; empty: no finding suggests a change")
    notes: list[str] = Field(default=[], description="findings that contradict, and what a person has to settle")
