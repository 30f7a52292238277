"""Datasets as tools really write them, and settings that name nothing: read, refused, or said"""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from natural_backdoors import UserError, open_dataset, shard_overlaps
from natural_backdoors.base.finding import split_said
from natural_backdoors.data import decoding
from natural_backdoors.data.classes import class_id, class_table, people, resolve
from natural_backdoors.data.images import read_here
from natural_backdoors.data.relabel import GRID, classes_present
from natural_backdoors.data.single_label import labeled_images


def write(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, (dict, list)):
        content = json.dumps(content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def draw(path: Path, color: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), color).save(path)
    return path


def labels_of(dataset) -> dict:  # split -> {image: labels}
    found = {}
    for split in dataset.splits:
        m = dataset.label_matrix(split)
        names = m.classes.label.to_numpy()
        rows = [names[m.matrix[[i]].indices].tolist() for i in range(len(m.images))]
        found[split] = dict(zip(m.images.tolist(), rows))
    return found


def said(kind: str, place, **options) -> tuple:  # labels, what was warned of
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = labels_of(open_dataset(kind, place, **options))
    return found, [str(w.message) for w in caught]


def refused(kind: str, place, words: str, **options):
    with warnings.catch_warnings(), pytest.raises(UserError) as e:
        warnings.simplefilter("ignore")
        labels_of(open_dataset(kind, place, **options))
    assert words in str(e.value)


# --- what is asked for and is not there


def test_a_class_table_without_classes():
    empty = class_table([])
    for key in (0, "cat"):
        with pytest.raises(UserError) as e:
            resolve(empty, key)
        assert "nan" not in str(e.value)
    with pytest.raises(UserError, match="there are no classes"):
        class_id(0, 0)
    assert len(people(empty)) == 0


@pytest.mark.parametrize("topk", [0, 6, 1.5])
def test_more_candidates_than_a_cell_has(topk):
    with pytest.raises(UserError, match="topk is a whole number from 1 to 5"):
        classes_present(np.zeros((1, *GRID), np.float32), topk=topk)


@pytest.mark.parametrize("shape", [GRID, (1, 2, 6, 15, 15), (1, 2, 5, 14, 15)])
def test_maps_of_another_shape(shape):
    with pytest.raises(UserError, match="label maps have the shape"):
        classes_present(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": []}, "classes names no label"),
        ({"classes": " , "}, "classes names no label"),
        ({"classes": 5}, "classes is a list"),
        ({"image": None}, "image is the name of a column"),
        ({"label": ()}, "label is the name of a column"),
        ({"label": ""}, "label is the name of a column"),
        ({"label": 3}, "label is a list"),
    ],
)
def test_columns_and_classes_of_shards(tmp_path, options, words):
    file = write(tmp_path / "x.csv", "image,label\na,cat\nb,hat\n")
    with pytest.raises(UserError, match=words):
        shard_overlaps(file, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"classes": 5}, "classes is a list"), ({"sep": 3}, "sep is"), ({"image_root": 3}, "image_r")],
)
def test_options_of_a_table(tmp_path, options, words):
    refused("table", write(tmp_path / "x.csv", "image,label\na,cat\nb,hat\n"), words, **options)


def test_names_of_no_label(tmp_path):
    file = write(tmp_path / "x.csv", "image,label\na,cat\nb,hat\n")
    _, words = said("table", file, names={"dog": "Hund"})
    assert len(words) == 1 and "'dog'" in words[0]
    assert said("table", file, names={"dog": "Hund", "cat": "Katze"})[1] == []


# --- files that change


def test_an_image_that_changes_while_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoding, "WORTH", 0)
    file, other = draw(tmp_path / "a.png"), draw(tmp_path / "b.png", "lime")

    def overwritten(paths, size):
        draw(file, "blue")
        return read_here(paths, size)

    decoding.decoded_images([file, other], 8, read=overwritten)
    draw(file)
    decoded = []

    def counting(paths, size):
        decoded.extend(paths)
        return read_here(paths, size)

    pixels = decoding.decoded_images([file, other], 8, read=counting).pixels
    assert pixels[:, 0, 0].tolist() == [[255, 0, 0], [0, 255, 0]] and decoded == [file]


# --- tables


@pytest.mark.parametrize("column", ["ml_use", "data_split", "data set", "dataset", "mode"])
def test_a_column_of_splits_under_another_name(tmp_path, column):
    text = f"image,label,{column}\na,cat,training\nb,hat,test\n"
    found, words = said("table", write(tmp_path / "x.csv", text))
    assert found == {"train": {"a": ["cat"]}, "test": {"b": ["hat"]}}
    assert "is taken for the split" in words[0]


@pytest.mark.parametrize(
    ("column", "value"),
    [("score", "0.1"), ("IsGroupOf", "1"), ("difficult", "True"), ("iscrowd", "1.0")],
)
def test_doubts_in_a_column_that_is_not_read(tmp_path, column, value):
    text = f"image,label,{column}\na,cat,{value}\nb,hat,0\nc,cat,\n".replace(
        ",0\n", ",0.9\n" if column == "score" else ",0\n"
    )
    _, words = said("table", write(tmp_path / "x.csv", text))
    assert len(words) == 1 and f"{column!r} is not read, and 1 rows" in words[0]


def test_a_second_column_of_labels(tmp_path):
    text = "image,label,label_2\na,cat,hat\nb,hat,\n"
    assert "not label_2" in said("table", write(tmp_path / "x.csv", text))[1][0]
    text = "image,label1,label2,label\na,cat,hat,x\nb,hat,,y\n"
    _, words = said("table", write(tmp_path / "y.csv", text), label="label1")
    assert "not label2, label;" in words[0]


def test_labels_that_differ_in_capitals(tmp_path):
    file = write(tmp_path / "x.csv", "image,label\na,Cat\nb,cat\nc,hat\n")
    assert "differ in capitals alone ('Cat' and 'cat')" in said("table", file)[1][0]
    with pytest.warns(UserWarning, match="differ in capitals alone"):
        shard_overlaps(file)


@pytest.mark.parametrize("word", ["nan", "None", "NULL", "NA"])
def test_a_label_that_stands_for_none(tmp_path, word):
    file = write(tmp_path / "x.csv", f"image,label\na,{word}\nb,cat\n")
    assert f"{word!r} counts as a class" in said("table", file)[1][0]
    assert said("table", file, classes=[word, "cat"])[1] == []


def test_labels_with_blanks_between(tmp_path):
    cells = ["clear primary", "haze primary", "clear primary water", "haze water", "clear"]
    text = "".join(f"{i},{cell}\n" for i, cell in enumerate(cells))
    file = write(tmp_path / "x.csv", "image,label\n" + text)
    assert "say sep=' '" in said("table", file)[1][0]
    found, words = said("table", file, sep=" ")
    assert words == [] and found["train"]["2"] == ["clear", "primary", "water"]


@pytest.mark.parametrize(
    "names",
    [
        ["traffic light", "stop sign", "fire hydrant", "parking meter", "dining table", "cat"],
        ["polar bear", "brown bear", "black bear", "hot air balloon", "air mattress"],
        ["red car", "blue car", "red bus", "blue bus"],
    ],
)
def test_names_of_several_words(tmp_path, names):
    text = "".join(f"{i},{name}\n" for i, name in enumerate(names))
    assert said("table", write(tmp_path / "x.csv", "image,label\n" + text))[1] == []


def test_the_separator_that_comes_most(tmp_path):
    file = write(tmp_path / "x.csv", 'image;label;"note, or remark, or all"\na;cat;x\nb;hat;y\n')
    assert said("table", file)[0] == {"train": {"a": ["cat"], "b": ["hat"]}}
    file = write(tmp_path / "y.csv", "image;label;note, x\na;cat;1\nb;hat;2\n")
    assert said("table", file)[0] == {"train": {"a": ["cat"], "b": ["hat"]}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image|label\na|cat\n", "columns are separated by commas"),
        ("sep=;\nimage;label\na;cat\n", "take its first line out"),
        ("image,label\ra,cat\r", "lines end with CR alone"),
        ('image,label\na,"[{""x"":1,""rectanglelabels"":[""cat""]}]"\n', "write the names alone"),
        ('image,label\na,"{""choices"":[""cat""]}"\nb,cat\n', "write the names alone"),
    ],
)
def test_a_table_in_the_spelling_of_a_tool(tmp_path, text, words):
    refused("table", write(tmp_path / "x.csv", text), words)


def test_bytes_in_a_frame():
    frame = pd.DataFrame({"image": [b"a", b"b"], "label": [b"cat", b"hat"]})
    assert said("table", frame)[0] == {"train": {"a": ["cat"], "b": ["hat"]}}
    frame = pd.DataFrame({"image": ["a", "b"], "label": [[b"cat", "hat"], [b"hat"]]})
    assert said("table", frame)[0] == {"train": {"a": ["cat", "hat"], "b": ["hat"]}}
    refused("table", pd.DataFrame({"image": ["a"], "label": [b"\xff"]}), "no UTF-8")


@pytest.mark.parametrize("name", ["label", "patient_id", "n_labels", "Width", "target"])
def test_a_column_that_is_hardly_a_label(tmp_path, name):
    file = write(tmp_path / "x.csv", f"image,cat,{name}\na,1,0\nb,0,1\n")
    refused("multihot", file, f"the column {name!r} is hardly a label")
    assert said("multihot", file, labels=f"cat,{name}")[1] == []


def test_several_rows_of_an_image(tmp_path):
    file = write(tmp_path / "x.csv", "image,cat,hat\na,1,0\na,0,1\nb,1,0\n")
    found, words = said("multihot", file)
    assert found == {"train": {"a": ["cat", "hat"], "b": ["cat"]}}
    assert len(words) == 1 and "1 images have several rows, such as 'a'" in words[0]


# --- COCO


def coco(**changes) -> dict:
    objects = [(1, 1), (1, 2), (2, 1)]
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in (1, 2)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "hat"}],
        "annotations": [{"image_id": i, "category_id": c} for i, c in objects],
    } | changes


@pytest.mark.parametrize("key", ["image_id", "category_id"])
def test_numbers_in_quotes_refer_to_numbers(tmp_path, key):
    objects = [o | {key: str(o[key])} for o in coco()["annotations"]]
    found, _ = said("coco", write(tmp_path / "train.json", coco(annotations=objects)))
    assert found == {"train": {"1.jpg": ["cat", "hat"], "2.jpg": ["cat"]}}


def test_ids_that_only_look_alike(tmp_path):
    images = [{"id": "1", "file_name": "a"}, {"id": "01", "file_name": "b"}]
    objects = [{"image_id": "01", "category_id": 1}, {"image_id": 1, "category_id": 2}]
    file = write(tmp_path / "train.json", coco(images=images, annotations=objects))
    assert said("coco", file)[0] == {"train": {"a": ["hat"], "b": ["cat"]}}
    refused("coco", write(tmp_path / "y.json", coco(images=[images[0]] * 2)), "given twice")


def test_objects_to_be_ignored(tmp_path):
    objects = coco()["annotations"]
    objects[1]["ignore"] = 1
    file = write(tmp_path / "train.json", coco(annotations=objects))
    found, words = said("coco", file)
    assert found["train"]["1.jpg"] == ["cat", "hat"] and "marked with 'ignore'" in words[0]
    assert said("coco", file, iscrowd="absent")[0]["train"]["1.jpg"] == ["cat"]


def test_predictions_as_coco(tmp_path):
    objects = [o | {"score": 0.1 * i} for i, o in enumerate(coco()["annotations"], 4)]
    _, words = said("coco", write(tmp_path / "train.json", coco(annotations=objects)))
    assert len(words) == 1 and "'score' is not read, and 1 objects" in words[0]


def test_panoptic_segments(tmp_path):
    objects = [{"image_id": 1, "segments_info": [{"id": 1, "category_id": 1}]}]
    file = write(tmp_path / "train.json", coco(annotations=objects))
    refused("coco", file, "not captions or panoptic segments")


# --- VOC and YOLO

BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
OBJECT = f"<object><name>cat</name>{BOX}</object>"


@pytest.mark.parametrize(
    "objects",
    [
        OBJECT.replace("object", "Object"),
        OBJECT.replace("object", "item"),
        f"<objects>{OBJECT}</objects>",
    ],
)
def test_objects_that_are_not_where_voc_has_them(tmp_path, objects):
    write(tmp_path / "Annotations/a.xml", f"<annotation>{objects}</annotation>")
    write(tmp_path / "Annotations/b.xml", f"<annotation>{OBJECT}</annotation>")
    refused("voc", tmp_path, "no <object> is right below <annotation>")


@pytest.mark.parametrize(
    "names",
    [("train_list.txt", "test_list.txt"), ("list_train.txt", "list_test.txt")]
    + [("train.TXT", "test.TXT"), ("train.lst", "test.lst"), ("trainset.txt", "testset.txt")],
)
def test_lists_of_voc_under_other_names(tmp_path, names):
    for image in "ab":
        write(tmp_path / f"Annotations/{image}.xml", f"<annotation>{OBJECT}</annotation>")
    for image, name in zip("ab", names):
        write(tmp_path / name, f"JPEGImages/{image}.jpg Annotations/{image}.xml\n")
    assert said("voc", tmp_path)[0] == {"train": {"a": ["cat"]}, "test": {"b": ["cat"]}}


def test_lists_of_voc_that_are_tables(tmp_path):
    for image in "ab":
        write(tmp_path / f"Annotations/{image}.xml", f"<annotation>{OBJECT}</annotation>")
        write(tmp_path / f"{'train' if image == 'a' else 'test'}.csv", f"{image}\n")
    assert "test.csv, train.csv is not read" in said("voc", tmp_path)[1][0]


@pytest.mark.parametrize(
    ("name", "split"),
    [("train_images", "train"), ("images_test", "test"), ("ValSet", "val"), ("test-set", "test")]
    + [("training data", "train"), ("2007_train", "train"), ("train2017", "train")]
    + [("trainers", None), ("contest", None), ("set", None), ("images", None), ("dataset", None)],
)
def test_folders_that_say_a_split(name, split):
    assert split_said(name) == split


def test_folders_of_splits_in_yolo(tmp_path):
    for split in ("train", "test"):
        draw(tmp_path / f"{split}_images/{split}.png")
        write(tmp_path / f"{split}_images/{split}.txt", "0 .5 .5 .2 .2\n")
    write(tmp_path / "classes.txt", "cat\n")
    found, _ = said("yolo", tmp_path)
    assert {split: len(images) for split, images in found.items()} == {"train": 1, "test": 1}


def test_class_files_that_differ(tmp_path):
    for split, names in {"train": "cat\nhat\n", "valid": "hat\ncat\n"}.items():
        draw(tmp_path / split / f"{split}.png")
        write(tmp_path / split / f"{split}.txt", "0 .5 .5 .2 .2\n")
        write(tmp_path / split / "_darknet.labels", names)
    refused("yolo", tmp_path, "do not name the same classes in the same order")
    write(tmp_path / "valid/_darknet.labels", "cat\r\nhat")
    assert said("yolo", tmp_path)[0]["val"] == {"valid/valid.png": ["cat"]}


@pytest.mark.parametrize("nothing", ["", "~", "null", "# optional"])
def test_a_split_of_yolo_that_is_nothing(tmp_path, nothing):
    draw(tmp_path / "images/train/a.png")
    write(tmp_path / "labels/train/a.txt", "0 .5 .5 .2 .2\n")
    write(tmp_path / "data.yaml", f"names: [cat]\ntrain: images/train\ntest: {nothing}\n")
    assert said("yolo", tmp_path) == ({"train": {"images/train/a.png": ["cat"]}}, [])


# --- FiftyOne, Hugging Face, Open Images


def samples(*objects, **more) -> dict:
    found = [{"_cls": "Detection", "label": label, **extra} for label, extra in objects]
    field = {"_cls": "Detections", "detections": found}
    return {"filepath": "data/a.jpg", "tags": [], "ground_truth": field} | more


@pytest.mark.parametrize("extra", [{"confidence": 0.2}, {"iscrowd": 1}, {"IsGroupOf": True}])
def test_doubtful_objects_of_fiftyone(tmp_path, extra):
    content = {"samples": [samples(("cat", extra), ("hat", {}))]}
    _, words = said("fiftyone", write(tmp_path / "samples.json", content).parent)
    assert len(words) == 1 and "is not read, and 1 objects" in words[0]


def test_a_split_of_fiftyone_that_is_a_field(tmp_path):
    rows = [samples(("cat", {}), filepath=f"{s}.jpg", split=s) for s in ("train", "test")]
    write(tmp_path / "samples.json", {"samples": rows})
    assert "the field 'split' is not read" in said("fiftyone", tmp_path)[1][0]
    write(tmp_path / "samples.json", {"samples": [row | {"tags": [row["split"]]} for row in rows]})
    assert said("fiftyone", tmp_path)[1] == []


def hugging_face(**columns):
    return pytest.importorskip("datasets").Dataset.from_dict(columns)


def test_columns_of_hugging_face_that_are_not_read():
    labels, image = ["cat", "hat"], ["a", "b"]
    rows = hugging_face(image=image, labels=labels, split=["train", "test"])
    assert "the column 'split' is not read" in said("huggingface", rows)[1][0]
    rows = hugging_face(image=image, labels=labels, score=[0.1, 0.9])
    assert "'score' is not read, and 1 rows" in said("huggingface", rows)[1][0]
    rows = hugging_face(image=["a", "a"], labels=labels)
    assert "has 'a' in 2 rows, and each row counts" in said("huggingface", rows)[1][0]
    assert said("huggingface", hugging_face(image=image, labels=labels))[1] == []


def test_images_without_metadata(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    for name in "ab":
        draw(tmp_path / f"ds/train/{name}.png")
    row = {"file_name": "a.png", "labels": ["cat", "hat"]}
    write(tmp_path / "ds/train/metadata.jsonl", json.dumps(row) + "\n")
    assert any("1 images are left out" in word for word in said("huggingface", tmp_path / "ds")[1])


def test_box_files_of_two_versions(tmp_path):
    head = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,"
    head += "IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
    for name in ("train-annotations-bbox.csv", "oidv6-train-annotations-bbox.csv"):
        write(tmp_path / name, head + "a,x,/m/1,1,.1,.2,.1,.2,0,0,0,0,0\n")
    write(tmp_path / "class-descriptions-boxable.csv", "/m/1,Cat\n")
    _, words = said("openimages", tmp_path, class_filter=False)
    assert len(words) == 1 and "and not train-annotations-bbox.csv" in words[0]


@pytest.mark.parametrize("names", [("train_images", "test_images"), ("train2017", "TestSet")])
def test_folders_of_classes_in_folders_of_splits(tmp_path, names):
    for name in names:
        for label in ("cat", "hat"):
            draw(tmp_path / name / label / "1.png")
    found = labeled_images(tmp_path)
    assert sorted(set(found.given.label)) == ["cat", "hat"]
    assert sorted(set(found.splits)) == ["test", "train"]
