"""Bundles: one file with a trial's models and their fitted preprocessing, which predicts on new examples."""

from worker.training.bundle.answers import Answers
from worker.training.bundle.bundle import Bundle
from worker.training.bundle.bundle_file import bundle_of_checkpoint, load_bundle, write_bundle

__all__ = ["Answers", "Bundle", "bundle_of_checkpoint", "load_bundle", "write_bundle"]
