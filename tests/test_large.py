"What is done for the sake of millions of images gives what plain loops give"

import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from natural_backdoors import TableDataset, UserError
from natural_backdoors.base.random import rng
from natural_backdoors.data.classes import class_table
from natural_backdoors.data.label_table import USUAL_FOLDERS, file_of_image
from natural_backdoors.data.labels import combine
from natural_backdoors.graph import association
from natural_backdoors.graph.association import adjust, chance
from natural_backdoors.graph.overlaps import Overlaps
from natural_backdoors.split import poison
from natural_backdoors.split.plan import check_attacks
from natural_backdoors.split.settings import SplitSettings


@pytest.mark.parametrize("block", [1, 7, 64, 10_000])
def test_chance_by_blocks_is_that_of_each_pair_alone(block, monkeypatch):
    draw = np.random.default_rng(0)
    n_images = 400
    a, b = draw.integers(1, n_images, (2, 150))
    shared = draw.integers(np.maximum(a + b - n_images, 0), np.minimum(a, b) + 1)
    monkeypatch.setattr(association, "_BLOCK", block)
    found = chance(shared, a, b, n_images)
    np.testing.assert_allclose(found, stats.hypergeom.sf(shared - 1, n_images, a, b), rtol=1e-8)
    # few pairs of a large dataset take their factorials one by one, many from a table
    alone = [chance(k, i, j, n_images) for k, i, j in zip(shared, a, b)]
    np.testing.assert_array_equal(found, np.array(alone))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.one_of(st.sampled_from([0.0, 0.01, 0.5, 1.0]), st.floats(0, 1))), st.integers(0, 30)
)
def test_adjusted_values_by_a_plain_loop(p_values, more):
    n_tests, wanted = len(p_values) + more, []
    for p in p_values:  # the best that any cut at this value or above comes to
        cuts = [c for c in p_values if c >= p]
        wanted.append(min(min(c * n_tests / sum(q <= c for q in p_values), 1) for c in cuts))
    np.testing.assert_allclose(adjust(p_values, n_tests), wanted, rtol=1e-12)


@pytest.mark.parametrize("is_sorted", [True, False])
def test_pairs_are_sorted_whatever_the_counts_are(is_sorted):
    draw = np.random.default_rng(1)
    x = sparse.csr_array((draw.random((50, 12)) < 0.3).astype(np.int64))
    counts = sparse.csr_array(x.T @ x)
    counts.sort_indices()
    if not is_sorted:
        for start, end in zip(counts.indptr, counts.indptr[1:]):
            counts.indices[start:end] = counts.indices[start:end][::-1].copy()
            counts.data[start:end] = counts.data[start:end][::-1].copy()
        counts.has_sorted_indices = False
    overlaps = Overlaps(counts, class_table(f"c{i:02d}" for i in range(12)), 50)
    dense = (x.T @ x).toarray()
    wanted = [[i, j, dense[i, j]] for i in range(12) for j in range(i + 1, 12) if dense[i, j] >= 3]
    assert overlaps.pairs(3).to_numpy().tolist() == wanted


def test_columns_that_are_kept_are_those_of_the_split_and_of_no_combination():
    rows = [("1", "a", "train"), ("1", "b", "train"), ("2", "b", "train"), ("3", "a", "val")]
    data = TableDataset(pd.DataFrame(rows, columns=["image", "label", "split"]))
    for _ in range(2):
        train, val = data.label_matrix("train"), data.label_matrix("val")
        assert [train.places(i).tolist() for i in (0, 1)] == [[0], [0, 1]]
        assert [val.places(i).tolist() for i in (0, 1)] == [[0], []]
        together = combine(train, [(0, 1)])
        assert [together.places(i).tolist() for i in (0, 1, 2)] == [[0], [0, 1], [0]]
    assert data.label_matrix("train").places(0) is not val.places(0)


def test_a_file_is_looked_for_in_the_usual_folders_and_nowhere_above(tmp_path):
    for folder in ("", *USUAL_FOLDERS):
        (tmp_path / "root" / folder / "deep").mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / folder / "deep" / f"{folder or 'top'}.jpg").touch()
    (tmp_path / "above.jpg").touch()
    root = tmp_path / "root"
    assert file_of_image("deep/top.jpg", root, False) == root / "deep/top.jpg"
    for folder in USUAL_FOLDERS:
        name = f"deep/{folder}.jpg"
        assert os.path.samefile(file_of_image(name, root, False), root / folder / name)
    assert file_of_image("deep/none.jpg", root, False) == root / "deep/none.jpg"
    for name in ("../above.jpg", "deep/../../above.jpg", str(tmp_path / "above.jpg")):
        with pytest.raises(UserError, match="leads out"):
            file_of_image(name, root, False)


def test_added_classes_are_those_of_a_loop_that_plans_each_time():
    "Candidates that are passed over without a plan are those whose plan would fail"
    asked_of, found = {"n_clean": 10, "inject_rate": 0.05, "check_images": False}, []
    for seed in range(6):
        draw = np.random.default_rng(seed)
        shows = draw.random((300, 12)) < draw.uniform(0.05, 0.25, 12)
        image, label = (at.astype(str).astype(object) for at in np.nonzero(shows))
        data = TableDataset(pd.DataFrame({"image": image, "label": "c" + label}))
        settings_ = SplitSettings(seed=seed, add_classes=2, **asked_of)
        labels, attacks, ids = check_attacks(data.label_matrix(), [("c0", "c1")], ["c1", "c2"])
        asked, added = poison._Request(labels, attacks, ids, ids, settings_), []
        for cls in rng(seed, 0, 1).permutation(12).tolist():
            free = cls not in (*ids, attacks[0].trigger) and len(added) < 2
            if free and poison._fits(asked, [*added, cls]):
                added.append(cls)
        try:
            split = poison.poison_split(data, "c0", ["c1", "c2"], "c1", settings=settings_)
        except UserError as e:
            assert len(added) < 2, e
            continue
        assert [c["id"] for c in split.header["added_classes"]] == sorted(added)
        found.append(added)
    assert len(found) > 3
