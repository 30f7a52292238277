"Defenses beside independent implementations, and what they must not see"

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

pytest.importorskip("sklearn")
torch = pytest.importorskip("torch")

from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from natural_backdoors.base.errors import UserError
from natural_backdoors.defend.clustering import ActivationClustering, independent_components
from natural_backdoors.defend.defenses import (
    DEFENSES,
    DataResult,
    Defense,
    ImageSet,
    available_defenses,
    defense_class,
    defense_list,
    defense_may_be_named,
    make_defense,
    run_defense,
)
from natural_backdoors.defend.example import made_features, made_pictures
from natural_backdoors.defend.isolation import LossIsolation
from natural_backdoors.defend.judging import judge_flags, judge_scores, run_blind
from natural_backdoors.defend.label_audit import held_out_probabilities, mislabeled
from natural_backdoors.defend.neighbors import NearestNeighbors, neighbor_votes
from natural_backdoors.defend.parts import one_thread as one_core
from natural_backdoors.defend.references import Perfect
from natural_backdoors.defend.scale_up import ScaleUp
from natural_backdoors.defend.scan import Scan, variation
from natural_backdoors.defend.spectral import SpectralSignatures, spectral_scores
from natural_backdoors.defend.spectre import Spectre, robust_shape, shape_of
from natural_backdoors.defend.strip import Strip

REFERENCES = ("random", "perfect")
OF_DATA = [
    name for name in DEFENSES if name not in REFERENCES and defense_class(name).stage == "data"
]
few = settings(max_examples=20, deadline=None)
each_of_data = pytest.mark.parametrize("name", OF_DATA)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    "The examples are small, and other tests may be running"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small():
    "A patch in five classes"
    return made_features("patch", n_images=60, rate=0.05, n_features=24)


@pytest.fixture(scope="module")
def answers(small):
    "{name of a defense: what it says}, each run once"
    return {name: run_defense(make_defense(name), small.given) for name in OF_DATA}


# --- judging

scored = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30)


@few
@given(scored)
def test_auroc_and_precision_are_those_of_scikit_learn(pairs):
    scores, poison = (np.array(column) for column in zip(*pairs))
    judged = judge_scores(scores, poison.astype(bool), resamples=100)
    if poison.all() or not poison.any():
        assert {share["value"] for share in judged.values()} == {None}
        return
    assert judged["auroc"]["value"] == pytest.approx(roc_auc_score(poison, scores))
    expected = average_precision_score(poison, scores)
    assert judged["average_precision"]["value"] == pytest.approx(expected)
    for share in judged.values():
        assert 0 <= share["low"] <= share["value"] <= share["high"] <= 1
        assert share["low"] < share["high"], "a handful of images is not certainty"


@few
@given(scored, st.sampled_from([0.01, 0.05, 0.1]))
def test_the_share_found_at_few_false_alarms_by_plain_loops(pairs, most):
    poisoned = [score for score, is_poison in pairs if is_poison]
    clean = [score for score, is_poison in pairs if not is_poison]
    if not poisoned or not clean:
        return
    best = 0
    for threshold in range(8):
        alarms = sum(score >= threshold for score in clean)
        if alarms <= most * len(clean):
            best = max(best, sum(score >= threshold for score in poisoned))
    scores, poison = (np.array(column) for column in zip(*pairs))
    judged = judge_scores(scores, poison.astype(bool), resamples=100)
    assert judged[f"tpr_at_fpr_{round(100 * most)}"]["value"] == pytest.approx(best / len(poisoned))


def test_intervals_do_not_depend_on_the_scale_of_scores_and_are_seeded():
    draw = np.random.default_rng(0)
    scores, poison = draw.normal(size=80), np.arange(80) < 20
    judged = judge_scores(scores, poison, seed=3, resamples=100)
    assert judge_scores(np.exp(scores), poison, seed=3, resamples=100) == judged
    assert judge_scores(scores, poison, seed=4, resamples=100) != judged


def test_flags_by_plain_counts():
    flagged, poison = np.array([1, 1, 0, 0, 0], bool), np.array([1, 0, 1, 0, 0], bool)
    judged = judge_flags(flagged, poison)
    assert [(s["hits"], s["n"]) for s in judged.values()] == [(1, 2), (1, 3)]


# --- what a defense must not see


class Cheat(Perfect):
    "Looks for names, for the order, and for anything else that it could be told"

    def run(self, given):
        for images in (given.train, given.clean):
            for array in (images.labels, images.features):
                assert type(array) is np.ndarray and array.base is None
        assert not {"role", "poison", "path", "paths", "image", "names"} & set(vars(given))
        n = len(given.train)
        return DataResult(np.arange(n, dtype=float), np.arange(n) >= n - 40)


def test_order_and_names_say_nothing(tmp_path):
    example = made_features("none", n_images=100, rate=0.3)
    given, poison = example.given, example.poison
    file = tmp_path / "poison_last.npy"
    features = np.memmap(file, np.float32, "w+", shape=given.train.features.shape)
    features[:] = given.train.features
    given = replace(given, train=ImageSet(given.train.labels, features))
    open_eyed = Cheat().run(replace(example.given, train=example.given.train.take(np.arange(715))))
    assert judge_scores(open_eyed.scores, poison, resamples=100)["auroc"]["value"] == 1
    for seed in range(3):
        found = run_blind(Cheat(), given, poison, seed=seed).result
        auroc = judge_scores(found.scores, poison, resamples=100)["auroc"]
        assert auroc["low"] < 0.5 < auroc["high"]


def test_answers_come_back_in_the_order_that_was_given(small):
    blind = run_blind(SpectralSignatures(), small.given, small.poison).result
    open_eyed = run_defense(SpectralSignatures(), small.given)
    assert blind.scores == pytest.approx(open_eyed.scores)
    assert blind.flagged.tolist() == open_eyed.flagged.tolist()
    for name, variant in blind.variants.items():
        assert variant.flagged.tolist() == open_eyed.variants[name].flagged.tolist()


# --- independent implementations


@pytest.fixture(scope="module")
def art():
    "The adversarial-robustness-toolbox"
    return pytest.importorskip("art.defences.detector.poison")


def test_spectral_scores_beside_the_toolbox(art, small):
    theirs = art.SpectralSignatureDefense.spectral_signature_scores
    for label in range(5):
        features = small.given.train.features[small.given.train.labels == label]
        # the toolbox projects features that are not centered, and takes no square
        centered = features - features.mean(axis=0)
        assert spectral_scores(features) == pytest.approx(theirs(centered)[:, 0] ** 2)
        shifted = theirs(features)[:, 0]
        axis = np.linalg.svd(centered, full_matrices=False)[2][0]
        assert shifted == pytest.approx(np.abs(centered @ axis + features.mean(axis=0) @ axis))


def test_spectral_flags_beside_the_toolbox(art, small):
    train, ours = small.given.train, run_defense(SpectralSignatures(share=0.1), small.given)
    theirs = art.SpectralSignatureDefense.spectral_signature_scores
    for label in range(5):
        mine = train.labels == label
        scores = theirs(train.features[mine] - train.features[mine].mean(axis=0))[:, 0]
        kept = scores < np.quantile(scores, 1 - 1.5 * 0.1)
        differ = (~kept != ours.flagged[mine]).sum()
        assert differ <= 1, "a quantile falls between two images, a share is rounded to one"


def test_clusters_beside_the_toolbox(art):
    from art.defences.detector.poison.activation_defence import cluster_activations

    from natural_backdoors.train.models import private_seed

    example = made_features("patch", n_images=150, rate=0.03, n_features=12)
    train, target = example.given.train, example.target
    classes = [train.features[train.labels == label] for label in range(5)]
    with one_core(), private_seed(0):
        theirs, reduced = cluster_activations(
            classes, 2, 2, reduce="FastICA", clustering_method="KMeans"
        )
    ours = run_defense(ActivationClustering(components=2, silhouette=0.45), example.given)
    smaller = theirs[target] == np.bincount(theirs[target]).argmin()
    assert (smaller == (ours.scores[train.labels == target] > 0)).mean() > 0.99
    analyzed = art.ClusteringAnalyzer().analyze_by_silhouette_score(
        theirs, reduced, silhouette_threshold=0.45
    )
    suspected = [analyzed[2][f"class_{label}"]["suspicious"] for label in range(5)]
    assert suspected == [label == target for label in range(5)]
    assert [ours.flagged[train.labels == label].any() for label in range(5)] == suspected
    # independent components of two directions span what those of all features do
    mine = independent_components(classes[target], 2, seed=0)
    both = np.hstack([mine - mine.mean(axis=0), reduced[target] - reduced[target].mean(axis=0)])
    assert np.linalg.matrix_rank(both, tol=1e-3) == 2


def test_held_out_probabilities_are_those_of_scikit_learn(small):
    train = small.given.train
    ours = held_out_probabilities(train.features, train.labels, 4, seed=7)
    folds = StratifiedKFold(4, shuffle=True, random_state=7)
    model = LogisticRegression(max_iter=200, tol=1e-3)
    theirs = cross_val_predict(
        model, train.features, train.labels, cv=folds, method="predict_proba"
    )
    assert ours == pytest.approx(theirs)


@few
@given(st.lists(st.integers(0, 2), min_size=6, max_size=20), st.integers(0, 10**6))
def test_mislabeled_by_plain_loops(labels, seed):
    labels = np.array([0, 1, 2, *labels])
    probabilities = np.random.default_rng(seed).dirichlet([1, 1, 1], len(labels))
    thresholds = [probabilities[labels == k, k].mean() for k in range(3)]
    expected = []
    for row, label in zip(probabilities, labels):
        believed = [k for k in range(3) if row[k] >= thresholds[k]]
        expected.append(bool(believed) and max(believed, key=lambda k: row[k]) != label)
    assert mislabeled(probabilities, labels).tolist() == expected


@few
@given(st.integers(3, 15), st.integers(0, 10**6))
def test_votes_of_neighbors_by_plain_loops(n, seed):
    draw = np.random.default_rng(seed)
    features, labels = draw.normal(size=(n, 3)), draw.integers(0, 3, n)
    k = int(draw.integers(1, n))
    votes = neighbor_votes(features, labels, k, n_classes=3)
    for i in range(n):
        apart = sorted((np.linalg.norm(features[i] - features[j]), j) for j in range(n) if j != i)
        expected = [sum(labels[j] == label for _, j in apart[:k]) for label in range(3)]
        assert votes[i].tolist() == expected


def slow_robust_shape(coordinates, share, rounds=10):
    "As `robust_shape`, with all products written down"
    kept, left = list(range(len(coordinates))), round(2 * share * len(coordinates))
    a_round, k = -(-left // rounds), coordinates.shape[1]
    while left > 0 and len(kept) - left > k + 1:
        white = shape_of(coordinates[kept]).white(coordinates[kept])
        products = np.array([np.outer(row, row).ravel() for row in white])
        spread, axes = np.linalg.eigh(np.cov(products.T, bias=True))
        if spread[-1] <= 2 * (1 + share * np.log(1 / share) ** 2):
            break
        along = (products - products.mean(axis=0)) @ axes[:, -1]
        distance = np.abs(along - np.median(along))
        aside = set(np.argsort(-distance)[: min(a_round, left)].tolist())
        kept = [place for i, place in enumerate(kept) if i not in aside]
        left -= len(aside)
    return shape_of(coordinates[kept])


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_the_robust_shape_is_that_of_all_products(seed, k):
    draw = np.random.default_rng(seed)
    points = draw.normal(size=(90, k)) * draw.uniform(0.5, 3, k)
    points[:8] += draw.normal(0, 6, k)
    fast, slow = robust_shape(points, 0.1), slow_robust_shape(points, 0.1)
    assert fast.root == pytest.approx(slow.root, rel=1e-5, abs=1e-8)
    assert fast.middle == pytest.approx(slow.middle, rel=1e-5, abs=1e-8)


def likelihood(found, centered, labels):
    "Of images around a middle of their class, with the covariance of all of them written down"
    total = 0
    for label in np.unique(labels):
        rows = centered[labels == label]
        n = len(rows)
        whole = np.kron(np.ones((n, n)), found.between) + np.kron(np.eye(n), found.within)
        total += multivariate_normal.logpdf(rows.ravel(), np.zeros(rows.size), whole)
    return total


def test_each_round_makes_the_variation_more_likely():
    draw = np.random.default_rng(0)
    labels = np.repeat(np.arange(8), [2, 3, 4, 5, 5, 6, 3, 2])
    points = (draw.normal(size=(8, 2)) * [2, 0.3])[labels] + draw.normal(size=(30, 2))
    centered = points - points.mean(axis=0)
    found = [likelihood(variation(points, labels, rounds), centered, labels) for rounds in range(9)]
    assert all(after >= before - 1e-9 for before, after in zip(found, found[1:]))
    assert found[-1] > found[0] + 0.01


def test_strip_by_plain_loops():
    example = made_pictures("patch", n_images=3)
    one = example.given.clean.take([0] * 4)  # whatever is drawn, it is this picture
    given = replace(example.given, clean=one)
    found = run_defense(Strip(overlays=3), given)
    for score, picture in zip(found.scores, given.inputs.pixels):
        mixed = (picture.astype(float) / 2 + one.pixels[0].astype(float) / 2).round()
        odds = given.predict(mixed[None].astype(np.uint8))[0]
        assert -score == pytest.approx(-sum(p * np.log(p) for p in odds if p > 0), abs=1e-6)


def test_scale_up_by_plain_loops():
    example = made_pictures("natural", n_images=3)
    found = run_defense(ScaleUp(factors=(1.5, 3)), example.given)
    for score, picture in zip(found.scores, example.given.inputs.pixels):
        said = example.given.predict(picture[None]).argmax()
        same = 0
        for factor in (1.5, 3):
            bright = np.minimum(picture * float(factor), 255).astype(np.uint8)
            same += example.given.predict(bright[None]).argmax() == said
        assert score == same / 2


# --- all of them


@each_of_data
def test_same_seed_same_bytes(name, small, answers):
    again = run_defense(make_defense(name), small.given)
    assert again.scores.tobytes() == answers[name].scores.tobytes()
    assert again.flagged.tobytes() == answers[name].flagged.tobytes()


@pytest.mark.parametrize(
    "defense, example",
    [
        (ActivationClustering(components=3), {"n_classes": 8, "n_images": 60, "rate": 0.03}),
        (SpectralSignatures(), {"n_classes": 8, "n_images": 60, "rate": 0.02}),
        (Spectre(), {"n_classes": 3, "n_images": 200, "rate": 0.03}),
        (Scan(), {"n_classes": 8, "n_images": 60, "rate": 0.02}),
    ],
)
def test_what_was_made_for_patches_finds_one(defense, example):
    patch = made_features("patch", n_features=24, **example)
    found = run_blind(defense, patch.given, patch.poison).result
    assert judge_scores(found.scores, patch.poison, resamples=100)["auroc"]["value"] >= 0.9
    flags = judge_flags(found.flagged, patch.poison)
    assert flags["eliminated"]["low"] > flags["sacrificed"]["high"]


@each_of_data
def test_where_nothing_is_poisoned_nothing_is_found(name):
    example = made_features("none", n_images=60, rate=0.2, n_features=24, seed=3)
    found = run_blind(make_defense(name), example.given, example.poison).result
    auroc = judge_scores(found.scores, example.poison, resamples=100)["auroc"]
    assert auroc["low"] < 0.5 < auroc["high"]


@each_of_data
def test_half_precision_and_classes_without_images(name, small):
    "A bank has half precision; a class may have no training image"
    train = small.given.train
    some = train.take(np.flatnonzero(train.labels != 3))
    half = ImageSet(some.labels.astype(np.uint8), some.features.astype(np.float16))
    found = run_defense(make_defense(name), replace(small.given, train=half))
    assert np.isfinite(found.scores).all() and len(found.scores) == len(some)


@pytest.mark.parametrize(
    "defense", [SpectralSignatures(), NearestNeighbors(neighbors=9), Spectre()]
)
def test_the_order_of_images_does_not_matter(defense, small, answers):
    order = np.random.default_rng(1).permutation(len(small.given.train))
    shuffled = replace(small.given, train=small.given.train.take(order))
    there, here = run_defense(defense, shuffled), run_defense(defense, small.given)
    assert there.scores == pytest.approx(here.scores[order], rel=1e-4)


@each_of_data
def test_bad_input_is_told(name, small):
    train, defense = small.given.train, make_defense(name)
    holes = train.features.copy()
    holes[5] = np.inf
    with pytest.raises(UserError, match="features of row 5 are not finite"):
        run_defense(defense, replace(small.given, train=ImageSet(train.labels, holes)))
    one = train.take(np.flatnonzero(train.labels == 2))
    with pytest.raises(UserError, match="all training images have one label"):
        run_defense(defense, replace(small.given, train=one))
    with pytest.raises(UserError, match="needs features of the training images"):
        run_defense(defense, replace(small.given, train=ImageSet(train.labels)))


@pytest.mark.parametrize("name", [n for n in OF_DATA if n != "loss_isolation"])
def test_a_class_of_one_image_is_told(name, small):
    train = small.given.train
    first = np.flatnonzero(train.labels == 4)[:1]
    rows = np.r_[np.flatnonzero(train.labels != 4), first]
    with pytest.raises(UserError, match="class 4 has 1 image|a class has 1 image"):
        run_defense(make_defense(name), replace(small.given, train=train.take(rows)))


def test_a_missing_clean_set_is_told(small):
    with pytest.raises(UserError, match="'scan' needs a small clean set"):
        run_defense(Scan(), replace(small.given, clean=None))


def test_more_components_than_images_are_told(small):
    for defense in (ActivationClustering(components=400), Scan(components=400)):
        with pytest.raises(UserError, match="or.* fewer components"):
            run_defense(defense, small.given)
    with pytest.raises(UserError, match="try fewer components"):
        run_defense(Spectre(components=(400,)), small.given)


def test_a_time_limit_ends_the_training(small):
    short = replace(small.given, time_limit=0.0)
    found = run_defense(LossIsolation(epochs=50), short)
    assert len(found.tables["loss by epoch"]) == 1
    assert not run_blind(LossIsolation(epochs=50), short, small.poison).in_time


# --- by name


def test_every_defense_says_what_it_is():
    table = defense_list()
    assert table.defense.tolist() == list(available_defenses())
    for name in DEFENSES:
        cls = defense_class(name)
        assert cls.name == name and cls.title and cls.stage in ("data", "input", "model", "repair")
        assert name in REFERENCES or cls.paper, name
        assert cls().to_dict().keys() == cls.about().keys()
        assert all(about.flag is None and about.meaning for about in cls.about().values())


def test_a_package_can_bring_a_defense(tmp_path, monkeypatch):
    (tmp_path / "their_defense.py").write_text(
        "import numpy as np\n"
        "from natural_backdoors.defend.defenses import DataResult, Defense\n"
        "class Theirs(Defense):\n"
        "    name = 'theirs'\n"
        "    def run(self, given):\n"
        "        n = len(given.train)\n"
        "        return DataResult(np.zeros(n), np.zeros(n, bool))\n"
    )
    info = tmp_path / "their_defense-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-defense\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[natural_backdoors.defend.defenses]\n"
        "theirs = their_defense:Theirs\ngone = gone_away:Gone\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    example = made_features(n_images=10)
    assert not run_defense(make_defense("theirs"), example.given).flagged.any()
    table = defense_list().set_index("defense")
    assert table.stage["theirs"] == "data" and "cannot be used" in table.title["gone"]
    # by a person, not by a file: it lies in a folder of the path, and is not installed
    assert not defense_may_be_named("theirs") and defense_may_be_named("spectral")


@dataclass(frozen=True, repr=False)
class Slow(Defense):
    "Says nothing"

    name = "slow"
    needs = ("features", "clean")

    def run(self, given):
        assert given.in_time()
        return DataResult(np.zeros(len(given.train)), np.zeros(len(given.train), bool))


def test_the_time_of_a_defense_begins_when_it_is_run(small):
    long_ago = replace(small.given, time_limit=60, started=-1e9)
    assert run_blind(Slow(), long_ago, small.poison).in_time
