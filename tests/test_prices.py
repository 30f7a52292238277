"Prices of cliques for thousands of classes, and who is asked about many conflicts"

from fractions import Fraction
from math import floor

import networkx as nx
import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from test_time_limit import Clock

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.random import rng
from natural_backdoors.sets import independent_sets
from natural_backdoors.sets.independent_sets import (
    SOLVERS,
    _guided,
    _Prices,
    ask,
    by_prices,
    greedy,
    priced_cliques,
    proven,
    solve,
    weight_bound,
)


def drawn(m, density, seed, weighted=False):
    "Conflicts thrown at random, the question about the first objective alone"
    conflict = nx.to_numpy_array(nx.gnp_random_graph(m, density, seed=seed)) > 0
    weights = rng(seed).integers(0, 40, m) if weighted else None
    return ask(conflict, weights).coarse


def most(question):
    "The maximum, by a program with one row for each conflict"
    worth = question.objectives[0].astype(float)
    a, b = np.nonzero(np.triu(question.conflict))
    rows = np.zeros((len(a), len(worth)))
    rows[np.arange(len(a)), a] = rows[np.arange(len(a)), b] = 1
    how = {"bounds": Bounds(0, 1), "integrality": np.ones(len(worth))}
    done = milp(-worth, constraints=LinearConstraint(rows, -np.inf, 1), **how)
    return round(-done.fun)


def relaxed(question):
    "What shares of classes are worth, with a row for every maximal clique"
    cliques = list(nx.find_cliques(nx.from_numpy_array(question.conflict)))
    rows = sparse.lil_array((len(cliques), len(question.conflict)))
    for row, clique in enumerate(cliques):
        rows[row, clique] = 1
    done = linprog(-question.objectives[0], rows.tocsr(), np.ones(len(cliques)), bounds=(0, 1))
    return -done.fun


@pytest.mark.parametrize("weighted", [False, True])
def test_bounds_come_near_the_program_over_all_cliques(weighted):
    "Never below it, at no step; and the rows of few cliques are enough"
    for seed in range(4):
        question = drawn(45, 0.15 + 0.05 * seed, seed, weighted)
        least, best = relaxed(question), most(question)
        prices = _Prices(question, greedy(question), priced_cliques(question))
        assert prices.bound == weight_bound(question)
        for _ in range(40):
            prices.go_on(np.inf, steps=50)
            prices.look_for_cliques(np.inf)
            assert prices.bound >= least - 1e-6 >= best - 1e-3
            rows = prices.rows.toarray() > 0
            for row in rows[:: len(rows) // 5]:
                clique = np.flatnonzero(row)
                assert question.conflict[np.ix_(clique, clique)].sum() == len(clique) ** 2 - len(
                    clique
                )
        # cliques whose shares add up to 1.02 are not looked for
        assert prices.bound <= 1.02 * least


@pytest.mark.parametrize("weighted", [False, True])
def test_what_is_found_is_lawful_and_the_bound_is_right(weighted):
    for seed in range(12):
        question = drawn(50, 0.04 + 0.02 * seed, seed, weighted)
        found, best = by_prices(question, rng(seed)), most(question)
        assert not question.conflict[np.ix_(found.chosen, found.chosen)].any()
        assert found.value == question.objectives[0, found.chosen].sum()
        assert found.value <= best <= found.bound
        assert found.settled == (found.value == found.bound)


def test_out_of_time_anywhere(monkeypatch):
    "Each phase stops at the clock; the set is maximal and the bound is right"
    question = drawn(50, 0.1, 1)
    best, least, clock = most(question), len(greedy(question)), Clock(monkeypatch)
    for seconds in (1, 2, 3, 5, 10, 30, 100, 300, 1000):
        clock.now = 1
        found = by_prices(question, rng(0), 1 + seconds)
        assert clock.now <= 1 + seconds + 12, "looks at the clock after the end"
        assert least <= found.value <= best <= found.bound
        free = ~question.conflict[found.chosen].any(axis=0)
        assert np.flatnonzero(free).tolist() == found.chosen.tolist(), "maximal"


def rings(n, size=5):
    "Rings that share nothing: a clique holds two classes, so prices allow half of each class"
    graph = nx.disjoint_union_all([nx.cycle_graph(size)] * n)
    return ask(nx.to_numpy_array(graph) > 0).coarse


def test_shares_that_say_nothing():
    "Half of each class of many rings: the rules decide after the first few"
    question = rings(20)
    prices = _Prices(question, greedy(question), priced_cliques(question))
    for _ in range(20):
        prices.go_on(np.inf)
        prices.look_for_cliques(np.inf)
    assert 50 <= prices.bound < 50.1 and len(_guided(question, prices.shares)) == 40
    found = by_prices(question, rng(0))
    assert (found.value, found.bound, found.settled) == (40, 50, False)


def test_thousands_of_classes(monkeypatch):
    "Much of the gap is closed, and no linear program is solved"
    draw, m = rng(0), 1200
    images = 1 / np.arange(1, m + 1) ** 0.7
    near = np.outer(images, images) * draw.exponential(size=(m, m))
    upper = np.triu(near > np.quantile(near, 0.97), 1)
    topic = draw.integers(0, 150, m)
    upper |= np.triu((topic[:, None] == topic) & (draw.random((m, m)) < 0.7), 1)
    question = ask(upper | upper.T).coarse
    monkeypatch.setattr(independent_sets, "linprog", None)
    found = by_prices(question, rng(0))
    before = weight_bound(question) - len(greedy(question))
    assert found.bound - found.value < before / 4


@pytest.mark.parametrize("density", [0.7, 0.9])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_conflicts_are_for_branching_alone(monkeypatch, density, weighted):
    "`auto` settles them without linear programs, with the branches that the bit sets alone have"
    m, draw = 250, rng(3)
    conflict = nx.to_numpy_array(nx.gnp_random_graph(m, density, seed=1)) > 0
    weights = draw.integers(1, 100, m) if weighted else None
    question, looks = ask(conflict, weights), {}
    monkeypatch.setattr(independent_sets, "_ALONE", np.inf)  # however slow the machine is
    monkeypatch.setattr(independent_sets, "by_programs", None)
    branches = independent_sets._branches
    for solver in ("auto", "bitsets"):
        count = looks[solver] = []
        many = lambda *how, count=count, **more: count.append(1) or branches(*how, **more)
        monkeypatch.setattr(independent_sets, "_branches", many)
        found = solve(question, rng(0), solver=solver)
        assert found.settled
    assert len(looks["auto"]) <= 1.2 * len(looks["bitsets"]) + 100
    graph = nx.complement(nx.from_numpy_array(conflict))
    nx.set_node_attributes(graph, dict(enumerate(question.objectives[0].tolist())), "worth")
    assert found.value == nx.max_weight_clique(graph, "worth")[1]


def test_large_questions_end_anywhere(monkeypatch):
    "Above the size that branching is asked for: the first objective, then the others, or a walk"
    monkeypatch.setattr(independent_sets, "_MANY", 10)
    for seed in range(3):
        conflict = drawn(40, 0.12, seed).conflict
        question = ask(conflict, ties=rng(seed).integers(0, 5, 40))
        best = solve(question, rng(0), solver="bitsets")
        assert solve(question, rng(0)).chosen.tolist() == best.chosen.tolist()
        with monkeypatch.context() as patch:
            clock = Clock(patch)
            for seconds in (1, 5, 20, 60, 150, 400, 1000, 3000):
                clock.now = 1
                found = solve(question, rng(1), seconds)
                assert found.value <= best.value <= found.bound
                free = ~conflict[found.chosen].any(axis=0)
                assert np.flatnonzero(free).tolist() == found.chosen.tolist(), "maximal"
                if found.settled:
                    assert found.chosen.tolist() == best.chosen.tolist()


def exact_bound(worth, rows, most, prices):
    "The same bound with fractions, number by number"
    total = sum((Fraction(p) * int(b) for p, b in zip(prices, most)), Fraction(0))
    for j, w in enumerate(worth.tolist()):
        paid = sum((Fraction(p) * int(row[j]) for p, row in zip(prices, rows)), Fraction(0))
        total += max(w - paid, Fraction(0))
    return total


@pytest.mark.parametrize("largest", [1, 40, 10**6, 10**12, 2**53 // 7])
def test_bounds_are_exact_whatever_the_weights_add_up_to(largest):
    "Never below the maximum, and as low as fractions say but for the rounding of the prices"
    for seed in range(6):
        draw, m = rng(seed), 7
        conflict = nx.to_numpy_array(nx.gnp_random_graph(m, 0.4, seed=seed)) > 0
        question = ask(conflict, draw.integers(0, largest, m, endpoint=True)).coarse
        worth, cliques = question.objectives[0], list(nx.find_cliques(nx.Graph(conflict)))
        rows = np.array([np.isin(np.arange(m), clique) for clique in cliques]).astype(float)
        prices, ones = draw.random(len(rows)) * largest, np.ones(len(rows))
        found = proven(worth, sparse.csr_array(rows), ones, prices)
        assert abs(found - exact_bound(worth, rows, ones, prices)) <= 4 * m * max(
            largest / 2**50, 1e-9
        )
        best = max(sum(worth[list(s)].tolist()) for s in sets_without(conflict))
        assert found >= best and weight_bound(question) >= best
        for solver in SOLVERS:
            answer = solve(question, rng(0), solver=solver)
            assert answer.value <= best <= answer.bound
            assert solver == "highs" or answer.value == best == answer.bound


def sets_without(conflict):
    "Every set without a conflict"
    sets = [()]
    for i in range(len(conflict)):
        sets += [(*s, i) for s in sets if not any(conflict[i, j] for j in s)]
    return sets


def test_a_bound_just_below_a_whole_number_is_rounded_as_it_is():
    "Prices that fall short by far less than a millionth of the sum, and weights that are too large"
    worth = np.array([2**52 - 1, 1])
    rows, ones = sparse.csr_array(np.eye(2)), np.ones(2)
    assert proven(worth, rows, ones, np.array([0.0, 0.0])) == 2**52
    assert floor(proven(worth, rows, ones, np.array([2.0**51, 0.75]))) == 2**52
    with pytest.raises(UserError, match="add up to more than"):
        ask(np.zeros((2, 2), bool), [2**53, 1])
    assert solve(ask(np.zeros((2, 2), bool), [2**53 - 1, 1]), rng(0)).bound == 2**53


@pytest.mark.parametrize("limit", [None, 3])
def test_a_walk_counts_what_it_has(limit):
    "After each move: a maximal lawful set, and the totals that counting anew gives"
    for seed in range(4):
        conflict, draw = drawn(25, 0.2, seed).conflict, rng(seed)
        weights = draw.integers(0, 9, 25) * 2**45 if seed % 2 else None
        question = ask(conflict, weights, ties=draw.integers(0, 9, 25), max_classes=limit)
        walker = independent_sets._Walker(question, greedy(question))
        for _ in range(60):
            walker.move(draw)
            chosen = np.flatnonzero(walker.inside).tolist()
            assert not conflict[np.ix_(chosen, chosen)].any() and walker.size == len(chosen)
            assert walker.first == sum(question.objectives[0, chosen].tolist())
            assert walker.total == sum(walker.worth[chosen].tolist())
            assert walker.against.tolist() == [
                sum(walker.worth[j] for j in chosen if conflict[i, j]) for i in range(25)
            ]
            assert len(chosen) <= (limit or 25)
            assert not len(walker.better(np.arange(25))), "one more would be better"
