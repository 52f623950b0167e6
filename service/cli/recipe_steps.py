"""Writes the study file of `study init --recipe steps`: a search in the steps that J. Johnson teaches.

The steps are those of EECS 498 (lecture 11) and CS231n: check the initial loss, overfit a small sample, find rates that
make the loss go down, try rates and decays coarsely, train the best for longer, and look at the curves. The preflight
is the first two, and the stages of a coarse-to-fine search are the next ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from service.cli.inspect_data import DataSummary
from service.cli.scaffold import comments, data_and_loss, describe, head, mapping, reference
from service.cli.training_defaults import models, num_training, training_defaults

_RATES = 4
"""1e-1, 1e-2, 1e-3 and 1e-4."""

_DECAYS = ("0", "1e-5", "1e-4")
_FEW_CLASSES, _SMALL_IMAGE = 3, 16
_SMALL_EXAMPLES, _RAREST = 200, 10
"""A small problem has so many examples, and more if its rarest class would have fewer than ten of them."""

_FEW_STEPS = 150
"""Optimizer steps after which a rate shows whether the loss falls."""

_MAX_FEW_EPOCHS, _LONG, _LONG_TRIALS = 10, 5, 6


class _Epochs(NamedTuple):
    """The lengths of trainings: a few epochs, and long ones."""

    few: int
    long: int


def write_steps(summary: DataSummary, name: str, file: str, findings: Sequence[str] = ()) -> str:
    """Return the text of a study file that searches in steps.

    Args:
        summary: the inspected data.
        name: the study's name.
        file: the file's future path, for the commands in its comments.
        findings: what `study look` found in the data, a sentence each.
    """
    batch = training_defaults(summary).batch_size
    epochs = _epochs(num_training(summary) / batch)
    stages = _stages(summary, batch, epochs)
    model, optimizer = models(summary)[-1], "adamw" if summary.inputs == "tokens" else "sgd"
    return "\n".join(
        [
            f"# A search in steps of {describe(summary)}.",
            "# The steps are those of J. Johnson (EECS 498, lecture 11). Look at the data first: study look. Then:",
            "#",
            f"#   study plan {file}",
            f"#   study create {file}",
            f"#   study watch {name}",
            f"#   study show {name}     # the preflight, and the range of each step with its reason",
            *comments(summary, findings),
            *head(summary, name),
            "# Steps 1 and 2, before any trial: the initial loss is that of chance, one small batch can be overfitted,",
            "# and more. If a check fails, the study pauses and says what to do.",
            "preflight: require",
            *data_and_loss(summary, f"name: {model}"),
            f"    optimizer: {{name: {optimizer}, lr: 1e-2, weight_decay: 0}}",
            "    schedule: {name: constant}     # no decay of the rate: its curve would hide a rate that is too high",
            f"    batch_size: {batch}",
            f"    epochs: {epochs.long}",
            "space:",
            "  # Each order of magnitude once. The rates that fit lie between too high and too slow.",
            f"  optimizer.lr: {{type: float, low: 1e-4, high: 1e-1, log: true, points: {_RATES}}}",
            f"  optimizer.weight_decay: {{type: categorical, choices: [{', '.join(_DECAYS)}], ordered: true}}",
            "sampler:",
            "  name: coarse_to_fine",
            "  review: false     # true: the study waits before each step until you accept or change its range",
            "  stages:",
            *(part for why, stage in stages for part in (*(f"    # {line}" for line in why), f"    - {stage}")),
            "pruner: none     # every curve is there to be looked at",
            f"budget: {{trials: {_RATES + _RATES + _RATES * len(_DECAYS) + _LONG_TRIALS}}}",
            *reference(summary),
            *_diagnosis(name),
            "",
        ]
    )


def _epochs(steps_per_epoch: float) -> _Epochs:
    few = min(max(math.ceil(_FEW_STEPS / steps_per_epoch), 2), _MAX_FEW_EPOCHS)
    return _Epochs(few, _LONG * few)


def _stages(summary: DataSummary, batch: int, epochs: _Epochs) -> list[tuple[list[str], str]]:
    """Return the stages, each with the comment that says why it is there."""
    overrides = _small_problem(summary, batch)
    smaller = ["few examples"] + (["few classes"] if "data.classes" in overrides else [])
    smaller += ["small images"] if "data.size" in overrides else []
    few = f"sampler: grid, resource: {epochs.few}"
    simple = [
        f"Start simple: {', '.join(smaller)}, no regularisation. An error in the data or the code shows within",
        "seconds here. At some rate the training loss must fall far below chance; if it does at none, stop the",
        "study and look for the error. keep: 1 passes all rates on: a small problem may need others than the whole.",
    ]
    rates = ["Step 3, rates: all data, a small decay, a few epochs. A good rate makes the loss fall fast."]
    grid = ["Step 4, coarse grid: rates around the best one, times every decay, for as many epochs."]
    longer = [
        "Step 5, train longer: around the best of the grid, still without a decay of the rate. `study extend` adds",
        "trials to this step.",
    ]
    fixed = f"fixed: {{optimizer.weight_decay: {_DECAYS[0]}}}, overrides: {mapping(overrides)}"
    return [
        (simple, f"{{trials: {_RATES}, {few}, keep: 1, {fixed}}}"),
        (rates, f"{{trials: {_RATES}, {few}, keep: 0.25, fixed: {{optimizer.weight_decay: {_DECAYS[-1]}}}}}"),
        (grid, f"{{trials: {_RATES * len(_DECAYS)}, {few}, keep: 0.25}}"),
        (longer, f"{{trials: {_LONG_TRIALS}, sampler: sobol, resource: {epochs.long}}}"),
    ]


def _small_problem(summary: DataSummary, batch: int) -> dict[str, int]:
    """Return the settings that make a small problem of the data."""
    settings: dict[str, int] = {}
    kept = [count for _, count in summary.classes.most_common()]
    if summary.num_classes > _FEW_CLASSES:
        settings["data.classes"] = _FEW_CLASSES
        kept = kept[:_FEW_CLASSES]
    limit = max(_SMALL_EXAMPLES, math.ceil(_RAREST * sum(kept) / min(kept)) if kept else 0, 4 * batch)
    settings["data.limit"] = max(2, min(limit, int(num_training(summary) / 2)))
    if summary.data["name"] == "images":
        settings["data.size"] = _SMALL_IMAGE
    return settings


def _diagnosis(name: str) -> list[str]:
    """Return the comments on what to look at once the study is complete."""
    return [
        "# Steps 6 and 7, diagnosis: look at the curves of the last step before you search on.",
        "#   both losses still fall at the end: train longer, with more epochs",
        "#   training is far better than validation, overfitted: more data, decay, dropout or augmentation",
        "#   both are bad and close together, underfitted: a larger model, or another one",
        "#   the loss falls, then stays level: let the rate decay, with schedule: {name: cosine}",
        "#   the loss is level at first, then falls: another initialisation, with model.init",
        "#   the loss jumps or rises: a lower rate",
        f"#   study trials {name} --sort value --columns number,stage,value,optimizer.lr,optimizer.weight_decay",
        f"#   study importance {name}     # which of the two matters more",
    ]
