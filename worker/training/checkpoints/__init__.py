"""Checkpoint files: written, verified, and loaded as trained models."""
