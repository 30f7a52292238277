"Questions made smaller: against every set there is, stopped anywhere, and on several processes"

import subprocess
import sys
from itertools import combinations
from types import SimpleNamespace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natural_backdoors.base.random import rng
from natural_backdoors.sets import independent_sets, questions
from natural_backdoors.sets.class_sets import maximum_set
from natural_backdoors.sets.questions import Question, Shrinking, ask


def sets_of(conflict):
    "Every set without a conflict, by plain loops"
    m, found = len(conflict), [()]
    for i in range(m):
        found += [s + (i,) for s in found if not any(conflict[i, j] for j in s)]
    return found


def worth(question, chosen):
    "What decides, one after the other"
    totals = [int(sum(row[i] for i in chosen)) for row in question.objectives.tolist()]
    positions = [i in chosen for i in range(len(question.conflict))]
    return totals + positions if question.by_position else totals


@st.composite
def asked(draw):
    "Sparse ones, in which every rule applies, and some that are not"
    m, seed = draw(st.integers(0, 11)), draw(st.integers(0, 10**6))
    density = draw(st.sampled_from([0.1, 0.2, 0.3, 0.6]))
    conflict = nx.to_numpy_array(nx.gnp_random_graph(m, density, seed=seed)) > 0
    conflict, random = conflict.reshape(m, m), rng(seed)
    weights = random.integers(0, 5, m) if draw(st.booleans()) else None
    ties = random.integers(0, 5, m) if draw(st.booleans()) else None
    return ask(conflict, weights, ties)


class Steps:
    "A clock by which time is over after some looks at it"

    def __init__(self, steps):
        self.left = steps

    def monotonic(self):
        self.left -= 1
        return 0 if self.left >= 0 else 2


@settings(max_examples=120, deadline=None)
@given(asked(), st.integers(0, 25), st.booleans())
def test_the_best_of_the_rest_is_the_best_of_all(question, steps, coarse):
    "Wherever it is stopped; for the whole question, and for the first objective alone"
    question = question.coarse if coarse else question
    best = max(sets_of(question.conflict), key=lambda chosen: worth(question, chosen))
    shrinking = Shrinking(question)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(questions, "time", Steps(steps))
        shrinking.go_on(1)
    ids, rest = shrinking.remains()
    of_rest = max(sets_of(rest.conflict), key=lambda chosen: worth(rest, chosen))
    back = shrinking.way_back(ids[list(of_rest)])
    assert not any(question.conflict[i, j] for i, j in combinations(back, 2))
    assert worth(question, back) == worth(question, best)
    first = sum(rest.objectives[0, i] for i in of_rest) + shrinking.first_gained
    assert first == worth(question, best)[0]
    # every other set of the rest stands for a set that is worth at least as much
    for chosen in sets_of(rest.conflict)[:40]:
        back = shrinking.way_back(ids[list(chosen)])
        assert not any(question.conflict[i, j] for i, j in combinations(back, 2))
        at_least = sum(rest.objectives[0, i] for i in chosen) + shrinking.first_gained
        assert worth(question, back)[0] >= at_least


def test_every_rule_is_used():
    "Chains, rings, groups and random conflicts need all of them"
    used = dict.fromkeys(questions._RULES, 0)
    for seed in range(40):
        conflict = nx.to_numpy_array(nx.gnp_random_graph(30, 0.1, seed=seed)) > 0
        question = ask(conflict, ties=rng(seed).integers(0, 9, 30))
        shrinking = Shrinking(question)
        while shrinking.again:
            v = shrinking.again.bit_length() - 1
            shrinking.again ^= 1 << v
            if shrinking.left >> v & 1:
                near = shrinking.near(v)
                for rule in questions._RULES:
                    if rule(shrinking, v, near):
                        used[rule] += 1
                        break
    assert all(used.values()), used


def test_totals_with_less_than_nothing_in_a_field():
    "Values compare as the objectives one after the other, below zero or not"
    random = rng(0)
    for _ in range(50):
        rows = random.integers(-5, 6, (3, 6))
        rows[0] = abs(rows[0])
        question = Question(np.zeros((6, 6), bool), rows, by_position=False)
        sets = [np.flatnonzero(random.random(6) < 0.5) for _ in range(6)]
        totals = [sum(question.values[i] for i in chosen) for chosen in sets]
        plain = [rows[:, chosen].sum(axis=1).tolist() for chosen in sets]
        assert np.argsort(totals, kind="stable").tolist() == sorted(range(6), key=plain.__getitem__)
        assert [question.first_of(total) for total in totals] == [first for first, *_ in plain]


def common(m, seed, weights=False):
    "Conflicts as a large dataset has them: common objects conflict with many, rare ones with few"
    draw, images = rng(seed), 1 / np.arange(1, m + 1)
    share = np.outer(images, images) * draw.exponential(size=(m, m))
    upper = np.triu(share > 0.8 / m, 1)
    shared = np.rint(900 * m * images * draw.random(m)).astype(int)
    return upper | upper.T, shared


@pytest.mark.parametrize("weighted", [False, True])
def test_1200_classes_are_settled_without_branching(monkeypatch, weighted):
    "The same set as by linear programs, which are not asked"
    conflict, shared = common(1200, seed=1)
    weights = shared if weighted else None
    with monkeypatch.context() as patch:
        patch.setattr(independent_sets, "linprog", None)
        patch.setattr(independent_sets, "milp", None)
        found = maximum_set(conflict, rng(0), weights=weights, ties=shared, time_limit=None)
    assert found.settled and found.gap == 0
    other = maximum_set(
        conflict, rng(0), weights=weights, ties=shared, time_limit=None, solver="highs"
    )
    assert other.settled and found.chosen.tolist() == other.chosen.tolist()


PROGRAM = """
import numpy as np, pandas as pd
from natural_backdoors import TableDataset
from natural_backdoors.sets import search
from natural_backdoors.sets.triggers import search_triggers
draw = np.random.default_rng(0)
label = np.minimum(draw.pareto(1, 6000) * 5, 59).astype(int)
rows = pd.DataFrame({"image": draw.integers(0, 1500, 6000).astype(str), "label": label.astype(str)})
data = TableDataset(rows)
alone = search_triggers(data, min_overlaps=2)
search._ALONE = -1
search._n_workers = lambda graph, rest: min(len(rest), 2)
begun, search_in = [], search._in_processes
search._in_processes = lambda *how, **more: begun.append(1) or search_in(*how, **more)
spread = search_triggers(data, min_overlaps=2)
assert begun and alone.table.equals(spread.table) and len(alone.table) > 10
assert all(alone.sets[t].equals(spread.sets[t]) for t in alone.sets)
search._in_processes = lambda *how, **more: iter(list(search_in(*how, **more))[:3])
assert search_triggers(data, min_overlaps=2).table.equals(alone.table)
print("the same", len(alone.table))
"""


def test_processes_find_the_same(tmp_path):
    "Called from a program without a main guard; and with processes that end too early"
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "the same" in done.stdout, done.stderr


def test_few_workers_where_memory_is_short(monkeypatch):
    from natural_backdoors.sets import search

    graph = SimpleNamespace(neighbors=lambda trigger: range(20_000))
    monkeypatch.setattr("joblib.cpu_count", lambda: 16)
    assert search._n_workers(graph, [1]) == 1
    if hasattr(search.os, "sysconf"):
        monkeypatch.setattr(search.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 1}.get(name, 12e9))
        assert search._n_workers(graph, list(range(50))) == 2
        monkeypatch.setattr(search.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 1}.get(name, 1e9))
        assert search._n_workers(graph, list(range(50))) == 1
        monkeypatch.setattr(search.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 1}.get(name, 1e12))
        assert search._n_workers(graph, list(range(50))) == search._PROCESSES
