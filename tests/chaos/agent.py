"""`python -m worker` with a stub for the training, which records each answer before the agent uses it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from service.client import Client
from service.contract.attempt import CheckpointReply, CheckpointRequest, FinishReply, FinishRequest
from service.contract.claim import ClaimRequest, Grant, NoTrial
from service.contract.report import ReportRequest, Verdict, from_wire
from tests.chaos.ledger import Claimed, Finished, Ledger, Reported, Saved
from tests.chaos.training import METRIC
from worker import cli
from worker.agent.slots import process


class NotingClient(Client):
    """A client whose answers are in the ledger before anybody else sees them."""

    def __init__(self, server: str | None = None, token: str | None = None) -> None:
        super().__init__(server, token)
        self._ledger = Ledger(Path(os.environ["CHAOS_LEDGER"]))

    def claim(self, request: ClaimRequest) -> Grant | NoTrial:
        answer = super().claim(request)
        if isinstance(answer, Grant):
            assert answer.number is not None
            resume = answer.resume.step if answer.resume else None
            given = answer.trial, answer.attempt, answer.nonce, answer.number, answer.parameters, resume
            self._ledger.note(Claimed(request.request_id, *given))
        return answer

    def report(self, trial: str, attempt: int, request: ReportRequest) -> Verdict:
        verdict = super().report(trial, attempt, request)
        for point in request.points:
            value = from_wire(point.metrics[METRIC])
            judged = verdict.action, verdict.reason
            self._ledger.note(Reported(trial, attempt, request.sequence, point.step, value, *judged))
        return verdict

    def checkpoint(self, trial: str, attempt: int, request: CheckpointRequest) -> CheckpointReply:
        reply = super().checkpoint(trial, attempt, request)
        self._ledger.note(Saved(trial, attempt, request.step, request.sha256))
        return reply

    def finish(self, trial: str, attempt: int, request: FinishRequest) -> FinishReply:
        reply = super().finish(trial, attempt, request)
        outcome = request.outcome.model_dump(mode="json")
        self._ledger.note(Finished(trial, attempt, outcome, reply.trial_state, reply.values))
        return reply


if __name__ == "__main__":
    cli.Client = NotingClient  # type: ignore[misc]
    process.ZYGOTE = "tests.chaos.zygote"
    sys.exit(cli.main())
