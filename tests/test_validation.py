"A part of the training images is kept for choosing the epoch, and nothing else may choose it"

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.schemas import read_log
from natural_backdoors.cli.commands import main
from natural_backdoors.data.scenes import scene_labels
from natural_backdoors.data.table import TableDataset
from natural_backdoors.sets.triggers import find_triggers
from natural_backdoors.split.card import count_rows, dataset_card
from natural_backdoors.split.controls import CONTROLS, control_split
from natural_backdoors.split.export import export_split, load_export
from natural_backdoors.split.poison import PoisonSplit, poison_split
from natural_backdoors.split.preview import preview
from natural_backdoors.split.selection import select
from natural_backdoors.train.recipe import LOG_COLUMNS, Recipe

CLASSES = ["Car", "Cat", "Guitar"]
HOW = dict(n_clean=40, inject_rate=0.1, check_images=False)


@pytest.fixture(scope="module")
def scenes():
    rows = scene_labels(1500, seed=0)
    return TableDataset(rows, names=dict(zip(rows.label, rows["name"])), name="scenes")


def by_pool(table):
    "(true class, trigger) -> part -> set of images, by a plain loop"
    found = {}
    for row in table.to_dict("records"):
        pool = found.setdefault((row["true_label"], row["trigger"]), {})
        pool.setdefault(row["part"], set()).add(row["image"])
    return found


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    st.floats(0.05, 0.6),
    st.integers(0, 10**6),
    st.sampled_from([{"Umbrella": "Cat"}, {"Umbrella": "Cat", ("Hat", "Human hand"): "Car"}]),
    st.booleans(),
)
def test_a_share_of_each_kind_and_nothing_else_moves(scenes, share, seed, attacks, spare):
    asked = HOW | dict(seed=seed, n_clean=20, inject_rate=0.05, trigger_free=spare)
    before = poison_split(scenes, attacks, CLASSES, **asked)
    after = poison_split(scenes, attacks, CLASSES, **asked, val_fraction=share)
    tables = [(before.table, after.table)] + [(before.spare, after.spare)] * spare
    for then, now in tables:
        assert set(then.image) == set(now.image) and now.image.is_unique
        rows = [table[table.part == "test"].reset_index(drop=True) for table in (then, now)]
        assert rows[0].equals(rows[1]) and len(rows[0])
        totals = {}
        old, new = by_pool(then), by_pool(now)
        for (label, trigger), parts in new.items():
            train, val = parts.get("train", set()), parts.get("val", set())
            assert not train & val
            assert train | val == old[label, trigger].get("train", set())
            total = totals.setdefault(trigger, [0, 0, []])
            total[0], total[1] = total[0] + len(val), total[1] + len(train | val)
            total[2].append((len(val), len(train | val)))
        for kept, there, each in totals.values():
            assert abs(kept - share * there) <= 0.5 * len(CLASSES) + 1
            for mine, n in each:
                assert abs(mine - n * kept / there) < 1
    kept = after.table[after.table.part == "val"]
    goals = {a["trigger"]["label"]: a["target"]["label"] for a in after.attacks}
    for row in kept.to_dict("records"):
        assert row["train_label"] == goals.get(row["trigger"], row["true_label"])
    rate = after.header["injection_rate"]
    train = after.table[after.table.part == "train"]
    assert rate == (train.role == "poison").mean()
    assert abs(rate - before.header["injection_rate"]) < 0.06
    for column, n in count_rows(after).drop(columns=["label", "name"]).sum().items():
        assert n == after.counts[column].sum()


def test_without_it_a_split_is_what_it_was(scenes):
    "Also its digest, which is that of the version before there was a validation part"
    rows = scene_labels(3000, seed=0)
    names = dict(zip(rows.label, rows["name"]))
    data = TableDataset(rows, names=names, name="scenes", image_root="/scenes/train")
    classes = ["Cat", "Car", "Guitar"]
    split = poison_split(data, {"Umbrella": "Cat"}, classes, n_clean=60, inject_rate=0.05)
    assert split.header["digest"].startswith("5f0fe83900f5")
    assert set(split.table.part) == {"train", "test"} and "clean_val" not in split.counts
    other = poison_split(
        data, {"Umbrella": "Cat"}, classes, n_clean=60, inject_rate=0.05, val_fraction=0.1
    )
    assert other.header["digest"] != split.header["digest"]


@pytest.mark.parametrize(
    "asked, said",
    [
        (dict(val_fraction=0.01), r"without images.*--sample_size"),
        (dict(val_fraction=0.99), "without images"),
        (dict(val_fraction=1.0), "val_fraction"),
        (
            # one image of the target and one of another class, which the part takes
            dict(val_fraction=0.6, n_clean=20, inject_rate=0.04, poison_classes=["Car", "Cat"])
            | {"target": "Car"},
            "none is left for training",
        ),
    ],
)
def test_shares_that_leave_nothing_are_refused(scenes, asked, said):
    with pytest.raises(UserError, match=said):
        poison_split(scenes, "Umbrella", CLASSES, **{"target": "Cat"} | HOW | asked)


def test_the_preview_says_what_the_split_has(scenes):
    asked = HOW | dict(val_fraction=0.2)
    split = poison_split(scenes, "Umbrella", CLASSES, "Cat", **asked)
    picked = select(find_triggers(scenes), "Umbrella", CLASSES, "Cat", **asked)
    found = preview(scenes.label_matrix(), picked)
    assert found.injection_rate == split.header["injection_rate"]
    for column in ("clean_val", "poison_val", "poison_train", "poison_test"):
        assert found.table[column].tolist() == split.counts[column].tolist()
    assert f"{(split.table.part == 'val').sum()} more for choosing" in repr(found)


def test_each_control_has_a_validation_part_of_its_kind(scenes):
    split = poison_split(
        scenes, "Umbrella", CLASSES, "Cat", **HOW | dict(n_clean=20), trigger_free=True,
        val_fraction=0.25,
    )  # fmt: skip
    spare, shown = set(split.spare.image), set(split.table.image[split.table.role == "poison"])
    n = int(split.counts.poison_val.sum())
    for name in CONTROLS:
        one = control_split(split, name)
        kept = one.table[one.table.part == "val"]
        poison = set(kept.image[kept.role == "poison"])
        wrong = int((kept.true_label != kept.train_label).sum())
        assert one.counts.poison_val.sum() == len(poison) == (0 if name == "only_clean" else n)
        if name in ("random_labels", "patch"):
            assert poison <= spare and wrong > 0
        else:
            assert poison <= shown and wrong == 0
        assert set(kept.get("patched", [False])) <= {name == "patch", False}
        assert not set(kept.image) & set(one.table.image[one.table.part != "val"])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    "Colored pictures, a quarter of them with a bar at the top, and a split of them"
    folder, rows = tmp_path_factory.mktemp("colors"), []
    for i in range(120):
        pixels = np.random.default_rng(i).integers(0, 90, (16, 16, 3), dtype=np.uint8)
        pixels[4:12, 4:12, i % 3] = 200
        rows.append((f"{i:03d}.png", "rgb"[i % 3]))
        if i % 4 == 0:
            pixels[:3] = 250
            rows.append((f"{i:03d}.png", "bar"))
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
    table = pd.DataFrame(rows, columns=["image", "label"])
    table.to_csv(folder / "labels.csv", index=False)
    data = TableDataset(table, name="colors", image_root=folder)
    how = dict(n_clean=20, inject_rate=0.2, val_fraction=0.25)
    split = poison_split(data, "bar", list("rgb"), "r", **how)
    return SimpleNamespace(folder=folder, data=data, split=split, how=how)


def test_it_is_saved_and_exported(pictures, tmp_path):
    split = pictures.split
    n = {role: int(((split.table.part == "val") & (split.table.role == role)).sum())
         for role in ("clean", "poison")}  # fmt: skip
    assert PoisonSplit.load(split.save(tmp_path / "split")).table.equals(split.table)
    to = export_split(split, tmp_path / "folders")
    assert len(list((to / "val" / "poison").rglob("*.png"))) == n["poison"]
    again = load_export(to, check=True)
    assert again.table.drop(columns="path").equals(split.table.drop(columns="path"))
    card = (to / "README.md").read_text()
    assert "clean val" in card and "**val** part" in card
    assert "**val** part" not in dataset_card(control_without(split))
    to = export_split(split, tmp_path / "rows", "parquet")
    (file,) = to.glob("data/val-*.parquet")
    assert len(pd.read_parquet(file, columns=["part"])) == sum(n.values())
    assert "val-*.parquet" in (to / "README.md").read_text()
    h5py = pytest.importorskip("h5py")
    with h5py.File(export_split(split, tmp_path / "x.h5", size=8)) as file:
        assert len(file["x_val"]) == n["clean"] and len(file["x_poison_val"]) == n["poison"]


def control_without(split):
    "The same split without its validation part"
    return PoisonSplit(split.table[split.table.part != "val"], split.header)


TINY = dict(arch="small", pretrained=False, size=16, batch_size=16, head="linear", augment=0.0)
QUIET = dict(progress=False, device="cpu")


def test_choosing_on_anything_else_is_refused(pictures, tmp_path):
    from natural_backdoors.train.callbacks import KeepBest, StopEarly
    from natural_backdoors.train.grids import make_grid
    from natural_backdoors.train.runs import train_split
    from natural_backdoors.train.sweeps import sweep

    for column in LOG_COLUMNS[1:]:
        if column.startswith("val_"):
            assert Recipe(monitor=column).monitor == column
            continue
        what = column.split("_", 1)[1]
        for make in (Recipe, KeepBest, lambda monitor: StopEarly(3, monitor)):
            with pytest.raises(UserError, match=f"val_fraction=0.15.*monitor='val_{what}'"):
                make(monitor=column)
    assert Recipe().monitor == "val_clean_acc"
    none, there = control_without(pictures.split), pictures.split
    for chooser in (dict(keep_best=True), dict(patience=2), dict(keep_best=True, patience=2)):
        with pytest.raises(UserError, match=r"(keep_best=True|patience=2).*val_fraction=0.15"):
            train_split(none, tmp_path / "none", **chooser, **TINY, **QUIET)
        how = dict(archs=["small"], **{k: v for k, v in TINY.items() if k != "arch"})
        with pytest.raises(UserError, match="val_fraction=0.15"):
            make_grid(pictures.data, {"bar": list("rgb")}, ["r"], n_clean=20, **how, **chooser)
    lost = dict(keep_best=True, monitor="val_trig_acc")
    with pytest.raises(UserError, match="'only_clean' has none; give monitor='val_clean_acc'"):
        train_split(there, tmp_path / "none", controls=["only_clean"], **lost, **TINY, **QUIET)
    assert not (tmp_path / "none").exists()
    # a run of a sweep that was not made by make_grid says so as well, and nothing is trained
    grid = make_grid(pictures.data, {"bar": list("rgb")}, ["r"], n_clean=20, inject_rate=0.2, **how)
    failed = sweep(pictures.data, [grid[0].but(keep_best=True)], tmp_path / "sweep", **QUIET).failed
    assert "val_fraction=0.15" in failed.reason[0]


@pytest.mark.parametrize(
    "words, said",
    [
        (["--keep_best"], "--keep_best: "),
        (["--patience", "2"], "--patience 2: "),
        (["--monitor", "test_trig_loss"], "--monitor 'test_trig_loss'"),
    ],
)
def test_the_command_line_says_it_in_flags(pictures, tmp_path, capsys, words, said):
    where = ["--data", "table", "--dataset_root", str(pictures.folder / "labels.csv")]
    assert main(["train", *where, "--results_root", str(tmp_path / "results"), *words])
    error = capsys.readouterr().err
    assert said in error and "--val_fraction 0.15" in error
    assert not any(word in error for word in ("val_fraction=", "monitor=", "keep_best=", "Trace"))
    assert not (tmp_path / "results").exists()


def test_shared_training_measures_what_a_training_alone_measures(pictures, tmp_path):
    from natural_backdoors.train.grids import draw_split, make_grid
    from natural_backdoors.train.runs import train_split
    from natural_backdoors.train.sweeps import sweep

    how = pictures.how | {k: v for k, v in TINY.items() if k != "arch"} | dict(epochs=3, lr=1e-2)
    how |= dict(archs=["small"], controls=["", "only_clean"])
    grid = make_grid(pictures.data, {"bar": list("rgb")}, ["r"], **how)
    done = sweep(pictures.data, grid, tmp_path / "sweep", **QUIET)
    assert done.failed.empty and done.table.shared.all()
    split = draw_split(pictures.data, grid[0])
    alone = train_split(split, tmp_path / "alone", grid[0].recipe, controls=["only_clean"], **QUIET)
    for run in grid:
        ours = done.table[done.table.run == run.hash][LOG_COLUMNS]
        theirs = alone.logs[run.control or "poisoned"]
        pair = ours.filter(like="loss"), theirs.filter(like="loss")
        assert np.allclose(*pair, atol=0.01, equal_nan=True)
        # features of a bank are rounded, which may turn one of the images
        n = ((split.table.part == "val") & (split.table.role == "clean")).sum()
        assert np.allclose(ours.val_clean_acc, theirs.val_clean_acc, atol=1.01 / n)
        part = theirs.filter(like="val_")
        assert part.filter(like="clean").notna().all(axis=None)
        assert part.filter(like="trig").isna().all(axis=None) == (run.control == "only_clean")


def test_the_kept_epoch_is_the_best_of_the_validation_part(pictures, tmp_path):
    "Looked up with predictions of the kept weights, image by image"
    from natural_backdoors.train.batches import split_arrays
    from natural_backdoors.train.models import model_outputs
    from natural_backdoors.train.runs import train_split

    chooser = dict(keep_best=True, patience=2, monitor="val_clean_loss", epochs=6, lr=0.05)
    run = train_split(pictures.split, tmp_path, controls=(), **chooser, **TINY, **QUIET)
    (model, info), log = run.models["poisoned"], run.logs["poisoned"]
    assert info["kept_epoch"] == log.val_clean_loss.idxmin()
    arrays, table, right, n = split_arrays(pictures.split, 16), pictures.split.table, 0, 0
    said = model_outputs(model, arrays.pixels, info["mean"], info["std"]).argmax(1)
    for row, at in zip(table.to_dict("records"), said.tolist()):
        if row["part"] == "val" and row["role"] == "clean":
            n += 1
            right += info["classes"][at]["label"] == row["true_label"]
    assert log.val_clean_acc[info["kept_epoch"]] == pytest.approx(right / n)
    again = read_log(tmp_path / "poisoned" / "log.csv")
    assert again.columns.tolist() == LOG_COLUMNS
    again.drop(columns=LOG_COLUMNS[-4:]).to_csv(tmp_path / "old.csv", index=False)
    assert read_log(tmp_path / "old.csv").columns.tolist() == LOG_COLUMNS[:-4]
