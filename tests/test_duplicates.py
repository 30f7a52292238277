"One photograph in several files: found by plain loops here too, and never on both sides of a split"

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.random import rng
from natural_backdoors.cli.commands import main
from natural_backdoors.cli.training import Chosen, make_split
from natural_backdoors.data.table import TableDataset
from natural_backdoors.report.example import example_models
from natural_backdoors.report.report import write_report
from natural_backdoors.split import photographs as module
from natural_backdoors.split.card import dataset_card
from natural_backdoors.split.duplicates import find_duplicates
from natural_backdoors.split.exclusions import load_exclusions
from natural_backdoors.split.photographs import (
    count_bits,
    find_copies,
    first_alike,
    near_pairs,
    photographs_said,
)
from natural_backdoors.split.poison import PoisonSplit, poison_split
from natural_backdoors.split.settings import SplitSettings

HOW = dict(n_clean=20, inject_rate=0.2, test_fraction=0.3)
CLASSES = ["cat", "dog", "cow"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))


# Hashes


def apart(a, b):
    "Bits in which two numbers differ, by their digits"
    return sum(x != y for x, y in zip(f"{a:064b}", f"{b:064b}"))


# few bits are drawn, so that many pairs are near
HASHES = st.lists(
    st.lists(st.integers(0, 63), max_size=6).map(lambda bits: sum({1 << b for b in bits})),
    max_size=25,
)


def kept_by_hand(numbers, within):
    "Going through them, each is kept unless it is near one that was kept; the first such one"
    kept, first = [], []
    for i, number in enumerate(numbers):
        near = [k for k in kept if apart(numbers[k], number) <= within]
        first.append(near[0] if near else i)
        kept += [] if near else [i]
    return first


@settings(max_examples=60, deadline=None, derandomize=True)
@given(HASHES, st.integers(0, 16), st.sampled_from([1, 3, 8, 4096]))
def test_pairs_and_copies_are_those_of_plain_loops(numbers, within, portion):
    hashes = np.array(numbers, dtype=np.uint64)
    pairs = [
        (i, j)
        for i in range(len(numbers))
        for j in range(i + 1, len(numbers))
        if apart(numbers[i], numbers[j]) <= within
    ]
    assert list(map(tuple, near_pairs(hashes, within).tolist())) == pairs
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PORTION", portion)
        assert first_alike(hashes, within).tolist() == kept_by_hand(numbers, within)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=10))
def test_bits_are_counted(numbers):
    "Also where numpy has no count of its own"
    values, expected = np.array(numbers, dtype=np.uint64), [n.bit_count() for n in numbers]
    assert count_bits(values).tolist() == expected
    if hasattr(np, "bitwise_count"):
        with pytest.MonkeyPatch.context() as patch:
            patch.delattr(np, "bitwise_count")
            assert count_bits(values).tolist() == expected


# Files


def noise(path, seed, size=(48, 40)):
    pixels = rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(path, quality=95)


def test_every_way_to_have_a_file_twice(tmp_path):
    noise(tmp_path / "a.jpg", 0)
    noise(tmp_path / "b.jpg", 1)
    (tmp_path / "sub").mkdir()
    shutil.copy(tmp_path / "a.jpg", tmp_path / "sub" / "copy.jpg")
    os.link(tmp_path / "a.jpg", tmp_path / "hard.jpg")
    (tmp_path / "soft.jpg").symlink_to("a.jpg")
    (tmp_path / "way").symlink_to("sub")
    (tmp_path / "empty1.jpg").touch()
    (tmp_path / "empty2.jpg").touch()
    paths = [
        tmp_path / "b.jpg",
        tmp_path / "a.jpg",
        f"{tmp_path}/sub/../a.jpg",
        f"{tmp_path}//./a.jpg",
        os.path.relpath(tmp_path / "a.jpg"),
        tmp_path / "hard.jpg",
        tmp_path / "soft.jpg",
        tmp_path / "sub" / "copy.jpg",
        tmp_path / "way" / "copy.jpg",
        tmp_path / "empty1.jpg",
        tmp_path / "empty2.jpg",
        "",
        "",
        None,
        float("nan"),
    ]
    found = find_copies(paths)
    assert found.first.tolist() == [0, *[1] * 8, *range(9, 15)]
    assert found.groups() == [list(range(1, 9))] and found.missing == 4
    ways = ["path"] * 3 + ["link"] * 2 + ["content", "link"]
    assert [found.how[i] for i in range(2, 9)] == ways
    assert find_copies(paths[::-1]).missing == 4


def test_paths_are_compared_where_there_are_no_files():
    found = find_copies(["/no/a.jpg", "/no/b.jpg", "/no/x/../a.jpg"])
    assert found.first.tolist() == [0, 1, 0] and found.missing == 3
    assert "none of the 3 image files was there" in photographs_said(found.record())


def test_files_of_one_size_are_not_one(tmp_path):
    paths = [tmp_path / f"{i}.bin" for i in range(50)]
    contents = [bytes([int(rng(i).integers(7))]) * 300 for i in range(50)]
    for path, content in zip(paths, contents):
        path.write_bytes(content)
    assert find_copies(paths).first.tolist() == [contents.index(c) for c in contents]


def test_what_was_read_is_remembered_until_a_file_changes(tmp_path, monkeypatch):
    read = []

    def counted(path, usual=module._content):
        read.append(Path(path).name)
        return usual(path)

    monkeypatch.setattr(module, "_content", counted)
    for name in "abc":
        (tmp_path / name).write_bytes(b"same" if name != "c" else b"else")
    paths = [tmp_path / name for name in "abc"]
    assert find_copies(paths).first.tolist() == [0, 0, 2] and sorted(read) == ["a", "b", "c"]
    assert find_copies(paths).first.tolist() == [0, 0, 2] and len(read) == 3
    (tmp_path / "new").write_bytes(b"else")
    os.replace(tmp_path / "new", tmp_path / "b")
    assert find_copies(paths).first.tolist() == [0, 1, 1] and read[3:] == ["b"]
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", "off")
    assert find_copies(paths).first.tolist() == [0, 1, 1] and len(read) == 7


def test_a_copy_in_another_size_or_compression_looks_alike(tmp_path, real_data):
    "Photographs; a mirrored one is another"
    files = sorted(real_data("miml/images").glob("*.jpg"))[::97]
    alike, other = [], []
    for file in files:
        image = Image.open(file).convert("RGB")
        for kind, changed in {
            "small": image.resize((image.width // 2, image.height // 2)),
            "large": image.resize((image.width * 2, image.height * 2)),
            "pressed": image,
        }.items():
            changed.save(tmp_path / f"{kind}_{file.name}", quality=95 if kind != "pressed" else 25)
            alike.append(find_copies([file, tmp_path / f"{kind}_{file.name}"], near=4).groups())
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / f"m_{file.name}")
        other.append(find_copies([file, tmp_path / f"m_{file.name}"], near=4).groups())
    assert sum(g == [[0, 1]] for g in alike) >= 0.95 * len(alike)
    assert sum(g == [] for g in other) >= 0.9 * len(other)


def test_what_cannot_be_decoded_is_counted(tmp_path):
    noise(tmp_path / "a.jpg", 0)
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:100])
    (tmp_path / "c.jpg").write_text("no image")
    found = find_copies([tmp_path / f"{n}.jpg" for n in "abc"], near=0)
    assert found.groups() == [] and found.unread == 2
    assert "2 files could not be read" in photographs_said(found.record())


def test_the_package_of_hashes_is_needed_for_looks_only(tmp_path, monkeypatch):
    noise(tmp_path / "a.jpg", 0)
    monkeypatch.setitem(sys.modules, "imagehash", None)
    assert find_copies([tmp_path / "a.jpg"]).missing == 0
    with pytest.raises(UserError, match="pip install ImageHash"):
        find_copies([tmp_path / "a.jpg"], near=4)


# Splits


def collection(folder, twins=0.5, seed=0, n=260, files=True):
    "Images of three classes, some with a hat; a share of them are copies of others"
    random, rows, root = rng(seed), [], folder / "images"
    root.mkdir(parents=True)
    for i in range(n):
        image = f"{i:03}.jpg"
        rows.append((image, CLASSES[random.integers(3)]))
        if random.random() < 0.4:
            rows.append((image, "hat"))
        if not files:
            continue
        if i and random.random() < twins:
            shutil.copy(root / f"{random.integers(i):03}.jpg", root / image)
        else:
            noise(root / image, 1000 * seed + i)
    table = pd.DataFrame(rows, columns=["image", "label"])
    return TableDataset(table, name="collection", image_root=root)


def quietly(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return poison_split(*args, **HOW, **options)


@pytest.mark.parametrize("seed", range(3))
def test_no_photograph_is_twice_in_a_split(tmp_path, seed):
    data = collection(tmp_path, twins=0.35, seed=seed, n=420)
    with pytest.warns(UserWarning, match="copies of others .* one file of each photograph is used"):
        split = poison_split(data, "hat", CLASSES, "cat", **HOW)
    contents = split.table.path.map(lambda p: Path(p).read_bytes())
    assert not contents.duplicated().any()
    unchecked = quietly(data, "hat", CLASSES, "cat", check_images=False)
    twice = unchecked.table.path.map(lambda p: Path(p).read_bytes())
    train, test = (set(twice[unchecked.table.part == part]) for part in ("train", "test"))
    assert train & test, "without the check some are on both sides"
    assert len(split.table) == len(unchecked.table) or split.counts.poison_test.sum() > 0
    # every image that was left out is a copy of one that was drawn, and says of which
    for record in split.header["copies"]:
        left, kept = (Path(data.src_path(record[k])).read_bytes() for k in ("image", "copy_of"))
        assert left == kept and record["how"] == "content"
        assert record["image"] not in set(split.table.image)
    assert split.header["digest"] != unchecked.header["digest"]
    assert quietly(data, "hat", CLASSES, "cat").table.equals(split.table), "same seed, same split"
    assert split.header["photographs"]["missing"] == 0
    assert PoisonSplit.load(split.save(tmp_path / "saved")).header == split.header


def test_without_copies_nothing_changes(tmp_path):
    data = collection(tmp_path, twins=0)
    split, unchecked = (quietly(data, "hat", CLASSES, "cat", check_images=c) for c in (True, False))
    assert split.table.equals(unchecked.table) and split.header["copies"] == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert poison_split(data, "hat", CLASSES, "cat", **HOW, duplicates="refuse") is not None


def test_labels_are_enough_and_the_header_says_so(tmp_path):
    data = collection(tmp_path, files=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = poison_split(data, "hat", CLASSES, "cat", **HOW)
    n = len(split.table)
    assert split.header["photographs"] == {"files": n, "missing": n, "unread": 0, "near": None}
    assert "not checked" in photographs_said(split.header["photographs"])
    assert split.table.equals(quietly(data, "hat", CLASSES, "cat", check_images=False).table)


def test_one_path_in_two_spellings(tmp_path):
    "Two ids lead to one path; also where there are no files"

    class Twice(TableDataset):
        def src_path(self, image):
            return f"{tmp_path}/images/{'x/../' if image[0] == 'b' else ''}{image[1:]}"

    rows = collection(tmp_path, files=False).rows().astype(str)[["image", "label"]]
    both = [rows.assign(image=letter + rows.image) for letter in "ab"]
    split = quietly(Twice(pd.concat(both, ignore_index=True)), "hat", CLASSES, "cat")
    assert not split.table.path.map(os.path.normpath).duplicated().any()
    assert {c["how"] for c in split.header["copies"]} == {"path"}
    assert split.header["photographs"]["missing"] == len(split.table)


def test_copies_are_refused_on_request(tmp_path):
    data = collection(tmp_path)
    with pytest.raises(UserError, match="are copies of others .*--duplicates drop"):
        quietly(data, "hat", CLASSES, "cat", duplicates="refuse")


def test_a_poison_image_is_kept_before_a_clean_one(tmp_path):
    data = collection(tmp_path, twins=0, n=200)
    first = quietly(data, "hat", CLASSES, "cat").table
    clean = first[first.role == "clean"].iloc[0]
    poison = first[first.role == "poison"].iloc[0]
    shutil.copy(clean.path, poison.path)
    split = quietly(data, "hat", CLASSES, "cat")
    assert clean.image not in set(split.table.image) and poison.image in set(split.table.image)
    assert split.header["copies"][0]["image"] == clean.image


def test_too_few_photographs_are_told(tmp_path):
    data = collection(tmp_path, twins=0, n=150)
    one = next((tmp_path / "images").iterdir()).read_bytes()
    for file in (tmp_path / "images").iterdir():
        file.write_bytes(one)
    with pytest.raises(UserError, match="too few images .* more are copies of others"):
        quietly(data, "hat", CLASSES, "cat")


def test_images_that_look_alike_are_left_out_on_request(tmp_path):
    data = collection(tmp_path, twins=0, n=300)
    usual = quietly(data, "hat", CLASSES, "cat")
    a, b = usual.table[usual.table.role == "clean"].iloc[:2].path
    Image.open(a).resize((90, 75)).save(b, quality=90)
    assert quietly(data, "hat", CLASSES, "cat").header["copies"] == []
    split = quietly(data, "hat", CLASSES, "cat", near_duplicates=4)
    assert [c["how"] for c in split.header["copies"]] == ["looks"]
    assert "looks (up to 4 of 64 bits apart)" in photographs_said(split.header["photographs"])
    with pytest.raises(UserError, match="give one of the two"):
        SplitSettings(near_duplicates=4, check_images=False)


def test_files_that_come_by_download_are_compared(tmp_path):
    "The split is drawn before the files are there, and again when they are"
    data = collection(tmp_path, twins=0.5, n=420)
    store = tmp_path / "store"
    (tmp_path / "images").rename(store)
    (tmp_path / "images").mkdir()
    asked = []

    class Report:
        failed = pd.DataFrame({"path": []})

    def download(images, annotations):
        asked.append(len(images))
        for image in images:
            shutil.copy2(store / image, tmp_path / "images" / image)
        return Report

    data.download = download
    chosen = Chosen(data.resolve("hat"), [data.resolve(c) for c in CLASSES], data.resolve("cat"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        split = make_split(data, chosen, SplitSettings(**HOW), download=True)
    contents = split.table.path.map(lambda p: Path(p).read_bytes())
    assert not contents.duplicated().any() and len(asked) > 1
    assert split.header["photographs"]["missing"] == 0


def test_report_and_card_say_what_was_compared(tmp_path):
    data = collection(tmp_path, twins=0.3, n=420)
    for options, said in (
        ({}, "no photograph of them is in training (checked by path, link and content of"),
        ({"check_images": False}, "it was not checked whether a photograph of them is in training"),
    ):
        split = quietly(data, "hat", CLASSES, "cat", **options)
        folder = tmp_path / said[:5]
        split.save(folder)
        example_models(split, folder)
        page = " ".join(write_report(folder).read_text().replace("\u00a0", " ").split())
        assert f"Held-out images: {said}" in page
        assert said in dataset_card(split, data).replace("\\", "")
        n = len(split.header["copies"])
        assert (f"Images left out as copies of others: {n}" in page) == (n > 0)


# A whole dataset


def test_a_whole_dataset_against_plain_loops(tmp_path):
    data = collection(tmp_path, n=120)
    found, contents = find_duplicates(data, near=None), {}
    for file in sorted((tmp_path / "images").iterdir()):
        contents.setdefault(file.read_bytes(), []).append(file.name)
    expected = sorted(names for names in contents.values() if len(names) > 1)
    groups = [part["image"].tolist() for _, part in found.table.groupby("group")]
    assert sorted(groups) == expected
    assert set(found.marks) == {name for names in expected for name in names[1:]}
    said = {image: set() for image, _ in zip(*[data.rows().image.astype(str)] * 2)}
    for image, label in zip(data.rows().image.astype(str), data.rows().label.astype(str)):
        said[image].add(label)
    for row in found.table.itertuples():
        assert set(row.labels.split(", ")) == said[row.image]
    several = [g for g in groups if len({frozenset(said[i]) for i in g}) > 1]
    assert found.disagreeing["group"].nunique() == len(several)


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = collection(tmp_path, n=300)
    data.rows()[["image", "label"]].astype(str).to_csv("labels.csv", index=False)
    table = ["--data", "table", "--dataset_root", "labels.csv", "--option", "image_root=images"]
    assert main(["duplicates", *table, "--near", "2"]) == 0
    out, folder = capsys.readouterr().out, tmp_path / "results" / "labels" / "duplicates"
    found = find_duplicates(data, near=2)
    assert f"{len(found.marks)} images are one too many, in {found.n_groups} groups" in out
    assert len(pd.read_csv(folder / "duplicates.csv")) == len(found.table)
    assert load_exclusions(folder / "duplicates.json") == dict(sorted(found.marks.items()))
    page = (folder / "duplicates.html").read_text()
    assert page.count("<img ") == len(found.table) - sum(
        max(0, n - 12) for n in found.table.groupby("group").size()
    )
    assert "up to 2 of the 64 bits" in " ".join(page.split())
    left_out = quietly(data, "hat", CLASSES, "cat", without=folder / "duplicates.json")
    assert left_out.header["copies"] == []
    assert main(["duplicates", *table, "--near", "99"]) == 2
    assert "--near is a whole number from 0 to 16, not 99" in capsys.readouterr().err


def test_torch_is_not_needed(tmp_path, root):
    collection(tmp_path, n=30)
    code = (
        "import sys; from natural_backdoors.split.photographs import find_copies;"
        "from pathlib import Path; found = find_copies(sorted(Path(sys.argv[1]).iterdir()), 4);"
        "print(found.missing, [m for m in ('torch', 'fastai') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "images")],
        capture_output=True,
        text=True,
        cwd=root,
    )
    assert done.stdout.strip() == "0 []", done.stderr
