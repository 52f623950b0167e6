"""Fetching a checkpoint: the local copy if it matches, otherwise the service's, verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import Client
from service.contract.attempt import FailureClass
from service.contract.claim import Artifact, Grant, ResumePoint
from tests.support.service import Service
from tests.worker.grants import grant
from worker.agent.attempts import AttemptKey
from worker.agent.checkpoints.fetch import Checkpoints, CheckpointUnavailable, teacher_key
from worker.agent.checkpoints.local_storage import LocalStorage
from worker.agent.connectivity import ServiceStatus

CONTENT = b"the state of a training"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def live(shared_service: Service) -> Iterator[Client]:
    with Client(shared_service.url) as client:
        yield client


@pytest.fixture
def disk(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "attempts", 0)


@pytest.fixture
def checkpoints(live: Client, disk: LocalStorage) -> Checkpoints:
    return Checkpoints(disk, live, ServiceStatus(live.server))


def resumed(uri: str = f"blob:{SHA256}", sha256: str = SHA256) -> tuple[Grant, ResumePoint]:
    resume = ResumePoint(step=3, sha256=sha256, size=len(CONTENT), uri=uri)
    return grant(attempt=2, resume=resume), resume


def never() -> bool:
    return False


def upload(client: Client, tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(CONTENT)
    with (tmp_path / "upload").open("rb") as file:
        client.put_blob(SHA256, file)
    assert client.has_blob(SHA256)


def test_it_is_downloaded(checkpoints: Checkpoints, disk: LocalStorage, live: Client, tmp_path: Path) -> None:
    upload(live, tmp_path)
    path = checkpoints.fetch(*resumed(), never)
    assert path is not None
    assert path.read_bytes() == CONTENT
    assert path.parent == disk.checkpoint_folder(AttemptKey("t1", 2))


def test_the_own_copy_is_taken_only_if_it_is_the_same(
    checkpoints: Checkpoints, disk: LocalStorage, live: Client, tmp_path: Path
) -> None:
    upload(live, tmp_path)
    own = disk.checkpoint_folder(AttemptKey("t1", 1)) / "step-00000003.pt"
    own.write_bytes(CONTENT)
    path = checkpoints.fetch(*resumed(), never)
    assert path is not None
    assert path.samefile(own)
    path.unlink()
    own.write_bytes(CONTENT[::-1])
    path = checkpoints.fetch(*resumed(), never)
    assert path is not None
    assert not path.samefile(own)
    assert path.read_bytes() == CONTENT


def test_a_missing_checkpoint_releases_the_attempt_free_of_charge(checkpoints: Checkpoints) -> None:
    other = hashlib.sha256(b"gone").hexdigest()
    with pytest.raises(CheckpointUnavailable, match="the service no longer has its checkpoint") as caught:
        checkpoints.fetch(*resumed(f"blob:{other}", other), never)
    assert (caught.value.outcome.result, caught.value.outcome.failure) == ("released", FailureClass.PREEMPTED)


def test_one_in_a_shared_directory_is_read_there(checkpoints: Checkpoints, tmp_path: Path) -> None:
    shared = tmp_path / "shared.pt"
    shared.write_bytes(CONTENT)
    path = checkpoints.fetch(*resumed(shared.as_uri()), never)
    assert path is not None
    assert path.read_bytes() == CONTENT
    path.unlink()
    missing = (tmp_path / "nowhere").as_uri()
    with pytest.raises(CheckpointUnavailable, match="share its directory with this worker by --checkpoints"):
        checkpoints.fetch(*resumed(missing), never)
    for uri in (missing, "s3://bucket/3"):
        with pytest.raises(CheckpointUnavailable) as caught:
            checkpoints.fetch(*resumed(uri), never)
        assert caught.value.outcome.failure is FailureClass.HOST_FAULT
        assert caught.value.outcome.scope == "study"
        assert caught.value.outcome.unreadable == uri
    shared.write_bytes(CONTENT[::-1])
    with pytest.raises(CheckpointUnavailable, match="is not the registered one"):
        checkpoints.fetch(*resumed(shared.as_uri()), never)


def test_an_ended_attempt_does_not_wait_for_an_unreachable_service(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:1") as nobody:
        asked = iter([False, True])
        assert (
            Checkpoints(LocalStorage(tmp_path, 0), nobody, ServiceStatus("x")).fetch(
                *resumed(), lambda: next(asked, True)
            )
            is None
        )


TEACHER = Artifact(sha256=SHA256, size=len(CONTENT), uri=f"blob:{SHA256}")


def test_a_teacher_is_downloaded_once_for_all_trials_and_again_where_it_is_damaged(
    checkpoints: Checkpoints, live: Client, tmp_path: Path
) -> None:
    upload(live, tmp_path)
    path = checkpoints.fetch_teacher(grant(trial="t1"), TEACHER, never)
    assert path is not None
    assert path.read_bytes() == CONTENT
    inode = path.stat().st_ino
    assert checkpoints.fetch_teacher(grant(trial="t2"), TEACHER, never) == path
    assert path.stat().st_ino == inode, "it was not written again"
    path.write_bytes(CONTENT[::-1])
    assert checkpoints.fetch_teacher(grant(trial="t3"), TEACHER, never) == path
    assert path.read_bytes() == CONTENT


def test_a_teacher_is_on_the_disk_s_budget_unless_a_trial_learns_from_it(
    checkpoints: Checkpoints, disk: LocalStorage, live: Client, tmp_path: Path
) -> None:
    upload(live, tmp_path)
    path = checkpoints.fetch_teacher(grant(), TEACHER, never)
    assert path is not None
    disk.fit({teacher_key(TEACHER)}, set())
    assert path.exists()
    disk.fit(set(), set())
    assert not path.exists()


def test_a_teacher_that_the_service_has_not_gives_the_attempt_back_for_free(checkpoints: Checkpoints) -> None:
    gone = Artifact(sha256=hashlib.sha256(b"gone").hexdigest(), size=4, uri="")
    with pytest.raises(CheckpointUnavailable, match="the service no longer has its checkpoint"):
        checkpoints.fetch_teacher(grant(), gone, never)


def test_waiting_for_a_teacher_download_ends_with_the_attempt(checkpoints: Checkpoints) -> None:
    with checkpoints._teacher_lock:
        assert checkpoints.fetch_teacher(grant(), TEACHER, lambda: True) is None
