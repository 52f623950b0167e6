"""Custom training code as a script without any search code: command-line options in, printed lines out."""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--alpha", type=float, default=1e-4)
    parser.add_argument("--penalty", choices=["l1", "l2"], default="l2")
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()

    examples, labels = load_breast_cancer(return_X_y=True)
    train, val, train_labels, val_labels = train_test_split(examples, labels, test_size=0.3, random_state=0)
    scaler = StandardScaler().fit(train)
    model = SGDClassifier(alpha=given.alpha, penalty=given.penalty, random_state=0)
    for epoch in range(1, given.epochs + 1):
        model.partial_fit(scaler.transform(train), train_labels, classes=np.unique(labels))
        print(f"epoch {epoch}: val accuracy {model.score(scaler.transform(val), val_labels):.4f}")


if __name__ == "__main__":
    main()
