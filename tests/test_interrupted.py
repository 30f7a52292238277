"""Commands that are killed while they write: nothing is half-written under its final name, and the
same command again ends with what an uninterrupted one gives"""

import json
import os
import shutil
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("fcntl", reason="no locks of files on this system")

from drill import SWEEP, WORDS, make_pictures

from natural_backdoors.base.files import read_json, read_table
from natural_backdoors.base.locks import LOCK, hold
from natural_backdoors.base.random import rng
from natural_backdoors.cli.commands import main
from natural_backdoors.train.models import load_model


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    return make_pictures(tmp_path_factory.mktemp("pictures"))


def command(labels, out, *more):
    places = ["--data_root", str(out / "data"), "--results_root", str(out / "results")]
    return ["train", "--data", "table", "--dataset_root", str(labels), *places, *WORDS, *more]


def folder_of(out):
    return next(path for path in (out / "results").rglob("test_trig*") if path.is_dir())


# One process makes a copy of itself for each command, which kills itself when
# it gives a file its final name for the n-th time: before that, or after it
DRIVER = """
import json, os, signal, sys
import torch
import natural_backdoors.train.sweeps, natural_backdoors.report.report
from natural_backdoors.cli.commands import main
torch.set_num_threads(1)
replace, seen = os.replace, [0]
def dying(n, before, how):
    def put(old, new):
        seen[0] += 1
        if seen[0] == n and before:
            os.kill(os.getpid(), how)
        replace(old, new)
        if seen[0] == n:
            os.kill(os.getpid(), how)
    return put
ended = []
for argv, n, before, how in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        os.replace = dying(n, before, how)
        os.dup2(2, 1)
        os._exit(main(argv))
    ended.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(ended))
"""


def killed(forks, drills):
    "How the processes ended"
    done = forks.run(DRIVER, json.dumps(drills))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_whole(out):
    "Every file that has its final name can be read to its end"
    for path in (p for p in out.rglob("*") if p.is_file() and p.name[0] != "."):
        if path.suffix == ".json":
            read_json(path)
        if path.suffix == ".parquet":
            read_table(path)
        if path.name == "model.json":
            load_model(path.parent)


def assert_same(a, b, sweep):
    "The results of two commands"
    if sweep:
        first, second = (read_table(folder / "results.parquet") for folder in (a, b))
        pd.testing.assert_frame_equal(first, second, check_exact=False, rtol=1e-6)
        return
    names = {p.relative_to(a) for p in a.rglob("*") if p.is_file()}
    assert names == {p.relative_to(b) for p in b.rglob("*") if p.is_file()}
    for name in ("model.safetensors", "log.csv"):
        for model in ("poisoned", "true_labels"):
            assert (a / model / name).read_bytes() == (b / model / name).read_bytes()
    assert read_json(a / "evaluation.json") == read_json(b / "evaluation.json")


# Ctrl-C stops the one of `stopped`
KILLS = [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM]


@pytest.fixture(scope="module")
def drills(forks, labels, tmp_path_factory):
    "Where each of some killed commands wrote, and how it ended"
    random, made = rng(7), []
    for i, how in enumerate(KILLS):
        sweep = i >= 2
        out = tmp_path_factory.mktemp("killed")
        # a training gives 25 files their names, a sweep 9
        n, before = int(random.integers(*((3, 9) if sweep else (4, 22)))), bool(i % 2)
        made.append((command(labels, out, *SWEEP * sweep), n, before, int(how)))
    # the last one is interrupted between two epochs
    out = tmp_path_factory.mktemp("stopped")
    made.append((command(labels, out), 13, False, int(signal.SIGINT)))
    return list(zip(made, killed(forks, made)))


@pytest.fixture(scope="module")
def whole(labels, tmp_path_factory):
    "A training and a sweep that nothing happened to"
    outs = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("whole_sweep")
    assert main(command(labels, outs[0])) == main(command(labels, outs[1], *SWEEP)) == 0
    return outs


@pytest.mark.parametrize("i", range(len(KILLS)))
def test_killed_and_done_again(drills, whole, i, capsys):
    (argv, _, _, how), ended = drills[i]
    assert ended == -how
    out, sweep = Path(argv[argv.index("--data_root") + 1]).parent, "none" in argv
    assert_whole(out)
    assert main(argv) == 0
    assert_same(folder_of(whole[sweep]), folder_of(out), sweep)
    assert not list((out / "results").rglob(".*")), "what was half-written is gone"


@pytest.fixture
def stopped(drills):
    "Where a training was interrupted between two epochs"
    (argv, *_), ended = drills[-1]
    assert ended == 130
    return Path(argv[argv.index("--data_root") + 1]).parent


def checkpoint_of(out):
    return folder_of(out) / "poisoned" / "checkpoint" / "checkpoint.json"


def test_the_same_command_goes_on(labels, stopped, whole, capsys):
    "It says after which epoch; other settings are refused and cost nothing; --fresh starts anew"
    assert_whole(stopped)
    epochs = read_json(checkpoint_of(stopped))["epochs_done"]
    before = checkpoint_of(stopped).read_bytes()
    assert main(command(labels, stopped, "--lr", "0.5")) == 2
    said = capsys.readouterr().err
    assert "holds another run that was interrupted (recipe.lr: 0.001)" in said, said
    assert "--exp_name" in said and "--fresh" in said
    assert checkpoint_of(stopped).read_bytes() == before
    shutil.copytree(stopped, stopped / "copy")
    assert main(command(labels, stopped)) == 0
    assert f"the poisoned model, which has seen {epochs} of 3 epochs" in capsys.readouterr().out
    assert_same(folder_of(whole[0]), folder_of(stopped), False)
    assert not list((stopped / "results").rglob(".*")), "what was half-written is gone"
    assert main(command(labels, stopped)) == 0
    assert "the true_labels model is there already, after 3 epochs" in capsys.readouterr().out
    assert_same(folder_of(whole[0]), folder_of(stopped), False)
    assert (
        main(command(labels, stopped / "copy", "--fresh", "--lr", "0.5", "--controls", "none")) == 0
    )
    assert "has seen" not in capsys.readouterr().out
    run = folder_of(stopped / "copy")
    assert load_model(run / "poisoned")[1]["recipe"]["lr"] == 0.5
    assert not list(run.rglob("checkpoint*"))


@pytest.mark.parametrize("more", [[], SWEEP], ids=["train", "sweep"])
def test_who_comes_second_is_told(labels, whole, capsys, more):
    "While somebody writes there, a command changes nothing, whatever its settings"
    out = whole[bool(more)]
    folder = folder_of(out)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with held_by_another(folder) as who:
        assert main(command(labels, out, *more, "--lr", "0.7")) == 2
        after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != LOCK}
    said = capsys.readouterr().err
    assert who in said and "natural-backdoors train --lr 3" in said and "--exp_name" in said
    assert after == before


@contextmanager
def held_by_another(folder):
    "Another thread writes into a folder meanwhile; yields what others are told"
    free, held = threading.Event(), threading.Event()

    def write():
        with hold(folder, "natural-backdoors train --lr 3"):
            held.set()
            free.wait(60)

    writer = threading.Thread(target=write)
    writer.start()
    held.wait(60)
    try:
        yield f"{folder} is being written by process {os.getpid()} on"
    finally:
        free.set()
        writer.join()


OTHERS = {
    "duplicates": ("labels/duplicates", "--data table --dataset_root {labels} --results_root"),
    "reproduce": (
        "reproduce/scenes/centrality",
        "--experiment centrality --scale small --results_root",
    ),
    "analyze": ("labels", "--data table --dataset_root {labels} --min_overlaps 1 --data_root"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_commands_that_come_second(labels, tmp_path, capsys, monkeypatch, name):
    "They say who is there, and which flag names another place, before they do any work"
    monkeypatch.setattr("natural_backdoors.cli.analysis.SOON", 0)
    folder, words = OTHERS[name]
    flag = words.split()[-1]
    with held_by_another(tmp_path / folder) as who:
        assert main([name, *words.format(labels=labels).split(), str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert who in said and f"choose another {flag}" in said
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_changed_picture_is_another_run(labels, tmp_path, capsys):
    "A finished run is not taken for one of other pictures, and is left as it is"
    photos = tmp_path / "photos"
    shutil.copytree(labels.parent, photos)
    argv = command(photos / labels.name, tmp_path, "--controls", "none", "--epochs", "1")
    assert main(argv) == 0
    folder = folder_of(tmp_path)
    before = {p: p.read_bytes() for p in folder.rglob("*.*") if p.is_file()}
    for path in photos.glob("ant*.png"):
        Image.fromarray(np.zeros((32, 32, 3), np.uint8) + int(path.stem[3:])).save(path)
    assert main(argv) == 2
    assert "pictures" in (said := capsys.readouterr().err) and "with --fresh" in said
    model = "poisoned/model.safetensors", "poisoned/model.json", "evaluation.json", "split.json"
    assert all((folder / name).read_bytes() == before[folder / name] for name in model)
    assert main([*argv, "--fresh"]) == 0
    assert (folder / model[0]).read_bytes() != before[folder / model[0]]
