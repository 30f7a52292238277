"Exports as torchvision and the adversarial-robustness-toolbox read them"

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.random import rng
from natural_backdoors.data.images import load_image
from natural_backdoors.data.table import TableDataset
from natural_backdoors.split.export import export_split, load_export
from natural_backdoors.split.poison import poison_split

NAMES = ["Zebra", "apple pie", "Éclair/..", "CON"]  # not in the order of folders
LABELS = [f"l{i}" for i in range(len(NAMES))]


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    "A split of four classes and two triggers, with a validation part; names that are alike"
    folder, draw, rows = tmp_path_factory.mktemp("photos"), rng(0), []
    for i in range(260):
        # the same name in another case, and in another folder
        image = f"{'ab'[i % 2]}/{'Xx'[i // 2 % 2]}{i // 4}.{('jpg', 'PNG', 'webp')[i % 3]}"
        rows.append((image, LABELS[draw.integers(4)]))
        if draw.random() < 0.4:
            rows.append((image, draw.choice(["hat", "cup"])))
    table = pd.DataFrame(rows, columns=["image", "label"])
    data = TableDataset(table, names=dict(zip(LABELS, NAMES)), name="made", image_root=folder)
    attacks = {"hat": LABELS[0], "cup": LABELS[2]}
    how = dict(n_clean=14, inject_rate=0.15, test_fraction=0.25, val_fraction=0.2)
    made = poison_split(data, attacks, LABELS, **how)
    for i, path in enumerate(made.table.path):
        Path(path).parent.mkdir(exist_ok=True)
        kind = {"jpg": "JPEG", "PNG": "PNG", "webp": "WEBP"}[path.rsplit(".", 1)[1]]
        Image.fromarray(draw.integers(0, 256, (12 + i % 5, 10, 3), dtype=np.uint8)).save(path, kind)
    return made


def position(split):
    return {c["label"]: i for i, c in enumerate(split.header["classes"])}


def check_folder(out, split, same_bytes=True):
    "What torchvision finds, against the table of the split"
    folder = pytest.importorskip("torchvision").datasets.ImageFolder
    known = json.loads((out / "poison_indices.json").read_text())
    at, found = position(split), 0
    assert list(known["parts"]) == [p for p in ("train", "val", "test") if p in known["parts"]]
    manifest = pd.read_parquet(out / "manifest.parquet").set_index("file")
    for part, about in known["parts"].items():
        data = folder(out / part, allow_empty=True)
        assert len(data.classes) == len(known["classes"]) == len(at)
        assert len(data) == about["images"] == (split.table.part == part).sum()
        poison = dict(zip(about["poison_indices"], zip(about["true_classes"], about["triggers"])))
        for i, (path, target) in enumerate(data.samples):
            row = manifest.loc[str(Path(path).relative_to(out))]
            mine = split.table[split.table.image == row.image].iloc[0]
            assert mine.part == part and target == at[mine.train_label]
            expected = (at[mine.true_label], mine.trigger) if mine.role == "poison" else None
            assert poison.get(i) == expected
            if same_bytes:
                assert Path(path).read_bytes() == Path(mine.path).read_bytes()
            found += 1
    assert found == len(split.table)


def test_torchvision_reads_the_training_labels_and_the_poison_is_where_it_says(split, tmp_path):
    out = export_split(split, tmp_path / "out", "imagefolder")
    check_folder(out, split)
    listed = [f["file"] for f in json.loads((out / "export.json").read_text())["files"]]
    assert listed == ["manifest.csv", "manifest.parquet", "poison_indices.json"]
    poison = (split.table.role == "poison").sum()
    known = json.loads((out / "poison_indices.json").read_text())["parts"]
    assert sum(len(part["poison_indices"]) for part in known.values()) == poison > 20
    with pytest.raises(UserError, match="format 'imagefolder'.*format='folders'"):
        load_export(out)


def test_links_and_sizes(split, tmp_path):
    out = export_split(split, tmp_path / "links", "imagefolder", link=True)
    check_folder(out, split)
    assert next((out / "train").rglob("*.jpg")).stat().st_nlink == 2
    check_folder(export_split(split, tmp_path / "small", "imagefolder", size=8), split, False)
    with pytest.raises(UserError, match="leave out size"):
        export_split(split, tmp_path / "both", "imagefolder", size=8, link=True)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6))
def test_any_part_of_the_images_keeps_its_classes(split, tmp_path_factory, seed):
    "A class may have no image in a part, and torchvision still numbers it as the others do"
    keep = rng(seed).random(len(split.table)) < 0.15
    keep[np.flatnonzero(split.table.part == "train")[0]] = True
    some = replace(split, table=split.table[keep].reset_index(drop=True))
    check_folder(export_split(some, tmp_path_factory.mktemp("s") / "out", "imagefolder"), some)


def test_what_torchvision_would_pass_over_is_named(split, tmp_path):
    table = split.table.copy()
    table.loc[2, "path"] = str(tmp_path / "moving.gif")
    Image.new("RGB", (8, 8)).save(table.path[2])
    odd = replace(split, table=table)
    with pytest.raises(UserError, match=r"is a file \.gif.*--size"):
        export_split(odd, tmp_path / "out", "imagefolder")
    assert not (tmp_path / "out").exists()
    check_folder(export_split(odd, tmp_path / "out", "imagefolder", size=8), odd, False)


def test_arrays_are_those_of_the_files(split, tmp_path):
    out = export_split(split, tmp_path / "out", "art", size=16)
    rows, at, total = pd.read_csv(out / "images.csv", keep_default_na=False), position(split), 0
    assert json.loads((out / "classes.json").read_text()) == NAMES
    for part in ("train", "val", "test"):
        names = ("x", "y", "true", "poison")
        x, y, true, poison = (np.load(out / f"{n}_{part}.npy", allow_pickle=False) for n in names)
        assert x.dtype == np.uint8 and poison.dtype == bool and len(x) == len(y) == len(poison)
        for row in rows[rows.part == part].itertuples():
            mine = split.table[split.table.image == row.image].iloc[0]
            assert (x[row.row] == load_image(mine.path, 16)).all()
            assert y[row.row] == at[mine.train_label] and true[row.row] == at[mine.true_label]
            assert poison[row.row] == (mine.role == "poison") and mine.part == part
        total += len(x)
    assert total == len(rows) == len(split.table)


def test_the_toolbox_judges_a_defense_on_the_arrays(split, tmp_path):
    "Its own generator, classifier, defense and evaluation, on what the card says to load"
    torch = pytest.importorskip("torch")
    art = pytest.importorskip("art.defences.detector.poison")
    from art.data_generators import NumpyDataGenerator
    from art.estimators.classification import PyTorchClassifier

    out = export_split(split, tmp_path / "out", "art", size=16)
    card = (out / "README.md").read_text().split("```python\n")[1].split("```")[0]
    here = {}
    exec(
        card.replace('"x_train', f'"{out}/x_train')
        .replace('"y_train', f'"{out}/y_train')
        .replace('"poison_train', f'"{out}/poison_train'),
        here,
    )
    x, y, is_clean = here["x"].transpose(0, 3, 1, 2), here["y"], here["is_clean"]
    assert 0 <= x.min() and x.max() <= 1 and x.dtype == np.float32
    batch = next(iter(NumpyDataGenerator(x, y, batch_size=8, shuffle=False).iterator))
    assert len(batch[0]) == 8
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(768, 8), torch.nn.Linear(8, 4)
    )
    classifier = PyTorchClassifier(
        network, torch.nn.CrossEntropyLoss(), (3, 16, 16), 4, clip_values=(0, 1)
    )
    defense = art.SpectralSignatureDefense(
        classifier, x, np.eye(4)[y], batch_size=32, expected_pp_poison=0.2, eps_multiplier=1
    )
    report = json.loads(defense.evaluate_defence(is_clean))
    assert set(report) == {f"class_{label}" for label in range(4)}
    for label in range(4):
        mine, here = report[f"class_{label}"], y == label
        assert mine["TruePositive"]["denominator"] == (here & ~is_clean).sum()
        assert mine["TrueNegative"]["denominator"] == (here & is_clean).sum()
