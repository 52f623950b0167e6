"""A study's preflight on the wire, as viewers see it: in full, and as one line of its study."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from service.contract.base import Response
from service.contract.preflight import PreflightMode, PreflightResult
from service.contract.trial import TrialState


class PreflightSummary(Response):
    """A study's newest preflight in one line."""

    state: TrialState
    state_reason: str | None
    """Of an ended preflight: how many checks passed, warned or failed, and the first one that did not pass."""
    holds_back: bool
    """Whether the study's first trial waits for it."""


class PreflightProposal(Response):
    """An edit of the spec that a preflight proposes and that is not made yet."""

    settings: dict[str, Any]
    """Values by dotted path, as `study edit NAME --set PATH=VALUE` takes them."""
    reason: str


class PreflightView(Response):
    """A preflight of a study: its state and, once it has ended, its result."""

    trial: str
    """Id of the trial that makes the checks. It has no number and counts against no budget."""
    state: TrialState
    state_reason: str | None
    mode: PreflightMode
    spec_version: int
    created_at: datetime
    finished_at: datetime | None
    worker: str | None
    result: PreflightResult | None
    """None: it has not ended, or it ended without a result; then `state_reason` says why."""
    proposals: list[PreflightProposal] = []
