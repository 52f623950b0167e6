"""Data by name: factories from settings to a Dataset of tensors per split.

Those with `folds` take, as their only positional argument, the fold whose turn it is to validate, or None.
"""

from worker.training.data.builtin import breast_cancer, diabetes, digits, wine
from worker.training.data.csv_file import csv
from worker.training.data.dataset import Dataset, Inputs, Kind, Split, SplitName
from worker.training.data.image_folder import images
from worker.training.data.npz_file import npz
from worker.training.data.parquet_file import parquet
from worker.training.data.text_file import text
from worker.training.data.texts_file import texts
from worker.training.registry import Registry

DATA: Registry[Dataset] = Registry("data")
for _classification in (digits, wine, breast_cancer, images):
    DATA.add(_classification, kinds=["classification"], folds=True)
DATA.add(diabetes, kinds=["regression"], folds=True)
for _file in (csv, parquet, npz):
    DATA.add(_file, kinds=["classification", "regression", "ranking"], folds=True)
DATA.add(texts, kinds=["classification"], folds=True)
DATA.add(text, kinds=["language"])

__all__ = ["DATA", "Dataset", "Inputs", "Kind", "Split", "SplitName"]
