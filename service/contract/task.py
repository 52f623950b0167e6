"""The task on the wire: what a worker executes for a trial, by the training core or by the user's own code."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from service.contract.base import Request, by_name
from service.contract.validation_errors import quote

PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z_][\w.-]*)\}")
"""A parameter's name in an argument of a command: `{lr}`. `${HOME}` is left to the shell."""

PARAMETERS_FILE = "parameters"
"""The placeholder for the path of a JSON file with all parameters."""


def _by_argv(value: object) -> object:
    if isinstance(value, str):
        raise ValueError(f"is a list of words, as in [python, train.py]; got {quote(value)}")
    return {"argv": value} if isinstance(value, list) else value


def _is_importable(name: str) -> str:
    module, colon, function = name.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *function.split("."))):
        raise ValueError(f"names a module and a function in it, as in my_project.train:train; got {quote(name)}")
    return name


def _finds_one(pattern: str) -> str:
    try:
        num_groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}; got '{pattern}'") from None
    if num_groups != 1:
        raise ValueError(rf"needs one group, around the number, as in 'loss: (\S+)'; got {num_groups} in '{pattern}'")
    return pattern


Regex = Annotated[str, AfterValidator(_finds_one)]
"""A regular expression with exactly one group."""


class Function(Request):
    """A Python function of the user, called with the trial. A worker started with --allow-functions imports it."""

    name: Annotated[str, AfterValidator(_is_importable)] = Field(description="package.module:function")
    style: Literal["assayer", "optuna"] = Field(
        default="assayer", description="kind of trial object that the function gets"
    )

    def is_in(self, modules: Collection[str] | None) -> bool:
        """Return whether the function's module is one of `modules` or in one of these packages. None allows any."""
        module = self.name.partition(":")[0]
        return modules is None or any(f"{module}.".startswith(f"{each}.") for each in modules)


class Command(Request):
    """A program of the user. A worker started with --allow-commands starts it with the parameters as arguments."""

    argv: list[Annotated[str, Field(coerce_numbers_to_str=True)]] = Field(min_length=1)
    directory: str | None = Field(default=None, description="working directory of the command; default: the worker's")
    environment: dict[str, Annotated[str, Field(coerce_numbers_to_str=True)]] = {}
    metrics: dict[Annotated[str, Field(min_length=1, max_length=128)], Regex] = {}
    step: Regex | None = None


class Task(Request):
    """What a worker executes for a trial: exactly one of train, estimator, function and command.

    A study without a task is external: a caller of the API drives its trials.
    """

    train: dict[str, Any] | None = None
    estimator: dict[str, Any] | None = None
    function: Annotated[Function, BeforeValidator(by_name)] | None = None
    command: Annotated[Command, BeforeValidator(_by_argv)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = ("train", "estimator", "function", "command")
        given = [kind for kind in kinds if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"name exactly one of {', '.join(kinds)}; got {', '.join(given) or 'none'}")
        return self

    @property
    def configuration(self) -> dict[str, Any] | None:
        """The sections of a train task or of an estimator, which the catalogue describes; None: another kind."""
        return self.train if self.train is not None else self.estimator
