"""Uploads to the service from background threads: checkpoints, predictions and logs."""
