"""Link functions: map model outputs to probabilities or values, as the loss interprets them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from worker.training.components.losses import LOSSES
from worker.training.data import Kind
from worker.training.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Link:
    """A pair of inverse functions between a model's outputs and what they mean.

    Attributes:
        inverse: maps outputs [..., num_outputs] to probabilities, or to values as they are (the inverse link of a GLM).
        outputs: maps these back to outputs of the same shape.
        log_probabilities: maps outputs to the logarithms of the probabilities, scaled so that these add up to 1.
    """

    inverse: Callable[[Tensor], Tensor]
    outputs: Callable[[Tensor], Tensor]
    log_probabilities: Callable[[Tensor], Tensor]


def _normalised(logarithms: Tensor) -> Tensor:
    return logarithms - logarithms.logsumexp(-1, keepdim=True)


# Probabilities are clamped away from 0 and 1, where an output, and so its loss, would be infinite.
LINKS: Mapping[str, Link] = {
    "softmax": Link(
        inverse=lambda logits: logits.softmax(-1),
        outputs=lambda shares: shares.clamp_min(1e-30).log(),
        log_probabilities=lambda logits: logits.log_softmax(-1),
    ),
    "sigmoid": Link(
        inverse=torch.sigmoid,
        outputs=lambda shares: shares.logit(eps=1e-7),
        log_probabilities=lambda logits: _normalised(logsigmoid(logits)),
    ),
    "identity": Link(
        inverse=lambda values: values,
        outputs=lambda values: values,
        log_probabilities=lambda shares: _normalised(shares.clamp_min(1e-30).log()),
    ),
}


def link_of(loss_name: str, kind: Kind) -> Link:
    """Return the link of a loss.

    It is the fact `link` of the loss's registry entry. Without one it is softmax for classification and language
    modelling, and identity for other kinds of task.

    Raises:
        ConfigError: there is no link of that name.
    """
    default = "softmax" if kind in ("classification", "language") else "identity"
    name = str(LOSSES.entry(loss_name).facts.get("link", default))
    if name not in LINKS:
        raise ConfigError("loss.name", f"{loss_name} was added with the link {name!r}; {did_you_mean(name, LINKS)}")
    return LINKS[name]
