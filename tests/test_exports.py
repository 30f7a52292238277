"Hugging Face datasets and exports of FiftyOne, against plain loops over their rows and their JSON"

import importlib.util
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from natural_backdoors import UserError
from natural_backdoors.base.errors import MissingPackage
from natural_backdoors.data.fiftyone import LISTS, FiftyOne
from natural_backdoors.data.huggingface import HuggingFace

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
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
    "pyarrow's threads have made such processes abort at their end"
    from datasets import ClassLabel, Dataset, Features

    features = Features({"labels": [ClassLabel(names=["a", "b"])]})
    Dataset.from_dict({"labels": [[0, 1], [0]] * 500}, features=features).save_to_disk(
        tmp_path / "saved"
    )
    code = (
        "import sys; from natural_backdoors.data.huggingface import HuggingFace; "
        "m = HuggingFace(sys.argv[1]).label_matrix(); assert m.matrix.sum() == 1500"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "saved")]

    def run(i):
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(run, range(20)))
    assert [e.returncode for e in ends] == [0] * 20, [e.stderr for e in ends if e.returncode]


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
    data = FiftyOne(
        folder / "samples.json", field="found", split_tags="train,val" if tagged else ()
    )
    if expected:
        assert found_rows(data) == expected
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
@settings(QUICK, max_examples=300)
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
