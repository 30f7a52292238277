"Controls: what each is trained and measured on, against plain loops; and what comes of it"

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.random import rng
from natural_backdoors.data.table import TableDataset
from natural_backdoors.split.controls import CONTROLS, Patch, control_split, patches_of, stamp
from natural_backdoors.split.export import export_split, load_export
from natural_backdoors.split.poison import PoisonSplit, poison_split

TRIGGERS = {"white": "green", "black": "red"}
COLORS = {"blue": (60, 60, 200), "green": (60, 170, 60), "red": (200, 60, 60)}


def labels_of(table):
    "image -> the labels it carries, by a plain loop"
    found = {}
    for row in table.itertuples():
        found.setdefault(row.image, set()).add(row.label)
    return found


def random_labels(seed, n=900):
    "Images of one color each, some with a trigger or two"
    random, rows = rng(seed), []
    for i in range(n):
        rows.append((f"i{i:04}.png", list(COLORS)[random.integers(3)]))
        rows += [(f"i{i:04}.png", t) for t in TRIGGERS if random.random() < 0.15]
    return pd.DataFrame(rows, columns=["image", "label"])


def numbers(rows):
    "How many rows there are of each class, trigger and part, by a plain loop"
    found = {}
    for row in rows:
        key = (row.true_label, row.trigger, row.part)
        found[key] = found.get(key, 0) + 1
    return found


def as_tuples(rows):
    return sorted((r.image, r.true_label, r.train_label, r.role, r.part, r.trigger) for r in rows)


# --- splits without images


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), several=st.booleans(), rate=st.sampled_from([0.0, 0.05, 0.12]))
def test_each_control_is_what_its_sentences_say(seed, several, rate):
    table = random_labels(seed)
    data = TableDataset(table, name="colors", image_root="/nowhere")
    attacks = TRIGGERS if several else {"white": "green"}
    how = dict(n_clean=40, inject_rate=rate, seed=seed)
    split = poison_split(data, attacks, list(COLORS), **how, trigger_free=True)
    plain = poison_split(data, attacks, list(COLORS), **how)
    assert split.table.equals(plain.table) and plain.spare is None
    carries, rows = labels_of(table), list(split.table.itertuples())
    poison = [row for row in rows if row.role == "poison"]
    clean = [row for row in rows if row.role == "clean"]
    spare = list(split.spare.itertuples())
    assert numbers(spare) == numbers(poison)
    used = {row.image for row in rows}
    for row in spare:
        assert not carries[row.image] & set(attacks) and row.image not in used
        assert carries[row.image] & set(COLORS) == {row.true_label}
    assert len({row.image for row in spare}) == len(spare)
    test = [row for row in rows if row.part == "test"]
    goal = lambda row: attacks[row.trigger]
    stand_ins = [
        (r.image, r.true_label, goal(r), "poison", r.part, r.trigger)
        for r in split.spare.itertuples()
    ]
    expected = {
        "true_labels": [(*r[:2], r[1], *r[3:]) for r in as_tuples(rows)],
        "only_clean": as_tuples({*clean, *test}),
        "random_labels": as_tuples({*clean, *test}) + [r for r in stand_ins if r[4] == "train"],
        "patch": as_tuples(clean) + stand_ins,
    }
    for name, control in CONTROLS.items():
        if control.spare and rate == 0:
            with pytest.raises(UserError, match="none of another class"):
                control_split(split, name)
            continue
        own = control_split(split, name)
        assert as_tuples(own.table.itertuples()) == sorted(expected[name])
        assert own.header["control"] == name and own.header["digest"] == split.header["digest"]
        counted = numbers(own.table.itertuples())
        for count in own.header["counts"]:
            for role, part in [("clean", "train"), ("poison", "test")]:
                mine = [
                    n
                    for (label, trigger, where), n in counted.items()
                    if label == count["label"]
                    and where == part
                    and (trigger == "") == (role == "clean")
                ]
                assert count[f"{role}_{part}"] == sum(mine)


def test_too_few_trigger_free_images_are_named():
    data = TableDataset(random_labels(1), name="colors", image_root="/nowhere")
    how = dict(n_clean=220, inject_rate=0.1)
    with pytest.raises(UserError) as e:
        poison_split(data, "white", list(COLORS), "red", **how, trigger_free=True)
    for part in ("trigger-free", "random_labels and patch", "needs", "lower n_clean"):
        assert part in str(e.value)
    assert poison_split(data, "white", list(COLORS), "red", **how).spare is None


def test_a_control_that_cannot_be_is_named(colors):
    split, plain = (
        colors.split,
        poison_split(colors.data, "white", list(COLORS), "green", **colors.how),
    )
    with pytest.raises(UserError, match="did you mean 'patch'"):
        control_split(split, "pacth")
    with pytest.raises(
        UserError, match="'random_labels' needs trigger-free images.*trigger_free=True"
    ):
        control_split(plain, "random_labels")
    with pytest.raises(UserError, match="is the split of the control 'patch' already"):
        control_split(control_split(split, "patch"), "true_labels")


# --- splits of small pictures


class Colors:
    "Noisy pictures of one color; some carry a white square, the trigger"

    how = dict(n_clean=30, inject_rate=0.25, test_fraction=1 / 3, seed=1)

    def __init__(self, folder):
        self.folder, rows = folder, []
        for color, rgb in COLORS.items():
            for i in range(84):
                random, image = rng(i, len(rows)), f"{color}{i}.png"
                pixels = np.array(rgb) + random.normal(0, 40, (24, 24, 3))
                pixels = pixels.clip(60, 230).astype(np.uint8)
                rows.append((image, color))
                if i >= 60:
                    y, x = random.integers(0, 17, 2)
                    pixels[y : y + 7, x : x + 7] = 255
                    rows.append((image, "white"))
                Image.fromarray(pixels).save(folder / image)
        # every tenth clean picture is a copy of the one before
        for color in COLORS:
            for i in range(10, 60, 10):
                (folder / f"{color}{i}.png").write_bytes(
                    (folder / f"{color}{i - 1}.png").read_bytes()
                )
        table = pd.DataFrame(rows, columns=["image", "label"])
        self.data = TableDataset(table, name="colors", image_root=folder)
        with pytest.warns(UserWarning, match="cop"):
            self.split = self.draw()

    def draw(self, **given):
        return poison_split(
            self.data, "white", list(COLORS), "green", trigger_free=True, **self.how | given
        )


@pytest.fixture(scope="module")
def colors(tmp_path_factory):
    return Colors(tmp_path_factory.mktemp("colors"))


def test_no_photograph_is_there_twice(colors):
    split = colors.split
    paths = [*split.table.path, *split.spare.path]
    contents = [sha256(Path(path).read_bytes()).hexdigest() for path in paths]
    assert len(set(contents)) == len(contents)
    gone = {record["image"] for record in split.header.get("spare_copies", [])}
    assert not gone & set(split.spare.image)
    with pytest.raises(UserError, match="keeps one of each"):
        colors.draw(duplicates="refuse")


def test_it_is_saved_and_read_again(colors, tmp_path):
    split = colors.split
    again = PoisonSplit.load(split.save(tmp_path))
    assert again.spare.equals(split.spare) and again.table.equals(split.table)
    patched = control_split(split, "patch", Patch(size=0.3, place="center"))
    read = PoisonSplit.load(patched.save(tmp_path / "patch"))
    assert read.table.equals(patched.table) and patches_of(read) == patches_of(patched)
    with pytest.raises(UserError, match="whose patch is in no image file"):
        export_split(patched, tmp_path / "export")
    # one that is in the split too, one that is nobody's, and none at all
    split.save(tmp_path)
    for column, value in [("path", split.table.path[0]), ("trigger", "black")]:
        wrong = split.spare.copy()
        wrong.loc[2, column] = value
        wrong.to_parquet(tmp_path / "spare.parquet")
        with pytest.raises(UserError, match=f"spare.parquet, {column}"):
            PoisonSplit.load(tmp_path)
    (tmp_path / "spare.parquet").unlink()
    with pytest.raises(UserError, match="spare.parquet"):
        PoisonSplit.load(tmp_path)


def test_an_export_of_folders_has_them(colors, tmp_path):
    split = colors.split
    again = load_export(export_split(split, tmp_path / "folders"), check=True)
    theirs = again.spare.drop(columns="path")
    assert theirs.equals(split.spare.drop(columns="path").reset_index(drop=True))
    for ours, theirs in zip(split.spare.path, again.spare.path, strict=True):
        assert Path(ours).read_bytes() == Path(theirs).read_bytes()
    random = control_split(again, "random_labels").table
    assert random.image.equals(control_split(split, "random_labels").table.image)
    # what was exported is a split that can be saved and read
    assert PoisonSplit.load(again.save(tmp_path / "saved")).spare.equals(again.spare)
    with pytest.warns(UserWarning, match="leaves out the .* trigger-free images"):
        export_split(split, tmp_path / "x.parquet")
    Path(again.spare.path[0]).write_bytes(b"other")
    with pytest.raises(UserError, match="not those that were exported"):
        load_export(tmp_path / "folders", check=True)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(8, 40), st.integers(8, 40)),
    size=st.floats(0.05, 1),
    place=st.sampled_from(["top_left", "bottom_right", "center", "random"]),
)
def test_a_patch_changes_one_square_and_no_other_pixel(seed, shape, size, place):
    image = rng(seed).integers(1, 255, (*shape, 3), dtype=np.uint8)
    patch = Patch(size=size, place=place, seed=seed)
    found, edge = stamp(image, patch), max(1, round(size * min(shape)))
    other = np.argwhere((found != image).any(-1))
    (top, left), (bottom, right) = other.min(0), other.max(0)
    # pixels are never 0 or 255, and those of the patch are nothing else
    assert bottom - top + 1 == right - left + 1 == edge
    assert (other == [(y, x) for y in range(top, bottom + 1) for x in range(left, right + 1)]).all()
    assert np.isin(found[top : bottom + 1, left : right + 1], (0, 255)).all()
    corners = {"top_left": (0, 0), "bottom_right": (shape[0] - edge, shape[1] - edge)}
    assert (top, left) == corners.get(place, (top, left))
    assert (stamp(np.stack([image, image]), patch) == found).all()


# --- training


torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("fastai", reason="training needs fastai")

from fastai.callback.core import Callback

from natural_backdoors.report.report import write_report
from natural_backdoors.train.batches import split_arrays
from natural_backdoors.train.evaluation import comparison_table, evaluate_run
from natural_backdoors.train.grids import make_grid
from natural_backdoors.train.learner import fit, make_learner
from natural_backdoors.train.recipe import LOG_COLUMNS, Recipe
from natural_backdoors.train.runs import train_split
from natural_backdoors.train.sweeps import run_folder, sweep

RECIPE = Recipe(
    arch="small",
    pretrained=False,
    unfreeze="all",
    size=24,
    lr=1e-2,
    batch_size=16,
    epochs=6,
    augment=0.3,
)
QUIET = dict(progress=False, device="cpu")
ALL = ["true_labels", "random_labels", "patch"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def run(colors, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    done = train_split(colors.split, folder, RECIPE, controls=ALL, patch=Patch(0.3), **QUIET)
    return done, evaluate_run(folder, device="cpu")


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))


def test_the_patch_works_and_random_labels_do_not(run):
    done, evaluation = run
    rate = {
        name: model["attacks"][0]["attack_success"]["value"]
        for name, model in evaluation["models"].items()
    }
    assert list(rate) == ["poisoned", *ALL] == list(comparison_table(evaluation).columns)
    assert rate["poisoned"] > 0.8 and rate["patch"] > 0.8
    assert rate["true_labels"] < 0.4 and rate["random_labels"] < rate["poisoned"] - 0.3
    # what was measured in training, on the same images
    for name, log in done.logs.items():
        assert log.test_trig_acc.iloc[-1] == pytest.approx(rate[name], abs=1e-6)


def test_what_is_measured_are_the_held_out_images_of_each(run, colors):
    done, _ = run
    for name in ("poisoned", *ALL):
        own = control_split(colors.split, "" if name == "poisoned" else name)
        rows = pd.read_parquet(done.folder / name / "rows.parquet")
        assert set(rows.image) == set(own.table.image[own.table.part == "test"])


def test_the_report_says_what_each_control_is(run):
    done, _ = run
    page = " ".join(write_report(done.folder).read_text().split())
    for name, control in CONTROLS.items():
        for sentence in (control.does, control.rules_out, control.does_not_rule_out):
            assert (sentence in page) == (name in ALL)


def test_images_are_those_of_the_files_with_the_patch(colors):
    split = control_split(colors.split, "patch", Patch(size=0.3, place="random"))
    arrays, patches = split_arrays(split, 24), patches_of(split)
    again = split_arrays(split, 24, decoded=split_arrays(colors.split, 24))
    assert torch.equal(arrays.pixels, again.pixels) and arrays.keys == again.keys
    for i, (path, patched) in enumerate(arrays.keys):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        assert (
            arrays.pixels[i].numpy() == (stamp(pixels, patches[path]) if patched else pixels)
        ).all()


def test_true_labels_are_learned_as_by_hand(run, colors):
    "The labels replaced in the batches, and nothing else"
    learn = make_learner(colors.split, RECIPE, **QUIET)
    train = learn.dls.train.dataset
    train.labels = learn.epoch_log.arrays.true[train.rows]
    log = fit(learn)
    done, _ = run
    assert same(learn.model.cpu(), done.models["true_labels"][0].cpu())
    assert log.equals(done.logs["true_labels"])


class Stop(Callback):
    def before_batch(self):
        if self.training and self.learn.epoch == 1:
            raise KeyboardInterrupt


def test_several_controls_are_interrupted_and_continued(colors, tmp_path):
    names, recipe = ["random_labels", "patch"], replace(RECIPE, epochs=2)
    how, folder = dict(controls=names, patch=Patch(0.3), **QUIET), tmp_path / "run"
    whole = train_split(colors.split, tmp_path / "whole", recipe, **how)
    with pytest.raises(KeyboardInterrupt):
        stop = lambda name: [Stop()] if name == "patch" else []
        train_split(colors.split, folder, recipe, cbs=stop, **how)
    assert (folder / "random_labels" / "model.json").is_file()
    with pytest.raises(UserError, match="patch"):
        train_split(colors.split, folder, recipe, **how | {"patch": Patch(0.5)})
    done = train_split(colors.split, folder, recipe, **how)
    for name in ("poisoned", *names):
        assert same(done.models[name][0].cpu(), whole.models[name][0].cpu())
    assert not list(folder.rglob("checkpoint*"))


def test_a_bank_gives_the_same_as_one_by_one(colors, tmp_path):
    names = ["", *ALL]
    how = dict(recipe=replace(RECIPE, unfreeze="head", augment=0.0, epochs=2, head="linear"))
    with pytest.warns(UserWarning):
        grid = make_grid(
            colors.data, {"white": list(COLORS)}, ["green"], controls=names,
            patch=Patch(0.3, "random"), split_seed=1, **how, **colors.how | {"seed": 3},
        )  # fmt: skip
        assert len(grid) == 4 and all(run.split.trigger_free for run in grid)
        done = sweep(colors.data, grid, tmp_path / "sweep", save_models=True, **QUIET)
        split = colors.draw()
    assert done.failed.empty and done.table.shared.all()
    assert set(done.last.control) == set(names)
    assert [json.loads(p)["place"] for p in done.last.patch if p] == ["random"]
    with pytest.warns(UserWarning, match="random"):
        alone = train_split(
            split, tmp_path / "alone", grid[0].recipe, controls=ALL, patch=grid[0].patch, **QUIET
        )
    for run in grid:
        ours = done.table[done.table.run == run.hash][LOG_COLUMNS]
        theirs = alone.logs[run.control or "poisoned"]
        for what, near in {"loss": 0.01, "acc": 0.05}.items():
            pair = ours.filter(like=what), theirs.filter(like=what)
            assert np.allclose(*pair, atol=near, equal_nan=True)
    measured = evaluate_run(run_folder(tmp_path / "sweep", grid[0]), device="cpu")
    assert set(measured["models"]) == {"poisoned", *ALL}
    last = done.last.set_index("control").test_trig_acc
    rate = measured["models"]["patch"]["attacks"][0]["attack_success"]["value"]
    assert rate == pytest.approx(last["patch"], abs=0.05)
