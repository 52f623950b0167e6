"""Check 8, loading: making a batch must not take longer than training on it."""

from __future__ import annotations

import statistics
import time

import torch

from worker.training.preflight.bench import Bench, step_loss, training_batches
from worker.training.preflight.result import Check, Status

_NUMBER, _NAME = 8, "loading"
_NUM_BATCHES = 5
_MAX_SHARE = 0.75
_NOTICEABLE_SECONDS = 0.005


def check_loading(bench: Bench) -> list[Check]:
    """Time the making of a batch, augmentation included, and a whole step."""
    components, state = bench.build(bench.config)
    dataset = components.dataset
    batches = training_batches(bench, bench.config.batch_size, "loading")
    loading, steps = [], []
    for _ in range(1 + _NUM_BATCHES):
        batch = next(batches)
        started = time.perf_counter()
        components.augment(*dataset.batch(dataset.train, batch))
        _synchronize(bench.device)
        loading.append(time.perf_counter() - started)
        started = time.perf_counter()
        step_loss(components, state, batch)
        _synchronize(bench.device)
        steps.append(time.perf_counter() - started)
        if len(steps) > 1 and bench.deadline.has_passed:
            break
    load, step = statistics.median(loading[1:]), statistics.median(steps[1:])
    share = load / step
    figures = {"seconds_per_batch": load, "seconds_per_step": step, "share": share}
    seen = f"Making a batch takes {1000 * load:.2g} ms of a step's {1000 * step:.2g} ms"
    if share > _MAX_SHARE and load > _NOTICEABLE_SECONDS:
        return [
            Check(
                _NUMBER, _NAME, Status.WARNED, f"{seen}, so the device waits most of the time.", figures,
                "Load the data into memory once, store it in the form the model needs, or augment less.",
            )
        ]  # fmt: skip
    return [Check(_NUMBER, _NAME, Status.PASSED, f"{seen}.", figures)]


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
