"""The processes that train one model together, each its share of every batch; a group of one does nothing.

They are those of `torch.distributed`, as torchrun starts them. All ranks take every decision alike, because they
compute it from the same numbers or are told it by the first one; so each knows when the others wait for it.
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

from worker.training.errors import GroupBroken

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True)
class Group:
    """One process's view of the group: its rank from 0, and how many there are.

    What a rank says to the others goes through `words`, a group of its own on the processors: no GPU waits for it.
    Every method but `place` and `share` is called by all ranks, in the same order. Raises GroupBroken where another one
    is gone.
    """

    rank: int = 0
    size: int = 1
    words: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the one that speaks for all: reports, saves, and hears verdicts."""
        return self.rank == 0

    def place(self, device: str) -> str:
        """The device of this rank where all are told to train on `device`: of GPUs, each takes its own."""
        if self.size == 1 or device != "cuda":
            return device
        return f"cuda:{os.environ.get('LOCAL_RANK', self.rank)}"

    def told(self, value: T) -> T:
        """The first rank's value, on all; any that can be pickled."""
        if self.size == 1:
            return value
        box = [value]
        _together(dist.broadcast_object_list, box, group_src=0, group=self.words)
        return box[0]

    def by_first(self, ask: Callable[P, T], answers: Sequence[T]) -> Callable[P, T]:
        """`ask`, called by the first rank alone; all get its answer, which is one of `answers`."""
        if self.size == 1:
            return ask

        def told(*args: P.args, **kwargs: P.kwargs) -> T:
            place = torch.tensor(answers.index(ask(*args, **kwargs)) if self.is_first else 0)
            _together(dist.broadcast, place, group_src=0, group=self.words)
            return answers[int(place)]

        return told

    def gathered(self, value: T) -> list[T]:
        """Every rank's value, by rank."""
        if self.size == 1:
            return [value]
        each: list[Any] = [None] * self.size
        _together(dist.all_gather_object, each, value, group=self.words)
        return each

    def share(self, batch: Tensor) -> Tensor:
        """What of a batch's indices is this rank's: parts as equal as can be, of a small batch perhaps none."""
        return batch if self.size == 1 else batch.tensor_split(self.size)[self.rank]

    def sum_gradients(self, weights: Sequence[nn.Parameter], losses: Sequence[Tensor]) -> Tensor:
        """Give each weight the sum of all ranks' gradients, and return the sum of all their `losses`.

        All in one message of a fixed layout, so that every sum is made in the same order each time. A weight that has
        no gradient here, though examples were trained on, is used by no rank, and keeps none.
        """
        zero = torch.zeros(1, device=weights[0].device)
        parts = [zero.expand(each.numel()) if each.grad is None else each.grad.flatten() for each in weights]
        loss = torch.stack([zero.squeeze(0), *losses]).sum()
        total = torch.cat([*parts, loss.unsqueeze(0)])
        _together(dist.all_reduce, total)
        sums = torch.split(total[:-1], [each.numel() for each in weights])
        for weight, gradient in zip(weights, sums, strict=True):
            if weight.grad is not None or not losses:
                weight.grad = gradient.view_as(weight).to(weight.dtype)
        return total[-1]

    def outputs(self, model: nn.Module, features: Tensor) -> Tensor:
        """What the model says of examples [n, …], each rank having computed an equal share; all get all of it."""
        if self.size == 1:
            return model(features)  # type: ignore[no-any-return]
        num = ceil(len(features) / self.size)
        # The last example fills the last shares up, so that all are of one size.
        first, last = num * self.rank, len(features) - 1
        mine: Tensor = (
            model(features[torch.arange(first, first + num, device=features.device).clamp(max=last)])
            .float()
            .contiguous()
        )
        everything = mine.new_empty(num * self.size, *mine.shape[1:])
        _together(dist.all_gather_single, everything, mine)
        return everything[: len(features)]


ALONE = Group()


@contextmanager
def joined() -> Iterator[Group]:
    """The group that this process belongs to for one training; alone, where no other is there.

    A process that torchrun has started joins the others here, if its own code has not done so.
    """
    is_launched = dist.is_torchelastic_launched() and not dist.is_initialized()
    if is_launched:
        dist.init_process_group()
    if not dist.is_initialized() or dist.get_world_size() == 1:
        yield ALONE
    else:
        words = dist.new_group(backend="gloo")
        yield Group(dist.get_rank(), dist.get_world_size(), words)
        dist.destroy_process_group(words)
    if is_launched:
        dist.destroy_process_group()


@contextmanager
def meeting(file: Path, rank: int, size: int) -> Iterator[None]:
    """Be one of `size` processes of this host that form a group by meeting in `file`, which nobody else may know.

    Begins before CUDA is touched; waits for the others.
    """
    os.environ["LOCAL_RANK"] = str(rank)
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # whatever the host's name resolves to
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
    _together(dist.init_process_group, init_method=f"file://{file}", rank=rank, world_size=size)
    yield
    dist.destroy_process_group()


def summed(values: Tensor) -> Tensor:
    """The sum of all ranks' values, on all; gradients flow back through it to every rank."""
    return _Summed.apply(values)  # type: ignore[no-any-return, no-untyped-call]


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        _together(dist.all_reduce, total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        return _Summed.forward(None, gradients[0].contiguous())


def _together(collective: Callable[..., object], *args: object, **kwargs: object) -> None:
    try:
        collective(*args, **kwargs)
    except RuntimeError as error:
        raise GroupBroken(f"another process of this training is gone ({str(error).splitlines()[0]})") from error
