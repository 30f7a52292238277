"Commands and pages as people use them: pipes, other letters, other flags, runs that were stopped"

import io
import json
import os
import sys
import warnings
from types import SimpleNamespace

import pandas as pd
import pytest

from natural_backdoors.base.errors import UserError
from natural_backdoors.cli import commands
from natural_backdoors.cli.commands import main
from natural_backdoors.report import study_page
from natural_backdoors.report.audit_page import _steps
from natural_backdoors.sets.search import SearchSettings


@pytest.fixture
def labels(tmp_path, monkeypatch):
    "A folder with labels.csv, whose names are in several scripts"
    monkeypatch.chdir(tmp_path)
    rows = [(f"{i}.jpg", name) for i in range(60) for name in (["Hund", "猫"][i % 2], "Hut")]
    pd.DataFrame(rows, columns=["image", "label"]).to_csv("labels.csv", index=False)
    return ["--data", "table", "--dataset_root", "labels.csv"]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_time_limit_has_one_rule(seconds):
    with pytest.raises(UserError, match="time_limit is a number above 0, not"):
        SearchSettings(time_limit=seconds)


@pytest.mark.parametrize(
    "command, said",
    [
        ("sweep", "a number is an id, and '7' in quotes a label"),
        ("sweep", "by label, name or id (id:7 where labels are numbers)"),
        ("train", "by label, name or id (id:7 where labels are numbers)"),
    ],
)
def test_the_help_says_what_a_number_means(command, said, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert said in " ".join(capsys.readouterr().out.split())


def test_output_that_nobody_reads_any_more(monkeypatch, capsys):
    "One line on stderr, and nothing more when the program ends"
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert main(["datasets"]) == 2
    said = capsys.readouterr().err
    assert said == "natural-backdoors: it stopped there: Broken pipe\n"


def test_output_that_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["datasets"]) == 0


def test_letters_that_the_output_has_not(labels, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["analyze", *labels, "--min_overlaps", "5"]) == 0
    assert r"\u732b" in out.buffer.getvalue().decode("latin-1")


def test_a_warning_is_said_once(monkeypatch, capsys):
    def warn(args):
        for _ in range(3):
            with warnings.catch_warnings():  # forgets what was said before
                warnings.simplefilter("always")
                warnings.warn("no such letter", stacklevel=1)
        warnings.warn("another", stacklevel=1)

    monkeypatch.setattr(commands, "run", warn)
    commands.main([])
    said = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in said] == ["no such letter", "another"]


@pytest.mark.parametrize("command", ["duplicates", "sweep", "export"])
def test_a_flag_of_another_command_is_named(command, labels, capsys):
    "And not what follows it, which is not the dataset"
    more = {"sweep": ["--sets", "sets.txt"], "export": ["run", "to"]}.get(command, [])
    where = [] if command == "export" else labels
    assert main([command, *where, *more, "--min_overlaps", "5"]) == 2
    assert "unrecognized arguments: --min_overlaps" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--by", "seed"]])
def test_a_sweep_that_was_stopped_before_its_table_was_written(tmp_path, more, capsys):
    (tmp_path / "runs.json").write_text("{}")
    assert main(["report", str(tmp_path), *more]) == 2
    said = capsys.readouterr().err
    assert "has no results.parquet" in said and "call the sweep or the screening again" in said


def test_copies_are_not_said_to_be_one_photograph_where_they_look_alike():
    empty = pd.DataFrame()
    copies = SimpleNamespace(disagreeing=pd.DataFrame({"group": [0, 0, 1, 1]}))
    tables = {"confusions": empty, "verify": empty, "review": empty}
    exposure = SimpleNamespace(attacks=[])
    steps = _steps(SimpleNamespace(tables=tables, duplicates=copies, exposure=exposure))
    (step,) = [step for step in steps if "copies" in step.title]
    assert "2 groups of images that are one photograph, or look like it" in step.text


def test_a_study_says_which_classes_a_set_has(tmp_path):
    rows = pd.DataFrame(
        {
            "run": ["a", "b", "c"],
            "class_set": ["22", "22", "11"],
            "target": ["/m/1", "/m/2", "/m/3"],
            "target_name": ["Cat", "Dog", "Cow & Calf"],
        }
    )
    assert study_page._class_sets(tmp_path, rows) == []  # the folder says nothing of them
    classes = {"a": ["/m/1", "/m/2"], "b": ["/m/1", "/m/2"], "c": ["/m/3", "/m/9"]}
    runs = {run: {"classes": c} for run, c in classes.items()}
    (tmp_path / "runs.json").write_text(json.dumps(runs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_page, "read_checked", lambda file, *_: json.loads(file.read_text()))
        found = study_page._class_sets(tmp_path, rows)
    assert found == [("11", "Cow & Calf, /m/9"), ("22", "Cat, Dog")]


def test_differences_that_do_not_scatter_have_no_interval():
    columns = {"control": "true_labels", "measure": "gain", "mean": 0.1, "runs": 2, "seeds": 2}
    table = pd.DataFrame([columns | {"low": 0.1, "high": 0.1}, columns | {"low": 0, "high": 0.2}])
    said = study_page._gaps(SimpleNamespace(differences=table, by=[]))["rows"]
    assert [row[3] for row in said] == ["all alike", "+0 to +20"]
