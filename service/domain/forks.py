"""Parameters of forks: trials that continue from another trial's checkpoint, whose weights must still fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.contract.base import Value
from service.contract.catalogue import Catalogue
from service.contract.problem import FieldError
from service.contract.space import ConstantParameter, Space
from service.domain.space import check_parameters
from service.domain.task_config import apply_parameters, check_space_paths, check_task

_FIXED = ("data", "model", "folds", "repeats")
_FREE = frozenset({"model.dropout"})
"""Options of the fixed sections that no weight depends on."""


def fork_parameters(
    train: Mapping[str, Any],
    overrides: Mapping[str, Value],
    before: Mapping[str, Value],
    changes: Mapping[str, Value],
    catalogue: Catalogue,
) -> tuple[dict[str, Value], list[FieldError]]:
    """Compute the parameters of a fork of a train task, and check the changes.

    If a change names another entry (another optimizer, say), the parent's options that the new entry does not have are
    dropped.

    Args:
        train: base configuration of the task.
        overrides: options that the fork's stage sets.
        before: parameters of the parent trial.
        changes: parameters that the fork changes.
        catalogue: entries and options of the training core.

    Returns:
        The parameters, and the errors in the changes.
    """
    parameters = {**_inherited(before, changes, catalogue), **changes}
    fixed: Space = {
        key: ConstantParameter(type="constant", value=value) for key, value in {**overrides, **parameters}.items()
    }
    errors = [
        FieldError(
            path=f"set.{key}",
            message=f"a fork must keep the {section} that its parent was trained with; create a new study instead",
        )
        for key in changes
        if (section := key.partition(".")[0]) in _FIXED and key not in _FREE
    ]
    errors += [
        FieldError(path=f"set.{key}", message=error.message)
        for error in check_space_paths(train, fixed, catalogue)
        if (key := error.path.removeprefix("space.").removesuffix(".value")) in changes
    ]
    if not errors:
        config, _ = apply_parameters(train, {**overrides, **parameters}, catalogue)
        errors = [
            FieldError(path=error.path.replace("task.train", "set", 1), message=error.message)
            for error in check_task(config, {}, catalogue)
        ]
    return parameters, errors


def external_fork_parameters(
    space: Space, before: Mapping[str, Value], changes: Mapping[str, Value]
) -> tuple[dict[str, Value], list[FieldError]]:
    """Compute the parameters of a fork of a task other than a train task, and check them against the space.

    The service does not know the options of such a task, so it can check nothing else.

    Returns:
        The parameters, and the errors in the changes.
    """
    parameters = {**before, **changes}
    errors = check_parameters(space, parameters)
    return parameters, [
        FieldError(path=error.path.replace("parameters", "set", 1), message=error.message) for error in errors
    ]


def _inherited(before: Mapping[str, Value], changes: Mapping[str, Value], catalogue: Catalogue) -> dict[str, Value]:
    kept = dict(before)
    for section, entries in catalogue.registries.items():
        entry = entries.get(str(changes.get(f"{section}.name")))
        for key in before if entry is not None else ():
            named, _, option = key.partition(".")
            if named == section and option != "name" and option not in entry.parameters:  # type: ignore[union-attr]
                del kept[key]
    return kept
