"""Baselines of language modelling: how often each token occurs, alone and after the token before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worker.training.data import Dataset

MAX_PAIRS = 1 << 24
"""The most pairs of tokens of which a table is kept."""


def unigrams(dataset: Dataset) -> Tensor:
    """Return the logarithm of each token's frequency in training, with each counted once more, [vocabulary]."""
    counts = dataset.class_counts.cpu().double() + 1
    return (counts / counts.sum()).log().float()


def bigrams(dataset: Dataset) -> Tensor:
    """Return the logarithm of each token's frequency after each token, [vocabulary, vocabulary].

    The frequencies are smoothed by those of the single tokens, which count as one more example. It is the softmax
    regression on the token before, in closed form.
    """
    size, train = dataset.vocabulary, dataset.train
    pairs = train.features.cpu().flatten() * size + train.targets.cpu().flatten()
    counts = torch.bincount(pairs, minlength=size * size).view(size, size).double()
    frequencies = (counts + unigrams(dataset).double().exp()) / (counts.sum(1, keepdim=True) + 1)
    return frequencies.log().float()


class NextToken(nn.Module):
    """Predicts the next token from a table of logits.

    Args:
        logits: of each token [vocabulary], or of each token after each token [vocabulary, vocabulary].
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.register_buffer("logits", logits)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits [n, length, vocabulary] of the tokens after those [n, length]."""
        assert isinstance(self.logits, Tensor)
        return self.logits[tokens] if self.logits.ndim == 2 else self.logits.expand(*tokens.shape, -1)
