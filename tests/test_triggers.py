"The answer: candidates on real labels, several objects, disjoint triggers, people, reasons, files"

import json
from itertools import combinations

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from natural_backdoors.base.errors import UserError
from natural_backdoors.data.classes import class_table, people, people_kinds
from natural_backdoors.data.openimages import read_descriptions
from natural_backdoors.data.table import TableDataset
from natural_backdoors.sets.combinations import disjoint_triggers, find_pairs, poison_images
from natural_backdoors.sets.triggers import Triggers, find_triggers


def opened(name, real_data):
    if name == "coco":
        return TableDataset(real_data("coco15k/labels.csv.gz"), name="coco")
    if name == "voc":
        from natural_backdoors.data.voc import PascalVOC

        return PascalVOC(real_data("voc2007"), splits="all")
    from natural_backdoors.data.imagenet import ImageNetReaL

    return ImageNetReaL(real_data("imagenet_real"))


@pytest.mark.parametrize("name", ["coco", "voc", "imagenet_real"])
def test_candidates_and_sets_on_real_labels(name, real_data):
    data = opened(name, real_data)
    found = find_triggers(data, exclude=())
    dense = data.label_matrix().matrix.astype(np.int64)
    counts = (dense.T @ dense).toarray()
    np.fill_diagonal(counts, 0)
    g = nx.Graph([(a, b) for a, b in np.argwhere(counts >= 15).tolist()])
    scores = nx.betweenness_centrality(g)
    assert (
        found.ranking.index[:50].tolist()
        == sorted(scores, key=lambda i: (-round(scores[i] / max(scores.values()), 10), i))[:50]
    )
    assert set(found.table.id) == set(found.ranking.index[:50]), (
        "each has a class, so none is left out"
    )
    draws = find_triggers(data, exclude=(), subset="mis", n_draws=20)
    assert (
        found.optimal
        and (found.table.n_classes.to_numpy() >= draws.table.n_classes.to_numpy()).all()
    )
    assert not draws.optimal and draws.table.gap.isna().all()
    if name == "coco":
        assert found.table.n_classes.sum() == 305


SMALL = st.lists(
    st.sets(st.sampled_from("abcdefg"), min_size=1, max_size=5), min_size=6, max_size=60
)


def table_of(images):
    return TableDataset(
        pd.DataFrame(
            [(str(i), l) for i, ls in enumerate(images) for l in sorted(ls)],
            columns=["image", "label"],
        )
    )


def best_set(near, conflict):
    "The size of the largest subset of `near` without a conflict, by trying all"
    return max(
        len(c)
        for k in range(len(near) + 1)
        for c in combinations(near, k)
        if not any(frozenset(p) in conflict for p in combinations(c, 2))
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    SMALL,
    st.integers(1, 4),
    st.sampled_from([("a", "b"), ("a", "b", "c"), ("b", "g")]),
    st.sampled_from([-1, 0, 2]),
)
def test_several_objects_against_plain_sets(images, low, objects, k):
    assume(set(objects) <= set().union(*images))
    counts = {
        frozenset(p): sum(set(p) <= i for i in images)
        for p in combinations(sorted(set().union(*images)), 2)
    }
    assume(any(n >= low for n in counts.values()))
    with_all = [i for i in images if set(objects) <= i]
    near = [
        c
        for c in sorted(set().union(*images) - set(objects))
        if sum(c in i for i in with_all) >= low
    ]
    conflict = {p for p, n in counts.items() if (n >= low if k == -1 else n > k)}
    found = find_triggers(
        table_of(images), triggers=[objects], min_overlaps=low, max_overlaps_with_others=k
    )
    if not near:
        assert len(found) == 0
        return
    assert found.table.n_classes.tolist() == [best_set(near, conflict)] and found.optimal
    for row in found[objects].itertuples():
        assert row.label in near
        assert row.n_poison == row.overlaps == sum(row.label in i for i in with_all)
        assert row.n_clean == sum(row.label in i and not set(objects) <= i for i in images)
    # a search by name does not change what the single classes score
    alone = find_triggers(table_of(images), min_overlaps=low, exclude=())
    joint = {i for i in found.ranking.index if i in found.overlaps.members}
    pd.testing.assert_series_equal(found.ranking.drop(joint), alone.ranking)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SMALL, st.integers(1, 3), st.integers(0, 3))
def test_disjoint_triggers_by_trying_all(images, k, max_shared):
    data = table_of(images)
    try:
        found = find_triggers(data, min_overlaps=1, exclude=())
    except UserError:
        assume(False)
    masks = poison_images(found, data.label_matrix())
    fits = [
        c
        for c in combinations(range(len(found)), k)
        if all((masks[:, a] & masks[:, b]).sum() <= max_shared for a, b in combinations(c, 2))
    ]
    if not fits:
        with pytest.raises(UserError, match="at most .* of these"):
            disjoint_triggers(found, k, max_shared)
        return
    chosen = disjoint_triggers(found, k, max_shared)
    position = {t: i for i, t in enumerate(found.table.id)}
    taken = [position[t] for t in chosen.table.id]
    assert tuple(taken) in fits, "by falling centrality, as before"
    assert masks[:, taken].sum() == max(masks[:, list(c)].sum() for c in fits)


def test_pairs_on_coco(real_data):
    data = TableDataset(real_data("coco15k/labels.csv.gz"), name="coco")
    found = find_triggers(data, n_triggers=12)
    best = find_pairs(found, 10)
    order = list(zip(best.table.n_classes, best.table.n_poison))
    assert len(best) == 10 and order == sorted(order, reverse=True) and best.optimal
    x = data.label_matrix()
    for t in best.table.id.tolist():
        a, b = best.overlaps.members[t]
        both = x.column(a) & x.column(b)
        assert best.overlaps.images_of[t] == both.sum() and {a, b} <= set(found.table.id)
        assert all(
            (both & x.column(c)).sum() == n for c, n in zip(best.sets[t].id, best.sets[t].n_poison)
        )


def test_people_of_the_class_lists(real_data):
    names = read_descriptions(real_data("openimages/class-descriptions-boxable.csv"))
    table = class_table(names, names)
    found = set(table.name[people(table)])
    # the official hierarchy, gone through by hand
    tree, below = (
        json.loads(real_data("openimages/bbox_labels_600_hierarchy.json").read_text()),
        set(),
    )

    def walk(node, inside):
        inside = inside or names.get(node["LabelName"]) in ("Person", "Human body")
        if inside:
            below.add(names[node["LabelName"]])
        for part in ("Subcategory", "Part"):
            for child in node.get(part, []):
                walk(child, inside)

    walk(tree, False)
    assert found == below and len(below) == 19
    assert people_kinds(table)[table.id[table.name == "Skull"].iloc[0]] == "human part"
    index = json.loads(real_data("imagenet_real/imagenet_class_index.json").read_text())
    table = class_table([w for w, _ in index.values()], dict(index.values()))
    # the descendants of person.n.01 among the thousand; `ear` is one of corn
    assert sorted(table.name[people(table)]) == ["ballplayer", "groom", "scuba_diver"]
    assert "ear" in set(table.name)
    coco = TableDataset(real_data("coco15k/labels.csv.gz"))
    assert coco.classes.name[people(coco.classes)].tolist() == ["person"]


def test_every_reason_names_the_threshold_that_lifts_it(real_data):
    data = TableDataset(real_data("coco15k/labels.csv.gz"), name="coco")
    overlaps = find_triggers(data).overlaps
    params = dict(min_overlaps=15, min_clean=200, min_poison=30, exclude=())
    found = find_triggers(overlaps, **params)
    seen = set()
    for trigger in found.table.id[:3].tolist():
        for c in range(len(data.classes)):
            for reason in found.explain(trigger, c).reasons:
                if not reason.admit or (reason.kind, trigger) in seen:
                    continue
                seen.add((reason.kind, trigger))
                again = find_triggers(overlaps, **{**params, **reason.admit}, n_triggers=80)
                kinds = {r.kind for r in again.explain(trigger, c).reasons}
                assert reason.kind not in kinds - {"conflict"}, (reason, kinds)
                if reason.kind == "conflict":
                    # it no longer conflicts with those that were named
                    shared = max(overlaps.count(c, o) for o in found.sets[trigger].id)
                    assert shared <= reason.admit["max_overlaps_with_others"] or shared < 15
    assert {k for k, _ in seen} >= {"no edge", "clean", "poison", "conflict"}
    # and those of triggers that were not taken
    for id, kind in ((found.ranking.index[-1], "rank"), (data.resolve("person"), "excluded")):
        few = find_triggers(overlaps, **{**params, "exclude": "people"}, n_triggers=3)
        reason = next(r for r in few.why_not(id) if r.kind == kind)
        again = find_triggers(
            overlaps, **{**params, "exclude": "people", "n_triggers": 3, **reason.admit}
        )
        assert kind not in {r.kind for r in again.why_not(id)}


# As the published code writes it: indented, ids as numbers, classes by falling weight, no other
# fields
PUBLISHED = """[
    {
        "trigger": {"id": 416, "label": "/m/0hnnb", "name": "Umbrella"},
        "centrality": 0.0417,
        "classes": [
            {
                "id": 65, "label": "/m/01940j", "name": "Backpack",
                "weight": 77, "num_clean": 1200, "num_poison": 77
            },
            {
                "id": 326, "label": "/m/03fp41", "name": "Houseplant",
                "weight": 31, "num_clean": 990, "num_poison": 31
            }
        ]
    },
    {
        "trigger": {"id": 0, "label": "/m/011k07", "name": "Tortoise"},
        "centrality": 0.0,
        "classes": []
    }
]"""


def test_a_file_of_the_published_code(tmp_path):
    name = (
        "possible_triggers__centrality_evector_WT__numTrigs_50__subset_mis__minOverlap_15"
        "__maxOtherOverlap_-1"
        "__data_openimages.json"
    )
    (tmp_path / name).write_text(PUBLISHED)
    found = Triggers.from_json(tmp_path / name)
    assert found.table["name"].tolist() == [
        "Umbrella",
        "Tortoise",
    ] and found.table.n_classes.tolist() == [2, 0]
    assert (
        found["Umbrella"].overlaps.tolist() == [77, 31]
        and found[0].empty
        and found[416].n_clean.tolist() == [1200, 990]
    )
    assert found.for_class("Houseplant")["name"].tolist() == ["Umbrella"]
    assert (
        found.params
        == {
            "centrality": "eigenvector",
            "weighted": True,
            "n_triggers": 50,
            "subset": "mis",
            "min_overlaps": 15,
            "max_overlaps_with_others": -1,
        }
        and found.dataset == "openimages"
    )
    # written again it has the same name and says the same
    again = found.to_json(tmp_path / "again")
    assert again.name == name and json.loads(again.read_text()) == json.loads(PUBLISHED)
    with pytest.raises(UserError, match="from a file have no graph"):
        found.explain("Umbrella", "Backpack")
    assert repr(found).startswith("Triggers: 2 in 'openimages'") and "no proof" in repr(found)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SMALL, st.integers(1, 3), st.booleans())
def test_json_round_trip(tmp_path_factory, images, low, pairs):
    data = table_of(images)
    try:
        found = find_triggers(
            data, min_overlaps=low, exclude=(), triggers=[("a", "b"), "c"] if pairs else None
        )
    except UserError:
        assume(False)
    folder = tmp_path_factory.mktemp("round")
    again = Triggers.from_json(found.to_json(folder))
    assert again.table["name"].tolist() == found.table["name"].tolist()
    for a, b in zip(found.table.id, again.table.id):
        pd.testing.assert_frame_equal(
            found.sets[a], again.sets[b], check_dtype=len(found.sets[a]) > 0
        )
    assert again.to_json(folder / "second").read_text() == found.to_json(folder).read_text()
