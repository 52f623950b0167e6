"""Check 9: each searched parameter changes something, whether the data, the model, the schedule or the first steps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import torch

from worker.training.build import Components, load
from worker.training.config import SETTINGS, TrainingConfig
from worker.training.errors import ConfigError, Infeasible
from worker.training.out_of_memory import is_out_of_memory
from worker.training.preflight.bench import Bench, outputs_of, step_loss, training_batches
from worker.training.preflight.model_size import model_size
from worker.training.preflight.result import Check, Status
from worker.training.preflight.search_space import SearchedParameter
from worker.training.state import TrainState

_NUMBER, _NAME = 9, "parameters"
_NUM_STEPS = 3
_MAX_EXAMPLES = 32
_MAX_VALUES = 6
_MAX_BYTES = 2**30
"""Larger models are not built here: the corners of check 6 show what they do to memory."""


def check_parameters(bench: Bench) -> list[Check]:
    """Train a few steps with several values of each parameter, and compare."""
    inert: list[str] = []
    equal: dict[str, list[list[Any]]] = {}
    invalid: dict[str, str] = {}
    tested: list[str] = []
    for path, parameter in bench.space.parameters.items():
        if len(parameter.values) < 2:
            continue
        if bench.deadline.has_passed:
            break
        tested.append(path)
        if path in SETTINGS:  # of the core itself, not of an entry: each has tests of its own
            continue
        groups, problem = _groups(bench, path, parameter)
        if problem is not None:
            invalid[path] = problem
        if len(groups) == 1 and len(groups[0]) > 1:
            inert.append(path)
        elif any(len(group) > 1 for group in groups):
            equal[path] = [group for group in groups if len(group) > 1]
    return [_judge(bench, tested, inert, equal, invalid)]


def _judge(
    bench: Bench,
    tested: list[str],
    inert: list[str],
    equal: Mapping[str, list[list[Any]]],
    invalid: Mapping[str, str],
) -> Check:
    num = sum(len(parameter.values) > 1 for parameter in bench.space.parameters.values())
    figures = {"tested": tested, "without_effect": inert, "equal_values": equal, "invalid": invalid}

    def check(status: Status, sentence: str, remedy: str | None = None) -> Check:
        return Check(_NUMBER, _NAME, status, sentence, figures, remedy)

    if inert:
        verb = "changes" if len(inert) == 1 else "change"
        return check(
            Status.FAILED, f"{', '.join(inert)} {verb} neither the data nor the model nor the first steps.",
            "Use the setting in the entry's code, or leave it out of the space: its trials would be repetitions.",
        )  # fmt: skip
    if equal:
        path, groups = next(iter(equal.items()))
        values = " and ".join(map(repr, groups[0]))
        return check(
            Status.WARNED, f"{path} does the same with {values}.", "Leave out one of the values, or correct the entry."
        )
    if invalid:
        path, problem = next(iter(invalid.items()))
        return check(
            Status.WARNED, f"Some values of {path} can't be trained at the centre of the space: {problem}.",
            "Narrow the space, or let trials with such values be infeasible.",
        )  # fmt: skip
    if not num:
        return check(Status.NOT_RUN, "No parameter is searched.")
    if len(tested) < num:
        return check(Status.NOT_RUN, f"The time was over after {len(tested)} of {num} parameters; each has an effect.")
    return check(Status.PASSED, f"Each of the {num} searched parameters has an effect.")


def _groups(bench: Bench, path: str, parameter: SearchedParameter) -> tuple[list[list[Any]], str | None]:
    """Return the values that can be trained, in groups of equal effect, and the problem of one that can't."""
    groups: dict[str, list[Any]] = {}
    problem = None
    for value in _values(parameter):
        try:
            config = bench.space.configuration({**parameter.requires, path: value})
            groups.setdefault(_effects(bench, config, reload=path.startswith("data.")), []).append(value)
        except (ConfigError, Infeasible) as error:
            problem = f"{value!r}: {error}"
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
    return list(groups.values()), problem


def _values(parameter: SearchedParameter) -> Iterator[Any]:
    """Yield a few of the values, both ends among them."""
    values = parameter.values
    if len(values) <= _MAX_VALUES:
        yield from values
        return
    for index in np.linspace(0, len(values) - 1, _MAX_VALUES).round().astype(int).tolist():
        yield values[index]


def _effects(bench: Bench, config: TrainingConfig, *, reload: bool) -> str:
    """Return a hash of the data, the schedule, the weights after a few steps, and the evaluation of the model."""
    small = replace(config, batch_size=min(config.batch_size, _MAX_EXAMPLES))
    dataset = load(config, bench.device, bench.folders)[0] if reload else bench.dataset
    digest = hashlib.sha256()
    if reload:
        for split in dataset.splits.values():
            _add(digest, split.features, split.targets)
    size = model_size(bench, config)
    if size.training_bytes > _MAX_BYTES:
        digest.update(repr((size, config)).encode())
        return digest.hexdigest()
    with bench.random_stream("effects"):
        components, state = bench.build(small, dataset)
        digest.update(repr(_later(components, state)).encode())
        _train(replace(bench, dataset=dataset), components, state, digest)
    return digest.hexdigest()


def _train(bench: Bench, components: Components, state: TrainState, digest: Any) -> None:
    for batch in islice(training_batches(bench, components.config.batch_size, "effects"), _NUM_STEPS):
        loss = step_loss(components, state, batch, components.schedule(0.5))
        digest.update(repr(loss).encode())
    _add(digest, *state.model.state_dict().values())
    split = components.dataset.train
    outputs, targets = outputs_of(components, state.eval_model.eval(), split, bench.probe(split, _MAX_EXAMPLES))
    _add(digest, outputs, components.loss(outputs, targets))


def _later(components: Components, state: TrainState) -> Any:
    """Return what acts after the first steps: the schedule, and when layers begin to learn."""
    factors = [components.schedule(fraction / 64) for fraction in range(65)]
    plateau = None if state.plateau is None else sorted(vars(state.plateau).items())
    groups = [(group.rate, group.unfreeze_at, len(group.weights)) for group in components.trainable.groups]
    return factors, plateau, groups


def _add(digest: Any, *tensors: torch.Tensor) -> None:
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
