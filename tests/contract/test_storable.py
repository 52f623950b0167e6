"""Requests refuse values that JSON or a database cannot hold, and name the path of the value."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from service.contract.attempt import CheckpointRequest, FinishRequest, HeartbeatRequest, Outcome
from service.contract.base import Request
from service.contract.claim import ClaimRequest
from service.contract.custom_entries import EntriesRequest
from service.contract.predictions import Confusion
from service.contract.provenance import ProvenanceRequest, WarningRequest
from service.contract.report import ReportRequest
from service.contract.storable import MAX_DEPTH, MAX_INTEGER, find_flaw, to_storable
from service.contract.study import EditRequest, EnqueueRequest, ReasonRequest, StudySpec
from service.contract.trial import ForkRequest
from service.contract.validation_errors import field_errors

STUDY: dict[str, Any] = {
    "name": "digits",
    "description": "hand-written",
    "objective": {"metric": "val/accuracy", "direction": "maximize"},
    "task": {"train": {"epochs": 3, "model": {"name": "mlp", "hidden": [32, 32]}}},
    "space": {
        "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True, "when": {"model": ["mlp", "vit"]}},
        "model": {"type": "categorical", "choices": ["mlp", "vit", 3]},
    },
    "sampler": {"name": "random", "seed": 1},
    "budget": {"trials": 3},
    "priority": 3,
    "requires": {"labels": {"room": "north"}},
}
REPORT: dict[str, Any] = {"nonce": "n", "sequence": 1, "points": [{"step": 1, "metrics": {"val/loss": 0.5}}]}
FAILED: dict[str, Any] = {
    "result": "failed",
    "unreadable": "file:///a",
    "metrics": {"seconds": 1.5},
    "confusion": {"classes": ["cat"], "splits": {"val": [[4]]}},
}
ENTRY: dict[str, Any] = {
    "description": "a net",
    "parameters": {"width": {"type": "int", "default": 8, "choices": ["a"], "description": "neurons"}},
    "facts": {"source": "me", "year": 2020},
}
MESSAGES: dict[type[Request], dict[str, Any]] = {
    StudySpec: STUDY,
    EditRequest: {"spec": STUDY, "version": 1},
    EnqueueRequest: {"parameters": {"lr": 0.1, "model": "mlp", "widths": [3, "a"]}, "priority": 2},
    ForkRequest: {"at": 3, "set": {"lr": 0.1, "model": "mlp"}, "priority": 1},
    ReasonRequest: {"reason": "lunch"},
    ClaimRequest: {
        "request_id": "0123456789",
        "worker": "tower",
        "host": "h",
        "studies": ["digits"],
        "capabilities": {
            "labels": {"room": "north"},
            "functions": ["a.b"],
            "directories": ["file:///a"],
            "devices": [{"kind": "cpu", "index": 1, "name": "x"}],
        },
    },
    HeartbeatRequest: {"worker": "tower", "leases": [{"trial": "t", "attempt": 1, "nonce": "n"}]},
    ReportRequest: REPORT,
    CheckpointRequest: {
        "nonce": "n", "step": 3, "sha256": "0" * 64, "size": 3, "uri": "file:///a", "reports": [REPORT],
    },
    FinishRequest: {"nonce": "n", "outcome": FAILED},
    ProvenanceRequest: {"nonce": "n", "code": "0123456789", "environment": {"python": "3.11"}},
    WarningRequest: {"nonce": "n", "message": "the disk is nearly full"},
    EntriesRequest: {"worker": "tower", "registries": {"model": {"mine": ENTRY}}},
}  # fmt: skip
MENDED = {"classes", "environment"} | {"message"}
"""Where text of user code stands: mended instead."""
TEXTS = ["\ud800", "fine \udfff fine", "\0", "a\0b"]
INTEGERS = [MAX_INTEGER + 1, -MAX_INTEGER - 1, 10**400]


def spoilt(document: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """The document once for each leaf and bad value in its place, with the leaf's path."""
    items: list[tuple[Any, Any]] = []
    if isinstance(document, dict):
        items = list(document.items())
    elif isinstance(document, list):
        items = list(enumerate(document))
    for key, value in items:
        for path, inner in spoilt(value, (*at, key)):
            whole = document.copy()
            whole[key] = inner
            yield path, whole
    if isinstance(document, str):
        yield from ((at, text) for text in TEXTS)
    elif isinstance(document, int) and not isinstance(document, bool):
        yield from ((at, number) for number in INTEGERS)


@pytest.mark.parametrize(("model", "good"), MESSAGES.items(), ids=[model.__name__ for model in MESSAGES])
def test_an_unstorable_value_is_refused_by_its_path(model: type[Request], good: dict[str, Any]) -> None:
    model.model_validate(good)
    cases = [(path, document) for path, document in spoilt(good) if not MENDED & set(path) or "nonce" in path]
    assert cases
    for path, document in cases:
        with pytest.raises(ValidationError) as caught:
            model.model_validate(document)
        mistakes = field_errors(caught.value.errors(), document, model)
        named = [mistake.path for mistake in mistakes]
        assert any(".".join(map(str, path)).startswith(each) for each in named), (path, named)
        json.dumps([mistake.message for mistake in mistakes], ensure_ascii=False).encode()


def test_every_request_of_the_contract_is_covered() -> None:
    """The rule is the base's, so that no message can be made without it."""

    class Late(Request):
        text: str

    with pytest.raises(ValidationError, match=r"text\n  holds a lone surrogate \(U\+D800\) that no database can store"):
        Late(text="\ud800")


def test_text_from_user_code_is_mended_and_not_refused() -> None:
    odd, mended = "a\ud800\0", "a\ufffd\ufffd"
    outcome = Outcome.model_validate({"result": "failed", "message": odd, "traceback": odd})
    assert (outcome.message, outcome.traceback) == (mended, mended)
    assert ProvenanceRequest(nonce="n", environment={odd: odd}).environment == {mended: mended}
    assert WarningRequest(nonce="n", message=odd).message == mended
    assert Confusion(classes=[odd], splits={"val": [[1]]}).classes == [mended]


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        (
            {"description": "a\ud800"},
            "description",
            "holds a lone surrogate (U+D800) that no database can store; remove it",
        ),
        (
            {"task": {"train": {"deep": [{"note": "\0"}]}}},
            "task.train.deep.0.note",
            "holds a NUL character (U+0000) that no database can store; remove it",
        ),
        (
            {"sampler": {"name": "random", "seed": 2**63}},
            "sampler.seed",
            "is beyond ±2^53, which JSON cannot carry exactly; use -9007199254740992 to 9007199254740992",
        ),
    ],
)
def test_the_sentence_names_the_field_and_the_character(changes: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        StudySpec.model_validate(STUDY | changes)
    (mistake,) = field_errors(caught.value.errors(), STUDY | changes, StudySpec)
    assert (mistake.path, mistake.message) == (path, message)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "\0", {"\ud800": 1}, {"a": {"b\0": 1}}, 2**53 + 1])
def test_a_setting_of_the_task_holds_only_what_json_can_say(value: object) -> None:
    with pytest.raises(ValidationError, match="unstorable"):
        StudySpec.model_validate(STUDY | {"task": {"train": {"setting": value}}})


def test_too_deep_nesting_is_refused() -> None:
    value: Any = 1
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    spec = StudySpec.model_validate(STUDY | {"task": {"train": {"setting": value}}})
    assert json.loads(spec.model_dump_json())["task"]["train"]["setting"] == value
    for _ in range(500):
        value = [value]
    with pytest.raises(ValidationError, match="nested more than 64 levels deep; flatten it"):
        StudySpec.model_validate(STUDY | {"task": {"train": {"setting": value}}})


@given(text=st.text(st.characters(codec=None, exclude_categories=())))
def test_text_is_refused_exactly_when_utf_8_cannot_hold_it_or_it_has_a_nul(text: str) -> None:
    try:
        holds = "\0" not in text.encode().decode()
    except UnicodeEncodeError:
        holds = False
    assert (find_flaw(text) is None) == holds
    mended = to_storable(text)
    assert find_flaw(mended) is None
    assert len(mended) == len(text)
    assert (mended == text) == holds


def test_limits_are_inclusive() -> None:
    for value in (MAX_INTEGER, -MAX_INTEGER, True, None, 1e308, "\ud7ff\ue000\uffff😀"):
        assert find_flaw(value) is None


def test_a_hot_message_is_checked_in_microseconds() -> None:
    """A report of one step and a heartbeat: well below what a write costs, and linear in the number of values."""
    beat = {"worker": "w", "leases": [{"trial": "t" * 32, "attempt": 1, "nonce": "n" * 32}] * 8}

    def seconds(model: type[BaseModel], document: dict[str, Any]) -> float:
        best = math.inf
        for _ in range(5):
            start = time.thread_time()
            for _ in range(10):
                model.model_validate(document)
            best = min(best, (time.thread_time() - start) / 10)
        return best

    assert seconds(ReportRequest, REPORT) < 500e-6
    assert seconds(HeartbeatRequest, beat) < 500e-6
    wide = [{"parameters": {f"p{n}": "x" for n in range(num)}} for num in (1_000, 10_000)]
    assert seconds(EnqueueRequest, wide[1]) < 40 * seconds(EnqueueRequest, wide[0])
