"Every command takes its dataset in the same way, and sees its kind where nobody names it"

import json

import numpy as np
import pandas as pd
import pytest

from natural_backdoors.base.errors import UserError
from natural_backdoors.cli.commands import make_parser, run
from natural_backdoors.data.datasets import open_dataset
from natural_backdoors.data.kinds import MARKS, open_seen, seen_kinds

CLASSES = ("cat", "dog", "hat")
N = 40


def rows(seed=0):
    "(image, label), of which many images have two or three labels"
    there = np.random.default_rng(seed).random((N, len(CLASSES))) < 0.6
    return [(f"{i:03}.jpg", CLASSES[j]) for i, j in zip(*np.nonzero(there))]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def table(home):
    pd.DataFrame(rows(), columns=["image", "label"]).to_csv(home / "labels.csv", index=False)
    return home / "labels.csv"


def multihot(home):
    wide = pd.DataFrame(0, index=[f"{i:03}.jpg" for i in range(N)], columns=CLASSES)
    for image, label in rows():
        wide.loc[image, label] = 1
    wide.to_csv(home / "wide.csv", index_label="image")
    return home / "wide.csv"


def coco(home):
    boxes = [
        {"id": i, "image_id": int(image[:3]), "category_id": CLASSES.index(label), "bbox": [1] * 4}
        for i, (image, label) in enumerate(rows())
    ]
    images = [{"id": i, "file_name": f"{i:03}.jpg", "width": 9, "height": 9} for i in range(N)]
    categories = [{"id": i, "name": label} for i, label in enumerate(CLASSES)]
    content = {"images": images, "annotations": boxes, "categories": categories}
    write(home / "set/annotations/instances_train2017.json", content)
    return home / "set"


def coco_file(home):
    return coco(home) / "annotations/instances_train2017.json"


def yolo(home):
    write(home / "set/data.yaml", f"train: images\nnames: {list(CLASSES)}\n")
    for i in range(N):
        write(home / f"set/images/{i:03}.jpg", "")
        write(home / f"set/labels/{i:03}.txt", "")
    for image, label in rows():
        with open(home / f"set/labels/{image[:3]}.txt", "a") as f:
            f.write(f"{CLASSES.index(label)} 0.5 0.5 0.1 0.1\n")
    return home / "set"


def yolo_file(home):
    return yolo(home) / "data.yaml"


def voc(home):
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
    for i in range(N):
        named = [label for image, label in rows() if image == f"{i:03}.jpg"]
        objects = "".join(f"<object><name>{label}</name>{box}</object>" for label in named)
        name = f"<filename>{i:03}.jpg</filename>"
        write(home / f"set/Annotations/{i:03}.xml", f"<annotation>{name}{objects}</annotation>")
    write(home / "set/ImageSets/Main/train.txt", "".join(f"{i:03}\n" for i in range(N)))
    return home / "set"


def fiftyone(home):
    samples = []
    for i in range(N):
        found = [{"label": label} for image, label in rows() if image == f"{i:03}.jpg"]
        truth = {"_cls": "Detections", "detections": found}
        samples.append({"filepath": f"data/{i:03}.jpg", "ground_truth": truth})
    write(home / "set/samples.json", {"samples": samples})
    return home / "set"


def fiftyone_file(home):
    return fiftyone(home) / "samples.json"


def celeba(home):
    lines = [str(N), " ".join(CLASSES)]
    for i in range(N):
        marks = ["1" if (f"{i:03}.jpg", label) in rows() else "-1" for label in CLASSES]
        lines.append(f"{i:03}.jpg {' '.join(marks)}")
    write(home / "set/list_attr_celeba.txt", "\n".join(lines) + "\n")
    return home / "set"


def huggingface(home):
    datasets = pytest.importorskip("datasets")
    labels = [[l for image, l in rows() if image == f"{i:03}.jpg"] for i in range(N)]
    images = [f"{i:03}.jpg" for i in range(N)]
    datasets.Dataset.from_dict({"image": images, "labels": labels}).save_to_disk(home / "set")
    return home / "set"


WRITTEN = {
    table: "table",
    multihot: "multihot",
    coco: "coco",
    coco_file: "coco",
    yolo: "yolo",
    yolo_file: "yolo",
    voc: "voc",
    fiftyone: "fiftyone",
    fiftyone_file: "fiftyone",
    celeba: "celeba",
    huggingface: "huggingface",
}


@pytest.mark.parametrize("written", WRITTEN, ids=lambda f: f.__name__)
def test_the_kind_is_seen_and_said(written, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    place, kind = str(written(tmp_path)), WRITTEN[written]
    asked = ["--min_overlaps", "1", "--min_clean", "1", "--min_poison", "1", "--min_classes", "1"]
    shown = []
    for words in ([place], ["--dataset_root", place, "--data", kind]):
        run(["analyze", *words, *asked])
        out, err = capsys.readouterr()
        shown.append(out)
        assert (f"{place} is read as --data {kind}" in err) == (words == [place])
    assert shown[0] == shown[1] and "triggers: 3" in shown[0]
    assert repr(open_seen(place)) == repr(open_dataset(kind, place))


def commands():
    "The commands that take a dataset"
    parsers = make_parser()._subparsers._group_actions[0].choices
    return {name: p for name, p in parsers.items() if "--dataset_root" in p.format_help()}


def test_all_commands_take_it_in_the_same_two_ways():
    whole, needed = (
        make_parser(),
        {"sweep": ["--sets", "s.txt"], "reproduce": ["--experiment", "centrality"]},
    )
    assert commands().keys() >= {"audit", "analyze", "pick", "train", "sweep", "screen", "datasets"}
    for name, parser in commands().items():
        more = needed.get(name, [])
        ways = [["labels.csv", *more], ["--dataset_root", "labels.csv", *more]]
        found = [whole.parse_args([name, *words]) for words in ways]
        assert [args.dataset_root for args in found] == ["labels.csv"] * 2
        assert not hasattr(found[0], "dataset")
        assert parser.format_usage().split()[3].strip("[]") == "DATASET"
        with pytest.raises(UserError, match="named twice: labels.csv and --dataset_root b.csv"):
            whole.parse_args([name, "labels.csv", "--dataset_root", "b.csv", *more])


@pytest.mark.parametrize("name", ["audit", "analyze", "duplicates", "screen"])
def test_a_dataset_that_a_flag_took_is_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(tmp_path)
    with pytest.raises(UserError, match=f"say which dataset: natural-backdoors {name} labels.csv"):
        run([name])
    if name != "duplicates":
        with pytest.raises(UserError, match="labels.csv stands behind a flag, which took it"):
            run([name, "--exclude", "cat", "labels.csv"])


def test_what_cannot_be_seen_is_not_guessed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    voc(tmp_path)
    (tmp_path / "set/classes.txt").write_text("cat\n")
    with pytest.raises(UserError, match="not clear: ImageSets is of voc, classes.txt is of yolo"):
        run(["analyze", "set"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="in empty cannot be seen; name one of .*--data"):
        run(["analyze", "empty"])
    with pytest.raises(UserError, match="no such file or folder: coco; .* --data coco"):
        run(["datasets", "coco"])
    labels = table(tmp_path)
    with pytest.raises(UserError, match="is a file, and --data voc takes a folder"):
        run(["analyze", str(labels), "--data", "voc"])


def test_a_fresh_download_is_of_open_images_as_in_the_original(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "natural_backdoors.data.datasets.Dataset.download", lambda self, *a, **k: print(type(self))
    )
    with pytest.raises(UserError, match="class-descriptions|no such folder|--download_dataset"):
        run(["analyze", "new", "--download_dataset"])


def test_marks_are_of_kinds_that_have_them(tmp_path):
    for kind, marks in MARKS.items():
        for i, mark in enumerate(marks):
            file = tmp_path / kind / str(i) / mark.replace("*", "1")
            file.parent.mkdir(parents=True)
            file.touch()
            assert seen_kinds(tmp_path / kind / str(i)) == [kind], mark
