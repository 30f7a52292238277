"""The centralities on each engine, beside other libraries: `python benchmarks/centrality.py`

    python benchmarks/centrality.py --quick                          the smallest graph only
    python benchmarks/centrality.py --measures betweenness --save    as the page of costs shows it

Graphs from seeded generators: label frequencies by Zipf, classes in clusters that like to meet;
and one of 5,000 labels that have topics. Peers are networkx, on the smaller graphs; and, of
those that are installed, graph-tool by itself (our engine of that name relieves it of ties and
branches), NetworKit and igraph (`pip install networkit igraph`; neither is needed for anything
else). All of them are called with lengths in floating point, as anyone would; where that loses a
tie between paths of equal length, "largest difference" from our values shows it.

`auto` is the engine that engine="auto" picks, and is to be the fastest. Machines are noisy: read
the ratios. Figures are the least of ten runs, or of as many as there is time for in ten seconds.
All but igraph and networkx use all cores; `CPU s` is what they use in all.
"""

import argparse
import time
from functools import partial
from itertools import product

import networkx as nx
import numpy as np
import pandas as pd
from generate import Labels
from record import add_flag, record
from scipy import sparse

from natural_backdoors import co_graph
from natural_backdoors.base.errors import MissingPackage
from natural_backdoors.base.random import rng
from natural_backdoors.data.classes import class_table
from natural_backdoors.graph.centrality import ENGINES, MEASURES, centrality, pick_engine
from natural_backdoors.graph.cooccurrence import cooccurrence
from natural_backdoors.graph.overlaps import Overlaps

GRAPHS = {
    "small": lambda: graph_with(random_overlaps(603, 50_000), 8_700),
    "large": lambda: graph_with(random_overlaps(1003, 250_000), 32_557),
    "wide": lambda: graph_with(overlaps_by_topic(5_000, 250_000), 65_000),
    "sparse": lambda: graph_with(overlaps_by_topic(5_000, 250_000), 10_000),
}
BY_ALL = ("small", "large")  # networkx would take half an hour for the others
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


def overlaps_by_topic(n_labels, n_images, seed=0):
    "Overlaps of images that take most of their labels from a topic of a few"
    made, matrices = Labels(n_labels, seed), []
    for _, image, label in made.pieces(n_images, 7, seed):
        indptr = np.concatenate([[0], np.cumsum(np.bincount(image))])
        ones = np.ones(len(label), np.uint8)
        matrices.append(sparse.csr_array((ones, label, indptr), (len(indptr) - 1, n_labels)))
    counts = cooccurrence(sparse.csr_array(sparse.vstack(matrices)))
    return Overlaps(counts, class_table(made.names.tolist()), n_images)


def graph_with(overlaps, n_edges):
    "The graph of the threshold that comes nearest to `n_edges`"
    counts = np.sort(overlaps.pairs().overlaps.to_numpy())[::-1]
    near = range(counts[n_edges], counts[n_edges] + 2)
    return co_graph(overlaps, min(near, key=lambda k: abs((counts >= k).sum() - n_edges)))


def seconds(function, repeat=10, most=10):
    "The least seconds, and seconds of processor, of calls for `most` seconds; and the result"
    best, begin = np.full(2, np.inf), time.perf_counter()
    for _ in range(repeat):
        start, cpu = time.perf_counter(), time.process_time()
        result = function()
        took = time.perf_counter() - start, time.process_time() - cpu
        best = np.minimum(best, took)
        if time.perf_counter() - begin > most:
            break
    return *best.tolist(), result


def installed():
    "The engines that can be used here"
    for engine in ENGINES:
        try:
            yield pick_engine(engine)
        except MissingPackage as e:
            print(e)


def by_graph_tool(graph):
    "A function of `weighted`: betweenness as graph-tool has it"
    import graph_tool
    import graph_tool.centrality

    tool = graph_tool.Graph(directed=False)
    tool.add_edge_list(np.column_stack(graph.ends))
    length = tool.new_edge_property("double", vals=graph.distance)
    of = graph_tool.centrality.betweenness
    return lambda weighted: of(tool, weight=length if weighted else None)[0].a


def by_networkit(graph):
    "The same by NetworKit"
    import networkit

    def made(weighted):
        found = networkit.Graph(len(graph.vertices), weighted=weighted)
        for a, b, length in zip(*graph.ends, graph.distance):
            found.addEdge(int(a), int(b), float(length))
        return found

    of, graphs = networkit.centrality.Betweenness, {w: made(w) for w in (False, True)}
    return lambda weighted: np.array(of(graphs[weighted], normalized=True).run().scores())


def by_igraph(graph):
    "The same by igraph"
    import igraph

    n, length = len(graph.vertices), graph.distance.tolist()
    found = igraph.Graph(n=n, edges=np.column_stack(graph.ends).tolist())
    pairs = (n - 1) * (n - 2) / 2
    return lambda weighted: (
        np.array(found.betweenness(weights=length if weighted else None)) / pairs
    )


PEERS = {"graph-tool alone": by_graph_tool, "NetworKit": by_networkit, "igraph": by_igraph}


def peers(graph):
    "Those that are installed, ready for betweenness"
    for name, prepare in PEERS.items():
        try:
            yield name, prepare(graph)
        except ImportError as e:
            print(f"{name} is not compared: {e}")


def programs(graph, measure, weighted, *, engines, others, with_networkx):
    "Name -> function that gives the values of a measure"
    for engine in engines:
        if engine != "networkx":
            yield engine, partial(centrality, graph, measure, weighted, engine=engine)
    if measure == "betweenness":
        for name, of in others.items():
            yield name, partial(of, weighted)
    if with_networkx:
        g = graph.to_networkx()
        of = lambda: pd.Series(BY_NETWORKX[measure](g, weighted)).sort_index()
        yield f"networkx {nx.__version__}", of


def compare(graph, measures, engines, with_networkx):
    "One row for each measure and program"
    others = dict(peers(graph)) if "betweenness" in measures else {}
    for measure, weighted in product(measures, (False, True)):
        kw = {"engines": engines, "others": others, "with_networkx": with_networkx}
        ours = centrality(graph, measure, weighted)
        auto, rows = ours.attrs["engine"], []
        for name, call in programs(graph, measure, weighted, **kw):
            wall, cpu, values = seconds(call)
            row = {
                "nodes": len(graph.vertices),
                "edges": len(graph.edges),
                "measure": measure + ", weighted" * weighted,
                "program": name,
                "picked": "auto" if name == auto else "",
                "seconds": round(wall, 4),
                "CPU s": round(cpu, 4),
                "largest difference": f"{np.abs(np.asarray(values) - ours).max() / ours.max():.0e}",
            }
            rows.append(row)
        base = next(row["seconds"] for row in rows if row["picked"])
        for row in rows:
            row["seconds / auto"] = round(row["seconds"] / base, 1)
            print(row, flush=True)
            yield row


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smallest graph only")
    parser.add_argument(
        "--measures", nargs="+", choices=MEASURES, default=list(MEASURES), metavar="NAME"
    )
    add_flag(parser)
    args = parser.parse_args(argv)
    engines, table = list(installed()), []
    for name, make in GRAPHS.items():
        if args.quick and name != "small":
            continue
        graph = make()
        print(name, graph)
        table += compare(graph, args.measures, engines, name in BY_ALL)
    record("centrality", table, args.save)


if __name__ == "__main__":
    main()
