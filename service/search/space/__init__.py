"""Spaces: the unit cube, random samples and quasi-random sequences."""
