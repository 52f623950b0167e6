"""Every response that its model accepts can be written as JSON and is read back equal."""

from __future__ import annotations

import math
import types
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import service.contract
from service.contract.base import Response
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest
from service.contract.report import NonFinite
from service.contract.storable import MAX_INTEGER
from service.contract.study import StudySpec
from tests.contract.test_storable import MESSAGES

for module in iter_modules(service.contract.__path__):
    import_module(f"service.contract.{module.name}")


def _below(model: type[BaseModel]) -> list[type[BaseModel]]:
    return [each for child in model.__subclasses__() for each in (child, *_below(child))]


RESPONSES = sorted(
    {model for model in _below(Response) if model.__module__.startswith("service.contract")},
    key=lambda model: model.__name__,
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
INTEGERS = st.integers(-MAX_INTEGER, MAX_INTEGER) | st.sampled_from([0, 1, MAX_INTEGER])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(9000, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
EXAMPLES: dict[Any, Any] = {StudySpec: MESSAGES[StudySpec], Capabilities: MESSAGES[ClaimRequest]["capabilities"]}
"""One message where few random ones are accepted."""
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXTS, int: INTEGERS, float: NUMBERS, bool: st.booleans(), type(None): st.none(), datetime: INSTANTS,
    Any: JSON, object: JSON,
    NonFinite: st.sampled_from(["nan", "inf", "-inf"]).map(lambda word: NonFinite(status=word)),
}  # fmt: skip


@cache
def values_of(annotation: Any) -> st.SearchStrategy[Any]:  # noqa: C901 - one case for each kind of type
    """Values of a type, whether or not the bounds of the field allow them."""
    if annotation in LEAVES:
        return LEAVES[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return values_of(inner[0])
    if origin in {Union, types.UnionType}:
        return st.one_of([values_of(each) for each in inner])
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is list:
        return st.lists(values_of(inner[0]), max_size=3)
    if origin is tuple:
        return st.tuples(*map(values_of, inner))
    if origin is dict:
        return st.dictionaries(values_of(inner[0]), values_of(inner[1]), max_size=3)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return st.sampled_from(list(annotation))
    if annotation in EXAMPLES:
        return st.just(annotation.model_validate(EXAMPLES[annotation]))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return messages_of(annotation)
    raise AssertionError(f"no values of {annotation} are known here; add them")


@cache
def messages_of(model: type[BaseModel]) -> st.SearchStrategy[BaseModel]:
    """Messages that the model accepts."""
    fields = {name: values_of(field.annotation) for name, field in model.model_fields.items()}

    @st.composite
    def message(draw: st.DrawFn) -> BaseModel:
        try:
            return model.model_validate({name: draw(values) for name, values in fields.items()})
        except ValidationError:
            assume(False)
            raise

    return message()


@pytest.mark.parametrize("model", RESPONSES, ids=lambda model: model.__name__)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(data=st.data())
def test_an_accepted_response_is_sent_and_reads_back_equal(model: type[BaseModel], data: st.DataObject) -> None:
    message = data.draw(messages_of(model))
    assert model.model_validate_json(message.model_dump_json(warnings="error")) == message


@pytest.mark.parametrize("model", RESPONSES, ids=lambda model: model.__name__)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_no_number_that_pydantic_writes_as_null_is_accepted(model: type[BaseModel], bad: float) -> None:
    for name, field in model.model_fields.items():
        if field.annotation is float:
            with pytest.raises(ValidationError, match="finite number") as caught:
                model.model_validate({name: bad})
            assert (name,) in [each["loc"] for each in caught.value.errors() if each["type"] == "finite_number"]
