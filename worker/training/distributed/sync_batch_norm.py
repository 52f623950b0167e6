"""Synchronised batch normalisation for several processes that train one model: statistics of the whole batch."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from worker.training.distributed.group import all_reduce_sum


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation with the mean and variance over all ranks' examples in training (Ioffe & Szegedy 2015).

    PyTorch's own SyncBatchNorm works on GPUs only, and computes the variance as a difference of squares.
    """

    def _check_input_dim(self, values: Tensor) -> None:
        """Accept any number of dimensions: rows, sequences and images."""

    def forward(self, values: Tensor) -> Tensor:
        """Normalise values [n, num_features, ...] per feature."""
        if not self.training:
            return super().forward(values)
        values32 = values.float()
        axes = [0, *range(2, values.ndim)]
        shape = [1, -1, *(1 for _ in axes[1:])]
        num_local = values32.new_tensor([values.numel() // values.shape[1]])
        totals = all_reduce_sum(torch.cat([values32.sum(axes), num_local]))
        num = totals[-1]
        mean = totals[:-1] / num
        centred = values32 - mean.view(shape)
        variance = all_reduce_sum(centred.square().sum(axes)) / num
        self._update_running_stats(mean.detach(), (variance * num / (num - 1).clamp_min(1)).detach())
        normed: Tensor = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normed = normed * self.weight.view(shape) + self.bias.view(shape)
        return normed.to(values.dtype)

    def _update_running_stats(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        factor = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, factor)
        self.running_var.lerp_(variance, factor)


def sync_batch_norms(model: nn.Module) -> None:
    """Replace every batch norm in the model by a synchronised one with the same weights and statistics."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                synced = SyncBatchNorm(
                    child.num_features, child.eps, child.momentum, child.affine, child.track_running_stats
                )
                for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
                    setattr(synced, part, getattr(child, part))
                setattr(module, name, synced)


def has_synced_batch_norms(model: nn.Module) -> bool:
    """Return whether the model has synchronised batch norms, so that in training all ranks must call it together."""
    return any(isinstance(each, SyncBatchNorm) for each in model.modules())
