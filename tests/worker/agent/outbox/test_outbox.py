"""The outbox keeps unanswered messages in order across crashes of the agent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api.access import AccessRules
from service.contract.attempt import FailureClass, FinishRequest, Outcome
from service.contract.claim import Grant
from service.contract.report import NonFinite, Point, ReportRequest
from tests.worker.grants import grant
from tests.worker.waiting import StoppedClock
from worker.agent.attempts import AttemptKey
from worker.agent.outbox.outbox import Outbox
from worker.protocol import CheckpointSaved

SUCCEEDED = Outcome(result="succeeded", metrics={"val/accuracy": 0.9})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


@pytest.fixture
def outbox(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    """An outbox for which no time passes: on a slow machine values would wait for those of the next steps."""
    monkeypatch.setattr("worker.agent.outbox.report_buffer.time", StoppedClock())
    box = Outbox(path)
    yield box
    box.close()


def point(step: int) -> Point:
    return Point(step=step, metrics={"val/accuracy": step / 10})


URI = "file:///shared/checkpoint.pt"


def refused(message: str) -> Outcome:
    return Outcome(result="failed", failure=FailureClass.INVALID, message=message)


def saved(step: int, batch: int = 0) -> CheckpointSaved:
    return CheckpointSaved(step=step, path=f"/checkpoints/{step}", sha256=f"{step:064x}", size=step, batch=batch)


def hold(outbox: Outbox, granted: Grant | None = None) -> AttemptKey:
    granted = granted or grant()
    outbox.claim_id("cpu")
    outbox.ack_claim("cpu", granted)
    return AttemptKey(granted.trial, granted.attempt)


def test_a_claim_keeps_its_id_until_it_is_answered(path: Path) -> None:
    box = Outbox(path)
    asked = box.claim_id("cpu")
    box.close()
    box = Outbox(path)
    assert box.claim_id("cpu") == asked
    assert box.claim_id("gpu0") != asked
    box.ack_claim("cpu", None)
    assert box.claim_id("cpu") != asked
    box.close()


def test_reports_are_numbered_and_leave_in_order_with_the_outcome_last(outbox: Outbox) -> None:
    key = hold(outbox)
    for step in (1, 2, 5):
        assert outbox.add_point(key, point(step))
    assert outbox.add_outcome(key, SUCCEEDED)
    sent = []
    while heads := outbox.pending():
        [head] = heads
        sent.append(head.request)
        outbox.acknowledge(head)
    assert [request.sequence for request in sent if isinstance(request, ReportRequest)] == [1, 2, 3]
    assert [request.points[0].step for request in sent if isinstance(request, ReportRequest)] == [1, 2, 5]
    assert sent[-1] == FinishRequest(nonce="n-1", outcome=SUCCEEDED)
    assert outbox.is_empty()


class Life:
    """One attempt that reports into an outbox, and what became of each step's values."""

    def __init__(self, path: Path, clock: StoppedClock) -> None:
        self._path = path
        self._clock = clock
        self._box = Outbox(path)
        self._key = hold(self._box)
        self._step = 0
        self._waiting: set[int] = set()
        self._kept: set[int] = set()
        self._sent: list[ReportRequest] = []
        self._train_for_long()

    def _train_for_long(self) -> None:
        """From now on values wait for a second."""
        self.add()
        self._clock.now += 30.0
        self.add()
        self._keep()

    def _keep(self) -> None:
        self._kept |= self._waiting
        self._waiting.clear()

    def add(self, *, at_once: bool = False) -> None:
        self._step += 1
        self._waiting.add(self._step)
        self._box.add_point(self._key, point(self._step), at_once=at_once)

    def add_at_once(self) -> None:
        self.add(at_once=True)
        self._keep()

    def save(self) -> None:
        self._box.add_checkpoint(self._key, saved(self._step), URI)
        self._keep()

    def linger(self) -> None:
        self._clock.now += 0.7

    def send(self) -> None:
        self._box.write_due_reports()
        while heads := self._box.pending():
            self._sent += [head.request for head in heads if isinstance(head.request, ReportRequest)]
            for head in heads:
                self._box.acknowledge(head)

    def die(self) -> None:
        """Values that waited in memory alone may be lost: the training process dies, too."""
        self._waiting.clear()
        self._box.close()
        self._box = Outbox(self._path)
        self._train_for_long()

    def end(self) -> None:
        while uploads := self._box.uploads():
            self._box.ack_checkpoint(uploads[0], None)
        self._box.add_outcome(self._key, SUCCEEDED)
        self._keep()
        self.send()
        assert self._box.is_empty()
        self._box.close()
        steps = [each.step for request in self._sent for each in request.points]
        assert steps == sorted(set(steps))
        assert self._kept <= set(steps)
        assert [request.sequence for request in self._sent] == list(range(1, len(self._sent) + 1))


HAPPENINGS: tuple[Callable[[Life], None], ...] = (
    Life.add, Life.add_at_once, Life.save, Life.linger, Life.send, Life.die,
)  # fmt: skip


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from([Life.add, Life.add_at_once, Life.save, Life.linger, Life.send, Life.die]), max_size=25)
)
def test_each_step_is_sent_once_in_order_despite_crashes_and_none_is_lost_below_a_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, happenings: list[Callable[[Life], None]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        clock = StoppedClock()
        patch.setattr("worker.agent.outbox.report_buffer.time", clock)
        life = Life(tmp_path_factory.mktemp("outbox") / "outbox.sqlite", clock)
        for happening in happenings:
            happening(life)
        life.end()


def test_buffered_values_become_due_and_count_as_unsent(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = StoppedClock()
    monkeypatch.setattr("worker.agent.outbox.report_buffer.time", clock)
    key = hold(outbox)
    outbox.add_point(key, point(1))
    clock.now = 5.0
    outbox.add_point(key, point(2))
    for _ in range(2):
        outbox.acknowledge(*outbox.pending())
    assert [outbox.add_point(key, point(step)) for step in (3, 4)] == [True, False], "the first sets the time"
    assert outbox.has_messages(key)
    assert not outbox.is_empty()
    assert outbox.pending() == []
    assert outbox.write_due_reports() == 0.5
    clock.now = 5.5
    assert outbox.write_due_reports() is None
    [head] = outbox.pending()
    assert isinstance(head.request, ReportRequest)
    assert [each.step for each in head.request.points] == [3, 4]


def test_unanswered_messages_are_sent_again_unchanged_after_a_crash(path: Path) -> None:
    box = Outbox(path)
    key = hold(box)
    box.add_point(key, Point(step=1, metrics={"val/loss": NonFinite(status="nan")}))
    [before] = box.pending()
    box.close()
    box = Outbox(path)
    assert box.pending() == [before]
    box.close()


def test_attempts_do_not_wait_for_each_other(outbox: Outbox) -> None:
    first, second = hold(outbox, grant(trial="t1")), hold(outbox, grant(trial="t2"))
    outbox.add_point(first, point(1))
    outbox.add_point(first, point(2))
    outbox.add_point(second, point(1))
    assert [head.key for head in outbox.pending()] == [first, second]


def test_after_a_refused_report_the_reports_are_set_aside_and_the_outcome_is_invalid(outbox: Outbox) -> None:
    key = hold(outbox)
    outbox.add_point(key, point(1))
    outbox.refuse(key, refused("step 1 was reported with another value"))
    assert not outbox.add_point(key, point(2))
    outbox.add_outcome(key, SUCCEEDED)
    [head] = outbox.pending()
    assert isinstance(head.request, FinishRequest)
    assert head.request.outcome.failure is FailureClass.INVALID
    assert "another value" in head.request.outcome.message
    assert outbox.dead_letters() == [(key, "step 1 was reported with another value")]


def test_a_refusal_that_comes_after_the_outcome_was_written_makes_it_invalid_too(outbox: Outbox) -> None:
    key = hold(outbox)
    outbox.add_point(key, point(1))
    outbox.add_outcome(key, SUCCEEDED)
    outbox.refuse(key, refused("no"))
    [head] = outbox.pending()
    assert isinstance(head.request, FinishRequest)
    assert head.request.outcome.failure is FailureClass.INVALID


def test_a_dropped_attempt_sends_nothing_more_and_later_attempts_proceed(outbox: Outbox) -> None:
    key = hold(outbox)
    outbox.add_point(key, point(1))
    outbox.drop(key, "superseded by attempt 2")
    assert not outbox.add_point(key, point(2))
    assert not outbox.add_outcome(key, SUCCEEDED)
    assert outbox.is_empty()
    later = hold(outbox, grant(trial="t2"))
    outbox.add_point(later, point(1))
    assert [head.key for head in outbox.pending()] == [later]


def test_an_outcome_is_written_once(outbox: Outbox) -> None:
    key = hold(outbox)
    assert outbox.add_outcome(key, SUCCEEDED)
    assert not outbox.add_outcome(key, Outcome(result="released"))
    assert not outbox.add_point(key, point(9))


def test_the_next_agent_ends_what_a_dead_one_left_running_and_only_that(path: Path) -> None:
    box = Outbox(path)
    running, ended = hold(box, grant(trial="t1")), hold(box, grant(trial="t2"))
    box.add_point(running, point(1))
    box.add_outcome(ended, SUCCEEDED)
    box.close()
    box = Outbox(path)
    assert box.finish_abandoned() == 1
    assert box.finish_abandoned() == 0
    outcomes = {}
    while heads := box.pending():
        for head in heads:
            if isinstance(head.request, FinishRequest):
                outcomes[head.key] = head.request.outcome
            box.acknowledge(head)
    assert outcomes[running].failure is FailureClass.PROCESS_KILLED
    assert outcomes[ended] == SUCCEEDED
    box.close()


def test_a_checkpoint_is_next_once_the_reports_before_it_were_answered(outbox: Outbox) -> None:
    key = hold(outbox)
    outbox.add_point(key, point(1))
    outbox.add_checkpoint(key, saved(1), URI)
    outbox.add_point(key, point(2))
    [upload] = outbox.uploads()
    assert (upload.path, upload.request.uri, upload.is_next) == ("/checkpoints/1", URI, False)
    outbox.acknowledge(outbox.pending()[0])
    [upload] = outbox.uploads()
    assert upload.is_next
    assert [head.request.sequence for head in outbox.pending()] == [2], "no report waits for a checkpoint"
    outbox.ack_checkpoint(upload, None)
    assert outbox.uploads() == outbox.dead_letters() == []


@pytest.mark.parametrize(
    ("places", "kept"),
    [
        ([(1, 0), (2, 0), (3, 0), (4, 0)], [(3, 0), (4, 0)]),
        ([(0, 10), (0, 20), (0, 30)], [(0, 20), (0, 30)]),
        ([(1, 0), (2, 0), (2, 10), (2, 20), (2, 30)], [(2, 0), (2, 20), (2, 30)]),
    ],
    ids=["whole steps", "middles", "both"],
)
def test_the_newest_two_unsent_checkpoints_and_the_newest_of_a_whole_step_stay(
    outbox: Outbox, places: list[tuple[int, int]], kept: list[tuple[int, int]]
) -> None:
    key, other = hold(outbox), hold(outbox, grant(trial="t2"))
    outbox.add_checkpoint(other, saved(9), URI)
    for step, batch in places:
        outbox.add_checkpoint(key, saved(step, batch), URI)
    left = []
    while uploads := outbox.uploads():
        left += [(upload.request.step, upload.request.batch) for upload in uploads]
        for upload in uploads:
            outbox.ack_checkpoint(upload, None)
    assert left == [(9, 0), *kept]


def test_an_outcome_waits_for_the_checkpoints_before_it(path: Path) -> None:
    box = Outbox(path)
    key = hold(box)
    box.add_checkpoint(key, saved(1), URI)
    box.add_outcome(key, Outcome(result="paused"))
    box.close()
    box = Outbox(path)
    assert box.pending() == []
    [upload] = box.uploads()
    box.ack_checkpoint(upload, "the disk is full")
    assert box.dead_letters() == [(key, "the disk is full")]
    [head] = box.pending()
    assert isinstance(head.request, FinishRequest)
    assert head.request.outcome.result == "paused"
    box.close()


def test_a_trial_that_was_stopped_needs_no_checkpoint_any_more(outbox: Outbox) -> None:
    key = hold(outbox)
    outbox.add_checkpoint(key, saved(1), URI)
    outbox.add_outcome(key, Outcome(result="pruned"))
    assert outbox.uploads() == []
    assert len(outbox.pending()) == 1
    assert not outbox.add_checkpoint(key, saved(2), URI)


def test_the_last_checkpoint_of_a_trial_that_succeeded_goes_before_its_outcome(outbox: Outbox) -> None:
    key = hold(outbox)
    for step in (1, 2):
        outbox.add_checkpoint(key, saved(step), URI)
    outbox.add_outcome(key, Outcome(result="succeeded"))
    [upload] = outbox.uploads()
    assert upload.request.step == 2
    assert outbox.pending() == []
    outbox.ack_checkpoint(upload, None)
    assert len(outbox.pending()) == 1


def test_many_metrics_of_many_steps_become_several_reports_that_the_service_takes(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StoppedClock()
    monkeypatch.setattr("worker.agent.outbox.report_buffer.time", clock)
    key = hold(outbox)
    outbox.add_point(key, point(0))
    clock.now = 60.0  # from here on values wait for a second, and no time passes
    names = [f"layer-{number}/{'weight' * 8}" for number in range(400)]
    for step in range(1, 101):
        outbox.add_point(key, Point(step=step, metrics=dict.fromkeys(names, step / 3)))
    outbox.add_outcome(key, SUCCEEDED)
    reports: list[ReportRequest] = []
    while isinstance((entry := outbox.pending()[0]).request, ReportRequest):
        reports.append(entry.request)
        outbox.acknowledge(entry)
    assert isinstance(entry.request, FinishRequest)
    assert len(reports) >= 4
    assert [report.sequence for report in reports] == list(range(1, len(reports) + 1))
    assert [point.step for report in reports for point in report.points] == list(range(101))
    limit = AccessRules().body_bytes
    assert all(len(report.model_dump_json()) < limit for report in reports)
