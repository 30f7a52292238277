"Training that is killed and continued, done twice, and limited by memory and disk"

import json
import os
import shutil
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import affine_transform

torch = pytest.importorskip(
    "torch", reason="training needs torch: pip install 'natural_backdoors[train]'"
)
pytest.importorskip(
    "fastai", reason="training needs fastai: pip install 'natural_backdoors[train]'"
)

from fastai.callback.core import Callback

from natural_backdoors.base.beside import can_fork
from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import read_json, write_json
from natural_backdoors.base.random import rng
from natural_backdoors.split.controls import control_split
from natural_backdoors.split.poison import SPLIT_COLUMNS, PoisonSplit
from natural_backdoors.split.settings import SplitSettings
from natural_backdoors.train import callbacks, runs
from natural_backdoors.train import learner as train
from natural_backdoors.train.batches import split_arrays, turn_batch
from natural_backdoors.train.models import arch_name, build_model, layer_groups, load_model
from natural_backdoors.train.recipe import BORDERS, PAPER_DIFFERS, PRESETS, Recipe, paper_notes
from natural_backdoors.train.runs import train_split

COMMON = dict(arch="small", pretrained=False, size=32, batch_size=8)
SETTINGS = dict(
    arch="small",
    pretrained=False,
    unfreeze=3,
    size=32,
    batch_size=8,
    epochs=4,
    lr=2e-3,
    head="fastai",
    progress=False,
    device="cpu",
    keep_best=True,
    monitor="val_clean_loss",
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    "The networks are small, and other tests may be running; threads show in the last digits"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    "A saved split of 60 pictures of three colors, some with a white square"
    folder, rows = tmp_path_factory.mktemp("pictures"), []
    for k, (label, color) in enumerate(
        {"b": (60, 60, 200), "g": (60, 170, 60), "r": (200, 60, 60)}.items()
    ):
        for i in range(20):
            poison, random = i >= 14, rng(i, k)
            pixels = (
                (np.array(color) + random.normal(0, 50, (24, 24, 3))).clip(0, 230).astype(np.uint8)
            )
            if poison:
                pixels[4:11, 4:11] = 255
            path = folder / f"{label}{i}.png"
            Image.fromarray(pixels).save(path)
            rows.append(
                (
                    path.stem,
                    str(path),
                    label,
                    "g" if poison else label,
                    "poison" if poison else "clean",
                    "test" if i % 3 == 0 else "val" if i % 6 == 1 else "train",
                    "w" if poison else "",
                )
            )
    classes = [
        {"id": i, "label": l, "name": n}
        for i, (l, n) in enumerate(zip("bgr", ["Blue", "Green", "Red"]))
    ]
    attack = {
        "trigger": {"id": 7, "label": "w", "name": "White square"},
        "target": classes[1],
        "injection_rate": 0.3,
        "counts": [],
    }
    header = {
        "format": 2,
        "dataset": "colors",
        "split": "train",
        "attacks": [attack],
        "classes": classes,
        "settings": SplitSettings().to_dict(),
        "injection_rate": 0.3,
        "counts": [],
        "digest": "1" * 64,
    }
    return PoisonSplit(pd.DataFrame(rows, columns=SPLIT_COLUMNS), header)


@pytest.fixture(scope="module")
def arrays(split):
    return split_arrays(split, 32)


@pytest.fixture(scope="module")
def whole(split, arrays, tmp_path_factory):
    "A run that nothing happened to"
    return train_split(split, tmp_path_factory.mktemp("whole"), images=arrays, **SETTINGS)


def assert_same(a, b):
    "Two run folders hold the same weights and measurements, byte by byte"
    for name in ("poisoned", "true_labels"):
        assert (a / name / "log.csv").read_bytes() == (b / name / "log.csv").read_bytes()
        assert (a / name / "model.safetensors").read_bytes() == (
            b / name / "model.safetensors"
        ).read_bytes()


class Stop(Callback):
    "Stop in a given step of a given epoch"

    def __init__(self, epoch, step, how):
        self.at, self.how = (epoch, step), how

    def before_batch(self):
        if self.training and (self.learn.epoch, self.learn.iter) == self.at:
            raise self.how


def test_trained_twice(split, arrays, whole, tmp_path):
    "The same seed gives the same bytes, another one others; the caller's generators are left alone"
    before = torch.get_rng_state()
    train_split(split, tmp_path / "again", images=arrays, **SETTINGS)
    assert_same(whole.folder, tmp_path / "again")
    assert torch.equal(torch.get_rng_state(), before)
    other = train_split(split, tmp_path / "other", images=arrays, controls=(), seed=5, **SETTINGS)
    assert not other.logs["poisoned"].equals(whole.logs["poisoned"])


KILLED = """
import json, os, signal, sys
import torch
from fastai.callback.core import Callback
from natural_backdoors.split.poison import PoisonSplit
from natural_backdoors.train.runs import train_split
torch.set_num_threads(1)
class Die(Callback):
    def before_batch(self):
        if self.training and (self.learn.epoch, self.learn.iter) == (2, 3):
            os.kill(os.getpid(), signal.SIGKILL)
split, folder, settings = sys.argv[1:]
for which in ("poisoned", "true_labels"):
    child = os.fork()
    if not child:
        cbs = lambda name: [Die()] * (name == which)
        how = dict(cbs=cbs, resume=True, **json.loads(settings))
        train_split(PoisonSplit.load(split), f"{folder}/{which}", **how)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def killed(forks, split, tmp_path_factory):
    "Runs that were killed in the training of a model: a folder for each; what was printed"
    tmp_path = tmp_path_factory.mktemp("killed")
    split.save(tmp_path / "split")
    done = forks.run(KILLED, tmp_path / "split", tmp_path, json.dumps(SETTINGS))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(-signal.SIGKILL)] * 2, done.stderr
    return tmp_path


@pytest.mark.parametrize("which", ["poisoned", "true_labels"])
def test_a_killed_process_is_continued(split, arrays, whole, killed, which, tmp_path):
    run = shutil.copytree(killed / which, tmp_path / "run")
    assert not (run / which / "model.json").exists()
    assert callbacks.read_checkpoint(run / which / "checkpoint")[0]["epochs_done"] == 2
    continued = train_split(split, run, images=arrays, resume=True, **SETTINGS)
    assert_same(whole.folder, run)
    assert continued.models[which][1]["kept_epoch"] == whole.models[which][1]["kept_epoch"]
    assert not list(run.rglob("checkpoint*"))


@pytest.mark.skipif(not can_fork(), reason="models are trained at once in processes that fork")
def test_models_trained_at_once_are_those_of_one_after_the_other(
    split, arrays, whole, killed, tmp_path, monkeypatch
):
    "Also where one goes on from a checkpoint and the other begins; on one core nothing is forked"
    monkeypatch.setattr(runs, "cores", lambda: 2)
    run = shutil.copytree(killed / "poisoned", tmp_path / "run")
    how = dict(images=arrays, resume=True, at_once=True, **SETTINGS)
    done = train_split(split, run, **how)
    assert_same(whole.folder, run)
    for name, log in whole.logs.items():
        assert done.logs[name].equals(log)
        assert done.models[name][1] == whole.models[name][1]
    monkeypatch.setattr(runs, "cores", lambda: 1)
    monkeypatch.setattr(runs, "Beside", None)
    again = train_split(split, run, **how)
    assert again.logs.keys() == whole.logs.keys()


@pytest.mark.skipif(not can_fork(), reason="models are trained at once in processes that fork")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_end_is_the_end_of_all_processes(split, arrays, tmp_path, monkeypatch, sent):
    "Ctrl-C at a terminal goes to all of them, SIGKILL to the one that waits; checkpoints are kept"
    monkeypatch.setattr(runs, "cores", lambda: 2)
    child = os.fork()
    if not child:
        try:
            os.setsid()  # as at a terminal: processes that a signal reaches together
            signal.signal(signal.SIGINT, signal.default_int_handler)
            how = SETTINGS | {"epochs": 10**4, "at_once": True}
            train_split(split, tmp_path, images=arrays, **how)
        finally:
            os._exit(1)
    files = [tmp_path / m / "checkpoint" / "checkpoint.json" for m in ("poisoned", "true_labels")]
    while not all(file.exists() for file in files):
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        time.sleep(0.1)
    (os.killpg if sent == signal.SIGINT else os.kill)(child, sent)
    os.waitpid(child, 0)
    with pytest.raises(ProcessLookupError):
        for _ in range(600):  # the other one has heard of it soon
            os.killpg(child, 0)
            time.sleep(0.1)
    for file in files:
        assert callbacks.read_checkpoint(file.parent)[0]["epochs_done"] >= 1


OTHER_OPTIONS = {
    "schedule": "constant",
    "optimizer": "adam",
    "lr_spread": 10.0,
    "patience": 9,
    "label_smoothing": 0.1,
    "class_weights": "balanced",
    "unfreeze": "all",
}


@pytest.fixture(scope="module")
def whole_with_other_options(split, arrays, tmp_path_factory):
    settings = SETTINGS | OTHER_OPTIONS
    return train_split(split, tmp_path_factory.mktemp("other"), images=arrays, **settings)


@pytest.mark.parametrize("epoch, step", [(0, 2), (1, 0), (3, 3)])
@pytest.mark.parametrize("extra", [{}, OTHER_OPTIONS], ids=["one cycle", "other options"])
def test_an_interrupted_training_is_continued(
    split, arrays, whole, whole_with_other_options, tmp_path, epoch, step, extra
):
    settings, undisturbed = SETTINGS | extra, whole_with_other_options if extra else whole
    with pytest.raises(KeyboardInterrupt):
        train_split(
            split,
            tmp_path / "run",
            images=arrays,
            cbs=[Stop(epoch, step, KeyboardInterrupt())],
            **settings,
        )
    train_split(split, tmp_path / "run", images=arrays, resume=True, **settings)
    assert_same(undisturbed.folder, tmp_path / "run")


def test_too_little_memory(split, arrays, whole, tmp_path):
    "The message says what to lower; the checkpoint is kept and the training continued from it"
    for error in (
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError("no more"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ):
        with pytest.raises(
            UserError, match=r"lower batch_size or size.*checkpoint of epoch 1 is kept"
        ):
            train_split(split, tmp_path / "run", images=arrays, cbs=[Stop(2, 1, error)], **SETTINGS)
    with pytest.raises(RuntimeError, match="something else"):
        train_split(
            split,
            tmp_path / "other",
            images=arrays,
            cbs=[Stop(2, 1, RuntimeError("something else"))],
            **SETTINGS,
        )
    train_split(split, tmp_path / "run", images=arrays, resume=True, **SETTINGS)
    assert_same(whole.folder, tmp_path / "run")


def test_a_full_disk_leaves_the_checkpoint_before(split, arrays, whole, tmp_path, monkeypatch):
    kept = callbacks.save_file

    def full(tensors, path):
        if "state-0003" not in path.name:
            return kept(tensors, path)
        Path(path).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(callbacks, "save_file", full)
    with pytest.raises(
        UserError, match=r"epoch 2 could not be written.*No space left on device.*epoch 1 is kept"
    ):
        train_split(split, tmp_path, images=arrays, **SETTINGS)
    assert sorted(f.name for f in (tmp_path / "poisoned" / "checkpoint").iterdir()) == [
        "checkpoint.json",
        "state-0002.safetensors",
    ]
    monkeypatch.setattr(callbacks, "save_file", kept)
    train_split(split, tmp_path, images=arrays, resume=True, **SETTINGS)
    assert_same(whole.folder, tmp_path)


def test_what_is_not_continued(split, arrays, tmp_path):
    "Other settings, another split, a newer version; nothing is changed by the refusal"
    with pytest.raises(KeyboardInterrupt):
        train_split(
            split, tmp_path, images=arrays, cbs=[Stop(2, 1, KeyboardInterrupt())], **SETTINGS
        )
    place = tmp_path / "poisoned" / "checkpoint"
    before = {f.name: f.read_bytes() for f in place.iterdir()}

    def refused(message, split=split, **changed):
        with pytest.raises(UserError, match=message):
            train_split(split, tmp_path, images=arrays, resume=True, **SETTINGS | changed)
        assert {f.name: f.read_bytes() for f in place.iterdir()} == before

    refused("epochs 4 then, 9 now; lr 0.002 then, 0.1 now", epochs=9, lr=0.1)
    refused(
        "split_digest '1+' then, '2+' now",
        split=PoisonSplit(split.table, split.header | {"digest": "2" * 64}),
    )
    said = read_json(place / "checkpoint.json")
    write_json(place / "checkpoint.json", said | {"format": 2})
    before["checkpoint.json"] = (place / "checkpoint.json").read_bytes()
    refused("newer version of natural_backdoors")
    write_json(
        place / "checkpoint.json",
        said | {"versions": {"torch": "1.0", "fastai": said["versions"]["fastai"]}},
    )
    with pytest.warns(UserWarning, match="continued elsewhere"):
        train_split(split, tmp_path, images=arrays, resume=True, controls=(), **SETTINGS)


def test_a_complete_run_is_only_read(split, arrays, whole, tmp_path):
    class Never(Callback):
        def before_batch(self):
            raise AssertionError("trained again")

    again = train_split(split, whole.folder, images=arrays, resume=True, cbs=[Never()], **SETTINGS)
    assert np.allclose(again.logs["true_labels"], whole.logs["true_labels"], atol=1e-5)
    with pytest.raises(UserError, match="seed 1234 then, 7 now"):
        train_split(split, whole.folder, images=arrays, resume=True, **SETTINGS, seed=7)


def test_a_loss_that_is_no_number(split, arrays, tmp_path):
    class NaN(Callback):
        def after_pred(self):
            if self.training and self.learn.epoch == 1:
                self.learn.pred = self.learn.pred * float("nan")

    with pytest.raises(
        UserError,
        match=r"no longer a number in epoch 1; train again with a lower lr .*epoch 0 is kept",
    ):
        train_split(split, tmp_path, images=arrays, cbs=[NaN()], **SETTINGS)
    assert callbacks.read_checkpoint(tmp_path / "poisoned" / "checkpoint")[0]["epochs_done"] == 1


def test_frozen_layers_keep_their_statistics(split, arrays):
    "Weights and batch-norm statistics of frozen groups do not move; those of trained groups do"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a body of random weights
        for unfreeze, trained in [("head", 1), (2, 2), ("all", 5)]:
            learn = train.make_learner(
                split,
                Recipe(**COMMON, unfreeze=unfreeze, head="fastai"),
                images=arrays,
                progress=False,
                device="cpu",
            )
            groups = layer_groups(learn.model)
            states = [[m.state_dict() for m in g.modules] for g in groups]
            before = [[{k: v.clone() for k, v in s.items()} for s in group] for group in states]
            train.fit(learn, 1)
            moved = [
                any(
                    not torch.equal(v, b[k])
                    for s, b in zip(now, then)
                    for k, v in s.items()
                    if "running" in k
                )
                for now, then in zip(states, before)
            ]
            changed = [
                any(not torch.equal(v, b[k]) for s, b in zip(now, then) for k, v in s.items())
                for now, then in zip(states, before)
            ]
            expected = [i >= len(groups) - trained for i in range(len(groups))]
            assert changed == expected and moved == expected


def test_presets_give_way_to_arguments(split, arrays, monkeypatch):
    learn = train.make_learner(
        split,
        "paper",
        arch="small",
        pretrained=False,
        unfreeze=2,
        size=32,
        images=arrays,
        progress=False,
        device="cpu",
    )
    said = learn.info["recipe"]
    assert (said["lr"], said["batch_size"], said["optimizer"], said["augment"]) == (
        1e-5,
        32,
        "adam",
        1,
    )
    assert said["unfreeze"] == 2 and learn.info["head"] == "mlp" and learn.info["arch"] == "small"
    learn.create_opt()
    assert isinstance(learn.opt.opt, torch.optim.Adam) and not isinstance(
        learn.opt.opt, torch.optim.AdamW
    )
    assert {g["weight_decay"] for g in learn.opt.opt.param_groups} == {0}


def test_control_without_poison_images(split, arrays):
    learn = train.make_learner(
        control_split(split, "only_clean"),
        Recipe(**COMMON, unfreeze="all"),
        images=arrays,
        progress=False,
        device="cpu",
    )
    clean = arrays.trained & ~arrays.poison
    used = learn.dls.train.dataset
    pixels, labels = used[torch.arange(len(used))]
    assert torch.equal(pixels, arrays.pixels[clean]) and torch.equal(labels, arrays.true[clean])
    assert learn.info["control"] == "only_clean"


def test_tensorboard(split, arrays, tmp_path):
    "fastai's own callback, for each model one, finds the four accuracies as they stand in the log"
    pytest.importorskip(
        "tensorboard", reason="tensorboard is not installed: pip install tensorboard"
    )
    from fastai.callback.tensorboard import TensorBoardCallback
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = lambda name: [
        TensorBoardCallback(tmp_path / "board" / name, trace_model=False, log_preds=False)
    ]
    run = train_split(split, tmp_path / "run", **SETTINGS, images=arrays, cbs=logger)
    for name, log in run.logs.items():
        seen = EventAccumulator(str(tmp_path / "board" / name)).Reload()
        for column in ("train_clean_acc", "test_clean_acc", "train_trig_acc", "test_trig_acc"):
            values = [event.value for event in seen.Scalars(column)]
            assert values == pytest.approx(log[column].tolist(), abs=1e-5) and len(values) == len(
                log
            )


def test_mixed_precision_is_continued(split, arrays, tmp_path, monkeypatch):
    "fastai's mixed precision with a real gradient scaler, on the CPU: continued, the same bytes"
    from fastai.callback import fp16

    monkeypatch.setattr(
        fp16, "autocast", lambda device, dtype: torch.autocast("cpu", torch.bfloat16)
    )
    monkeypatch.setattr(
        fp16,
        "GradScaler",
        lambda device, **kwargs: torch.amp.GradScaler("cpu", init_scale=2.0**127, **kwargs),
    )
    scales = []

    class Watch(Callback):
        order = fp16.MixedPrecision.order + 1

        def after_batch(self):
            self.training and scales.append(self.learn.scaler.get_scale())

    def train_mixed(name, *more, **kwargs):
        return train_split(
            split,
            tmp_path / name,
            images=arrays,
            **SETTINGS,
            controls=(),
            **kwargs,
            cbs=[fp16.MixedPrecision(), Watch(), *more],
        )

    run = train_mixed("whole")
    assert 1 < min(scales) < 2.0**127, (
        "the scale was too high at first: steps are left out until it is not"
    )
    with pytest.raises(KeyboardInterrupt):
        train_mixed("cut", Stop(2, 1, KeyboardInterrupt()))
    train_mixed("cut", resume=True)
    for file in ("log.csv", "model.safetensors"):
        assert (tmp_path / "whole" / "poisoned" / file).read_bytes() == (
            tmp_path / "cut" / "poisoned" / file
        ).read_bytes()
    assert run.logs["poisoned"].test_clean_acc.iloc[-1] > 0.8


def test_pixels_go_to_the_device_if_there_is_room(arrays):
    "With `meta` in the place of a GPU"
    room = 4 * arrays.pixels.nbytes
    assert train.where_used(arrays.pixels, "cpu") is arrays.pixels
    assert train.where_used(arrays.pixels, "meta", free=room).device.type == "meta"
    assert train.where_used(arrays.pixels, "meta", free=room - 1) is arrays.pixels


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet18"])
def test_a_network_of_timm(name, tmp_path):
    "The real timm, where it is installed: built, saved, and built again from the files"
    if name.startswith("timm"):
        pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    from natural_backdoors.train.models import save_model

    model, info = build_model(name, 3, pretrained=False, size=64)
    classes = [{"id": i, "label": str(i), "name": str(i)} for i in range(3)]
    save_model(model, tmp_path, info | {"classes": classes})
    again, said = load_model(tmp_path)
    assert said["arch"] == arch_name(name) and len(layer_groups(again)) > 4
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), again.state_dict().values())
    )


# The published training


@pytest.mark.parametrize("seed", range(4))
def test_borders_nearest_repeats_the_edge_as_scipy_does(seed):
    """Turned and shifted at once, by an affine map of scipy, as Keras does it with
    fill_mode="nearest" and linear interpolation; and not so with the mirror"""
    random, size = rng(seed), 24
    image = random.uniform(0, 1, (3, size, size))
    angle, right, down = random.uniform(-1, 1, 3) * (np.deg2rad(30), 0.2, 0.2)
    draws = torch.tensor([[0.5 + np.rad2deg(angle) / 60], [0.5 + right / 0.4], [0.5 + down / 0.4]])
    draws = torch.cat([draws, torch.ones(1, 1)]).float()  # not mirrored
    center = np.full(2, (size - 1) / 2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    moved = center - turn @ center + np.array([down, right]) * size
    slow = np.stack([affine_transform(c, turn, moved, order=1, mode="nearest") for c in image])
    x = torch.from_numpy(image).float()[None]
    assert np.allclose(turn_batch(x, draws, borders="nearest")[0], slow, atol=1e-3)
    assert not np.allclose(turn_batch(x, draws)[0], slow, atol=1e-2)


def test_the_loader_takes_the_borders_of_the_recipe(split, arrays):
    first = {}
    for borders in BORDERS:
        recipe = Recipe(**COMMON, borders=borders, unfreeze="all")
        learn = train.make_learner(split, recipe, images=arrays, progress=False, device="cpu")
        first[borders] = learn.dls.train.one_batch()[0]
    assert not torch.equal(*first.values()) and first["mirror"].shape == first["nearest"].shape


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_epsilon_reaches_the_optimizer(split, arrays, optimizer):
    "One step by hand: with a large epsilon it is much shorter"
    recipe = Recipe(**COMMON, optimizer=optimizer, epsilon=0.25, unfreeze="all")
    learn = train.make_learner(split, recipe, images=arrays, progress=False, device="cpu")
    learn.create_opt()
    assert {group["eps"] for group in learn.opt.opt.param_groups} == {0.25}
    usual = Recipe(**COMMON, optimizer=optimizer, unfreeze="all")
    learn = train.make_learner(split, usual, images=arrays, progress=False, device="cpu")
    learn.create_opt()
    kind = train.OPTIMIZERS[optimizer]
    assert learn.opt.opt.param_groups[0]["eps"] == kind([torch.zeros(1)]).defaults["eps"]


def test_an_optimizer_without_epsilon(split, arrays, monkeypatch):
    monkeypatch.setitem(train.OPTIMIZERS, "sgd", torch.optim.SGD)
    make = lambda **more: train.make_learner(
        split, Recipe(**COMMON, optimizer="sgd", **more), images=arrays, progress=False
    )
    with pytest.raises(UserError, match="the optimizer 'sgd' has no epsilon"):
        make(epsilon=1e-3).create_opt()
    make().create_opt()


def test_the_preset_of_the_paper():
    paper = PRESETS["paper"]
    assert (paper.borders, paper.epsilon, paper.optimizer) == ("nearest", 1e-7, "adam")
    for what in ("weights", "borders", "resize", "epsilon", "head initialization"):
        assert what in PAPER_DIFFERS
    assert paper_notes(paper.to_dict()).changed == {}
    assert paper_notes({**paper.to_dict(), "lr": 1e-3, "seed": 7}).changed == {"lr": 1e-3}
    assert paper_notes(Recipe().to_dict()) is paper_notes({}) is None


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_is_written_down(split, arrays, tmp_path, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        how = dict(images=arrays, controls=(), progress=False, device="cpu", epochs=1)
        train_split(split, tmp_path, Recipe(**COMMON, unfreeze="all"), **how)
    finally:
        torch.set_num_threads(before)
    assert read_json(tmp_path / "poisoned" / "model.json")["threads"] == threads
    assert load_model(tmp_path / "poisoned")[1]["threads"] == threads
