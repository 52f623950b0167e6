"""The dashboard's wire types equal the contract."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from service.contract import (
    base,
    decomposition,
    diagnosis,
    finding,
    importance,
    preflight,
    preflight_view,
    problem,
    report,
    stage,
    study,
    trial,
)

SOURCE = (Path(__file__).parents[2] / "service/dashboard/web/src/wire.ts").read_text(encoding="utf-8")
INTERFACES = {
    name: dict(re.findall(r"^  (\w+): (.+);$", body, re.MULTILINE))
    for name, body in re.findall(r"export interface (\w+) \{\n(.*?)\n\}", SOURCE, re.DOTALL)
}
UNIONS = {
    name: set(re.findall(r'"([^"]+)"', body)) for name, body in re.findall(r"export type (\w+) = ([^;]+);", SOURCE)
}
MODELS: dict[str, type[BaseModel]] = {
    model.__name__: model
    for module in (
        decomposition,
        diagnosis,
        finding,
        importance,
        preflight,
        preflight_view,
        problem,
        report,
        stage,
        study,
        trial,
    )
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, BaseModel)
}


def test_the_file_was_understood() -> None:
    assert {"StudyView", "TrialView", "TrialList", "Problem"} <= INTERFACES.keys()


@pytest.mark.parametrize("name", INTERFACES)
def test_every_field_is_in_the_contract_and_admits_null_where_the_contract_does(name: str) -> None:
    schema = MODELS[name].model_json_schema(mode="serialization")
    for field, kind in INTERFACES[name].items():
        assert field in schema["properties"], f"{name}.{field} is not on the wire"
        of_contract = schema["properties"][field]
        nullable = any(part.get("type") == "null" for part in [of_contract, *of_contract.get("anyOf", [])])
        assert ("null" in kind.split()) == nullable or kind == "null", f"{name}.{field}: {kind}"


def test_every_listing_carries_its_damaged_rows() -> None:
    listings = {name for name in INTERFACES if "damaged" in MODELS[name].model_fields}
    assert {"StudyList", "TrialList", "StageList", "EventList"} <= listings
    assert {name: INTERFACES[name].get("damaged") for name in listings} == dict.fromkeys(listings, "DamagedRow[]")


def test_words_are_the_contracts() -> None:
    assert UNIONS["StudyState"] == set(study.StudyState)
    assert UNIONS["TrialState"] == set(trial.TrialState)
    assert UNIONS["Confidence"] == set(finding.Confidence)
    assert UNIONS["Direction"] == set(get_args(base.Direction))
