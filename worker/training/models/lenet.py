"""LeNet-5 for small images: [n, channels, height, width] to [n, num_outputs]."""

from torch import nn

from worker.training.data import Dataset
from worker.training.errors import ConfigError
from worker.training.models.blocks import ACTIVATIONS, Activation, Dropout, Init, initialise


def lenet(
    dataset: Dataset, *, activation: Activation = "relu", dropout: Dropout = 0.0, init: Init = "default"
) -> nn.Module:
    """LeNet-5 for images of any size: two convolutions with pooling, then three linear layers (LeCun et al. 1998)."""
    channels, height, width = dataset.shape
    if min(height, width) < 4:
        raise ConfigError(
            "model.name", f"lenet halves images twice, so {height} by {width} pixels are too small; use mlp"
        )
    active = ACTIVATIONS[activation]
    model = nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2), active(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5, padding=2), active(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * (height // 4) * (width // 4), 120), active(), nn.Dropout(dropout),
        nn.Linear(120, 84), active(), nn.Dropout(dropout),
        nn.Linear(84, dataset.num_outputs),
    )  # fmt: skip
    return initialise(model, init, activation)
