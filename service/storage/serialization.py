"""Checks before a transaction commits that what it stores and answers can be read back as JSON."""

from __future__ import annotations

import json

from pydantic import BaseModel

from service.contract.storable import find_flaw
from service.domain.errors import UnserializableError

_OWN_LEVELS = 64
"""A stored value may be nested so many levels deeper than what one field of a request holds, which is a part of it."""


def to_json(value: object) -> str:
    """Encode the value of a JSON column; every engine encodes by this function.

    Raises:
        UnserializableError: JSON, or a reader of JSON, cannot hold it.
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
    """Check that a client could read an answer: one message, or several in a list or tuple.

    Anything else that a transaction returns is not sent, and is passed over.

    Raises:
        UnserializableError: the message cannot be written as JSON, or its own model does not read what was written.
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
