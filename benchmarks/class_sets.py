"""Exact class sets beside random draws, in one run: `python benchmarks/class_sets.py` (minutes)

    python benchmarks/class_sets.py --classes 603          the smaller graph alone
    python benchmarks/class_sets.py --no-published         leave out the slow one
    python benchmarks/class_sets.py --seed 1 --limit 2     another graph; seconds for a trigger

50 triggers each. The ways compared:

- exact: `subset="exact"`, ties decided by the overlaps with the trigger;
- draws: `subset="mis"`, the best of 20 random maximal sets;
- published: 20 draws the way the published code makes them, with graph_tool views filtered in
  Python and the trigger left in the graph (graph-tool must be installed);
- CP-SAT: OR-Tools on the same clique rows, if it is installed; the number of classes only, ties
  are not decided.

The overlaps are drawn directly: label frequencies follow Zipf's law, every image has one of a few
topics, and a topic has favorite labels. Machines are noisy: read the ratios.
"""

import argparse
import time
from types import SimpleNamespace

import numpy as np
from record import add_flag, record
from scipy import sparse

from natural_backdoors.base.random import rng
from natural_backdoors.data.classes import class_table
from natural_backdoors.graph.centrality import centrality
from natural_backdoors.graph.cograph import co_graph
from natural_backdoors.graph.overlaps import Overlaps
from natural_backdoors.sets.class_sets import best_of_draws, conflicts, maximum_set
from natural_backdoors.sets.independent_sets import ask, clique_cover
from natural_backdoors.sets.triggers import class_counts, rank_candidates

IMAGES = {603: 144_000, 1003: 465_000}  # give about 8,700 and 32,500 edges of at least 10 images
RULES = {"min 10 / max 40": (10, 40), "min 15 / max -1": (15, -1)}


def draw_overlaps(n, n_images, seed=0, share=0.95, per_image=6):
    "Overlaps of `n` classes in `n_images` images that have a topic each"
    draw, n_topics, size = rng(seed), n // 50, n // 13
    frequency = draw.permutation(np.arange(1, n + 1.0) ** -0.9)
    frequency /= frequency.sum()
    topics = np.arange(1, n_topics + 1.0) ** -0.7
    topics /= topics.sum()
    # how probable each label is in an image of each topic
    within = np.zeros((n_topics, n))
    for row in within:
        members = np.argpartition(-(np.log(frequency) + draw.gumbel(size=n)), size - 1)[:size]
        row[members] = frequency[members] ** 0.5 * draw.exponential(size=size)
        row /= row.sum()
    within = np.minimum(per_image * (share * within + (1 - share) * frequency), 1)
    upper = np.triu(draw.poisson(n_images * (within.T * topics) @ within), 1)
    counts = upper + upper.T
    np.fill_diagonal(
        counts, np.maximum(draw.poisson(n_images * (topics @ within)), counts.max(axis=1))
    )
    return Overlaps(
        sparse.csr_array(counts.astype(np.int32)),
        class_table(f"c{i:04d}" for i in range(n)),
        n_images,
    )


def neighborhoods(overlaps, min_overlaps, k):
    "The graph, 50 triggers, for each its neighbors, conflicts and overlaps; the seconds it took"
    start = time.perf_counter()
    graph = co_graph(overlaps, min_overlaps)
    triggers = rank_candidates(centrality(graph, "betweenness", False), [], 50).index.tolist()
    near = []
    for t in triggers:
        ids = graph.neighbors(t)
        near.append(
            SimpleNamespace(
                trigger=t,
                ids=ids,
                conflict=conflicts(overlaps, graph, ids, k),
                ties=class_counts(overlaps, t, ids).overlaps.to_numpy(),
            )
        )
    return graph, near, time.perf_counter() - start


def published(graph, near, k, n_draws=20):
    "Class sets by the published method, on graph_tool"
    import graph_tool as gt
    from graph_tool.topology import max_independent_vertex_set

    gt.seed_rng(1)
    g = gt.Graph(directed=False)
    g.add_vertex(len(graph.classes))
    shared = g.new_edge_property("int")
    g.add_edge_list(graph.edges[["a", "b", "overlaps"]].to_numpy(), eprops=[shared])
    for place in near:
        center = g.vertex(place.trigger)
        group = [*center.all_neighbors(), center]
        view = gt.GraphView(g, vfilt=group.__contains__)
        if k > 0 and k > graph.min_overlaps:
            view = gt.GraphView(view, efilt=shared.a > k)
        best = []
        for _ in range(n_draws):
            chosen = np.flatnonzero(max_independent_vertex_set(view).a)
            chosen = [i for i in chosen if i != place.trigger]
            if len(chosen) > len(best):
                best = chosen
        yield best


def by_cp_sat(place, limit):
    "The number of classes, and whether it is proven, by OR-Tools"
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    x = [model.new_bool_var("") for _ in place.conflict]
    for clique in clique_cover(ask(place.conflict)):
        model.add_at_most_one(x[i] for i in clique)
    model.maximize(sum(x))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds, solver.parameters.num_workers = limit, 1
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return 0, False
    return solver.objective_value, status == cp_model.OPTIMAL


def timed(function):
    start = time.perf_counter()
    return function(), time.perf_counter() - start


def compare(n, rule, seed, limit, with_published):
    "One row of the table"
    overlaps, (min_overlaps, k) = draw_overlaps(n, IMAGES.get(n, 464 * n), seed), RULES[rule]
    graph, near, before = neighborhoods(overlaps, min_overlaps, k)
    exact, seconds = timed(
        lambda: [maximum_set(p.conflict, rng(0), ties=p.ties, time_limit=limit) for p in near]
    )
    draws, draws_seconds = timed(
        lambda: [best_of_draws(p.conflict, rng(0, p.trigger)) for p in near]
    )
    for p, ours, drawn in zip(near, exact, draws):
        assert not p.conflict[np.ix_(ours.chosen, ours.chosen)].any()
        assert len(ours.chosen) >= len(drawn.chosen), "an exact set is smaller than a drawn one"
    total, most = sum(len(s.chosen) for s in exact), max(len(p.ids) for p in near)
    row = {
        "graph": f"{len(graph.vertices)} classes, {len(graph.edges):,} edges",
        "rule": rule,
        "neighbors": f"to {most}",
        "exact": total,
        "proven": sum(s.optimal for s in exact),
        "settled": sum(s.settled for s in exact),
        "s": round(seconds, 1),
        "whole analysis s": round(before + seconds, 1),
        "draws": (drawn := sum(len(s.chosen) for s in draws)),
        "draws s": round(draws_seconds, 1),
        "exact / draws": round(total / drawn, 3),
    }
    if with_published:
        theirs, their_seconds = timed(lambda: list(published(graph, near, k)))
        row |= {
            "published": (n_theirs := sum(map(len, theirs))),
            "published s": round(their_seconds, 1),
            "exact / published": round(total / n_theirs, 3),
            "speed-up": round(their_seconds / seconds, 1),
        }
        if k == -1 or k > min_overlaps:
            assert all(len(a.chosen) >= len(b) for a, b in zip(exact, theirs))
    try:
        import ortools  # noqa: F401
    except ImportError:
        return row
    cp, cp_seconds = timed(lambda: [by_cp_sat(p, limit) for p in near])
    total, n_proven = (sum(column) for column in zip(*cp))
    return row | {"CP-SAT": int(total), "CP-SAT proven": n_proven, "CP-SAT s": round(cp_seconds, 1)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, nargs="+", default=list(IMAGES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=2, help="seconds for a trigger")
    parser.add_argument("--no-published", action="store_true")
    add_flag(parser)
    args = parser.parse_args()
    table = []
    for n in args.classes:
        for rule in RULES:
            table.append(compare(n, rule, args.seed, args.limit, not args.no_published))
            print(table[-1], flush=True)
    record("class_sets", table, args.save)
