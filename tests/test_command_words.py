"""What the command line says: in flags, in groups, and of the data that somebody has"""

import os
import re
import sys

import pandas as pd
import pytest
from commands import failed

from natural_backdoors import TableDataset, find_triggers
from natural_backdoors.cli.commands import COMMANDS, main, make_parser
from natural_backdoors.cli.messages import as_flags_say
from natural_backdoors.data.datasets import available, name_of_place
from natural_backdoors.data.kinds import manager_options
from natural_backdoors.sets.search import SearchSettings
from natural_backdoors.sets.triggers import search_triggers
from natural_backdoors.split.plan import n_poison_for
from natural_backdoors.split.settings import SplitSettings
from natural_backdoors.train.recipe import Recipe


def labels_of(pairs, repeat=20, column="image"):
    "A table in which each of `pairs` of labels is in `repeat` images, and each label in as many"
    rows = [(f"{a}{b}{i}", label) for a, b in pairs for i in range(repeat) for label in (a, b)]
    single = {label for pair in pairs for label in pair}
    rows += [(f"only {label}{i}", label) for label in sorted(single) for i in range(repeat)]
    return pd.DataFrame(rows, columns=[column, "label"])


CAPS = [("cap", "dog"), ("cap", "cat"), ("cap", "cow")]
SHOES = [("shoe", "dog"), ("shoe", "cat")]


def test_every_setting_is_said_as_its_flag():
    "As written, and alone where no English word is spelled like it; a flag stays a flag"
    for cls in (SearchSettings, SplitSettings, Recipe):
        for name, about in cls.about().items():
            if about.flag is None:
                continue
            value = "True" if about.rule.parse is None else "7"
            said = as_flags_say(f"say {name}={value}, then")
            assert said in (f"say --{about.flag}, then", f"say --{about.flag} 7, then")
            assert as_flags_say(said) == said
            if "_" in name:
                assert as_flags_say(f"lower {name} or") == f"lower --{about.flag} or"
                for other in (f"/data/{name}.csv", f"'{name}'", f"my_{name}"):
                    assert as_flags_say(other) == other


def test_options_come_first_while_a_dataset_is_read(tmp_path, capsys):
    labels_of(CAPS, column="filename").to_csv(tmp_path / "labels.csv", index=False)
    where = ["--data", "table", "--dataset_root", tmp_path / "labels.csv", "--data_root", tmp_path]
    assert "--option image=" in failed(capsys, "analyze", *where)
    where += ["--option", "image=filename"]
    assert "--option split=none" in failed(capsys, "analyze", *where, "--option", "split=fold")
    assert main([str(a) for a in ["analyze", *where]]) == 0


def test_a_warning_speaks_of_flags(tmp_path, capsys, monkeypatch):
    def warns(args):
        import warnings

        warnings.warn("lower n_clean, or say skip_unreadable=True, or image='file'", stacklevel=1)

    monkeypatch.setitem(COMMANDS, warns, lambda parser: None)
    assert main(["warns"]) == 0
    said = capsys.readouterr().err
    assert "lower --sample_size" in said and "--option image=file" in said


def test_what_a_small_dataset_has_images_for(tmp_path, capsys):
    "The size that is named can be trained with, and one more cannot"
    file = tmp_path / "labels.csv"
    labels_of(CAPS, 40).to_csv(file, index=False)
    places = ["--data_root", tmp_path / "data", "--results_root", tmp_path / "results"]
    train = ["train", "--data", "table", "--dataset_root", file, *places]
    for more in ([], ["-t", "cap"]):
        said = failed(capsys, *train, *more)
        assert "--sample_size 250 (the default)" in said and "min_c" not in said
    size = int(re.search(r"--sample_size (\d+) has", said)[1])
    assert size == 40
    assert f"--sample_size {size} has 3" in failed(capsys, *train, "--sample_size", size + 1)
    for n, n_found in ((size, 1), (size + 1, 0)):
        least = {"min_clean": n, "min_poison": n_poison_for(n, 0.185), "min_classes": 2}
        assert len(search_triggers(TableDataset(file), **least)) == n_found


def test_an_empty_search_says_why(tmp_path):
    table = labels_of(CAPS)
    with pytest.warns(UserWarning, match=r"min_clean=99.*'cap'|the most are 0"):
        found = find_triggers(TableDataset(table), min_clean=99)
    assert not len(found) and found.why_none in repr(found) and "lower min_" in repr(found)
    assert "min_clean=99" in found._repr_html_()
    assert find_triggers(TableDataset(table)).why_none == ""
    with pytest.warns(UserWarning, match="exclude"):
        find_triggers(TableDataset(table), exclude=["cap", "dog", "cat", "cow"])


def test_datasets_of_one_kind_do_not_meet(tmp_path, capsys, monkeypatch):
    "Names are those of files and folders; of two with one name the second is refused"
    monkeypatch.chdir(tmp_path)
    for folder, pairs in {"a": CAPS, "b": SHOES}.items():
        (tmp_path / folder).mkdir()
        labels_of(pairs).to_csv(f"{folder}/labels.csv", index=False)
        labels_of(pairs).to_csv(f"{folder}.csv.gz", index=False)

    def analyze(file, *more):
        return ["analyze", "--data", "table", "--dataset_root", file, *more]

    assert main(analyze("a.csv.gz")) == main(analyze("b.csv.gz")) == 0
    assert main(analyze("a/labels.csv")) == 0
    written = {p: p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()}
    assert {p.parent.name for p in written} == {"a", "b", "labels"}
    assert "--name" in failed(capsys, *analyze("b/labels.csv"))
    assert written == {p: p.read_bytes() for p in (tmp_path / "data").rglob("*") if p.is_file()}
    assert main(analyze("b/labels.csv", "--name", "shoes")) == 0
    # the same data elsewhere, and corrected data in their place, are the same dataset
    (tmp_path / "a").rename("moved")
    assert main(analyze("moved/labels.csv")) == 0
    labels_of(SHOES).to_csv("moved/labels.csv", index=False)
    assert main(analyze("moved/labels.csv")) == 0


@pytest.mark.parametrize(
    "place, name",
    [
        ("/photos/labels.csv.gz", "labels"),
        ("VOC2007", "VOC2007"),
        ("s3://bucket/tags/part-*.parquet", "tags"),
        ("/data/tags/20[0-9]*/*.csv", "tags"),
        ("/", ""),
    ],
)
def test_names_of_places(place, name):
    assert name_of_place(place) == name


def test_the_other_name_of_min_overlaps(tmp_path, capsys):
    labels_of(CAPS, 12).to_csv(tmp_path / "caps.csv", index=False)
    command = ["analyze", "--data", "table", "--dataset_root", str(tmp_path / "caps.csv")]
    command += ["--data_root", str(tmp_path), "--min_overlaps_with_trig", "12"]
    assert main(command) == 0 and "at least 12 images" in capsys.readouterr().out
    assert main([*command, "--min_overlaps", "12"]) == 0
    assert "with_trig 12; give one" in failed(capsys, *command, "--min_overlaps", "9")
    assert main([*command, "--min_overlaps_with_trig", "9"]) == 0  # the last of two, as ever


def test_flags_of_the_original_code_are_told(capsys):
    assert "--device" in failed(capsys, "train", "--gpus", "0")
    first = ["--dataset_root", "x", "--data", "openimages"]
    assert "natural-backdoors analyze" in failed(capsys, *first)
    assert "natural-backdoors train" in failed(capsys, *first, "-t", "416", "-c", "65", "77")


def test_help_without_words_and_the_version(capsys):
    assert main([]) == 0 and "analyze" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0 and re.search(r"\d+\.\d+", capsys.readouterr().out)


@pytest.mark.parametrize("name", [function.__name__ for function in COMMANDS])
def test_flags_stand_in_groups(name, monkeypatch):
    "Only --help and what has no topic is left outside; nothing names a wrong default"
    monkeypatch.setenv("COLUMNS", "80")
    (commands,) = make_parser()._subparsers._group_actions
    parser = commands.choices[name]
    outside = [a for a in parser._optionals._group_actions if a.option_strings]
    assert len(outside) <= 3, [a.option_strings for a in outside]
    text = parser.format_help()
    assert max(map(len, text.splitlines())) <= 80 and len(parser.format_usage().splitlines()) <= 2
    assert "None:" not in text and "('" not in text and "['" not in text


def test_every_kind_is_told(capsys):
    "All options with their defaults, and an example, in 80 columns"
    assert main(["datasets"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in available())
    assert max(map(len, listed.splitlines())) < 80
    from natural_backdoors.data.datasets import manager_class

    for name in available():
        assert main(["datasets", "--data", name]) == 0
        said = capsys.readouterr().out
        options = manager_options(manager_class(name))
        assert all(f"--option {option}=" in said for option in options)
        example = said.split("example:")[1]
        assert "--dataset_root" in example
        assert {word.partition("=")[0] for word in re.findall(r"--option (\S+)", example)} <= {
            *options
        }


def test_what_comes_next_can_be_typed(tmp_path, monkeypatch):
    "The program as it was called, if that was by a path; else as the working folder finds it"
    from natural_backdoors.cli import commands

    monkeypatch.chdir(tmp_path)
    beside = tmp_path / ".venv" / "bin" / "natural-backdoors"
    beside.parent.mkdir(parents=True)
    beside.write_text("#!/bin/sh\n")
    beside.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(beside.parent / "python"))
    monkeypatch.setattr(sys, "argv", [".venv/bin/natural-backdoors", "demo"])
    monkeypatch.setenv("PATH", str(beside.parent))  # as in a target of make
    assert commands.program_here() == ".venv/bin/natural-backdoors"
    monkeypatch.setattr(sys, "argv", [str(beside), "demo"])
    assert commands.program_here() == "natural-backdoors"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commands.program_here() == os.path.join(".venv", "bin", "natural-backdoors")
    for words in commands.NEXT.values():
        make_parser().parse_args(words.split())
