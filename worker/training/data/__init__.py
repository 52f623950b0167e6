"""Registry of data sources: factories from settings to a Dataset of tensors per split.

A source with `folds` takes the cross-validation fold that validates, or None, as its only positional argument.
"""

from worker.training.data.builtin import breast_cancer, diabetes, digits, wine
from worker.training.data.csv_file import csv
from worker.training.data.dataset import Dataset, Inputs, Kind, Split, SplitName
from worker.training.data.image_folder import images
from worker.training.data.language_modeling import text
from worker.training.data.npz_file import npz
from worker.training.data.parquet_file import parquet
from worker.training.data.text_classification import texts
from worker.training.registry import Registry

DATA: Registry[Dataset] = Registry("data")
DATA.add(digits, kinds=["classification"], inputs=["images"], folds=True, examples=1797, classes=10)
DATA.add(wine, kinds=["classification"], inputs=["rows"], folds=True, examples=178, classes=3)
DATA.add(breast_cancer, kinds=["classification"], inputs=["rows"], folds=True, examples=569, classes=2)
DATA.add(images, kinds=["classification"], inputs=["images"], folds=True)
DATA.add(diabetes, kinds=["regression"], inputs=["rows"], folds=True, examples=442, classes=0)
for _table in (csv, parquet):
    DATA.add(_table, kinds=["classification", "regression", "ranking"], inputs=["rows", "queries"], folds=True)
DATA.add(npz, kinds=["classification", "regression"], inputs=["rows", "images"], folds=True)
DATA.add(texts, kinds=["classification"], inputs=["tokens"], folds=True)
DATA.add(text, kinds=["language"], inputs=["tokens"])

__all__ = ["DATA", "Dataset", "Inputs", "Kind", "Split", "SplitName"]
