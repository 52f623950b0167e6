"""Findings: what curves and results say, as pure functions of values."""
