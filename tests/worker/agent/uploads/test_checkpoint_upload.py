"""Checkpoint upload to the service or a shared directory: complete, in order; a refusal stops no training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import Client
from service.contract.attempt import BLOB, FinishRequest, Outcome
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant
from service.contract.problem import ErrorCode
from service.contract.report import Point
from tests.client.studies import hand_driven
from tests.support.service import Service, running_service
from tests.worker.grants import grant
from tests.worker.scripted_service import Body, Scripted, problem
from tests.worker.waiting import eventually
from worker.agent.attempts import ActiveAttempts, AttemptKey
from worker.agent.checkpoints.shared_directory import SharedDirectory
from worker.agent.connectivity import ServiceStatus
from worker.agent.outbox.outbox import Outbox
from worker.agent.outbox.sender import Sender
from worker.agent.uploads.checkpoint_upload import CheckpointUploader
from worker.protocol import CheckpointSaved


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose blobs may take three thousand bytes."""
    environment = {"ASSAYER_BLOBS_GIB": str(3000 / 2**30)}
    with running_service(tmp_path_factory.mktemp("service"), environment=environment) as service:
        yield service


@pytest.fixture
def client(small: Service) -> Iterator[Client]:
    with Client(small.url) as connected:
        yield connected


class Slot:
    """What an agent has around one attempt of a real service: its outbox, its sender, its uploader."""

    def __init__(self, client: Client, directory: Path, shared: SharedDirectory | None = None) -> None:
        self.client = client
        self.directory = directory
        self.study = client.create_study(hand_driven()).name
        self.outbox = Outbox(directory / "outbox.sqlite")
        service_status = ServiceStatus(client.server)
        self.sender = Sender(client, self.outbox, ActiveAttempts(), service_status)
        self.uploader = CheckpointUploader(client, self.outbox, service_status, self.sender.wake, shared)
        self.grant = self.claim()

    @property
    def key(self) -> AttemptKey:
        return AttemptKey(self.grant.trial, self.grant.attempt)

    def claim(self) -> Grant:
        request = ClaimRequest(
            request_id=self.outbox.claim_id("cpu"),
            worker="w",
            capabilities=Capabilities(tasks=[TaskKind.EXTERNAL]),
            studies=[self.study],
        )
        grant = self.client.claim(request)
        assert isinstance(grant, Grant)
        self.outbox.ack_claim("cpu", grant)
        return grant

    def save(self, step: int, num_bytes: int = 1000, batch: int = 0) -> Path:
        """Report a step, and save its checkpoint; or, where a batch is named, one of a place after it."""
        if not batch:
            self.sender.add_report(self.key, Point(step=step, metrics={"val/accuracy": 0.5}))
        path = self.directory / f"{step}-{batch}.pt"
        path.write_bytes(f"{self.key} {step} {batch} ".encode().ljust(num_bytes, b"."))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self.uploader.add(self.key, CheckpointSaved(step, str(path), sha256, num_bytes, batch))
        return path

    def save_and_wait(self, step: int, num_bytes: int = 1000, batch: int = 0) -> Path:
        path = self.save(step, num_bytes, batch)
        assert eventually(self.outbox.is_empty)
        return path

    def resume(self) -> Grant:
        """Give the attempt back and claim it again."""
        self.sender.add_outcome(self.key, Outcome(result="released"))
        assert self.sender.wait_until_sent(self.key, 10)
        self.grant = self.claim()
        return self.grant

    def warnings(self) -> list[str]:
        return self.client.trial(self.study, 0).attempts[0].warnings


@pytest.fixture
def slot(client: Client, tmp_path: Path) -> Iterator[Slot]:
    slot = Slot(client, tmp_path)
    with slot.sender, slot.uploader:
        yield slot
        client.stop(slot.study)
        slot.sender.add_outcome(slot.key, Outcome(result="released"))
        assert slot.sender.wait_until_sent(slot.key, 10), "its blobs must not stay for the next test"
    slot.outbox.close()


def test_a_checkpoint_is_uploaded_and_registered_after_its_reports(slot: Slot) -> None:
    path = slot.save_and_wait(1)
    resume = slot.resume().resume
    assert resume is not None
    assert (resume.step, resume.uri) == (1, f"{BLOB}{hashlib.sha256(path.read_bytes()).hexdigest()}")
    assert b"".join(slot.client.get_blob(resume.sha256)) == path.read_bytes()


def test_a_file_that_newer_ones_replaced_is_set_aside_without_ado(client: Client, tmp_path: Path) -> None:
    slot = Slot(client, tmp_path)
    slot.save(1).unlink()
    with slot.sender, slot.uploader:
        assert eventually(slot.outbox.is_empty)
    [(key, reason)] = slot.outbox.dead_letters()
    assert key == slot.key
    assert "cannot read the file" in reason
    assert slot.warnings() == []


def test_a_full_store_first_drops_unneeded_files(slot: Slot) -> None:
    """The newest two of an open trial are needed: so one after the other fits, however many come."""
    for step in range(1, 7):
        slot.save_and_wait(step)
    assert slot.warnings() == []
    resume = slot.resume().resume
    assert resume is not None
    assert resume.step == 6


def test_a_checkpoint_above_the_limit_is_noted_at_the_trial_and_training_continues(slot: Slot) -> None:
    slot.save_and_wait(1)
    for step in (2, 3):
        slot.save_and_wait(step, num_bytes=2999)
    [warning] = slot.warnings()
    assert "a checkpoint was not saved: the checkpoints fill the" in warning
    assert "ASSAYER_BLOBS_GIB" in warning
    assert warning.endswith("a later attempt resumes from the last saved one")
    resume = slot.resume().resume
    assert resume is not None
    assert resume.step == 1


@pytest.mark.parametrize("code", [ErrorCode.DAMAGED_DATA, ErrorCode.UNSERIALIZABLE])
@pytest.mark.parametrize("refused", ["checkpoint", "warning"])
def test_a_damaged_trial_does_not_delay_the_checkpoints_of_other_trials(
    scripted: tuple[Scripted, Client],
    outbox: Outbox,
    service_status: ServiceStatus,
    tmp_path: Path,
    code: ErrorCode,
    refused: str,
) -> None:
    script, client = scripted
    damaged, other = (AttemptKey(trial, 1) for trial in ("damaged", "other"))
    healthy = script.checkpoint

    def register(body: Body) -> tuple[int, Body]:
        if body["step"] != 1:
            return healthy(body)
        return problem(500, code) if refused == "checkpoint" else problem(507, ErrorCode.STORAGE_FULL)

    script.checkpoint = register
    script.warning = lambda _: problem(500, code)
    with CheckpointUploader(client, outbox, service_status, on_upload_end=lambda: None) as uploader:
        for step, key in enumerate((damaged, other), start=1):
            outbox.ack_claim("cpu", grant(trial=key.trial))
            path = tmp_path / f"{step}.pt"
            path.write_bytes(b"weights")
            sha256 = hashlib.sha256(b"weights").hexdigest()
            uploader.add(key, CheckpointSaved(step, str(path), sha256, len(b"weights")))
        assert eventually(outbox.is_empty)
    assert [body["step"] for body in script.asked_of("checkpoint")] == [1, 2]
    assert outbox.dead_letters() == [(damaged, "no")]


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    directory = tmp_path / "shared"
    directory.mkdir()
    return directory


def test_in_a_shared_directory_the_newest_two_of_a_trial_stay_and_nothing_is_uploaded(
    client: Client, shared: Path, tmp_path: Path
) -> None:
    slot = Slot(client, tmp_path, SharedDirectory(shared))
    with slot.sender, slot.uploader:
        for step in (1, 2, 3):
            path = slot.save_and_wait(step, num_bytes=5000)  # more than the service would take
        resume = slot.resume().resume
    assert slot.outbox.dead_letters() == []
    assert resume is not None
    assert (resume.step, resume.sha256) == (3, hashlib.sha256(path.read_bytes()).hexdigest())
    files = sorted((shared / slot.grant.trial).iterdir())
    assert [file.name.split("-")[1] for file in files] == ["000000000002", "000000000003"]
    assert files[-1].as_uri() == resume.uri
    assert files[-1].read_bytes() == path.read_bytes()


def test_beside_the_newest_two_there_stays_the_newest_of_a_whole_step(
    client: Client, shared: Path, tmp_path: Path
) -> None:
    slot = Slot(client, tmp_path, SharedDirectory(shared))
    with slot.sender, slot.uploader:
        for step, batch in ((1, 0), (1, 5), (2, 0), (2, 9), (2, 10), (2, 200)):
            path = slot.save_and_wait(step, batch=batch)
        resume = slot.resume().resume
    assert resume is not None
    assert (resume.step, resume.batch, resume.sha256) == (2, 200, hashlib.sha256(path.read_bytes()).hexdigest())
    places = [file.name.split("-")[1:3] for file in sorted((shared / slot.grant.trial).iterdir())]
    assert [(int(step), int(batch)) for step, batch in places] == [(2, 0), (2, 10), (2, 200)]


def test_a_missing_shared_directory_is_noted_at_the_trial(client: Client, shared: Path, tmp_path: Path) -> None:
    slot = Slot(client, tmp_path, SharedDirectory(shared))
    shared.rmdir()
    with slot.sender, slot.uploader:
        slot.save_and_wait(1)
    [warning] = slot.warnings()
    assert str(shared) in warning
    assert "No such file or directory" in warning
    assert not shared.exists(), "a directory that is not mounted is not made"


def test_a_refused_checkpoint_is_removed_from_the_shared_directory(
    client: Client, shared: Path, tmp_path: Path
) -> None:
    slot = Slot(client, tmp_path, SharedDirectory(shared))
    slot.save(1)
    request = FinishRequest(nonce=slot.grant.nonce, outcome=Outcome(result="released"))
    client.finish(*slot.key, request)
    with slot.sender, slot.uploader:
        assert eventually(slot.outbox.is_empty)
    assert list(shared.glob("*/*.pt")) == []
