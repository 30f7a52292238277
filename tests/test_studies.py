"""Studies against plain loops: means, intervals and paired differences over runs"""

import math
import statistics
import warnings
from itertools import product

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="sweeps need torch")

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.random import rng
from natural_backdoors.train.grids import RunSettings
from natural_backdoors.train.studies import MEASURES, study, varying, verdicts

# 97.5 % points of Student's t, from a printed table
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 11: 2.201}


def table(rates, seeds, targets, controls, noise):
    rows = []
    for rate, seed, target, control in product(rates, seeds, targets, controls):
        run = RunSettings("hat", ("cat", "dog", "mug"), target, control=control)
        run = run.but(inject_rate=rate, seed=seed, split_seed=seed)
        random = rng(noise, seed, len(control), int(1000 * rate), len(target)).random(3)
        values = dict(zip(list(MEASURES)[:3], random))
        names = {"run": run.hash, "trigger_name": "hat", "target_name": target, "class_set": "0"}
        rows.append(run.flat() | names | values)
    return pd.DataFrame(rows)


GRIDS = st.tuples(
    st.lists(st.sampled_from([0.01, 0.05, 0.1, 0.3]), min_size=1, max_size=3, unique=True),
    st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from(["cat", "dog", "mouse"]), min_size=1, max_size=3, unique=True),
    st.sampled_from([("",), ("", "true_labels"), ("", "patch", "true_labels")]),
    st.integers(0, 10**6),
)


def interval(runs):  # of (seed, value): runs of one seed are one observation
    values, of_seed = [value for _, value in runs], {}
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    for seed, value in runs:
        of_seed.setdefault(seed, []).append(value)
    averages = [statistics.mean(some) for some in of_seed.values()]
    mean, n = statistics.mean(averages), len(averages)
    if n < 2:
        return [mean, spread, math.nan, math.nan]
    half = T[n - 1] * statistics.stdev(averages) / math.sqrt(n)
    return [mean, spread, mean - half, mean + half]


@given(GRIDS, st.data())
@settings(max_examples=12, deadline=None, database=None, derandomize=True)
def test_means_and_differences_are_those_of_plain_loops(grid, data):
    rows = table(*grid).sample(frac=1, random_state=grid[-1] % 1000)
    if len(rows) > 4 and data.draw(st.booleans()):
        rows = rows.iloc[1:]  # a run failed
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = study(rows, over=["seed", "target"], by="inject_rate")
    everything = math.prod(len(values) for values in grid[:4])
    assert len(found.missing) <= everything - len(rows)
    assert bool(said) == bool(len(found.missing))
    for row in found.means.itertuples():
        values = []
        for run in rows.itertuples():
            if run.inject_rate == row.inject_rate and run.control == row.control:
                gain = run.test_trig_acc - run.target_without_trigger
                value = gain if row.measure == "gain" else getattr(run, row.measure)
                values.append((run.seed, value))
        assert row.runs == len(values) and row.seeds == len({seed for seed, _ in values})
        expected = pytest.approx(interval(values), rel=1e-3, abs=1e-3, nan_ok=True)
        assert [row.mean, row.sd, row.low, row.high] == expected
    by_key = {(r.inject_rate, r.seed, r.target, r.control): r for r in rows.itertuples()}
    for row in found.differences[found.differences.measure != "gain"].itertuples():
        gaps = []
        for (rate, seed, target, control), run in by_key.items():
            other = by_key.get((rate, seed, target, row.control))
            if control == "" and rate == row.inject_rate and other:
                gaps.append((seed, getattr(run, row.measure) - getattr(other, row.measure)))
        assert row.runs == len(gaps)
        if gaps:
            expected = pytest.approx(interval(gaps), rel=1e-3, abs=1e-3, nan_ok=True)
            assert [row.mean, row.sd, row.low, row.high] == expected


def test_what_varies_has_to_be_named():
    rows = table([0.1], [1, 2], ["cat", "dog"], ["", "true_labels"], 0)
    assert varying(rows) == ["target", "split_seed", "seed"]
    with pytest.raises(UserError, match="target varies too"):
        study(rows, over="seed")
    # the seed of the split follows from the seed; where it does not, it has to be named
    rows.loc[rows.index[:2], "split_seed"] = 77
    with pytest.raises(UserError, match="split_seed varies too"):
        study(rows, over=["seed", "target"])


def test_one_run_has_no_interval_and_decides_nothing():
    rows = table([0.1], [1], ["cat"], ["", "true_labels"], 0)
    found = study(rows)
    assert found.means[["sd", "low", "high"]].isna().all(axis=None)
    [(_, verdict)] = verdicts(found)
    assert verdict.kind == "inconclusive"
    assert "An interval over runs needs at least two" in verdict.sentences[0]


def test_an_effect_that_is_there_is_found_and_none_is_not_claimed():
    rows = table([0.1], range(6), ["cat"], ["", "true_labels"], 3)
    noise = rng(5).normal(0, 0.02, len(rows))
    for effect, kind in [(0.5, "works"), (0.0, "at most")]:
        poisoned = rows["control"] == ""
        changed = rows.assign(
            target_without_trigger=0.1, test_trig_acc=0.1 + effect * poisoned + noise
        )
        [(_, verdict)] = verdicts(study(changed))
        assert verdict.kind == kind, verdict
    with pytest.raises(UserError, match="no control 'patch'"):
        verdicts(study(rows), control="patch")


def test_runs_on_the_same_images_decide_nothing_about_the_trigger():
    "Targets of one seed, or trainings of one split: one observation each"
    rows = table([0.1], range(4), ["cat", "dog"], ["", "true_labels"], 3)
    rows = rows.assign(target_without_trigger=0.1, test_trig_acc=0.1)
    luck = rows["seed"].map({0: 0.3, 1: 0.28, 2: -0.02, 3: 0.05})  # of the images
    rows.loc[rows["control"] == "", "test_trig_acc"] += luck[rows["control"] == ""]
    [(_, verdict)] = verdicts(study(rows, over=["seed", "target"]))
    assert verdict.kind == "inconclusive" and "8 runs of 4 seeds" in verdict.sentences[0]
    assert "seeds would decide" in verdict.sentences[-1]
    for some in (rows[rows["seed"] == 0], rows.assign(split_seed=7)):
        found = study(some, over=["seed", "target"])
        [(_, verdict)] = verdicts(found)
        assert verdict.kind == "inconclusive" and "images of one seed" in verdict.sentences[0]
    assert "seeds of training" in found.interval_over
