"""Image models of the timm library: [n, channels, height, width] to [n, num_outputs]."""

from typing import Annotated

from torch import nn

from worker.training.data import Dataset
from worker.training.errors import ConfigError, did_you_mean
from worker.training.optional_deps import library
from worker.training.parameters import Setting


def timm(
    dataset: Dataset,
    *,
    arch: Annotated[str, Setting("name of the architecture in timm, like resnet18")],
    pretrained: Annotated[bool, Setting("begin with the weights that timm publishes for it (a download)")] = True,
    dropout: Annotated[float, Setting("share of the head's inputs left out in training", low=0.0, high=0.99)] = 0.0,
) -> nn.Module:
    """An image model of the timm library, with its first layer and head adapted to the data's channels and classes."""
    library_timm = library("timm", "model.name")
    if not library_timm.is_model(arch):
        raise ConfigError("model.arch", f"timm has no {arch!r}; {did_you_mean(arch, library_timm.list_models())}")
    sizes = {"in_chans": dataset.shape[0], "num_classes": dataset.num_outputs, "drop_rate": dropout}
    try:
        model: nn.Module = library_timm.create_model(arch, pretrained=pretrained, **sizes)
    except (OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            "model.pretrained",
            f"can't load the weights of {arch!r} ({reason}); set model.pretrained: false for random weights",
        ) from error
    return model
