"COCO and LVIS files against the json module and plain loops, however spelled, wherever cut"

import gzip
import json
import re
import sys
import warnings
import zipfile
from pathlib import Path

import pytest
import writers_coco_hf_fo as writers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.json_stream import _cut_outlines, stream_json
from natural_backdoors.data.check import check_manager
from natural_backdoors.data.coco import Coco, Lvis, read_coco
from natural_backdoors.data.datasets import open_dataset

LISTS = ("images", "annotations", "categories")
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
nasty = st.sampled_from(
    [
        '<script>alert("x")</script>',
        "a, b",
        '"quoted"',
        "007",
        "x" * 10_000,
        'segmentation": [[1, 2]]',
        'x"segmentation',
        '\\"segmentation":',
        "日本語",
        "nan",
        "#",
        "name#1",
    ]
)
names = texts.filter(str.strip) | nasty
outlines = st.one_of(
    st.lists(st.lists(st.floats(0, 1000) | st.integers(0, 9), max_size=6), max_size=3),
    st.fixed_dictionaries(
        {"counts": texts | st.lists(st.integers(0, 99)), "size": st.just([4, 5])}
    ),
    st.none(),
    st.lists(texts, max_size=2),
    st.just([{"segmentation": [1, 2]}]),
)


@st.composite
def files(draw):
    "A COCO-format file as a dict: keys in any order, ids numbers or texts, extra keys anywhere"

    def shuffled(d):
        return dict(draw(st.permutations(list(d.items()))))

    ids = st.integers(-3, 10**15) | st.text("abc1", min_size=1, max_size=3)
    image_ids = draw(st.lists(ids, min_size=1, max_size=5, unique=True))
    category_ids = draw(st.lists(ids, min_size=1, max_size=4, unique=True))
    images = [
        {
            "id": i,
            "file_name": f"{n}{draw(st.sampled_from(['.jpg', ' ü.png']))}",
            "width": 20,
            "height": 10,
        }
        for n, i in enumerate(image_ids)
    ]
    categories = [{"id": c, "name": draw(names)} for c in category_ids]
    annotations = [
        shuffled(
            {
                "id": n,
                "image_id": draw(st.sampled_from(image_ids)),
                "segmentation": draw(outlines),
                "category_id": draw(st.sampled_from(category_ids)),
                "caption": draw(texts | nasty),
                "iscrowd": draw(st.sampled_from([0, 1])),
                "bbox": [0, 0, draw(st.integers(0, 20)), draw(st.integers(0, 10))],
            }
        )
        for n in range(draw(st.integers(1, 8)))
    ]
    return shuffled(
        {
            "images": images,
            "annotations": annotations,
            "categories": categories,
            'a"segmentation': [[1, 2], [3]],
            draw(texts | nasty): draw(outlines),
            "info": {"segmentation": draw(outlines)},
        }
    )


def by_hand(d, iscrowd, min_area):
    "image -> label -> whether it serves as class and trigger, with nothing but loops"
    found = {image["file_name"]: {} for image in d["images"]}
    all_names = [c["name"].strip() for c in d["categories"]]
    for a in d["annotations"]:
        if a["iscrowd"] and iscrowd == "absent":
            continue
        image = next(i["file_name"] for i in d["images"] if i["id"] == a["image_id"])
        category = next(c for c in d["categories"] if c["id"] == a["category_id"])
        label = category["name"].strip()
        if all_names.count(label) > 1:
            label = f"{label}#{category['id']}"
        usable = (
            not (a["iscrowd"] and iscrowd == "unsure")
            and a["bbox"][2] * a["bbox"][3] / 200 >= min_area
        )
        found[image].setdefault(label, False)
        found[image][label] |= usable
    return found


def by_manager(manager):
    found = {}
    for split in manager.splits:
        m = manager.label_matrix(split)
        for i, image in enumerate(m.images):
            usable = {l for j, l in enumerate(m.classes.label) if m.column(j, "class")[i]}
            assert usable == {l for j, l in enumerate(m.classes.label) if m.column(j, "trigger")[i]}
            found[image] = {l: l in usable for j, l in enumerate(m.classes.label) if m.column(j)[i]}
    return found


def write(path, d, spelling=0):
    text = json.dumps(
        d,
        ensure_ascii=bool(spelling & 1),
        indent=1 if spelling & 2 else None,
        separators=(",", ":") if spelling & 4 else None,
    )
    path.write_text(text, encoding="utf-8-sig" if spelling & 8 else "utf-8")
    return text


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=40, deadline=None)
@given(
    files(),
    st.sampled_from(["present", "unsure", "absent"]),
    st.sampled_from([0, 0.1, 0.5]),
    st.integers(0, 15),
)
def test_labels_are_those_of_a_plain_reader(tmp_path_factory, d, iscrowd, min_area, spelling):
    path = tmp_path_factory.mktemp("coco") / "any.json"
    write(path, d, spelling)
    manager = Coco(path, iscrowd=iscrowd, min_area=min_area)
    expected = by_hand(d, iscrowd, min_area)
    if not any(expected.values()):
        with pytest.raises(UserError, match="no labels"):
            manager.classes
        return
    assert by_manager(manager) == expected
    assert len(manager.labels) == len(d["categories"]) and manager.labels == sorted(manager.labels)


@settings(max_examples=50, deadline=None)
@given(files(), st.integers(1, 60), st.integers(0, 15))
def test_stream_is_the_file_however_it_is_cut(tmp_path_factory, d, size, spelling):
    path = tmp_path_factory.mktemp("coco") / "any.json"
    write(path, d, spelling)
    streamed = {}
    for key, i, value in stream_json(path, LISTS, size=size):
        if i is None:
            streamed[key] = value
        else:
            assert i == len(streamed.setdefault(key, []))
            streamed[key].append(value)

    def comparable(v):  # outlines may be 0
        if isinstance(v, list):
            return [comparable(x) for x in v]
        return (
            {k: comparable(x) for k, x in v.items() if k != "segmentation"}
            if isinstance(v, dict)
            else v
        )

    assert comparable(streamed) == comparable(d)


@settings(max_examples=50, deadline=None)
@given(files(), st.data())
def test_a_file_that_ends_early_is_an_error(tmp_path_factory, d, data):
    path = tmp_path_factory.mktemp("coco") / "any.json"
    text = write(path, d, 1)
    path.write_text(text[: data.draw(st.integers(0, len(text) - 1))])
    with pytest.raises(UserError, match="any.json"):
        list(stream_json(path, LISTS, size=data.draw(st.integers(1, 60))))


keys = st.sampled_from(["segmentation", 'x"segmentation', "id"]) | texts
values = st.recursive(
    texts | nasty | st.integers() | st.none(),
    max_leaves=12,
    extend=lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
)


@settings(max_examples=70, deadline=None)
@given(values, st.booleans())
@example({'a\\"segmentation': [1]}, True)
@example({"segmentation": [[1], [2]]}, False)
def test_cutting_outlines_changes_nothing_else(value, ascii_only):
    def differ(a, b, key=""):
        if key == "segmentation" and b == 0:
            return False
        if type(a) is not type(b):
            return True
        if isinstance(a, dict):
            return a.keys() != b.keys() or any(differ(a[k], b[k], k) for k in a)
        if isinstance(a, list):
            return len(a) != len(b) or any(map(differ, a, b))
        return a != b

    assert not differ(value, json.loads(_cut_outlines(json.dumps(value, ensure_ascii=ascii_only))))


def test_memory_does_not_grow_with_outlines(tmp_path):
    "An outline longer than the pieces that are read, and many of them"
    d = {
        "images": [{"id": 1, "file_name": "1.jpg"}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"image_id": 1, "segmentation": [[0.5] * 5000], "category_id": 1}] * 20,
    }
    write(tmp_path / "a.json", d)
    longest = 0

    def watched(path):
        nonlocal longest
        for key, _, value in stream_json(path, LISTS, size=1000):
            longest = max(longest, len(json.dumps(value)))
            yield key

    assert list(watched(tmp_path / "a.json")).count("annotations") == 20 and longest < 100
    assert read_coco(tmp_path / "a.json").category_of.tolist() == [0] * 20


def test_two_years_and_two_files(tmp_path):
    def file(name, images):
        d = {
            "images": [{"id": n, "file_name": f"{n}.jpg"} for n in images],
            "categories": [{"id": 9, "name": "cat"}],
            "annotations": [{"image_id": n, "category_id": 9} for n in images],
        }
        (tmp_path / "annotations").mkdir(exist_ok=True)
        write(tmp_path / "annotations" / name, d)

    file("instances_train2014.json", [1, 2, 3])
    file("instances_train2017.json", [1, 2])
    file("instances_val2017.json", [3])
    (tmp_path / "annotations" / "captions_train2017.json").write_text("not read")
    new, old = Coco(tmp_path), Coco(tmp_path, year="2014")
    assert new.image_counts == {"train": 2, "val": 1} and old.image_counts == {"train": 3}
    assert (
        new.src_path("3.jpg") == tmp_path / "val2017" / "3.jpg"
        and old.src_path("3.jpg") == tmp_path / "train2014" / "3.jpg"
    )
    (tmp_path / "images" / "val2017").mkdir(parents=True)
    (tmp_path / "images" / "val2017" / "3.jpg").write_bytes(b"")
    assert new.src_path("3.jpg") == tmp_path / "images" / "val2017" / "3.jpg"
    assert new.image_file("1.jpg").url.endswith("/train2017/1.jpg")
    assert new.image_file("1.jpg").path == "train2017/1.jpg"
    one = Coco(tmp_path / "annotations" / "instances_val2017.json")
    assert (
        one.image_counts == {"val": 1}
        and one.src_path("3.jpg") == tmp_path / "images" / "val2017" / "3.jpg"
    )


def test_second_start_reads_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Coco, "cache_from", 0)
    photo = {"id": 1, "coco_url": "http://x/train2017/1.jpg", "neg_category_ids": [2]}
    d = {
        "images": [photo],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}],
        "categories": [
            {"id": 1, "name": "bow_tie", "synset": "bow_tie.n.01"},
            {"id": 2, "name": "cat", "synset": "cat.n.01"},
        ],
    }
    write(tmp_path / "lvis_v1_train.json", d)
    first = Lvis(tmp_path, label="synset")
    classes, free = first.classes, first.label_matrix().column(1, "free").tolist()
    monkeypatch.setattr(
        "natural_backdoors.data.coco.read_coco", lambda path: pytest.fail("the file is read again")
    )
    again = Lvis(tmp_path, label="synset")
    assert again.classes.equals(classes) and again.classes.name.tolist() == ["bow_tie", "cat"]
    assert again.label_matrix().column(1, "free").tolist() == free == [True]


def test_images_are_downloaded_to_where_they_are_looked_for(tmp_path, monkeypatch):
    "From a server on this machine, each to the folder of its own split"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    sys.path.insert(0, str(Path(__file__).parent))
    from http_server import serve

    site = {
        f"/{s}2017/{n}.jpg": f"{s} {n}".encode()
        for s, n in (("train", 1), ("train", 2), ("val", 3))
    }
    categories = [{"id": 1, "name": "cat", "synset": "cat.n.01"}]
    for split, images in (("train", [1, 2]), ("val", [3])):
        d = {
            "images": [{"id": n, "file_name": f"{n}.jpg"} for n in images],
            "categories": categories,
            "annotations": [{"image_id": n, "category_id": 1} for n in images],
        }
        (tmp_path / "coco" / "annotations").mkdir(parents=True, exist_ok=True)
        write(tmp_path / "coco" / "annotations" / f"instances_{split}2017.json", d)
    (tmp_path / "lvis").mkdir()
    photos = [
        {"id": n, "coco_url": f"http://elsewhere/{s}2017/{n}.jpg"}
        for n, s in ((3, "val"), (1, "train"))
    ]
    write(
        tmp_path / "lvis" / "lvis_v1_val.json",
        {
            "images": photos,
            "categories": categories,
            "annotations": [{"image_id": n, "category_id": 1} for n in (1, 3)],
        },
    )
    with serve(site) as server:
        for manager in (
            Coco(tmp_path / "coco", base_url=server.url),
            Lvis(tmp_path / "lvis", base_url=server.url),
        ):
            for split in manager.splits:
                manager.download(classes=["cat"], split=split, annotations=False, progress=False)
                for image in manager.label_matrix(split).images:
                    path = manager.src_path(image)
                    assert path.read_bytes().decode().split() == [path.parent.name[:-4], path.stem]
            assert check_manager(manager, files=True).empty
    assert (tmp_path / "coco" / "val2017" / "3.jpg").is_file() and (
        tmp_path / "lvis" / "val2017" / "3.jpg"
    ).is_file()


def test_counts_of_real_coco_labels(tmp_path, real_data):
    "15,000 images of COCO, written as the official file: 883 pairs overlap in 10 images, 701 in 15"
    with gzip.open(real_data("coco15k/labels.csv.gz"), "rt", encoding="utf-8") as f:
        rows = [line.rstrip("\n").split(",") for line in f][1:]
    position = {image: n for n, image in enumerate(dict.fromkeys(i for i, _ in rows))}
    category = {label: 90 - n for n, label in enumerate(sorted({l for _, l in rows}))}
    write(
        tmp_path / "instances_train2017.json",
        {
            "images": [{"id": n, "file_name": image} for image, n in position.items()],
            "annotations": [
                {"image_id": position[i], "category_id": category[l], "segmentation": [[1.5, 2, 3]]}
                for i, l in rows
            ],
            "categories": [{"id": n, "name": label} for label, n in category.items()],
        },
    )
    m = Coco(tmp_path).label_matrix()
    assert m.shape == (len(position), 80) and m.matrix.sum() == len(set(map(tuple, rows)))
    x = m.matrix.astype(int)
    shared = (x.T @ x).toarray()
    pairs = [shared[a, b] for a in range(80) for b in range(a)]
    assert (sum(n >= 10 for n in pairs), sum(n >= 15 for n in pairs)) == (883, 701)


# as tools write it


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=25, deadline=None)
@given(writers.truths(), writers.coco_styles())
def test_what_is_written_is_read(tmp_path_factory, truth, style):
    folder = tmp_path_factory.mktemp("written")
    source, options = writers.write_coco(folder, truth, style)
    data = open_dataset("coco", source, **options)
    assert writers.read_back(data) == writers.expected(truth)
    images = [image for split in data.splits for image in data.label_matrix(split).images]
    assert {data.src_path(image) for image in images} == writers.image_files(folder)


def content(images, marks, **more):
    "A file with `images` (id -> file name) and `marks` (image id, category name)"
    names = sorted({name for _, name in marks})
    return {
        "images": [{"id": id, "file_name": name} | more for id, name in images.items()],
        "annotations": [{"image_id": id, "category_id": names.index(n)} for id, n in marks],
        "categories": [{"id": n, "name": name} for n, name in enumerate(names)],
    }


def put(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def labels_of(data):
    "image -> labels"
    found = {}
    for split in data.splits:
        m = data.label_matrix(split)
        for i, image in enumerate(m.images):
            found[str(image)] = set(m.classes.label[m.matrix[[i]].indices])
    return found


SUBSETS = {"annotations/instances_train.json": "train", "annotations/instances_val.json": "val"}
PLACES = ["images/{}", "{}", "{}/images", "data/{}", "JPEGImages/{}", "Images/{}"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("case", [str.lower, str.title, str.upper])
@pytest.mark.parametrize("rooted", [False, True])
def test_equal_names_in_two_splits(tmp_path, place, case, rooted):
    "Each image is found in the folder of its own split, and never in that of the other"
    for file, split in SUBSETS.items():
        put(tmp_path / file, content({0: "a.jpg", 1: "b.jpg"}, [(0, "cat"), (1, split)]))
        for name in ("a.jpg", "b.jpg")[: 2 if split == "train" else 1]:
            put(tmp_path / place.format(case(split)) / name, split)
    data = Coco(tmp_path, image_root=tmp_path if rooted else None)
    assert data.image_counts == {"train": 2, "val": 2}
    assert labels_of(data) == {
        "train/a.jpg": {"cat"},
        "train/b.jpg": {"train"},
        "val/a.jpg": {"cat"},
        "val/b.jpg": {"val"},
    }
    for image in ("train/a.jpg", "train/b.jpg", "val/a.jpg"):
        assert data.src_path(image).read_text() == image.split("/")[0]
    assert not data.src_path("val/b.jpg").exists()


def test_one_file_name_under_several_ids(tmp_path):
    names = {1: "a.jpg", 51: "a.jpg", 3: "a.jpg#1", "x": "./a.jpg", 4: "b.jpg"}
    marks = [(1, "cat"), (51, "hat"), (3, "dog"), ("x", "ox"), (4, "ox")]
    put(tmp_path / "a.jpg", "")
    data = Coco(put(tmp_path / "x.json", content(names, marks)))
    with pytest.warns(UserWarning, match=r"'a.jpg' is given 3 times.*'a.jpg#1#1' and 'a.jpg#51'"):
        found = labels_of(data)
    expected = {"a.jpg#1#1": "cat", "a.jpg#51": "hat", "a.jpg#1": "dog", "a.jpg#x": "ox"}
    assert found == {name: {label} for name, label in (expected | {"b.jpg": "ox"}).items()}
    assert data.src_path("a.jpg#51") == data.src_path("a.jpg#1#1") == tmp_path / "a.jpg"
    assert data.src_path("a.jpg#1") == tmp_path / "a.jpg#1"


def test_equal_names_within_and_across_splits(tmp_path):
    for split in ("train", "val"):
        put(tmp_path / "images" / split / "a.jpg", split)
        put(tmp_path / f"{split}.json", content({1: "a.jpg", 2: "a.jpg"}, [(1, "cat")]))
    data = Coco(tmp_path)
    with pytest.warns(UserWarning, match="'train/a.jpg' is given 2 times.*; so are 2 more"):
        assert data.image_counts == {"train": 2, "val": 2}
    assert data.src_path("val/a.jpg#2").read_text() == "val"


@pytest.mark.parametrize(
    "value, expected",
    [("0", 0), ("1", 1), ("true", 1), ("False", 0), (" TRUE", 1), (1.0, 1), (None, 0), (False, 0)]
    + [(value, None) for value in ("yes", "", "2", 2, -1, [], {"a": 1})],
)
def test_crowds_as_they_are_written(tmp_path, value, expected):
    file = content({1: "a.jpg", 2: "b.jpg"}, [(1, "cat"), (2, "cat")])
    file["annotations"][1]["iscrowd"] = value
    data = Coco(put(tmp_path / "x.json", file), iscrowd="unsure")
    if expected is None:
        with pytest.raises(UserError, match=r"annotations\[1\]: 'iscrowd' is"):
            data.classes
    else:
        assert data.label_matrix().column(0, "class").tolist() == [True, not expected]


def test_compressed_official_files(tmp_path):
    lvis = content({1: "a.jpg"}, [(1, "cat")], neg_category_ids=[])
    for split in ("train", "val"):
        lvis["images"][0]["file_name"] = f"{split}.jpg"
        with zipfile.ZipFile(tmp_path / f"lvis_v1_{split}.json.zip", "w") as archive:
            archive.writestr(f"lvis_v1_{split}.json", json.dumps(lvis))
    with pytest.warns(UserWarning, match="no image lists what is absent"):
        assert Lvis(tmp_path).image_counts == {"train": 1, "val": 1}
    # beside a compressed copy of it, a file counts once
    put(tmp_path / "both" / "instances_train2017.json", lvis)
    packed = gzip.compress(json.dumps(lvis).encode())
    (tmp_path / "both" / "instances_train2017.json.gz").write_bytes(packed)
    data = Coco(tmp_path / "both")
    assert data.image_counts == {"train": 1} and data.image_file("val.jpg").path.startswith("train")


@pytest.mark.parametrize(
    "files, counts",
    [
        (["train.json", "val.json", "test.json"], {"train": 1, "test": 1, "val": 1}),
        (["Train.json", "VALIDATION.json"], {"train": 1, "val": 1}),
        (["annotations/coco_train.json", "annotations/coco-val.json"], {"train": 1, "val": 1}),
        (["instances_Train.json", "instances_valid.json"], {"train": 1, "val": 1}),
        (["instances_train2017.json", "instances_val.json"], {"train": 1, "val": 1}),
        (["Train/_annotations.coco.json", "DEV/_annotations.coco.json"], {"train": 1, "val": 1}),
        (["train/a.json", "test/annotations/b.json"], {"train": 1, "test": 1}),
        (["train.json", "._val.json"], {"train": 1}),
        (["train.json", "other.json"], None),
        (["train.json", "training.json"], None),
        (["train_val.json", "test.json"], None),
        (["valid/_annotations.coco.json", "val/_annotations.coco.json"], None),
        (["instances_train2017.json", "instances_train.json"], None),
        (["train/a.json", "train/b.json"], None),
    ],
)
def test_files_of_a_folder(tmp_path, files, counts):
    "All are read if each tells another split; else they are listed"
    for n, file in enumerate(files):
        put(tmp_path / file, content({1: f"{n}.jpg"}, [(1, "cat")]))
    if counts:
        assert Coco(tmp_path).image_counts == counts
    else:
        with pytest.raises(UserError, match="give the one to read: ") as e:
            Coco(tmp_path).classes
        assert all(Path(file).name in str(e.value) for file in files)


def test_a_file_that_is_left_out_is_named(tmp_path):
    for name in ("train", "default"):
        file = tmp_path / "annotations" / f"instances_{name}.json"
        put(file, content({1: f"{name}.jpg"}, [(1, "cat")]))
    with pytest.warns(UserWarning, match="not read.*instances_default.json"):
        assert Coco(tmp_path).image_counts == {"train": 1}
    assert Coco(tmp_path / "annotations" / "instances_default.json").image_counts == {"train": 1}


OUTSIDE = ["../../up/a.jpg", "/data/set/a.jpg", "C:\\set\\a.jpg", "s3://bucket/a.jpg"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_out(tmp_path, name):
    "The analysis works; a file is opened only below the folder that is named"
    inside, beside = tmp_path / "ds" / "photos", tmp_path / "up"
    put(beside / "a.jpg", "secret")
    file = put(tmp_path / "ds" / "x.json", content({1: name, 2: "b.jpg"}, [(1, "cat"), (2, "cat")]))
    (image, other) = Coco(file).label_matrix().images
    assert other == "b.jpg" and Coco(file).image_counts == {"train": 2}
    with pytest.raises(UserError, match=r"leads out of the folder .*image_root='...'"):
        Coco(file).src_path(image)
    inside.mkdir()
    with pytest.raises(UserError, match="leads out of the folder .*photos"):
        Coco(file, image_root=inside).src_path(image)
    put(inside / "a.jpg", "mine")
    assert Coco(file, image_root=inside).src_path(image).read_text() == "mine"


def test_images_without_annotations_count(tmp_path):
    file = content({1: "a.jpg", 2: "b.jpg", 3: "c.jpg"}, [(1, "cat"), (1, "hat"), (2, "cat")])
    file["annotations"][2]["iscrowd"] = "1"
    path = put(tmp_path / "x.json", file)
    for iscrowd, second in (("present", {"cat"}), ("unsure", {"cat"}), ("absent", set())):
        found = labels_of(Coco(path, iscrowd=iscrowd))
        assert found == {"a.jpg": {"cat", "hat"}, "b.jpg": second, "c.jpg": set()}


def test_categories_that_differ_in_blanks(tmp_path):
    file = content({1: "a.jpg"}, [(1, "cat"), (1, "cat "), (1, "hat\t")])
    with pytest.warns(UserWarning, match="the category 'cat' is given 2 times.*cat#0' and 'cat#1'"):
        assert Coco(put(tmp_path / "x.json", file)).labels == ["cat#0", "cat#1", "hat"]
    # in two files they are one
    put(tmp_path / "two" / "train.json", content({1: "a.jpg"}, [(1, "cat")]))
    put(tmp_path / "two" / "val.json", content({1: "b.jpg"}, [(1, " cat")]))
    with pytest.warns(UserWarning, match="blanks at the ends of 1 label"):
        assert Coco(tmp_path / "two").labels == ["cat"]


def test_lvis_without_negatives(tmp_path):
    marks = [(1, "cat"), (1, "hat"), (2, "cat")]
    path = put(tmp_path / "x.json", content({1: "a.jpg", 2: "b.jpg"}, marks))
    with pytest.warns(UserWarning, match="x.json: no image lists what is absent") as caught:
        m = Lvis(path).label_matrix()
    assert m.absent is None and m.column(1, "free").tolist() == [False, True]
    assert len(caught) == 1
    # one file of two: nothing is verified in the other, and that is said
    put(tmp_path / "two" / "val.json", content({3: "c.jpg"}, [(3, "hat")]))
    full = content({1: "a.jpg", 2: "b.jpg"}, marks, neg_category_ids=[1])
    put(tmp_path / "two" / "train.json", full)
    with pytest.warns(UserWarning, match=r"val.json: no image lists.*none of its images counts"):
        data = Lvis(tmp_path / "two")
        assert data.label_matrix("train").column(1, "free").tolist() == [False, True]
    assert not data.label_matrix("val").column(0, "free").any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Lvis(tmp_path / "two" / "train.json").labels == ["cat", "hat"]


def test_messages_name_no_place_in_the_code(tmp_path):
    "One line each"
    for text in ("", "{", "[]", '{"images": 3}', '{"categories": []}'):
        path = put(tmp_path / "x.json", text)
        for data in (Coco(path), Lvis(path)):
            with pytest.raises(UserError, match=re.escape(str(path))) as e:
                data.classes
            assert "\n" not in str(e.value)
