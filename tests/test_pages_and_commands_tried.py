"What pages say beside what they show, and commands with flags and folders that do not go together"

import contextlib
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from commands import failed
from PIL import Image

from natural_backdoors import TableDataset, UserError, audit, scene_labels
from natural_backdoors.cli import commands, screening
from natural_backdoors.cli.flags import in_flags
from natural_backdoors.cli.messages import as_flags_say
from natural_backdoors.cli.opening import Source
from natural_backdoors.report import screen_page
from natural_backdoors.report.audits import TABLES, save_tables
from natural_backdoors.sets.search import SearchSettings

PAGES = Path(__file__).parent.parent / "nbs"


def cells(page):
    return json.loads((PAGES / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]


def source(cell):
    return "".join(cell["source"])


def shown(cell):
    "The text of what a cell shows"
    said = []
    for out in cell.get("outputs", ()):
        data = out.get("data", {})
        said.append("".join(out.get("text", data.get("text/html", data.get("text/plain", "")))))
    return "\n".join(said)


def help_of(command, capsys):
    with contextlib.suppress(SystemExit):
        commands.main([command, "--help"])
    return " ".join(capsys.readouterr().out.split())


@pytest.fixture
def labels(tmp_path, monkeypatch):
    "A table of labels, in an empty folder in which one works"
    monkeypatch.chdir(tmp_path)
    rows = scene_labels(600)
    rows.assign(label=rows["name"])[["image", "label"]].to_csv("labels.csv", index=False)
    return ["--data", "table", "--dataset_root", "labels.csv"]


# Pages


def test_a_page_has_one_set_of_numbers():
    "Outputs that vary are of the run that the others are of"
    code = cells("tutorials/reading_the_results")
    table = next(shown(cell) for cell in code if "comparison_table(evaluation)" in source(cell))
    counted = next(shown(cell) for cell in code if 'print(f"clean accuracy: {' in source(cell))
    (clean,) = re.findall(r"clean accuracy: (\d+ of \d+)", counted)
    (attack,) = re.findall(r"attack success: (\d+ of \d+)", counted)
    assert f"; {clean})" in table and f"; {attack})" in table


def test_as_many_models_as_the_page_says():
    words = ("two", "three", "four", "five", "six")
    here = cells("explanations/metrics")
    said = next(w for c in here for w in re.findall(r"(\w+) models that are no net", source(c)))
    table = next(shown(cell) for cell in here if "measured.round(2)" in source(cell))
    assert words[table.count("<tr>") - 2] == said.lower()


def test_pages_show_the_pictures_that_they_draw():
    for folder in ("tutorials", "howto", "explanations"):
        for file in sorted((PAGES / folder).glob("*.ipynb")):
            for cell in cells(file.relative_to(PAGES).with_suffix("")):
                last = source(cell).rstrip().splitlines()[-1:]
                if cell["cell_type"] == "code" and last and last[0].startswith("draw_"):
                    assert not last[0].endswith(";"), f"{file.name}: {last[0]}"


def test_rows_of_the_first_table_are_named():
    "A table that got another last row is not spoken of by its last row"
    assert not any(
        "last row of the first table" in source(c) for c in cells("tutorials/reading_the_results")
    )


# The audit


def test_tables_of_an_earlier_audit_are_taken_away(tmp_path):
    rows = scene_labels(200)[["image", "name"]].set_axis(["image", "label"], axis=1)
    found = audit(TableDataset(rows), n_clean=10)
    (tmp_path / "duplicates.csv").write_text("of another audit")
    (tmp_path / "effects.parquet").write_bytes(b"of another audit")
    (tmp_path / "notes.txt").write_text("of a reader")
    files = save_tables(found, tmp_path)
    assert "duplicates" in TABLES and "effects" in TABLES
    assert sorted(tmp_path.iterdir()) == sorted([*files, tmp_path / "notes.txt"])


def test_the_help_of_audit_says_what_audit_does(capsys):
    said = help_of("audit", capsys)
    rows = scene_labels(1500)[["image", "name"]].set_axis(["image", "label"], axis=1)
    used = audit(TableDataset(rows), n_clean=20).exposure.found.settings
    for name in ("n_triggers", "min_classes"):
        about, value = SearchSettings.about()[name], getattr(used, name)
        assert f"{about.meaning} (default: {value})" in said
    assert used.min_clean == 20 and "trigger (default: that of --sample_size)" in said
    assert used.min_overlaps == used.min_poison < SearchSettings().min_overlaps


@pytest.mark.parametrize(
    "command, default",
    [("screen", "chosen for each trigger"), ("pick", "250, or less where there are too few")],
)
def test_the_help_says_how_many_clean_images_are_taken(command, default, capsys):
    assert f"all parts together (default: {default})" in help_of(command, capsys)
    assert "all parts together (default: 250)" in help_of("train", capsys)


# Mistakes


def test_a_class_that_is_not_there_leaves_nothing_behind(labels, capsys):
    said = failed(capsys, "analyze", *labels, "-t", "Umbrella", "--explain", "Nope")
    assert "unknown class 'Nope'" in said and not Path("data").exists()


def test_too_many_disjoint_triggers_are_told_in_flags(labels, capsys):
    said = failed(capsys, "analyze", *labels, "--disjoint", "99")
    assert "lower --disjoint or raise --num_trigs_desired" in said and "max_shared" not in said


def test_another_name_does_not_make_a_folder_writable():
    cannot = "cannot write into the folder 'x/y' (Not a directory); choose another folder"
    for place in ("--exp_name", "--results_root"):
        with pytest.raises(UserError, match="choose another --results_root"), in_flags(place):
            raise UserError(cannot)
    with pytest.raises(UserError, match="choose another --exp_name"), in_flags("--exp_name"):
        raise UserError("x holds another run; choose another folder")


def test_a_demo_says_which_folder_cannot_be_written(labels, capsys):
    assert "choose another --data_root" in failed(capsys, "demo", "--data_root", "labels.csv")


@pytest.mark.parametrize("flag", ["--seeds", "--split_seed"])
def test_a_wrong_seed_is_told_with_its_flag(flag, labels, capsys):
    Path("sets.txt").write_text("Umbrella: Cat Car\n")
    said = failed(capsys, "sweep", *labels, "--sets", "sets.txt", flag, "-1", "--dry_run")
    assert f"{flag} is a whole number" in said


def test_an_option_given_twice(labels, capsys):
    said = failed(capsys, "analyze", *labels, "--option", "sep=,", "--option", "sep=;")
    assert "--option sep=... is given twice" in said


def test_options_that_are_files_are_found_from_elsewhere(labels):
    Path("names.txt").write_text("Cat\n")
    source = Source("yolo", "labels.csv", {"classes_file": "names.txt", "pose": False})
    options = source.to_dict()["options"]
    assert options == {"classes_file": str(Path("names.txt").resolve()), "pose": False}


def test_an_axis_given_twice(tmp_path, capsys):
    said = failed(capsys, "report", tmp_path, "--by", "target", "target")
    assert "--by: target is given twice" in said


def test_what_is_left_out_is_a_flag():
    assert as_flags_say("leave compat out") == "leave --compat out"
    assert as_flags_say("leave --size out, or leave it out") == "leave --size out, or leave it out"


def test_of_a_file_that_is_renamed_the_name_that_people_know_is_told(monkeypatch, capsys):
    def broken(argv):
        raise IsADirectoryError(21, "Is a directory", ".report.part-x.html", None, "report.html")

    monkeypatch.setattr(commands, "run", broken)
    assert failed(capsys, "report", ".") == "natural-backdoors: report.html: Is a directory\n"


def test_answers_that_are_not_there_are_told_before_images_are_looked_at(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.new("RGB", (8, 8)).save("photos/1.png")
    Path("mine.py").write_text("def find(images): raise OSError\nfind.labels = ['a']\n")
    said = failed(
        capsys, "label", "photos", "--detector", "mine.py:find", "--verified", "nothing.csv"
    )
    assert "no such file: nothing.csv" in said and not Path("results").exists()


def test_quick_and_a_long_search_do_not_go_together(tmp_path, capsys):
    said = failed(capsys, "defend", tmp_path, "--quick", "--effort", "paper")
    assert "leave one of them out" in said
    said = failed(capsys, "defend", tmp_path, "--quick", "--effort", "quick")
    assert "leave one of them out" not in said


def test_what_a_screening_leaves_out_is_told_in_flags(tmp_path, monkeypatch, capsys):
    class Done(str):
        effects, notes, predictors = [1], ["n_clean was chosen"], None
        left_out = pd.DataFrame(
            {"name": ["Hat"], "reason": ["too few (min_clean) < min_classes=2"]}
        )

    monkeypatch.setattr(screen_page, "write_screening", lambda *args: tmp_path)
    monkeypatch.setattr(screen_page, "centrality_says", str)
    screening._report(Done("done"), tmp_path, "x")
    said = capsys.readouterr().out
    assert "- --sample_size was chosen" in said
    assert "- left out: Hat: too few (--min_clean) < --min_classes 2" in said
