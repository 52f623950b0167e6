"""Every route, called in order from the creation of a study to its end."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.contract.attempt import FinishReply, HeartbeatReply
from service.contract.claim import Grant, NoTrial, ResumePoint
from service.contract.custom_entries import CatalogueView, EntriesReply
from service.contract.diagnosis import StudyDiagnosis, TrialDiagnosis
from service.contract.health import Health
from service.contract.importance import Importance
from service.contract.log import LogView
from service.contract.plan import Plan, Replay
from service.contract.preflight_view import PreflightView
from service.contract.remedy import ApplyReply, FollowUpDraft
from service.contract.report import Verdict
from service.contract.stage import Review, StageList
from service.contract.study import EnqueueReply, ParetoFront, StudyList, StudyView
from service.contract.trial import TrialDetail, TrialList, TrialView
from service.contract.worker import WorkerList
from service.main import build_app

pytestmark = pytest.mark.anyio

SPEC: dict[str, Any] = {
    "name": "digits",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}},
    "sampler": {"name": "random", "seed": 1},
    "budget": {"trials": 2},
}
ELSEWHERE = {
    "/api/v1/stream", "/api/v1/studies/{study}/stream", "/api/v1/blobs/{sha256}",
    "/api/v1/studies/{study}/trials/{trial}/predictions", "/api/v1/trials/{trial}/attempts/{attempt}/predictions",
}  # fmt: skip
"""What does not speak JSON, or is about such: test_stream reads streams, test_blobs and test_predictions files."""


class Recorder:
    """Calls routes and remembers which."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.called: set[tuple[str, str]] = set()

    async def __call__(self, method: str, path: str, *, status: int = 200, **more: Any) -> Any:
        response = await self.http.request(method, path, **more)
        assert response.status_code == status, response.text
        assert response.headers["content-type"] == "application/json"
        self.called.add((method, f"/api/v1{path.partition('?')[0]}"))
        return response.json()


def claim(request_id: str) -> dict[str, Any]:
    return {"request_id": request_id, "worker": "w", "capabilities": {"tasks": ["external"]}, "studies": ["digits"]}


async def test_every_route_once(http: httpx.AsyncClient, app: FastAPI) -> None:
    call = Recorder(http)
    assert Health.model_validate(await call("GET", "/health")).protocol == 1
    assert await call("POST", "/studies/check", json=SPEC) == {"errors": []}
    assert Plan.model_validate(await call("POST", "/studies/plan", json=SPEC)).trials == 2
    made = StudyView.model_validate(await call("POST", "/studies", status=201, json=SPEC))
    assert StudyView.model_validate(await call("GET", "/studies/digits")) == made
    assert StudyList.model_validate(await call("GET", "/studies")).studies == [made]
    assert (await call("POST", "/studies/digits/pause", json={"reason": "lunch"}))["state_reason"] == "lunch"
    assert (await call("POST", "/studies/digits/resume"))["state"] == "active"
    assert (await call("POST", "/studies/digits/extend", json={"trials": 3}))["budget_trials"] == 3
    own = SPEC | {"name": "own", "task": {"function": "my:train"}, "preflight": "off"}
    await call("POST", "/studies", status=201, json=own)
    begun = PreflightView.model_validate(await call("POST", "/studies/own/preflight", status=201))
    assert PreflightView.model_validate(await call("GET", "/studies/own/preflight")) == begun
    await call("POST", "/studies/own/stop")
    asked = {"parameters": {"lr": 0.01}}
    assert (
        EnqueueReply.model_validate(await call("POST", "/studies/digits/enqueue", status=201, json=asked)).num_ahead
        == 0
    )

    tried = {"action": {"kind": "enqueue", "parameters": {"lr": 0.03}}, "version": 2, "rule": "r", "dry_run": True}
    assert ApplyReply.model_validate(await call("POST", "/studies/digits/actions", json=tried)).changes

    grant = Grant.model_validate(await call("POST", "/claims", json=claim("request-0")))
    assert (grant.number, grant.parameters) == (0, {"lr": 0.01})
    attempt = f"/trials/{grant.trial}/attempts/{grant.attempt}"
    made_from = {"nonce": grant.nonce, "data": "digits of 1998", "environment": {"python": "3.11"}}
    assert await call("POST", f"{attempt}/provenance", json=made_from) == {"warnings": []}
    odd = {"nonce": grant.nonce, "message": "the disk is nearly full"}
    assert await call("POST", f"{attempt}/warnings", json=odd) == {"warnings": ["the disk is nearly full"]}
    batch = {"nonce": grant.nonce, "sequence": 1, "points": [{"step": 1, "metrics": {"loss": 1}}]}
    assert Verdict.model_validate(await call("POST", f"{attempt}/reports", json=batch)).action == "continue"
    kept = {"nonce": grant.nonce, "step": 1, "sha256": "0" * 64, "size": 1, "uri": "file:///1"}
    assert await call("POST", f"{attempt}/checkpoints", json=kept) == {"step": 1, "batch": 0}
    lease = {"trial": grant.trial, "attempt": grant.attempt, "nonce": grant.nonce}
    beat = HeartbeatReply.model_validate(await call("POST", "/heartbeats", json={"worker": "w", "leases": [lease]}))
    assert beat.leases[0].held
    printed = {"nonce": grant.nonce, "offset": 0, "content": "b25lCg=="}
    assert await call("POST", f"{attempt}/logs/stdout", json=printed) == {"offset": 4}
    ended = {"nonce": grant.nonce, "outcome": {"result": "succeeded"}}
    reply = FinishReply.model_validate(await call("POST", f"{attempt}/finish", json=ended))
    assert (reply.trial_state, reply.values) == ("completed", [1.0])

    assert TrialList.model_validate(await call("GET", "/studies/digits/trials?since=0&limit=10")).trials[0].number == 0
    assert TrialDetail.model_validate(await call("GET", "/studies/digits/trials/0")).series[0].values == [1.0]
    seen = LogView.model_validate(await call("GET", "/studies/digits/trials/0/logs?stream=stdout&attempt=1"))
    assert (seen.text, seen.next, seen.ended) == ("one\n", 4, True)
    assert TrialDetail.model_validate(await call("GET", "/studies/digits/best")).number == 0
    assert [
        trial.number for trial in ParetoFront.model_validate(await call("GET", "/studies/digits/front")).trials
    ] == [0]
    assert await call("GET", "/studies/digits/predictions") == {"trials": [], "damaged": []}
    other = {"pruner": "none"}
    assert Replay.model_validate(await call("POST", "/studies/digits/replay", json=other)).replayed.num_steps == 1
    assert FollowUpDraft.model_validate(await call("GET", "/studies/digits/next")).changes == []
    mattered = Importance.model_validate(await call("GET", "/studies/digits/importance"))
    assert (mattered.num_trials, mattered.parameters) == (1, [])
    found = StudyDiagnosis.model_validate(await call("GET", "/studies/digits/diagnosis?rule=x&confidence=high"))
    assert (found.judged_revision, found.lags, found.num_waiting) == (None, True, 1)
    of_trial = TrialDiagnosis.model_validate(await call("GET", "/studies/digits/trials/0/diagnosis"))
    assert (of_trial.number, of_trial.lags, of_trial.findings) == (0, True, [])
    told = {"worker": "w", "registries": {"model": {"mine": {"parameters": {"width": {"type": "int", "default": 8}}}}}}
    assert list(EntriesReply.model_validate(await call("PUT", "/entries", json=told)).entries["model"]) == ["mine"]
    assert CatalogueView.model_validate(await call("GET", "/catalogue")).custom["model"]["mine"].worker == "w"
    assert WorkerList.model_validate(await call("GET", "/workers")).workers[0].name == "w"
    assert (await call("POST", "/workers/w/readmit"))["quarantined_at"] is None
    kinds = [event["kind"] for event in (await call("GET", "/studies/digits/events?after=1"))["events"]]
    assert kinds[:4] == ["study_paused", "study_resumed", "study_extended", "enqueued"]

    reviewed = {"name": "coarse_to_fine", "stages": [{"trials": 1}, {"trials": 1}], "review": True}
    wanted = {"spec": SPEC | {"sampler": reviewed, "budget": {"trials": 3}}, "version": 2}
    assert (await call("PUT", "/studies/digits/spec", json=wanted))["spec_version"] == 3
    coarse = Grant.model_validate(await call("POST", "/claims", json=claim("request-1")))
    ended = {"nonce": coarse.nonce, "outcome": {"result": "succeeded"}}
    await call("POST", f"/trials/{coarse.trial}/attempts/1/finish", json=ended)
    assert NoTrial.model_validate(await call("POST", "/claims", json=claim("request-2"))).reason
    (stage,) = StageList.model_validate(await call("GET", "/studies/digits/stages")).stages
    assert (stage.number, stage.review) == (1, Review.PROPOSED)
    assert (await call("POST", "/studies/digits/stages/1", json={"box": {"lr": [0.001, 0.01]}}))["state"] == "active"

    asked = {"at": 1, "set": {"lr": 0.02}}
    fork = TrialView.model_validate(await call("POST", "/studies/digits/trials/0/fork", status=201, json=asked))
    assert TrialList.model_validate(await call("GET", "/studies/digits/forks")).trials == [fork]
    assert TrialDetail.model_validate(await call("GET", f"/studies/digits/trials/{fork.id}")).parent_step == 1
    assert Grant.model_validate(await call("GET", "/studies/digits/trials/0/grant")).number == 0
    assert ResumePoint.model_validate(await call("GET", "/studies/digits/trials/0/checkpoint")).uri == "file:///1"

    held = Grant.model_validate(await call("POST", "/claims", json=claim("request-3")))
    freed = await call("POST", f"/studies/digits/trials/{held.trial}/release", json={"reason": "needed elsewhere"})
    assert TrialView.model_validate(freed).state == "waiting"

    assert (await call("POST", "/studies/digits/stop"))["state"] == "stopped"
    nothing = NoTrial.model_validate(await call("POST", "/claims", json=claim("request-4")))
    assert nothing.done
    assert (await call("DELETE", "/studies/digits"))["name"] == "digits"

    templates = [
        (method.upper(), path, re.compile(re.sub(r"{[^}]+}", "[^/]+", path)))
        for path, methods in app.openapi()["paths"].items()
        for method in methods
        if path not in ELSEWHERE
    ]
    missed = [
        (method, path)
        for method, path, pattern in templates
        if not any(method == made_by and pattern.fullmatch(called) for made_by, called in call.called)
    ]
    assert missed == []


async def test_changes_since_a_revision_are_read_in_pages(http: httpx.AsyncClient) -> None:
    await http.post("/studies", json=SPEC | {"budget": {"trials": 5}})
    for number in range(5):
        await http.post("/claims", json=claim(f"request-{number}"))
    seen: list[int] = []
    since = 0
    for _ in range(3):
        answer = (await http.get("/studies/digits/trials", params={"since": since, "limit": 2})).json()
        seen += [trial["number"] for trial in answer["trials"]]
        since = answer["revision"]
    assert seen == [0, 1, 2, 3, 4]
    assert since == (await http.get("/studies/digits")).json()["revision"]


async def test_trials_that_share_a_revision_are_not_cut_apart(http: httpx.AsyncClient) -> None:
    """A stop cancels many trials in one transaction; a page that ended among them would hide the rest for ever."""
    await http.post("/studies", json=SPEC | {"budget": {"trials": 5}})
    grants = [(await http.post("/claims", json=claim(f"request-{number}"))).json() for number in range(5)]
    for grant in grants:
        ended = {"nonce": grant["nonce"], "outcome": {"result": "released"}}
        await http.post(f"/trials/{grant['trial']}/attempts/1/finish", json=ended)
    before = (await http.get("/studies/digits")).json()["revision"]
    assert (await http.post("/studies/digits/stop")).json()["state"] == "stopped"
    page = (await http.get("/studies/digits/trials", params={"since": before, "limit": 2})).json()
    assert [(trial["number"], trial["state"]) for trial in page["trials"]] == [(each, "cancelled") for each in range(5)]


async def test_the_openapi_document_names_problems_everywhere() -> None:
    document = build_app(None, None).openapi()
    assert document["info"]["title"] == "Assayer"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description"), (method, path)
            expected = {"500", "503", "507"} | ({"4XX"} if path != "/api/v1/health" else set())
            problems = {status: answer for status, answer in operation["responses"].items() if status[0] in "45"}
            assert set(problems) == expected, (method, path)
            for answer in problems.values():
                problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
                assert answer["content"] == {"application/problem+json": problem}, (method, path)
    codes = document["components"]["schemas"]["ErrorCode"]["enum"]
    assert "lease_superseded" in codes


async def test_every_integer_parameter_is_bounded() -> None:
    """A number that the database cannot hold is refused as the parameter it is."""
    for path, methods in build_app(None, None).openapi()["paths"].items():
        for method, operation in methods.items():
            for parameter in operation.get("parameters", []):
                schema = parameter["schema"]
                for each in schema.get("anyOf", [schema]):
                    if each.get("type") == "integer":
                        assert 0 <= each["minimum"] <= each["maximum"] <= 2**53, (method, path, parameter["name"])
