"""Renders the diagnosis of a study and of one trial for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from service.cli.render.charts import Chart, Mark
from service.cli.render.formatting import number
from service.cli.render.text_charts import text_chart
from service.contract.decomposition import Decomposition, ErrorPart
from service.contract.diagnosis import StudyDiagnosis, TrialDiagnosis, TrialFindings
from service.contract.finding import Confidence, Evidence, Finding
from service.contract.preflight import Curve
from service.contract.report import NonFinite, from_wire
from service.contract.trial import Series, TrialDetail

_STYLES = {Confidence.HIGH: "red", Confidence.MEDIUM: "yellow", Confidence.LOW: ""}
_MAX_TRIALS_NAMED = 12
_MAX_MARKS = 6
_MAX_CHARTS = 2
_BAR_WIDTH = 30


def diagnosis_page(diagnosis: StudyDiagnosis, *, is_filtered: bool) -> RenderableType:
    """Show the findings about a study, the decomposition of its error, and the findings about its trials by rule."""
    parts: list[RenderableType] = [Text(f"diagnosis of {diagnosis.study}, {_looked_at(diagnosis)}")]
    if diagnosis.lags:
        parts.append(Text(_lag(diagnosis), style="yellow"))
    if diagnosis.error is not None:
        parts.append(Text(f"not everything could be judged: {diagnosis.error}", style="yellow"))
    for finding in diagnosis.findings:
        parts += [Text(), *_finding(finding, diagnosis.study)]
    if diagnosis.decomposition is not None and not is_filtered:
        parts += [Text(), *_decomposition(diagnosis.decomposition)]
    if diagnosis.trial_findings:
        parts += [Text(), Text("trials", style="bold")]
        for group in diagnosis.trial_findings:
            parts += [_indented(each) for each in _group(group, diagnosis.study)]
    if not diagnosis.findings and not diagnosis.trial_findings and diagnosis.num_judged:
        parts += [Text(), Text(_nothing(is_filtered=is_filtered))]
    return Group(*parts)


def trial_diagnosis_page(diagnosis: TrialDiagnosis, trial: TrialDetail, *, is_filtered: bool) -> RenderableType:
    """Show the findings about one trial, and its learning curves with the steps of the evidence marked."""
    name = f"trial {diagnosis.trial if diagnosis.number is None else diagnosis.number}"
    parts: list[RenderableType] = [Text(f"diagnosis of {name} of {diagnosis.study}, {trial.state}")]
    if diagnosis.number is None:
        parts.append(Text("only trials of the search are judged, not forks and preflights"))
    elif diagnosis.lags:
        parts.append(Text("the trial has changed since it was judged; repeat in some seconds, or add --wait"))
    if diagnosis.error is not None:
        parts.append(Text(f"it could not be judged: {diagnosis.error}", style="yellow"))
    for finding in diagnosis.findings:
        parts += [Text(), *_finding(finding, diagnosis.study)]
    if not diagnosis.findings and diagnosis.judged_revision is not None and diagnosis.error is None:
        parts += [Text(), Text(_nothing(is_filtered=is_filtered))]
    for chart in _charts(trial.series, diagnosis.findings):
        parts += [Text(), Text(text_chart(chart), no_wrap=True)]
    return Group(*parts)


def _looked_at(diagnosis: StudyDiagnosis) -> str:
    num = diagnosis.num_judged
    return f"{num} {'trial' if num == 1 else 'trials'} judged"


def _lag(diagnosis: StudyDiagnosis) -> str:
    if diagnosis.num_waiting:
        num_trials = diagnosis.num_judged + diagnosis.num_waiting
        return f"{diagnosis.num_waiting} of {num_trials} trials still have to be judged; repeat, or add --wait"
    return "the study has changed since it was judged; repeat in some seconds, or add --wait"


def _nothing(*, is_filtered: bool) -> str:
    return "no finding of this rule or confidence" if is_filtered else "nothing was found: no rule applies"


def _finding(finding: Finding, study: str) -> Iterator[RenderableType]:
    yield _heading(finding.rule, finding.confidence)
    yield _indented(Text(finding.sentence))
    if finding.evidence:
        yield _indented(Text("; ".join(map(_evidence, finding.evidence)), style="dim"))
    yield from _remedies(finding, study)


def _heading(rule: str, confidence: Confidence) -> Text:
    return Text(rule, style="bold").append(f"  {confidence} confidence", style=_STYLES[confidence])


def _evidence(evidence: Evidence) -> str:
    step = "" if evidence.step is None else f" at step {evidence.step}"
    return f"{evidence.name}{step}: {number(evidence.value)}"


def _remedies(finding: Finding, study: str) -> Iterator[RenderableType]:
    for place, remedy in enumerate(finding.remedies, start=1):
        yield _indented(Text(f"{place}. {remedy.sentence}"))
        if remedy.action is not None:
            of_trial = "" if finding.trial is None else f" --trial {finding.trial}"
            command = f"study apply {study} {finding.rule}{of_trial} --remedy {place}"
            yield _indented(Text(f"apply: {command}", style="dim"), 5)


def _group(group: TrialFindings, study: str) -> Iterator[RenderableType]:
    named = ", ".join(map(str, group.trials[:_MAX_TRIALS_NAMED]))
    if group.num_trials > _MAX_TRIALS_NAMED:
        named += f" and {group.num_trials - _MAX_TRIALS_NAMED} more"
    word = "trial" if group.num_trials == 1 else "trials"
    yield _heading(group.rule, group.confidence).append(f"  {word} {named}", style="")
    yield _indented(Text(group.clearest.sentence))
    if group.clearest.trial is not None:
        yield _indented(Text(f"see: study diagnose {study} --trial {group.clearest.trial}", style="dim"))


def _decomposition(parts: Decomposition) -> Iterator[RenderableType]:
    unit = "error" if parts.is_share else "loss"
    yield Text(f"test {unit} of trial {parts.trial} in {parts.metric}: {number(parts.error)}", style="bold")
    table = Table.grid(padding=(0, 2))
    values = [max(0.0, from_wire(each.value)) for each in parts.parts]
    total, begin = sum(values) or 1.0, 0.0
    for part, value in zip(parts.parts, values, strict=True):
        style = "bold" if part.name == parts.largest else ""
        bar = Bar(total, begin, begin + value, width=_BAR_WIDTH)
        table.add_row(Text(part.name.replace("_", " "), style=style), bar, number(part.value), _interval(part))
        begin += value
    yield _indented(table)
    yield _indented(Text(parts.sentence))
    for place, remedy in enumerate(parts.remedies, start=1):
        yield _indented(Text(f"{place}. {remedy.sentence}"))


def _indented(part: RenderableType, columns: int = 2) -> Padding:
    """Return an indented part; without trailing spaces, which would fill the width of a pipe."""
    return Padding(part, (0, 0, 0, columns), expand=False)


def _interval(part: ErrorPart) -> str:
    return f"{number(part.low)} to {number(part.high)}"


def _charts(series: Sequence[Series], findings: Sequence[Finding]) -> Iterator[Chart]:
    """Yield a chart of each metric that was measured on training and validation examples, the loss first."""
    by_name = {each.metric: each for each in series}
    shared = [name.removeprefix("train/") for name in by_name if name.startswith("train/")]
    names = sorted((name for name in shared if f"val/{name}" in by_name), key=lambda name: (name != "loss", name))
    for name in names[:_MAX_CHARTS]:
        curves = [_curve(by_name[f"{split}/{name}"]) for split in ("train", "val")]
        if all(any(y is not None for y in curve.y) for curve in curves):
            yield Chart(curves, [f"{curve.name}" for curve in curves], list(_marks(findings)))


def _curve(series: Series) -> Curve:
    values = [None if isinstance(value, NonFinite) else value for value in series.values]
    steps = [float(step) for step in series.steps]
    return Curve.model_construct(
        name=series.metric, x_label="step", y_label=series.metric.partition("/")[2], x=steps, y=values, log_x=False
    )


def _marks(findings: Sequence[Finding]) -> Iterator[Mark]:
    """Yield a mark for each step of the evidence."""
    seen: dict[int, str] = {}
    for finding in findings:
        for evidence in finding.evidence:
            if evidence.step is not None and evidence.step not in seen:
                seen[evidence.step] = f"step {evidence.step}: {finding.rule}, {evidence.name} {number(evidence.value)}"
    for place, (step, text) in enumerate(list(seen.items())[:_MAX_MARKS], start=1):
        yield Mark(float(step), str(place), text)
