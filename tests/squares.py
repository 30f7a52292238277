"A dataset of squares in three colors, some with a bright bar"

import numpy as np
import pandas as pd
from PIL import Image

from natural_backdoors.data.table import TableDataset

COLORS = ["red", "green", "blue"]


def squares(folder, size: int):
    "The dataset, drawn into `folder`; of each color 16 images without the bar and 8 with it"
    rows, random, quarter = [], np.random.default_rng(0), size // 4
    folder.mkdir()
    for c, name in enumerate(COLORS):
        for i in range(24):
            pixels = random.integers(0, 90, (size, size, 3), dtype=np.uint8)
            pixels[quarter:-quarter, quarter:-quarter, c] = 200
            if i >= 16:
                pixels[: 3 * size // 16] = 250
            Image.fromarray(pixels).save(folder / f"{name}{i}.png")
            rows += [(f"{name}{i}.png", name)] + [(f"{name}{i}.png", "bar")] * (i >= 16)
    rows = pd.DataFrame(rows, columns=["image", "label"])
    return TableDataset(rows, name="squares", image_root=str(folder))
