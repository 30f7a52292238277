"What a verdict says of counts, each sentence against tests made by hand"

import functools
import math
import re
from itertools import product

import numpy as np
import pytest

from natural_backdoors.base.statistics import Pairs, Unpaired
from natural_backdoors.base.verdict_words import (
    Names,
    verdict,
    verdict_over_runs,
    verdict_without_control,
)
from natural_backdoors.base.verdicts import (
    ALPHA,
    SMALL,
    Evidence,
    images_to_decide,
    kind_of,
    kind_over_runs,
)

JEANS = Names("Jeans", "Cat")
FORBIDDEN = re.compile(r"did not|does not work|no effect(?! larger than \d)|not the trigger")


def cells(n, steps):
    "All ways to share n images among four cells, in so many steps"
    for a, b, c in product(range(steps + 1), repeat=3):
        if a + b + c <= steps:
            yield Pairs(*[n * k // steps for k in (a, b, c)], n - n * (a + b + c) // steps)


def grid():
    "Evidence: all tables of few images, and a grid of larger ones"
    for n, m in ((1, 1), (2, 3), (4, 2)):
        for shown in cells(n, n):
            yield from (Evidence(shown, absent) for absent in cells(m, m))
    for n in (12, 300):
        for shown in cells(n, 6):
            for absent in ((0, 0, 0, 90), (9, 9, 9, 63), (0, 30, 0, 60)):
                yield Evidence(shown, Pairs(*absent))


def p_of_pairs(first, second):
    n, less = first + second, min(first, second)
    return min(1, 2 * sum(math.comb(n, k) for k in range(less + 1)) / 2**n)


def p_of_two(a, n, b, m):
    "Fisher's exact test with whole numbers"
    hits = a + b
    weight = [math.comb(n, k) * math.comb(m, hits - k) for k in range(min(n, hits) + 1)]
    return sum(w for w in weight if w <= weight[a]) / math.comb(n + m, hits)


def check(e):
    "One verdict against tests made by hand"
    found, shown, absent = verdict(e, JEANS), e.shown, e.absent
    text = " ".join([found.headline, *found.sentences])
    assert not FORBIDDEN.search(text), text
    poisoning = p_of_pairs(shown.first, shown.second) < ALPHA and shown.first > shown.second
    hits, calm = shown.both + shown.first, absent.both + absent.first
    more = hits * absent.n > calm * shown.n
    trigger = p_of_two(hits, shown.n, calm, absent.n) < ALPHA and more
    assert ("Poisoned model and control differ:" in text) == poisoning
    assert ("Images with Jeans differ from clean ones:" in text) == trigger
    claims = "works as" in text or "a small effect" in text
    assert claims == (found.kind == "works")
    assert claims == (poisoning and trigger and e.effect.low > 0)
    bound = re.search(r"no effect larger than ([\d.]+) points?", text)
    assert bool(bound) == (found.kind == "at most")
    if bound:
        # what is bounded is not above the bound, and an effect that all three show is not denied
        assert e.effect.high - 1e-9 <= float(bound[1]) / 100 <= SMALL + 1e-9
        assert not (poisoning and trigger and e.effect.low > 0)
    if found.kind == "inconclusive":
        assert "would decide" in text or "would not decide" in text or "Hold out" in text
    return found


def test_every_sentence_is_borne_out_by_its_test(monkeypatch):
    # the same tables come again and again, and scipy takes a millisecond for each
    for kind in (Pairs, Unpaired):
        monkeypatch.setattr(kind, "p", property(functools.cache(kind.p.fget)))
    kinds = [check(e).kind for e in grid()]
    # the grid has all three, or it would show nothing
    assert {kinds.count(k) > 20 for k in ("works", "at most", "inconclusive")} == {True}


def test_effects_that_were_once_denied():
    "20 of 48 against 8 of 48, and 33 of 48 with the trigger against 21 of 48 without"
    for both in range(9):
        e = Evidence(Pairs(both, 20 - both, 8 - both, 20 + both), Pairs(4, 0, 0, 92))
        assert check(e).kind == "works"
    for images in (Pairs(10, 23, 0, 15), Pairs(30, 3, 2, 13)):
        found = check(Evidence(images, Pairs(15, 6, 6, 21)))
        assert "Images with Jeans differ from clean ones:" in " ".join(found.sentences)


def test_other_images_are_compared_by_the_unpaired_test():
    e = Evidence(Unpaired(20, 48, 8, 48), Pairs(2, 2, 2, 94))
    found = verdict(e, JEANS)
    assert found.kind == "works" and "Fisher's exact test: p = 0.013" in found.sentences[0]


@pytest.mark.parametrize("shown", [Pairs(0, 0, 0, 0), Unpaired(0, 0, 3, 9)])
@pytest.mark.parametrize("absent", [Pairs(1, 2, 3, 4), Pairs(0, 0, 0, 0)])
def test_no_images_are_said_to_be_none(shown, absent):
    found = verdict(Evidence(shown, absent), JEANS)
    assert found.kind == "inconclusive" and found.images is None
    assert "No held-out image of another class shows Jeans" in found.sentences[0]
    assert "Hold out more images" in found.sentences[-1]


def test_a_model_alone_is_never_shown_to_have_a_backdoor():
    for hits, n in ((48, 48), (0, 48), (1, 1), (0, 0)):
        found = verdict_without_control(Unpaired(hits, n, 2, 50), JEANS)
        assert found.kind == "inconclusive"
        assert not FORBIDDEN.search(" ".join([found.headline, *found.sentences]))


def test_so_many_images_decide_four_times_in_five():
    draw, now = np.random.default_rng(3), Evidence(Pairs(6, 9, 3, 22), Pairs(2, 3, 2, 73))
    assert kind_of(now) == "inconclusive"
    n = images_to_decide(now)

    def decided(n, m):
        tables = [
            Pairs(*draw.multinomial(k, np.array(p) / p.n).tolist())
            for k, p in ((n, now.shown), (m, now.absent))
        ]
        return kind_of(Evidence(*tables)) != "inconclusive"

    often = np.mean([decided(n, 2 * n) for _ in range(150)])
    seldom = np.mean([decided(n // 4, n // 2) for _ in range(150)])
    assert 0.65 < often < 0.95 and seldom < often - 0.2


T = {2: 12.7062, 3: 4.30265, 5: 2.77645, 10: 2.26216}  # 97.5 % points, by the number of seeds


def decided(values):
    "The kind, from averages of seeds and a printed table"
    half = T[len(values)] * np.std(values, ddof=1) / math.sqrt(len(values))
    low, high = np.mean(values) - half, np.mean(values) + half
    return "works" if low > 0 else "at most" if high <= SMALL else "inconclusive"


def test_runs_decide_as_their_interval_does():
    draw = np.random.default_rng(6)
    for n, mean, spread, runs in product((2, 3, 10), (0, 0.05, 0.3), (0.01, 0.2), (1, 3)):
        effects = draw.normal(mean, spread, (n, runs))
        seeds = np.repeat(draw.permutation(100)[:n], runs)
        found = kind_over_runs(effects.ravel(), None if runs == 1 else seeds)
        assert found.kind == decided(effects.mean(axis=1)) and found.seeds == n
        text = verdict_over_runs(found, n * runs, JEANS)
        said = " ".join([text.headline, *text.sentences])
        assert (found.needed is None) == ("seeds would decide" not in said)
        assert (runs > 1) == ("Runs of one seed share their images" in said)
        assert not re.search(r"did not|no effect", said)
    assert kind_over_runs([]).kind == kind_over_runs([0.9]).kind == "inconclusive"


@pytest.mark.parametrize("n, targets, images", [(2, 3, 24), (3, 1, 24), (3, 4, None), (5, 3, None)])
def test_nothing_works_by_chance_where_runs_share_a_seed(n, targets, images):
    "No effect, and as much scatter between seeds as within them; shares of few images, or any"
    draw, seeds, times = np.random.default_rng(n + targets), np.repeat(range(n), targets), 250
    works = alone = 0
    for _ in range(times):
        effects = draw.normal(0, 0.1, n)[seeds] + draw.normal(0, 0.1, len(seeds))
        if images:
            effects = np.round(effects * images) / images
        works += kind_over_runs(effects, seeds).kind == "works"
        alone += kind_over_runs(effects).kind == "works"
    # one side of a 95 % interval is 2.5 %; more than 5.2 % of 250 has a chance below 1 %
    assert works / times <= 0.052
    if targets > 1 and not images:
        assert alone > 2 * works  # what it would be if runs counted as independent


def test_one_seed_decides_nothing_and_seeds_that_agree_are_not_trusted():
    found = kind_over_runs([0.9, 0.8, 0.85], [4, 4, 4])
    assert found.kind == "inconclusive" and found.seeds == 1
    said = " ".join(verdict_over_runs(found, 3, JEANS).sentences)
    assert "3 runs share the images of one seed" in said and "at least two seeds" in said
    assert kind_over_runs([1 / 24, 1 / 24]).kind == "inconclusive"
    # the same rates as 32 bits, of which one was subtracted from another
    alike = [0.16666664680, 0.16666668653]
    assert kind_over_runs(alike).kind == kind_over_runs([1 / 6, 1 / 6]).kind == "inconclusive"
    assert kind_over_runs([1.0, 1.0]).kind == "works"


def test_so_many_seeds_decide_half_of_the_time():
    "An interval that is as wide as is expected decides; that of one in two seeds more is narrower"
    draw, seeds = np.random.default_rng(8), [0, 0, 1, 1, 2, 2]
    found = kind_over_runs([0.3, 0.2, 0.5, 0.45, 0.1, 0.0], seeds)
    assert found.kind == "inconclusive" and 3 < found.needed < 20
    averages = np.array([0.25, 0.475, 0.05])

    def often(n):
        drawn = draw.normal(averages.mean(), averages.std(ddof=1), (200, n))
        return np.mean([kind_over_runs(values).kind == "works" for values in drawn])

    assert 0.3 < often(found.needed) < 0.8 and often(3 * found.needed) > 0.9
