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


def runs_of(effects, n_seeds=6, noise=0.004):
    "Runs of a study over rates of injection, whose trigger adds `effects` to those of the control"
    from natural_backdoors.split.settings import SplitSettings
    from natural_backdoors.train.recipe import Recipe

    draw, rows = rng(0), []
    names = {"trigger_name": "hat", "target_name": "cat", "class_set": "0", "n_classes": 2}
    for i, effect in enumerate(effects):
        for seed in range(n_seeds):
            for control in ("", "true_labels"):
                run = {"trigger": "hat", "classes": ["cat", "dog"], "target": "cat", **names}
                run |= SplitSettings(inject_rate=0.1 + 0.05 * i).to_dict() | Recipe().to_dict()
                run |= {"control": control, "split_seed": seed, "seed": seed, "run": len(rows)}
                run |= {"test_clean_acc": 0.9, "target_without_trigger": 0.1}
                run["test_trig_acc"] = 0.1 + (0 if control else effect) + draw.normal(0, noise)
                rows.append(run)
    return rows


@pytest.mark.parametrize(
    "effects, says",
    [
        ((0.5, 0.4, 0.03), "in 3 of 3 groups of runs, a small one in 1 of them"),
        ((0.5, 0.4, 0.0), "in 2 of 3 groups of runs"),
        ((0.04, 0.05), "in 2 of 2 groups of runs, a small one in 2 of them"),
    ],
)
def test_the_headline_of_a_study_tells_small_effects(effects, says, tmp_path):
    pd = pytest.importorskip("pandas")
    from natural_backdoors.report.study_page import write_study
    from natural_backdoors.train.studies import study

    write_study(study(pd.DataFrame(runs_of(effects)), by="inject_rate"), tmp_path / "study.html")
    page = (tmp_path / "study.html").read_text()
    assert f"An effect of the trigger {says}<" in page
    shown = sum(effect > 0 for effect in effects)
    assert f"{shown} of the {shown} above zero are shown" in " ".join(page.split())
