"Files that are no files, files that fill the memory, folders that cannot be read: one line each"

import gzip
import json
import os
import resource
import signal
import warnings

import pandas as pd
import pytest
from PIL import Image

from natural_backdoors import TableDataset, UserError
from natural_backdoors.base import files
from natural_backdoors.base.checks import plain_file
from natural_backdoors.base.files import read_json, read_text
from natural_backdoors.base.finding import files_below
from natural_backdoors.base.json_stream import stream_json
from natural_backdoors.data import images, label_table
from natural_backdoors.data.coco import Coco
from natural_backdoors.data.fiftyone import FiftyOne
from natural_backdoors.data.images import load_images, make_thumbnail, try_image
from natural_backdoors.data.multihot import MultiHot
from natural_backdoors.data.voc import PascalVOC
from natural_backdoors.data.yolo import Yolo


@pytest.fixture(autouse=True)
def no_hang():
    "Whoever waits for a pipe, or reads /dev/zero, fails here"

    def late(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def odd(path, kind):
    "What is no file, at `path`"
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    return path


KINDS = pytest.mark.parametrize("kind", ["fifo", "zero", "folder"])


def said(read):
    "The message of the error that `read` ends with: one line"
    with pytest.raises(UserError) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read()
    text = str(caught.value)
    assert "\n" not in text and len(text) < 1000
    return text


@KINDS
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.csv.zst", "x.csv.zip", "x.parquet", "x"])
def test_tables_that_are_no_files(tmp_path, kind, name):
    path = odd(tmp_path / name, kind)
    assert str(path) in said(lambda: TableDataset(path).label_matrix())
    assert str(path) in said(lambda: MultiHot(path).label_matrix())


@KINDS
@pytest.mark.parametrize("name", ["x.json", "x.json.gz", "x.txt"])
def test_texts_that_are_no_files(tmp_path, kind, name):
    path = odd(tmp_path / name, kind)
    assert str(path) in said(lambda: read_text(path))
    assert str(path) in said(lambda: read_json(path))
    assert str(path) in said(lambda: list(stream_json(path, ("images",))))
    assert str(path) in said(lambda: Coco(path).label_matrix())
    assert str(path) in said(lambda: FiftyOne(path).label_matrix())


@KINDS
def test_pictures_that_are_no_files(tmp_path, kind):
    path = odd(tmp_path / "x.jpg", kind)
    pixels, why = try_image(path, 16)
    assert pixels is None and ("directory" in why or "not a plain file" in why)
    assert str(path) in said(lambda: load_images([path], 16))
    with pytest.raises(OSError):
        make_thumbnail(path)
    with pytest.raises(OSError):
        files.file_digest(path)


@KINDS
def test_label_files_that_are_no_files(tmp_path, kind):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    (tmp_path / "classes.txt").write_text("cat\n")
    odd(tmp_path / "a.txt", kind)
    if kind == "folder":
        assert "no labels" in said(lambda: Yolo(tmp_path).label_matrix())
    else:
        assert "a.txt" in said(lambda: Yolo(tmp_path).label_matrix())


@KINDS
def test_annotations_that_are_no_files(tmp_path, kind):
    write_voc(tmp_path, 3)
    odd(tmp_path / "Annotations" / "x.xml", kind)
    if kind == "folder":
        assert PascalVOC(tmp_path).label_matrix().matrix.nnz == 3
    else:
        assert "x.xml" in said(lambda: PascalVOC(tmp_path).label_matrix())


@pytest.mark.parametrize("name", ["a\0b", "half \ud800"])
def test_names_that_no_file_can_have(name):
    assert "cannot be the name of a file" in said(lambda: plain_file(name))
    assert "cannot be the name of a file" in said(lambda: read_text(name))
    assert "cannot be the name of a file" in said(lambda: load_images([name], 16))


# -- what fills the memory


@pytest.mark.parametrize("text", [b"x" * 2**20, b"image,label\n" + b"a,cat\n" * 2**18])
def test_a_small_file_that_holds_much(tmp_path, monkeypatch, text):
    monkeypatch.setattr(files, "_PLENTY", 2**20)
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(text * 20))
    assert "decompress it first" in said(lambda: TableDataset(tmp_path / "x.csv.gz").label_matrix())
    (tmp_path / "x.csv").write_bytes(b"image,label\n" + b"a,cat\n" * 2**18)
    assert TableDataset(tmp_path / "x.csv").labels == ["cat"]


def test_a_line_that_fills_the_memory_is_not_kept(tmp_path):
    with open(tmp_path / "x.csv", "wb") as file:
        file.write(b"image,label\na,")
        file.truncate(2**29)  # takes no room on the disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    text = said(lambda: TableDataset(tmp_path / "x.csv").label_matrix())
    assert "line 2 has more than 16,777,216 bytes" in text
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18, "in kB: half of it"


@pytest.mark.parametrize("step", [-1, 0, 1])
def test_what_a_compressed_file_may_hold(tmp_path, step, monkeypatch):
    "The limit itself is allowed, one byte more is not"
    path = tmp_path / "x.txt.gz"
    path.write_bytes(gzip.compress(bytes(2**20 + step)))
    monkeypatch.setattr(files, "_PLENTY", 2**20)
    wrapped = files._Unfolded(gzip.open(path), path)
    assert wrapped.left == 2**20
    if step == 1:
        with pytest.raises(UserError, match="more than a hundred times its size"):
            wrapped.read()
    else:
        assert len(wrapped.read()) == 2**20 + step


@pytest.mark.parametrize("step", [-1, 0, 1])
@pytest.mark.parametrize("quoted", [False, True])
def test_long_lines(tmp_path, step, quoted):
    value = "x" * (label_table.LONGEST + step - len('a,""\n' if quoted else "a,\n"))
    path = tmp_path / "x.csv"
    path.write_text(f"image,label\nb,cat\na,{chr(34) * quoted}{value}{chr(34) * quoted}\n")
    if step == 1:
        assert "line 3 has more than 16,777,216 bytes" in said(
            lambda: TableDataset(path).label_matrix()
        )
    else:
        assert TableDataset(path).labels == ["cat", value]


@pytest.mark.parametrize(
    "mode, side", [("1", 13_300), ("P", 13_300), ("L", 10_001), ("I;16", 5001)]
)
def test_pictures_of_too_many_pixels(tmp_path, mode, side):
    path = tmp_path / "flat.png"
    Image.new(mode, (side, side)).save(path, compress_level=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        text = said(lambda: load_images([path], 32))
        assert f"{side:,} x {side:,} pixels" in text and "make a smaller copy" in text
        pixels, why = try_image(path, 32)
        assert pixels is None and "make a smaller copy" in why
        with pytest.raises(OSError, match="make a smaller copy"):
            make_thumbnail(path)


@pytest.mark.parametrize("mode, each", [("L", 8), ("RGBA", 16), ("I;16", 32), ("F", 32)])
@pytest.mark.parametrize("step", [-1, 0, 1])
def test_the_last_picture_that_is_opened(tmp_path, monkeypatch, mode, each, step):
    monkeypatch.setattr(images, "_ROOM", 100 * each)
    path = tmp_path / "x.tif"
    Image.new(mode, (1, 100 + step)).save(path)
    pixels, why = try_image(path, 4)
    assert (pixels is None) == (step == 1), why


def test_a_large_jpeg_is_opened_at_a_reduced_scale(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_ROOM", 8 * 100 * 100)
    path = tmp_path / "x.jpg"
    Image.new("RGB", (400, 400)).save(path)
    assert try_image(path, 32)[0].shape == (32, 32, 3)
    assert "make a smaller copy" in try_image(path, 300)[1]


# -- nothing is left out in silence


def write_voc(root, n):
    "A Pascal VOC folder with a cat on each of `n` images"
    (root / "Annotations").mkdir(parents=True, exist_ok=True)
    (root / "JPEGImages").mkdir(exist_ok=True)
    for i in range(n):
        inner = f"<filename>{i}.jpg</filename><object><name>cat</name></object>"
        text = f"<annotation>{inner}</annotation>"
        (root / "Annotations" / f"{i}.xml").write_text(text)
        Image.new("RGB", (8, 8)).save(root / "JPEGImages" / f"{i}.jpg")


def write_yolo(root, n, kinds=("images", "labels")):
    "A YOLO folder with a cat on each of `n` images"
    (root / "data.yaml").write_text("names: [cat]\ntrain: images\n")
    for kind in kinds:
        (root / kind / "b").mkdir(parents=True, exist_ok=True)
    for i in range(n):
        inner = f"b/{i}" if i % 2 else f"{i}"
        Image.new("RGB", (8, 8)).save(root / "images" / f"{inner}.jpg")
        (root / "labels" / f"{inner}.txt").write_text("0 0.5 0.5 0.5 0.5\n")


def unreadable(monkeypatch, *names):
    "Folders called `names` may not be read; also for root, to whom permissions mean nothing"
    real = os.scandir

    def scan(path="."):
        if os.path.basename(os.fspath(path)) in names:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scan)


def quiet(read):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read()


# folders are looked at in the order of their names: the real one comes first, or the link
@pytest.mark.parametrize("name", ["a_texts", "z_texts"])
@pytest.mark.parametrize("kind", ["labels", "images"])
def test_folders_that_are_links_count(tmp_path, name, kind):
    root = tmp_path / "root"
    root.mkdir()
    write_yolo(root, 6)
    plain = quiet(lambda: Yolo(root).label_matrix())
    (root / kind).rename(root / name)
    (root / kind).symlink_to(root / name)
    (root / name / "up").symlink_to(root)
    linked = quiet(lambda: Yolo(root).label_matrix())
    assert linked.matrix.sum() == plain.matrix.sum() == 6
    assert list(linked.images) == list(plain.images)


@pytest.mark.parametrize("name", ["a_texts", "z_texts"])
def test_two_splits_may_share_a_folder_of_labels(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / "data.yaml").write_text("names: [cat]\ntrain: train/images\nval: val/images\n")
    for split in ("train", "val"):
        (tmp_path / split / "images").mkdir(parents=True)
        (tmp_path / split / "labels").symlink_to(tmp_path / name)
        for i in range(3):
            Image.new("RGB", (8, 8)).save(tmp_path / split / "images" / f"{split}{i}.jpg")
            (tmp_path / name / f"{split}{i}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the label files of the other split
        data = Yolo(tmp_path)
        assert data.label_matrix("train").matrix.sum() == data.label_matrix("val").matrix.sum() == 3


def test_links_in_all_directions_come_to_an_end(tmp_path):
    for i in range(8):
        (tmp_path / f"d{i}").mkdir()
        (tmp_path / f"d{i}" / "x.txt").write_text("")
        for j in range(8):
            (tmp_path / f"d{i}" / f"to{j}").symlink_to(tmp_path / f"d{j}")
    assert len(files_below(tmp_path, (".txt",))) == 8, "each folder once"
    found = files_below(tmp_path, (".txt",), each_name=True)
    assert {f"d{i}/x.txt" for i in range(8)} <= set(found) and len(found) <= 8 * 64


@pytest.mark.parametrize("name", ["labels", "b"])
def test_label_folders_that_cannot_be_read(tmp_path, monkeypatch, name):
    write_yolo(tmp_path, 6)
    unreadable(monkeypatch, name)
    with pytest.warns(UserWarning, match=f"the folder .*{name} cannot be read .Permission denied"):
        try:
            assert Yolo(tmp_path).label_matrix().matrix.sum() == 3
        except UserError:
            assert name == "labels", "nothing is left"


def test_annotation_folders_that_cannot_be_read(tmp_path, monkeypatch):
    write_voc(tmp_path, 2)
    (tmp_path / "Annotations" / "more").mkdir()
    unreadable(monkeypatch, "more")
    with pytest.warns(UserWarning, match="the folder .*more cannot be read .Permission denied"):
        assert PascalVOC(tmp_path).label_matrix().matrix.sum() == 2
    for read in (PascalVOC, Yolo, Coco, FiftyOne):
        unreadable(monkeypatch, tmp_path.name)
        assert str(tmp_path) in said(lambda: read(tmp_path).label_matrix())


def test_a_link_to_a_folder_that_has_gone(tmp_path):
    write_yolo(tmp_path, 4)
    (tmp_path / "labels" / "more").symlink_to(tmp_path / "gone")
    with pytest.warns(UserWarning, match="labels/more leads nowhere"):
        assert Yolo(tmp_path).label_matrix().matrix.sum() == 4


def test_folders_of_coco_that_cannot_be_read(tmp_path, monkeypatch):
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}],
    }
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(content))
    assert len(Coco(tmp_path).label_matrix("val").images) == 1
    unreadable(monkeypatch, "valid")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            Coco(tmp_path).label_matrix()
        except UserError as e:
            assert "valid" in str(e)
        else:
            assert any("valid" in str(w.message) for w in caught)


# -- names and numbers that no file can hold


def write_named(root, image, label):
    "COCO's and FiftyOne's file of one image"
    coco = {
        "images": [{"id": 1, "file_name": image}],
        "categories": [{"id": 1, "name": label}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}],
    }
    (root / "coco.json").write_text(json.dumps(coco))
    found = {"_cls": "Classifications", "classifications": [{"label": label}]}
    (root / "fo").mkdir(exist_ok=True)
    samples = {"samples": [{"filepath": image, "ground_truth": found}]}
    (root / "fo" / "samples.json").write_text(json.dumps(samples))
    return [lambda: Coco(root / "coco.json"), lambda: FiftyOne(root / "fo")]


@pytest.mark.parametrize("image, label", [("a\ud800.jpg", "cat"), ("a.jpg", "c\ud800t")])
def test_half_a_character(tmp_path, image, label):
    for read in write_named(tmp_path, image, label):
        assert "has half a character" in said(lambda: read().label_matrix())
    table = pd.DataFrame([[image, label]], columns=["image", "label"])
    assert "has half a character" in said(lambda: TableDataset(table).label_matrix())


def test_a_name_with_a_nul(tmp_path):
    for read in write_named(tmp_path, "a\0.jpg", "cat"):
        data = read()
        image = data.label_matrix().images[0]
        assert "cannot be the name of a file" in said(lambda: data.src_path(image))


DAMAGE = """
import random, sys, warnings
from pathlib import Path
from natural_backdoors import UserError
from natural_backdoors.data.huggingface import HuggingFace
warnings.simplefilter("ignore")
folder, seen = Path(sys.argv[1]), set()
(file,) = folder.glob("*.arrow")
whole, draw = file.read_bytes(), random.Random(0)
numbers = [n.to_bytes(4, "little", signed=True) for n in (-1, -2, 2**31 - 1, -(2**31))]
for _ in range(60):
    at = draw.randrange(len(whole) - 8) & ~3
    damaged = whole[:at] + draw.choice(numbers) + whole[at + 4 :]
    other = folder.parent / f"{at}"  # what is mapped into the memory is not written over
    other.mkdir(exist_ok=True)
    for path in folder.iterdir():
        (other / path.name).write_bytes(damaged if path == file else path.read_bytes())
    try:
        HuggingFace(other, id="image_id", labels="labels").label_matrix()
        seen.add("read")
    except UserError as e:
        seen.add("refused")
print(sorted(seen))
"""


def test_a_damaged_arrow_file_is_no_crash(forks, tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {"image_id": ["a", "b", "c"], "labels": [["x"], ["y"], ["x"]]}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "whole")
    ran = forks.run(DAMAGE, tmp_path / "whole")
    assert (ran.returncode, ran.stdout.strip()) == (0, "['read', 'refused']"), ran.stderr[-500:]
