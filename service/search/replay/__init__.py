"""Replay: plays a search against recorded or simulated trials, and plans its cost."""
