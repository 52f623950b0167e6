"""JSON checks: ensures before a commit that stored values and responses can be read back."""

from __future__ import annotations

import json

from pydantic import BaseModel

from service.contract.storable import find_flaw
from service.domain.errors import UnserializableError

_OWN_LEVELS = 64
"""A stored value may be nested this many levels deeper than a field of a request, which it contains."""


def to_json(value: object) -> str:
    """Encode the value of a JSON column; every engine uses this encoder.

    Raises:
        UnserializableError: JSON, or a reader of JSON, cannot represent the value.
    """
    flaw = find_flaw(value, depth=-_OWN_LEVELS)
    if flaw is not None:
        place = ".".join(map(str, flaw.path))
        raise UnserializableError("a value to store", f"{place}: {flaw.reason}" if place else f"it {flaw.reason}")
    try:
        return json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise UnserializableError("a value to store", str(error)) from error


def check_answer(answer: object) -> None:
    """Check that a client can read a response: one message, or several in a list or tuple.

    Other results of a transaction are not sent to a client, so they are ignored.

    Raises:
        UnserializableError: The message cannot be written as JSON, or its own model cannot read the JSON back.
    """
    if isinstance(answer, list | tuple):
        for each in answer:
            check_answer(each)
    elif isinstance(answer, BaseModel):
        model = type(answer)
        try:
            model.model_validate_json(answer.model_dump_json(warnings="error"))
        except (ValueError, TypeError, RecursionError) as error:
            raise UnserializableError(f"the answer ({model.__name__})", str(error)) from error
