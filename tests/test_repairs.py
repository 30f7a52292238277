"Repairs beside plain loops; same seed, same bytes; and what they refuse"

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")
torch = pytest.importorskip("torch")

from sklearn.linear_model import LogisticRegression

from natural_backdoors.base.errors import UserError
from natural_backdoors.defend.defenses import (
    DEFENSES,
    ImageSet,
    defense_class,
    make_defense,
    run_defense,
)
from natural_backdoors.defend.distillation import attention, attention_apart
from natural_backdoors.defend.fine_tuning import (
    Training,
    answers_of,
    as_input,
    copy_to_train,
    made_model,
    repair_curve,
    trained_on,
)
from natural_backdoors.defend.judging import run_blind
from natural_backdoors.defend.last_layers import (
    FinePruning,
    LastLayer,
    hidden_units,
    last_linear,
    retrained_layer,
)
from natural_backdoors.defend.mm_bd import MaximumMargin

QUICK = {
    "fine_tuning": {"epochs": (1, 2)},
    "fine_pruning": {"shares": (0.5, 0.8), "epochs": 1},
    "nad": {"epochs": (1, 2), "teacher": 1},
    "last_layer": {"known": (0, 1)},
}
REPAIRS = [name for name in DEFENSES if defense_class(name).stage == "repair"]
each = pytest.mark.parametrize("name", REPAIRS)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    "The networks are small, and other tests may be running"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    return made_model("patch", epochs=10)


@pytest.fixture(scope="module")
def poison(model):
    return np.arange(len(model.given.train)) >= len(model.given.train) - 160


@pytest.fixture(scope="module")
def answer(model, poison):
    "What a repair gives, by its name and seed"

    def ask(name, seed=0):
        given = replace(model.given, seed=seed)
        return run_blind(make_defense(name, **QUICK[name]), given, poison).result

    return ask


def bytes_of(network):
    return b"".join(part.numpy().tobytes() for part in network.state_dict().values())


def test_all_repairs_are_tried():
    assert set(REPAIRS) == set(QUICK)


@each
def test_same_seed_same_bytes_and_the_model_stays_as_it_is(name, answer, model):
    before = bytes_of(model.given.network)
    first, again = answer(name), answer(name)
    assert list(first.networks) == list(again.networks) and first.chosen == again.chosen
    for strength in first.networks:
        assert bytes_of(first.networks[strength]) == bytes_of(again.networks[strength])
    assert bytes_of(model.given.network) == before
    if name in ("fine_tuning", "nad"):  # which draw the order of images
        assert bytes_of(answer(name, seed=1).network) != bytes_of(first.network)


@each
def test_models_of_a_curve_are_models_of_their_own(name, answer):
    found = answer(name).networks
    weights = {id(p) for network in found.values() for p in network.parameters()}
    assert len(weights) == sum(len(list(n.parameters())) for n in found.values())
    assert not any(m.training for network in found.values() for m in network.modules())
    hooks = [m for n in found.values() for m in n.modules() if m._forward_hooks]
    assert not hooks


@each
def test_repairs_work_where_batches_are_normalized_and_weights_are_frozen(name, model, poison):
    "As they are in a network whose head alone was trained"
    layers = [torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.BatchNorm2d(8), torch.nn.ReLU()]
    layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 5)]
    network = torch.nn.Sequential(*layers).eval().requires_grad_(False)
    clean = model.given.clean.take(np.arange(17))  # 16 and one
    given = replace(model.given, network=network, clean=clean)
    found = run_blind(make_defense(name, **QUICK[name]), given, poison).result
    assert all(torch.isfinite(p).all() for p in found.network.parameters())
    assert not any(p.requires_grad for p in network.parameters())
    assert bytes_of(found.network) != bytes_of(network)


# --- parts, by plain loops


def test_training_is_that_of_a_plain_loop(model):
    "Without mirroring, a symmetric picture is the same; so is one batch of all images"
    clean = model.given.clean
    half = clean.pixels[:, :, :8]
    images = ImageSet(clean.labels, pixels=np.concatenate([half, half[:, :, ::-1]], axis=2))
    network = copy_to_train(model.given.network)
    for _ in trained_on(network, images, Training(0.05, len(images)), epochs=3, seed=0):
        pass
    plain = copy_to_train(model.given.network)
    moved = {name: torch.zeros_like(p) for name, p in plain.named_parameters()}
    x, y = as_input(images.pixels), torch.from_numpy(images.labels)
    for _ in range(3):
        odds = plain(x).log_softmax(1)
        loss = -sum(odds[i, label] for i, label in enumerate(y)) / len(y)
        plain.zero_grad()
        loss.backward()
        with torch.no_grad():
            for name, p in plain.named_parameters():
                moved[name] = 0.9 * moved[name] + p.grad + 1e-4 * p
                p -= 0.05 * moved[name]
    for a, b in zip(network.parameters(), plain.parameters(), strict=True):
        assert a.detach().numpy() == pytest.approx(b.detach().numpy(), abs=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_attention_by_plain_loops(seed, power):
    draw = np.random.default_rng(seed)
    maps = draw.normal(size=(2, 3, 2, 4))
    found = attention(torch.from_numpy(maps), power).numpy()
    for i in range(2):
        looked = [
            sum(abs(maps[i, c, y, x]) ** power for c in range(3))
            for y in range(2)
            for x in range(4)
        ]
        length = sum(value**2 for value in looked) ** 0.5
        assert found[i] == pytest.approx([value / length for value in looked])
    other = torch.from_numpy(draw.normal(size=(2, 3, 2, 4)))
    apart = attention_apart([("a", torch.from_numpy(maps))], [("a", other)], power)
    squares = (found - attention(other, power).numpy()) ** 2
    assert float(apart) == pytest.approx(squares.mean())


def test_the_units_that_are_cut_out_are_the_most_silent(model):
    network, clean = model.given.network, model.given.clean
    layer = last_linear(network, 5)
    x, means = as_input(clean.pixels), []
    with torch.no_grad():
        for unit in range(32):
            means.append(float(network[:6](x)[:, unit].mean()))
    order = sorted(range(32), key=lambda unit: (means[unit], unit))
    assert hidden_units(network, layer, clean.pixels).mean(axis=0) == pytest.approx(means, abs=1e-6)
    for epochs in (0, 2):
        found = run_defense(FinePruning(shares=(0.25,), epochs=epochs), model.given)
        dead = (found.networks[0.25][6].weight == 0).all(dim=0).numpy()
        assert set(np.flatnonzero(dead)) == set(order[:8])


def test_the_cut_that_is_taken_is_the_largest_that_costs_little(model):
    every = FinePruning(shares=tuple(i / 10 for i in range(1, 10)), epochs=0, drop=0.1)
    found = run_defense(every, model.given)
    clean, best = model.given.clean, 0
    before = (answers_of(model.given.network, clean.pixels) == clean.labels).mean()
    for share in every.shares:
        right = (answers_of(found.networks[share], clean.pixels) == clean.labels).mean()
        if before - right <= 0.1:
            best = share
    assert found.chosen == best and 0 < best < 0.9


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_the_layer_is_that_of_scikit_learn(seed, n_classes):
    draw = np.random.default_rng(seed)
    features, labels = draw.normal(3, 2, (60, 4)), np.arange(60) % n_classes
    features[:, 3] = 7  # a unit that never changes
    groups = np.where(draw.random(60) < 0.3, labels + n_classes, labels)
    classes, weights, biases = retrained_layer(features, labels, groups, penalty=1.0)
    weigh = [60 / (len(set(groups)) * sum(groups == group)) for group in groups]
    scaled = (features - features.mean(axis=0)) / np.where(
        features.std(axis=0) > 0, features.std(axis=0), np.inf
    )
    plain = LogisticRegression(max_iter=1000).fit(scaled, labels, sample_weight=weigh)
    said = features @ weights.T + biases
    assert (classes[said.argmax(axis=1)] == plain.predict(scaled)).all()
    odds = np.exp(said - said.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    assert odds == pytest.approx(plain.predict_proba(scaled), abs=1e-6)


def test_a_class_without_images_is_never_answered(model, poison):
    train = model.given.train
    kept = np.flatnonzero(train.labels != 3)
    given = replace(model.given, train=train.take(kept))
    found = run_blind(make_defense("last_layer"), given, poison[kept]).result
    assert 3 not in answers_of(found.network, model.clean.pixels)


def test_the_curve_by_plain_counts(model, answer):
    found = answer("fine_tuning")
    curve = repair_curve(found, model.clean, model.shown, target=model.target).set_index("strength")
    for strength, network in found.networks.items():
        said = network(as_input(model.clean.pixels)).argmax(1).tolist()
        right = sum(a == b for a, b in zip(said, model.clean.labels)) / len(said)
        assert curve["clean accuracy"][strength] == pytest.approx(right)
        said = network(as_input(model.shown.pixels)).argmax(1).tolist()
        assert curve["attack success"][strength] == pytest.approx(said.count(1) / len(said))
    of_target = ImageSet(
        np.r_[model.shown.labels, [1] * 40],
        pixels=np.concatenate([model.shown.pixels, model.clean.pixels[:40]]),
    )
    again = repair_curve(found, model.clean, of_target, target=1).set_index("strength")
    assert again.equals(curve), "images of the target's class are left out"


# --- what only some may know


def test_a_class_derived_from_one_that_is_told_is_told_nothing(model, poison):
    class Mine(LastLayer):
        pass

    with pytest.raises(UserError, match="needs to know which training images"):
        run_blind(Mine(), model.given, poison)


def test_true_labels_come_in_the_order_that_is_shown(model, poison):
    "With all of them known, poison images are as good as clean ones of their classes"
    labels = model.given.train.labels.copy()
    labels[poison] = np.repeat([0, 2, 3, 4], 40)
    knows = LastLayer(known=(1,))
    told = run_blind(make_defense("last_layer", known=(1,)), model.given, poison, 3, labels).result
    layer = last_linear(model.given.network, 5)
    units = hidden_units(model.given.network, layer, model.given.train.pixels)
    _, weights, _ = retrained_layer(units, labels, 2 * labels + poison, penalty=knows.penalty)
    assert told.network[6].weight.detach().numpy() == pytest.approx(weights, abs=1e-3)


# --- bad input


@each
def test_bad_input_is_told(name, model, poison):
    defense = make_defense(name, **QUICK[name])

    def says(**changes):
        with pytest.raises(UserError) as e:
            run_blind(defense, replace(model.given, **changes), poison)
        return str(e.value)

    assert "needs the network itself" in says(network=None)
    if name == "last_layer":
        assert "pixels of the training images" in says(
            train=replace(model.given.train, pixels=None)
        )
        return
    assert "small clean set with pixels" in says(clean=None)
    assert "at least 2 images with labels" in says(clean=model.given.clean.take([0]))
    assert "2 images with labels" in says(clean=replace(model.given.clean, labels=None))


@pytest.mark.parametrize("name", [name for name in REPAIRS if name != "last_layer"])
def test_a_time_limit_ends_the_training(name, model):
    short = replace(model.given, time_limit=0.0)
    more = {"epochs": 3} if name == "fine_pruning" else {"epochs": (3,)}
    with pytest.warns(UserWarning, match="the time was over after 1 of 3 epochs"):
        found = run_defense(make_defense(name, **QUICK[name] | more), short)
    assert found.network is not model.given.network or name == "fine_pruning"


def test_few_classes_have_no_usual_margin(model):
    with pytest.raises(UserError, match="needs at least 8 classes, not 5"):
        run_defense(MaximumMargin(), model.given)
