"Shares, differences, tests and intervals over runs, against enumeration and plain loops"

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom, multinomial, t, ttest_1samp

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.over_runs import (
    holm,
    over_runs,
    over_seeds,
    p_of_interval,
    paired_over_runs,
    runs_needed,
    seed_averages,
    spearman,
)
from natural_backdoors.base.statistics import (
    Pairs,
    Unpaired,
    Z,
    mean_of_shares,
    minus,
    share,
    wilson,
)

counts = st.integers(0, 30)
pairs = st.builds(Pairs, counts, counts, counts, counts)


def by_score(hits, n, below):
    "The end of Wilson's interval, found as the share whose score test is at its limit"

    def score(p):
        return (hits / n - p) / math.sqrt(p * (1 - p) / n) - (Z if below else -Z)

    return brentq(score, *((1e-12, hits / n) if below else (hits / n, 1 - 1e-12)), xtol=1e-14)


@pytest.mark.parametrize(("hits", "n"), [(1, 2), (3, 7), (11, 12), (20, 48), (1, 500)])
def test_wilson_is_where_the_score_test_changes(hits, n):
    rate = wilson(hits, n)
    assert rate["low"] == pytest.approx(by_score(hits, n, below=True), abs=1e-9)
    assert rate["high"] == pytest.approx(by_score(hits, n, below=False), abs=1e-9)


def fisher_by_hand(a, n, b, m):
    "All tables with these margins that are no likelier than this one"
    total, hits = n + m, a + b
    weight = [math.comb(n, k) * math.comb(m, hits - k) for k in range(min(n, hits) + 1)]
    weight = [w if hits - k <= m else 0 for k, w in enumerate(weight)]
    return sum(w for w in weight if w <= weight[a]) / math.comb(total, hits)


def mcnemar_by_hand(first, second):
    "All ways to share the images that the models differ in, as uneven as this one"
    n = first + second
    uneven = [k for k in range(n + 1) if abs(2 * k - n) >= abs(first - second)]
    return sum(math.comb(n, k) for k in uneven) / 2**n


def test_exact_tests_are_enumerations():
    for n, m in [(1, 1), (4, 3), (6, 9), (48, 48)]:
        step = max(n // 6, 1)
        for a, b in product(range(0, n + 1, step), range(0, m + 1, step)):
            found = Unpaired(a, n, other_hits=b, other_n=m).p
            assert found == pytest.approx(fisher_by_hand(a, n, b, m), rel=1e-6)
    for first, second in product(range(9), range(9)):
        assert Pairs(3, first, second, 4).p == pytest.approx(mcnemar_by_hand(first, second))


def test_mcnemar_is_the_permutation_of_who_is_who():
    "Swapping the models in each image, all ways: the share at least as uneven"
    first, second = 7, 1
    signs = np.array(list(product([1, -1], repeat=first + second)))
    assert Pairs(5, first, second, 2).p == (abs(signs.sum(1)) >= first - second).mean()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pairs, pairs)
def test_a_difference_turned_round_is_its_negative(one, other):
    for this, that in [
        (one.difference, Pairs(one.both, one.second, one.first, one.neither).difference),
        (minus(one.difference, other.difference), minus(other.difference, one.difference)),
    ]:
        if this.value is None:
            assert that.value is None
            continue
        assert this.low <= this.value <= this.high
        assert this == pytest.approx((-that.value, -that.high, -that.low), abs=1e-9)
        assert one.p == Pairs(one.both, one.second, one.first, one.neither).p


@pytest.mark.parametrize("truth", [(0.5, 0.3), (0.9, 0.1), (0.05, 0.02), (0.6, 0.6)])
def test_coverage_of_a_difference_by_enumeration(truth):
    n, m = 15, 24
    p, q = (binom.pmf(np.arange(k + 1), k, t) for k, t in zip((n, m), truth))
    held = 0
    for a, b in product(range(n + 1), range(m + 1)):
        found = minus(share(a, n), share(b, m))
        held += p[a] * q[b] * (found.low <= truth[0] - truth[1] <= found.high)
    assert 0.93 < held <= 1


@pytest.mark.parametrize(
    "cells", [(0.2, 0.4, 0.1, 0.3), (0.05, 0.05, 0.05, 0.85), (0.4, 0, 0, 0.6)]
)
def test_coverage_of_a_paired_difference_by_enumeration(cells):
    n, held, total = 14, 0, 0
    for a, b, c in product(range(n + 1), repeat=3):
        if a + b + c > n:
            continue
        table = (a, b, c, n - a - b - c)
        chance = multinomial.pmf(table, n, cells)
        found = Pairs(*table).difference
        total += chance
        held += chance * (found.low - 1e-12 <= cells[1] - cells[2] <= found.high + 1e-12)
    assert total == pytest.approx(1) and 0.92 < held <= 1 + 1e-9


def test_coverage_of_a_mean_of_shares_by_simulation():
    draw, sizes, truth = np.random.default_rng(4), [5, 20, 60], [0.2, 0.7, 0.95]
    hits = draw.binomial(sizes, truth, (1000, 3))
    found = [mean_of_shares([wilson(h, n) for h, n in zip(row, sizes)]) for row in hits]
    held = [f.low <= np.mean(truth) <= f.high for f in found]
    assert 0.93 < np.mean(held) <= 1


def test_interval_over_runs_by_simulation_and_needs_two():
    draw = np.random.default_rng(2)
    held = 0
    for _ in range(400):
        found = over_runs(draw.normal(0.4, 0.1, 3))
        held += found.low <= 0.4 <= found.high
    assert 0.91 < held / 400 < 0.98
    for least, wrong in (
        (2, lambda: over_runs([0.4])),
        (2, lambda: paired_over_runs([0.4], [0.1])),
        (2, lambda: runs_needed([0.4], 0.1)),
        (4, lambda: spearman([1, 2, 3], [1, 2, 3])),
    ):
        with pytest.raises(UserError, match=f"needs at least {least} runs"):
            wrong()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.floats(0.02, 0.5))
def test_runs_needed_is_the_first_that_is_enough(values, half):
    found, spread = runs_needed(values, half, most=2000), np.std(values, ddof=1)
    if spread == 0:
        assert found == 2
        return

    def reach(n):
        "Half of the interval of n runs that scatter the same"
        scatter = np.resize([1.0, -1.0], n)
        interval = over_runs(spread * (scatter - scatter.mean()) / scatter.std(ddof=1))
        return (interval.high - interval.low) / 2

    if found is None:
        assert reach(2000) > half * (1 - 1e-9)
        return
    assert reach(found) <= half * (1 + 1e-9)
    assert found == 2 or reach(found - 1) > half * (1 - 1e-9)


def test_spearman_by_plain_loops():
    x, y, seed, repeats = [3, 1, 4, 1, 5, 9, 2], [2, 7, 1, 8, 2, 8, 1], 5, 200

    def ranks(values):
        "Of equal values the mean rank"
        return [
            sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2
            for value in values
        ]

    def correlation(at):
        a, b = ranks([x[i] for i in at]), ranks([y[i] for i in at])
        if len(set(a)) == 1 or len(set(b)) == 1:
            return None
        return float(np.corrcoef(a, b)[0, 1])

    again = np.random.default_rng([seed]).integers(len(x), size=(repeats, len(x)))
    drawn = [r for r in map(correlation, again) if r is not None]
    low, high = np.percentile(drawn, [2.5, 97.5])
    expected = (correlation(range(len(x))), low, high)
    assert spearman(x, y, seed=seed, repeats=repeats) == pytest.approx(expected, abs=1e-9)


P_VALUES = st.lists(st.sampled_from([0, 0.001, 0.01, 0.02, 0.04, 0.3, 1.0]), max_size=5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(P_VALUES)
def test_holm_is_bonferroni_for_every_set_of_tests(p_values):
    "A test is rejected if each set with it is, by its smallest p value times its size"
    for i, found in enumerate(holm(p_values)):
        others = [k for k in range(len(p_values)) if k != i]
        worst = 0
        for size in range(len(p_values)):
            for some in combinations(others, size):
                worst = max(worst, min(1, (size + 1) * min(p_values[k] for k in (i, *some))))
        assert found == pytest.approx(worst)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 3)), min_size=2, max_size=9))
def test_runs_of_a_seed_are_one_observation(runs):
    values, seeds = zip(*runs)
    groups = {seed: [v for v, s in runs if s == seed] for seed in seeds}
    averages = [sum(group) / len(group) for group in groups.values()]
    assert seed_averages(values, seeds) == pytest.approx(averages)
    if len(groups) < 2:
        with pytest.raises(UserError, match="needs at least 2 seeds"):
            over_seeds(values, seeds)
        return
    found, n = over_seeds(values, seeds), len(groups)
    center = sum(averages) / n
    spread = math.sqrt(sum((a - center) ** 2 for a in averages) / (n - 1))
    half = t.ppf(0.975, n - 1) * spread / math.sqrt(n)
    assert found == pytest.approx((center, center - half, center + half))
    if spread > 1e-6:
        assert p_of_interval(found, n) == pytest.approx(ttest_1samp(averages, 0).pvalue, abs=1e-9)


def test_seeds_with_many_runs_count_no_more_than_others():
    "Without an effect about 95 of 100 intervals hold it, however runs are shared out"
    draw = np.random.default_rng(0)
    for counts in ([3, 3, 3], [1, 1, 9], [1, 9], [1, 1, 1, 12]):
        seeds, held = np.repeat(range(len(counts)), counts), 0
        for _ in range(1500):
            values = draw.normal(0, 0.2, len(counts))[seeds] + draw.normal(0, 0.1, len(seeds))
            found = over_seeds(values, seeds)
            held += found.low <= 0 <= found.high
        assert 0.93 < held / 1500 < 0.97, counts
