"Heads trained together, sweeps: killed, taken up again, beside plain loops"

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from natural_backdoors.base.blocks import BlockStore
from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import read_json
from natural_backdoors.base.random import rng
from natural_backdoors.data.decoding import image_names
from natural_backdoors.data.table import TableDataset
from natural_backdoors.train import heads, learner, sweeps
from natural_backdoors.train.grids import draw_split, make_grid
from natural_backdoors.train.heads import HeadRun, bytes_of_head, epoch_orders, train_heads
from natural_backdoors.train.looks import Look, Views, kind_of
from natural_backdoors.train.models import (
    ARCHS,
    HEADS,
    Body,
    Pooled,
    linear_head,
    mlp_head,
    private_seed,
)
from natural_backdoors.train.recipe import BORDERS, LOG_COLUMNS
from natural_backdoors.train.runs import train_split
from natural_backdoors.train.sweeps import (
    Options,
    bank_folder,
    plan_features,
    plan_tasks,
    run_folder,
    run_here,
    share_key,
    sweep,
)

torch.set_num_threads(1)
NAMES = ["red", "green", "blue"]


# A dataset that a frozen network of random weights can tell apart: the color of a square is its
# class, a bright bar in a corner the trigger


def draw(path, c, trigger, seed, size=32):
    r = rng(seed)
    pixels = r.integers(0, 90, (size, size, 3), dtype=np.uint8)
    e = int(r.integers(14, 20))
    x, y = (int(v) for v in r.integers(0, size - e, 2))
    pixels[y : y + e, x : x + e, c] = r.integers(110, 230)
    if trigger:
        pixels[:6] = 250
    Image.fromarray(pixels).save(path)


def make_dataset(folder):
    rows = []
    folder.mkdir(exist_ok=True)
    for c, name in enumerate(NAMES):
        for i in range(80):
            path = folder / f"{name}{i:02d}.png"
            if not path.exists():
                draw(path, c, i >= 50, 1000 * c + i)
            rows += [(path.name, name)] + [(path.name, "bar")] * (i >= 50)
    return TableDataset(
        pd.DataFrame(rows, columns=["image", "label"]), name="squares", image_root=str(folder)
    )


def net(pretrained=True):
    "Random weights, the same ones for every seed, as pretrained ones are"
    with private_seed(5):
        return Body(
            nn.Sequential(
                nn.Conv2d(3, 24, 5, stride=2),
                nn.ReLU(),
                nn.Conv2d(24, 48, 3, stride=2),
                nn.ReLU(),
                Pooled(),
            )
        )


def normed_head(n_features, n_classes):
    "fastai's kind of head, without dropout, whose draws are not those of torch's global generator"
    return nn.Sequential(
        nn.BatchNorm1d(n_features),
        nn.Linear(n_features, 32, bias=False),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(32),
        nn.Linear(32, n_classes, bias=False),
    )


@pytest.fixture(scope="module", autouse=True)
def names():
    ARCHS.update(net=net, net2=lambda pretrained=True: net())
    HEADS.update(
        normed=normed_head,
        small_mlp=lambda f, c: mlp_head(f, c, 32),
        odd=lambda f, c: nn.Sequential(nn.LayerNorm(f), nn.Linear(f, c)),
    )
    yield
    for name in ("net", "net2"):
        del ARCHS[name]
    for name in ("normed", "small_mlp", "odd"):
        del HEADS[name]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("squares") / "images")


def shared_settings(**kwargs):
    fixed = dict(archs=["net"], lrs=[1e-2], size=32, n_clean=40, epochs=3)
    return fixed | dict(batch_size=16, head="small_mlp", seeds=[1]) | kwargs


def grid_of(data, rates=(0.1, 0.3), targets=("red", "blue"), **kwargs):
    kwargs = shared_settings(**kwargs)
    return make_grid(data, {"bar": NAMES}, list(targets), list(rates), **kwargs)


# Many heads

X = torch.tensor(rng(1).normal(size=(90, 12)))


class OwnDropout(nn.Module):
    "Dropout that draws from a generator of its own, as heads trained together do"

    def __init__(self, p, generator):
        super().__init__()
        self.p, self.generator = p, generator

    def forward(self, x):
        if not self.training:
            return x
        return x * (
            (torch.rand(*x.shape, generator=self.generator) >= self.p).float() / (1 - self.p)
        ).to(x)


def head_of(run, kind, own_dropout=False):
    "The first weights of a run; the kinds differ in their layers"
    generator = torch.Generator().manual_seed(run.seed)
    drop = (lambda p: OwnDropout(p, generator)) if own_dropout else nn.Dropout
    with private_seed(run.seed):
        if kind == "linear":
            return linear_head(12, 3)
        if kind == "mlp":
            return mlp_head(12, 3, 16)
        return nn.Sequential(
            nn.BatchNorm1d(12),
            drop(0.25),
            nn.Linear(12, 8, bias=False),
            nn.ReLU(inplace=True),
            nn.BatchNorm1d(8),
            drop(0.5),
            nn.Linear(8, 3, bias=False),
        )


def tutorial_loop(run, kind, epochs, batch_size, one_cycle, dtype):
    "One head by a module, an optimizer and batches cut by hand; only the order of images is ours"
    head = head_of(run, kind, own_dropout=True).to(dtype).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=run.lr, weight_decay=run.weight_decay)
    n, step = len(run.rows), 0
    n_batches = len([i for i in range(0, n, batch_size) if n - i > 1 or i == 0])
    cos = lambda a, b, t: a + (1 - np.cos(np.pi * t)) * (b - a) / 2
    for _, order in zip(range(epochs), epoch_orders(n, run.seed, batch_size)):
        for i in range(0, len(order), batch_size):
            if one_cycle:
                pct = step / (n_batches * epochs)
                up, t = pct < 0.25, pct / 0.25 if pct < 0.25 else (pct - 0.25) / 0.75
                for group in optimizer.param_groups:
                    group["lr"] = run.lr * (cos(1 / 25, 1, t) if up else cos(1, 1e-5, t))
                    group["betas"] = (cos(0.95, 0.85, t) if up else cos(0.85, 0.95, t)), 0.999
            chosen = order[i : i + batch_size]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(
                head(X[run.rows[chosen]].to(dtype)), torch.as_tensor(run.labels[chosen])
            )
            loss.backward()
            optimizer.step()
            step += 1
    return {k.replace("generator", ""): v for k, v in head.state_dict().items()}


def largest(states, others):
    "The largest difference of any weight or statistic"
    return max(
        (a[k].double() - b[k].double()).abs().max().item()
        for a, b in zip(states, others)
        for k in a
    )


def head_run(seed, n, lr, weight_decay):
    random = rng(seed, n)
    return HeadRun(random.permutation(90)[:n], random.integers(0, 3, n), lr, seed, weight_decay)


SIX = [
    head_run(0, 90, 1e-3, 0.01),
    head_run(1, 61, 3e-3, 0.01),
    head_run(2, 61, 1e-3, 0.0),
    head_run(3, 17, 1e-2, 0.1),
    head_run(4, 33, 1e-3, 0.01),
    head_run(5, 90, 5e-4, 0.3),
]


@pytest.mark.parametrize("kind", ["linear", "mlp", "normed"])
@pytest.mark.parametrize(
    "dtype, limit", [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["single", "double"]
)
def test_six_heads_are_those_of_each_alone_and_of_a_plain_loop(kind, dtype, limit):
    "Different labels, images, numbers of images (81 and 17 leave one over), rates, decay, seeds"
    make = lambda run: head_of(run, kind)
    fit = lambda runs, **kw: [r.state for r in train_heads(make, runs, X, 8, 16, dtype=dtype, **kw)]
    together = fit(SIX)
    assert largest(together, [fit([run])[0] for run in SIX]) < limit
    assert largest(together, fit(SIX[::-1])[::-1]) < limit
    assert (
        largest(
            together, fit(SIX, memory=2.5 * bytes_of_head(head_of(SIX[0], kind), 16, dtype=dtype))
        )
        < limit
    )
    # fastai's schedules are computed in single precision
    assert largest(together, [tutorial_loop(run, kind, 8, 16, True, dtype) for run in SIX]) < max(
        limit, 1e-8
    )
    constant = fit(SIX, schedule="constant")
    assert largest(constant, [tutorial_loop(run, kind, 8, 16, False, dtype) for run in SIX]) < limit
    assert largest(together[:1], constant[:1]) > 100 * limit, (
        "the comparison would notice another schedule"
    )


def test_schedules_have_the_same_names_together_and_alone():
    assert set(heads.SCHEDULES) == set(learner.SCHEDULES)


def test_without_decay_it_is_adam():
    run, criterion = head_run(7, 40, 1e-2, 0.0), nn.CrossEntropyLoss()
    head = head_of(run, "mlp")
    optimizer = torch.optim.Adam(head.parameters(), lr=run.lr)
    for _, order in zip(range(5), epoch_orders(40, run.seed, 8)):
        for chosen in order.reshape(-1, 8):
            optimizer.zero_grad()
            criterion(
                head(X[run.rows[chosen]].float()), torch.as_tensor(run.labels[chosen])
            ).backward()
            optimizer.step()
    result = train_heads(lambda r: head_of(r, "mlp"), [run, *SIX], X, 5, 8, "constant")[0]
    assert largest([head.state_dict()], [result.state]) < 1e-5


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 99),
            st.integers(2, 90),
            st.sampled_from([1e-3, 1e-2]),
            st.sampled_from([0.0, 0.1]),
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(2, 40),
    st.sampled_from(["linear", "mlp", "normed"]),
    st.sampled_from(["one_cycle", "constant"]),
    st.integers(1, 3),
)
def test_any_runs_together_as_alone(some, batch_size, kind, schedule, epochs):
    runs = [head_run(*values) for values in some]
    fit = lambda runs: [
        r.state
        for r in train_heads(
            lambda r: head_of(r, kind), runs, X, epochs, batch_size, schedule, dtype=torch.float64
        )
    ]
    together = fit(runs)
    assert largest(together, [fit([run])[0] for run in runs]) < 1e-10
    loop = lambda run: tutorial_loop(
        run, kind, epochs, batch_size, schedule == "one_cycle", torch.float64
    )
    assert largest(together, [loop(run) for run in runs]) < 1e-6


# Other processes


def start(forks, code, *args):
    "A process that runs `code` beside this file"
    path = os.path.dirname(os.path.abspath(__file__))
    code = f"import sys; sys.path.insert(0, {path!r})\nfrom test_sweep import *\n{code}"
    return forks.start(code, *args)


def wait_for(condition, process, seconds=120):
    "Wait until `condition()` holds while `process` runs"
    for _ in range(seconds * 50):
        if condition():
            return
        assert process.poll() is None, "it ended by itself"
        time.sleep(0.02)
    raise AssertionError("nothing happened")


# Sweeps


def sweep_some(images, folder, delay=0.0):
    "Two networks, so two tasks; `delay` seconds before the second"
    from pathlib import Path

    data = make_dataset(Path(images))
    ARCHS.update(net=net, net2=lambda pretrained=True: net())
    HEADS["small_mlp"] = lambda f, c: mlp_head(f, c, 32)
    seen = []

    def runner(tasks, options):
        for task in tasks:
            seen.extend(run.hash for run in task.runs)
            yield from run_here([task], options)
            time.sleep(delay)

    return sweep(
        data, grid_of(data, archs=["net", "net2"]), folder, progress=False, runner=runner
    ), seen


@pytest.fixture(scope="module")
def killed(forks, data, tmp_path_factory):
    """The folder of a sweep that was killed after the first of two tasks, what another was told
    before, and the number of the process"""
    folder = tmp_path_factory.mktemp("killed") / "killed"
    images = data.src_path("red00.png").parent
    process = start(forks, "sweep_some(sys.argv[1], sys.argv[2], 60)", images, folder)
    wait_for(lambda: list(folder.glob("parts/*.json")), process)
    with pytest.raises(UserError) as told:
        sweep(data, grid_of(data), folder, progress=False)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return folder, str(told.value), process.pid


def test_a_killed_sweep_goes_on(data, killed, tmp_path):
    images = data.src_path("red00.png").parent
    shutil.copytree(killed[0], tmp_path / "killed")
    assert not (tmp_path / "killed" / "results.parquet").exists()
    finished = {
        run for f in (tmp_path / "killed").glob("parts/*.json") for run in read_json(f)["runs"]
    }
    result, seen = sweep_some(images, tmp_path / "killed")
    assert len(finished) == 4 and len(seen) == 4 and not finished & set(seen), (
        "what was finished is not done again"
    )
    whole, _ = sweep_some(images, tmp_path / "whole")
    pd.testing.assert_frame_equal(result.table, whole.table, check_exact=False, rtol=1e-5)
    assert result.table.run.nunique() == 8 and not list((tmp_path / "killed").rglob(".*"))
    assert not sweep_some(images, tmp_path / "killed")[1]


def test_the_order_of_a_grid_does_not_matter(data, tmp_path):
    grid = grid_of(data, seeds=[1, 2], lrs=[1e-2, 1e-3])
    table = sweep(data, grid, tmp_path / "a", progress=False).table
    assert table.equals(sweep(data, grid[::-1], tmp_path / "b", progress=False).table)
    # in parts, alone, with little memory: the same but for rounding
    sweep(data, grid[3:5], tmp_path / "c", progress=False)
    sweep(data, grid[4:9], tmp_path / "c", progress=False)
    parts = sweep(data, grid, tmp_path / "c", progress=False, memory=1e5).table
    pd.testing.assert_frame_equal(parts, table, check_exact=False, rtol=1e-3, atol=1e-4)
    assert len(table) == 16 * 3 and not table.duplicated(["run", "epoch"]).any()


def trained_alone(data, run, folder):
    "The logs of a run that is trained by itself"
    options = dict(progress=False, save_model=False, controls=[run.control] if run.control else [])
    return train_split(draw_split(data, run), folder, run.recipe, **options).logs


def test_a_bank_has_the_borders_of_the_recipe(data, tmp_path):
    "Runs with other borders do not share views; their views are those that the borders make"
    grid = grid_of(data, augment=1.0, seeds=[3], views=1, borders=["mirror", "nearest"])
    assert len({share_key(run) for run in grid}) == 2
    result = sweep(data, grid, tmp_path, banks=tmp_path / "banks", progress=False)
    assert result.failed.empty and result.table.shared.all()
    (folder,) = (tmp_path / "banks").iterdir()
    stored = BlockStore(folder)
    trained = draw_split(data, grid[0]).table.query("part == 'train'").path
    views = {}
    for borders in BORDERS:
        kind = kind_of(Look(0), Views(1.0, borders, 1234), None)
        views[borders], there = stored.rows(kind, image_names(trained))
        assert there.all()
    assert not np.array_equal(views["mirror"], views["nearest"])


def counted(done):
    "Pictures that a sweep had passed through a network"
    return sum(speed["bank_passes"] for speed in done.speeds)


def test_whatever_the_bank_holds(data, tmp_path):
    "The same results with a bank that is empty, that another study has filled in part, and full"
    seen, other = grid_of(data, augment=0.5), grid_of(data, rates=[0.2], views=1, augment=0.5)
    do = lambda grid, name, banks: sweep(
        data, grid, tmp_path / name, banks=tmp_path / banks, progress=False
    )
    empty, first = do(seen, "empty", "a"), do(other, "other", "b")
    partly, full = do(seen, "partly", "b"), do(seen, "full", "a")
    assert 0 < counted(partly) < counted(empty) and counted(full) == 0 < counted(first)
    assert counted(partly) + counted(first) == counted(do([*seen, *other], "all", "c"))
    assert full.table.equals(empty.table)
    pd.testing.assert_frame_equal(partly.table, empty.table, check_exact=False, rtol=1e-4)


def test_plans_are_what_sweeps_take(data, tmp_path):
    "Two class sets share images, so they are planned as one"
    grid = grid_of(data) + make_grid(
        data, {"bar": NAMES[:2]}, ["red"], [0.3], **shared_settings(views=1)
    )
    tasks = plan_tasks(grid, {run.hash: draw_split(data, run) for run in grid})
    options = Options(tmp_path / "plan", banks=tmp_path / "banks")
    assert len(tasks) == 2
    (plan,) = plan_features(tasks, options, measure=False)
    result = sweep(data, grid, tmp_path / "sweep", banks=tmp_path / "banks", progress=False)
    assert counted(result) == plan.missing == plan.passes > 0
    assert [p.missing for p in plan_features(tasks, options)] == [0]


def test_where_banks_are(tmp_path, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    assert bank_folder("results") == tmp_path / "cache" / "features"
    assert bank_folder("results", tmp_path) == tmp_path
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", "off")
    assert bank_folder(tmp_path / "results") == tmp_path / "results" / "banks"


def test_epsilon_is_that_of_each_run():
    "Heads with another epsilon stand beside each other, each as if it were alone"
    runs = [replace(run, epsilon=1e-2 if i % 2 else 1e-8) for i, run in enumerate(SIX)]
    fit = lambda runs: [
        r.state for r in train_heads(lambda r: head_of(r, "mlp"), runs, X, 3, 16, device="cpu")
    ]
    together = fit(runs)
    assert largest(together, [fit([run])[0] for run in runs]) < 1e-5
    others = fit(SIX)
    assert largest(together[::2], others[::2]) < 1e-5 < largest(together[1:2], others[1:2])


@pytest.mark.parametrize("head", ["small_mlp", "normed", "linear"])
def test_without_augmentation_it_is_train_split(data, tmp_path, head):
    "First weights, order, schedule, optimizer, measurements; what is left is half precision"
    grid = grid_of(data, augment=0.0, head=head, controls=["", "true_labels"], seeds=[3])
    result = sweep(data, grid, tmp_path / "sweep", progress=False)
    assert result.failed.empty and result.table.shared.all()
    # one with everything that changes the loss or the images
    more = (
        grid[0].but(control="only_clean"),
        grid[1].but(
            optimizer="adam",
            schedule="constant",
            batch_size=15,
            label_smoothing=0.1,
            class_weights={"red": 3.0},
            epsilon=0.01,
        ),
    )
    result = sweep(data, [*grid, *more], tmp_path / "sweep", progress=False)
    for run in [*grid[::3], *more]:
        logs = trained_alone(data, run, tmp_path / "alone")
        ours = result.table[result.table.run == run.hash][LOG_COLUMNS]
        theirs = logs[run.control or "poisoned"]
        assert np.allclose(
            ours.filter(like="loss"), theirs.filter(like="loss"), atol=0.02, equal_nan=True
        )
        # one of twelve images may fall to the other side
        assert np.allclose(
            ours.filter(like="acc"), theirs.filter(like="acc"), atol=1 / 12 + 1e-6, equal_nan=True
        )


def test_with_augmentation_results_are_in_the_same_range(data, tmp_path):
    grid = grid_of(
        data, rates=[0.3], targets=["blue"], seeds=range(4), epochs=6, augment=0.3, lrs=[2e-2]
    )
    ours = sweep(data, grid, tmp_path / "sweep", progress=False).last
    few = sweep(data, [run.but(views=2) for run in grid], tmp_path / "few", progress=False).last
    alone = [trained_alone(data, run, tmp_path / "alone") for run in grid]
    theirs = pd.concat(logs["poisoned"].tail(1) for logs in alone)
    for column in ("test_clean_acc", "test_trig_acc"):
        assert theirs[column].mean() > 0.6, "there is something to be learned"
        assert abs(ours[column].mean() - theirs[column].mean()) < 0.15
        assert abs(few[column].mean() - theirs[column].mean()) < 0.2


def test_what_cannot_share_is_trained_alone(data, tmp_path):
    "An unfrozen network, and a head with a layer that is not known to train in a batch"
    grid = grid_of(data, rates=[0.3], targets=["blue"], epochs=1)
    free, odd = grid[0].but(unfreeze="all"), grid[0].but(head="odd")
    result = sweep(data, [*grid, free, odd], tmp_path / "sweep", progress=False)
    assert result.failed.empty and len(result.table) == 3
    for run in (free, odd):
        log = trained_alone(data, run, tmp_path / "alone")["poisoned"]
        ours = result.table[result.table.run == run.hash][LOG_COLUMNS].reset_index(drop=True)
        pd.testing.assert_frame_equal(ours, log, check_exact=False, rtol=1e-4)


def test_fastai_head_and_added_classes(data, tmp_path):
    "A head with dropout shares too; a class that is only added is an output of the model"
    grid = make_grid(
        data,
        {"bar": ["red", "green"]},
        ["red"],
        [0.1, 0.3],
        archs=["net"],
        lrs=[1e-2],
        size=32,
        n_clean=40,
        epochs=4,
        batch_size=16,
        head="fastai",
        add_classes=1,
        seeds=[1, 2],
    )
    result = sweep(data, grid, tmp_path, progress=False)
    assert result.failed.empty and result.table.shared.all() and set(result.table.n_classes) == {3}
    assert result.last.test_clean_acc.mean() > 0.5 and len(result.speeds) == 1


def test_seeds_may_draw_their_own_images(data):
    grid = grid_of(data, rates=[0.2], seeds=[1, 2], split_seed=None)
    splits = {run.hash: draw_split(data, run) for run in grid}
    assert len({tuple(s.table.image) for s in splits.values()}) == 2
    (task,), tables = plan_tasks(grid, splits), [s.table for s in splits.values()]
    assert set(task.images.image) == {i for t in tables for i in t.image}
    assert set(task.images.image[task.images.trained]) == {
        i for t in tables for i in t.image[t.part == "train"]
    }


def test_a_task_that_breaks_harms_nobody_else(data, tmp_path, monkeypatch):
    "Errors that nobody thought of are listed as they are; other tasks go on; Ctrl-C goes through"

    def breaks(pretrained=True):
        raise RuntimeError("the moon\nis in the way")

    monkeypatch.setitem(ARCHS, "breaks", breaks)
    grid = grid_of(data, rates=[0.3], archs=["breaks", "net"])
    result = sweep(data, grid, tmp_path / "sweep", progress=False)
    assert len(result.failed) == 2 and set(result.failed.reason) == {
        "RuntimeError: the moon is in the way"
    }
    assert result.table.arch.unique().tolist() == ["net"]
    assert len(json.loads((tmp_path / "sweep" / "failed.json").read_text())) == 2
    tried = []

    def counting(tasks, options):
        tried.extend(tasks)
        yield from run_here(tasks, options)

    again = dict(progress=False, runner=counting)
    assert len(sweep(data, grid, tmp_path / "sweep", **again).failed) == 2 and not tried
    assert len(sweep(data, grid, tmp_path / "sweep", **again, retry_failed=True).failed) == 2
    assert len(tried) == 1, "one task of two runs"
    monkeypatch.setitem(ARCHS, "breaks", lambda pretrained=True: net())
    assert sweep(data, grid, tmp_path / "sweep", **again).failed.empty, "another network by now"

    def stopped(pretrained=True):
        raise KeyboardInterrupt

    monkeypatch.setitem(ARCHS, "breaks", stopped)
    with pytest.raises(KeyboardInterrupt):
        sweep(data, grid, tmp_path / "stopped", progress=False)


def other_net(pretrained=True):
    "The network with other weights"
    body = net()
    with torch.no_grad():
        next(body.module.parameters()).mul_(1.5)
    return body


@pytest.fixture
def own_data(data, tmp_path):
    "A dataset whose pictures may be changed"
    shutil.copytree(data.src_path("red00.png").parent, tmp_path / "pictures")
    return make_dataset(tmp_path / "pictures")


def another_picture(data, grid, monkeypatch):
    path = Path(draw_split(data, grid[0]).table.path.iloc[0])
    before = path.read_bytes(), path.stat()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(path)

    def back():
        path.write_bytes(before[0])
        os.utime(path, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))

    return data, grid, back


def other_labels(data, grid, monkeypatch):
    rows = [(f"{n}{i:02d}.png", n) for n in NAMES for i in range(80)]
    rows += [(f"{n}{i:02d}.png", "bar") for n in NAMES for i in range(50, 78)]
    root = str(data.src_path("red00.png").parent)
    rows = pd.DataFrame(rows, columns=["image", "label"])
    return TableDataset(rows, name="squares", image_root=root), grid, lambda: None


def images_left_out(data, grid, monkeypatch):
    without = draw_split(data, grid[0]).table.image.iloc[:4].tolist()
    return data, [run.but(without=without) for run in grid], lambda: None


def another_rate(data, grid, monkeypatch):
    return data, [run.but(lr=0.02) for run in grid], lambda: None


def other_weights(data, grid, monkeypatch):
    ARCHS["net"] = other_net
    return data, grid, lambda: ARCHS.update(net=net)


def another_method(data, grid, monkeypatch):
    monkeypatch.setattr(sweeps, "METHOD", 99)
    return data, grid, lambda: monkeypatch.setattr(sweeps, "METHOD", learner.METHOD)


CHANGES = [
    another_picture,
    other_labels,
    images_left_out,
    another_rate,
    other_weights,
    another_method,
]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_there_and_back(own_data, tmp_path, monkeypatch, change, together):
    """A sweep of something else in the same folder is done anew and has the numbers of a folder of
    its own; back again, the first numbers are there and nothing is trained"""
    grid = grid_of(own_data, rates=[0.2], epochs=1)
    if not together:
        grid = [grid[0].but(unfreeze="all")]  # each is a training of its own, and takes longer
    tried = []

    def runner(tasks, options):
        tried.append(sum(len(task.runs) for task in tasks))
        yield from run_here(tasks, options)

    def table(data, grid, folder):
        return sweep(data, grid, tmp_path / folder, progress=False, runner=runner).table

    first = table(own_data, grid, "results")
    data, changed, back = change(own_data, grid, monkeypatch)
    try:
        second, alone = table(data, changed, "results"), table(data, changed, "alone")
    finally:
        back()
    pd.testing.assert_frame_equal(second, alone, check_exact=False, rtol=1e-4)
    third = table(own_data, grid, "results")
    assert third.equals(first) and tried == [len(grid)] * 3 + [0]
    if change is not another_method:
        assert not np.allclose(first.test_clean_loss, second.test_clean_loss, atol=1e-7)
    assert table(own_data, grid, "results").equals(first)
    on_disk = pd.read_parquet(tmp_path / "results" / "results.parquet")
    assert np.array_equal(on_disk.test_clean_loss, first.test_clean_loss)


def test_fresh_does_everything_again(data, tmp_path):
    grid, tried = grid_of(data, epochs=1), []

    def runner(tasks, options):
        tried.append(sum(len(task.runs) for task in tasks))
        yield from run_here(tasks, options)

    how = dict(progress=False, runner=runner)
    tables = [sweep(data, grid, tmp_path, **how, fresh=fresh).table for fresh in (0, 0, 1)]
    assert tried == [4, 0, 4] and tables[1].equals(tables[0])
    pd.testing.assert_frame_equal(tables[2], tables[0], check_exact=False, rtol=1e-5)


def test_two_sweeps_into_one_folder(data, killed):
    "The second is told who writes there, before it does anything"
    folder, told, process = killed
    assert f"is being written by process {process} on" in told
    (folder / "parts" / ".x.part-abcdefgh.parquet").touch()
    assert len(sweep(data, grid_of(data, epochs=1), folder, progress=False).last) == 4
    assert not list(folder.rglob(".*"))


def test_kept_models_are_those_of_the_results(own_data, tmp_path, monkeypatch):
    "Models are made where they are missing, and again where they are of other pictures"
    grid, tried = grid_of(own_data, rates=[0.2], targets=["red"], epochs=1), []

    def runner(tasks, options):
        tried.append(sum(len(task.runs) for task in tasks))
        yield from run_here(tasks, options)

    def weights(save_models=True):
        sweep(own_data, grid, tmp_path, progress=False, runner=runner, save_models=save_models)
        file = run_folder(tmp_path, grid[0]) / "poisoned" / "model.safetensors"
        return file.read_bytes() if file.exists() else None

    assert weights(save_models=False) is None
    first = weights()
    assert first == weights() and tried == [1, 1, 0]
    _, _, back = another_picture(own_data, grid, monkeypatch)
    second = weights()
    back()
    third = weights()
    assert first == third != second and tried == [1, 1, 0, 1, 1]
