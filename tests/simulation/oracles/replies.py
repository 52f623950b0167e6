"""Checks every reply against earlier replies and the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.contract.attempt import FinishRequest, HeartbeatReply, HeartbeatRequest
from service.contract.claim import ClaimRequest, Grant
from service.contract.problem import ErrorCode
from service.contract.report import Action, ReportRequest, Verdict
from tests.simulation.client_record import Answer, Call, Token
from tests.simulation.oracles import database_view

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

REFUSALS = {ErrorCode.LEASE_SUPERSEDED, ErrorCode.ATTEMPT_ENDED, ErrorCode.BUSY}
"""All that a worker which keeps the protocol may ever be refused with."""
OF_NO_MORE = {ErrorCode.UNKNOWN_TRIAL, ErrorCode.UNKNOWN_ATTEMPT}
"""What it may hear besides, of an attempt that a restored database does not know."""


class Answers:
    """Judges answers as they are given."""

    def __init__(self, world: Scenario) -> None:
        self._world = world
        self._verdicts: dict[tuple[Token, int], Verdict] = {}
        self._grants: dict[str, Token] = {}

    def go_back(self) -> None:
        """The database was restored: claims of before are forgotten."""
        self._grants.clear()

    def judge(self, answer: Answer) -> None:
        """Check an answer by itself and against the earlier ones."""
        call = answer.call
        if call.is_foreign:
            held = isinstance(answer.reply, HeartbeatReply) and any(status.held for status in answer.reply.leases)
            if held or (answer.reply is not None and not isinstance(answer.reply, HeartbeatReply)):
                self._world.blame(f"{_title(call)} was accepted, though it did not come from its worker")
        elif answer.refusal is not None:
            self._refused(call, answer.refusal)
        else:
            self._replied(answer)

    def _refused(self, call: Call, refusal: ErrorCode) -> None:
        if call.token is None:
            if refusal is not ErrorCode.BUSY:
                self._world.blame(f"{_title(call)} was refused ({refusal})")
            return
        is_void = self._world.watch.is_void(call.token)
        allowed = REFUSALS | (OF_NO_MORE if is_void else set())
        if call.is_hasty:
            allowed = allowed | {ErrorCode.REPORT_ORDER}
        if refusal not in allowed:
            self._world.blame(f"{_title(call)} was refused ({refusal}), though its worker keeps the protocol")
        elif refusal in {ErrorCode.LEASE_SUPERSEDED, ErrorCode.ATTEMPT_ENDED} and not is_void:
            if self._may_write(call.token):
                self._world.blame(f"{_title(call)} was refused ({refusal}), though no newer attempt had begun")
            elif isinstance(call.request, FinishRequest) and self._has_ended_so(call.token, call.request):
                self._world.blame(f"{_title(call)} was refused ({refusal}), though it had ended just so")

    def _may_write(self, token: Token) -> bool:
        """Whether an attempt can write: once it cannot, it never can again, so the present may be asked."""
        trial, attempt, _ = token
        ((state, trial_state, newest),) = database_view.rows(
            "SELECT attempt.state, trial.state, num_attempts FROM attempt JOIN trial ON trial.id = trial_id"
            " WHERE trial_id = ? AND attempt.number = ?",
            trial,
            attempt,
        )
        return newest == attempt and (state == "running" or (state == "lost" and trial_state == "waiting"))

    def _has_ended_so(self, token: Token, request: FinishRequest) -> bool:
        trial, attempt, _ = token
        if self._world.watch.state.newest[trial] != attempt:
            return False
        ((text,),) = database_view.rows("SELECT outcome FROM attempt WHERE trial_id = ? AND number = ?", trial, attempt)
        return database_view.outcome_of(text) == request.outcome

    def _replied(self, answer: Answer) -> None:
        request, token, blame = answer.call.request, answer.call.token, self._world.blame
        if token is not None and self._world.watch.is_void(token):
            blame(f"{_title(answer.call)} was accepted, though the database was restored since its grant")
        match answer.reply:
            case Verdict() as verdict:
                assert isinstance(request, ReportRequest)
                assert token is not None
                first = self._verdicts.setdefault((token, request.sequence), verdict)
                if first != verdict:
                    blame(f"report {request.sequence} of {token} was answered {first}, then {verdict}")
            case Grant() as grant:
                assert isinstance(request, ClaimRequest)
                granted = grant.trial, grant.attempt, grant.nonce
                if self._grants.setdefault(request.request_id, granted) != granted:
                    blame(f"one request was granted {self._grants[request.request_id]} and {granted}")
            case HeartbeatReply() as reply:
                assert isinstance(request, HeartbeatRequest)
                self._renewed(request, reply, answer.arrived_at)

    def _renewed(self, request: HeartbeatRequest, reply: HeartbeatReply, arrived_at: int) -> None:
        watch, blame = self._world.watch, self._world.blame
        for asked, status in zip(request.leases, reply.leases, strict=True):
            token = asked.trial, asked.attempt, asked.nonce
            if watch.is_void(token):
                if status.held:
                    blame(f"a heartbeat was told that {token} is held, though the database was restored since")
                continue
            later = watch.state.begun.get((asked.trial, asked.attempt + 1))
            if status.held and later is not None and later.at < arrived_at:
                blame(f"a heartbeat was told that {token} is still held")
            if not status.held and self._may_write(token):
                blame(f"a heartbeat was told that {token} is over, though no newer attempt had begun")
            if status.held and status.order is not Action.STOP and self._was_stopped(token, arrived_at):
                blame(f"a heartbeat was not told that the study of {token} is being stopped")

    def _was_stopped(self, token: Token, by: int) -> bool:
        query = "SELECT stop_requested_at FROM study JOIN trial ON trial.study_id = study.id WHERE trial.id = ?"
        ((stopped_at,),) = database_view.rows(query, token[0])
        return stopped_at is not None and stopped_at < by


def _title(call: Call) -> str:
    return f"{type(call.request).__name__} of {call.token}"
