"The analysis on real labels, against counts and centralities computed another way"

import csv
import gzip
from collections import Counter
from itertools import combinations

import networkx as nx
import numpy as np
import pytest

from natural_backdoors import TableDataset, UserError, find_triggers
from natural_backdoors.data.classes import PEOPLE_NAMES

COCO = "coco15k/labels.csv.gz"


@pytest.fixture(scope="module")
def coco(real_data):
    "The dataset, and the co-occurrence graph made with nothing but loops, csv and networkx"
    path = real_data(COCO)
    labels_of = {}
    with gzip.open(path, "rt", encoding="utf-8") as f:
        for row in csv.DictReader(f):
            labels_of.setdefault(row["image"], set()).add(row["label"])
    shared = Counter(
        pair for labels in labels_of.values() for pair in combinations(sorted(labels), 2)
    )
    g = nx.Graph()
    for (a, b), n in shared.items():
        if n >= 15:
            g.add_edge(a, b, overlap=n, distance=1 / n)
    return TableDataset(path, name="coco"), g, labels_of


@pytest.fixture(scope="module")
def images_of(coco):
    "label -> its images"
    found = {}
    for image, labels in coco[2].items():
        for label in labels:
            found.setdefault(label, set()).add(image)
    return found


def by_networkx(g, measure, weighted):
    distance = "distance" if weighted else None
    if measure == "betweenness":
        return nx.betweenness_centrality(g, weight=distance)
    if measure == "closeness":
        return nx.closeness_centrality(g, distance=distance)
    if measure == "degree":
        return dict(g.degree(weight="overlap")) if weighted else nx.degree_centrality(g)
    return nx.eigenvector_centrality_numpy(g, weight="overlap" if weighted else None)


def test_graph_of_coco(coco):
    data, g, _ = coco
    found = find_triggers(data)
    assert (len(found.graph.vertices), len(found.graph.edges)) == (78, 701)
    name = found.classes.label
    edges = {(name[a], name[b]): n for a, b, n in found.graph.edges.itertuples(index=False)}
    assert edges == {tuple(sorted((a, b))): d["overlap"] for a, b, d in g.edges(data=True)}


def check_measure(coco, measure, weighted, engine):
    data, g, _ = coco
    found = find_triggers(
        data,
        centrality=measure,
        weighted=weighted,
        engine=engine,
        exclude=(),
        n_triggers=1000,
        min_classes=0,
        subset="none",  # which classes are taken does not matter
    )
    assert found.params["engine"] == engine
    expected = by_networkx(g, measure, weighted)
    assert set(found.table.label) == set(expected)
    scale = max(map(abs, expected.values()))
    for label, value in zip(found.table.label, found.table.centrality):
        assert abs(value - abs(expected[label])) <= 1e-6 * scale, label


MEASURES = pytest.mark.parametrize("measure", ["betweenness", "closeness", "degree", "eigenvector"])
WEIGHTED = pytest.mark.parametrize("weighted", [False, True])


@MEASURES
@WEIGHTED
def test_centralities_networkx(coco, measure, weighted):
    check_measure(coco, measure, weighted, "networkx")


@MEASURES
@WEIGHTED
def test_centralities_graph_tool(coco, graph_tool, measure, weighted):
    check_measure(coco, measure, weighted, "graph-tool")


def test_people_are_left_out_unless_asked_for(coco):
    data, _, _ = coco
    assert not {n.lower() for n in find_triggers(data).table["name"]} & PEOPLE_NAMES.keys()
    everyone = find_triggers(data, exclude=())
    assert everyone.table["name"][0] == "person"
    with pytest.raises(UserError, match="excluded as a trigger"):
        find_triggers(data)["person"]


def test_candidates_are_those_of_networkx_in_the_same_order(coco):
    data, g, _ = coco
    found = find_triggers(data, exclude=(), min_classes=0)
    scores = nx.betweenness_centrality(g)
    expected = sorted(scores, key=lambda label: (-round(scores[label], 10), label))[:50]
    assert found.table.label.tolist() == expected


def test_class_sets_hold_on_real_labels(coco, images_of):
    data, g, _ = coco
    found = find_triggers(data, min_clean=200, min_poison=20)
    assert len(found) > 10
    for trigger, chosen in zip(found.table.label, map(found.__getitem__, found.table.label)):
        assert all(g.has_edge(trigger, c) for c in chosen.label)
        assert not any(g.has_edge(a, b) for a, b in combinations(chosen.label, 2))
        for row in chosen.itertuples():
            both = len(images_of[row.label] & images_of[trigger])
            only = len(images_of[row.label] - images_of[trigger])
            assert (row.overlaps, row.n_poison, row.n_clean) == (both, both, only)
            assert only >= 200 and both >= 20


@pytest.mark.parametrize("k", [0, 5, 40])
def test_classes_share_at_most_k_images(coco, images_of, k):
    found = find_triggers(coco[0], max_overlaps_with_others=k, n_triggers=5)
    for label in found.table.label:
        for a, b in combinations(found[label].label, 2):
            assert len(images_of[a] & images_of[b]) <= k


def test_same_seed_same_sets(coco):
    data = coco[0]
    first, again, other = (find_triggers(data, subset="mis", seed=s) for s in (3, 3, 4))
    assert all(first.sets[t].equals(again.sets[t]) for t in first.sets)
    assert any(not first.sets[t].equals(other.sets[t]) for t in first.sets)
    # what is proven does not depend on it
    one, two = (find_triggers(data, seed=s) for s in (3, 4))
    assert (
        all(one.sets[t].equals(two.sets[t]) for t in one.sets)
        and (one.table.bound == one.table.n_classes).all()
    )


def test_file_of_the_published_schema(coco, tmp_path):
    import json

    found = find_triggers(coco[0], weighted=True)
    file = found.to_json(tmp_path)
    assert file.name == (
        "possible_triggers__centrality_betweenness_WT__numTrigs_50__subset_exact__minOverlap_15"
        "__maxOtherOverlap_-1__data_coco.json"
    )
    records = json.loads(file.read_text())
    assert [set(r) for r in records] == [{"trigger", "centrality", "classes"}] * len(records)
    assert set(records[0]["trigger"]) == {"id", "label", "name"}
    assert set(records[0]["classes"][0]) == {
        "id",
        "label",
        "name",
        "weight",
        "num_clean",
        "num_poison",
    }
    scores = [r["centrality"] for r in records]
    assert scores == sorted(scores, reverse=True)
    assert all(np.diff([c["weight"] for c in r["classes"]]).max(initial=0) <= 0 for r in records)
