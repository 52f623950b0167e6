"""A small training in a real Lightning Trainer, with our callback."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from worker.trial.trial import Trial

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the library does on import is its own
    import pytorch_lightning as lightning

    from worker.integrations.lightning import AssayerCallback

EXAMPLES = torch.linspace(-1, 1, 16).reshape(8, 2)
LOADER = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(EXAMPLES, EXAMPLES.sum(1)), batch_size=4)


class Line(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        torch.nn.init.zeros_(self.layer.weight)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        return self.loss("train/loss", batch)

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        self.loss("loss", batch)

    def loss(self, name: str, batch: list[torch.Tensor]) -> torch.Tensor:
        loss = torch.nn.functional.mse_loss(self.layer(batch[0])[:, 0], batch[1])
        self.log(name, loss, on_epoch=True, on_step=False)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.5)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)]


def fit(trial: Trial, folder: Path, **settings: Any) -> None:
    trainer = lightning.Trainer(
        max_epochs=4,
        accelerator="cpu",
        callbacks=[AssayerCallback(trial)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **settings,
    )
    model = Line()
    torch.nn.init.zeros_(model.layer.bias)
    trainer.fit(model, LOADER, LOADER, ckpt_path=trial.load_checkpoint(), weights_only=True)
