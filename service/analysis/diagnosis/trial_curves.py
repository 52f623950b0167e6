"""What the rules of one trial read: its training and validation curve, the level of chance, and its schedule."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from service.analysis.diagnosis.curve import Curve, Floats
from service.analysis.diagnosis.facts import TrialFacts
from service.analysis.diagnosis.schedule import is_cyclic, rate_factors, section
from service.contract.trial import TrialState
from service.domain.history import Series

_TRAIN = frozenset({"train", "training", "tr"})
_VAL = frozenset({"val", "valid", "validation", "eval", "dev"})
_OTHERS = frozenset({"test", "std", "norm", "snapshots", "lr", "grad"})
_LOSS = frozenset({"loss", "nll", "mse", "mae", "rmse", "error", "perplexity", "cross_entropy", "crossentropy"})
_CLASSES_OF_BUILT_IN = {"digits": 10, "wine": 3, "breast_cancer": 2}
_STANDARDISED_CHANCE = {"mse": 1.0, "mae": 0.8, "huber": 0.45}
"""The loss of predicting the mean of standardised, about normal targets: E(x²), E|x| and the Huber loss of delta 1."""
_SKILL = 0.6
"""An accuracy or R² above this was learned, unless one class is as frequent."""
_FINISHED_SHARE = 0.9
"""A curve that ends before this share of the horizon says nothing about the end of the training."""


@dataclass(frozen=True)
class TrialCurves:
    """The curves of one trial, as its rules read them.

    Attributes:
        facts: the facts about the trial.
        train: the training loss, or the training metric where no loss is reported; None: there is none.
        val: the validation curve of the same metric; None: there is none.
    """

    facts: TrialFacts
    train: Curve | None
    val: Curve | None

    @classmethod
    def of(cls, facts: TrialFacts) -> TrialCurves:
        """Choose the curves: those of a loss before those of another metric, then a pair before a single one."""
        roles = {name: role for name in facts.curves if (role := _role(name)) is not None}
        pairs: dict[str, dict[str, str]] = {}
        for name in sorted(roles):
            split, base = roles[name]
            pairs.setdefault(base, {})[split] = name
        if not pairs:
            return cls(facts, None, None)
        base = min(pairs, key=lambda each: _preference(each, pairs[each], facts))
        sign = 1.0 if _is_loss(base) else _sign_of_objective(facts)
        chosen = {split: Curve.of(name, facts.curves[name], sign) for split, name in pairs[base].items()}
        train, val = chosen.get("train"), chosen.get("val")
        return cls(facts, train or None, val or None)

    @property
    def config(self) -> Mapping[str, Any]:
        return self.facts.config

    @cached_property
    def is_finished(self) -> bool:
        """Whether the training went to its end, as far as is known."""
        if self.facts.state not in (TrialState.COMPLETED, TrialState.FAILED):
            return False
        main = self.main
        if main is None or self.facts.last_step is None:
            return self.facts.state is TrialState.COMPLETED
        return bool(main.steps[-1] >= _FINISHED_SHARE * self.facts.last_step)

    @property
    def main(self) -> Curve | None:
        """The validation curve, or else the training curve."""
        return self.val if self.val is not None else self.train

    @property
    def is_cyclic(self) -> bool:
        return is_cyclic(self.config)

    @property
    def is_fine_tuning(self) -> bool:
        """Whether the weights were trained before, so that the training does not begin at chance."""
        finetune = section(self.config, "finetune").get("name", "full")
        model = section(self.config, "model")
        return finetune != "full" or "path" in model or "pretrained" in model or bool(model.get("weights"))

    @cached_property
    def chance(self) -> float | None:
        """The loss of a constant prediction, in the sign of the curves; None: it is not known."""
        main = self.main
        if main is None:
            return None
        for curve in (self.val, self.train):
            if curve is not None and curve.name in self.facts.chance:
                chance = self.facts.chance[curve.name]
                return main.sign * chance if math.isfinite(chance) else None
        return _chance_by_r2(self) or _chance_by_config(self)

    @cached_property
    def start(self) -> float | None:
        """The loss before the first step: that of chance where it is known, else the first value."""
        if self.chance is not None and not self.is_fine_tuning:
            return self.chance
        return None if self.main is None else max(each.first for each in (self.train, self.val) if each is not None)

    @cached_property
    def rates(self) -> Floats | None:
        """The schedule's factor of the rate over each step of the main curve; None: not known."""
        if self.main is None:
            return None
        last = self.facts.last_step or float(self.main.steps[-1])
        return rate_factors(self.config, self.main.steps, last)

    @property
    def is_skilled(self) -> bool:
        """Whether an accuracy or R² says that the training has learned."""
        for name in ("accuracy", "r2"):
            for split in ("val", "train"):
                values = [value for _, value in self.facts.curves.get(f"{split}/{name}", ())]
                if values and max(values) > _SKILL:
                    return True
        return False

    def reported(self, name: str) -> Curve | None:
        """Return another metric's curve, such as `norm/gradient`; None if it has no finite value."""
        curve = Curve.of(name, self.facts.curves.get(name, ()))
        return curve if len(curve) else None


def nonfinite_losses(facts: TrialFacts) -> list[tuple[str, int, float]]:
    """Return each loss that has a value that is NaN or infinite, with the first such step and its value."""
    found: list[tuple[str, int, float]] = []
    for name in sorted(facts.curves):
        role = _role(name)
        is_loss = _is_loss(name if role is None else role[1])
        points = [(step, value) for step, value in facts.curves[name] if not math.isfinite(value)]
        if points and is_loss:
            found.append((name, *points[0]))
    return found


def _role(name: str) -> tuple[str, str] | None:
    """Return the split of a metric, train or val, and its name without it; None: it belongs to neither.

    Both `val/loss` and Keras's pair `loss` and `val_loss` are known.
    """
    words = [word for word in re.split(r"[/_.\- ]+", name.lower()) if word]
    if not words or _OTHERS & set(words):
        return None
    base = "_".join(word for word in words if word not in _TRAIN | _VAL)
    if not base:
        return None
    if _VAL & set(words):
        return "val", base
    if _TRAIN & set(words) or _is_loss(base):
        return "train", base
    return None


def _is_loss(base: str) -> bool:
    return base in _LOSS or bool(_LOSS & set(re.split(r"[/_.\- ]+", base.lower())))


def _preference(base: str, splits: Mapping[str, str], facts: TrialFacts) -> tuple[bool, bool, bool, bool, str]:
    """Return the sort key of a metric: losses first, then pairs, the loss itself, the objective."""
    longest: Series = max((facts.curves[name] for name in splits.values()), key=len)
    return (
        not any(math.isfinite(value) for _, value in longest),
        not _is_loss(base),
        len(splits) < 2,
        base != "loss" and facts.objective not in splits.values(),
        base,
    )


def _sign_of_objective(facts: TrialFacts) -> float:
    return -1.0 if facts.direction == "maximize" else 1.0


def _chance_by_r2(curves: TrialCurves) -> float | None:
    """Return the mean squared error of predicting the mean, from R² = 1 - error / variance at the same step."""
    if section(curves.config, "loss").get("name") != "mse":
        return None
    for split in ("val", "train"):
        squares, errors = dict(curves.facts.curves.get(f"{split}/r2", ())), curves.facts.curves.get(f"{split}/loss", ())
        found = [error / (1 - squares[step]) for step, error in errors if squares.get(step, 1.0) < 0.999]
        finite = [each for each in found if math.isfinite(each)]
        if finite:
            return float(np.median(finite))
    return None


def _chance_by_config(curves: TrialCurves) -> float | None:
    loss, main = section(curves.config, "loss").get("name"), curves.main
    if main is None or not main.name.endswith("/loss") or section(curves.config, "loss").get("balance"):
        return None
    num_classes = _CLASSES_OF_BUILT_IN.get(str(section(curves.config, "data").get("name")))
    if loss == "cross_entropy" and num_classes:
        return math.log(num_classes)
    return _STANDARDISED_CHANCE.get(str(loss))
