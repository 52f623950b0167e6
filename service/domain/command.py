"""Checks of a command task: its placeholders name parameters of the search space."""

from __future__ import annotations

from collections.abc import Iterator

from service.contract.problem import FieldError
from service.contract.space import Space
from service.contract.task import PARAMETERS_FILE, PLACEHOLDER, Command
from service.contract.validation_errors import did_you_mean


def check_command(command: Command, space: Space) -> Iterator[FieldError]:
    """Yield an error for each placeholder that names no parameter of the space."""
    known = {*space, PARAMETERS_FILE}
    for index, argument in enumerate(command.argv):
        for name in PLACEHOLDER.findall(argument):
            if name not in known:
                message = f"{{{name}}} names no parameter of the space; {did_you_mean(name, known)}"
                yield FieldError(path=f"task.command.argv[{index}]", message=message)
