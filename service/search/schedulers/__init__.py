"""Schedulers: successive halving (ASHA, Hyperband) and what its rungs teach samplers."""
