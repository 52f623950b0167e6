"""Custom entries: merges them into the catalogue and finds which ones a study, a trial or a worker needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from service.contract.base import TaskKind
from service.contract.catalogue import Catalogue, Entry
from service.contract.sampler import CoarseToFineSamplerSpec
from service.contract.space import CategoricalParameter, ConstantParameter
from service.contract.study import StudySpec
from service.domain.parameter import values_of

Key: TypeAlias = tuple[str, str]
"""Section and name of an entry."""


def merge_custom(catalogue: Catalogue, custom: Mapping[Key, Entry]) -> Catalogue:
    """Return the catalogue with custom entries merged in; a built-in entry wins over a custom one of the same name."""

    def whole(registries: Mapping[str, Mapping[str, Entry]]) -> dict[str, dict[str, Entry]]:
        return {
            section: {
                **entries,
                **{name: each for (place, name), each in custom.items() if place == section},
                **entries,
            }
            for section, entries in registries.items()
        }

    return catalogue.model_copy(update={"registries": whole(catalogue.registries), "lists": whole(catalogue.lists)})


def fingerprint(entry: Entry) -> str:
    """Return the SHA-256 hex digest of an entry's options, descriptions excluded.

    Two workers whose entries have equal fingerprints can train the same trials.
    """
    options = {name: setting.model_dump(exclude={"description"}) for name, setting in entry.parameters.items()}
    return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()


def custom_entries_of(spec: StudySpec, catalogue: Catalogue) -> set[Key]:
    """Return the custom entries that trials of a study may use: from the task, the search space and the stages."""
    given_task = None if spec.task is None else spec.task.configuration
    if given_task is None:
        return set()
    catalogue = catalogue.for_kind(spec.task_kind)
    chosen = {(section, name) for section, given in given_task.items() for name in _names(given)}
    for key, parameter in spec.space.items():
        if isinstance(parameter, CategoricalParameter | ConstantParameter):
            for value in values_of(parameter) or ():
                chosen |= _chosen({key: value})
    stages = spec.sampler.stages if isinstance(spec.sampler, CoarseToFineSamplerSpec) else None
    for stage in stages or []:
        chosen |= _chosen(stage.overrides)
    return _not_in(catalogue, chosen)


def custom_entries_of_trial(parameters: Mapping[str, Any], kind: TaskKind, catalogue: Catalogue) -> set[Key]:
    """Return the custom entries that the parameters of a trial choose; a function or command chooses none."""
    if kind not in {TaskKind.TRAIN, TaskKind.ESTIMATOR}:
        return set()
    return _not_in(catalogue.for_kind(kind), _chosen(parameters))


def missing_entries(needed: Mapping[Key, str | None], offered: Mapping[str, Mapping[str, str]]) -> str | None:
    """Return why a worker cannot train what needs these custom entries, or None if it can.

    Args:
        needed: entry -> the fingerprint last registered with the service, None if there is none.
        offered: section -> name -> fingerprint of each custom entry that the worker has.
    """
    for (section, name), known in sorted(needed.items(), key=lambda item: item[0]):
        found = offered.get(section, {}).get(name)
        if found is None:
            return f"the {section} {name!r} is not built in; start a worker with --register and the module that adds it"
        if found != known:
            return f"the {section} {name!r} has other options by now; start this worker again with the newest module"
    return None


def _names(given: object) -> Iterator[str]:
    """Yield the entry names in a section of a task, which holds one entry or a list of entries and names."""
    for each in given if isinstance(given, list) else [given]:
        if isinstance(each, Mapping) and isinstance(each.get("name"), str):
            yield each["name"]
        elif isinstance(given, list) and isinstance(each, str):
            yield each


def _chosen(values: Mapping[str, Any]) -> set[Key]:
    """Return the entries that parameters choose: `model.name: my_net` chooses the model `my_net`."""
    return {
        (key.removesuffix(".name"), value)
        for key, value in values.items()
        if key.endswith(".name") and isinstance(value, str)
    }


def _not_in(catalogue: Catalogue, chosen: set[Key]) -> set[Key]:
    return {
        (section, name)
        for section, name in chosen
        if section in catalogue.sections and name not in catalogue.sections[section]
    }
