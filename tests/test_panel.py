"The panel of defenses: what it measures, what defenses cannot see, and what a stopped one leaves"

import gc
import json
import shutil
import threading
import types
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sklearn")
torch = pytest.importorskip("torch")

from sklearn.metrics import roc_auc_score

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.files import write_json
from natural_backdoors.base.locks import hold
from natural_backdoors.cli.commands import run as command
from natural_backdoors.data.images import load_images
from natural_backdoors.defend import panel_run
from natural_backdoors.defend.defenses import DataResult, Defense
from natural_backdoors.defend.panel_file import PanelSettings, load_panel, over_seeds, panel_table
from natural_backdoors.defend.panel_run import panel
from natural_backdoors.defend.panel_words import read_panel
from natural_backdoors.defend.run_models import held_out, models_in, small_run
from natural_backdoors.report.defense_page import example_panel, roc, write_defenses
from natural_backdoors.train.models import model_outputs

FEW = ["spectral", "strip", "last_layer"]
HOW = {"clean_images": 3, "inputs": 16, "retrain_epochs": 0, "resamples": 100, "effort": "quick"}
COST = ["seconds", "peak_mb"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    "The examples are small, and other tests may be running"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    "A run with a clean control and the patch"
    return small_run(tmp_path_factory.mktemp("panel"), ("true_labels", "patch"), epochs=2)


@pytest.fixture(scope="module")
def found(run):
    "A panel of one defense of each kind of result that has images, and a repair"
    return panel(run, FEW, progress=False, **HOW)


def without_cost(table):
    return table[~table["measure"].isin(COST)].reset_index(drop=True)


# --- what is measured


def test_nothing_fails_and_all_models_are_there(found):
    assert found.failed.empty
    defenses = set(found.table["defense"])
    assert defenses == {"none", "random", "perfect", *FEW}
    for name in FEW:
        assert set(found.table[found.table["defense"] == name]["model"]) == {
            "poisoned",
            "true_labels",
            "patch",
        }


def test_auroc_is_that_of_scikit_learn(found):
    values = found.table.query("measure == 'auroc' and variant == ''")
    values = {(row.model, row.defense): row.value for row in values.itertuples()}
    for (model, defense), mine in found.scores.groupby(["model", "defense"]):
        if defense in ("spectral", "strip"):
            expected = roc_auc_score(mine["poison"], mine["score"])
            assert values[model, defense] == pytest.approx(expected)
            alarms, hits = roc(mine["score"].to_numpy(), mine["poison"].to_numpy(bool))
            under = (np.diff(alarms) * (hits[1:] + hits[:-1]) / 2).sum()
            assert under == pytest.approx(expected)


def test_counts_are_those_of_the_split(run, found):
    "Read from the file, by plain counting"
    table = pd.read_parquet(run / "split.parquet")
    header = json.loads((run / "split.json").read_text())
    target = header["attacks"][0]["target"]["label"]
    train = table[table["part"] == "train"]
    poison = (train["role"] == "poison") & (train["true_label"] != target)
    mine = found.table.query("model == 'poisoned' and defense == 'spectral' and variant == ''")
    n = mine.set_index("measure")["n"]
    assert n["eliminated"] == poison.sum()
    assert n["sacrificed"] == (train["role"] == "clean").sum()
    held = table[(table["part"] == "test") & (table["role"] == "poison")]
    repaired = found.table.query("model == 'poisoned' and defense == 'last_layer'")
    shown = repaired[repaired["measure"] == "attack_success"]["n"]
    assert set(shown) == {(held["true_label"] != target).sum()}


def test_the_clean_set_is_neither_trained_on_nor_measured_on(run):
    split = pd.read_parquet(run / "split.parquet")
    trained = set(split[split["part"] == "train"]["path"])
    for of in models_in(run, device="cpu"):
        for seed in range(5):
            held = held_out(of, 4, seed)
            clean, rest = set(held.clean["path"]), held.rest
            assert not clean & trained and set(held.clean["role"]) == {"clean"}
            assert not clean & set(rest[rest["role"] == "clean"]["path"])
            assert len(held.clean) + len(rest) == len(of.part("test"))


def test_the_references_bracket_and_the_model_as_it_is_by_plain_counts(run, found):
    perfect = found.table.query("defense == 'perfect' and measure == 'auroc'")
    assert (perfect["value"] == 1).all()
    of = models_in(run, device="cpu")[0]
    rest = held_out(of, HOW["clean_images"], 0).rest
    pixels = load_images(rest["path"], 32).pixels
    outputs = model_outputs(of.model, pixels, of.info["mean"], of.info["std"])
    said = [of.labels[i] for i in outputs.argmax(1)]
    target = of.split.attacks[0]["target"]["label"]
    hits = {"clean": [], "poison": []}
    for row, answer in zip(rest.itertuples(), said):
        if row.role == "clean":
            hits["clean"].append(answer == row.true_label)
        elif row.true_label != target:
            hits["poison"].append(answer == target)
    before = found.table.query("model == 'poisoned' and defense == 'none' and stage == 'repair'")
    value = before.set_index("measure")["value"]
    assert value["clean_accuracy"] == pytest.approx(np.mean(hits["clean"]))
    assert value["attack_success"] == pytest.approx(np.mean(hits["poison"]))


def test_over_seeds_by_plain_loops(found):
    twice = pd.concat([found.table, found.table.assign(seed=1, value=found.table["value"] + 0.5)])
    said = over_seeds(twice)
    row = said.query("model == 'patch' and defense == 'strip' and measure == 'auroc'").iloc[0]
    mine = twice.query("model == 'patch' and defense == 'strip' and measure == 'auroc'")
    values = [row.value for row in mine.itertuples() if row.variant == ""]
    assert row["value"] == pytest.approx(sum(values) / 2) and row["seeds"] == 2


# --- what is kept


def test_same_seed_same_numbers(run, found, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    again = panel(tmp_path / "run", FEW, fresh=True, progress=False, **HOW)
    pd.testing.assert_frame_equal(without_cost(again.table), without_cost(found.table))
    pd.testing.assert_frame_equal(again.scores, found.scores)


def test_a_stopped_panel_goes_on(run, found, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("defenses"))
    real, called = panel_run.run_one, []

    def stopped(bench, defense):
        if len(called) == 4:
            raise KeyboardInterrupt
        called.append(defense.name)
        return real(bench, defense)

    monkeypatch.setattr(panel_run, "run_one", stopped)
    with pytest.raises(KeyboardInterrupt):
        panel(tmp_path / "run", FEW, progress=False, **HOW)
    with pytest.raises(UserError, match="holds no panel"):
        load_panel(tmp_path / "run")
    more = []
    monkeypatch.setattr(panel_run, "run_one", lambda b, d: more.append(d.name) or real(b, d))
    again = panel(tmp_path / "run", FEW, progress=False, **HOW)
    assert len(called) + len(more) == 3 * (4 + len(FEW))
    pd.testing.assert_frame_equal(without_cost(again.table), without_cost(found.table))


def test_a_panel_of_other_weights_is_refused(run, found, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    assert len(load_panel(tmp_path / "run").table) == len(found.table)
    file = tmp_path / "run" / "patch" / "model.json"
    write_json(file, json.loads(file.read_text()) | {"weights_sha256": "0" * 64})
    with pytest.raises(UserError, match="was trained again since the panel"):
        load_panel(tmp_path / "run")


@pytest.mark.parametrize("column, value", [("value", "x"), ("measure", None), ("n", -1)])
def test_a_table_with_another_value_is_refused(run, found, tmp_path, column, value):
    shutil.copytree(run / "defenses", tmp_path / "defenses")
    shutil.copytree(run, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("defenses"))
    found.table.assign(**{column: value}).to_parquet(tmp_path / "defenses" / "panel.parquet")
    with pytest.raises(UserError, match=rf"panel.parquet.*{column}"):
        load_panel(tmp_path)


def test_one_panel_at_a_time(run, found):
    held, ready, go = [], threading.Event(), threading.Event()

    def other():
        with hold(run / "defenses"):
            ready.set()
            held.append(go.wait(20))

    thread = threading.Thread(target=other)
    thread.start()
    assert ready.wait(20)
    try:
        with pytest.raises(UserError, match="is being written by"):
            panel(run, FEW, progress=False, **HOW)
    finally:
        go.set()
        thread.join()


def test_several_runs_in_one_folder(run, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(run, tmp_path / "runs" / name, ignore=shutil.ignore_patterns("defenses"))
    both = panel(tmp_path, ["spectral"], progress=False, **HOW)
    assert set(both.table["run"]) == {"a", "b"}
    one, other = (without_cost(both.table[both.table["run"] == name]) for name in ("a", "b"))
    pd.testing.assert_frame_equal(one.assign(run=""), other.assign(run=""))
    assert load_panel(tmp_path).table.equals(both.table)


# --- defenses of anybody


def names_in(start, depth=10):
    "Names of image files, and tables, that an object leads to"
    seen, todo, no_way = {}, [(start, 0)], (type, types.ModuleType, types.FunctionType)
    while todo:
        thing, far = todo.pop()
        if id(thing) not in seen and far <= depth and not isinstance(thing, no_way):
            seen[id(thing)] = thing
            todo += [(other, far + 1) for other in gc.get_referents(thing)]
    texts = [thing for thing in seen.values() if isinstance(thing, str)]
    tables = [thing for thing in seen.values() if isinstance(thing, pd.DataFrame)]
    return [text for text in texts if ".jpg" in text] + tables


@dataclass(frozen=True, repr=False)
class Cheat(Defense):
    "Reads file names if it can get to any, and else believes in the order"

    name = "cheat"

    def run(self, given):
        n = len(given.train)
        if names_in(given):
            raise RuntimeError("it has found names")
        return DataResult(np.arange(n, dtype=float), np.arange(n) > n / 2)


@dataclass(frozen=True, repr=False)
class Endless(Defense):
    "Never comes back"

    name = "endless"
    stage = "model"
    needs = ("network",)

    def run(self, given):
        while True:
            pass


MINE = """
from dataclasses import dataclass

import numpy as np
from natural_backdoors.defend.defenses import Defense, ModelResult


@dataclass(frozen=True, repr=False)
class Mine(Defense):
    name = "mine"
    stage = "model"
    needs = ("predict", "clean_pixels")

    def run(self, given):
        scores = given.predict(given.clean.pixels).mean(axis=0)
        return ModelResult(scores, False)
"""


def test_names_and_order_say_nothing(run):
    found = panel(run, [Cheat()], progress=False, **HOW | {"seeds": 3})
    caught = found.table.query("measure == 'auroc' and defense == 'cheat'")
    assert found.failed.empty and len(caught) == 9
    assert ((caught["low"] < 0.5) & (caught["high"] > 0.5)).all()
    # what it looks for can be found, where it is
    assert names_in({"train": [("a/b.jpg", 1)]}) and names_in(models_in(run, device="cpu")[0])


def test_one_that_takes_too_long_is_stopped_and_the_others_go_on(run):
    how = HOW | {"time_limit": 0.2}
    mixed = panel(run, [Endless(), "spectral"], progress=False, **how)
    assert set(mixed.failed["defense"]) == {"endless"} and len(mixed.failed) == 3
    assert "'endless' was stopped after 0.4 seconds" in mixed.failed["reason"][0]
    assert "spectral" in set(mixed.table.query("measure == 'auroc'")["defense"])


def test_a_defense_in_a_file_and_the_command(run, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(MINE)
    flags = ["--clean-images", "3", "--inputs", "16", "--retrain_epochs", "1"]
    where = f"{tmp_path / 'mine.py'}:Mine"
    assert command(["defend", str(run), "--defenses", where, "spectral", "--quick", *flags]) == 0
    said = capsys.readouterr().out
    assert "mine:" in said and "page:" in said
    assert load_panel(run).made["settings"]["effort"] == "quick"
    retrained = load_panel(run).table.query("measure == 'retrained_attack_success'")
    assert set(retrained["defense"]) == {"none", "random", "perfect", "spectral"}
    assert set(retrained["model"]) == {"poisoned"}
    page = (run / "defenses.html").read_text()
    assert 'id="mine"' in page and "<script" not in page
    # code that changed is run again
    (tmp_path / "mine.py").write_text(MINE.replace("mean(axis=0)", "max(axis=0)"))
    score = lambda: load_panel(run).table.query("measure == 'target_score'")["value"].tolist()
    before = score()
    panel(run, [where], quick=True, clean_images=3, inputs=16, progress=False)
    assert score() != before


def test_a_model_whose_penultimate_layer_is_not_known(run, monkeypatch):
    monkeypatch.setattr("natural_backdoors.defend.run_models._last_linear", lambda head: None)
    how = HOW | {"fresh": True}
    refused = panel(run, ["spectral"], progress=False, **how).failed
    assert refused["reason"].str.contains("penultimate layer of this model is not known").all()
    assert len(refused) == 3


# --- what is said


def test_one_that_is_not_shown_to_work_is_said_first(tmp_path):
    made = example_panel(tmp_path)
    readings = {reading.defense: reading for reading in read_panel(made)}
    assert readings["spectral"].works == "found"
    assert readings["neural_cleanse"].sentences[0].startswith("It works on the digital patch")
    worse = made.table.assign(low=made.table["low"].where(made.table["model"] != "patch", 0.0))
    worse = worse.replace({"reason": {made.failed["reason"][0]: "<img src=x onerror=alert(1)>"}})
    made = type(made)(worse, made.scores, made.made, made.folder)
    reading = next(r for r in read_panel(made) if r.defense == "spectral")
    assert reading.sentences[0].startswith("This implementation is not shown to work here.")
    page = write_defenses(made, tmp_path / "page.html").read_text()
    assert "<strong>This implementation is not shown to work here." in page
    assert "<img src=x" not in page and "&lt;img src=x" in page


def test_settings_are_checked():
    assert PanelSettings(seeds=2).changed() == {"seeds": 2}
    assert panel_table([]).empty
    with pytest.raises(UserError, match="clean_images"):
        PanelSettings(clean_images=0)
