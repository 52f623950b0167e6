"""Check 4: the range of learning rates at which the loss falls (Smith 2017, "Cyclical learning rates", section 3.3)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import islice

from worker.training.deadline import Deadline
from worker.training.preflight.bench import Bench, in_words, loss_of, step_loss, training_batches
from worker.training.preflight.one_batch import LEARNING_RATE
from worker.training.preflight.result import Check, Curve, LearningRateRange, Status

_NUMBER, _NAME = 4, "learning_rate"
_NUM_STEPS, _MIN_STEPS = 100, 28
"""Steps of the test; fewer if the time is short, but at least four for each factor of ten of the rate."""
_MAX_BATCH = 128
_LOWEST, _HIGHEST = 1e-6, 10.0
_FALLEN = 0.02
"""The share of the first loss by which it must be lower to count as fallen."""
_STEPS_PER_RATE = 6
"""About how many steps of one rate the test takes before the rate has doubled."""
_TOO_MANY_DECADES = 3.0


def check_learning_rate(bench: Bench) -> tuple[list[Check], LearningRateRange | None]:
    """Train some 100 steps at rising rates, and compare where the loss falls and explodes with the searched range."""
    searched = searched_rates(bench)
    if searched is None:
        sentence = f"The optimizer {bench.config.optimizer.name} has no setting lr."
        return [Check(_NUMBER, _NAME, Status.NOT_RUN, sentence)], None
    ramp = _ramp(bench, searched)
    if ramp is None:
        sentence = f"The time does not suffice for {_MIN_STEPS} steps; give the preflight more seconds."
        return [Check(_NUMBER, _NAME, Status.NOT_RUN, sentence)], None
    rates, losses = ramp
    found = find_range(rates, losses)
    figures = {
        "searched": list(searched),
        "falls": found and found.falls,
        "steepest": found and found.steepest,
        "explodes": found and found.explodes,
        "proposed": found and found.proposed,
        "first_loss": losses[0],
        "lowest_loss": min((loss for loss in losses if math.isfinite(loss)), default=None),
    }
    curve = Curve(
        "learning-rate range", "learning rate", "loss on a fixed batch", rates,
        [loss if math.isfinite(loss) else None for loss in losses], log_x=True,
    )  # fmt: skip
    status, sentence, remedy = _judge(bench, searched, found, rates, losses)
    return [Check(_NUMBER, _NAME, status, sentence, figures, remedy, [curve])], found


def searched_rates(bench: Bench) -> tuple[float, float] | None:
    """Return the lowest and the highest rate that trials may have; None: the optimizer has no rate."""
    if "lr" not in bench.config.optimizer.settings:
        return None
    parameter = bench.space.parameters.get(LEARNING_RATE)
    values = [bench.config.optimizer.settings["lr"]] if parameter is None else [*parameter.values]
    positive = [float(value) for value in values if value > 0]
    return (min(positive), max(positive)) if positive else None


def find_range(rates: Sequence[float], losses: Sequence[float]) -> LearningRateRange | None:
    """Return where a loss falls, is steepest and explodes; None: it never falls.

    Args:
        rates: rising rates, [n].
        losses: the loss after a step at each, [n].
    """
    if len(losses) < 2:
        return None
    first = losses[0]
    scale = max(abs(first), 1e-6)
    bounded = [loss if math.isfinite(loss) else math.inf for loss in losses]
    finite = [statistics.fmean(bounded[max(0, index - 1) : index + 2]) for index in range(len(losses))]
    lowest = min(range(len(finite)), key=finite.__getitem__)
    if finite[lowest] > first - _FALLEN * scale:
        return None
    falls = next(index for index, loss in enumerate(finite) if loss <= first - _FALLEN * scale)
    depth = first - finite[lowest]
    explodes = next((index for index in range(lowest, len(finite)) if finite[index] > finite[lowest] + depth / 2), None)
    # The steepest fall over a third of a decade, on the way down.
    span = max(1, round(math.log(2) / math.log(rates[1] / rates[0])))
    slopes = {index: finite[min(index + span, lowest)] - finite[max(index - span, 0)] for index in range(lowest + 1)}
    steepest = min(slopes, key=lambda index: slopes[index])
    proposed = rates[steepest]
    if explodes is not None:
        proposed = min(proposed, rates[explodes] / 4)
    return LearningRateRange(
        rates[falls], rates[steepest], None if explodes is None else rates[explodes], float(f"{proposed:.1e}")
    )


def _ramp(bench: Bench, searched: tuple[float, float]) -> tuple[list[float], list[float]] | None:
    """Return the tested rates, and the loss on a fixed batch after a step at each; None: the time is too short."""
    deadline = Deadline(bench.deadline.left / 3)
    components, state = bench.build(bench.plain_config, is_plain=True)
    base = float(bench.config.optimizer.settings["lr"])
    lowest = max(min(_LOWEST, searched[0]), _LOWEST / 10**_TOO_MANY_DECADES)
    highest = min(max(_HIGHEST, 2 * searched[1]), _HIGHEST * 10**_TOO_MANY_DECADES)
    split = bench.dataset.train
    probe = bench.probe(split, _MAX_BATCH)
    rates, losses = [], []
    batches = training_batches(bench, min(bench.config.batch_size, len(probe)), "learning_rate")
    started = deadline.left
    for batch in islice(batches, 2):  # at the lowest rate, where nothing changes yet
        step_loss(components, state, batch, lowest / base)
        loss_of(components, state.model, split, probe)
    num_steps = min(_NUM_STEPS, int(2 * deadline.left / max(1e-6, started - deadline.left)))
    if num_steps < _MIN_STEPS:
        return None
    factor = (highest / lowest) ** (1 / (num_steps - 1))
    for number, batch in enumerate(islice(batches, num_steps)):
        rates.append(lowest * factor**number)
        step_loss(components, state, batch, rates[-1] / base)
        losses.append(loss_of(components, state.model, split, probe))
        is_over = not math.isfinite(losses[-1]) or losses[-1] > losses[0] + 20 * max(abs(losses[0]), 0.1)
        if is_over:
            break
        if bench.deadline.has_passed:
            return None
    return rates, losses


def _judge(
    bench: Bench,
    searched: tuple[float, float],
    found: LearningRateRange | None,
    rates: Sequence[float],
    losses: Sequence[float],
) -> tuple[Status, str, str | None]:
    tested = f"between {in_words(rates[0])} and {in_words(rates[-1])}"
    if found is None:
        return (
            Status.FAILED,
            f"The loss falls at no rate {tested}: it goes from {in_words(losses[0])} to {in_words(losses[-1])}.",
            "Find out first why one batch can't be fitted: no learning rate helps.",
        )
    low, high = searched
    is_fixed = low == high
    searched_in_words = f"rate {in_words(low)}" if is_fixed else f"searched range {in_words(low)} to {in_words(high)}"
    top = "" if found.explodes is None else f" and explodes at {in_words(found.explodes)}"
    seen = f"The loss falls from {in_words(found.falls)} on, fastest at {in_words(found.steepest)}{top}"
    proposal = f"Begin with {LEARNING_RATE} = {found.proposed:g}"
    if found.explodes is not None and low > found.explodes:
        return Status.FAILED, f"{seen}; the {searched_in_words} lies above.", f"{proposal}."
    num_batches = max(1, len(bench.dataset.train) // bench.config.batch_size)
    num_steps = num_batches * bench.config.epochs
    if high * num_steps < found.falls * _STEPS_PER_RATE / 2:
        sentence = f"{seen}; in all {num_steps:,} steps of a training the {searched_in_words} reaches less."
        return Status.FAILED, sentence, f"{proposal}."
    return Status.PASSED, f"{seen}; {proposal[0].lower()}{proposal[1:]}.", None
