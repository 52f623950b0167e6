"""Placeholders of a command name existing parameters or the file that holds all of them."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from service.contract.space import Space
from service.contract.task import Command
from service.domain.command import check_command

SPACE: Space = TypeAdapter(Space).validate_python({"optimizer.lr": {"type": "float", "low": 0.1, "high": 1}})


@pytest.mark.parametrize(
    "argument", ["{optimizer.lr}", "--config={parameters}", "${lr}", "{}", '{"lr": 1}', "{0}", "lr"]
)
def test_valid_placeholders_are_accepted(argument: str) -> None:
    assert list(check_command(Command(argv=["train", argument]), SPACE)) == []


def test_another_name_is_an_error_with_the_nearest_one() -> None:
    (error,) = check_command(Command(argv=["train", "--lr={optimizer.rl}"]), SPACE)
    assert error.path == "task.command.argv[1]"
    assert error.message == "{optimizer.rl} names no parameter of the space; did you mean 'optimizer.lr'?"
