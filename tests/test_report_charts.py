"Every picture of the report: names are drawn as they are, also where they look like a formula"

import importlib
import pkgutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import natural_backdoors.report
from natural_backdoors.base.style import svg
from natural_backdoors.graph.pictures import draw_neighborhood
from natural_backdoors.report import charts, defense_page, screen_page
from natural_backdoors.report.measures import draw_visibility
from natural_backdoors.report.study_charts import draw_study
from natural_backdoors.train.studies import study

NAME = r"Sign $\frac$ x"  # no formula: matplotlib refuses to read it as one
RATE = {"value": 0.5, "low": 0.2, "high": 0.7}
LOG = pd.DataFrame(
    {"epoch": [1, 2]}
    | {f"{part}_{kind}_acc": [0.2, 0.8] for part in ("train", "test") for kind in ("clean", "trig")}
)


def counts():
    parts = [f"{kind}_{part}" for kind in ("clean", "poison") for part in ("train", "test")]
    return charts.draw_counts([{"name": NAME} | dict.fromkeys(parts, 3)])


def measured():
    rows = [(NAME, 0.3, 0.1, 0.5, "works"), ("b", 0.1, 0.0, 0.2, "inconclusive")]
    table = pd.DataFrame(rows, columns=["name", "effect", "low", "high", "kind"])
    return table.assign(**{NAME: [0.1, 0.2]})


def runs():
    rows = []
    for trigger in (NAME, "other"):
        for seed in range(3):
            for control in ("", "true_labels", NAME):
                row = dict(trigger=trigger, trigger_name=trigger, target="c", target_name="c")
                row |= dict(seed=seed, split_seed=seed, control=control, test_clean_acc=0.8)
                row |= dict(test_trig_acc=0.1 if control else 0.7, target_without_trigger=0.1)
                rows.append(row | {"patience": 3 + 2 * (trigger == NAME)})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    "A panel whose defenses, triggers and a model are all called NAME"
    made = defense_page.example_panel(tmp_path_factory.mktemp("run"))
    called = {"spectral": NAME, "fine_tuning": NAME, "true_labels": NAME}
    table, scores = made.table.replace(called), made.scores.replace(called)
    of_attack = table["measure"] == "attack_success"
    table = table.assign(trigger=table["trigger"].mask(of_attack, NAME))
    more = table[of_attack].assign(trigger="other")
    return replace(made, table=pd.concat([table, more]), scores=scores)


def neighborhood():
    nodes = [{"id": i, "label": NAME, "name": NAME, "images": 9} for i in range(3)]
    for node, role in zip(nodes, ("trigger", "class", "neighbor")):
        node["role"] = role
    edges = [{"source": 0, "target": i, "overlaps": 5} for i in (1, 2)]
    return {"trigger": 0, "nodes": nodes, "edges": [*edges, edges[0] | {"source": 2}]}


DRAWN = {
    "draw_counts": lambda _: counts(),
    "draw_curve": lambda _: charts.draw_curve("clean", LOG, {NAME: LOG}),
    "draw_training": lambda _: charts.draw_training(LOG, {NAME: LOG}),
    "draw_rates": lambda _: charts.draw_rates([(NAME, RATE, RATE)], names=(NAME, "control")),
    "draw_gallery": lambda _: charts.draw_gallery([np.zeros((4, 4, 3), np.uint8)], [NAME]),
    "draw_visibility": lambda _: draw_visibility(
        pd.DataFrame([{"by": "occlusion", "group": NAME} | RATE]), NAME
    ),
    "draw_study": lambda _: draw_study(study(runs(), over="seed", by="trigger")),
    "draw_study, curves": lambda _: draw_study(study(runs(), over="seed", by="patience")),
    "draw_effects": lambda _: screen_page.draw_effects(measured()),
    "draw_predictors": lambda _: screen_page.draw_predictors(
        measured(), pd.DataFrame({"predictor": [NAME]})
    ),
    "draw_scores": lambda panel: defense_page.draw_scores(panel, NAME, "data"),
    "draw_rocs": lambda panel: defense_page.draw_rocs(panel, "data"),
    "draw_curves": lambda panel: defense_page.draw_curves(panel, NAME),
    "draw_neighborhood": lambda _: draw_neighborhood(neighborhood(), target=1),
}


@pytest.mark.parametrize("chart", DRAWN)
def test_a_name_is_no_formula(chart, panel):
    figure = DRAWN[chart](panel)
    assert svg(figure).startswith("<svg")
    texts = figure.findobj(lambda artist: hasattr(artist, "get_parse_math"))
    names = [text for text in texts if "$" in text.get_text()]
    assert names and not any(text.get_parse_math() for text in names)


def test_no_chart_is_forgotten():
    there = set()
    for module in pkgutil.iter_modules(natural_backdoors.report.__path__):
        found = importlib.import_module(f"natural_backdoors.report.{module.name}")
        there |= {name for name in getattr(found, "__all__", []) if name.startswith("draw_")}
    assert there <= set(DRAWN)
