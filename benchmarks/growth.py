"""How each stage grows with images, labels and edges: `python benchmarks/growth.py` (minutes)

    python benchmarks/growth.py --quick        a fifth of the images, and no large dataset
    python benchmarks/growth.py --save         as the page of growth shows it

One of the three is doubled, and doubled again, while the other two stay: images with seven labels
each, labels, and edges of the graph (the threshold is set so that there are about as many). Each
size is measured three times, in processes of their own, and the least counts. The **exponent** of a
stage is the slope of log(CPU seconds) over log(size): 1 is in proportion, 2 with the square, 0 not
at all. Times are seconds of processor, so that other work of the machine counts little; sizes are
given as ratios to the first one.

Then one dataset of a million images and 20,000 labels, which fits: what it costs is *measured*, and
beside it is what the exponents made of the smaller sizes. A billion rows (143 million images) are
*reckoned*: from that dataset and the exponents for images. Memory is reckoned by what each image,
label and edge adds.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd
from centrality import graph_with
from load import now_mb, peak_mb
from questions import table_of
from record import add_flag, record

BASE = {"images": 150_000, "labels": 2_000, "edges": 20_000}
MILLION = {"images": 1_000_000, "labels": 20_000, "edges": 150_000}
BILLION = MILLION | {"images": 143_000_000}
PER_IMAGE, RATIOS = 7, (1, 2, 4)
MEMORY = "memory beyond the packages, MB"


def cpu_seconds(step):
    "What the step gives, and the least seconds of processor; a short one is run three times"
    least = np.inf
    for _ in range(3):
        begin = time.process_time()
        found = step()
        least = min(least, time.process_time() - begin)
        if least > 2:
            break
    return found, least


def stages(path, n_edges):
    "Stage -> seconds of processor, one after the other; and the memory"
    from natural_backdoors import TableDataset, find_triggers, poison_split
    from natural_backdoors.graph.association import pair_scores
    from natural_backdoors.graph.centrality import centrality
    from natural_backdoors.graph.overlaps import count_overlaps

    took, packages = {}, now_mb()

    def timed(name, step):
        found, took[name] = cpu_seconds(step)
        return found

    def read():
        data = TableDataset(path)
        data.cache_from = 1 << 60  # bytes: nothing of it is kept
        data.label_matrix()
        return data

    data = timed("reading the table", read)
    overlaps = timed("overlaps", lambda: count_overlaps(data.label_matrix()))
    graph = timed("the graph", lambda: graph_with(overlaps, n_edges))
    for measure, weighted in (("degree", False), ("betweenness", False), ("betweenness", True)):
        name = f"{measure}, weighted" if weighted else measure
        timed(name, lambda m=measure, w=weighted: centrality(graph, m, w))
    how = {"centrality": "degree", "n_triggers": 10, "time_limit": 5, "exclude": ()}
    search = lambda: find_triggers(overlaps, min_overlaps=graph.min_overlaps, **how)
    found = timed("class sets of 10 triggers", search)
    timed("p-values of all pairs", lambda: pair_scores(overlaps))
    trigger = int(found.table.id[0])
    ids = found[trigger].id[:10].tolist()
    timed("a poisoned split", lambda: poison_split(data, trigger, ids, ids[0], n_clean=20))
    return took | {MEMORY: peak_mb() - packages}


def measure(size):
    "The stages at one size, in a process of their own"
    with tempfile.TemporaryDirectory() as folder:
        path = table_of(folder, size["labels"], size["images"])
        command = [sys.executable, __file__, "--one", path, str(size["edges"])]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
    print(size, said.splitlines()[-1], flush=True)
    return json.loads(said.splitlines()[-1])


def least(size, rounds):
    "The least of each stage over some rounds: a machine that others use has slow minutes"
    said = [measure(size) for _ in range(rounds)]
    return {stage: min(one[stage] for one in said) for stage in said[0]}


def exponent(values):
    "The slope of log(value) over log(ratio)"
    values = np.maximum(values, 1e-4)
    return float(np.polyfit(np.log(RATIOS), np.log(values), 1)[0])


def growth(base, rounds):
    "A row for each stage and each of the three that grows"
    first, rows = least(base, rounds), []
    for what in base:
        larger = [base | {what: base[what] * ratio} for ratio in RATIOS[1:]]
        points = [first, *(least(size, rounds) for size in larger)]
        for stage in first:
            values = [point[stage] for point in points]
            row = {"stage": stage, "what grows": what, "from": base[what]}
            row |= {f"x{ratio}": round(v, 3) for ratio, v in zip(RATIOS, values)}
            rows.append(row | {"exponent": round(exponent(values), 2)})
    return rows, first


def reckoned(stage, value, table, *, old, new):
    "What `value` at the size `old` would be at the size `new`; nothing shrinks"
    mine = table[table["stage"] == stage].set_index("what grows")
    if stage == MEMORY:  # a part of it is there whatever the size, so it is counted by the piece
        more = (mine["x4"] - mine["x1"]).clip(lower=0) / (3 * mine["from"])
        return value + sum(each * (new[what] - old[what]) for what, each in more.items())
    for what, power in mine["exponent"].clip(lower=0).items():
        value *= (new[what] / old[what]) ** power
    return value


def large(rows, base, first, rounds):
    "A row for each stage: the large dataset measured and reckoned, a billion rows reckoned"
    table, found = pd.DataFrame(rows), least(MILLION, rounds)
    for stage, value in found.items():
        before = reckoned(stage, first[stage], table, old=base, new=MILLION)
        billion = reckoned(stage, value, table, old=MILLION, new=BILLION)
        yield {
            "stage": stage,
            "a million images, measured": round(value, 2),
            "the same, reckoned": round(before, 2),
            "a billion rows, reckoned": round(billion, 1),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a fifth of the images")
    parser.add_argument("--one", nargs=2, metavar=("TABLE", "EDGES"), help="only this, in here")
    add_flag(parser)
    args = parser.parse_args()
    if args.one:
        took = stages(args.one[0], int(args.one[1]))
        print(json.dumps({stage: round(value, 4) for stage, value in took.items()}))
        return
    base = {"images": 30_000, "labels": 300, "edges": 2_000} if args.quick else BASE
    rounds = 1 if args.quick else 3
    rows, first = growth(base, rounds)
    record("growth", rows, args.save)
    if not args.quick:
        record("growth_large", list(large(rows, base, first, rounds)), args.save)


if __name__ == "__main__":
    main()
