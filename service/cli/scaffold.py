"""Writes the study file of `study init`: search ranges from the literature, each with a comment that gives the reason.

The ranges are from J. Johnson, EECS 498, lecture 11 (rates 1e-4 to 1e-1; decay 0, 1e-5, 1e-4), Google's Deep Learning
Tuning Playbook (the rate first, batch size for speed), and A. Karpathy, A Recipe for Training Neural Networks (a plain
baseline first).
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.cli.inspect_data import DataSummary

_TRIALS, _EPOCHS = 30, 20
_BATCHES = (16, 32, 64, 128)
_BUILTIN_EXAMPLES = 600
"""Assumed size of a built-in dataset: enough for batches of 32.

The sets have 178 examples or more, and only the worker has them.
"""

_MAX_FINDINGS, _COMMENT_WIDTH = 20, 112
_TRAIN_SHARE = 0.6
_IMBALANCED = 3
"""If the most frequent class has more than this many times the examples of the rarest, accuracy hides the rarest."""

_PLAIN = re.compile(r"[A-Za-z_/][\w ./-]*(?<! )")
_WORDS = {"true", "false", "null", "y", "n", "yes", "no", "on", "off"}


@dataclass(frozen=True)
class _Line:
    """A parameter of the space: its domain, the comment that explains it, and its baseline value, if any."""

    key: str
    domain: str
    why: str
    plain: str | None


@dataclass(frozen=True)
class _Objective:
    """The metric to search by, why it is that one, and what a trivial baseline scores.

    Attributes:
        metric: its name.
        direction: maximize or minimize.
        why: the comment that explains the choice; empty: none is needed.
        asked: the item of `task.train.metrics` that adds the metric; None: every training reports it.
        baseline: the score of a trivial baseline; None: unknown.
        explanation: what the baseline is.
    """

    metric: str
    direction: str
    why: str = ""
    asked: str | None = None
    baseline: float | None = None
    explanation: str = ""


def name_for(source: str) -> str:
    """Derive a study name from the path or name of the data."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", Path(source).resolve().stem).strip("-._")[:64] or "first"


def write(summary: DataSummary, name: str, file: str, findings: Sequence[str] = ()) -> str:
    """Return the text of a study file.

    Args:
        summary: the inspected data.
        name: the study's name.
        file: the file's future path, for the commands in its comments.
        findings: what `study look` found in the data, a sentence each.
    """
    lines = _space(summary)
    baseline = " ".join(f"{line.key}={line.plain}" for line in lines if line.plain is not None)
    batch = _batches(summary)[len(_batches(summary)) // 2]
    objective = _objective(summary)
    reference = []
    if objective.baseline is not None:
        reference = [f"reference: {{baseline: {objective.baseline:.4g}}}     # {objective.explanation}"]
    return "\n".join(
        [
            f"# {_title(summary)}",
            "# Look at the data itself before you train on it. Then:",
            "#",
            f"#   study plan {file}",
            f"#   study create {file}",
            f"#   study enqueue {name} {baseline}     # a plain baseline first",
            f"#   study watch {name}",
            f"#   study importance {name}     # once 20 trials have ended: what to search more closely",
            *(f"# {part}" for line in (*about_encoding(summary), *about_data(summary)) for part in _wrapped(line)),
            *(f"# {line}" for line in _about_findings(findings)),
            f"name: {_value(name)}",
            "format: 1",
            *([f"# {objective.why}"] if objective.why else []),
            f"objective: {{metric: {objective.metric}, direction: {objective.direction}, value: best}}",
            "task:",
            "  train:",
            f"    data: {mapping(summary.data)}",
            f"    model: {{name: {_models(summary)[-1]}}}",
            f"    loss: {{name: {'mse' if summary.kind == 'regression' else 'cross_entropy'}}}",
            *([f"    metrics: [{objective.asked}]"] if objective.asked is not None else []),
            "    optimizer: {name: adamw, lr: 1e-3, weight_decay: 0}",
            "    schedule: {name: cosine}     # ends with small steps; nothing to tune",
            f"    batch_size: {batch}",
            f"    epochs: {_EPOCHS}     # if the best trials still improve at the end, write more",
            "# In the order of what usually matters most. Begin with these; add more once they are settled.",
            "space:",
            *(part for line in lines for part in (f"  # {line.why}", f"  {line.key}: {line.domain}")),
            "sampler: auto",
            "pruner: {name: median}     # stops what is behind half of the others",
            f"budget: {{trials: {_TRIALS}}}",
            *reference,
            "",
        ]
    )


def about_data(summary: DataSummary) -> list[str]:
    """Describe how each column is read, and which are left out."""
    described = [f"  {name}: {description}" for name, description in summary.columns.items()]
    columns = ["Columns:", *described] if described else []
    without = [f"Left out: {each}." for each in summary.left_out]
    if summary.left_out and "features" in summary.data:
        without.append("To learn from a column that is left out, add its name to data.features.")
    # The name of a column may contain a line break.
    return [_plain_text(line) for line in (*columns, *without)]


def about_encoding(summary: DataSummary) -> list[str]:
    """Name the encoding of a file that is not UTF-8."""
    return [f"Read as {summary.data['encoding']}."] if "encoding" in summary.data else []


def _about_findings(findings: Sequence[str]) -> list[str]:
    """Return the findings as lines of a comment."""
    rest = len(findings) - _MAX_FINDINGS
    lines = [line for finding in findings[:_MAX_FINDINGS] for line in _wrapped(f"  {_plain_text(finding)}")]
    return [*(["Findings:"] if lines else []), *lines, *([f"  … and {rest} more: study look"] if rest > 0 else [])]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _COMMENT_WIDTH, subsequent_indent="    ", break_long_words=False)


def _title(summary: DataSummary) -> str:
    counted = "" if summary.num_examples is None else f", {summary.num_examples} examples"
    classes = f" of {len(summary.classes)} classes" if summary.classes else ""
    return f"A first study of {summary.data.get('path', summary.data['name'])}: {summary.kind}{counted}{classes}."


def _objective(summary: DataSummary) -> _Objective:
    """Return the objective for the kind of task and, of a classification, for the balance of its classes."""
    if summary.kind == "regression":
        return _Objective("val/rmse", "minimize", baseline=summary.spread, explanation="what predicting the mean gives")
    if summary.kind == "language":
        explanation = "what guessing each byte by how often it occurs gives"
        return _Objective("val/loss", "minimize", baseline=summary.spread, explanation=explanation)
    if not summary.classes:
        return _Objective("val/accuracy", "maximize")
    (frequent, most), *_, (rarest, fewest) = summary.classes.most_common()
    total = summary.classes.total()
    if most <= _IMBALANCED * fewest:
        explanation = "what always saying the most frequent class gives"
        why = f"The classes are balanced ({fewest} to {most} examples each), so that accuracy says how good a model is."
        return _Objective("val/accuracy", "maximize", why, baseline=most / total, explanation=explanation)
    always = _plain_text(f"Always saying {str(frequent)!r} would have an accuracy of {most / total:.0%}")
    if len(summary.classes) == 2:
        positive = str(rarest)
        return _Objective(
            "val/average_precision",
            "maximize",
            f"{always}; average precision asks how well the rare {_plain_text(repr(positive))} is found.",
            asked=mapping({"name": "average_precision", "positive": positive}),
            baseline=fewest / total,
            explanation="what random scores give",
        )
    return _Objective(
        "val/balanced_accuracy",
        "maximize",
        f"{always}; in balanced accuracy each class counts alike.",
        asked="balanced_accuracy",
        baseline=1 / len(summary.classes),
        explanation="what always saying one class gives",
    )


def _plain_text(text: str) -> str:
    """Return the text without characters that would end a comment, such as line breaks."""
    return "".join(c if c.isprintable() else " " for c in text)


def _models(summary: DataSummary) -> list[str]:
    """Return the baseline model, if there is a simpler one, and the model that has to beat it."""
    return {"rows": ["linear", "mlp"], "images": ["linear", "resnet"], "tokens": ["gpt"]}[summary.inputs]


def _space(summary: DataSummary) -> list[_Line]:
    *plainer, model = _models(summary)
    when = f", when: {{model.name: {model}}}" if plainer else ""
    rate = _Line(
        "optimizer.lr",
        "{type: float, low: 1e-4, high: 1e-1, log: true}",
        "The learning rate decides most, and by its order of magnitude.",
        "1e-3",
    )
    lines = [rate]
    if plainer:
        why = "One linear layer is the baseline that any larger model has to beat."
        lines.append(_Line("model.name", f"{{type: categorical, choices: [{plainer[0]}, {model}]}}", why, plainer[0]))
    widths = {"mlp": (32, 512), "resnet": (8, 32), "gpt": (64, 256)}[model]
    why = "How much the model can hold: too little underfits, too much costs time and overfits."
    domain = f"{{type: categorical, choices: [{_doubled(*widths)}], ordered: true{when}}}"
    lines.append(_Line("model.width", domain, why, None if plainer else str(widths[0])))
    batches = _batches(summary)
    if len(batches) > 1:
        domain = f"{{type: categorical, choices: [{', '.join(map(str, batches))}], ordered: true}}"
        why = "Mostly a matter of speed, once the rate fits it; small batches regularise a little."
        lines.append(_Line("batch_size", domain, why, str(batches[len(batches) // 2])))
    domain = "{type: categorical, choices: [0, 1e-5, 1e-4], ordered: true}"
    lines.append(_Line("optimizer.weight_decay", domain, "Against overfitting; little is enough.", "0"))
    domain = f"{{type: float, low: 0.0, high: 0.5, step: 0.1{when}}}"
    why = "Against overfitting too; of use once the model is large enough to overfit."
    lines.append(_Line("model.dropout", domain, why, None if plainer else "0"))
    return lines


def _batches(summary: DataSummary) -> list[int]:
    """Return the batch sizes that give at least eight steps per epoch."""
    num_train = (summary.num_examples or _BUILTIN_EXAMPLES) * _TRAIN_SHARE
    return [size for size in _BATCHES if size * 8 <= num_train] or [8]


def _doubled(low: int, high: int) -> str:
    sizes = [low]
    while sizes[-1] < high:
        sizes.append(2 * sizes[-1])
    return ", ".join(map(str, sizes))


def mapping(values: Mapping[str, Any]) -> str:
    """Return a mapping as YAML on one line."""
    return "{" + ", ".join(f"{name}: {_value(value)}" for name, value in values.items()) + "}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return value if is_plain else json.dumps(value, ensure_ascii=False)
    return str(value)
