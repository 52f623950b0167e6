"""Check 1: the shapes and types of inputs and outputs fit, and one optimizer step runs and changes the weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worker.training.build import Components
from worker.training.preflight.bench import Bench, step_loss, training_batches
from worker.training.preflight.result import Check, Status
from worker.training.state import TrainState

_NUMBER, _NAME = 1, "one_step"


def check_one_step(bench: Bench) -> list[Check]:
    """Train one step as configured, and look at what goes in and comes out."""
    components, state = bench.build(bench.config)
    batch = next(training_batches(bench, bench.config.batch_size, "one_step"))
    figures: dict[str, Any] = {"num_parameters": components.trainable.num_parameters}
    fault = _fault_of_outputs(components, state, batch, figures) or _fault_of_step(components, state, batch, figures)
    if fault is not None:
        return [Check(_NUMBER, _NAME, fault.status, fault.sentence, figures, fault.remedy)]
    sentence = (
        f"One step runs: {figures['features']} to {figures['outputs']}, loss {figures['loss']:.4g}, "
        f"{components.trainable.num_parameters:,} parameters."
    )
    return [Check(_NUMBER, _NAME, Status.PASSED, sentence, figures)]


@dataclass(frozen=True)
class _Fault:
    sentence: str
    remedy: str
    status: Status = Status.FAILED


def _fault_of_outputs(
    components: Components, state: TrainState, batch: Tensor, figures: dict[str, Any]
) -> _Fault | None:
    """Call the model, and return what is wrong with its outputs or its inputs."""
    dataset = components.dataset
    features, targets = dataset.batch(dataset.train, batch)
    before = features.clone()
    with torch.no_grad(), components.autocast:
        outputs: object = state.model(features)
    if not isinstance(outputs, Tensor):
        return _Fault(
            f"The model returns a {type(outputs).__name__}, not a tensor.",
            "Return one tensor from the model's forward.",
        )
    figures |= {"features": _describe(features), "targets": _describe(targets), "outputs": _describe(outputs)}
    expected = _expected_shape(components, targets)
    if tuple(outputs.shape) != expected:
        return _Fault(
            f"The model returns {list(outputs.shape)} for {list(features.shape)}, but the loss needs {list(expected)}.",
            "Make the model's last layer as wide as dataset.num_outputs, one output per target.",
        )
    if not torch.equal(features, before):
        return _Fault(
            "The model changes its input in place, so the examples differ at the next evaluation.",
            "Use operations without a trailing underscore, and inplace=False, on the model's input.",
        )
    if not torch.isfinite(outputs).all():
        share = float((~torch.isfinite(outputs)).float().mean())
        return _Fault(
            f"{share:.0%} of the untrained model's outputs are not finite numbers.",
            "Look for a logarithm, a root or a division of a value that can be 0 or negative in the model's forward.",
        )
    if dataset.kind == "classification" and _are_probabilities(outputs):
        return _Fault(
            "The model's outputs are probabilities that add up to 1, but the losses take logits.",
            "Remove the softmax at the end of the model.",
            Status.WARNED,
        )
    return None


def _fault_of_step(components: Components, state: TrainState, batch: Tensor, figures: dict[str, Any]) -> _Fault | None:
    """Take one step, and return what is wrong with the loss or the weights after it."""
    weights = [weight for weight in state.model.parameters() if weight.requires_grad]
    before = [weight.detach().clone() for weight in weights]
    figures["loss"] = loss = step_loss(components, state, batch)
    if not math.isfinite(loss) or not all(torch.isfinite(weight).all() for weight in weights):
        return _Fault(
            f"After one step the loss is {loss:g}, or a weight is no finite number.",
            "Lower optimizer.lr, set clip_norm: 1, or look for a division by zero in the model and the loss.",
        )
    if all(torch.equal(old, new) for old, new in zip(before, weights, strict=True)):
        return _Fault(
            f"One step of {components.config.optimizer.name} changed no weight.",
            "Check that the optimizer's step updates the weights, and that the loss depends on them.",
        )
    return None


def _expected_shape(components: Components, targets: Tensor) -> tuple[int, ...]:
    dataset = components.dataset
    if dataset.kind in ("classification", "language"):
        return (*targets.shape, dataset.num_outputs)
    return tuple(targets.shape)


def _are_probabilities(outputs: Tensor) -> bool:
    return bool((outputs >= 0).all() and torch.allclose(outputs.sum(-1), torch.ones(()).to(outputs), atol=1e-3))


def _describe(values: Tensor) -> str:
    return f"{list(values.shape)} {str(values.dtype).removeprefix('torch.')}"
