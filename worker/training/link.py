"""What a model's outputs stand for, as its loss takes them: probabilities of classes, or values as they are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.training.data import Kind
from worker.training.errors import ConfigError, did_you_mean
from worker.training.losses import LOSSES


@dataclass(frozen=True)
class Link:
    """`means` turns outputs [..., num_outputs] into what they stand for, `outputs` that back into such outputs."""

    means: Callable[[Tensor], Tensor]
    outputs: Callable[[Tensor], Tensor]


# No probability is quite 0 or 1: the loss of an output that says so would be infinite.
LINKS: Mapping[str, Link] = {
    "softmax": Link(lambda logits: logits.softmax(-1), lambda shares: shares.clamp_min(1e-30).log()),
    "sigmoid": Link(torch.sigmoid, lambda shares: shares.logit(eps=1e-7)),
    "identity": Link(lambda values: values, lambda values: values),
}


def link_of(loss_name: str, kind: Kind) -> Link:
    """That of a loss: the fact `link` of its entry; without one the softmax over classes, or values as they are.

    ConfigError where there is no link of that name.
    """
    usual = "softmax" if kind in ("classification", "language") else "identity"
    name = str(LOSSES.entry(loss_name).facts.get("link", usual))
    if name not in LINKS:
        raise ConfigError("loss.name", f"{loss_name} was added with the link {name!r}; {did_you_mean(name, LINKS)}")
    return LINKS[name]
