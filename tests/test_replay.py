"Heads as a GPU trains them, beside the plain way: numbers, launches, copies, memory"

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.random import rng
from natural_backdoors.train import heads
from natural_backdoors.train.heads import HeadRun, train_heads
from natural_backdoors.train.models import fastai_head, linear_head, mlp_head, private_seed

torch.set_num_threads(1)
N, WIDTH, CLASSES = 60, 12, 4
VIEWS = [torch.from_numpy(rng(v).normal(size=(N, WIDTH)).astype(np.float16)) for v in range(3)]


def make_head(kind, run):
    with private_seed(run.seed):
        return kind(WIDTH, CLASSES)


def run_of(i, n, lr=0.01, **more):
    draw = rng(77, i)
    rows = draw.choice(N, n, replace=False)
    sets = {}
    for name, size in (("train", 9 + i), ("test", 7), ("none", 0)):
        where = draw.choice(N, size, replace=False)
        sets[name] = (where, draw.integers(0, CLASSES, size))
    return HeadRun(rows, rows % CLASSES, lr, seed=i % 3, measured=sets, **more)


def some_runs():
    "Different lengths, rates, decay, smoothing, weights; one that becomes infinite"
    return [
        run_of(0, 33),
        run_of(1, 24, lr=0.1, label_smoothing=0.2),
        run_of(2, 7, weight_decay=0.0),
        run_of(3, 48, class_weights=(1.0, 0.5, 2.0, 1.0)),
        run_of(4, 25, lr=1e30),
        replace(run_of(5, 33, lr=0.1, epsilon=1e-7), measured={"other": ([3, 1], [0, 2])}),
        replace(run_of(6, 30), measured={}),
    ]


def trained(runs, kind=mlp_head, **how):
    how = dict(epochs=3, batch_size=8, plain=VIEWS[0], device="cpu") | how
    return train_heads(partial(make_head, kind), runs, lambda epoch: VIEWS[epoch % 3], **how)


@pytest.fixture
def replayed(monkeypatch):
    "As on a GPU, but what is recorded is done again"
    monkeypatch.setitem(heads._RECORD, "cpu", lambda body: body)


def assert_alike(found, right, atol=1e-5):
    for mine, other in zip(found, right, strict=True):
        assert mine.failed == other.failed
        assert list(mine.log.columns) == list(other.log.columns)
        assert np.allclose(mine.log, other.log, atol=atol, equal_nan=True)
        for name, tensor in other.state.items():
            assert torch.allclose(mine.state[name], tensor, atol=atol, equal_nan=True)


@pytest.mark.parametrize("schedule", ["one_cycle", "constant"])
@pytest.mark.parametrize("kind", [mlp_head, linear_head])
def test_replayed_heads_are_those_of_the_plain_way(kind, schedule, monkeypatch):
    runs = some_runs()
    right = trained(runs, kind, schedule=schedule)
    monkeypatch.setitem(heads._RECORD, "cpu", lambda body: body)
    seen = []
    keep = heads._Replay.step
    monkeypatch.setattr(heads._Replay, "step", lambda self: (seen.append(1), keep(self))[1])
    found = trained(runs, kind, schedule=schedule)
    assert len(seen) == 1 + 3 * 6, "a first one as a proof, and 48 images in batches of 8"
    assert [bool(result.failed) for result in found] == [False] * 4 + [True, False, False]
    assert_alike(found, right)


def test_heads_with_dropout_take_the_plain_way(replayed):
    runs = [run_of(i, 24) for i in range(2)]
    found = trained(runs, fastai_head)
    heads._RECORD.pop("cpu")
    assert_alike(found, trained(runs, fastai_head))


def test_what_cannot_be_recorded_is_told(monkeypatch):
    def no_graph(body):
        body()  # work that was begun with does not count
        raise RuntimeError("operation not permitted when stream is capturing")

    runs = [run_of(i, 24) for i in range(2)]
    right = trained(runs)
    monkeypatch.setitem(heads._RECORD, "cpu", no_graph)
    with pytest.warns(UserWarning, match="graph of a step of the heads is not used: .*capturing"):
        found = trained(runs)
    assert_alike(found, right, atol=1e-6)


def test_a_record_that_gives_other_numbers_is_not_used(monkeypatch):
    runs = [run_of(i, 24) for i in range(2)]
    right = trained(runs)

    def forgets(body):
        body()
        return lambda: None  # what was computed first, each time

    keep = heads._Replay.begin

    def begin(self, own, seen):
        keep(self, own, seen)
        if hasattr(self, "repeat"):
            self.losses = self.losses + 1
        return self

    monkeypatch.setitem(heads._RECORD, "cpu", forgets)
    monkeypatch.setattr(heads._Replay, "begin", begin)
    with pytest.warns(UserWarning, match="it differs by"):
        found = trained(runs)
    assert_alike(found, right, atol=1e-6)


def counts(n, batch_size):  # -> {operation: how often}
    "Of a training of `n` heads in an epoch of 32 images"
    runs = [replace(run_of(i, 32), measured=run_of(0, 32).measured) for i in range(n)]
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        trained(runs, epochs=1, batch_size=batch_size)
    return {event.key: event.count for event in seen.key_averages()}


def test_launches_and_waits_do_not_grow_with_the_heads(replayed, monkeypatch):
    "The same launches for 2 heads as for 6; no step looks at a number, however many there are"
    few, many = counts(2, 8), counts(6, 8)
    for name in ("aten::bmm", "aten::baddbmm", "aten::_fused_adamw_", "aten::index"):
        assert few.get(name, 0) == many.get(name, 0), name
    assert many["aten::_fused_adamw_"] == 4
    # the optimizer's form for CPUs looks at its count of steps, that for GPUs does not
    monkeypatch.setattr(heads._Trainer, "move", lambda *args: None)
    looks = [counts(6, size).get("aten::_local_scalar_dense", 0) for size in (8, 4)]
    assert looks[0] == looks[1] <= 2, "of the proof"


def test_orders_that_are_shared_are_drawn_once(monkeypatch):
    runs, drawn = [*(run_of(i, 24) for i in range(6)), run_of(0, 16)], []
    right = [heads.epoch_orders(len(run.rows), run.seed, 8) for run in runs]
    keep = heads.epoch_orders

    def counting(*key):
        drawn.append(key)
        return keep(*key)

    monkeypatch.setattr(heads, "epoch_orders", counting)
    for _, mine in zip(range(3), heads._all_orders(runs, 8)):
        for own, order in zip(mine, right, strict=True):
            assert np.array_equal(own, next(order))
    assert sorted(drawn) == [(16, 0, 8), (24, 0, 8), (24, 1, 8), (24, 2, 8)]


def test_measured_together_as_one_by_one(replayed):
    "Sets of any length beside a loop over images"
    run = run_of(3, 20)
    found = trained([run, run_of(1, 20)], epochs=1)[0]
    head = make_head(mlp_head, run)
    head.load_state_dict(found.state)
    for name, (where, answers) in run.measured.items():
        hits, losses = [], []
        for i, right in zip(where, answers):
            z = head(VIEWS[0][i].float()[None])
            hits.append(int(z.argmax()) == right)
            losses.append(nn.functional.cross_entropy(z, torch.tensor([right])).item())
        row = found.log.iloc[0]
        if not len(where):
            assert np.isnan(row[f"{name}_acc"]) and np.isnan(row[f"{name}_loss"])
            continue
        assert row[f"{name}_acc"] == pytest.approx(np.mean(hits))
        assert row[f"{name}_loss"] == pytest.approx(np.mean(losses), abs=1e-5)


def test_too_many_heads_are_trained_in_parts(monkeypatch):
    runs, sizes = some_runs()[:4], []
    right = trained(runs)
    keep = heads._Trainer.backward

    def backward(self, x, labels, now):
        sizes.append(len(self.runs))
        if len(self.runs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return keep(self, x, labels, now)

    monkeypatch.setattr(heads._Trainer, "backward", backward)
    with pytest.warns(UserWarning, match="too little memory for 4 heads at once.*two parts"):
        found = trained(runs)
    assert_alike(found, right)

    def never(self, x, labels, now):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(heads._Trainer, "backward", never)
    with (
        pytest.warns(UserWarning, match="two parts"),
        pytest.raises(UserError, match="too little memory for 1 heads at once; lower memory"),
    ):
        trained(runs)
