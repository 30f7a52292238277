"The contract of dataset managers: rows to codes, caching, finding a manager, its mistakes"

import os
import textwrap
import warnings
from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natural_backdoors import TableDataset
from natural_backdoors.base.errors import UserError
from natural_backdoors.cli.commands import main
from natural_backdoors.data.check import check_manager
from natural_backdoors.data.classes import class_table
from natural_backdoors.data.datasets import Dataset, available, listing, manager_class, open_dataset
from natural_backdoors.data.labels import Codes, encode

names = st.sampled_from(["a", "b", "007", "7", "a,b", 'q"q', "<script>", "é", "Ω " * 3, "x" * 300])
a_row = st.tuples(names, names, st.booleans(), st.booleans())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def slowly(rows, absences):
    "The four relations of image and label, pair by pair"
    found = {k: set() for k in ("present", "as_class", "as_trigger", "absent")}
    for image, label, as_class, as_trigger in rows:
        found["present"].add((image, label))
        if as_class:
            found["as_class"].add((image, label))
        if as_trigger:
            found["as_trigger"].add((image, label))
    images, labels = {r[0] for r in rows}, {r[1] for r in rows}
    found["absent"] = {(i, l) for i, l in absences if i in images and l in labels} - found[
        "present"
    ]
    return found


def pairs(codes, which):
    "The pairs in one matrix of `codes`; without it, those that are present"
    m = codes.matrices.get(which, codes.matrices["present"]).tocoo()
    ids = codes.ids.to_pylist()
    return {(ids[i], codes.labels[j]) for i, j in zip(m.row, m.col)}


@settings(max_examples=80, deadline=None)
@given(
    st.lists(a_row, min_size=1, max_size=30),
    st.lists(st.tuples(names, names), max_size=10),
    st.booleans(),
)
def test_rows_become_codes(rows, absences, categorical):
    table = pd.DataFrame(rows, columns=["image", "label", "as_class", "as_trigger"])
    if categorical:
        table = table.astype({"image": "category", "label": "category"})
    codes = encode(table, absences=pd.DataFrame(absences, columns=["image", "label"]))
    # blanks at the ends mean nothing
    rows = [(image.strip(), label.strip(), *uses) for image, label, *uses in rows]
    want = slowly(rows, [(image.strip(), label.strip()) for image, label in absences])
    assert {k: pairs(codes, k) for k in want} == want
    assert codes.labels == sorted({r[1] for r in rows})
    # the order of images is that of the rows, or that of the categories
    images = [r[0] for r in rows]
    assert codes.ids.to_pylist() == (
        sorted(set(images)) if categorical else list(dict.fromkeys(images))
    )
    again = Codes.from_arrays(codes.arrays())
    assert {k: pairs(again, k) for k in want} == want and again.labels == codes.labels


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 12), names, st.sampled_from(["train", "test", "val"])),
        min_size=1,
        max_size=40,
    )
)
def test_splits(rows):
    split_of = {}
    rows = [(str(i), label, split_of.setdefault(i, split)) for i, label, split in rows]
    codes = encode(pd.DataFrame(rows, columns=["image", "label", "split"]))
    for split in codes.splits:
        m = codes.label_matrix(split, class_table(codes.labels))
        want = defaultdict(set)
        for image, label, s in rows:
            if s == split:
                want[image].add(label.strip())
        got = {
            i: {codes.labels[j] for j in m.matrix.indices[a:b]}
            for i, a, b in zip(m.images, m.matrix.indptr, m.matrix.indptr[1:])
        }
        assert got == want
    assert set(codes.splits) == {r[2] for r in rows}
    assert codes.splits[0] == "train" or "train" not in codes.splits


@pytest.mark.parametrize("column", ["image", "label", "split"])
@pytest.mark.parametrize("value", [None, np.nan, ""])
@pytest.mark.parametrize("categorical", [False, True])
def test_a_row_without_a_value(column, value, categorical):
    "is named; without a label, it is an image in which nothing was found"
    table = pd.DataFrame(
        {"image": ["1", "2", "3"], "label": ["a", "b", "c"], "split": ["train"] * 3}, dtype=object
    )
    table.loc[1, column] = value
    if categorical:
        table = table.astype("category")
    if column == "label":
        assert encode(table).matrices["present"].toarray().tolist() == [[1, 0], [0, 0], [0, 1]]
        return
    with pytest.raises(UserError, match=rf"row 1 \(the first is 0\) has no {column}; 1 such rows"):
        encode(table)


@pytest.mark.parametrize(
    "image", ["../x", "a/../../x", "..", "a\\..\\..\\x", "/tmp/../../etc/passwd"]
)
def test_files_that_lead_out_of_the_folder_are_not_opened(image, tmp_path):
    file = tmp_path / "labels.csv"
    pd.DataFrame({"image": ["ok", image], "label": ["a", "b"]}).to_csv(file, index=False)
    data = TableDataset(file)
    [name] = data.label_to_imgs("b")
    with pytest.raises(UserError, match="leads out of"):
        data.src_path(name)


def test_names_that_are_the_same(tmp_path):
    rows = pd.DataFrame({"image": ["1", "2"], "label": ["c1", "c2"]})
    data = TableDataset(rows, names={"c1": "crane", "c2": "crane"})
    assert data.classes["name"].tolist() == ["crane", "crane"] and data.resolve("c2") == 1
    with pytest.raises(UserError, match="2 classes: c1 .id 0., c2 .id 1."):
        data.resolve("crane")


class Counting(Dataset):
    "Counts how often its rows are read"

    cache_from, reads = 0, 0

    def __init__(self, file, option="x"):
        self.file, self.option = file, option

    def sources(self):
        return [self.file]

    def cache_key(self):
        return self.option

    def rows(self):
        type(self).reads += 1
        return pd.read_csv(self.file, dtype=str)


@pytest.fixture
def counting(tmp_path, monkeypatch):
    monkeypatch.setattr(Counting, "reads", 0)
    (tmp_path / "labels.csv").write_text("image,label\n1,cat\n1,dog\n2,cat\n")
    return tmp_path / "labels.csv"


def labels_of(dataset):
    return {
        i: set(np.asarray(dataset.labels)[r > 0])
        for i, r in zip(dataset.label_matrix().images, dataset.label_matrix().matrix.toarray())
    }


def test_the_second_start_reads_no_rows(counting):
    assert (
        labels_of(Counting(counting))
        == labels_of(Counting(counting))
        == {"1": {"cat", "dog"}, "2": {"cat"}}
    )
    assert Counting.reads == 1
    labels_of(Counting(counting, "y"))
    assert Counting.reads == 2


def test_a_changed_file_is_read_again(counting):
    labels_of(Counting(counting))
    counting.write_text("image,label\n1,cat\n1,cow\n2,cat\n")
    os.utime(counting, ns=(1, 1))  # also if the size is the same
    with pytest.warns(UserWarning, match="older state of the files; it is made again"):
        assert labels_of(Counting(counting))["1"] == {"cat", "cow"}
    assert Counting.reads == 2


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "zeros"])
def test_a_damaged_cache_is_made_again(counting, cache, damage):
    labels_of(Counting(counting))
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(
        {"cut": whole[:-40], "empty": b"", "text": b"not a cache", "zeros": bytes(len(whole))}[
            damage
        ]
    )
    with pytest.warns(UserWarning, match="is damaged"):
        labels_of(Counting(counting))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels_of(Counting(counting))
    assert Counting.reads == 2


def test_two_processes_at_once(forks, tmp_path, cache):
    "Eight processes start on the same file: all get the same, and one sound cache is left"
    rows = pd.DataFrame(
        {"image": np.arange(40_000) // 2, "label": [f"c{i % 7}" for i in range(40_000)]}
    )
    rows.to_csv(tmp_path / "labels.csv")
    # forks of one, so that they do start at once
    code = textwrap.dedent("""
        import os, sys
        import natural_backdoors.data.labels, scipy.sparse
        from natural_backdoors import TableDataset
        children = []
        for _ in range(8):
            child = os.fork()
            if not child:
                break
            children.append(child)
        else:
            sys.exit(any(os.waitpid(child, 0)[1] for child in children))
        data = TableDataset(sys.argv[1])
        data.cache_from = 0
        m = data.label_matrix()
        os.write(1, f"{m.matrix.nnz} {m.images[-1]} {data.labels}\\n".encode())""")
    done = forks.run(code, tmp_path / "labels.csv")
    said = done.stdout.splitlines()
    assert done.returncode == 0 and len(said) == 8, done
    assert len(set(said)) == 1 and "damaged" not in done.stderr
    assert (
        len([f for f in cache.iterdir() if f.suffix == ".npz" and not f.name.startswith(".")]) == 1
    )
    assert not [f for f in cache.iterdir() if f.name.startswith(".")]


def test_a_manager_of_another_package(tmp_path, monkeypatch):
    "Found through the entry point of an installed package"
    (tmp_path / "their_package.py").write_text(
        textwrap.dedent("""
        import pandas as pd
        from natural_backdoors import Dataset
        class Theirs(Dataset):
            title = "Theirs"
            def __init__(self, dataset_root): self.root = dataset_root
            def rows(self): return pd.DataFrame({"image": ["1", "2"], "label": ["cat", "dog"]})
            def src_path(self, image): return f"{self.root}/{image}.jpg" """)
    )
    info = tmp_path / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[natural_backdoors.data.datasets]\ntheirs = their_package:Theirs\n"
        "gone = their_package_gone:Gone\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert available()["theirs"] == "their_package:Theirs"
    assert (
        open_dataset("theirs", "/photos").labels == ["cat", "dog"]
        and open_dataset("theirs", "/a/photos").name == "photos"
    )
    with pytest.raises(UserError, match="'gone' cannot be imported from their_package_gone"):
        manager_class("gone")
    table = listing().set_index("data")
    assert table.title["theirs"] == "Theirs" and "cannot be used" in table.title["gone"]


PUBLISHED = """
from natural_backdoors import Dataset as DatasetManager

class CustomDatasetManager(DatasetManager):
    def __init__(self, *, dataset_root, download_data, **kwargs):
        super().__init__(dataset_root, **kwargs)
        self._images = {"zebra": {f"z{i}" for i in range(40)} | {f"both{i}" for i in range(20)},
                        "ant": {f"both{i}" for i in range(20)} | {f"a{i}" for i in range(40)},
                        "cow": {f"both{i}" for i in range(9)}}

    def label_to_imgs(self, label_id, split):
        \'\'\'Given a label ID and split, return the set of image IDs this label appears in\'\'\'
        return self._images[label_id]

    @property
    def labels(self):
        return list(self._images)

    def get_name(self, class_id):
        return self.labels[class_id].title()

    def src_path(self, img_id):
        return f"{self.dataset_root}/{img_id}.jpg"
"""


def test_a_manager_of_the_published_code_on_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "custom.py").write_text(PUBLISHED)
    where = ["--data", "custom.py:CustomDatasetManager", "--dataset_root", "/photos"]
    assert main(["analyze", *where, "--name", "zoo", "--trigger", "Zebra"]) == 0
    said = capsys.readouterr().out
    assert "classes that 'Zebra' could attack: 1" in said and "Ant" in said
    data = open_dataset("custom.py:CustomDatasetManager", "/photos")
    assert data.classes.label.tolist() == ["zebra", "ant", "cow"], "their numbers are kept"
    assert check_manager(data).empty
    assert main(["datasets", *where]) == 0 and "keeps its promises" in capsys.readouterr().out


def test_datasets_command(capsys):
    assert main(["datasets"]) == 0
    said = capsys.readouterr().out
    for name in available():
        assert name in said
    assert "cannot be used" not in said, said


def test_every_manager_says_what_it_is():
    table = listing()
    assert table.title.str.len().between(1, 64).all(), table.title.tolist()
    others = table[~table.data.isin(["table", "multihot"])]  # these are of the user's own
    assert (others.license.str.len() > 0).all() and others.homepage.str.startswith("http").all()
