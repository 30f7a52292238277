"""Files that decide what is not done again: caches, checkpoints, parts of a sweep, requests

What is wrong in one is told in one line, or it is made again with a warning."""

import json
import os
import pickle
import random
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
from fuzzing import changed, few
from hypothesis import given
from hypothesis import strategies as st

from natural_backdoors.base.cache import cached
from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import read_json
from natural_backdoors.base.schemas import ReproductionFile, checked
from natural_backdoors.data.coco import _names_of
from natural_backdoors.data.download import _Info, _Part
from natural_backdoors.data.labels import Codes, encode, load_label_matrix, save_label_matrix
from natural_backdoors.data.relabel import _checked_labels
from natural_backdoors.graph.overlaps import count_overlaps, load_overlaps, save_overlaps
from natural_backdoors.paper.experiments import _gone_before
from natural_backdoors.train.learner import EpochLog
from natural_backdoors.train.sweeps import _PART, COLUMNS, read_parts

torch = pytest.importorskip("torch")


# -- caches


@pytest.fixture(scope="module")
def codes():
    rows = [("a", "cat"), ("a", "hat"), ("b", "cat"), ("c", "dog")]
    table = pd.DataFrame(rows, columns=["image", "label"])
    return encode(table, "pets", None)


def damage(arrays, name, how):
    "The arrays with one of them changed, so that they are codes no more"
    arrays, value = dict(arrays), arrays[name]
    odd = {
        "missing": None,
        "object": np.array([{}] * len(value), object),
        "float": value.astype(float),
        "nan": np.full(len(value), np.nan),
        "complex": value.astype(complex),
        "text": value.astype(str),
        "time": value.astype("timedelta64[s]"),
        "flat": value.reshape(1, -1),
        "scalar": np.array(7),
        "empty": value[:0],
        "short": value[:-1],
        "long": np.append(value, value[-1:]),
        "negative": value.astype(np.int64) - 100,
        "large": value.astype(np.int64) + 2**40,
    }
    arrays[name] = odd[how]
    return {k: v for k, v in arrays.items() if v is not None}


NAMES = ["split_of", "labels_0", "labels_1", "ids_0", "ids_1", "splits_0", "splits_1"]
NAMES += ["present.indptr", "present.indices"]
HOW = ["missing", "object", "float", "nan", "complex", "text", "time", "flat", "scalar", "empty"]
HOW += ["short", "long", "negative", "large"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", HOW)
def test_a_cache_of_other_arrays_is_made_again(codes, tmp_path, name, how):
    def ask():
        return cached("pets", [1], codes.arrays, folder=tmp_path, use=Codes.from_arrays)

    ask()
    (file,) = tmp_path.glob("*.npz")
    arrays = damage(codes.arrays(), name, how)
    np.savez(file, __stamps__=np.array("[1]"), **arrays)
    with pytest.warns(UserWarning, match="is damaged .*; it is made again"):
        again = ask()
    assert again.labels == codes.labels and again.ids.to_pylist() == codes.ids.to_pylist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (ask().matrices["present"] != codes.matrices["present"]).nnz == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"split_of": [0, 0, 1]},
        {"present.indptr": [0, 3, 2, 4]},
        {"present.indptr": [1, 2, 3, 4]},
        {"present.indices": [0, 0, 0, 1]},
        {"present.indices": [2, 0, 0, 1]},
        {"present.indices": [0, 3, 0, 1]},
        {"ids_0": [97, 97, 99]},
        {"ids_0": [97, 255, 99]},
        {"labels_1": [0, 9, 6, 9]},
        {"labels_1": [1, 3, 6, 9]},
    ],
)
def test_arrays_of_the_right_kind_that_do_not_fit(codes, changes):
    arrays = codes.arrays()
    assert Codes.from_arrays(arrays).labels == ["cat", "dog", "hat"]
    arrays |= {k: np.array(v, arrays[k].dtype) for k, v in changes.items()}
    with pytest.raises(Exception) as e:
        Codes.from_arrays(arrays)
    assert type(e.value).__name__ in ("ValueError", "ArrowInvalid")


class Evil:
    "Leaves a file where it is unpickled"

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return open, (self.mark, "w")


def test_a_pickle_in_a_cache_is_not_run(tmp_path):
    mark = tmp_path / "mark"
    build = lambda: {"n": np.arange(3)}
    cached("x", [1], build, folder=tmp_path)
    (file,) = tmp_path.glob("*.npz")
    for content in (pickle.dumps(Evil(mark)), None):
        if content is None:
            np.savez(file, __stamps__=np.array("[1]"), n=np.array([Evil(mark)], object))
        else:
            file.write_bytes(content)
        with pytest.warns(UserWarning, match="is damaged"):
            assert cached("x", [1], build, folder=tmp_path)["n"].tolist() == [0, 1, 2]
    assert not mark.exists()


def test_other_caches_are_checked():
    names = {"labels": np.array(["cat"]), "names": np.array(["Cat"])}
    assert _names_of(names) == {"cat": "Cat"}
    maps = {"images": np.array([b"a"]), "image": np.array([0]), "label": np.array([999])}
    maps |= {"n_files": np.array(2), "bad": np.array(["b.pt: cut"])}
    assert _checked_labels(maps) is maps
    odd = [(_names_of, names, {"names": np.array(["Cat", "Dog"])})]
    odd += [(_names_of, names, {"labels": np.array([7])})]
    for change in ({"label": [1000]}, {"image": [1]}, {"image": [-1]}, {"label": [0.5]}):
        odd.append((_checked_labels, maps, {k: np.array(v) for k, v in change.items()}))
    for change in ({"n_files": [2]}, {"n_files": "x"}, {"images": [1]}, {"bad": []}):
        odd.append((_checked_labels, maps, {k: np.array(v) for k, v in change.items()}))
    for check, arrays, change in odd:
        with pytest.raises((ValueError, TypeError)):
            check(arrays | change)


# -- label matrices and overlaps


LOADED = {
    "images.parquet": load_label_matrix,
    "classes.parquet": load_label_matrix,
    "overlaps.parquet": load_overlaps,
}
CELLS = [None, True, -1, 0, 7, 10**12, 0.5, float("nan"), "", "x", b"x", [0], [7], [-1], [0.5]]
CELLS += [["x"], [[0]], {"a": 1}]


@pytest.fixture(scope="module")
def saved(codes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    classes = pd.DataFrame({"id": range(3), "label": codes.labels, "name": codes.labels})
    labels = codes.label_matrix("train", classes)
    save_overlaps(count_overlaps(labels), folder)
    save_label_matrix(labels, folder)
    return folder


@pytest.mark.parametrize("name", list(LOADED))
def test_changed_tables_are_read_or_refused(saved, name):
    original, outcomes = pd.read_parquet(saved / name), {"read": 0, "refused": 0}

    @few(40)
    @given(st.data())
    def fuzz(data):
        table = original.copy()
        column = data.draw(st.sampled_from(list(table.columns)))
        how = data.draw(st.sampled_from(["drop", "double", "rows", "cells", "cells"]))
        if how == "drop":
            table = table.drop(columns=column)
        elif how == "double":
            table = pd.concat([table, table[:1]], ignore_index=True)
        elif how == "rows":
            table = table[: data.draw(st.integers(0, 1))]
        else:
            table[column] = [data.draw(st.sampled_from(CELLS))] * len(table)
        table.to_parquet(saved / name)
        try:
            LOADED[name](saved)
            outcomes["read"] += 1
        except UserError as e:
            assert name in str(e) or "images.parquet" in str(e) or "overlaps" in str(e)
            assert "\n" not in str(e)
            outcomes["refused"] += 1

    fuzz()
    assert outcomes["refused"] > outcomes["read"], outcomes
    original.to_parquet(saved / name)
    LOADED[name](saved)


# -- checkpoints


class Log(EpochLog):
    "A log without pictures"

    def __init__(self):
        self.rows = []

    def before_fit(self):
        pass

    after_batch = after_train = after_validate = before_fit

    def after_epoch(self):
        row = dict.fromkeys(("train_clean_acc", "val_clean_acc"), 0.25 * len(self.rows))
        row["test_clean_acc"] = row["val_clean_acc"]
        row |= dict.fromkeys(("train_trig_acc", "test_trig_acc"))
        loss = {f"{s}_{k}_loss": 0.5 for s in ("train", "test") for k in ("clean", "trig")}
        self.rows.append({"epoch": len(self.rows)} | row | loss)


Log.__name__ = "EpochLog"


def small_learner(*cbs):
    "A Learner of a dozen weights"
    from fastai.callback.progress import ProgressCallback
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.losses import CrossEntropyLossFlat
    from fastai.optimizer import OptimWrapper

    from natural_backdoors.train.callbacks import ResumableLearner

    torch.manual_seed(0)
    points = [(torch.tensor([i / 8, 1.0]), i % 2) for i in range(8)]
    dls = DataLoaders(DataLoader(points, bs=4, shuffle=True), DataLoader(points, bs=4))
    dls.train.rng = random.Random(0)
    adam = lambda params, lr: OptimWrapper(params, opt=torch.optim.AdamW, lr=lr)
    net = torch.nn.Linear(2, 2)
    loss = CrossEntropyLossFlat()
    learn = ResumableLearner(dls, net, loss, opt_func=adam, cbs=[Log(), *cbs])
    learn.remove_cbs([ProgressCallback])
    learn.logger = lambda *_: None
    return learn


SETTINGS = {"lr": 0.1}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from natural_backdoors.train.callbacks import Checkpoint, KeepBest

    folder = tmp_path_factory.mktemp("training") / "checkpoint"
    small_learner(Checkpoint(folder, SETTINGS), KeepBest()).fit(2)
    return folder


def go_on(folder, epochs=2):
    "Continue a training that is finished, so that it is only read"
    from natural_backdoors.train.callbacks import Checkpoint, KeepBest

    learn = small_learner(Checkpoint(folder, SETTINGS, resume=True), KeepBest())
    learn.fit(epochs)
    return learn


def test_a_changed_checkpoint_is_read_or_refused(checkpoint):
    file = checkpoint / "checkpoint.json"
    original, outcomes = read_json(file), {"read": 0, "refused": 0}

    @few(30)
    @given(st.data())
    def fuzz(data):
        file.write_text(json.dumps(changed(data.draw, original)))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # other versions of packages
                learn = go_on(checkpoint)
            assert len(learn.epoch_log.rows) >= 2
            outcomes["read"] += 1
        except UserError as e:
            assert "\n" not in str(e).split("\n\t", 1)[-1]
            outcomes["refused"] += 1

    fuzz()
    assert outcomes["refused"], outcomes
    file.write_text(json.dumps(original))
    go_on(checkpoint)


@pytest.mark.parametrize(
    "name, value",
    [
        ("model.weight", torch.zeros(3, 2)),
        ("model.weight", None),
        ("optimizer.0.exp_avg", torch.zeros(7)),
        ("optimizer.9.exp_avg", torch.zeros(2, 2)),
        ("optimizer.x.exp_avg", torch.zeros(2, 2)),
        ("random.torch", torch.zeros(3)),
        ("random.python", torch.zeros(3, dtype=torch.int64)),
        ("random.numpy", None),
        ("callbacks.keep_best.weight", torch.zeros(1)),
        ("callbacks.keep_best.weight", None),
        ("smooth_loss", None),
    ],
)
def test_tensors_that_do_not_fit(checkpoint, tmp_path, name, value):
    from safetensors.torch import load_file, save_file

    from natural_backdoors.base.files import file_digest

    folder = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    said = read_json(folder / "checkpoint.json")
    tensors = load_file(folder / said["file"])
    assert (name in tensors) or value is not None
    tensors = {k: v for k, v in (tensors | {name: value}).items() if v is not None}
    save_file(tensors, folder / said["file"])
    said["sha256"] = file_digest(folder / said["file"])
    (folder / "checkpoint.json").write_text(json.dumps(said))
    with pytest.raises(UserError, match=r"does not fit this training \(.*remove the folder"):
        go_on(folder, epochs=3)


# -- sweeps, banks, reproductions


@pytest.fixture
def part(tmp_path):
    "The folder of a sweep with one part, of a run that is done and one that failed"
    (tmp_path / "parts").mkdir()
    row = dict.fromkeys(COLUMNS, 0) | {"run": "r1", "trigger_name": "Hat", "target_name": "Cat"}
    table = pd.DataFrame([row | {"epoch": i} for i in range(2)])
    table["test_trig_loss"] = np.nan
    table.to_parquet(tmp_path / "parts" / "x.parquet")
    runs = {"r1": {"made_from": "m1", "failed": ""}, "r2": {"made_from": "m2", "failed": "why"}}
    content = {"format": _PART, "speed": {"runs": 2, "heads_seconds": 0.5}, "runs": runs}
    (tmp_path / "parts" / "x.json").write_text(json.dumps(content))
    return tmp_path


def test_a_part_as_it_is_written(part):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = read_parts(part)
    assert done.status == {"m1": "", "m2": "why"} and done.table.made_from.tolist() == ["m1"] * 2


def test_a_changed_part_is_read_or_done_again(part):
    file, seen = part / "parts" / "x.json", set()
    original = json.loads(file.read_text())

    @few(60)
    @given(st.data())
    def fuzz(data):
        file.write_text(json.dumps(changed(data.draw, original)))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            done = read_parts(part)
        again = any("is damaged" in str(w.message) for w in said)
        seen.add(again)
        assert bool(done.status) != again
        assert all(isinstance(v, str) for kv in done.status.items() for v in kv)
        good = {made for made, failed in done.status.items() if not failed}
        assert set(done.table["made_from"]) == good, "no result without its run, nor a run without"

    fuzz()
    assert seen == {True, False}


@pytest.mark.parametrize("column", ["run", "epoch", "test_clean_acc", "test_trig_loss", "lr"])
@pytest.mark.parametrize("value", ["drop", "x", -1.5, 2.5])
def test_a_part_with_another_table(part, column, value):
    file = part / "parts" / "x.parquet"
    table = pd.read_parquet(file)
    fine = (column == "lr" and value != "drop") or (column == "test_trig_loss" and value != "x")
    table = table.drop(columns=column) if value == "drop" else table.assign(**{column: value})
    table.to_parquet(file)
    if fine and value != "drop":
        assert len(read_parts(part).table) == 2
        return
    with pytest.warns(UserWarning, match="x.json is damaged .*done again"):
        assert read_parts(part).status == {}


def test_what_a_folder_of_a_reproduction_says(tmp_path):
    file = tmp_path / "reproduction.json"
    record = {"experiment": "rates", "scale": "small", "dataset": "scenes"}

    @few(40)
    @given(st.data())
    def fuzz(data):
        value = changed(data.draw, record | {"without": ["a.jpg"]})
        file.write_text(json.dumps(value))
        try:
            gone = _gone_before(tmp_path, record)
        except UserError as e:
            assert "\n" not in str(e) and str(tmp_path) in str(e)
        else:
            checked(value, ReproductionFile, file)
            assert all(isinstance(image, str) for image in gone)

    fuzz()
    for text in ("[]", "{", '{"experiment": 3}'):
        file.write_text(text)
        with pytest.raises(UserError, match="reproduction.json"):
            _gone_before(tmp_path, record)


# -- the picker's request, and downloads


def test_a_changed_request_of_the_picker(tmp_path, monkeypatch):
    pytest.importorskip("anywidget")
    from natural_backdoors.pick import app as pick

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pick, "open_dataset", lambda data, root, **options: type("D", (), {})())
    monkeypatch.setattr(pick, "TriggerPicker", lambda dataset, **how: how)
    source = {"data": "coco", "dataset_root": "/data", "options": {}, "name": None}
    request = {"source": source, "opened": source, "selection": "selection.json"}
    request |= {"folder": str(tmp_path), "search": {"min_overlaps": 4}, "settings": {"seed": 1}}
    file, seen = tmp_path / "request.json", set()
    monkeypatch.setenv(pick.REQUEST, str(file))

    @few(60)
    @given(st.data())
    def fuzz(data):
        file.write_text(json.dumps(changed(data.draw, request)))
        shown = pick.app()
        os.chdir(tmp_path)
        seen.add(type(shown).__name__)
        if isinstance(shown, dict):
            assert shown["selection"] is None or isinstance(shown["selection"], str)
        else:
            assert "\n" not in repr(shown) and repr(shown)

    fuzz()
    assert seen == {"dict", "Message"}


def test_what_is_known_of_downloads(tmp_path):
    "Notes that are not ours are left alone; they decide about no file"
    entry = {"url": "https://x/a", "when": "now", "size": 3, "sha256": "f" * 64, "changed": 7}
    content = {"made_by": "natural_backdoors", "files": {"a": entry}, "failed": {}}
    (tmp_path / "info.json").write_text(json.dumps(content))
    assert _Info(tmp_path).files == {"a": entry}

    @few(60)
    @given(st.data())
    def fuzz(data):
        value = changed(data.draw, content)
        (tmp_path / "info.json").write_text(json.dumps(value))
        files = _Info(tmp_path).files
        assert all(isinstance(one.get("size", 0), (int, type(None))) for one in files.values())
        assert files in ({}, value.get("files") if isinstance(value, dict) else None)

    fuzz()


@pytest.mark.parametrize(
    "about, known",
    [
        ({"url": "u", "etag": '"e"', "validator": '"e"', "total": 9}, True),
        ({"url": "u", "etag": '"e"', "validator": '"e"', "total": None}, True),
        ({"url": "other", "etag": '"e"', "validator": '"e"', "total": 9}, False),
        ({"url": "u", "etag": '"e"', "validator": '"e"', "total": 2}, False),
        ({"url": "u", "etag": '"e"', "validator": '"e"', "total": "9"}, False),
        ({"url": "u", "etag": '"e"', "validator": '"e"', "total": True}, False),
        ({"url": "u", "etag": None, "validator": "Tue, 1 Jan", "total": 9}, True),
        ({"url": "u", "etag": '"e"', "validator": None, "total": 9}, False),
        ({"url": "u", "etag": '"e"', "validator": ["e"], "total": 9}, False),
        ({"url": "u", "etag": 1, "validator": '"e"', "total": 9}, False),
        ({"url": "u", "validator": '"e"', "total": 9}, False),
        ({"url": "u", "etag": '"e"', "total": 9}, False),
        ([], False),
        ("deep", False),
        ("pipe", False),
    ],
)
def test_what_is_known_of_half_a_file(tmp_path, about, known):
    path, note = tmp_path / "a.part", tmp_path / "a.part-about"
    path.write_bytes(b"half")
    if about == "pipe":
        os.mkfifo(note)
    else:
        note.write_text("[" * 100_000 if about == "deep" else json.dumps(about))
    with open(path, "r+b") as handle:
        assert _Part(handle, path, "u").start == (4 if known else 0)
