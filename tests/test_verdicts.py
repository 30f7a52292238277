"What a verdict says of counts, each sentence against tests made by hand"

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


def test_every_sentence_is_borne_out_by_its_test():
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


def test_runs_decide_as_their_interval_does():
    draw = np.random.default_rng(6)
    for n, mean, spread in product((2, 3, 10), (0, 0.05, 0.3), (0.01, 0.2)):
        effects = draw.normal(mean, spread, n)
        found = kind_over_runs(effects)
        half = {2: 12.7062, 3: 4.30265, 10: 2.26216}[n] * effects.std(ddof=1) / math.sqrt(n)
        low, high = effects.mean() - half, effects.mean() + half
        expected = "works" if low > 0 else "at most" if high <= SMALL else "inconclusive"
        assert found.kind == expected
        text = verdict_over_runs(found, n, JEANS)
        said = " ".join([text.headline, *text.sentences])
        assert (found.runs is None) == ("runs would decide" not in said)
        assert not re.search(r"did not|no effect", said)
    assert kind_over_runs([]).kind == kind_over_runs([0.9]).kind == "inconclusive"
