"Recipes, networks and sweeps with odd inputs: nothing asked for is dropped, and one mistake is one"

import io
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from squares import COLORS, squares
from torch import nn

from natural_backdoors import UserError
from natural_backdoors.cli.commands import make_parser
from natural_backdoors.cli.flags import recipe_said
from natural_backdoors.data.table import TableDataset
from natural_backdoors.defend.defenses import (
    Given,
    ImageSet,
    check_given,
    make_defense,
    run_defense,
)
from natural_backdoors.defend.example import made_features
from natural_backdoors.defend.panel_run import chosen_defenses
from natural_backdoors.train.batches import ArrayLoader, LabeledPixels
from natural_backdoors.train.cluster import sweep_on
from natural_backdoors.train.evaluation import predict_rows
from natural_backdoors.train.features import feature_bank
from natural_backdoors.train.grids import make_grid
from natural_backdoors.train.learner import fit, make_learner
from natural_backdoors.train.models import ARCHS, Body, Pooled, build_model, model_outputs
from natural_backdoors.train.recipe import Recipe
from natural_backdoors.train.runs import train_split
from natural_backdoors.train.screening import _lesson, plan_screen, run_screen, train_backbone
from natural_backdoors.train.shapes import shapes_split
from natural_backdoors.train.studies import load_sweep, study, verdicts
from natural_backdoors.train.sweeps import read_parts, sweep

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:only the head is trained")


def tiny(pretrained=True):
    "A network for pictures of a few pixels"
    return Body(nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), Pooled()), head="linear")


@pytest.fixture(autouse=True)
def a_tiny_network(monkeypatch, tmp_path):
    monkeypatch.setitem(ARCHS, "tiny", tiny)
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path):
    return squares(tmp_path / "squares", 16)


def grid_of(data, **change):
    usual = dict(sets={"bar": COLORS}, targets=["red"], rates=[0.2], archs=["tiny"], epochs=1)
    usual |= dict(size=16, n_clean=10, batch_size=8)
    return make_grid(data, **usual | change)


def said_by(call, *args, **kwargs) -> list:
    "The warnings of a call that say that something has no effect"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*args, **kwargs)
    return [str(w.message) for w in caught if "has no effect" in str(w.message)]


# Fields of a recipe without effect

SMALL = dict(arch="tiny", size=16, epochs=1, progress=False)


@pytest.mark.parametrize(
    "given,remedy",
    [
        ({"views": 3}, "in a|sweep with unfreeze='head'"),
        ({"view_seed": 3}, "sweep with unfreeze='head'"),
        ({"lr_spread": 10}, "give unfreeze='all'"),
        ({"monitor": "val_clean_loss"}, "give keep_best=True"),
        ({"borders": "nearest", "augment": 0}, "raise augment"),
    ],
)
def test_what_has_no_effect_in_a_training_is_told(given, remedy, tmp_path):
    split = shapes_split(tmp_path / "shapes", n_clean=5, n_poison=5)
    [said] = said_by(make_learner, split, **SMALL | given)
    assert said.startswith(f"{next(iter(given))} has no effect here")
    assert any(part in said for part in remedy.split("|"))
    run = dict(controls=(), checkpoint=False, save_model=False)
    assert said_by(train_split, split, tmp_path / "run", **SMALL | run | given) == [said]


@pytest.mark.parametrize(
    "given",
    [
        {"recipe": "modern", "unfreeze": "head"},  # a preset is not asked for
        {"recipe": Recipe(views=3, monitor="val_clean_loss")},
        {"lr_spread": 10, "unfreeze": 2},
        {"lr_spread": 1},  # what it would be anyway
        {"monitor": "val_clean_loss", "keep_best": True},
        {"borders": "nearest"},
    ],
)
def test_what_counts_or_was_not_asked_for_is_not_told(given, tmp_path):
    split = shapes_split(tmp_path / "shapes", n_clean=5, n_poison=5, val=True)
    assert said_by(make_learner, split, **SMALL | given) == []


def test_what_has_no_effect_in_a_sweep_is_told(data):
    told = lambda **given: said_by(grid_of, data, check=False, **given)
    assert told(views=3, epochs=3) == told(view_seed=2) == told(lr_spread=10, unfreeze="all") == []
    assert told(views=[1, 2], augment=0) and told(augment=0.5, views=0) and told(lr_spread=[1, 9])
    assert told(views=3, unfreeze="all") and told(view_seed=3, views=0)
    # one of the runs is enough
    assert told(views=1, unfreeze=["all", "head"]) == told(lr_spread=9, unfreeze=["head", 2]) == []
    few = dict(seeds=1, n_clean=10, arch="tiny", size=16, epochs=1)
    assert len(said_by(plan_screen, data, {"bar": COLORS}, 1, lr_spread=9, **few)) == 1
    assert said_by(plan_screen, data, {"bar": COLORS}, 1, views=1, **few) == []


@pytest.mark.filterwarnings("ignore:views has no effect")
def test_no_more_views_than_epochs_are_made(data, tmp_path):
    grid = [grid_of(data, epochs=2, check=False, **views)[0] for views in ({"views": 5}, {})]
    found = [sweep(data, [run], tmp_path / run.hash, progress=False) for run in grid]
    assert [result.speeds[0]["bank_passes"] > 0 for result in found] == [True, False]
    numbers = [result.table[["train_clean_loss", "test_trig_loss"]] for result in found]
    pd.testing.assert_frame_equal(*numbers)
    [said] = said_by(grid_of, data, epochs=2, views=5)
    assert "2 epochs see 2 views" in said


@pytest.mark.parametrize(
    "change,twice",
    [
        ({"unfreeze": ["head", 1]}, "unfreeze: 'head'"),
        ({"archs": ["resnet", "resnet50"]}, "archs: 'resnet50'"),
        ({"augment": [True, 1]}, "augment: 1.0"),
        ({"epochs": [1, np.int64(1)]}, "epochs: 1"),
    ],
)
def test_two_spellings_of_one_value_are_one_run(data, change, twice):
    with pytest.raises(UserError, match=f"{twice} is given twice"):
        grid_of(data, **change)


@pytest.mark.parametrize("one", [True, np.True_, np.int8(1), np.float32(1)])
def test_numbers_of_numpy_in_a_recipe(one):
    assert Recipe(augment=one) == Recipe(augment=1.0)
    assert Recipe(keep_best=np.True_).keep_best is True


# Batches, banks and models

BLANK = LabeledPixels(torch.zeros(4, 8, 8, 3, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize(
    "wrong", [{"bs": 0}, {"bs": 2.5}, {"augment": "1"}, {"augment": 2}, {"borders": "mirrors"}]
)
def test_batches_of_wrong_settings(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        ArrayLoader(BLANK, **wrong)


def test_a_bank_of_a_network_that_was_trained_since(data, tmp_path):
    body = tiny().module
    info = {"arch": "tiny", "size": 16, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    bank = feature_bank(body, info, tmp_path / "banks", augment=0)
    paths = sorted((tmp_path / "squares").glob("*.png"))
    known = bank.plain(paths[:3])
    with torch.no_grad():
        body[0].weight += 1
    assert torch.equal(bank.plain(paths[:3]), known)  # of the network that it was made with
    with pytest.raises(UserError, match="make the bank again"):
        bank.plain(paths[:4])
    again = feature_bank(body, info, tmp_path / "banks", augment=0)
    assert not torch.equal(again.plain(paths[:3]), known)


@pytest.mark.parametrize("pixels", [np.zeros((2, 8, 8, 3)), np.zeros((2, 3, 8, 8), np.uint8)])
def test_pictures_that_are_none(pixels):
    with pytest.raises(UserError, match=r"pixels are \(n, size, size, 3\), uint8"):
        model_outputs(tiny().module, pixels, (0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize("n", [0, 1, 3])
def test_each_row_has_its_image(n):
    rows = pd.DataFrame({"true_label": ["a"] * 2, "role": "clean", "trigger": "", "path": "x"})
    info = {"classes": [{"label": "a"}, {"label": "b"}], "attacks": [], "mean": [0], "std": [1]}
    rows = rows[:n] if n == 0 else rows
    with pytest.raises(UserError, match=f"{len(rows)} rows and {n} images"):
        predict_rows(tiny().module, info, rows, np.zeros((n, 8, 8, 3), np.uint8))


def test_a_model_without_weights_is_asked():
    said = model_outputs(Pooled(), np.full((2, 8, 8, 3), 255, np.uint8), (0, 0, 0), (1, 1, 1))
    assert torch.allclose(said, torch.ones(2, 3))


def test_epochs_of_a_second_training_are_numbered_on(tmp_path):
    split = shapes_split(tmp_path / "shapes", n_clean=10, n_poison=5, val=True)
    learn = make_learner(split, keep_best=True, **SMALL | {"epochs": 3})
    fit(learn)
    log = fit(learn)
    kept = learn.info["kept_epoch"]
    assert kept >= 3 and log["val_clean_acc"][kept] == log["val_clean_acc"][3:].max()


# Networks that defenses are given

PICTURES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(12) % 10
WHOLE = ImageSet(LABELS, pixels=PICTURES)


def flat(outputs: int):
    return nn.Sequential(nn.Flatten(), nn.Linear(192, outputs))


QUICK = {
    "neural_cleanse": {"steps": 1, "repeats": 1},
    "mm_bd": {"steps": 1, "starts": 1},
    "fine_tuning": {"epochs": (1,)},
    "fine_pruning": {"shares": (0.5,), "epochs": 1},
    "nad": {"epochs": (1,)},
}


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("outputs", [7, 11])
def test_a_network_for_other_classes(name, outputs):
    given = Given(WHOLE, 10, clean=WHOLE, network=flat(outputs))
    with pytest.raises(UserError, match=rf"\(1, {outputs}\) to one picture.*are 10 classes"):
        run_defense(make_defense(name, **QUICK[name]), given)


@pytest.mark.parametrize("name", QUICK)
def test_a_network_without_weights(name):
    class Bright(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :10]

    defense = make_defense(name, **QUICK[name])
    given = Given(WHOLE, 10, clean=WHOLE, network=Bright())
    if defense.stage == "repair":
        with pytest.raises(UserError, match="has no parameters"):
            run_defense(defense, given)
    else:
        assert len(run_defense(defense, given).scores) == 10


@pytest.mark.parametrize("name", QUICK)
def test_a_network_is_left_as_it_was(name):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4, 10)

        def forward(self, x):
            return self.last(self.conv(x).relu().mean((2, 3)))

    network = Net()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    given = Given(WHOLE, 10, clean=WHOLE, network=network)
    run_defense(make_defense(name, **QUICK[name]), given)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert network.training


def test_a_network_that_is_none_or_takes_no_such_pictures():
    class Two(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :10], x

    wrong = ((abs, "torch module"), (nn.Linear(3, 10), "no pictures of 8 x 8"), (Two(), "a tuple"))
    for network, said in wrong:
        with pytest.raises(UserError, match=said):
            run_defense(make_defense("mm_bd"), Given(WHOLE, 10, network=network))


def test_arrays_that_cannot_be_written_are_read():
    frozen = ImageSet(LABELS.copy(), PICTURES.reshape(12, -1) / 255, PICTURES.copy())
    for array in (frozen.labels, frozen.features, frozen.pixels):
        array.flags.writeable = False
    given = Given(frozen, 10, clean=frozen, network=flat(10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("neural_cleanse", "fine_tuning"):
            run_defense(make_defense(name, **QUICK[name]), given)
        run_defense(make_defense("loss_isolation", epochs=1), given)


@pytest.mark.parametrize("pixels", [PICTURES / 255, PICTURES[0], PICTURES.transpose(0, 3, 1, 2)])
def test_a_model_is_asked_about_pictures_only(pixels):
    from natural_backdoors.defend.defenses import Defense, InputResult

    class Asks(Defense):
        name, stage, needs = "asks", "input", ("inputs", "predict")

        def run(self, given):
            given.predict(pixels)
            return InputResult(np.zeros(12), np.zeros(12, bool))

    predict = lambda pixels: np.full((len(pixels), 10), 0.1)
    with pytest.raises(UserError, match="predict: pixels are uint8"):
        run_defense(Asks(), Given(WHOLE, 10, inputs=WHOLE, predict=predict))


# Features of any size


@pytest.mark.parametrize("name", ["nearest_neighbors", "loss_isolation"])
@pytest.mark.parametrize("factor", [1e-30, 1e12])
def test_the_unit_of_features_does_not_matter(name, factor):
    given = made_features(n_images=30, n_features=10).given
    defense, train = make_defense(name), given.train
    scaled = replace(train, features=train.features * factor)
    usual, other = (run_defense(defense, replace(given, train=t)) for t in (train, scaled))
    assert (usual.flagged == other.flagged).all()
    np.testing.assert_allclose(usual.scores, other.scores, atol=1e-4)


@pytest.mark.parametrize("name", ["nearest_neighbors", "spectral", "loss_isolation", "scan"])
def test_features_beyond_all_squares(name):
    given = made_features(n_images=30, n_features=10).given
    wrong = replace(given.train, features=given.train.features * 1e25)
    with pytest.raises(UserError, match="not finite numbers below 1e18"):
        run_defense(make_defense(name), replace(given, train=wrong))


# Sweeps: what is wrong with one run, and what is wrong with all


def test_one_run_without_a_head_lets_the_others_be(data, tmp_path):
    good, wrong = grid_of(data, seeds=[1]), grid_of(data, seeds=[2], class_weights={"nosuch": 2})
    found = sweep(data, good + wrong, tmp_path / "sweep", progress=False)
    assert found.last["run"].tolist() == [good[0].hash]
    assert found.failed["run"].tolist() == [wrong[0].hash]
    assert "nosuch" in found.failed["reason"][0]
    alone = sweep(data, good, tmp_path / "alone", progress=False)
    pd.testing.assert_frame_equal(alone.table, found.table)


@pytest.mark.parametrize("wrong", [{"memory": "2e9"}, {"memory": -1}, {"bank_batch": 0}])
def test_a_wrong_option_is_one_mistake(data, tmp_path, wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        sweep(data, grid_of(data), tmp_path / "sweep", progress=False, **wrong)
    assert not read_parts(tmp_path / "sweep").status


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_wrong_device_on_a_cluster_is_one_mistake(data, tmp_path, device):
    distributed = pytest.importorskip("distributed")
    quiet = dict(dashboard_address=None, silence_logs=50, n_workers=1, threads_per_worker=1)
    with distributed.LocalCluster(processes=False, **quiet) as cluster:
        with distributed.Client(cluster, set_as_default=False) as client:
            how = dict(device=device, progress=False)
            with pytest.raises(UserError, match=rf"on the worker .*device='{device}'"):
                sweep_on(data, grid_of(data), tmp_path / "sweep", client, **how)
    assert not read_parts(tmp_path / "sweep").status


def test_the_devices_of_a_cluster_are_not_looked_for_here(data, tmp_path, monkeypatch):
    import natural_backdoors.train.screening as screening

    few = dict(seeds=1, n_clean=10, arch="tiny", size=16, epochs=1)
    plan, asked = plan_screen(data, {"bar": COLORS}, 1, **few), {}

    class Stop(Exception):
        pass

    def away(*args, **kwargs):
        asked.update(kwargs)
        raise Stop

    monkeypatch.setattr(screening, "sweep_on", away)
    for client, measured in ((None, True), ("tcp://10.0.0.1:8786", False)):
        asked.clear()
        with pytest.raises(Stop):
            run_screen(data, plan, tmp_path / "screen", client, device="cuda:99")
        assert ("before" in asked) == measured


@pytest.mark.parametrize(
    "change,said",
    [
        ({"targets": {"bar": ["red"], "bra": ["red"]}}, "'bra' is none of the triggers.*'bar'"),
        ({"num_classes": -1}, "num_classes"),
        ({"num_classes": 2.5}, "num_classes"),
        ({"n_clean": "10"}, "^n_clean is a whole number"),
        ({"seeds": "12"}, "seeds is a whole number"),
        ({"seeds": 2.5}, "seeds is a whole number"),
        ({"found": "bar"}, "what find_triggers gives"),
        ({"found": None}, "what find_triggers gives"),
        ({"found": {"bar": "red"}}, "classes of the trigger 'bar' are a list"),
        ({"found": {"bar": COLORS, 0: COLORS}}, "'bar' is there twice"),
        ({"found": [("bar", COLORS), ("bar", COLORS[:2])]}, "'bar' is there twice"),
        ({"patch": "x", "controls": ("true_labels", "patch")}, "settings are Patch"),
    ],
)
def test_what_a_screening_cannot_mean(data, change, said):
    usual = dict(found={"bar": COLORS}, targets=1, seeds=1, n_clean=10, arch="tiny", size=16)
    with pytest.raises(UserError, match=said):
        plan_screen(data, **usual | change)


@pytest.mark.parametrize("most", [-1, 0, 2.5])
def test_a_backbone_of_no_images(data, tmp_path, most):
    with pytest.raises(UserError, match="most is a whole number from 1"):
        train_backbone(data, tmp_path / "bone", most=most)


@pytest.mark.parametrize("wrong", [{"n_classes": 2.5}, {"n_classes": "3"}, {"size": "a"}])
def test_networks_of_no_size(wrong):
    with pytest.raises(UserError, match="needs at least 2 classes|size is a whole number"):
        build_model("tiny", **{"n_classes": 3} | wrong)


# Tables of results that were elsewhere


def runs_table(**change) -> pd.DataFrame:
    rows, random = [], np.random.default_rng(0)
    for seed in (1, 2, 3):
        for control in ("", "true_labels"):
            row = {"trigger": "x", "trigger_name": "X", "target": "a", "target_name": "A"}
            row |= {"control": control, "seed": seed, "split_seed": seed, "lr": 1e-3}
            row |= {"patience": "" if seed < 4 else "3"}
            names = ("test_clean_acc", "test_trig_acc", "target_without_trigger")
            rows.append(row | {name: random.random() for name in names})
    return pd.DataFrame(rows).assign(**change)


def test_a_table_that_was_a_csv():
    table = runs_table()
    file = io.StringIO(table.to_csv(index=False))
    usual, read = study(table), study(pd.read_csv(file))
    assert repr(usual) == repr(read)
    assert verdicts(usual)[0][1].sentences == verdicts(read)[0][1].sentences


def test_a_sweep_that_is_read_back_is_the_same(data, tmp_path):
    for seeds in ([1], [2, 1]):
        grid = grid_of(data, seeds=seeds, check=False)
        grid += grid_of(data, seeds=seeds, check=False, class_weights={"nosuch": 1})[
            : len(seeds) - 1
        ]
        found = sweep(data, grid, tmp_path / "sweep", progress=False)
        read = load_sweep(tmp_path / "sweep")
        pd.testing.assert_frame_equal(found.table, read.table)
        pd.testing.assert_frame_equal(found.failed, read.failed)


def test_what_is_no_list_of_defenses():
    with pytest.raises(UserError, match="names or Defense objects, not 3"):
        chosen_defenses(3)


def test_a_table_of_categories():
    table = runs_table().astype({"seed": "category", "control": "category", "trigger": "category"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert repr(study(table[table["seed"] != 3], over=(), by="seed")).count("one run") == 16


@pytest.mark.parametrize("name", ["trigger", "target", "trigger_name"])
def test_a_verdict_names_trigger_and_target(name):
    with pytest.raises(UserError, match=f"no column '{name}'"):
        verdicts(study(runs_table().drop(columns=name)))


def test_a_seed_decides_images_and_nothing_else():
    table = runs_table()
    study(table.assign(split_seed=table["seed"] + 1))
    with pytest.raises(UserError, match="lr varies too"):
        study(table.assign(lr=table["seed"] / 1000))
    both = pd.concat([table.assign(arch="a", lr=1e-3), table.assign(arch="b", lr=1e-4)])
    assert len(study(both, by="arch").means) == 16  # each architecture may have its own


@pytest.mark.parametrize(
    "command, words, told",
    [
        ("train", "--lr_spread 10", "lr_spread"),
        ("train", "--monitor val_clean_loss", "monitor"),
        ("train", "--monitor val_clean_loss --patience 2 --val_fraction 0.2", None),
        ("train", "--lr_spread 10 --method all", None),
        ("sweep", "--sets s.txt --lr_spread 10", "lr_spread"),
        ("screen", "--borders nearest --augment 0", "borders"),
    ],
)
def test_a_flag_without_effect_is_told(command, words, told):
    args = make_parser().parse_args([command, "labels.csv", *words.split()])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        recipe_said(args, command != "train")
    said = [str(w.message).split(" has no effect")[0] for w in caught]
    assert said == ([told] if told else [])


def test_a_backbone_learns_the_same_images_in_any_order(tmp_path):
    rows = pd.DataFrame({"image": [f"{i:03}.png" for i in range(60)]})
    rows["label"] = ["cat" if i % 2 else "dog" for i in range(60)]
    for i, image in enumerate(rows["image"]):
        pixels = np.random.default_rng(i).integers(0, 255, (9, 9, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / image)
    learned = []
    for turned in (rows, rows.sample(frac=1, random_state=3)):
        lesson = _lesson(TableDataset(turned, image_root=tmp_path), (), "train", 40, 5)
        learned.append((lesson.paths, lesson.answers.tolist(), lesson.classes))
    assert learned[0] == learned[1] and len(learned[0][0]) == 40


def test_parts_of_a_network_stay_in_the_mode_they_were_in():
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(), nn.Flatten(), nn.Linear(48, 2))
    network.train()[0].eval()  # as a body whose statistics are kept
    pixels = np.zeros((4, 4, 4, 3), np.uint8)
    clean = ImageSet(pixels=pixels, labels=np.array([0, 1, 0, 1]))
    given = Given(train=clean, clean=clean, network=network, n_classes=2)
    check_given(make_defense("mm_bd"), given)
    assert [part.training for part in network] == [False, True, True, True]
