"""Every check that the spec of a study goes through, in one list, and what the service fills in.

A check yields an error for each mistake and changes nothing. To add one, write it beside the code that depends on it,
and add a line here. Whether an objective can be compared between trials is checked apart from the list, by
`domain/metric_names.py` `check_comparable`: it has an error code of its own, and older studies need not pass it. The
same holds for the objectives' directions, in `domain/metric_directions.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import assert_never

from service.contract.catalogue import Catalogue
from service.contract.problem import FieldError
from service.contract.sampler import (
    AutoSamplerSpec,
    CmaEsSamplerSpec,
    CoarseToFineSamplerSpec,
    GpSamplerSpec,
    GridSamplerSpec,
    NsgaIiSamplerSpec,
    OptunaGpSamplerSpec,
    QmcSamplerSpec,
    RandomSamplerSpec,
    SobolSamplerSpec,
    Stage,
    TpeSamplerSpec,
)
from service.contract.study import Resource, StudySpec
from service.contract.validation_errors import MAX_MISTAKES
from service.domain.command import check_command
from service.domain.finite_space import check_finite_space
from service.domain.metric_names import check_fit, check_metrics
from service.domain.objective import check_objectives
from service.domain.snapshots import check_snapshots
from service.domain.space import check_space
from service.domain.task_config import check_overrides, check_space_paths, check_task
from service.search.multi_objective import check_multi_objective
from service.search.optional_deps import check_extra
from service.search.samplers.cmaes import check_cmaes
from service.search.samplers.coarse_to_fine.sampler import check_coarse_to_fine
from service.search.samplers.grid import check_grid
from service.search.schedulers.checks import check_rungs
from service.search.warm_start import check_warm_start


def check_spec(spec: StudySpec, catalogue: Catalogue) -> list[FieldError]:
    """Return all mistakes of a spec, in the order of the lists below.

    The strategy is checked only if everything else is right, since its checks rely on that.

    Args:
        spec: the spec as its user wrote it.
        catalogue: what a train task can be set to.
    """
    errors = [error for check in _CHECKS for error in check(spec, catalogue)]
    return errors or check_strategy(with_resource(spec, catalogue))


def check_strategy(spec: StudySpec) -> list[FieldError]:
    """Return the mistakes in how sampler, pruner, space, budget and warm start of a spec work together.

    Args:
        spec: a spec whose space was checked and whose resource was filled in.
    """
    # The other checks may count the configurations, which must be possible.
    return check_finite_space(spec.space) or [error for check in _STRATEGY_CHECKS for error in check(spec)]


def with_resource(spec: StudySpec, catalogue: Catalogue) -> StudySpec:
    """Return the spec with the resource of its task filled in: epochs, or the size of an estimator, unless searched."""
    if spec.resource is not None:
        return spec
    epochs, size = _epochs(spec, catalogue), _size_of_estimator(spec, catalogue)
    if epochs is not None:
        return spec.model_copy(update={"resource": Resource(name="epoch", max=epochs)})
    return spec if size is None else spec.model_copy(update={"resource": Resource(name="step", max=size)})


def _check_task(spec: StudySpec, catalogue: Catalogue) -> Iterable[FieldError]:
    given = spec.task.configuration if spec.task is not None else None
    kind = spec.task_kind
    return () if given is None else check_task(given, spec.space, catalogue.for_kind(kind), f"task.{kind}")


def _check_space_paths(spec: StudySpec, catalogue: Catalogue) -> Iterable[FieldError]:
    given = spec.task.configuration if spec.task is not None else None
    kind = spec.task_kind
    return () if given is None else check_space_paths(given, spec.space, catalogue.for_kind(kind), f"task.{kind}")


def _check_fit(spec: StudySpec, catalogue: Catalogue) -> Iterable[FieldError]:
    return check_fit(spec, catalogue) if _is_configured(spec) else ()


def _check_metrics(spec: StudySpec, catalogue: Catalogue) -> Iterable[FieldError]:
    return check_metrics(spec, catalogue) if _is_configured(spec) else ()


def _check_snapshots(spec: StudySpec, catalogue: Catalogue) -> Iterable[FieldError]:
    return check_snapshots(spec, catalogue) if _trains(spec) else ()


def _check_stage_overrides(spec: StudySpec, catalogue: Catalogue) -> Iterator[FieldError]:
    train = spec.task.train if spec.task is not None else None
    for at, stage in enumerate(_stages(spec)):
        path = f"sampler.stages.{at}"
        if train is not None:
            for error in check_overrides(train, spec.space, stage.overrides, catalogue):
                yield FieldError(path=f"{path}.{error.path}", message=error.message)
        elif stage.overrides:
            message = (
                "apply only to the training core, and this task gets only the parameters of the space; leave them out"
            )
            yield FieldError(path=f"{path}.overrides", message=message)


def _check_constraints(spec: StudySpec, _catalogue: Catalogue) -> Iterator[FieldError]:
    if spec.constraints is not None and not _trains(spec):
        message = "apply only to models of the training core, and this task is another; leave them out"
        yield FieldError(path="constraints", message=message)


def _check_preflight(spec: StudySpec, _catalogue: Catalogue) -> Iterator[FieldError]:
    if spec.task is None and spec.preflight_mode != "off":
        message = (
            "callers of the API execute the trials of a study without a task, so no worker can check it; leave it out"
        )
        yield FieldError(path="preflight", message=message)


def _check_preflight_rates(spec: StudySpec, _catalogue: Catalogue) -> Iterator[FieldError]:
    if spec.preflight_rates == "apply" and (spec.preflight_mode == "off" or not _trains(spec)):
        why = "this study has no preflight" if _trains(spec) else "only a train task has learning rates to measure"
        remedy = "write preflight: warn, or leave preflight_rates out" if _trains(spec) else "leave preflight_rates out"
        yield FieldError(path="preflight_rates", message=f"apply needs the rates of a preflight, and {why}; {remedy}")


def _check_resource(spec: StudySpec, catalogue: Catalogue) -> Iterator[FieldError]:
    epochs = _epochs(spec, catalogue)
    if epochs is None or spec.resource is None or spec.resource == Resource(name="epoch", max=epochs):
        return
    message = (
        f"is {spec.resource.max} {spec.resource.name}s, but the task trains {epochs} epochs (task.train.epochs); "
        "make them equal, or leave resource out"
    )
    yield FieldError(path="resource.max", message=message)


def _check_command(spec: StudySpec, _catalogue: Catalogue) -> Iterable[FieldError]:
    command = spec.task.command if spec.task is not None else None
    return () if command is None else islice(check_command(command, spec.space), MAX_MISTAKES)


def _check_sampler(spec: StudySpec) -> list[FieldError]:
    match spec.sampler:
        case GridSamplerSpec():
            return check_grid(spec.space)
        case CoarseToFineSamplerSpec():
            return check_coarse_to_fine(spec)
        case (
            AutoSamplerSpec()
            | GpSamplerSpec()
            | NsgaIiSamplerSpec()
            | QmcSamplerSpec()
            | RandomSamplerSpec()
            | SobolSamplerSpec()
            | TpeSamplerSpec()
        ):
            return []
        case CmaEsSamplerSpec():
            return check_cmaes(spec.space)
        case OptunaGpSamplerSpec():
            return check_extra(spec.sampler.name, "gp")
        case _:
            assert_never(spec.sampler)


_CHECKS: tuple[Callable[[StudySpec, Catalogue], Iterable[FieldError]], ...] = (
    lambda spec, _catalogue: check_space(spec.space),
    lambda spec, _catalogue: check_objectives(spec),
    _check_task,
    _check_space_paths,
    _check_fit,
    _check_metrics,
    _check_snapshots,
    _check_constraints,
    _check_preflight,
    _check_preflight_rates,
    _check_stage_overrides,
    _check_resource,
    _check_command,
)
"""The checks of space, objectives and task, in the order of their errors."""

_STRATEGY_CHECKS: tuple[Callable[[StudySpec], Iterable[FieldError]], ...] = (
    check_multi_objective,
    check_rungs,
    check_warm_start,
    _check_sampler,
)
"""The checks of how sampler, pruner, budget and warm start work together, in the order of their errors."""


def _trains(spec: StudySpec) -> bool:
    return spec.task is not None and spec.task.train is not None


def _is_configured(spec: StudySpec) -> bool:
    return spec.task is not None and spec.task.configuration is not None


def _stages(spec: StudySpec) -> Iterable[Stage]:
    stages = spec.sampler.stages if isinstance(spec.sampler, CoarseToFineSamplerSpec) else None
    return stages or ()


def _epochs(spec: StudySpec, catalogue: Catalogue) -> int | None:
    """Return the number of epochs that each trial of a train task trains; None: the space searches it."""
    train = spec.task.train if spec.task is not None else None
    if train is None or "epochs" in spec.space:
        return None
    epochs = train.get("epochs")
    return epochs if isinstance(epochs, int) else catalogue.settings["epochs"].default


def _size_of_estimator(spec: StudySpec, catalogue: Catalogue) -> int | None:
    """Return how many iterations or trees each trial of an estimator fits; None: the space searches it."""
    model = spec.task.estimator.get("model") if spec.task is not None and spec.task.estimator is not None else None
    entry = catalogue.estimators.get(model.get("name", "")) if isinstance(model, dict) else None
    option = None if entry is None else entry.facts.get("size")
    if entry is None or option is None or not {"model.name", f"model.{option}"}.isdisjoint(spec.space):
        return None
    assert isinstance(model, dict)
    size = model.get(option, entry.parameters[option].default)
    return size if isinstance(size, int) else None
