"Hugging Face datasets and exports of FiftyOne, against plain loops over their rows and their JSON"

import gzip
import importlib.util
import json
import socket
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
import writers_coco_hf_fo as writers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from natural_backdoors import UserError
from natural_backdoors.base.errors import MissingPackage
from natural_backdoors.data.datasets import open_dataset
from natural_backdoors.data.fiftyone import LISTS, FiftyOne
from natural_backdoors.data.huggingface import HuggingFace

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
needs_datasets = pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None,
    reason="datasets is not installed (pip install natural_backdoors[huggingface])",
)
NAMES = ["cat", "dog, wild", "<script>", "007", "x" * 10_000]
LABELS = st.lists(st.sampled_from(range(len(NAMES))), max_size=4)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exports")


def found_rows(dataset):
    "The rows with a label"
    rows = dataset.rows()[["image", "label", "split"]]
    return [tuple(map(str, row)) for row in rows.dropna(subset="label").itertuples(index=False)]


def found_images(dataset):
    "split -> image -> its labels, those without a label too"
    found = {}
    for split in dataset.splits:
        m = dataset.label_matrix(split)
        rows = [m.classes.label[m.matrix[[i]].indices] for i in range(len(m.images))]
        found[split] = {str(image): set(row) for image, row in zip(m.images, rows)}
    return found


# Hugging Face


def hf_column(kind, labels):
    "The cell of a row with `labels` (numbers in NAMES), and the type of the column"
    from datasets import ClassLabel, Value

    names = ClassLabel(names=NAMES)
    text, number = Value("string"), Value("int32")
    return {
        "class": (labels, [names]),
        "text": ([NAMES[l] for l in labels], [text]),
        # not only 0 and 1, which would be a mark for each class
        "number": ([l + 2 for l in labels], [number]),
        "fields": (
            {"kind": labels, "area": [0] * len(labels)},
            {"kind": [names], "area": [number]},
        ),
        "objects": (
            [{"kind": NAMES[l], "area": 0} for l in labels],
            [{"kind": text, "area": number}],
        ),
    }[kind]


@needs_datasets
@given(
    splits=st.lists(st.lists(LABELS | st.none(), min_size=1, max_size=5), min_size=1, max_size=3),
    kind=st.sampled_from(["class", "text", "number", "fields", "objects"]),
    take=st.booleans(),
    with_id=st.booleans(),
)
@QUICK
def test_hugging_face_columns(splits, kind, take, with_id):
    from datasets import Dataset, DatasetDict, Features, Value

    parts, expected = {}, []
    path = "it.kind" if kind in ("fields", "objects") else "it"
    for split, rows in zip(["train", "test", "validation"], splits):
        cells = [
            hf_column(kind, r or [])[0] if r is not None or kind == "fields" else None for r in rows
        ]
        part = Dataset.from_dict(
            {"it": cells, "name": [f"{split}/{i:03}.jpg" for i in range(len(rows))]},
            features=Features({"it": hf_column(kind, [])[1], "name": Value("string")}),
        )
        # a selection is a list of rows beside the table
        parts[split] = part.select(list(range(len(part)))[::-1]) if take else part
        for row, i in enumerate(range(len(rows))[::-1] if take else range(len(rows))):
            image = f"{split}/{i:03}.jpg" if with_id else f"{split}-{row:06}"
            expected += [
                (image, str(l + 2) if kind == "number" else NAMES[l], split) for l in rows[i] or []
            ]
    data = HuggingFace(DatasetDict(parts), labels=path, id="name" if with_id else None)
    if expected:
        assert found_rows(data) == expected
        assert sum(data.image_counts.values()) == sum(map(len, splits[: len(parts)]))
        assert data.labels == sorted(
            NAMES if kind in ("class", "fields") else {l for _, l, _ in expected}
        )
    else:
        with pytest.raises(UserError, match="has no labels"):
            data.rows()


@needs_datasets
def test_hugging_face_labels_that_are_not_given_or_not_there(tmp_path):
    import pyarrow as pa
    from datasets import ClassLabel, Dataset, Features

    one = Dataset.from_dict(
        {"label": [0, -1, None, 1]}, features=Features({"label": ClassLabel(names=["a", "b"])})
    )
    data = HuggingFace(one, labels="label")
    found = found_rows(data)
    assert found == [("train-000000", "a", "train"), ("train-000003", "b", "train")]
    assert data.image_counts == {"train": 4}
    # a table whose numbers are too large for its names, as after a careless edit
    table = pa.table({"label": pa.array([0, 2], pa.int64())})
    broken = HuggingFace(
        Dataset(table.replace_schema_metadata(one.data.schema.metadata)), labels="label"
    )
    with pytest.raises(UserError, match=r"row 1 \(the first is 0\): class 2 of 2 names"):
        broken.rows()


@needs_datasets
def test_hugging_face_folder_that_is_cut_off(tmp_path):
    from datasets import Dataset

    Dataset.from_dict({"labels": [["a", "b"], ["a"]] * 100}).save_to_disk(tmp_path / "saved")
    assert HuggingFace(tmp_path / "saved").image_counts == {"train": 200}
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    whole = arrow.read_bytes()
    for size in (0, 10, len(whole) // 2):
        arrow.write_bytes(whole[:size])
        with pytest.raises(UserError, match="saved"):
            HuggingFace(tmp_path / "saved").rows()


@needs_datasets
def test_hugging_face_folder_is_cached(tmp_path, monkeypatch):
    from datasets import Dataset

    Dataset.from_dict({"labels": [["a", f"label {i}"] for i in range(3000)]}).save_to_disk(
        tmp_path / "saved"
    )
    monkeypatch.setattr(HuggingFace, "cache_from", 0)
    first = HuggingFace(tmp_path / "saved").label_matrix()
    monkeypatch.setattr(HuggingFace, "rows", lambda self: pytest.fail("read again"))
    second = HuggingFace(tmp_path / "saved").label_matrix()
    assert (first.matrix != second.matrix).nnz == 0 and list(second.images[:2]) == [
        "train-000000",
        "train-000001",
    ]


@needs_datasets
def test_processes_that_read_hugging_face_end_well(tmp_path):
    "pyarrow's threads have made such processes abort at their end, now and then: here are eight"
    from datasets import ClassLabel, Dataset, Features

    features = Features({"labels": [ClassLabel(names=["a", "b"])]})
    Dataset.from_dict({"labels": [[0, 1], [0]] * 500}, features=features).save_to_disk(
        tmp_path / "saved"
    )
    # importing takes seconds: each of two processes makes three copies of itself before it has read
    # anything, and all eight read, and end as any process does
    code = textwrap.dedent("""
        import os, sys
        import datasets
        from natural_backdoors.data.huggingface import HuggingFace
        children = []
        for _ in range(3):
            child = os.fork()
            if not child:
                children = []
                break
            children.append(child)
        m = HuggingFace(sys.argv[1]).label_matrix()
        assert m.matrix.sum() == 1500
        print("read", flush=True)
        ends = [os.waitpid(child, 0)[1] for child in children]
        assert not any(ends), ends""")
    command = [sys.executable, "-c", code, str(tmp_path / "saved")]

    def run(i):
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(run, range(2)))
    assert [e.returncode for e in ends] == [0] * 2, [e.stderr for e in ends]
    assert sum(e.stdout.count("read") for e in ends) == 8


@needs_datasets
@pytest.mark.filterwarnings("ignore::UserWarning")
@given(writers.truths(), writers.huggingface_styles())
@settings(QUICK, max_examples=10)
def test_hugging_face_as_it_is_written(tmp_path_factory, truth, style):
    folder = tmp_path_factory.mktemp("written")
    source, options = writers.write_huggingface(folder / "it", truth, style)
    data = open_dataset("huggingface", source, **options)
    assert writers.read_back(data) == writers.expected(truth)
    for name, _, _ in truth:
        assert data.src_path(f"img/{name}.jpg") == folder / "it" / "img" / f"{name}.jpg"


@needs_datasets
@given(
    st.lists(st.lists(st.booleans() | st.none(), min_size=3, max_size=3), min_size=1, max_size=5)
)
@settings(QUICK, max_examples=10)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_columns_of_true_and_false(rows):
    "Without labels=, and one or two by name; as bool, 0 and 1, -1 and 1, texts and class labels"
    from datasets import ClassLabel, Dataset, Features, Value

    kinds = [
        (Value("bool"), False, True),
        (Value("int8"), 0, 1),
        (Value("int64"), -1, 1),
        (Value("float32"), 0.0, 1.0),
        (Value("string"), "False", "True"),
        (ClassLabel(names=["0", "1"]), 0, 1),
    ]
    for kind, no, yes in kinds:
        features = Features(dict.fromkeys("ABC", kind))
        cells = {
            name: [None if row[i] is None else yes if row[i] else no for row in rows]
            for i, name in enumerate("ABC")
        }
        part = Dataset.from_dict(cells, features=features)
        for labels in ("A,B,C", "A,B", "C"):
            expected = [{n for n, cell in zip("ABC", row) if cell and n in labels} for row in rows]
            # of a column without any value nobody knows what it is
            known = [
                any(row["ABC".index(n)] is not None for row in rows) for n in labels.split(",")
            ]
            if not all(known) or not any(expected):
                continue
            data = HuggingFace(part, labels=labels)
            assert data.labels == labels.split(",")
            assert sorted(map(sorted, found_images(data)["train"].values())) == sorted(
                map(sorted, expected)
            )
        if kind == Value("bool") and any(cell for row in rows for cell in row):
            assert HuggingFace(part).labels == ["A", "B", "C"]


@needs_datasets
def test_one_column_of_true_and_false_is_a_class(monkeypatch):
    from datasets import Dataset

    part = Dataset.from_dict({"Smiling": [True, False], "Hat": [True, True]})
    with pytest.warns(UserWarning, match="column 'Smiling' says yes or no.*Hat too.*multihot"):
        data = HuggingFace(part, labels="Smiling")
        assert data.labels == ["Smiling"] and data.image_counts == {"train": 2}
    with pytest.warns(UserWarning, match="columns Smiling, Hat say yes or no"):
        assert found_images(HuggingFace(part)) == {
            "train": {"train-000000": {"Smiling", "Hat"}, "train-000001": {"Hat"}}
        }
    # where there is a column 'labels', it is read, and names of classes stay names
    part = Dataset.from_dict({"labels": [["yes"], ["no"]], "flag": [True, False]})
    assert HuggingFace(part).labels == ["no", "yes"]


@needs_datasets
@pytest.mark.parametrize(
    "cells, labels",
    [
        ([[0, 1, 1], [1, 0, 0]], [{"1", "2"}, {"0"}]),
        ([[0.0, 1.0], [1.0, 1.0], None, []], [{"1"}, {"0", "1"}, set(), set()]),
        ([[True], [False]], [{"0"}, set()]),
        # numbers of classes: none comes twice, or not in every row as many
        ([[0, 1], [1, 0]], [{"0", "1"}, {"0", "1"}]),
        ([[0], [0, 1]], [{"0"}, {"0", "1"}]),
        ([[0, 2, 2], [1, 1, 0]], [{"0", "2"}, {"0", "1"}]),
    ],
)
def test_lists_of_0_and_1(cells, labels):
    from datasets import Dataset

    data = HuggingFace(Dataset.from_dict({"labels": cells}))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = found_images(data)["train"]
    assert [found[f"train-{i:06}"] for i in range(len(cells))] == labels
    is_vector = data._kind(["labels"]) == "vector"
    assert ["has a 0 or a 1 for each" in str(w.message) for w in caught] == [True] * is_vector
    with pytest.raises(UserError, match="hold true and false, and not equally many"):
        HuggingFace(Dataset.from_dict({"labels": [[True], [True, False]]})).labels


def hub(folder, files, readme=None):
    "A folder as the hub has it: name of a file -> its rows"
    for name, rows in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pd.DataFrame(rows)
        if path.suffix == ".parquet":
            table.to_parquet(path)
        elif path.suffix == ".csv":
            table.to_csv(path, index=False)
        else:
            table.to_json(path, orient="records", lines=True)
    if readme is not None:
        (folder / "README.md").write_text(f"---\n{json.dumps(readme)}\n---\n# Card\n")
    return folder


ROW = [{"image": "a.jpg", "labels": ["cat", "dog"]}]


@needs_datasets
def test_hub_folder_is_read_without_network_and_without_its_program(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = hub(tmp_path / "pets", {"data/train-00000-of-00001.parquet": ROW}, {"license": "mit"})
    for name in ("pets.py", "other.py"):
        (folder / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.warns(UserWarning, match="the program other.py, pets.py in it is not run"):
        data = HuggingFace(folder)
        assert data.labels == ["cat", "dog"]
    assert data.src_path("train-000000") == folder / "a.jpg" and data.name == "pets"
    (folder / "data" / "train-00000-of-00001.parquet").unlink()
    with pytest.raises(UserError, match="the program other.py, pets.py in it is not run") as e:
        HuggingFace(folder).labels
    assert "\n" not in str(e.value) and not (tmp_path / "ran").exists()


@needs_datasets
@pytest.mark.parametrize(
    "place", ["https://host/x.csv", "hf://datasets/o/n/x.csv", "../out.csv", "/etc/x", "zip://x::y"]
)
def test_hub_folder_that_names_data_elsewhere(tmp_path, place, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *a: pytest.fail("a connection was opened"))
    hub(tmp_path, {"out.csv": [{"A": True, "B": True}]})
    for files in (place, [place], [{"split": "train", "path": [place]}], {"train": place}):
        readme = {"configs": [{"config_name": "default", "data_files": files}]}
        folder = hub(tmp_path / "it", {"train.parquet": ROW}, readme)
        with pytest.raises(UserError, match="README.md names data outside of the folder"):
            HuggingFace(folder).labels


@needs_datasets
@pytest.mark.parametrize(
    "files, counts",
    [
        (["train.parquet", "validation.parquet"], {"train": 1, "val": 1}),
        (["Train.parquet", "VALIDATION.parquet"], {"train": 1, "val": 1}),
        (["data/Train-00000-of-00002.parquet", "data/Train-00001-of-00002.parquet"], {"train": 2}),
        (["Train/x.jsonl", "dev/x.jsonl", "Test/x.jsonl"], {"train": 1, "test": 1, "val": 1}),
        (["train.jsonl", "._test.jsonl"], {"train": 1}),
        (["anything.parquet"], {"train": 1}),
    ],
)
def test_splits_of_a_hub_folder(tmp_path, files, counts):
    data = HuggingFace(hub(tmp_path / "it", dict.fromkeys(files, ROW)))
    assert data.image_counts == counts
    for split in data.splits:
        for image in data.label_matrix(split).images:
            assert data.src_path(image) == tmp_path / "it" / "a.jpg"


@needs_datasets
def test_hub_folders_of_one_name_and_files_that_change(tmp_path):
    "What is kept of a folder is not taken for another, nor for what it was before"
    readme = {"configs": [{"config_name": "default", "data_files": "x.parquet"}]}
    for n, name in enumerate("abc"):
        rows = [{"image": "a.jpg", "labels": [name]}] * (n + 1)
        folder = hub(tmp_path / name / "pets", {"x.parquet": rows}, readme)
        assert HuggingFace(folder).labels == [name]
    hub(folder, {"x.parquet": ROW})
    assert HuggingFace(folder).labels == ["cat", "dog"]
    assert HuggingFace(tmp_path / "a" / "pets").labels == ["a"]


@needs_datasets
@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_hub_split_without_any_label(tmp_path, suffix):
    "Its lists are of nothing, from which the type of labels is not known"
    none = [{"image": "b.jpg", "labels": []}] * 2
    folder = hub(tmp_path / "it", {f"train.{suffix}": none, f"test.{suffix}": ROW})
    assert found_images(HuggingFace(folder)) == {
        "train": {"train-000000": set(), "train-000001": set()},
        "test": {"test-000000": {"cat", "dog"}},
    }


@needs_datasets
def test_a_hub_split_without_any_object(tmp_path):
    none = [{"image": "b.jpg", "objects": []}]
    some = [{"image": "a.jpg", "objects": [{"category": "cat"}, {"category": "dog"}]}]
    folder = hub(tmp_path / "it", {"train.jsonl": none, "test.jsonl": some})
    data = HuggingFace(folder, labels="objects.category")
    assert data.image_counts == {"train": 1, "test": 1} and data.labels == ["cat", "dog"]


@needs_datasets
def test_several_datasets_in_a_hub_folder(tmp_path):
    rows = {"x.csv": [{"A": True, "B": True}], "y.csv": [{"A": True, "C": True}]}
    configs = [{"config_name": name[0], "data_files": name} for name in rows]
    folder = hub(tmp_path / "it", rows, {"configs": configs})
    with pytest.raises(UserError, match=r"holds x, y; name one with config='...'"):
        HuggingFace(folder).labels
    with pytest.warns(UserWarning, match="A, C say yes or no"):
        assert HuggingFace(folder, config="y").labels == ["A", "C"]


@needs_datasets
def test_pictures_beside_metadata(tmp_path, monkeypatch):
    from PIL import Image

    rows = [{"file_name": "a.png", "labels": ["cat", "ox"]}, {"file_name": "b.png", "labels": []}]
    for split in ("Train", "test"):
        hub(tmp_path / "it", {f"{split}/metadata.jsonl": rows})
        for name in ("a.png", "b.png"):
            Image.new("RGB", (4, 4)).save(tmp_path / "it" / split / name)
    # also where nothing may be kept
    for cache in (str(tmp_path / "cache"), "off"):
        monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", cache)
        data = HuggingFace(tmp_path / "it")
        found = found_images(data)
        assert sorted(map(sorted, found["train"].values())) == [[], ["cat", "ox"]]
        paths = {
            str(data.src_path(i).relative_to(tmp_path / "it")) for s in found for i in found[s]
        }
        assert paths == {"Train/a.png", "Train/b.png", "test/a.png", "test/b.png"}


@needs_datasets
def test_paths_of_hugging_face_images(tmp_path):
    from datasets import Dataset

    part = Dataset.from_dict(
        {"image": ["..\\up\\a.jpg", "C:\\up\\a.jpg", ".\\x\\b.jpg"], "labels": [["cat"]] * 3}
    )
    (tmp_path / "a.jpg").touch()
    data = HuggingFace(part, image_root=tmp_path, id="image")
    images = data.label_matrix().images
    assert list(images) == ["../up/a.jpg", "C:/up/a.jpg", "x/b.jpg"]
    expected = [tmp_path / "a.jpg", tmp_path / "a.jpg", tmp_path / "x" / "b.jpg"]
    assert [data.src_path(image) for image in images] == expected
    for image in images[:2]:
        with pytest.raises(UserError, match="leads out of the folder .*image_root='...'"):
            HuggingFace(part, id="image").src_path(image)


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackage, match=r"pip install 'natural_backdoors\[huggingface\]'"):
        HuggingFace("/photos").rows()


def test_with_a_file_of_that_name(monkeypatch, tmp_path):
    "People call their scripts datasets.py"
    (tmp_path / "datasets.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    with pytest.raises(UserError, match="is not the package of Hugging Face"):
        HuggingFace("/photos").rows()
    sys.modules.pop("datasets")


# FiftyOne


def fiftyone_field(kind, labels):
    if kind == "text":
        return [NAMES[l] for l in labels]
    if kind == "Classification":
        return {"_cls": kind, "label": NAMES[labels[0]], "confidence": 0.5} if labels else None
    return {"_cls": kind, LISTS[kind]: [{"_cls": kind[:-1], "label": NAMES[l]} for l in labels]}


@given(
    st.lists(st.tuples(LABELS, st.sampled_from(["train", "val"])), min_size=1, max_size=5),
    st.sampled_from(["text", "Classification", *LISTS]),
    st.booleans(),
)
@QUICK
def test_fiftyone_samples(folder, rows, kind, tagged):
    samples = [
        {
            "filepath": f"data/{i:03}.jpg",
            "tags": ["kept", tag],
            "found": fiftyone_field(kind, labels),
            "_media_type": "image",
        }
        for i, (labels, tag) in enumerate(rows)
    ]
    (folder / "samples.json").write_text(json.dumps({"samples": samples}), encoding="utf-8")
    expected = [
        (f"data/{i:03}.jpg", NAMES[l], tag if tagged else "train")
        for i, (labels, tag) in enumerate(rows)
        for l in (labels[:1] if kind == "Classification" else labels)
    ]
    data = FiftyOne(folder / "samples.json", field="found", split_tags=None if tagged else ())
    if expected:
        assert found_rows(data) == expected
        assert sum(data.image_counts.values()) == len(rows)
    else:
        with pytest.raises(UserError, match="has no labels"):
            data.rows()


@given(
    st.lists(LABELS | st.none(), min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from(["plain", "objects", "single"]),
)
@QUICK
def test_fiftyone_labels(folder, rows, numbered, style):
    def target(labels):
        if labels is None:
            return None
        found = [l if numbered else NAMES[l] for l in labels]
        if style == "objects":
            found = [{"label": l, "bounding_box": [0, 0, 1, 1]} for l in found]
        return (found or [None])[0] if style == "single" else found

    targets = {f"{i:03}": target(labels) for i, labels in enumerate(rows)}
    content = {"classes": NAMES if numbered else None, "labels": targets}
    (folder / "labels.json").write_text(json.dumps(content), encoding="utf-8")
    most = 1 if style == "single" else None
    expected = [
        (f"{i:03}", NAMES[l], "train")
        for i, labels in enumerate(rows)
        for l in (labels or [])[:most]
    ]
    data = FiftyOne(folder / "labels.json")
    if expected:
        assert found_rows(data) == expected
        assert data.labels == sorted(NAMES if numbered else {l for _, l, _ in expected})
    else:
        with pytest.raises(UserError, match="has no labels"):
            data.rows()


KEYS = [
    "samples",
    "labels",
    "classes",
    "filepath",
    "ground_truth",
    "_cls",
    "label",
    "tags",
    "detections",
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.sampled_from(["cat", "1.jpg", "Detections"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=8,
)
SAMPLE = st.fixed_dictionaries({"filepath": st.just("a.jpg"), "ground_truth": JSON, "tags": JSON})


@given(
    JSON
    | st.fixed_dictionaries({"samples": st.lists(JSON, max_size=3) | st.lists(SAMPLE, max_size=3)})
    | st.fixed_dictionaries({"labels": JSON, "classes": JSON}),
    st.booleans(),
)
@settings(QUICK, max_examples=120)
def test_json_of_any_shape(folder, value, tagged):
    "It is read, or refused in one line"
    (folder / "any.json").write_text(json.dumps(value))
    try:
        FiftyOne(folder / "any.json", split_tags="cat" if tagged else ()).label_matrix()
    except UserError as e:
        assert "\n" not in str(e) and "any.json" in str(e)


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_cut_off_json(folder, cut):
    text = json.dumps({"labels": {"1": ["cat"], "2": ["dog"]}, "classes": ["cat", "dog"]})
    (folder / "cut.json").write_text(text[:-cut])
    with pytest.raises(UserError, match="is it complete"):
        FiftyOne(folder / "cut.json").rows()


@given(writers.truths(), writers.fiftyone_styles())
@settings(QUICK, max_examples=30)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_fiftyone_as_it_is_written(tmp_path_factory, truth, style):
    folder = tmp_path_factory.mktemp("written")
    source, options = writers.write_fiftyone(folder, truth, style)
    data = open_dataset("fiftyone", source, **options)
    assert writers.read_back(data) == writers.expected(truth)
    images = [image for split in data.splits for image in data.label_matrix(split).images]
    assert {data.src_path(image) for image in images} == writers.image_files(folder)


def export(path, samples):
    "A file samples.json; samples: (file path, tags, labels)"
    found = [
        {"filepath": file, "tags": tags, "ground_truth": labels} for file, tags, labels in samples
    ]
    path.write_text(json.dumps({"samples": found}))
    return path


@pytest.mark.parametrize(
    "tags, counts",
    [
        ([["train"], ["Validation", "seen"], ["TEST"]], {"train": 1, "test": 1, "val": 1}),
        ([["train"], ["Train", "training"], ["dev"]], {"train": 2, "val": 1}),
        ([["seen"], [], ["good"]], {"train": 3}),
        ([["train"], [], ["test"]], "sample 1 .* has no tag of test, train"),
        ([["train"], ["train", "val"], ["val"]], "sample 1 .* has more than one tag"),
    ],
)
def test_splits_of_fiftyone_are_tags(tmp_path, tags, counts):
    samples = [(f"{n}.jpg", found, ["cat"]) for n, found in enumerate(tags)]
    path = export(tmp_path / "samples.json", samples)
    if isinstance(counts, dict):
        assert FiftyOne(path).image_counts == counts
    else:
        with pytest.raises(UserError, match=counts + r".*split_tags='...'.*split_tags=''"):
            FiftyOne(path).labels
    # the remedy
    assert FiftyOne(path, split_tags="").image_counts == {"train": 3}


def test_paths_and_hidden_files_of_fiftyone(tmp_path):
    names = ["data\\a.jpg", "./data/b.jpg", "/old/place/data/c.jpg", "D:\\old\\d.jpg", "../e.jpg"]
    (tmp_path / "samples").mkdir()
    for n, name in enumerate(names):
        value = {"filepath": name, "tags": [], "ground_truth": ["cat"] if n else None}
        packed = gzip.compress(json.dumps(value).encode())
        (tmp_path / "samples" / f"{n}.json.gz").write_bytes(packed)
        (tmp_path / "samples" / f"._{n}.json.gz").write_bytes(b"\x00\x05")
    data = FiftyOne(tmp_path)
    a, b, c, d, e = images = sorted(data.label_matrix().images, key=lambda image: image[-5])
    assert images == [
        "data/a.jpg",
        "data/b.jpg",
        "/old/place/data/c.jpg",
        "D:/old/d.jpg",
        "../e.jpg",
    ]
    assert found_images(data)["train"]["data/a.jpg"] == set()
    assert data.src_path(a) == tmp_path / "data" / "a.jpg" and str(data.src_path(c)) == c
    for image in (d, e):
        with pytest.raises(UserError, match="leads out of the folder .*image_root='...'"):
            data.src_path(image)
    for name in ("data/c.jpg", "d.jpg", "e.jpg"):
        (tmp_path / "new" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "new" / name).touch()
    moved = FiftyOne(tmp_path, image_root=tmp_path / "new")
    found = [str(moved.src_path(image).relative_to(tmp_path / "new")) for image in (c, d, e)]
    assert found == ["data/c.jpg", "d.jpg", "e.jpg"]


YES_NO = [("True", "False"), ("1", "0"), ("true", "false"), (True, False), (1, 0)]


@pytest.mark.parametrize("yes, no", YES_NO)
@pytest.mark.parametrize("wrapped", [False, True])
def test_fields_that_say_yes_or_no(tmp_path, yes, no, wrapped):
    "They are a class each, and never two classes called True and False"
    if wrapped:
        yes, no = ({"_cls": "Classification", "label": str(value)} for value in (yes, no))
    rows = [(yes, yes), (yes, no), (no, None)]
    samples = [{"filepath": f"{n}", "hat": a, "smile": b} for n, (a, b) in enumerate(rows)]
    path = tmp_path / "samples.json"
    path.write_text(json.dumps({"samples": samples}))
    with pytest.warns(UserWarning, match="fields hat, smile say yes or no"):
        found = found_images(FiftyOne(path, field="hat,smile"))
    assert found == {"train": {"0": {"hat", "smile"}, "1": {"hat"}, "2": set()}}


@pytest.mark.parametrize("pair", [["0", "1"], ["True", "False"], ["false", "true"]])
def test_lists_that_say_yes_or_no(tmp_path, pair):
    "Refused in one line, with a remedy that works"
    content = {"labels": {"a": pair[0], "b": pair[1], "c": pair}}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    export(tmp_path / "samples.json", [("a", [], pair), ("b", [], pair[:1])])
    pd.DataFrame({"label": pair, "name": ["cat", "dog"]}).to_csv(
        tmp_path / "names.csv", index=False
    )
    for file in ("labels.json", "samples.json"):
        with pytest.raises(UserError, match="say what they stand for with names=") as e:
            FiftyOne(tmp_path / file).labels
        assert "\n" not in str(e.value)
        for names in (dict(zip(pair, ["cat", "dog"])), tmp_path / "names.csv"):
            data = FiftyOne(tmp_path / file, names=names)
            assert sorted(data.classes.name) == ["cat", "dog"]


def test_one_image_in_several_samples(tmp_path):
    path = export(tmp_path / "samples.json", [("a", [], ["x"]), ("./a", [], ["y"]), ("b", [], [])])
    with pytest.warns(UserWarning, match="the image 'a' comes more than once"):
        assert found_images(FiftyOne(path)) == {"train": {"a": {"x", "y"}, "b": set()}}
