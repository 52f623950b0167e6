"""Models by name, sized from the data: factories from a dataset's facts and settings to a module."""

from torch import nn

from worker.training.models.gpt import gpt
from worker.training.models.lenet import lenet
from worker.training.models.perceptron import linear, mlp
from worker.training.models.recurrent import gru, lstm
from worker.training.models.resnet import resnet
from worker.training.models.vit import vit
from worker.training.registry import Registry

MODELS: Registry[nn.Module] = Registry("model")
for _of_rows in (linear, mlp):
    MODELS.add(_of_rows, inputs=["rows", "images", "queries"])
for _of_images in (lenet, resnet, vit):
    MODELS.add(_of_images, inputs=["images"])
for _of_sequences in (lstm, gru):
    MODELS.add(_of_sequences, inputs=["images", "tokens"])
MODELS.add(gpt, inputs=["tokens"])

__all__ = ["MODELS"]
