"""Rates that say what the published experiments take on the real datasets (seconds).

    python benchmarks/real_datasets.py [--save]

Measured here: bytes of JPEG a pixel, on the photographs of `../shared/data/miml` (or the folder
that NB_REAL_DATA names), and how fast they are decoded. Rates of a GPU are those of an earlier run
of `benchmarks/sweep.py --scale gpu` and `benchmarks/training.py --scale gpu` on one NVIDIA H200
(16 cores, Python 3.12, torch 2.11); on a machine with a GPU those two programs measure it again.
What a head takes is in `screening.csv`.
"""

import argparse
import os
import time
from pathlib import Path

from PIL import Image
from record import add_flag, record

from natural_backdoors.data.images import load_images

H200 = "one NVIDIA H200, 16 cores (an earlier run)"
GPU = [
    ("features of a frozen ResNet50, 256 px", 6409, "passes/s"),
    ("training the head alone, batch 64, 256 px", 6207, "images/s"),
    ("training everything, batch 64, 256 px", 2138, "images/s"),
    ("decoding 500 x 375 JPEG to 256 px", 1256, "images/s"),
]


def measure():
    folder = Path(os.environ.get("NB_REAL_DATA", "../shared/data")) / "miml" / "images"
    files = sorted(folder.glob("*.jpg"))[:500]
    if not files:
        raise SystemExit(f"no photographs in {folder}")
    pixels = 0
    for file in files:
        with Image.open(file) as image:
            pixels += image.width * image.height
    size = sum(file.stat().st_size for file in files)
    begin = time.perf_counter()
    load_images([str(file) for file in files], 256)
    seconds, here = time.perf_counter() - begin, f"this machine, {len(files)} photographs"
    rows = [("JPEG of photographs", size / pixels, "bytes a pixel", here)]
    rows += [
        (
            f"decoding {pixels / len(files) / 1e6:.2f} megapixels to 256 px",
            len(files) / seconds,
            "images/s",
            here,
        )
    ]
    return rows + [(*row, H200) for row in GPU]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_flag(parser)
    args = parser.parse_args()
    names = ("what", "value", "unit", "measured on")
    rows = [dict(zip(names, row)) for row in measure()]
    record("real_datasets", [row | {"value": round(row["value"], 3)} for row in rows], args.save)
