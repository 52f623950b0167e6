"""Models of rows of numbers (linear, multi-layer perceptron): [n, ...] to [n, num_outputs]; images are flattened."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from torch import nn

from worker.training.data import Dataset
from worker.training.errors import ConfigError
from worker.training.models.blocks import ACTIVATIONS, Activation, Blocks, Dropout, Init, initialise
from worker.training.models.embedding import Rows, apply_to_rows
from worker.training.parameters import Setting

_DEPTH, _WIDTH = 1, 128
_NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


def linear(dataset: Dataset, *, init: Init = "default") -> nn.Module:
    """A single linear layer (linear or softmax regression): the baseline that larger models should beat."""
    rows = Rows(dataset)
    model = nn.Sequential(rows, nn.Linear(rows.width, dataset.num_outputs))
    return apply_to_rows(initialise(model, init, "linear"), dataset)


def mlp(
    dataset: Dataset,
    *,
    hidden: Annotated[
        Sequence[int] | None, Setting("widths of the hidden layers, in place of depth and width", low=1)
    ] = None,
    depth: Annotated[int | None, Setting("number of hidden layers; null: 1", low=0)] = None,
    width: Annotated[int | None, Setting("width of each hidden layer; null: 128", low=1)] = None,
    activation: Activation = "relu",
    norm: Annotated[
        Literal["none", "batch", "layer"], Setting("after each hidden layer, before the activation")
    ] = "none",
    dropout: Dropout = 0.0,
    init: Init = "default",
) -> nn.Module:
    """A multi-layer perceptron: hidden layers with norm, activation and dropout, then a linear output layer."""
    if hidden is not None and (depth is not None or width is not None):
        raise ConfigError("model.hidden", "can't be combined with depth or width; leave out depth and width, or hidden")
    if hidden is None:
        hidden = [_WIDTH if width is None else width] * (_DEPTH if depth is None else depth)
    if norm == "batch" and dataset.inputs == "queries":
        raise ConfigError("model.norm", "a batch norm would include the padding of short queries; use layer or none")
    rows = Rows(dataset)
    widths = [rows.width, *hidden]
    blocks = Blocks()
    for width_in, width_out in pairwise(widths):
        norms = [_NORMS[norm](width_out)] if norm in _NORMS else []
        blocks.append(
            nn.Sequential(nn.Linear(width_in, width_out), *norms, ACTIVATIONS[activation](), nn.Dropout(dropout))
        )
    model = nn.Sequential(rows, blocks, nn.Linear(widths[-1], dataset.num_outputs))
    return apply_to_rows(initialise(model, init, activation), dataset)
