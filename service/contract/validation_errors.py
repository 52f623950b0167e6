"""Translates pydantic's validation errors into one sentence per mistake that says what to write instead."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from service.contract.problem import FieldError
from service.contract.storable import describe_flaw, to_storable

Location = tuple[str | int, ...]

MAX_MISTAKES = 20
"""The largest number of mistakes described per message."""

MAX_DETAILS = 2000
"""The largest number of pydantic's errors searched for mistakes."""

MAX_QUOTED = 80
"""The largest number of characters that a sentence quotes from the data or from one of its keys."""

MAX_SENTENCE = 1000
"""The largest length of a sentence, in characters. The longest sentences list all known names."""

MAX_WORD = 64
"""The number of characters of an unknown word that are compared with the known ones."""

MAX_KNOWN = 1000
"""The largest number of known words that an unknown word is compared with."""

_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = MAX_QUOTED

_MISSING = "is missing"
_EXAMPLES = {
    "name": "name: digits-mlp",
    "objective": "objective: {metric: val/accuracy, direction: maximize}",
    "metric": "metric: val/accuracy",
    "direction": "direction: maximize",
    "space": "space: {optimizer.lr: {type: float, low: 1e-5, high: 1e-1, log: true}}",
    "choices": "choices: [16, 32, 64]",
}


def field_errors(details: Iterable[ErrorDetails], data: Any, root: type[BaseModel]) -> list[FieldError]:
    """Describe pydantic's errors about `data`, parsed as `root`: one sentence per mistake, with its path in `data`.

    Describes at most MAX_MISTAKES. A last entry without a path counts the others, so that the cost of an answer does
    not grow with the number of mistakes.
    """
    listed = list(details)
    found: dict[Location, ErrorDetails] = {}
    for detail in listed[:MAX_DETAILS]:
        location = _written_location(detail, data)
        # Prefer the union member whose own rule was broken to those whose type does not match.
        if location not in found or detail["type"] == "value_error":
            found[location] = detail
    # Pydantic lists an error for every member of a union. Only the one deepest in the data is the author's mistake.
    around = {location[:depth] for location in found for depth in range(len(location))}
    deepest = [(location, detail) for location, detail in found.items() if location not in around]
    errors = [
        FieldError(path=_path(location), message=_shorten(_sentence(detail, root), MAX_SENTENCE))
        for location, detail in deepest[:MAX_MISTAKES]
    ]
    # A misspelt field is not reported as missing, too.
    suggested = {name for error in errors for name in re.findall("did you mean '(.*?)'", error.message)}
    errors = [
        error
        for error in errors
        if not (error.message.startswith(_MISSING) and error.path.rpartition(".")[2] in suggested)
    ]
    num_others = len(deepest) - MAX_MISTAKES + max(0, len(listed) - MAX_DETAILS)
    return [*errors, FieldError(path="", message=f"and {num_others} more")] if num_others > 0 else errors


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest known word for an unknown one, or list all known words if none is near."""
    names = sorted(known)
    # The cost of a comparison grows with the product of both lengths.
    near = difflib.get_close_matches(word[:MAX_WORD], names[:MAX_KNOWN], n=1, cutoff=0.65)
    near = near or [name for name in names if len(word) >= 3 and name.startswith(word)]  # an abbreviation
    if near:
        return f"did you mean {near[0]!r}?"
    return _shorten(f"known: {', '.join(names)}", MAX_SENTENCE) if names else "none is known"


def nearest(word: str, known: Iterable[str], num: int = 3) -> str:
    """Suggest the nearest known names for an unknown one, the best first. For sets of names too large to list."""
    names = list(known)[:MAX_KNOWN]
    near = difflib.get_close_matches(word[:MAX_WORD], names, n=num)
    if near:
        return f"did you mean {_either(near)}?"
    near = difflib.get_close_matches(word[:MAX_WORD], names, n=num, cutoff=0.0)
    return f"the nearest names: {', '.join(map(repr, near))}" if near else "none is known"


def _either(names: list[str]) -> str:
    *others, last = map(repr, names)
    return f"{', '.join(others)} or {last}" if others else last


def quote(value: object) -> str:
    """Return the repr of a value, cut to MAX_QUOTED characters. The cost does not grow with the size of the value."""
    return _shorten(_BRIEF.repr(value), MAX_QUOTED)


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _path(location: Location) -> str:
    return ".".join(to_storable(_shorten(str(part), MAX_QUOTED)) for part in location)


def _written_location(detail: ErrorDetails, data: Any) -> Location:
    """Return the path of the mistake in the file: pydantic's path without the names of union members."""
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
    return (*location, *detail["loc"][-1:]) if detail["type"] == "missing" else tuple(location)


def _sentence(detail: ErrorDetails, root: type[BaseModel]) -> str:
    describe = _SENTENCES.get(detail["type"])
    if describe is not None:
        return describe(detail, root)
    text = re.sub(r"^Input should be ", "must be ", detail["msg"])
    return f"{text[0].lower()}{text[1:]}, got {quote(detail['input'])}"


def _missing(detail: ErrorDetails, _: type[BaseModel]) -> str:
    if not detail["loc"]:
        return "the body is missing; send one as JSON"
    example = _EXAMPLES.get(str(detail["loc"][-1]))
    return f"{_MISSING}; write `{example}`" if example else _MISSING


def _unknown_field(detail: ErrorDetails, root: type[BaseModel]) -> str:
    return f"no such setting; {did_you_mean(str(detail['loc'][-1]), _fields_beside(detail['loc'], root))}"


def _unknown_tag(detail: ErrorDetails, _: type[BaseModel]) -> str:
    tag, known = str(detail["ctx"]["tag"]), re.findall(r"'([^']*)'", detail["ctx"]["expected_tags"])
    return f"no such {_noun(detail)} {quote(tag)}; {did_you_mean(tag, known)}"


def _no_tag(detail: ErrorDetails, root: type[BaseModel]) -> str:
    field = detail["ctx"]["discriminator"].strip("'")
    return f"needs {field!r}, one of: {_tags_at(detail['loc'], root, field)}"


def _no_mapping(detail: ErrorDetails, _: type[BaseModel]) -> str:
    return f"must be a mapping of settings, got {quote(detail['input'])}"


_SENTENCES: Mapping[str, Callable[[ErrorDetails, type[BaseModel]], str]] = {
    "missing": _missing,
    "too_short": lambda *_: "must not be empty",
    "too_long": lambda detail, _: f"may hold {detail['ctx']['max_length']} at most",
    "extra_forbidden": _unknown_field,
    "union_tag_invalid": _unknown_tag,
    "union_tag_not_found": _no_tag,
    "literal_error": lambda detail, _: f"must be {detail['ctx']['expected']}, got {quote(detail['input'])}",
    "value_error": lambda detail, _: str(detail["ctx"]["error"]),
    "unstorable": lambda detail, _: detail["msg"],
    "string_unicode": lambda detail, _: describe_flaw(detail["input"]),
    "string_pattern_mismatch": lambda detail, _: (
        "must be letters, digits, '.', '_' and '-', starting with a letter or digit, got " + quote(detail["input"])
    ),
    "dict_type": _no_mapping,
    "model_type": _no_mapping,
    "model_attributes_type": _no_mapping,
}
"""Type of pydantic's error -> the function that writes the sentence."""


def _noun(detail: ErrorDetails) -> str:
    """Return the noun for a union's member: 'sampler', or 'parameter type' for a parameter of the space."""
    noun = str(detail["loc"][-1]) if detail["loc"] else "value"
    return "parameter type" if detail["ctx"]["discriminator"] == "'type'" else noun


def _fields_beside(location: Location, root: type[BaseModel]) -> set[str]:
    return {name for model in _models_at(location[:-1], root) for name in model.model_fields}


def _tags_at(location: Location, root: type[BaseModel], field: str) -> str:
    """List the values of the discriminator `field` in the union at a path."""
    fields = [model.model_fields[field] for model in _models_at(location, root) if field in model.model_fields]
    return ", ".join(tag for each in fields for tag in get_args(each.annotation))


def _models_at(location: Location, root: type[BaseModel]) -> list[type[BaseModel]]:
    """Return the models that pydantic's path can refer to. A tag or class name in the path narrows a union."""
    models: list[type[BaseModel]] = [root]
    for part in location:
        if inner := [model.model_fields[str(part)].annotation for model in models if part in model.model_fields]:
            models = [model for annotation in inner for model in models_in(annotation)]
        elif narrowed := [model for model in models if part == model.__name__ or part in _tags(model)]:
            models = narrowed
    return models


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in an annotation, including each member of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_in(inner)]


def _tags(model: type[BaseModel]) -> set[Any]:
    return {tag for field in model.model_fields.values() for tag in get_args(field.annotation)}
