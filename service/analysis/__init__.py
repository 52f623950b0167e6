"""Analysis of learning curves and results as pure functions."""
