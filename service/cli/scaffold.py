"""Writes the study file of `study init`, each setting with a comment that gives the reason."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.cli.inspect_data import DataSummary
from service.cli.training_defaults import training_defaults

_TRIALS = 30
_MAX_FINDINGS, _COMMENT_WIDTH = 20, 112
_IMBALANCED = 3
"""If the most frequent class has more than this many times the examples of the rarest, accuracy hides the rarest."""

_PLAIN = re.compile(r"[A-Za-z_/][\w ./-]*(?<! )")
_WORDS = {"true", "false", "null", "y", "n", "yes", "no", "on", "off"}


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
    training = training_defaults(summary)
    baseline = " ".join(f"{line.key}={line.plain}" for line in training.lines if line.plain is not None)
    return "\n".join(
        [
            f"# A first study of {describe(summary)}.",
            "# Look at the data itself before you train on it. Then:",
            "#",
            f"#   study plan {file}",
            f"#   study create {file}",
            f"#   study enqueue {name} {baseline}     # a plain baseline first",
            f"#   study watch {name}",
            f"#   study importance {name}     # once 20 trials have ended: what to search more closely",
            *comments(summary, findings),
            *head(summary, name),
            *data_and_loss(summary, training.model),
            f"    optimizer: {{name: adamw, lr: {training.rate}, weight_decay: 0}}",
            "    schedule: {name: cosine}     # ends with small steps; nothing to tune",
            f"    batch_size: {training.batch_size}",
            f"    epochs: {training.epochs}     # {training.why_epochs}",
            *([] if training.patience is None else [f"    patience: {training.patience}"]),
            "# In the order of what usually matters most. Begin with these; add more once they are settled.",
            "space:",
            *(part for line in training.lines for part in (f"  # {line.why}", f"  {line.key}: {line.domain}")),
            "sampler: auto",
            "pruner: {name: median}     # stops what is behind half of the others",
            f"budget: {{trials: {_TRIALS}}}",
            *reference(summary),
            "",
        ]
    )


def comments(summary: DataSummary, findings: Sequence[str]) -> list[str]:
    """Return the comments about the data: how each column is read, what is left out, and what was found."""
    lines = [*about_encoding(summary), *about_data(summary)]
    return [f"# {part}" for line in lines for part in _wrapped(line)] + [f"# {line}" for line in _about(findings)]


def head(summary: DataSummary, name: str) -> list[str]:
    """Return the name, the format and the objective of a study."""
    objective = _objective(summary)
    return [
        f"name: {_value(name)}",
        "format: 1",
        *([f"# {objective.why}"] if objective.why else []),
        f"objective: {{metric: {objective.metric}, direction: {objective.direction}, value: best}}",
    ]


def data_and_loss(summary: DataSummary, model: str) -> list[str]:
    """Return the beginning of a train task: the data, the model, the loss and the metrics."""
    objective = _objective(summary)
    return [
        "task:",
        "  train:",
        f"    data: {mapping(summary.data)}",
        f"    model: {{{model}}}",
        f"    loss: {{name: {'mse' if summary.kind == 'regression' else 'cross_entropy'}}}",
        *([f"    metrics: [{objective.asked}]"] if objective.asked is not None else []),
    ]


def reference(summary: DataSummary) -> list[str]:
    """Return what a trivial baseline scores, if that is known."""
    objective = _objective(summary)
    if objective.baseline is None:
        return []
    return [f"reference: {{baseline: {objective.baseline:.4g}}}     # {objective.explanation}"]


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


def _about(findings: Sequence[str]) -> list[str]:
    """Return the findings as lines of a comment."""
    rest = len(findings) - _MAX_FINDINGS
    lines = [line for finding in findings[:_MAX_FINDINGS] for line in _wrapped(f"  {_plain_text(finding)}")]
    return [*(["Findings:"] if lines else []), *lines, *([f"  … and {rest} more: study look"] if rest > 0 else [])]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _COMMENT_WIDTH, subsequent_indent="    ", break_long_words=False)


def describe(summary: DataSummary) -> str:
    """Return the name of the data, the kind of task, and the numbers of examples and classes."""
    classes = f" of {summary.num_classes} classes" if summary.num_classes else ""
    name = summary.data.get("path", summary.data["name"])
    return f"{name}: {summary.kind}, {summary.num_examples} examples{classes}"


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
