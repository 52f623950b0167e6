"""What pydantic finds wrong with a message, as one sentence per mistake that says what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from service.contract.problem import FieldError
from service.contract.storable import describe_flaw

Location = tuple[str | int, ...]

_MISSING = "is missing"
_EXAMPLES = {
    "name": "name: digits-mlp",
    "objective": "objective: {metric: val/accuracy, direction: maximize}",
    "metric": "metric: val/accuracy",
    "direction": "direction: maximize",
    "space": "space: {optimizer.lr: {type: float, low: 1e-5, high: 1e-1, log: true}}",
    "choices": "choices: [16, 32, 64]",
}


def mistakes_in(details: Iterable[ErrorDetails], data: Any, root: type[BaseModel]) -> list[FieldError]:
    """Say what pydantic found wrong with `data` as a `root`: one sentence per mistake, with the path written there."""
    found: dict[Location, str] = {}
    for detail in details:
        location = _written_location(detail, data)
        # Of a union's members, the one whose own rule was broken is meant rather than those whose type does not match.
        if location not in found or detail["type"] == "value_error":
            found[location] = _sentence(detail, root)
    # Pydantic tells of every member of a union; only what it found deepest in the file is the author's mistake,
    # and a field that is misspelt is not also missing.
    told = [
        FieldError(path=".".join(map(str, location)), message=message)
        for location, message in found.items()
        if not any(other != location and other[: len(location)] == location for other in found)
    ]
    suggested = " ".join(error.message for error in told if "did you mean" in error.message)
    missing = {error.path for error in told if error.message.startswith(_MISSING)}
    return [error for error in told if error.path not in missing or repr(error.path.split(".")[-1]) not in suggested]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Complete an error about an unknown word: the nearest known one, or all when none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(names)}" if names else "none is known"


def _written_location(detail: ErrorDetails, data: Any) -> Location:
    """Where the mistake stands in the file: pydantic's path without the names of union members."""
    location: list[str | int] = []
    for part in detail["loc"]:
        match data:
            case Mapping() if part in data:
                data = data[part]
            case list() if isinstance(part, int) and part < len(data):
                data = data[part]
            case _:
                continue
        location.append(part)
    return (*location, detail["loc"][-1]) if detail["type"] == "missing" else tuple(location)


def _sentence(detail: ErrorDetails, root: type[BaseModel]) -> str:
    context = detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            example = _EXAMPLES.get(str(detail["loc"][-1]))
            message = f"{_MISSING}; write `{example}`" if example else _MISSING
        case "too_short" | "too_long" as kind:
            message = "must not be empty" if kind == "too_short" else f"may hold {context['max_length']} at most"
        case "extra_forbidden":
            message = f"no such setting; {did_you_mean(str(detail['loc'][-1]), _fields_beside(detail['loc'], root))}"
        case "union_tag_invalid":
            known = re.findall(r"'([^']*)'", context["expected_tags"])
            message = f"no such {_noun(detail)} {context['tag']!r}; {did_you_mean(context['tag'], known)}"
        case "union_tag_not_found":
            message = f"needs {context['discriminator'].strip(chr(39))!r}, one of: {_tags_at(detail['loc'], root)}"
        case "literal_error":
            message = f"must be {context['expected']}, got {detail['input']!r}"
        case "value_error":
            message = str(context["error"])
        case "unstorable":
            message = detail["msg"]
        case "string_unicode":
            message = describe_flaw(detail["input"])
        case "string_pattern_mismatch":
            message = (
                f"must be letters, digits, '.', '_' and '-', starting with a letter or digit, got {detail['input']!r}"
            )
        case "dict_type" | "model_type" | "model_attributes_type":
            message = f"must be a mapping of settings, got {detail['input']!r}"
        case _:
            text = re.sub(r"^Input should be ", "must be ", detail["msg"])
            message = f"{text[0].lower()}{text[1:]}, got {detail['input']!r}"
    return message


def _noun(detail: ErrorDetails) -> str:
    """What a union's member is called: 'sampler', or 'type' for a parameter of the space."""
    noun = str(detail["loc"][-1]) if detail["loc"] else "value"
    return "parameter type" if detail["loc"][:1] == ("space",) else noun


def _fields_beside(location: Location, root: type[BaseModel]) -> set[str]:
    return {name for model in _models_at(location[:-1], root) for name in model.model_fields}


def _tags_at(location: Location, root: type[BaseModel]) -> str:
    field = "type" if location[:1] == ("space",) else "name"
    return ", ".join(
        tag for model in _models_at(location, root) for tag in get_args(model.model_fields[field].annotation)
    )


def _models_at(location: Location, root: type[BaseModel]) -> list[type[BaseModel]]:
    """Return the contract's models that may stand at pydantic's path; a tag or class name in it narrows a union."""
    models: list[type[BaseModel]] = [root]
    for part in location:
        if inner := [model.model_fields[str(part)].annotation for model in models if part in model.model_fields]:
            models = [model for annotation in inner for model in _models_in(annotation)]
        elif narrowed := [model for model in models if part == model.__name__ or part in _tags(model)]:
            models = narrowed
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def _tags(model: type[BaseModel]) -> set[Any]:
    return {tag for field in model.model_fields.values() for tag in get_args(field.annotation)}
