"""Check 2: the untrained model's loss is what chance predicts, and the loss function rewards right answers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.training.data import Dataset
from worker.training.preflight.bench import Bench, in_words, outputs_of
from worker.training.preflight.result import Check, Status

_NUMBER = 2
_WARN_AT, _WARN_REGRESSION_AT, _FAIL_AT = 2.5, 4.0, 10.0
"""How many times the loss of chance the first loss may be. He's initialisation gives up to 1.6, and 3 for a squared
error, because its last layer has outputs of variance 2."""
_CONFIDENT = 6.0


def check_initial_loss(bench: Bench) -> list[Check]:
    """Compare the first loss, without regularisation, with that of a constant; and test the loss function itself."""
    components, state = bench.build(bench.plain_config, is_plain=True)
    split = bench.dataset.train
    outputs, targets = outputs_of(components, state.model, split, bench.probe(split))
    return [_loss_function(bench, components.loss, targets), _first_loss(bench, components.loss, outputs, targets)]


def _first_loss(bench: Bench, loss: nn.Module, outputs: Tensor, targets: Tensor) -> Check:
    initial = _value(loss, outputs, targets)
    uniform, informed = (_value(loss, constant, targets) for constant in _constants(bench.dataset, targets))
    # For numbers the mean is what chance predicts; for classes an untrained model knows no frequencies.
    chance = uniform if bench.dataset.kind in ("classification", "language", "ranking") else informed
    ratio = initial / chance if chance > 0 else 1.0
    figures = {"loss": initial, "chance": chance, "chance_with_frequencies": informed, "ratio": ratio}
    name, what = "initial_loss", _what_chance_is(bench.dataset)
    seen = f"The untrained model's loss is {in_words(initial)}; {what} has {in_words(chance)}"
    if not initial < _FAIL_AT * chance and chance > 0:
        remedy = (
            "Standardise the targets, or let the model predict values around 0."
            if bench.dataset.kind == "regression"
            else "Begin with smaller weights and a bias of 0 in the last layer, or normalise its inputs."
        )
        return Check(_NUMBER, name, Status.FAILED, f"{seen}, {ratio:.0f} times less.", figures, remedy)
    if ratio > (_WARN_REGRESSION_AT if bench.dataset.kind == "regression" else _WARN_AT):
        return Check(
            _NUMBER, name, Status.WARNED, f"{seen}, {ratio:.1f} times less.", figures,
            "Begin with smaller weights in the last layer: the first epochs only unlearn the initialisation.",
        )  # fmt: skip
    if initial < 0.4 * min(uniform, informed) and bench.dataset.kind != "language":
        return Check(
            _NUMBER, name, Status.WARNED, f"{seen}, which the model beats before it has learned anything.", figures,
            "If the model was not trained before, look for the target among the features.",
        )  # fmt: skip
    return Check(_NUMBER, name, Status.PASSED, f"{seen}.", figures)


def _loss_function(bench: Bench, loss: nn.Module, targets: Tensor) -> Check:
    """Check that right answers have a smaller loss than a constant, and wrong ones a larger; and that it is a mean."""
    right, wrong = _right_and_wrong(bench.dataset, targets)
    constant, _ = _constants(bench.dataset, targets)
    losses = {
        "right": _value(loss, right, targets),
        "constant": _value(loss, constant, targets),
        "wrong": _value(loss, wrong, targets),
    }
    name = "loss_function"
    losses_in_words = ", ".join(f"{in_words(value)} for {kind} outputs" for kind, value in losses.items())
    if not losses["right"] < losses["constant"] < losses["wrong"]:
        sign = losses["right"] > losses["constant"] > losses["wrong"]
        remedy = (
            "Change the sign of the loss: training makes it smaller."
            if sign
            else "Compare the shapes of outputs and targets inside the loss: broadcasting pairs each with all others."
        )
        return Check(
            _NUMBER, name, Status.FAILED, f"The loss is {losses_in_words}; it must rise in this order.", losses, remedy
        )
    first = max(1, len(targets) // 3)
    whole = _value(loss, wrong, targets)
    parts = [_value(loss, wrong[part], targets[part]) for part in (slice(None, first), slice(first, None))]
    mean = (parts[0] * first + parts[1] * (len(targets) - first)) / len(targets) if first < len(targets) else whole
    figures = {**losses, "mean_of_parts": mean}
    if abs(mean - whole) > 0.01 * max(abs(whole), abs(mean)):
        return Check(
            _NUMBER, name, Status.FAILED,
            f"The loss of {len(targets)} examples is {in_words(whole)}, but the mean of its parts is {in_words(mean)}.",
            figures, "Return the mean over the examples of a batch, not a sum and nothing that pairs examples.",
        )  # fmt: skip
    return Check(_NUMBER, name, Status.PASSED, f"The loss is {losses_in_words}.", figures)


def _constants(dataset: Dataset, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the outputs of a model that knows nothing, and of one that knows the frequencies or the mean alone."""
    if dataset.kind in ("classification", "language"):
        counts = torch.bincount(targets.flatten(), minlength=dataset.num_outputs).float()
        logits = (counts + 1e-3).log() - (counts + 1e-3).sum().log()
        zeros = torch.zeros(*targets.shape, dataset.num_outputs, device=targets.device)
        return zeros, zeros + logits
    zeros = torch.zeros_like(targets)
    return zeros, zeros if dataset.kind == "ranking" else zeros + targets.mean()


def _right_and_wrong(dataset: Dataset, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs that answer every example rightly, and outputs that answer it wrongly."""
    if dataset.kind in ("classification", "language"):
        right = functional.one_hot(targets, dataset.num_outputs).float()
        wrong = functional.one_hot((targets + 1) % dataset.num_outputs, dataset.num_outputs).float()
        return (2 * right - 1) * _CONFIDENT, (2 * wrong - 1) * _CONFIDENT
    if dataset.kind == "ranking":
        return targets, -targets
    return targets, -3 * targets


def _value(loss: nn.Module, outputs: Tensor, targets: Tensor) -> float:
    with torch.no_grad():
        return float(loss(outputs, targets))


def _what_chance_is(dataset: Dataset) -> str:
    if dataset.kind in ("classification", "language"):
        return f"chance among {dataset.num_outputs} classes"
    return "an order by chance" if dataset.kind == "ranking" else "the mean of the targets"
