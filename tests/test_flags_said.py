"""What the command line refuses, each in one line and in flags, before anything is read"""

import inspect
from importlib import import_module
from pkgutil import walk_packages

import pandas as pd
import pytest
from commands import failed

import natural_backdoors
from natural_backdoors import TableDataset, find_triggers
from natural_backdoors.base.checks import lookup
from natural_backdoors.base.errors import UserError
from natural_backdoors.base.settings import Settings
from natural_backdoors.cli.commands import main, make_parser
from natural_backdoors.defend.panel_file import EFFORTS, PanelSettings
from natural_backdoors.sets.class_sets import FINDERS
from natural_backdoors.sets.search import SearchSettings
from natural_backdoors.train.devices import checked_device


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    "A table in which a cap meets three animals, 20 images each, and has 5 more"
    rows = [(f"{name}{i}.jpg", name) for name in ("dog", "cat", "cow") for i in range(40)]
    rows += [(f"{name}{i}.jpg", "cap") for name in ("dog", "cat", "cow") for i in range(20)]
    file = tmp_path_factory.mktemp("labels") / "labels.csv"
    pd.DataFrame(rows, columns=["image", "label"]).to_csv(file, index=False)
    (file.parent / "sets.txt").write_text("cap: dog cat\n")
    return file


@pytest.fixture()
def here(labels, tmp_path, monkeypatch):
    "The working folder, where nothing is yet; and the flags of the dataset"
    monkeypatch.chdir(tmp_path)
    return ["--data", "table", "--dataset_root", labels]


def _sets_of_settings():
    "Every class of settings in the package"
    for module in walk_packages(natural_backdoors.__path__, "natural_backdoors."):
        if any(part in module.name for part in (".cli", "fiftyone", "huggingface", "_modidx")):
            continue
        for _, found in inspect.getmembers(import_module(module.name), inspect.isclass):
            if issubclass(found, Settings) and found is not Settings:
                yield found


def _known(rule) -> list:
    "What `one_of` was given: it is in the closure of the check; `or_none` is one rule more"
    inside = inspect.getclosurevars(rule.check).nonlocals
    while "known" not in inside and "rule" in inside:
        inside = inspect.getclosurevars(inside["rule"].check).nonlocals
    return list(inside.get("known", ()))


def test_every_word_that_a_setting_may_be():
    "Also those under which an empty value stands, as under the effort `paper`"
    looked = 0
    for cls in set(_sets_of_settings()):
        for name, about in cls.about().items():
            for word in _known(about.rule):
                assert about.rule.check(name, word) == word, (cls, name, word)
                looked += 1
    assert looked >= 20
    assert EFFORTS["paper"] == {}
    assert PanelSettings(effort="paper").effort == "paper"
    assert SearchSettings(subset="none").subset == "none"
    with pytest.raises(UserError, match="unknown effort 'papre'"):
        PanelSettings(effort="papre")
    assert lookup("effort", "paper", EFFORTS) == {}


COMMANDS = [
    ["train", "{}"],
    ["sweep", "{}", "--sets", "nowhere.txt"],
    ["screen", "{}"],
    ["label", "nowhere"],
    ["reproduce", "--experiment", "centrality", "--scale", "small"],
    ["defend", "nowhere"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there(capsys, monkeypatch, command, device):
    "Before anything is read: neither the dataset, nor the sets, nor the folder"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    table = ["--data", "table", "--dataset_root", "nowhere"]
    words = [part for word in command for part in (table if word == "{}" else [word])]
    said = failed(capsys, *words, "--device", device)
    assert f"--device {device}" in said and "nowhere" not in said
    assert ("no GPU can be used here" in said) == (device != "gpu")


def test_devices_of_python(monkeypatch):
    assert checked_device() is None and checked_device("cpu").type == "cpu"
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert checked_device("cuda:1").index == 1 and checked_device("cuda").type == "cuda"
    with pytest.raises(UserError, match="numbered up to 1"):
        checked_device("cuda:2")
    for wrong in ("meta", "gpu", object()):
        with pytest.raises(UserError, match="device="):
            checked_device(wrong)


@pytest.mark.parametrize("defenses", [["random"], ["random", "perfect"]])
def test_references_are_no_defenses(tmp_path, capsys, defenses):
    folder = tmp_path / "run" / "poisoned"
    folder.mkdir(parents=True)
    said = failed(capsys, "defend", tmp_path, "--defenses", *defenses)
    assert "no trained model" in said  # the folder first
    for name in ("split.json", "poisoned/model.json"):
        (tmp_path / "run" / name).write_text("{}")
    said = failed(capsys, "defend", tmp_path / "run", "--defenses", *defenses)
    assert " and ".join(defenses) in said and "beside the others" in said
    assert "--defenses ..." in said and "None" not in said


# command and flags -> what must be said
MISTAKES = [
    ("analyze {} --weights poison --subset_metric mis", ["--weights poison", "exact"]),
    ("analyze {} --num_runs_mis 3", ["--num_runs_mis 3 is for --subset_metric mis"]),
    ("analyze {} --time_limit 3 --subset_metric none", ["--time_limit 3 is for"]),
    ("train {} --max_classes 3 --subset_metric mis", ["--max_classes 3 is for"]),
    ("audit {} --num_runs_mis 3", ["--num_runs_mis 3 is for"]),
    ("screen {} --targets 0", ["--targets is a whole number from 1"]),
    ("screen {} --seeds 0", ["--seeds is a whole number from 1"]),
    ("screen {} --num_classes 1", ["--num_classes is a whole number from 2"]),
    ("screen {} --backbone nix", ["--backbone nix: no model there"]),
    ("sweep {} --sets {sets} --seeds 1 1", ["--seeds: 1 is given twice"]),
    ("sweep {} --sets {sets} --targets dog dog", ["--targets: dog is given twice"]),
    ("sweep {} --sets {sets} --targets first:9", ["--targets first:9", "the set has 2"]),
    ("sweep {} --sets {sets} --targets all dog", ["--targets all dog: `all` stands alone"]),
    ("sweep {} --sets {sets} --targets dog first:1", ["`first:1` stands alone"]),
    ("train {} --controls nix", ["unknown control 'nix'", "known: none, true_labels"]),
    ("screen {} --controls nix", ["unknown control 'nix'", "known: true_labels"]),
    ("export nowhere to", ["no such folder: nowhere"]),
    ("export . to", ["no split.json", "natural-backdoors train"]),
]


@pytest.mark.parametrize("words, parts", MISTAKES, ids=[words for words, _ in MISTAKES])
def test_mistakes_are_said_in_flags(here, labels, capsys, words, parts):
    argv = []
    for word in words.split():
        sets = labels.parent / "sets.txt"
        argv += here if word == "{}" else [sets] if word == "{sets}" else [word]
    said = failed(capsys, *argv)
    for part in parts:
        assert part in said


EXPORTS = [
    ("x.h5 --format parquet", ["x.h5", "--format hdf5", "--format parquet"]),
    ("x.parquet --format folders", ["--format parquet", "--format folders"]),
    ("x.csv", ["no format is a file .csv"]),
    ("x --size 0 --format art", ["--size is a whole number from 1"]),
    ("x --size 32 --option link=true", ["--option link=true", "--size"]),
]


@pytest.mark.parametrize("words, parts", EXPORTS, ids=[words for words, _ in EXPORTS])
def test_mistakes_in_export(tmp_path, capsys, words, parts):
    (tmp_path / "split.json").write_text("{}")  # it is not read so far
    said = failed(capsys, "export", tmp_path, *words.split())
    for part in parts:
        assert part in said


def test_a_file_for_the_usual_kind(labels, tmp_path, capsys):
    said = failed(capsys, "analyze", "--dataset_root", labels, "--data", "openimages")
    assert f"{labels} is a file" in said and "--data openimages takes a folder" in said
    coco = tmp_path / "instances.json"
    coco.write_text("{}")
    assert "(read as 'coco'; if" in failed(capsys, "analyze", "--dataset_root", coco)


def test_search_settings_written_by_hand(labels):
    "In Python too; settings as a whole are taken as they are"
    data = TableDataset(labels)
    for wrong in ({"n_draws": 3}, {"subset": "mis", "time_limit": 3.5}):
        with pytest.raises(UserError, match="changes nothing"):
            find_triggers(data, **wrong)
    settings = SearchSettings(n_draws=3)
    assert len(find_triggers(data, settings, min_overlaps=5))
    assert len(find_triggers(data, subset="mis", n_draws=3, min_overlaps=5))
    assert set(FINDERS) == {"exact", "mis", "none"}


def test_another_search_is_not_replaced_without_a_word(here, capsys):
    for flags, replaced in (([], False), ([], False), (["--min_poison", "21"], True), ([], True)):
        assert main([str(a) for a in ["analyze", *here, *flags]]) == 0
        assert ("replaced: possible_triggers" in capsys.readouterr().out) == replaced


def test_what_a_sweep_lacks_is_said_without_training(here, labels, capsys):
    sweep = ["sweep", *here, "--sets", labels.parent / "sets.txt", "--dry_run", "--sample_size"]
    assert main([str(a) for a in [*sweep, 10, "--controls", "none"]]) == 0
    said = capsys.readouterr().out
    assert said.startswith("1 run (1 set, 1 target, 1 model, 1 seed) into ")
    assert "1 run of 1 can be trained" in said
    assert main([str(a) for a in [*sweep, 4000]]) == 0
    said = capsys.readouterr().out
    assert "cannot be trained: too few images" in said and "lower --sample_size to " in said
    assert "0 runs of 2 can be trained" in said


def test_why_runs_of_a_sweep_failed(here, labels, tmp_path, capsys):
    "A line for each reason, and then one that says what to do"
    (tmp_path / "two.txt").write_text("cap: dog cat\ncap: dog cow\n")
    sweep = ["sweep", *here, "--sets", "two.txt", "--sample_size", "4000", "--controls", "none"]
    assert main([str(a) for a in sweep]) == 2
    said = capsys.readouterr()
    reasons = [line for line in said.out.splitlines() if line.startswith("failed: ")]
    assert len(reasons) == 2 and all("too few images" in line for line in reasons)
    assert said.err.count("\n") == 1 and "2 runs of 2 failed" in said.err
    assert "--retry_failed" not in said.err  # that is for what was begun


def test_runs_of_an_earlier_grid_are_told(here, labels, tmp_path, capsys, monkeypatch):
    "They stay in the folder, and are not in the table"
    from natural_backdoors.cli import sweeping
    from natural_backdoors.train import sweeps

    class Run:
        hash = "new"

    why = pd.DataFrame({"reason": ["no disk"]})
    done = sweeps.SweepResult(pd.DataFrame(), why, tmp_path, None)
    table = pd.DataFrame({"run": ["old", "older", "new"]})
    parts = sweeps.Finished(table=table, status={"m": "no disk"}, speeds=None)
    monkeypatch.setattr(sweeps, "read_parts", lambda folder: parts)
    with pytest.raises(UserError, match="1 run of 1 failed.*--retry_failed"):
        sweeping._tell(done, [Run()])
    said = capsys.readouterr().out
    assert "2 finished runs of an earlier grid" in said and "--exp_name" in said
    assert "\nfailed: no disk\n" in said


def test_help_says_what_holds(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "2000")

    def told(command):
        with pytest.raises(SystemExit):
            make_parser().parse_args([command, "--help"])
        return capsys.readouterr().out

    assert told("sweep").count("(default: 1234)") == 1
    audit, label = told("audit"), told("label")
    assert " DATASET [flags]" in audit.splitlines()[0] and "(default: openimages)" not in audit
    assert "FOLDER" in label.splitlines()[0] and "all runs" not in label
    for command in ("defend", "report", "export"):
        assert " folder" not in told(command).splitlines()[0]
    # scripts give all commands the same two folders
    for command, unused in (
        ("audit", 1),
        ("datasets", 2),
        ("train", 0),
        ("analyze", 1),
        ("pick", 1),
    ):
        text = " ".join(told(command).split())
        assert "--data_root PATH" in text and "--results_root PATH" in text
        assert text.count("this one writes nothing there") == unused, command
