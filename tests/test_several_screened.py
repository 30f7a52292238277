"A screening of many triggers says how many effects are left when they count as tests made together"

import numpy as np
import pytest

pytest.importorskip("scipy")
from scipy.stats import ttest_1samp

from natural_backdoors.base.over_runs import holm, over_runs
from natural_backdoors.base.random import rng
from natural_backdoors.base.verdict_words import among_several
from natural_backdoors.report.screen_page import _several


def tries(n, n_seeds, seed, effects=()):
    draw = rng(seed)
    return [draw.normal(e, 0.1, n_seeds) for e in (*effects, *[0.0] * (n - len(effects)))]


@pytest.mark.parametrize("n_seeds", [2, 3, 6])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_holm_over_t_tests(n_seeds, seed):
    values = tries(30, n_seeds, seed, (0.6, 0.5, 0.9, 0.05))
    found = [over_runs(v) for v in values]
    p = holm(ttest_1samp(v, 0).pvalue for v in values)
    above = [one.low > 0 for one in found]
    shown = sum(up and one < 0.05 for up, one in zip(above, p))
    assert f"{shown} of the {sum(above)} above zero" in among_several(found, [n_seeds] * 30)


def test_among_triggers_without_effect_hardly_any_is_shown():
    alone = together = 0
    for seed in range(200):
        found = [over_runs(v) for v in tries(40, 3, seed)]
        said = among_several(found, [3] * 40)
        alone += any(one.low > 0 for one in found)
        together += bool(said) and "(Holm's method), 0 of the" not in said
    assert alone > 100 and together <= 20


def test_on_the_page_of_a_screening():
    pd = pytest.importorskip("pandas")
    rows = [
        (0.8, 0.7, 0.9, 3),
        (0.1, 0.01, 0.19, 3),
        (0.1, np.nan, np.nan, 1),
        (np.nan,) * 2 + (np.nan, 0),
    ]
    said = _several(pd.DataFrame(rows, columns=["effect", "low", "high", "seeds"]))
    # p values of 0.0008 and 0.041
    assert "there are 2." in said and "2 of the 2 above zero are shown" in said
    rows[1] = (0.1, 0.001, 0.199, 3)  # 0.0495; the first, twice 0.0008, comes before it
    rows[0] = (0.1, 0.002, 0.198, 3)
    said = _several(pd.DataFrame(rows, columns=["effect", "low", "high", "seeds"]))
    assert "0 of the 2 above zero are shown" in said
