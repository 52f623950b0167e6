"""The pages list damaged rows beside the intact ones, and report a deleted study."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from service.cli import edit
from service.client import Client
from tests.dashboard.conftest import OpenPage
from tests.dashboard.searches import create, drive
from tests.support.damage import spoil
from tests.support.service import Service

pytestmark = pytest.mark.browser

SPOIL_SPEC = "UPDATE study_spec SET spec = '{' WHERE study_id = ?"
SPOIL_TRIAL = "UPDATE trial SET parameters = '{' WHERE study_id = ? AND number = ?"
SPOIL_EVENT = "UPDATE journal SET data = '{' WHERE study_id = ? AND revision = ?"
REVISION_OF_EDIT = 2


def test_the_list_names_a_damaged_study_beside_the_others(open_page: OpenPage, fresh: Client, service: Service) -> None:
    sick = create(fresh, "sick")
    spoil(service, SPOIL_SPEC, sick.id)
    with open_page(fresh.server) as page:
        damaged = page.get_by_role("region", name="A study is damaged")
        expect(damaged.get_by_role("row", name="sick")).to_contain_text("is not JSON")
        expect(damaged.locator(".state")).to_have_text("damaged")
        expect(page.get_by_role("heading", name="No studies yet")).to_have_count(0)
        create(fresh, "healthy")
        expect(page.get_by_role("link", name="healthy")).to_be_visible()
        expect(damaged.get_by_role("row", name="sick")).to_be_visible()


def test_a_study_names_its_damaged_trials_and_events_beside_the_others(
    open_page: OpenPage, fresh: Client, service: Service
) -> None:
    study = create(fresh, "sick")
    edit.edit(fresh, "sick", None, ["budget.trials=50"])
    drive(fresh, "sick", 1)
    spoil(service, SPOIL_EVENT, study.id, REVISION_OF_EDIT)
    spoil(service, SPOIL_TRIAL, study.id, 0)
    with open_page(f"{fresh.server}/studies/sick") as page:
        damaged = page.get_by_role("region", name="A trial is damaged")
        expect(damaged.get_by_role("row", name="0")).to_contain_text("is not JSON")
        events = page.get_by_role("region", name="An event is damaged")
        expect(events.get_by_role("row", name=str(REVISION_OF_EDIT))).to_contain_text("is not JSON")
        expect(page.get_by_role("heading", name="No trials yet")).to_have_count(0)
        drive(fresh, "sick", 2)
        expect(page.get_by_role("button", name="details")).to_have_count(2)
        expect(damaged.get_by_role("row", name="0")).to_be_visible()


def test_a_page_says_that_its_study_was_deleted_and_shows_the_next_one_of_that_name(
    open_page: OpenPage, client: Client
) -> None:
    study = create(client, "passing")
    drive(client, "passing", 3)
    with open_page(f"{client.server}/studies/passing", expected=("404",)) as page:
        expect(page.get_by_role("button", name="details")).to_have_count(3)
        expect(page.get_by_role("status")).to_have_text("live")
        client.delete(study.id)
        # The event says so: a page that waited for its next read would take five seconds.
        expect(page.get_by_role("alert")).to_contain_text("This study was deleted.", timeout=4000)
        expect(page.get_by_text("there is no study")).to_have_count(0)
        create(client, "passing")
        drive(client, "passing", 1)
        expect(page.get_by_role("button", name="details")).to_have_count(1, timeout=15_000)
        expect(page.get_by_role("alert")).to_have_count(0)
