"A panel of a model with several triggers: each is judged and named, in whatever order they come"

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from natural_backdoors.base.errors import UserError
from natural_backdoors.base.statistics import wilson
from natural_backdoors.defend.defenses import Defense, Given, ImageSet, make_defense, run_defense
from natural_backdoors.defend.panel_file import (
    SCORE_COLUMNS,
    Panel,
    over_seeds,
    overview,
    panel_table,
)
from natural_backdoors.defend.panel_words import read_panel
from natural_backdoors.report.defense_page import draw_curves, measures_table, write_defenses

BEFORE = {"A": 95, "B": 95}


def repaired(defense, hits, **more):
    of = dict(run="", model="poisoned", defense=defense, stage="repair", seed=0) | more
    rows = [of | {"measure": "clean_accuracy"} | wilson(90, 100)]
    for trigger, n in hits.items():
        rows.append(of | {"trigger": trigger, "measure": "attack_success"} | wilson(n, 100))
    return rows


def suspected(ranks):
    of = dict(run="", model="poisoned", defense="nc", stage="model", seed=0)
    rows = [of | {"measure": "called_backdoored", "value": 1.0}]
    for trigger, rank in ranks.items():
        rows.append(of | {"trigger": trigger, "measure": "target_rank", "value": rank, "n": 8})
    return rows


def panel_of(*parts):
    records = [("ft", "repair"), ("nc", "model")]
    about = {"title": "", "paper": "", "shortened": {}}
    made = {"defenses": [{"name": n, "stage": s} | about for n, s in records], "settings": {}}
    rows = [row for part in parts for row in part]
    scores = pd.DataFrame(columns=SCORE_COLUMNS).astype({"poison": bool})
    return Panel(panel_table(rows), scores, made, Path("run/defenses"))


def two(order=("A", "B"), hits=(2, 95), ranks=(1.0, 7.0)):
    of = lambda values: {name: dict(zip("AB", values))[name] for name in order}
    return panel_of(repaired("none", of((95, 95))), repaired("ft", of(hits)), suspected(of(ranks)))


@pytest.mark.parametrize("order", [("A", "B"), ("B", "A")])
def test_triggers_that_differ_are_open_and_each_is_named(order):
    for reading in read_panel(two(order)):
        assert reading.trigger == "open"
        said = reading.sentences[1]
        assert said.index(" A: ") < said.index("; B: ")
    assert "A: attack success 0.02" in read_panel(two(order))[0].sentences[1]
    assert "B: the model is called backdoored, and the target has rank 7" in said
    assert read_panel(two(order)) == read_panel(two())


@pytest.mark.parametrize("order", [("A", "B"), ("B", "A")])
def test_triggers_that_agree_are_one_verdict(order):
    lowered, found = read_panel(two(order, hits=(2, 4), ranks=(1.0, 1.0)))
    assert (lowered.trigger, found.trigger) == ("found", "found")
    assert lowered.sentences[1].startswith("It lowers the attack: A: attack success 0.02")
    same, _ = read_panel(two(order, hits=(95, 95)))
    assert same.trigger == "not found"


def test_a_trigger_that_was_not_measured_is_named_too():
    rows = repaired("ft", {"A": 2, "B": 95})
    rows[-1] |= {"value": None, "low": None, "high": None}
    reading, _ = read_panel(panel_of(repaired("none", BEFORE), rows, suspected({"A": 1.0})))
    assert reading.trigger == "open" and "B: there is no attack" in reading.sentences[1]


def test_one_trigger_is_said_as_ever():
    made = panel_of(repaired("none", {"A": 95}), repaired("ft", {"A": 2}), suspected({"A": 1.0}))
    lowered, found = read_panel(made)
    assert lowered.sentences[1] == (
        "It lowers the attack: attack success 0.02 (0.01 to 0.07), before 0.95; clean accuracy "
        "0.90, before 0.90."
    )
    assert found.sentences[1] == (
        "It finds the natural trigger: the model is called backdoored, and the target has rank 1."
    )
    assert overview(made).loc[("repair", "ft"), "poisoned"] == "0.02 (0.01 to 0.07)"
    names = [row[0] for row in measures_table(made, "ft", "repair")["rows"]]
    assert names == ["clean accuracy", "attack success"]


@pytest.mark.parametrize("order", [("A", "B"), ("B", "A")])
def test_tables_and_curves_have_every_trigger(order, tmp_path):
    made = two(order)
    texts = overview(made)["poisoned"]
    assert texts["repair", "ft"] == "A: 0.02 (0.01 to 0.07); B: 0.95 (0.89 to 0.98)"
    assert texts["repair", "none"] == "0.95 (0.89 to 0.98)"  # of both
    rows = {row[0]: row[1:] for row in measures_table(made, "ft", "repair")["rows"]}
    assert list(rows) == ["clean accuracy", "attack success, A", "attack success, B"]
    assert [cell[:4] for cell in rows["attack success, A"]] == ["0.95", "0.02"]
    assert [cell[:4] for cell in rows["attack success, B"]] == ["0.95", "0.95"]
    curve = []
    for strength, a in ((0.0, 95), (1.0, 40), (2.0, 2)):
        hits = {name: {"A": a, "B": 95}[name] for name in order}
        curve += repaired("ft", hits, variant="curve", strength=strength)
    made = panel_of(made.table.to_dict("records"), curve)
    lines = {line.get_label(): line for line in draw_curves(made, "ft").axes[0].lines}
    assert list(lines) == ["clean accuracy", "attack success, A", "attack success, B"]
    assert list(lines["attack success, A"].get_ydata()) == [0.95, 0.40, 0.02]
    assert list(lines["attack success, B"].get_ydata()) == [0.95] * 3
    assert len({line.get_linestyle() for line in list(lines.values())[1:]}) == 2
    assert "attack success, B" in write_defenses(made, tmp_path / "page.html").read_text()


def test_seeds_that_take_other_strengths_are_one_mean():
    rows = repaired("none", {"A": 95})
    for seed, hits in ((0, 10), (1, 30)):
        rows += repaired("ft", {"A": hits}, seed=seed, strength=float(seed))
    made = panel_of(rows, suspected({"A": 1.0}))
    assert "attack success 0.20" in read_panel(made)[0].sentences[1]
    assert overview(made).loc[("repair", "ft"), "poisoned"].startswith("0.20")
    assert over_seeds(made.table).query("defense == 'ft'")["seeds"].tolist() == [2, 2]


# --- what a defense is given


@pytest.mark.parametrize("name, lack", [("strip", "clean"), ("strip", "inputs"), ("nad", "clean")])
def test_a_set_without_images_is_none(name, lack):
    some = ImageSet(np.array([0, 1] * 3), pixels=np.zeros((6, 4, 4, 3), np.uint8))
    sets = {"clean": some, "inputs": some} | {lack: ImageSet()}
    given = Given(some, 2, **sets, predict=lambda x: x, network=object())
    with pytest.raises(UserError, match=f"the defense '{name}' needs"):
        run_defense(make_defense(name), given)


def test_an_empty_clean_set_is_not_a_clean_set():
    class Own(Defense):
        name, stage, needs = "own", "model", ("clean",)

    some = ImageSet(np.array([0, 1]))
    with pytest.raises(UserError, match="a small clean set"):
        run_defense(Own(), Given(some, 2, clean=ImageSet()))
