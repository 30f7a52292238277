"""What the main steps cost, each beside a named peer in the same run: `make benchmarks`.

It takes about a minute on 2 cores. Machines are noisy: read the ratios. Each figure is the fastest
of `REPEAT` runs.
"""

import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path

import numpy as np
from record import record
from scipy import sparse

from natural_backdoors import (
    OpenImages,
    Overlaps,
    co_graph,
    count_overlaps,
    find_triggers,
    make_scenes,
    poison_split,
)
from natural_backdoors.base.random import rng
from natural_backdoors.data.classes import class_table
from natural_backdoors.data.labels import LabelMatrix

REPEAT = 3
TABLE = []


def fastest(function, repeat=REPEAT):
    "Seconds of the fastest of `repeat` calls"
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def row(step, seconds, peer="", peer_seconds=None):
    TABLE.append(
        {
            "step": step,
            "seconds": round(seconds, 3),
            "peer": peer,
            "peer seconds": None if peer_seconds is None else round(peer_seconds, 3),
            "peer / ours": None if peer_seconds is None else round(peer_seconds / seconds, 1),
        }
    )
    print(TABLE[-1], flush=True)


def random_labels(n_images, n_classes, seed=0):
    "A label matrix with Zipf frequencies and clusters of classes that like to meet"
    draw, rows, columns = rng(seed), [], []
    weight = 1 / np.arange(1, n_classes + 1) ** 0.7
    cluster = draw.integers(0, 20, n_classes)
    inside = [np.flatnonzero(cluster == k) for k in range(20)]
    for i, n in enumerate(draw.integers(1, 7, n_images)):
        pool = inside[draw.integers(20)] if draw.random() < 0.7 else np.arange(n_classes)
        p = weight[pool] / weight[pool].sum()
        chosen = draw.choice(pool, min(n, len(pool)), replace=False, p=p)
        rows += [i] * len(chosen)
        columns += chosen.tolist()
    x = sparse.csr_array(
        (np.ones(len(rows), np.uint8), (rows, columns)), shape=(n_images, n_classes)
    )
    return LabelMatrix(
        x,
        np.arange(n_images).astype(str).astype(object),
        class_table(f"c{i:04d}" for i in range(n_classes)),
    )


def counts_by_sets(labels):
    "The overlaps as the published code counts them: two sets intersected for each pair of classes"
    columns = labels.matrix.tocsc()
    sets = [set(columns.indices[a:b]) for a, b in zip(columns.indptr, columns.indptr[1:])]
    return {(a, b): len(sets[a] & sets[b]) for a, b in combinations(range(len(sets)), 2)}


def analysis():
    labels = random_labels(60_000, 600)
    row(
        "overlaps, 600 classes, 60,000 images",
        fastest(lambda: count_overlaps(labels)),
        "set intersections",
        fastest(lambda: counts_by_sets(labels), 1),
    )
    overlaps: Overlaps = count_overlaps(labels)
    print(co_graph(overlaps, 15))
    row("find_triggers, 50 triggers, overlaps given", fastest(lambda: find_triggers(overlaps)))


def training():
    import torch

    from natural_backdoors.train.batches import split_arrays
    from natural_backdoors.train.learner import fit, make_learner
    from natural_backdoors.train.models import to_input
    from natural_backdoors.train.recipe import Recipe

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "scenes"
        row(
            "drawing 3,000 scenes of 128 pixels",
            fastest(lambda: make_scenes(root, 3000, seed=0), 1),
        )
        data = OpenImages(root)
        found = find_triggers(data, min_clean=170, min_poison=39, min_classes=2)
        classes = found[found.table.label[0]].label[:5]
        split = poison_split(data, found.table.label[0], classes, classes[0], n_clean=170)
        arrays = split_arrays(split, 64)
    recipe = Recipe(arch="small", pretrained=False, unfreeze="all", size=64)
    make = lambda: make_learner(split, recipe, progress=False, images=arrays)
    n = int((~arrays.test).sum())
    learn = make()
    model, info, positions = make().model, learn.info, torch.where(~arrays.test)[0]
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def bare():
        "One epoch of nothing but forward, backward and step"
        model.train()
        for chosen in positions.split(32):
            x = to_input(arrays.pixels[chosen], info["mean"], info["std"])
            torch.nn.functional.cross_entropy(model(x), arrays.train[chosen]).backward()
            optimizer.step()
            optimizer.zero_grad()

    row(
        f"an epoch of training and measuring, {n} images of 64 pixels",
        fastest(lambda: fit(learn, 1)),
        "bare forward, backward and step",
        fastest(bare),
    )


if __name__ == "__main__":
    analysis()
    training()
    record("run", TABLE, "--save" in sys.argv)
