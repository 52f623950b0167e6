"""What it means that a search has found nothing better than a simple model."""

from __future__ import annotations

from collections.abc import Sequence

from service.contract.base import Direction
from service.contract.finding import Confidence, Evidence, Finding, Remedy, RemedyName
from service.contract.study import ReferenceValue

_LINEAR = "linear"


def baseline_findings(
    value: float, metric: str, references: Sequence[ReferenceValue], direction: Direction, study: str
) -> list[Finding]:
    """Return the finding that the best value is worse than that of the linear baseline, if it is.

    Args:
        value: the best value of the first objective.
        metric: its metric.
        references: the references of the study.
        direction: the direction of the objective.
        study: the name of the study.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    linear = next((each for each in references if each.kind == "baseline" and each.name == _LINEAR), None)
    if linear is None or sign * (linear.value - value) <= 0:
        return []
    limits = f" ({linear.note})" if linear.note else ""
    sentence = (
        f"The best {metric} so far, {value:.4g}, is worse than the {linear.value:.4g} of a linear model on the same "
        f"data{limits}: the training has a fault, is too short, or its model does not suit the data."
    )
    return [
        Finding(
            rule="below_linear",
            confidence=Confidence.HIGH,
            sentence=sentence,
            evidence=[Evidence(name=f"best {metric}", value=value), Evidence(name="linear model", value=linear.value)],
            remedies=[
                Remedy(
                    name=RemedyName.RUN_PREFLIGHT,
                    sentence=f"Check the data pipeline and the training (study preflight {study}).",
                ),
                Remedy(name=RemedyName.TRAIN_LONGER, sentence="Train longer."),
                Remedy(name=RemedyName.WIDEN_RANGE, sentence="Search a wider range of learning rates."),
                Remedy(name=RemedyName.TAKE_BASELINE, sentence="Take the simpler model."),
            ],
        )
    ]
