"""What is asked of a large dataset after its analysis: `python benchmarks/questions.py` (2 minutes)

    python benchmarks/questions.py --images 100000 --labels 1000     smaller
    python benchmarks/questions.py --save                            as the page of costs shows it

A million images with 5,000 labels, as one table. Asked are the scores of one trigger's classes (for
which the p-values of all pairs are needed, once) and poisoned splits: as it is, with 1,000 images
left out, with ten classes added. `ratio` is to the peer in the same run: scipy's
`hypergeom.sf`, timed on 20,000 of the pairs and reckoned up to all of them; and the split that is
made first, without anything else being asked.
"""

import argparse
import tempfile
import time

import numpy as np
import polars as pl
from generate import Labels, hex_ids
from record import add_flag, record


def timed(step):
    "What the step gives, its seconds, and the seconds of processor in it"
    begin, cpu = time.perf_counter(), time.process_time()
    return step(), time.perf_counter() - begin, time.process_time() - cpu


def table_of(folder, n_labels, n_images, seed=0):
    "The table of a dataset with Zipf-like labels"
    made, parts = Labels(n_labels, seed), []
    names = np.array(made.names)
    for first, image, label in made.pieces(n_images, 7, seed):
        ids = hex_ids(first, int(image.max()) + 1, n_images, seed)
        parts.append(pl.DataFrame({"image": ids.gather(image), "label": names[label]}))
    path = f"{folder}/labels.parquet"
    pl.concat(parts).write_parquet(path)
    return path


def scipy_seconds(overlaps, some=20_000):
    "CPU seconds that scipy would take for the p-values of all pairs"
    from scipy import stats

    pairs, n = overlaps.pairs(1), overlaps.images_of
    part = pairs.sample(min(some, len(pairs)), random_state=0)
    arguments = (part.overlaps - 1, overlaps.n_images, n[part.a], n[part.b])
    _, _, cpu = timed(lambda: stats.hypergeom.sf(*arguments))
    return cpu * len(pairs) / len(part)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=5_000)
    add_flag(parser)
    args = parser.parse_args()

    from scipy import stats

    from natural_backdoors import TableDataset, find_triggers, poison_split

    stats.hypergeom.sf(1, 10, 3, 3)  # scipy's packages are loaded, and its functions made
    with tempfile.TemporaryDirectory() as folder:
        data = TableDataset(table_of(folder, args.labels, args.images))
        search = {"centrality": "degree", "n_triggers": 3, "max_classes": 12, "exclude": ()}
        found = find_triggers(data, min_overlaps=args.images // 3000, **search)
        trigger = int(found.table.id[0])
        rows, peer = [], scipy_seconds(found.overlaps)
        scores, seconds, cpu = timed(lambda: found.scores(trigger))
        rows.append(["scores of a trigger, the first time", seconds, cpu, "scipy", cpu / peer])
        _, seconds, cpu = timed(lambda: found.scores(trigger))
        rows.append(["scores of a trigger, again", seconds, cpu, "scipy", cpu / peer])
        ids = [int(i) for i in scores.id[:10]]
        left_out = data.label_matrix(found.settings.split).images[:1000].tolist()
        asked = {
            "a split, the first one": {},
            "a split": {},
            "a split, 1,000 images left out": {"without": left_out},
            "a split, 10 classes added": {"add_classes": 10},
        }
        first = None
        for what, more in asked.items():
            make = lambda more=more: poison_split(data, trigger, ids, ids[0], n_clean=100, **more)
            _, seconds, cpu = timed(make)
            first = first or cpu
            rows.append([what, seconds, cpu, "the first split", cpu / first])
    names = ("what", "seconds", "CPU s", "peer", "ratio")
    table = [dict(zip(names, row)) for row in rows]
    for row in table:
        row |= {name: round(row[name], 3) for name in ("seconds", "CPU s", "ratio")}
    record("questions", table, args.save)


if __name__ == "__main__":
    main()
