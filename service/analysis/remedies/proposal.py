"""Turns new values of options into an action: try them next, add them to the space, or write them in a follow-up study.

An option that the space searches is changed by an enqueued configuration, after an edit of the range where the new
value lies outside it. An option that the task fixes becomes a parameter of the space by an edit, around its present
value, so that the study's trials stay comparable. What a study may not change goes to a follow-up study.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from service.analysis.remedies.domains import Domain, default_value, nearest_value, one_of, parse, with_value
from service.analysis.remedies.subject import Subject
from service.contract.base import Value
from service.contract.remedy_action import EditAction, EnqueueAction, FollowUpAction, RemedyAction
from service.contract.sampler import GridSamplerSpec
from service.contract.space import CategoricalParameter, Parameter, Space
from service.domain.parameter import contains, same_value
from service.domain.space import is_active, topological_order

_MORE_TRIALS, _MORE_SHARE = 5, 4
"""After an edit that changes where the study searches: at least five more trials, or a fourth of those so far."""


def try_values(subject: Subject, values: Mapping[str, Value], domains: Mapping[str, Domain]) -> RemedyAction | None:
    """Return the action that tries the trial's configuration with other values of some options.

    Args:
        subject: the trial.
        values: dotted path into the task -> its new value.
        domains: for each path the parameter to add where the space does not search it.

    Returns:
        None: the values are the present ones, or the configuration was tried or waits in the queue.
    """
    if subject.trial is None:
        return None
    edits: dict[str, Any] = {}
    space = dict(subject.spec.space)
    new: dict[str, Value] = {}
    for path, value in values.items():
        parameter = space.get(path)
        if parameter is None:
            if not _add(subject, path, value, domains[path], edits=edits, space=space):
                return None
            new[path] = value
            continue
        placed = nearest_value(parameter, subject.parameters.get(path), value)
        if placed is None:
            edited = with_value(parameter, value)
            if edited is None:
                return None
            changes, space[path] = edited
            edits |= {f"space.{path}.{key}": each for key, each in changes.items()}
            placed = value
        new[path] = placed
    parameters = _completed(space, {**subject.parameters, **new}, subject)
    if parameters is None or (not edits and _is_known(subject, parameters)):
        return None
    edits |= more_trials(subject, 1)
    if edits:
        return EditAction(changes=edits, enqueue=parameters)
    return EnqueueAction(parameters=parameters)


def edit_search(subject: Subject, changes: Mapping[str, Any]) -> RemedyAction | None:
    """Return the edit that changes where or how the study searches, with more trials if its budget is used up."""
    if not changes:
        return None
    num = max(_MORE_TRIALS, len(subject.study.history) // _MORE_SHARE)
    return EditAction(changes={**changes, **more_trials(subject, num)})


def follow_up(subject: Subject, changes: Mapping[str, Any]) -> RemedyAction | None:
    """Return the follow-up study with these changes; a changed length of the training sets its resource anew.

    After a finding about a trial it tries the configuration of that trial first.
    """
    changed = dict(changes)
    if "task.train.epochs" in changed and subject.spec.resource is not None:
        changed["resource"] = None
    is_same_space = not any(path.startswith("space.") for path in changed)
    first = dict(subject.parameters) if is_same_space and not subject.is_about_study else None
    return FollowUpAction(name=subject.study.follow_up_name, changes=changed, enqueue=first) if changed else None


def more_trials(subject: Subject, num: int) -> dict[str, Any]:
    """Return the change of the budget by which `num` more trials fit; empty if they fit, or trials are unlimited."""
    budget = subject.spec.budget.trials
    needed = len(subject.study.history) + len(subject.study.enqueued) + num
    return {} if budget is None or budget >= needed else {"budget.trials": needed}


def _add(
    subject: Subject, path: str, value: Value, domain: Domain, *, edits: dict[str, Any], space: dict[str, Parameter]
) -> bool:
    """Add a parameter for an option that the task fixes; return False if the task has no such option.

    The study searches the domain. A grid can't list a range, so it tries the present and the new value.
    """
    section, _, option = path.partition(".")
    if not subject.is_train:
        return False
    if not option and subject.setting(path) is None:
        return False
    if isinstance(subject.spec.sampler, GridSamplerSpec):
        present = subject.value(path)
        domain = one_of(value) if present is None else one_of(present, value)
    if option not in ("", "name"):
        if subject.setting(path) is None and f"space.{section}.name" not in edits:
            return False
        domain = {**domain, **_condition(subject, section, option, space)}
        if section not in _task_of(subject) and f"{section}.name" not in space:
            # The task leaves the section out, so its default must be named before an option of it can be set.
            name: Domain = {"type": "constant", "value": subject.entry_name(section)}
            edits[f"space.{section}.name"], space[f"{section}.name"] = name, parse(name)
    try:
        space[path] = parse(domain)
    except ValidationError:  # The new value leaves no range around the present one.
        return False
    edits[f"space.{path}"] = domain
    return True


def _task_of(subject: Subject) -> Mapping[str, Any]:
    """Return the configuration that the study file gives the training core."""
    return (subject.spec.task.train if subject.spec.task is not None else None) or {}


def _condition(subject: Subject, section: str, option: str, space: Space) -> Domain:
    """Return the `when` that an option needs where only some of the searched entries of its section have it."""
    named = space.get(f"{section}.name")
    if not isinstance(named, CategoricalParameter):
        return {}
    entries = subject.catalogue.registries.get(section, {})
    having = [name for name in named.choices if isinstance(name, str) and name in entries]
    having = [name for name in having if option in entries[name].parameters]
    if len(having) == len(named.choices):
        return {}
    return {"when": {f"{section}.name": having[0] if len(having) == 1 else having}}


def _completed(space: Space, values: Mapping[str, Value], subject: Subject) -> dict[str, Value] | None:
    """Return the values of the parameters that exist in a configuration; None: one is missing or does not fit.

    A parameter that the other values bring into being gets the option's value in the trial's configuration or, where
    that does not fit, the middle of its range.
    """
    complete: dict[str, Value] = {}
    for name in topological_order(space):
        parameter = space[name]
        if not is_active(parameter, complete):
            continue
        value = values.get(name)
        if value is None:
            value = default_value(parameter, subject.value(name))
        elif not contains(parameter, value):
            return None  # The trial was made in another space.
        complete[name] = value
    return complete


def _is_known(subject: Subject, parameters: Mapping[str, Value]) -> bool:
    """Return whether a trial has this configuration, or it waits in the queue."""
    tried = (trial.parameters for trial in subject.study.history)
    return any(_same(parameters, each) for each in (*tried, *subject.study.enqueued))


def _same(one: Mapping[str, Value], other: Mapping[str, Value]) -> bool:
    return one.keys() == other.keys() and all(same_value(value, other[key]) for key, value in one.items())
