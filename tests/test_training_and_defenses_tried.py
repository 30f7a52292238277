"Training and defenses with odd inputs: nothing is dropped or made up in silence"

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from squares import COLORS, squares
from torch import nn

from natural_backdoors import UserError, pseudo_labels
from natural_backdoors.defend.defenses import Given, ImageSet, make_defense, run_defense
from natural_backdoors.defend.example import made_features, plane_picture
from natural_backdoors.defend.fine_tuning import curve_picture
from natural_backdoors.defend.judging import run_blind, score_picture
from natural_backdoors.defend.mm_bd import largest_p_value
from natural_backdoors.defend.parts import principal
from natural_backdoors.train.detectors import torchvision_detector
from natural_backdoors.train.evaluation import checked_models, evaluate_run
from natural_backdoors.train.features import feature_bank
from natural_backdoors.train.grids import draw_split, make_grid
from natural_backdoors.train.heads import HeadRun, train_heads
from natural_backdoors.train.labeling import detector_of
from natural_backdoors.train.learner import class_weights_of, make_learner
from natural_backdoors.train.models import load_model, model_outputs
from natural_backdoors.train.recipe import Recipe
from natural_backdoors.train.runs import train_split
from natural_backdoors.train.studies import study, verdicts
from natural_backdoors.train.sweeps import sweep

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:only the head is trained")


@pytest.fixture
def data(tmp_path):
    return squares(tmp_path / "squares", 32)


def grid_of(data, **change):
    usual = dict(sets={"bar": COLORS}, targets=["red"], rates=[0.2], archs=["small"], epochs=1)
    usual |= dict(pretrained=False, size=32, n_clean=10, batch_size=8)
    return make_grid(data, **usual | change)


# Devices

ONE_HEAD = HeadRun(np.arange(4), np.arange(4) % 2, 0.1, 0)


@pytest.mark.parametrize("device", ["gpu", "meta"])
@pytest.mark.parametrize(
    "call",
    [
        lambda device: load_model("nowhere", device),
        lambda device: feature_bank(nn.Flatten(), {}, "nowhere", device=device),
        lambda device: torchvision_detector("fcos_resnet50_fpn", device, pretrained=False),
        lambda device: detector_of("fcos_resnet50_fpn", device, pretrained=False),
        lambda device: train_heads(
            lambda run: nn.Linear(3, 2), [ONE_HEAD], torch.zeros(4, 3), 1, device=device
        ),
        lambda device: make_learner(None, device=device),
        lambda device: train_split(None, "nowhere", device=device, at_once=True),
        lambda device: evaluate_run("nowhere", device=device),
    ],
)
def test_a_wrong_device_is_told_before_anything_is_done(call, device):
    with pytest.raises(UserError, match=f"device='{device}' (is no device|cannot be used here)"):
        call(device)


# Sweeps and grids


def test_a_wrong_device_is_not_remembered_as_a_failure(data, tmp_path):
    grid = grid_of(data)
    with pytest.raises(UserError, match="device='gpu' is no device"):
        sweep(data, grid, tmp_path / "sweep", device="gpu", progress=False)
    assert not len(sweep(data, grid, tmp_path / "sweep", progress=False).failed)


def test_what_an_image_stopped_goes_on_when_such_images_may_be_left_out(data, tmp_path):
    grid = grid_of(data)
    Path(draw_split(data, grid[0]).table["path"].iloc[0]).write_bytes(b"nothing")
    first = sweep(data, grid, tmp_path / "sweep", progress=False)
    assert "skip_unreadable=True" in first.failed["reason"][0]
    again = sweep(data, grid, tmp_path / "sweep", skip_unreadable=True, progress=False)
    assert not len(again.failed) and len(again.table) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"targets": {"bar": ["red"], "green": ["blue"]}}, "'green' is the trigger of none"),
        ({"targets": {"bar": ["red"], 0: ["blue"]}}, "trigger 0 is there twice"),
        ({"lrs": [0.1], "lr": 0.2}, "lrs and lr are the same setting"),
        ({"seeds": [1], "seed": [1, 2]}, "seeds and seed are the same setting"),
        ({"inject_rate": 0.1}, "rates and inject_rate are the same setting"),
    ],
)
def test_nothing_of_a_grid_is_dropped(data, change, said):
    assert data.resolve("bar") == 0
    with pytest.raises(UserError, match=said):
        grid_of(data, **change)


def test_one_number_of_numpy_is_one_value(data):
    assert grid_of(data, seeds=np.array(3)) == grid_of(data, seeds=3) == grid_of(data, seeds=[3])


# Studies


def runs_of(groups=("a", "b"), controls=("", "true_labels"), seeds=range(3)):
    draw, rows = np.random.default_rng(0), []
    for trigger in groups:
        for control in controls:
            for seed in seeds:
                row = {"trigger": trigger, "trigger_name": trigger, "control": control}
                row |= {"target": "x", "target_name": "x", "seed": seed, "split_seed": seed}
                rates = dict(zip(["test_clean_acc", "test_trig_acc"], draw.random(2)))
                rows.append(row | rates | {"target_without_trigger": 0.1})
    return pd.DataFrame(rows)


def test_a_group_without_its_control_is_named():
    rows = runs_of()
    whole = study(rows, by="trigger")
    assert [group["trigger"] for group, _ in verdicts(whole)] == ["a", "b"]
    with pytest.warns(UserWarning, match="3 runs are missing .*trigger=b, control=true_labels"):
        found = study(rows[(rows["trigger"] == "a") | (rows["control"] == "")], by="trigger")
    with pytest.warns(UserWarning, match="of 1 of 2 groups nothing is said"):
        assert [group["trigger"] for group, _ in verdicts(found)] == ["a"]


def test_what_is_no_study_is_told():
    rows = runs_of()
    for table, said in (
        (rows.drop(columns="control"), "no column 'control'"),
        (rows[["trigger", "seed", "control"]], "no column 'test_clean_acc'"),
    ):
        with pytest.raises(UserError, match=said):
            study(table, by="trigger")
    with pytest.raises(UserError, match="'trigger' is named twice"):
        study(rows, by=["trigger", "trigger"])
    with pytest.raises(UserError, match="no control ''"):
        verdicts(study(rows, by="trigger"), "")
    with pytest.raises(UserError, match="of no poisoned model"):
        verdicts(study(rows[rows["control"] != ""], by="trigger"))
    one = rows[rows["trigger"] == "a"]
    assert study(one, by=None).means.equals(study(one, by=()).means)


# Heads


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": np.arange(10) % 4}, "labels are whole numbers from 0 to 2"),
        ({"labels": np.arange(10) % 3 - 1}, "labels are whole numbers from 0 to 2"),
        ({"rows": np.arange(10) - 1}, "rows are whole numbers from 0 to 19"),
        ({"rows": np.arange(10) + 11}, "rows are whole numbers from 0 to 19"),
        ({"rows": np.arange(10) / 2}, "rows are whole numbers"),
        ({"class_weights": (1, 2)}, "class_weights has 2 numbers for 3 classes"),
        ({"class_weights": (1, 2, 0)}, "class_weights is a number above 0"),
        ({"seed": "1"}, "seed is a whole number"),
        ({"weight_decay": -1}, "weight_decay is a number from 0"),
        ({"epsilon": 0}, "epsilon is a number above 0"),
        ({"measured": {"a": (np.arange(3), np.arange(2))}}, "3 positions and 2 answers"),
        ({"measured": {"a": (np.arange(3) + 18, np.arange(3))}}, "positions in measured"),
        ({"measured": {"a": (np.arange(3), np.arange(3) + 1)}}, "answers in measured"),
    ],
)
def test_a_head_that_points_nowhere_is_told(change, said):
    usual = {"rows": np.arange(10), "labels": np.arange(10) % 3, "lr": 0.1, "seed": 1}
    run = HeadRun(**usual | change)
    features = torch.randn(20, 4)
    with pytest.raises(UserError, match=f"run 0: .*{said}"):
        train_heads(lambda run: nn.Linear(4, 3), [run], features, 1, plain=features)


def test_heads_of_lists_and_features_of_another_width():
    make, x = lambda run: nn.Linear(4, 3).requires_grad_(), torch.randn(20, 4)
    make(None)
    states = []
    for kind in (list, np.array):
        torch.manual_seed(0)
        run = HeadRun(kind(range(9)), kind([0, 1, 2] * 3), 0.1, 1)
        states.append(train_heads(make, [run], x, 2, 4, device="cpu")[0].state["weight"])
    assert torch.equal(*states)
    with pytest.raises(UserError, match=r"features is \(n, 4\) for this head, not \(20, 3\)"):
        train_heads(make, [run], x[:, :3], 1)
    with pytest.raises(UserError, match="no linear layer"):
        train_heads(lambda run: nn.ReLU(), [run], x, 1)


def test_weights_of_classes_in_any_array_and_each_once():
    assert Recipe(class_weights=np.array([1.0, 2])) == Recipe(class_weights=[1, 2])
    assert Recipe(class_weights=pd.Series({"a": 2.0})) == Recipe(class_weights={"a": 2})
    for nothing in ([], {}, np.array([])):
        with pytest.raises(UserError, match="class_weights are numbers"):
            Recipe(class_weights=nothing)
    classes = [{"label": "/m/1", "name": "a"}, {"label": "/m/2", "name": "b"}]
    weigh = lambda *pairs: class_weights_of(pairs, classes, torch.tensor([0, 1]))
    assert weigh(("a", 2.0)) == [2, 1] and weigh(("a", 2.0), ("/m/2", 3.0)) == [2, 3]
    with pytest.raises(UserError, match="the class '/m/1' is there twice"):
        weigh(("a", 2.0), ("/m/1", 3.0))


# Models that are asked


@pytest.mark.parametrize("size", [0, -1, 2.5, "8"])
def test_batches_of_no_size(size):
    model, pixels = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), np.zeros((3, 2, 2, 3), np.uint8)
    with pytest.raises(UserError, match="batch_size is a whole number from 1"):
        model_outputs(model, pixels, [0, 0, 0], [1, 1, 1], batch_size=size)


def test_models_that_are_handed_over_are_those_of_the_run():
    info = {"classes": [{"label": "a"}], "split_digest": "x"}
    split = SimpleNamespace(header={"classes": [{"label": "a"}], "digest": "x"})
    check = lambda **models: checked_models(Path("run"), split, models, "cpu")
    assert list(check(poisoned=(None, info))) == ["poisoned"]
    with pytest.raises(UserError, match="models has true_labels and no 'poisoned'"):
        check(true_labels=(None, info))
    with pytest.raises(UserError, match="unknown model of a run 'poisond'"):
        check(poisond=(None, info))
    with pytest.raises(UserError, match="trained on another split"):
        check(poisoned=(None, info | {"split_digest": "y"}))


def test_one_path_is_no_list_of_paths(tmp_path):
    info = {"arch": "x", "size": 8, "mean": [0, 0, 0], "std": [1, 1, 1]}
    bank = feature_bank(nn.Flatten(), info, tmp_path, device="cpu")
    for path in ("/tmp/a.png", Path("/tmp/a.png")):
        with pytest.raises(UserError, match=r"images are a list of files, .*write \[path\]"):
            bank.plain(path)
    with pytest.raises(UserError, match="mixed is True or False"):
        feature_bank(nn.Flatten(), info, tmp_path, device="cpu", mixed="half")


# Detectors


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.new("RGB", (8, 8), (40 * i, 0, 0)).save(tmp_path / "photos" / f"{i}.png")
    return tmp_path / "photos"


def says(images, word="sofa"):
    return [[(word, 0.9)] for _ in images]


class Says:
    def __init__(self, word):
        self.word = word

    def __call__(self, images):
        return says(images, self.word)

    def look(self, images):
        return says(images, self.word)


def nested(word):
    return lambda images: says(images, word)


KINDS = {
    "partial": lambda word: partial(says, word=word),
    "closure": nested,
    "object": Says,
    "method": lambda word: Says(word).look,
    "partial of an object": lambda word: partial(Says(word)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_work_of_another_detector_is_not_taken_for_that_of_this_one(photos, tmp_path, kind):
    calls = []

    def find(word):
        made = KINDS[kind](word)
        labels = pseudo_labels(photos, made, tmp_path / "work", progress=False)
        calls.append(sorted((tmp_path / "work" / "parts").iterdir()))
        return set(labels.table["label"])

    assert find("sofa") == {"sofa"} and find("chair") == {"chair"} == find("chair")
    assert calls[0] != calls[1] == calls[2]  # the same one finds its work


def test_changed_code_is_another_detector():
    def code(word):
        scope = {"__name__": "mine"}
        exec(f"def find(images):\n    return [[({word!r}, 0.9)] for _ in images]", scope)
        return detector_of(scope["find"])

    assert code("sofa").key == code("sofa").key != code("chair").key
    assert code("sofa").name == code("chair").name == "mine.find"


def test_an_image_that_can_be_read_again_is_read(photos, tmp_path):
    file = photos / "1.png"
    content, times = file.read_bytes(), file.stat()

    def put(content):
        "As it is where a disk or a right was at fault: same size, same time"
        file.write_bytes(content)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    find = lambda: pseudo_labels(
        photos, says, tmp_path / "work", skip_unreadable=True, progress=False
    )
    put(bytes(len(content)))
    assert list(find().unreadable) == list(find().unreadable) == ["1.png"]
    put(content)
    assert not find().unreadable and len(find().table) == 3


def test_a_find_without_a_label_is_told(photos):
    with pytest.raises(UserError, match="a score without a label"):
        pseudo_labels(photos, lambda images: [[(None, 0.9)] for _ in images], progress=False)


def test_scores_of_a_file_need_no_device(photos):
    scores = pd.DataFrame({"image": ["0.png"], "label": ["sofa"], "score": [0.9]})
    with pytest.raises(UserError, match="device is for a network by name; the scores"):
        pseudo_labels(photos, scores, device="cpu", progress=False)


# Defenses

RANDOM = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], 20)
FEATURES = RANDOM.normal(size=(60, 12)) + 3 * np.eye(12)[LABELS]
PIXELS = RANDOM.integers(0, 256, (60, 6, 6, 3), dtype=np.uint8)
CLEAN = ImageSet(LABELS[::3], FEATURES[::3], PIXELS[::3])


def given_of(labels=LABELS, features=FEATURES, pixels=None, **change):
    return Given(ImageSet(labels, features, pixels), 3, **{"clean": CLEAN} | change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features": FEATURES[:, 0]}, r"features are numbers of shape \(n, f\), not \(60,\)"),
        ({"features": FEATURES.reshape(60, 3, 2, 2)}, "features are numbers of shape"),
        ({"features": FEATURES[:, :0]}, "features are numbers of shape"),
        ({"features": FEATURES.astype(object)}, "not .* of type object"),
        ({"features": FEATURES.astype(complex)}, "not .* of type complex128"),
        ({"labels": LABELS[:, None]}, r"labels are whole numbers of shape \(n,\)"),
        ({"pixels": PIXELS / 255}, "pixels are uint8 of shape"),
        ({"pixels": PIXELS.transpose(0, 3, 1, 2)}, "pixels are uint8 of shape"),
        ({"pixels": PIXELS[..., 0]}, "pixels are uint8 of shape"),
        ({"clean": ImageSet(features=FEATURES[:, :5])}, "12 of the training images, 5 of"),
        ({"time_limit": "5"}, "time_limit is a number"),
        ({"time_limit": float("nan")}, "time_limit is a number"),
        ({"seed": 2**40}, "seed is a whole number from 0 to 4294967295"),
    ],
)
@pytest.mark.parametrize("name", ["spectral", "scan", "nearest_neighbors"])
def test_arrays_that_are_no_images_are_told(change, said, name):
    with pytest.raises(UserError, match=said):
        run_defense(make_defense(name), given_of(**change))


def answers(values):
    return lambda pixels: values(len(pixels))


@pytest.mark.parametrize("name", ["strip", "scale_up"])
@pytest.mark.parametrize(
    ("predict", "said"),
    [
        (answers(lambda n: np.full((n, 3), np.nan)), "from 0 to 1"),
        (answers(lambda n: np.full((n, 3), -4.0)), "before a softmax"),
        (answers(lambda n: np.zeros(n, int)), r"of shape \(\d+, 3\), not \(\d+,\)"),
        (answers(lambda n: np.full((n, 4), 0.25)), "of shape"),
    ],
)
def test_answers_that_are_no_probabilities_are_told(name, predict, said):
    inputs = ImageSet(pixels=PIXELS[:5])
    with pytest.raises(UserError, match=said):
        run_defense(make_defense(name), given_of(inputs=inputs, predict=predict))


def test_a_clean_set_without_images_is_none():
    predict = lambda pixels: np.eye(3)[pixels[:, 0, 0, 0] % 3]
    given = given_of(inputs=ImageSet(pixels=PIXELS[:5]), predict=predict)
    without = run_defense(make_defense("scale_up"), replace(given, clean=None))
    empty = run_defense(make_defense("scale_up"), replace(given, clean=CLEAN.take([])))
    assert np.array_equal(without.scores, empty.scores) and not empty.variants


@pytest.mark.parametrize("name", ["spectral", "spectre", "scan", "activation_clustering"])
def test_a_class_of_equal_images_is_named(name):
    features = FEATURES.copy()
    features[LABELS == 1] = features[20]
    with pytest.raises(UserError, match="class 1: the features differ in 0 directions"):
        run_defense(make_defense(name), given_of(features=features))


@pytest.mark.parametrize("n", [2, 3, 30, 1000])
@pytest.mark.parametrize("f", [1, 5, 40])
def test_rounding_is_no_direction(n, f):
    alike = np.tile(100 * np.random.default_rng(n + f).normal(size=f), (n, 1))
    assert not len(principal(alike, 3).axes)
    alike[0] += 1e-5
    assert len(principal(alike, 3).axes) == 1


def test_shares_that_leave_no_image():
    with pytest.raises(UserError, match="would leave out whole classes"):
        make_defense("spectre", share=0.5, times=2)
    with pytest.raises(UserError, match="batch_size is a whole number from 2"):
        make_defense("loss_isolation", batch_size=1)  # which never took a step


@pytest.mark.parametrize("n", range(2, 10))
@pytest.mark.parametrize("batch_size", [2, 3, 4])
def test_no_batch_of_a_repair_has_one_picture(n, batch_size):
    seen = []

    class Look(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(108, 3)

        def forward(self, x):
            seen.extend([len(x)] * self.training)  # it is asked about one picture before
            return self.last(x.flatten(1))

    given = given_of(features=None, clean=CLEAN.take(range(n)), network=Look())
    run_defense(make_defense("fine_tuning", epochs=(1,), batch_size=batch_size), given)
    assert sum(seen) == n and min(seen) > 1 and max(seen) <= max(batch_size, 3)


def test_margins_that_say_nothing():
    for margins in ([1.0], [1, 2], [0, 0, 0], [-1, 2, 3], [1, 2, np.nan]):
        with pytest.raises(UserError, match="three numbers above 0 or more"):
            largest_p_value(margins)
    assert largest_p_value([1, 1, 1, 9]) < 1e-6


def test_a_last_layer_with_one_class_left():
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 3))
    given, poison = given_of(features=None, pixels=PIXELS, network=network), LABELS > 0
    told = partial(run_blind, make_defense("last_layer"), given, poison)
    with pytest.raises(UserError, match="not two classes left"):
        told()
    with pytest.raises(UserError, match="a label for each of 60 images"):
        told(true_labels=LABELS[:5])
    with pytest.raises(UserError, match="labels are whole numbers from 0 to 2"):
        told(true_labels=LABELS + 7)


def test_titles_of_pictures_are_plain_text():
    text, poison = r"$5 and $\oops", np.arange(4) > 2
    table = pd.DataFrame({"strength": [0, 1], "chosen": [False, True]})
    table = table.assign(**{"clean accuracy": 1.0, "attack success": 0.0})
    figures = [
        curve_picture(table, text, title=text),
        score_picture(np.arange(4.0), poison, title=text),
        score_picture(np.arange(4.0), poison & False, title=text),
        plane_picture(made_features(n_images=20), title=text),
    ]
    for figure in figures:
        figure.canvas.draw()
        assert figure.axes[0].get_title() == text
    with pytest.raises(UserError, match="finite numbers"):
        score_picture(np.array([1, np.nan]), np.array([True, False]))
