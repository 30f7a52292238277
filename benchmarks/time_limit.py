"""By how much the search for a class set overruns its time limit: `python benchmarks/time_limit.py`

    python benchmarks/time_limit.py --limit 1       seconds for a set (10)
    python benchmarks/time_limit.py --quick         without the graph of 20,000 classes
    python benchmarks/time_limit.py --analysis      instead: a whole analysis of 20,000 classes

Neighborhoods of the classes that meet most others in a generated dataset, which are as large as
the dataset has classes, and conflicts thrown at random, which are hard at any size. Each is asked
for the most classes and for the most weight. `over s` is what the search took beyond its limit;
where others use the cores too, that is more than on a quiet machine: `CPU s` says what it worked.

`--analysis` takes 20,000 classes, an edge being 15 images as in the paper, and finds the class sets
of 50 triggers by betweenness, as a search does. It says how far bounds are above sets.
"""

import argparse
import resource
import sys
import time

import numpy as np
from generate import Labels, fitted
from joblib.externals.loky import get_reusable_executor
from record import add_flag, record
from scipy import sparse

from natural_backdoors.base.random import rng
from natural_backdoors.data.classes import class_table
from natural_backdoors.graph.cograph import co_graph
from natural_backdoors.graph.cooccurrence import cooccurrence
from natural_backdoors.graph.overlaps import Overlaps
from natural_backdoors.sets.class_sets import conflicts, maximum_set
from natural_backdoors.sets.independent_sets import ask, greedy
from natural_backdoors.sets.search import SearchSettings, centralities, find_every, rank_candidates

# labels, images, rows, images of an edge
GRAPHS = [(5_000, 500_000, 3_000_000, 5), (20_000, 1_000_000, 6_000_000, 2)]
ANALYSIS = (20_000, 1_000_000, 19_200_000, 15)
RANDOM = [(n, density) for n in (500, 750, 1000) for density in (0.7, 0.9)]


def overlaps_of(n_labels, n_images, n_rows):
    "The overlaps of generated labels"
    matrix = label_matrix(n_labels, n_images, n_rows)
    classes = class_table(f"c{i:05d}" for i in range(n_labels))
    return Overlaps(cooccurrence(matrix), classes, n_images)


def label_matrix(n_labels, n_images, n_rows, seed=0):
    "Generated labels, images by labels"
    labels = Labels(n_labels, seed)
    per_image = fitted(labels, n_images, n_rows, seed)
    counts, ids = [np.zeros(1, np.int64)], []
    for _, image, label in labels.pieces(n_images, per_image, seed):
        counts.append(np.bincount(image))
        ids.append(label.astype(np.int32))
    indptr, ids = np.cumsum(np.concatenate(counts)), np.concatenate(ids)
    ones = np.ones(len(ids), np.uint8)
    return sparse.csr_array((ones, ids, indptr), shape=(len(indptr) - 1, n_labels))


def neighborhoods(n_labels, n_images, n_rows, low):
    "(name, conflicts, overlaps with the trigger) of three classes with many neighbors"
    overlaps = overlaps_of(n_labels, n_images, n_rows)
    graph = co_graph(overlaps, low)
    near = np.diff(graph.adjacency.indptr)
    for trigger in np.argsort(-near, kind="stable")[[0, 5, 50]].tolist():
        ids = graph.neighbors(trigger)
        name = f"{n_labels:,} labels, {len(graph.edges):,} edges"
        shared = overlaps.counts[[trigger]].toarray().ravel()[ids]
        yield name, conflicts(overlaps, graph, ids), shared


def at_random(m, density):
    "(name, conflicts, weights) of conflicts thrown at random"
    draw = rng(m)
    upper = np.triu(draw.random((m, m)) < density, 1)
    yield f"at random, density {density}", upper | upper.T, draw.integers(1, 100, m)


def rows_of(name, conflict, shared, limit):
    "One row for the most classes, one for the most weight"
    for weights in (None, shared):
        start, cpu = time.perf_counter(), time.process_time()
        found = maximum_set(conflict, rng(0), weights=weights, ties=shared, time_limit=limit)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        assert not conflict[np.ix_(found.chosen, found.chosen)].any()
        first = greedy(ask(conflict, weights, shared))
        least = len(first) if weights is None else int(shared[first].sum())
        assert found.value >= least, "less than what is there at once"
        per_mb = 1e6 if sys.platform == "darwin" else 1e3
        yield {
            "conflicts": name,
            "neighbors": len(conflict),
            "of them in conflict": round(float(conflict.mean()), 3),
            "maximized": "classes" if weights is None else "weight",
            "limit s": limit,
            "seconds": round(seconds, 2),
            "over s": round(max(seconds - limit, 0), 2),
            "CPU s": round(cpu, 1),
            "at once": least,
            "found": found.value,
            "bound": found.bound,
            "peak MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mb),
        }


def worked():
    "Seconds of processor of this process and of those that have ended"
    who = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    used = [resource.getrusage(each) for each in who]
    return sum(each.ru_utime + each.ru_stime for each in used)


def analysis(n_labels, n_images, n_rows, low, limit):
    "A row for a search of 50 triggers: how long it takes, and how near the sets are to the bounds"
    overlaps = overlaps_of(n_labels, n_images, n_rows)
    settings = SearchSettings(min_overlaps=low, exclude=(), time_limit=limit)
    begin, cpu = time.perf_counter(), worked()
    graph = co_graph(overlaps, low)
    ranking = centralities(overlaps, overlaps, settings)
    triggers = rank_candidates(ranking, [], settings.n_triggers).index.tolist()
    before = time.perf_counter() - begin
    every = find_every(overlaps, graph, triggers, settings)
    seconds = time.perf_counter() - begin - before
    get_reusable_executor().shutdown(wait=True)  # what has not ended is not counted
    sets = [found for _, found in every.values()]
    gaps = np.array([found.gap / max(found.value, 1) for found in sets])
    for trigger, found in zip(every, sets):
        print(len(graph.neighbors(trigger)), found.value, found.bound, found.settled, flush=True)
    return {
        "graph": f"{n_labels:,} labels, {len(graph.edges):,} edges",
        "triggers": len(sets),
        "limit s": limit,
        "graph and centrality s": round(before, 1),
        "class sets s": round(seconds, 1),
        "CPU s": round(worked() - cpu, 1),
        "classes": sum(found.value for found in sets),
        "bounds": sum(found.bound for found in sets),
        "proven": int((gaps == 0).sum()),
        "settled": sum(found.settled for found in sets),
        "median gap": f"{np.median(gaps):.2%}",
        "worst gap": f"{gaps.max():.2%}",
        "over 1 %": int((gaps > 0.01).sum()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=10, help="seconds for a set")
    parser.add_argument("--quick", action="store_true", help="leave out 20,000 labels")
    parser.add_argument("--analysis", action="store_true", help="50 triggers of 20,000 labels")
    add_flag(parser)
    args = parser.parse_args()
    if args.analysis:
        record("time_limit_analysis", [analysis(*ANALYSIS, args.limit)], args.save)
        return
    sources = [at_random(*size) for size in RANDOM]
    sources += [neighborhoods(*size) for size in GRAPHS[: 1 if args.quick else None]]
    table = []
    for source in sources:
        for name, conflict, shared in source:
            for row in rows_of(name, conflict, shared, args.limit):
                table.append(row)
                print(row, flush=True)
    record("time_limit", table, args.save)
    print(f"worst overrun: {max(row['over s'] for row in table)} s")


if __name__ == "__main__":
    main()
