"""Finding the photographs that a dataset holds twice: `python benchmarks/duplicates.py` (minutes)

    python benchmarks/duplicates.py --images 5000 20000 --save     as large as the page shows it

Pictures of 400 x 300 pixels are drawn and written as JPEG; one in a hundred is written again in
another size. The first time all of them are opened for their looks, the second time what was read
is remembered. The limit of the first is decoding: the peer opens each picture in as many threads,
as small as the hash needs it, and does nothing with it. Machines are noisy: read the ratios.
"""

import argparse
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from record import add_flag, record

from natural_backdoors import TableDataset
from natural_backdoors.base.random import rng
from natural_backdoors.data.images import cores, open_image
from natural_backdoors.split.duplicates import find_duplicates

AGAIN = 100  # one picture in so many is there twice


def draw(folder, n):
    "Write picture `n`, and perhaps a copy of it in another size"
    values = rng(0, n).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    picture = Image.fromarray(values).resize((400, 300), Image.Resampling.BICUBIC)
    picture.save(folder / f"{n:07}.jpg", quality=85)
    if n % AGAIN == 0:
        picture.resize((320, 240)).save(folder / f"{n:07}-small.jpg", quality=80)


def timed(function):
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def measure(n_images):
    "One row of the table"
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root)
        os.environ["NATURAL_BACKDOORS_CACHE"] = str(folder / "cache")
        pictures = folder / "pictures"
        pictures.mkdir()
        n_drawn = n_images - n_images // (AGAIN + 1)
        with ProcessPoolExecutor(cores()) as pool:
            list(pool.map(partial(draw, pictures), range(n_drawn), chunksize=100))
        names = sorted(os.listdir(pictures))
        rows = pd.DataFrame({"image": names, "label": "thing"})
        dataset = TableDataset(rows, image_root=pictures)
        found, first = timed(lambda: find_duplicates(dataset))
        again, second = timed(lambda: find_duplicates(dataset))
        assert again.table.equals(found.table)
        with ThreadPoolExecutor(min(cores(), 8)) as pool:
            opened = lambda: sum(1 for _ in pool.map(lambda p: opened_small(pictures / p), names))
            _, decoding = timed(opened)
        return {
            "images": len(names),
            "first s": round(first, 1),
            "again s": round(second, 1),
            "decoding s": round(decoding, 1),
            "first / decoding": round(first / decoding, 2),
            "ms an image": round(1000 * first / len(names), 2),
            "copies": -(-n_drawn // AGAIN),
            "found": len(found.marks),
        }


def opened_small(path):
    "The picture, decoded as small as a hash needs it"
    return open_image(path, at_least=64).size


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[2_000, 10_000])
    add_flag(parser)
    args = parser.parse_args()
    record("duplicates", [measure(n) for n in args.images], args.save)
