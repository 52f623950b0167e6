"""Hugging Face transformers models: tokens [n, length] to outputs [n, num_outputs], or [n, length, num_outputs]."""

import math
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from worker.training.data import Dataset
from worker.training.errors import ConfigError
from worker.training.models.transformer import INITIAL_STD
from worker.training.optional_deps import library
from worker.training.parameters import Setting


class TransformersAdapter(nn.Module):
    """Adapts a transformers network to the core's model interface: tokens in, logits out; padding is masked."""

    def __init__(self, network: nn.Module, dataset: Dataset) -> None:
        super().__init__()
        self.network = network
        self.every_token = dataset.kind == "language"
        self.padding, self.num_outputs = dataset.padding, dataset.num_outputs
        self.length = dataset.shape[0]

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [n, length] to logits: [n, num_outputs], or [n, length, num_outputs] for language modelling."""
        mask = None if self.padding is None or self.every_token else (tokens != self.padding).long()
        logits: Tensor = self.network(input_ids=tokens, attention_mask=mask).logits
        if self.every_token:
            logits = logits[:, -tokens.shape[1] :]  # without the outputs for learned vectors before the text
        return logits[..., : self.num_outputs]  # a network's vocabulary is often rounded up


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
    """A Hugging Face transformers model; its token embeddings are new unless `data.tokenizer` is its own tokenizer."""
    hf = library("transformers", "model.name")
    kind = hf.AutoModelForCausalLM if dataset.kind == "language" else hf.AutoModelForSequenceClassification
    try:
        config = hf.AutoConfig.from_pretrained(source)
        _adapt_config(config, dataset)
        if not pretrained:
            config.vocab_size = dataset.vocabulary
            return TransformersAdapter(kind.from_config(config, dtype=torch.float32), dataset)
        # A head for another number of classes is initialised randomly.
        network = kind.from_pretrained(source, config=config, dtype=torch.float32, ignore_mismatched_sizes=True)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            "model.source",
            f"can't load a model for {dataset.kind} from {source!r} ({reason}); name a directory with one",
        ) from error
    _resize_embeddings(network, dataset)
    return TransformersAdapter(network, dataset)


def longest_text(config: Any) -> float:
    """Return the largest number of tokens that a model of this transformers configuration takes; infinity: no limit."""
    return getattr(config, "max_position_embeddings", None) or math.inf


def _adapt_config(config: Any, dataset: Dataset) -> None:
    """Adapt the configuration to the dataset; ConfigError if its texts are too long for the model."""
    if dataset.shape[0] > (longest := longest_text(config)):
        raise ConfigError(
            "data.length", f"the model takes at most {longest} tokens, not {dataset.shape[0]}; use a smaller length"
        )
    config.use_cache = False
    if dataset.kind == "language":
        config.is_decoder = True  # an encoder would see the next token, which it should predict
    else:
        config.num_labels = dataset.num_outputs
    if dataset.padding is not None:
        config.pad_token_id = dataset.padding


def _resize_embeddings(network: Any, dataset: Dataset) -> None:
    """Resize the token embeddings to the data's vocabulary; all are new unless the tokens are the model's own."""
    if dataset.tokenizer is None or dataset.vocabulary > network.config.vocab_size:
        network.resize_token_embeddings(dataset.vocabulary, mean_resizing=False)
    if dataset.tokenizer is None:
        for layer in (network.get_input_embeddings(), network.get_output_embeddings()):
            if layer is not None:
                nn.init.normal_(layer.weight, std=INITIAL_STD)
