"""Check 3: the model can overfit one small batch, and if it cannot, how it fails."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from worker.training.build import Components
from worker.training.data import Dataset
from worker.training.deadline import Deadline
from worker.training.preflight.bench import Bench, in_words, outputs_of, step_loss
from worker.training.preflight.result import Check, Curve, Status
from worker.training.state import TrainState

_NUMBER, _NAME = 3, "one_batch"
_MAX_EXAMPLES = 16
_MAX_STEPS = 240
_STEPS_BETWEEN_TESTS = 10
_FITTED_LOSS = 0.3
"""The share of the first loss that is left of a fitted batch."""
_FITTED_SCORE = 0.98
_MAX_TRAININGS = 5
LEARNING_RATE = "optimizer.lr"


@dataclass(frozen=True)
class Fit:
    """One training on the batch.

    Attributes:
        rate: the factor of the configured learning rate.
        losses: the loss before each step.
        score: the best share of right answers, of explained variance, or of pairs in the right order; at most 1.
        fitted_after: the steps after which the batch was fitted; None: it never was.
        is_complete: whether all steps were taken, or the batch was fitted.
    """

    rate: float
    losses: Sequence[float]
    score: float
    fitted_after: int | None
    is_complete: bool

    @property
    def shape(self) -> str:
        """How the loss behaved: fits, explodes, rises, oscillates or plateaus."""
        return "fits" if self.fitted_after is not None else shape_of(self.losses)


_REMEDIES = {
    "explodes": "Lower optimizer.lr or set clip_norm: 1, and look for a division or an exponential of large values in "
    "the model and the loss.",
    "rises": "Look for a wrong sign: in the loss, in a gradient, or in an optimizer that maximises.",
    "oscillates": "Lower optimizer.lr, and check that features and targets keep the same order in every batch.",
    "plateaus": "Raise optimizer.lr, and check that the model uses its input, that no gradient is cut off "
    "(detach, no_grad, argmax), and that each target belongs to its example.",
}


def check_one_batch(bench: Bench) -> list[Check]:
    """Overfit one small batch without regularisation; where it fails, try lower and higher learning rates too."""
    deadline = Deadline(bench.deadline.left / 3)
    config = bench.plain_config
    num_parameters = bench.build(config)[0].trainable.num_parameters
    indices = choose_batch(bench, num_parameters)
    fits: list[Fit] = []
    for factor in _factors(fits):
        with bench.random_stream("one_batch"):
            components, state = bench.build(config, is_plain=True)
            fits.append(_fit(components, state, indices, factor, deadline))
        if fits[-1].fitted_after is not None or deadline.has_passed:
            break
    return [_judge(bench, len(indices), fits)]


def choose_batch(bench: Bench, num_parameters: int) -> Tensor:
    """Return the indices of a few different training examples, of all classes in turn; a small model gets fewer."""
    dataset, split = bench.dataset, bench.dataset.train
    capacity = num_parameters // max(1, dataset.num_outputs) // 2
    size = max(2, min(2 if dataset.kind == "language" else _MAX_EXAMPLES, capacity, bench.config.batch_size))
    if dataset.kind == "ranking":  # the model has to order all rows of a query
        size = max(1, min(4, capacity // dataset.shape[0]))
    candidates = bench.probe(split, 512)
    distinct = _first_of_each(split.features[candidates])
    candidates = candidates[distinct]
    if dataset.kind != "classification":
        return candidates[:size]
    # The nth example of its class comes before every (n + 1)th.
    labels = split.targets[candidates].tolist()
    seen: dict[int, int] = {}
    ranks = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        ranks.append(seen[label])
    order = sorted(range(len(labels)), key=lambda index: ranks[index])
    return candidates[torch.tensor(order[:size], device=candidates.device)]


def shape_of(losses: Sequence[float]) -> str:
    """Return how a loss that did not become small behaved: explodes, rises, oscillates or plateaus."""
    first = losses[0]
    scale = max(abs(first), 1e-3)
    if not all(math.isfinite(loss) for loss in losses) or max(losses) > first + 10 * scale:
        return "explodes"
    end = losses[-max(1, len(losses) // 5) :]
    changes = [abs(after - before) for before, after in pairwise(losses)][-len(losses) // 2 :]
    if len(changes) > 4 and statistics.fmean(changes) > 0.1 * max(abs(statistics.fmean(end)), 0.1 * scale):
        return "oscillates"
    return "rises" if statistics.fmean(end) > first + 0.05 * scale else "plateaus"


def _factors(fits: Sequence[Fit]) -> Iterator[float]:
    """Yield the factors of the configured rate to try: where the first training seems too fast, lower ones first."""
    yield 1.0
    is_slow = fits[0].shape == "plateaus"
    yield from ((10.0, 100.0, 0.1, 0.01) if is_slow else (0.1, 0.01, 0.001, 10.0))[: _MAX_TRAININGS - 1]


def _fit(components: Components, state: TrainState, indices: Tensor, factor: float, deadline: Deadline) -> Fit:
    losses: list[float] = []
    best = -math.inf
    for number in range(1, _MAX_STEPS + 1):
        losses.append(step_loss(components, state, indices, factor))
        if not math.isfinite(losses[-1]):
            break
        if number % _STEPS_BETWEEN_TESTS == 0:
            score = _score(components.dataset, *outputs_of(components, state.model, components.dataset.train, indices))
            best = max(best, score)
            if score >= _FITTED_SCORE and losses[-1] <= _FITTED_LOSS * losses[0]:
                return Fit(factor, losses, score, number, is_complete=True)
        if deadline.has_passed:
            return Fit(factor, losses, best, None, is_complete=False)
    return Fit(factor, losses, best, None, is_complete=True)


def _judge(bench: Bench, num_examples: int, fits: Sequence[Fit]) -> Check:
    first, last = fits[0], fits[-1]
    rate = bench.config.optimizer.settings.get("lr")
    what = f"{num_examples} examples"
    figures = {
        "examples": num_examples,
        "trainings": [
            {
                "rate": None if rate is None else rate * fit.rate, "shape": fit.shape, "steps": len(fit.losses),
                "first_loss": fit.losses[0], "last_loss": fit.losses[-1], "score": fit.score,
            }
            for fit in fits
        ],
    }  # fmt: skip
    curves = [
        Curve(
            f"one batch, {'configured rate' if rate is None else f'rate {rate * fit.rate:.3g}'}", "step", "loss",
            list(range(1, len(fit.losses) + 1)), [loss if math.isfinite(loss) else None for loss in fit.losses],
        )
        for fit in fits
    ]  # fmt: skip

    def check(status: Status, sentence: str, remedy: str | None = None) -> Check:
        return Check(_NUMBER, _NAME, status, sentence, figures, remedy, curves)

    seen = (
        f"its loss went from {in_words(first.losses[0])} to {in_words(first.losses[-1])} in {len(first.losses)} steps"
    )
    if last.fitted_after is not None:
        if last is first:
            return check(Status.PASSED, f"The model fits {what} in {last.fitted_after} steps.")
        used = "" if rate is None else f" of {rate * last.rate:.3g}"
        sentence = f"The model fits {what} in {last.fitted_after} steps at a rate{used}, but not at the configured one"
        if _is_searched(bench, last.rate):
            return check(Status.PASSED, f"{sentence}; both lie in the searched range.")
        verb = "lower" if last.rate < 1 else "raise"
        return check(
            Status.WARNED, f"{sentence}: there {seen} ({first.shape}).",
            f"Change the rate: {verb} {LEARNING_RATE} towards {'it' if rate is None else f'{rate * last.rate:.3g}'}.",
        )  # fmt: skip
    if not first.is_complete:
        return check(Status.NOT_RUN, f"The time was over after {len(first.losses)} steps on one batch: {seen}.")
    shape = _consensus(fits)
    tried = "" if len(fits) == 1 else f", at {len(fits) - 1} other rates neither"
    return check(
        Status.FAILED, f"The model can't fit {what}{tried}: {seen} ({shape}), score {in_words(first.score)}.",
        _REMEDIES[shape],
    )  # fmt: skip


def _consensus(fits: Sequence[Fit]) -> str:
    """Return the shape that explains all trainings: an ascent that is slow enough only rises."""
    shapes = [fit.shape for fit in fits]
    return "rises" if "rises" in shapes else shapes[0]


def _is_searched(bench: Bench, factor: float) -> bool:
    parameter = bench.space.parameters.get(LEARNING_RATE)
    if parameter is None:
        return False
    rate = bench.config.optimizer.settings["lr"] * factor
    return bool(min(parameter.values) <= rate * 1.001 and rate <= max(parameter.values) * 1.001)


def _first_of_each(features: Tensor) -> Tensor:
    """Return the positions of the first of each set of equal examples, in order."""
    rows = features.flatten(1)
    _, inverse = torch.unique(rows, dim=0, return_inverse=True)
    seen: dict[int, int] = {}
    for position, group in enumerate(inverse.tolist()):
        seen.setdefault(group, position)
    return torch.tensor(sorted(seen.values()), device=features.device)


def _score(dataset: Dataset, outputs: Tensor, targets: Tensor) -> float:
    """Return the share of right answers, of explained variance, or of pairs in the right order."""
    if dataset.kind in ("classification", "language"):
        return float((outputs.argmax(-1) == targets).float().mean())
    if dataset.kind == "ranking":
        pairs = (targets.unsqueeze(2) > targets.unsqueeze(1)) & (targets.unsqueeze(1) >= 0)
        right = (outputs.unsqueeze(2) > outputs.unsqueeze(1)) & pairs
        return float(right.sum() / pairs.sum().clamp_min(1))
    residual = (outputs - targets).square().sum()
    return float(1 - residual / (targets - targets.mean()).square().sum().clamp_min(1e-12))
