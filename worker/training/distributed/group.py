"""Data-parallel training: several processes train one model, each on its share of every batch.

The processes are those of `torch.distributed`, as torchrun starts them; for a group of one nothing is communicated. All
ranks take every decision alike, because they compute it from the same numbers or receive it from the first rank. So
each rank knows when the others wait for it.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from worker.training.errors import ProcessGroupError

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True)
class Group:
    """One process's view of the process group.

    All ranks must call every method except `local_device` and `shard`, in the same order. These methods raise
    ProcessGroupError if another process is gone.

    Attributes:
        rank: this process's rank, from 0.
        size: the number of processes.
        cpu_group: a CPU process group (gloo) for messages between ranks, so that they don't wait for a GPU; None: one
            process.
    """

    rank: int = 0
    size: int = 1
    cpu_group: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which reports, saves checkpoints and receives verdicts."""
        return self.rank == 0

    def local_device(self, device: str) -> str:
        """Return the device of this rank if all train on `device`: for `cuda` each rank uses its own GPU."""
        if self.size == 1 or device != "cuda":
            return device
        return f"cuda:{os.environ.get('LOCAL_RANK', self.rank)}"

    def broadcast(self, value: T) -> T:
        """Broadcast the first rank's value, which must be picklable, and return it on all ranks."""
        if self.size == 1:
            return value
        values = [value]
        _run_collective(dist.broadcast_object_list, values, group_src=0, group=self.cpu_group)
        return values[0]

    def on_rank_zero(self, ask: Callable[P, T], answers: Sequence[T]) -> Callable[P, T]:
        """Return a function that calls `ask` on the first rank only, and returns its answer on all ranks.

        Args:
            ask: the function to call.
            answers: all values that it may return, in the same order on all ranks.
        """
        if self.size == 1:
            return ask

        def broadcast_answer(*args: P.args, **kwargs: P.kwargs) -> T:
            index = torch.tensor(answers.index(ask(*args, **kwargs)) if self.is_first else 0)
            _run_collective(dist.broadcast, index, group_src=0, group=self.cpu_group)
            return answers[int(index)]

        return broadcast_answer

    def all_gather(self, value: T) -> list[T]:
        """Return every rank's value, by rank (all-gather); values must be picklable."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        _run_collective(dist.all_gather_object, values, value, group=self.cpu_group)
        return values

    def shard(self, batch: Tensor) -> Tensor:
        """Return this rank's part of a batch's indices [n]; parts are as equal as possible, and may be empty."""
        return batch if self.size == 1 else batch.tensor_split(self.size)[self.rank]

    def sum_gradients(self, weights: Sequence[nn.Parameter], losses: Sequence[Tensor]) -> Tensor:
        """Replace each weight's gradient by its sum over all ranks (all-reduce), and return the sum of all losses.

        One message with a fixed layout carries all of them, so that every sum is computed in the same order each time.
        If a weight has no gradient although this rank trained on examples, no rank uses the weight, and it keeps none.

        Args:
            weights: the trainable weights, in the same order on all ranks.
            losses: this rank's losses, scalars; empty if it had no examples.
        """
        zero = torch.zeros(1, device=weights[0].device)
        parts = [zero.expand(each.numel()) if each.grad is None else each.grad.flatten() for each in weights]
        loss = torch.stack([zero.squeeze(0), *losses]).sum()
        total = torch.cat([*parts, loss.unsqueeze(0)])
        _run_collective(dist.all_reduce, total)
        sums = torch.split(total[:-1], [each.numel() for each in weights])
        for weight, gradient in zip(weights, sums, strict=True):
            if weight.grad is not None or not losses:
                weight.grad = gradient.view_as(weight).to(weight.dtype)
        return total[-1]

    def gathered_forward(self, model: nn.Module, features: Tensor) -> Tensor:
        """Return the model's outputs for examples [n, ...] on all ranks; each rank computes an equal share of them."""
        if self.size == 1:
            return model(features)  # type: ignore[no-any-return]
        num = ceil(len(features) / self.size)
        # The last example pads the last shares, so that all have the same size.
        first, last = num * self.rank, len(features) - 1
        outputs: Tensor = (
            model(features[torch.arange(first, first + num, device=features.device).clamp(max=last)])
            .float()
            .contiguous()
        )
        gathered = outputs.new_empty(num * self.size, *outputs.shape[1:])
        _run_collective(dist.all_gather_single, gathered, outputs)
        return gathered[: len(features)]


SINGLE_PROCESS = Group()


@contextmanager
def process_group() -> Iterator[Group]:
    """Yield the process group for one training, or `SINGLE_PROCESS` if there is a single process.

    If torchrun started this process and the user's code has not initialised the group, this function does so.
    """
    is_launched = dist.is_torchelastic_launched() and not dist.is_initialized()
    if is_launched:
        dist.init_process_group()
    if not dist.is_initialized() or dist.get_world_size() == 1:
        yield SINGLE_PROCESS
    else:
        cpu_group = dist.new_group(backend="gloo")
        yield Group(dist.get_rank(), dist.get_world_size(), cpu_group)
        dist.destroy_process_group(cpu_group)
    if is_launched:
        dist.destroy_process_group()


@contextmanager
def rendezvous(file: Path, rank: int, size: int) -> Iterator[None]:
    """Form a group of `size` processes on this host, which find each other through `file`.

    The function waits for the other processes. Enter it before CUDA is used.

    Args:
        file: a path that only these processes know.
        rank: this process's rank, and the index of its GPU.
        size: the number of processes.
    """
    os.environ["LOCAL_RANK"] = str(rank)
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the host's name may resolve to another interface
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
    _run_collective(dist.init_process_group, init_method=f"file://{file}", rank=rank, world_size=size)
    yield
    dist.destroy_process_group()


def all_reduce_sum(values: Tensor) -> Tensor:
    """Return the sum of all ranks' values on all ranks (all-reduce); gradients flow back to every rank."""
    return _AllReduceSum.apply(values)  # type: ignore[no-any-return, no-untyped-call]


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        _run_collective(dist.all_reduce, total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return _AllReduceSum.forward(None, gradients[0].contiguous())


def _run_collective(collective: Callable[..., object], *args: object, **kwargs: object) -> None:
    try:
        collective(*args, **kwargs)
    except RuntimeError as error:
        raise ProcessGroupError(f"another process of this training is gone ({str(error).splitlines()[0]})") from error
