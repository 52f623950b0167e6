"""Models by name, sized from the data: factories from a dataset's facts and settings to a module."""

from torch import nn

from worker.training.models.perceptron import linear, mlp
from worker.training.registry import Registry

MODELS: Registry[nn.Module] = Registry("model")
MODELS.add(linear)
MODELS.add(mlp)

__all__ = ["MODELS"]
