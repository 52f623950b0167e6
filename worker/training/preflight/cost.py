"""Check 6: seconds per epoch and peak memory at the centre of the space and at its corners."""

from __future__ import annotations

import gc
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from worker.training.batch_size import proposed_batch_size
from worker.training.build import Components
from worker.training.deadline import Deadline
from worker.training.errors import ConfigError, Infeasible
from worker.training.evaluate import predictions_of
from worker.training.out_of_memory import is_out_of_memory
from worker.training.preflight.bench import Bench, in_words, step_loss, training_batches
from worker.training.preflight.memory import available_bytes, gpu_gib, peak_bytes, reset_peak
from worker.training.preflight.memory_limits import MemoryLimit, memory_limit
from worker.training.preflight.model_size import model_size
from worker.training.preflight.result import Check, Status
from worker.training.state import TrainState

_NUMBER = 6
_NUM_STEPS = 5
_MIB = 2**20
_REMEDIES = (
    "In this order: grad_accumulation: 4, precision: bf16, activation_checkpointing: true, a smaller input; or narrow "
    "the space."
)


@dataclass(frozen=True)
class Corner:
    """One configuration that was run, or could not be.

    Attributes:
        name: centre, largest batch, largest model, or both.
        settings: the searched settings that differ from the centre.
        seconds_per_epoch: of one model with its evaluation; None: not measured.
        peak_bytes: None: not measured.
        problem: why it can't be trained here; None: it can.
        limit: the configurations that need as much memory, if it ran out of a GPU's; None: it did not.
    """

    name: str
    settings: Mapping[str, Any]
    seconds_per_epoch: float | None = None
    peak_bytes: int | None = None
    problem: str | None = None
    limit: MemoryLimit | None = None


@dataclass(frozen=True)
class Sizes:
    """The memory of the weights for the values of one setting of the model.

    Attributes:
        values: the values that fit the centre of the space.
        training_bytes: of each.
    """

    values: Sequence[Any]
    training_bytes: Sequence[int]

    @property
    def largest(self) -> Any:
        """The value with the largest model."""
        return self.values[self.training_bytes.index(max(self.training_bytes))]

    @property
    def is_rising(self) -> bool:
        """Whether each larger value of the setting gives a larger model."""
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values):
            return False
        by_value = sorted(dict(zip(self.values, self.training_bytes, strict=True)).items())
        return all(more > less for (_, less), (_, more) in pairwise(by_value))


def check_cost(bench: Bench) -> tuple[list[Check], Sequence[Corner]]:
    """Time a few steps at the centre and the corners, and find corners that run out of memory."""
    deadline = Deadline(bench.deadline.left / 2)
    sizes = model_sizes(bench)
    growing = [path for path, each in sizes.items() if each.is_rising]
    named = {"centre": {}, **corners(bench, sizes)}
    measured: list[Corner] = []
    for name, settings in named.items():
        if measured and deadline.has_passed:
            break
        measured.append(_measure(bench, name, settings, growing))
    return [_time(bench, measured), _memory(bench, measured, len(named)), _batch_size(bench, measured)], measured


def model_sizes(bench: Bench) -> dict[str, Sizes]:
    """Return the sizes of the model for each searched setting that changes them."""
    found = {}
    for path, parameter in bench.space.parameters.items():
        if not path.startswith("model."):
            continue
        sizes: dict[int, int] = {}
        for index, value in enumerate(parameter.values):
            with suppress(ConfigError, RuntimeError):  # what does not fit the centre is no corner; check 9 reports it
                config = bench.space.configuration({**parameter.requires, path: value})
                sizes[index] = model_size(bench, config).training_bytes
        if len(set(sizes.values())) > 1:
            found[path] = Sizes([parameter.values[index] for index in sizes], list(sizes.values()))
    return found


def corners(bench: Bench, sizes: Mapping[str, Sizes]) -> dict[str, dict[str, Any]]:
    """Return the settings of the largest batch, of the largest model, and of both, where these are searched."""
    parameters = bench.space.parameters
    batch: dict[str, Any] = {}
    if "batch_size" in parameters:
        batch = {"batch_size": max(parameters["batch_size"].values)}
    model: dict[str, Any] = {}
    for path, each in sizes.items():
        model = {**model, **parameters[path].requires, path: each.largest}
    found = {"largest batch": batch, "largest model": model, "largest batch and model": {**batch, **model}}
    if not (batch and model):
        del found["largest batch and model"]
    return {name: settings for name, settings in found.items() if settings}


def _measure(bench: Bench, name: str, settings: Mapping[str, Any], growing: Collection[str] = ()) -> Corner:
    """Run a few steps and time them; `growing` are the settings of which a larger value gives a larger model."""
    try:
        config = bench.space.configuration(settings) if settings else bench.config
        maximum = bench.constraints.get("parameters", {}).get("max")
        size = model_size(bench, config)
        if maximum is not None and size.num_parameters > maximum:
            return Corner(name, settings, problem=f"{size.num_parameters:,} parameters break the constraint")
        available = available_bytes(bench.device)
        if available is not None and size.training_bytes > available:
            needed = (
                f"training its {size.num_parameters:,} weights takes at least {size.training_bytes / _MIB:,.0f} MiB"
            )
            return Corner(name, settings, problem=f"{needed}, but {available / _MIB:,.0f} MiB are available")
        can_measure = reset_peak(bench.device)
        with bench.random_stream("cost"):
            components, state = bench.build(config)
            seconds = _seconds_per_epoch(bench, components, state)
        return Corner(name, settings, seconds, peak_bytes(bench.device) if can_measure else None)
    except (ConfigError, Infeasible) as error:
        return Corner(name, settings, problem=str(error))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        problem = f"out of memory: {str(error).splitlines()[0][:200]}"
        memory_gib = gpu_gib(bench.device)
        limit = None if memory_gib is None else memory_limit(bench.space, settings, growing, memory_gib)
        return Corner(name, settings, problem=problem, limit=limit)
    finally:
        gc.collect()
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()


def step_seconds_per_epoch(bench: Bench) -> float:
    """Return the seconds of an epoch's steps at the centre, estimated from the second of two steps."""
    with bench.random_stream("cost"):
        components, state = bench.build(bench.config)
        batches = training_batches(bench, bench.config.batch_size, "cost")
        step_loss(components, state, next(batches))  # the first step also loads libraries
        started = time.perf_counter()
        step_loss(components, state, next(batches))
    num_steps = -(-len(components.dataset.train) // bench.config.batch_size)
    return num_steps * (time.perf_counter() - started)


def _seconds_per_epoch(bench: Bench, components: Components, state: TrainState) -> float:
    """Return the seconds of an epoch's steps and its evaluation, from a few of both."""
    dataset, config = components.dataset, components.config
    batches = training_batches(bench, config.batch_size, "cost")
    times = []
    for _ in range(1 + _NUM_STEPS):  # the first step also loads libraries
        started = time.perf_counter()
        step_loss(components, state, next(batches))
        times.append(time.perf_counter() - started)
        if len(times) > 1 and bench.deadline.has_passed:
            break
    num_steps = -(-len(dataset.train) // config.batch_size)
    seconds = num_steps * sorted(times[1:])[(len(times) - 1) // 2]
    if "val" in dataset.splits:
        split = dataset.splits["val"]
        started = time.perf_counter()
        seen = 0
        with torch.inference_mode(), components.autocast:
            for _, targets in predictions_of(state.eval_model, dataset, "val"):
                seen += len(targets)
                if bench.deadline.has_passed:
                    break
        seconds += (time.perf_counter() - started) * len(split) / max(1, seen)
    return seconds


def _time(bench: Bench, measured: Sequence[Corner]) -> Check:
    name = "seconds_per_epoch"
    centre = measured[0]
    if centre.seconds_per_epoch is None:
        return Check(
            _NUMBER, name, Status.FAILED, f"The centre of the space can't be trained here: {centre.problem}.",
            {"settings": {}}, _REMEDIES,
        )  # fmt: skip
    folds = (bench.config.folds or 1) * bench.config.repeats
    figures = {
        "models": folds,
        "corners": [
            {"name": each.name, "settings": dict(each.settings), "seconds_per_epoch": each.seconds_per_epoch}
            for each in measured
        ],
    }
    known = [each for each in measured if each.seconds_per_epoch is not None]
    times = ", ".join(f"{in_words(each.seconds_per_epoch)} s ({each.name})" for each in known)
    whole = centre.seconds_per_epoch * folds * bench.config.epochs
    sentence = f"An epoch takes {times}; all {bench.config.epochs} epochs of a trial about {in_words(whole)} s."
    return Check(_NUMBER, name, Status.PASSED, sentence, figures)


def _memory(bench: Bench, measured: Sequence[Corner], num_corners: int) -> Check:
    name = "memory"
    figures = {
        "corners": [
            {"name": each.name, "settings": dict(each.settings), "peak_bytes": each.peak_bytes, "problem": each.problem}
            for each in measured
        ]
    }
    problems = [each for each in measured if each.problem is not None]
    if problems:
        first = problems[0]
        where = ", ".join(f"{path} = {value}" for path, value in first.settings.items()) or "the configuration itself"
        status = Status.FAILED if first.name == "centre" else Status.WARNED
        return Check(
            _NUMBER,
            name,
            status,
            f"The {first.name} ({where}) can't be trained here: {first.problem}.",
            figures,
            _REMEDIES,
        )
    peaks = [each.peak_bytes for each in measured if each.peak_bytes is not None]
    if not peaks:
        return Check(
            _NUMBER, name, Status.NOT_RUN,
            f"{len(measured)} of {num_corners} corners fit in memory; this system does not tell the peak.", figures,
        )  # fmt: skip
    whose = "on the device" if bench.device.type == "cuda" else "of this process, libraries included"
    sentence = f"At most {max(peaks) / _MIB:,.0f} MiB {whose}, at {len(measured)} of {num_corners} corners."
    return Check(_NUMBER, name, Status.PASSED, sentence, figures)


def _batch_size(bench: Bench, measured: Sequence[Corner]) -> Check:
    """Propose the largest batch that fits, by doubling it until memory runs out; on a GPU alone."""
    name = "largest_batch"
    if bench.device.type != "cuda":
        sentence = "On a CPU memory does not bound the batch, so no batch size is proposed."
        return Check(_NUMBER, name, Status.NOT_RUN, sentence)
    if measured[0].problem is not None:
        return Check(_NUMBER, name, Status.NOT_RUN, "The centre of the space does not fit.")
    largest, num_examples = largest_batch(bench), len(bench.dataset.train)
    proposed = proposed_batch_size(bench.config.batch_size, largest, num_examples)
    figures = {"batch_size": largest, "training_examples": num_examples, "proposed": proposed}
    return Check(_NUMBER, name, Status.PASSED, f"A batch of {largest} examples fits at the centre.", figures)


def largest_batch(bench: Bench) -> int:
    """Return the largest batch that fits in memory at the centre, doubled from the configured one."""
    largest = bench.config.batch_size
    while 2 * largest <= len(bench.dataset.train) and not bench.deadline.has_passed:
        if _measure(bench, "batch", {"batch_size": 2 * largest}).problem is not None:
            break
        largest *= 2
    return largest
