"""Tiny pretrained models and a tokenizer, written here as `save_pretrained` does, since downloads are impossible."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ("good", "bad", "film", "book", "very", "not", "a", "the")


def gpt2(directory: Path, vocabulary: int = 12) -> str:
    """A decoder of two blocks; answers the directory."""
    config = transformers.GPT2Config(
        vocab_size=vocabulary, n_positions=32, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
    )  # fmt: skip
    return _saved(transformers.GPT2LMHeadModel, config, directory)


def bert(directory: Path, vocabulary: int = 12) -> str:
    """An encoder of two blocks with a head of two classes; answers the directory."""
    config = transformers.BertConfig(
        vocab_size=vocabulary, max_position_embeddings=32, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64,
    )  # fmt: skip
    return _saved(transformers.BertForSequenceClassification, config, directory)


def tokenizer(directory: Path, *, classifies: bool) -> str:
    """A token for each of WORDS, after [PAD] and [UNK]; BERT's [CLS] and [SEP] around a text where it `classifies`."""
    special = ["[PAD]", "[UNK]", *(["[CLS]", "[SEP]"] if classifies else [])]
    vocabulary = {word: place for place, word in enumerate((*special, *WORDS))}
    own = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"unk_token": "[UNK]", "pad_token": "[PAD]"}
    if classifies:
        own.post_processor = processors.TemplateProcessing(
            "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        names |= {"cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=own, **names).save_pretrained(directory)
    return str(directory)


def _saved(kind: type[transformers.PreTrainedModel], config: transformers.PreTrainedConfig, directory: Path) -> str:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kind(config).save_pretrained(directory)
    return str(directory)
