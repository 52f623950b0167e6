"""What the client and the `study` command report about damaged rows of the database."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from service.cli import edit, watch
from service.cli.main import main
from service.client import Client, PermanentFailure
from service.contract.study import StudyView
from tests.client.studies import hand_driven
from tests.support.damage import spoil
from tests.support.service import Service

REVISION_OF_EDIT = 2


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url) as client:
        yield client


def test_a_damaged_event_is_listed_beside_the_intact_ones_and_shown(
    service: Service, client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    study = client.create_study(hand_driven())
    edit.edit(client, study.name, None, ["budget.trials=7"])
    spoil(service, "UPDATE journal SET data = '{' WHERE study_id = ? AND revision = ?", study.id, REVISION_OF_EDIT)
    client.pause(study.name)

    listed = client.events(study.name)
    assert [event.kind for event in listed.events] == ["study_created", "study_paused"]
    [damaged] = listed.damaged
    assert damaged.name == str(REVISION_OF_EDIT)
    assert "is not JSON" in damaged.reason

    assert main(["--server", service.url, "show", study.name]) == 0
    out, err = capsys.readouterr()
    assert study.name in out
    assert err.splitlines() == [
        f"damaged: event {REVISION_OF_EDIT} cannot be read: {damaged.reason} (`assayer fsck` lists all damage)"
    ]


def test_following_a_study_ends_where_its_row_is_damaged(service: Service, client: Client) -> None:
    study = client.create_study(hand_driven())
    views = watch.follow(client, study.name)
    assert isinstance(next(views), StudyView)
    spoil(service, "UPDATE study_spec SET spec = '{' WHERE study_id = ?", study.id)
    with pytest.raises(PermanentFailure, match="assayer fsck"):
        list(islice(views, 30))  # what keeps the service away is yielded once a second


def test_a_running_trial_that_is_damaged_does_not_end_the_watch(service: Service, client: Client) -> None:
    study = client.create_study(hand_driven())
    trial = client.open_trial(study.name)
    assert trial is not None
    running = watch._Running(client, study.name)
    assert running.refresh() == ""
    spoil(service, "UPDATE trial SET parameters = '{' WHERE study_id = ?", study.id)
    assert "trial 0" in running.refresh()
    assert [detail.number for detail in running.trials] == [0]
