"Folders that are links: each file is read once, cycles end, and what cannot be read is named"

import glob
import os
import re
import warnings
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import natural_backdoors
from natural_backdoors import UserError
from natural_backdoors.base.finding import files_matching
from natural_backdoors.data.huggingface import HuggingFace
from natural_backdoors.data.imagenet import class_folders
from natural_backdoors.data.relabel import _find_maps, read_folder
from natural_backdoors.graph.shards import list_shards, shard_overlaps

needs_datasets = pytest.mark.skipif(
    not find_spec("datasets"), reason="pip install natural_backdoors[huggingface]"
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NATURAL_BACKDOORS_CACHE", str(tmp_path / "cache"))


def quiet(read):
    "What `read` gives, without a warning"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return read()


def write_parquet(path, ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = [["cat", "hat"] if int(i) % 2 else ["dog"] for i in ids]
    pd.DataFrame({"id": ids, "labels": labels}).to_parquet(path)


def images_of(folder, **options):
    "split -> the image ids that are read"
    data = HuggingFace(folder, id="id", **options)
    return {split: sorted(data.label_matrix(split).images) for split in data.splits}


@pytest.fixture
def hub(tmp_path):
    "A folder of the hub: two splits in `data`, which lies elsewhere in each test"
    root = tmp_path / "hub"
    write_parquet(root / "data" / "train-0.parquet", ["1", "2"])
    write_parquet(root / "data" / "more" / "train-1.parquet", ["3"])
    write_parquet(root / "data" / "test-0.parquet", ["4"])
    return root


WHOLE = {"train": ["1", "2", "3"], "test": ["4"]}


@needs_datasets
@pytest.mark.parametrize("link", ["data", "data/more"])
def test_linked_folders_of_the_hub_are_read(hub, tmp_path, link):
    assert images_of(hub) == WHOLE
    (hub / link).rename(tmp_path / "elsewhere")
    (hub / link).symlink_to(tmp_path / "elsewhere")
    assert images_of(hub) == WHOLE
    # another file behind the link is another state
    write_parquet(hub / link / "train-9.parquet", ["9"])
    assert images_of(hub)["train"] == ["1", "2", "3", "9"]


@needs_datasets
def test_linked_folders_are_read_once_and_cycles_end(hub):
    (hub / "data" / "up").symlink_to(hub)
    (hub / "a_copy").symlink_to(hub / "data")
    (hub / "z_copy").symlink_to(hub / "data" / "more")
    assert images_of(hub) == WHOLE


@needs_datasets
def test_a_readme_may_name_what_is_behind_a_link(hub, tmp_path):
    (hub / "data").rename(tmp_path / "elsewhere")
    (hub / "train").symlink_to(tmp_path / "elsewhere")
    text = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n"
    (hub / "README.md").write_text(f"{text}    path: train/**/train-*.parquet\n---\n")
    assert images_of(hub) == {"train": ["1", "2", "3"]}


@needs_datasets
def test_a_saved_dataset_behind_a_link_is_read_again_when_it_changes(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(HuggingFace, "cache_from", 0)
    rows = {"id": ["1", "2"], "labels": [["cat"], ["dog"]]}
    for name, n in (("one", 1), ("two", 2)):
        part = datasets.Dataset.from_dict({k: v[:n] for k, v in rows.items()})
        datasets.DatasetDict({"train": part}).save_to_disk(tmp_path / name)
    root = tmp_path / "root"
    root.mkdir()
    (root / "dataset_dict.json").write_bytes((tmp_path / "one" / "dataset_dict.json").read_bytes())
    for name, n in (("one", 1), ("two", 2)):
        (root / "train").unlink(missing_ok=True)
        (root / "train").symlink_to(tmp_path / name / "train")
        data = HuggingFace(root, id="id")
        assert len(data.sources()) == 4, "dataset_dict.json, state, info, and the arrow file"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the cache is of an older state
            assert len(data.label_matrix().images) == n


@needs_datasets
def test_pictures_keep_their_own_paths(tmp_path):
    root = tmp_path / "hub"
    for kind in ("cat", "dog"):
        (tmp_path / "elsewhere" / kind).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "elsewhere" / kind / f"{kind}.png")
    root.mkdir()
    (root / "train").symlink_to(tmp_path / "elsewhere")
    data = HuggingFace(root, labels="label")
    found = {data.src_path(i) for i in data.label_matrix().images}
    assert found == {root / "train" / kind / f"{kind}.png" for kind in ("cat", "dog")}
    assert all(path.is_file() for path in found)


@needs_datasets
def test_a_folder_of_the_hub_that_cannot_be_read_is_named(hub, monkeypatch):
    unreadable(monkeypatch, "more")
    with pytest.warns(UserWarning, match="the folder .*more cannot be read .Permission denied"):
        images_of(hub)


def unreadable(monkeypatch, *names):
    "Folders called `names` may not be listed; also by root, to whom permissions mean nothing"
    real = os.scandir

    def scan(path="."):
        if not isinstance(path, int) and os.path.basename(os.fspath(path)) in names:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    opens = os.open

    def open_(path, *args, **kwargs):
        if os.path.basename(os.fspath(path)) in names:
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return opens(path, *args, **kwargs)

    monkeypatch.setattr(os, "scandir", scan)
    monkeypatch.setattr(os, "open", open_)


# -- patterns


TREE = ["a.csv", "b.csv", "x/a.csv", "x/y/a.csv", "x/y/b.txt", "z/c.csv", "z/[1].csv"]
PARTS = st.sampled_from(["*", "**", "x", "y", "?.csv", "[ab].csv", "*.csv", "*.txt", "z"])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(PARTS, min_size=1, max_size=4))
def test_patterns_mean_what_they_do_in_python(tmp_path_factory, parts):
    root = tmp_path_factory.getbasetemp() / "tree"
    for name in TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    pattern = str(root.joinpath(*parts))
    theirs = {f for f in glob.glob(pattern, recursive=True) if os.path.isfile(f)}
    assert set(map(str, files_matching(pattern))) == theirs


def test_patterns_end_where_links_lead_back(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").write_text("image,label\n1,cat\n1,hat\n")
        for other in ("a", "b"):
            (tmp_path / name / f"to_{other}").symlink_to(tmp_path / other)
    for pattern in ("**/*.csv", "*/*.csv", "*/*/*.csv"):
        shards = list_shards(f"{tmp_path}/{pattern}")
        real = [os.path.realpath(shard.url) for shard in shards]
        assert sorted(real) == [str(tmp_path / name / "x.csv") for name in ("a", "b")]
    (tmp_path / "c.csv").symlink_to(tmp_path / "a" / "x.csv")
    files = [tmp_path / "c.csv", tmp_path / "a" / "x.csv"]
    assert len(list_shards(files)) == 1
    assert shard_overlaps(files).n_images == 1, "one image, not one a name"


def test_patterns_name_what_they_cannot_read(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.csv").write_text("image,label\n1,cat\n")
    unreadable(monkeypatch, "b")
    for pattern in ("*/*.csv", "**/*.csv"):
        with pytest.warns(UserWarning, match="the folder .*b cannot be read"):
            assert len(list_shards(f"{tmp_path}/{pattern}")) == 1


def test_a_name_with_the_signs_of_a_pattern(tmp_path):
    (tmp_path / "[1].csv").write_text("image,label\n1,cat\n")
    assert [shard.url for shard in list_shards(tmp_path / "[1].csv")] == [str(tmp_path / "[1].csv")]


# -- class folders


def test_class_folders_may_be_links_and_are_named(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    root = tmp_path / "root"
    (root / "n00000001").mkdir(parents=True)
    (root / "n00000002").symlink_to(tmp_path / "elsewhere")
    (root / "n00000003").symlink_to(root / "n00000003")  # to itself
    assert class_folders(root) == [str(root / f"n0000000{i}") for i in (1, 2)]
    unreadable(monkeypatch, "n00000001")
    for read in (_find_maps, lambda root: read_folder(root / "n00000001")):
        with pytest.raises(UserError, match="cannot read the folder .*n00000001"):
            read(root)


def test_nothing_else_goes_through_folders_by_itself():
    "One way through folders for all readers; the others are told here, with their reason"
    allowed = {
        "base/finding.py": "the one",
        "base/files.py": "removes left-overs, and must not follow a link to do so",
        "base/blocks.py": "its own blocks",
        "data/decoding.py": "its own decoded images",
        "data/archives.py": "its own folders of unfinished files, by name",
        "split/export.py": "what was written just now",
        "split/formats.py": "what was written just now",
        "train/callbacks.py": "its own checkpoints",
        "train/sweeps.py": "its own parts",
        "train/labeling.py": "its own parts",
        "cli/training.py": "its own runs",
        "data/kinds.py": "what kind of dataset a folder holds, by a few names",
        "cli/opening.py": "whether a folder is empty",
        "defend/panel_run.py": "its own parts",
        "defend/run_models.py": "its own runs",
        "report/run_of_sweep.py": "the models of a run",
        "data/scenes.py": "whether a folder is empty",
        "graph/shards.py": "asks whether a path is a pattern",
        "data/huggingface.py": "escapes names for `datasets`",
        "data/relabel.py": "millions of label maps in one folder, by an open directory",
        "_modidx.py": "is no code",
    }
    walk = re.compile(r"\b(rglob|glob|iglob|walk|scandir|iterdir|listdir)\(")
    root = Path(natural_backdoors.__file__).parent
    found = {
        file.relative_to(root).as_posix()
        for file in root.rglob("*.py")
        if walk.search(file.read_text(encoding="utf-8"))
    }
    assert found <= set(allowed), found - set(allowed)
