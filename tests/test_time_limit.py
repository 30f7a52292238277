"A search that runs out of time, wherever it is: with a clock that counts how often it is looked at"

from types import SimpleNamespace

import networkx as nx
import numpy as np
import pytest

from natural_backdoors.base.random import rng
from natural_backdoors.sets import independent_sets, questions
from natural_backdoors.sets.independent_sets import (
    SOLVERS,
    Cover,
    ask,
    clique_cover,
    greedy,
    solve,
    weight_bound,
)
from natural_backdoors.sets.questions import components, undominated


class Clock:
    "A second goes by whenever somebody looks"

    def __init__(self, monkeypatch):
        self.now = 1
        for module in (independent_sets, questions):
            monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=self.look))

    def look(self):
        self.now += 1
        return self.now


def drawn(seed):
    "A question that no phase settles alone: some classes are dominated, several components"
    draw = rng(seed)
    size, density = (24, 0.25) if seed % 2 else (40, 0.12)
    graph = nx.disjoint_union(
        nx.gnp_random_graph(size, density, seed=seed), nx.gnp_random_graph(9, 0.3, seed=seed)
    )
    conflict = nx.to_numpy_array(graph) > 0
    weights = draw.integers(0, 9, len(conflict)) if seed % 3 else None
    ties = draw.integers(0, 5, len(conflict))
    return ask(conflict, weights, ties, max_classes=6 if seed % 5 == 4 else None)


def worth(question, chosen):
    return int(question.objectives[0, np.asarray(chosen, int)].sum())


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("seed", range(5))
def test_out_of_time_anywhere(monkeypatch, seed, solver):
    "The answer is a set to which nothing can be added, and the bound is right"
    question = drawn(seed)
    best, clock = solve(question, rng(0)), Clock(monkeypatch)
    least = worth(question, greedy(question))
    for seconds in (1, 2, 3, 5, 8, 12, 20, 35, 60, 110, 200):
        clock.now = 1
        found = solve(question, rng(1), seconds, solver)
        assert not question.conflict[np.ix_(found.chosen, found.chosen)].any()
        assert worth(question, found.chosen) == found.value <= best.value <= found.bound
        assert found.value >= least, (seconds, found)
        if question.limit is None:
            free = ~question.conflict[found.chosen].any(axis=0)
            assert np.flatnonzero(free).tolist() == found.chosen.tolist(), "maximal"
        else:
            assert len(found.chosen) <= question.limit
        if found.settled:
            assert found.chosen.tolist() == best.chosen.tolist()


def test_no_loop_goes_on_when_the_time_is_over(monkeypatch):
    "Each loop ends when it next looks at the clock: few looks are left, however many classes"
    looks = {}
    for m in (60, 240):
        conflict = nx.to_numpy_array(nx.gnp_random_graph(m, 8 / m, seed=1)) > 0
        question, clock = ask(conflict, ties=np.arange(m)), Clock(monkeypatch)
        for seconds in (1, 5, 25, 125):
            clock.now = 1
            solve(question, rng(0), seconds)
            looks[m, seconds] = clock.now - seconds
    for seconds in (1, 5, 25, 125):
        n_parts = len(components(question, undominated(question)))
        assert looks[240, seconds] <= looks[60, seconds] + 20 + n_parts, looks


def test_phases_stop_and_go_on(monkeypatch):
    "What a phase has done until then counts, and the rest is done later"
    clock = Clock(monkeypatch)
    for seed in range(5):
        question = drawn(seed)
        whole, cover, turns = clique_cover(question), Cover(question), 0
        while not cover.go_on(clock.now + 3):
            turns += 1
            assert cover.cliques == whole[: len(cover.cliques)]
        assert turns > 3 and cover.cliques == whole
        every = set(undominated(question).tolist())
        sizes = []
        for seconds in (1, 4, 16, 64, 10**6):
            left = set(undominated(question, clock.now + seconds).tolist())
            assert every <= left
            sizes.append(len(left))
        assert sizes[-1] == len(every) < sizes[0]
        assert weight_bound(question, clock.now) == np.inf


def test_many_classes_are_for_linear_programs(monkeypatch):
    "Above a size the turns are left out; the answer is that of the turns"
    monkeypatch.setattr(independent_sets, "_DENSE", 0)  # nothing is made smaller before
    for seed in range(4):
        question = drawn(seed)
        expected = solve(question, rng(0))
        with monkeypatch.context() as patch:
            patch.setattr(independent_sets, "_MANY", 0)
            patch.setattr(independent_sets, "_is_dense", lambda question: False)
            by_programs, n_calls = independent_sets.by_programs, []
            count = lambda *how, **more: n_calls.append(1) or by_programs(*how, **more)
            patch.setattr(independent_sets, "by_programs", count)
            found = solve(question, rng(0))
        assert n_calls, "what branching would settle first at this size"
        assert found.settled and found.chosen.tolist() == expected.chosen.tolist()


def test_dense_questions_are_for_branching():
    "As many sets as the definition counts, on average over random conflicts; and who gets them"
    counts, m, density = [], 12, 0.6
    for seed in range(200):
        graph = nx.gnp_random_graph(m, density, seed=seed)
        question = ask(nx.to_numpy_array(graph) > 0)
        sets = nx.find_cliques(nx.complement(graph))
        subsets = {frozenset()}
        for largest in sets:
            for bits in range(1 << len(largest)):
                subsets.add(frozenset(v for k, v in enumerate(largest) if bits >> k & 1))
        counts.append(len(subsets) / independent_sets._n_sets(question))
    assert abs(np.mean(counts) - 1) < 0.1
    for m, density, expected in ((300, 0.9, True), (300, 0.7, True), (300, 0.1, False)):
        question = ask(nx.to_numpy_array(nx.gnp_random_graph(m, density, seed=0)) > 0)
        assert independent_sets._is_dense(question) == expected
