"""Remedies that the rules of one trial name, with their sentences and settings."""

from __future__ import annotations

import math

from service.analysis.diagnosis.schedule import number
from service.analysis.diagnosis.trial_curves import TrialCurves
from service.contract.finding import Remedy, RemedyName


def lower_rate(factor: float = 0.3) -> Remedy:
    return Remedy(
        name=RemedyName.LOWER_RATE,
        sentence=f"Lower the learning rate to {factor:g} times its value.",
        settings={"factor": factor},
    )


def raise_rate(factor: float = 3.0) -> Remedy:
    return Remedy(
        name=RemedyName.RAISE_RATE,
        sentence=f"Raise the learning rate to {factor:g} times its value.",
        settings={"factor": factor},
    )


def decay_rate() -> Remedy:
    return Remedy(
        name=RemedyName.DECAY_RATE,
        sentence="Let the learning rate decay over the training, such as along a cosine.",
        settings={"schedule": "cosine"},
    )


def decay_later() -> Remedy:
    return Remedy(
        name=RemedyName.DECAY_LATER,
        sentence="Decay the learning rate later, such as along a cosine over the whole training.",
        settings={"schedule": "cosine"},
    )


def warm_up() -> Remedy:
    return Remedy(
        name=RemedyName.WARM_UP,
        sentence="Raise the learning rate from 0 over the first tenth of the training (warm-up).",
        settings={"warmup": 0.1},
    )


def clip_gradients() -> Remedy:
    return Remedy(
        name=RemedyName.CLIP_GRADIENTS, sentence="Clip the gradients to a norm of 1.", settings={"clip_norm": 1.0}
    )


def larger_batch() -> Remedy:
    return Remedy(
        name=RemedyName.LARGER_BATCH,
        sentence="Use larger batches, whose gradients are less noisy.",
        settings={"factor": 4},
    )


def change_optimizer() -> Remedy:
    return Remedy(
        name=RemedyName.CHANGE_OPTIMIZER, sentence="Use AdamW, which adapts its steps.", settings={"optimizer": "adamw"}
    )


def train_longer(curves: TrialCurves, factor: float = 2.0) -> Remedy:
    return Remedy(
        name=RemedyName.TRAIN_LONGER,
        sentence=f"Train {factor:g} times as long.",
        settings={"factor": factor, **_epochs(curves, factor)},
    )


def train_shorter(curves: TrialCurves, share: float) -> Remedy:
    return Remedy(
        name=RemedyName.TRAIN_SHORTER,
        sentence=f"Train {share:.0%} as long, so that the schedule ends there too.",
        settings={"factor": round(share, 2), **_epochs(curves, share)},
    )


def stop_early(curves: TrialCurves) -> Remedy:
    epochs = number(curves.config, "epochs", 0) or (curves.facts.last_step or 20)
    patience = max(3, round(epochs / 10))
    return Remedy(
        name=RemedyName.STOP_EARLY,
        sentence=f"Stop after {patience} reports without a better validation value, and keep the best weights.",
        settings={"patience": patience},
    )


def larger_model() -> Remedy:
    return Remedy(name=RemedyName.LARGER_MODEL, sentence="Use a wider or deeper model.", settings={"factor": 4})


def smaller_model() -> Remedy:
    return Remedy(name=RemedyName.SMALLER_MODEL, sentence="Use a smaller model.", settings={"factor": 0.25})


def other_model() -> Remedy:
    return Remedy(name=RemedyName.OTHER_MODEL, sentence="Try another architecture, which fits the data better.")


def more_regularization() -> Remedy:
    return Remedy(
        name=RemedyName.MORE_REGULARIZATION,
        sentence="Add weight decay or dropout.",
        settings={"optimizer.weight_decay": 0.1, "model.dropout": 0.3},
    )


def less_regularization() -> Remedy:
    return Remedy(
        name=RemedyName.LESS_REGULARIZATION,
        sentence="Reduce weight decay, dropout and penalties.",
        settings={"optimizer.weight_decay": 0.0, "model.dropout": 0.0, "l1": 0.0},
    )


def augment() -> Remedy:
    return Remedy(name=RemedyName.AUGMENT, sentence="Augment the training examples.")


def more_data() -> Remedy:
    return Remedy(name=RemedyName.MORE_DATA, sentence="Collect more training examples.")


def normalize() -> Remedy:
    return Remedy(
        name=RemedyName.NORMALIZE,
        sentence="Scale the inputs to mean 0 and deviation 1, and add norms between the layers.",
    )


def change_initialization() -> Remedy:
    return Remedy(
        name=RemedyName.CHANGE_INITIALIZATION,
        sentence="Initialise the weights by He's method for ReLU, or Glorot's for tanh.",
        settings={"init": "kaiming"},
    )


def change_activation() -> Remedy:
    return Remedy(
        name=RemedyName.CHANGE_ACTIVATION,
        sentence="Use GELU or ReLU between the layers, and a plain linear output.",
        settings={"activation": "gelu"},
    )


def change_loss() -> Remedy:
    return Remedy(name=RemedyName.CHANGE_LOSS, sentence="Check that loss and last layer fit the task.")


def class_weights() -> Remedy:
    return Remedy(
        name=RemedyName.CLASS_WEIGHTS,
        sentence="Weigh the classes by the inverse of their frequency.",
        settings={"loss.balance": 1.0},
    )


def check_data() -> Remedy:
    return Remedy(
        name=RemedyName.CHECK_DATA, sentence="Check that inputs and targets belong together and carry a signal."
    )


def check_labels() -> Remedy:
    return Remedy(
        name=RemedyName.CHECK_LABELS, sentence="Check the labels: look at examples that the model gets wrong."
    )


def shuffle() -> Remedy:
    return Remedy(name=RemedyName.SHUFFLE, sentence="Shuffle the training examples before each epoch.")


def run_preflight() -> Remedy:
    return Remedy(
        name=RemedyName.RUN_PREFLIGHT,
        sentence="Run the preflight: it overfits one batch and looks at every layer's gradient.",
    )


def _epochs(curves: TrialCurves, factor: float) -> dict[str, int]:
    epochs = number(curves.config, "epochs", 0)
    return {"epochs": max(1, math.ceil(epochs * factor))} if epochs else {}
