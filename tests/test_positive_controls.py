"Defenses on scenes: what they must find in a model with a digital patch, and not in a clean one"

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn")
torch = pytest.importorskip("torch")

from natural_backdoors.data.scenes import draw_scene, scene_labels
from natural_backdoors.data.table import TableDataset
from natural_backdoors.defend.clustering import ActivationClustering
from natural_backdoors.defend.defenses import (
    DEFENSES,
    Given,
    ImageSet,
    defense_class,
    make_defense,
    run_defense,
)
from natural_backdoors.defend.fine_tuning import repair_curve
from natural_backdoors.defend.judging import judge_scores, run_blind
from natural_backdoors.defend.last_layers import FinePruning
from natural_backdoors.defend.neural_cleanse import NeuralCleanse
from natural_backdoors.split.controls import Patch, control_split
from natural_backdoors.split.poison import poison_split
from natural_backdoors.train.batches import split_arrays
from natural_backdoors.train.learner import fit, make_learner
from natural_backdoors.train.models import model_outputs
from natural_backdoors.train.recipe import Recipe

SIZE = 32
CLASSES = ["Car", "Cat", "Guitar", "Houseplant", "Backpack"]
RECIPE = Recipe(
    arch="small",
    pretrained=False,
    unfreeze="all",
    size=SIZE,
    batch_size=32,
    lr=1e-2,
    augment=0.3,
    seed=0,
    epochs=8,
)
OF_DATA = [
    name
    for name in DEFENSES
    if defense_class(name).stage == "data" and name not in ("random", "perfect")
]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    "The networks are small, and other tests may be running"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Scaled(torch.nn.Module):
    "A model that takes pictures from 0 to 1"

    def __init__(self, model, info):
        super().__init__()
        self.model = model
        self.mean, self.std = (torch.tensor(info[k])[:, None, None] for k in ("mean", "std"))

    def forward(self, x):
        return self.model((x - self.mean) / self.std)


class Measured:
    "A model trained on scenes, what a defense is given of it, and the answer"

    def __init__(self, split, epochs=RECIPE.epochs):
        recipe = replace(RECIPE, epochs=epochs)
        arrays = split_arrays(split, SIZE)
        learner = make_learner(split, recipe, images=arrays, device="cpu", progress=False)
        fit(learner)
        model, info = learner.model.eval(), learner.info
        pixels = arrays.pixels.numpy()
        features = model_outputs(model[0], pixels, info["mean"], info["std"]).numpy()
        poison, held = arrays.poison.numpy(), np.flatnonzero(arrays.test & ~arrays.poison)
        true, goal = arrays.true.numpy(), arrays.goal

        def images(rows, labels=true):
            return ImageSet(labels[rows], features[rows], pixels[rows])

        trained = np.flatnonzero(arrays.trained)
        self.given = Given(
            images(trained, arrays.train.numpy()),
            n_classes=len(CLASSES),
            clean=images(held[::2]),
            network=Scaled(model, info),
        )
        self.poison, self.target, self.true = poison[trained], goal, true[trained]
        self.clean = images(held[1::2])
        self.shown = images(np.flatnonzero(poison & arrays.test.numpy() & (true != goal)))


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    "Scenes with a patch whose labels are wrong, and the same without a patch and with true labels"
    folder, rows = tmp_path_factory.mktemp("scenes"), scene_labels(2700, seed=0)
    names = dict(zip(rows.label, rows["name"]))
    data = TableDataset(rows, names=names, name="scenes", image_root=folder)
    how = dict(n_clean=80, inject_rate=0.1, test_fraction=0.3, trigger_free=True)
    patched = control_split(
        poison_split(data, {"Umbrella": "Cat"}, CLASSES, **how), "patch", Patch(0.3)
    )
    path = dict(zip(patched.table.image, patched.table.path))
    for image, objects in rows[rows.image.isin(path)].groupby("image"):
        shown = list(zip(objects["name"], objects.place))
        draw_scene(shown, SIZE, 0, objects.number.iloc[0])[0].save(path[image], "PNG")
    plain = patched.table.assign(train_label=patched.table.true_label).drop(columns="patched")
    return patched, replace(patched, table=plain)


@pytest.fixture(scope="module")
def patch(splits):
    return Measured(splits[0])


def test_activation_clustering_finds_the_patch(patch):
    found = run_blind(ActivationClustering(components=5), patch.given, patch.poison).result
    judged = judge_scores(found.scores, patch.poison, resamples=100)
    assert judged["auroc"]["value"] >= 0.9


@pytest.mark.parametrize("seed", range(3))
def test_neural_cleanse_puts_the_target_first(patch, seed):
    quick = NeuralCleanse(steps=40, batch_size=8, repeats=1)
    found = run_defense(quick, replace(patch.given, seed=seed))
    assert found.scores.argmax() == patch.target


def test_fine_pruning_lowers_the_attack(patch):
    found = run_defense(FinePruning(shares=(0.95,)), patch.given)
    curve = repair_curve(found, patch.clean, patch.shown, target=patch.target)
    attack, right = curve["attack success"], curve["clean accuracy"]
    assert attack[0] > 0.9 and attack[1] < 0.6
    assert right[1] > 0.45  # of five classes


def test_who_knows_the_trigger_takes_it_out_of_the_last_layer(patch):
    knows = make_defense("last_layer", known=(0, 1))
    found = run_blind(knows, patch.given, patch.poison, true_labels=patch.true).result
    curve = repair_curve(found, patch.clean, patch.shown, target=patch.target)
    assert curve["attack success"][0] > 0.9 and curve["attack success"][1] < 0.5
    assert curve["clean accuracy"][1] > curve["clean accuracy"][0] - 0.1


def test_in_a_clean_model_no_defense_of_data_is_better_than_chance(splits):
    clean = Measured(splits[1], epochs=4)
    for name in OF_DATA:
        found = run_blind(make_defense(name), clean.given, clean.poison).result
        auroc = judge_scores(found.scores, clean.poison, resamples=100)["auroc"]
        assert auroc["low"] < 0.5 < auroc["high"], name
