"""The sentences of the report of `study errors`, which the page and the HTML file share."""

from __future__ import annotations

from collections.abc import Iterator

from service.cli.errors.analysis import FEW_INDEPENDENT
from service.cli.errors.report import ConfusedPair, ErrorExample, ErrorGroup, ErrorsReport, LabelErrors, LabelSuspect
from service.cli.look.wording import counted, percent, short_number

_SPLITS = {"val": "validation", "test": "test", "test_val": "second validation"}
_NUM_CELLS = 4


def headline(report: ErrorsReport) -> str:
    """Return how many examples are wrong, and the metric."""
    split = _SPLITS.get(report.split, report.split)
    value = f"{report.metric} {report.value:.4g}"
    if report.num_mistakes is not None:
        return f"{report.num_mistakes:,} of {report.num_examples:,} {split} examples are wrong ({value})"
    if report.kind == "ranking":
        return f"{counted(report.num_examples, split + ' query', split + ' queries')} ({value})"
    return f"{counted(report.num_examples, split + ' example')} ({value})"


def notes(report: ErrorsReport) -> Iterator[str]:
    """Yield what the reader must know before the figures."""
    if report.split == "test":
        yield (
            "The test set was consulted. Decisions that follow from this page make test results too good: "
            "decide on validation, and keep a test set that nobody has looked at."
        )
    yield from (f"{each[0].upper()}{each[1:]}{'' if each.endswith('.') else '.'}" for each in report.notes)


def gain(report: ErrorsReport, of: ErrorGroup | ConfusedPair) -> str:
    """Return how the metric would change at most, and its value then."""
    change = of.value_if_fixed - report.value
    return f"{_signed(report, change)} → {_metric(report, of.value_if_fixed)}"


def _gains(report: ErrorsReport, of: ErrorGroup | ConfusedPair) -> str:
    change = _signed(report, of.value_if_fixed - report.value)
    values = f"{_metric(report, report.value)} → {_metric(report, of.value_if_fixed)}"
    return f"fixing this gains at most {report.metric} {values} ({change})"


def _metric(report: ErrorsReport, value: float) -> str:
    return f"{value:.4f}" if abs(report.value) <= 1 else short_number(value)


def _signed(report: ErrorsReport, change: float) -> str:
    return ("+" if change >= 0 else "-") + _metric(report, abs(change))


def first_steps(report: ErrorsReport) -> list[str]:
    """Return what is worth looking at first: labels, the most confused pair, and the groups beyond noise."""
    steps = []
    found = report.label_errors
    if found is not None and found.num_suspects:
        verb = "looks" if found.num_suspects == 1 else "look"
        steps.append(
            f"{counted(found.num_suspects, 'label')} of {report.num_examples:,} {verb} wrong: read these examples "
            "before anything else, since neither a better model nor more data can get them right"
        )
    steps += [
        f"{pair.label} taken for {pair.prediction}: {counted(pair.num_examples, 'example')}, "
        f"{percent(pair.share_of_error)} of all errors; {_gains(report, pair)}"
        for pair in report.confusions[:1]
        if pair.num_examples > 1
    ]
    of_classes = "target" if report.kind == "regression" else "class"
    groups: list[tuple[str, ErrorGroup]] = [(of_classes, each) for each in report.classes]
    groups += [(each.column, each) for each in report.columns]
    groups += [(category.name, each) for category in report.categories for each in category.groups]
    worse = [(name, each) for name, each in groups if each.is_beyond_noise and each.error > (each.error_of_rest or 0)]
    for name, group in sorted(worse, key=lambda each: -each[1].gain)[:3]:
        steps.append(f"{name} {group.name}: {against_rest(report, group)}; {_gains(report, group)}")
    return steps


def against_rest(report: ErrorsReport, group: ErrorGroup) -> str:
    """Return a group's error beside that of the rest."""
    own = error(report, group.error)
    if group.error_of_rest is None or group.low is None or group.high is None:
        return f"error {own}"
    low, high = error_difference(report, group.low), error_difference(report, group.high)
    return f"error {own} against {error(report, group.error_of_rest)} elsewhere (difference {low} to {high})"


def error(report: ErrorsReport, value: float) -> str:
    """Return an error as a share of mistakes, or in the target's own unit."""
    if report.num_mistakes is not None:
        return percent(value)
    return f"{value:.3f}" if report.kind == "ranking" else short_number(value)


def error_difference(report: ErrorsReport, value: float) -> str:
    """Return a difference of errors with its sign, in percentage points for shares."""
    return f"{100 * value:+.1f} points" if report.num_mistakes is not None else f"{value:+.4g}"


def trials_used(found: LabelErrors) -> str:
    """Return which trials judged the labels, and how much their agreement says."""
    if len(found.trials) == 1:
        used = f"Trial {found.trials[0]} alone judged the labels"
        reason = "no other kept trial is" if found.num_kept > 1 else "it is the only one with kept predictions"
        end = " within noise of it" if found.num_kept > 1 else ""
        return f"{used}: {reason}{end}. Other models that agree would make a suspect surer."
    words = (
        f"{len(found.trials)} of {counted(found.num_kept, 'kept trial')} judged the labels, those within noise of the "
        f"best: {', '.join(found.trials)}. Their predictions are alike as those of "
        f"{found.num_independent:.1f} independent trials"
    )
    if found.num_independent < FEW_INDEPENDENT:
        return f"{words}: their agreement is one opinion, so read the examples before you change a label."
    return f"{words}."


def no_suspects(report: ErrorsReport) -> str:
    """Return the sentence for data without likely label errors."""
    return f"No label of the {report.num_examples:,} examples looks wrong."


def reason(report: ErrorsReport, found: LabelErrors, suspect: LabelSuspect) -> str:
    """Return why a label is suspect."""
    agreeing = f"{suspect.num_agreeing} of {counted(len(found.trials), 'trial')}"
    if report.kind == "classification":
        verb = "says" if suspect.num_agreeing == 1 else "say"
        return f"{agreeing} {verb} {suspect.suggested} ({suspect.confidence:.3f})"
    return f"the trials' median is {suspect.suggested}, {suspect.confidence:.1f} standard deviations away"


def answer(report: ErrorsReport, example: ErrorExample) -> str:
    """Return what the model predicts for an example, beside its label."""
    if report.kind == "classification":
        return (
            f"{example.label} taken for {example.prediction} with {example.probability or 0:.3f} "
            f"(its own class {example.label_probability or 0:.3f})"
        )
    if report.kind == "ranking":
        return f"{example.label}, {example.prediction}"
    return f"{example.label} predicted as {example.prediction}, error {short_number(example.loss)}"


def content(example: ErrorExample, num_cells: int = _NUM_CELLS) -> str:
    """Return an example's text, or the first cells of its row."""
    if example.text is not None:
        return example.text
    cells = [f"{name}={value}" for name, value in example.values.items()]
    return ", ".join(cells[:num_cells]) + (", …" if len(cells) > num_cells else "")


def columns_compared(report: ErrorsReport) -> str:
    """Return how many columns were compared and how much of what is told may be chance."""
    return (
        f"{counted(report.num_columns, 'column')} in {counted(report.num_groups_compared, 'group')} were compared with "
        "the rest. Told are differences beyond noise: the chance that any of them is noise is below 5 %."
    )
