"""Makes the report of `study errors` from the predictions of a study's trials and, where they are found, its data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.cli.errors.example_data import ExampleData
from service.cli.errors.groups import Group, by_range, category, columns_beyond_noise, compared, groups_of_columns
from service.cli.errors.label_errors import label_scores, num_independent, trials_within_noise
from service.cli.errors.model_errors import ModelErrors, errors_of, errors_of_queries
from service.cli.errors.predictions import SplitPredictions
from service.cli.errors.report import ConfusedPair, ErrorExample, ErrorsReport, LabelErrors, LabelSuspect
from service.cli.look.wording import counted, short_number
from service.client.errors import invalid_study

_MAX_LENGTH, _MAX_TEXT = 120, 400
_MAX_DIFFERENT = 0.2
"""The largest share of labels that may differ between data and predictions: labels are corrected, files confused."""

FEW_INDEPENDENT = 2.0
"""Below so many independent trials, their agreement is one opinion."""


@dataclass(frozen=True)
class Subject:
    """What is analysed: the predictions of a trial, beside those of the other trials.

    Attributes:
        study: the study's name.
        trial: the trial, as the user names it.
        split: the split.
        metric: the study's objective without its split, such as `accuracy`.
        predictions: the trial's predictions.
        others: the predictions of the other kept trials, by the trial's name.
        data: the examples; None: the data were not found, and `notes` says why.
        categories: the categories that the user named: name -> category by id, or by example of the data.
        notes: what the reader must know first.
    """

    study: str
    trial: str
    split: str
    metric: str
    predictions: SplitPredictions
    others: Mapping[str, SplitPredictions]
    data: ExampleData | None
    categories: Mapping[str, Sequence[Any]]
    notes: Sequence[str] = ()


def analyse(subject: Subject, top: int) -> ErrorsReport:
    """Return the report.

    Args:
        subject: what is analysed.
        top: the largest number of examples, pairs, and suspects that are listed.

    Raises:
        InvalidStudy: the data are not those of the predictions.
    """
    predictions, data, notes = subject.predictions, subject.data, list(subject.notes)
    if data is not None:
        notes += _different_labels(predictions, data)
    is_ranking = data is not None and data.query is not None
    if is_ranking and data is not None and data.query is not None:
        errors = errors_of_queries(predictions, np.array([str(each) for each in data.query]), subject.metric)
        example: Callable[[int], ErrorExample] = _query_example(errors, data.query)
    else:
        errors = errors_of(predictions, subject.metric)
        example = _example(errors, predictions, data)
    if errors.metric != subject.metric:
        notes.append(
            f"{subject.metric} can't be recomputed from predictions, so gains are measured in {errors.metric}."
        )
    compared_columns = {} if data is None or is_ranking else _compared_columns(data)
    groups = groups_of_columns(compared_columns)
    confusions = _confusions(errors, predictions, top) if predictions.classes else []
    worst = [place for place in np.argsort(-errors.losses, kind="stable").tolist() if errors.errors[place] > 0]
    return ErrorsReport(
        study=subject.study,
        trial=subject.trial,
        split=subject.split,
        kind="ranking" if is_ranking else "classification" if predictions.classes else "regression",
        num_examples=len(errors.errors),
        num_mistakes=int(errors.errors.sum()) if errors.are_mistakes else None,
        metric=errors.metric,
        is_maximized=errors.is_maximized,
        value=errors.value,
        data=None if data is None else data.source,
        notes=notes,
        worst=[example(place) for place in worst[:top]],
        confusions=confusions[:top],
        num_confused_pairs=len(confusions),
        classes=[] if is_ranking else compared(errors, list(_classes(predictions))),
        columns=columns_beyond_noise(errors, groups),
        num_columns=len(compared_columns),
        num_groups_compared=len(groups),
        categories=[
            category(errors, name, _of_examples(values, errors, data, is_ranking=is_ranking))
            for name, values in subject.categories.items()
        ],
        label_errors=None if is_ranking else _label_errors(subject, example, top, notes),
    )


def _of_examples(
    values: Sequence[Any], errors: ModelErrors, data: ExampleData | None, *, is_ranking: bool
) -> Sequence[Any]:
    """Return a category's value of each example; a query has that of its first row."""
    if not is_ranking or data is None or data.query is None:
        return values
    first: dict[str, Any] = {}
    for query, value in zip(data.query, values, strict=True):
        first.setdefault(str(query), value)
    return [first[query] for query in errors.ids.tolist()]


def _compared_columns(data: ExampleData) -> dict[str, Any]:
    return {name: data.columns[name] for name in data.features} | dict(data.facts or {})


def _classes(predictions: SplitPredictions) -> list[Group]:
    if predictions.classes:
        groups = [Group(name, predictions.targets == at) for at, name in enumerate(predictions.classes)]
        return [each for each in groups if each.mask.any()]
    return list(by_range(predictions.targets.astype(np.float64))) if len(np.unique(predictions.targets)) > 1 else []


def _different_labels(predictions: SplitPredictions, data: ExampleData) -> list[str]:
    """Return a note if some labels were changed since the training.

    Raises:
        InvalidStudy: so many differ that the data are others.
    """
    if data.target is None:
        return []
    labels = [predictions.classes[at] if predictions.classes else at for at in predictions.targets.tolist()]
    differ = [place for place, pair in enumerate(zip(labels, data.target, strict=True)) if not _is_same(*pair)]
    if not differ:
        return []
    first = differ[0]
    words = (
        f"the example {predictions.ids[first]} has the target {data.target[first]!s} in the data and "
        f"{labels[first]!s} in the predictions"
    )
    if len(differ) > _MAX_DIFFERENT * len(labels):
        raise invalid_study(
            data.source,
            f"does not fit the predictions: {words}, and {len(differ):,} of {len(labels):,} differ; name the data that "
            "the trial was trained on by --data PATH",
        )
    return [f"{counted(len(differ), 'target')} changed in {data.source} since the training: {words}."]


def _is_same(label: Any, target: Any) -> bool:
    if str(label) == str(target):
        return True
    try:
        return bool(np.isclose(float(label), float(str(target).replace(",", ".")), rtol=1e-5, atol=1e-6))
    except (TypeError, ValueError):
        return str(label).lower() == str(target).strip().lower()


def _example(errors: ModelErrors, predictions: SplitPredictions, data: ExampleData | None) -> Callable[[int], Any]:
    def example(place: int) -> ErrorExample:
        found = ErrorExample(
            id=_plain(predictions.ids[place]),
            label=_answer(predictions, predictions.targets[place]),
            prediction=_answer(predictions, predictions.predicted[place]),
            loss=float(errors.losses[place]),
        )
        if predictions.classes:
            found.probability = float(predictions.outputs[place].max())
            found.label_probability = float(predictions.probabilities_of_target[place])
        if data is not None:
            found.values = {name: _short(values[place]) for name, values in data.columns.items()}
            found.text = None if data.texts is None else _short(data.texts[place], _MAX_TEXT)
            found.image = None if data.image is None else data.image(place)
        return found

    return example


def _query_example(errors: ModelErrors, queries: Sequence[Any]) -> Callable[[int], ErrorExample]:
    sizes = Counter(map(str, queries))

    def example(place: int) -> ErrorExample:
        name = str(errors.ids[place])
        words = f"NDCG {1 - errors.errors[place]:.3f}"
        return ErrorExample(
            id=name, label=counted(sizes[name], "row"), prediction=words, loss=float(errors.losses[place])
        )

    return example


def _answer(predictions: SplitPredictions, answer: Any) -> str:
    return predictions.classes[int(answer)] if predictions.classes else short_number(float(answer))


def _plain(value: Any) -> int | str:
    plain: int | str = value.item() if isinstance(value, np.generic) else value
    return plain


def _short(value: Any, length: int = _MAX_LENGTH) -> str:
    text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _confusions(errors: ModelErrors, predictions: SplitPredictions, top: int) -> list[ConfusedPair]:
    """Return the pairs of a true and a predicted class, the most frequent first."""
    wrong = np.flatnonzero(errors.errors > 0)
    predicted, total = predictions.predicted, len(wrong)
    pairs = Counter(zip(predictions.targets[wrong].tolist(), predicted[wrong].tolist(), strict=True))
    found = []
    for (label, other), num in sorted(pairs.items(), key=lambda each: (-each[1], each[0])):
        mask = (predictions.targets == label) & (predicted == other)
        value, gain = errors.fixed(mask)
        places = np.flatnonzero(mask)
        worst: NDArray[Any] = places[np.argsort(-errors.losses[places], kind="stable")][:top]
        found.append(
            ConfusedPair(
                label=predictions.classes[label],
                prediction=predictions.classes[other],
                num_examples=num,
                share_of_error=num / total,
                value_if_fixed=value,
                gain=gain,
                ids=[_plain(predictions.ids[place]) for place in worst],
            )
        )
    return found


def _label_errors(subject: Subject, example: Callable[[int], ErrorExample], top: int, notes: list[str]) -> LabelErrors:
    """Return the likely label errors by the trials within noise of the best; note those of other examples."""
    mine = subject.predictions
    aligned = {subject.trial: mine}
    for name, others in subject.others.items():
        if (ordered := others.in_order_of(mine)) is not None:
            aligned[name] = ordered
    if left_out := len(subject.others) + 1 - len(aligned):
        notes.append(
            f"{counted(left_out, 'kept trial')} predicted other examples of {subject.split}, and can't be compared."
        )
    names, trials = list(aligned), list(aligned.values())
    good = trials_within_noise(trials)
    used = [trials[place] for place in good]
    scores = label_scores(used)
    suspects = [place for place in np.argsort(-scores.scores, kind="stable").tolist() if scores.is_suspect[place]]
    return LabelErrors(
        trials=[names[place] for place in good],
        num_kept=len(subject.others) + 1,
        num_independent=num_independent(used),
        num_suspects=len(suspects),
        suspects=[
            LabelSuspect(
                **example(place).model_dump(),
                suggested=_answer(mine, scores.suggested[place]),
                confidence=float(scores.confidence[place]),
                num_agreeing=int(scores.num_agreeing[place]),
            )
            for place in suspects[:top]
        ],
    )
