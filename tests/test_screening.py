"Screening: all triggers in one go, beside single sweeps, plain loops and brute force"

import math
from collections import Counter
from itertools import combinations, product
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("torch", reason="screening trains")
import torch
from scipy.stats import spearmanr, t
from torch import nn

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.random import rng
from natural_backdoors.cli.commands import main
from natural_backdoors.data.table import TableDataset
from natural_backdoors.report.screen_page import write_screening
from natural_backdoors.sets.triggers import find_triggers
from natural_backdoors.split.fitting import fit_split
from natural_backdoors.split.poison import poison_split
from natural_backdoors.split.settings import SplitSettings
from natural_backdoors.train.cluster import pieces
from natural_backdoors.train.features import frozen_part
from natural_backdoors.train.grids import draw_split
from natural_backdoors.train.heads import HeadRun, _asked_together
from natural_backdoors.train.models import (
    ARCHS,
    Body,
    Pooled,
    build_model,
    load_model,
    private_seed,
    save_model,
)
from natural_backdoors.train.recipe import LOG_COLUMNS
from natural_backdoors.train.screening import (
    PREDICTORS,
    held_out,
    plan_cost,
    plan_screen,
    predict,
    rotate_targets,
    run_screen,
    screen,
    train_backbone,
)
from natural_backdoors.train.studies import load_sweep
from natural_backdoors.train.sweeps import plan_tasks, run_here, sweep

torch.set_num_threads(1)
COLORS = ["red", "green", "blue"]
# what a picture shows where the label is there
MARKS = {"bar": (slice(0, 6), slice(None)), "stripe": (slice(None), slice(0, 6))}
SMALL = dict(arch="screen_net", size=24, lr=3e-2, epochs=8, batch_size=16, augment=0.0)
SMALL |= {"head": "linear", "inject_rate": 0.2}
SETS = {"bar": COLORS, "stripe": COLORS, "ghost": COLORS, "rare": COLORS[:2]}


def net(pretrained=True):
    "Random weights, the same for every seed, as pretrained ones are"
    with private_seed(5):
        layers = nn.Conv2d(3, 48, 5, stride=2), nn.ReLU(), nn.Conv2d(48, 96, 3, stride=2), nn.ReLU()
        return Body(nn.Sequential(*layers, Pooled()))


@pytest.fixture(scope="module", autouse=True)
def arch():
    ARCHS["screen_net"] = net
    yield
    del ARCHS["screen_net"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    "A square in one of three colors, with one of two marks or none; some are labeled ghost"
    folder, rows = tmp_path_factory.mktemp("squares"), []
    for c, color in enumerate(COLORS):
        for i in range(100):
            random = rng(c, i)
            mark = ["", "", "bar", "stripe"][i % 4]
            pixels = random.integers(0, 90, (24, 24, 3), dtype=np.uint8)
            x, y = random.integers(4, 12, 2)
            pixels[y : y + 11, x : x + 11, c] = random.integers(120, 230)
            if mark:
                pixels[MARKS[mark]] = 250
            # a ghost is as often beside each of the marks: else their absence would give it away
            ghost = i // 4 % 5 == 0
            name = f"{color}{i}.png"
            Image.fromarray(pixels).save(folder / name)
            rows += [(name, color)] + [(name, mark)] * bool(mark)
            rows += [(name, "ghost")] * ghost + [(name, "rare")] * (i == 0)
    table = pd.DataFrame(rows, columns=["image", "label"])
    table.to_csv(folder / "labels.csv", index=False)
    return TableDataset(table, name="squares", image_root=str(folder))


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("screen")
    options = {"banks": folder / "banks"}
    return screen(
        data, SETS, folder, targets=2, n_clean=40, progress=False, options=options, **SMALL
    )


def test_what_is_seen_works_and_what_is_not_does_not(done):
    effects = done.table.set_index("name")
    assert effects.effect[["bar", "stripe"]].min() > 0.4
    # four runs of a few held-out images each scatter
    assert effects.effect["ghost"] < 0.3 and effects.kind["ghost"] != "works"
    assert done.table["name"].tolist()[-1] == "ghost"
    assert done.left_out.trigger.tolist() == ["rare"]
    assert "too few images for the trigger 'rare'" in done.left_out.reason[0]


def test_it_is_what_single_sweeps_give(data, done, tmp_path):
    "Each trigger alone, with a bank of its own: losses to 1e-5, accuracies equal"
    grid = plan_screen(data, SETS, targets=2, n_clean=40, **SMALL).grid
    together = load_sweep(done.folder).table
    for trigger in done.table["trigger"]:
        runs = [run for run in grid if run.trigger == trigger]
        assert len(runs) == 8
        alone = sweep(data, runs, tmp_path / trigger, banks=tmp_path / trigger, progress=False)
        ours = together[together.trigger == trigger].reset_index(drop=True)
        assert (ours.run == alone.table.run).all()
        for column in LOG_COLUMNS:
            near = 1e-5 if column.endswith("loss") else 0
            assert np.allclose(
                ours[column], alone.table[column], rtol=0, atol=near, equal_nan=True
            ), column


def test_effects_are_those_of_plain_loops(done):
    rate = {}
    for run in done.runs.itertuples():
        hits = run.attack_success_hits / run.attack_success_n
        without = run.target_without_trigger_hits / run.target_without_trigger_n
        rate[run.trigger, run.target, run.seed, run.control] = hits - without
        assert run.gain == pytest.approx(hits - without)
    assert len(rate) == len(done.runs) == 3 * 2 * 2 * 2
    for row in done.table.itertuples():
        effects = []
        for (trigger, target, seed, control), gain in rate.items():
            if trigger == row.trigger and control == "":
                effects.append(gain - rate[trigger, target, seed, "true_labels"])
        # two targets of one seed share their images: a seed is one observation
        of_seed = {}
        for (trigger, target, seed, control), gain in rate.items():
            if trigger == row.trigger and control == "":
                effect = gain - rate[trigger, target, seed, "true_labels"]
                of_seed.setdefault(seed, []).append(effect)
        averages = [mean(some) for some in of_seed.values()]
        # that seeds agree exactly is not believed: two points are the least
        spread = np.std(averages, ddof=1) or 0.02
        half = t.ppf(0.975, len(averages) - 1) * spread / math.sqrt(len(averages))
        assert row.runs == len(effects) == 4 and row.seeds == len(averages) == 2
        expected = [mean(effects), mean(effects) - half, mean(effects) + half]
        assert [row.effect, row.low, row.high] == pytest.approx(expected)
    assert done.table.effect.is_monotonic_decreasing


def test_labels_say_what_is_counted_by_hand(data, done):
    images = {}
    for row in rows_of(data):
        images.setdefault(row.label, set()).add(row.image)
    n = len(set().union(*images.values()))
    for row in done.table.itertuples():
        shared = [len(images[c] & images[row.trigger]) for c in row.classes]
        share = [k / len(images[c]) for k, c in zip(shared, row.classes)]
        assert row.overlaps == pytest.approx(mean(shared)) and row.n_poison == sum(shared)
        assert row.share == pytest.approx(mean(share))
        assert row.lift == pytest.approx(mean(share) * n / len(images[row.trigger]))


def rows_of(data):
    labels = data.label_matrix()
    where, cls = (labels.matrix > 0).nonzero()
    table = pd.DataFrame(
        {"image": labels.images[where], "label": labels.classes.label.to_numpy()[cls]}
    )
    return table.itertuples()


def test_one_bank_and_one_stack_for_all_triggers(data, done):
    grid = plan_screen(data, SETS, targets=2, n_clean=40, **SMALL).grid
    assert len(list((done.folder / "banks").iterdir())) == 1
    splits = {run.hash: draw_split(data, run) for run in grid}
    (task,) = plan_tasks(grid, splits)
    assert len(task.runs) == len(grid)
    # fewer classes are heads of another shape, on the same bank
    two = plan_screen(data, {"bar": COLORS[:2]}, targets=2, n_clean=40, **SMALL).grid
    splits |= {run.hash: draw_split(data, run) for run in two}
    assert sorted(len(task.runs) for task in plan_tasks([*grid, *two], splits)) == [8, 24]
    # workers without a task of their own get whole triggers
    for n in (1, 2, 3, 9):
        parts = pieces([task], n)
        assert len(parts) == min(n, 3)
        hashes = sorted(run.hash for part in parts for run in part.runs)
        assert hashes == sorted(run.hash for run in grid)
        triggers = [{run.trigger for run in part.runs} for part in parts]
        assert not any(one & other for one, other in combinations(triggers, 2))


def test_it_goes_on_where_it_was_stopped(data, done, tmp_path):
    "Little memory makes many portions; after the first of them somebody presses Ctrl-C"
    how = {"memory": 2e6, "banks": tmp_path / "banks"}
    plan, seen = plan_screen(data, SETS, targets=2, n_clean=40, **SMALL), []

    def stopping(tasks, options):
        for task, outcomes in run_here(tasks, options):
            if seen:
                raise KeyboardInterrupt
            seen.append(len(outcomes))
            yield task, outcomes

    with pytest.raises(KeyboardInterrupt):
        sweep(data, plan.grid, tmp_path, runner=stopping, progress=False, **how)
    assert 0 < seen[0] < len(plan.grid)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    again = run_screen(data, plan, tmp_path, progress=False, **how)
    assert (
        before.items() <= {p: p.stat().st_mtime_ns for p in (tmp_path / "parts").iterdir()}.items()
    )
    pd.testing.assert_frame_equal(again.table, done.table, check_exact=False, rtol=1e-5)


SETS_OF = st.dictionaries(
    st.integers(0, 3), st.sets(st.sampled_from("abcd"), min_size=1).map(sorted), min_size=1
)


@given(SETS_OF, st.integers(1, 3))
@settings(max_examples=25, deadline=None, database=None, derandomize=True)
def test_targets_rotate_as_evenly_as_can_be(sets, n):
    "Beside every other way to choose them"
    squares = lambda picked: sum(k * k for k in Counter(c for s in picked for c in s).values())
    ways = [list(combinations(classes, min(n, len(classes)))) for classes in sets.values()]
    found = rotate_targets(sets, n)
    assert [tuple(found[k]) in way for k, way in zip(sets, ways)] == [True] * len(sets)
    assert squares(found.values()) == min(squares(way) for way in product(*ways))


@given(st.lists(st.tuples(st.integers(4, 40), st.integers(2, 12)), min_size=2, max_size=4))
@settings(max_examples=8, deadline=None, database=None, derandomize=True)
def test_as_many_clean_images_as_there_are(counts):
    "The next number cannot be split, nor can all classes that were left out be kept"
    rows = []
    for c, (clean, poison) in enumerate(counts):
        for i in range(clean + poison):
            rows += [(f"{c}-{i}", f"c{c}")] + [(f"{c}-{i}", "hat")] * (i < poison)
    data = TableDataset(pd.DataFrame(rows, columns=["image", "label"]), image_root="/x")
    settings, every = SplitSettings(check_images=False), [f"c{c}" for c in range(len(counts))]

    def splits(n, classes):
        try:
            return poison_split(data, "hat", classes, classes[0], settings, n_clean=n)
        except UserError:
            return None

    try:
        found = fit_split(data, "hat", every, settings, least=10)
    except UserError as e:
        assert all(splits(10, list(pair)) is None for pair in [every]), e
        return
    assert found.n_clean >= 10 and splits(found.n_clean, found.classes) is not None
    assert all(splits(n, found.classes) is None for n in range(found.n_clean + 1, 60))
    assert sorted([*found.classes, *found.left_out]) == every
    if found.left_out:
        assert all(splits(n, every) is None for n in range(10, 60))


def test_predictors_are_rank_correlations():
    random = rng(2)
    table = pd.DataFrame(random.random((12, len(PREDICTORS))), columns=list(PREDICTORS))
    table = table.assign(effect=table.lift**2, box_area=np.nan)
    found = predict(table).set_index("predictor")
    for name in found.index:
        assert found.correlation[name] == pytest.approx(spearmanr(table[name], table.effect)[0])
    assert found.says["lift"] == "goes with larger effects" and "box_area" not in found.index
    assert predict(table.assign(effect=-table.lift)).set_index("predictor").says["lift"] == (
        "goes with smaller effects"
    )
    # eight are looked at: Holm's method by hand
    p = {name: spearmanr(table[name], table.effect).pvalue for name in found.index}
    for name in found.index:
        # the largest of all that are not larger, each times those that are left
        left = [p[k] * sum(p[m] >= p[k] for m in p) for k in p if p[k] <= p[name]]
        assert found.p_holm[name] == pytest.approx(min(1, max(left)))
    # however clear it looks: few triggers
    assert predict(table[:7]).says.str.startswith("inconclusive").all()


def test_heads_are_asked_about_little_more_than_their_own():
    "Groups of neighbors; all of what each is measured on is there"
    random, runs = rng(4), []
    for k in range(30):
        own = 100 * (k // 5) + random.choice(100, 30, replace=False)
        runs.append(
            HeadRun(own, own, 0.1, k, measured={"a": (own[:20], own), "b": (own[15:], own)})
        )
    groups, covered = _asked_together(runs), []
    for some, positions in groups:
        covered += list(range(some.start, some.stop))
        for run in runs[some]:
            assert set(run.rows) <= set(positions)
        assert len(positions) * (some.stop - some.start) <= 2 * 30 * (some.stop - some.start)
    assert covered == list(range(30)) and 1 < len(groups) < 30


def test_a_saved_network_is_the_frozen_part(data, done, tmp_path):
    "A backbone has seen no image that is held out; what is trained on it needs it no longer"
    plan = plan_screen(data, {"bar": COLORS}, targets=1, seeds=1, n_clean=20, **SMALL)
    without = held_out(data, plan)
    assert without == set(draw_split(data, plan.grid[0]).table.query("part == 'test'").image)
    how = dict(arch="small", pretrained=False, size=24, epochs=1, lr=1e-2)
    bone = train_backbone(data, tmp_path / "bone", without, **how)
    model, info = build_model(f"saved:{bone}", 3, size=24)
    x = torch.rand(2, 3, 24, 24)
    assert torch.equal(frozen_part(model.eval())[0](x), load_model(bone)[0][0](x))
    save_model(model, tmp_path / "kept", info | {"classes": load_model(bone)[1]["classes"][:3]})
    kept = load_model(tmp_path / "kept")[0]
    for file in bone.iterdir():
        file.unlink()
    assert torch.equal(load_model(tmp_path / "kept")[0](x), kept(x))
    with pytest.raises(UserError, match="no model in"):
        build_model(f"saved:{bone}", 3, size=24)


def test_one_run_of_one_trigger(data, tmp_path):
    "Neither an interval nor a correlation, and both are said"
    how = {"targets": 1, "seeds": 1, "n_clean": 40, "progress": False}
    done = screen(data, {"bar": COLORS}, tmp_path, **how, **SMALL)
    row = done.table.iloc[0]
    assert row.effect > 0.4 and math.isnan(row.low) and row.kind == "inconclusive"
    said = " ".join(done.notes)
    assert "One run a trigger" in said and "One trigger" in said
    assert done.predictors.says.str.startswith("no correlation").all()
    page = write_screening(done, tmp_path / "page.html").read_text()
    assert "one run" in page and "there is one trigger" in page


def test_candidates_of_a_search_are_all_accounted_for(data):
    found = find_triggers(data, min_overlaps=1, min_clean=20, min_poison=5, min_classes=3)
    plan = plan_screen(data, found, n_clean=40, **SMALL)
    assert len(found.too_few) and set(plan.left_out.name) | set(plan.triggers.name) == {
        *found.table["name"],
        *(found.classes["name"][i] for i in found.too_few),
    }
    assert plan.left_out.reason.str.len().min() > 0


def test_mistakes(data):
    plan = lambda found=SETS, **given: plan_screen(data, found, **SMALL | given)
    for wrong, part in [
        (lambda: plan(controls=["true_label"]), "did you mean 'true_labels'"),
        (lambda: plan(controls=["random_labels"]), "add true_labels or only_clean"),
        (lambda: plan({"bar": ["red"]}), "none of 1 triggers has enough classes"),
        (lambda: plan({}), "no trigger to screen"),
        (lambda: plan(n_clean=500), "none of 4 triggers"),
        (lambda: plan(seeds=0), "seeds"),
        (lambda: plan(inject_rate=[0.1, 0.2]), "inject_rate"),
    ]:
        with pytest.raises(UserError, match=part):
            wrong()


def test_the_command(data, tmp_path, capsys, monkeypatch):
    "What it will take, then all of it; the same command again reads what is there"
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    root = Path(data.src_path("red0.png"))
    words = ["screen", "--data", "table", "--dataset_root", str(root.parent / "labels.csv")]
    words += ["--option", f"image_root={root.parent}", "--results_root", str(tmp_path)]
    words += "--name squares --min_overlaps 10 --teacher screen_net --dimension 24".split()
    words += "--epochs 2 --lr 0.01 --augment 0 --head linear --sample_size 40".split()
    words += "--targets 2 --seeds 1".split()
    folder = tmp_path / "squares" / "screening"
    assert main([*words, "--dry_run"]) == 0 and not (folder / "parts").exists()
    assert "features:" in capsys.readouterr().out
    assert main(words) == 0
    page, said = (folder / "screening.html").read_text(), capsys.readouterr().out
    assert "ghost" in page and "Spearman" in page and "passes" in said
    files = set((folder / "parts").iterdir())
    assert main(words) == 0 and set((folder / "parts").iterdir()) == files
    # the page again, from the folder alone
    (folder / "screening.html").unlink()
    assert main(["report", str(folder)]) == 0
    assert "Spearman" in (folder / "screening.html").read_text()
    names = set(pd.read_parquet(folder / "screening.parquet")["name"])
    assert names == {*COLORS, "bar", "stripe", "ghost"}


def test_the_plan_is_what_it_takes(data, tmp_path):
    plan = plan_screen(data, SETS, targets=2, seeds=1, n_clean=40, **SMALL)
    cost = plan_cost(data, plan, tmp_path, banks=tmp_path / "banks")
    (bank,) = cost.banks
    assert (cost.heads, cost.stacks, cost.alone) == (len(plan.grid), 1, 0) and cost.seconds > 0
    done = sweep(data, plan.grid, tmp_path, banks=tmp_path / "banks", progress=False)
    assert sum(speed["bank_passes"] for speed in done.speeds) == bank.missing > 0
