"""Recurrent networks: tokens [n, length], or images row by row, to one output per example or per token."""

from typing import Annotated, TypeAlias

from torch import Tensor, nn

from worker.training.data import Dataset
from worker.training.models.blocks import Dropout, Init, initialise
from worker.training.parameters import Setting

Depth: TypeAlias = Annotated[int, Setting("layers on top of one another", low=1)]
Width: TypeAlias = Annotated[int, Setting("width of the state, and of a token's vector", low=1)]


def lstm(
    dataset: Dataset, *, depth: Depth = 1, width: Width = 128, dropout: Dropout = 0.0, init: Init = "default"
) -> nn.Module:
    """Long short-term memory (Hochreiter & Schmidhuber 1997), with dropout between layers and before the output."""
    return initialise(_Recurrent(dataset, nn.LSTM, depth, width, dropout), init, "linear")


def gru(
    dataset: Dataset, *, depth: Depth = 1, width: Width = 128, dropout: Dropout = 0.0, init: Init = "default"
) -> nn.Module:
    """Gated recurrent units (Cho et al. 2014), with dropout between layers and before the output."""
    return initialise(_Recurrent(dataset, nn.GRU, depth, width, dropout), init, "linear")


class _Recurrent(nn.Module):
    def __init__(self, dataset: Dataset, kind: type[nn.LSTM | nn.GRU], depth: int, width: int, dropout: float) -> None:
        super().__init__()
        self.every_token = dataset.kind == "language"
        self.tokens = nn.Embedding(dataset.vocabulary, width) if dataset.inputs == "tokens" else None
        width_in = width if self.tokens is not None else dataset.shape[0] * dataset.shape[2]
        self.recurrent = kind(width_in, width, depth, batch_first=True, dropout=dropout if depth > 1 else 0.0)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, dataset.num_outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map tokens [n, length] or images to [n, num_outputs], or for language modelling [n, length, num_outputs]."""
        # For images [n, channels, height, width] a time step is a row of pixels with all its channels.
        steps = inputs.transpose(1, 2).flatten(2) if self.tokens is None else self.tokens(inputs)
        states, _ = self.recurrent(steps)
        output: Tensor = self.head(self.drop(states if self.every_token else states[:, -1]))
        return output
