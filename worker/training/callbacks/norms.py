"""Gradient norms and weight norms by epoch, which show vanishing and exploding gradients."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from worker.training.callbacks.callback import Callback, Training


class Norms(Callback):
    """Sums the gradient norm of every step on the device; with several models it is the mean over them."""

    def __init__(self) -> None:
        self._sum = torch.zeros((), dtype=torch.float64)
        self._num_steps = 0

    def on_begin(self, training: Training) -> None:
        self._optimizers = training.optimizers
        for optimizer in training.optimizers:
            self._sum = self._sum.to(optimizer.param_groups[0]["params"][0].device)
            optimizer.register_step_pre_hook(self._count)

    def _count(self, optimizer: Optimizer, *_: object) -> None:
        self._sum += get_total_norm([weight.grad for weight in _weights(optimizer) if weight.grad is not None])
        self._num_steps += 1

    def measure(self) -> Mapping[str, float]:
        """Return `norm/gradient` (mean over the epoch's steps) and `norm/weights` (after the epoch)."""
        with torch.no_grad():
            lengths = [float(get_total_norm(_weights(optimizer))) for optimizer in self._optimizers]
        # Without a step the mean is NaN, which is correct: fp16 may skip all steps of an epoch.
        metrics = {
            "norm/gradient": float(self._sum / self._num_steps),
            "norm/weights": sum(lengths) / len(lengths),
        }
        self._sum.zero_()
        self._num_steps = 0
        return metrics

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self._sum, "num_steps": self._num_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sum, self._num_steps = state["sum"], state["num_steps"]


def norms() -> Callback:
    """L2 norm of the gradient after any clipping (mean over an epoch's steps), and of the trainable weights."""
    return Norms()


def _weights(optimizer: Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]
