"""Check 5: by layer, units that are dead or saturated, gradients that vanish or explode, and the size of updates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import nn

from worker.training.deadline import Deadline
from worker.training.preflight.activation_recording import Activation, record
from worker.training.preflight.bench import Bench, in_words, outputs_of, step_loss, training_batches
from worker.training.preflight.result import Check, Curve, Status

_NUMBER = 5
_NUM_STEPS, _MIN_STEPS = 10, 5
_MAX_BATCH = 64
# SageMaker Debugger's rule for dead ReLUs also begins at half of the units.
_STUCK_WARNED, _STUCK_FAILED = 0.5, 0.9
_VANISHED = 1e-6
"""The share of the largest layer's gradient (root mean square) at which another layer's has vanished."""
_EXPLODED = 100.0
"""How many times longer than the weights the gradient of a sound model never is."""
_UPDATE_TOO_LARGE, _UPDATE_TOO_SMALL = 1.0, 1e-9
"""Length of a step's update over that of the weights it changes; around 1e-3 is usual."""


@dataclass
class Layer:
    """The gradients and updates of one weight matrix or kernel over the steps.

    Attributes:
        gradients: the root mean square of the gradient in each step.
        updates: the length of each step's update over that of the weights before it; NaN: these were 0.
    """

    gradients: list[float] = field(default_factory=list)
    updates: list[float] = field(default_factory=list)


def check_layers(bench: Bench) -> list[Check]:
    """Train a few steps without regularisation, and measure each layer."""
    config = bench.plain_config
    components, state = bench.build(config, is_plain=True)
    split = bench.dataset.train
    weights = {name: each for name, each in state.model.named_parameters() if each.requires_grad and each.ndim > 1}
    layers = {name: Layer() for name in weights}
    lengths: list[float] = []
    deadline = Deadline(bench.deadline.left / 3)
    for batch in islice(training_batches(bench, min(config.batch_size, _MAX_BATCH), "layers"), _NUM_STEPS):
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        loss = step_loss(components, state, batch)
        lengths.append(_measure(weights, before, layers))
        if not math.isfinite(loss) or not math.isfinite(lengths[-1]):
            break
        if deadline.has_passed and len(lengths) < _MIN_STEPS:
            # The first steps of a residual branch that begins at 0 have no gradient, so they tell nothing.
            return [Check(_NUMBER, "gradients", Status.NOT_RUN, f"The time was over after {len(lengths)} steps.")]
    with torch.no_grad(), record(state.model) as activations:
        outputs_of(components, state.model, split, bench.probe(split))
    return [_activations(activations), _gradients(layers, lengths), _updates(layers)]


def _measure(
    weights: Mapping[str, nn.Parameter], before: Mapping[str, torch.Tensor], layers: dict[str, Layer]
) -> float:
    """Add a step's measurements, and return the length of the gradient over that of the weights."""
    gradient_squares = weight_squares = 0.0
    for name, weight in weights.items():
        old, layer = before[name], layers[name]
        length = float(old.norm())
        square = 0.0 if weight.grad is None else float(weight.grad.square().sum())
        layer.gradients.append(math.sqrt(square / weight.numel()))
        layer.updates.append(float((weight.detach() - old).norm()) / length if length else math.nan)
        gradient_squares += square
        weight_squares += length**2
    return math.sqrt(gradient_squares / weight_squares) if weight_squares else 0.0


def _activations(activations: Sequence[Activation]) -> Check:
    name = "activations"
    figures = {
        "layers": [
            {"layer": each.layer, "function": each.function, "stuck_units": round(each.stuck, 4)}
            for each in activations
        ]
    }  # fmt: skip
    if not activations:
        return Check(_NUMBER, name, Status.PASSED, "The model has no ReLU, tanh or sigmoid that could get stuck.")
    worst = max(activations, key=lambda each: each.stuck)
    where = f"{worst.layer} ({worst.function})"
    what = f"units of {where} are dead, 0 for nearly every example"
    if worst.function != "relu":
        what = f"values of {where} are saturated"
    seen = f"{worst.stuck:.0%} of the {what}"
    if worst.stuck <= _STUCK_WARNED:
        return Check(_NUMBER, name, Status.PASSED, f"At most {seen}.", figures)
    status = Status.FAILED if worst.stuck >= _STUCK_FAILED else Status.WARNED
    remedy = (
        "Begin with smaller weights and biases of 0, lower optimizer.lr, or use another activation (gelu, silu)."
        if worst.function == "relu"
        else "Begin with smaller weights, standardise the layer's inputs, or add a norm before it."
    )
    return Check(_NUMBER, name, status, f"{seen}.", figures, remedy)


def _gradients(layers: Mapping[str, Layer], lengths: Sequence[float]) -> Check:
    name = "gradients"
    largest = {layer: max(each.gradients) for layer, each in layers.items()}
    ratio = statistics.median(lengths) if all(math.isfinite(each) for each in lengths) else math.inf
    figures = {"root_mean_square": largest, "gradient_to_weights": ratio}
    curve = Curve("gradient norm over weight norm", "step", "ratio", list(range(1, len(lengths) + 1)), list(lengths))

    def check(status: Status, sentence: str, remedy: str | None = None) -> Check:
        return Check(_NUMBER, name, status, sentence, figures, remedy, [curve])

    if ratio > _EXPLODED:
        return check(
            Status.FAILED, f"The gradient is {in_words(ratio)} times as long as the weights: it explodes.",
            "Begin with smaller weights, add norms or residual connections, or set clip_norm: 1.",
        )  # fmt: skip
    top = max(largest.values(), default=0.0)
    silent = [layer for layer, value in largest.items() if value == 0.0]
    if silent:
        return check(
            Status.FAILED if len(silent) == len(largest) else Status.WARNED,
            f"No gradient reaches {_listed(silent)} ({len(silent)} of {len(largest)} layers).",
            "Look for detach, no_grad or argmax above it, for a layer that forward does not call, or for a loss that "
            "does not depend on it.",
        )  # fmt: skip
    vanished = [layer for layer, value in largest.items() if value < _VANISHED * top]
    if vanished:
        smallest = min(largest[layer] for layer in vanished)
        return check(
            Status.WARNED,
            f"The gradient vanishes in {_listed(vanished)}: {in_words(smallest)}, against {in_words(top)} elsewhere.",
            "Use ReLU or GELU in place of sigmoid and tanh, fewer layers, norms, or residual connections.",
        )  # fmt: skip
    lowest = min(largest.values(), default=0.0)
    sentence = f"Gradients reach all {len(largest)} layers, {in_words(lowest)} to {in_words(top)} (root mean square)."
    return check(Status.PASSED, sentence)


def _updates(layers: Mapping[str, Layer]) -> Check:
    name = "updates"
    medians = {
        layer: statistics.median(finite)
        for layer, each in layers.items()
        if (finite := [update for update in each.updates[1:] if math.isfinite(update)])
    }
    if not medians:
        return Check(_NUMBER, name, Status.NOT_RUN, "No layer had weights other than 0 for two steps.")
    figures = {"update_to_weights": medians}
    largest, smallest = max(medians, key=medians.__getitem__), min(medians, key=medians.__getitem__)
    if medians[largest] > _UPDATE_TOO_LARGE:
        return Check(
            _NUMBER, name, Status.WARNED,
            f"A step changes {largest} by {in_words(medians[largest])} times its own length.", figures,
            "Lower optimizer.lr or set clip_norm: 1.",
        )  # fmt: skip
    if medians[largest] < _UPDATE_TOO_SMALL:
        return Check(
            _NUMBER, name, Status.WARNED,
            f"A step changes every layer by at most {in_words(medians[largest])} of its length.", figures,
            "Raise optimizer.lr.",
        )  # fmt: skip
    low, high = in_words(medians[smallest]), in_words(medians[largest])
    return Check(_NUMBER, name, Status.PASSED, f"A step changes layers by {low} to {high} of their length.", figures)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")
