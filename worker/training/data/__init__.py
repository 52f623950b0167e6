"""Data by name: factories from settings to a Dataset of tensors per split."""

from worker.training.data.builtin import breast_cancer, diabetes, digits, wine
from worker.training.data.csv_file import csv
from worker.training.data.dataset import Dataset, Kind, Split, SplitName
from worker.training.registry import Registry

DATA: Registry[Dataset] = Registry("data")
for _classification in (digits, wine, breast_cancer):
    DATA.add(_classification, kinds=["classification"])
DATA.add(diabetes, kinds=["regression"])
DATA.add(csv, kinds=["classification", "regression"])

__all__ = ["DATA", "Dataset", "Kind", "Split", "SplitName"]
