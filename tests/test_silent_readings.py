"""What was read without a word as something else: it is read as it was meant, or refused

Each test is about one kind of input that gave numbers, and wrong ones, before."""

import gzip
import inspect
import shlex
import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natural_backdoors import (
    Coco,
    MultiHot,
    OpenImages,
    OpenImagesLabels,
    PascalVOC,
    TableDataset,
    UserError,
    Yolo,
    co_graph,
    count_overlaps,
    find_triggers,
    open_dataset,
    poison_split,
    shard_overlaps,
)
from natural_backdoors.base.checks import switch
from natural_backdoors.cli.commands import main, make_parser
from natural_backdoors.cli.opening import Source, count_shards, load_dataset, source_said
from natural_backdoors.data.datasets import available, manager_class
from natural_backdoors.data.kinds import manager_options
from natural_backdoors.data.single_label import labeled_images
from natural_backdoors.graph.centrality import centrality
from natural_backdoors.split.exclusions import excluded_images, save_exclusions
from natural_backdoors.split.selection import select
from natural_backdoors.split.set_files import read_sets


def write(path, content) -> Path:
    "A file; a table is Parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, dict):
        pq.write_table(pa.table(content), path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8")
    return path


def labels_by_image(dataset, split=None) -> dict:
    matrix = dataset.label_matrix(split)
    names = np.array(dataset.labels, object)
    return {image: set(names[matrix.matrix[[i]].indices]) for i, image in enumerate(matrix.images)}


@contextmanager
def warned(message):
    "One warning with `message` in it, among others"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        yield
    assert [one for one in said if message in str(one.message)], [str(w.message) for w in said]


def refused(message, function, *args, **options):
    with pytest.raises(UserError) as e, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function(*args, **options)
    assert message in str(e.value), e.value


def pets(n=40, names=("cat", "cow", "dog"), hats=18) -> pd.DataFrame:
    rows = [(f"{name}/{i}.jpg", name) for name in names for i in range(n)]
    rows += [(f"{name}/{i}.jpg", "hat") for name in names for i in range(hats)]
    return pd.DataFrame(rows, columns=["image", "label"])


def found_in(dataset):
    return find_triggers(
        dataset,
        min_overlaps=5,
        min_clean=5,
        min_poison=5,
        min_classes=2,
        max_overlaps_with_others=0,
    )


# --- Hugging Face ---


def hugging_face(values, **options):
    hf = pytest.importorskip("datasets")
    from natural_backdoors import HuggingFace

    if isinstance(values, dict):
        parts = {split: hf.Dataset.from_dict({"labels": v}) for split, v in values.items()}
        return HuggingFace(hf.DatasetDict(parts), **options)
    return HuggingFace(hf.Dataset.from_dict({"labels": values}), **options)


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2, -1], [2, -1, -1]],  # filled up
        [[1, -1, 1], [-1, 1, 1]],
        [[1, 0, -1], [0, 1, -1]],
        [[0.9, 0.1], [0.2, 0.8]],  # shares
        [[0.5], [1.0]],
        [[1.0, 0.0], [1.0]],  # marks, not equally many
        [[1.5], [2.5, 1.0]],
        [-1, 0, 2],
        [0.25, 0.75, 0.25],
    ],
)
def test_numbers_that_are_no_classes(values):
    refused("are no classes", lambda: hugging_face(values).labels)


@given(st.lists(st.lists(st.booleans(), min_size=2, max_size=2), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_floats_of_0_and_1_are_a_vector(rows):
    if not any(map(any, rows)):
        rows = [*rows, [True, False]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = labels_by_image(hugging_face([[float(bit) for bit in row] for row in rows]))
    assert list(found.values()) == [{str(i) for i, bit in enumerate(row) if bit} for row in rows]


def test_numbers_of_classes_are_read_as_before():
    assert list(labels_by_image(hugging_face([[1, 2], [], [2]])).values()) == [
        {"1", "2"},
        set(),
        {"2"},
    ]
    # floats that are whole, as a hole makes them
    assert hugging_face([[1.0, 2.0], [2.0], [3.0]]).labels == ["1", "2", "3"]


def test_vectors_of_different_widths_in_different_splits():
    three, two = [[1, 0, 0], [0, 0, 1]], [[1, 1], [0, 1]]
    for parts in ({"train": three, "test": two}, {"train": two, "test": three}):
        refused("equally many in all splits", lambda p=parts: hugging_face(p).labels)
    # numbers of two classes, as often as they come, are no vectors
    assert hugging_face({"train": [[0], [1, 0], [1]], "test": [[0, 1, 1]]}).labels == ["0", "1"]


@pytest.mark.parametrize("value", [True, 1, 1.0])
def test_a_hole_in_a_vector(value):
    no = type(value)(0)
    rows = [[value, no, no], [no, None, value]]
    refused("row 1 (the first is 0): no value", lambda: hugging_face(rows).labels)


def test_texts_that_hold_several_labels():
    with warned("make it a list of them with split(',')"):
        hugging_face(["cat,dog", "dog,cat", "cat"]).labels
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(hugging_face([["cat,dog"], ["dog"]]).labels) == 2


# --- switches ---

YES, NO = ["true", "Yes", "on", "1", " TRUE ", True, 1], ["false", "No", "off", "0", False, 0]
NONSENSE = ["", "maybe", "2", 2, -1, "None"]


def test_a_switch():
    assert all(switch("x", value) for value in YES) and not any(switch("x", v) for v in NO)
    for value in [*NONSENSE, None, [1], 0.5, 1.0]:
        refused("x is True or False", switch, "x", value)


def options_that_are_switches():
    for kind in available():
        for name, parameter in manager_options(manager_class(kind)).items():
            if isinstance(parameter.default, bool) or "bool" in str(parameter.annotation):
                yield kind, name


SWITCHES = list(options_that_are_switches())


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    "Something to open for each kind of dataset with a switch"
    root = tmp_path_factory.mktemp("places")
    write(root / "m.csv", "image,cat\na,1\n")
    write(root / "list_attr_celeba.txt", "1\nYoung Smiling\n1.jpg 1 -1\n")
    write(root / "data.yaml", "names: [cat]\ntrain: .\n")
    return dict.fromkeys(available(), root) | {"multihot": root / "m.csv"}


def test_all_switches_are_known():
    known = dict(SWITCHES)
    assert {"multihot", "celeba", "openimages", "openimages_labels", "yolo"} <= set(known)
    parameters = inspect.signature(shard_overlaps).parameters.values()
    assert [p.name for p in parameters if isinstance(p.default, bool)] == ["verified_negatives"]


@pytest.mark.parametrize("kind, name", SWITCHES)
def test_switches_of_managers(kind, name, places):
    def value(said):
        opened = open_dataset(kind, places[kind], **{name: said})
        return getattr(opened, "_pose" if name == "pose" else name)

    assert [value(said) for said in YES] == [True] * len(YES)
    assert [value(said) for said in NO] == [False] * len(NO)
    for said in NONSENSE:
        refused(f"{name} is True or False", value, said)


def test_the_switch_of_shards(tmp_path):
    path = write(tmp_path / "a.csv", "ImageID,LabelName,Confidence\na,cat,1\nb,cat,1\nb,dog,0\n")
    path.write_text(path.read_text() + "c,dog,1\n")
    for values, clean in ((YES, 1), (NO, 2)):
        for said in values:
            assert shard_overlaps(path, verified_negatives=said).n_clean(1)[0] == clean
    for said in NONSENSE:
        refused("is True or False", shard_overlaps, path, verified_negatives=said)


# --- shards against one table ---

SOME = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "3", "./1"]),
        st.sampled_from(["cat", "dog", ""]),
        st.sampled_from(["train", "Train", "val", "test"]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(SOME, st.integers(1, 3), st.integers(1, 3), st.randoms(use_true_random=False))
def test_an_image_in_two_splits_over_shards(rows, n, parts, random):
    "Shards and one table count the same, or both refuse"
    rows = [*rows, ("9", "cat", "train")]
    shards = [[] for _ in range(n)]
    for row in rows:
        random.choice(shards).append(row)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        paths = []
        for i, some in enumerate(shards):
            text = "".join(",".join(row) + "\n" for row in some)
            paths.append(write(Path(folder) / f"{i}.csv", f"image,label,split\n{text}"))
        frame = pd.DataFrame(rows, columns=["image", "label", "split"])
        try:
            whole = count_overlaps(TableDataset(frame).label_matrix("train"))
        except UserError as e:
            assert "more than one split" in str(e)
            refused("more than one split", shard_overlaps, paths, parts=parts)
            return
        found = shard_overlaps(paths, parts=parts)
    assert found.n_images == whole.n_images
    # a class of another split alone has no images
    assert found.counts.toarray().tolist() == whole.counts.toarray().tolist()
    assert found.classes.equals(whole.classes)


def test_the_splits_that_are_not_counted_clash_too(tmp_path):
    paths = [
        write(tmp_path / f"{i}.csv", f"image,label,split\n{i},cat,train\n7,cat,{split}\n")
        for i, split in enumerate(["val", "test"])
    ]
    refused("image '7' is in more than one split", shard_overlaps, paths)


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int64(), pa.int8()])
def test_whole_numbers_are_one_label_however_they_are_stored(tmp_path, kind):
    "A column of whole numbers with a hole is one of floats"
    given = pa.array([1, 2, None, 1], kind)
    path = write(tmp_path / "f.parquet", {"image": ["a", "b", "c", "b"], "label": given})
    frame = path.with_suffix(".csv")
    frame.write_text("image,label\na,1\nb,2\nc,\nb,1\n")
    names = {"1": "cat", "2": "dog"}
    for source in (path, frame, pd.read_parquet(path)):
        found = TableDataset(source, names=names)
        assert labels_by_image(found) == {"a": {"1"}, "b": {"1", "2"}, "c": set()}
        assert found.classes["name"].tolist() == ["cat", "dog"]
    for shards in ([path], [frame], [path, frame]):
        found = shard_overlaps(shards, names=names)
        assert found.n_images == 3 and found.classes["name"].tolist() == ["cat", "dog"]
    # as images too: 3000000 is no 3e+06
    given = pa.array([1, 2, 3_000_000 if kind != pa.int8() else 3, 1], kind)
    path = write(tmp_path / "g.parquet", {"image": given, "label": ["x", "y", "x", "y"]})
    images = sorted(str(int(v)) for v in set(given.to_pylist()))
    for source in (path, pd.read_parquet(path)):
        assert sorted(labels_by_image(TableDataset(source))) == images
    write(tmp_path / "g.csv", "image,label\n" + "".join(f"{i},z\n" for i in images))
    assert shard_overlaps([path, tmp_path / "g.csv"]).n_images == 3


def test_names_of_a_table_of_floats():
    names = pd.DataFrame({"label": [1.0, 2.0], "name": ["cat", "dog"]})
    rows = pd.DataFrame({"image": ["a", "b"], "label": [1, 2]})
    assert TableDataset(rows, names=names).classes["name"].tolist() == ["cat", "dog"]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_nan_is_no_value(tmp_path, kind):
    label = pa.array([2, float("nan"), 1], kind)
    path = write(tmp_path / "a.parquet", {"image": ["a", "b", "d"], "label": label})
    found = shard_overlaps(path)
    assert found.classes.label.tolist() == ["1", "2"] and found.n_images == 3
    assert TableDataset(path).labels == ["1", "2"]
    path = write(tmp_path / "b.parquet", {"image": label, "label": ["x", "y", "x"]})
    refused("row 1 (the first is 0) has no image", shard_overlaps, path)
    refused("row 1 (the first is 0): no image", lambda: TableDataset(path).labels)


@pytest.mark.parametrize("threshold", [0.3, 0.7, 0.9])
def test_a_confidence_of_32_bits(tmp_path, threshold):
    "0.7 in 32 bits is below 0.7 in 64"
    rows = {"image": ["a", "a", "b"], "label": ["cat", "dog", "cat"]}
    for kind in (pa.float32(), pa.float64()):
        values = pa.array([1, threshold, 0.1], kind)
        path = write(tmp_path / "a.parquet", rows | {"Confidence": values})
        assert shard_overlaps(path, confidence=threshold).count(0, 1) == 1
        assert shard_overlaps(path, confidence=threshold + 0.01).count(0, 0) == 1


@pytest.mark.parametrize("word", ["list", "large_list", "struct"])
def test_columns_of_lists_in_shards(tmp_path, word):
    kinds = {
        "list": pa.array([["cat"], ["cat", "dog"]]),
        "large_list": pa.array([["cat"], ["cat", "dog"]], pa.large_list(pa.string())),
        "struct": pa.array([{"a": 1}, {"a": 2}]),
    }
    path = write(tmp_path / "a.parquet", {"image": ["1", "2"], "label": kinds[word]})
    refused("is a column of lists", shard_overlaps, path)


@pytest.mark.parametrize(
    "classes", ["cat,dog", " cat , dog", ["cat ", "dog", "cat"], ("cat", "dog")]
)
def test_classes_of_shards(tmp_path, classes):
    path = write(tmp_path / "a.csv", "image,label\n1,cat\n1,dog\n2,cow\n")
    found = shard_overlaps(path, classes=classes)
    assert found.classes.label.tolist() == ["cat", "dog"] and found.count(0, 1) == 1
    assert found.n_images == 2


def test_options_of_shards_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = [f"{i},{c},{v}" for i in range(40) for c, v in (("cat", 1), ("dog", 0.7), ("cow", 0.95))]
    text = "image,label,confidence\n" + "\n".join(rows) + "\n"
    write(tmp_path / "p-0.csv", text)
    write(tmp_path / "p-1.csv", text.replace("\n", "\n1", 40))
    asked = ["analyze", "--data", "table", "--dataset_root", "p-*.csv", "--name"]
    for value in ("0.9", "0.5"):
        said = [*asked, f"above {value}", "--option", f"confidence={value}"]
        assert main(said) == 0, capsys.readouterr().err
        capsys.readouterr()
        options = {"confidence": value}
        found = count_shards(Source("table", "p-*.csv", options)).classes.label.tolist()
        assert found == (["cat", "cow"] if value == "0.9" else ["cat", "cow", "dog"])
    for option in ("confidence=much", "confidence=50", "verified_negatives=maybe"):
        assert main([*asked, "x", "--option", option]) != 0
        name = option.partition("=")[0]
        assert f"--option {name}" in capsys.readouterr().err


def test_image_level_labels_mean_the_same_in_shards(tmp_path):
    "What nobody looked for is not absent, in a folder and in shards"
    header = "ImageID,Source,LabelName,Confidence\n"
    text = "".join(
        f"i{k},verification,/m/cat,1\n"
        + (f"i{k},verification,/m/dog,{1 if k < 3 else 0}\n" if k < 5 else "")
        for k in range(10)
    )
    name = "oidv7-train-annotations-human-imagelabels.csv"
    write(tmp_path / name, header + text)
    write(
        tmp_path / "oidv7-class-descriptions.csv", "LabelName,DisplayName\n/m/cat,Cat\n/m/dog,Dog\n"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = count_overlaps(OpenImagesLabels(tmp_path).label_matrix())
    where = str(tmp_path / "oidv7-train-*.csv")
    for options in ({}, {"verified_negatives": "true"}, {"verified_negatives": "yes"}):
        shards = count_shards(Source("openimages_labels", where, options))
        assert shards.n_clean(1).tolist() == whole.n_clean(1).tolist() == [2, 0]
    loose = count_shards(Source("openimages_labels", where, {"verified_negatives": "no"}))
    assert loose.n_clean(1).tolist() == [7, 0]


@pytest.mark.parametrize("last", [0, 1, 2])
def test_a_column_of_the_split_in_any_shard(tmp_path, last):
    names = ["label"] * 3
    paths = []
    for i in range(3):
        more = (",subset", ",test") if i == last else ("", "")
        paths.append(write(tmp_path / f"{i}.csv", f"image,{names[i]}{more[0]}\n{i},cat{more[1]}\n"))
    with warned("the column 'subset' is not read"):
        shard_overlaps(paths)


@pytest.mark.parametrize("blank", ["\n", "\r\n", "\n\n\n"])
def test_a_blank_line_above_the_header_of_a_shard(tmp_path, blank):
    path = write(tmp_path / "a.csv", f"{blank}image,label\n1,cat\n1,dog\n".encode())
    found = shard_overlaps(path)
    assert found.n_images == 1 and found.classes.label.tolist() == ["cat", "dog"]
    assert labels_by_image(TableDataset(path)) == {"1": {"cat", "dog"}}
    path.write_text(f"{blank}image,label\n1,cat\n2\n")
    refused("1 fields, not 2", shard_overlaps, path)
    refused("is empty", shard_overlaps, write(tmp_path / "b.csv", blank))


@pytest.mark.parametrize("sep", [";", "|", "\t"])
def test_the_separator_of_a_shard(tmp_path, sep):
    path = write(tmp_path / "a.csv", f"image{sep}label\n1{sep}cat\n")
    refused("columns are separated by commas", shard_overlaps, path)


# --- tables ---


@pytest.mark.parametrize("column", ["set", "Subset", "usage", "phase"])
@pytest.mark.parametrize("odd", ["unlabeled", "PublicTest", "extra"])
def test_a_column_of_the_split_with_an_odd_word(column, odd):
    frame = pd.DataFrame(
        {"image": list("abc"), "label": ["cat", "dog", "dog"], column: ["train", "test", odd]}
    )
    with warned(f"{odd!r} is no usual name"):
        assert TableDataset(frame).image_counts == {"train": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert TableDataset(frame, split="none").image_counts == {"train": 3}
        assert TableDataset(frame, split=column).image_counts == {"train": 1, "test": 1, odd: 1}


LISTS = [["cat", "hat"], ("cat", "hat"), {"cat", "hat"}, frozenset(["cat", "hat"])]
LISTS += [np.array(["cat", "hat"], object), [["cat"], ["hat"]], ["cat", None, "hat", np.nan, pd.NA]]


@pytest.mark.parametrize("cell", LISTS, ids=lambda cell: type(cell).__name__)
def test_lists_in_a_frame(cell):
    for others in ([["cow"], None], [[], ["cow"]], [None, ["cow"]]):
        cells = pd.Series([*others, cell], dtype=object)
        found = labels_by_image(TableDataset(pd.DataFrame({"image": list("abc"), "label": cells})))
        assert found["c"] == {"cat", "hat"} and set.union(*found.values()) == {"cat", "hat", "cow"}
    for other in ("cow", 7):
        for cells in ([other, cell], [cell, other]):
            frame = pd.DataFrame({"image": ["a", "b"], "label": pd.Series(cells, dtype=object)})
            refused("is no list", lambda f=frame: TableDataset(f).labels)


def test_lists_of_arrow_in_a_frame():
    lists = pd.Series([["cat"], ["cat", "hat"]], dtype=pd.ArrowDtype(pa.list_(pa.string())))
    frame = pd.DataFrame({"image": ["a", "b"], "label": lists})
    assert labels_by_image(TableDataset(frame)) == {"a": {"cat"}, "b": {"cat", "hat"}}


@pytest.mark.parametrize("table", [None, 7, {"image": ["a"]}, [("a", "cat")], pa.table({"a": [1]})])
def test_what_is_no_table(table):
    for kind in (TableDataset, MultiHot):
        refused("a table is a pandas DataFrame or a file", lambda k=kind: k(table).labels)
    if table is not None and not isinstance(table, dict):
        rows = pd.DataFrame({"image": ["a"], "label": ["x"]})
        refused("names are a dict", lambda: TableDataset(rows, names=table).classes)


def test_a_polars_frame_is_told():
    polars = pytest.importorskip("polars")
    refused("to_pandas()", TableDataset, polars.DataFrame({"image": ["a"], "label": ["b"]}))


def test_cells_that_are_classes_are_no_vectors():
    rows = pd.DataFrame({"image": list("abc"), "label": ["001", "010", "111"]})
    for classes in (["001", "010", "111"], "001,010,111", ["001", "010", "111", "000"]):
        found = labels_by_image(TableDataset(rows, classes=classes))
        assert found == {"a": {"001"}, "b": {"010"}, "c": {"111"}}
    found = labels_by_image(TableDataset(rows, classes=["cat", "dog", "hat"]))
    assert found["c"] == {"cat", "dog", "hat"} and found["a"] == {"hat"}
    refused("'111' is not one", lambda: TableDataset(rows, classes=["001", "010", "110"]).labels)


def test_columns_of_a_multihot_frame_that_are_numbers():
    both = pd.DataFrame({"image": ["a", "b"], 0: [1, 0], "0": [0, 1]})
    refused("two columns called '0'", lambda: MultiHot(both).labels)
    frame = pd.DataFrame({"image": ["a", "b"], 0: [1, 0], 1: [0, 1], 2: [1, 1]})
    for options in ({"labels": "0,1"}, {"labels": [0, 1]}, {"ignore": "2"}, {"ignore": [2]}):
        found = labels_by_image(MultiHot(frame, **options))
        assert found == {"a": {"0"}, "b": {"1"}}
    refused("both name 0", lambda: MultiHot(frame, labels="0,1", ignore="0").labels)


@pytest.mark.parametrize("other", [{"ignore": "split"}, {"labels": "cat,split"}])
def test_a_split_that_is_ignored(other):
    frame = pd.DataFrame({"image": ["a", "b"], "split": ["train", "test"], "cat": [1, 1]})
    refused("both name 'split'", lambda: MultiHot(frame, split="split", **other).splits)
    assert MultiHot(frame, ignore="split").splits == ["train"]


@pytest.mark.parametrize("where", ["table", "shards"])
def test_two_spellings_that_look_the_same(tmp_path, where):
    "An accent is a part of its letter, or a sign after it"
    text = "image,label\na,caf\u00e9\nb,cafe\u0301\na,dog\n"
    path = write(tmp_path / "a.csv", text)
    with warned("is written in two ways that look the same"):
        if where == "table":
            assert len(TableDataset(path).labels) == 3
        else:
            shard_overlaps(path)
    path.write_text(text.replace("e\u0301", "\u00e9"), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(TableDataset(path).labels) == 2


# --- folders ---


def yolo(root, yaml):
    for name in ("train/a", "val/b"):
        write(root / f"images/{name}.jpg", b"x")
        write(root / f"labels/{name}.txt", "0 .5 .5 .2 .2\n")
    write(root / "data.yaml", yaml)
    return Yolo(root)


@pytest.mark.parametrize(
    "yaml, message",
    [
        ("names: [cat, dog]\ntrain: images/train\ntrain: images/val\n", "the key 'train'"),
        ("names: [cat, dog]\ntrain: images/train\nnames: [dog, cat]\n", "the key 'names'"),
        ("names:\n  0: cat\n  0: dog\ntrain: images/train\n", "the key '0'"),
        ("names: {0: cat, 1: dog, '0': cow}\ntrain: images/train\n", "the key '0'"),
        ("names: {0: cat, 00: dog, 1: cow}\ntrain: images/train\n", "is there twice"),
    ],
)
def test_keys_of_yolo_that_come_twice(tmp_path, yaml, message):
    pytest.importorskip("yaml")
    refused(message, lambda: yolo(tmp_path / "y", yaml).labels)


def test_keys_of_darknet_that_come_twice(tmp_path):
    write(tmp_path / "obj.names", "cat\ndog\n")
    write(tmp_path / "a.txt", "0 .5 .5 .2 .2\n")
    write(tmp_path / "a.jpg", b"x")
    write(tmp_path / "train.txt", "a.jpg\n")
    text = "classes=2\ntrain=train.txt\nnames=obj.names\n"
    assert Yolo(write(tmp_path / "obj.data", text)).labels == ["cat", "dog"]
    write(tmp_path / "obj.data", text + "train = other.txt\n")
    refused("line 4: the key 'train' is there already", lambda: Yolo(tmp_path / "obj.data").labels)


@pytest.mark.parametrize("years", ["07", "all", "20", "2007-2012", "2007;x", 7, "20071", 0, False])
def test_years_of_voc_that_are_none(tmp_path, years):
    refused("years are such as '2007'", PascalVOC, tmp_path, years=years)


@pytest.mark.parametrize(
    "years", ["2007", 2007, "2007,2012", [2007, "2012"], ("2007",), "2007 2012"]
)
def test_years_of_voc(tmp_path, years):
    assert PascalVOC(tmp_path, years=years).years[0] == "2007"


def test_a_folder_without_images_is_told(tmp_path):
    for name in ("train/cat/1.jpg", "train/dog/2.png", "train/cow/3.heic", "val/cat/4.jpg"):
        write(tmp_path / name, b"x")
    with warned("the folder 'cow' has files, such as 'train/cow/3.heic', and no image"):
        assert len(labeled_images(tmp_path)) == 3
    for name in ("train/cow/4.jpg", "val/cow/note.txt", "train/.hidden/x.txt"):
        write(tmp_path / name, b"x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labeled_images(tmp_path)


# --- sets, selections, exclusions ---

SIGNS = st.text(st.sampled_from("abC#1 +-:>,."), min_size=1, max_size=7)
NAMES = SIGNS.map(str.strip).filter(lambda name: name and not name.isdecimal())


def quoted(name):
    return f'"{name}"' if set(name) & set(" ,:+->#") else name


@settings(max_examples=60, deadline=None)
@given(st.lists(NAMES, min_size=2, max_size=4, unique=True), st.booleans())
def test_any_label_in_a_set_file(names, as_remark):
    "A `#` is a sign of a label in quotes, and within a word; after a blank it is a remark"
    names = [name for name in names if not set(name) & set("+:>")]
    if len(names) < 2:
        return
    rows = [(f"{i}-{k}", name) for i, name in enumerate([*names, "hat"]) for k in range(3)]
    data = TableDataset(pd.DataFrame(rows, columns=["image", "label"]))
    line = f"hat: {' '.join(map(quoted, names))} -> {quoted(names[-1])}"
    with tempfile.TemporaryDirectory() as folder:
        remark = "# picked by hand\n" if as_remark else ""
        path = write(
            Path(folder) / "s.txt", f"{remark}{line}{'  # mine: 7' if as_remark else ''}\n"
        )
        (found,) = read_sets(data, path)
    assert [data.labels[i] for i in found.classes] == sorted(names)
    assert data.labels[found.target] == names[-1]


def test_a_number_sign_in_a_word_of_a_set_file(tmp_path):
    data = TableDataset(pets(3, ("crane#0", "crane#2", "C#", "C"), 2))
    for line, classes, target in (
        ("hat: crane#0 crane#2", ["crane#0", "crane#2"], None),
        ("hat: C# C -> C#", ["C", "C#"], "C#"),
        ("hat: C crane#0 # C#", ["C", "crane#0"], None),
        ("hat: C crane#0\t#C#", ["C", "crane#0"], None),
    ):
        (found,) = read_sets(data, write(tmp_path / "s.txt", line + "\n"))
        assert [data.labels[i] for i in found.classes] == classes
        assert (None if found.target is None else data.labels[found.target]) == target


def parsed(command):
    return make_parser().parse_args(shlex.split(command, comments=True)[1:])


def test_the_command_of_a_selection_says_the_same(tmp_path):
    "Lists, dicts, and names of images that begin like a flag"
    rows = pets()
    rows.loc[rows.image == "dog/1.jpg", "image"] = "-x.jpg"
    table = pd.crosstab(rows.image, rows.label).clip(upper=1).reset_index()
    table["w"], table["h"] = 1, 0
    table.to_csv(tmp_path / "m.csv", index=False)
    without = ("--y.jpg", "-x.jpg", "dog/2.jpg")
    for ignore in (["w", "h"], ("w", "h"), "w,h"):
        data = open_dataset("multihot", tmp_path / "m.csv", ignore=ignore)
        chosen = select(found_in(data), "hat", ["dog", "cow"], "cow", n_clean=10, without=without)
        args = parsed(chosen.command)
        assert excluded_images(args.without) == without
        assert args.classes == ["cow", "dog"] or args.classes == ["dog", "cow"]
        again = load_dataset(source_said(args))
        assert again.labels == data.labels == ["cat", "cow", "dog", "hat"]
    data = open_dataset("multihot", tmp_path / "m.csv", ignore="w,h", names={"dog": "Hound"})
    command = select(found_in(data), "hat", ["dog", "cow"], "cow", n_clean=10).command
    assert command.endswith("  # names.csv: a table with the columns label and name")
    assert source_said(parsed(command)).options["names"] == "names.csv"


@pytest.mark.parametrize("name", ["e.json", "e.JSON", "e.json.gz", "E.Json.GZ"])
def test_exclusions_in_any_spelling(tmp_path, name):
    saved = save_exclusions(tmp_path / "saved.json", {"./dog/1.jpg": "duplicate"})
    content = saved.read_bytes()
    path = write(tmp_path / name, gzip.compress(content) if ".gz" in name.lower() else content)
    assert excluded_images(path) == ("dog/1.jpg",)
    (tmp_path / "x").mkdir()
    asked = ["train", "--dataset_root", "x", "--without", str(path)]
    assert tuple(make_parser().parse_args(asked).without) == ("dog/1.jpg",)


def test_a_list_of_images_is_no_json(tmp_path):
    for name, pack in (("a.txt", bytes), ("a.txt.gz", gzip.compress), ("a.json.txt", bytes)):
        path = write(tmp_path / name, pack(b"dog/1.jpg\n# no\n"))
        assert excluded_images(path) == ("dog/1.jpg",)


def test_exclusions_of_another_dataset(tmp_path):
    data = TableDataset(pets(), name="pets")
    asked = dict(n_clean=10, inject_rate=0.2, check_images=False)
    for name, other in (("zoo", True), ("pets", False), (None, False)):
        file = save_exclusions(tmp_path / "e.json", {"dog/1.jpg": "duplicate"}, dataset=name)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            split = poison_split(data, "hat", ["dog", "cow"], "dog", without=file, **asked)
        assert split.settings.without == ("dog/1.jpg",)
        assert any("saved for the dataset 'zoo'" in str(w.message) for w in said) == other


# --- the wrong thing ---


@pytest.mark.parametrize("kind", [Coco, Yolo, PascalVOC, OpenImages, OpenImagesLabels])
@pytest.mark.parametrize("place", [None, 7, {"images": [], "annotations": []}, ["a"]])
def test_what_is_no_place(kind, place):
    refused("dataset_root is the path", lambda: kind(place).labels)


def test_a_step_is_given_what_comes_before_the_last():
    data = TableDataset(pets())
    overlaps = count_overlaps(data.label_matrix())
    refused("say dataset.label_matrix()", count_overlaps, data)
    refused("takes the labels of one split, not DataFrame", count_overlaps, pets())
    refused("say count_overlaps(dataset.label_matrix())", co_graph, data)
    refused("co_graph takes overlaps, not LabelMatrix", co_graph, data.label_matrix())
    refused("say co_graph(overlaps)", centrality, overlaps)
    refused("centrality takes a graph, not TableDataset", centrality, data)
    for wrong in ("labels.csv", Path("labels.csv"), pets(), overlaps, None):
        refused("poison_split takes a dataset", poison_split, wrong, "hat", ["cat", "dog"], "dog")
