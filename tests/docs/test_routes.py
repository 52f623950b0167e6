"""README's table of calls names each operation of the API with its route's file and the use case that it enters."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module

import pytest
from fastapi.routing import APIRoute

from service.api.app import PREFIX
from service.main import build_app
from tests.docs.definitions import definitions, used_names
from tests.support.service import ROOT

LEFT_OUT = {"GET /health"}
"""Operations that enter no use case worth a line."""

README = (ROOT / "README.md").read_text(encoding="utf-8")
HEADER = "| call | route | use case |\n| --- | --- | --- |\n"
ROWS = [
    [re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split(" | ")]
    for line in README.partition(HEADER)[2].partition("\n\n")[0].splitlines()
]
CALLS = [call for row in ROWS for call in row[0]]


@cache
def operations() -> dict[str, str]:
    """Return each operation of the OpenAPI document, with the file of its route."""
    files = {}
    for path in sorted((ROOT / "service" / "api").glob("*.py")):
        router = getattr(import_module(f"service.api.{path.stem}"), "router", None)
        for route in router.routes if router is not None else []:
            assert isinstance(route, APIRoute)
            files |= {f"{method} {route.path}": f"service/api/{path.name}" for method in route.methods}
    document = build_app(None, None).openapi()
    described = {
        f"{method.upper()} {path.removeprefix(PREFIX)}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert described == files.keys()
    return files


def test_every_operation_is_in_the_table_once_or_left_out() -> None:
    assert len(CALLS) == len(set(CALLS))
    assert set(CALLS) | LEFT_OUT == set(operations())
    assert not LEFT_OUT & set(CALLS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][0])
def test_a_call_enters_the_use_case_through_the_route_of_its_row(row: list[list[str]]) -> None:
    calls, [route], [use_case, *functions] = row
    by_call = operations()
    assert {by_call[call] for call in calls} == {route}
    assert use_case.startswith("service/usecases/")
    assert functions
    for function in functions:
        assert function in definitions(use_case), f"{use_case} does not define {function}"
        assert function in used_names(route), f"{route} does not call {function}"
