"""Files that are written and read back: they are read, or one line tells what is wrong

`make fuzz` runs the properties longer: NB_FUZZ is the number of examples of each."""

import csv
import json
import os
import unicodedata

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzzing import changed, few
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import path_name, read_json, write_csv, write_json
from natural_backdoors.base.schemas import STORED, checked, read_log
from natural_backdoors.data.table import TableDataset
from natural_backdoors.report import sections
from natural_backdoors.report.example import example_run
from natural_backdoors.report.run import attacks_of, read_run, warnings_of
from natural_backdoors.sets.search import SearchSettings
from natural_backdoors.sets.triggers import load_triggers
from natural_backdoors.split.exclusions import load_exclusions, save_exclusions
from natural_backdoors.split.export import export_split, load_export
from natural_backdoors.split.poison import PoisonSplit, poison_split
from natural_backdoors.split.selection import Selection
from natural_backdoors.split.settings import SplitSettings


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "A run folder with an export, a selection and exclusions, as they are written"
    folder = tmp_path_factory.mktemp("stored") / "run"
    example_run(folder, {"Umbrella": "Cat", "Hat": "Car"})
    split = PoisonSplit.load(folder)
    export_split(split, folder / "export", size=16)
    record = lambda i, label: {"id": i, "label": label, "name": label.title()}
    classes = [record(i, label) for i, label in enumerate(["cat", "car"])]
    chosen = Selection(
        "scenes",
        trigger=record(9, "hat"),
        classes=classes,
        target=classes[0],
        settings=SplitSettings(without=("c.jpg",)),
        search=SearchSettings(exclude=("people",)),
        marks={"a.jpg": "not_trigger"},
        source={"data": "coco", "dataset_root": "/data", "options": {}, "name": None},
    )
    chosen.save(folder / "selection.json")
    save_exclusions(folder / "exclusions.json", chosen)
    return folder


@pytest.fixture(scope="module")
def stored(whole):
    "file -> its bytes"
    files = [p for p in whole.rglob("*") if p.suffix in (".json", ".parquet", ".csv")]
    return {file: file.read_bytes() for file in files}


@pytest.fixture
def run(whole, stored):
    "The folder, whose files are put back afterwards"
    yield whole
    for file, data in stored.items():
        if file.read_bytes() != data:
            file.write_bytes(data)


def whole_report(folder):
    "What a report reads, and each section of it, but for the drawing of pictures"
    found = read_run(folder)
    attacks = attacks_of(found.header, found.evaluation)
    warnings_of(found)
    for name, part in sections.SECTIONS.items():
        part.values(found, attacks, **({"n": 0} if name == "gallery" else {}))


READERS = {
    "split.json": whole_report,
    "triggers.json": whole_report,
    "neighborhood.json": whole_report,
    "evaluation.json": whole_report,
    "run.json": whole_report,
    "poisoned/model.json": whole_report,
    "export/export.json": lambda folder: load_export(folder / "export"),
    "selection.json": lambda folder: Selection.load(folder / "selection.json").arguments(),
    "exclusions.json": lambda folder: load_exclusions(folder / "exclusions.json"),
}


@pytest.mark.parametrize("name", list(READERS))
def test_a_changed_file_is_read_or_refused_in_one_line(run, monkeypatch, name):
    monkeypatch.setattr(sections, "plot", lambda figure, alt: {"src": "", "alt": alt})
    original, outcomes = json.loads((run / name).read_text()), {"read": 0, "refused": 0}

    @few(8 if READERS[name] is whole_report else 40)
    @given(st.data())
    def fuzz(data):
        (run / name).write_text(json.dumps(changed(data.draw, original)))
        try:
            READERS[name](run)
            outcomes["read"] += 1
        except UserError as e:
            assert "\n" not in str(e)
            outcomes["refused"] += 1

    fuzz()
    assert outcomes["refused"], outcomes
    (run / name).write_text(json.dumps(original))
    READERS[name](run)


@pytest.mark.parametrize("name", list(READERS))
@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        "9" * 5000,
        "NaN",
        "1e999",
        r'{"a": "\ud800"}',
        "[]",
        "{}",
        "3",
        '"x"',
    ],
    ids=["empty", "cut", "deep", "long", "nan", "large", "half", "list", "table", "number", "text"],
)
def test_something_else_in_its_place(run, name, text):
    (run / name).write_text(text)
    if (name, text) in (("triggers.json", "[]"), ("neighborhood.json", "[]")):
        return READERS[name](run)
    if (name, text) in (("run.json", "{}"), ("poisoned/model.json", "{}")):
        return READERS[name](run)
    with pytest.raises(UserError) as e:
        READERS[name](run)
    assert name.rpartition("/")[2] in str(e.value) and "\n" not in str(e.value)


MEASURED = ("models", "true_labels", "attacks", 0)


def replaced(name, *at):
    "A case: file, way to a field, and what stands there now"
    *at, value = at
    return pytest.param(name, at, value, id=f"{name} {'.'.join(map(str, at))}={value!r:.20}")


@pytest.mark.parametrize(
    "name, at, value",
    [
        replaced("split.json", "attacks", 0, "trigger", "label", ["a"]),
        replaced("split.json", "classes", 0, "label", {"a": 1}),
        replaced("split.json", "injection_rate", 7),
        replaced("split.json", "counts", 0, "clean_train", -1),
        replaced("split.json", "settings", "n_clean", "many"),
        replaced("split.json", "settings", "check_images", "False"),
        replaced("split.json", "settings", "without", "/etc/passwd"),
        replaced("split.json", "attacks", 0, "target", "label", "nobody"),
        replaced("split.json", "attacks", []),
        replaced("triggers.json", 0, "classes", 0, "weight", "3"),
        replaced("triggers.json", 0, "centrality", True),
        replaced("neighborhood.json", 0, "edges", 0, "source", 10**6),
        replaced("neighborhood.json", 0, "nodes", 0, "role", "king"),
        replaced("evaluation.json", "models", "poisoned", "clean_accuracy", "value", 1.5),
        replaced("evaluation.json", "models", "poisoned", "clean_accuracy", "hits", 10**6),
        replaced("evaluation.json", "models", "poisoned", "clean_accuracy", "value", 0.01),
        replaced("evaluation.json", *MEASURED, "attack_success", "low", 1),
        replaced("evaluation.json", "models", "poisoned", "per_class", 0, "label", "nobody"),
        replaced("selection.json", "search", "weighted", "False"),
        replaced("selection.json", "settings", "without", "/etc/passwd"),
        replaced("selection.json", "dataset", 3),
        replaced("selection.json", "marks", []),
        replaced("selection.json", "source", "options", "x"),
        replaced("run.json", "parameters", 3),
        replaced("poisoned/model.json", "std", [0.2, 0, 0.2]),
        replaced("poisoned/model.json", "mean", [0.2, 0.2]),
        replaced("poisoned/model.json", "mean", [0.2, "0.2", 0.2]),
        replaced("poisoned/model.json", "mean", [0.2, True, 0.2]),
        replaced("poisoned/model.json", "std", [0.2, -0.2, 0.2]),
        replaced("poisoned/model.json", "std", [0.2, 1e300, 0.2]),
        replaced("poisoned/model.json", "std", 0.2),
        replaced("poisoned/model.json", "size", 0),
        replaced("poisoned/model.json", "size", "64"),
        replaced("poisoned/model.json", "size", 10**9),
        replaced("poisoned/model.json", "threads", -1),
        replaced("export/export.json", "images", "8"),
    ],
)
def test_the_message_names_file_and_field(run, name, at, value):
    content = json.loads((run / name).read_text())
    parent = content
    for key in at[:-1]:
        parent = parent[key]
    parent[at[-1]] = value
    (run / name).write_text(json.dumps(content))
    with pytest.raises(UserError) as e:
        READERS[name](run)
    said = str(e.value)
    field = [key for key in at if isinstance(key, str)]
    assert name.rpartition("/")[2] in said and "\n" not in said
    assert any(key in said for key in field[-2:]) or "nodes" in said, said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("field", ["mean", "std"])
def test_numbers_that_are_none_in_a_model(run, field, value):
    content = json.loads((run / "poisoned/model.json").read_text()) | {field: [0.2, value, 0.2]}
    (run / "poisoned/model.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="model.json holds .*, which JSON has no number for"):
        read_run(run)


def test_every_file_that_is_written_fits_its_schema(whole):
    files = {s.file: s.schema for s in STORED}
    for path in [*whole.rglob("*.json")]:
        if path.name != "export.json" or path.parent.name == "export":
            checked(read_json(path), files[path.name], path)
    assert read_log(whole / "poisoned" / "log.csv").equals(
        pd.read_csv(whole / "poisoned" / "log.csv")
    )


TABLES = {
    "split.parquet": ["image", "path", "true_label", "train_label", "role", "part", "trigger"],
    "poisoned/rows.parquet": ["true_label", "role", "predicted", "p_true", "p_target"],
}


@pytest.mark.parametrize("name, column", [(n, c) for n, cs in TABLES.items() for c in cs])
@pytest.mark.parametrize("value", [None, 7, "nobody"])
def test_a_table_with_another_value(run, name, column, value):
    table = pd.read_parquet(run / name)
    if column in ("image", "path") and value == "nobody":
        return
    if column in ("p_true", "p_target"):
        table[column] = [np.nan if value is None else 7.0] * len(table)
    else:
        table[column] = [value] * len(table)
    table.to_parquet(run / name)
    with pytest.raises(UserError, match=rf"{name.rpartition('/')[2]}.*{column}"):
        whole_report(run)


LOG = "epoch,train_clean_acc,train_trig_acc,test_clean_acc,test_trig_acc\n"


@pytest.mark.parametrize(
    "row",
    ["0,1,1,1", "0,1,1,1,1,1", "x,1,1,1,1", "-1,1,1,1,1", "0,2,1,1,1", "0,nan,1,1,1", "0,1,inf,1,1"]
    + [f"0,1,1,1,{'9' * 10**6}", "0,1,1,1,1e999", "1e300,1,1,1,1", "0,1,1,1,=1+1", "0.5,1,1,1,1"],
)
def test_a_log_with_a_mistake_is_refused_at_once(run, row):
    (run / "poisoned" / "log.csv").write_text(f"{LOG}0,1,1,1,1\n{row}\n")
    with pytest.raises(UserError, match="log.csv") as e:
        read_run(run)
    assert len(str(e.value)) < 500


def test_a_log_is_what_pandas_reads(tmp_path):
    (tmp_path / "log.csv").write_text(f"{LOG}0,0.25,,1,0.5\n1,1e-3,0,1,\n")
    assert read_log(tmp_path / "log.csv").equals(pd.read_csv(tmp_path / "log.csv"))


@few(300)
@given(st.text(max_size=150) | st.sampled_from(["..", ".", "", "a/b", "nul.txt", "x" * 300]))
def test_a_name_is_one_part_of_a_path(name):
    part = path_name(name)
    assert part and "/" not in part and "\\" not in part and part not in (".", "..")
    assert os.path.dirname(os.path.normpath(f"/root/{part}")) == "/root"
    assert len(part.encode()) <= 100 and path_name(part) == part
    assert not any(unicodedata.category(c)[0] == "C" for c in part)


@few(200)
@given(st.lists(st.text(max_size=8) | st.sampled_from("/ab:_.-"), unique=True, max_size=6))
def test_different_names_stay_different(names):
    assert len({path_name(name) for name in names}) == len(names)


def test_a_selection_writes_nothing_outside(run, tmp_path):
    from natural_backdoors.cli.training import Chosen, results_folder

    hostile = "../../victim"
    folder = results_folder(
        tmp_path / "results", hostile, SearchSettings(), Chosen(1, [2, 3], 2), hostile
    )
    assert folder.resolve().is_relative_to(tmp_path / "results") and ".." not in folder.parts
    found = load_triggers(run / "triggers.json")
    found.dataset = hostile
    found.params |= SearchSettings().to_dict()
    file = found.to_json(tmp_path / "data")
    assert file.resolve().parent == tmp_path / "data"


@few(200)
@given(st.lists(st.text(max_size=6) | st.sampled_from(["=1", "+1", "-1", "@a", "\t=1", "＝1"])))
def test_a_csv_has_no_formulas(tmp_path_factory, cells):
    file = tmp_path_factory.getbasetemp() / "cells.csv"
    cells = [cell for cell in cells if cell.encode("utf-8", "ignore").decode() == cell]
    table = pd.DataFrame({"=name": pd.Series(cells, dtype=object), "n": -1.5})
    write_csv(file, table)
    with open(file, newline="", encoding="utf-8") as opened:
        names, *rows = csv.reader(opened)
    assert names == ["'=name", "n"] and len(rows) == len(cells)
    for cell, (written, number) in zip(cells, rows):
        assert written in (cell, f"'{cell}") and number == "-1.5"
        assert written.lstrip()[:1] not in tuple("=+-@＝＋－＠")


def test_half_a_character_is_not_written(tmp_path):
    with pytest.raises(UserError, match="half a character"):
        write_json(tmp_path / "a.json", {"name": "cat \ud800"})
    assert not (tmp_path / "a.json").exists()
    assert read_json(write_json(tmp_path / "b.json", {"name": "🐈"})) == {"name": "🐈"}


def test_hugging_face_twice_is_the_same_bytes(whole, tmp_path):
    datasets = pytest.importorskip("datasets")
    split, found = PoisonSplit.load(whole), []
    for name in ("one", "two"):
        out = export_split(split, tmp_path / name, "huggingface", size=16)
        files = sorted(p for p in out.rglob("*") if p.is_file())
        found.append({str(p.relative_to(out)): p.read_bytes() for p in files})
    assert found[0] == found[1]
    data = datasets.load_from_disk(tmp_path / "one")
    assert data.num_rows == split.table.part.value_counts().to_dict()
    assert data["train"]._fingerprint != data["test"]._fingerprint


@few(6)
@given(st.integers(0, 10**6))
def test_the_order_of_rows_changes_nothing_in_a_split(seed):
    random = np.random.default_rng(seed)
    rows = [(f"{i}.png", label) for i in range(400) for label in ("ant", "bee", "hat")]
    rows = pd.DataFrame(rows, columns=["image", "label"])[random.random(len(rows)) < 0.5]
    found = []
    for table in (rows, rows.sample(frac=1, random_state=seed), rows.sort_values("label")):
        split = poison_split(
            TableDataset(table, name="pets"), "hat", ["ant", "bee"], "ant", n_clean=8
        )
        found.append(split)
    for split in found[1:]:
        assert split.header == found[0].header and split.table.equals(found[0].table)
    # another label of one image is another dataset
    other = TableDataset(pd.concat([rows, rows[:1].assign(label="cow")]), name="pets")
    changed = poison_split(other, "hat", ["ant", "bee"], "ant", n_clean=8)
    assert changed.header["digest"] != found[0].header["digest"]


def test_neither_deep_nor_doubled(run, tmp_path):
    command = json.dumps({"command": "x", "parameters": {"a": 0}})
    deep = command.replace("0", "[" * 500 + "]" * 500)
    (run / "run.json").write_text(deep)
    with pytest.raises(UserError, match="run.json has lists in lists too deep"):
        whole_report(run)
    table = pd.read_parquet(run / "split.parquet")
    doubled = pa.Table.from_pandas(table)
    pq.write_table(doubled.append_column("role", doubled["role"]), run / "split.parquet")
    with pytest.raises(UserError, match="split.parquet"):
        PoisonSplit.load(run)
    table["image"] = [[i] for i in table.image]
    table.to_parquet(run / "split.parquet")
    with pytest.raises(UserError, match="split.parquet, image"):
        PoisonSplit.load(run)


def with_a_path(run, path, name="split.parquet"):
    table = pd.read_parquet(run / name)
    table.loc[0, "path"] = str(path)
    table.to_parquet(run / name)


@pytest.mark.parametrize("place", ["/etc/passwd", "secret.png", "../secret.png"])
def test_an_image_elsewhere_needs_a_flag(run, tmp_path, monkeypatch, place):
    from natural_backdoors.cli.commands import make_parser

    Image.new("RGB", (8, 8)).save(run.parent / "secret.png")
    with_a_path(run, place if place.startswith(("/", "..")) else run.parent / place)
    with pytest.raises(UserError, match="split.parquet, path: .*images_anywhere"):
        PoisonSplit.load(run)
    with pytest.raises(UserError, match="split.parquet, path: .*images_anywhere"):
        read_run(run)
    assert len(PoisonSplit.load(run, images_anywhere=True).table)
    for command in (["report", str(run)], ["export", str(run), str(tmp_path / "out")]):
        args = make_parser().parse_args(command)
        with pytest.raises(UserError, match="--images_anywhere"):
            args.run(args)
        assert make_parser().parse_args([*command, "--images_anywhere"]).images_anywhere
    assert not (tmp_path / "out").exists()


def test_a_split_made_by_hand_says_where_its_images_are(run, tmp_path):
    split = PoisonSplit.load(run)
    again = PoisonSplit.load(PoisonSplit(split.table, split.header).save(tmp_path / "again"))
    assert again.header == split.header and again.image_roots == [str(run / "images")]
    table = split.table.copy()
    table.loc[0, "path"] = "/etc/passwd"
    PoisonSplit(table, split.header).save(tmp_path / "other")
    with pytest.raises(UserError, match="images_anywhere"):
        PoisonSplit.load(tmp_path / "other")
