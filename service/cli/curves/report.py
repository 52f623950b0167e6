"""The report of `study curves`: chooses a threshold on the validation split and measures it on each split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.curves.decisions import Costs, Criterion, Curves, Decisions, binary_curves, choose_threshold, decide
from service.client.errors import invalid_study
from service.contract.validation_errors import did_you_mean

_CHOSEN_ON = "val"
_DEFAULT_THRESHOLD = 0.5
_MAX_POINTS = 15
"""The largest number of points of a curve that a page shows; JSON has all."""

_WORDS: Mapping[Criterion, str] = {
    "f1": "the largest F1",
    "balanced_accuracy": "the largest balanced accuracy",
    "cost": "the smallest cost",
}


class CurvePoint(BaseModel):
    """A point of both curves. `threshold` is null where nothing counts as positive."""

    threshold: float | None
    recall: float
    false_positive_rate: float
    precision: float


class AtThreshold(BaseModel):
    """The decisions on a split at one threshold."""

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int
    precision: float
    recall: float
    f1: float
    balanced_accuracy: float
    cost: float


class SplitReport(BaseModel):
    """The curves of one split and the decisions at the chosen threshold and at 0.5."""

    auroc: float
    average_precision: float
    chosen: AtThreshold
    default: AtThreshold
    points: list[CurvePoint]


class CurvesReport(BaseModel):
    """What `study curves` says of a trial's model."""

    positive: str
    criterion: Criterion
    threshold: float
    splits: dict[str, SplitReport]


def curves_report(
    rows: Mapping[str, list[Any]], source: str, positive: str | None, criterion: Criterion, costs: Costs
) -> CurvesReport:
    """Return the report of a model.

    Args:
        rows: the columns of the predictions file.
        source: what errors name.
        positive: the positive class; None: the rarer of two classes.
        criterion: what the threshold is chosen by.
        costs: the costs of mistakes.

    Raises:
        InvalidStudy: the model does not classify, the class is unknown, or validation lacks an example.
    """
    classes = [name.removeprefix("p/") for name in rows if name.startswith("p/")]
    if not classes:
        raise invalid_study(source, "has no probabilities of classes; curves and thresholds are for classifications")
    splits, targets = np.array(rows["split"]), np.array(rows["target"])
    positive = positive or _rarer_class(classes, targets[splits == _CHOSEN_ON], source)
    if positive not in classes:
        raise invalid_study("--positive", f"there is no class {positive!r}; {did_you_mean(positive, classes)}")
    scores, is_positive = np.array(rows[f"p/{positive}"], np.float64), targets == positive
    curves: dict[str, Curves] = {}
    for name in dict.fromkeys(rows["split"]):
        try:
            curves[name] = binary_curves(scores[splits == name], is_positive[splits == name])
        except ValueError as error:
            if name == _CHOSEN_ON:
                raise invalid_study(source, f"{name} gives no threshold for {positive!r}: {error}") from None
    if _CHOSEN_ON not in curves:
        raise invalid_study(source, "has no predictions on val, on which a threshold is chosen")
    threshold = choose_threshold(curves[_CHOSEN_ON], criterion, costs)

    def of_split(name: str) -> SplitReport:
        here = splits == name
        chosen, default = (
            _at(each, decide(scores[here], is_positive[here], each), costs) for each in (threshold, _DEFAULT_THRESHOLD)
        )
        found = curves[name]
        return SplitReport(
            auroc=found.auroc,
            average_precision=found.average_precision,
            chosen=chosen,
            default=default,
            points=_points(found),
        )

    return CurvesReport(
        positive=positive,
        criterion=criterion,
        threshold=threshold,
        splits={name: of_split(name) for name in curves},
    )


def curves_page(report: CurvesReport, source: str) -> RenderableType:
    """Render the report for a terminal."""
    decisions = Table("split", "threshold", "precision", "recall", "F1", "balanced", "cost", "FP", "FN", box=None)
    for name, split in report.splits.items():
        for each in (split.chosen, split.default):
            numbers = (each.precision, each.recall, each.f1, each.balanced_accuracy, each.cost)
            cells = [f"{number:.3f}" for number in numbers]
            decisions.add_row(
                name, f"{each.threshold:.4g}", *cells, str(each.false_positives), str(each.false_negatives)
            )
    chosen_on = report.splits[_CHOSEN_ON]
    curve = Table("threshold", "recall", "false positive rate", "precision", box=None)
    for point in _thinned(chosen_on.points):
        threshold = "none" if point.threshold is None else f"{point.threshold:.4g}"
        curve.add_row(threshold, f"{point.recall:.3f}", f"{point.false_positive_rate:.3f}", f"{point.precision:.3f}")
    areas = ", ".join(
        f"{name}: AUROC {split.auroc:.4f}, average precision {split.average_precision:.4f}"
        for name, split in report.splits.items()
    )
    return Group(
        Text(f"{source}: {report.positive!r} is positive; {areas}"),
        Text(
            f"A threshold of {report.threshold:.4g} on its probability gives {_CHOSEN_ON} {_WORDS[report.criterion]}. "
            f"The values on {_CHOSEN_ON} are optimistic, because the threshold was chosen there."
        ),
        Text(),
        decisions,
        Text(),
        Text(f"Curves on {_CHOSEN_ON} (all points: --json)"),
        curve,
    )


def _rarer_class(classes: list[str], targets: NDArray[Any], source: str) -> str:
    if len(classes) > 2:
        raise invalid_study(source, f"has {len(classes)} classes; name the positive one by --positive CLASS")
    return min(classes, key=lambda name: int(np.sum(targets == name)))


def _at(threshold: float, decisions: Decisions, costs: Costs) -> AtThreshold:
    return AtThreshold(
        threshold=threshold,
        true_positives=decisions.true_positives,
        false_positives=decisions.false_positives,
        false_negatives=decisions.false_negatives,
        true_negatives=decisions.true_negatives,
        precision=decisions.precision,
        recall=decisions.recall,
        f1=decisions.f1,
        balanced_accuracy=decisions.balanced_accuracy,
        cost=decisions.cost(costs),
    )


def _points(curves: Curves) -> list[CurvePoint]:
    columns = (curves.scores, curves.recall, curves.false_positive_rate, curves.precision)
    return [
        CurvePoint(
            threshold=None if np.isinf(score) else float(score),
            recall=float(recall),
            false_positive_rate=float(rate),
            precision=float(precision),
        )
        for score, recall, rate, precision in zip(*columns, strict=True)
    ]


def _thinned(points: list[CurvePoint]) -> list[CurvePoint]:
    """Return points at even steps of recall plus false positive rate, the first and the last among them."""
    if len(points) <= _MAX_POINTS:
        return points
    lengths = np.array([point.recall + point.false_positive_rate for point in points])
    wanted = np.searchsorted(lengths, np.linspace(0, 2, _MAX_POINTS))
    return [points[at] for at in dict.fromkeys(np.minimum(wanted, len(points) - 1).tolist())]
