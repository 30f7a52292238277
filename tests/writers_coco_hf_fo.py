"""Writers of datasets as other tools write them: COCO, Hugging Face and FiftyOne

A dataset is a list of (name of the image without suffix, split, labels): the truth. Names differ,
and differ from each other in more than case; splits are train, val and test; an image may have no
label. A writer gets a folder, a truth and a style, which is a dict of spellings: names of splits in
any case, blanks, slashes, compression, files that a system leaves, where the images lie. It gives
what to open: `open_dataset(name, *write_name(folder, truth, style))`, as (path, options).

`read_back` is the truth that a dataset was read as, to compare with `expected`.
"""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

SPLITS = ("train", "val", "test")
WORDS = {
    "train": ["train", "Train", "TRAIN", "training"],
    "val": ["val", "Val", "valid", "Valid", "validation", "Validation"],
    "test": ["test", "Test", "TEST", "testing"],
}
LABELS = ["cat", "polar bear", "dog, wild", "007", "N/A", "Wearing_Hat", "größe"]


def zipped(data: bytes) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr("inside.json", data)
        archive.writestr("__MACOSX/._inside.json", b"\x00\x05\x16\x07")
    return file.getvalue()


def zstd(data: bytes) -> bytes:
    with pa.CompressedOutputStream(sink := pa.BufferOutputStream(), "zstd") as out:
        out.write(data)
    return sink.getvalue().to_pybytes()


COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
    ".zip": zipped,
}
suffixes = st.sampled_from(list(COMPRESS))
words = st.fixed_dictionaries({split: st.sampled_from(WORDS[split]) for split in SPLITS})


def truths(splits=SPLITS, labels=LABELS):
    "Up to six images, of which at least one has a label"
    image = st.tuples(st.sampled_from(splits), st.sets(st.sampled_from(labels), max_size=4))
    found = st.lists(image, min_size=1, max_size=6).filter(lambda f: any(l for _, l in f))
    return found.map(lambda f: [(f"{n:03}", split, labels) for n, (split, labels) in enumerate(f)])


def expected(truth):
    "split -> image -> labels"
    found = {}
    for name, split, labels in truth:
        found.setdefault(split, {})[name] = set(labels)
    return found


def read_back(dataset):
    "What `expected` gives, of a dataset that was read; labels are the names of classes"
    found = {}
    for split in dataset.splits:
        m = dataset.label_matrix(split)
        rows = [set(m.classes.name.iloc[m.matrix[[i]].indices]) for i in range(len(m.images))]
        # of folders, suffixes and numbers behind equal names nothing is left; a key of labels.json
        # has no suffix, though it may have a dot
        plain = [PurePosixPath(image.partition("#")[0]).name for image in m.images]
        names = [name.removesuffix(".jpg") for name in plain]
        assert len(set(names)) == len(names)
        found[split] = dict(zip(names, rows))
    return found


def parts_of(truth):
    "split -> its images, in the order of `SPLITS`"
    parts = {split: [row for row in truth if row[1] == split] for split in SPLITS}
    return {split: rows for split, rows in parts.items() if rows}


def spell(name, style):
    "The path `name` as `style` spells it"
    return style["dot"] + name.replace("/", style["slash"])


def leave_hidden(path, style):
    "What macOS leaves beside a file"
    if style["hidden"]:
        (path.parent / f"._{path.name}").write_bytes(b"\x00\x05\x16\x07")
        (path.parent / ".DS_Store").write_bytes(b"\x00")


def write_json(path, value, style):
    "The file `path`, compressed as `style` says"
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.with_name(path.name + style["compression"])
    path.write_bytes(COMPRESS[style["compression"]](json.dumps(value).encode()))
    leave_hidden(path, style)
    return path


spellings = {
    "dot": st.sampled_from(["", "./", ".\\"]),
    "slash": st.sampled_from(["/", "\\", "//"]),
    "hidden": st.booleans(),
    "compression": suffixes,
    "blank": st.sampled_from(["", " ", "\t", "\u00a0"]),
    "words": words,
}


# COCO

COCO_LAYOUTS = {
    # where the annotations of a split are -> where its images may be
    "annotations/instances_{}.json": ["images/{}", "images", "{}", "data", "JPEGImages", "."],
    "annotations/{}.json": ["images/{}", "{}", "images", "."],
    "{}/_annotations.coco.json": ["{}", "{}/images"],
    "{}/labels.json": ["{}/data", "{}"],
    "coco_{}.json": ["images/{}", "images", "data/{}", "{}", "."],
    "{}.json": ["images", "{}", "."],
}
NOT_A_CROWD = [0, "0", False, "false", None, "False ", 0.0]


def coco_styles():
    places = [st.sampled_from(places) for places in COCO_LAYOUTS.values()]
    layouts = st.one_of(*(st.tuples(st.just(a), b) for a, b in zip(COCO_LAYOUTS, places)))
    more = {
        "layout": layouts,
        "subfolder": st.sampled_from(["", "sub/", "a b/"]),
        "crowd": st.sampled_from(NOT_A_CROWD),
        "texts": st.booleans(),
    }
    return st.fixed_dictionaries(spellings | more)


def write_coco(folder, truth, style):
    "A JSON file for each split, and empty image files"
    annotations, place = style["layout"]
    number = str if style["texts"] else int
    labels = sorted(set().union(*(labels for _, _, labels in truth)))
    for split, rows in parts_of(truth).items():
        word = style["words"][split]
        images, objects = [], []
        for n, (name, _, found) in enumerate(rows, 7):
            file = f"{style['subfolder']}{name}.jpg"
            images.append({"id": number(n), "file_name": spell(file, style), "width": 9})
            path = folder / place.format(word) / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            leave_hidden(path, style)
            for label in sorted(found):
                category = number(labels.index(label))
                marks = {"iscrowd": style["crowd"]} if style["crowd"] is not None else {}
                objects.append({"image_id": number(n), "category_id": category} | marks)
        names = [
            {"id": number(n), "name": label + style["blank"]} for n, label in enumerate(labels)
        ]
        content = {"images": images, "annotations": objects, "categories": names}
        write_json(folder / annotations.format(word), content, style)
    return folder, {}


# Hugging Face

HF_LAYOUTS = ["saved", "data/{}-00000-of-00001.parquet", "{}.parquet", "data/{}.jsonl", "{}.jsonl"]


def huggingface_styles():
    more = {
        "layout": st.sampled_from(HF_LAYOUTS),
        "kind": st.sampled_from(["names", "classes", "objects", "marks", "vector"]),
        "readme": st.booleans(),
        "program": st.booleans(),
        "missing": st.booleans(),  # an image without a label has no list, rather than an empty one
    }
    return st.fixed_dictionaries(spellings | more)


def hf_cells(found, labels, style):
    "The columns of labels of one row"
    known = [label + style["blank"] for label in labels]
    given = [known[labels.index(label)] for label in sorted(found)]
    if style["kind"] == "marks":
        return {label: label in found for label in labels}
    if style["kind"] == "vector":
        return {"labels": [label in found for label in labels]}
    if style["kind"] == "objects":
        return {"objects": [{"category": label, "area": 1} for label in given]}
    if style["kind"] == "classes":
        given = [labels.index(label) for label in sorted(found)]
    return {"labels": None if style["missing"] and not given else given}


def hf_type(labels, style):
    "The type of the columns of labels"
    from datasets import ClassLabel, Value

    text = Value("string")
    names = ClassLabel(names=[label + style["blank"] for label in labels])
    return {
        "marks": {label: Value("bool") for label in labels},
        "vector": {"labels": [Value("bool")]},
        "objects": {"objects": [{"category": text, "area": Value("int32")}]},
        "classes": {"labels": [names]},
        "names": {"labels": [text]},
    }[style["kind"]]


def write_huggingface(folder, truth, style):
    "A folder of save_to_disk, or one as it is on the hub"
    from datasets import Dataset, DatasetDict, Features, Value

    labels = sorted(set().union(*(labels for _, _, labels in truth)))
    # lines of JSON have no class labels
    if style["kind"] == "classes" and style["layout"].endswith("jsonl"):
        style = style | {"kind": "names"}
    features = Features({"image": Value("string")} | hf_type(labels, style))
    parts = {}
    for split, rows in parts_of(truth).items():
        cells = [
            {"image": spell(f"img/{n}.jpg", style)} | hf_cells(found, labels, style)
            for n, _, found in rows
        ]
        columns = {name: [row[name] for row in cells] for name in features}
        parts[style["words"][split]] = Dataset.from_dict(columns, features=features)
    if style["layout"] == "saved":
        DatasetDict(parts).save_to_disk(folder)
    else:
        write_hub(folder, parts, style)
    options = {"id": "image", "name": "written"}
    if style["kind"] == "objects":
        options["labels"] = "objects.category"
    if style["kind"] == "vector":
        options["names"] = {str(n): label for n, label in enumerate(labels)}
    return folder, options


def write_hub(folder, parts, style):
    "Files of data as a folder of the hub has them"
    configs = ["---", "configs:", "- config_name: default", "  data_files:"]
    for word, part in parts.items():
        name = style["layout"].format(word)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            pq.write_table(part.data.table, path)
        else:
            rows = part.with_format("arrow")[:].to_pylist()
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        leave_hidden(path, style)
        configs += [f"  - split: {word}", f"    path: {name}"]
    if style["readme"]:
        (folder / "README.md").write_text("\n".join([*configs, "---", "# Written", ""]))
    if style["program"]:
        (folder / f"{folder.name}.py").write_text("raise SystemExit('this was run')\n")


# FiftyOne


def fiftyone_styles():
    more = {
        "files": st.sampled_from(["samples.json", "samples", "labels.json"]),
        "kind": st.sampled_from(["Detections", "Classifications", "text", "marks"]),
        "numbers": st.booleans(),  # in labels.json, of classes
        "missing": st.booleans(),  # an image without a label has no value, rather than a list
    }
    return st.fixed_dictionaries(spellings | more)


def fo_field(found, style):
    given = [label + style["blank"] for label in sorted(found)]
    if style["missing"] and not given:
        return None
    if style["kind"] == "text":
        return given
    kind = "Classifications" if style["kind"] == "Classifications" else "Detections"
    return {"_cls": kind, kind.lower(): [{"_cls": kind[:-1], "label": label} for label in given]}


def write_fiftyone(folder, truth, style):
    "An export with samples, or with labels.json, which knows of no splits"
    labels = sorted(set().union(*(labels for _, _, labels in truth)))
    for name, _, _ in truth:
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / "data" / f"{name}.jpg").touch()
        leave_hidden(folder / "data" / f"{name}.jpg", style)
    if style["files"] == "labels.json" and {split for _, split, _ in truth} == {"train"}:
        targets = {}
        for name, _, found in truth:
            given = sorted(found)
            given = [labels.index(label) for label in given] if style["numbers"] else given
            targets[style["dot"] + name] = None if style["missing"] and not given else given
        content = {"classes": labels if style["numbers"] else None, "labels": targets}
        write_json(folder / "labels.json", content, style)
        return folder, {}
    samples = []
    for name, split, found in truth:
        fields = {"ground_truth": fo_field(found, style)}
        # a field cannot have a comma in its name
        if marks := style["kind"] == "marks" and not any("," in label for label in labels):
            fields = {label: label in found for label in labels}
        path = spell(f"data/{name}.jpg", style)
        samples.append({"filepath": path, "tags": ["seen", style["words"][split]]} | fields)
    if style["files"] == "samples":
        for n, sample in enumerate(samples):
            write_json(folder / "samples" / f"{n:04}.json", sample, style)
    else:
        write_json(folder / "samples.json", {"samples": samples}, style)
    return folder, {"field": ",".join(labels)} if marks else {}


def image_files(folder):
    "The image files that were written"
    return set(Path(folder).rglob("[!.]*.jpg"))
