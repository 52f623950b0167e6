"""The training that `study init` writes: model, batch size, epochs, and search ranges with the reason for each.

The ranges are from J. Johnson, EECS 498, lecture 11 (rates 1e-4 to 1e-1; decay 0, 1e-5, 1e-4), Google's Deep Learning
Tuning Playbook (the rate first, batch size for speed), and A. Karpathy, A Recipe for Training Neural Networks (a plain
baseline first). Those for tables were chosen on nine small tables that `benchmarks/small_tables.py` does not use.
"""

from __future__ import annotations

from dataclasses import dataclass

from service.cli.inspect_data import DataSummary

_EPOCHS = 20
_MIN_EPOCHS, _MAX_EPOCHS, _TABLE_STEPS = 20, 200, 3000
"""Epochs of a table: as many as give so many optimizer steps, within these bounds."""

_PATIENCE = 20
_BATCHES = (16, 32, 64, 128)
_TRAIN_SHARE = 0.6


@dataclass(frozen=True)
class Line:
    """A parameter of the space: its domain, the comment that explains it, and its baseline value, if any."""

    key: str
    domain: str
    why: str
    plain: str | None


@dataclass(frozen=True)
class TrainingDefaults:
    """The parts of a `train` task and of its search space that depend on the kind of data.

    Attributes:
        model: the model section, without braces.
        rate: the learning rate before any search.
        batch_size: examples per step.
        epochs: passes over the training data.
        why_epochs: the comment on their number.
        patience: epochs without improvement that end a training; None: it trains to the end.
        lines: the parameters to search, the most important first.
    """

    model: str
    rate: str
    batch_size: int
    epochs: int
    why_epochs: str
    patience: int | None
    lines: list[Line]


def training_defaults(summary: DataSummary) -> TrainingDefaults:
    """Return the training for the inspected data."""
    if summary.inputs == "rows":
        return _for_tables(summary)
    batches = _batches(summary)
    return TrainingDefaults(
        model=f"name: {models(summary)[-1]}",
        rate="1e-3",
        batch_size=batches[len(batches) // 2],
        epochs=_EPOCHS,
        why_epochs="if the best trials still improve at the end, write more",
        patience=None,
        lines=_lines(summary, batches),
    )


def models(summary: DataSummary) -> list[str]:
    """Return the baseline model, if there is a simpler one, and the model that has to beat it."""
    return {"rows": ["linear", "mlp"], "images": ["linear", "resnet"], "tokens": ["gpt"]}[summary.inputs]


def num_training(summary: DataSummary) -> float:
    """Return about how many examples train."""
    return summary.num_examples * _TRAIN_SHARE


def _for_tables(summary: DataSummary) -> TrainingDefaults:
    batches = _batches(summary)
    batch = batches[len(batches) // 2]
    steps = max(1, num_training(summary) // batch)
    epochs = min(max(round(_TABLE_STEPS / steps, -1), _MIN_EPOCHS), _MAX_EPOCHS)
    when = "when: {model.name: mlp}"
    lines = [
        Line(
            "optimizer.lr",
            "{type: float, low: 3e-4, high: 3e-2, log: true}",
            "The learning rate decides most, and by its order of magnitude.",
            "3e-3",
        ),
        Line(
            "model.name",
            "{type: categorical, choices: [linear, mlp]}",
            "One linear layer is the baseline that any larger model has to beat; on few rows it often wins.",
            "linear",
        ),
        Line(
            "model.width",
            f"{{type: categorical, choices: [{_doubled(32, 256)}], ordered: true, {when}}}",
            "How much the model can hold: too little underfits, too much costs time and overfits.",
            None,
        ),
        Line("model.depth", f"{{type: int, low: 1, high: 3, {when}}}", "Hidden layers; tables rarely need more.", None),
        Line(
            "optimizer.weight_decay",
            "{type: float, low: 1e-3, high: 1, log: true, zero: true}",
            "Against overfitting. AdamW multiplies it by the rate, so that less than this changes nothing.",
            "0",
        ),
        Line(
            "model.dropout",
            f"{{type: float, low: 0.0, high: 0.5, step: 0.1, {when}}}",
            "Against overfitting too; of use once the model is large enough to overfit.",
            None,
        ),
    ]
    return TrainingDefaults(
        model="name: mlp, activation: silu, norm: batch",
        rate="3e-3",
        batch_size=batch,
        epochs=int(epochs),
        why_epochs="few rows need many passes; patience ends those that no longer help",
        patience=_PATIENCE,
        lines=lines,
    )


def _lines(summary: DataSummary, batches: list[int]) -> list[Line]:
    *plainer, model = models(summary)
    when = f", when: {{model.name: {model}}}" if plainer else ""
    rate = Line(
        "optimizer.lr",
        "{type: float, low: 1e-4, high: 1e-1, log: true}",
        "The learning rate decides most, and by its order of magnitude.",
        "1e-3",
    )
    lines = [rate]
    if plainer:
        why = "One linear layer is the baseline that any larger model has to beat."
        lines.append(Line("model.name", f"{{type: categorical, choices: [{plainer[0]}, {model}]}}", why, plainer[0]))
    widths = {"resnet": (8, 32), "gpt": (64, 256)}[model]
    why = "How much the model can hold: too little underfits, too much costs time and overfits."
    domain = f"{{type: categorical, choices: [{_doubled(*widths)}], ordered: true{when}}}"
    lines.append(Line("model.width", domain, why, None if plainer else str(widths[0])))
    if len(batches) > 1:
        domain = f"{{type: categorical, choices: [{', '.join(map(str, batches))}], ordered: true}}"
        why = "Mostly a matter of speed, once the rate fits it; small batches regularise a little."
        lines.append(Line("batch_size", domain, why, str(batches[len(batches) // 2])))
    domain = "{type: categorical, choices: [0, 1e-5, 1e-4], ordered: true}"
    lines.append(Line("optimizer.weight_decay", domain, "Against overfitting; little is enough.", "0"))
    domain = f"{{type: float, low: 0.0, high: 0.5, step: 0.1{when}}}"
    why = "Against overfitting too; of use once the model is large enough to overfit."
    lines.append(Line("model.dropout", domain, why, None if plainer else "0"))
    return lines


def _batches(summary: DataSummary) -> list[int]:
    """Return the batch sizes that give at least eight steps per epoch."""
    return [size for size in _BATCHES if size * 8 <= num_training(summary)] or [8]


def _doubled(low: int, high: int) -> str:
    sizes = [low]
    while sizes[-1] < high:
        sizes.append(2 * sizes[-1])
    return ", ".join(map(str, sizes))
