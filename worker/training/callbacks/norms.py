"""Gradient norms, weight norms, update ratios and dead units by epoch, which show how a training fails inside."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from worker.training.callbacks.callback import Callback, Training

# The ratios of layers and updates change slowly, and an update ratio needs a copy of the weights.
_STEPS_BETWEEN_RATIOS = 20
_RECTIFIERS = (nn.ReLU, nn.ReLU6)


class Norms(Callback):
    """Sums the gradient norm of every step on the device; with several models it is the mean over them.

    The ratios are measured at every 20th step only. Dead units are counted while the epoch is evaluated.
    """

    def __init__(self) -> None:
        self._sum = torch.zeros((), dtype=torch.float64)
        self._num_steps = 0
        self._ratios = torch.zeros(2, dtype=torch.float64)
        self._num_ratios = 0
        self._before: dict[int, list[Tensor]] = {}
        self._active: dict[int, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def on_begin(self, training: Training) -> None:
        self._optimizers = training.optimizers
        for optimizer in training.optimizers:
            device = optimizer.param_groups[0]["params"][0].device
            self._sum, self._ratios = self._sum.to(device), self._ratios.to(device)
            self._handles.append(optimizer.register_step_pre_hook(self._count))
            self._handles.append(optimizer.register_step_post_hook(self._count_update))
        for model in training.models:
            for module in model.modules():
                if isinstance(module, _RECTIFIERS):
                    self._handles.append(module.register_forward_hook(_recorder(self._active)))

    def _count(self, optimizer: Optimizer, *_: object) -> None:
        weights = _weights(optimizer)
        self._sum += get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        if self._num_steps % _STEPS_BETWEEN_RATIOS == 0:
            gradients = [weight.grad for weight in weights if weight.ndim > 1 and weight.grad is not None]
            if gradients:
                self._ratios[0] += _rms(gradients[0]) / _rms(gradients[-1])
            self._before[id(optimizer)] = [weight.detach().clone() for weight in weights]
        self._num_steps += 1

    @torch.no_grad()
    def _count_update(self, optimizer: Optimizer, *_: object) -> None:
        before = self._before.pop(id(optimizer), None)
        if before is None:
            return
        updates = [weight - old for weight, old in zip(_weights(optimizer), before, strict=True)]
        self._ratios[1] += get_total_norm(updates) / get_total_norm(before).clamp_min(1e-12)
        self._num_ratios += 1

    def measure(self) -> Mapping[str, float]:
        """Return the epoch's norms and ratios.

        Returns:
            `norm/gradient` (mean over the epoch's steps), `norm/weights` (after the epoch), `norm/gradient_ratio`
            (gradient of the first weight matrix by that of the last, each the root of the mean square) and
            `norm/update_ratio` (length of a step by the length of the weights), both means over sampled steps, and for
            models with ReLU layers `norm/dead_units` (share of their units that were 0 on every evaluated example).
        """
        with torch.no_grad():
            lengths = [float(get_total_norm(_weights(optimizer))) for optimizer in self._optimizers]
        # Without a step the mean is NaN, which is correct: fp16 may skip all steps of an epoch.
        gradient_ratio, update_ratio = (self._ratios / self._num_ratios).tolist()
        metrics = {
            "norm/gradient": float(self._sum / self._num_steps),
            "norm/weights": sum(lengths) / len(lengths),
            "norm/gradient_ratio": gradient_ratio,
            "norm/update_ratio": update_ratio,
        }
        if self._active:
            num_active = sum(int(each.sum()) for each in self._active.values())
            metrics["norm/dead_units"] = 1 - num_active / sum(each.numel() for each in self._active.values())
        self._active.clear()
        self._sum.zero_()
        self._ratios.zero_()
        self._num_steps = self._num_ratios = 0
        return metrics

    def close(self) -> None:
        # The model outlives the training in its result, which must not go on counting.
        for handle in self._handles:
            handle.remove()

    def state_dict(self) -> dict[str, Any]:
        return {
            "sum": self._sum, "num_steps": self._num_steps, "ratios": self._ratios, "num_ratios": self._num_ratios,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sum, self._num_steps = state["sum"], state["num_steps"]
        if "ratios" in state:  # a checkpoint of an earlier version lacks them
            self._ratios, self._num_ratios = state["ratios"], state["num_ratios"]


def norms() -> Callback:
    """L2 norm of the gradient after any clipping, of the weights, of the updates, and the share of dead ReLU units."""
    return Norms()


def _recorder(active: dict[int, Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
    """Return a hook that records which units of a ReLU layer were above 0 on some evaluated example.

    It is a plain function because copies of the model, as snapshots are, must share what it records.
    """

    def record(module: nn.Module, _: Any, output: Tensor) -> None:
        if module.training:
            return
        # A unit is a channel of an image and the last dimension of anything else.
        units = output.flatten(2).amax((0, 2)) if output.ndim == 4 else output.flatten(0, -2).amax(0)
        is_active = units > 0
        known = active.get(id(module))
        active[id(module)] = is_active if known is None else known | is_active

    return record


def _rms(values: Tensor) -> Tensor:
    return values.square().mean().sqrt().clamp_min(1e-30)


def _weights(optimizer: Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]
