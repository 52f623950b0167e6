"""Attempts: their reports, checkpoints, heartbeats, and how they end."""
