"""The disk of a simulated worker: sent claims, active attempts, and messages that are not yet sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from service.contract.attempt import CheckpointRequest, FinishRequest, Outcome
from service.contract.claim import Grant
from service.contract.report import Point, ReportRequest
from tests.simulation.client_record import Call, Token


@dataclass
class Entry:
    """One message that waits in the outbox: some points, a checkpoint of a step and batch, or how the attempt ended."""

    sequence: int = 0
    points: list[Point] = field(default_factory=list)
    checkpoint: tuple[int, int] | None = None
    outcome: Outcome | None = None
    was_sent: bool = False


@dataclass
class HeldAttempt:
    """An attempt on the worker's disk: its grant and what is still to be sent."""

    grant: Grant
    entries: list[Entry] = field(default_factory=list)
    num_batches: int = 0
    has_ended: bool = False

    @property
    def token(self) -> Token:
        return self.grant.trial, self.grant.attempt, self.grant.nonce

    def report(self, point: Point, *, is_new_batch: bool) -> None:
        """Add a point, to the newest batch if that has not travelled yet."""
        last = self.entries[-1] if self.entries else None
        if last and last.points and not last.was_sent and not is_new_batch:
            last.points.append(point)
        else:
            self.num_batches += 1
            self.entries.append(Entry(sequence=self.num_batches, points=[point]))

    def next_call(self, chance: Random) -> tuple[Call, int]:
        """The next call to make, and how many entries its success settles."""
        saved = next((index for index, entry in enumerate(self.entries) if entry.checkpoint is not None), None)
        if saved is not None:
            before, place = self.entries[:saved], self.entries[saved].checkpoint
            if chance.random() < 0.1:
                return self._checkpoint(place, [], is_hasty=bool(before)), 1
            if not before or chance.random() < 0.5:
                return self._checkpoint(place, [self._batch(entry) for entry in before]), saved + 1
        head, *later = self.entries
        if later and later[0].points and chance.random() < 0.1:
            return Call(self._batch(later[0]), self.token, is_hasty=True), 0
        if head.outcome is not None:
            return Call(FinishRequest(nonce=self.grant.nonce, outcome=head.outcome), self.token), 1
        return Call(self._batch(head), self.token), 1

    def _batch(self, entry: Entry) -> ReportRequest:
        entry.was_sent = True
        return ReportRequest(nonce=self.grant.nonce, sequence=entry.sequence, points=list(entry.points))

    def _checkpoint(
        self, place: tuple[int, int] | None, reports: list[ReportRequest], *, is_hasty: bool = False
    ) -> Call:
        assert place is not None
        step, batch = place
        request = CheckpointRequest(
            nonce=self.grant.nonce,
            step=step,
            batch=batch,
            sha256=f"{step:032x}{batch:032x}",
            size=1,
            uri=f"memory:{step}-{batch}",
            reports=reports,
        )
        return Call(request, self.token, is_hasty=is_hasty)


@dataclass
class Disk:
    """What outlives the agent."""

    claim_ids: dict[str, str] = field(default_factory=dict)
    """Slot -> the claim that was sent for it and not answered yet."""
    held: dict[Token, HeldAttempt] = field(default_factory=dict)
