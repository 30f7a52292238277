"What grows with a square is refused where it should be, and a session keeps nothing of an analysis"

import gc
import weakref

import numpy as np
import pytest
from scipy import sparse

from natural_backdoors import UserError, find_triggers
from natural_backdoors.base.random import rng
from natural_backdoors.data.classes import class_table
from natural_backdoors.data.labels import LabelMatrix
from natural_backdoors.graph import centrality, cooccurrence
from natural_backdoors.graph.cograph import co_graph
from natural_backdoors.graph.overlaps import count_overlaps
from natural_backdoors.pick.state import PickerState
from natural_backdoors.sets import class_sets
from natural_backdoors.sets.search import find_classes


def labels_of(matrix):
    matrix = sparse.csr_array(np.asarray(matrix, np.uint8))
    names = class_table(f"thing {i:02}" for i in range(matrix.shape[1]))
    return LabelMatrix(matrix, np.arange(matrix.shape[0]).astype(str).astype(object), names)


@pytest.fixture(scope="module")
def labels():
    "300 images of 24 classes; class 0 is in every image"
    matrix = rng(1).random((300, 24)) < 0.15
    matrix[:, 0] = True
    return labels_of(matrix)


@pytest.mark.parametrize("cells", [1, 50, 10**6])
def test_pairs_of_classes(monkeypatch, labels, cells):
    "As many as there are is allowed, one more is not, however many rows a block has"
    matrix = labels.matrix.toarray().astype(int)
    n_pairs = np.count_nonzero(np.triu(matrix.T @ matrix))
    monkeypatch.setattr(cooccurrence, "MAX_PAIRS", n_pairs)
    counts = cooccurrence.product_by_blocks(labels.matrix, cells=cells).toarray()
    assert (counts == np.triu(matrix.T @ matrix)).all()
    monkeypatch.setattr(cooccurrence, "MAX_PAIRS", n_pairs - 1)
    most = matrix.sum(axis=1).max()
    with pytest.raises(UserError, match=f"24 classes .*one image carries {most} labels.*MAX_PAIRS"):
        cooccurrence.product_by_blocks(labels.matrix, cells=cells)


@pytest.mark.parametrize("measure", centrality.MEASURES)
def test_shortest_paths(monkeypatch, labels, measure):
    "Only measures of paths are refused, on every engine, and only above the limit"
    graph = co_graph(count_overlaps(labels), 5)
    expected = centrality.centrality(graph, measure)
    size = len(graph.vertices) * len(graph.edges)
    monkeypatch.setattr(centrality, "MAX_PATHS", size)
    assert centrality.centrality(graph, measure).equals(expected)
    monkeypatch.setattr(centrality, "MAX_PATHS", size - 1)
    if measure not in ("betweenness", "closeness", "harmonic"):
        assert centrality.centrality(graph, measure).equals(expected)
        return
    for engine in ("auto", "scipy", "networkx"):
        with pytest.raises(UserError, match=f"{measure} needs .*min_overlaps .is 5.*degree"):
            centrality.centrality(graph, measure, engine=engine)
    monkeypatch.setattr(centrality, "MAX_PATHS", 10 * size)  # an edge with a length counts as ten
    centrality.centrality(graph, measure, weighted=True)
    monkeypatch.setattr(centrality, "MAX_PATHS", 10 * size - 1)
    with pytest.raises(UserError, match="ten times that where edges have lengths"):
        centrality.centrality(graph, measure, weighted=True)


def test_neighbors(monkeypatch, labels):
    "The message names the trigger, and its advice is enough"
    overlaps = count_overlaps(labels)
    shared = np.sort(overlaps.counts[[0]].toarray().ravel()[1:])[::-1]
    monkeypatch.setattr(class_sets, "MAX_NEIGHBORS", 10)
    with pytest.raises(UserError, match="'thing 00' meets 23 classes") as refused:
        find_triggers(labels, min_overlaps=1, exclude=())
    least = int(shared[9]) + 1
    assert f"min_poison to {least}," in str(refused.value)
    for how in ({"min_overlaps": least}, {"min_overlaps": 1, "min_poison": least}):
        graph = co_graph(overlaps, how["min_overlaps"])
        chosen, _ = find_classes(overlaps, graph, 0, **how)
        assert (chosen.n_poison >= least).all()
    with pytest.raises(UserError, match="11 classes are too many"):
        class_sets.conflicts(overlaps, co_graph(overlaps, 1), np.arange(11))
    assert class_sets.conflicts(overlaps, co_graph(overlaps, 1), np.arange(10)).shape == (10, 10)


def test_a_session_of_the_picker_keeps_one_analysis(labels):
    state, before = PickerState.of(labels, exclude=(), min_overlaps=1), []
    for k in range(6):
        found = state.analyze({"exclude_people": False, "exclude": [], "min_overlaps": 5 + k})
        state.accept(found)
        state.pick(int(found.table.id.iloc[0]))
        before.append(weakref.ref(found))
        del found
    gc.collect()
    assert [ref() is None for ref in before] == [True] * 5 + [False]
    assert before[-1]() is state.found


def test_one_class_in_every_image(labels):
    "It has no clean images, and every other class has all of its images with it"
    found = find_triggers(labels, min_overlaps=1, triggers=(0,))
    images = labels.matrix.toarray().sum(axis=0)
    table = found[0]
    assert (table.n_clean == 0).all() and table.n_poison.tolist() == images[table.id].tolist()
    assert (
        len(find_triggers(labels, min_overlaps=1, triggers=(0,), min_clean=1, min_classes=0)[0])
        == 0
    )
