"""Trials: questions about them, their logs and predictions, and forks."""
