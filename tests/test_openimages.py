"Open Images boxes and image-level labels, against readers made of the csv module and plain loops"

import csv
import gzip
import json
import os
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.text import tidy, tidy_path
from natural_backdoors.data import label_pairs as pairs
from natural_backdoors.data.label_pairs import read_pairs
from natural_backdoors.data.openimages import FLAGS, OpenImages, hierarchy_leaves
from natural_backdoors.data.openimages_labels import OpenImagesLabels

sys.path.insert(0, str(Path(__file__).parent))
from http_server import serve

COLUMNS = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,"
    "IsInside,XClick1X,XClick2X,XClick3X,XClick4X,XClick1Y,XClick2Y,XClick3Y,XClick4Y"
).split(",")
FLAG_COLUMNS = ["IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside"]
QUICK = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(autouse=True)
def no_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))


# ---------------------------------------------- writing files as they are in the wild


def write_csv(path, header, rows, end="\n"):
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator=end)
        out.writerow(header)
        out.writerows(rows)
    return path


def box_row(image, label, box=(0.1, 0.6, 0.2, 0.7), flags=(0, 0, 0, 0, 0), columns=21):
    return [image, "xclick", label, 1, *box, *flags, *[-1] * 8][:columns]


def write_boxes(path, boxes, columns=21):
    return write_csv(path, COLUMNS[:columns], [box_row(*b, columns=columns) for b in boxes])


def write_folder(root, boxes, labels=(), trainable=None, leaves=None, columns=21):
    "`boxes`: {train, validation, test: list of boxes}"
    root.mkdir(parents=True, exist_ok=True)
    for split, found in boxes.items():
        write_boxes(root / f"{split}-annotations-bbox.csv", found, columns)
    labels = sorted(labels or {b[1] for found in boxes.values() for b in found})
    write_csv(
        root / "class-descriptions-boxable.csv",
        ["LabelName", "DisplayName"],
        [[l, f"name of {l}"] for l in labels],
    )
    (root / "classes-trainable.txt").write_text(
        "\n".join(labels if trainable is None else trainable), encoding="utf-8"
    )
    tree = {
        "LabelName": "entity",
        "Subcategory": [{"LabelName": l} for l in (labels if leaves is None else leaves)],
    }
    (root / "bbox_labels_600_hierarchy.json").write_text(json.dumps(tree), encoding="utf-8")
    return root


# ---------------------------------------------------------------- the slow readers


def slow_boxes(root, drop=(), min_area=0, min_area_for="both", class_filter=False):
    "{split: {use: set of (image, label)}} by plain loops; `drop`: {column: purpose}"
    found, drop = {}, dict(drop)
    for folder, split in (("train", "train"), ("validation", "train"), ("test", "test")):
        path = root / f"{folder}-annotations-bbox.csv"
        if not path.exists():
            continue
        with open(path, newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                pair = row["ImageID"], row["LabelName"]
                uses = {"present", "class", "trigger"}
                for column, purpose in drop.items():
                    if float(row[column]) == 1:
                        uses -= {"class", "trigger"} if purpose == "both" else {purpose}
                if min_area:
                    area = (float(row["XMax"]) - float(row["XMin"])) * (
                        float(row["YMax"]) - float(row["YMin"])
                    )
                    if area < min_area:
                        uses -= {"class", "trigger"} if min_area_for == "both" else {min_area_for}
                for use in uses:
                    found.setdefault(split, {}).setdefault(use, set()).add(pair)
    if class_filter:
        labels = {s: {l for _, l in found[s]["present"]} for s in ("train", "test")}
        keep = hierarchy_leaves(
            json.loads((root / "bbox_labels_600_hierarchy.json").read_text(encoding="utf-8"))
        )
        keep &= set((root / "classes-trainable.txt").read_text(encoding="utf-8").split())
        keep &= labels["train"] & labels["test"]
        found = {
            s: {u: {p for p in pairs if p[1] in keep} for u, pairs in uses.items()}
            for s, uses in found.items()
        }
    return found


def pairs_of(matrix, labels):
    if matrix is None:
        return None
    i, j = matrix.nonzero()
    return {(labels.images[a], labels.classes.label[b]) for a, b in zip(i, j)}


def fast(dataset):
    "The same of a manager"
    found = {}
    for split in dataset.splits:
        m = dataset.label_matrix(split)
        present = pairs_of(m.matrix, m)
        found[split] = {
            "present": present,
            **{
                u: present if (p := pairs_of(getattr(m, f"as_{u}"), m)) is None else p
                for u in ("class", "trigger")
            },
        }
    return found


def same(ours, theirs):
    assert set(ours) == {s for s, uses in theirs.items() if uses["present"]}
    for split in ours:
        for use in ("present", "class", "trigger"):
            assert ours[split][use] == theirs[split].get(use, set()), (split, use)


# ---------------------------------------------------------------- boxes

text = st.text(
    st.characters(
        codec="utf-8", exclude_characters="\r\n\0", exclude_categories=("Cs", "Cc", "Zl", "Zp")
    ),
    min_size=1,
    max_size=6,
)
odd = ["0001", "1", "nan", "NA", "null", "1e5", "/m/01yrx", 'a"b', "a,b", "<script>", "é"]
# blanks at the ends and other spellings of a path mean nothing, which is tested elsewhere
words = st.one_of(st.sampled_from(odd), text.map(tidy).filter(bool))
ids = words.map(tidy_path).filter(lambda t: t and ".." not in t)
corner = st.floats(0, 1).map(lambda x: round(x, 6))
box = st.tuples(corner, corner, corner, corner)
flags = st.tuples(*[st.sampled_from([0, 1, -1])] * 5)


@st.composite
def box_files(draw):
    "Boxes of up to three files; an image belongs to one"
    names = draw(st.lists(ids, min_size=3, max_size=8, unique=True))
    labels = draw(st.lists(words, min_size=1, max_size=4, unique=True))
    third = max(1, len(names) // 3)
    images = {
        "train": names[:third],
        "validation": names[third : 2 * third],
        "test": names[2 * third :],
    }
    files = {
        s: draw(
            st.lists(
                st.tuples(st.sampled_from(found), st.sampled_from(labels), box, flags),
                min_size=1,
                max_size=25,
            )
        )
        for s, found in images.items()
    }
    if draw(st.booleans()):
        for rows in files.values():
            rows.sort(key=lambda r: r[0])
    return files


@QUICK
@given(
    files=box_files(),
    drop=st.dictionaries(
        st.sampled_from(list(FLAGS)), st.sampled_from(["trigger", "class", "both"])
    ),
    min_area=st.sampled_from([0, 0.1, "0.25"]),
    min_area_for=st.sampled_from(["trigger", "class", "both"]),
    columns=st.sampled_from([13, 21]),
    block=st.sampled_from([1, 2, 7, 500_000]),
)
def test_boxes_equal_plain_loops(
    tmp_path, monkeypatch, files, drop, min_area, min_area_for, columns, block
):
    "Present, as class and as trigger, for any flags and areas, text of ids and labels, order"
    monkeypatch.setattr(pairs, "BLOCK", block)
    root = write_folder(tmp_path / "oi", files, columns=columns)
    data = OpenImages(
        root, class_filter=False, min_area=min_area, min_area_for=min_area_for, **drop
    )
    same(
        fast(data),
        slow_boxes(root, {FLAGS[k]: v for k, v in drop.items()}, float(min_area), min_area_for),
    )
    assert data.labels == sorted({l for found in files.values() for _, l, *_ in found})
    assert data.classes["name"].tolist() == [f"name of {l}" for l in data.labels]
    folders = {image: s for s, found in files.items() for image, *_ in found}
    for image, folder in folders.items():
        if "/" not in image:
            assert data.src_path(image) == root / folder / f"{image}.jpg"


@QUICK
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["b", "a", "c"]),
            st.sampled_from(["y", "x", "z"]),
            st.sampled_from("01"),
        ),
        max_size=30,
    ),
    ordered=st.booleans(),
    two=st.booleans(),
    block=st.sampled_from([1, 2, 3, 500_000]),
)
def test_pairs_are_distinct_and_sorted(tmp_path, monkeypatch, rows, ordered, two, block):
    "Whatever the blocks that a file is read in; two files are as one"
    monkeypatch.setattr(pairs, "BLOCK", block)
    if ordered:
        rows.sort(key=lambda r: r[0])
    half = len(rows) // 2 if two else len(rows)
    files = [
        write_csv(tmp_path / f"{i}.csv", ["ImageID", "LabelName", "Confidence"], part)
        for i, part in enumerate((rows[:half], rows[half:])[: 1 + two])
    ]
    marks = {"one": pl.col("Confidence") == 1, "zero": pl.col("Confidence") == 0}
    found = read_pairs(dict.fromkeys(files, marks), ("Confidence",))
    seen = {}
    for image, label, value in rows:
        seen.setdefault((image, label), set()).add(value)
    assert found.frame().values.tolist() == [
        [*k, "1" in seen[k], "0" in seen[k]] for k in sorted(seen)
    ]
    assert found.images.to_pylist() == sorted({i for i, *_ in rows})


def test_a_box_of_just_the_area_counts(tmp_path):
    root = write_folder(
        tmp_path / "oi",
        {"train": [("a", "x", (0, 0.5, 0, 0.5)), ("b", "x", (0, 0.5, 0, 0.499999))]},
    )
    labels = OpenImages(root, class_filter=False, min_area=0.25).label_matrix()
    assert labels.column(0, "class").tolist() == [True, False]


@QUICK
@given(files=box_files(), data=st.data())
def test_class_filter_equals_plain_loops(tmp_path, files, data):
    labels = sorted({l for found in files.values() for _, l, *_ in found})
    some = st.lists(st.sampled_from(labels), unique=True)
    # the list of trainable classes is separated by white space
    trainable = [t for t in data.draw(some) if t.split() == [t]]
    root = write_folder(tmp_path / "oi", files, trainable=trainable, leaves=data.draw(some))
    expected = slow_boxes(root, class_filter=True)
    if not any(uses["present"] for uses in expected.values()):
        with pytest.raises(UserError, match="class_filter=False"):
            OpenImages(root).classes
    else:
        same(fast(OpenImages(root)), expected)


def test_13_and_21_columns_and_gz_are_equal(tmp_path):
    draw = np.random.default_rng(0)
    boxes = {
        s: [
            (
                f"{i:016x}",
                f"/m/{draw.integers(5)}",
                tuple(draw.random(4).round(6)),
                tuple(draw.integers(-1, 2, 5)),
            )
            for i in np.sort(draw.integers(start, start + 50, 300))
        ]
        for s, start in (("train", 0), ("test", 100))
    }
    options = dict(drop_occluded="trigger", min_area=0.05)
    found = [
        fast(OpenImages(write_folder(tmp_path / str(n), boxes, columns=n), **options))
        for n in (13, 21)
    ]
    zipped = tmp_path / "21" / "train-annotations-bbox.csv"
    (tmp_path / "21" / "oidv6-train-annotations-bbox.csv.gz").write_bytes(
        gzip.compress(zipped.read_bytes())
    )
    zipped.unlink()
    found.append(fast(OpenImages(tmp_path / "21", **options)))
    assert (
        found[0] == found[1] == found[2]
        and found[0]["train"]["class"] != found[0]["train"]["present"]
    )


def test_order_of_images_is_that_of_the_sorted_files(tmp_path):
    boxes = {
        "train": [("b", "x"), ("a", "x"), ("b", "x")],
        "validation": [("0", "x")],
        "test": [("c", "x")],
    }
    data = OpenImages(write_folder(tmp_path / "oi", boxes), class_filter=False)
    assert list(data.label_matrix("train").images) == ["a", "b", "0"]


def test_ids_do_not_depend_on_flags(tmp_path):
    groups = {s: [(s, "x"), (s, "y", (0, 1, 0, 1), (0, 0, 1, 0, 0))] for s in ("train", "test")}
    root = write_folder(tmp_path / "oi", groups)
    data = OpenImages(root, drop_group_of="both")
    labels = data.label_matrix("train")
    assert data.labels == ["x", "y"] and labels.matrix.toarray().tolist() == [[1, 1]]
    uses = [labels.column(1, use).tolist() for use in ("class", "trigger", "free")]
    assert uses == [[False]] * 3, "there, but not to be used"


def test_an_image_in_train_and_test_is_an_error(tmp_path):
    root = write_folder(tmp_path / "oi", {"train": [("a", "x")], "test": [("a", "x")]})
    with pytest.raises(UserError, match="'a' is in more than one split"):
        OpenImages(root).classes


def test_an_image_in_train_and_validation_counts_once(tmp_path):
    root = write_folder(
        tmp_path / "oi",
        {
            "train": [("a", "x"), ("b", "y")],
            "validation": [("a", "x"), ("a", "y")],
            "test": [("c", "x"), ("c", "y")],
        },
    )
    same(fast(OpenImages(root)), slow_boxes(root, class_filter=True))


# ---------------------------------------------------------------- verified labels

verified = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "unknown"]),
        st.sampled_from(["x", "y", "unheard of"]),
        st.sampled_from([0, 1]),
    ),
    max_size=12,
)


@QUICK
@given(
    boxes=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), min_size=1),
    rows=verified,
)
def test_verified_negatives_equal_plain_loops(tmp_path, boxes, rows):
    root = write_folder(tmp_path / "oi", {"train": boxes})
    write_csv(
        root / "oidv6-train-annotations-human-imagelabels.csv",
        ["ImageID", "Source", "LabelName", "Confidence"],
        [(i, "verification", l, c) for i, l, c in rows],
    )
    there = set(boxes)
    absent = {
        (i, l)
        for i, l, c in rows
        if c == 0 and i in {i for i, _ in there} and l in {l for _, l in there}
    }
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        m = OpenImages(root, class_filter=False, verified_negatives=True).label_matrix("train")
    free = {(i, l) for k, l in enumerate(m.classes.label) for i in m.images[m.column(k, "free")]}
    assert free == absent - there and pairs_of(m.matrix, m) == there
    told = [str(w.message) for w in seen if "verified as absent" in str(w.message)]
    assert bool(told) == bool(absent & there) and all(
        f" {len(absent & there)} labels" in t for t in told
    )


def test_verified_files_that_are_missing_are_named(tmp_path):
    root = write_folder(tmp_path / "oi", {"train": [("a", "x")], "test": [("b", "x")]})
    with pytest.raises(
        UserError,
        match="train-annotations-human-imagelabels-boxable.csv.*v5/train-annotations-human",
    ):
        OpenImages(root, verified_negatives=True).classes


values = st.sampled_from(["0", "1", "0.3", "0.5", "0.9", "1.0", "0.0"])
label_rows = st.lists(
    st.tuples(st.sampled_from(["a", "b", "0c"]), st.sampled_from(["x", "y", "z,"]), values),
    max_size=15,
)


@QUICK
@given(
    human=label_rows,
    machine=label_rows,
    source=st.sampled_from(["human", "machine", "both"]),
    confidence=st.sampled_from([0, 0.5, "0.9", 1]),
    block=st.sampled_from([1, 3, 500_000]),
)
def test_image_labels_equal_plain_loops(
    tmp_path, monkeypatch, human, machine, source, confidence, block
):
    monkeypatch.setattr(pairs, "BLOCK", block)
    root, header = tmp_path / "labels", ["ImageID", "Source", "LabelName", "Confidence"]
    root.mkdir(exist_ok=True)
    write_csv(
        root / "oidv7-class-descriptions.csv",
        ["LabelName", "DisplayName"],
        [["x", "Ex"], ["z,", 'Zed, "the" last']],
    )
    for name, rows in (("human", human), ("machine", machine)):
        write_csv(
            root / f"oidv7-train-annotations-{name}-imagelabels.csv",
            header,
            [(i, name, l, c) for i, l, c in rows],
        )
    present, absent, yes, no = set(), set(), set(), set()
    for i, l, c in human if source != "machine" else []:
        if float(c) == 0:
            no.add((i, l))
        elif float(c) >= float(confidence):
            yes.add((i, l))
    present |= yes
    for i, l, c in machine if source != "human" else []:
        if float(c) > 0 and float(c) >= float(confidence) and (i, l) not in no:
            present.add((i, l))
    absent = {
        # an image of which no label counts is an image all the same
        (i, l)
        for i, l in no - yes
        if l in {l for _, l in present}
    }
    data = OpenImagesLabels(root, source=source, confidence=confidence)
    if not present:
        with pytest.raises(UserError, match="no rows|no labels"):
            data.classes
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        m = data.label_matrix("train")
    assert pairs_of(m.matrix, m) == present
    read = [human] * (source != "machine") + [machine] * (source != "human")
    assert set(m.images) == {i for rows in read for i, _, _ in rows}
    assert (pairs_of(m.absent, m) or set()) == absent and (m.absent is None) == (not no - yes)
    assert dict(zip(m.classes.label, m.classes["name"])) == {
        k: v
        for k, v in {"x": "Ex", "y": "y", "z,": 'Zed, "the" last'}.items()
        if k in {l for _, l in present}
    }


def test_image_labels_of_three_splits(tmp_path):
    header = ["ImageID", "Source", "LabelName", "Confidence"]
    for name, image in (("oidv7-train", "a"), ("oidv7-val", "b"), ("test", "c")):
        write_csv(
            tmp_path / f"{name}-annotations-human-imagelabels.csv",
            header,
            [[image, "verification", "x", 1]],
        )
    write_csv(tmp_path / "class-descriptions.csv", ["x", "Ex"], [])
    data = OpenImagesLabels(tmp_path)
    assert data.splits == ["train", "test", "val"] and data.get_name(0) == "Ex"
    assert [data.src_path(i).parent.name for i in "abc"] == ["train", "validation", "test"]


# ---------------------------------------------------------------- real data


def test_real_sample(real_data, tmp_path):
    sample = real_data("openimages")
    data = OpenImages(sample, class_filter=False)
    same(fast(data), slow_boxes(sample))
    assert len(data.classes) == 6 and all("Human" in n for n in data.classes["name"])
    flagged = OpenImages(
        sample, class_filter=False, drop_group_of="trigger", drop_truncated="class", min_area=0.01
    )
    expected = slow_boxes(sample, {"IsGroupOf": "trigger", "IsTruncated": "class"}, 0.01)
    same(fast(flagged), expected)
    assert len(expected["train"]["trigger"]) < len(expected["train"]["present"])
    leaves = hierarchy_leaves(json.loads((sample / "bbox_labels_600_hierarchy.json").read_text()))
    # all trainable, as in the original; the sample has no list of its own
    for file in sample.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "classes-trainable.txt").write_text(
        "\n".join(sorted({l for *_, l in expected["train"]["present"]}))
    )
    assert set(OpenImages(tmp_path).labels) == leaves & set(data.labels)


# ---------------------------------------------------------------- bad input


def fails(function, *texts):
    with pytest.raises(UserError) as found:
        function()
    message = str(found.value)
    assert "\n" not in message and all(t in message for t in texts), message


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda b: b[:-20], ["train-annotations-bbox.csv, line 4: the file breaks off here"]),
        (lambda b: b.replace(b"ImageID", b"image"), ["line 1: no column ImageID"]),
        (lambda b: b"", ["train-annotations-bbox.csv is empty"]),
        (lambda b: b + b",xclick,x\n", ["line 5: no ImageID"]),
        (lambda b: b + b"\n\na,xclick\n", ["line 7: no LabelName"]),
        (lambda b: b.replace(b"xclick", b"\xe9", 1), ["line 2: byte 0xe9 is not UTF-8"]),
        (lambda b: b.replace(b"0.6", b"nan", 1), ["line 2: XMax is 'nan', not a number"]),
        (lambda b: b.replace(b"b,", b'"b,', 1), ["quotation mark"]),
    ],
)
def test_broken_files_are_named_with_their_line(tmp_path, change, words):
    root = write_folder(
        tmp_path / "oi", {"train": [("a", "x"), ("b", "x"), ("c", "x")], "test": [("d", "x")]}
    )
    path = root / "train-annotations-bbox.csv"
    path.write_bytes(change(path.read_bytes()))
    fails(lambda: OpenImages(root, min_area=0.1).classes, *words)


def test_a_cut_gz_is_named(tmp_path):
    root = write_folder(
        tmp_path / "oi", {"train": [(f"{i}", "x") for i in range(3000)], "test": [("d", "x")]}
    )
    path = root / "train-annotations-bbox.csv"
    (root / "train-annotations-bbox.csv.gz").write_bytes(gzip.compress(path.read_bytes())[:-500])
    path.unlink()
    fails(lambda: OpenImages(root).classes, "train-annotations-bbox.csv.gz", "download it again")


def test_odd_names_survive(tmp_path):
    names = {
        "/m/1": 'a, "quoted" name',
        "/m/2": "<script>alert(1)</script>",
        "/m/3": "x" * 10_000,
        "/m/4": "twin",
        "/m/5": "twin",
    }
    root = write_folder(
        tmp_path / "oi", {s: [(s, l) for l in [*names, "/m/unknown"]] for s in ("train", "test")}
    )
    write_csv(
        root / "class-descriptions-boxable.csv", ["LabelName", "DisplayName"], names.items(), "\r\n"
    )
    data = OpenImages(root)
    assert dict(zip(data.classes.label, data.classes["name"])) == names | {
        "/m/unknown": "/m/unknown"
    }
    fails(lambda: data.resolve("twin"), "/m/4", "/m/5")
    (root / "class-descriptions-boxable.csv").write_bytes(b"/m/1,Cat\n/m/2,Caf\xe9\n")
    fails(lambda: OpenImages(root).classes, "class-descriptions-boxable.csv, line 2", "UTF-8")


@pytest.mark.parametrize(
    "text, words",
    [
        ("[1]", ["bbox_labels_600_hierarchy.json: a class hierarchy"]),
        ('{"LabelName": ', ["not valid JSON (line 1"]),
    ],
)
def test_broken_hierarchy(tmp_path, text, words):
    root = write_folder(tmp_path / "oi", {s: [(s, "x")] for s in ("train", "test")})
    (root / "bbox_labels_600_hierarchy.json").write_text(text)
    fails(lambda: OpenImages(root).classes, *words)


def test_empty_files(tmp_path):
    root = write_folder(tmp_path / "oi", {"train": [("a", "x")], "test": []}, labels=["x"])
    fails(lambda: OpenImages(root).classes, "no class in")
    assert OpenImages(root, class_filter=False).splits == ["train"]
    write_boxes(root / "train-annotations-bbox.csv", [])
    fails(lambda: OpenImages(root, class_filter=False).classes, "no rows")


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(drop_group_of="triger"), ["drop_group_of", "did you mean 'trigger'"]),
        (dict(min_area="big"), ["min_area", "'big'"]),
        (dict(min_area=1.5), ["from 0 to 1"]),
        (dict(min_area_for="all"), ["min_area_for"]),
    ],
)
def test_options_are_checked(tmp_path, options, words):
    fails(lambda: OpenImages(tmp_path, **options), *words)


# ---------------------------------------------------------------- cache


@pytest.mark.parametrize("options", [{}, dict(drop_group_of="trigger", verified_negatives=True)])
def test_second_start_reads_no_boxes(tmp_path, monkeypatch, options):
    monkeypatch.setattr(OpenImages, "cache_from", 0)
    root = write_folder(
        tmp_path / "oi",
        {
            s: [(s, "x"), (s, "y", (0, 1, 0, 1), (0, 0, 1, 0, 0)), (s + "2", "x")]
            for s in ("train", "validation", "test")
        },
    )
    for s in ("train", "validation", "test"):
        write_csv(
            root / f"{s}-annotations-human-imagelabels-boxable.csv",
            ["ImageID", "Source", "LabelName", "Confidence"],
            [[f"{s}2", "verification", "y", 0]],
        )

    def uses(m):
        return [
            [m.column(i, u).tolist() for u in ("present", "class", "trigger", "free")]
            for i in range(2)
        ]

    first = OpenImages(root, **options).label_matrix("train")
    with monkeypatch.context() as inner:
        inner.setattr(OpenImages, "rows", lambda self: pytest.fail("the boxes were read again"))
        second = OpenImages(root, **options)
        assert uses(second.label_matrix("train")) == uses(first)
        assert second.src_path("validation2").parent.name == "validation"
    assert uses(OpenImages(root, min_area=0.9).label_matrix("train")) != uses(first), (
        "other options are another cache"
    )
    path = root / "validation-annotations-bbox.csv"
    write_boxes(path, [("validation", "x")])
    os.utime(path, ns=(0, 10**18))
    with pytest.warns(UserWarning, match="older state"):
        third = OpenImages(root, **options).label_matrix("train")
    assert len(third.images) == len(first.images) - 1


# ---------------------------------------------------------------- download


@pytest.mark.parametrize("checked", [False, True])
def test_download_of_annotations_and_of_the_images_of_two_classes(tmp_path, monkeypatch, checked):
    "Over real HTTP: annotation files where they belong, then only the images that are needed"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    there = write_folder(
        tmp_path / "there",
        {
            "train": [("a", "x"), ("a", "y"), ("b", "y"), ("c", "z")],
            "validation": [("v", "x"), ("w", "z")],
            "test": [("t", "x"), ("t", "y"), ("t", "z")],
        },
    )
    names = {
        "class-descriptions-boxable.csv": "v6/oidv6-class-descriptions.csv",
        "classes-trainable.txt": "v6/oidv6-classes-trainable.txt",
        "bbox_labels_600_hierarchy.json": "2018_04/bbox_labels_600_hierarchy.json",
        "train-annotations-bbox.csv": "v6/oidv6-train-annotations-bbox.csv",
        **{
            f"{s}-annotations-bbox.csv": f"v5/{s}-annotations-bbox.csv"
            for s in ("validation", "test")
        },
    }
    files = {f"/oi/{address}": (there / name).read_bytes() for name, address in names.items()}
    if checked:
        for s in ("train", "validation", "test"):
            files[f"/oi/v5/{s}-annotations-human-imagelabels-boxable.csv"] = (
                b"ImageID,Source,LabelName,Confidence\n"
            )
    jpeg = b"\xff\xd8\xff\xe0 a picture \xff\xd9"
    files |= {
        f"/images/{s}/{i}.jpg": jpeg + i.encode()
        for s, i in (
            ("train", "a"),
            ("train", "c"),
            ("validation", "v"),
            ("validation", "w"),
            ("test", "t"),
        )
    }  # b is gone
    with serve(files) as server:
        data = OpenImages(
            tmp_path / "here",
            verified_negatives=checked,
            annotations_url=f"{server.url}/oi/",
            images_url=f"{server.url}/images",
        )
        report = data.download(classes=["name of x", "y"], progress=False)
        asked = {a.path for a in server.log if a.method == "GET"}
        assert asked == {p for p in files if p.startswith("/oi/")} | {
            f"/images/{p}.jpg" for p in ("train/a", "train/b", "validation/v")
        }
        assert list(report.failed.path) == ["train/b.jpg"]
        assert (
            data.src_path("v").read_bytes() == jpeg + b"v"
            and data.src_path("v").parent.name == "validation"
        )
        assert data.src_path("a").is_file() and not (tmp_path / "here" / "test").exists()
        server.log.clear()
        OpenImages(tmp_path / "here", annotations_url=f"{server.url}/oi").download(progress=False)
        assert not [a for a in server.log if a.method == "GET"], (
            "what is there is not fetched again"
        )
    same(fast(OpenImages(tmp_path / "here")), fast(OpenImages(there)))


def test_files_under_other_names_are_not_fetched(tmp_path):
    root = write_folder(tmp_path / "oi", {"train": [("a", "x")], "test": [("b", "x")]})
    assert {r.path for r in OpenImages(root).annotation_files()} == {
        "bbox_labels_600_hierarchy.json",
        "validation-annotations-bbox.csv",
        "test-annotations-bbox.csv",
    }
