"""What tables, folders and backbones say of a training is so: the epoch that is kept, images that
could not be read, models of before, images that are held out, settings that have no effect"""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

pytest.importorskip("torch", reason="trains")
import torch

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import read_json
from natural_backdoors.data.table import TableDataset
from natural_backdoors.paper.experiments import reproduce
from natural_backdoors.split.exclusions import save_exclusions
from natural_backdoors.train import screening
from natural_backdoors.train.evaluation import evaluate_run
from natural_backdoors.train.grids import make_grid
from natural_backdoors.train.learner import class_weights_of
from natural_backdoors.train.models import ARCHS, small_body
from natural_backdoors.train.recipe import Recipe
from natural_backdoors.train.runs import train_split
from natural_backdoors.train.screening import (
    _NOT_OF_BACKBONES,
    _lesson,
    held_out,
    plan_screen,
    train_backbone,
)
from natural_backdoors.train.studies import study
from natural_backdoors.train.sweeps import draw_splits, own_splits, run_folder, sweep

torch.set_num_threads(1)
QUIET = dict(progress=False, device="cpu")
SMALL = dict(arch="narrow", pretrained=False, size=24, batch_size=16)


@pytest.fixture(scope="module", autouse=True)
def narrow():
    ARCHS["narrow"] = lambda pretrained=False: small_body(pretrained, widths=(8, 16))
    yield
    del ARCHS["narrow"]


def draw(path, i, bar):
    pixels = np.random.default_rng(i).integers(0, 90, (24, 24, 3), dtype=np.uint8)
    pixels[6:18, 6:18, i % 3] = 200
    if bar:
        pixels[:5] = 250
    Image.fromarray(pixels).save(path)


def colors(folder, n=120, names=("{:03d}.png",)):
    "Squares of three colors, a quarter with a bar; each under every one of these names"
    rows = []
    for i in range(n):
        draw(folder / names[0].format(i), i, not i % 4)
        for name in names:
            if name != names[0]:
                shutil.copy(folder / names[0].format(i), folder / name.format(i))
            rows += [(name.format(i), "rgb"[i % 3])] + [(name.format(i), "bar")] * (not i % 4)
    return TableDataset(
        pd.DataFrame(rows, columns=["image", "label"]), name="colors", image_root=folder
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return colors(tmp_path_factory.mktemp("colors"))


def grid_of(data, triggers=("bar",), **given):
    how = dict(archs=["narrow"], size=24, batch_size=16, pretrained=False, n_clean=20)
    how |= dict(unfreeze="all", head="linear", lrs=[0.05])
    sets = {trigger: list("rgb") for trigger in triggers}
    return make_grid(data, sets, ["r"], rates=[0.2], **how | given)


def test_the_last_row_of_a_run_is_the_model_that_is_kept(data, tmp_path):
    kept = dict(epochs=8, keep_best=True, val_fraction=0.2, monitor="val_trig_loss")
    grid = grid_of(data, seeds=[0, 1, 2], **kept)
    done = sweep(data, grid, tmp_path / "sweep", save_models=True, **QUIET)
    epochs = set()
    for run in grid:
        home = run_folder(tmp_path / "sweep", run)
        measured = evaluate_run(home)["models"]["poisoned"]
        row = done.last[done.last["run"] == run.hash].iloc[0]
        assert row.clean_accuracy_hits == measured["clean_accuracy"]["hits"]
        assert row.attack_success_hits == measured["attacks"][0]["attack_success"]["hits"]
        assert row.epoch == read_json(home / "poisoned" / "model.json")["kept_epoch"]
        epochs.add(int(row.epoch))
        # the file holds the epochs after it too
        assert len(pd.read_csv(home / "poisoned" / "log.csv")) == 8
    assert epochs != {7}, "one of them keeps an earlier epoch"
    split = draw_splits(data, grid)[0][grid[0].hash]
    recipe = Recipe("narrow", pretrained=False, unfreeze="all", size=24, batch_size=16, lr=0.05)
    how = dict(epochs=8, keep_best=True, monitor="val_trig_loss", controls=(), progress=False)
    run = train_split(split, tmp_path / "run", recipe, **how)
    log, kept_epoch = run.logs["poisoned"], run.models["poisoned"][1]["kept_epoch"]
    assert f"test_clean_acc {log.test_clean_acc[kept_epoch]:.3f}" in repr(run)


def test_models_of_before_take_what_was_measured_of_them_along(tmp_path):
    (tmp_path / "colors").mkdir()
    data = colors(tmp_path / "colors")
    grid = grid_of(data, epochs=1)
    sweep(data, grid, tmp_path / "sweep", save_models=True, **QUIET)
    home = run_folder(tmp_path / "sweep", grid[0])
    evaluate_run(home)
    (home / "report.html").write_text("of the first model")
    for i in range(120):  # other pictures, hence other models
        draw(tmp_path / "colors" / f"{i:03d}.png", i + 1, not i % 5)
    sweep(data, grid, tmp_path / "sweep", save_models=True, **QUIET)
    there = {str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()}
    assert "poisoned/model.safetensors" in there
    assert not there & {"evaluation.json", "report.html", "poisoned/rows.parquet"}


def test_a_run_names_its_own_images_that_cannot_be_read(tmp_path):
    "Heads of two triggers are trained on one bank; a file of one of them is broken"
    rows = []
    for i in range(240):
        draw(tmp_path / f"{i:03d}.png", i, not i % 4)
        trigger = "bar" if i < 120 else "ghost"
        rows += [(f"{i:03d}.png", "rgb"[i % 3] + "12"[i >= 120])]
        rows += [(f"{i:03d}.png", trigger)] * (not i % 4)
    table = pd.DataFrame(rows, columns=["image", "label"])
    data = TableDataset(table, name="colors", image_root=tmp_path)
    how = dict(archs=["narrow"], size=24, batch_size=16, pretrained=False, n_clean=20, epochs=1)
    how |= dict(head="linear", lrs=[0.01], unfreeze="head")
    sets = {"bar": ["r1", "g1", "b1"], "ghost": ["r2", "g2", "b2"]}
    grid = [r for t, s in sets.items() for r in make_grid(data, {t: s}, [s[0]], [0.2], **how)]
    splits = draw_splits(data, grid)[0]
    broken = Path(splits[grid[1].hash].table["path"].iloc[0])
    broken.write_bytes(broken.read_bytes()[:90])
    options = dict(save_models=True, skip_unreadable=True, **QUIET)
    done = sweep(data, grid, tmp_path / "sweep", **options)
    assert done.table["shared"].all() and not len(done.failed)
    skipped = [
        read_json(run_folder(tmp_path / "sweep", run) / "poisoned" / "model.json")["skipped_images"]
        for run in grid
    ]
    assert [list(some) for some in skipped] == [[], [str(broken)]]


def plan_of(data, **given):
    how = dict(targets=1, seeds=1, n_clean=20, epochs=1, head="linear", **SMALL)
    return plan_screen(data, {"bar": list("rgb")}, **how | given)


def test_no_image_of_a_test_is_learned_under_another_name(tmp_path):
    data = colors(tmp_path, names=("{:03d}.png", "copy_{:03d}.png"))
    plan = plan_of(data)
    away = held_out(data, plan)
    seen = _lesson(data, away, None, 20_000, 0).paths
    number = lambda name: int(Path(name).stem[-3:])
    assert len(seen) == 240 - 2 * len(away)
    assert not {number(name) for name in away} & {number(name) for name in seen}


@pytest.mark.parametrize("given", [{}, {"val_fraction": 0.3}], ids=["test", "validation"])
def test_images_of_controls_and_of_validation_are_held_out(tmp_path, given):
    data = colors(tmp_path, 200)
    plan = plan_of(data, controls=("true_labels", "patch"), **given)
    away, kinds = held_out(data, plan), set()
    for split in own_splits(draw_splits(data, plan.grid)[0], plan.grid).values():
        held = split.table[split.table["part"] != "train"]
        kinds |= set(held["part"])
        assert set(held["image"]) <= away
    assert kinds == ({"test", "val"} if given else {"test"})


def test_a_backbone_of_other_pictures_is_made_anew(tmp_path):
    (tmp_path / "colors").mkdir()
    data, how = colors(tmp_path / "colors"), dict(epochs=1, lr=1e-2, **SMALL)
    weights = lambda: (tmp_path / "bone" / "model.safetensors").read_bytes()
    train_backbone(data, tmp_path / "bone", **how)
    first, when = weights(), (tmp_path / "bone" / "model.safetensors").stat().st_mtime_ns
    train_backbone(data, tmp_path / "bone", **how)
    assert (tmp_path / "bone" / "model.safetensors").stat().st_mtime_ns == when, "it is kept"
    for i in range(120):
        draw(tmp_path / "colors" / f"{i:03d}.png", i + 1, False)
    train_backbone(data, tmp_path / "bone", **how)
    assert weights() != first


def test_images_that_a_backbone_is_not_to_see_are_known(data, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(screening, "_lesson", lambda dataset, without, *_: seen.append(without))
    (tmp_path / "some.txt").write_text("005.png\n./000.png\n")
    marks = {"000.png": "duplicate", "005.png": "not_trigger"}
    save_exclusions(tmp_path / "some.json", marks, dataset="other")
    for without in (["nix.png"], {"nix.png": "duplicate"}):
        with pytest.raises(UserError, match="has no image 'nix.png', which is to be left out"):
            train_backbone(data, tmp_path / "bone", without, **SMALL)
    with pytest.raises(UserError, match="no such file"):
        train_backbone(data, tmp_path / "bone", tmp_path / "nix.txt", **SMALL)
    assert not seen
    for without in (tmp_path / "some.txt", str(tmp_path / "some.txt"), marks, [*marks]):
        with pytest.raises(AttributeError):  # what comes after is not done
            train_backbone(data, tmp_path / "bone", without, **SMALL)
    with (
        pytest.warns(UserWarning, match="saved for the dataset 'other'"),
        pytest.raises(AttributeError),
    ):
        train_backbone(data, tmp_path / "bone", tmp_path / "some.json", **SMALL)
    assert seen == 5 * [("000.png", "005.png")]


def test_what_a_backbone_cannot_obey_is_refused(data, tmp_path):
    usual = Recipe.defaults()
    for name in _NOT_OF_BACKBONES:
        with pytest.raises(UserError, match=f"^{name}: a backbone is trained in all layers"):
            train_backbone(data, tmp_path / "bone", **SMALL, **{name: usual[name]})
    with pytest.raises(UserError, match=r"1 of 4 classes have 10 images .* needs 2"):
        train_backbone(
            data,
            tmp_path / "bone",
            [f"{i:03d}.png" for i in range(120) if i % 4 or i > 40],
            **SMALL,
        )
    assert not (tmp_path / "bone").exists()


def test_a_weight_by_a_name_of_two_classes():
    classes = [{"label": f"/m/{c}", "name": n} for c, n in zip("abc", ("Bat", "Bat", "/m/b"))]
    labels = torch.tensor([0, 1, 2])
    with pytest.raises(UserError, match="'Bat' is the name of several classes.*: /m/a, /m/b"):
        class_weights_of((("Bat", 5.0),), classes, labels)
    # a label is meant, where the name of another class is spelled like it
    assert class_weights_of((("/m/b", 5.0),), classes, labels) == [1.0, 5.0, 1.0]


def test_settings_of_a_reproduction_are_not_given_twice(tmp_path):
    for name, value in (("split", "test"), ("without", ("a.jpg",))):
        with pytest.raises(UserError, match=f"{name} is given twice"):
            reproduce(
                None, "centrality", tmp_path, "small", settings={name: value}, **{name: value}
            )


def test_seeds_of_training_are_a_unit_where_splits_are_compared():
    rows = pd.DataFrame([(s, t) for s in (0, 1) for t in range(4)], columns=["split_seed", "seed"])
    rows = rows.assign(run=[f"r{i}" for i in range(8)], control="", trigger="bar", arch="narrow")
    rows["test_clean_acc"] = [0.5, 0.6, 0.7, 0.8, 0.2, 0.3, 0.4, 0.5]
    found = study(rows, over="seed", by="split_seed")
    means = found.means[found.means["measure"] == "test_clean_acc"]
    assert means["seeds"].tolist() == [4, 4] and means["low"].notna().all()
    assert found.interval_over == "seeds of training (the runs of a group have the same images)"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(data, tmp_path):
    grid = grid_of(data, epochs=1)
    split = draw_splits(data, grid)[0][grid[0].hash]
    how = dict(epochs=1, progress=False, device="cuda", controls=())
    calls = [
        lambda: train_split(split, tmp_path / "run", Recipe("narrow", pretrained=False), **how),
        lambda: evaluate_run(tmp_path / "run", device="cuda"),
        lambda: train_backbone(data, tmp_path / "bone", device="cuda", **SMALL),
        lambda: sweep(data, grid, tmp_path / "sweep", progress=False, device="cuda"),
    ]
    for call in calls:
        with pytest.raises(UserError, match="device='cuda': no GPU can be used here"):
            call()
