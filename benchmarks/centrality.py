"""The centralities on each engine, beside networkx: `python benchmarks/centrality.py`

Two graphs from a seeded generator (label frequencies by Zipf, classes in clusters that like to
meet). networkx is called with lengths in floating point, as anyone would; where that loses a tie
between paths of equal length, "largest difference" shows it. Machines are noisy: read the ratios.
Our figures are the fastest of three runs. networkx runs once: `--quick` takes the smaller graph
only (half a minute), without it weighted networkx alone takes minutes.
"""

import argparse
import time
from functools import partial

import networkx as nx
import numpy as np
from record import add_flag, record
from scipy import sparse

from natural_backdoors import co_graph
from natural_backdoors.base.errors import MissingPackage
from natural_backdoors.base.random import rng
from natural_backdoors.data.classes import class_table
from natural_backdoors.graph.centrality import ENGINES, MEASURES, centrality, pick_engine
from natural_backdoors.graph.overlaps import Overlaps

GRAPHS = {
    "small": {"n_classes": 603, "n_images": 50_000, "n_edges": 8_700},
    "large": {"n_classes": 1003, "n_images": 250_000, "n_edges": 32_557},
}
BY_NETWORKX = {
    "betweenness": lambda g, w: nx.betweenness_centrality(g, weight="distance" if w else None),
    "closeness": lambda g, w: nx.closeness_centrality(g, distance="distance" if w else None),
    "harmonic": lambda g, w: nx.harmonic_centrality(g, distance="distance" if w else None),
    "degree": lambda g, w: dict(g.degree(weight="overlap")) if w else nx.degree_centrality(g),
    "eigenvector": lambda g, w: nx.eigenvector_centrality(
        g, weight="overlap" if w else None, max_iter=10_000, tol=1e-12
    ),
    "pagerank": lambda g, w: nx.pagerank(
        g, weight="overlap" if w else None, max_iter=10_000, tol=1e-14
    ),
}


def random_overlaps(n_classes, n_images, seed=0, n_clusters=12, inside=0.7, power=0.55, most=7):
    "Overlaps of images with 1 to `most` classes; `inside` of them draw all from one cluster"
    draw, rows, columns = rng(seed), [], []
    weight = np.log(1 / np.arange(1, n_classes + 1) ** power)
    cluster = draw.integers(0, n_clusters, n_classes)
    size = draw.integers(1, most + 1, n_images)
    home = np.where(draw.random(n_images) < inside, draw.integers(0, n_clusters, n_images), -1)
    for k in range(-1, n_clusters):
        pool = np.flatnonzero(cluster == k) if k >= 0 else np.arange(n_classes)
        for images in np.array_split(np.flatnonzero(home == k), n_images // 50_000 + 1):
            # the classes of largest log weight + Gumbel noise are a draw without replacement
            noisy = weight[pool] + draw.gumbel(size=(len(images), len(pool)))
            best = np.argsort(-noisy, axis=1)[:, :most]
            kept = np.arange(best.shape[1]) < size[images][:, None]
            rows.append(np.repeat(images, kept.sum(1)))
            columns.append(pool[best[kept]])
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    x = sparse.csr_array(
        (np.ones(len(rows), np.int64), (rows, columns)), shape=(n_images, n_classes)
    )
    return Overlaps(
        sparse.csr_array(x.T @ x), class_table(f"c{i:04d}" for i in range(n_classes)), n_images
    )


def graph_with(overlaps, n_edges):
    "The graph of the threshold that comes nearest to `n_edges`"
    counts = np.sort(overlaps.pairs().overlaps.to_numpy())[::-1]
    near = range(counts[n_edges], counts[n_edges] + 2)
    return co_graph(overlaps, min(near, key=lambda k: abs((counts >= k).sum() - n_edges)))


def seconds(function, repeat=1):
    "The fastest of `repeat` calls, and the result"
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def installed():
    "The engines that can be used here"
    for engine in ENGINES:
        try:
            yield pick_engine(engine)
        except MissingPackage as e:
            print(e)


def compare(graph, measures, engines):
    "One row for each measure and engine"
    g, fast = graph.to_networkx(), [e for e in engines if e != "networkx"]
    for measure in measures:
        for weighted in (False, True):
            theirs, values = seconds(partial(BY_NETWORKX[measure], g, weighted))
            values = np.array([values[v] for v in graph.vertices])
            for engine in fast:
                call = partial(centrality, graph, measure, weighted, engine=engine)
                ours, result = seconds(call, 3)
                row = {
                    "nodes": len(g),
                    "edges": g.size(),
                    "measure": measure + ", weighted" * weighted,
                    "engine": engine,
                    "seconds": round(ours, 4),
                    f"networkx {nx.__version__}": round(theirs, 2),
                    "ratio": round(theirs / ours, 1),
                    "auto": centrality(graph, measure, weighted).attrs["engine"],
                    "largest difference": f"{np.abs(result - values).max() / values.max():.0e}",
                }
                print(row, flush=True)
                yield row


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smaller graph only")
    parser.add_argument(
        "--measures", nargs="+", choices=MEASURES, default=list(MEASURES), metavar="NAME"
    )
    add_flag(parser)
    args = parser.parse_args(argv)
    engines, table = list(installed()), []
    for name, kw in GRAPHS.items():
        if args.quick and name == "large":
            continue
        graph = graph_with(random_overlaps(kw["n_classes"], kw["n_images"]), kw["n_edges"])
        print(name, graph)
        table += compare(graph, args.measures, engines)
    record("centrality", table, args.save)


if __name__ == "__main__":
    main()
