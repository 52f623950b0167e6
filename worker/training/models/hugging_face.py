"""Models of the transformers library: tokens [n, length] -> an answer each [n, num_outputs], or one after each."""

import math
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from worker.training.data import Dataset
from worker.training.errors import ConfigError
from worker.training.extras import library
from worker.training.models.transformer import INITIAL_STD
from worker.training.parameters import Setting


class Answers(nn.Module):
    """A network of the transformers library as the core calls models; padding is masked."""

    def __init__(self, network: nn.Module, dataset: Dataset) -> None:
        super().__init__()
        self.network = network
        self.every_token = dataset.kind == "language"
        self.padding, self.num_outputs = dataset.padding, dataset.num_outputs
        self.length = dataset.shape[0]

    def forward(self, tokens: Tensor) -> Tensor:
        mask = None if self.padding is None or self.every_token else (tokens != self.padding).long()
        logits: Tensor = self.network(input_ids=tokens, attention_mask=mask).logits
        if self.every_token:
            logits = logits[:, -tokens.shape[1] :]  # learnt vectors that precede the text are answered, too
        return logits[..., : self.num_outputs]  # vocabularies are often rounded up


def transformers(
    dataset: Dataset,
    *,
    source: Annotated[
        str, Setting("directory written by save_pretrained, or name on the Hugging Face hub", names="path or id")
    ],
    pretrained: Annotated[
        bool, Setting("begin with its weights; false: take its architecture alone, and draw the weights anew")
    ] = True,
) -> nn.Module:
    """A model of the transformers library; its vectors of tokens are new unless `data.tokenizer` is its tokenizer."""
    made = library("transformers", "model.name")
    kind = made.AutoModelForCausalLM if dataset.kind == "language" else made.AutoModelForSequenceClassification
    try:
        config = made.AutoConfig.from_pretrained(source)
        _fit(config, dataset)
        if not pretrained:
            config.vocab_size = dataset.vocabulary
            return Answers(kind.from_config(config, dtype=torch.float32), dataset)
        # A head of another number of classes is drawn anew.
        network = kind.from_pretrained(source, config=config, dtype=torch.float32, ignore_mismatched_sizes=True)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            "model.source", f"no model for {dataset.kind} comes from {source!r} ({reason}); name a directory of one"
        ) from error
    _give_tokens(network, dataset)
    return Answers(network, dataset)


def longest_text(config: Any) -> float:
    """How many tokens a model of this configuration takes."""
    return getattr(config, "max_position_embeddings", None) or math.inf


def _fit(config: Any, dataset: Dataset) -> None:
    """What the data decides; ConfigError where its texts are too long."""
    if dataset.shape[0] > (longest := longest_text(config)):
        raise ConfigError("data.length", f"the model takes {longest} tokens at most, not {dataset.shape[0]}")
    config.use_cache = False
    if dataset.kind == "language":
        config.is_decoder = True  # an encoder would read on and copy what it should foretell
    else:
        config.num_labels = dataset.num_outputs
    if dataset.padding is not None:
        config.pad_token_id = dataset.padding


def _give_tokens(network: Any, dataset: Dataset) -> None:
    """A vector for each token of the data: all new where they aren't the model's own, else for those it lacks."""
    if dataset.tokenizer is None or dataset.vocabulary > network.config.vocab_size:
        network.resize_token_embeddings(dataset.vocabulary, mean_resizing=False)
    if dataset.tokenizer is None:
        for layer in (network.get_input_embeddings(), network.get_output_embeddings()):
            if layer is not None:
                nn.init.normal_(layer.weight, std=INITIAL_STD)
