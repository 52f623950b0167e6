"""Estimators of scikit-learn on the datasets of the training core: their features, their fit and their metrics."""
