"""Messages: requests refuse unknown fields, responses ignore them, and all of them are plain JSON."""

from __future__ import annotations

import importlib
import inspect
import json
import math
import pkgutil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

import service.contract
from service.contract.attempt import FinishRequest, HeartbeatRequest, Outcome
from service.contract.base import Request, Response
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimReply, ClaimRequest, Grant, NoTrial
from service.contract.custom_entries import EntriesRequest
from service.contract.problem import ErrorCode, Problem
from service.contract.report import NonFinite, Number, Point, ReportRequest, Verdict, from_wire, to_wire
from service.contract.study import StudySpec


def models() -> list[type[BaseModel]]:
    names = [found.name for found in pkgutil.iter_modules(service.contract.__path__, "service.contract.")]
    found = {
        model
        for name in names
        for _, model in inspect.getmembers(importlib.import_module(name), inspect.isclass)
        if issubclass(model, BaseModel) and model not in (BaseModel, Request, Response)
    }
    return sorted(found, key=lambda model: model.__name__)


@pytest.mark.parametrize("model", models(), ids=lambda model: model.__name__)
def test_every_message_is_a_frozen_request_or_response(model: type[BaseModel]) -> None:
    assert issubclass(model, Request) != issubclass(model, Response)
    assert model.model_config["frozen"]
    assert model.model_config["extra"] == ("forbid" if issubclass(model, Request) else "ignore")


STUDY: dict[str, Any] = {
    "name": "digits",
    "objective": {"metric": "val/accuracy", "direction": "maximize"},
    "space": {"lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}},
}
REQUESTS: dict[type[Request], dict[str, Any]] = {
    StudySpec: STUDY,
    ClaimRequest: {"request_id": "0123456789", "worker": "tower", "capabilities": {"devices": [{"kind": "cpu"}]}},
    ReportRequest: {"nonce": "n", "sequence": 1, "points": [{"step": 1, "metrics": {"val/loss": 0.5}}]},
    FinishRequest: {"nonce": "n", "outcome": {"result": "failed", "failure": "hung", "message": "no step for 600 s"}},
    EntriesRequest: {"worker": "tower", "registries": {"model": {"mine": {"parameters": {"width": {"type": "int"}}}}}},
    HeartbeatRequest: {"worker": "tower", "leases": [{"trial": "t", "attempt": 1, "nonce": "n"}]},
}
requests = pytest.mark.parametrize(("model", "good"), REQUESTS.items(), ids=[model.__name__ for model in REQUESTS])


@requests
def test_a_request_survives_a_round_trip(model: type[Request], good: dict[str, Any]) -> None:
    message = model.model_validate(good)
    assert model.model_validate_json(message.model_dump_json()) == message


def spoilt(document: Any) -> list[Any]:
    """The document with one unknown field, once in each mapping whose keys are not the sender's own names."""
    found: list[Any] = []
    if isinstance(document, dict):
        found.append({**document, "unknown": 1})
        for key, value in document.items():
            found += [{**document, key: inner} for inner in spoilt(value) if key != "metrics"]
    elif isinstance(document, list):
        for at, item in enumerate(document):
            found += [[*document[:at], inner, *document[at + 1 :]] for inner in spoilt(item)]
    return found


@requests
def test_a_request_refuses_a_field_it_does_not_know_at_any_depth(model: type[Request], good: dict[str, Any]) -> None:
    documents = spoilt(good)
    assert len(documents) > 1
    for document in documents:
        with pytest.raises(ValidationError):
            model.model_validate(document)


def test_a_response_ignores_a_field_of_a_newer_service() -> None:
    verdict = Verdict.model_validate({"action": "stop", "reason": "worse", "step": 3, "since": "version 9"})
    assert verdict.model_dump(mode="json") == {"action": "stop", "reason": "worse", "step": 3}
    problem = {"type": "t", "title": "Busy", "status": 503, "detail": "d", "code": "busy", "instance": "/x"}
    assert Problem.model_validate(problem).code is ErrorCode.BUSY


def test_a_claim_is_answered_by_a_grant_or_by_nothing() -> None:
    nothing: NoTrial | Grant = TypeAdapter(ClaimReply).validate_python(
        {"kind": "nothing", "reason": "all handed out", "retry_seconds": 1, "hint": "ignored"}
    )
    assert nothing == NoTrial(reason="all handed out", retry_seconds=1.0)


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (0.5, "0.5"),
        (math.inf, '{"value":null,"status":"inf"}'),
        (-math.inf, '{"value":null,"status":"-inf"}'),
        (math.nan, '{"value":null,"status":"nan"}'),
    ],
)
def test_a_number_that_json_cannot_say_travels_as_its_status(value: float, wire: str) -> None:
    assert TypeAdapter(Number).dump_json(to_wire(value)).decode() == wire


@given(value=st.floats())
def test_every_float_comes_back_as_it_went(value: float) -> None:
    point = Point(step=0, metrics={"loss": to_wire(value)})
    text = point.model_dump_json()
    back = from_wire(Point.model_validate_json(text).metrics["loss"])
    assert repr(back) == repr(value) or (math.isnan(back) and math.isnan(value))
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bare_non_finite_number_is_refused(value: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        Point(step=0, metrics={"loss": value})
    with pytest.raises(ValidationError):
        NonFinite.model_validate({"value": value, "status": "nan"})


def test_a_failure_class_is_a_word_of_the_wire() -> None:
    assert Outcome.model_validate({"result": "failed", "failure": "hung"}).failure == "hung"
    with pytest.raises(ValidationError):
        Outcome.model_validate({"result": "failed", "failure": "bored"})


def test_a_host_fault_concerns_the_whole_host_unless_it_says_otherwise() -> None:
    fault = {"result": "failed", "failure": "host_fault"}
    assert Outcome.model_validate(fault).scope == "host"
    assert Outcome.model_validate({**fault, "scope": "study"}).scope == "study"
    with pytest.raises(ValidationError, match="scope"):
        Outcome.model_validate({**fault, "scope": "world"})


def test_a_worker_of_before_slots_could_have_several_devices_is_understood() -> None:
    told = {"slots": {"gpu0": {"kind": "cuda", "index": 0}, "gpu1.2": [{"kind": "cuda", "index": 1}]}}
    slots = Capabilities.model_validate(told).slots
    assert {slot: [device.index for device in devices] for slot, devices in slots.items()} == {
        "gpu0": [0],
        "gpu1.2": [1],
    }
