"""Registry of callbacks: factories from settings to a Callback that observes a training and may end it."""

from worker.training.callbacks.callback import Callback, Training
from worker.training.callbacks.norms import norms
from worker.training.callbacks.tensorboard import tensorboard
from worker.training.registry import Registry

CALLBACKS: Registry[Callback] = Registry("callback")
CALLBACKS.add(tensorboard, metrics=[])
CALLBACKS.add(norms, metrics=["norm/gradient", "norm/weights", "norm/gradient_ratio", "norm/update_ratio"])

__all__ = ["CALLBACKS", "Callback", "Training"]
