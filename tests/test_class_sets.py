"Exact class sets: against every set there is, against each other, and on real labels"

import time

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.optimize import LinearConstraint, milp

from natural_backdoors import TableDataset, UserError
from natural_backdoors.base.random import rng
from natural_backdoors.graph.centrality import centrality
from natural_backdoors.graph.cograph import co_graph
from natural_backdoors.graph.overlaps import count_overlaps
from natural_backdoors.sets import independent_sets, questions
from natural_backdoors.sets.class_sets import FINDERS, best_of_draws, conflicts, maximum_set
from natural_backdoors.sets.independent_sets import (
    SOLVERS,
    _Branching,
    _walk,
    ask,
    by_branching,
    by_programs,
    clique_bound,
    clique_program,
    components,
    maximize,
    relax,
    remainder,
    solve,
    undominated,
)
from natural_backdoors.sets.triggers import class_counts, rank_candidates

EACH = pytest.mark.parametrize("solver", SOLVERS)


def random_conflicts(draw, m, p):
    upper = np.triu(draw.random((m, m)) < p, 1)
    return upper | upper.T


def topical_conflicts(draw, m, n_topics, p=0.8):
    "As objects have them: classes conflict if they are at home in the same place"
    topics = draw.integers(0, n_topics, (m, 2))
    topics[draw.random(m) < 0.5, 1] = -1  # many are at home in one only
    topics[topics[:, 1] < 0, 1] = topics[topics[:, 1] < 0, 0]
    alike = (topics[:, None, :, None] == topics[None, :, None, :]).any(axis=(2, 3))
    upper = np.triu(alike & (draw.random((m, m)) < p), 1)
    return upper | upper.T


def every_set(conflict):
    "One row of bools for each independent set"
    sets = np.zeros((1, len(conflict)), bool)
    for i in range(len(conflict)):
        may = sets[~sets[:, conflict[i]].any(axis=1)]
        may[:, i] = True
        sets = np.concatenate([sets, may])
    return sets


def brute_force(conflict, weights, ties, max_classes):
    "The one right answer, by looking at every set"
    m = len(conflict)
    sets = every_set(conflict)
    if max_classes is not None:
        sets = sets[sets.sum(axis=1) <= max_classes]
    keys = [sets[:, i] for i in range(m)]  # lowest positions
    if ties is not None:
        keys.insert(0, sets @ ties)
    keys.insert(0, sets.sum(axis=1))
    if weights is not None:
        keys.insert(0, sets @ weights)
    return np.flatnonzero(sets[np.lexsort(keys[::-1])[-1]])


def one_case(seed):
    draw = rng(seed)
    m = int(draw.integers(0, 19))
    conflict = (
        random_conflicts(draw, m, draw.random()) if seed % 3 else topical_conflicts(draw, m, 4)
    )
    weights = draw.integers(0, 6, m) if draw.random() < 0.5 else None
    ties = draw.integers(0, 4, m) if draw.random() < 0.5 else None
    max_classes = int(draw.integers(1, 6)) if draw.random() < 0.4 else None
    return conflict, weights, ties, max_classes


@EACH
@pytest.mark.parametrize("block", range(6))
def test_brute_force(solver, block):
    for seed in range(60 * block, 60 * block + 60):
        case = one_case(seed)
        found = solve(ask(*case), rng(seed), None, solver)
        expected = brute_force(*case)
        assert found.chosen.tolist() == expected.tolist(), (solver, seed)
        worth = len(expected) if case[1] is None else case[1][expected].sum()
        assert found.settled and found.bound == found.value == worth, (solver, seed)


def test_leaving_out_the_dominated_changes_nothing():
    for seed in range(100):
        conflict, weights, ties, _ = one_case(seed)
        q = ask(conflict, weights, ties)
        expected = brute_force(conflict, weights, ties, None)
        left = undominated(q)
        assert set(expected) <= set(left), seed
        parts = components(q, left)
        assert sorted(np.concatenate([np.zeros(0, int), *parts])) == sorted(left)
        for a, b in zip(parts, parts[1:]):
            assert not conflict[np.ix_(a, b)].any()
        assert clique_bound(q) >= q.objectives[0, expected].sum()
        if len(conflict):
            relaxed = relax(clique_program(q), q.objectives[0])
            assert relaxed.bound >= q.objectives[0, expected].sum() - 1e-6


def check(conflict, found, weights=None, max_classes=None):
    "What holds for every answer, proven or not"
    chosen = found.chosen
    assert (np.diff(chosen) > 0).all() and not conflict[np.ix_(chosen, chosen)].any(), "independent"
    assert found.value == (len(chosen) if weights is None else weights[chosen].sum())
    assert (
        found.bound >= found.value
        and found.gap == found.bound - found.value
        and found.optimal == (found.gap == 0)
    )
    if max_classes is None:
        blocked = conflict[chosen].any(axis=0)
        blocked[chosen] = True
        assert blocked.all(), "maximal"
    else:
        assert len(chosen) <= max_classes


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("options", [{}, {"weights": True}, {"max_classes": 20}])
def test_600_classes(seed, options):
    draw = rng(seed)
    conflict = topical_conflicts(draw, 600, 60)
    ties, weights = draw.integers(15, 400, 600), draw.integers(0, 400, 600)
    if "weights" in options:
        options = {"weights": weights}
    found = maximum_set(conflict, rng(0), ties=ties, time_limit=60, **options)
    check(conflict, found, **options)
    assert found.optimal and found.settled
    # the same whatever the seed and the order in which the classes come
    order = draw.permutation(600)
    moved = {k: v[order] if k == "weights" else v for k, v in options.items()}
    again = maximum_set(
        conflict[np.ix_(order, order)], rng(1), ties=ties[order], time_limit=60, **moved
    )
    assert (
        again.value == found.value and ties[order][again.chosen].sum() == ties[found.chosen].sum()
    )
    if not options:
        draws = best_of_draws(conflict, rng(seed))
        assert len(draws.chosen) <= len(found.chosen)
    if "max_classes" in options:
        assert len(found.chosen) == 20


@pytest.mark.parametrize("p", [0.005, 0.02, 0.1, 0.5])
def test_600_classes_at_random_under_a_limit(p):
    draw = rng(7)
    conflict, weights = random_conflicts(draw, 600, p), draw.integers(1, 100, 600)
    for options in ({}, {"weights": weights}, {"max_classes": 5}):
        check(conflict, maximum_set(conflict, rng(0), time_limit=0.3, **options), **options)


@EACH
def test_no_time(solver):
    draw = rng(5)
    for conflict in (
        topical_conflicts(draw, 400, 30),
        *(random_conflicts(draw, 300, p) for p in (0.1, 0.6)),
    ):
        check(conflict, maximum_set(conflict, rng(0), time_limit=0.05, solver=solver))


def test_solvers_agree():
    for seed in range(30):
        draw = rng(seed)
        m = int(draw.integers(20, 50))
        conflict = (
            topical_conflicts(draw, m, 8)
            if seed % 2
            else random_conflicts(draw, m, draw.uniform(0.15, 0.8))
        )
        options = {
            "ties": draw.integers(0, 50, m),
            "weights": draw.integers(1, 30, m) if seed % 3 == 0 else None,
            "max_classes": 5 if seed % 5 == 0 else None,
            "time_limit": None,
        }
        answers = [
            maximum_set(conflict, rng(s), solver=solver, **options)
            for s, solver in enumerate(SOLVERS)
        ]
        for a in answers:
            check(conflict, a, options["weights"], options["max_classes"])
        assert all(a.optimal and a.settled for a in answers)
        assert len({tuple(a.chosen) for a in answers}) == 1, seed


def weighted_case(seed, m):
    "Conflicts at random, in clusters, or of what is common; weights alike, or few of them heavy"
    draw = rng(seed, m)
    density = draw.choice([0.03, 0.1, 0.25, 0.5, 0.9])
    alike, heavy = draw.integers(0, 100, m), np.rint(20 * draw.pareto(1, m)).astype(int)
    if seed % 3 == 0:
        return random_conflicts(draw, m, density), heavy
    if seed % 3 == 1:
        return topical_conflicts(draw, m, max(m // 6, 1)), alike if draw.random() < 0.5 else heavy
    drawn = np.triu(draw.random((m, m)), 1)
    shared = np.sqrt(np.outer(heavy + 1, heavy + 1)) * (drawn + drawn.T)
    conflict = shared > np.quantile(shared, 1 - min(density, 0.5))
    np.fill_diagonal(conflict, False)
    return conflict, heavy


def by_milp(conflict, weights, max_classes, nodes=300):
    "The weight of the best set, by scipy's mixed-integer solver on one row a conflict"
    a, b = np.nonzero(np.triu(conflict))
    m, n = len(conflict), len(a)
    ends = np.tile(np.arange(n), 2), np.concatenate([a, b])
    rows = sparse.csc_array((np.ones(2 * n), ends), shape=(n, m))
    rows.indices, rows.indptr = rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
    limits = [LinearConstraint(rows, -np.inf, 1)] if n else []
    if max_classes is not None:
        limits.append(LinearConstraint(np.ones((1, m)), -np.inf, max_classes))
    how = {"node_limit": nodes, "time_limit": 3, "mip_rel_gap": 0}
    done = milp(-weights, constraints=limits, bounds=(0, 1), integrality=np.ones(m), options=how)
    return round(-done.fun) if done.status == 0 else None


@pytest.mark.parametrize("m", [10, 40, 67, 200])
def test_weights_against_others(m):
    "Against every set there is, or scipy's solver; never below a walk"
    compared, n_seeds = 0, 9 if m < 100 else 6
    for seed in range(n_seeds):
        conflict, weights = weighted_case(seed, m)
        max_classes = (None, 5, 20)[seed // 3 % 3]
        how = {"weights": weights, "max_classes": max_classes}
        if m <= 16 or conflict.mean() > 0.8:  # few sets in all
            best = weights[brute_force(conflict, weights, None, max_classes)].sum()
        else:
            is_large = conflict.sum() > 20_000  # too large for one row a conflict
            best = None if is_large else by_milp(conflict, weights, max_classes)
        # what the other one proves is to be proven; the rest is only looked at
        found = maximum_set(conflict, rng(seed), time_limit=0.4 if best is None else 60, **how)
        check(conflict, found, **how)
        # below what is proven to be the best there is nothing to look for
        for one_walk in range(3 if best is None else 1):
            walked = _walk(ask(conflict, weights, max_classes=max_classes), rng(seed, one_walk))
            assert found.value >= weights[walked].sum(), seed
        if best is not None:
            assert found.optimal and found.value == best, seed
            compared += 1
    assert compared >= n_seeds - 2


def test_sizes_are_settled_by_whoever_can():
    "Few conflicts are for linear programs, many for branching: neither alone settles both in time"
    for p, m in ((0.03, 100), (0.2, 100), (0.4, 200), (0.9, 300)):
        conflict = random_conflicts(rng(m, int(100 * p)), m, p)
        found = maximum_set(conflict, rng(0), time_limit=60)
        check(conflict, found)
        assert found.optimal and found.settled, (p, m)


def test_poison_images_of_coco(real_data):
    "67 and more neighbors of common objects, for which branching alone takes minutes"
    overlaps = count_overlaps(TableDataset(real_data("coco15k/labels.csv.gz")).label_matrix())
    graph, n_cases = co_graph(overlaps, 1), 0
    for trigger in graph.vertices.tolist():
        ids = graph.neighbors(trigger)
        if len(ids) < 67:
            continue
        counts = class_counts(overlaps, trigger, ids)
        weights, ties = counts.n_poison.to_numpy(), counts.overlaps.to_numpy()
        conflict = conflicts(overlaps, graph, ids, 20)
        for max_classes in (None, 20):
            how = {"weights": weights, "max_classes": max_classes}
            found = maximum_set(conflict, rng(0), ties=ties, time_limit=60, **how)
            assert found.optimal and found.settled
            assert found.value == by_milp(conflict, weights, max_classes)
            n_cases += 1
    assert n_cases >= 20


def test_a_search_that_is_interrupted_goes_on():
    for seed in range(20):
        conflict, weights = weighted_case(seed, 25)
        question = ask(conflict, weights, np.arange(25), 5 if seed % 2 else None)
        whole, parts, turns = by_branching(question, rng(0)), _Branching(question, []), 1
        while not parts.go_on(0):  # the time is over at once, so that each turn is 0 steps or 64
            before = parts.answer()
            assert before.value <= whole.value <= before.bound
            parts.go_on(time.monotonic() + 1e-4)
            turns += 1
        assert parts.answer().settled and parts.answer().chosen.tolist() == whole.chosen.tolist()


@pytest.mark.parametrize("branched", [0, 3, 10, 25, 100])
def test_programs_hand_over_to_branching(branched):
    "Wherever linear programs stop and branching goes on, the answer is that of branching alone"
    handed_over = 0
    for seed in range(8):
        draw = rng(seed, 1)
        m = int(draw.integers(30, 60))
        conflict = (
            topical_conflicts(draw, m, 10)
            if seed % 2
            else random_conflicts(draw, m, draw.uniform(0.1, 0.4))
        )
        question = ask(
            conflict,
            draw.integers(1, 9, m) if seed % 3 == 0 else None,
            draw.integers(0, 50, m),
            7 if seed % 4 == 0 else None,
        )
        a, b = (
            by_branching(question, rng(seed)),
            by_programs(question, rng(seed), branched=branched),
        )
        assert (
            a.settled
            and b.settled
            and a.chosen.tolist() == b.chosen.tolist()
            and a.value == b.value == b.bound
        ), seed
        program = clique_program(question)
        maximize(program, question.objectives[0])
        handed_over += 0 < len(remainder(question, program)[0]) < m
    assert handed_over > 3, "some questions are left with a part of their classes"


@EACH
def test_small_and_extreme(solver):
    def exact(conflict, **options):
        return maximum_set(np.asarray(conflict, bool), rng(0), solver=solver, **options)

    for nothing in (
        exact(np.zeros((0, 0))),
        exact(np.zeros((0, 0)), weights=[], ties=[], max_classes=3),
    ):
        assert nothing.chosen.tolist() == [] and nothing.optimal and nothing.bound == 0
    assert exact([[False]]).chosen.tolist() == [0]
    free = exact(np.zeros((700, 700)))
    assert free.chosen.tolist() == list(range(700)) and free.optimal
    assert exact(np.zeros((700, 700)), max_classes=3, ties=np.arange(700)).chosen.tolist() == [
        697,
        698,
        699,
    ]
    assert exact(np.zeros((700, 700)), max_classes=3).chosen.tolist() == [0, 1, 2]
    complete = ~np.eye(700, dtype=bool)
    assert exact(complete).chosen.tolist() == [0]
    assert exact(complete, ties=np.arange(700) % 500).chosen.tolist() == [499]
    assert exact(complete, weights=np.arange(700)).value == 699
    # a class without weight is still taken if nothing speaks against it
    assert exact(np.zeros((3, 3)), weights=[0, 0, 0]).chosen.tolist() == [0, 1, 2]
    # counts as large as datasets have them
    big = exact(
        complete[:5, :5], weights=np.array([10**9, 10**9 + 1, 5, 5, 5]), ties=np.full(5, 10**9)
    )
    assert big.chosen.tolist() == [1] and big.value == 10**9 + 1


def test_mistakes():
    two = np.array([[False, True], [True, False]])
    nan = float("nan")
    for options, message in (
        ({"weights": [1]}, "number for each of the 2"),
        ({"weights": [1, -1]}, "whole numbers"),
        ({"ties": [0.5, 1]}, "whole numbers"),
        ({"weights": [nan, 1]}, "whole numbers"),
        ({"max_classes": 0}, "from 1"),
        ({"time_limit": 0}, "above 0"),
        ({"time_limit": -1}, "above 0"),
        ({"time_limit": nan}, "above 0"),
        ({"solver": "hihgs"}, "did you mean 'highs'"),
    ):
        with pytest.raises(UserError, match=message):
            maximum_set(two, rng(0), **options)
    one_way = np.array([[False, True], [False, False]])
    for matrix in (one_way, np.eye(2, dtype=bool), np.zeros((2, 3), bool), np.zeros((2, 2))):
        with pytest.raises(UserError, match="symmetric matrix of bools"):
            maximum_set(matrix, rng(0))
    for subset in ("mis", "none"):
        for option in ({"max_classes": 1}, {"weights": [1, 1]}):
            with pytest.raises(UserError, match="subset='exact'"):
                FINDERS[subset](two, rng(0), **option)


def neighborhoods(dataset, min_overlaps=15, k=-1):
    "The conflicts and overlaps of the 50 candidates, as `find_triggers` has them"
    overlaps = count_overlaps(dataset.label_matrix())
    graph = co_graph(overlaps, min_overlaps)
    for trigger in rank_candidates(centrality(graph, "betweenness", False), [], 50).index.tolist():
        ids = graph.neighbors(trigger)
        yield (
            trigger,
            conflicts(overlaps, graph, ids, k),
            class_counts(overlaps, trigger, ids).overlaps.to_numpy(),
        )


def compare(dataset, **how):
    "Classes in all sets: exact, and the best of 20 draws"
    totals = []
    for trigger, conflict, ties in neighborhoods(dataset, **how):
        found, draws = (
            maximum_set(conflict, rng(0), ties=ties),
            best_of_draws(conflict, rng(0, trigger)),
        )
        check(conflict, found)
        assert found.optimal and found.settled and len(found.chosen) >= len(draws.chosen)
        totals.append((len(found.chosen), len(draws.chosen)))
    return np.sum(totals, axis=0).tolist()


def test_coco(real_data):
    data = TableDataset(real_data("coco15k/labels.csv.gz"))
    exact, draws = compare(data)
    assert exact == 305 and draws < exact
    # the other solver, which shares nothing with the first, proves the same
    for _, conflict, ties in neighborhoods(data):
        a, b = (
            maximum_set(conflict, rng(0), ties=ties, solver=solver)
            for solver in ("highs", "bitsets")
        )
        assert a.chosen.tolist() == b.chosen.tolist() and b.optimal


@pytest.mark.parametrize("how", [{"min_overlaps": 10, "k": 40}, {"k": 0}, {"k": 5}])
def test_coco_with_other_thresholds(real_data, how):
    exact, draws = compare(TableDataset(real_data("coco15k/labels.csv.gz")), **how)
    assert exact >= draws


def test_voc(real_data):
    from natural_backdoors.data.voc import PascalVOC

    exact, draws = compare(PascalVOC(real_data("voc2007")))
    assert exact >= draws > 0


def test_imagenet_real(real_data):
    from natural_backdoors.data.imagenet import ImageNetReaL

    exact, draws = compare(ImageNetReaL(real_data("imagenet_real")))
    assert exact >= draws > 0


def slow_undominated(conflict):
    "By sets: a class goes if one that it conflicts with conflicts with no class that it does not"
    m = len(conflict)
    left, near = set(range(m)), [{i, *np.flatnonzero(conflict[i])} for i in range(m)]
    while True:
        out = set()
        for i in left:
            for j in (near[i] & left) - {i}:
                # of equal worth: the one at the higher position goes
                if j > i and (near[i] & left) <= (near[j] & left):
                    out.add(j)
        if not out:
            return sorted(left)
        left -= out


LIMITS = [questions._ROWS, questions._TILE, independent_sets._SMALL, independent_sets._DIGITS, 1500]


@pytest.mark.parametrize("m", sorted({n + step for n in LIMITS for step in (-1, 0, 1)}))
def test_sizes_around_every_limit(m):
    "A trigger may have any number of neighbors, and they may conflict as they like"
    none, ring = np.zeros((m, m), bool), np.zeros((m, m), bool)
    ring[np.arange(m), np.arange(1, m + 1) % m] = True
    ring |= ring.T
    one = none.copy()
    one[0, 1] = one[1, 0] = True
    cases = [(none, m), (one, m - 1), (~np.eye(m, dtype=bool), 1), (ring, m // 2)]
    for conflict, most in cases:
        found = solve(ask(conflict), rng(0), 20)
        assert (found.value, found.bound) == (most, most)
        assert not conflict[np.ix_(found.chosen, found.chosen)].any()


@pytest.mark.parametrize("rows", [1, 29, 30, 31])
def test_blocks_of_rows_change_nothing(monkeypatch, rows):
    monkeypatch.setattr(questions, "_ROWS", rows)
    monkeypatch.setattr(questions, "_TILE", rows)
    for seed in range(10):
        draw = rng(seed)
        conflict = random_conflicts(draw, 30, draw.random())
        assert undominated(ask(conflict)).tolist() == slow_undominated(conflict)
        worth, some = draw.integers(0, 2**40, 30), np.flatnonzero(draw.random(30) < 0.5)
        expected = [int(worth[[i for i in some if row[i]]].sum()) for row in conflict]
        assert questions.against(ask(conflict), some, worth).tolist() == expected
        one_way = conflict.copy()
        one_way[0, 29] = not one_way[29, 0]
        with pytest.raises(UserError, match="symmetric"):
            ask(one_way)
    assert undominated(ask(np.zeros((0, 0), bool))).tolist() == []


def test_an_image_with_thousands_of_labels():
    "Every label meets every other one; those of a second image meet one another only"
    n = 1600
    rows = [("a", f"c{i:04}") for i in range(n)] + [("b", "c0000"), ("b", "other")]
    overlaps = count_overlaps(
        TableDataset(pd.DataFrame(rows, columns=["image", "label"])).label_matrix()
    )
    graph = co_graph(overlaps, 1)
    ids = np.arange(1, n + 1)
    found = maximum_set(conflicts(overlaps, graph, ids), rng(0))
    assert (len(found.chosen), found.bound) == (2, 2) and len(overlaps.classes) == n + 1
