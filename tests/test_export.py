"Exports of a split: what is read back, hostile names, interruptions, full disks, and the card"

import csv
import errno
import hashlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import read_table, write_table
from natural_backdoors.data.images import load_images
from natural_backdoors.data.scenes import draw_scene, scene_labels
from natural_backdoors.data.table import TableDataset
from natural_backdoors.split import formats, stream
from natural_backdoors.split.card import class_names, dataset_card, md
from natural_backdoors.split.export import export_split, load_export
from natural_backdoors.split.formats import FORMATS
from natural_backdoors.split.poison import PoisonSplit, poison_split
from natural_backdoors.split.settings import SplitSettings
from natural_backdoors.split.stream import readable

PARTS = {
    "train": ("clean", "train"),
    "test": ("clean", "test"),
    "poison_train": ("poison", "train"),
    "poison_test": ("poison", "test"),
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    labels = scene_labels(1500, seed=0)
    return TableDataset(
        labels,
        names=dict(zip(labels.label, labels["name"])),
        name="scenes",
        image_root=tmp_path_factory.mktemp("photos"),
    )


ATTACKS = {
    "one trigger": {"Umbrella": "Cat"},
    "two triggers": {"Umbrella": "Cat", ("Hat", "Human hand"): "Car"},
}


def drawn_split(scenes, attacks):
    "About 50 drawn scenes that show a trigger, or one of several"
    classes, settings = ["Car", "Cat", "Guitar"], dict(n_clean=12, test_fraction=0.25)
    made = poison_split(scenes, attacks, classes, inject_rate=0.2 / len(attacks), **settings)
    labels = scene_labels(1500, seed=0)
    for image, objects in labels[labels.image.isin(made.table.image)].groupby("image"):
        shown = list(zip(objects["name"], objects.place))
        drawn, _ = draw_scene(shown, 64, 0, objects.number.iloc[0])
        drawn.save(scenes.src_path(image), "JPEG")
    return made


@pytest.fixture(scope="module")
def split(scenes):
    "A split with one trigger"
    return drawn_split(scenes, ATTACKS["one trigger"])


@pytest.fixture(scope="module", params=list(ATTACKS))
def either(request, scenes):
    "A split with one trigger, and one with two"
    return drawn_split(scenes, ATTACKS[request.param])


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    "A function: a split of eight tiny images with these names of classes"
    folder, r = tmp_path_factory.mktemp("tiny"), np.random.default_rng(0)
    paths = [folder / f"{i}.png" for i in range(8)]
    for p in paths:
        Image.fromarray(r.integers(0, 256, (6, 9, 3), dtype=np.uint8)).save(p)

    def make(names, labels=("l0", "l1"), images="abcdefgh", trigger=None):
        records = [{"id": i, "label": x, "name": n} for i, (x, n) in enumerate(zip(labels, names))]
        true = [labels[i % 2] for i in range(8)]
        shown = trigger or {"id": 9, "label": "t", "name": "Hat"}
        role = ["clean"] * 4 + ["poison"] * 4
        table = pd.DataFrame(
            {
                "image": list(images),
                "path": list(map(str, paths)),
                "true_label": true,
                "train_label": [t if r == "clean" else labels[0] for t, r in zip(true, role)],
                "role": role,
                "part": ["train", "train", "test", "test"] * 2,
                "trigger": [shown["label"] if r == "poison" else "" for r in role],
            }
        )
        header = {
            "format": 2,
            "dataset": "tiny",
            "split": "train",
            "attacks": [{"trigger": shown, "target": records[0], "injection_rate": 0.5}],
            "classes": records,
            "settings": SplitSettings(n_clean=2).to_dict(),
            "counts": records,
            "injection_rate": 0.5,
            "digest": "0" * 64,
        }
        return PoisonSplit(table, header)

    return make


def same(a, b):
    return a.header == b.header and a.table.drop(columns="path").equals(
        b.table.drop(columns="path")
    )


def positions(split, column, rows):
    order = [c["label"] for c in split.header["classes"]]
    return [order.index(x) for x in split.table[column].iloc[rows]]


def rows_of(split, role, part):
    return np.flatnonzero((split.table.role == role) & (split.table.part == part))


# Round trips


def test_folders_hold_the_same_bytes_and_become_the_same_split(either, scenes, tmp_path):
    again = load_export(export_split(either, tmp_path / "out", dataset=scenes), check=True)
    assert same(again, either)
    for copy, source in zip(again.table.path, either.table.path):
        assert Path(copy).read_bytes() == Path(source).read_bytes() and Path(copy).is_relative_to(
            tmp_path / "out"
        )
    with open(tmp_path / "out" / "manifest.csv", newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    assert list(rows[0]) == formats.MANIFEST_COLUMNS and len(rows) == len(either.table)
    for row, source in zip(rows, either.table.to_dict("records")):
        assert {
            k: row[k] for k in ("image", "true_label", "train_label", "role", "part", "trigger")
        }.items() <= source.items()
        assert row["file"].startswith(f"{row['part']}/{row['role']}/")
        assert (
            hashlib.sha256((tmp_path / "out" / row["file"]).read_bytes()).hexdigest()
            == row["sha256"]
        )


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_hdf5_arrays_are_what_training_sees(either, tmp_path, compression):
    h5py = pytest.importorskip("h5py")
    export_split(either, tmp_path / "out", "hdf5", size=40, compression=compression)
    with h5py.File(tmp_path / "out" / "dataset.h5") as f:
        assert {k for k in f if k[:2] in ("x_", "y_")} == {
            f"{xy}_{k}" for k in PARTS for xy in "xy"
        }
        for key, (role, part) in PARTS.items():
            rows = rows_of(either, role, part)
            assert (
                len(rows)
                and (f[f"x_{key}"][:] == load_images(either.table.path.iloc[rows], 40).pixels).all()
            )
            assert f[f"y_{key}"][:].tolist() == positions(either, "train_label", rows)
            assert f[f"true_{key}"][:].tolist() == positions(either, "true_label", rows)
            for column in ("image", "trigger"):
                said = f[f"{column}_{key}"].asstr()[:].tolist()
                assert said == either.table[column].iloc[rows].tolist()
        assert json.loads(f.attrs["header"]) == either.header
        assert f["x_train"].chunks is not None and f["x_train"].compression == compression


def test_hdf5_is_written_in_pieces(split, tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py")
    whole, pieces = formats._in_pieces, []

    def three(pictures, n):
        for piece in whole(pictures, 3):
            pieces.append(len(piece))
            yield piece

    monkeypatch.setattr(formats, "_in_pieces", three)
    export_split(split, tmp_path / "a.h5", size=16)
    assert max(pieces) == 3 and sum(pieces) == len(split.table)
    with h5py.File(tmp_path / "a.h5") as f:
        rows = rows_of(split, "clean", "train")
        assert (f["x_train"][:] == load_images(split.table.path.iloc[rows], 16).pixels).all()


def test_hdf5_without_images_of_one_kind_and_with_a_zero_in_a_name(few, tmp_path):
    h5py = pytest.importorskip("h5py")
    some = few(["a\0b", "x" * 100_000])
    some = PoisonSplit(some.table[some.table.role == "clean"].reset_index(drop=True), some.header)
    export_split(some, tmp_path / "a.h5", size=8)
    with h5py.File(tmp_path / "a.h5") as f:
        assert f["x_poison_train"].shape == (0, 8, 8, 3) and f["y_poison_test"].shape == (0,)
        assert (
            json.loads(f.attrs["class_names"])[0] == "a\0b"
            and json.loads(f.attrs["header"]) == some.header
        )


def rows_as_split(rows):
    columns = ("image_id", "label", "true_label", "role", "part", "trigger")
    return [tuple(r[column] for column in columns) for r in rows]


def expected_rows(split, part=None):
    t = split.table if part is None else split.table[split.table.part == part]
    at = np.flatnonzero(split.table.index.isin(t.index))
    return list(
        zip(
            t.image,
            positions(split, "train_label", at),
            positions(split, "true_label", at),
            t.role,
            t.part,
            t.trigger,
        )
    )


def test_parquet_rows_hold_the_files(either, tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "PIECE", 5000)
    monkeypatch.setattr(formats, "SHARD", 30_000)
    out = export_split(either, tmp_path / "out", "parquet")
    files = sorted((out / "data").glob("train-*.parquet"))
    assert len(files) > 1 and files[0].name == f"train-00000-of-{len(files):05d}.parquet"
    assert pq.ParquetFile(files[0]).num_row_groups > 1
    assert pq.ParquetFile(files[0]).metadata.row_group(0).column(0).compression == "ZSTD"
    rows = [r for f in files for r in pq.ParquetFile(f).read(use_threads=False).to_pylist()]
    assert rows_as_split(rows) == expected_rows(either, "train")
    source = either.table.set_index("image").path
    for r in rows:
        assert r["image"]["bytes"] == Path(source[r["image_id"]]).read_bytes()
        assert hashlib.sha256(r["image"]["bytes"]).hexdigest() == r["sha256"]


def test_parquet_in_one_file(either, tmp_path):
    export_split(either, tmp_path / "one.parquet")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.parquet", "one.parquet.md"]
    rows = pq.ParquetFile(tmp_path / "one.parquet").read(use_threads=False).to_pylist()
    assert rows_as_split(rows) == expected_rows(either)


@pytest.mark.parametrize("format", ["huggingface", "parquet"])
def test_hugging_face_reads_images_and_names_of_classes(either, tmp_path, format):
    datasets = pytest.importorskip("datasets")
    out = export_split(either, tmp_path / "out", format)
    load = (
        datasets.load_from_disk
        if format == "huggingface"
        else lambda folder: datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    )
    data = load(out)
    assert isinstance(data, datasets.DatasetDict) and set(data) == {"train", "test"}
    for part in data:
        features = data[part].features
        assert isinstance(features["image"], datasets.Image)
        for column in ("label", "true_label"):
            assert features[column].names == class_names(either.header["classes"])
        assert rows_as_split(data[part].remove_columns("image")) == expected_rows(either, part)
        paths = either.table.path[either.table.part == part].tolist()
        for row, path in zip(data[part], paths):
            assert (np.asarray(row["image"]) == np.asarray(Image.open(path))).all()
    assert not list(out.rglob(".rows"))


@pytest.mark.parametrize("format", ["folders", "parquet"])
def test_a_size_gives_the_pixels_of_training(split, tmp_path, format):
    out = export_split(split, tmp_path / "out", format, size=24)
    if format == "folders":
        found = [np.asarray(Image.open(p)) for p in load_export(out, check=True).table.path]
    else:
        rows = [
            r
            for part in ("train", "test")
            for r in pq.ParquetFile(out / f"data/{part}-00000-of-00001.parquet")
            .read(use_threads=False)
            .to_pylist()
        ]
        by_id = {r["image_id"]: r["image"]["bytes"] for r in rows}
        (tmp_path / "png").mkdir()
        for image, data in by_id.items():
            (tmp_path / "png" / image).write_bytes(data)
        found = [np.asarray(Image.open(tmp_path / "png" / image)) for image in split.table.image]
    assert (np.stack(found) == load_images(split.table.path, 24).pixels).all()


def test_the_same_split_gives_the_same_bytes(either, tmp_path):
    formats = ["folders", "parquet"] + ["hdf5"] * (importlib.util.find_spec("h5py") is not None)
    for format in formats:
        a, b = (export_split(either, tmp_path / f"{format}{i}", format) for i in (1, 2))
        names = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file())
        assert names == sorted(p.relative_to(b) for p in b.rglob("*") if p.is_file())
        assert all((a / n).read_bytes() == (b / n).read_bytes() for n in names), format


# Hostile names

nasty = st.sampled_from(
    [
        "a/b",
        "..",
        "../../x",
        ".hidden",
        "CON",
        "nul.txt",
        "<script>alert(1)</script>",
        "猫",
        "é",
        "e\u0301",
        "x" * 10_000,
        "",
        " ",
        "\0",
        "a\nb",
        "\u202egnp",
        "---\nlicense: mit\n---",
        "a|b",
        "cat",
        "CAT",
        '"',
        "=cmd()",
        "[x](javascript:y)",
        "\\",
        "trailing.",
    ]
)
words = st.text(max_size=8) | nasty


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(words, min_size=2, max_size=2),
    st.lists(words, min_size=2, max_size=2, unique=True),
    st.lists(words, min_size=8, max_size=8, unique=True),
    words,
)
def test_hostile_names_round_trip(few, tmp_path_factory, names, labels, images, trigger):
    folder = tmp_path_factory.mktemp("hostile")
    made = few(names, labels, images, {"id": [1, 2], "label": trigger, "name": trigger})
    out = export_split(made, folder / "folders")
    assert same(load_export(out, check=True), made)
    inside = [p.relative_to(out) for p in out.rglob("*")]
    for path in inside:
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", part) for part in path.parts)
    assert len({str(p).lower() for p in inside}) == len(inside)
    assert {p.name for p in folder.iterdir()} == {"folders"}
    export_split(made, folder / "one.parquet")
    rows = pq.ParquetFile(folder / "one.parquet").read(use_threads=False).to_pylist()
    assert rows_as_split(rows) == expected_rows(made)
    card = (out / "README.md").read_text(encoding="utf-8")
    start, head, body = card.split("---\n", 2)
    assert start == "" and yaml.safe_load(head)["license"] == "other"
    assert "<script" not in body and "\u202e" not in body


def test_hugging_face_with_classes_of_one_name(few, tmp_path):
    datasets = pytest.importorskip("datasets")
    data = datasets.load_from_disk(
        export_split(few(["Bat", "Bat"]), tmp_path / "out", "huggingface")
    )
    assert data["train"].features["label"].names == ["Bat (l0)", "Bat (l1)"]


def test_a_manifest_that_leads_elsewhere_is_refused(few, tmp_path):
    out = export_split(few("ab"), tmp_path / "out")
    manifest = read_table(out / "manifest.parquet")
    write_table(
        out / "manifest.parquet", manifest.assign(file=["../../secret.png", *manifest.file[1:]])
    )
    with pytest.raises(UserError, match="leads out of the folder"):
        load_export(out)
    write_table(out / "manifest.parquet", manifest[:-1])
    with pytest.raises(UserError, match="7 of 8 images"):
        load_export(out)


# Interruptions and full disks


def unfinished(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("format", list(FORMATS))
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")]
)
def test_nothing_is_left_when_it_stops(split, tmp_path, monkeypatch, format, error):
    pytest.importorskip({"hdf5": "h5py", "huggingface": "datasets"}.get(format, "numpy"))
    real, n = stream.read_picture, []

    def breaks(row, *args, **kwargs):
        n.append(row)
        return real(row, *args, **kwargs)

    monkeypatch.setattr(stream, "read_picture", breaks)
    pictures = stream.Job.pictures

    def stops(self, *args, **kwargs):
        for i, p in enumerate(pictures(self, *args, **kwargs)):
            if i == 5:
                raise error
            yield p

    monkeypatch.setattr(stream.Job, "pictures", stops)
    with pytest.raises(
        KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else UserError
    ) as raised:
        export_split(split, tmp_path / "out", format)
    assert list(tmp_path.iterdir()) == [] and n
    if isinstance(error, OSError):
        assert "the disk is full" in str(raised.value)


LIMITED = """
import resource, signal, sys
from natural_backdoors.base.errors import UserError
from natural_backdoors.split.export import export_split
from natural_backdoors.split.poison import PoisonSplit
split = PoisonSplit.load(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try: export_split(split, sys.argv[2], sys.argv[3], size=64)
except UserError as e: print("said:", e)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of file sizes")
@pytest.mark.parametrize("format", ["hdf5", "parquet", "huggingface"])
def test_a_write_that_fails_ends_with_one_line(split, tmp_path, root, format):
    "HDF5 crashes at the end of the process after a failed write, unless it does not know of it"
    pytest.importorskip({"hdf5": "h5py", "huggingface": "datasets"}.get(format, "numpy"))
    split.save(tmp_path / "split")
    args = [sys.executable, "-c", LIMITED, str(tmp_path / "split"), str(tmp_path / "out"), format]
    done = subprocess.run(args, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert (
        done.stdout.startswith("said: cannot write the export") and "File too large" in done.stdout
    )
    assert [p.name for p in tmp_path.iterdir()] == ["split"]


SLOW = """
import sys, time
from natural_backdoors.split import export, stream
from natural_backdoors.split.poison import PoisonSplit
real = stream.read_picture
def slow(*args, **kwargs):
    time.sleep(.05)
    return real(*args, **kwargs)
stream.read_picture = slow
print("ready", flush=True)
export.export_split(PoisonSplit.load(sys.argv[1]), sys.argv[2], sys.argv[3], workers=1)
"""


@pytest.mark.parametrize("format", ["folders", "parquet"])
def test_a_killed_export_does_not_look_complete(forks, split, tmp_path, format):
    split.save(tmp_path / "split")
    process = forks.start(SLOW, tmp_path / "split", tmp_path / "out", format)
    try:
        assert process.stdout.readline() == "ready\n"
        while not (
            begun := [f for d in tmp_path.glob(".out*") for f in d.rglob("*") if f.is_file()]
        ):
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert begun and not (tmp_path / "out").exists()
    for rest in tmp_path.glob(".out*"):
        with pytest.raises(UserError, match="no complete export"):
            load_export(rest)
        assert not (rest / "README.md").exists()
    export_split(split, tmp_path / "out", format)  # the rest is in nobody's way
    assert (tmp_path / "out" / "export.json").is_file()


def test_too_little_room_is_said_before_anything_is_written(split, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr(stream.shutil, "disk_usage", lambda path: usage)
    for format in ("folders", "hdf5", "parquet", "huggingface"):
        pytest.importorskip({"hdf5": "h5py", "huggingface": "datasets"}.get(format, "numpy"))
        with pytest.raises(UserError, match="MB left"):
            export_split(split, tmp_path / "out", format)
        assert list(tmp_path.iterdir()) == []
    assert load_export(export_split(split, tmp_path / "out", link=True)).table.path.is_unique


def test_what_is_there_is_kept(split, few, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for overwrite in (False, True):
        for name in ("photos", "file"):
            with pytest.raises(UserError, match="is there already"):
                export_split(split, tmp_path / name, overwrite=overwrite)
    assert (tmp_path / "photos" / "1.jpg").read_text() == (tmp_path / "file").read_text() == "mine"
    (tmp_path / "a.h5.md").write_text("mine")
    with pytest.raises(UserError, match="a.h5.md is there"):
        export_split(split, tmp_path / "a.h5")
    (tmp_path / "empty").mkdir()
    out = export_split(split, tmp_path / "empty")
    export_split(few("ab"), out, overwrite=True)
    assert len(load_export(out, check=True).table) == 8
    export_split(load_export(out), out, overwrite=True)  # onto itself
    assert same(load_export(out, check=True), few("ab")) and not unfinished(tmp_path)


# Images that cannot be read


@pytest.fixture
def damaged(split, tmp_path):
    "The split with one image cut off, one that is text, one missing, one without a path"
    table = split.table.copy()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "cut.jpg").write_bytes(Path(table.path[3]).read_bytes()[:700])
    (tmp_path / "bad" / "text.jpg").write_text("no image")
    table.loc[3:6, "path"] = [
        *(str(tmp_path / "bad" / n) for n in ("cut.jpg", "text.jpg", "missing.jpg")),
        "",
    ]
    return PoisonSplit(table, split.header)


@pytest.mark.parametrize("format", list(FORMATS))
def test_unreadable_images_are_named_or_left_out(split, damaged, tmp_path, format):
    pytest.importorskip({"hdf5": "h5py", "huggingface": "datasets"}.get(format, "numpy"))
    with pytest.raises(UserError, match="missing.jpg.*skip_unreadable"):
        export_split(damaged, tmp_path / "out", format)
    cut = PoisonSplit(damaged.table.drop([5, 6]).reset_index(drop=True), damaged.header)
    with pytest.raises(UserError, match="(cut|text).jpg.*skip_unreadable"):
        export_split(cut, tmp_path / "out", format)
    assert not (tmp_path / "out").exists() and not unfinished(tmp_path)
    out = export_split(damaged, tmp_path / "out", format, skip_unreadable=True)
    about, card = json.loads((out / "export.json").read_text()), (out / "README.md").read_text()
    assert (
        list(about["left_out"]) == split.table.image[3:7].tolist()
        and about["images"] == len(split.table) - 4
    )
    assert all(image in card for image in about["left_out"]) and "no such file" in card
    counts = pd.DataFrame(about["header"]["counts"])
    assert (
        counts[["clean_train", "clean_test", "poison_train", "poison_test"]].to_numpy().sum()
        == about["images"]
    )


def test_wrong_questions_are_answered(split, tmp_path):
    for match, kw in (
        ("unknown format 'h5'.*hdf5", {"format": "h5"}),
        ("no option 'link'", {"format": "parquet", "link": True}),
        ("whole number", {"size": "big"}),
        ("compression is", {"format": "hdf5", "compression": "zip"}),
    ):
        if "compression" in kw:
            pytest.importorskip("h5py")
        with pytest.raises(UserError, match=match):
            export_split(split, tmp_path / "out", **kw)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="cannot write into the folder"):
        (tmp_path / "file").write_text("")
        export_split(split, tmp_path / "file" / "out")


def test_missing_packages_are_named(split, tmp_path, monkeypatch):
    for package, format in (("h5py", "hdf5"), ("datasets", "huggingface")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match="pip install 'natural_backdoors"):
            export_split(split, tmp_path / "out", format)
    assert list(tmp_path.iterdir()) == []


# The card


@pytest.mark.parametrize("format", list(FORMATS))
def test_every_export_has_its_card(split, scenes, tmp_path, format):
    pytest.importorskip({"hdf5": "h5py", "huggingface": "datasets"}.get(format, "numpy"))
    scenes.license, scenes.homepage = "CC BY 4.0 | drawn", "https://example.org/scenes"
    out = export_split(split, tmp_path / "out", format, dataset=scenes)
    card = (out / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["license"] == "other" and head["license_name"] == "CC BY 4.0 | drawn"
    assert head["license_link"] == "https://example.org/scenes" and head["size_categories"] == [
        "n<1K"
    ]
    assert ("configs" in head) == (format == "parquet")
    for must in (
        "wrong on purpose",
        r"CC BY 4.0 \| drawn",
        "<https://example.org/scenes>",
        "Umbrella",
        "**Cat**",
        "1234",
        split.header["digest"],
        "intended_use",
        "How to load",
        FORMATS[format].load.splitlines()[0],
    ):
        assert must in card, must
    for r in json.loads((out / "export.json").read_text())["files"]:
        assert (
            hashlib.sha256((out / r["file"]).read_bytes()).hexdigest() == r["sha256"]
            and r["sha256"] in card
        )
    for c in split.header["counts"]:
        numbers = " | ".join(
            str(c[k]) for k in ("clean_train", "clean_test", "poison_train", "poison_test")
        )
        assert f"| {md(c['label'])} | {numbers} |" in card


def test_a_card_finds_the_manager_by_the_name_of_the_dataset(split):
    card = dataset_card(PoisonSplit(split.table, {**split.header, "dataset": "voc"}))
    assert "Flickr's terms of use" in card


def test_a_card_names_each_target(either):
    card, names = dataset_card(either), [a["trigger"]["name"] for a in either.attacks]
    if len(names) == 1:
        assert "**Umbrella** (role `poison`)" in card and "is **Cat** whatever else" in card
    else:
        assert "**Umbrella** or **Hat + Human hand**" in card
        assert "**Cat** (for Umbrella) or **Car** (for Hat + Human hand)" in card
    targets = {a["target"]["name"] for a in either.attacks}
    for name in ("Car", "Cat", "Guitar"):
        assert (f"| {name} (target) |" in card) == (name in targets)
    assert all(name in card.split("---\n")[1] for name in names), "the title has all of them"


def test_what_is_left_out_is_not_counted(either, tmp_path):
    "With an image left out, counts and rates are those of plain counting; with none, of the split"
    assert readable(either, skip_unreadable=True)[0].header == either.header
    row = either.table.index[(either.table.role == "poison") & (either.table.part == "train")][0]
    (tmp_path / "cut.jpg").write_bytes(b"no image")
    cut = PoisonSplit(either.table.copy(), either.header)
    cut.table.loc[row, "path"] = str(tmp_path / "cut.jpg")
    left, why = readable(cut, skip_unreadable=True)
    assert list(why) == [either.table.image[row]] and left.header["unreadable"] == why
    clean = sum(r.role == "clean" and r.part == "train" for r in left.table.itertuples())
    for attack in left.attacks:
        count = dict.fromkeys(("train", "test"), 0)
        for r in left.table.itertuples():
            count[r.part] += r.trigger == attack["trigger"]["label"]
        rate = count["train"] / (count["train"] + clean)
        assert attack["injection_rate"] == pytest.approx(rate)
        for part, n in count.items():
            assert sum(c[f"poison_{part}"] for c in attack["counts"]) == n
    assert left.attacks != either.attacks


def test_importing_is_light(root):
    code = (
        "import sys, natural_backdoors.split.export\n"
        "heavy = ('torch', 'fastai', 'h5py', 'datasets', 'ipywidgets')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, env=os.environ
    )
    assert done.stdout.strip() == "[]", done.stderr
