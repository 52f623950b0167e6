"""Registry of models: factories from a dataset's facts (shapes, number of outputs) and settings to a module."""

from torch import nn

from worker.training.models.gpt import gpt
from worker.training.models.hugging_face import transformers
from worker.training.models.lenet import lenet
from worker.training.models.perceptron import linear, mlp
from worker.training.models.recurrent import gru, lstm
from worker.training.models.resnet import resnet
from worker.training.models.timm_model import timm
from worker.training.models.vit import vit
from worker.training.registry import Registry

MODELS: Registry[nn.Module] = Registry("model")
for _of_rows in (linear, mlp):
    MODELS.add(_of_rows, inputs=["rows", "images", "queries"])
for _of_images in (lenet, resnet, vit, timm):
    MODELS.add(_of_images, inputs=["images"])
for _of_sequences in (lstm, gru):
    MODELS.add(_of_sequences, inputs=["images", "tokens"])
for _of_tokens in (gpt, transformers):
    MODELS.add(_of_tokens, inputs=["tokens"])

__all__ = ["MODELS"]
