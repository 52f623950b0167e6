"""Small residual networks: [n, channels, height, width] to [n, num_outputs]."""

from typing import Annotated

from torch import Tensor, nn

from worker.training.data import Dataset
from worker.training.models.blocks import ACTIVATIONS, Activation, Blocks, Dropout, Init, initialise
from worker.training.parameters import Setting

_STAGES = 3


def resnet(
    dataset: Dataset,
    *,
    depth: Annotated[int, Setting("residual blocks in each of the three stages: 3 make a ResNet-20", low=1)] = 1,
    width: Annotated[int, Setting("channels of the first stage; each further one doubles them", low=1)] = 16,
    activation: Activation = "relu",
    dropout: Dropout = 0.0,
    init: Init = "kaiming",
) -> nn.Module:
    """A residual network of three stages, as for CIFAR-10 (He et al. 2016)."""
    channels = [width << stage for stage in range(_STAGES)]
    blocks = Blocks()
    width_in = width
    for stage, width_out in enumerate(channels):
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            blocks.append(_Residual(width_in, width_out, stride, activation))
            width_in = width_out
    model = nn.Sequential(
        nn.Conv2d(dataset.shape[0], width, 3, padding=1, bias=False), nn.BatchNorm2d(width), ACTIVATIONS[activation](),
        blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout),
        nn.Linear(width_in, dataset.num_outputs),
    )  # fmt: skip
    return initialise(model, init, activation)


class _Residual(nn.Module):
    """Two convolutions plus a shortcut. It starts as the shortcut alone: the last batch norm's scale is 0."""

    def __init__(self, width_in: int, width_out: int, stride: int, activation: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width_in, width_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width_out),
            ACTIVATIONS[activation](),
            nn.Conv2d(width_out, width_out, 3, padding=1, bias=False),
            last := nn.BatchNorm2d(width_out),
        )
        nn.init.zeros_(last.weight)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or width_in != width_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(width_in, width_out, 1, stride, bias=False), nn.BatchNorm2d(width_out)
            )
        self.activation = ACTIVATIONS[activation]()

    def forward(self, images: Tensor) -> Tensor:
        """Map [n, width_in, height, width] to [n, width_out, height / stride, width / stride]."""
        output: Tensor = self.activation(self.body(images) + self.shortcut(images))
        return output
