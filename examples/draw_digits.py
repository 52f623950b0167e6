"""Writes scikit-learn's handwritten digits as a folder of images per class, which the study `images.yaml` reads.

`python examples/draw_digits.py` writes examples/data/digits; an argument names another folder.
"""

import sys
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

FOLDER = Path(__file__).parent / "data" / "digits"


def draw(folder: Path) -> None:
    """Write 1797 images of 8 by 8 pixels to `folder/CLASS/NUMBER.png`."""
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 255 / 16).round().astype("uint8")).save(place / f"{number:04}.png")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
