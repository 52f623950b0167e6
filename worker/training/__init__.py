"""The PyTorch training core, usable without the service: `train(TrainingConfig.from_mapping({…}))`."""

from worker.training.callbacks import Callback, Training
from worker.training.config import TrainingConfig
from worker.training.errors import (
    ConfigError,
    Diverged,
    GroupBroken,
    Infeasible,
    MissingFile,
    MissingLibrary,
    OutsideFolders,
    TrainingError,
)
from worker.training.events import Ending, Monitor, Report, TrainingResult, Verdict
from worker.training.trained import load_models
from worker.training.trainer import train

__all__ = [
    "Callback",
    "ConfigError",
    "Diverged",
    "Ending",
    "GroupBroken",
    "Infeasible",
    "MissingFile",
    "MissingLibrary",
    "Monitor",
    "OutsideFolders",
    "Report",
    "Training",
    "TrainingConfig",
    "TrainingError",
    "TrainingResult",
    "Verdict",
    "load_models",
    "train",
]
