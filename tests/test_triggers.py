"The answer: candidates on real labels, several objects, disjoint triggers, people, reasons, files"

import json
from dataclasses import replace
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
from natural_backdoors.graph.overlaps import count_overlaps
from natural_backdoors.sets.class_sets import FINDERS
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


@settings(max_examples=25, deadline=None, derandomize=True)
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


@settings(max_examples=25, deadline=None, derandomize=True)
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


def apply(source, found, change):
    "The whole search with other settings, as a user would ask for it"
    return find_triggers(source, replace(found.settings, **change))


def check_explanation(source, found, trigger, cls):
    "What is said to admit a class does; what is said to be needed, is"
    said = found.explain(trigger, cls)
    own = found.sets.get(trigger)
    assert said.chosen == (own is not None and cls in set(own.id)) == (not said.reasons)
    for reason in said.reasons:
        assert reason.admit == said.admit or len(said.reasons) > 1
    if said.admit:
        then = apply(source, found, said.admit)
        assert cls in set(then[trigger].id), (str(said), said.admit)
        assert "admitted by" in str(said)
    else:
        assert "admitted by" not in str(said)
    for reason in said.reasons:  # all the rest of the change, and not this
        for name in reason.needs:
            rest = {k: v for k, v in said.admit.items() if k != name}
            if said.admit and rest != said.admit:
                without = apply(source, found, rest)
                assert trigger not in without.sets or cls not in set(without[trigger].id)
        if reason.is_final:
            both = found.overlaps.count(trigger, cls)
            assert trigger == cls or not both or cls in found.overlaps.members.get(trigger, ())
    return said


SETTINGS = st.fixed_dictionaries(
    {
        "min_overlaps": st.integers(1, 6),
        "min_clean": st.integers(0, 6),
        "min_poison": st.integers(0, 5),
        "min_classes": st.integers(0, 3),
        "n_triggers": st.integers(1, 7),
        "max_overlaps_with_others": st.integers(-1, 5),
        "subset": st.sampled_from(["exact", "exact", "mis", "none"]),
        "exclude": st.sampled_from([(), ("a",), ("b", "c")]),
    },
    optional={"max_classes": st.integers(1, 3), "weights": st.just("poison")},
)


@settings(max_examples=12, deadline=None, derandomize=True)
@given(SMALL, SETTINGS, st.data())
def test_what_is_said_to_admit_a_class_does(images, how, data):
    if how["subset"] != "exact":
        how = {k: v for k, v in how.items() if k not in ("max_classes", "weights")}
    overlaps = count_overlaps(table_of(images).label_matrix())
    classes = overlaps.classes.label.tolist()
    how["exclude"] = tuple(label for label in how["exclude"] if label in classes)
    try:
        found = find_triggers(overlaps, **how)
    except UserError:
        assume(False)
    ids = st.integers(0, len(classes) - 1)
    for _ in range(2):
        trigger, cls = data.draw(ids), data.draw(ids)
        said = check_explanation(overlaps, found, trigger, cls)
        # so few classes are settled at once: whatever shares an image can be admitted
        hopeless = any(reason.is_final for reason in said.reasons)
        assert said.chosen or said.admit or hopeless or "left out" in str(said)
        for reason in found.why_not(trigger):
            if reason.admit:
                assert trigger in apply(overlaps, found, reason.admit).sets, str(reason)


@pytest.mark.parametrize(
    "name, how",
    [
        ("coco", {"min_clean": 200, "min_poison": 30, "exclude": (), "n_triggers": 12}),
        ("voc", {"max_classes": 3, "n_triggers": 5}),
        ("voc", {"min_overlaps": 40, "max_overlaps_with_others": 60, "weights": "poison"}),
        ("voc", {"subset": "mis", "centrality": "closeness", "weighted": True, "min_poison": 20}),
    ],
    ids=str,
)
def test_what_is_said_on_real_labels_holds(name, how, real_data):
    overlaps = count_overlaps(opened(name, real_data).label_matrix())
    found = find_triggers(overlaps, **how)
    draw = np.random.default_rng(0)
    kinds, n_admitted = set(), 0
    for trigger in (int(found.table.id[0]), int(found.ranking.index[-1])):
        for cls in draw.permutation(len(overlaps.classes))[:6].tolist():
            said = check_explanation(overlaps, found, trigger, cls)
            kinds |= {reason.kind for reason in said.reasons}
            n_admitted += bool(said.admit)
    assert kinds >= {"conflict"} and n_admitted >= 4


def test_triggers_that_were_not_taken(real_data):
    overlaps = count_overlaps(TableDataset(real_data("coco15k/labels.csv.gz")).label_matrix())
    few = find_triggers(overlaps, n_triggers=3, min_classes=3)
    rank = {id: n for n, id in enumerate(few.ranking.drop(few.params["excluded"]).index, 1)}
    for id in range(0, len(overlaps.classes), 10):
        reasons = few.why_not(id)
        assert bool(reasons) == (id not in few.sets)
        for reason in reasons:
            assert id in apply(overlaps, few, reason.admit).sets, str(reason)
            if reason.kind == "rank":
                assert reason.admit["n_triggers"] == rank[id]
    person = few.classes.set_index("name").id["person"]
    assert [r.kind for r in few.why_not(person)] == ["excluded"]
    assert few.why_not(person)[0].admit == {"exclude": ()}
    # those that were named, and those that were left out afterwards
    named = find_triggers(overlaps, triggers=["chair", "dog"])
    cat = overlaps.classes.set_index("name").id["cat"]
    assert [r.kind for r in named.why_not(cat)] == ["not asked for"]
    assert cat in apply(overlaps, named, named.why_not(cat)[0].admit).sets
    left = few.only(few.table.id[:1])
    assert [r.kind for r in left.why_not(int(few.table.id[1]))] == ["left out"]
    with pytest.raises(UserError, match=r"exclude=\(\) would admit it"):
        few["person"]


def test_sets_that_are_not_proven_are_told(monkeypatch):
    overlaps = count_overlaps(table_of([set("abc")] * 8 + [set("abd")] * 3).label_matrix())
    finder = FINDERS["exact"]

    def unproven(*args, **options):
        found = finder(*args, **options)
        return replace(found, bound=found.value + 5, settled=False)

    assert find_triggers(overlaps, min_overlaps=1).unproven == ""
    assert find_triggers(overlaps, min_overlaps=1, subset="mis").unproven == ""
    monkeypatch.setitem(FINDERS, "exact", unproven)
    for weights, unit in ((None, "classes"), ("poison", "poison images")):
        found = find_triggers(overlaps, min_overlaps=1, weights=weights)
        assert (found.table.gap == 5).all() and not found.optimal
        assert found.unproven == f"4 sets not proven, at most 5 {unit} more"
        assert found.unproven in repr(found) and found.unproven in found._repr_html_()
        assert found.only([0]).unproven == f"1 set not proven, at most 5 {unit} more"


def test_nothing_is_promised_that_is_not_settled(monkeypatch):
    "Where the set is not settled in time, another run might choose another one"
    overlaps = count_overlaps(table_of([set("abc")] * 8 + [set("ab")] * 3).label_matrix())
    found = find_triggers(overlaps, min_overlaps=1)
    a, c = (overlaps.classes.set_index("label").id[label] for label in "ac")
    assert found.explain(a, c).admit == {"max_overlaps_with_others": 8}
    finder = FINDERS["exact"]
    monkeypatch.setitem(FINDERS, "exact", lambda *a, **kw: replace(finder(*a, **kw), settled=False))
    said = found.explain(a, c)
    assert said.admit == {} and "admit" not in str(said) and "conflicts with 'b'" in str(said)


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


@settings(max_examples=20, deadline=None, derandomize=True)
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
