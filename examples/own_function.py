"""Custom training code as a function: a small network on handwritten digits that resumes on any worker."""

from __future__ import annotations

import io

import torch
from sklearn.datasets import load_digits
from torch import nn

from worker.trial import Trial

EPOCHS = 10


def train(trial: Trial) -> dict[str, float]:
    """Train until the trial is ordered to stop, and evaluate the test split once at the end."""
    generator = torch.Generator().manual_seed(trial.seed)
    examples, labels = load_digits(return_X_y=True)
    examples, labels = torch.tensor(examples / 16, dtype=torch.float32), torch.tensor(labels)
    parts = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)).split([1197, 300, 300])
    train_part, val_part, test_part = ((examples[part], labels[part]) for part in parts)

    width = int(trial.parameters["width"])
    model = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
    for weights in model.parameters():
        nn.init.normal_(weights, std=0.1, generator=generator)
    model.to(trial.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=trial.parameters["lr"], momentum=0.9)

    saved = trial.load_checkpoint()
    if saved is not None:
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])

    for epoch in range((trial.step or 0) + 1, EPOCHS + 1):
        for batch in torch.randperm(len(train_part[0]), generator=generator).split(32):
            loss = nn.functional.cross_entropy(model(train_part[0][batch]), train_part[1][batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        trial.report(epoch, {"val/accuracy": accuracy(model, *val_part)})
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "generator": generator.get_state()}
        content = io.BytesIO()
        torch.save(state, content)
        trial.save_checkpoint(content.getvalue())
        if trial.should_stop:
            break
    return {"test/accuracy": accuracy(model, *test_part)}


@torch.no_grad()
def accuracy(model: nn.Module, examples: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the fraction of examples whose most likely class is the label."""
    return float((model(examples).argmax(1) == labels).float().mean())
