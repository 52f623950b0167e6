"""Optuna bridge: the only package that imports Optuna; it uses Optuna's models, but no Optuna study or storage."""
