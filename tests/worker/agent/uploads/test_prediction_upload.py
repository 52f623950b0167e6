"""Predictions are uploaded after their trial's outcome, if the service keeps them, across crashes and outages."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import Client
from service.contract.attempt import Outcome
from service.contract.problem import ErrorCode
from tests.worker.grants import grant
from tests.worker.scripted_service import Answer, Body, Scripted, problem
from tests.worker.waiting import eventually
from worker.agent.attempts import ActiveAttempts, AttemptKey
from worker.agent.checkpoints.local_storage import LocalStorage
from worker.agent.connectivity import ServiceStatus
from worker.agent.outbox.outbox import Outbox
from worker.agent.outbox.sender import Sender
from worker.agent.uploads.prediction_upload import PredictionUploader
from worker.protocol import PredictionsSaved

KEY = AttemptKey("t1", 1)
CONTENT = b"what the model says"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def disk(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "attempts", 0)


@pytest.fixture
def predictions(
    client: Client, outbox: Outbox, disk: LocalStorage, service_status: ServiceStatus
) -> Iterator[PredictionUploader]:
    with PredictionUploader(client, outbox, disk, service_status) as running:
        yield running


@pytest.fixture
def saved(outbox: Outbox, disk: LocalStorage, script: Scripted) -> PredictionsSaved:
    """The file of attempt 1 of t1, which is granted; the service wants it, and has no blob yet."""
    script.predictions = wants(script)
    outbox.claim_id("cpu")
    outbox.ack_claim("cpu", grant(nonce="n"))
    path = disk.checkpoint_folder(KEY) / "predictions.parquet"
    path.write_bytes(CONTENT)
    return PredictionsSaved(str(path), SHA256, len(CONTENT))


def wants(script: Scripted) -> Answer:
    """As the service answers for a trial that is among the best."""

    def answer(body: Body) -> tuple[int, Body]:
        is_there = body["sha256"] in script.blobs
        return (200, {"kept": True}) if is_there else problem(409, ErrorCode.BLOB_MISSING)

    return answer


def finish(outbox: Outbox) -> None:
    """The attempt has ended, and the service has heard how."""
    outbox.add_outcome(KEY, Outcome(result="succeeded"))
    for entry in outbox.pending():
        outbox.acknowledge(entry)


def is_settled(outbox: Outbox, disk: LocalStorage) -> bool:
    return outbox.predictions() == [] and not disk.predictions_file(KEY).exists()


def test_they_are_uploaded_and_registered_after_the_outcome(
    script: Scripted,
    client: Client,
    outbox: Outbox,
    disk: LocalStorage,
    service_status: ServiceStatus,
    saved: PredictionsSaved,
) -> None:
    sender = Sender(client, outbox, ActiveAttempts(), service_status)
    with PredictionUploader(client, outbox, disk, service_status) as predictions:
        predictions.add(KEY, saved)
        assert not Path(saved.path).exists(), "its folder goes with the trial"
        assert not predictions.wait_until_sent(0.3)
        assert script.asked == []
        with sender:
            sender.add_outcome(KEY, Outcome(result="succeeded"))
            assert predictions.wait_until_sent(5)
    assert [call for call, _ in script.asked] == ["finish", "predictions", "predictions"]
    assert script.asked_of("predictions")[1] == {"nonce": "n", "sha256": SHA256, "size": len(CONTENT)}
    assert script.blobs == {SHA256: CONTENT}
    assert is_settled(outbox, disk)


def test_refused_predictions_are_not_uploaded(
    script: Scripted, predictions: PredictionUploader, outbox: Outbox, disk: LocalStorage, saved: PredictionsSaved
) -> None:
    script.predictions = lambda _: (200, {"kept": False, "reason": "trial 1 is not among the best 10 trials"})
    predictions.add(KEY, saved)
    finish(outbox)
    assert predictions.wait_until_sent(5)
    assert eventually(lambda: is_settled(outbox, disk))
    assert script.blobs == {}


def test_an_outage_delays_and_loses_nothing(
    script: Scripted, predictions: PredictionUploader, outbox: Outbox, disk: LocalStorage, saved: PredictionsSaved
) -> None:
    script.predictions = lambda _: problem(503, ErrorCode.UNAVAILABLE)
    predictions.add(KEY, saved)
    finish(outbox)
    assert eventually(lambda: script.asked_of("predictions"))
    assert not predictions.wait_until_sent(0.1)
    script.predictions = wants(script)
    assert predictions.wait_until_sent(10)
    assert script.blobs == {SHA256: CONTENT}


def test_the_next_agent_uploads_what_a_killed_agent_had_not(
    script: Scripted,
    client: Client,
    tmp_path: Path,
    outbox: Outbox,
    disk: LocalStorage,
    service_status: ServiceStatus,
    saved: PredictionsSaved,
) -> None:
    PredictionUploader(client, outbox, disk, service_status).add(KEY, saved)  # killed before it sends anything
    outbox.add_outcome(KEY, Outcome(result="succeeded"))
    outbox.close()
    following = Outbox(tmp_path / "outbox.sqlite")
    assert following.finish_abandoned() == 0
    assert following.trials() == {KEY.trial}, "its files are not to be cleared"
    with (
        Sender(client, following, ActiveAttempts(), service_status),
        PredictionUploader(client, following, disk, service_status) as predictions,
    ):
        assert predictions.wait_until_sent(5)
    assert script.blobs == {SHA256: CONTENT}
    assert is_settled(following, disk)
    following.close()


@pytest.mark.parametrize(
    "refusal",
    [
        (409, ErrorCode.LEASE_SUPERSEDED),
        (507, ErrorCode.STORAGE_FULL),
        (404, ErrorCode.UNKNOWN_BLOB),
        (500, ErrorCode.DAMAGED_DATA),
        (500, ErrorCode.UNSERIALIZABLE),
    ],
)
def test_a_finally_refused_message_is_dropped(
    script: Scripted,
    predictions: PredictionUploader,
    outbox: Outbox,
    disk: LocalStorage,
    saved: PredictionsSaved,
    refusal: tuple[int, ErrorCode],
    caplog: pytest.LogCaptureFixture,
) -> None:
    script.predictions = lambda _: problem(*refusal, detail="there is no room")
    predictions.add(KEY, saved)
    finish(outbox)
    assert predictions.wait_until_sent(5)
    assert eventually(lambda: is_settled(outbox, disk))
    assert "the predictions of trial t1 were not saved: there is no room" in caplog.text


def test_files_of_an_attempt_whose_predictions_are_refused_are_deleted(
    predictions: PredictionUploader, outbox: Outbox, disk: LocalStorage, saved: PredictionsSaved
) -> None:
    outbox.drop(KEY, "superseded")
    predictions.add(KEY, saved)
    assert is_settled(outbox, disk)
