"""Decides what each recorded training is labelled, by criteria that compare it with other trainings of its group.

No criterion reads the shape of a curve as a rule does, except where the label is a statement about the shape. A level
is the mean of the last tenth of the validation loss. The gain of a group is the loss of the best constant prediction
minus the lowest level of its sound trainings. "Clearly better" means lower by a tenth of the gain, "as good" within 3 %
of it. A training between the two has no label and is left out.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CLEARLY = 0.10
AS_GOOD = 0.03
_SMALL_GAIN = 0.10
"""A group that gains a smaller share of the loss of chance teaches nothing and is left out."""

HEALTHY = "healthy"
_TOO_FAST = ("diverged", "exploding", "rate_too_high", "oscillating")


@dataclass(frozen=True)
class Label:
    """What is wrong with a training by construction.

    Attributes:
        name: the label: the rule that should name the cause, or healthy.
        accepted: the rules whose finding counts as right.
    """

    name: str
    accepted: tuple[str, ...]


ACCEPTED: Mapping[str, tuple[str, ...]] = {
    HEALTHY: (),
    "diverged": ("diverged",),
    "rate_too_high": (*_TOO_FAST, "plateau", "stalled"),
    "rate_too_low": ("rate_too_low", "still_improving", "stalled"),
    "still_improving": ("still_improving", "rate_too_low"),
    "overfitting": ("overfitting",),
    "best_step_early": ("best_step_early", "overfitting", "noisy_labels"),
    "saturated_early": ("saturated_early",),
    "noisy_labels": ("noisy_labels", "stalled", "overfitting"),
    "partly_noisy_labels": ("noisy_labels", "overfitting", "underfitting", "high_variance"),
    "underfitting": ("underfitting", "stalled"),
    "decayed_too_early": ("decayed_too_early",),
    "plateau": ("plateau", "oscillating", "rate_too_high"),
    "flat_then_drop": ("flat_then_drop",),
    "stalled": ("stalled", "vanishing_gradients", "flat_then_drop", "dead_units"),
    "bad_initialization": ("bad_initialization", "exploding_gradients", *_TOO_FAST),
    "unscaled_features": ("bad_initialization", *_TOO_FAST, "stalled", "plateau", "underfitting", "rate_too_low",
                          "still_improving", "dead_units", "exploding_gradients"),
    "not_shuffled": (*_TOO_FAST, "stalled", "plateau"),
    "dead_units": ("dead_units",),
    "vanishing_gradients": ("vanishing_gradients", "stalled", "flat_then_drop"),
    "exploding_gradients": ("exploding_gradients", "bad_initialization", *_TOO_FAST),
}  # fmt: skip
"""Label -> the rules that count as right, decided before any rule was measured."""


def label_all(records: Sequence[Mapping[str, Any]]) -> dict[str, Label]:
    """Return the label of each training that the criteria decide, by its name."""
    groups: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for record in records:
        group, _, variant = record["name"].partition(" | ")
        groups[group][variant] = record
    labels: dict[str, Label] = {}
    for name, variants in groups.items():
        for variant, label in _Group(variants).labels().items():
            labels[f"{name} | {variant}"] = Label(label, ACCEPTED[label])
    return labels


def level(record: Mapping[str, Any], metric: str = "val/loss") -> float:
    """Return the mean of the last tenth of a metric; infinite for a training that diverged."""
    values = record["curves"].get(metric, [])
    if record["diverged"] or not values:
        return math.inf
    last = values[-max(1, len(values) // 10) :]
    return sum(math.inf if value is None else value for value in last) / len(last)


class _Group:
    def __init__(self, variants: Mapping[str, Mapping[str, Any]]) -> None:
        self._variants = variants
        self._sound = {_rate_and_length(name): each for name, each in variants.items() if name.startswith("rate ")}
        self._chance = next(iter(variants.values()))["chance"]
        for each in self._sound.values():
            self._chance = each["chance"]
        self._best = min((level(each) for each in self._sound.values()), default=math.inf)
        self._gain = self._chance - self._best

    def labels(self) -> dict[str, str]:
        if not self._gain > _SMALL_GAIN * self._chance:
            return {}
        found: dict[str, str] = {}
        for name, record in self._variants.items():
            label = self._sound_label(*_rate_and_length(name)) if name.startswith("rate ") else None
            if not name.startswith("rate "):
                label = self._planted_label(name, record)
            if label is not None:
                found[name] = label
        return found

    def _is_worse(self, record: Mapping[str, Any], than: float, by: float = CLEARLY) -> bool:
        return level(record) - than >= by * self._gain

    def _sound_label(self, rate: float, length: float) -> str | None:  # noqa: PLR0911 - one return per label
        record = self._sound[rate, length]
        if record["diverged"]:
            return "diverged"
        others = {other: each for (other, length_of), each in self._sound.items() if length_of == length}
        best_rate = min(others, key=lambda each: level(others[each]))
        longer = [level(each) for (other, other_length), each in self._sound.items()
                  if other == rate and 2 <= other_length / length <= 4]  # fmt: skip
        shorter = [level(each) for (other, other_length), each in self._sound.items()
                   if other == rate and 2 <= length / other_length <= 4]  # fmt: skip
        own_best = min(value for value in record["curves"]["val/loss"] if value is not None)
        if shorter and self._is_worse(record, min(shorter)) and self._is_worse(record, own_best):
            return "overfitting"
        if (
            length == 1
            and self._is_worse(record, level(others[best_rate]))
            and self._trains_worse(record, others[best_rate])
        ):
            return "rate_too_low" if rate < best_rate else "rate_too_high"
        if longer and self._is_worse(record, min(longer)):
            return "still_improving" if rate <= 1 else None
        if self._is_worse(record, self._best, AS_GOOD):
            return None
        is_constant = record["config"]["schedule"]["name"] == "constant"
        if is_constant and shorter and abs(level(record) - min(shorter)) <= 0.01 * self._gain:
            return "saturated_early"
        return HEALTHY

    def _trains_worse(self, record: Mapping[str, Any], than: Mapping[str, Any]) -> bool:
        return level(record, "train/loss") - level(than, "train/loss") >= CLEARLY / 2 * self._gain

    def _planted_label(self, name: str, record: Mapping[str, Any]) -> str | None:  # noqa: PLR0911
        if name.startswith("constant rate"):
            decayed = self._variants.get(name.replace("constant", "late decay"))
            is_plateau = decayed is not None and not record["diverged"] and self._is_worse(record, level(decayed), 0.05)
            return "plateau" if is_plateau else None
        label = PLANTED.get(name)
        if label is None:
            return None
        if record["diverged"]:
            return "exploding_gradients" if label in ("exploding_gradients", "bad_initialization") else "diverged"
        if label in ("flat_then_drop", "bad_initialization"):
            return self._start_label(label, record)
        if not self._is_worse(record, self._best):
            return None
        if label == "overfitting" and level(record) - level(record, "train/loss") < CLEARLY * self._gain:
            return None
        if label == "underfitting":
            gap = level(record) - level(record, "train/loss")
            worse = min(level(each, "train/loss") for each in self._sound.values())
            if gap > CLEARLY * self._gain or level(record, "train/loss") - worse < 2 * CLEARLY * self._gain:
                return None
        return label

    def _start_label(self, label: str, record: Mapping[str, Any]) -> str | None:
        """Label a bad start only where it shows: at chance for a sixth of the steps, or begun far above chance."""
        values = [math.inf if value is None else value for value in record["curves"]["val/loss"]]
        if label == "bad_initialization":
            return label if values[0] >= 2 * self._chance else None
        flat = sum(1 for value in values if value >= self._chance - 0.05 * self._gain)
        if flat == len(values):
            return "stalled"
        has_dropped = level(record) <= self._chance - 0.5 * self._gain
        return label if flat >= len(values) / 6 and flat >= 3 and has_dropped else None


PLANTED: Mapping[str, str] = {
    "labels permuted": "noisy_labels",
    "half of the labels permuted": "partly_noisy_labels",
    "features not scaled": "unscaled_features",
    "examples not shuffled": "not_shuffled",
    "few examples, huge model": "overfitting",
    "few examples, huge model, long": "overfitting",
    "huge model, long, fast": "overfitting",
    "tiny model": "underfitting",
    "tiny narrow model": "underfitting",
    "dropout of 0.95": "underfitting",
    "weight decay": "underfitting",
    "penalty l1": "underfitting",
    "decay at 0.04": "decayed_too_early",
    "decay at 0.1": "decayed_too_early",
    "decay at 0.2": "decayed_too_early",
    "small start": "flat_then_drop",
    "small start, deep": "flat_then_drop",
    "small start, long": "flat_then_drop",
    "large start": "bad_initialization",
    "very large start": "bad_initialization",
    "deep sigmoids": "vanishing_gradients",
    "deeper sigmoids sgd": "vanishing_gradients",
    "wild start": "exploding_gradients",
    "wild start sgd": "exploding_gradients",
    "dead units": "dead_units",
    "nearly all units dead": "dead_units",
    "input ignored": "stalled",
    "no step": "stalled",
}
"""Planted variant -> its label, if it is clearly worse than the sound trainings of its group."""


def _rate_and_length(name: str) -> tuple[float, float]:
    words = name.split()
    return float(words[1]), float(words[3]) if len(words) > 2 else 1.0
