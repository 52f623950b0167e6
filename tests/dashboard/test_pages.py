"""The dashboard in a real browser on a real service: what users see and do."""

from __future__ import annotations

import os
import re
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from service.api.stream import HEARTBEAT_SECONDS
from service.client import Client
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, NoTrial
from service.contract.predictions import Confusion
from service.contract.study import StudyState
from tests.dashboard.conftest import OpenPage
from tests.dashboard.searches import check_study, classify, create, drive
from tests.support.service import Service, running_service

pytestmark = pytest.mark.browser


def rows(page: Page) -> int:
    return page.locator("tbody tr").count()


def test_without_studies_the_page_teaches_how_to_create_one(open_page: OpenPage, fresh: Client) -> None:
    with open_page(fresh.server) as page:
        expect(page.get_by_role("heading", name="No studies yet")).to_be_visible()
        expect(page.get_by_text("study create examples/digits.yaml")).to_be_visible()


def test_the_list_tells_state_progress_and_best_value_and_leads_to_the_study(
    open_page: OpenPage, client: Client
) -> None:
    create(client, "first", trials=5)
    drive(client, "first", 5)
    create(client, "second", trials=20)
    drive(client, "second", 3)
    create(client, "untouched")
    client.pause("untouched")
    with open_page(client.server) as page:
        first, second = page.get_by_role("row", name="first"), page.get_by_role("row", name="second")
        expect(first.locator(".state")).to_have_text("completed")
        expect(first).to_contain_text("5 / 5")
        expect(second.locator(".state")).to_have_text("active")
        expect(second).to_contain_text("3 / 20")
        expect(page.get_by_role("row", name="untouched")).to_contain_text("none yet")
        best = client.study("second").best
        assert best is not None
        assert best.values is not None
        expect(second).to_contain_text(f"{best.values[0]:.4g}")
        page.get_by_role("link", name="second").click()
        expect(page).to_have_url(re.compile("/studies/second$"))
        expect(page.get_by_role("heading", name="second")).to_be_visible()
        page.go_back()
        expect(page.get_by_role("heading", name="Studies")).to_be_visible()


def test_a_study_tells_what_is_used_of_its_budgets(open_page: OpenPage, client: Client) -> None:
    create(client, "bounded", budget={"trials": 9, "hours": 12, "no_improvement": 5, "target": 0.999})
    drive(client, "bounded", 1)
    with open_page(f"{client.server}/studies/bounded") as page:
        facts = page.locator(".facts")
        expect(facts).to_contain_text(re.compile(r"of 12 hours"))
        expect(facts).to_contain_text("0 of 5 trials without improvement")
        expect(facts).to_contain_text("target 0.999")


def test_the_list_follows_the_studies_without_a_reload(open_page: OpenPage, fresh: Client) -> None:
    with open_page(fresh.server) as page:
        expect(page.get_by_role("heading", name="No studies yet")).to_be_visible()
        expect(page.get_by_role("status")).to_have_text("live")
        create(fresh, "late", trials=10)
        expect(page.get_by_role("row", name="late")).to_contain_text("0 / 10")
        drive(fresh, "late", 2)
        expect(page.get_by_role("row", name="late")).to_contain_text("2 / 10")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.prove)])
def test_a_study_shows_its_history_and_trials_in_every_state(open_page: OpenPage, client: Client, scheme: Any) -> None:
    name = f"digits-{scheme}"
    create(client, name, trials=60, description="What does a small network want?")
    drive(client, name, 25, fail_every=9)
    running = client.open_trial(name)
    assert running is not None
    running.report(1, {"val/accuracy": 0.4})
    states = client.study(name).num_trials
    with open_page(client.server + f"/studies/{name}", color_scheme=scheme) as page:
        expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
        expect(
            page.get_by_role("img", name=re.compile("completed, .* pruned and 2 failed or infeasible trials"))
        ).to_be_visible()
        expect(page.locator(".chart canvas")).to_be_visible()
        assert rows(page) == 26
        for state in ("completed", "pruned", "failed", "running"):
            expect(page.locator("tbody .state", has_text=state)).to_have_count(states[state])  # type: ignore[index]
        page.get_by_role("button", name="Trial 8: details").click()
        expect(page.locator("tr.detail")).to_contain_text("the loss is not a number")
        page.get_by_role("button", name="val/accuracy").click()
        best = client.study(name).best
        assert best is not None
        expect(page.locator("tbody tr").first).to_contain_text(str(best.number))
        page.locator(".chart").hover()
    running.release()


@pytest.mark.prove
def test_importance_is_shown_once_enough_trials_have_ended(open_page: OpenPage, client: Client) -> None:
    create(client, "mattered", trials=40)
    drive(client, "mattered", 19)
    with open_page(client.server + "/studies/mattered") as page:
        expect(page.get_by_role("heading", name="Trials")).to_be_visible()
        expect(page.get_by_role("heading", name="What mattered")).to_have_count(0)
        drive(client, "mattered", 11)
        told = client.importance("mattered")
        while told.num_trials < 30:  # of an active study it is computed every five seconds at most
            page.wait_for_timeout(500)
            told = client.importance("mattered")
        for each in told.parameters:
            bar = page.get_by_label(f"share of {each.name}", exact=True)
            expect(bar).to_be_visible()
            expect(bar.locator("..")).to_contain_text(f"{each.share * 100:.0f} %", timeout=15_000)
        assert told.parameters[0].name == "optimizer.lr"
        expect(page.locator(".shares dt").first).to_have_text("optimizer.lr")
        expect(page.get_by_text(f"the best {told.num_best} of {told.num_trials} trials")).to_be_visible()


def test_the_boxes_of_a_staged_search_are_shown_and_accepted(open_page: OpenPage, client: Client) -> None:
    sampler = {"name": "coarse_to_fine", "review": True}
    create(client, "staged", trials=9, sampler=sampler, pruner="none")
    drive(client, "staged", 6, steps=2)
    offered = Capabilities(tasks=[TaskKind.EXTERNAL])
    seventh = ClaimRequest(request_id="the-seventh", worker="next", studies=["staged"], capabilities=offered)
    assert isinstance(client.claim(seventh), NoTrial)
    with open_page(client.server + "/studies/staged") as page:
        card = page.get_by_role("region", name="Stages")
        [proposed] = client.stages("staged").stages
        expect(card.get_by_role("heading", name="Stage 2 of 2, proposed")).to_be_visible()
        for change in proposed.reason.split("; "):
            expect(card.get_by_text(change, exact=True)).to_be_visible()
        card.get_by_role("button", name="Accept this box").click()
        expect(card.get_by_role("heading", name="Stage 2 of 2, accepted")).to_be_visible()
        expect(card.get_by_role("button")).to_have_count(0)
    assert client.study("staged").state is StudyState.ACTIVE


def test_a_study_is_live_without_a_reload_and_reads_only_what_changed(open_page: OpenPage, client: Client) -> None:
    create(client, "moving", trials=30)
    with open_page(client.server + "/studies/moving") as page:
        expect(page.get_by_role("heading", name="No trials yet")).to_be_visible()
        expect(page.get_by_role("status")).to_have_text("live")
        drive(client, "moving", 4)
        expect(page.locator("tbody tr")).to_have_count(4)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        drive(client, "moving", 1)
        expect(page.locator("tbody tr")).to_have_count(5)
        since = [int(found[1]) for url in asked if (found := re.search(r"since=(\d+)", url))]
        assert since
        assert min(since) > 0


def test_pause_resume_and_stop_reach_the_service(open_page: OpenPage, client: Client) -> None:
    create(client, "steered")
    with open_page(client.server + "/studies/steered") as page:
        state = page.locator(".heading .state")
        page.get_by_role("button", name="Pause").click()
        expect(state).to_have_text("paused")
        assert client.study("steered").state is StudyState.PAUSED
        page.get_by_role("button", name="Resume").click()
        expect(state).to_have_text("active")
        page.get_by_role("button", name="Stop…").click()
        page.get_by_role("button", name="Keep going").click()
        expect(state).to_have_text("active")
        page.get_by_role("button", name="Stop…").click()
        page.get_by_role("button", name="Stop study").click()
        expect(state).to_have_text("stopped")
        assert client.study("steered").state is StudyState.STOPPED


def test_an_unknown_study_is_reported_in_words(open_page: OpenPage, client: Client) -> None:
    with open_page(client.server + "/studies/nowhere", expected=("404",)) as page:
        expect(page.get_by_role("alert")).to_contain_text("there is no study 'nowhere'")


def test_a_restart_of_the_service_is_survived(open_page: OpenPage, fresh: Client, service: Service) -> None:
    create(fresh, "patient")
    with open_page(fresh.server + "/studies/patient", expected=("ERR_", "net::")) as page:
        expect(page.get_by_role("status")).to_have_text("live")
        service.stop(hard=True)
        expect(page.get_by_role("status")).not_to_have_text("live")
        service.start()
        drive(fresh, "patient", 2)
        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.get_by_role("status")).to_have_text("live")


@pytest.mark.prove
def test_a_page_says_live_only_while_it_hears(open_page: OpenPage, fresh: Client, service: Service) -> None:
    """The browser's clock is put forward; the service and its heartbeats are real."""
    create(fresh, "quiet")
    with open_page("about:blank", expected=("ERR_", "net::")) as page:
        page.clock.install()
        page.goto(fresh.server + "/studies/quiet")
        expect(page.get_by_role("status")).to_have_text("live")
        page.clock.fast_forward(30_000)
        page.wait_for_timeout(1000 * (HEARTBEAT_SECONDS + 2))
        page.clock.fast_forward(30_000)
        expect(page.get_by_role("status")).to_have_text("live")  # a heartbeat came between
        os.kill(service.pid, signal.SIGSTOP)
        try:
            page.clock.fast_forward(36_000)
            expect(page.get_by_role("status")).to_contain_text("reconnecting")
        finally:
            os.kill(service.pid, signal.SIGCONT)
        page.clock.fast_forward(6_000)
        expect(page.get_by_role("status")).to_have_text("live")


@pytest.mark.prove
def test_a_study_that_is_over_is_never_called_live(open_page: OpenPage, client: Client) -> None:
    create(client, "over", trials=2)
    with open_page(client.server + "/studies/over") as page:
        expect(page.get_by_role("status")).to_have_text("live")
        drive(client, "over", 2)
        expect(page.locator(".heading .state")).to_have_text("completed")
        for _ in range(30):  # the stream is opened again meanwhile, and ends again
            expect(page.get_by_role("status")).to_have_text("")
            page.wait_for_timeout(200)
        client.extend("over", trials=4)
        expect(page.get_by_role("status")).to_have_text("live", timeout=20_000)


def test_a_token_is_asked_for_once_and_kept_by_the_tab(open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "guarded").mkdir()
    with (
        running_service(tmp_path / "guarded", environment={"ASSAYER_TOKEN": "open sesame"}) as guarded,
        open_page(guarded.url, expected=("401",)) as page,
    ):
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("alert")).to_contain_text("refused")
        page.get_by_label("Token").fill("open sesame")
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("heading", name="No studies yet")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="No studies yet")).to_be_visible()


def test_a_long_study_shows_the_newest_trials_first_and_more_on_demand(open_page: OpenPage, client: Client) -> None:
    create(client, "long", trials=110)
    drive(client, "long", 105, steps=1)
    with open_page(client.server + "/studies/long") as page:
        expect(page.locator("tbody tr")).to_have_count(100)
        expect(page.locator("tbody tr").first).to_contain_text("104")
        page.get_by_role("button", name="Show 5 more").click()
        expect(page.locator("tbody tr")).to_have_count(105)


def test_a_study_with_several_objectives_shows_its_front(open_page: OpenPage, client: Client) -> None:
    objectives = [
        {"metric": "val/accuracy", "direction": "maximize"},
        {"metric": "size", "direction": "minimize"},
        {"metric": "seconds", "direction": "minimize"},
    ]
    create(client, "traded", trials=6, objective=objectives, pruner="none", reference=None)
    told = [(0.9, 50.0, 3.0), (0.8, 60.0, 4.0), (0.7, 20.0, 2.0), (0.95, 90.0, 9.0)]
    for trial, (accuracy, size, seconds) in zip(client.open_trials("traded"), told, strict=False):
        trial.report(1, {"val/accuracy": accuracy})
        trial.finish({"size": size, "seconds": seconds})
        if trial.number == len(told) - 1:
            break
    with open_page(client.server + "/studies/traded") as page:
        expect(page.get_by_role("heading", name="Front of val/accuracy and size and seconds")).to_be_visible()
        shown = "val/accuracy and size of 4 completed trials; trials 0, 2, 3 are on the front"
        expect(page.get_by_role("img", name=shown)).to_be_visible()
        expect(page.locator(".chart canvas")).to_be_visible()
        expect(page.locator("tr.best")).to_have_count(3)
        expect(page.get_by_role("row", name="Trial 1: details")).to_contain_text("60")
        page.get_by_label("up").select_option("seconds")
        expect(page.get_by_role("img", name="val/accuracy and seconds of 4")).to_be_visible()
        page.get_by_label("across").select_option("seconds")
        expect(page.get_by_role("img", name="seconds and val/accuracy of 4")).to_be_visible()
        page.get_by_role("button", name="val/accuracy").click()
        expect(page.locator("tbody tr").first).to_contain_text("0.95")
    with open_page(client.server) as page:
        expect(page.get_by_role("row", name="traded")).to_contain_text("3 on the front")
        expect(page.get_by_role("row", name="traded")).to_contain_text("maximize val/accuracy, minimize size")


def test_a_failed_trials_row_shows_its_traceback(open_page: OpenPage, client: Client) -> None:
    name = "raising"
    create(client, name, trials=2)
    raised = 'Traceback (most recent call last):\n  File "<b>mine.py</b>", line 3, in train\nKeyError: 7\n'
    trials = client.open_trials(name)  # kept: it gives its trial back when it is closed
    trial = next(trials)
    trial.fail("KeyError: 7", details=raised)
    with open_page(f"{client.server}/studies/{name}") as page:
        page.get_by_role("button", name="Trial 0: details").click()
        expect(page.locator("pre.traceback")).to_have_text(raised)


def test_a_trials_row_shows_its_confusion_matrix(open_page: OpenPage, client: Client) -> None:
    name = "confused"
    create(client, name, trials=2)
    counts = {"val": [[5, 1, 0], [3, 6, 0], [0, 0, 2]], "test": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}
    classify(client, name, Confusion(classes=["cat", "dog", "<b>horse</b>"], splits=counts))
    drive(client, name, 1)
    with open_page(f"{client.server}/studies/{name}") as page:
        page.get_by_role("button", name="Trial 1: details").click()
        expect(page.locator("tr.detail")).to_contain_text("Why these parameters")
        expect(page.get_by_text("Confusion")).to_have_count(0)
        page.get_by_role("button", name="Trial 0: details").click()
        told = "Confusion of trial 0 on val: 13 of 17 right; mostly dog is taken for cat (3 times)"
        expect(page.get_by_role("img", name=told)).to_be_visible()
        matrix = page.locator(".matrix canvas").first
        expect(matrix).to_be_visible()
        page.locator(".matrix").hover()
        page.get_by_label("split").select_option("test")
        expect(page.get_by_role("img", name="Confusion of trial 0 on test: 3 of 3 right")).to_be_visible()


def test_a_preflight_is_shown_check_by_check_with_its_rates(open_page: OpenPage, client: Client) -> None:
    name = "checked"
    task = {
        "train": {
            "data": {"name": "digits"}, "model": {"name": "mlp"}, "loss": {"name": "cross_entropy"},
            "optimizer": {"name": "sgd"}, "epochs": 8,
        }
    }  # fmt: skip
    space = {"optimizer.lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True}}
    create(client, name, task=task, space=space, preflight="require")
    with open_page(client.server) as page:
        expect(page.get_by_role("row", name=name)).to_contain_text("waits for its preflight")
        page.get_by_role("link", name=name).click()
        card = page.get_by_role("region", name="Preflight")
        expect(card).to_contain_text("It waits for a worker; the first trial begins after it.")
    check_study(client, name)
    with open_page(f"{client.server}/studies/{name}") as page:
        card = page.get_by_role("region", name="Preflight")
        expect(card).to_contain_text("1 passed, 1 failed, 1 not run")
        expect(card.get_by_role("listitem")).to_have_count(3)
        failed = card.get_by_role("listitem").filter(has_text="initial loss")
        expect(failed.locator(".state")).to_have_text("failed")
        expect(failed).to_contain_text("The loss is 9, 4 times chance.")
        expect(failed).to_contain_text("Look at the last layer.")
        plot = card.get_by_role(
            "img", name="Loss over the learning rate: falls from 0.001, proposed: 0.01, explodes at 1"
        )
        expect(plot).to_be_visible()
        drawn = plot.locator("polyline").get_attribute("points") or ""
        points = [float(point.split(",")[1]) for point in drawn.split()]
        assert points.index(max(points)) == 4, "the lowest loss is drawn lowest"
        assert points[5] == points[6] == min(points), "what explodes is at the upper edge"
        expect(card).to_contain_text("Proposal: the learning-rate range test proposes 0.01")
        if directory := os.environ.get("ASSAYER_SCREENSHOTS"):
            page.screenshot(path=Path(directory) / "preflight.png", full_page=True)


def test_a_best_value_below_the_linear_baseline_is_a_finding(open_page: OpenPage, client: Client) -> None:
    task = {
        "train": {
            "data": {"name": "digits"}, "model": {"name": "mlp"}, "loss": {"name": "cross_entropy"},
            "optimizer": {"name": "sgd"}, "epochs": 8,
        }
    }  # fmt: skip
    space = {"optimizer.lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True}}
    create(client, "below", trials=1, task=task, space=space, preflight="warn", reference=None)
    check_study(client, "below")
    for trial in client.open_trials("below"):
        trial.report(1, {"val/accuracy": 0.9})
    with open_page(f"{client.server}/studies/below") as page:
        expect(page.get_by_text("0.07 short of linear 0.97")).to_be_visible()
        card = page.locator(".card", has=page.get_by_role("heading", name="Findings"))
        # The service judges the study some seconds later, and the page reads the findings by itself.
        expect(card).to_contain_text("0.9, is worse than the 0.97 of a linear model", timeout=60_000)
        finding = card.get_by_role("listitem").filter(has_text="below linear")
        expect(finding.locator(".state")).to_have_text("high")
        expect(finding).not_to_contain_text("linear model: 0.97", use_inner_text=True)
        finding.get_by_text("Evidence and remedies").click()
        expect(finding).to_contain_text("linear model: 0.97", use_inner_text=True)
        expect(finding.locator("ol li").first).to_contain_text("study preflight below")
        if directory := os.environ.get("ASSAYER_SCREENSHOTS"):
            for scheme in ("light", "dark"):
                page.emulate_media(color_scheme=scheme)
                page.screenshot(path=Path(directory) / f"findings-{scheme}.png", full_page=True)


@pytest.mark.prove
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_parts_of_the_test_error_are_bars_with_remedies(open_page: OpenPage, client: Client, scheme: Any) -> None:
    name = f"parts-{scheme}"
    create(client, name, trials=2)
    counts = {"val": [[850, 150], [50, 950]], "test": [[840, 160], [60, 940]]}
    values = {"train/accuracy": 0.97, "val/accuracy": 0.9, "test/accuracy": 0.89}
    classify(client, name, Confusion(classes=["cat", "dog"], splits=counts), values)
    with open_page(f"{client.server}/studies/{name}", color_scheme=scheme) as page:
        card = page.get_by_role("region", name="Parts of the test error")
        expect(card).to_contain_text("The test error of trial 0 (accuracy) is 11.0 %", timeout=30_000)
        bars = [card.locator(".bar").nth(at).bounding_box() for at in range(4)]
        boxes = [box for box in bars if box is not None]
        assert len(boxes) == 4
        for before, after in pairwise(boxes):
            assert after["x"] == pytest.approx(before["x"] + before["width"], abs=2), "each begins where the last ended"
        assert boxes[2]["width"] == max(box["width"] for box in boxes)
        expect(card.locator(".largest")).to_contain_text("variance")
        expect(card.get_by_role("listitem").first).to_have_text("Add training examples.")
        if directory := os.environ.get("ASSAYER_SCREENSHOTS"):
            page.screenshot(path=Path(directory) / f"parts-{scheme}.png", full_page=True)
