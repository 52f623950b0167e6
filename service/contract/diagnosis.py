"""A diagnosis on the wire: the findings about a study and about its trials, and which revision they were made from."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from service.contract.base import Response
from service.contract.decomposition import Decomposition
from service.contract.finding import Confidence, Finding

MAX_NAMED_TRIALS = 100
"""The largest number of trials that one `TrialFindings` names."""


class TrialFindings(Response):
    """The trials of a study about which one rule found something."""

    rule: str
    confidence: Confidence
    """The highest confidence among these findings."""
    num_trials: int
    trials: list[int]
    """Their numbers, ascending; at most MAX_NAMED_TRIALS of them."""
    clearest: Finding
    """The finding of the highest confidence, of the lowest trial number."""


class StudyDiagnosis(Response):
    """What the rules found about a study, and about its trials by rule."""

    study: str
    revision: int = Field(description="the study's current revision")
    spec_version: int = Field(description="the version of the spec that the actions of the remedies were made for")
    judged_revision: int | None = Field(
        description="the revision whose trials were all judged; none: no pass over all trials is complete yet"
    )
    judged_at: datetime | None = Field(description="when the findings were last computed")
    lags: bool = Field(description="whether the study has changed since; the service follows within some seconds")
    num_judged: int = Field(description="search trials whose stored findings are of their current revision")
    num_waiting: int = Field(description="search trials that still have to be judged")
    findings: list[Finding] = Field(description="about the study, the gravest first")
    trial_findings: list[TrialFindings] = Field(
        default=[], description="about its trials, by rule: the highest confidence first, then the most trials"
    )
    decomposition: Decomposition | None = Field(
        default=None, description="the parts of the test error of the best trial; none: they are not known"
    )
    error: str | None = Field(default=None, description="why the study, or a trial of it, could not be judged")


class TrialDiagnosis(Response):
    """What the rules found about one trial."""

    study: str
    trial: str = Field(description="the id of the trial")
    number: int | None = Field(description="none: a fork or a preflight, which is not judged")
    revision: int = Field(description="the trial's current revision")
    spec_version: int = Field(description="the study's version of the spec that the actions were made for")
    judged_revision: int | None = Field(description="the revision of the trial that was judged; none: not judged yet")
    lags: bool = Field(description="whether the trial has changed since; the service follows within some seconds")
    findings: list[Finding] = Field(description="the gravest first")
    error: str | None = Field(default=None, description="why the trial could not be judged")
