"""The checkpoint to resume from: this host's own copy where it is the same, else the service's, verified."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import Client
from service.contract.lease import FailureClass, Grant, ResumePoint
from tests.support.service import Service
from tests.worker.grants import grant
from worker.agent.checkpoints import Checkpoints, CheckpointUnavailable
from worker.agent.contact import Contact

CONTENT = b"the state of a training"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def live(shared_service: Service) -> Iterator[Client]:
    with Client(shared_service.url) as client:
        yield client


@pytest.fixture
def checkpoints(live: Client, tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "attempts", live, Contact(live.server))


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


def test_it_is_downloaded(checkpoints: Checkpoints, live: Client, tmp_path: Path) -> None:
    upload(live, tmp_path)
    path = checkpoints.fetch(*resumed(), never)
    assert path is not None
    assert path.read_bytes() == CONTENT
    assert path.parent == checkpoints.directory_of(resumed()[0])


def test_the_own_copy_is_taken_only_if_it_is_the_same(checkpoints: Checkpoints, live: Client, tmp_path: Path) -> None:
    upload(live, tmp_path)
    own = checkpoints.directory_of(grant(attempt=1)) / "step-00000003.pt"
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


def test_what_the_service_has_not_gives_the_attempt_back_for_free(checkpoints: Checkpoints) -> None:
    other = hashlib.sha256(b"gone").hexdigest()
    with pytest.raises(CheckpointUnavailable, match="its checkpoint is gone") as caught:
        checkpoints.fetch(*resumed(f"blob:{other}", other), never)
    assert (caught.value.outcome.result, caught.value.outcome.failure) == ("released", FailureClass.PREEMPTED)


def test_one_in_a_shared_directory_is_read_there(checkpoints: Checkpoints, tmp_path: Path) -> None:
    shared = tmp_path / "shared.pt"
    shared.write_bytes(CONTENT)
    path = checkpoints.fetch(*resumed(shared.as_uri()), never)
    assert path is not None
    assert path.read_bytes() == CONTENT
    for uri in ((tmp_path / "nowhere").as_uri(), "s3://bucket/3"):
        path.unlink(missing_ok=True)
        with pytest.raises(CheckpointUnavailable) as caught:
            checkpoints.fetch(*resumed(uri), never)
        assert caught.value.outcome.failure is FailureClass.HOST_FAULT


def test_nobody_waits_for_a_service_that_is_away_once_the_attempt_is_over(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:1") as nobody:
        asked = iter([False, True])
        assert Checkpoints(tmp_path, nobody, Contact("x")).fetch(*resumed(), lambda: next(asked, True)) is None


def test_trials_that_are_over_leave_no_checkpoints_but_their_output(checkpoints: Checkpoints, tmp_path: Path) -> None:
    for attempt in (1, 2):
        (checkpoints.directory_of(grant(attempt=attempt)) / "step-00000001.pt").write_bytes(CONTENT)
    output = tmp_path / "attempts" / "t1" / "1.out"
    output.write_text("said")
    checkpoints.remove("t1")
    assert list((tmp_path / "attempts" / "t1").iterdir()) == [output]


def test_what_is_left_over_is_cleared_after_a_day(checkpoints: Checkpoints) -> None:
    places = [checkpoints.directory_of(grant(trial=trial)) for trial in ("old", "used", "young")]
    for place in places[:2]:
        os.utime(place, (1000, 1000))
    checkpoints.clear({"used"})
    assert [place.exists() for place in places] == [False, True, True]
