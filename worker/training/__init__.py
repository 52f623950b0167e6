"""The PyTorch training core, usable without the service: `train(TrainingConfig.from_mapping({…}))`."""

from worker.training.callbacks import Callback, Training
from worker.training.checkpoints.load import load_models
from worker.training.config import TrainingConfig
from worker.training.errors import (
    ConfigError,
    Diverged,
    Infeasible,
    MissingFile,
    MissingLibrary,
    OutOfMemory,
    OutsideFolders,
    ProcessGroupError,
    TrainingError,
)
from worker.training.events import Ending, Monitor, Report, TrainingResult, Verdict
from worker.training.loop.hooks import TrainingHooks
from worker.training.loop.trainer import train

__all__ = [
    "Callback",
    "ConfigError",
    "Diverged",
    "Ending",
    "Infeasible",
    "MissingFile",
    "MissingLibrary",
    "Monitor",
    "OutOfMemory",
    "OutsideFolders",
    "ProcessGroupError",
    "Report",
    "Training",
    "TrainingConfig",
    "TrainingError",
    "TrainingHooks",
    "TrainingResult",
    "Verdict",
    "load_models",
    "train",
]
