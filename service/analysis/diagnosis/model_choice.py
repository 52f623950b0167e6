"""Rules about the model: a cheaper trial as good, all layers fine-tuned on few examples, worse than a linear model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from service.analysis.baseline_findings import baseline_findings
from service.analysis.diagnosis.facts import StudyFacts
from service.analysis.diagnosis.study_results import completed_trials, evidence, has_one_objective, losses_of
from service.analysis.diagnosis.trial_noise import measured_noise, sampling_noise
from service.contract.catalogue import load_catalogue
from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from service.domain.other_data import stages_on_other_data
from service.domain.task_config import apply_parameters

_FEWEST = 10
"""Smallest number of completed trials."""

_CHEAPER = 0.5
"""Largest cost of the cheaper trial, as a share of the best trial's."""

_COSTS = {"num_parameters": "parameters", "seconds": "seconds"}

_FEW_EXAMPLES = 1_000
"""Training examples below which fine-tuning all layers tends to overfit (CS231n, transfer learning)."""


def below_linear(facts: StudyFacts) -> Finding | None:
    """Find a search whose best value is worse than that of the linear baseline."""
    objective = facts.spec.primary_objective
    best = (
        facts.history.best(objective.direction, stages_on_other_data(facts.spec)) if has_one_objective(facts) else None
    )
    if best is None or best.value is None:
        return None
    found = baseline_findings(best.value, objective.metric, facts.references, objective.direction, facts.spec.name)
    return next(iter(found), None)


def cheaper_as_good(facts: StudyFacts) -> Finding | None:
    """Find a trial that costs at most half of the best one and is within one standard error of its value.

    The rule of one standard error is that of Breiman et al. (1984).
    """
    trials = completed_trials(facts)
    if len(trials) < _FEWEST:
        return None
    losses = losses_of(facts, trials)
    at_best = int(np.argmin(losses))
    best = trials[at_best]
    noise = measured_noise(facts, trials) or sampling_noise(facts, best)
    margin = 0.0 if noise is None else noise.deviation
    with np.errstate(all="ignore"):
        is_as_good = losses - losses[at_best] <= margin
    for cost, words in _COSTS.items():
        costs = np.array([facts.metrics.get(trial.number, {}).get(cost, math.nan) for trial in trials], dtype=float)
        full = costs[at_best]
        if not (math.isfinite(full) and full > 0):
            continue
        candidates = np.flatnonzero(is_as_good & (costs > 0) & (costs <= _CHEAPER * full))
        if not len(candidates):
            continue
        at = min(candidates.tolist(), key=lambda each: (costs[each], losses[each], trials[each].number))
        cheap, metric = trials[at], facts.spec.primary_objective.metric
        by = "equal" if noise is None else f"within the noise of ±{margin:.2g} ({noise.source})"
        sentence = (
            f"Trial {cheap.number} needs {_short(costs[at])} {words}, the best trial {best.number} {_short(full)}, and "
            f"their {metric}, {cheap.value:.4g} and {best.value:.4g}, are {by}."
        )
        return Finding(
            rule="cheaper_as_good",
            confidence=Confidence.MEDIUM if noise is None or noise.is_replicated else Confidence.LOW,
            sentence=sentence,
            evidence=[
                evidence(f"{words} of trial {cheap.number}", costs[at]),
                evidence(f"{words} of trial {best.number}", full),
                evidence(f"difference of {metric}", losses[at] - losses[at_best]),
                evidence("noise", margin),
            ],
            remedies=[
                Remedy(
                    name=RemedyName.TAKE_CHEAPER,
                    sentence=f"Take trial {cheap.number}.",
                    settings={"trial": cheap.number},
                )
            ],
        )
    return None


def finetunes_all_on_few(facts: StudyFacts) -> Finding | None:
    """Find a study that trains all layers of a pretrained model on few examples."""
    train = facts.spec.task.train if facts.spec.task is not None else None
    num = facts.num_train
    if train is None or num is None or not 0 < num < _FEW_EXAMPLES:
        return None
    if any(name.startswith("finetune.") for name in facts.spec.space):
        return None  # The search compares ways of fine-tuning.
    objective = facts.spec.primary_objective
    best = facts.history.best(objective.direction, stages_on_other_data(facts.spec))
    config, _ = apply_parameters(train, {} if best is None else best.parameters, load_catalogue())
    if not _is_pretrained(config) or not _trains_all(config):
        return None
    model = config["model"]
    sentence = (
        f"All layers of a pretrained model ({model['name']}) are fine-tuned on {num} training examples: so few "
        "examples change its features more than they teach it."
    )
    return Finding(
        rule="finetunes_all_on_few",
        confidence=Confidence.LOW,
        sentence=sentence,
        evidence=[evidence("training examples", num)],
        remedies=[
            Remedy(
                name=RemedyName.FINETUNE_LESS,
                sentence="Train the head alone on frozen features.",
                settings={"finetune": "head"},
            ),
            Remedy(
                name=RemedyName.FINETUNE_LESS,
                sentence="Train low-rank updates (LoRA), if the data is unlike that of the pretraining.",
                settings={"finetune": "lora"},
            ),
            Remedy(name=RemedyName.MORE_DATA, sentence="Add training examples."),
        ],
    )


def _is_pretrained(config: dict[str, Any]) -> bool:
    """Return whether the model begins with trained weights."""
    model = config.get("model")
    if (
        not isinstance(model, dict)
        or (entry := load_catalogue().registries["model"].get(model.get("name", ""))) is None
    ):
        return False
    setting = entry.parameters.get("pretrained")
    return setting is not None and bool(model.get("pretrained", setting.default))


def _trains_all(config: dict[str, Any]) -> bool:
    """Return whether the fine-tuning is `full`, without options that hold lower layers back."""
    given = config.get("finetune", {"name": "full"})
    return given in ("full", {"name": "full"})


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
