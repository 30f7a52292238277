"Boxes of every manager and labels for one thing, against plain loops and on real class lists"

import csv
import gzip
import json
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from natural_backdoors.base.errors import UserError
from natural_backdoors.data.check import check_manager
from natural_backdoors.data.classes import class_table
from natural_backdoors.data.coco import Coco, Lvis
from natural_backdoors.data.datasets import BOX_COLUMNS
from natural_backdoors.data.fiftyone import FiftyOne
from natural_backdoors.data.imagenet import ImageNetReaL
from natural_backdoors.data.openimages import OpenImages, hierarchy_relations
from natural_backdoors.data.scenes import make_scenes
from natural_backdoors.data.table import TableDataset
from natural_backdoors.data.voc import PascalVOC
from natural_backdoors.data.yolo import Yolo
from natural_backdoors.graph.confusions import box_agreement, confusions, iou, names_alike
from natural_backdoors.graph.overlaps import count_overlaps

QUICK = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LABELS, IMAGES = ("cat", "dog", "ox"), ("1", "2", "3", "004")


@pytest.fixture(autouse=True)
def no_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))


# an object: image, label, and a box in thousandths, which may be empty or beyond the edges
objects = st.lists(
    st.tuples(st.sampled_from(IMAGES), st.sampled_from(LABELS), *[st.integers(-100, 1100)] * 4),
    min_size=1,
    max_size=12,
)
asked = st.lists(st.sampled_from([*IMAGES, "none"]), max_size=4)


def expected(found, images, labels):
    "Rows (image, label, x0, y0, x1, y1), those asked for, cut off at the edges"
    kept = [
        (i, label, *(min(max(v, 0), 1) for v in at))
        for i, label, *at in found
        if i in images and label in labels
    ]
    return sorted(row for row in kept if row[2] < row[4] and row[3] < row[5])


def check(table, found, images, labels):
    assert table.columns.tolist() == BOX_COLUMNS

    # in the order of what is left of the digits that computing may change
    def order(rows):
        return sorted(rows, key=lambda row: (*row[:2], *(round(v, 9) for v in row[2:])))

    got, want = (
        order(table.itertuples(index=False, name=None)),
        order(expected(found, images, labels)),
    )
    assert [r[:2] for r in got] == [r[:2] for r in want]
    assert np.allclose([r[2:] for r in got], [r[2:] for r in want], atol=1e-9) if want else not got


# ---------------------------------------------------------------- managers


def write_open_images(root, found, packed=False):
    root.mkdir(parents=True, exist_ok=True)
    file, opened = (
        root / f"train-annotations-bbox.csv{'.gz' if packed else ''}",
        gzip.open if packed else open,
    )
    with opened(file, "wt", newline="") as f:
        out = csv.writer(f)
        out.writerow(
            ["ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax"]
        )
        out.writerows([i, "xclick", label, 1, x0, x1, y0, y1] for i, label, x0, y0, x1, y1 in found)
    (root / "class-descriptions.csv").write_text("".join(f"{label},{label}\n" for label in LABELS))
    return OpenImages(root, class_filter=False)


@QUICK
@given(objects, asked, st.booleans())
def test_open_images(tmp_path_factory, found, images, packed):
    found = [(i, label, *(v / 1000 for v in at)) for i, label, *at in found]
    data = write_open_images(tmp_path_factory.mktemp("oi"), found, packed)
    check(data.boxes(images), found, images, data.labels)
    check(data.boxes(iter(images)), found, images, data.labels)
    assert check_manager(data).empty


def test_open_images_in_several_files(tmp_path):
    data = write_open_images(tmp_path, [("a", "cat", 0.1, 0.1, 0.5, 0.5)])
    (tmp_path / "test-annotations-bbox.csv").write_text(
        "ImageID,LabelName,XMin,XMax,YMin,YMax\nb,dog,.2,.4,0,1\n"
    )
    (tmp_path / "validation-annotations-bbox.csv").write_text(
        "ImageID,LabelName\nc,cat\n"
    )  # without coordinates
    data = OpenImages(tmp_path, class_filter=False)
    assert data.boxes(["a", "b", "c"]).values.tolist() == [
        ["a", "cat", 0.1, 0.1, 0.5, 0.5],
        ["b", "dog", 0.2, 0, 0.4, 1],
    ]
    assert data.related() is None, "there is no hierarchy"
    (tmp_path / "test-annotations-bbox.csv").write_text(
        "ImageID,LabelName,XMin,XMax,YMin,YMax\nb,dog,left,.4,0,1\n"
    )
    with pytest.raises(UserError, match="line 2: XMin is 'left', not a number"):
        OpenImages(tmp_path, False).boxes(["b"])
    with pytest.raises(UserError, match="list of image ids"):
        data.boxes("a")


def test_open_images_without_coordinates(tmp_path):
    (tmp_path / "train-annotations-bbox.csv").write_text("ImageID,LabelName\nc,cat\n")
    (tmp_path / "class-descriptions.csv").write_text("cat,Cat\n")
    assert OpenImages(tmp_path, class_filter=False).boxes(["c"]) is None
    (tmp_path / "bbox_labels_600_hierarchy.json").write_text('["cat"]')
    with pytest.raises(UserError, match="hierarchy.json: a class hierarchy"):
        OpenImages(tmp_path, False).related()


@QUICK
@given(objects, asked, st.permutations(["images", "categories", "annotations"]))
def test_coco(tmp_path_factory, found, images, order):
    size = {i: (640, 480 + n) for n, i in enumerate(IMAGES)}
    parts = {
        "images": [
            dict(id=n, file_name=i, width=size[i][0], height=size[i][1])
            for n, i in enumerate(IMAGES)
        ],
        "categories": [dict(id=n, name=label) for n, label in enumerate(LABELS)],
        "annotations": [
            dict(
                id=n,
                image_id=IMAGES.index(i),
                category_id=LABELS.index(label),
                segmentation=[[1, 2, 3]],
                bbox=[x0, y0, x1 - x0, y1 - y0],
            )
            for n, (i, label, x0, y0, x1, y1) in enumerate(found)
        ],
    }
    path = tmp_path_factory.mktemp("coco") / "a.json"
    path.write_text(json.dumps({k: parts[k] for k in order}))
    data = Coco(path)
    found = [(i, label, *(v / size[i][n % 2] for n, v in enumerate(at))) for i, label, *at in found]
    check(data.boxes(images), found, images, data.labels)
    assert check_manager(data).empty


def test_lvis(tmp_path):
    def category(id, name, synset, *synonyms):
        return {"id": id, "name": name, "synset": synset, "synonyms": [*synonyms]}

    image = {
        "id": 1,
        "coco_url": "http://x/val2017/1.jpg",
        "width": 10,
        "height": 10,
        "neg_category_ids": [],
    }
    lvis = {
        "images": [image],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]}],
        "categories": [
            category(1, "wristband", "wristband.n.01", "wristband"),
            category(2, "wristlet", "wristlet.n.01", "wristlet", "wrist_band"),
            category(3, "cap_(headwear)", "cap.n.01", "cap_(headwear)"),
            category(4, "bottle_cap", "cap.n.02", "bottle_cap", "cap_(container_lid)"),
            category(5, "couch", "sofa.n.01"),
            category(6, "sofa", "sofa.n.01", "sofa"),
        ],
    }
    for split in ("train", "val"):
        (tmp_path / f"lvis_v1_{split}.json").write_text(json.dumps(lvis))
    lvis["images"][0]["coco_url"] = "http://x/train2017/2.jpg"
    (tmp_path / "lvis_v1_train.json").write_text(json.dumps(lvis))
    data = Lvis(tmp_path)
    assert data.related().values.tolist() == [
        ["couch", "sofa", "synonym"],
        ["wristband", "wristlet", "synonym"],
    ]
    assert data.boxes(["train2017/2.jpg"]).round(9).values.tolist() == [
        ["train2017/2.jpg", "wristlet", 0.1, 0.2, 0.4, 0.6]
    ]
    assert check_manager(data).empty


@QUICK
@given(objects, asked)
def test_voc(tmp_path_factory, found, images):
    root = tmp_path_factory.mktemp("voc")
    (root / "Annotations").mkdir()
    for image in {f[0] for f in found}:
        body = "".join(
            f"<object><name>{label}</name><difficult>1</difficult><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
            f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for i, label, x0, y0, x1, y1 in found
            if i == image
        )
        (root / "Annotations" / f"{image}.xml").write_text(
            f"<annotation><size><width>500</width><height>375</height></size>{body}</annotation>"
        )
    data, shares = PascalVOC(root, difficult="unsure"), []
    for path in (root / "Annotations").iterdir():
        for o in ET.parse(path).getroot().iter("object"):
            x0, y0, x1, y1 = (
                int(o.find("bndbox").find(k).text) for k in ("xmin", "ymin", "xmax", "ymax")
            )
            shares.append(
                (path.stem, o.find("name").text, (x0 - 1) / 500, (y0 - 1) / 375, x1 / 500, y1 / 375)
            )
    check(data.boxes(images), shares, images, data.labels)
    assert check_manager(data).empty


@QUICK
@given(objects, asked, st.booleans())
def test_yolo(tmp_path_factory, found, images, outlines):
    root = tmp_path_factory.mktemp("yolo")
    (root / "labels").mkdir()
    (root / "classes.txt").write_text("\n".join(LABELS))
    # coordinates in a text file end at the edges
    found = [
        (f"images/{i}.jpg", label, *(min(max(v, 0), 1000) / 1000 for v in at))
        for i, label, *at in found
    ]
    found = [
        (i, label, min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        for i, label, x0, y0, x1, y1 in found
    ]
    for i, label, x0, y0, x1, y1 in found:
        at = (
            (x0, y0, x1, y0, x1, y1)
            if outlines
            else ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
        )
        with open(root / "labels" / f"{i[7:-4]}.txt", "a") as f:
            print(LABELS.index(label), *at, file=f)
    images = [f"images/{i}.jpg" for i in images]
    data = Yolo(root)
    check(data.boxes(images), found, images, data.labels)
    assert check_manager(data).empty


@QUICK
@given(objects, asked, st.booleans())
def test_fiftyone(tmp_path_factory, found, images, as_samples):
    root = tmp_path_factory.mktemp("51")

    def boxed(image):
        return [
            {"_cls": "Detection", "label": label, "bounding_box": [x0, y0, x1 - x0, y1 - y0]}
            for i, label, x0, y0, x1, y1 in found
            if i == image
        ]

    found = [(i, label, *(v / 1000 for v in at)) for i, label, *at in found]
    if as_samples:
        samples = [
            {"filepath": i, "ground_truth": {"_cls": "Detections", "detections": boxed(i)}}
            for i in IMAGES
        ]
        (root / "samples.json").write_text(json.dumps({"samples": samples}))
    else:
        targets = {i: [{**o, "label": LABELS.index(o["label"])} for o in boxed(i)] for i in IMAGES}
        (root / "labels.json").write_text(json.dumps({"classes": LABELS, "labels": targets}))
    data = FiftyOne(root)
    check(data.boxes(images), found, images, data.labels)
    assert check_manager(data).empty


# ---------------------------------------------------------------- agreement of boxes


@QUICK
@given(objects, st.integers(1, 4), st.integers(0, 3))
def test_agreement(tmp_path_factory, found, n_images, seed):
    found = [(i, label, *(v / 1000 for v in at)) for i, label, *at in found]
    data = write_open_images(tmp_path_factory.mktemp("oi"), found)
    pairs = [(a, b) for a in range(len(data.labels)) for b in range(a)]
    table = box_agreement(data, pairs, n_images=n_images, seed=seed)
    assert len(table) == len(pairs)
    for row in table.itertuples():
        a, b = data.labels[row.a], data.labels[row.b]
        boxes = {
            label: {i: [r[2:] for r in expected(found, [i], [label])] for i in IMAGES}
            for label in (a, b)
        }
        best = {
            i: max(slow_iou(p, q) for p in boxes[a][i] for q in boxes[b][i])
            for i in IMAGES
            if boxes[a][i] and boxes[b][i]
        }
        common = sum(
            any(r[:2] == (i, a) for r in found) and any(r[:2] == (i, b) for r in found)
            for i in IMAGES
        )
        if common > n_images:
            assert row.n_images <= n_images
            continue
        assert row.n_images == len(best) and row.n_same == sum(v >= 0.9 for v in best.values())
        if best:
            assert np.isclose(row.median_iou, np.median([*best.values()]))


def slow_iou(p, q):
    both = max(0, min(p[2], q[2]) - max(p[0], q[0])) * max(0, min(p[3], q[3]) - max(p[1], q[1]))
    return both / ((p[2] - p[0]) * (p[3] - p[1]) + (q[2] - q[0]) * (q[3] - q[1]) - both)


def test_the_images_of_a_pair_do_not_depend_on_the_other_pairs(tmp_path):
    data = OpenImages(make_scenes(tmp_path / "scenes", n_images=120, size=32, seed=0))
    overlaps = count_overlaps(data.label_matrix())
    every = box_agreement(data, overlaps.pairs(), n_images=3).set_index(["a", "b"])
    for a, b in every.index[::7]:
        alone = box_agreement(data, [(b, a)], n_images=3).set_index(["a", "b"])
        assert alone.equals(every.loc[[(a, b)]])
    assert (every.n_images <= 3).all() and not every.share.isna().any()


def test_one_box_for_two_labels(tmp_path):
    "Four images are too few, and half of them must agree"

    def flagged(n_same, n_other):
        boxes = [
            (f"{k}", label, 0, 0, 0.5 if label == "cat" or k < n_same else 0.2, 0.5)
            for k in range(n_same + n_other)
            for label in ("cat", "dog")
        ]
        data = write_open_images(tmp_path, boxes)
        return confusions(data, count_overlaps(data.label_matrix()), [(1, 0)])

    assert flagged(4, 0).empty and flagged(4, 5).empty
    assert flagged(5, 5).values.tolist() == [
        [0, 1, "same box", "boxes of 5 of 10 common images coincide (IoU >= 0.9)"]
    ]


def test_iou_of_boxes_that_do_not_meet():
    assert iou([0, 0, 1, 1], [[2, 0, 3, 1], [1, 1, 2, 2], [2, 2, 3, 3]]).tolist() == [0] * 3


# ---------------------------------------------------------------- the real class lists


def alike_names(names):
    "Sets of names that are alike among `names`, label -> name"
    classes = class_table(names, names)
    pairs = names_alike(classes)
    return [{classes.name[a], classes.name[b]} for a, b in zip(pairs.a, pairs.b)]


def test_names_of_imagenet(real_data):
    index = json.loads((real_data("imagenet_real") / "imagenet_class_index.json").read_text())
    assert alike_names({wnid: name.replace("_", " ") for wnid, name in index.values()}) == [
        {"crane"},
        {"Cardigan", "cardigan"},
        {"maillot"},
        {"sunglass", "sunglasses"},
    ]


def test_names_of_open_images_and_coco(real_data):
    with open(real_data("openimages") / "class-descriptions-boxable.csv", encoding="utf-8") as f:
        boxable = dict(csv.reader(f))
    assert len(boxable) > 590 and alike_names(boxable) == []
    coco = pd.read_csv(real_data("coco15k") / "labels.csv.gz").label.unique()
    assert len(coco) == 80 and alike_names({label: label for label in coco}) == []


def test_confusions_of_imagenet(real_data):
    data = ImageNetReaL(real_data("imagenet_real"))
    found = confusions(data, count_overlaps(data.label_matrix()))
    pairs = {frozenset((data.get_name(a), data.get_name(b))) for a, b in zip(found.a, found.b)}
    assert frozenset(("sunglass", "sunglasses")) in pairs and set(found.kind) == {"synonym"}
    known = {"crane"}, {"Cardigan", "cardigan"}, {"maillot"}, {"sunglass", "sunglasses"}
    assert pairs <= set(map(frozenset, known))


def test_hierarchy_of_open_images(real_data):
    root = real_data("openimages")
    with open(root / "class-descriptions-boxable.csv", encoding="utf-8") as f:
        name = dict(csv.reader(f))
    tree = json.loads((root / "bbox_labels_600_hierarchy.json").read_text())
    found = hierarchy_relations(tree)
    slow = set()

    def below(node, key, label):
        "All that is under `node` by `key` alone"
        for child in node.get(key, []):
            slow.add((child["LabelName"], label, {"Subcategory": "parent", "Part": "part"}[key]))
            below(child, key, label)

    def walk(node):
        for key in ("Subcategory", "Part"):
            below(node, key, node["LabelName"])
            for child in node.get(key, []):
                walk(child)

    walk(tree)
    assert found == slow
    said = {(name.get(a, a), name.get(b, b), kind) for a, b, kind in found}
    assert {
        ("Cat", "Animal", "parent"),
        ("Human eye", "Human body", "part"),
        ("Bicycle wheel", "Bicycle", "part"),
        ("Human hand", "Person", "part"),
    } <= said
    assert ("Cat", "Plant", "parent") not in said


def test_boxes_of_open_images(real_data):
    root = real_data("openimages")
    data = OpenImages(root, class_filter=False)
    images = data.label_matrix("train").images[::5]
    with open(root / "train-annotations-bbox.csv", newline="", encoding="utf-8") as f:
        rows = [
            (r["ImageID"], r["LabelName"], *(float(r[c]) for c in ("XMin", "YMin", "XMax", "YMax")))
            for r in csv.DictReader(f)
        ]
    check(data.boxes(images), rows, set(images), set(data.labels))
    assert check_manager(data).empty
    found = confusions(data, count_overlaps(data.label_matrix()))
    assert set(found.kind) <= {"part", "same box"} and not found.empty


def test_a_table_has_neither(tmp_path):
    data = TableDataset(pd.DataFrame([("1", "cat"), ("1", "dog")], columns=["image", "label"]))
    assert data.boxes(["1"]) is None and data.related() is None
    found = confusions(data, count_overlaps(data.label_matrix()), [(0, 1)])
    assert found.columns.tolist() == ["a", "b", "kind", "evidence"]
