"""Looks at a world after every transaction and at every answer, and blames what must not be between any two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.contract.lease import ClaimRequest, Grant, HeartbeatReply
from service.contract.problem import ErrorCode
from service.contract.report import ReportRequest, Verdict
from service.domain.history import History
from service.storage.queries import history
from tests.simulation.memory import memory
from tests.simulation.record import Answer, Call, Key
from tests.simulation.replica import LIMITS

if TYPE_CHECKING:
    from tests.simulation.world import World

REFUSALS = {ErrorCode.LEASE_SUPERSEDED, ErrorCode.ATTEMPT_ENDED, ErrorCode.BUSY}
"""All that a worker which keeps the protocol may ever be refused with."""
UNCREDITED_SECONDS = 4 * LIMITS.reaper_seconds
"""A shorter outage may go unnoticed by the reaper, and cost the leases that much."""


class Watch:
    """Looks at the database after every transaction, and at every answer."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.study_id = ""
        self.histories: dict[int, History] = {}
        """What the study's history was at each revision, read as a whole."""
        self.claimed: dict[Key, tuple[int, int]] = {}
        """Attempt -> instant and revision at which it began."""
        self.newest: dict[str, int] = {}
        self._revision = 0
        self._num_changes = -1
        self._renewed: dict[Key, tuple[int, float]] = {}
        self._down_since: float | None = None
        self._outages: list[tuple[float, float]] = []
        self._verdicts: dict[tuple[Key, int], Verdict] = {}
        self._grants: dict[str, Key] = {}

    def note_service(self) -> None:
        """Something went down or came up: keep account of when nobody could have been served."""
        world = self._world
        now = (world.now() - world.began_at) / 1e6
        is_served = world.is_database_up and any(replica.is_up for replica in world.replicas)
        if not is_served and self._down_since is None:
            self._down_since = now
        elif is_served and self._down_since is not None:
            self._outages.append((self._down_since, now))
            self._down_since = None

    def look(self) -> None:
        """Check what must hold between any two transactions."""
        num_changes = memory().raw.total_changes
        if num_changes == self._num_changes:
            return
        self._num_changes = num_changes
        blame = self._world.blame
        leases = memory().rows("SELECT trial_id, attempt, renewed_at FROM lease")
        held = {(trial, attempt) for trial, attempt, _ in leases}
        running = set(memory().rows("SELECT trial_id, number FROM attempt WHERE state = 'running'"))
        newest = set(memory().rows("SELECT id, num_attempts FROM trial WHERE state = 'running'"))
        if held != running:
            blame(f"leases {sorted(held)} but running attempts {sorted(running)}")
        if running != newest:
            blame(f"running attempts {sorted(running)} but running trials (with their newest) {sorted(newest)}")
        for trial, attempt, renewed_at in leases:
            if self._renewed.get((trial, attempt), (None,))[0] != renewed_at:
                self._renewed[trial, attempt] = renewed_at, self._seconds()
        outrun = memory().rows(
            "SELECT checkpoint.trial_id, attempt, step FROM checkpoint JOIN attempt"
            " ON attempt.trial_id = checkpoint.trial_id AND attempt.number = attempt"
            " WHERE step > coalesce(attempt.last_step, -1)"
        )
        if outrun:
            blame(f"checkpoints outrun their metrics: {outrun}")
        self._read_journal()

    def _seconds(self) -> float:
        return (self._world.now() - self._world.began_at) / 1e6

    def _read_journal(self) -> None:
        studies = memory().rows("SELECT id, revision, spec_version FROM study")
        if not studies or studies[0][1] == self._revision:
            return
        study_id, revision, _ = studies[0]
        query = "SELECT revision, at, kind, trial_id, attempt FROM journal WHERE revision > ? ORDER BY 1, ordinal"
        for row_revision, at, kind, trial, attempt in memory().rows(query, self._revision):
            if at != self._world.now():
                self._world.blame(f"{kind} was written at {at}, when the database's clock said {self._world.now()}")
            self._event(row_revision, at, kind, trial, attempt)
        if revision != self._revision + 1:
            self._world.blame(f"the revision went from {self._revision} to {revision}")
        self._revision = revision
        self.histories[revision] = read_history(study_id, self._world.spec.objective.metric)

    def _event(self, revision: int, at: int, kind: str, trial: str | None, attempt: int | None) -> None:
        if trial is None or attempt is None:
            return
        if kind == "trial_claimed":
            self.claimed[trial, attempt] = at, revision
            self.newest[trial] = attempt
        elif attempt != self.newest.get(trial):
            self._world.blame(f"{kind} of attempt {attempt}, when attempt {self.newest.get(trial)} was the newest")
        if kind == "attempt_lost":
            self._judge_loss((trial, attempt))

    def _judge_loss(self, key: Key) -> None:
        """A worker is lost only when it could have renewed its lease and did not, for a lease's length."""
        now, renewed_at = self._seconds(), self._renewed[key][1]
        credited = sum(
            max(0.0, min(until, now) - max(since, renewed_at))
            for since, until in self._outages
            if until - since >= UNCREDITED_SECONDS
        )
        served = now - renewed_at - credited
        if served < LIMITS.lease_seconds - 0.001:
            self._world.blame(f"{key} was given up as lost after {served:.1f} s in which its worker could renew")

    def answer(self, answer: Answer) -> None:
        """Check an answer by itself and against the earlier ones."""
        call = answer.call
        if call.is_foreign:
            held = isinstance(answer.reply, HeartbeatReply) and any(status.held for status in answer.reply.leases)
            if held or (answer.reply is not None and not isinstance(answer.reply, HeartbeatReply)):
                self._world.blame(f"{_title(call)} with a nonce of its own was accepted")
        elif answer.refusal is not None:
            self._refused(call, answer.refusal)
        else:
            self._replied(answer)

    def _refused(self, call: Call, refusal: ErrorCode) -> None:
        allowed = {ErrorCode.BUSY} if isinstance(call.request, ClaimRequest) else REFUSALS
        if call.is_hasty:
            allowed = allowed | {ErrorCode.REPORT_ORDER}
        if refusal not in allowed:
            self._world.blame(f"{_title(call)} was refused ({refusal}), though its worker keeps the protocol")

    def _replied(self, answer: Answer) -> None:
        request, key, blame = answer.call.request, answer.call.key, self._world.blame
        match answer.reply:
            case Verdict() as verdict:
                assert isinstance(request, ReportRequest)
                assert key is not None
                first = self._verdicts.setdefault((key, request.sequence), verdict)
                if first != verdict:
                    blame(f"report {request.sequence} of {key} was answered {first}, then {verdict}")
            case Grant() as grant:
                assert isinstance(request, ClaimRequest)
                granted = grant.trial, grant.attempt
                if self._grants.setdefault(request.request_id, granted) != granted:
                    blame(f"one request was granted {self._grants[request.request_id]} and {granted}")
            case HeartbeatReply() as reply:
                for status in reply.leases:
                    later = self.claimed.get((status.trial, status.attempt + 1))
                    if status.held and later is not None and later[0] < answer.arrived_at:
                        blame(f"a heartbeat was told that {status.trial} attempt {status.attempt} is still held")


def _title(call: Call) -> str:
    return f"{type(call.request).__name__} of {call.key}"


def read_history(study_id: str, metric: str) -> History:
    """The study's history as the database has it, by no cache."""
    on_statement, memory().on_statement = memory().on_statement, lambda: None
    try:
        with memory().engine.connect() as connection:
            return history.refresh(connection, study_id, metric, History())
    finally:
        memory().on_statement = on_statement
