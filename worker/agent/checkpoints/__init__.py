"""Checkpoint files on this host and in a shared directory: fetched, kept and evicted."""
