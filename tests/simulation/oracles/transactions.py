"""Checks the database after every transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from service.domain.history import History
from service.search import decide
from service.search.samplers import sampler_for
from tests.simulation.client_record import Key, Token
from tests.simulation.memory import memory
from tests.simulation.oracles import budgets, database_view, fair_share
from tests.simulation.oracles.circuit_breaker import Failings
from tests.simulation.replica import LIMITS

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

UNCREDITED_SECONDS = 4 * LIMITS.reaper_seconds
"""A shorter outage may go unnoticed by the reaper, and cost the leases that much."""


@dataclass(frozen=True)
class Begun:
    """An attempt as it was granted."""

    at: int
    revision: int
    nonce: str
    epoch: int
    """The database's, at that time."""


@dataclass
class Seen:
    """What was seen of one study."""

    name: str
    revision: int = 0
    histories: dict[int, History] = field(default_factory=dict)
    """What its history was at each revision."""
    is_available: bool = False
    available_since: int = 0
    """From when on it has had a trial for whoever asks."""
    failings: Failings = field(default_factory=Failings)

    def copy(self) -> Seen:
        return Seen(
            self.name,
            self.revision,
            dict(self.histories),
            self.is_available,
            self.available_since,
            self.failings.copy(),
        )


@dataclass
class State:
    """All that was seen, as far as a restored database takes it back."""

    studies: dict[str, Seen] = field(default_factory=dict)
    begun: dict[Key, Begun] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)
    """Trial -> its newest attempt."""
    reattached: set[Key] = field(default_factory=set)
    renewed: dict[Key, tuple[int, float]] = field(default_factory=dict)

    def copy(self) -> State:
        studies = {study_id: seen.copy() for study_id, seen in self.studies.items()}
        return State(studies, dict(self.begun), dict(self.newest), set(self.reattached), dict(self.renewed))


class Watch:
    """Looks at the database after every transaction."""

    def __init__(self, world: Scenario) -> None:
        self._world = world
        self.state = State()
        self.epoch = 1
        self._ended_before: set[Key] = set()
        self._num_changes = -1
        self._down_since: float | None = None
        self._outages: list[tuple[float, float]] = []

    def go_back(self, state: State) -> None:
        """The database is as it was when `state` was copied; what was granted before counts no more."""
        self.state = state
        self.epoch += 1
        self._num_changes = -1
        self._ended_before = set(
            database_view.rows("SELECT trial_id, number FROM attempt WHERE state NOT IN ('running', 'lost')")
        )

    def is_void(self, token: Token) -> bool:
        """Whether what a token was given for is no more: its attempt was open when the database was restored."""
        *key, nonce = token
        begun = self.state.begun.get((key[0], key[1]))
        if begun is None or begun.nonce != nonce:
            return True
        return begun.epoch < self.epoch and (key[0], key[1]) not in self._ended_before

    def token_of(self, key: Key) -> Token:
        """The token that an attempt was granted with."""
        return (*key, self.state.begun[key].nonce)

    def note_service(self) -> None:
        """Something went down or came up: keep account of when nobody could have been served."""
        now = self._seconds()
        if not self._world.is_served and self._down_since is None:
            self._down_since = now
        elif self._world.is_served and self._down_since is not None:
            self._outages.append((self._down_since, now))
            self._down_since = None

    def look(self) -> None:
        """Check what must hold between any two transactions."""
        num_changes = memory().raw.total_changes
        if num_changes == self._num_changes:
            return
        self._num_changes = num_changes
        blame = self._world.blame
        leases = database_view.rows("SELECT trial_id, attempt, renewed_at FROM lease")
        held = {(trial, attempt) for trial, attempt, _ in leases}
        running = set(database_view.rows("SELECT trial_id, number FROM attempt WHERE state = 'running'"))
        newest = set(database_view.rows("SELECT id, num_attempts FROM trial WHERE state = 'running'"))
        if held != running:
            blame(f"leases {sorted(held)} but running attempts {sorted(running)}")
        if running != newest:
            blame(f"running attempts {sorted(running)} but running trials (with their newest) {sorted(newest)}")
        renewed = self.state.renewed
        for trial, attempt, renewed_at in leases:
            if renewed.get((trial, attempt), (None,))[0] != renewed_at:
                renewed[trial, attempt] = renewed_at, self._seconds()
        for study_id, name, revision in database_view.rows("SELECT id, name, revision FROM study"):
            seen = self.state.studies.setdefault(study_id, Seen(name))
            if seen.revision != revision:
                if revision != seen.revision + 1:
                    blame(f"the revision of {name} went from {seen.revision} to {revision}")
                self._read_revision(study_id, seen, revision)

    def _seconds(self) -> float:
        return (self._world.now() - self._world.began_at) / 1e6

    def _read_revision(self, study_id: str, seen: Seen, revision: int) -> None:
        events = database_view.rows(
            "SELECT at, kind, trial_id, attempt FROM journal WHERE study_id = ? AND revision = ? ORDER BY ordinal",
            study_id,
            revision,
        )
        kinds = {kind for _, kind, _, _ in events}
        for at, kind, trial, attempt in events:
            if at != self._world.now():
                self._world.blame(f"{kind} was written at {at}, when the database's clock said {self._world.now()}")
            if trial is not None and attempt is not None:
                self._attempt_event(study_id, kind, (trial, attempt), at, revision, kinds)
        before = seen.histories.get(seen.revision, History())
        seen.revision = revision
        history = seen.histories[revision] = database_view.history(study_id, before, revision)
        if "checkpoint_stored" in kinds:
            self._look_at_checkpoints(study_id)
        unstamped = database_view.rows(
            "SELECT DISTINCT number FROM trial JOIN report ON report.trial_id = trial.id"
            " WHERE study_id = ? AND report.revision = ? AND trial.revision < report.revision",
            study_id,
            revision,
        )
        if unstamped:
            self._world.blame(f"reports of {unstamped} came at revision {revision}, of which their trials know nothing")
        state, stop, version, cause = database_view.rows(
            "SELECT state, stop_requested_at, spec_version, pause_cause FROM study WHERE id = ?", study_id
        )[0]
        budget = database_view.spec_of(study_id, version).budget.trials
        if "trial_created" in kinds and budget is not None and len(history) > budget:
            self._world.blame(f"trial {len(history) - 1} of {seen.name} is beyond the budget of {budget}")
        if "trial_created" in kinds and budgets.used_up(
            study_id, database_view.spec_of(study_id, version), self._world.now()
        ):
            self._world.blame(f"trial {len(history) - 1} of {seen.name} began when another budget was used up")
        for violation in seen.failings.read(
            self._world, study_id, events, is_active=state == "active" and stop is None, pause_cause=cause
        ):
            self._world.blame(violation)
        self._note_availability(study_id, seen, history, is_active=state == "active" and stop is None, version=version)

    def _attempt_event(self, study_id: str, kind: str, key: Key, at: int, revision: int, kinds: set[str]) -> None:
        trial, attempt = key
        if kind == "trial_claimed":
            ((nonce,),) = database_view.rows(
                "SELECT nonce FROM attempt WHERE trial_id = ? AND number = ?", trial, attempt
            )
            self.state.begun[key] = Begun(at, revision, nonce, self.epoch)
            self.state.newest[trial] = attempt
            for violation in fair_share.judge(self._world, study_id, key, is_new="trial_created" in kinds):
                self._world.blame(violation)
        elif attempt != self.state.newest.get(trial):
            newest = self.state.newest.get(trial)
            self._world.blame(f"{kind} of attempt {attempt}, when attempt {newest} was the newest")
        if kind == "attempt_reattached":
            self.state.reattached.add(key)
        if kind == "attempt_lost" and "restored" not in kinds:
            self._judge_loss(key)

    def _judge_loss(self, key: Key) -> None:
        """A worker is lost only when it could have renewed its lease and did not, for a lease's length."""
        now, renewed_at = self._seconds(), self.state.renewed[key][1]
        credited = sum(
            max(0.0, min(until, now) - max(since, renewed_at))
            for since, until in self._outages
            if until - since >= UNCREDITED_SECONDS
        )
        served = now - renewed_at - credited
        if served < LIMITS.lease_seconds - 0.001:
            self._world.blame(f"{key} was given up as lost after {served:.1f} s in which its worker could renew")

    def _look_at_checkpoints(self, study_id: str) -> None:
        begun_at = "CASE batch WHEN 0 THEN -1 ELSE coalesce(resume_step, 0) END"
        outrun = database_view.rows(
            "SELECT checkpoint.trial_id, attempt, step FROM checkpoint JOIN attempt"
            " ON attempt.trial_id = checkpoint.trial_id AND attempt.number = attempt"
            f" WHERE study_id = ? AND step > coalesce(attempt.last_step, {begun_at})",
            study_id,
        )
        if outrun:
            self._world.blame(f"checkpoints outrun their metrics: {outrun}")

    def _note_availability(self, study_id: str, seen: Seen, history: History, *, is_active: bool, version: int) -> None:
        may_suggest = is_active and not budgets.used_up(
            study_id, database_view.spec_of(study_id, version), self._world.now()
        )
        is_available = is_active and (
            fair_share.has_waiting(study_id) or (may_suggest and _suggests(study_id, history, version))
        )
        if is_available and not seen.is_available:
            seen.available_since = self._world.now()
        seen.is_available = is_available


def _suggests(study_id: str, history: History, version: int) -> bool:
    spec: Any = database_view.spec_of(study_id, version)
    has_enqueued = bool(
        database_view.rows("SELECT 1 FROM enqueued_trial WHERE study_id = ? AND trial_id IS NULL LIMIT 1", study_id)
    )
    if decide.exhausted(history, spec, has_enqueued=has_enqueued) or spec.budget.hours is not None:
        return False  # hours end without an event: such a study is never held against another
    return has_enqueued or sampler_for(spec).waits_for(history) is None
