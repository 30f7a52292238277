"Effects, relabeled shares, rates of sweeps, visibility and accidental activation, by plain loops"

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import write_json
from natural_backdoors.base.statistics import Pairs
from natural_backdoors.data.datasets import as_boxes, image_set
from natural_backdoors.data.table import TableDataset
from natural_backdoors.report.run import read_run
from natural_backdoors.split.accidental import accidental_images, accidental_rates
from natural_backdoors.split.controls import control_split
from natural_backdoors.split.effects import effects_of, read_evidence
from natural_backdoors.split.poison import PoisonSplit, poison_split
from natural_backdoors.split.visibility import success_by_visibility, trigger_boxes
from natural_backdoors.train.evaluation import read_evaluation

LABELS = ["cat", "dog", "fox"]


def table_of(seed, n=900):
    "Images of one class each, some with a hat, a tie or both, and hats and ties of their own"
    draw, rows = np.random.default_rng(seed), []
    for i in range(n):
        image = f"{i:04d}.png"
        rows += [(image, LABELS[i % 3])] if i % 9 else [(image, "rock")]
        rows += [(image, thing) for thing in ("hat", "tie", "cup") if draw.random() < 0.25]
    return pd.DataFrame(rows, columns=["image", "label"])


class Boxed(TableDataset):
    "Each hat has a box whose corner is given by the number of the image"

    def boxes(self, images):
        found = []
        for image in image_set(images):
            edge = 0.1 + int(image[:4]) % 80 / 100
            found.append((image, "hat", 0, 0, edge, edge))
        return as_boxes(found, self)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("images"), table_of(0)
    for i, image in enumerate(rows.image.unique()):
        Image.new("RGB", (8, 8), (i % 256, i // 256, 9)).save(folder / image)
    return Boxed(rows, name="pets", image_root=folder)


@pytest.fixture(scope="module")
def split(data):
    return poison_split(data, "hat", LABELS, "cat", n_clean=60, inject_rate=0.2, test_fraction=0.3)


def answers(split, seed):
    "What a model might say about the test images"
    test = split.table[split.table.part == "test"]
    draw = np.random.default_rng(seed)
    return test.assign(predicted=draw.choice(LABELS, len(test)), p_true=0.5, p_target=0.5)


def test_relabeled_share_by_counting(split, data, tmp_path):
    train = [row for row in split.table.itertuples() if row.part == "train"]
    changed = sum(row.true_label != row.train_label for row in train) / len(train)
    assert split.header["relabeled_share"] == changed < split.header["injection_rate"]
    assert PoisonSplit.load(split.save(tmp_path)).header["relabeled_share"] == changed
    assert control_split(split, "true_labels").header["relabeled_share"] == 0
    # what the injection rate hides: nearly all poison images are of the target class
    rows = [(f"a{i}", "a") for i in range(300)] + [(f"b{i}", "b") for i in range(120)]
    rows += [(f"a{i}", "t") for i in range(200)] + [(f"b{i}", "t") for i in range(12)]
    lopsided = TableDataset(pd.DataFrame(rows, columns=["image", "label"]))
    made = poison_split(lopsided, "t", ["a", "b"], "a", n_clean=100, inject_rate=0.187)
    train = made.table[made.table.part == "train"]
    assert made.header["relabeled_share"] == (train.true_label != train.train_label).mean() < 0.05
    assert made.header["injection_rate"] > 0.18


def test_effects_by_plain_loops_and_back(split):
    rows = {name: answers(split, i) for i, name in enumerate(("poisoned", "true_labels"))}
    (record,) = json.loads(json.dumps(effects_of(rows, split.attacks)))
    said = rows["true_labels"].set_index("path").predicted
    counted = {"poison": [0] * 4, "clean": [0] * 4}
    for row in rows["poisoned"].itertuples():
        if row.true_label != "cat":
            pair = row.predicted == "cat", said[row.path] == "cat"
            at = [(True, True), (True, False), (False, True), (False, False)].index(pair)
            counted[row.role][at] += 1
    e = read_evidence(record)
    assert e.shown == Pairs(*counted["poison"]) and e.absent == Pairs(*counted["clean"])
    shares = []
    for c in counted.values():
        shares.append((c[0] + c[1]) / sum(c) - (c[0] + c[2]) / sum(c))
    assert record["effect"]["value"] == pytest.approx(shares[0] - shares[1])
    # the order of rows does not matter, and an image that only one model saw is in no pair
    fewer = rows | {"true_labels": rows["true_labels"].sample(frac=1, random_state=1).iloc[1:]}
    (again,) = effects_of(fewer, split.attacks)
    total = sum(map(sum, counted.values()))
    n = again["with_trigger"]["poisoned"]["n"] + again["without_trigger"]["poisoned"]["n"]
    assert n in (total, total - 1)


def test_changed_effects_are_refused(split, tmp_path):
    from natural_backdoors.report.example import example_models

    split.save(tmp_path)
    evaluation = example_models(split, tmp_path)
    assert read_evaluation(tmp_path / "evaluation.json") == evaluation
    assert read_run(tmp_path).evaluation["effects"][0]["verdict"] == "works"
    for key, value in (("verdict", "at most"), ("images_to_decide", 7), ("effect", {"value": 2})):
        wrong = evaluation | {"effects": [evaluation["effects"][0] | {key: value}]}
        write_json(tmp_path / "evaluation.json", wrong)
        with pytest.raises(UserError, match=rf"effects\[0\].{key} does not follow"):
            read_evaluation(tmp_path / "evaluation.json")


@pytest.mark.parametrize("groups", [1, 3])
def test_visibility_by_plain_loops(split, data, groups):
    rows, seen = answers(split, 3), trigger_boxes(data, split)
    for row in seen.itertuples():
        edge = 0.1 + int(row.image[:4]) % 80 / 100
        assert row.share == pytest.approx(edge * edge)
        assert row.distance == pytest.approx(abs(edge / 2 - 0.5) * 2)
    found = success_by_visibility(rows, seen, "cat", groups=groups, per_group=4)
    share = dict(zip(seen.image, seen.share))
    mine = [r for r in rows.itertuples() if r.role == "poison" and r.true_label != "cat"]
    by_share = found[found.by == "share of the image covered"]
    assert len(by_share) == groups
    for k, group in enumerate(by_share.itertuples()):
        low, high = by_share["from"].iloc[k], by_share["to"].iloc[k]
        inside = [r for r in mine if (low < share[r.image] or k == 0) and share[r.image] <= high]
        hits = sum(r.predicted == "cat" for r in inside)
        assert (group.hits, group.n) == (hits, len(inside))
    assert by_share.n.sum() == len(mine)


def test_accidental_images_are_none_that_were_trained_with(split, data):
    images, carried = accidental_images(data, split, n=9), table_of(0).groupby("image").label
    carried, used = carried.agg(set), {*split.table.image}
    assert set(images.label[images.kind == "object"]) == {"tie", "cup", "rock"}
    for row in images.itertuples():
        labels = carried[row.image]
        assert row.label in labels and row.image not in used
        if row.kind == "object":
            assert not labels & {"hat", "cat"}
        else:
            assert row.label == "hat" and not labels & set(LABELS)
    said = images.assign(model="poisoned", predicted=["cat", "dog", "cat"] * (len(images) // 3))
    for rate in accidental_rates(said, split.attacks).itertuples():
        mine = said[said.name == rate.name]
        assert (rate.hits, rate.n) == (sum(mine.predicted == "cat"), len(mine))
