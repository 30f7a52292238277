"""The picker in a real browser, without a kernel: the page that `write_static` makes, over plausible data

Speeds are printed (pytest -s), and nothing here fails because a machine is slow."""
import functools
import json
import os
import shutil

import numpy as np
import pytest
from scipy import sparse

anywidget = pytest.importorskip("anywidget", reason="the widgets need anywidget: pip install natural_backdoors[notebook]")

from natural_backdoors.class_sets import conflicts
from natural_backdoors.layout import layout
from natural_backdoors.overlaps import Overlaps
from natural_backdoors.scenes import scene_labels
from natural_backdoors.table import TableDataset
from natural_backdoors.triggers import find_triggers
from natural_backdoors.widgets import Picker, javascript, stylesheet, write_static

EVIL = "<img src=x onerror=alert(1)>"
TEMPLATES = {"python": "poison_split(dataset, {trigger}, [{classes}], target={target})",
             "command": "natural-backdoors train --trigger {trigger} --classes {classes} --target {target}",
             "json": '{{"trigger": {trigger}, "classes": [{classes}], "target": {target}}}'.replace("{{", "{").replace("}}", "}")}


# --- data

def detail_of(found, trigger):
    "The value `detail` of a trigger"
    import warnings
    near = found.scores(trigger)
    ids = [trigger, *near.id.tolist()]
    at = {id: i for i, id in enumerate(ids)}
    edges = found.graph.edges
    edges = edges[edges.a.isin(ids) & edges.b.isin(ids)]
    limit = found.params["max_overlaps_with_others"]
    conflict = conflicts(found.overlaps, found.graph, np.array(ids), limit)
    source, target = edges.a.map(at).to_numpy(), edges.b.map(at).to_numpy()
    beside = (source > 0) & (target > 0)
    x, y = layout(len(ids), source, target, edges.overlaps)
    reasons = [" ".join(r.text for r in found.explain(trigger, c).reasons) if i < 400 else "" for i, c in enumerate(ids[1:])]
    return {"trigger": trigger, "serial": 1,
            "rows": {"id": ids[1:], "overlaps": near.overlaps.tolist(), "p_trigger": near.share.round(4).tolist(), "band": near.band.tolist(),
                     "lift": near.lift.round(3).tolist(), "n_clean": near.n_clean.tolist(), "n_poison": near.n_poison.tolist(),
                     "chosen": near.chosen.tolist(), "reason": reasons},
            "graph": {"id": ids, "x": x.round(4).tolist(), "y": y.round(4).tolist(),
                      "role": ["trigger"] + ["class" if c else "neighbour" for c in near.chosen],
                      "source": source.tolist(), "target": target.tolist(), "overlaps": edges.overlaps.tolist(),
                      "conflict": (conflict[source, target] & beside).tolist()}}


def run_of(found, details=None):
    "One run of a static page; only the first triggers of a large result get a detail of their own"
    table, params = found.table, found.params
    ids = table.id.tolist()
    keys = ["centrality", "weighted", "subset", "min_overlaps", "max_overlaps_with_others", "min_clean", "min_poison", "min_classes", "n_triggers"]
    return {"params": {**{k: params[k] for k in keys}, "exclude": [], "exclude_people": True},
            "result": {"serial": 1, "summary": f"{len(ids)} triggers among {len(found.graph.vertices)} classes, {len(found.graph.edges):,} edges",
                       "sets": {str(t): found.sets[t].id.tolist() for t in ids},
                       "triggers": {"id": ids, "centrality": table.centrality.round(6).tolist(), "n_classes": table.n_classes.tolist(),
                                    "bound": [None if b != b else int(b) for b in table.bound.astype(float)],
                                    "n_images": found.overlaps.images_of[ids].tolist(),
                                    "n_poison": [int(found.sets[t].n_poison.sum()) for t in ids]}},
            "details": {str(t): detail_of(found, t) for t in ids[:details]}, "templates": TEMPLATES}


def data_of(founds, name, grid, details=None):
    overlaps = founds[0].overlaps
    classes = {"id": list(range(len(overlaps.classes))), "label": overlaps.classes.label.tolist(), "name": overlaps.classes.name.tolist(),
               "images": overlaps.images_of.tolist()}
    return {"options": {"dataset": name, "split": "train", "n_images": overlaps.n_images, "has_images": False, "has_boxes": False, "static": True,
                        "centralities": ["betweenness", "closeness", "degree", "eigenvector"], "subsets": ["exact", "mis", "none"], "grid": grid},
            "classes": classes, "runs": [run_of(f, details) for f in founds]}


def scenes_data():
    "The embedded dataset, for a grid of settings; two classes have names that are not what names should be"
    rows = scene_labels(3000)
    names = dict(zip(rows.label, rows.name))
    names[next(k for k, v in names.items() if v == "Boat")] = EVIL
    names[next(k for k, v in names.items() if v == "Mug")] = names[next(k for k, v in names.items() if v == "Bottle")]
    dataset = TableDataset(rows[["image", "label"]], names=names, name="scenes")
    grid = {"centrality": ["betweenness", "degree"], "min_overlaps": [5, 15], "max_overlaps_with_others": [-1, 10]}
    founds = [find_triggers(dataset, c, min_overlaps=m, max_overlaps_with_others=o, n_triggers=20)
              for c in grid["centrality"] for m in grid["min_overlaps"] for o in grid["max_overlaps_with_others"]]
    return data_of(founds, "scenes", grid)


def large_data(n_triggers=5000, n=1000, m=21_000, seed=0):
    "A table of many triggers, of which the first has a neighbourhood of `n` classes and `m` edges"
    draw = np.random.default_rng(seed)
    names = [f"{a} {b} {i}" for i, (a, b) in enumerate(zip(draw.choice(["Red", "Old", "Small", "Wooden", "Paper"], n_triggers),
                                                            draw.choice(["wheel", "jeans", "chair", "glasses", "window", "hat"], n_triggers)))]
    ids = np.arange(n_triggers)
    group = draw.integers(12, size=n)
    pairs = np.stack(np.triu_indices(n, 1), 1)[n - 1:]
    odds = np.where(group[pairs[:, 0]] == group[pairs[:, 1]], 1., .06)
    pairs = pairs[draw.choice(len(pairs), m - n + 1, replace=False, p=odds / odds.sum())]
    source = np.concatenate([np.zeros(n - 1, int), pairs[:, 0]])
    target = np.concatenate([np.arange(1, n), pairs[:, 1]])
    overlaps = (15 + draw.pareto(1.2, m) * 12).clip(max=4000).astype(int)
    x, y = layout(n, source, target, overlaps, rounds=60)
    near, order = np.arange(1, n), np.argsort(-overlaps[:n - 1], kind="stable")
    share = draw.beta(1, 4, n - 1).round(3)
    chosen = np.zeros(n, bool)
    chosen[draw.choice(near, 40, replace=False)] = True
    big = {"trigger": 0, "serial": 1,
           "rows": {"id": near[order].tolist(), "overlaps": overlaps[order].tolist(), "p_trigger": share.tolist(),
                    "band": np.where(share > .5, "high", np.where(share >= .1, "moderate", "low")).tolist(), "lift": (share * 9).round(2).tolist(),
                    "n_clean": draw.integers(50, 900, n - 1).tolist(), "n_poison": overlaps[order].tolist(), "chosen": chosen[near[order]].tolist(),
                    "reason": np.where(chosen[near[order]], "", "conflicts with 'Old hat 7' (31 shared images)").tolist()},
           "graph": {"id": list(range(n)), "x": x.round(4).tolist(), "y": y.round(4).tolist(),
                     "role": ["trigger"] + np.where(chosen[1:], "class", "neighbour").tolist(), "source": source.tolist(), "target": target.tolist(),
                     "overlaps": overlaps.tolist(), "conflict": ((overlaps > 25) & (source > 0)).tolist()}}
    one = {"id": [1], "overlaps": [20], "p_trigger": [.2], "band": ["moderate"], "lift": [1.5], "n_clean": [70], "n_poison": [20], "chosen": [True], "reason": [""]}
    small = {str(t): {"trigger": t, "serial": 1, "rows": one, "graph": {"id": [t, 1], "x": [.2, .8], "y": [.5, .5], "role": ["trigger", "class"],
             "source": [0], "target": [1], "overlaps": [20], "conflict": [False]}} for t in range(2, n_triggers)}
    ranked = [0, *range(2, n_triggers)]
    sets = {"0": np.flatnonzero(chosen).tolist(), **{t: [1] for t in small}}
    params = {"centrality": "betweenness", "weighted": False, "subset": "exact", "min_overlaps": 15, "max_overlaps_with_others": 25, "min_clean": 0,
              "min_poison": 0, "min_classes": 1, "n_triggers": n_triggers, "exclude": [], "exclude_people": True}
    k = len(ranked)
    result = {"serial": 1, "summary": f"{k:,} triggers", "sets": sets,
              "triggers": {"id": ranked, "centrality": np.sort(draw.pareto(2, k))[::-1].round(6).tolist(), "n_classes": [len(sets[str(t)]) for t in ranked],
                           "bound": [None] * k, "n_images": draw.integers(50, 9000, k).tolist(), "n_poison": draw.integers(20, 900, k).tolist()}}
    return {"options": {"dataset": "synthetic", "split": "train", "n_images": 1_700_000, "has_images": False, "has_boxes": False, "static": True,
                        "centralities": ["betweenness"], "subsets": ["exact"]},
            "classes": {"id": ids.tolist(), "label": [f"/m/{i:05}" for i in ids], "name": names, "images": draw.integers(50, 9000, n_triggers).tolist()},
            "runs": [{"params": params, "result": result, "details": {"0": big, **small}, "templates": TEMPLATES}]}
