"The co-occurrence product against plain loops and scipy, on matrices drawn at random"

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from natural_backdoors import UserError
from natural_backdoors.graph.cooccurrence import cooccurrence, mirror, product_by_blocks


@st.composite
def label_sets(draw, n_images=None):
    "The labels of each image, and the number of classes"
    n_classes = draw(st.integers(0, 12))
    ids = st.sets(st.integers(0, n_classes - 1)) if n_classes else st.just(set())
    size = {} if n_images is None else {"min_size": n_images, "max_size": n_images}
    return draw(st.lists(ids, **({"max_size": 30} | size))), n_classes


def as_matrix(labels, n_classes):
    dense = np.zeros((len(labels), n_classes), np.uint8)
    for i, ids in enumerate(labels):
        dense[i, list(ids)] = 1
    return sparse.csr_array(dense)


def by_loops(a, n, b, m):
    counts = np.zeros((n, m), int)
    for one, other in zip(a, b):
        for i, j in product(one, other):
            counts[i, j] += 1
    return counts


def check_form(found):
    assert found.dtype == np.int32 and found.has_canonical_format and (found.data > 0).all()


@settings(max_examples=70, deadline=None)
@given(label_sets(), st.integers(1, 40), st.integers(1, 40))
def test_one_matrix(drawn, cells, room):
    labels, n = drawn
    x, expected = as_matrix(labels, n), by_loops(labels, n, labels, n)
    found = cooccurrence(x)
    assert found.toarray().tolist() == expected.tolist()
    assert cooccurrence(x, upper=True).toarray().tolist() == np.triu(expected).tolist()
    # blocks and pieces of any size give the same
    in_pieces = product_by_blocks(x, None, cells=cells, room=room)
    assert mirror(in_pieces).toarray().tolist() == expected.tolist()
    for m in (found, in_pieces):
        check_form(m)


@settings(max_examples=70, deadline=None)
@given(st.data(), st.integers(0, 20), st.integers(1, 40), st.integers(1, 40))
def test_two_matrices(data, n_images, cells, room):
    (a, n), (b, m) = data.draw(label_sets(n_images)), data.draw(label_sets(n_images))
    x, y, expected = as_matrix(a, n), as_matrix(b, m), by_loops(a, n, b, m)
    for found in (cooccurrence(x, y), product_by_blocks(x, y, cells=cells, room=room)):
        assert found.shape == (n, m) and found.toarray().tolist() == expected.tolist()
        check_form(found)


@pytest.mark.parametrize("n_classes", [3, 600, 20_000])
def test_against_scipy(n_classes):
    draw = np.random.default_rng(n_classes)
    ids = (n_classes * draw.random(60_000) ** 3).astype(int)
    x = sparse.coo_array(
        (np.ones(60_000, bool), (draw.integers(0, 9_000, 60_000), ids)), shape=(9_000, n_classes)
    )
    x = x.tocsr()
    wide = x.astype(np.int64)
    assert (cooccurrence(x) != wide.T @ wide).nnz == 0
    half = wide[:, ::2]
    assert (cooccurrence(x, half) != wide.T @ half).nnz == 0


def test_the_argument_is_left_alone():
    x = sparse.csr_array((np.array([1, 0, 1], np.uint8), [2, 1, 0], [0, 3]), shape=(1, 3))
    assert cooccurrence(x).toarray().tolist() == [[1, 0, 1], [0, 0, 0], [1, 0, 1]]
    assert x.indices.tolist() == [2, 1, 0] and x.data.tolist() == [1, 0, 1]


def test_read_only_arrays():
    x = as_matrix([{0, 2}, {1, 2}, {2}], 3)
    for a in (x.data, x.indices, x.indptr):
        a.flags.writeable = False
    assert cooccurrence(x).toarray().tolist() == [[1, 0, 1], [0, 1, 1], [1, 1, 3]]


def test_mistakes():
    x = as_matrix([{0}, {1}], 2)
    for bad in (
        lambda: cooccurrence(x.toarray()),
        lambda: cooccurrence(x * 2),
        lambda: cooccurrence(x, x[:1]),
        lambda: cooccurrence(sparse.coo_array((2**31, 1), dtype=np.uint8)),
    ):
        with pytest.raises(UserError):
            bad()
