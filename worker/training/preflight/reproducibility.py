"""Check 7: a checkpoint restores the same model, a seed repeats the same losses, and evaluation is honest."""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from worker.training.build import Components
from worker.training.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from worker.training.preflight.bench import Bench, in_words, outputs_of, step_loss, training_batches
from worker.training.preflight.result import Check, Status
from worker.training.seeding import rng_states, set_rng_states
from worker.training.state import TrainState

_NUMBER = 7
_NUM_STEPS = 5
_TOLERANCE = {"cpu": 1e-6, "cuda": 1e-3}
"""The largest relative difference of equal computations: kernels of a GPU may add in another order each time."""
_BATCH_TOLERANCE = 1e-3
"""The same for one example alone and in a batch, which use other kernels."""
_NUM_EXAMPLES = 16
_MAX_BATCH = 32


def check_reproducibility(bench: Bench) -> list[Check]:
    """Train a few steps, and repeat them, restore them, and evaluate."""
    with bench.random_stream("seed"):
        components, state = bench.build(bench.config)
        losses = _steps(bench, components, state, 0)
    evaluation = _evaluation(bench, components, state)
    with bench.random_stream("seed"):
        again = _steps(bench, *bench.build(bench.config), 0)
    return [_checkpoint(bench, components, state), _same_seed(bench, losses, again), evaluation]


def _steps(bench: Bench, components: Components, state: TrainState, first: int) -> list[float]:
    """Return the losses of a few steps, beginning with batch `first`."""
    batches = training_batches(bench, min(bench.config.batch_size, _MAX_BATCH), "reproducibility")
    components.trainable.begin_epoch(0.0)
    return [step_loss(components, state, batch) for batch in islice(batches, first, first + _NUM_STEPS)]


def _checkpoint(bench: Bench, components: Components, state: TrainState) -> Check:
    """Save, restore into a new model, and compare the outputs and the next steps."""
    name = "checkpoint"
    split, device = bench.dataset.train, bench.device
    indices = bench.probe(split, _NUM_EXAMPLES)
    with tempfile.TemporaryDirectory(prefix="assayer-preflight-") as folder, bench.random_stream("checkpoint"):
        state.rng_states = rng_states(device)
        save_checkpoint(Path(folder), 0, state.state_dict())
        with bench.random_stream("restored"):
            restored_components, restored = bench.build(bench.config)
            content = load_checkpoint(Path(folder))
            assert content is not None
            restored.load_state_dict(content)
    before, after = (
        outputs_of(parts, each.eval_model.eval(), split, indices)[0]
        for parts, each in ((components, state), (restored_components, restored))
    )
    outputs_differ = _difference(before, after)
    with bench.random_stream("continued"):
        set_rng_states(state.rng_states, device)
        losses = _steps(bench, components, state, _NUM_STEPS)
        set_rng_states(restored.rng_states, device)
        restored_losses = _steps(bench, restored_components, restored, _NUM_STEPS)
    losses_differ = _difference(torch.tensor(losses), torch.tensor(restored_losses))
    figures = {"outputs_difference": outputs_differ, "losses_difference": losses_differ}
    tolerance = _TOLERANCE.get(device.type, 1e-3)
    if max(outputs_differ, losses_differ) <= tolerance:
        sentence = f"A model restored from a checkpoint has the same outputs and the same next {_NUM_STEPS} losses."
        return Check(_NUMBER, name, Status.PASSED, sentence, figures)
    what = "outputs differ" if outputs_differ > tolerance else "next losses differ"
    return Check(
        _NUMBER, name, Status.FAILED,
        f"A model restored from a checkpoint is another one: its {what} by {in_words(max(figures.values()))}.", figures,
        "Keep every state of the model in parameters or persistent buffers (register_buffer), and draw random numbers "
        "from torch's default stream.",
    )  # fmt: skip


def _same_seed(bench: Bench, losses: list[float], again: list[float]) -> Check:
    name = "same_seed"
    difference = _difference(torch.tensor(losses), torch.tensor(again))
    figures = {"losses": losses, "again": again, "difference": difference}
    if difference <= _TOLERANCE.get(bench.device.type, 1e-3):
        return Check(_NUMBER, name, Status.PASSED, f"The same seed gives the same {len(losses)} losses.", figures)
    return Check(
        _NUMBER, name, Status.FAILED,
        f"The same seed gives two losses after {len(losses)} steps: {in_words(losses[-1])} and {in_words(again[-1])}.",
        figures, "Draw all random numbers from torch's default stream, which the training seeds; not from random, "
        "numpy or a generator of your own.",
    )  # fmt: skip


def _evaluation(bench: Bench, components: Components, state: TrainState) -> Check:
    """Evaluate some examples twice, alone and in a batch, and look for changes of the model."""
    name = "evaluation"
    model = state.eval_model.eval()
    split = bench.dataset.splits.get("val", bench.dataset.train)
    indices = bench.probe(split, _NUM_EXAMPLES)
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    first, _ = outputs_of(components, model, split, indices)
    second, _ = outputs_of(components, model, split, indices)
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, weights[key])]
    alone = torch.cat([outputs_of(components, model, split, index.view(1))[0] for index in indices])
    twice, batch = _difference(first, second), _difference(first, alone)
    figures = {"twice": twice, "alone": batch, "changed": changed}

    def failed(sentence: str, remedy: str) -> Check:
        return Check(_NUMBER, name, Status.FAILED, sentence, figures, remedy)

    if changed:
        return failed(
            f"Evaluation changes the model: {', '.join(changed[:3])}.", "Update buffers only if self.training is true."
        )
    if twice > _TOLERANCE.get(bench.device.type, 1e-3):
        return failed(
            f"Two evaluations of the same examples differ by {in_words(twice)}.",
            "Switch randomness off in evaluation: functional.dropout(x, p, training=self.training).",
        )
    if batch > _BATCH_TOLERANCE:
        return failed(
            f"An example's output alone and in a batch differ by {in_words(batch)}.",
            "Don't use statistics of the batch in evaluation: use a batch norm's running statistics, or a layer norm.",
        )
    sentence = f"Evaluation repeats itself, and an example has the same output alone and in a batch of {len(indices)}."
    return Check(_NUMBER, name, Status.PASSED, sentence, figures)


def _difference(first: Tensor, second: Tensor) -> float:
    """Return the largest difference, relative to the typical size of the values; infinite where only one is finite."""
    if not torch.equal(torch.isfinite(first), torch.isfinite(second)):
        return float("inf")
    finite = torch.isfinite(first)
    if not finite.any():
        return 0.0
    first, second = first[finite].double(), second[finite].double()
    return float((first - second).abs().max() / first.abs().mean().clamp_min(1e-6))
