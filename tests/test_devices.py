"Ways of a GPU, as far as a CPU can show them: numbers, launches, waits, memory"

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.profiler import ProfilerActivity, profile

from natural_backdoors.base.errors import UserError, memory_told
from natural_backdoors.base.random import rng
from natural_backdoors.train import devices, features, learner, models
from natural_backdoors.train.batches import split_arrays
from natural_backdoors.train.devices import folded, quick_network
from natural_backdoors.train.evaluation import evaluate_run
from natural_backdoors.train.features import FeatureBank, feature_bank
from natural_backdoors.train.learner import bytes_of_training, where_used
from natural_backdoors.train.looks import Views
from natural_backdoors.train.models import build_model, model_outputs, private_seed
from natural_backdoors.train.runs import train_split
from natural_backdoors.train.shapes import shapes_split

torch.set_num_threads(1)
SIZE = 32
FAKE = partial(quick_network, record=lambda body: body, compiler=lambda function, **how: function)


@pytest.fixture(scope="module")
def network():
    "A small residual network as if it had been trained, and what belongs to it"
    (body, _), info = build_model("small", 3, pretrained=False, size=SIZE)
    with private_seed(3):
        for layer in body.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.running_mean, -0.3, 0.3)
                nn.init.uniform_(layer.running_var, 0.5, 2)
                nn.init.uniform_(layer.weight, 0.5, 2)
    return body.eval(), info


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    found = [folder / f"{i}.png" for i in range(10)]
    for i, path in enumerate(found):
        pixels = rng(i).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return found


def half_bank(network, folder, monkeypatch, **how) -> FeatureBank:
    "A bank as on a GPU, on a CPU"
    monkeypatch.setattr(features, "quick_network", FAKE)
    bank = feature_bank(*network, folder, batch_size=4, device="cpu", **how)
    bank.network.mixed = True
    return bank


def counts(function):  # -> {operation: how often}
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        function()
    return {event.key: event.count for event in seen.key_averages()}


@pytest.mark.parametrize("compile, passes", [(None, 30), (True, 30)])
def test_a_bank_in_half_precision_is_that_of_32_bits(
    network, paths, tmp_path, monkeypatch, compile, passes
):
    bank = half_bank(network, tmp_path / "half", monkeypatch, compile=compile)
    monkeypatch.setitem(features._BEGUN, "cpu", 1)
    monkeypatch.setattr(features, "PORTION", 3)
    plain = feature_bank(*network, tmp_path / "plain", batch_size=4, device="cpu")
    assert bank.fill(paths, 2).passes == plain.fill(paths, 2).passes == passes
    assert set(bank.network.quick.said.values()) == {""}
    assert ("compiled" in bank.network.quick.said) == bool(compile)
    for view in (None, 0, 1):
        mine, right = (
            b.plain(paths) if view is None else b.view(paths, view) for b in (bank, plain)
        )
        far = (mine.float() - right.float()).abs().max() / right.float().abs().max()
        assert 0 < far < 5e-3
    assert 0 < bank.network.quick.difference < 5e-3
    assert bank.network.key() != plain.network.key()


def test_nothing_waits_between_batches(network, monkeypatch, tmp_path):
    "However many batches: one look at the numbers, one upload of the pixels, no batch norm"
    bank = half_bank(network, tmp_path, monkeypatch)
    pixels, seen = rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8), []
    with features._at_work(bank.network):
        for views in (2, 8):
            draws = rng(1).random((4, 4 * views), dtype=np.float32)
            work = bank.network
            seen.append(counts(lambda: work.finish(work.begin(pixels, 0, draws, Views()))))
    few, many = seen
    assert few["aten::_local_scalar_dense"] == many["aten::_local_scalar_dense"] == 1
    assert few["aten::convolution"] * 4 == many["aten::convolution"] > 0
    assert few["aten::grid_sampler_2d"] == 2 and many["aten::grid_sampler_2d"] == 8, "one a batch"
    assert not [name for name in many if "batch_norm" in name]


def test_the_next_portion_is_begun_with_before_the_last_is_waited_for(
    network, paths, tmp_path, monkeypatch
):
    bank, seen = half_bank(network, tmp_path, monkeypatch), []
    monkeypatch.setattr(features, "PORTION", 3)
    monkeypatch.setitem(features._BEGUN, "cpu", 1)

    class Event:
        def synchronize(self):
            seen.append("waited")

    monkeypatch.setattr(features, "_mark", lambda device: seen.append("begun") or Event())
    bank.fill(paths, 1)
    n = seen.count("begun")
    assert n >= 3 and seen == ["begun", *["begun", "waited"] * (n - 1), "waited"]


def test_what_was_begun_with_is_kept_when_memory_is_short(network, paths, tmp_path, monkeypatch):
    bank, calls = half_bank(network, tmp_path, monkeypatch), []
    monkeypatch.setattr(features, "PORTION", 1)
    monkeypatch.setitem(features._BEGUN, "cpu", 1)
    keep = bank.network.begin

    def begin(*args):
        calls.append(len(args[0]))
        return keep(*args) if len(calls) < 4 else no_room()

    bank.network.begin = begin
    with pytest.raises(UserError, match="the GPU has too little memory for batches of 4 images"):
        bank.fill(paths)
    del bank.network.begin
    assert bank.fill(paths).passes == len(paths) - sum(calls[:3])


def test_a_way_that_fails_is_told_and_changes_nothing(network, paths, tmp_path, monkeypatch):
    def no_graph(body):
        raise RuntimeError("CUDA graphs need a newer driver")

    bank = half_bank(network, tmp_path / "a", monkeypatch)
    monkeypatch.setattr(features, "quick_network", partial(quick_network, record=no_graph))
    with pytest.warns(UserWarning, match="CUDA graph of the network is not used.*newer driver"):
        rows = bank.plain(paths)
    good = half_bank(network, tmp_path / "b", monkeypatch)
    assert torch.equal(rows, good.plain(paths))


def test_without_half_precision_32_bits_are_not_far(tmp_path):
    "A network that leaves the range of half precision on its way"

    class Wide(nn.Module):
        def forward(self, x):
            return (x.mean((2, 3)) * 1e6) / 1e6

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        quick = FAKE(Wide(), torch.rand(4, 3, 8, 8))
    assert "half precision" in str(said[0].message) and quick.said["half precision"]
    assert quick.function(torch.ones(4, 3, 8, 8)).isfinite().all()


@pytest.mark.parametrize("arch", ["resnet18", "densenet121", "mobilenet_v3_small", "googlenet"])
def test_folding_keeps_the_numbers(arch):
    (body, _), _ = build_model(arch, 3, pretrained=False, size=64)
    with private_seed(1):
        for layer in body.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.running_mean, -0.2, 0.2)
                nn.init.uniform_(layer.running_var, 0.5, 2)
        x = torch.rand(2, 3, 64, 64)
    before = {name: tensor.clone() for name, tensor in body.state_dict().items()}
    with torch.no_grad():
        quick = folded(body.eval(), x[:1])
        assert devices.difference(quick(x), body(x)) < 1e-4
    norms = [sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) for net in (body, quick)]
    assert norms[1] < norms[0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in body.state_dict().items())


def test_a_recorded_function_does_not_remember(network):
    body, _ = network
    way = devices.recorded_way(body, torch.zeros(4, 3, SIZE, SIZE), record=lambda body: body)
    with torch.no_grad():
        for seed in range(3):
            x = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
            assert torch.equal(way.function(x), body(x))


def no_room(*args, **kwargs):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_images_that_do_not_fit_stay_where_they_are(monkeypatch):
    pixels = torch.zeros(4, 8, 8, 3, dtype=torch.uint8)
    monkeypatch.setattr(learner, "to_device", no_room)
    with pytest.warns(UserWarning, match="do not fit into the memory of the GPU"):
        assert where_used(pixels, "meta", free=10**9) is pixels


def test_memory_of_evaluation_is_told(network, monkeypatch):
    body, info = network
    model = nn.Sequential(body, nn.Linear(192, 3)).train()
    model[1].forward = no_room
    with pytest.raises(UserError, match="too little memory for batches of 7 images; lower batch"):
        model_outputs(
            model, torch.zeros(9, SIZE, SIZE, 3, dtype=torch.uint8), info["mean"], info["std"], 7
        )
    assert model.training


@pytest.mark.parametrize("unfreeze", ["head", "all"])
def test_what_a_training_takes_beside_what_autograd_keeps(unfreeze):
    model, _ = build_model("resnet18", 3, pretrained=False, size=64)
    for parameter in model[0].parameters():
        parameter.requires_grad_(unfreeze == "all")
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x = torch.zeros(4, 3, 64, 64)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(x).sum()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    mine = bytes_of_training(model, 64, 4) - bytes_of_training(model, 64, 0)
    own = sum(size for place, size in kept.items() if place not in weights)
    assert loss.isfinite() and own / 2 <= mine <= 3 * own + 10**5


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    "A split of drawings, and a training of it"
    folder = tmp_path_factory.mktemp("run")
    split = shapes_split(folder / "images")
    how = dict(arch="small", pretrained=False, unfreeze="all", size=16, epochs=1)
    images = split_arrays(split, 16)
    return train_split(split, folder / "run", images=images, progress=False, **how), split, how


def test_memory_while_images_are_moved_is_told(run, monkeypatch):
    _, split, how = run
    monkeypatch.setattr(learner, "where_used", no_room)
    with pytest.raises(UserError, match="too little memory for this network and images of 16 pix"):
        learner.make_learner(split, progress=False, device="cpu", **how)


def test_memory_while_an_epoch_is_measured_is_told(run, tmp_path, monkeypatch):
    "With what is kept, as when it happens in a step"
    _, split, how = run
    measure, calls = learner.EpochLog.measure, []

    def second(self, said):
        calls.append(1)
        if len(calls) == 2:
            with memory_told("for batches of 128 images"):
                no_room()
        return measure(self, said)

    monkeypatch.setattr(learner.EpochLog, "measure", second)
    more = how | {"epochs": 3}
    with pytest.raises(UserError, match="lower batch_size or size.*checkpoint of epoch 0 is kept"):
        train_split(split, tmp_path, progress=False, controls=(), **more)
    assert train_split(split, tmp_path, progress=False, controls=(), **more).models
    assert len(calls) == 4


def test_an_evaluation_that_runs_out_keeps_what_it_measured(run, monkeypatch):
    done, *_ = run
    outputs, calls = model_outputs, []

    def second(*args, **kwargs):
        calls.append(1)
        return outputs(*args, **kwargs) if len(calls) == 1 else no_room()

    for name in ("poisoned", "true_labels"):
        (done.folder / name / "rows.parquet").unlink(missing_ok=True)
    monkeypatch.setattr(models, "model_outputs", second)
    with pytest.raises(UserError, match="for the .* model, 128 images at a time; lower batch_size"):
        evaluate_run(done.folder, device="cpu")
    assert [(done.folder / n / "rows.parquet").exists() for n in done.models] == [True, False]
    monkeypatch.setattr(models, "model_outputs", outputs)
    assert set(evaluate_run(done.folder, device="cpu")["models"]) == set(done.models)


def test_a_split_that_is_elsewhere_is_trained_the_same(run, tmp_path, monkeypatch):
    "Images and labels on a device of their own, beside where they were decoded"
    done, split, how = run
    copies = []

    def elsewhere(pixels, device, **given):
        copies.append(pixels.clone())
        return copies[-1]

    monkeypatch.setattr(learner, "where_used", elsewhere)
    again = train_split(split, tmp_path, progress=False, **how)
    assert len(copies) == len(done.models) == 2
    for name, log in done.logs.items():
        assert log.equals(again.logs[name])
